//! Worker processes, for whoever asks why nothing is being done.

use chrono::{DateTime, Utc};
use serde::Serialize;
use store::workers;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    error::ApiError,
    extract::{Actor, Listing, PageParams, ReadOnly, Unfiltered},
    openapi::{Invalid, SignedIn},
    reply::Page,
    state::AppState,
};

/// A worker process.
#[derive(Debug, Serialize, ToSchema)]
struct Worker {
    /// New at every start.
    name: String,
    host: String,
    version: String,
    /// The queues it serves: ingest, analysis, rendering, delivery, maintenance.
    queues: Vec<String>,
    /// Jobs at once on each queue.
    slots: i32,
    started_at: DateTime<Utc>,
    /// It speaks every five seconds.
    heartbeat_at: DateTime<Utc>,
    /// False when it has been silent for half a minute: its jobs are given to others.
    alive: bool,
    /// Jobs in hand, those of other organizations left out.
    running: i64,
}

impl From<workers::Worker> for Worker {
    fn from(worker: workers::Worker) -> Self {
        Self {
            name: worker.name,
            host: worker.host,
            version: worker.version,
            queues: worker.queues,
            slots: worker.slots,
            started_at: worker.started_at,
            heartbeat_at: worker.heartbeat_at,
            alive: worker.is_alive,
            running: worker.running,
        }
    }
}

/// List workers
///
/// Those heard of last come first. A worker that is gone is listed for an hour more.
#[utoipa::path(get, path = "/api/workers", tag = "jobs", params(PageParams),
    responses((status = 200, body = Page<Worker>), SignedIn, Invalid))]
async fn list_workers(
    mut actor: Actor<ReadOnly>,
    Listing { page, .. }: Listing<Unfiltered>,
) -> Result<Page<Worker>, ApiError> {
    let workers = workers::list(&mut actor.begin().await?, page).await?;
    Ok(Page::of(workers))
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default().routes(routes!(list_workers))
}
