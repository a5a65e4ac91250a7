//! Schedules with more schedulers than one, or one too few, and clocks that are wrong.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use harness::deed::Act;
use queue::schedule::firing::fire_due;

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

/// F35: the nights when clocks go forward and back, seen by three schedulers at once. The clock is ours, the rest is as it is.
pub(crate) async fn clocks_change(system: &mut System<'_>, _: Duration) -> Result<Duration> {
    let since = Instant::now();
    // In New York, 02:30 is missing on 14 March 2027, and 01:30 comes twice on 7 November (cron(8): what was skipped comes
    // right afterwards, what is repeated does not come again; what comes every hour comes every hour).
    let spring = ("2027-03-14T05:00:00Z", [("30 1 * * *", "06:30"), ("30 2 * * *", "07:00")]);
    let autumn = ("2027-11-07T04:00:00Z", [("30 1 * * *", "05:30"), ("30 2 * * *", "07:30")]);
    for (midnight, nightly) in [spring, autumn] {
        let midnight: DateTime<Utc> = midnight.parse()?;
        sqlx::query("delete from schedules").execute(system.db.pool()).await?;
        for cron in ["30 1 * * *", "30 2 * * *", "15 * * * *"] {
            sqlx::query(
                "insert into schedules (name, kind, cron, time_zone, overlap)
                 values ($1, 'purge_expired', $1, 'America/New_York', 'allow')",
            )
            .bind(cron)
            .execute(system.db.pool())
            .await?;
        }
        for minutes in (0..=420).step_by(5) {
            let now = midnight + TimeDelta::minutes(minutes);
            let db = &system.db.system;
            let (first, second, third) =
                tokio::join!(fire_due(db, now), fire_due(db, now), fire_due(db, now));
            let _fired = (first?, second?, third?);
            sqlx::query("update jobs set state = 'cancelled', finished_at = now() where finished_at is null")
                .execute(system.db.pool())
                .await?;
        }
        for (cron, expected) in nightly {
            let fired = firings(system, cron).await?;
            ensure!(fired == [expected], "`{cron}` in the night of {midnight} comes at {fired:?} UTC");
        }
        let hourly = firings(system, "15 * * * *").await?;
        ensure!(hourly.len() == 7, "every hour of seven comes at {hourly:?}");
    }
    Ok(since.elapsed())
}

/// When a schedule came, as hours and minutes UTC, in order.
async fn firings(system: &System<'_>, name: &str) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(
        "select to_char(nominal_at at time zone 'UTC', 'HH24:MI') from schedule_firings
           join schedules on schedules.id = schedule_id where name = $1 and job_id is not null order by nominal_at",
    )
    .bind(name)
    .fetch_all(system.db.pool())
    .await?)
}

fn faketime() -> Result<PathBuf> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/local/lib"];
    folders
        .iter()
        .map(|folder| Path::new(folder).join("faketime/libfaketime.so.1"))
        .find(|library| library.exists())
        .ok_or_else(|| Skip("libfaketime is not installed (Debian: libfaketime)".to_owned()).into())
}
