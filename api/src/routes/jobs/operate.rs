//! Cancelling and retrying, one job or all that a filter names.
//!
//! A tenant's jobs are its analysts' and administrators' to change; those that all share, the administrators' of the installation.

use chrono::{DateTime, Utc};
use domain::id::JobId;
use queue::Queue;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    TenantTx,
    audit::{self, By},
    jobs::{self, Whose, operate, operate::Changed},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    begin,
    filter::whose,
    invalid,
    states::{DeadReason, JobState},
    view::Job,
};
use crate::{
    error::ApiError,
    extract::{Actor, Admin, Analyst, InstanceAdmin, Json, Path, Policy},
    openapi::{BadBody, Conflicting, Missing, SignedIn},
    state::AppState,
    words::{JobKindWord, QueueWord},
};

/// Jobs that are changed in one transaction.
const CHUNK: i64 = 500;
/// Jobs that are changed by one request.
const AT_MOST: i64 = 10_000;

/// What an operator may do to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Cancel,
    Retry,
}

impl Operation {
    /// The action in the audit trail.
    fn action(self) -> &'static str {
        match self {
            Self::Cancel => "job.cancel",
            Self::Retry => "job.retry",
        }
    }

    /// The states that it can change, when none is asked for.
    fn states(self) -> &'static [&'static str] {
        match self {
            Self::Cancel => &["waiting", "scheduled", "available", "dispatched", "running", "retryable"],
            Self::Retry => &["dead"],
        }
    }

    fn may_change(self, state: &str) -> bool {
        match self {
            Self::Cancel => self.states().contains(&state),
            Self::Retry => ["dead", "cancelled", "retryable"].contains(&state),
        }
    }

    async fn apply(self, tx: &mut TenantTx, jobs: &[JobId]) -> store::Result<Vec<(JobId, Changed)>> {
        match self {
            Self::Cancel => operate::cancel(tx, jobs).await,
            Self::Retry => operate::retry(tx, jobs).await,
        }
    }
}

/// Cancel a job
///
/// What nobody runs is cancelled at once. What a worker runs is ended by it, within moments: the answer then has `cancel_requested`, and the
/// state follows. Cancelling twice is the same as once.
#[utoipa::path(post, path = "/api/jobs/{job_id}/cancel", tag = "jobs",
    params(("job_id" = Uuid, Path, description = "The job.")),
    responses((status = 200, body = Job), SignedIn, Missing, Conflicting))]
async fn cancel_job(actor: Actor<Analyst>, Path(id): Path<JobId>) -> Result<Json<Job>, ApiError> {
    change(&actor, Operation::Cancel, id).await
}

/// Retry a job
///
/// A job that was given up or cancelled begins again with all its attempts; one that waits to be tried again is tried now. Jobs that failed because
/// of it come back with it. A job whose work somebody has asked for again in the meantime is not retried (409).
#[utoipa::path(post, path = "/api/jobs/{job_id}/retry", tag = "jobs",
    params(("job_id" = Uuid, Path, description = "The job.")),
    responses((status = 200, body = Job), SignedIn, Missing, Conflicting))]
async fn retry_job(actor: Actor<Analyst>, Path(id): Path<JobId>) -> Result<Json<Job>, ApiError> {
    change(&actor, Operation::Retry, id).await
}

async fn change(actor: &Actor<Analyst>, operation: Operation, id: JobId) -> Result<Json<Job>, ApiError> {
    let by = actor.by().clone();
    let mut tx = begin(actor).await?;
    let job = jobs::find(&mut tx, id).await?;
    refuse_shared(&job, actor)?;
    match operation.apply(&mut tx, &[id]).await?.iter().find(|(changed, _)| *changed == id) {
        Some((_, Changed::To(_))) => note(&mut tx, &by, operation, &job).await?,
        Some((_, Changed::KeyTaken)) => {
            let why = "The same work has been asked for again since, and another job does it or has done it: look at that one, and cancel \
                       it first if this one should do it";
            return Err(ApiError::Conflict(why.into()));
        }
        None if operation == Operation::Cancel && job.cancel_requested => {}
        None => {
            let job = jobs::find(&mut tx, id).await?;
            let verb = if operation == Operation::Cancel { "cancelled" } else { "retried" };
            return Err(ApiError::Conflict(format!("The job is {}: it cannot be {verb}", job.state)));
        }
    }
    let changed = jobs::find(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(changed.into()))
}

/// What all organizations share is not one's own to change.
pub(super) fn refuse_shared(job: &jobs::Job, actor: &Actor<impl Policy>) -> Result<(), ApiError> {
    match InstanceAdmin::refusal(&actor.user).filter(|_| job.tenant_id.is_none()) {
        Some(why) => Err(ApiError::Forbidden(why)),
        None => Ok(()),
    }
}

pub(super) async fn note_cancelled(tx: &mut TenantTx, by: &By, job: &jobs::Job) -> store::Result<()> {
    note(tx, by, Operation::Cancel, job).await
}

async fn note(tx: &mut TenantTx, by: &By, operation: Operation, job: &jobs::Job) -> store::Result<()> {
    let note = audit::Note {
        action: operation.action(),
        target_type: "job",
        target_id: Some(job.id.to_string()),
        detail: json!({ "kind": job.kind, "state": job.state }),
    };
    let tenant = tx.tenant();
    audit::note(tx, Some(tenant), by, &note).await
}

/// Which jobs are to be changed. At least one thing must be named, so that an empty body changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BulkFilter {
    /// Only this kind.
    #[schema(value_type = Option<JobKindWord>, example = "send_mail")]
    kind: Option<String>,
    /// Only this queue.
    #[schema(value_type = Option<QueueWord>)]
    queue: Option<String>,
    /// Only jobs in this state. Otherwise all that have not ended are cancelled, and all that are `dead` retried.
    state: Option<JobState>,
    /// Only jobs that were given up for this reason; they can be retried, not cancelled.
    dead_reason: Option<DeadReason>,
    /// Made at this moment or later.
    created_from: Option<DateTime<Utc>>,
    /// Made before this moment.
    created_until: Option<DateTime<Utc>>,
    /// Somewhere in the id, the kind, the payload or the last error, whatever the case.
    #[schema(max_length = 200, example = "HTTP 502")]
    text: Option<String>,
    /// For administrators of the installation: `all`, `installation`, or an organization's id.
    tenant: Option<String>,
}

/// What to change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BulkRequest {
    filter: BulkFilter,
    /// Counts what would be changed, and changes nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What was changed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"matched": 120, "changed": 118, "conflicts": 2, "more": false, "dry_run": false}))]
struct BulkAnswer {
    /// Jobs that the filter names, ten thousand at most.
    #[schema(minimum = 0)]
    matched: usize,
    /// Of these, those that were changed.
    #[schema(minimum = 0)]
    changed: usize,
    /// Not retried, because their work has been asked for again.
    #[schema(minimum = 0)]
    conflicts: usize,
    /// There were more than one request changes: send it again.
    more: bool,
    /// As it was asked for: true when nothing was changed.
    dry_run: bool,
}

/// Cancel all jobs of a filter
///
/// Of the organization's own, ten thousand at most with one request. `dry_run` counts them first.
#[utoipa::path(post, path = "/api/jobs/bulk/cancel", tag = "jobs",
    request_body(content = BulkRequest, example = json!({"filter": {"kind": "send_mail", "state": "retryable"}, "dry_run": true})),
    responses((status = 200, body = BulkAnswer), SignedIn, BadBody))]
async fn cancel_jobs(
    actor: Actor<Admin>,
    Json(request): Json<BulkRequest>,
) -> Result<Json<BulkAnswer>, ApiError> {
    change_all(actor, Operation::Cancel, request).await
}

/// Retry all jobs of a filter
///
/// Of the organization's own, ten thousand at most with one request. `dry_run` counts them first.
#[utoipa::path(post, path = "/api/jobs/bulk/retry", tag = "jobs",
    request_body(content = BulkRequest, example = json!({"filter": {"kind": "send_mail", "dead_reason": "exhausted"}, "dry_run": true})),
    responses((status = 200, body = BulkAnswer), SignedIn, BadBody))]
async fn retry_jobs(
    actor: Actor<Admin>,
    Json(request): Json<BulkRequest>,
) -> Result<Json<BulkAnswer>, ApiError> {
    change_all(actor, Operation::Retry, request).await
}

async fn change_all(
    actor: Actor<Admin>,
    operation: Operation,
    request: BulkRequest,
) -> Result<Json<BulkAnswer>, ApiError> {
    let filter = request.filter.checked(operation, &actor)?;
    let by = actor.by().clone();
    let mut answer =
        BulkAnswer { matched: 0, changed: 0, conflicts: 0, more: false, dry_run: request.dry_run };
    let mut last = None;
    loop {
        let mut tx = begin(&actor).await?;
        let room = AT_MOST - i64::try_from(answer.matched).unwrap_or(AT_MOST);
        let found = operate::matching(&mut tx, &filter, last, CHUNK.min(room) + 1).await?;
        let chunk = &found[..found.len().min(usize::try_from(CHUNK.min(room)).unwrap_or(0))];
        answer.matched += chunk.len();
        answer.more = chunk.len() < found.len();
        if !request.dry_run && !chunk.is_empty() {
            for (id, changed) in operation.apply(&mut tx, chunk).await? {
                match changed {
                    Changed::To(_) if chunk.contains(&id) => answer.changed += 1,
                    // What came back with one of them was not asked for by itself.
                    Changed::To(_) => {}
                    Changed::KeyTaken => answer.conflicts += 1,
                }
            }
            let is_end = !answer.more || chunk.len() < usize::try_from(CHUNK).unwrap_or(0);
            if is_end {
                note_all(&mut tx, &by, operation, &request.filter, &answer).await?;
            }
            last = chunk.last().copied();
            tx.commit().await?;
        } else {
            last = chunk.last().copied();
        }
        if !answer.more || i64::try_from(answer.matched).unwrap_or(AT_MOST) >= AT_MOST {
            return Ok(Json(answer));
        }
    }
}

async fn note_all(
    tx: &mut TenantTx,
    by: &By,
    operation: Operation,
    filter: &BulkFilter,
    answer: &BulkAnswer,
) -> store::Result<()> {
    let note = audit::Note {
        action: operation.action(),
        target_type: "jobs",
        target_id: None,
        detail: json!({ "filter": filter, "matched": answer.matched, "changed": answer.changed }),
    };
    let tenant = tx.tenant();
    audit::note(tx, Some(tenant), by, &note).await
}

impl BulkFilter {
    fn checked(&self, operation: Operation, actor: &Actor<Admin>) -> Result<jobs::Filter, ApiError> {
        if *self == (Self { tenant: self.tenant.clone(), ..Self::default() }) {
            let why =
                "Name at least one of kind, queue, state, dead_reason, created_from, created_until and text";
            return Err(ApiError::BadRequest(why.into()));
        }
        if let Some(kind) = &self.kind
            && !queue::jobs::ALL.iter().any(|known| known.name == kind)
        {
            return Err(invalid("body -> filter -> kind", format!("there is no kind `{kind}`")));
        }
        if let Some(Err(why)) = self.queue.as_deref().map(str::parse::<Queue>) {
            return Err(invalid("body -> filter -> queue", why));
        }
        let states = match self.state {
            None if self.dead_reason.is_some() => vec!["dead"],
            None => operation.states().to_vec(),
            Some(state) => vec![state.word()],
        };
        if !states.iter().all(|state| operation.may_change(state)) {
            let verb = if operation == Operation::Cancel { "cancelled" } else { "retried" };
            return Err(invalid("body -> filter", format!("what is {} cannot be {verb}", states.join(", "))));
        }
        let whose = match whose(self.tenant.as_deref(), "body -> filter -> tenant", actor)? {
            Whose::Of(None) if InstanceAdmin::refusal(&actor.user).is_some() => {
                let why = "What all organizations share is for administrators of the installation";
                return Err(ApiError::Forbidden(why.into()));
            }
            whose => whose,
        };
        Ok(jobs::Filter {
            whose,
            kind: self.kind.clone(),
            queue: self.queue.clone(),
            states,
            dead_reason: self.dead_reason.map(|reason| reason.word().to_owned()),
            from: self.created_from,
            until: self.created_until,
            text: self.text.clone(),
        })
    }
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(cancel_job))
        .routes(routes!(retry_job))
        .routes(routes!(cancel_jobs))
        .routes(routes!(retry_jobs))
}
