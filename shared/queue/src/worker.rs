//! A worker process: for each queue somebody who fetches ids ([`Bring`]), all calling one [`Runner`].
//!
//! The work itself runs in a task of its own, because whoever fetches drops what is in its hands when the carrier misbehaves, and work that
//! was begun should not be lost over that.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use runtime::{
    health::{self, Pulse},
    machine,
    metrics::WORKER_SLOTS,
    shutdown::LastWords,
};
use sqlx::PgPool;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use tracing::{info, warn};

use crate::{
    cancel,
    claim::JobRef,
    fleet::{HEARTBEAT_EVERY, Order},
    gate::Slot,
    job::{Queue, Registry},
    pool,
    runner::Runner,
    transport::{Bring, Counter},
};

/// Connections of the engine in a worker process: one each for claims, completions, verdicts and renewals.
const CONNECTIONS: u32 = 4;
/// Ids fetched with one call.
const MOST_AT_A_TIME: usize = 32;
/// How long Postgres may take to answer in any case, and how soon it is asked again when it did not.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// A worker that has written no heartbeat, or looked into a queue no more, for this long is not ready.
const READY_WITHIN: Duration = Duration::from_secs(15);

/// How a worker process is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    pub queues: Vec<Queue>,
    /// Jobs at once on each queue.
    pub slots: usize,
    pub lease: Duration,
    /// How long running jobs may go on after the process was asked to stop.
    pub grace: Duration,
}

/// Serves the queues until `stop` or until it is told to drain, then waits for what runs, then hands back the rest.
///
/// # Errors
/// When Postgres does not know this worker at start.
pub async fn run<C: Send + Sync + 'static>(
    registry: Registry<C>,
    context: C,
    pool: PgPool,
    carrier: impl Bring,
    settings: Settings,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let pool = pool::beside(&pool, CONNECTIONS, &pool::BY_INDEX);
    // Of this start alone: apalis takes what an older worker of the same name still holds.
    let name = machine::process_name();
    let hand_back = CancellationToken::new();
    let runner = Arc::new(Runner::new(
        registry,
        context,
        pool.clone(),
        name.clone(),
        settings.lease,
        hand_back.clone(),
    ));
    let tasks = TaskTracker::new();
    let _insisted = AbortOnDropHandle::new(tokio::spawn(hand_back_at_once(hand_back.clone(), tasks.clone())));
    let desks: Vec<_> = settings
        .queues
        .iter()
        .map(|&queue| Desk {
            queue,
            capacity: slots_of(queue, settings.slots),
            runner: runner.clone(),
            slots: Arc::new(Semaphore::new(slots_of(queue, settings.slots))),
            tasks: tasks.clone(),
        })
        .collect();
    for desk in &desks {
        WORKER_SLOTS.set([desk.queue.as_str().into(), "total".into()], desk.capacity as f64);
    }
    let beating = health::pulse("worker heartbeat", READY_WITHIN);
    let kinds = runner.kinds();
    announce(&pool, &name, &settings, &kinds).await?;
    take_up(&pool, &kinds).await?;
    let heard = {
        let runner = runner.clone();
        move |job| runner.cancel(job)
    };
    let _cancellations = AbortOnDropHandle::new(tokio::spawn(cancel::listen(pool.clone(), heard)));
    let (mode, shown) = watch::channel(Mode::Working);
    let (told, mut order) = watch::channel(Order::Work);
    let heartbeat =
        Heartbeat { pool: pool.clone(), name: name.clone(), settings: settings.clone(), kinds, shown, told };
    let heartbeat = AbortOnDropHandle::new(tokio::spawn(heartbeat.beat(beating)));

    info!(worker = %name, queues = ?settings.queues, slots = settings.slots, "worker ready");
    let patience = (settings.lease / 3).max(LEAST_PATIENCE);
    let mut generation = 0;
    while !stop.is_cancelled() {
        let wanted = *order.borrow_and_update();
        if wanted == Order::Drain {
            break;
        }
        if wanted == Order::Work {
            mode.send_replace(Mode::Working);
            generation += 1;
            let enough = async {
                tokio::select! {
                    () = until_told_otherwise(&mut order, &stop) => true,
                    () = out_of_reach(&pool, patience) => false,
                }
            };
            if !serve(&desks, &carrier, &format!("{name}-{generation}"), enough).await {
                warn!("postgres does not answer: fetching nothing until it does");
                while !stop.is_cancelled() && !answers(&pool, patience).await {
                    tokio::time::sleep(ASK_AGAIN_AFTER).await;
                }
            }
        } else {
            info!(worker = %name, "quiet: finishing what runs, taking nothing new");
            mode.send_replace(Mode::Quiet);
            until_told_otherwise(&mut order, &stop).await;
        }
    }

    mode.send_replace(Mode::Draining);
    tasks.close();
    tokio::select! {
        () = tasks.wait() => {}
        () = stop.cancelled() => {
            let began = Instant::now();
            if tokio::time::timeout(settings.grace, tasks.wait()).await.is_err() {
                warn!(after_s = began.elapsed().as_secs(), "handing back what is still running");
                hand_back.cancel();
                tasks.wait().await;
            }
        }
    }
    drop(heartbeat);
    if let Err(error) = sqlx::query("delete from workers where name = $1").bind(&name).execute(&pool).await {
        warn!(%error, "could not sign off; the entry disappears by itself");
    }
    info!(worker = %name, "worker stopped");
    Ok(())
}

/// With the second signal, hands back what runs, so that nobody has to wait for its leases.
async fn hand_back_at_once(hand_back: CancellationToken, tasks: TaskTracker) {
    let last_words = LastWords::reserve();
    last_words.now().await;
    hand_back.cancel();
    tasks.close();
    tasks.wait().await;
}

/// Returns when the order changes, or with `stop`.
async fn until_told_otherwise(order: &mut watch::Receiver<Order>, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        // An end of orders is an end of the process.
        _ = order.changed() => {}
    }
}

/// Fetches for all desks until `enough`, and tells why that was; what was fetched and not begun goes back.
async fn serve<C: Send + Sync + 'static, Why>(
    desks: &[Desk<C>],
    carrier: &impl Bring,
    name: &str,
    enough: impl Future<Output = Why>,
) -> Why {
    let serving = CancellationToken::new();
    let mut fetchers = JoinSet::new();
    for desk in desks {
        let (carrier, counter, serving) = (carrier.clone(), desk.open(name), serving.clone());
        fetchers.spawn(async move { carrier.bring(counter, serving).await });
    }
    let why = enough.await;
    serving.cancel();
    while fetchers.join_next().await.is_some() {}
    why
}

/// Returns when Postgres has left a question unanswered for `patience`. Whoever cannot claim must not fetch: the ids in its hands would wait
/// there while others could do the work.
async fn out_of_reach(pool: &PgPool, patience: Duration) {
    while answers(pool, patience).await {
        tokio::time::sleep(patience).await;
    }
}

async fn answers(pool: &PgPool, patience: Duration) -> bool {
    matches!(tokio::time::timeout(patience, sqlx::query("select 1").execute(pool)).await, Ok(Ok(_)))
}

/// Rendering is pure CPU: more at once than cores only makes each slower.
fn slots_of(queue: Queue, slots: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if queue == Queue::Rendering { slots.min(cores) } else { slots }
}

/// Where deliveries of one queue are handed in.
struct Desk<C> {
    queue: Queue,
    /// How many slots there are.
    capacity: usize,
    runner: Arc<Runner<C>>,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl<C: Send + Sync + 'static> Desk<C> {
    /// Where whoever fetches under `name` hands in what it has. Each delivery is a task of its own.
    fn open(&self, name: &str) -> Counter {
        let pulse = Arc::new(health::pulse(format!("queue {}", self.queue), READY_WITHIN));
        let (runner, slots, tasks) = (self.runner.clone(), self.slots.clone(), self.tasks.clone());
        let (queue, pulse_while_full) = (self.queue.as_str(), pulse.clone());
        let take = move |reference: JobRef, slot: Slot| {
            // With every slot taken nobody looks into the queue, and need not.
            let full = (slots.available_permits() == 0).then(|| pulse_while_full.busy());
            let counted = WORKER_SLOTS.hold([queue.into(), "busy".into()]);
            let runner = runner.clone();
            tasks.spawn(async move { runner.run_holding(reference, (slot, full, counted)).await });
        };
        Counter {
            queue: self.queue,
            name: name.to_owned(),
            slots: self.slots.clone(),
            // Few at a time, so that a worker with one free slot does not sit on what another could run.
            at_a_time: self.capacity.div_ceil(8).min(MOST_AT_A_TIME),
            pulse,
            take: Arc::new(take),
        }
    }
}

async fn announce(
    pool: &PgPool,
    name: &str,
    settings: &Settings,
    kinds: &serde_json::Value,
) -> sqlx::Result<()> {
    let queues: Vec<_> = settings.queues.iter().map(|queue| queue.as_str()).collect();
    let slots = |queue: &Queue| i32::try_from(slots_of(*queue, settings.slots)).unwrap_or(i32::MAX);
    let queue_slots: Vec<_> = settings.queues.iter().map(slots).collect();
    sqlx::query(
        "insert into workers (name, host, version, queues, slots, queue_slots, kinds)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (name) do nothing",
    )
    .bind(name)
    .bind(machine::host_name())
    .bind(runtime::VERSION)
    .bind(&queues)
    .bind(i32::try_from(settings.slots).unwrap_or(i32::MAX))
    .bind(&queue_slots)
    .bind(kinds)
    .execute(pool)
    .await?;
    Ok(())
}

/// Has jobs handed out again at once that were too new for older workers, and that one of `kinds` can read.
async fn take_up(pool: &PgPool, kinds: &serde_json::Value) -> sqlx::Result<()> {
    let taken = sqlx::query(
        "update jobs set run_at = now()
          where state = 'scheduled' and run_at > now() and kind_version <= ($1 ->> kind)::integer
            and exists (select from job_attempts as attempts
                         where attempts.job_id = jobs.id and attempts.fence = jobs.fence
                           and attempts.outcome = 'left_to_newer')",
    )
    .bind(kinds)
    .execute(pool)
    .await?
    .rows_affected();
    if taken > 0 {
        info!(jobs = taken, "taking up what older workers could not read");
    }
    Ok(())
}

/// What the worker does, as its row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Working,
    Quiet,
    Draining,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Quiet => "quiet",
            Self::Draining => "draining",
        }
    }
}

/// Says that the worker lives and what it does, and hears what it is to do.
struct Heartbeat {
    pool: PgPool,
    name: String,
    settings: Settings,
    kinds: serde_json::Value,
    shown: watch::Receiver<Mode>,
    told: watch::Sender<Order>,
}

impl Heartbeat {
    async fn beat(mut self, pulse: Pulse) {
        loop {
            let beat = self.once().await;
            pulse.mark(&beat);
            if let Err(error) = beat {
                runtime::complain!(%error, "could not write the heartbeat");
            }
            tokio::select! {
                () = tokio::time::sleep(HEARTBEAT_EVERY) => {}
                // A new mode is shown at once.
                changed = self.shown.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn once(&mut self) -> sqlx::Result<()> {
        let mode = *self.shown.borrow_and_update();
        let wanted: Option<String> = sqlx::query_scalar(
            "update workers set heartbeat_at = now(), mode = $2 where name = $1 returning wanted",
        )
        .bind(&self.name)
        .bind(mode.as_str())
        .fetch_optional(&self.pool)
        .await?;
        let Some(wanted) = wanted else {
            // Silent for so long that housekeeping has struck it off.
            return announce(&self.pool, &self.name, &self.settings, &self.kinds).await;
        };
        let order = wanted.parse().unwrap_or(Order::Work);
        self.told.send_if_modified(|known| std::mem::replace(known, order) != order);
        Ok(())
    }
}
