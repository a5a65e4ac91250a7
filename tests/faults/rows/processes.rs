//! Processes that are killed, frozen and asked to stop.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{
    deed::{Act, Deed},
    free_address,
};
use rustix::process::Signal;

use super::crashes::count;
use crate::{
    http,
    ledger::Promise,
    load::{Load, ask_again},
    system::System,
    wait,
};

/// F1: SIGKILL in the middle of a job. Another worker does it again.
pub(crate) async fn worker_killed(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    // A lease that outlasts the start of the second worker on a busy machine, or there would be one more crash.
    let worker = system.program("worker").with("JOB_LEASE_SECONDS", "4");
    let mut first = system.started(&worker).await?;
    let gate = system.gate();
    let job = system.accept(&Deed::of(Act::WaitFor(gate.clone())), Promise::Completed).await?;
    system.until_begun(job, 1).await?;
    let _second = system.started(&worker).await?;
    first.kill()?;
    let since = Instant::now();
    std::fs::write(&gate, "")?;
    let took = system.settle(since, bound).await?;
    ensure!(system.state_of(job).await? == ("completed".into(), 1, 1), "{:?}", system.state_of(job).await?);
    ensure!(system.outcomes(job).await? == ["crashed", "completed"]);
    Ok(took)
}

/// F2: every worker at once, with many jobs in their hands.
pub(crate) async fn all_workers_killed(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let mut workers = [system.worker().await?, system.worker().await?];
    system.accept_deeds(40, Act::SleepMillis(150)).await?;
    system.until_done(8).await?;
    for worker in &mut workers {
        worker.kill()?;
    }
    let since = Instant::now();
    let _third = system.worker().await?;
    system.settle(since, bound).await
}

/// F3: a pause far longer than the lease. What the frozen worker then brings is void.
pub(crate) async fn worker_frozen(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let admin = free_address();
    let first = system.started(&system.program("worker").with("ADMIN_LISTEN", admin.to_string())).await?;
    let gate = system.gate();
    let job = system.accept(&Deed::of(Act::WaitFor(gate.clone())), Promise::Completed).await?;
    system.until_begun(job, 1).await?;
    let mut second = system.worker().await?;
    first.signal(Signal::STOP);
    let since = Instant::now();
    system.until_begun(job, 2).await?;
    std::fs::write(&gate, "")?;
    system.until_done(1).await?;
    first.signal(Signal::CONT);
    second.kill()?;
    // It has noticed, given up what was taken from it, and works on.
    let next = system.accept(&Deed::default(), Promise::Completed).await?;
    let took = system.settle(since, bound).await?;
    ensure!(system.until_begun(next, 1).await? == first.id(), "the thawed worker takes new work");
    wait::until("its late result is counted", Duration::from_secs(10), async || {
        let metrics = http::send(admin, "GET", "/metrics", &[], &[]).await.whole()?;
        let metrics = String::from_utf8(metrics.body)?;
        let counted = metrics.lines().find(|line| line.starts_with("plimsoll_fence_rejected_total"));
        Ok(counted.is_some_and(|line| line.ends_with(" 1")).then_some(()))
    })
    .await?;
    ensure!(system.outcomes(job).await? == ["crashed", "completed"]);
    Ok(took)
}

/// F5: the API is killed in a burst of requests. What was answered is done; what was not is done once when asked again.
pub(crate) async fn api_killed_in_burst(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let _worker = system.worker().await?;
    let mut api = system.api().await?;
    let load = Load::start(system, 8);
    load.until_accepted(if system.thorough { 300 } else { 60 }).await?;
    api.kill()?;
    let since = Instant::now();
    let before = load.counts().refused;
    wait::until("a request is refused", Duration::from_secs(10), async || {
        Ok((load.counts().refused > before).then_some(()))
    })
    .await?;
    let counts = load.stop().await?;
    let _api = system.api().await?;
    ask_again(system, &counts).await?;
    system.settle(since, bound).await
}

/// F6: SIGTERM under load. What is under way is finished, nothing is cut, and the exit is clean.
pub(crate) async fn api_asked_to_stop(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let _worker = system.worker().await?;
    let mut api = system.api().await?;
    let load = Load::start(system, 8);
    load.until_accepted(40).await?;
    api.signal(Signal::TERM);
    let since = Instant::now();
    let status = api.end(system.stretched(Duration::from_secs(25))).await?;
    ensure!(status.success(), "the API ended with {status}");
    let counts = load.stop().await?;
    ensure!(counts.cut == 0, "{} answers were cut", counts.cut);
    ensure!(counts.others.keys().all(|status| *status == 503), "{:?}", counts.others);
    let _api = system.api().await?;
    ask_again(system, &counts).await?;
    system.settle(since, bound).await
}

/// F7: SIGTERM with a job that takes longer than the grace period. It is handed back, and the attempt is not counted.
pub(crate) async fn worker_asked_to_stop(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let mut first = system.worker().await?;
    let gate = system.gate();
    let job = system.accept(&Deed::of(Act::WaitFor(gate.clone())), Promise::Completed).await?;
    system.until_begun(job, 1).await?;
    first.signal(Signal::TERM);
    let since = Instant::now();
    // The grace period of the harness is two seconds, the table allows two more.
    let status = first.end(system.stretched(bound)).await?;
    ensure!(status.success(), "the worker ended with {status}");
    let took = since.elapsed();
    ensure!(system.outcomes(job).await?.first().map(String::as_str) == Some("interrupted"));
    let (state, attempt, crashes) = system.state_of(job).await?;
    ensure!(attempt == 0 && crashes == 0, "handed back as {state} after attempt {attempt}");
    std::fs::write(&gate, "")?;
    let _second = system.worker().await?;
    system.settle(Instant::now(), Duration::from_secs(10)).await?;
    ensure!(system.outcomes(job).await? == ["interrupted", "completed"]);
    Ok(took)
}

/// F8: a second signal means now. The job is handed back, the exit code says which signal it was, and another does it.
pub(crate) async fn worker_told_twice(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let gate = system.gate();
    let job = system.accept(&Deed::of(Act::WaitFor(gate.clone())), Promise::Completed).await?;
    let mut took = Duration::ZERO;
    for (times, signal, code) in [(1, Signal::TERM, 143), (2, Signal::INT, 130)] {
        let program = system.program("worker").with("SHUTDOWN_GRACE_SECONDS", "60");
        let mut worker = system.started(&program).await?;
        system.until_begun(job, times).await?;
        // Two signals at once may be delivered as one.
        worker.signal(signal);
        wait::until("the first signal is heard", system.stretched(Duration::from_secs(10)), async || {
            Ok((count(system, "select count(*) from workers where mode = 'draining'").await? == 1)
                .then_some(()))
        })
        .await?;
        let since = Instant::now();
        worker.signal(signal);
        let status = worker.end(system.stretched(bound)).await?;
        took = took.max(since.elapsed());
        ensure!(status.code() == Some(code), "the worker ended with {status} and not {code}");
    }
    ensure!(system.outcomes(job).await? == ["interrupted", "interrupted"]);
    std::fs::write(&gate, "")?;
    let _last = system.worker().await?;
    system.settle(Instant::now(), Duration::from_secs(10)).await.context("after the signals")?;
    ensure!(system.state_of(job).await? == ("completed".into(), 1, 0), "{:?}", system.state_of(job).await?);
    Ok(took)
}
