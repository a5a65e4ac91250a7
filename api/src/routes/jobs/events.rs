//! What happens to one job, as it happens.
//!
//! Nothing is kept for it: the steps of a job (an attempt began, an attempt ended) are the rows of its attempts, which only grow, so the number
//! of steps told is all that a client has to remember. Whatever came to pass while it was away is told when it is back, by
//! any server.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

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
use serde::Serialize;
use store::{
    TenantTx,
    jobs::{self, detail},
};
use tokio::{sync::OwnedSemaphorePermit, time::sleep};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::view::{Attempt, Job};
use crate::{
    error::ApiError,
    extract::{Actor, InstanceAdmin, Path, Policy, ReadOnly},
    openapi::{Missing, SignedIn},
    state::AppState,
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How often a subject is looked at while somebody listens.
const LOOK: Duration = Duration::from_millis(400);
/// How often a silent stream says that it still lives.
const PING: Duration = Duration::from_secs(15);
/// How long a client should wait before it connects again.
const RECONNECT: Duration = Duration::from_secs(2);

/// Something that can be followed: a job or a batch.
pub(super) trait Subject: Send + 'static {
    /// What there is to tell since the last look, the first time since `known`, the id of the last event that the client has. The end is told by
    /// [`Told::Last`]; nothing is told twice.
    fn look(&mut self, tx: &mut TenantTx) -> impl Future<Output = store::Result<Told>> + Send;
}

/// What a look found.
pub(super) enum Told {
    More(Vec<Event>),
    /// These, and then nothing ever again.
    Last(Vec<Event>),
}

/// A stream about `subject`, or 204 when its end is known already.
pub(super) async fn follow<S: Subject>(
    app: AppState,
    actor: &Actor<impl Policy>,
    mut subject: S,
) -> Result<Response, ApiError> {
    let full = |_| ApiError::Unavailable(anyhow::anyhow!("too many streams are open"));
    let slot = app.streams.clone().try_acquire_owned().map_err(full)?;
    let first = subject.look(&mut super::begin(actor).await?).await?;
    if matches!(&first, Told::Last(events) if events.is_empty()) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let mut listener = Listener {
        subject,
        app,
        tenant: actor.tenant,
        sees_installation: InstanceAdmin::refusal(&actor.user).is_none(),
        until: actor.expires_at,
        waiting: VecDeque::new(),
        finished: false,
        _slot: slot,
    };
    listener.take(first);
    let stream = Sse::new(events(listener)).keep_alive(KeepAlive::new().interval(PING));
    // nginx would keep events back to fill its buffers.
    Ok(([(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"))], stream)
        .into_response())
}

struct Listener<S> {
    subject: S,
    app: AppState,
    tenant: TenantId,
    sees_installation: bool,
    until: DateTime<Utc>,
    /// Found, and not sent yet.
    waiting: VecDeque<Event>,
    finished: bool,
    _slot: OwnedSemaphorePermit,
}

fn events<S: Subject>(listener: Listener<S>) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(listener, |mut listener| async move {
        loop {
            if let Some(event) = listener.waiting.pop_front() {
                return Some((Ok(event.retry(RECONNECT)), listener));
            }
            if listener.finished {
                return None;
            }
            let told = listener.look().await?;
            listener.take(told);
        }
    })
}

impl<S: Subject> Listener<S> {
    fn take(&mut self, told: Told) {
        let (events, finished) = match told {
            Told::More(events) => (events, false),
            Told::Last(events) => (events, true),
        };
        self.waiting.extend(events);
        self.finished = finished;
    }

    /// What there is a little later; nothing when the stream is to end.
    async fn look(&mut self) -> Option<Told> {
        tokio::select! {
            () = self.app.stopping.cancelled() => return None,
            () = sleep(LOOK) => {}
        }
        if Utc::now() >= self.until {
            return None;
        }
        // The client connects again if the database was only away for a moment.
        let mut tx = self.app.db.begin(self.tenant).await.ok()?;
        if self.sees_installation {
            tx.see_installation().await.ok()?;
        }
        self.subject.look(&mut tx).await.ok()
    }
}

/// The id of the last event that the client has, if it has one.
pub(super) fn last_event_id(headers: &HeaderMap) -> Option<String> {
    headers.get(LAST_EVENT_ID)?.to_str().ok().map(str::to_owned)
}

/// A step in the life of a job.
#[derive(Debug, Serialize, ToSchema)]
struct AttemptEvent {
    job_id: Uuid,
    #[serde(flatten)]
    attempt: Attempt,
}

/// A job that somebody follows.
struct FollowedJob {
    id: JobId,
    /// Steps that were told.
    steps: usize,
    /// How the job stood when it was last told.
    standing: Option<String>,
    /// Changes with every step; as long as it does not, there is none to be looked for.
    looked_at: Option<(String, i32, i32, Option<DateTime<Utc>>)>,
}

impl FollowedJob {
    fn since(id: JobId, known: Option<&str>) -> Self {
        let known = known.and_then(|id| id.split_once('.'));
        let known = known.and_then(|(steps, standing)| Some((steps.parse().ok()?, standing.to_owned())));
        let (steps, standing) = known.map_or((0, None), |(steps, standing)| (steps, Some(standing)));
        Self { id, steps, standing, looked_at: None }
    }
}

/// Names the job as it stands: two that stand the same are named the same.
fn standing(job: &Job) -> String {
    let note = job.progress_note.as_deref().unwrap_or_default();
    // The note is told apart by a short sum of its bytes (FNV-1a, 32 bits).
    let sum =
        note.bytes().fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let asked = if job.cancel_requested { "!" } else { "" };
    format!("{}.{}{asked}.{}.{sum:08x}", job.attempt, job.state, job.progress)
}

impl Subject for FollowedJob {
    async fn look(&mut self, tx: &mut TenantTx) -> store::Result<Told> {
        let row = jobs::find(tx, self.id).await?;
        let looked_at = (row.state.clone(), row.attempt, row.crashes, row.started_at);
        let mut events = Vec::new();
        if self.looked_at.as_ref() != Some(&looked_at) {
            let known = self.standing.clone().unwrap_or_default();
            for attempt in detail::attempts(tx, self.id).await?.into_iter().skip(self.steps / 2) {
                let has_ended = attempt.ended_at.is_some();
                let told = |name: &str, steps: usize, attempt: detail::Attempt| {
                    let event = AttemptEvent { job_id: self.id.0, attempt: attempt.into() };
                    Event::default().id(format!("{steps}.{known}")).event(name).json_data(event)
                };
                if self.steps.is_multiple_of(2) {
                    let began = detail::Attempt {
                        ended_at: None,
                        outcome: None,
                        error_class: None,
                        error: None,
                        ..attempt.clone()
                    };
                    events.extend(told("attempt_started", self.steps + 1, began).ok());
                    self.steps += 1;
                }
                if has_ended {
                    events.extend(told("attempt_ended", self.steps + 1, attempt).ok());
                    self.steps += 1;
                }
            }
            self.looked_at = Some(looked_at);
        }
        let job = Job::from(row);
        let is_final = job.status.is_final();
        let standing = standing(&job);
        if self.standing.as_ref() != Some(&standing) {
            let name = if is_final { "finished" } else { "progress" };
            let id = format!("{}.{standing}", self.steps);
            events.extend(Event::default().id(id).event(name).json_data(job).ok());
            self.standing = Some(standing);
        }
        Ok(if is_final { Told::Last(events) } else { Told::More(events) })
    }
}

/// Follow a job
///
/// Server-sent events: `attempt_started` and `attempt_ended` with the attempt, `progress` with the job as it stands,
/// whenever that changes, and `finished` as the last. Every event has an id; sent back as `Last-Event-ID`,
/// the stream goes on from there, on any server, and leaves out no attempt. After `finished` the answer to that is 204, which tells an
/// `EventSource` to stop. The stream ends when the access token expires.
#[utoipa::path(get, path = "/api/jobs/{job_id}/events", tag = "jobs",
    params(("job_id" = Uuid, Path, description = "As the 202 gave it."),
           ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received.")),
    responses((status = 200, description = "A stream of events, each with a job or an attempt as its data.",
               content_type = "text/event-stream", body = Job),
              (status = 204, description = "The job is finished, and the client knows."), SignedIn, Missing))]
async fn follow_job(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Path(id): Path<JobId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let job = FollowedJob::since(id, last_event_id(&headers).as_deref());
    follow(app, &actor, job).await
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default().routes(routes!(follow_job))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_an_event_says_what_the_client_knows() {
        let job = JobId::new();
        let known = FollowedJob::since(job, Some("3.1.running.40.811c9dc5"));
        assert_eq!((known.steps, known.standing.as_deref()), (3, Some("1.running.40.811c9dc5")));
        for fresh in [None, Some(""), Some("nonsense"), Some("x.1")] {
            let known = FollowedJob::since(job, fresh);
            assert_eq!((known.steps, known.standing), (0, None), "{fresh:?}");
        }
    }
}
