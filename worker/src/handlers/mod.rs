//! One handler for each kind of job; the compiler misses the one that is forgotten.

use domain::id::ScanRunId;
use queue::JobError;
use store::SystemDb;

mod correlate;
mod crawl_source;
mod deliver_webhook;
mod finish_batch;
mod freeze_report;
mod ingest_inventory;
mod judging;
mod pull_inventory;
mod purge_expired;
mod render_format;
mod render_report;
mod send_mail;
mod verify_artifacts;

/// Closes a run whose attempt failed, in a transaction of its own: that of the attempt is gone. A run whose job was given to
/// somebody else has been closed by them.
async fn record_failure(db: &SystemDb, run: ScanRunId, error: &JobError) -> store::Result<()> {
    let why = match error {
        JobError::Retry(error) | JobError::RetryAfter(_, error) => format!("{error:#}"),
        JobError::Discard(why) => why.clone(),
        JobError::Snooze { why, .. } => format!("put off: {why}"),
        JobError::Superseded => return Ok(()),
    };
    let mut tx = db.begin().await?;
    store::scan_runs::fail(&mut tx, run, &why).await?;
    Ok(tx.commit().await?)
}
