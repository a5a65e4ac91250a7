//! What Prometheus is shown of the installation as a whole. Every scheduler shows the same: take the maximum.

use std::time::{Duration, Instant};

use queue::Queue;
use runtime::metrics;
use store::{SystemDb, figures};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// How often it is counted at most.
const EVERY: Duration = Duration::from_secs(15);
/// Counting takes one part in so many of the time at most, however long the backlog.
const SHARE: u32 = 50;
/// The states that are counted, so that an empty one shows as 0 and not as missing.
const STATES: [&str; 7] =
    ["waiting", "available", "parked", "scheduled", "retryable", "dispatched", "running"];

pub(crate) async fn run(db: &SystemDb, stop: &CancellationToken) {
    loop {
        let begun = Instant::now();
        // While the database is away the last figures stand; that it is away is told by others.
        if let Err(error) = show(db).await {
            debug!(%error, "cannot count jobs for the metrics");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY.max(begun.elapsed() * SHARE)) => {}
        }
    }
}

async fn show(db: &SystemDb) -> store::Result<()> {
    let standings = figures::queues(db.pool()).await?;
    let (mut pending, mut oldest_pending) = (0_i64, 0.0_f64);
    for queue in Queue::ALL.map(Queue::as_str) {
        let of_queue = || standings.iter().filter(|standing| standing.queue == queue);
        for state in STATES {
            let jobs =
                of_queue().find(|standing| standing.state == state).map_or(0, |standing| standing.jobs);
            metrics::JOBS.set([queue.into(), state.into()], jobs as f64);
        }
        let oldest = of_queue().filter_map(|standing| standing.oldest_seconds).fold(0.0, f64::max);
        metrics::QUEUE_LATENCY.set([queue.into()], oldest);
    }
    for standing in standings.iter().filter(|standing| standing.state == "available") {
        pending += standing.jobs;
        oldest_pending = oldest_pending.max(standing.oldest_seconds.unwrap_or(0.0));
    }
    metrics::OUTBOX_PENDING.set([], pending as f64);
    metrics::OUTBOX_OLDEST.set([], oldest_pending);

    metrics::FEED_LAST_SUCCESS.clear();
    for (source, at) in figures::feeds(db.pool()).await? {
        metrics::FEED_LAST_SUCCESS.set([source.into()], at);
    }
    let numbers = figures::numbers(db.pool()).await?;
    metrics::WORKERS.set([], numbers.workers as f64);
    metrics::AUDIT_HEAD_SEQ.set([], numbers.audit_head as f64);
    metrics::WEBHOOK_ENDPOINTS_DISABLED.set([], numbers.webhooks_disabled as f64);
    Ok(())
}
