//! Work that comes round: crawls by each source's interval, housekeeping by its row in `recurring_jobs`.
//!
//! The time of the next one moves in the transaction that enqueues this one, under a row lock that others skip: however many
//! schedulers run, each time comes once. After a pause in operation it comes once, not once for every time missed.

use std::time::Duration;

use domain::id::SourceId;
use queue::{
    enqueue::{Origin, enqueue},
    jobs::{CrawlSource, PurgeExpired, VerifyArtifacts},
};
use store::SystemDb;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

const EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn run(db: &SystemDb, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(error) = crawls(db).await {
            warn!(%error, "cannot enqueue due crawls");
        }
        if let Err(error) = housekeeping(db).await {
            warn!(%error, "cannot enqueue recurring jobs");
        }
    }
}

async fn crawls(db: &SystemDb) -> store::Result<()> {
    let mut tx = db.begin().await?;
    let due: Vec<(Uuid, String)> = sqlx::query_as(
        "with due as (
             select id from sources where enabled and next_crawl_at <= now()
              order by next_crawl_at limit 50 for update skip locked
         )
         update sources
            set next_crawl_at = now() + make_interval(mins => crawl_interval_minutes)
           from due where sources.id = due.id
      returning sources.id, sources.slug",
    )
    .fetch_all(&mut *tx)
    .await?;
    for (id, slug) in &due {
        let enqueued =
            enqueue(&mut tx, Origin::INSTALLATION, &CrawlSource { source_id: SourceId(*id) }).await?;
        info!(source = slug, job.id = %enqueued.id, "crawl is due");
    }
    tx.commit().await.map_err(Into::into)
}

async fn housekeeping(db: &SystemDb) -> store::Result<()> {
    let mut tx = db.begin().await?;
    let due: Vec<(String, String)> = sqlx::query_as(
        "with due as (
             select name from recurring_jobs where enabled and next_run_at <= now()
                for update skip locked
         )
         update recurring_jobs
            set next_run_at = now() + make_interval(secs => interval_seconds), last_run_at = now()
           from due where recurring_jobs.name = due.name
      returning recurring_jobs.name, recurring_jobs.kind",
    )
    .fetch_all(&mut *tx)
    .await?;
    for (name, kind) in &due {
        match kind.as_str() {
            "purge_expired" => {
                enqueue(&mut tx, Origin::INSTALLATION, &PurgeExpired {}).await?;
            }
            "verify_artifacts" => {
                enqueue(&mut tx, Origin::INSTALLATION, &VerifyArtifacts {}).await?;
            }
            other => warn!(name, kind = other, "a recurring job names a kind that cannot recur"),
        }
    }
    tx.commit().await.map_err(Into::into)
}
