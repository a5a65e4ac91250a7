//! Many jobs with one statement, each under its own fence; and workers that are told to be quiet or to stop.

use std::{collections::HashSet, time::Duration};

use harness::{TestDb, eventually};
use queue::{
    Queue,
    claim::{self, Verdict},
    fleet::{self, Order},
    rescue,
};
use redis::AsyncCommands;
use secrecy::ExposeSecret;
use sqlx::{Connection, Executor, PgConnection};

use crate::{
    queue_delivery::Engine,
    work::{Act, Tally, Work, accept, dispatch, outcomes, row, runner},
};

const LEASE: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn of_many_completions_those_that_lost_their_fence_are_void_and_the_others_count() {
    let db = TestDb::new().await;
    let mut references = Vec::new();
    for _ in 0..10 {
        references.push(dispatch(&db, accept(&db, &Work::default()).await).await);
    }
    let taken = claim::take_many(db.pool(), &references, "w", Duration::ZERO).await.expect("taken");
    assert_eq!(taken.len(), 10);
    // Three are given to somebody else before the answer comes.
    sqlx::query("update jobs set leased_until = now() + interval '1 hour' where id = any ($1)")
        .bind(references[3..].iter().map(|reference| reference.id).collect::<Vec<_>>())
        .execute(db.pool())
        .await
        .expect("seven are renewed");
    assert_eq!(rescue::once(db.pool()).await.expect("a look").returned, 3);
    for reference in &references[..3] {
        dispatch(&db, domain::id::JobId(reference.id)).await;
    }
    let finished: Vec<_> = references.iter().map(|reference| (*reference, serde_json::json!({}))).collect();
    let answers = claim::complete_many(db.pool(), &finished).await.expect("answered");
    assert_eq!(answers, [[false; 3].as_slice(), &[true; 7]].concat());
    assert_eq!(
        claim::complete_many(db.pool(), &finished).await.expect("answered"),
        answers,
        "asked again after a lost answer, it says the same"
    );
    let verdicts: Vec<_> = references.iter().map(|reference| (*reference, Verdict::Cancelled)).collect();
    let written = claim::conclude_many(db.pool(), &verdicts).await.expect("answered");
    assert_eq!(
        written,
        [const { None::<String> }; 10],
        "a verdict after the end, or by an old fence, changes nothing"
    );
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_answered_again_to_the_same_worker_only() {
    let db = TestDb::new().await;
    let job = accept(&db, &Work::default()).await;
    let reference = dispatch(&db, job).await;
    for _ in 0..2 {
        let taken = claim::take(db.pool(), reference, "w", LEASE).await.expect("answered");
        assert_eq!(taken.expect("it is ours").attempt, 1);
    }
    assert!(claim::take(db.pool(), reference, "other", LEASE).await.expect("answered").is_none());
    assert_eq!(outcomes(&db, job).await, ["running"]);
}

#[tokio::test]
async fn one_renewal_keeps_what_is_ours_and_tells_what_is_not() {
    let db = TestDb::new().await;
    let (kept, cancelled, lost) = (
        dispatch(&db, accept(&db, &Work::default()).await).await,
        dispatch(&db, accept(&db, &Work::default()).await).await,
        dispatch(&db, accept(&db, &Work::default()).await).await,
    );
    claim::take_many(db.pool(), &[kept, cancelled, lost], "w", LEASE).await.expect("taken");
    sqlx::query("update jobs set cancel_requested = true where id = $1")
        .bind(cancelled.id)
        .execute(db.pool())
        .await
        .expect("somebody asks");
    sqlx::query("update jobs set state = 'available', leased_until = null where id = $1")
        .bind(lost.id)
        .execute(db.pool())
        .await
        .expect("it is given back");
    let mut held = claim::renew_many(db.pool(), &[kept, cancelled, lost], LEASE).await.expect("answered");
    held.sort_by_key(|job| job.cancel_requested);
    let held: Vec<_> = held.iter().map(|job| (job.id, job.cancel_requested)).collect();
    assert_eq!(held, [(kept.id, false), (cancelled.id, true)]);
}

#[tokio::test]
async fn a_result_that_cannot_be_stored_hurts_its_own_job_only() {
    let db = TestDb::new().await;
    let runner = runner(&db, &Tally::new(&db), LEASE);
    let mut jobs = Vec::new();
    for act in [Act::Finish("sound".into()), Act::Finish("NUL".into()), Act::Finish("sound".into())] {
        let job = accept(&db, &Work { act, ..Work::default() }).await;
        jobs.push((job, dispatch(&db, job).await));
    }
    futures::future::join_all(jobs.iter().map(|(_, reference)| runner.run(*reference))).await;
    let mut states = Vec::new();
    for (job, _) in jobs {
        states.push(row(&db, job).await.state);
    }
    assert_eq!(states, ["completed", "dead", "completed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_without_a_transaction_of_their_own_are_each_completed_once() {
    let mut engine = Engine::idle().await;
    engine.start_relay().await;
    engine.start_worker(16).await;
    let work = Work { act: Act::Finish("done".into()), ..Work::default() };
    let ids = engine.accept_many(300, work).await;
    engine.until_all_done(&ids, Duration::from_secs(30)).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_apalis_leaves_in_redis_is_removed() {
    let mut engine = Engine::idle().await;
    engine.start_relay().await;
    engine.start_worker(8).await;
    let ids = engine.accept_many(200, Work::default()).await;
    engine.until_all_completed(&ids, Duration::from_secs(30)).await;
    eventually("an empty Redis", SOON, || async {
        // The epoch and the list of apalis workers stay; nothing that grows with the number of jobs does.
        (engine.keys_in_redis().await <= 4).then_some(())
    })
    .await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_apalis_notes_of_a_worker_is_kept_while_it_lives_and_goes_when_it_is_gone() {
    let mut engine = Engine::idle().await;
    let transport = engine.transport().await;
    let worker = engine.start_worker(2).await;
    let notes = eventually("the worker's registration", SOON, || async {
        engine.redis_keys(":workers:metadata:").await.pop()
    })
    .await;
    let (workers, name) = notes.split_once(":metadata:").expect("it is part of the key");
    let mut redis = engine.redis().await;
    // As if nobody had swept for half a minute.
    let _: bool = redis.expire(&notes, 30).await.expect("set");
    transport.sweep(Queue::Maintenance).await.expect("swept");
    let remain: i64 = redis.ttl(&notes).await.expect("asked");
    assert!(remain > 30, "a live worker's notes are kept: {remain} s");

    worker.cancel();
    // What another worker's heartbeat does when this one has been silent for half a minute.
    eventually("the worker to be struck off for good", SOON, || async {
        let _: usize = redis.clone().zrem(workers, name).await.ok()?;
        engine.has_stopped().then_some(())
    })
    .await;
    let _: usize = redis.zrem(workers, name).await.expect("struck off");
    let _: bool = redis.expire(&notes, 3).await.expect("set");
    transport.sweep(Queue::Maintenance).await.expect("swept");
    eventually("the end of the notes", SOON, || async {
        engine.redis_keys(":workers:metadata:").await.is_empty().then_some(())
    })
    .await;
    engine.stop().await;
}

/// The one worker that there is.
async fn the_worker(db: &TestDb) -> fleet::WorkerView {
    eventually("the worker's row", SOON, || async { fleet::list(db.pool()).await.ok()?.pop() }).await
}

async fn until_mode(db: &TestDb, mode: &str) {
    eventually(&format!("the mode {mode}"), SOON, || async {
        (the_worker(db).await.mode == mode).then_some(())
    })
    .await;
}

async fn until_state(db: &TestDb, job: domain::id::JobId, state: &str) {
    eventually(&format!("the state {state}"), SOON, || async {
        (row(db, job).await.state == state).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_worker_finishes_what_it_has_and_takes_nothing_new_until_told_to() {
    let mut engine = Engine::idle().await;
    engine.start_relay().await;
    engine.start_worker(4).await;
    let worker = the_worker(&engine.db).await;
    assert_eq!((worker.queue_slots.as_slice(), worker.is_alive), ([4].as_slice(), true));
    let running = accept(&engine.db, &Work { act: Act::SleepMillis(1500), ..Work::default() }).await;
    until_state(&engine.db, running, "running").await;
    let in_hand = fleet::in_hand(engine.db.pool(), None).await.expect("listed");
    assert_eq!((in_hand[0].id, in_hand[0].worker.as_str()), (running.0, worker.name.as_str()));

    assert!(fleet::give_order(engine.db.pool(), &worker.name, Order::Quiet).await.expect("it is told"));
    until_mode(&engine.db, "quiet").await;
    let later = accept(&engine.db, &Work::default()).await;
    until_state(&engine.db, running, "completed").await;
    assert_ne!(row(&engine.db, later).await.state, "completed");

    fleet::give_order(engine.db.pool(), &worker.name, Order::Work).await.expect("it is told");
    engine.until_all_completed(&HashSet::from([running, later]), SOON).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_finishes_what_it_has_and_ends() {
    let mut engine = Engine::idle().await;
    engine.start_relay().await;
    engine.start_worker(4).await;
    let worker = the_worker(&engine.db).await;
    let running = accept(&engine.db, &Work { act: Act::SleepMillis(1500), ..Work::default() }).await;
    until_state(&engine.db, running, "running").await;
    fleet::give_order(engine.db.pool(), &worker.name, Order::Drain).await.expect("it is told");
    eventually("its signing off", SOON, || async {
        fleet::list(engine.db.pool()).await.ok()?.is_empty().then_some(())
    })
    .await;
    let row = row(&engine.db, running).await;
    assert_eq!((row.state.as_str(), row.attempt), ("completed", 1));
    engine.stop().await;
}

/// The queue was empty when Postgres looked, as it is at times: then every way to a row seems to cost nothing.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_looked_up_one_by_one_though_the_statistics_are_of_an_empty_table() {
    const JOBS: usize = 1000;
    let mut engine = Engine::idle().await;
    sqlx::raw_sql(
        "insert into jobs (id, kind, queue, payload, max_attempts, timeout_seconds)
         select gen_random_uuid(), 'gone', 'maintenance', '{}', 1, 60 from generate_series(1, 5000);
         delete from jobs",
    )
    .execute(engine.db.pool())
    .await
    .expect("there were jobs once");
    let mut owner = PgConnection::connect(engine.db.owner_url.expose_secret()).await.expect("the owner");
    owner.execute("analyze jobs").await.expect("it is looked at");
    let tuples: f32 = sqlx::query_scalar("select reltuples from pg_class where oid = 'jobs'::regclass")
        .fetch_one(&mut owner)
        .await
        .expect("known");
    assert!(tuples.abs() < f32::EPSILON, "{tuples} rows were seen");

    let ids = engine.accept_many(JOBS, Work::default()).await;
    engine.start_relay().await;
    engine.start_worker(64).await;
    engine.until_all_completed(&ids, Duration::from_secs(60)).await;
    let db = engine.stop().await;
    // What a session has read is known when it has ended.
    db.pool().close().await;
    loop {
        let others: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
        )
        .fetch_one(&mut owner)
        .await
        .expect("counted");
        if others == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let read: i64 = sqlx::query_scalar(
        "select sum(idx_tup_read)::bigint from pg_stat_user_indexes
          where indexrelname in ('jobs_pkey', 'jobs_tenant_idx', 'job_attempts_pkey')",
    )
    .fetch_one(&mut owner)
    .await
    .expect("known");
    let each = usize::try_from(read).expect("a count") / JOBS;
    // One search through a whole index reads as many as there are jobs; a slow machine makes some of them be looked up again.
    assert!((1..200).contains(&each), "{each} entries of the indexes were read for a job");
}

/// Whether the planner takes such an index instead of the primary key hangs on the sizes of both at that moment, so that the test above does
/// not see each of them.
#[tokio::test]
async fn by_its_id_a_job_can_be_searched_for_in_the_primary_key_only() {
    let db = TestDb::new().await;
    let others: Vec<String> = sqlx::query_scalar(
        "select i.indexrelid::regclass::text
           from pg_index i
           join pg_attribute a on a.attrelid = i.indrelid and a.attname = 'id'
          where i.indrelid = 'jobs'::regclass and not i.indisprimary
            -- A partial one is kept out by the statements themselves, which name no state that it could be of.
            and i.indpred is null
            and a.attnum = any (i.indkey)",
    )
    .fetch_all(db.pool())
    .await
    .expect("known");
    assert_eq!(others, [""; 0]);
}

#[tokio::test]
async fn nobody_can_be_told_who_is_not_there() {
    let db = TestDb::new().await;
    assert!(!fleet::give_order(db.pool(), "nobody", Order::Drain).await.expect("answered"));
}
