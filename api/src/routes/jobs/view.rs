//! A job as it is shown: itself, its attempts, what it waits for, and why it is not running.

use chrono::{DateTime, Utc};
use queue::{error::Class, explain};
use serde::Serialize;
use serde_json::{Value, json};
use store::jobs::{self, detail};
use utoipa::ToSchema;
use uuid::Uuid;

use super::states::{DeadReason, JobState, JobStatus};
use crate::words::{JobKindWord, QueueWord};

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
pub(super) struct Job {
    id: Uuid,
    /// The organization it is done for; null for work that all share, such as crawling a public source.
    tenant_id: Option<Uuid>,
    #[schema(value_type = JobKindWord)]
    kind: String,
    #[schema(value_type = QueueWord)]
    queue: String,
    /// 0 is served first, 9 last.
    priority: i16,
    pub(super) status: JobStatus,
    /// The state in the queue's own words.
    #[schema(value_type = JobState)]
    pub(super) state: String,
    /// 0 to 100.
    pub(super) progress: i16,
    /// What it is about at the moment, in words.
    pub(super) progress_note: Option<String>,
    /// Attempts begun.
    pub(super) attempt: i32,
    /// So many attempts are made before it is given up.
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
    /// What went wrong with the latest attempt; null: nothing has.
    last_error: Option<String>,
    /// Somebody cancelled it, and its worker has not ended it yet.
    pub(super) cancel_requested: bool,
    /// The user who asked for it, if one did. Not told of work that all organizations share.
    requested_by: Option<Uuid>,
    /// Not to be begun before.
    run_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    /// When the latest attempt began.
    started_at: Option<DateTime<Utc>>,
    /// Null: it has not come to an end.
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
        "pull_inventory" => match id(&job.payload["integration"]) {
            Some(integration) => {
                let changed = result["asset_ids"].as_array().into_iter().flatten().filter_map(id);
                let assets: Vec<_> = changed.map(|asset| format!("/api/assets/{asset}")).collect();
                json!({ "runs": format!("/api/scan-runs?source_slug={integration}"), "assets": assets })
            }
            None => json!({}),
        },
        "finish_batch" => json!({ "batch": format!("/api/batches/{}", job.id) }),
        _ => json!({}),
    }
}

/// One attempt at a job.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({
    "attempt": 1, "worker": "worker-1-4711-1f0c2d4b", "started_at": "2026-11-21T10:00:01Z", "ended_at": "2026-11-21T10:00:31Z",
    "outcome": "retry", "error_class": "upstream", "error": "HTTP 502 from https://feeds.example.com/", "hint": null}))]
pub(super) struct Attempt {
    /// Counted from 1. One that did not count (put off, interrupted, left to a newer build, lost with its worker) is followed by
    /// another of the same number.
    attempt: i32,
    /// The worker process: host, process number and a random part.
    worker: String,
    started_at: DateTime<Utc>,
    /// Null while it runs.
    ended_at: Option<DateTime<Utc>>,
    /// `completed`, `retry`, `snoozed`, `cancelled`, `interrupted`, `left_to_newer`, `crashed` or `dead`; null while it runs.
    outcome: Option<String>,
    /// What kind of trouble it was.
    error_class: Option<String>,
    /// What went wrong; or, where nothing did, why it was put off, left to a newer build or interrupted.
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
#[schema(example = json!({"job_id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7d", "kind": "crawl_source", "state": "completed",
    "on_failure": "run", "outcome": "completed", "resolved_at": "2026-11-21T10:00:00Z"}))]
pub(super) struct Dependency {
    /// The other one.
    job_id: Uuid,
    /// Null when that job is there no more.
    kind: Option<String>,
    /// Where it stands. Null when it is there no more.
    state: Option<String>,
    /// What happens to the one that waits when the other is cancelled or given up: `fail`, `run`, `wait` until somebody has retried it, or
    /// `first_attempt`: run, without waiting for a second one.
    on_failure: String,
    /// How the other one ended: `completed`, `cancelled`, `dead`, or `went_on` where it was not waited for any longer.
    outcome: Option<String>,
    /// Since when it is not waited for. Null: it still is.
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
#[schema(example = json!({"code": "queue_paused", "text": "The queue rendering is paused."}))]
pub(super) struct Reason {
    /// For programs: `queue_paused`, `queue_limit`, `tenant_limit`, `rate_limit`, `concurrency_key`, `dependency`, `retry_at`,
    /// `snoozed`, `not_before`, `no_worker`, `workers_quiet`, `newer_version`, `unknown_kind`, `behind_others`, `no_free_slot`, `dispatched`,
    /// `no_scheduler` or `about_to_start`.
    code: &'static str,
    /// In plain words.
    text: String,
}

impl From<explain::Reason> for Reason {
    fn from(reason: explain::Reason) -> Self {
        Self { code: reason.code, text: reason.text }
    }
}
