//! Moving due jobs from Postgres to Redis: any number of relays, one at work on each queue at a time.
//!
//! A relay wakes when a transaction that enqueued is committed ([`crate::bell`]), when a job's time has come, and a few times a second in any case.
//! It keeps in Redis what the free slots can take and the workers get through in a moment, no more, so that order, limits and
//! fairness are decided here ([`crate::dispatch`]) and not by the order of arrival there.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use runtime::metrics;
use sqlx::{Connection, PgConnection, PgPool};
use store::db::begin_transaction;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::{
    bell::{Bell, Sleep},
    dispatch,
    job::Queue,
    pool, queues,
    transport::{Carry, Transport, TransportError},
};

/// How often a relay looks without being told to.
const EVERY: Duration = Duration::from_millis(200);
/// How soon it looks again while there is work and room for it.
const BUSY: Duration = Duration::from_millis(5);
/// How soon it looks again while there is work and no room for it.
const FULL: Duration = Duration::from_millis(20);
/// Wake-ups that come in quicker succession than this share a round.
const BREATH: Duration = Duration::from_millis(1);
/// How often it clears up behind apalis-redis, and behind concurrency keys.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// What the workers get through in this time lies ready in Redis.
const AHEAD: Duration = Duration::from_millis(200);
/// Warnings about a Redis that is away are logged at most this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// A relay whose last round was longer ago than this is not ready.
const READY_WITHIN: Duration = Duration::from_secs(15);

/// What a relay works with.
pub struct Relay<T = Transport> {
    pub pool: PgPool,
    pub transport: T,
    /// Ids kept there for each queue at most.
    pub window: usize,
    /// How long an id may lie there unclaimed before it is sent again. A Redis that lost its data is noticed by its epoch and not
    /// by this.
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

/// What a relay remembers from round to round; none of it matters to what is done, only to how soon.
struct Memory {
    pool: PgPool,
    /// The revision of each queue's row by which it was last served.
    revisions: HashMap<Queue, i64>,
    /// When how many were sent.
    sent: HashMap<Queue, VecDeque<(Instant, usize)>>,
    complained: Option<Instant>,
    swept: Instant,
}

impl Memory {
    /// How many of `queue` were sent in the last moment.
    fn sent_lately(&mut self, queue: Queue) -> usize {
        let sent = self.sent.entry(queue).or_default();
        while sent.front().is_some_and(|(at, _)| at.elapsed() > AHEAD) {
            sent.pop_front();
        }
        sent.iter().map(|(_, count)| count).sum()
    }
}

/// How a queue was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    /// Nothing more can be done for it before something happens.
    Settled,
    /// More is due, and there is no room for it.
    Full,
    /// More is due, or may be.
    Busy,
}

impl<T: Carry> Relay<T> {
    /// Relays until `stop`. Outages of Postgres or Redis are waited out.
    pub async fn run(&self, stop: &CancellationToken) {
        let pulse = runtime::health::pulse("relay", READY_WITHIN);
        for cause in ["lost_data", "push_failed"] {
            metrics::REDISPATCHED.add([cause.into()], 0);
        }
        let mut memory = Memory {
            // What a crash of the server undoes is dispatched again, so nothing here waits for the disk. The relay joins only what it
            // has chosen, never the jobs themselves.
            pool: pool::beside(
                &self.pool,
                1,
                &[
                    &pool::BY_INDEX[..],
                    &[("synchronous_commit", "off"), ("enable_hashjoin", "on")],
                    // A relay that is cut off must not keep the bell.
                    &[
                        ("tcp_keepalives_idle", "10"),
                        ("tcp_keepalives_interval", "5"),
                        ("tcp_keepalives_count", "3"),
                    ],
                ]
                .concat(),
            ),
            revisions: HashMap::new(),
            sent: HashMap::new(),
            complained: None,
            swept: Instant::now(),
        };
        while !stop.is_cancelled() {
            pulse.turn();
            let Ok(mut bell) = self.begin(&memory.pool).await else {
                pause(stop, Duration::from_secs(1)).await;
                continue;
            };
            loop {
                let (left, mut wait) = match self.round(&mut memory).await {
                    Ok(done) => done,
                    Err(error) => {
                        if memory.complained.is_none_or(|at| at.elapsed() > COMPLAIN_EVERY) {
                            memory.complained = Some(Instant::now());
                            warn!(error = %chain(&error), "cannot relay jobs, trying again");
                        }
                        pause(stop, Duration::from_millis(500)).await;
                        break;
                    }
                };
                pulse.beat();
                metrics::SCHEDULER_ROUNDS.add(["relay".into()], 1);
                let slept = match left {
                    Left::Settled => bell.sleep().await,
                    Left::Full | Left::Busy => bell.wake().await.map(|()| Sleep::Sound),
                };
                match slept {
                    Ok(Sleep::Sound) => {}
                    Ok(Sleep::Begun) => continue,
                    Ok(Sleep::NotYet) => wait = wait.min(FULL),
                    Err(_) => break,
                }
                if !wait.is_zero() {
                    pause(stop, BREATH).await;
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(wait) => {}
                    rung = bell.rung() => if !matches!(rung, Ok(true)) { break },
                }
            }
        }
    }

    async fn begin(&self, pool: &PgPool) -> sqlx::Result<Bell> {
        queues::keep_complete(pool).await?;
        Bell::hang(pool).await
    }

    /// One round over all queues. Returns how it left them, and how long to wait for the next.
    async fn round(&self, memory: &mut Memory) -> Result<(Left, Duration), RelayError> {
        let view = self.transport.look().await?;
        if view.epoch.is_none() {
            self.mark_epoch(&memory.pool).await?;
        }
        let mut connection = memory.pool.acquire().await?;
        let next = dispatch::promote(&mut connection).await?;
        if memory.swept.elapsed() > SWEEP_EVERY {
            memory.swept = Instant::now();
            dispatch::unpark(&mut connection).await?;
            self.sweep().await;
        }
        let mut left = Left::Settled;
        for glance in dispatch::glance(&mut connection).await? {
            let Ok(queue) = glance.queue.parse::<Queue>() else { continue };
            let edited = memory.revisions.get(&queue) != Some(&glance.revision);
            if edited || glance.has_work {
                left =
                    left.max(self.serve(&mut connection, memory, queue, edited, view.waiting(queue)).await?);
            }
        }
        let wait = match left {
            Left::Busy => BUSY,
            Left::Full => FULL,
            Left::Settled => next.map_or(EVERY, |next| next.min(EVERY)),
        };
        Ok((left, wait))
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
    async fn mark_epoch(&self, pool: &PgPool) -> Result<(), RelayError> {
        let mut transaction = begin_transaction(pool, "begin").await?;
        if !dispatch::try_lock(&mut transaction, "epoch").await?
            || self.transport.look().await?.epoch.is_some()
        {
            return Ok(());
        }
        let mut returned = 0;
        for queue in Queue::ALL {
            returned += dispatch::recall(&mut transaction, queue).await?;
        }
        transaction.commit().await?;
        self.transport.set_epoch(&Uuid::new_v4().to_string()).await?;
        if returned > 0 {
            metrics::REDISPATCHED.add(["lost_data".into()], returned);
            warn!(jobs = returned, "redis had lost its data, dispatched jobs are sent again");
        }
        Ok(())
    }

    /// Fills the room that `queue` has, `waiting` ids being in Redis.
    async fn serve(
        &self,
        connection: &mut PgConnection,
        memory: &mut Memory,
        queue: Queue,
        edited: bool,
        waiting: usize,
    ) -> Result<Left, RelayError> {
        metrics::REDIS_IDS.set([queue.as_str().into()], waiting as f64);
        let ahead = memory.sent_lately(queue).clamp(1, self.window);
        if !edited && waiting > 0 && waiting * 2 >= ahead {
            // Enough lies ready: wait until a good part of it is gone.
            return Ok(Left::Full);
        }
        let mut transaction = connection.begin().await?;
        if !dispatch::try_lock(&mut transaction, queue.as_str()).await? {
            return Ok(Left::Full);
        }
        let mut standing = dispatch::standing(&mut transaction, queue).await?;
        let known = memory.revisions.insert(queue, standing.revision);
        if standing.is_paused || known.is_some_and(|known| known != standing.revision) {
            let recalled = dispatch::recall(&mut transaction, queue).await?;
            info!(%queue, recalled, paused = standing.is_paused, "the queue was edited");
            standing = dispatch::standing(&mut transaction, queue).await?;
        }
        let ahead = i64::try_from(ahead).unwrap_or(i64::MAX);
        let window = i64::try_from(self.window.saturating_sub(waiting)).unwrap_or(i64::MAX);
        let room = standing.room(ahead).min(window);
        let sent = match room {
            ..=0 => Vec::new(),
            room => dispatch::send(&mut transaction, queue, &standing, room, self.patience).await?,
        };
        transaction.commit().await?;
        if standing.is_paused {
            return Ok(Left::Settled);
        }
        if sent.is_empty() {
            return Ok(Left::Full);
        }
        runtime::failpoint!("dispatched");
        memory.sent.entry(queue).or_default().push_back((Instant::now(), sent.len()));
        if let Err(error) = self.transport.push(queue, sent.clone()).await {
            let returned = dispatch::take_back(connection, &sent).await?;
            metrics::REDISPATCHED.add(["push_failed".into()], returned);
            info!(jobs = returned, "jobs wait for redis to come back");
            return Err(error.into());
        }
        runtime::failpoint!("pushed");
        metrics::RELAY_DISPATCHED.add([queue.as_str().into()], sent.len() as u64);
        Ok(Left::Busy)
    }
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
