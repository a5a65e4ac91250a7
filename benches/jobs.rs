//! The job engine, durable (fsync on): no-op jobs a second through one worker process, pick-up on an idle system, what an idle worker costs,
//! what a dispatch costs as the backlog grows and beside an old snapshot, and enqueueing in bulk beside COPY. Beside them BullMQ and Celery on the same Redis, which
//! keep no record of what they did.
//!
//! Relay and worker run in processes of their own: this program starts itself with `PLIMSOLL_BENCH_ROLE` set. The worker's log is off, as
//! `LOG_LEVEL=warn` makes it. What millions of finished jobs cost is measured when it is asked for ([`retention`]).

#![expect(clippy::print_stderr, reason = "a bench says what it leaves out")]

#[path = "jobs/retention.rs"]
mod retention;

use std::{
    process::{Child, Command},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use benches::{Row, peers, report};
use plimsoll::embedded::{Settings, start};
use queue::{
    Attempt, Done, Handler, Job, JobError, Queue, Registry, RetryPolicy, enqueue, enqueue::Origin,
    enqueue_many, queues, relay::Relay, transport::Transport, worker,
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Executor as _, PgPool};
use store::SystemDb;
use tokio_util::sync::CancellationToken;

/// Jobs at once in the worker.
const SLOTS: usize = 128;
const JOBS: usize = 50_000;
const PICKUPS: usize = 300;
const BULK: usize = 200_000;
/// Fewer than ours, since it would take a minute.
const CELERY_TASKS: usize = 10_000;
const CELERY_THREADS: usize = 16;
const BACKLOGS: [i64; 5] = [0, 1_000, 10_000, 100_000, 1_000_000];
/// Jobs worked off on top of each backlog.
const SLICE: i64 = 10_000;
/// Jobs worked off beside a snapshot, and before that while it was there already.
const FEW: usize = 10_000;
const OLD: i64 = 20_000;
const PREFIX: &str = "bench";

/// Does nothing.
#[derive(Debug, Serialize, Deserialize)]
struct Noop {}

impl Job for Noop {
    const KIND: &'static str = "bench_noop";
    const QUEUE: Queue = Queue::Delivery;
    const RETRY: RetryPolicy = RetryPolicy::exponential(3, Duration::from_secs(1), Duration::from_secs(10));
    const TIMEOUT: Duration = Duration::from_secs(60);
}

impl Handler<()> for Noop {
    async fn run(self, (): &(), attempt: &Attempt) -> Result<Done, JobError> {
        Ok(attempt.finish(serde_json::json!({})))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "how this program tells itself what to be")]
    if let Ok(role) = std::env::var("PLIMSOLL_BENCH_ROLE") {
        let variable = |name| std::env::var(name).map(SecretString::from);
        return serve(&role, &variable("DATABASE_URL")?, &variable("REDIS_URL")?).await;
    }
    let folder = tempfile::Builder::new().prefix("plimsoll-bench").tempdir()?;
    #[cfg(unix)]
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let running = start(&Settings::new(folder.path().join("home"))).await?;
    let owner = SecretString::from(running.addresses.owner_url.clone());
    store::migrate::run(&owner).await?;
    store::migrate::create_local_logins(&owner).await?;
    let worker_url = running.addresses.worker_url.clone();
    let db = SystemDb::connect(&SecretString::from(worker_url.clone()), 8)?;

    let processes = Processes::start(&worker_url, &running.addresses.redis_url)?;
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if asked.iter().any(|argument| argument == "retention") {
        let finished = asked.iter().find_map(|argument| argument.parse().ok()).unwrap_or(retention::FINISHED);
        wait_for_worker(db.pool()).await?;
        let measured = retention::rows(db.pool(), &running.addresses.owner_url, finished).await;
        drop(processes);
        running.stop().await;
        return report("retention", &measured?);
    }
    let measured = measure(&db, &running.addresses.owner_url, &processes).await;
    drop(processes);
    let peers = peers_of(running.addresses.redis_url.trim_start_matches("redis+unix://"));
    running.stop().await;
    let (mut rows, own) = measured?;
    let beside = |(peer, figure)| Row::beside("the same no-op jobs", own, "jobs/s", peer, figure);
    rows.splice(1..1, peers.into_iter().map(beside));
    report("jobs", &rows)
}

/// What others do with no-op jobs on the Redis at `socket`, which syncs its log every second, one process each: jobs a second.
fn peers_of(socket: &str) -> Vec<(String, f64)> {
    let bullmq = || {
        let folder = peers::node("bullmq", &["bullmq@6.7.0", "ioredis@6.0.0"])?;
        let arguments = [socket.to_owned(), JOBS.to_string(), SLOTS.to_string()];
        let mut command = Command::new("node");
        command.current_dir(folder).arg(peers::script("bullmq.mjs")).args(arguments);
        Some((format!("BullMQ 6.7, {SLOTS} at once"), peers::figure("bullmq", &mut command)?))
    };
    let celery = || {
        let python = peers::python("celery", &["celery==5.7.0", "redis==8.1.0", "packaging"])?;
        let arguments = [socket.to_owned(), CELERY_TASKS.to_string(), CELERY_THREADS.to_string()];
        let mut command = Command::new(python);
        command.arg(peers::script("celery_noop.py")).args(arguments);
        Some((format!("Celery 5.7, {CELERY_THREADS} threads"), peers::figure("celery", &mut command)?))
    };
    [bullmq(), celery()].into_iter().flatten().collect()
}

/// The rows, and again the figure of the first: jobs a second.
async fn measure(db: &SystemDb, owner_url: &str, processes: &Processes) -> anyhow::Result<(Vec<Row>, f64)> {
    let pool = db.pool();
    wait_for_worker(pool).await?;
    let own = end_to_end(pool, JOBS).await?;
    let mut rows = vec![Row::alone(format!("no-op jobs, one worker process, {SLOTS} slots"), own, "jobs/s")];
    let mut pickups = pickups(db).await?;
    pickups.sort_unstable();
    let at =
        |share: usize| pickups[(pickups.len() * share / 100).min(pickups.len() - 1)].as_secs_f64() * 1000.0;
    rows.push(Row::alone("from COMMIT to start on an idle system, p50", at(50), "ms"));
    rows.push(Row::alone("from COMMIT to start on an idle system, p99", at(99), "ms"));
    for (what, child) in [("worker", &processes.worker), ("relay", &processes.relay)] {
        if let Some(share) = idle_cost(child).await? {
            rows.push(Row::alone(format!("an idle {what} process, of one core"), share * 100.0, "%"));
        }
    }
    rows.extend(backlogs(pool).await?);
    rows.push(bulk(db, owner_url).await?);
    rows.push(beside_a_snapshot(pool, owner_url).await?);
    rows.push(beside_empty_statistics(pool, owner_url).await?);
    Ok((rows, own))
}

/// What somebody else's session costs that sits in a transaction, a dump for example: nothing can be cleared away that was finished since.
async fn beside_a_snapshot(pool: &PgPool, owner_url: &str) -> anyhow::Result<Row> {
    clear(pool).await?;
    let before = end_to_end(pool, FEW).await?;
    clear(pool).await?;
    let mut idle = store::db::connect_once(&SecretString::from(owner_url.to_owned())).await?;
    idle.execute("begin isolation level repeatable read; select from jobs limit 1").await?;
    fill(pool, OLD).await?;
    until_completed(pool, OLD).await?;
    clear(pool).await?;
    let beside = end_to_end(pool, FEW).await?;
    idle.execute("rollback").await?;
    let name = format!("beside a snapshot that {OLD} finished jobs are younger than");
    Ok(Row::beside(name, beside, "jobs/s", "without it", before))
}

/// What an ANALYZE costs that came while the queue was empty: every index looks as if it could be read for nothing.
async fn beside_empty_statistics(pool: &PgPool, owner_url: &str) -> anyhow::Result<Row> {
    clear(pool).await?;
    let before = end_to_end(pool, FEW).await?;
    clear(pool).await?;
    let mut owner = store::db::connect_once(&SecretString::from(owner_url.to_owned())).await?;
    owner.execute("analyze jobs, job_attempts").await?;
    let beside = end_to_end(pool, FEW).await?;
    Ok(Row::beside("after an ANALYZE of the empty queue", beside, "jobs/s", "before it", before))
}

/// Jobs a second, from the moment a paused queue goes on until the last is recorded as completed.
async fn end_to_end(pool: &PgPool, jobs: usize) -> anyhow::Result<f64> {
    queues::pause(pool, Queue::Delivery, None).await?;
    fill(pool, i64::try_from(jobs)?).await?;
    sqlx::query("vacuum analyze jobs").execute(pool).await.ok();
    queues::resume(pool, Queue::Delivery).await?;
    let began = Instant::now();
    until_completed(pool, i64::try_from(jobs)?).await?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok(jobs as f64 / began.elapsed().as_secs_f64())
}

/// What it takes to work off the same number of jobs on top of no backlog, and of a larger and larger one that stays.
async fn backlogs(pool: &PgPool) -> anyhow::Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for backlog in BACKLOGS {
        clear(pool).await?;
        queues::pause(pool, Queue::Delivery, None).await?;
        fill(pool, backlog + SLICE).await?;
        queues::resume(pool, Queue::Delivery).await?;
        let began = Instant::now();
        until_completed(pool, SLICE).await?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let micros = began.elapsed().as_secs_f64() * 1e6 / SLICE as f64;
        queues::pause(pool, Queue::Delivery, None).await?;
        let name = format!("a job with {backlog} more waiting");
        rows.push(match rows.first() {
            Some(first) => Row::beside(name, micros, "µs", first.name.clone(), first.value),
            None => Row::alone(name, micros, "µs"),
        });
    }
    clear(pool).await?;
    queues::resume(pool, Queue::Delivery).await?;
    Ok(rows)
}

/// From the client's COMMIT to the attempt's start, by the database's clock.
async fn pickups(db: &SystemDb) -> anyhow::Result<Vec<Duration>> {
    clear(db.pool()).await?;
    let mut times = Vec::new();
    for _ in 0..PICKUPS {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut tx = db.begin().await?;
        let job = enqueue(&mut tx, Origin::INSTALLATION, &Noop {}).await?.id;
        tx.commit().await?;
        let committed = Instant::now();
        let committed_at: f64 = sqlx::query_scalar("select extract(epoch from clock_timestamp())::float8")
            .fetch_one(db.pool())
            .await?;
        let asking = committed.elapsed().as_secs_f64() / 2.0;
        let started_at = loop {
            let started: Option<f64> = sqlx::query_scalar(
                "select extract(epoch from started_at)::float8 from job_attempts where job_id = $1",
            )
            .bind(job.0)
            .fetch_optional(db.pool())
            .await?;
            match started {
                Some(at) => break at,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        times.push(Duration::from_secs_f64((started_at - committed_at + asking).max(0.0)));
    }
    Ok(times)
}

/// The share of one core that a process uses over some seconds in which nothing happens. None where /proc does not tell.
async fn idle_cost(child: &Child) -> anyhow::Result<Option<f64>> {
    const OVER: Duration = Duration::from_secs(5);
    // Scheduler time in nanoseconds, of the whole process.
    let used = || -> Option<f64> {
        let mut total = 0.0;
        for task in std::fs::read_dir(format!("/proc/{}/task", child.id())).ok()? {
            let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            total += text.split(' ').next()?.parse::<f64>().ok()?;
        }
        Some(total / 1e9)
    };
    let before = used();
    tokio::time::sleep(OVER).await;
    Ok(before.zip(used()).map(|(before, after)| (after - before) / OVER.as_secs_f64()))
}

/// Rows a second by `enqueue_many`, beside COPY of the same rows into the same table.
async fn bulk(db: &SystemDb, owner_url: &str) -> anyhow::Result<Row> {
    queues::pause(db.pool(), Queue::Delivery, None).await?;
    clear(db.pool()).await?;
    let jobs: Vec<Noop> = (0..BULK).map(|_| Noop {}).collect();
    let began = Instant::now();
    let mut tx = db.begin().await?;
    enqueue_many(&mut tx, Origin::INSTALLATION, &jobs).await?;
    tx.commit().await?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let own = BULK as f64 / began.elapsed().as_secs_f64();
    clear(db.pool()).await?;

    let mut text = String::new();
    for _ in 0..BULK {
        text.push_str(&format!("{}\tbench_noop\tdelivery\t{{}}\t3\t60\n", uuid::Uuid::now_v7()));
    }
    let mut connection = store::db::connect_once(&SecretString::from(owner_url.to_owned())).await?;
    let began = Instant::now();
    let mut copy = connection
        .copy_in_raw("copy jobs (id, kind, queue, payload, max_attempts, timeout_seconds) from stdin")
        .await?;
    copy.send(text.into_bytes()).await?;
    copy.finish().await?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let peer = BULK as f64 / began.elapsed().as_secs_f64();
    clear(db.pool()).await?;
    Ok(Row::beside(format!("{BULK} jobs in one transaction"), own, "jobs/s", "COPY of the same rows", peer))
}

async fn fill(pool: &PgPool, jobs: i64) -> anyhow::Result<()> {
    let insert = format!(
        "insert into jobs (id, kind, queue, payload, max_attempts, timeout_seconds, run_at)
         select {}, 'bench_noop', 'delivery', '{{}}', 3, 60, now() - interval '1 hour' + n * interval '1 ms'
           from generate_series(1, $1) as n",
        id_of("clock_timestamp()")
    );
    sqlx::query(AssertSqlSafe(insert)).bind(jobs).execute(pool).await?;
    Ok(())
}

/// An expression for an id as the product makes them at `moment`, an expression too: UUIDs of version 7, one after another (RFC 9562, section 5.7).
fn id_of(moment: &str) -> String {
    format!(
        "(lpad(to_hex((extract(epoch from {moment}) * 1000)::bigint), 12, '0') || '7'
          || substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid"
    )
}

async fn clear(pool: &PgPool) -> anyhow::Result<()> {
    // Row by row, since the engine's role may not truncate; nothing else is in the table. In the engine's own order, so that what it is
    // still writing and this never wait for each other.
    sqlx::query(
        "with gone as materialized (select id from jobs order by id for update)
         delete from jobs using gone where jobs.id = gone.id",
    )
    .execute(pool)
    .await?;
    Ok(())
}

async fn until_completed(pool: &PgPool, jobs: i64) -> anyhow::Result<()> {
    loop {
        let done: i64 = sqlx::query_scalar(
            "select count(*) from jobs where state = 'completed' and finished_at is not null",
        )
        .fetch_one(pool)
        .await?;
        if done >= jobs {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn wait_for_worker(pool: &PgPool) -> anyhow::Result<()> {
    for _ in 0..400 {
        let workers: i64 = sqlx::query_scalar("select count(*) from workers").fetch_one(pool).await?;
        if workers > 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("the worker process did not announce itself within 20 s")
}

/// A relay and a worker, killed when it goes out of sight.
struct Processes {
    relay: Child,
    worker: Child,
}

impl Processes {
    fn start(database_url: &str, redis_url: &str) -> anyhow::Result<Self> {
        let start = |role| {
            Command::new(std::env::current_exe()?)
                .env("PLIMSOLL_BENCH_ROLE", role)
                .env("DATABASE_URL", database_url)
                .env("REDIS_URL", redis_url)
                .spawn()
                .with_context(|| format!("the {role} process does not start"))
        };
        Ok(Self { relay: start("relay")?, worker: start("worker")? })
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in [&mut self.relay, &mut self.worker] {
            if let Err(error) = child.kill().and_then(|()| child.wait().map(|_| ())) {
                eprintln!("a process of the bench stays behind: {error}");
            }
        }
    }
}

/// What the two processes do.
async fn serve(role: &str, database_url: &SecretString, redis_url: &SecretString) -> anyhow::Result<()> {
    let db = SystemDb::connect(database_url, 8)?;
    let transport = Transport::connect(redis_url, PREFIX).await?;
    let stop = CancellationToken::new();
    if role == "relay" {
        let relay =
            Relay { pool: db.pool().clone(), transport, window: 2000, patience: Duration::from_secs(30) };
        relay.run(&stop).await;
        return Ok(());
    }
    let mut registry = Registry::default();
    registry.add::<Noop>();
    let settings = worker::Settings {
        queues: vec![Queue::Delivery],
        slots: SLOTS,
        lease: Duration::from_secs(30),
        grace: Duration::from_secs(5),
    };
    worker::run(registry, (), db.pool().clone(), transport, settings, stop).await
}
