//! Freeze a report's data as a document, make the file that was asked for, and tell whoever wanted to know.

use delivery::webhook::event::{ReportGenerated, report_generated};
use domain::{document::Format, id::ReportId};
use queue::{
    Attempt, Done, Handler, JobError, OrDiscard,
    enqueue::{Origin, enqueue},
    error::DiscardIfMissing,
    jobs::{DeliverWebhook, RenderReport, SendMail},
};
use serde_json::json;
use store::{TenantTx, reports::Report};

use crate::{
    context::Context,
    freezing::freeze,
    issue::{download_url, hex, issue},
};

impl Handler<Context> for RenderReport {
    async fn run(self, context: &Context, attempt: &Attempt) -> Result<Done, JobError> {
        let made = make(&self, context, attempt).await;
        if let Err(JobError::Discard(why)) = &made {
            // A job that merely ran out of attempts shows in the report's status by itself.
            let mut tx = context.db.begin_as(self.tenant_id).await?;
            store::reports::fail(&mut tx, self.report_id, why).await?;
            tx.commit().await?;
        }
        made
    }
}

async fn make(job: &RenderReport, context: &Context, attempt: &Attempt) -> Result<Done, JobError> {
    attempt.progress(5, "gathering data");
    let mut tx = context.db.begin_as(job.tenant_id).await?;
    let report = store::reports::find(&mut tx, job.report_id).await.discard_if_missing("the report")?;
    let frozen = store::frozen::find(&mut tx, job.report_id).await.discard_if_missing("the report")?;
    tx.commit().await?;
    let format: Format = report.format.parse().or_discard("the report's format")?;
    let frozen = match frozen {
        Some(frozen) => frozen,
        None => freeze(context, job.tenant_id, &report).await?,
    };
    let issued = issue(context, attempt, job.tenant_id, &report, frozen, format).await?;

    let mut tx = context.db.begin_as(job.tenant_id).await?;
    store::reports::complete(&mut tx, job.report_id, &issued.file).await.discard_if_missing("the report")?;
    for signed in issued.seal.iter().chain(&issued.inner) {
        store::signing_keys::record_issued(&mut tx, signed).await?;
    }
    announce(&mut tx, context, &report).await?;
    let file = &issued.file;
    let result = json!({
        "report_id": job.report_id,
        "file_name": file.file_name,
        "byte_count": file.stored.byte_count,
        "sha256": hex(&file.stored.sha256),
        "page_count": file.page_count,
        "signed_by": issued.seal.as_ref().map(|seal| &seal.signed_by),
        "signed_at": issued.seal.as_ref().map(|seal| seal.signed_at),
        "timestamp_authority": issued.seal.as_ref().and_then(|seal| seal.timestamp_authority.as_ref()),
        "download_url": download_url(context, job.report_id),
    });
    let done = attempt.complete(&mut tx, result).await?;
    tx.commit().await?;
    Ok(done)
}

/// Mails and webhook events about a finished report, with the jobs that send them, in the transaction that finishes it.
async fn announce(tx: &mut TenantTx, context: &Context, report: &Report) -> Result<(), JobError> {
    let (tenant, report_id) = (tx.tenant(), ReportId(report.id));
    let recipients: Vec<String> = report
        .options
        .get("recipients")
        .and_then(|list| list.as_array())
        .map(|list| list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect())
        .unwrap_or_default();
    if !recipients.is_empty() {
        let mail_id = store::deliveries::insert_mail(tx, report_id, &report.title, &recipients).await?;
        enqueue(tx, Origin::tenant(tenant), &SendMail { tenant_id: tenant, mail_id }).await?;
    }
    let listeners = store::deliveries::listeners(tx, REPORT_GENERATED).await?;
    if listeners.is_empty() {
        return Ok(());
    }
    let event = ReportGenerated {
        report_id: &format!("report_{}", report.id.simple()),
        report_type: &report.report_type,
        status: "completed",
        download_url: Some(&download_url(context, report_id)),
        organization_id: &format!("org_{}", tenant.0.simple()),
    };
    let body = report_generated(chrono::Utc::now(), &event);
    for webhook in listeners {
        let delivery_id = store::deliveries::insert_delivery(tx, webhook, REPORT_GENERATED, &body).await?;
        enqueue(tx, Origin::tenant(tenant), &DeliverWebhook { tenant_id: tenant, delivery_id }).await?;
    }
    Ok(())
}

const REPORT_GENERATED: &str = "report.generated";
