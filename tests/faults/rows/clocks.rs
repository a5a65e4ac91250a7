//! Schedules with more schedulers than one, or one too few, and clocks that are wrong.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use harness::deed::Act;

use super::crashes::count;
use crate::{
    Skip,
    process::{Program, aborted},
    receivers,
    system::System,
    wait,
};

const CRAWLS: &str = "select count(*) from jobs where kind = 'crawl_source'";

/// F9: the scheduler that is at it ends between the record of a tick and its job. The tick comes, once.
pub(crate) async fn scheduler_killed_at_tick(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let feed = receivers::feed().await?;
    let _worker = system.worker().await?;
    let mut first = system.program("scheduler").with("FAILPOINT", "fire-recorded").start()?;
    receivers::source(system, "kev-under-test", &feed.url, Some(0.0)).await?;
    let status = first.end(Duration::from_secs(30)).await.context("no tick comes")?;
    ensure!(aborted(status), "the scheduler ended with {status}");
    ensure!(count(system, CRAWLS).await? == 0, "half a tick was committed");
    let since = Instant::now();
    let _second = system.scheduler()?;
    wait::until("the tick comes", system.stretched(bound), async || {
        Ok((count(system, CRAWLS).await? > 0).then_some(()))
    })
    .await?;
    let took = system.settle(since, bound).await?;
    ensure!(count(system, CRAWLS).await? == 1, "one tick, and {} crawls", count(system, CRAWLS).await?);
    Ok(took)
}

/// F10: three schedulers, twenty ticks at the same moment. Each comes once.
pub(crate) async fn three_schedulers(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    const TICKS: i64 = 20;
    let feed = receivers::feed().await?;
    let _worker = system.worker().await?;
    let _schedulers = [system.scheduler()?, system.scheduler()?, system.scheduler()?];
    for number in 0..TICKS {
        receivers::source(system, &format!("kev-{number}"), &feed.url, Some(2.0)).await?;
    }
    let since = Instant::now();
    wait::until("every tick comes", system.stretched(bound), async || {
        Ok((count(system, CRAWLS).await? >= TICKS).then_some(()))
    })
    .await?;
    // A second look by each of the three, which must find nothing.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let took = system.settle(since, bound).await?;
    let crawls = count(system, CRAWLS).await?;
    ensure!(crawls == TICKS, "{TICKS} ticks, and {crawls} crawls");
    Ok(took)
}

/// F34: a worker whose clock is an hour ahead, behind, or ten minutes off, beside one that is right; then a scheduler and a lone
/// worker so. Leases are kept by the database's clock, so that nothing is stolen and nothing waits.
pub(crate) async fn wrong_clocks(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let library = faketime()?;
    let shifted = |program: Program, by: &str| {
        program
            .with("LD_PRELOAD", library.to_string_lossy())
            .with("FAKETIME", by)
            .with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    };
    let mut took = Duration::ZERO;
    {
        let _scheduler = system.scheduler()?;
        let _right = system.worker().await?;
        for shift in ["+1h", "-1h", "+10m"] {
            let _wrong = system.started(&shifted(system.program("worker"), shift)).await?;
            system.accept_deeds(20, Act::SleepMillis(300)).await?;
            took = took.max(system.settle(Instant::now(), bound).await.with_context(|| shift.to_owned())?);
        }
    }
    for shift in ["+1h", "-1h"] {
        let _scheduler = shifted(system.program("scheduler"), shift).start()?;
        let _worker = system.worker().await?;
        system.accept_deeds(5, Act::Nothing).await?;
        let settled = system.settle(Instant::now(), bound).await;
        took = took.max(settled.with_context(|| format!("a scheduler of {shift}"))?);
    }
    let _scheduler = system.scheduler()?;
    let _worker = system.started(&shifted(system.program("worker"), "-1h")).await?;
    system.accept_deeds(5, Act::Nothing).await?;
    let settled = system.settle(Instant::now(), bound).await;
    took = took.max(settled.context("a lone worker of -1h")?);
    ensure!(
        count(system, "select count(*) from jobs where crashes > 0").await? == 0,
        "a wrong clock has taken work from somebody"
    );
    Ok(took)
}

fn faketime() -> Result<PathBuf> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/local/lib"];
    folders
        .iter()
        .map(|folder| Path::new(folder).join("faketime/libfaketime.so.1"))
        .find(|library| library.exists())
        .ok_or_else(|| Skip("libfaketime is not installed (Debian: libfaketime)".to_owned()).into())
}
