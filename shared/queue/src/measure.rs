//! What the engine tells of itself: the span of an attempt, and what is counted about it.
//!
//! Kinds are counted by the words of the build's own registry, whatever stands in the row: a row may hold any word, and each
//! would be a series for ever.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use runtime::{metrics, trace::Part};
use sqlx::PgPool;
use tracing::{Span, field::Empty, info_span};

use crate::{
    claim::{Claimed, Verdict},
    job::{Job, Queue, Registry},
    jobs,
};

/// What kinds are counted as that this build does not know.
const UNKNOWN: &str = "other";
/// How often it is looked which transactions were committed.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// Ends that are counted with one statement.
const MOST_ENDS: i64 = 10_000;

/// Jobs that were written, by transaction, queue and kind.
type Written = HashMap<(i64, Queue, &'static str), u64>;

/// Those of them that are not counted yet, since their transaction may still be undone. None where nobody counts.
static WRITTEN: Mutex<Option<Written>> = Mutex::new(None);

fn all_written() -> MutexGuard<'static, Option<Written>> {
    WRITTEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The transaction that stands in the rows as `xmin` has written `jobs` of kind `J`, and is not committed yet. What was written since a
/// savepoint has a number of its own, by which Postgres knows whether that was rolled back to.
pub(crate) fn written<J: Job>(xmin: i64, jobs: u64) {
    if let Some(written) = &mut *all_written() {
        *written.entry((xmin, J::QUEUE, J::KIND)).or_default() += jobs;
    }
}

/// Counts the jobs that this process writes from now on, as soon as Postgres says that their transaction was committed.
pub fn count_written(pool: &PgPool) -> impl Future<Output = Infallible> + Send + '_ {
    all_written().get_or_insert_default();
    async move {
        loop {
            tokio::time::sleep(COUNT_EVERY).await;
            let written = std::mem::take(all_written().get_or_insert_default());
            if written.is_empty() {
                continue;
            }
            match fates(pool, &written).await {
                Ok(fates) => settle(written, &fates),
                Err(error) => {
                    runtime::complain!(%error, "cannot count what was enqueued");
                    written.into_iter().for_each(|(of, jobs)| put_back(of, jobs));
                }
            }
        }
    }
}

fn settle(written: Written, fates: &HashMap<i64, String>) {
    for (of @ (xmin, queue, kind), jobs) in written {
        match fates.get(&xmin).map(String::as_str) {
            Some("committed") => metrics::JOBS_ENQUEUED.add([queue.as_str().into(), kind.into()], jobs),
            Some("in progress") => put_back(of, jobs),
            _ => {}
        }
    }
}

fn put_back(of: (i64, Queue, &'static str), jobs: u64) {
    *all_written().get_or_insert_default().entry(of).or_default() += jobs;
}

/// What became of each transaction.
///
/// Postgres is asked by a number of 64 bits, of which a row has the lower half: the whole is the nearest one to the next number. Only of
/// those below that may it be asked; the others are in progress.
async fn fates(pool: &PgPool, written: &Written) -> sqlx::Result<HashMap<i64, String>> {
    let mut transactions: Vec<i64> = written.keys().map(|(xmin, ..)| *xmin).collect();
    transactions.sort_unstable();
    transactions.dedup();
    let fates: Vec<(i64, String)> = sqlx::query_as(
        "select low, case when number >= next then 'in progress'
                          -- The first three are no transactions: another server took the place of the one that wrote.
                          when number > 2 then coalesce(pg_xact_status(number::text::xid8), 'forgotten')
                          else 'forgotten' end
           from (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as next) as server
          cross join unnest($1::bigint[]) as low
          cross join lateral (select next + (low - next)::bit(32)::integer as number) as whole",
    )
    .bind(transactions)
    .fetch_all(pool)
    .await?;
    Ok(fates.into_iter().collect())
}

/// Shows as 0, as [`show_from_zero`] does, the reasons that the database gives jobs up for.
pub(crate) fn show_ends_from_zero() {
    for kind in jobs::ALL {
        for reason in ["poison", "dependency"] {
            metrics::JOBS_DEAD.add([kind.queue.as_str().into(), kind.name.into(), reason.into()], 0);
        }
    }
}

/// Counts the ends that no worker's verdict was, and takes away the notes that the database made of them.
///
/// # Errors
/// When the database cannot be reached.
pub async fn count_ends(pool: &PgPool) -> sqlx::Result<()> {
    let ends: Vec<(String, String, String, Option<String>, i64)> = sqlx::query_as(
        "with counted as (
             delete from job_ends where id = any (array(select id from job_ends order by id limit $1 for update skip locked))
          returning queue, kind, state, reason
         )
         select queue, kind, state, reason, count(*) from counted group by queue, kind, state, reason",
    )
    .bind(MOST_ENDS)
    .fetch_all(pool)
    .await?;
    for (queue, kind, state, reason, count) in ends {
        let queue = queue.parse::<Queue>().map_or(UNKNOWN, Queue::as_str);
        let kind = jobs::ALL.iter().find(|known| known.name == kind).map_or(UNKNOWN, |known| known.name);
        let count = count.unsigned_abs();
        metrics::JOBS_FINISHED.add([queue.into(), kind.into(), state.into()], count);
        if let Some(reason) = reason {
            metrics::JOBS_DEAD.add([queue.into(), kind.into(), reason.into()], count);
        }
    }
    Ok(())
}

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

/// It ended in another way: `outcome` is what the database made of the verdict.
pub(crate) fn concluded(
    kind: &'static str,
    claimed: &Claimed,
    verdict: &Verdict,
    outcome: &str,
    took: Duration,
) {
    let of = |word: &'static str| [claimed.queue.clone().into(), kind.into(), word.into()];
    let outcome = match (outcome, verdict) {
        ("cancelled", _) | (_, Verdict::Cancelled) => "cancelled",
        (_, Verdict::Dead { reason, .. }) => {
            metrics::JOBS_DEAD.add(of(reason), 1);
            "dead"
        }
        ("dead", _) => {
            metrics::JOBS_DEAD.add(of("exhausted"), 1);
            "dead"
        }
        (_, Verdict::Retry { class, .. }) => {
            metrics::JOBS_RETRIED.add(of(class), 1);
            "retry"
        }
        (_, Verdict::GiveBack { outcome, .. }) => outcome,
    };
    finished(kind, claimed, outcome, took);
}

fn finished(kind: &'static str, claimed: &Claimed, outcome: &'static str, took: Duration) {
    let queue = claimed.queue.clone();
    metrics::JOB_DURATION.observe([queue.clone().into(), kind.into()], took.as_secs_f64());
    metrics::JOBS_FINISHED.add([queue.into(), kind.into(), outcome.into()], 1);
}
