//! Background work: what was accepted, how far it is, and how it ended.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use chrono::{DateTime, Utc};
use domain::id::{JobId, TenantId};
use futures::{Stream, stream};
use serde::{Deserialize, Deserializer, Serialize};
use store::jobs;
use tokio::{sync::OwnedSemaphorePermit, time::sleep};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    error::ApiError,
    extract::{Actor, Json, Listing, PageParams, Path, ReadOnly},
    openapi::{Invalid, Missing, SignedIn},
    reply::Page,
    state::AppState,
    words::JobKindWord,
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How often a job is looked at while somebody listens.
const LOOK: Duration = Duration::from_millis(400);
/// How often a silent stream says that it still lives.
const PING: Duration = Duration::from_secs(15);
/// How long a client should wait before it connects again.
const RECONNECT: Duration = Duration::from_secs(2);

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct JobFilter {
    /// Only this kind.
    #[serde(default, deserialize_with = "kind")]
    #[param(inline, value_type = Option<JobKindWord>, example = "render_report")]
    kind: Option<String>,
    /// Only jobs that stand there.
    #[param(inline)]
    status: Option<JobStatus>,
}

fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let kind: Option<String> = Deserialize::deserialize(deserializer)?;
    let kinds = queue::jobs::ALL.iter().map(|kind| kind.name);
    match kind {
        Some(kind) if !kinds.clone().any(|known| known == kind) => {
            let kinds: Vec<_> = kinds.collect();
            Err(serde::de::Error::custom(format!("there is {}", kinds.join(", "))))
        }
        kind => Ok(kind),
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum JobStatus {
    /// Accepted, and waiting for its time, for a worker, or to be tried again.
    Queued,
    Running,
    Completed,
    Cancelled,
    /// Given up: see `dead_reason` and `last_error`.
    Failed,
}

impl JobStatus {
    const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Completed, Self::Cancelled, Self::Failed];

    /// The states of the queue that look like this from outside.
    fn states(self) -> &'static [&'static str] {
        match self {
            Self::Queued => &["scheduled", "available", "dispatched", "retryable"],
            Self::Running => &["running"],
            Self::Completed => &["completed"],
            Self::Cancelled => &["cancelled"],
            Self::Failed => &["dead"],
        }
    }

    fn of(state: &str) -> Self {
        Self::ALL.into_iter().find(|status| status.states().contains(&state)).unwrap_or(Self::Queued)
    }

    /// Nothing more will happen.
    fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Failed)
    }
}

/// A piece of background work.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "kind": "render_report", "queue": "rendering",
    "status": "running", "state": "running", "progress": 60, "progress_note": "laying out pages",
    "attempt": 1, "max_attempts": 5, "result": null, "dead_reason": null, "last_error": null,
    "cancel_requested": false, "requested_by": "550e8400-e29b-41d4-a716-446655440000",
    "run_at": "2026-11-21T10:00:00Z", "created_at": "2026-11-21T10:00:00Z", "started_at": "2026-11-21T10:00:01Z",
    "finished_at": null}))]
struct Job {
    id: Uuid,
    #[schema(value_type = JobKindWord)]
    kind: String,
    queue: String,
    status: JobStatus,
    /// The state in the queue's own words: `scheduled`, `available`, `dispatched`, `running`, `retryable`,
    /// `completed`, `cancelled`, `dead`.
    state: String,
    /// 0 to 100.
    progress: i16,
    progress_note: Option<String>,
    /// Attempts begun.
    attempt: i32,
    max_attempts: i32,
    /// What came of it; its shape depends on the kind.
    result: Option<serde_json::Value>,
    /// Why it was given up: `exhausted`, `poison`, `invalid_payload`, `timeout` or `discarded`.
    dead_reason: Option<String>,
    last_error: Option<String>,
    cancel_requested: bool,
    /// The user who asked for it, if one did. Not told of work that all organizations share.
    requested_by: Option<Uuid>,
    /// Not to be begun before.
    run_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    /// When the latest attempt began.
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<jobs::Job> for Job {
    fn from(job: jobs::Job) -> Self {
        Self {
            id: job.id,
            kind: job.kind,
            queue: job.queue,
            status: JobStatus::of(&job.state),
            state: job.state,
            progress: job.progress,
            progress_note: job.progress_note,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            result: job.result,
            dead_reason: job.dead_reason,
            last_error: job.last_error,
            cancel_requested: job.cancel_requested,
            requested_by: job.requested_by.filter(|_| !job.is_shared),
            run_at: job.run_at,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
        }
    }
}

/// List jobs
///
/// The organization's own and those that all share (crawls of public sources), the newest first. Finished
/// ones are kept for thirty days.
#[utoipa::path(get, path = "/api/jobs", tag = "jobs", params(PageParams, JobFilter),
    responses((status = 200, body = Page<Job>), SignedIn, Invalid))]
async fn list_jobs(
    mut actor: Actor<ReadOnly>,
    Listing { page, filter }: Listing<JobFilter>,
) -> Result<Page<Job>, ApiError> {
    let states = filter.status.map_or(&[][..], JobStatus::states).to_vec();
    let filter = jobs::Filter { kind: filter.kind, states };
    let jobs = jobs::list(&mut actor.begin().await?, &filter, page).await?;
    Ok(Page::of(jobs))
}

/// Get a job
#[utoipa::path(get, path = "/api/jobs/{job_id}", tag = "jobs",
    params(("job_id" = Uuid, Path, description = "As the 202 gave it.")),
    responses((status = 200, body = Job), SignedIn, Missing))]
async fn get_job(mut actor: Actor<ReadOnly>, Path(id): Path<JobId>) -> Result<Json<Job>, ApiError> {
    let job = jobs::find(&mut actor.begin().await?, id).await?;
    Ok(Json(job.into()))
}

/// Follow a job
///
/// Server-sent events: `progress` with the job as it stands, whenever that changes, and `finished` as the
/// last. Every event has an id; sent back as `Last-Event-ID`, the stream goes on from there, on any server.
/// After `finished` the answer to that is 204, which tells an `EventSource` to stop. The stream ends when the
/// access token expires.
#[utoipa::path(get, path = "/api/jobs/{job_id}/events", tag = "jobs",
    params(("job_id" = Uuid, Path, description = "As the 202 gave it."),
           ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received.")),
    responses((status = 200, description = "A stream of events, each with a job as its data.",
               content_type = "text/event-stream", body = Job),
              (status = 204, description = "The job is finished, and the client knows."), SignedIn, Missing))]
async fn follow_job(
    State(app): State<AppState>,
    mut actor: Actor<ReadOnly>,
    Path(id): Path<JobId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let full = |_| ApiError::Unavailable(anyhow::anyhow!("too many streams are open"));
    let slot = app.streams.clone().try_acquire_owned().map_err(full)?;
    let known = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
    let job: Job = jobs::find(&mut actor.begin().await?, id).await?.into();
    if job.status.is_final() && known.as_deref() == Some(&event_id(&job)) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let listener = Listener {
        id,
        app,
        tenant: actor.tenant,
        until: actor.expires_at,
        known,
        next: Some(job),
        finished: false,
        _slot: slot,
    };
    let stream = Sse::new(events(listener)).keep_alive(KeepAlive::new().interval(PING));
    // nginx would keep events back to fill its buffers.
    Ok(([(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"))], stream)
        .into_response())
}

/// Names the job as it stands: two events with the same id say the same.
fn event_id(job: &Job) -> String {
    let note = job.progress_note.as_deref().unwrap_or_default();
    // The note is told apart by a short sum of its bytes (FNV-1a, 32 bits).
    let sum =
        note.bytes().fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{}.{}.{}.{sum:08x}", job.attempt, job.state, job.progress)
}

struct Listener {
    id: JobId,
    app: AppState,
    tenant: TenantId,
    until: DateTime<Utc>,
    /// The id of the last event that the client has.
    known: Option<String>,
    /// The job, when it has just been looked at.
    next: Option<Job>,
    finished: bool,
    _slot: OwnedSemaphorePermit,
}

fn events(listener: Listener) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(listener, |mut listener| async move {
        if listener.finished {
            return None;
        }
        loop {
            let job = match listener.next.take() {
                Some(job) => job,
                None => listener.look().await?,
            };
            let name = event_id(&job);
            if listener.known.as_ref() == Some(&name) && !job.status.is_final() {
                continue;
            }
            listener.finished = job.status.is_final();
            let event = Event::default()
                .id(&name)
                .retry(RECONNECT)
                .event(if listener.finished { "finished" } else { "progress" })
                .json_data(job)
                .ok()?;
            listener.known = Some(name);
            return Some((Ok(event), listener));
        }
    })
}

impl Listener {
    /// The job a little later; nothing when the stream is to end.
    async fn look(&self) -> Option<Job> {
        tokio::select! {
            () = self.app.stopping.cancelled() => return None,
            () = sleep(LOOK) => {}
        }
        if Utc::now() >= self.until {
            return None;
        }
        // The client connects again if the database was only away for a moment.
        let mut tx = self.app.db.begin(self.tenant).await.ok()?;
        jobs::find(&mut tx, self.id).await.ok().map(Job::from)
    }
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default().routes(routes!(list_jobs)).routes(routes!(get_job)).routes(routes!(follow_job))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_the_queue_has_a_status() {
        let states: Vec<_> = JobStatus::ALL.into_iter().flat_map(JobStatus::states).copied().collect();
        assert_eq!(states.len(), 8);
        for state in states {
            assert!(JobStatus::of(state).states().contains(&state));
        }
    }
}
