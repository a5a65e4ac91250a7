//! What the engine tells of itself: the span of an attempt, and what is counted about it.

use std::time::Duration;

use runtime::{metrics, trace::Part};
use tracing::{Span, field::Empty, info_span};

use crate::claim::{Claimed, Verdict};

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
pub(crate) fn completed(claimed: &Claimed, took: Duration) {
    finished(claimed, "completed", took);
}

/// It was somebody else's by then.
pub(crate) fn superseded(claimed: &Claimed, took: Duration) {
    metrics::FENCE_REJECTED.add([], 1);
    finished(claimed, "superseded", took);
}

/// It ended in another way.
pub(crate) fn concluded(claimed: &Claimed, verdict: &Verdict, took: Duration) {
    let of = |word: &'static str| [claimed.queue.clone().into(), claimed.kind.clone().into(), word.into()];
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
    finished(claimed, outcome, took);
}

fn finished(claimed: &Claimed, outcome: &'static str, took: Duration) {
    let (queue, kind) = (claimed.queue.clone(), claimed.kind.clone());
    metrics::JOB_DURATION.observe([queue.clone().into(), kind.clone().into()], took.as_secs_f64());
    metrics::JOBS_FINISHED.add([queue.into(), kind.into(), outcome.into()], 1);
}
