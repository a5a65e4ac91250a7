//! What is counted, all of it: [`ALL`] is the catalogue, `docs/OPERATIONS.md` explains each entry, a test compares the two.
//!
//! `JOBS_FINISHED.add([queue, kind, outcome], 1)` wherever it happens; [`crate::admin`] shows them to Prometheus. Labels are
//! words of ours (queues, kinds, route templates), never a tenant, a person or an id, so that the number of
//! series is bounded. Names and units follow the conventions of Prometheus: `_total`, `_seconds`, `_bytes`.

mod instruments;
mod process;

pub use instruments::{Counter, Gauge, Held, Histogram, Word};

use std::collections::BTreeSet;

use instruments::Metric;
use prometheus_client::{encoding::text, registry::Registry};

/// From a job being due to a worker having it: milliseconds when all is well, hours when nobody works.
const WAITS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0];
/// Work of jobs.
const WORK: &[f64] = &[0.005, 0.025, 0.1, 0.5, 2.0, 10.0, 30.0, 120.0, 600.0];
/// Requests.
const REQUESTS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

pub static BUILD_INFO: Gauge<1> = Gauge::new("build_info", ["version"], "1, for the version that runs");

pub static JOBS_ENQUEUED: Counter<2> =
    Counter::new("jobs_enqueued", ["queue", "kind"], "Jobs written by transactions that were committed");
pub static JOBS_FINISHED: Counter<3> = Counter::new(
    "jobs_finished",
    ["queue", "kind", "outcome"],
    "Attempts, and jobs that none was made at, that ended, by how",
);
pub static JOBS_RETRIED: Counter<3> = Counter::new(
    "jobs_retried",
    ["queue", "kind", "class"],
    "Attempts that failed and will be made again, by why",
);
pub static JOBS_DEAD: Counter<3> =
    Counter::new("jobs_dead", ["queue", "kind", "reason"], "Jobs given up, by why");
pub static JOBS_UNKNOWN_VERSION: Counter<2> = Counter::new(
    "jobs_unknown_version",
    ["queue", "kind"],
    "Attempts handed back because a newer build wrote the job",
);
pub static JOB_QUEUE_DURATION: Histogram<1> = Histogram::new(
    "job_queue_duration_seconds",
    ["queue"],
    "From a job being due to a worker having taken it",
    WAITS,
);
pub static JOB_DURATION: Histogram<2> =
    Histogram::new("job_duration_seconds", ["queue", "kind"], "From taking a job to its verdict", WORK);
pub static LEASES_EXPIRED: Counter<1> = Counter::new(
    "leases_expired",
    ["outcome"],
    "Leases that ran out: the job is due again (returned), was not begun and is due again (lost), or dead as poison (poisoned)",
);
pub static FENCE_REJECTED: Counter<0> =
    Counter::new("fence_rejected", [], "Results and verdicts that came too late and were refused");
pub static RELAY_DISPATCHED: Counter<1> =
    Counter::new("relay_dispatched", ["queue"], "Job ids pushed to Redis");
pub static REDISPATCHED: Counter<1> = Counter::new(
    "reconciler_redispatched",
    ["cause"],
    "Dispatched jobs taken back to be sent again: Redis lost its data (lost_data) or did not take them (push_failed)",
);
pub static SCHEDULER_ROUNDS: Counter<1> = Counter::new(
    "scheduler_rounds",
    ["duty"],
    "Rounds that this scheduler got through: relay, rescue, schedules, audit",
);
pub static SCHEDULE_LAG: Histogram<0> = Histogram::new(
    "schedule_lag_seconds",
    [],
    "From the time that a schedule names to its job being made",
    WAITS,
);
pub static SCHEDULE_MISSED: Counter<0> = Counter::new(
    "schedule_missed",
    [],
    "Stretches of a schedule's times that came and were not run, by its policy",
);
pub static REDIS_IDS: Gauge<1> =
    Gauge::new("redis_ids", ["queue"], "Job ids that wait in Redis to be fetched");
pub static TRANSPORT_JUNK: Counter<1> = Counter::new(
    "transport_junk",
    ["queue"],
    "What was fetched from Redis, could not be read and was dropped: not the id of a job",
);

pub static JOBS: Gauge<2> = Gauge::new("jobs", ["queue", "state"], "Unfinished jobs, by state");
pub static QUEUE_LATENCY: Gauge<1> =
    Gauge::new("queue_latency_seconds", ["queue"], "Age of the oldest job that is due and not running");
pub static OUTBOX_PENDING: Gauge<0> =
    Gauge::new("outbox_pending", [], "Jobs that are due and not dispatched");
pub static OUTBOX_OLDEST: Gauge<0> =
    Gauge::new("outbox_oldest_seconds", [], "Age of the oldest job that is due and not dispatched");
pub static AUDIT_HEAD_SEQ: Gauge<0> =
    Gauge::new("audit_head_seq", [], "Entries of the audit trail that are sealed, over all chains");
pub static WORKER_SLOTS: Gauge<2> =
    Gauge::new("worker_slots", ["queue", "state"], "Slots of this worker: total, and of them busy");
pub static WORKERS: Gauge<0> =
    Gauge::new("workers", [], "Workers that have shown themselves in the last half minute");

pub static HTTP_REQUESTS: Counter<3> =
    Counter::new("http_requests", ["route", "method", "code"], "Requests answered");
pub static HTTP_DURATION: Histogram<3> = Histogram::new(
    "http_request_duration_seconds",
    ["route", "method", "code"],
    "From a request's head to its answer's head",
    REQUESTS,
);
pub static HTTP_IN_FLIGHT: Gauge<0> = Gauge::new("http_requests_in_flight", [], "Requests being worked on");
pub static PASSWORD_HASHES: Counter<0> =
    Counter::new("password_hashes", [], "Passwords hashed, to keep them or to compare them");
pub static DB_CONNECTIONS: Gauge<2> =
    Gauge::new("db_connections", ["pool", "state"], "Connections to Postgres, busy and idle");

pub static FEED_LAST_SUCCESS: Gauge<1> = Gauge::new(
    "feed_last_success_timestamp_seconds",
    ["source"],
    "When a crawl of the source last went through, Unix time; 0 if never",
);
pub static FEED_BYTES: Counter<1> = Counter::new("feed_bytes", ["source"], "Bytes read from the source");
pub static FEED_NOT_MODIFIED: Counter<1> =
    Counter::new("feed_not_modified", ["source"], "Crawls that found nothing new");
pub static FEED_ROWS: Counter<2> =
    Counter::new("feed_rows", ["source", "result"], "Records of the source, by what became of them");
pub static WEBHOOK_ATTEMPTS: Counter<1> =
    Counter::new("webhook_attempts", ["class"], "Attempts to deliver a webhook, by how they ended");
pub static WEBHOOK_ENDPOINTS_DISABLED: Gauge<0> =
    Gauge::new("webhook_endpoints_disabled", [], "Webhooks that are switched off");
pub static MAIL_ATTEMPTS: Counter<1> =
    Counter::new("mail_attempts", ["class"], "Attempts to hand over a mail, by how they ended");
pub static RENDER_DURATION: Histogram<1> =
    Histogram::new("render_duration_seconds", ["format"], "Rendering of one document", WORK);
pub static ARTIFACT_BYTES: Counter<1> =
    Counter::new("artifact_bytes", ["format"], "Bytes of rendered documents stored");

/// All of them. What is not in here is not shown.
static ALL: &[&dyn Metric] = &[
    &BUILD_INFO,
    &JOBS_ENQUEUED,
    &JOBS_FINISHED,
    &JOBS_RETRIED,
    &JOBS_DEAD,
    &JOBS_UNKNOWN_VERSION,
    &JOB_QUEUE_DURATION,
    &JOB_DURATION,
    &LEASES_EXPIRED,
    &FENCE_REJECTED,
    &RELAY_DISPATCHED,
    &REDISPATCHED,
    &SCHEDULER_ROUNDS,
    &SCHEDULE_LAG,
    &SCHEDULE_MISSED,
    &REDIS_IDS,
    &TRANSPORT_JUNK,
    &JOBS,
    &QUEUE_LATENCY,
    &OUTBOX_PENDING,
    &OUTBOX_OLDEST,
    &AUDIT_HEAD_SEQ,
    &WORKER_SLOTS,
    &WORKERS,
    &HTTP_REQUESTS,
    &HTTP_DURATION,
    &HTTP_IN_FLIGHT,
    &PASSWORD_HASHES,
    &DB_CONNECTIONS,
    &FEED_LAST_SUCCESS,
    &FEED_BYTES,
    &FEED_NOT_MODIFIED,
    &FEED_ROWS,
    &WEBHOOK_ATTEMPTS,
    &WEBHOOK_ENDPOINTS_DISABLED,
    &MAIL_ATTEMPTS,
    &RENDER_DURATION,
    &ARTIFACT_BYTES,
];

/// The names of all metrics as Prometheus sees them, in the order of the catalogue.
#[must_use]
pub fn names() -> Vec<String> {
    ALL.iter().map(|metric| metric.exposed_name()).collect()
}

/// Every word that a label may be called.
#[must_use]
pub fn label_names() -> BTreeSet<&'static str> {
    ALL.iter().flat_map(|metric| metric.labels()).copied().collect()
}

/// Everything in the text format of OpenMetrics 1.0, which Prometheus reads. Cheap, and never waits for anybody.
#[must_use]
pub fn exposition() -> String {
    BUILD_INFO.set([crate::VERSION.into()], 1.0);
    let mut registry = Registry::default();
    for metric in ALL {
        metric.register(&mut registry);
    }
    let mut text = String::with_capacity(32 * 1024);
    process::write(&mut text);
    // Writing to a String cannot fail.
    let _ = text::encode(&mut text, &registry);
    text
}
