//! Payloads that nobody can read, handlers that take their process with them, the same id again and again, and too much at once.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::deed::{Act, Deed, Novelty, OldDeed};
use queue::{Job, Queue, claim::JobRef, transport::Transport};
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use super::crashes::count;
use crate::{
    ledger::Promise,
    process::{Process, Program},
    system::System,
    wait,
};

/// F32: rubbish in Redis and in the table. There it is dropped; here what cannot be read is dead, what is too new waits, and the rest is done.
pub(crate) async fn poison(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let mut worker = system.worker().await?;
    let since = Instant::now();
    let insert = async |kind: &str, version: i32, payload: serde_json::Value| -> Result<Uuid> {
        let id = Uuid::now_v7();
        sqlx::query(
            "insert into jobs (id, kind, kind_version, queue, payload, max_attempts, timeout_seconds)
             values ($1, $2, $3, 'maintenance', $4, 3, 60)",
        )
        .bind(id)
        .bind(kind)
        .bind(version)
        .bind(payload)
        .execute(system.db.pool())
        .await?;
        Ok(id)
    };
    let unreadable = insert(Deed::KIND, Deed::VERSION, json!({ "act": 7 })).await?;
    system.ledger.expect(unreadable, Promise::Dead("invalid_payload"))?;
    let unknown = insert("kind_of_tomorrow", 1, json!({})).await?;
    let too_new = insert(Deed::KIND, Deed::VERSION + 1, json!({ "act": "Nothing" })).await?;
    rubbish_in_redis(system).await?;
    system.accept_deeds(20, Act::Nothing).await?;
    wait::until("what can be read is at its end", system.stretched(bound), async || {
        let open: i64 = sqlx::query_scalar(
            "select count(*) from jobs where state not in ('completed', 'dead') and id <> all ($1)",
        )
        .bind(vec![unknown, too_new])
        .fetch_one(system.db.pool())
        .await?;
        Ok((open == 0).then_some(()))
    })
    .await?;
    // What was fetched and not dropped would come again when its worker is taken for dead, half a minute later.
    let left = "what nobody can read is gone from redis";
    wait::until(left, system.stretched(bound), async || Ok((rubbish_left(system).await? == 0).then_some(())))
        .await?;
    let took = since.elapsed();
    for job in [unknown, too_new] {
        let (state, attempt, _) = system.state_of(job).await?;
        ensure!(["available", "scheduled"].contains(&state.as_str()), "what is too new is {state}");
        ensure!(attempt == 0, "waiting for a newer worker cost {attempt} attempts");
        sqlx::query("update jobs set state = 'cancelled', finished_at = now() where id = $1")
            .bind(job)
            .execute(system.db.pool())
            .await?;
    }
    ensure!(worker.ended()?.is_none(), "the worker ended over it");
    Ok(took)
}

/// Everything about a delivery that may be wrong: no body, a body that is not ours, ids of no job.
async fn rubbish_in_redis(system: &System<'_>) -> Result<()> {
    let mut redis = system.servers.redis().await?;
    for queue in Queue::ALL {
        let name = format!("{}:{queue}", system.prefix);
        let mut writing = redis::pipe();
        for (id, body) in [("nil", None), ("json", Some("{\"no\":\"job\"}")), ("bytes", Some("\u{1}\u{2}"))] {
            writing.zadd(format!("{name}:scheduled"), format!("rubbish-{id}"), 1).ignore();
            writing.cmd("RPUSH").arg(format!("{name}:active")).arg(format!("junk-{id}")).ignore();
            if let Some(body) = body {
                for id in [format!("rubbish-{id}"), format!("junk-{id}")] {
                    writing.hset(format!("{name}:data"), id, body).ignore();
                }
            }
        }
        let _: () = writing.query_async(&mut redis).await?;
    }
    let transport = transport(system).await?;
    let strangers = (0..20).map(|fence| JobRef { id: Uuid::new_v4(), fence }).collect();
    transport.push(Queue::Maintenance, strangers).await?;
    Ok(())
}

/// Ids of [`rubbish_in_redis`] that wait, are in somebody's hands, or have a body still, in the queue that is served.
async fn rubbish_left(system: &System<'_>) -> Result<usize> {
    let mut redis = system.servers.redis().await?;
    let name = format!("{}:{}", system.prefix, Queue::Maintenance);
    let in_hands: Vec<String> =
        redis::cmd("KEYS").arg(format!("{name}:inflight:*")).query_async(&mut redis).await?;
    let mut asking = redis::pipe();
    asking.hkeys(format!("{name}:data")).lrange(format!("{name}:active"), 0, -1);
    asking.zrange(format!("{name}:scheduled"), 0, -1);
    for set in in_hands {
        asking.smembers(set);
    }
    let ids: Vec<Vec<String>> = asking.query_async(&mut redis).await?;
    let is_rubbish = |id: &&String| id.starts_with("rubbish-") || id.starts_with("junk-");
    Ok(ids.iter().flatten().filter(is_rubbish).count())
}

async fn transport(system: &System<'_>) -> Result<Transport> {
    let url = SecretString::from(system.servers.addresses.redis_url.clone());
    Ok(Transport::connect(&url, &system.prefix).await?)
}

/// A program that is started again whenever it ends, as an init system does.
struct Keeper {
    program: Program,
    process: Process,
    ends: usize,
}

impl Keeper {
    fn start(program: Program) -> Result<Self> {
        let process = program.start()?;
        Ok(Self { program, process, ends: 0 })
    }

    fn look_after(&mut self) -> Result<()> {
        if self.process.ended()?.is_some() {
            self.ends += 1;
            self.process = self.program.start()?;
        }
        Ok(())
    }
}

/// F33: handlers that panic, abort, overflow their stack and use up the memory. Three times, and never again; the others go on.
pub(crate) async fn handlers_that_kill(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    system.panics_are_expected = true;
    let _scheduler = system.scheduler()?;
    let mut worker = Keeper::start(system.program("worker").asked(&["--memory", "3072"]))?;
    let mut acts = vec![(Act::Panic, "exhausted", 0), (Act::Abort, "poison", 3)];
    if system.thorough {
        acts.extend([(Act::Overflow, "poison", 3), (Act::Exhaust, "poison", 3)]);
    }
    let mut took = Duration::ZERO;
    for (act, reason, ends) in acts {
        let before = worker.ends;
        let job = system.accept(&Deed::of(act.clone()), Promise::Dead(reason)).await?;
        system.accept_deeds(10, Act::SleepMillis(20)).await?;
        let since = Instant::now();
        wait::until("the deed is dead and the others done", system.stretched(bound), async || {
            worker.look_after()?;
            let open = count(system, "select count(*) from jobs where state not in ('completed', 'dead')");
            Ok((open.await? == 0).then_some(()))
        })
        .await
        .with_context(|| format!("{act:?}"))?;
        took = took.max(since.elapsed());
        // On a busy machine a lease may run out before the memory does.
        ensure!(worker.ends - before <= ends, "{act:?} ended the worker {} times", worker.ends - before);
        let (_, _, crashes) = system.state_of(job).await?;
        ensure!(usize::try_from(crashes)? == ends, "{act:?} is recorded with {crashes} crashes");
    }
    Ok(took)
}

/// F36: one id, delivered a hundred times. It is done once.
pub(crate) async fn delivered_again(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let job = system.accept(&Deed::of(Act::SleepMillis(200)), Promise::Completed).await?;
    let fence: i64 = wait::until("the job is dispatched", Duration::from_secs(10), async || {
        Ok(sqlx::query_scalar("select fence from jobs where id = $1 and state = 'dispatched'")
            .bind(job)
            .fetch_optional(system.db.pool())
            .await?)
    })
    .await?;
    let copies = vec![JobRef { id: job, fence }; 100];
    transport(system).await?.push(Queue::Maintenance, copies).await?;
    let _worker = system.worker().await?;
    let took = system.settle(Instant::now(), bound).await?;
    system.accept_deeds(5, Act::Nothing).await?;
    system.settle(Instant::now(), bound).await.context("after the copies")?;
    let begun: i64 = sqlx::query_scalar("select count(*) from deeds_begun where job_id = $1")
        .bind(job)
        .fetch_one(system.db.pool())
        .await?;
    ensure!(begun == 1, "it was begun {begun} times");
    Ok(took)
}

/// F37: twenty thousand jobs and nobody to do them, then one worker. (A Redis queue of apalis takes no more than eight thousand.)
pub(crate) async fn backlog(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let count = if system.thorough { 20_000 } else { 2_000 };
    let _scheduler = system.scheduler()?;
    let jobs: Vec<Uuid> = sqlx::query_scalar(
        "insert into jobs (id, kind, kind_version, queue, payload, max_attempts, timeout_seconds)
         select gen_random_uuid(), $1, $2, 'maintenance', $3, 4, 60 from generate_series(1, $4) returning id",
    )
    .bind(Deed::KIND)
    .bind(Deed::VERSION)
    .bind(serde_json::to_value(Deed::default())?)
    .bind(count)
    .fetch_all(system.db.pool())
    .await?;
    system.ledger.accepted_all(&jobs)?;
    let program = system.program("worker").with("WORKER_SLOTS", "32").with("LOG_LEVEL", "warn");
    let _worker = system.started(&program).await?;
    system.settle(Instant::now(), bound).await
}

/// F45: workers of this release and of the one before, side by side. Each does what it can read, what one leaves behind the other takes up if
/// it can read it, and nothing is refused.
pub(crate) async fn rolling_deploy(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let mut old = system.started(&system.program("worker").asked(&["--old"])).await?;
    // The API is the first to be new: what it writes must wait for a worker that can read it, and cost no attempt.
    let ahead = system.accept(&Deed::of(Act::Nothing), Promise::Completed).await?;
    let mut behind = Vec::new();
    for _ in 0..10 {
        behind.push(system.accept(&OldDeed::default(), Promise::Completed).await?);
    }
    wait::until("the old worker has done what it can", Duration::from_secs(20), async || {
        let done = count(system, "select count(*) from deeds_done").await?;
        Ok((done == 10).then_some(()))
    })
    .await?;
    let unheard_of = system.accept(&Novelty {}, Promise::Completed).await?;
    for job in [ahead, unheard_of] {
        ensure!(system.state_of(job).await?.0 != "completed", "an old worker read what it cannot know");
    }
    let since = Instant::now();
    let mut new = system.worker().await?;
    for number in 0..20 {
        if number % 2 == 0 {
            system.accept(&Deed::of(Act::SleepMillis(20)), Promise::Completed).await?;
        } else {
            system.accept(&OldDeed::default(), Promise::Completed).await?;
        }
    }
    if system.thorough {
        system.settle(since, bound).await?;
        old = handed_over(system, old, &mut new, bound).await?;
    }
    old.signal(rustix::process::Signal::TERM);
    ensure!(old.end(Duration::from_secs(20)).await?.success());
    let took = system.settle(since, bound).await?;
    let misread = "select count(*) from deeds_begun join jobs on jobs.id = job_id
                    where release = 'old' and (kind_version > 1 or kind <> 'test_deed')";
    ensure!(count(system, misread).await? == 0, "an old worker began what it cannot read");
    Ok(took)
}

/// Both workers are killed in the middle of what the other one is to go on with. Gives back the old worker, which was started again.
async fn handed_over(
    system: &mut System<'_>,
    mut old: Process,
    new: &mut Process,
    bound: Duration,
) -> Result<Process> {
    // What the old one had begun, the new one reads and completes.
    let gate = system.gate();
    new.kill()?;
    let job = system.accept(&OldDeed { act: Act::WaitFor(gate.clone()) }, Promise::Completed).await?;
    system.until_begun(job, 1).await?;
    *new = system.worker().await?;
    old.kill()?;
    std::fs::write(&gate, "")?;
    system.settle(Instant::now(), bound).await.context("from old to new")?;
    ensure!(releases(system, job).await? == ["old", "new"], "{:?}", releases(system, job).await?);
    // What the new one had begun waits for the next new one, and the old one goes on with what it knows.
    let gate = system.gate();
    let job = system.accept(&Deed::of(Act::WaitFor(gate.clone())), Promise::Completed).await?;
    system.until_begun(job, 1).await?;
    let old = system.started(&system.program("worker").asked(&["--old"])).await?;
    new.kill()?;
    let known = system.accept(&OldDeed::default(), Promise::Completed).await?;
    wait::until("the old worker goes on", system.stretched(bound), async || {
        let left = system.outcomes(job).await?.get(..2) == Some(&["crashed".into(), "left_to_newer".into()]);
        Ok((left && system.state_of(known).await?.0 == "completed").then_some(()))
    })
    .await?;
    std::fs::write(&gate, "")?;
    *new = system.worker().await?;
    // The minute is over that it waits when nobody can read it.
    sqlx::query("update jobs set run_at = now() where id = $1 and state = 'scheduled'")
        .bind(job)
        .execute(system.db.pool())
        .await?;
    system.settle(Instant::now(), bound).await.context("from new to new")?;
    ensure!(releases(system, job).await? == ["new", "new"], "{:?}", releases(system, job).await?);
    Ok(old)
}

/// By which releases a deed was begun, in order.
async fn releases(system: &System<'_>, job: Uuid) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar("select release from deeds_begun where job_id = $1 order by at")
        .bind(job)
        .fetch_all(system.db.pool())
        .await?)
}
