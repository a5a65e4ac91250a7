//! Moving due jobs from Postgres to Redis: any number of relays, one at work on each queue at a time.
//!
//! A relay wakes when a transaction that enqueued is committed (NOTIFY), and a few times a second in any case. It keeps no more than a
//! window of ids in Redis, so that order, limits and fairness are decided by a query here and not by the order of arrival there.

use std::time::Duration;

use sqlx::{PgPool, postgres::PgListener};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::{
    claim::JobRef,
    job::Queue,
    transport::{Transport, TransportError},
};

/// How often a relay looks without being told to.
const EVERY: Duration = Duration::from_millis(200);
/// How often it clears up behind apalis-redis.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// Warnings about a Redis that is away are logged at most this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// What a relay works with.
pub struct Relay {
    pub pool: PgPool,
    pub transport: Transport,
    /// Ids kept in Redis for each queue.
    pub window: usize,
    /// How long an id may lie in Redis unclaimed before it is sent again. Longer than an honest wait in a full window, since a
    /// Redis that lost its data is noticed by its epoch and not by this.
    pub patience: Duration,
}

/// Why one round did not go through.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Transport(#[from] TransportError),
}

impl Relay {
    /// Relays until `stop`. Outages of Postgres or Redis are waited out.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut complained: Option<tokio::time::Instant> = None;
        let mut swept = tokio::time::Instant::now();
        while !stop.is_cancelled() {
            let Ok(mut listener) = self.listen().await else {
                pause(stop, Duration::from_secs(1)).await;
                continue;
            };
            loop {
                let full = match self.round().await {
                    Ok(full) => full,
                    Err(error) => {
                        if complained.is_none_or(|at| at.elapsed() > COMPLAIN_EVERY) {
                            complained = Some(tokio::time::Instant::now());
                            warn!(error = %chain(&error), "cannot relay jobs, trying again");
                        }
                        pause(stop, Duration::from_millis(500)).await;
                        break;
                    }
                };
                if swept.elapsed() > SWEEP_EVERY {
                    swept = tokio::time::Instant::now();
                    self.sweep().await;
                }
                // A full window empties within milliseconds; a notification would come too early to be of use.
                let wait = if full { Duration::from_millis(5) } else { EVERY };
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(wait) => {}
                    heard = listener.recv(), if !full => if heard.is_err() { break },
                }
            }
        }
    }

    /// One round over all queues. True when a window was full, so that more may be due.
    ///
    /// # Errors
    /// When Postgres or Redis is away.
    pub async fn round(&self) -> Result<bool, RelayError> {
        self.check_epoch().await?;
        let mut full = false;
        for queue in Queue::ALL {
            full |= self.dispatch(queue).await?;
        }
        Ok(full)
    }

    async fn listen(&self) -> sqlx::Result<PgListener> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen("plimsoll_jobs").await?;
        Ok(listener)
    }

    async fn sweep(&self) {
        for queue in Queue::ALL {
            if let Err(error) = self.transport.sweep(queue).await {
                warn!(error = %chain(&error), "cannot clear up in redis");
                return;
            }
        }
    }

    /// Redis that lost its data (flushed, restored, failed over to an empty one) no longer has our epoch: everything
    /// dispatched is then due again, at once instead of when its lease runs out.
    async fn check_epoch(&self) -> Result<(), RelayError> {
        if self.transport.epoch().await?.is_some() {
            return Ok(());
        }
        let mut transaction = self.pool.begin().await?;
        if !try_lock(&mut transaction, "epoch").await? || self.transport.epoch().await?.is_some() {
            return Ok(());
        }
        let returned = sqlx::query(
            "update jobs set state = 'available', leased_until = null where state = 'dispatched'",
        )
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        transaction.commit().await?;
        self.transport.set_epoch(&Uuid::new_v4().to_string()).await?;
        if returned > 0 {
            warn!(jobs = returned, "redis had lost its data, dispatched jobs are sent again");
        }
        Ok(())
    }

    /// Fills the window of `queue`. True when it could have used more room.
    async fn dispatch(&self, queue: Queue) -> Result<bool, RelayError> {
        let room = self.window.saturating_sub(self.transport.waiting(queue).await?);
        if room == 0 {
            return Ok(true);
        }
        let mut transaction = self.pool.begin().await?;
        if !try_lock(&mut transaction, queue.as_str()).await? {
            return Ok(false);
        }
        let mut due: Vec<(Uuid, i64, i16, chrono::DateTime<chrono::Utc>)> = sqlx::query_as(
            "with waiting as (
                 select id, concurrency_key, priority, run_at
                   from jobs
                  where queue = $1 and state in ('available', 'scheduled', 'retryable') and run_at <= now()
                    and (concurrency_key is null or not exists (
                            select from jobs held
                             where held.concurrency_key = jobs.concurrency_key
                               and held.state in ('dispatched', 'running')))
                  order by priority, run_at, id
                  limit $2
             ), first_of_its_key as (
                 select id, row_number() over (partition by coalesce(concurrency_key, id::text)
                                                   order by priority, run_at, id) as turn
                   from waiting
             ), due as (
                 select id from jobs
                  where id in (select id from first_of_its_key where turn = 1)
                    and state in ('available', 'scheduled', 'retryable')
                    for update skip locked
             )
             update jobs
                set state = 'dispatched', fence = nextval('job_fences'), leased_by = null,
                    leased_until = now() + make_interval(secs => $3)
               from due where jobs.id = due.id
          returning jobs.id, jobs.fence, jobs.priority, jobs.run_at",
        )
        .bind(queue.as_str())
        .bind(i64::try_from(room).unwrap_or(i64::MAX))
        .bind(self.patience.as_secs_f64())
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        if due.is_empty() {
            return Ok(false);
        }
        due.sort_unstable_by_key(|(id, _, priority, run_at)| (*priority, *run_at, *id));
        let references: Vec<_> =
            due.iter().map(|(id, fence, ..)| JobRef { id: *id, fence: *fence }).collect();
        let count = references.len();
        if let Err(error) = self.transport.push(queue, references.clone()).await {
            self.take_back(&references).await?;
            return Err(error.into());
        }
        Ok(count == room)
    }

    /// Redis did not take them: they are due again at once. What did arrive is refused by its fence when it is dispatched anew.
    async fn take_back(&self, references: &[JobRef]) -> sqlx::Result<()> {
        let (ids, fences): (Vec<Uuid>, Vec<i64>) = references.iter().map(|r| (r.id, r.fence)).unzip();
        let returned = sqlx::query(
            "update jobs set state = 'available', leased_until = null
               from unnest($1::uuid[], $2::bigint[]) as sent (id, fence)
              where jobs.id = sent.id and jobs.fence = sent.fence and jobs.state = 'dispatched'",
        )
        .bind(&ids)
        .bind(&fences)
        .execute(&self.pool)
        .await?;
        info!(jobs = returned.rows_affected(), "jobs wait for redis to come back");
        Ok(())
    }
}

/// True when this transaction is the only one at work on `what`, until it ends.
async fn try_lock(connection: &mut sqlx::PgConnection, what: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("select pg_try_advisory_xact_lock(hashtextextended('plimsoll relay ' || $1, 0))")
        .bind(what)
        .fetch_one(connection)
        .await
}

async fn pause(stop: &CancellationToken, wait: Duration) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(wait) => {}
    }
}

/// The error with all its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
