//! Background work: what was accepted, how far it is, how it ended, and why it is not running.
//!
//! Here are the list and the single job; `events` streams what happens to one, `operate` cancels and retries, `batches` are jobs
//! that belong together.

mod batches;
mod events;
mod operate;

use chrono::{DateTime, Utc};
use domain::id::{JobId, TenantId};
use queue::{Queue, error::Class, explain};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use store::{
    TenantTx,
    jobs::{self, Cursor, Whose, detail},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    error::{ApiError, FieldError},
    extract::{Actor, InstanceAdmin, Json, Listing, PageParams, Path, Policy, ReadOnly, word},
    openapi::{Invalid, Missing, SignedIn, WithRole},
    state::AppState,
    words::{JobKindWord, QueueWord},
};

/// Which jobs are wanted. What is not named does not matter.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct JobFilter {
    /// Only this kind.
    #[serde(default, deserialize_with = "kind")]
    #[param(inline, value_type = Option<JobKindWord>, example = "render_report")]
    kind: Option<String>,
    /// Only this queue.
    #[serde(default, deserialize_with = "word")]
    #[param(inline, value_type = Option<QueueWord>, example = "rendering")]
    queue: Option<Queue>,
    /// Only jobs that stand there.
    #[param(inline)]
    status: Option<JobStatus>,
    /// Only jobs in this state of the queue, which says more than `status`.
    #[param(inline)]
    state: Option<JobState>,
    /// Only jobs that were given up for this reason.
    #[param(inline)]
    dead_reason: Option<DeadReason>,
    /// Made at this moment or later.
    #[param(example = "2026-11-21T00:00:00Z")]
    created_from: Option<DateTime<Utc>>,
    /// Made before this moment.
    #[param(example = "2026-11-22T00:00:00Z")]
    created_until: Option<DateTime<Utc>>,
    /// Somewhere in the id, the kind, the payload or the last error, whatever the case.
    #[param(max_length = 200, example = "HTTP 502")]
    text: Option<String>,
    /// For administrators of the installation: `all`, `installation` (work of no organization), or an organization's id.
    #[param(example = "all")]
    tenant: Option<String>,
    /// The `next_cursor` of the answer before: goes on from there, at the same cost however far that is.
    #[param(example = "6442a1b2c3d4e.0199f8a26c1e7b629a535e1f0c2d4b7a")]
    cursor: Option<String>,
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

impl JobFilter {
    /// As the store takes it, and where to go on.
    fn checked(self, actor: &Actor<impl Policy>) -> Result<(jobs::Filter, Option<Cursor>), ApiError> {
        let whose = whose(self.tenant.as_deref(), actor)?;
        let cursor = self.cursor.as_deref().map(str::parse).transpose();
        let cursor = cursor.map_err(|why: String| invalid("query -> cursor", why))?;
        let states = match (self.state, self.status) {
            (Some(state), _) => vec![state.word()],
            (None, Some(status)) => status.states().to_vec(),
            (None, None) => Vec::new(),
        };
        let filter = jobs::Filter {
            whose,
            kind: self.kind,
            queue: self.queue.map(|queue| queue.as_str().to_owned()),
            states,
            dead_reason: self.dead_reason.map(|reason| reason.word().to_owned()),
            from: self.created_from,
            until: self.created_until,
            text: self.text,
        };
        Ok((filter, cursor))
    }
}

/// Whose jobs `asked` names; those of others are for administrators of the installation.
fn whose(asked: Option<&str>, actor: &Actor<impl Policy>) -> Result<Whose, ApiError> {
    let Some(asked) = asked else { return Ok(Whose::Visible) };
    let whose = match asked {
        "all" => Whose::All,
        "installation" => Whose::Of(None),
        id => {
            let id = id.parse().map_err(|_| {
                invalid("tenant", format!("`{id}` is not one of all, installation, or an organization's id"))
            })?;
            Whose::Of(Some(TenantId(id)))
        }
    };
    let own = whose == Whose::Of(Some(actor.tenant)) || whose == Whose::Of(None);
    match InstanceAdmin::refusal(&actor.user).filter(|_| !own) {
        Some(why) => Err(ApiError::Forbidden(why)),
        None => Ok(whose),
    }
}

fn invalid(field: &str, message: impl Into<String>) -> ApiError {
    ApiError::Invalid(vec![FieldError::value(field, message)])
}

/// A transaction that sees what the actor may: its tenant's jobs and those that all share; administrators of the installation
/// see all.
async fn begin(actor: &mut Actor<impl Policy>) -> Result<TenantTx, ApiError> {
    let mut tx = actor.begin().await?;
    if InstanceAdmin::refusal(&actor.user).is_none() {
        tx.see_installation().await?;
    }
    Ok(tx)
}

macro_rules! vocabulary {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $word_doc:literal])* $word:ident = $text:literal),+ $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        enum $name { $($(#[doc = $word_doc])* $word),+ }

        impl $name {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$word),+];

            /// The word in the rows.
            fn word(self) -> &'static str {
                match self { $(Self::$word => $text),+ }
            }
        }
    };
}

vocabulary! {
    /// A state of the queue.
    JobState {
        /// For the jobs that it depends on.
        Waiting = "waiting",
        /// For its time.
        Scheduled = "scheduled",
        /// Due.
        Available = "available",
        /// Sent to the workers.
        Dispatched = "dispatched",
        Running = "running",
        /// Failed, and comes again.
        Retryable = "retryable",
        Completed = "completed",
        Cancelled = "cancelled",
        /// Given up.
        Dead = "dead",
    }
}

vocabulary! {
    /// Why a job was given up.
    DeadReason {
        /// Every attempt failed.
        Exhausted = "exhausted",
        /// Workers vanished while they had it.
        Poison = "poison",
        /// Its payload cannot be read.
        InvalidPayload = "invalid_payload",
        /// The last attempt did not end in its time.
        Timeout = "timeout",
        /// The handler said that trying again cannot help.
        Discarded = "discarded",
        /// A job that it depends on was cancelled or given up.
        Dependency = "dependency",
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum JobStatus {
    /// Accepted, and waiting: for other jobs, for its time, for a worker, or to be tried again.
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
            Self::Queued => &["waiting", "scheduled", "available", "dispatched", "retryable"],
            Self::Running => &["running"],
            Self::Completed => &["completed"],
            Self::Cancelled => &["cancelled"],
            Self::Failed => &["dead"],
        }
    }

    fn of(state: &str) -> Self {
        Self::ALL.into_iter().find(|status| status.states().contains(&state)).unwrap_or(Self::Queued)
    }

    /// Nothing more will happen by itself.
    fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Failed)
    }
}

/// A piece of background work.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "kind": "render_report", "queue": "rendering", "priority": 5,
    "status": "running", "state": "running", "progress": 60, "progress_note": "laying out pages",
    "attempt": 1, "max_attempts": 5, "crashes": 0, "result": null, "links": {"report": "/api/reports/0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7b"},
    "dead_reason": null, "last_error": null, "cancel_requested": false,
    "requested_by": "550e8400-e29b-41d4-a716-446655440000", "tenant_id": "550e8400-e29b-41d4-a716-446655440001",
    "run_at": "2026-11-21T10:00:00Z", "created_at": "2026-11-21T10:00:00Z", "started_at": "2026-11-21T10:00:01Z",
    "finished_at": null}))]
struct Job {
    id: Uuid,
    /// The organization it is done for; null for work that all share, such as crawling a public source.
    tenant_id: Option<Uuid>,
    #[schema(value_type = JobKindWord)]
    kind: String,
    #[schema(value_type = QueueWord)]
    queue: String,
    /// 0 is served first, 9 last.
    priority: i16,
    status: JobStatus,
    /// The state in the queue's own words.
    #[schema(value_type = JobState)]
    state: String,
    /// 0 to 100.
    progress: i16,
    progress_note: Option<String>,
    /// Attempts begun.
    attempt: i32,
    max_attempts: i32,
    /// Workers that vanished while they had it.
    crashes: i32,
    /// What came of it; its shape depends on the kind.
    result: Option<Value>,
    /// What it is about and what it made, by name, each with its path.
    #[schema(additional_properties = true)]
    links: Value,
    /// Why it was given up.
    #[schema(value_type = Option<DeadReason>)]
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
            links: links(&job),
            id: job.id,
            tenant_id: job.tenant_id,
            kind: job.kind,
            queue: job.queue,
            priority: job.priority,
            status: JobStatus::of(&job.state),
            state: job.state,
            progress: job.progress,
            progress_note: job.progress_note,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            crashes: job.crashes,
            result: job.result,
            dead_reason: job.dead_reason,
            last_error: job.last_error,
            cancel_requested: job.cancel_requested,
            requested_by: job.requested_by.filter(|_| job.tenant_id.is_some()),
            run_at: job.run_at,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
        }
    }
}

/// Where to look at what a job is about and what it made.
fn links(job: &jobs::Job) -> Value {
    let result = job.result.as_ref().unwrap_or(&Value::Null);
    let id = |value: &Value| value.as_str().map(str::to_owned);
    match job.kind.as_str() {
        "render_report" => match (id(&job.payload["report_id"]), job.state.as_str()) {
            (Some(report), "completed") => {
                json!({ "report": format!("/api/reports/{report}"), "file": format!("/api/reports/{report}/download") })
            }
            (Some(report), _) => json!({ "report": format!("/api/reports/{report}") }),
            (None, _) => json!({}),
        },
        "ingest_inventory" => match id(&result["asset_id"]) {
            Some(asset) => json!({ "asset": format!("/api/assets/{asset}") }),
            None => json!({}),
        },
        "correlate" => match id(&job.payload["asset_id"]) {
            Some(asset) => json!({ "findings": format!("/api/vuln-matches?asset_id={asset}") }),
            None => json!({ "findings": "/api/vuln-matches" }),
        },
        "crawl_source" => match id(&result["source"]) {
            Some(slug) => json!({ "runs": format!("/api/scan-runs?source_slug={slug}") }),
            None => json!({}),
        },
        "finish_batch" => json!({ "batch": format!("/api/batches/{}", job.id) }),
        _ => json!({}),
    }
}

/// One attempt at a job.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Attempt {
    /// Counted from 1. One that did not count (put off, interrupted, left to a newer build, lost with its worker) is followed by
    /// another of the same number.
    attempt: i32,
    /// The worker process: host, process number and a random part.
    worker: String,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    /// `completed`, `retry`, `snoozed`, `cancelled`, `interrupted`, `left_to_newer`, `crashed` or `dead`; null while it runs.
    outcome: Option<String>,
    /// What kind of trouble it was.
    error_class: Option<String>,
    error: Option<String>,
    /// What to do about it.
    hint: Option<&'static str>,
}

impl From<detail::Attempt> for Attempt {
    fn from(attempt: detail::Attempt) -> Self {
        let is_left = attempt.outcome.as_deref() == Some("left_to_newer");
        let error_class = attempt.error_class.or_else(|| is_left.then(|| Class::Newer.as_str().to_owned()));
        Self {
            attempt: attempt.attempt,
            worker: attempt.worker,
            started_at: attempt.started_at,
            ended_at: attempt.ended_at,
            outcome: attempt.outcome,
            hint: error_class.as_deref().map(|word| Class::from_word(word).hint()),
            error_class,
            error: attempt.error,
        }
    }
}

/// One job that waits for another.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Dependency {
    job_id: Uuid,
    /// Null when that job is there no more.
    kind: Option<String>,
    state: Option<String>,
    /// What happens to the one that waits when the other is cancelled or given up: `fail`, `run`, `wait` until somebody has retried it, or
    /// `first_attempt`: run, without waiting for a second one.
    on_failure: String,
    /// How the other one ended: `completed`, `cancelled`, `dead`, or `went_on` where it was not waited for any longer.
    outcome: Option<String>,
    resolved_at: Option<DateTime<Utc>>,
}

impl From<detail::Dependency> for Dependency {
    fn from(dependency: detail::Dependency) -> Self {
        Self {
            job_id: dependency.id,
            kind: dependency.kind,
            state: dependency.state,
            on_failure: dependency.on_failure,
            outcome: dependency.outcome,
            resolved_at: dependency.resolved_at,
        }
    }
}

/// Why a job is not running.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Reason {
    /// For programs: `queue_paused`, `queue_limit`, `tenant_limit`, `rate_limit`, `concurrency_key`, `dependency`, `retry_at`,
    /// `not_before`, `no_worker`, `workers_quiet`, `newer_version`, `unknown_kind`, `behind_others`, `no_free_slot`, `dispatched`,
    /// `no_scheduler` or `about_to_start`.
    code: &'static str,
    /// In plain words.
    text: String,
}

/// A job with everything that is known of it.
#[derive(Debug, Serialize, ToSchema)]
struct JobDetail {
    #[serde(flatten)]
    job: Job,
    /// Why it is not running, while it is queued.
    why_not_running: Vec<Reason>,
    /// Every attempt, the first one first.
    attempts: Vec<Attempt>,
    /// What it waits for or has waited for, at most two hundred.
    depends_on: Vec<Dependency>,
    /// Who waits for it or has waited for it, at most two hundred.
    dependents: Vec<Dependency>,
}

/// A page of jobs, and where to go on.
#[derive(Debug, Serialize, ToSchema)]
struct JobPage {
    data: Vec<Job>,
    /// Jobs on all pages together, counted on the first page only, and to ten thousand at most.
    #[schema(minimum = 0)]
    total: Option<i64>,
    /// False when there are more than `total`.
    total_is_exact: Option<bool>,
    #[schema(minimum = 1)]
    page: u32,
    #[schema(minimum = 1, maximum = 500)]
    page_size: u32,
    /// Send it as `cursor` for what follows; null when nothing does. There may be one though `data` is short, even empty: for a rare kind or
    /// text, an answer looks at ten thousand jobs at most.
    next_cursor: Option<String>,
}

/// List jobs
///
/// The organization's own and those that all share (crawls of public sources), the newest first. Finished
/// ones are kept for thirty days. Go on with `next_cursor`.
#[utoipa::path(get, path = "/api/jobs", tag = "jobs", params(PageParams, JobFilter),
    responses((status = 200, body = JobPage), WithRole, Invalid))]
async fn list_jobs(
    mut actor: Actor<ReadOnly>,
    Listing { page, filter }: Listing<JobFilter>,
) -> Result<Json<JobPage>, ApiError> {
    let (filter, cursor) = filter.checked(&actor)?;
    let mut tx = begin(&mut actor).await?;
    let slice = jobs::list(&mut tx, &filter, page, cursor).await?;
    let total = match cursor {
        None if page.page == 1 => Some(jobs::count(&mut tx, &filter).await?),
        _ => None,
    };
    Ok(Json(JobPage {
        data: slice.items.into_iter().map(Job::from).collect(),
        total: total.map(|total| total.jobs),
        total_is_exact: total.map(|total| total.is_exact),
        page: page.page,
        page_size: page.size,
        next_cursor: slice.next.map(|cursor| cursor.to_string()),
    }))
}

/// Get a job
///
/// With its attempts, what it waits for, and why it is not running.
#[utoipa::path(get, path = "/api/jobs/{job_id}", tag = "jobs",
    params(("job_id" = Uuid, Path, description = "As the 202 gave it.")),
    responses((status = 200, body = JobDetail), SignedIn, Missing))]
async fn get_job(mut actor: Actor<ReadOnly>, Path(id): Path<JobId>) -> Result<Json<JobDetail>, ApiError> {
    let mut tx = begin(&mut actor).await?;
    Ok(Json(load(&mut tx, id).await?))
}

async fn load(tx: &mut TenantTx, id: JobId) -> Result<JobDetail, ApiError> {
    let job = jobs::find(tx, id).await?;
    let depends_on = detail::depends_on(tx, id).await?;
    let why_not_running = match JobStatus::of(&job.state) {
        JobStatus::Queued => {
            let standing = detail::standing(tx, id).await?;
            explain::why_not_running(&job, &standing, &depends_on)
        }
        _ => Vec::new(),
    };
    Ok(JobDetail {
        job: job.into(),
        why_not_running: why_not_running
            .into_iter()
            .map(|reason| Reason { code: reason.code, text: reason.text })
            .collect(),
        attempts: detail::attempts(tx, id).await?.into_iter().map(Attempt::from).collect(),
        depends_on: depends_on.into_iter().map(Dependency::from).collect(),
        dependents: detail::dependents(tx, id).await?.into_iter().map(Dependency::from).collect(),
    })
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_jobs))
        .routes(routes!(get_job))
        .merge(events::router())
        .merge(operate::router())
        .merge(batches::router())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_the_queue_has_a_status() {
        let states: Vec<_> = JobStatus::ALL.into_iter().flat_map(JobStatus::states).copied().collect();
        assert_eq!(states.len(), JobState::ALL.len());
        for state in JobState::ALL {
            assert!(JobStatus::of(state.word()).states().contains(&state.word()));
        }
    }

    #[test]
    fn the_words_of_the_api_are_those_of_the_rows() {
        for state in JobState::ALL {
            assert_eq!(json!(state), state.word());
        }
        for reason in DeadReason::ALL {
            assert_eq!(json!(reason), reason.word());
        }
    }
}
