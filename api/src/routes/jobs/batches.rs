//! Batches: jobs that belong together, with one progress and one end.
//!
//! A batch is the job that waits for its members (`queue::batches`), shown from the other side.

use axum::{
    extract::State,
    http::HeaderMap,
    response::{Response, sse::Event},
};
use chrono::{DateTime, Utc};
use domain::id::JobId;
use serde::{Deserialize, Serialize};
use store::{
    TenantTx,
    jobs::{
        self, Filter,
        detail::{self, Members},
        operate,
    },
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    begin,
    events::{Subject, Told, follow, last_event_id},
    filter::not_a_cursor,
    operate::{note_cancelled, refuse_shared},
    view::Dependency,
};
use crate::{
    error::ApiError,
    extract::{Actor, Analyst, Json, Listing, Path, ReadOnly},
    openapi::{Invalid, Missing, SignedIn},
    state::AppState,
};

/// The kind of the jobs that stand for batches.
const KIND: &str = "finish_batch";

/// Jobs that belong together.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "name": "Crawl every source", "status": "running", "progress": 40,
    "jobs": 5, "completed": 2, "failed": 0, "cancelled": 0, "running": 1, "waiting": 2,
    "requested_by": null, "created_at": "2026-11-21T10:00:00Z", "finished_at": null}))]
struct Batch {
    /// That of the job which ends it.
    id: Uuid,
    /// What it is for, in words.
    name: String,
    /// `running` until the last member has ended, then `completed` when all were, and otherwise `failed`; `cancelled` when nobody waits
    /// for them any more.
    status: BatchStatus,
    /// Of a hundred members, so many have ended.
    #[schema(minimum = 0, maximum = 100)]
    progress: i64,
    /// Its members.
    #[schema(minimum = 0)]
    jobs: i64,
    /// Members that did what they were for.
    #[schema(minimum = 0)]
    completed: i64,
    /// Members that were given up.
    #[schema(minimum = 0)]
    failed: i64,
    /// Members that somebody cancelled.
    #[schema(minimum = 0)]
    cancelled: i64,
    /// Members that a worker has in hand.
    #[schema(minimum = 0)]
    running: i64,
    /// Neither running nor at an end.
    #[schema(minimum = 0)]
    waiting: i64,
    /// The user who asked for it; null: nobody did.
    requested_by: Option<Uuid>,
    created_at: DateTime<Utc>,
    /// When its end was told to whoever listens (`batch.finished`).
    finished_at: Option<DateTime<Utc>>,
}

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum BatchStatus {
    Running,
    Completed,
    Failed,
    Cancelled,
}

impl Batch {
    fn of(job: jobs::Job, members: Members) -> Self {
        let ended = members.total - members.open();
        let status = match (job.state.as_str(), members.open()) {
            ("cancelled", _) => BatchStatus::Cancelled,
            (_, 1..) => BatchStatus::Running,
            _ if members.completed == members.total => BatchStatus::Completed,
            _ => BatchStatus::Failed,
        };
        Self {
            id: job.id,
            name: job.payload["name"].as_str().unwrap_or_default().to_owned(),
            status,
            progress: (100 * ended).checked_div(members.total).unwrap_or(100),
            jobs: members.total,
            completed: members.completed,
            failed: members.dead,
            cancelled: members.cancelled,
            running: members.running,
            waiting: members.open() - members.running,
            requested_by: job.requested_by.filter(|_| job.tenant_id.is_some()),
            created_at: job.created_at,
            finished_at: job.finished_at,
        }
    }
}

/// A batch with its members.
#[derive(Debug, Serialize, ToSchema)]
struct BatchDetail {
    #[serde(flatten)]
    batch: Batch,
    /// Those that have not ended first, at most two hundred.
    members: Vec<Dependency>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct BatchFilter {
    /// The `next_cursor` of the answer before.
    cursor: Option<String>,
}

/// A page of batches.
#[derive(Debug, Serialize, ToSchema)]
struct BatchPage {
    /// The batches of this page.
    data: Vec<Batch>,
    /// Send it as `cursor` for what follows; null when nothing does.
    #[schema(example = json!(null))]
    next_cursor: Option<String>,
}

/// List batches
///
/// The newest first.
#[utoipa::path(get, path = "/api/batches", tag = "jobs", params(Listing<BatchFilter>),
    responses((status = 200, body = BatchPage), SignedIn, Invalid))]
async fn list_batches(
    actor: Actor<ReadOnly>,
    Listing { page, filter, .. }: Listing<BatchFilter>,
) -> Result<Json<BatchPage>, ApiError> {
    let cursor = filter.cursor.as_deref().map(str::parse).transpose();
    let cursor = cursor.map_err(|why: String| not_a_cursor(filter.cursor.as_deref(), &why))?;
    let wanted = Filter { kind: Some(KIND.to_owned()), ..Filter::default() };
    let mut tx = begin(&actor).await?;
    let slice = jobs::list(&mut tx, &wanted, page, cursor).await?;
    let mut data = Vec::with_capacity(slice.items.len());
    for job in slice.items {
        let members = detail::members(&mut tx, JobId(job.id)).await?;
        data.push(Batch::of(job, members));
    }
    Ok(Json(BatchPage { data, next_cursor: slice.next.map(|cursor| cursor.to_string()) }))
}

/// Get a batch
///
/// With its members.
#[utoipa::path(get, path = "/api/batches/{batch_id}", tag = "jobs",
    params(("batch_id" = Uuid, Path, description = "The batch.")),
    responses((status = 200, body = BatchDetail), SignedIn, Missing))]
async fn get_batch(actor: Actor<ReadOnly>, Path(id): Path<JobId>) -> Result<Json<BatchDetail>, ApiError> {
    let mut tx = begin(&actor).await?;
    let batch = find(&mut tx, id).await?;
    let members = detail::depends_on(&mut tx, id).await?;
    Ok(Json(BatchDetail { batch, members: members.into_iter().map(Dependency::from).collect() }))
}

async fn find(tx: &mut TenantTx, id: JobId) -> store::Result<Batch> {
    let job = jobs::find(tx, id).await?;
    if job.kind != KIND {
        return Err(store::Error::NotFound);
    }
    let members = detail::members(tx, id).await?;
    Ok(Batch::of(job, members))
}

/// Cancel a batch
///
/// Cancels its members that have not ended. The batch ends when they have. Members that all organizations share go on.
#[utoipa::path(post, path = "/api/batches/{batch_id}/cancel", tag = "jobs",
    params(("batch_id" = Uuid, Path, description = "The batch.")),
    responses((status = 200, body = Batch), SignedIn, Missing))]
async fn cancel_batch(actor: Actor<Analyst>, Path(id): Path<JobId>) -> Result<Json<Batch>, ApiError> {
    let by = actor.by().clone();
    let mut tx = begin(&actor).await?;
    find(&mut tx, id).await?;
    let job = jobs::find(&mut tx, id).await?;
    refuse_shared(&job, &actor)?;
    let members = detail::unresolved(&mut tx, id).await?;
    operate::cancel(&mut tx, &members).await?;
    note_cancelled(&mut tx, &by, &job).await?;
    let batch = find(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(batch))
}

/// A batch that somebody follows.
struct FollowedBatch {
    id: JobId,
    /// How it stood when it was last told.
    standing: Option<String>,
}

impl Subject for FollowedBatch {
    async fn look(&mut self, tx: &mut TenantTx) -> store::Result<Told> {
        let batch = find(tx, self.id).await?;
        let is_final = batch.status != BatchStatus::Running && batch.finished_at.is_some();
        let standing = format!(
            "{}.{}.{}.{}.{}",
            batch.completed,
            batch.failed,
            batch.cancelled,
            batch.running,
            if is_final { "end" } else { "open" }
        );
        let mut events = Vec::new();
        if self.standing.as_ref() != Some(&standing) {
            let name = if is_final { "finished" } else { "progress" };
            events.extend(Event::default().id(&standing).event(name).json_data(batch).ok());
            self.standing = Some(standing);
        }
        Ok(if is_final { Told::Last(events) } else { Told::More(events) })
    }
}

/// Follow a batch
///
/// Server-sent events: `progress` with the batch whenever a member begins or ends, and `finished` as the last. The counts only rise, so a
/// client that was away has missed nothing when it is back with `Last-Event-ID`.
#[utoipa::path(get, path = "/api/batches/{batch_id}/events", tag = "jobs",
    params(("batch_id" = Uuid, Path, description = "The batch."),
           ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received.")),
    responses((status = 200, description = "A stream of events, each with the batch as its data.",
               content_type = "text/event-stream", body = Batch),
              (status = 204, description = "The batch is finished, and the client knows."), SignedIn, Missing))]
async fn follow_batch(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Path(id): Path<JobId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    follow(app, &actor, FollowedBatch { id, standing: last_event_id(&headers) }).await
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_batches))
        .routes(routes!(get_batch))
        .routes(routes!(cancel_batch))
        .routes(routes!(follow_batch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_failed_when_one_member_was_not_completed() {
        let job = |state: &str| jobs::Job {
            id: Uuid::nil(),
            tenant_id: None,
            kind: KIND.into(),
            queue: "delivery".into(),
            priority: 5,
            state: state.into(),
            progress: 0,
            progress_note: None,
            attempt: 0,
            max_attempts: 1,
            crashes: 0,
            run_at: Utc::now(),
            payload: serde_json::json!({ "name": "all" }),
            result: None,
            dead_reason: None,
            last_error: None,
            cancel_requested: false,
            requested_by: None,
            created_at: Utc::now(),
            started_at: None,
            finished_at: None,
        };
        let members = |completed, dead, running| Members { total: 4, completed, dead, cancelled: 0, running };
        let status = |state, members| Batch::of(job(state), members).status;
        assert_eq!(status("waiting", members(3, 0, 1)), BatchStatus::Running);
        assert_eq!(status("completed", members(4, 0, 0)), BatchStatus::Completed);
        assert_eq!(status("completed", members(3, 1, 0)), BatchStatus::Failed);
        assert_eq!(status("cancelled", members(3, 0, 1)), BatchStatus::Cancelled);
        let batch = Batch::of(job("waiting"), members(1, 1, 1));
        assert_eq!((batch.progress, batch.waiting), (50, 1));
        assert_eq!(Batch::of(job("completed"), Members::default()).progress, 100);
    }
}
