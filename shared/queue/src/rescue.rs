//! Giving back what nobody holds any more.

use std::time::Duration;

use runtime::metrics;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{job::Queue, measure};

/// A job whose worker vanished this often is taken for the cause of it.
pub const CRASHES_UNTIL_POISON: i32 = 3;

/// What one look found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rescued {
    /// Due again.
    pub returned: u64,
    /// Of these, the ones that no worker had begun: their ids were lost on the way.
    pub lost: u64,
    /// Dead as poison.
    pub poisoned: u64,
}

/// Looks for expired leases every `every`, until `stop`. Safe to run any number of times at once.
pub async fn run(pool: &PgPool, every: Duration, stop: &CancellationToken) {
    let pulse = runtime::health::pulse("rescue", every * 3 + Duration::from_secs(10));
    measure::show_ends_from_zero();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        let looked = once(pool).await;
        pulse.mark(&looked);
        if let Ok(Rescued { returned, lost, poisoned }) = looked {
            metrics::SCHEDULER_ROUNDS.add(["rescue".into()], 1);
            metrics::LEASES_EXPIRED.add(["returned".into()], returned - lost);
            metrics::LEASES_EXPIRED.add(["lost".into()], lost);
            metrics::LEASES_EXPIRED.add(["poisoned".into()], poisoned);
        }
        if let Err(error) = stop_waiting(pool).await {
            runtime::complain!(%error, "cannot look for jobs that have waited long enough");
        }
        if let Err(error) = measure::count_ends(pool).await {
            runtime::complain!(%error, "cannot count the jobs that ended without a worker");
        }
        match looked {
            Ok(Rescued { returned: 0, poisoned: 0, .. }) => {}
            Ok(Rescued { returned, lost, poisoned: 0 }) => {
                runtime::failpoint!("rescued");
                warn!(returned, lost, "jobs whose lease ran out are due again");
            }
            Ok(Rescued { returned, poisoned, .. }) => {
                error!(
                    returned,
                    poisoned, "jobs killed their worker {CRASHES_UNTIL_POISON} times and are dead"
                );
            }
            Err(error) => runtime::complain!(%error, "cannot look for expired leases"),
        }
    }
}

/// Lets those go that were to wait for other jobs, but not as long as this. Returns their number.
///
/// # Errors
/// When the database cannot be reached.
pub async fn stop_waiting(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("select jobs_stop_waiting()").fetch_one(pool).await
}

/// One look.
///
/// A running job whose lease ran out has crashed its worker, or lost it: it is due again, and dead as poison after
/// [`CRASHES_UNTIL_POISON`]. A dispatched one was only lost on the way: it has not begun, and a rate gets its token back.
///
/// Whatever ran beside a job that kills its worker crashes with it, is due again with it, and would be taken for poison with it. So of a
/// queue's jobs with one crash left one runs at a time, and the guilty one alone: relays see to that ([`crate::dispatch`]). Those without a
/// concurrency key are given one, by which they wait.
///
/// # Errors
/// When the database cannot be reached.
pub async fn once(pool: &PgPool) -> sqlx::Result<Rescued> {
    let (returned, lost, poisoned): (i64, i64, i64) = sqlx::query_as(
        "with expired as (
             select id, fence, state as was, crashes + (state = 'running')::int as crashes
               from jobs
              where state in ('dispatched', 'running') and leased_until < now()
              order by leased_until limit 1000
                for update skip locked
         ), rescued as (
             update jobs
                set crashes = expired.crashes,
                    -- The crash was the worker's end, not the handler's verdict: the attempt is given back.
                    attempt = attempt - (expired.was = 'running')::int,
                    leased_until = null,
                    state = case when cancel_requested then 'cancelled'
                                 when expired.crashes >= $1 then 'dead' else 'available' end,
                    dead_reason = case when not cancel_requested and expired.crashes >= $1 then 'poison' end,
                    finished_at = case when cancel_requested or expired.crashes >= $1 then now() end,
                    last_error = case when expired.was = 'running' then 'the worker vanished' else last_error end,
                    concurrency_key = case when expired.crashes = $1 - 1
                                           then coalesce(concurrency_key, 'crashed its worker: ' || queue)
                                           else concurrency_key end
               from expired where jobs.id = any (array[expired.id])
          returning jobs.id, jobs.queue, jobs.state, expired.fence, expired.was
         ), lost as (
             select queue, count(*) as tokens from rescued where was = 'dispatched' group by queue
         ), limited as (
             -- In one order, in which a relay locks them too when Redis has lost everything.
             select queue, lost.tokens from job_queues join lost using (queue)
              where rate_jobs is not null
              order by array_position($2::text[], queue)
                for update of job_queues
         ), repaid as (
             update job_queues set tokens = least(rate_jobs, job_queues.tokens + limited.tokens)
               from limited where job_queues.queue = limited.queue
         ), noted as (
             update job_attempts
                set ended_at = clock_timestamp(), outcome = 'crashed', error_class = 'crashed',
                    error = 'the worker vanished: its lease ran out'
               from rescued
              where job_id = any (array[rescued.id]) and job_attempts.fence = rescued.fence and rescued.was = 'running'
         )
         select count(*) filter (where state <> 'dead'), count(*) filter (where state <> 'dead' and was = 'dispatched'),
                count(*) filter (where state = 'dead')
           from rescued",
    )
    .bind(CRASHES_UNTIL_POISON)
    .bind(Queue::ALL.map(Queue::as_str))
    .fetch_one(pool)
    .await?;
    Ok(Rescued {
        returned: returned.unsigned_abs(),
        lost: lost.unsigned_abs(),
        poisoned: poisoned.unsigned_abs(),
    })
}
