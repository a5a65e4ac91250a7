//! Worker processes: what each has in hand, and the orders that an operator gives them.

use chrono::{DateTime, Utc};
use queue::fleet::{self, InHand, Order, WorkerView};
use serde::Serialize;
use serde_json::json;
use store::audit;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    error::ApiError,
    extract::{Actor, InstanceAdmin, Json, Listing, Path, Policy, ReadOnly},
    openapi::{Invalid, Missing, SignedIn},
    reply::Page,
    state::AppState,
    words::JobKindWord,
};

/// A worker process.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "worker-1-4711-1f0c2d4b", "host": "worker-1", "version": "0.1.0", "queues": ["ingest", "rendering"], "slots": [4, 2],
    "wanted": "work", "mode": "working", "started_at": "2026-11-20T06:00:00Z", "heartbeat_at": "2026-11-22T10:00:00Z", "alive": true,
    "running": 1, "jobs": [{"id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "kind": "render_report", "queue": "rendering", "attempt": 1,
                            "progress": 60, "progress_note": "laying out pages", "started_at": "2026-11-22T09:59:58Z"}]}))]
struct Worker {
    /// New at every start.
    name: String,
    /// The machine or container that it runs on.
    host: String,
    /// Of the product.
    version: String,
    /// The queues it serves: ingest, analysis, rendering, delivery, maintenance.
    queues: Vec<String>,
    /// Jobs at once on each of `queues`, in their order.
    slots: Vec<i32>,
    /// What it was last told: `work`, `quiet` (take nothing new) or `drain` (take nothing new, and end when what runs is done).
    wanted: String,
    /// What it does: `working`, `quiet` or `draining`.
    mode: String,
    started_at: DateTime<Utc>,
    /// It speaks every two seconds.
    heartbeat_at: DateTime<Utc>,
    /// False when it has been silent for half a minute: its jobs are given to others.
    alive: bool,
    /// How many jobs it has in hand, those of other organizations left out.
    running: usize,
    /// These jobs, the longest running first.
    jobs: Vec<JobInHand>,
}

/// A job in a worker's hands.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct JobInHand {
    id: Uuid,
    #[schema(value_type = JobKindWord)]
    kind: String,
    queue: String,
    /// Counted from 1.
    attempt: i32,
    /// 0 to 100.
    progress: i16,
    /// What it is about at the moment, in words.
    progress_note: Option<String>,
    /// When this attempt began.
    started_at: Option<DateTime<Utc>>,
}

impl From<InHand> for JobInHand {
    fn from(job: InHand) -> Self {
        Self {
            id: job.id,
            kind: job.kind,
            queue: job.queue,
            attempt: job.attempt,
            progress: job.progress,
            progress_note: job.progress_note,
            started_at: job.started_at,
        }
    }
}

impl Worker {
    fn of(worker: WorkerView, in_hand: &[InHand]) -> Self {
        let jobs: Vec<JobInHand> =
            in_hand.iter().filter(|job| job.worker == worker.name).cloned().map(JobInHand::from).collect();
        Self {
            name: worker.name,
            host: worker.host,
            version: worker.version,
            queues: worker.queues,
            slots: worker.queue_slots,
            wanted: worker.wanted,
            mode: worker.mode,
            started_at: worker.started_at,
            heartbeat_at: worker.heartbeat_at,
            alive: worker.is_alive,
            running: jobs.len(),
            jobs,
        }
    }
}

/// List workers
///
/// Those heard of last come first. A worker that is gone is listed for an hour more.
#[utoipa::path(get, path = "/api/workers", tag = "jobs", params(Listing),
    responses((status = 200, body = Page<Worker>), SignedIn, Invalid))]
async fn list_workers(
    actor: Actor<ReadOnly>,
    Listing { page, .. }: Listing,
) -> Result<Page<Worker>, ApiError> {
    let mut tx = actor.begin().await?;
    let visible_to = match InstanceAdmin::refusal(&actor.user) {
        Some(_) => Some(actor.tenant),
        None => {
            tx.see_installation().await?;
            None
        }
    };
    let workers = fleet::list(&mut *tx).await?;
    let in_hand = fleet::in_hand(&mut *tx, visible_to).await?;
    let workers = workers.into_iter().map(|worker| Worker::of(worker, &in_hand));
    Ok(Page::of(domain::page::Page::of(workers, page)))
}

/// Quiet a worker
///
/// It takes nothing new within two seconds, and finishes what runs. `resume` lets it work again.
#[utoipa::path(post, path = "/api/workers/{worker}/quiet", tag = "jobs",
    params(("worker" = String, Path, description = "Its name.")),
    responses((status = 200, body = Worker), SignedIn, Missing))]
async fn quiet_worker(
    actor: Actor<InstanceAdmin>,
    Path(name): Path<String>,
) -> Result<Json<Worker>, ApiError> {
    order(actor, name, Order::Quiet).await
}

/// Drain a worker
///
/// It takes nothing new within two seconds, finishes what runs, and ends. Whatever keeps processes may start it again.
#[utoipa::path(post, path = "/api/workers/{worker}/drain", tag = "jobs",
    params(("worker" = String, Path, description = "Its name.")),
    responses((status = 200, body = Worker), SignedIn, Missing))]
async fn drain_worker(
    actor: Actor<InstanceAdmin>,
    Path(name): Path<String>,
) -> Result<Json<Worker>, ApiError> {
    order(actor, name, Order::Drain).await
}

/// Let a worker work
///
/// Ends `quiet`.
#[utoipa::path(post, path = "/api/workers/{worker}/resume", tag = "jobs",
    params(("worker" = String, Path, description = "Its name.")),
    responses((status = 200, body = Worker), SignedIn, Missing))]
async fn resume_worker(
    actor: Actor<InstanceAdmin>,
    Path(name): Path<String>,
) -> Result<Json<Worker>, ApiError> {
    order(actor, name, Order::Work).await
}

async fn order(actor: Actor<InstanceAdmin>, name: String, order: Order) -> Result<Json<Worker>, ApiError> {
    let by = actor.by().clone();
    let mut tx = actor.begin().await?;
    tx.see_installation().await?;
    if !fleet::give_order(&mut *tx, &name, order).await? {
        return Err(ApiError::NotFound);
    }
    let worker = fleet::list(&mut *tx).await?.into_iter().find(|worker| worker.name == name);
    let worker = Worker::of(worker.ok_or(ApiError::NotFound)?, &fleet::in_hand(&mut *tx, None).await?);
    let note = audit::Note {
        action: "worker.order",
        target_type: "worker",
        target_id: Some(name),
        detail: json!({ "order": order.as_str() }),
    };
    let tenant = tx.tenant();
    audit::note(&mut tx, Some(tenant), &by, &note).await?;
    tx.commit().await?;
    Ok(Json(worker))
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_workers))
        .routes(routes!(quiet_worker))
        .routes(routes!(drain_worker))
        .routes(routes!(resume_worker))
}
