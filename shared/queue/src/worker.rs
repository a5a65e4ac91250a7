//! A worker process: one apalis worker for each queue, all calling one [`Runner`].
//!
//! The apalis worker only fetches ids. The work itself runs in a task of its own, because apalis drops the futures in its hands whenever Redis
//! misbehaves, and work that was begun should not be lost over that. When a queue's worker dies it is rebuilt under a new name.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use apalis::{
    layers::WorkerBuilderExt,
    prelude::{BackendExt, BoxDynError, Data, Monitor, WorkerBuilder},
};
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};
use uuid::Uuid;

use crate::{
    claim::JobRef,
    job::{Queue, Registry},
    runner::Runner,
    transport::Transport,
    wake::SafeWake,
};

/// How often a worker looks for work without being poked. The poke gives the speed, this the certainty.
const POLL_EVERY: Duration = Duration::from_millis(250);
/// How often a worker says that it is alive.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// Rest before a queue's worker is rebuilt.
const REBUILD_PAUSE: Duration = Duration::from_millis(250);

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

/// Serves the queues until `stop`, then waits for what runs, then hands back the rest.
///
/// # Errors
/// When Postgres does not know this worker at start.
pub async fn run<C: Send + Sync + 'static>(
    registry: Registry<C>,
    context: C,
    pool: PgPool,
    transport: Transport,
    settings: Settings,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let name = worker_name();
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
    announce(&pool, &name, &settings).await?;
    info!(worker = %name, queues = ?settings.queues, slots = settings.slots, "worker ready");

    let mut fetchers = tokio::task::JoinSet::new();
    for queue in settings.queues.clone() {
        let slots = slots_of(queue, settings.slots);
        let desk =
            Desk { runner: runner.clone(), slots: Arc::new(Semaphore::new(slots)), tasks: tasks.clone() };
        fetchers.spawn(fetch(queue, slots, desk, transport.clone(), name.clone(), stop.clone()));
    }
    let heartbeat = tokio::spawn(heartbeat(pool.clone(), name.clone()));
    stop.cancelled().await;
    while fetchers.join_next().await.is_some() {}

    tasks.close();
    let began = Instant::now();
    if tokio::time::timeout(settings.grace, tasks.wait()).await.is_err() {
        warn!(after_s = began.elapsed().as_secs(), "handing back what is still running");
        hand_back.cancel();
        tasks.wait().await;
    }
    heartbeat.abort();
    if let Err(error) = sqlx::query("delete from workers where name = $1").bind(&name).execute(&pool).await {
        warn!(%error, "could not sign off; the entry disappears by itself");
    }
    info!(worker = %name, "worker stopped");
    Ok(())
}

/// Rendering is pure CPU: more at once than cores only makes each slower.
fn slots_of(queue: Queue, slots: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if queue == Queue::Rendering { slots.min(cores) } else { slots }
}

/// Unique in each process and at each start: apalis takes what an older worker of the same name still holds.
fn worker_name() -> String {
    let host = hostname::get().map_or_else(|_| "host".to_owned(), |name| name.to_string_lossy().into_owned());
    format!("{host}-{}-{}", std::process::id(), &Uuid::new_v4().simple().to_string()[..8])
}

/// Where deliveries of one queue are handed in.
struct Desk<C> {
    runner: Arc<Runner<C>>,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl<C> Clone for Desk<C> {
    fn clone(&self) -> Self {
        Self { runner: self.runner.clone(), slots: self.slots.clone(), tasks: self.tasks.clone() }
    }
}

/// The handler that apalis sees. Never fails: outcomes, retries and dead letters are rows.
async fn deliver<C: Send + Sync + 'static>(
    reference: JobRef,
    desk: Data<Desk<C>>,
) -> Result<(), BoxDynError> {
    let slot = desk.slots.clone().acquire_owned().await?;
    let runner = desk.runner.clone();
    let work = desk.tasks.spawn(async move {
        let _slot = slot;
        runner.run(reference).await;
    });
    if let Err(error) = work.await {
        warn!(job.id = %reference.id, %error, "the task of a job ended unexpectedly, the job will be rescued");
    }
    Ok(())
}

/// Fetches ids of `queue` until `stop`.
async fn fetch<C: Send + Sync + 'static>(
    queue: Queue,
    slots: usize,
    desk: Desk<C>,
    transport: Transport,
    name: String,
    stop: CancellationToken,
) {
    let mut generation = 0_u32;
    while !stop.is_cancelled() {
        generation += 1;
        let (strategy, poke) = SafeWake::every(POLL_EVERY);
        let listening = {
            let transport = transport.clone();
            tokio::spawn(async move {
                loop {
                    if let Ok(mut pushes) = transport.on_push(queue).await {
                        while pushes.next().await {
                            poke.now();
                        }
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            })
        };
        let batch = slots.div_ceil(4);
        let apalis_name = format!("{queue}@{name}-{generation}");
        let (storage, desk) = (transport.storage(queue, batch), desk.clone());
        let monitor = Monitor::new().register(move |_| {
            WorkerBuilder::new(apalis_name.clone())
                .backend(storage.clone().poll_with_strategy(strategy.clone()))
                .data(desk.clone())
                .concurrency(slots)
                .build(deliver::<C>)
        });
        let stopping = stop.clone();
        let ended = monitor
            .shutdown_timeout(Duration::from_secs(2))
            .run_with_signal(async move {
                stopping.cancelled().await;
                Ok(())
            })
            .await;
        listening.abort();
        if !stop.is_cancelled() {
            warn!(%queue, ended = ?ended.err().map(|error| error.to_string()), "rebuilding the connection to redis");
            tokio::time::sleep(REBUILD_PAUSE).await;
        }
    }
}

async fn announce(pool: &PgPool, name: &str, settings: &Settings) -> anyhow::Result<()> {
    let queues: Vec<_> = settings.queues.iter().map(|queue| queue.as_str()).collect();
    let host =
        hostname::get().map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned());
    sqlx::query("insert into workers (name, host, version, queues, slots) values ($1, $2, $3, $4, $5)")
        .bind(name)
        .bind(host)
        .bind(runtime::VERSION)
        .bind(&queues)
        .bind(i32::try_from(settings.slots).unwrap_or(i32::MAX))
        .execute(pool)
        .await?;
    Ok(())
}

async fn heartbeat(pool: PgPool, name: String) {
    loop {
        tokio::time::sleep(HEARTBEAT_EVERY).await;
        let beat = sqlx::query("update workers set heartbeat_at = now() where name = $1").bind(&name);
        if let Err(error) = beat.execute(&pool).await {
            warn!(%error, "could not write the heartbeat");
        }
    }
}
