//! Postgres restarted, full, out of connections, slow, and out of reach.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use harness::deed::{Act, Deed};
use rustix::process::Signal;
use secrecy::ExposeSecret;
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;
use url::Url;

use crate::{
    Skip,
    ledger::Promise,
    load::{Load, ask_again},
    process::Program,
    proxy::{Network, Proxy},
    servers::Servers,
    system::{LEASE, Plan, REPORT_PATH, System, report_request},
    wait,
};

/// F17: `pg_ctl stop -m immediate` under load, and up again. No 202 while it is away.
pub(crate) async fn restarted(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let _worker = system.worker().await?;
    let _api = system.api().await?;
    let load = Load::start(system, 4);
    load.until_accepted(30).await?;
    // The deeds are accepted past the API: before, and not during.
    system.accept_deeds(30, Act::SleepMillis(50)).await?;
    system.servers.postgres.end(Signal::QUIT);
    let before = load.counts();
    wait::until("requests are answered with 503", Duration::from_secs(20), async || {
        let more = load.counts().others.get(&503) > before.others.get(&503);
        Ok(more.then_some(()))
    })
    .await?;
    sleep(Duration::from_secs(1)).await;
    let during = load.counts();
    system.servers.start_postgres().await?;
    let since = Instant::now();
    system.until_ready(system.stretched(bound)).await?;
    let counts = load.stop().await?;
    // Those that were answered before the server had ended completely.
    ensure!(during.accepted - before.accepted <= 4, "202 without a database: {before:?} {during:?}");
    ensure!(counts.others.keys().all(|status| *status == 503), "not only 503: {:?}", counts.others);
    ensure!(counts.without_retry_after == 0, "{} times 503 without Retry-After", counts.without_retry_after);
    ask_again(system, &counts).await?;
    system.settle(since, bound).await
}

/// F18: no connection is left. A quick 503, no deadlock, and it recovers by itself.
pub(crate) async fn without_connections(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let _worker = system.worker().await?;
    let _api = system.api().await?;
    system.ask_for_report(&report_request()).await?;
    let mut hogs = hog(system).await?;
    let began = Instant::now();
    let answer = system.call("POST", REPORT_PATH, &[], &report_request()).await.whole()?;
    let waited = began.elapsed();
    ensure!(answer.status == 503, "without a connection it answers {}", answer.head);
    ensure!(waited <= system.stretched(Duration::from_secs(5)), "it took {waited:?} to say so");
    ensure!(system.get("/readyz").await.whole()?.status == 503, "/readyz says that all is well");
    for hog in hogs.drain(..) {
        hog.close().await?;
    }
    let since = Instant::now();
    system.until_ready(system.stretched(bound)).await?;
    let answer = system.ask_for_report(&report_request()).await?;
    ensure!(answer.status == 202, "after it was over: {}", answer.head);
    system.settle(since, bound).await
}

/// Takes every connection there is, also those that the installation had.
async fn hog(system: &System<'_>) -> Result<Vec<PgConnection>> {
    let owner_url = system.servers.addresses.owner_url.as_str();
    let mut hogs = vec![PgConnection::connect(owner_url).await?];
    for _ in 0..100 {
        while let Ok(hog) = PgConnection::connect(owner_url).await {
            hogs.push(hog);
        }
        let ended: i64 = sqlx::query_scalar(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
              where usename in ('plimsoll_api', 'plimsoll_worker')",
        )
        .fetch_one(&mut hogs[0])
        .await?;
        if ended == 0 {
            return Ok(hogs);
        }
    }
    anyhow::bail!("the installation keeps winning the race for connections")
}

/// F19: the disk under the database is full. Nothing is promised that could not be written; it recovers when there is room.
pub(crate) async fn disk_full(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let disk = SmallDisk::mount(system.folder.join("disk"), 400)?;
    let mut servers = Servers::start(disk.0.join("home")).await?;
    let plan = Plan { seed: 0, thorough: system.thorough, patience: system.patience, soak: Duration::ZERO };
    let mut full = System::new(&mut servers, system.folder.join("full"), &plan).await?;
    let took = fill_up(&mut full, &disk.0, bound).await?;
    full.check().await?;
    drop(full);
    servers.postgres.kill();
    servers.redis.kill();
    Ok(took)
}

async fn fill_up(system: &mut System<'_>, disk: &Path, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let _worker = system.worker().await?;
    let _api = system.api().await?;
    let load = Load::start(system, 4);
    load.until_accepted(20).await?;
    let ballast = disk.join("ballast");
    fill(&ballast)?;
    // New segments of the log are what a database runs out of first.
    wait::until("requests are refused", Duration::from_secs(60), async || {
        if let Ok(mut owner) = PgConnection::connect(&system.servers.addresses.owner_url).await {
            let _ = sqlx::raw_sql("select pg_switch_wal()").execute(&mut owner).await;
        }
        Ok(load.counts().others.get(&503).is_some_and(|refused| *refused > 20).then_some(()))
    })
    .await?;
    sleep(Duration::from_secs(1)).await;
    std::fs::remove_file(&ballast)?;
    let since = Instant::now();
    if !system.servers.postgres.is_running() {
        system.servers.start_postgres().await?;
    }
    system.until_ready(system.stretched(bound)).await?;
    let counts = load.stop().await?;
    ensure!(
        counts.others.keys().all(|status| *status == 503),
        "a full disk is a 503 and nothing else: {:?}",
        counts.others
    );
    ask_again(system, &counts).await?;
    system.settle(since, bound).await
}

/// Writes until nothing more fits.
fn fill(ballast: &Path) -> Result<()> {
    let mut file = File::create(ballast)?;
    for size in [1 << 20, 4096, 1] {
        let piece = vec![0; size];
        while file.write_all(&piece).is_ok() {}
    }
    Ok(())
}

/// A file system in memory of so many MiB, which goes away with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: PathBuf, mebibytes: u32) -> Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let options = format!("size={mebibytes}m,mode=0755");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&folder).output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self(folder)),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Err(Skip(format!("a small disk cannot be mounted here: {why}")).into())
            }
            Err(error) => Err(Skip(format!("there is no `mount`: {error}")).into()),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whatever still has a file open there keeps it until it ends.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

impl System<'_> {
    /// `program`, whose connections to Postgres go by way of `proxy`.
    pub(crate) fn behind(&self, proxy: &Proxy, program: Program) -> Result<Program> {
        let mut url = Url::parse("postgres://127.0.0.1/")?;
        let direct = Url::parse(self.db.worker_url.expose_secret())?;
        let user = direct.query_pairs().find(|(key, _)| key == "user").context("a user")?.1.into_owned();
        url.set_username(&user).ok().context("a user may be named")?;
        url.set_port(Some(proxy.address.port())).ok().context("a port may be named")?;
        url.set_path(direct.path());
        url.set_query(Some("sslmode=disable"));
        Ok(program.with("DATABASE_URL", url.as_str()))
    }
}

/// F20: a worker that cannot reach Postgres any more, without a word from the network. Its work is given up and done by another.
pub(crate) async fn cut_off(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let mut took = Duration::ZERO;
    for network in [Network::BlackHole, Network::HalfOpen, Network::CutAfter(7), Network::Refusing] {
        took = took.max(cut_off_by(system, bound, network).await.with_context(|| format!("{network:?}"))?);
    }
    Ok(took)
}

async fn cut_off_by(system: &mut System<'_>, bound: Duration, network: Network) -> Result<Duration> {
    let proxy = Proxy::to(system.servers.postgres_socket()).await?;
    let _scheduler = system.scheduler()?;
    let program = system.behind(&proxy, system.program("worker"))?;
    let first = system.started(&program).await?;
    let gate = system.gate();
    let job = system.accept(&Deed::of(Act::WaitFor(gate.clone())), Promise::Completed).await?;
    ensure!(system.until_begun(job, 1).await? == first.id());
    let mut second = system.worker().await?;
    proxy.becomes(network);
    let since = Instant::now();
    ensure!(system.until_begun(job, 2).await? == second.id(), "the other worker takes over");
    // Whoever lost its lease lets go of the work, although nobody can tell it so.
    let abandoned = harness::deed::abandoned(&gate, first.id());
    wait::until("the work is given up", system.stretched(bound), async || {
        Ok(abandoned.exists().then_some(()))
    })
    .await?;
    std::fs::write(&gate, "")?;
    let took = system.settle(since, bound).await?;
    ensure!(system.outcomes(job).await? == ["crashed", "completed"]);
    // Back in reach, it works again.
    proxy.becomes(Network::Sound);
    second.kill()?;
    let next = system.accept(&Deed::default(), Promise::Completed).await?;
    system.settle(Instant::now(), Duration::from_secs(60)).await.context("after the network came back")?;
    ensure!(system.until_begun(next, 1).await? == first.id(), "the worker that was cut off works again");
    Ok(took)
}

/// F21: half a second more for every answer. Leases are renewed in time all the same.
pub(crate) async fn slow(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let proxy = Proxy::to(system.servers.postgres_socket()).await?;
    // A lease that such a network leaves room for: a renewal is a few messages, and comes every third of it.
    let lease = 3 * LEASE;
    let _scheduler = system.program("scheduler").with("JOB_LEASE_SECONDS", lease.to_string()).start()?;
    let worker = system.program("worker").with("JOB_LEASE_SECONDS", lease.to_string());
    let _worker = system.started(&system.behind(&proxy, worker)?).await?;
    proxy.becomes(Network::Slow(Duration::from_millis(250)));
    let since = Instant::now();
    let three_leases = Act::SleepMillis(3 * lease * 1000);
    let jobs = system.accept_deeds(3, three_leases).await?;
    system.settle(since, bound).await?;
    for job in jobs {
        ensure!(
            system.outcomes(job).await? == ["completed"],
            "a lease expired: {:?}",
            system.outcomes(job).await?
        );
    }
    // And the same through a needle's eye: twenty kilobytes a second.
    proxy.becomes(Network::Narrow(20_000));
    system.accept_deeds(5, Act::Nothing).await?;
    system.settle(Instant::now(), bound).await?;
    Ok(since.elapsed())
}
