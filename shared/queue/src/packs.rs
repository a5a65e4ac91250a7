//! The jobs of a pack: its report's data frozen once, a job for each of its files on whichever worker is free, and one that seals them
//! when all are there.
//!
//! The last one is the report's job: its id is what the client was told, and its state is the report's. A file that cannot be made ends
//! it by dependency; when that file's job is tried again, the pack waits for it again. What it finds missing nevertheless, it makes by
//! itself.

use domain::{
    document::Format,
    id::{ReportId, TenantId},
};
use sqlx::PgConnection;
use store::Result;

use crate::{
    enqueue::{After, Enqueued, OnFailure, Origin, enqueue, enqueue_after},
    jobs::{FreezeReport, RenderFormat, RenderReport},
};

/// Has `report` made, which is a pack of `files`, or one file if there are less than two.
///
/// # Errors
/// When the database refuses.
pub async fn enqueue_report(
    connection: &mut PgConnection,
    origin: Origin,
    tenant_id: TenantId,
    report_id: ReportId,
    files: &[Format],
) -> Result<Enqueued> {
    let report = RenderReport { tenant_id, report_id };
    if files.len() < 2 {
        return enqueue(connection, origin, &report).await;
    }
    let needs = |jobs| After { jobs, on_failure: OnFailure::Fail, at_most: None };
    let frozen = [enqueue(connection, origin, &FreezeReport { tenant_id, report_id }).await?.id];
    let mut parts = Vec::with_capacity(files.len());
    for &format in files {
        let file = RenderFormat { tenant_id, report_id, format };
        parts.push(enqueue_after(connection, origin, &file, needs(&frozen)).await?.id);
    }
    enqueue_after(connection, origin, &report, needs(&parts)).await
}
