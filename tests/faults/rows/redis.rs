//! Redis flushed, killed, away, failed over, full and wrongly set up. Nothing in it may matter.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use harness::deed::Act;
use rand::Rng;
use rustix::process::Signal;
use tokio::time::sleep;

use crate::{
    load::{Load, ask_again},
    process::Process,
    proxy::{Network, Proxy},
    system::{System, report_request},
    wait,
};

/// F11: everything in it is gone, several times, in the middle of the work.
pub(crate) async fn flushed(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let _worker = system.worker().await?;
    system.accept_deeds(150, Act::SleepMillis(20)).await?;
    for done in [10, 40, 70] {
        system.until_done(done).await?;
        sleep(Duration::from_millis(system.random.random_range(0..50))).await;
        let mut redis = system.servers.redis().await?;
        let _: () = redis::cmd("FLUSHALL").query_async(&mut redis).await?;
    }
    system.settle(Instant::now(), bound).await
}

/// F12: SIGKILL, and a restart with what its append-only file had.
pub(crate) async fn killed(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let _worker = system.worker().await?;
    system.accept_deeds(100, Act::SleepMillis(20)).await?;
    system.until_done(10).await?;
    system.servers.redis.kill();
    system.accept_deeds(20, Act::SleepMillis(20)).await?;
    let since = Instant::now();
    system.servers.start_redis().await?;
    system.settle(since, bound).await
}

/// R14: twenty restarts within a minute, under load, at all moments. Five seconds after the last both workers begin jobs again, and nothing that was
/// accepted meanwhile is lost.
pub(crate) async fn restarted_again_and_again(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    const RESTARTS: u32 = 20;
    const WITHIN: Duration = Duration::from_secs(60);
    let _scheduler = system.scheduler()?;
    let workers = [system.worker().await?, system.worker().await?];
    let _api = system.api().await?;
    let load = Load::gently(system, 2);
    let began = Instant::now();
    for round in 0..RESTARTS {
        system.accept_deeds(3, Act::SleepMillis(20)).await?;
        sleep(Duration::from_millis(system.random.random_range(0..1200))).await;
        // In order and with its last words written, or not.
        let signal = if round % 2 == 0 { Signal::KILL } else { Signal::TERM };
        system.servers.redis.end(signal);
        sleep(Duration::from_millis(system.random.random_range(0..600))).await;
        system.servers.start_redis().await?;
    }
    let (since, took) = (Instant::now(), began.elapsed());
    ensure!(
        took <= system.stretched(WITHIN),
        "{RESTARTS} restarts took {took:?}: that is no test of a minute"
    );
    let last: DateTime<Utc> =
        sqlx::query_scalar("select clock_timestamp()").fetch_one(system.db.pool()).await?;
    let processes: Vec<i32> = workers.iter().map(Process::id).collect();
    wait::until("both workers begin jobs again", system.stretched(bound), async || {
        system.accept_deeds(4, Act::SleepMillis(50)).await?;
        let at_work: i64 = sqlx::query_scalar(
            "select count(distinct process) from deeds_begun where at > $1 and process = any($2)",
        )
        .bind(last)
        .bind(&processes)
        .fetch_one(system.db.pool())
        .await?;
        Ok((at_work == 2).then_some(()))
    })
    .await?;
    let took = since.elapsed();
    let counts = load.stop().await?;
    ensure!(counts.others.is_empty(), "not everything was accepted: {counts:?}");
    ask_again(system, &counts).await?;
    system.settle(Instant::now(), Duration::from_secs(30)).await?;
    Ok(took)
}

/// F13: away for a while. Requests are accepted, health says so, and the logs are not flooded.
pub(crate) async fn away(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let outage = Duration::from_secs(if system.thorough { 60 } else { 4 });
    let _scheduler = system.scheduler()?;
    let _worker = system.worker().await?;
    let _api = system.api().await?;
    let usual = {
        let load = Load::start(system, 2);
        load.until_accepted(20).await?;
        load.stop().await?.slowest
    };
    system.servers.redis.kill();
    let logged = [warnings(system, "worker")?, warnings(system, "scheduler")?];
    let since = Instant::now();
    let load = Load::gently(system, 2);
    wait::until("the API says that it is degraded", Duration::from_secs(10), async || {
        let health = system.get("/health").await.whole()?;
        ensure!(health.status == 200, "/health answers {}", health.status);
        Ok((health.json()?["status"] == "degraded").then_some(()))
    })
    .await?;
    ensure!(system.get("/readyz").await.whole()?.status == 200, "/readyz must not depend on redis");
    sleep(outage.saturating_sub(since.elapsed())).await;
    let counts = load.stop().await?;
    ensure!(counts.accepted > 0 && counts.others.is_empty(), "not everything was accepted: {counts:?}");
    // A 202 that waited for Redis would take as long as a connection is tried for, which is seconds.
    let fair = usual.max(Duration::from_millis(500)) * 2;
    ensure!(counts.slowest <= system.stretched(fair), "{:?} for a 202, usually {usual:?}", counts.slowest);
    for (name, before) in ["worker", "scheduler"].into_iter().zip(logged) {
        let written = warnings(system, name)? - before;
        // One for each component (five queues in the worker; relay and schedules in the scheduler) and ten seconds, and those at the start.
        let allowed = 8 * (2 + usize::try_from(outage.as_secs() / 10)?);
        ensure!(written <= allowed, "the {name} wrote {written} warnings in {outage:?}, {allowed} would do");
    }
    system.servers.start_redis().await?;
    let since = Instant::now();
    ask_again(system, &counts).await?;
    system.settle(since, bound).await
}

/// Warnings and errors in a log so far.
fn warnings(system: &System<'_>, name: &str) -> Result<usize> {
    let log = std::fs::read(system.folder.join(format!("{name}.log")))?;
    let text = String::from_utf8_lossy(&log);
    Ok(text.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).count())
}

/// F14: three sentinels put a replica in the primary's place that had not heard of the latest. Processes know one address, which follows
/// what the sentinels say, as a virtual one does.
pub(crate) async fn failed_over(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let for_processes = Proxy::to(system.servers.redis_socket()).await?;
    let for_its_kind = Proxy::to(system.servers.redis_socket()).await?;
    let replica = system.servers.replica_of(for_its_kind.address).await?;
    let mut second = replica.connect().await?;
    wait::until("the replica is in step", Duration::from_secs(30), async || {
        let info: String = redis::cmd("INFO").arg("replication").query_async(&mut second).await?;
        Ok(info.contains("master_link_status:up").then_some(()))
    })
    .await?;
    let mut sentinels = Vec::new();
    for name in ["sentinel-1", "sentinel-2", "sentinel-3"] {
        sentinels.push(system.servers.sentinel(name, for_its_kind.address).await?);
    }
    for sentinel in &sentinels {
        let mut asked = sentinel.connect().await?;
        wait::until("the sentinels know each other", Duration::from_secs(60), async || {
            let known: String = redis::cmd("INFO").arg("sentinel").query_async(&mut asked).await?;
            Ok(known.contains("status=ok,").then_some(()).filter(|()| known.contains("slaves=1,sentinels=3")))
        })
        .await?;
    }

    let url = format!("redis://{}/", for_processes.address);
    let _scheduler = system.program("scheduler").with("REDIS_URL", &url).start()?;
    let worker = system.program("worker").with("REDIS_URL", &url);
    let _worker = system.started(&worker).await?;
    system.accept_deeds(60, Act::SleepMillis(30)).await?;
    system.until_done(10).await?;
    // Its kind hears no more of the primary, which goes on and then dies: its tail is lost.
    for_its_kind.becomes(Network::BlackHole);
    system.accept_deeds(60, Act::SleepMillis(30)).await?;
    system.until_done(20).await?;
    system.servers.redis.kill();
    let since = Instant::now();
    let mut asked = sentinels[0].connect().await?;
    wait::until("the sentinels have a new primary", system.stretched(bound), async || {
        let mut question = redis::cmd("SENTINEL");
        question.arg("get-master-addr-by-name").arg("plimsoll");
        let (_, port): (String, u16) = question.query_async(&mut asked).await?;
        Ok((port == replica.port).then_some(()))
    })
    .await?;
    for_processes.fail_over_to(replica.socket()).await;
    let took = system.settle(since, bound).await?;
    drop((sentinels, replica));
    system.servers.start_redis().await?;
    Ok(took)
}

/// F15: it refuses to write, for want of memory and then as a replica. Requests are accepted; the rest waits.
pub(crate) async fn refuses_writes(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let _worker = system.worker().await?;
    let _api = system.api().await?;
    let mut redis = system.servers.redis().await?;
    let mut took = Duration::ZERO;
    let config = |value: &'static str| {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("maxmemory").arg(value);
        set
    };
    let replica_of = |host: &'static str, port: &'static str| {
        let mut set = redis::cmd("REPLICAOF");
        set.arg(host).arg(port);
        set
    };
    // Nobody listens on port 1, so that it stays a replica that may not be written to.
    let faults = [(config("1mb"), config("0")), (replica_of("127.0.0.1", "1"), replica_of("NO", "ONE"))];
    for (fault, remedy) in faults {
        let _: () = fault.query_async(&mut redis).await?;
        for _ in 0..10 {
            let answer = system.ask_for_report(&report_request()).await?;
            ensure!(answer.status == 202, "{}", answer.head);
        }
        // Long enough for relay and worker to run into it several times.
        sleep(Duration::from_secs(2)).await;
        let _: () = remedy.query_async(&mut redis).await?;
        took = took.max(system.settle(Instant::now(), bound).await?);
    }
    Ok(took)
}

/// F16: a Redis that may drop keys. `plimsoll doctor` says so, and what to do.
pub(crate) async fn evicts(system: &mut System<'_>, _: Duration) -> Result<Duration> {
    let (_, before) = system.plimsoll(&["doctor"])?;
    ensure!(!before.contains("maxmemory-policy is"), "it complains without reason: {before}");
    let mut redis = system.servers.redis().await?;
    let _: () = redis::cmd("CONFIG")
        .arg("SET")
        .arg("maxmemory-policy")
        .arg("allkeys-lru")
        .query_async(&mut redis)
        .await?;
    let since = Instant::now();
    let (fine, said) = system.plimsoll(&["doctor"])?;
    let line = said.lines().find(|line| line.contains("allkeys-lru"));
    let line = line.with_context(|| format!("it does not say so: {said}"))?;
    ensure!(!fine && line.contains("noeviction"), "success {fine}: {line}");
    Ok(since.elapsed())
}
