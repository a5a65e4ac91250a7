//! Queues: what waits in each, and the limits that an operator sets while everything runs.

use chrono::{DateTime, Utc};
use queue::{
    Queue as Name,
    queues::{self, Limits, QueueView, Rate},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{TenantTx, audit, audit::By};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    error::{ApiError, Problems},
    extract::{Actor, InstanceAdmin, Json, Path, Policy, ReadOnly, given},
    openapi::{BadBody, Missing, SignedIn},
    state::AppState,
    words::QueueWord,
};

/// A queue, over all organizations.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "queue": "rendering", "paused": false, "paused_at": null, "paused_by": null, "due": 12, "later": 3, "dispatched": 4, "running": 2,
    "oldest_due": "2026-11-21T10:00:00Z", "oldest_due_seconds": 4, "slots": 2,
    "limits": {"max_running": null, "max_per_tenant": 2, "rate": {"jobs": 10, "seconds": 60}}}))]
struct Queue {
    #[schema(value_type = QueueWord)]
    queue: String,
    /// Nothing of it is begun.
    paused: bool,
    /// Null: it is not paused.
    paused_at: Option<DateTime<Utc>>,
    /// Who paused it.
    paused_by: Option<Uuid>,
    /// Jobs that could run now if there were room.
    due: i64,
    /// Jobs that wait for their time or to be tried again.
    later: i64,
    /// Sent to the workers, not begun.
    dispatched: i64,
    /// Jobs that workers have in hand.
    running: i64,
    /// Since when the oldest due job could have run.
    oldest_due: Option<DateTime<Utc>>,
    /// For how long that is, seconds: the figure to watch.
    oldest_due_seconds: Option<i64>,
    /// Jobs that live workers could run at once.
    slots: i64,
    limits: QueueLimits,
}

/// What a queue is held to; null: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
struct QueueLimits {
    /// Jobs at once over all workers.
    max_running: Option<i32>,
    /// Jobs at once of one organization.
    max_per_tenant: Option<i32>,
    /// How many may begin in a time.
    rate: Option<QueueRate>,
}

/// At most so many jobs begin in so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct QueueRate {
    /// So many, of all organizations.
    #[schema(minimum = 1)]
    jobs: i32,
    /// In so many seconds, whenever they begin.
    #[schema(minimum = 1)]
    seconds: i32,
}

impl From<QueueView> for Queue {
    fn from(view: QueueView) -> Self {
        let limits = Limits::from(view.limits);
        Self {
            queue: view.queue,
            paused: view.paused_at.is_some(),
            paused_at: view.paused_at,
            paused_by: view.paused_by,
            due: view.due,
            later: view.later,
            dispatched: view.dispatched,
            running: view.running,
            oldest_due: view.oldest_due,
            oldest_due_seconds: view.oldest_due.map(|since| (Utc::now() - since).num_seconds().max(0)),
            slots: view.slots,
            limits: QueueLimits {
                max_running: limits.max_running,
                max_per_tenant: limits.max_per_tenant,
                rate: limits.rate.map(|rate| QueueRate { jobs: rate.jobs, seconds: rate.seconds }),
            },
        }
    }
}

/// All queues.
#[derive(Debug, Serialize, ToSchema)]
struct QueueList {
    /// Every queue that there is.
    data: Vec<Queue>,
}

/// List queues
///
/// With what waits in each over all organizations, how long the oldest has been due, and the limits.
#[utoipa::path(get, path = "/api/queues", tag = "jobs", responses((status = 200, body = QueueList), SignedIn))]
async fn list_queues(actor: Actor<ReadOnly>) -> Result<Json<QueueList>, ApiError> {
    let is_operator = InstanceAdmin::refusal(&actor.user).is_none();
    let mut data: Vec<Queue> =
        queues::list(&mut *actor.begin().await?).await?.into_iter().map(Queue::from).collect();
    // Who it was is told to those who could have been it.
    data.iter_mut().filter(|_| !is_operator).for_each(|queue| queue.paused_by = None);
    Ok(Json(QueueList { data }))
}

/// Pause a queue
///
/// Nothing more is begun, whoever asks. What runs is finished; what is asked for is accepted and waits. Holds within a second, on every node.
#[utoipa::path(post, path = "/api/queues/{queue}/pause", tag = "jobs",
    params(("queue" = QueueWord, Path, description = "The queue.")),
    responses((status = 200, body = Queue), SignedIn, Missing))]
async fn pause_queue(actor: Actor<InstanceAdmin>, Path(name): Path<String>) -> Result<Json<Queue>, ApiError> {
    let (name, by) = (named(&name)?, actor.by().clone());
    let mut tx = actor.begin().await?;
    if queues::pause(&mut *tx, name, Some(actor.id())).await? {
        note(&mut tx, &by, "queue.pause", name, json!({})).await?;
    }
    answer(tx, name).await
}

/// Resume a queue
///
/// What waited in it is begun, within a second, on every node. Resuming again changes nothing.
#[utoipa::path(post, path = "/api/queues/{queue}/resume", tag = "jobs",
    params(("queue" = QueueWord, Path, description = "The queue.")),
    responses((status = 200, body = Queue), SignedIn, Missing))]
async fn resume_queue(
    actor: Actor<InstanceAdmin>,
    Path(name): Path<String>,
) -> Result<Json<Queue>, ApiError> {
    let (name, by) = (named(&name)?, actor.by().clone());
    let mut tx = actor.begin().await?;
    if queues::resume(&mut *tx, name).await? {
        note(&mut tx, &by, "queue.resume", name, json!({})).await?;
    }
    answer(tx, name).await
}

/// The limits that are to change. What is not named stays; null takes a limit away.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"max_per_tenant": 2, "rate": {"jobs": 10, "seconds": 60}}))]
struct QueueChanges {
    /// Jobs at once over all workers.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i32>, minimum = 1)]
    max_running: Option<Option<i32>>,
    /// Jobs at once of one organization.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i32>, minimum = 1)]
    max_per_tenant: Option<Option<i32>>,
    /// How many may begin in a time.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<QueueRate>)]
    rate: Option<Option<QueueRate>>,
}

/// Limit a queue
///
/// Holds within a second, on every node, for whatever is begun from then on.
#[utoipa::path(patch, path = "/api/queues/{queue}", tag = "jobs", request_body = QueueChanges,
    params(("queue" = QueueWord, Path, description = "The queue.")),
    responses((status = 200, body = Queue), SignedIn, Missing, BadBody))]
async fn limit_queue(
    actor: Actor<InstanceAdmin>,
    Path(name): Path<String>,
    Json(changes): Json<QueueChanges>,
) -> Result<Json<Queue>, ApiError> {
    let (name, by) = (named(&name)?, actor.by().clone());
    changes.check()?;
    let mut tx = actor.begin().await?;
    let before = find(&mut tx, name).await?.limits;
    let limits = Limits {
        max_running: changes.max_running.unwrap_or(before.max_running),
        max_per_tenant: changes.max_per_tenant.unwrap_or(before.max_per_tenant),
        rate: changes.rate.unwrap_or(before.rate).map(|rate| Rate { jobs: rate.jobs, seconds: rate.seconds }),
    };
    queues::set_limits(&mut *tx, name, &limits).await?;
    let after = find(&mut tx, name).await?.limits;
    note(&mut tx, &by, "queue.limit", name, json!({ "before": before, "after": after })).await?;
    answer(tx, name).await
}

impl QueueChanges {
    fn check(&self) -> Result<(), ApiError> {
        let mut problems = Problems::default();
        let rate = self.rate.flatten();
        for (field, figure) in [
            ("max_running", self.max_running.flatten()),
            ("max_per_tenant", self.max_per_tenant.flatten()),
            ("rate -> jobs", rate.map(|rate| rate.jobs)),
            ("rate -> seconds", rate.map(|rate| rate.seconds)),
        ] {
            problems.require(figure.is_none_or(|figure| figure >= 1), field, || {
                format!("`{}` must be at least 1; null takes the limit away", figure.unwrap_or_default())
            });
        }
        problems.finish()
    }
}

fn named(name: &str) -> Result<Name, ApiError> {
    name.parse().map_err(|_| ApiError::NotFound)
}

async fn find(tx: &mut TenantTx, name: Name) -> Result<Queue, ApiError> {
    let queues = queues::list(&mut **tx).await?;
    let queue = queues.into_iter().find(|queue| queue.queue == name.as_str());
    queue.map(Queue::from).ok_or(ApiError::NotFound)
}

async fn answer(mut tx: TenantTx, name: Name) -> Result<Json<Queue>, ApiError> {
    let queue = find(&mut tx, name).await?;
    tx.commit().await?;
    Ok(Json(queue))
}

async fn note(
    tx: &mut TenantTx,
    by: &By,
    action: &str,
    queue: Name,
    detail: serde_json::Value,
) -> Result<(), ApiError> {
    let note = audit::Note { action, target_type: "queue", target_id: Some(queue.to_string()), detail };
    let tenant = tx.tenant();
    Ok(audit::note(tx, Some(tenant), by, &note).await?)
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_queues))
        .routes(routes!(limit_queue))
        .routes(routes!(pause_queue))
        .routes(routes!(resume_queue))
}
