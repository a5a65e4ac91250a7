//! What the engine tells of itself: the span of an attempt, and what is counted about it.
//!
//! Kinds are counted by the words of the build's own registry, whatever stands in the row: a row may hold any word, and each
//! would be a series for ever.

use std::time::Duration;

use runtime::{metrics, trace::Part};
use tracing::{Span, field::Empty, info_span};

use crate::{
    claim::{Claimed, Verdict},
    job::{Queue, Registry},
};

/// What kinds are counted as that this build does not know.
const UNKNOWN: &str = "other";

/// The word that `kind` is counted by.
pub(crate) fn word<C: Send + Sync + 'static>(registry: &Registry<C>, kind: &str) -> &'static str {
    registry.find(kind).map_or(UNKNOWN, |entry| entry.kind)
}

/// Shows as 0 what alarms wait for: whoever sees a series for the first time does not see that it has risen.
pub(crate) fn show_from_zero<C: Send + Sync + 'static>(registry: &Registry<C>) {
    for (queue, kind) in registry.places() {
        let of = |word: &'static str| [queue.as_str().into(), kind.into(), word.into()];
        for reason in ["exhausted", "invalid_payload", "timeout", "discarded"] {
            metrics::JOBS_DEAD.add(of(reason), 0);
        }
        metrics::JOBS_UNKNOWN_VERSION.add([queue.as_str().into(), kind.into()], 0);
    }
    for queue in Queue::ALL {
        metrics::JOBS_UNKNOWN_VERSION.add([queue.as_str().into(), UNKNOWN.into()], 0);
    }
}

/// The span of an attempt: a consumer's, in the words of OpenTelemetry's conventions for messaging, linked to the span that
/// enqueued the job.
pub(crate) fn span(claimed: &Claimed) -> Span {
    let span = info_span!(
        "job",
        job.id = %claimed.job_id(),
        job.kind = claimed.kind,
        attempt = claimed.attempt,
        tenant_id = claimed.tenant().map(tracing::field::display),
        trace_id = Empty,
        otel.name = Empty,
        otel.kind = Empty,
    );
    let part = Part {
        kind: "consumer",
        name: &format!("process {}", claimed.queue),
        from: claimed.trace_context.as_deref(),
        attributes: &[
            ("messaging.system", "redis"),
            ("messaging.operation.type", "process"),
            ("messaging.destination.name", &claimed.queue),
        ],
    };
    part.describe(&span);
    metrics::JOB_QUEUE_DURATION.observe([claimed.queue.clone().into()], claimed.waited_seconds.max(0.0));
    span
}

/// It was completed.
pub(crate) fn completed(kind: &'static str, claimed: &Claimed, took: Duration) {
    finished(kind, claimed, "completed", took);
}

/// It was somebody else's by then.
pub(crate) fn superseded(kind: &'static str, claimed: &Claimed, took: Duration) {
    metrics::FENCE_REJECTED.add([], 1);
    finished(kind, claimed, "superseded", took);
}

/// It was written by a newer build.
pub(crate) fn too_new(kind: &'static str, claimed: &Claimed) {
    metrics::JOBS_UNKNOWN_VERSION.add([claimed.queue.clone().into(), kind.into()], 1);
}

/// It ended in another way.
pub(crate) fn concluded(kind: &'static str, claimed: &Claimed, verdict: &Verdict, took: Duration) {
    let of = |word: &'static str| [claimed.queue.clone().into(), kind.into(), word.into()];
    let outcome = match verdict {
        Verdict::Retry { .. } if claimed.attempt >= claimed.max_attempts => {
            metrics::JOBS_DEAD.add(of("exhausted"), 1);
            "dead"
        }
        Verdict::Retry { class, .. } => {
            metrics::JOBS_RETRIED.add(of(class), 1);
            "retry"
        }
        Verdict::Dead { reason, .. } => {
            metrics::JOBS_DEAD.add(of(reason), 1);
            "dead"
        }
        Verdict::GiveBack { outcome, .. } => outcome,
        Verdict::Cancelled => "cancelled",
    };
    finished(kind, claimed, outcome, took);
}

fn finished(kind: &'static str, claimed: &Claimed, outcome: &'static str, took: Duration) {
    let queue = claimed.queue.clone();
    metrics::JOB_DURATION.observe([queue.clone().into(), kind.into()], took.as_secs_f64());
    metrics::JOBS_FINISHED.add([queue.into(), kind.into(), outcome.into()], 1);
}
