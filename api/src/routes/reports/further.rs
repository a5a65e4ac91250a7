//! Files of a report in other formats than it was asked for, made from what was frozen with it when somebody wants them.
//!
//! A worker makes them; a small one is waited for, of a large one the answer says where it will be. They are kept and deleted
//! with the report.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use domain::{
    document::Format,
    id::{JobId, ReportId},
    report::ReportStatus,
};
use queue::{enqueue, jobs::RenderFormat};
use store::{
    artifacts, frozen, jobs as background,
    reports::{Artifact, Report},
};

use crate::{
    error::{ApiError, FieldError},
    extract::{Actor, ReadOnly},
    file::Asked,
    reply::{Accepted, FileAccepted},
    state::AppState,
    waiting::Patience,
};

/// So many rows are made into a file while the client waits.
const SMALL: u64 = 1000;

/// A file, or the answer that it will come.
pub(super) enum Further {
    File(Box<Artifact>),
    Later(Response),
}

/// The file of the finished `report` in `format`.
pub(super) async fn file_in(
    app: &AppState,
    actor: &Actor<ReadOnly>,
    report: &Report,
    format: Format,
    asked: &Asked,
) -> Result<Further, ApiError> {
    let offered = reports::find(&report.report_type).map_or(&[][..], |report| report.formats);
    if !offered.contains(&format) {
        let words: Vec<_> = offered.iter().map(|format| format.as_str()).collect();
        let message =
            format!("`{format}` is not a format of this report: ask for one of {}", words.join(", "));
        return Err(ApiError::Invalid(vec![FieldError::value("query -> format", message)]));
    }
    let id = ReportId(report.id);
    let mut tx = actor.begin().await?;
    match artifacts::in_format(&mut tx, id, format).await {
        Ok(artifact) => return Ok(Further::File(Box::new(artifact))),
        Err(store::Error::NotFound) => {}
        Err(error) => return Err(error.into()),
    }
    if report.status != ReportStatus::Completed.as_str() {
        return Err(super::download::no_file(report));
    }
    if asked.is_head() {
        return Ok(Further::Later(StatusCode::ACCEPTED.into_response()));
    }
    let outline = frozen::outline(&mut tx, id).await?;
    let render = RenderFormat { tenant_id: actor.tenant, report_id: id, format };
    let job = enqueue(&mut tx, actor.origin(), &render).await?.id;
    tx.commit().await?;
    if outline.is_some_and(|outline| outline.rows <= SMALL)
        && let Some(artifact) = made_in_time(actor, id, format, job).await?
    {
        return Ok(Further::File(Box::new(artifact)));
    }
    let url = format!("{}/api/reports/{id}/download?format={format}", app.config.public_url());
    Ok(Further::Later(Accepted::Now { job, body: FileAccepted::new(job, id, url) }.into_response()))
}

/// The file, if a worker finishes it while the client can be expected to wait.
async fn made_in_time(
    actor: &Actor<ReadOnly>,
    id: ReportId,
    format: Format,
    job: JobId,
) -> Result<Option<Artifact>, ApiError> {
    let patience = Patience::begin();
    while patience.lasts().await {
        let mut tx = actor.begin().await?;
        match artifacts::in_format(&mut tx, id, format).await {
            Ok(artifact) => return Ok(Some(artifact)),
            Err(store::Error::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
        let job = background::find(&mut tx, job).await?;
        if ["dead", "cancelled"].contains(&job.state.as_str()) {
            let why = job.last_error.unwrap_or_else(|| "it was cancelled".into());
            return Err(ApiError::Conflict(format!("There is no {format} of this report: {why}")));
        }
    }
    Ok(None)
}
