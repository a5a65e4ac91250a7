//! Jobs that wait for jobs: whatever ends the one that is waited for, the other is let go once, and never too early.

use std::{collections::BTreeMap, time::Duration};

use domain::id::JobId;
use harness::TestDb;
use queue::{
    After, OnFailure,
    batches::enqueue_batch,
    enqueue::{Enqueued, Origin, enqueue_after},
    rescue,
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use store::jobs::{detail, operate};

use crate::work::{Act, Tally, Work, accept, dispatch, row, runner};

const LEASE: Duration = Duration::from_secs(30);

async fn accept_after(db: &TestDb, jobs: &[JobId], on_failure: OnFailure) -> JobId {
    accept_waiting(db, After { jobs, on_failure, at_most: None }).await.id
}

async fn accept_waiting(db: &TestDb, after: After<'_>) -> Enqueued {
    let mut tx = db.system.begin().await.expect("a transaction");
    let accepted =
        enqueue_after(&mut tx, Origin::INSTALLATION, &Work::default(), after).await.expect("accepted");
    tx.commit().await.expect("committed");
    accepted
}

async fn run(db: &TestDb, job: JobId) {
    let reference = dispatch(db, job).await;
    assert!(runner(db, &Tally::new(db), LEASE).run(reference).await);
}

/// Cancels or retries as the system does, without a request.
async fn operate(db: &TestDb, function: &str, job: JobId) -> Vec<(uuid::Uuid, String)> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!("select job_id, new_state from {function}($1)")))
        .bind(vec![job.0])
        .fetch_all(db.pool())
        .await
        .expect("the function answers")
}

fn failing() -> Work {
    Work { act: Act::Discard, ..Work::default() }
}

#[tokio::test]
async fn a_job_waits_until_all_that_it_depends_on_have_ended() {
    let db = TestDb::new().await;
    let (first, second) = (accept(&db, &Work::default()).await, accept(&db, &Work::default()).await);
    let last = accept_after(&db, &[first, second], OnFailure::Fail).await;
    assert_eq!(row(&db, last).await.state, "waiting");
    run(&db, first).await;
    assert_eq!(row(&db, last).await.state, "waiting");
    run(&db, second).await;
    assert_eq!(row(&db, last).await.state, "available");
}

#[tokio::test]
async fn what_has_ended_already_is_not_waited_for() {
    let db = TestDb::new().await;
    let (done, failed) = (accept(&db, &Work::default()).await, accept(&db, &failing()).await);
    run(&db, done).await;
    run(&db, failed).await;
    let both = [done, failed];
    assert_eq!(row(&db, accept_after(&db, &[done], OnFailure::Fail).await).await.state, "available");
    assert_eq!(row(&db, accept_after(&db, &both, OnFailure::Run).await).await.state, "available");
    assert_eq!(row(&db, accept_after(&db, &both, OnFailure::Wait).await).await.state, "waiting");
    let dead = row(&db, accept_after(&db, &both, OnFailure::Fail).await).await;
    assert_eq!((dead.state.as_str(), dead.dead_reason.as_deref()), ("dead", Some("dependency")));
}

#[tokio::test]
async fn a_failure_is_handled_as_the_job_that_waits_wants_it() {
    let db = TestDb::new().await;
    let child = accept(&db, &failing()).await;
    let fails = accept_after(&db, &[child], OnFailure::Fail).await;
    let runs = accept_after(&db, &[child], OnFailure::Run).await;
    let waits = accept_after(&db, &[child], OnFailure::Wait).await;
    run(&db, child).await;
    let failed = row(&db, fails).await;
    assert_eq!((failed.state.as_str(), failed.dead_reason.as_deref()), ("dead", Some("dependency")));
    assert!(failed.last_error.expect("it says why").contains(&child.to_string()));
    assert_eq!(row(&db, runs).await.state, "available");
    assert_eq!(row(&db, waits).await.state, "waiting");
}

#[tokio::test]
async fn whoever_does_not_want_to_wait_for_a_second_attempt_runs_after_the_first() {
    let db = TestDb::new().await;
    let child = accept(&db, &Work { act: Act::Fail, ..Work::default() }).await;
    let hasty = accept_after(&db, &[child], OnFailure::RunAfterFirstAttempt).await;
    let patient = accept_after(&db, &[child], OnFailure::Run).await;
    run(&db, child).await;
    assert_eq!(row(&db, child).await.state, "retryable");
    assert_eq!(row(&db, hasty).await.state, "available");
    assert_eq!(row(&db, patient).await.state, "waiting");
}

#[tokio::test]
async fn a_cancelled_child_and_one_that_killed_its_workers_let_go_as_well() {
    let db = TestDb::new().await;
    let (cancelled, poison) = (accept(&db, &Work::default()).await, accept(&db, &Work::default()).await);
    let waits = accept_after(&db, &[cancelled, poison], OnFailure::Run).await;
    assert_eq!(operate(&db, "jobs_cancel", cancelled).await[0].1, "cancelled");
    assert_eq!(row(&db, waits).await.state, "waiting");
    for _ in 0..3 {
        let reference = dispatch(&db, poison).await;
        let taken = queue::claim::take(db.pool(), reference, "doomed", Duration::ZERO).await;
        taken.expect("postgres answers").expect("it is claimed");
        rescue::once(db.pool()).await.expect("a look");
    }
    assert_eq!(row(&db, poison).await.state, "dead");
    assert_eq!(row(&db, waits).await.state, "available");
}

#[tokio::test]
async fn failure_goes_up_the_chain_and_a_retry_brings_all_of_it_back() {
    let db = TestDb::new().await;
    let child = accept(&db, &failing()).await;
    let parent = accept_after(&db, &[child], OnFailure::Fail).await;
    let grandparent = accept_after(&db, &[parent], OnFailure::Fail).await;
    run(&db, child).await;
    assert_eq!(row(&db, grandparent).await.dead_reason.as_deref(), Some("dependency"));
    // What made it fail is mended.
    sqlx::query("update jobs set payload = jsonb_set(payload, '{act}', '\"Succeed\"') where id = $1")
        .bind(child.0)
        .execute(db.pool())
        .await
        .expect("mended");
    let back: BTreeMap<_, _> = operate(&db, "jobs_retry", child).await.into_iter().collect();
    assert_eq!(back[&child.0], "available");
    assert_eq!((back[&parent.0].as_str(), back[&grandparent.0].as_str()), ("waiting", "waiting"));
    for job in [child, parent, grandparent] {
        assert_eq!(row(&db, job).await.state, "available");
        run(&db, job).await;
        assert_eq!(row(&db, job).await.state, "completed");
    }
}

#[tokio::test]
async fn a_job_that_is_retried_waits_for_what_it_depends_on_and_has_not_been() {
    let db = TestDb::new().await;
    let child = accept(&db, &failing()).await;
    let parent = accept_after(&db, &[child], OnFailure::Fail).await;
    run(&db, child).await;
    operate(&db, "jobs_retry", parent).await;
    assert_eq!(row(&db, parent).await.state, "waiting");
    assert_eq!(row(&db, child).await.state, "dead", "nobody has asked for this one");
}

#[tokio::test]
async fn patience_has_an_end_where_one_was_given() {
    let db = TestDb::new().await;
    let child = accept(&db, &Work::default()).await;
    let after = After { jobs: &[child], on_failure: OnFailure::Wait, at_most: Some(Duration::ZERO) };
    let impatient = accept_waiting(&db, after).await.id;
    let patient = accept_after(&db, &[child], OnFailure::Wait).await;
    assert_eq!(rescue::stop_waiting(db.pool()).await.expect("a look"), 1);
    assert_eq!(row(&db, impatient).await.state, "available");
    assert_eq!(row(&db, patient).await.state, "waiting");
    run(&db, child).await;
    assert_eq!(row(&db, impatient).await.state, "available", "it is let go once");
    assert_eq!(row(&db, patient).await.state, "available");
}

#[tokio::test]
async fn nobody_can_be_made_to_wait_for_themselves() {
    let db = TestDb::new().await;
    let first = accept(&db, &Work::default()).await;
    let second = accept_after(&db, &[first], OnFailure::Wait).await;
    let third = accept_after(&db, &[second], OnFailure::Wait).await;
    for (job, on) in [(first, third), (second, third), (second, second), (third, JobId::new())] {
        let refused = sqlx::query(
            "insert into job_dependencies (job_id, depends_on, on_failure) values ($1, $2, 'wait')",
        )
        .bind(job.0)
        .bind(on.0)
        .execute(db.pool())
        .await;
        assert!(refused.is_err(), "{job} depends on {on}");
    }
}

#[tokio::test]
async fn a_tenant_cannot_wait_for_another_tenants_job() {
    let db = TestDb::new().await;
    let (ours, theirs) = (db.tenant("ours").await, db.tenant("theirs").await);
    let mut tx = db.app.begin(theirs).await.expect("a transaction");
    let job = queue::enqueue(&mut tx, Origin::tenant(theirs), &Work::default()).await.expect("accepted").id;
    tx.commit().await.expect("committed");
    let mut tx = db.app.begin(ours).await.expect("a transaction");
    let after = After { jobs: &[job], on_failure: OnFailure::Run, at_most: None };
    let refused = enqueue_after(&mut tx, Origin::tenant(ours), &Work::default(), after).await;
    assert!(matches!(refused, Err(store::Error::Database(_) | store::Error::Conflict(_))), "{refused:?}");
    drop(tx);
    let mut tx = db.app.begin(ours).await.expect("a transaction");
    assert!(operate::cancel(&mut tx, &[job]).await.expect("asked").is_empty(), "nor cancel it");
    assert!(operate::retry(&mut tx, &[job]).await.expect("asked").is_empty(), "nor retry it");
}

#[tokio::test]
async fn a_batch_ends_when_its_last_member_has_and_counts_how_they_did() {
    let db = TestDb::new().await;
    let members = [
        accept(&db, &Work::default()).await,
        accept(&db, &failing()).await,
        accept(&db, &Work::default()).await,
    ];
    let mut tx = db.system.begin().await.expect("a transaction");
    let batch =
        enqueue_batch(&mut tx, Origin::INSTALLATION, "all of it", &members).await.expect("accepted").id;
    tx.commit().await.expect("committed");
    run(&db, members[0]).await;
    run(&db, members[1]).await;
    let mut connection = db.pool().acquire().await.expect("a connection");
    let seen = detail::members(&mut connection, batch).await.expect("counted");
    assert_eq!((seen.total, seen.completed, seen.dead, seen.open()), (3, 1, 1, 1));
    assert_eq!(row(&db, batch).await.state, "waiting");
    operate(&db, "jobs_cancel", members[2]).await;
    let seen = detail::members(&mut connection, batch).await.expect("counted");
    assert_eq!((seen.cancelled, seen.open()), (1, 0));
    assert_eq!(row(&db, batch).await.state, "available");
}

/// Forty jobs that fail, succeed, are cancelled or lost, all at once, under parents that overlap: each parent is let go exactly when its last child
/// has ended, and nothing deadlocks.
#[tokio::test(flavor = "multi_thread")]
async fn fan_in_holds_under_concurrency_with_failures() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let db = TestDb::new().await;
    let mut children = Vec::new();
    for _ in 0..40 {
        let act = if random.random_bool(0.3) { Act::Discard } else { Act::Succeed };
        children.push(accept(&db, &Work { act, ..Work::default() }).await);
    }
    let mut parents = Vec::new();
    for index in 0..12 {
        let mut of_this = children.clone();
        of_this.shuffle(&mut random);
        of_this.truncate(random.random_range(1..20));
        let policy = [OnFailure::Fail, OnFailure::Run, OnFailure::Wait][index % 3];
        parents.push((accept_after(&db, &of_this, policy).await, policy, of_this));
    }
    let mut ends = Vec::new();
    for child in &children {
        let (db, child) = (&db, *child);
        let way = random.random_range(0..10);
        ends.push(async move {
            match way {
                0 => drop(operate(db, "jobs_cancel", child).await),
                1 => {
                    // Cancelled while it is dispatched, or run: whoever comes first.
                    let reference = dispatch(db, child).await;
                    let tally = Tally::new(db);
                    let runner = runner(db, &tally, LEASE);
                    tokio::join!(runner.run(reference), operate(db, "jobs_cancel", child));
                }
                _ => run(db, child).await,
            }
        });
    }
    futures::future::join_all(ends).await;
    let mut states = BTreeMap::new();
    for child in &children {
        let state = row(&db, *child).await.state;
        assert!(["completed", "dead", "cancelled"].contains(&state.as_str()), "{child} is {state}");
        states.insert(*child, state);
    }
    for (parent, policy, of_this) in parents {
        let all_well = of_this.iter().all(|child| states[child] == "completed");
        let expected = match policy {
            OnFailure::Fail if !all_well => "dead",
            OnFailure::Wait if !all_well => "waiting",
            _ => "available",
        };
        assert_eq!(row(&db, parent).await.state, expected, "{policy:?} of {} children", of_this.len());
    }
}
