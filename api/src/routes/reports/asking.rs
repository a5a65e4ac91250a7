//! Asking for a report, in whichever document's words it was asked: who may, and what is recorded.

use domain::{
    document::Format,
    id::{JobId, ReportId},
};
use queue::packs::enqueue_report;
use reports::ReportType;
use store::{TenantTx, reports as stored, users::Role};

use super::request::GenerateReport;
use crate::{error::ApiError, extract::Actor};

/// Who may read may ask, unless something leaves the house in somebody's name.
pub(in crate::routes) fn permit<P>(actor: &Actor<P>, request: &GenerateReport) -> Result<(), ApiError> {
    if actor.user.role >= Role::Analyst {
        return Ok(());
    }
    if !request.recipients.is_empty() {
        return Err(ApiError::Forbidden(
            "Sending a report needs the role analyst: leave recipients out".into(),
        ));
    }
    if request.signer().is_some_and(|signer| signer != actor.user.email) {
        return Err(ApiError::Forbidden(
            "Signing in somebody else's name needs the role analyst: leave signer out".into(),
        ));
    }
    Ok(())
}

/// Records the report, and the job that makes it.
pub(in crate::routes) async fn record<P>(
    tx: &mut TenantTx,
    actor: &Actor<P>,
    request: &GenerateReport,
    (report_type, format): (&'static ReportType, Format),
) -> Result<(ReportId, JobId), ApiError> {
    let id = ReportId::new();
    let files = request.packed(report_type, format);
    let job = enqueue_report(tx, actor.origin(), actor.tenant, id, &files).await?;
    let new = stored::NewReport {
        id,
        job: job.id,
        title: request.title.trim().to_owned(),
        report_type: report_type.id.to_owned(),
        framework: request.framework().map(|framework| framework.id.clone()),
        format,
        options: request.kept_options()?,
        requested_by: actor.as_member(),
    };
    stored::insert(tx, &new).await?;
    Ok((id, job.id))
}
