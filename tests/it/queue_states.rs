//! A job from acceptance to its end, one fence at a time, without Redis.

use std::time::{Duration, Instant};

use harness::{TestDb, eventually};
use queue::{enqueue::Origin, enqueue::enqueue, rescue};
use secrecy::ExposeSecret;
use sqlx::{Connection, PgConnection};

use crate::work::{Act, Tally, Work, accept, dispatch, outcomes, row, runner};

const LEASE: Duration = Duration::from_secs(30);

fn asked_to(act: Act) -> Work {
    Work { act, ..Work::default() }
}

#[tokio::test]
async fn a_job_lives_and_dies_with_the_transaction_it_was_written_in() {
    let db = TestDb::new().await;
    let mut tx = db.system.begin().await.expect("a transaction");
    enqueue(&mut tx, Origin::INSTALLATION, &Work::default()).await.expect("it is accepted");
    tx.rollback().await.expect("it is rolled back");
    let jobs: i64 =
        sqlx::query_scalar("select count(*) from jobs").fetch_one(db.pool()).await.expect("counted");
    assert_eq!(jobs, 0);
}

#[tokio::test]
async fn a_completed_job_has_its_result_and_its_attempt() {
    let db = TestDb::new().await;
    let job = accept(&db, &Work::default()).await;
    let reference = dispatch(&db, job).await;
    assert!(runner(&db, &Tally::new(&db), LEASE).run(reference).await);
    let row = row(&db, job).await;
    assert_eq!((row.state.as_str(), row.attempt, row.progress), ("completed", 1, 100));
    assert_eq!(row.result, Some(serde_json::json!({ "attempt": 1 })));
    assert_eq!(outcomes(&db, job).await, ["completed"]);
}

#[tokio::test]
async fn of_what_a_job_says_of_its_progress_little_is_written_but_the_last_word_always() {
    let db = TestDb::new().await;
    let mut owner = PgConnection::connect(db.owner_url.expose_secret()).await.expect("the owner");
    for statement in [
        "create table told (number serial, note text)",
        "grant select on told to public",
        "create function keep() returns trigger language plpgsql security definer as
         $$ begin insert into told (note) values (new.progress_note); return null; end $$",
        "create trigger keep after update of progress_note on jobs for each row
         when (new.progress_note is distinct from old.progress_note) execute function keep()",
    ] {
        sqlx::query(statement).execute(&mut owner).await.expect("what is written is kept");
    }
    let reference = dispatch(&db, accept(&db, &asked_to(Act::Tell(90))).await).await;
    let runner = runner(&db, &Tally::new(&db), LEASE);
    let begun = Instant::now();
    let running = tokio::spawn(async move { runner.run(reference).await });
    let told = eventually("the last word", LEASE, || async {
        let told = sqlx::query_scalar("select note from told order by number").fetch_all(db.pool()).await;
        let told: Vec<String> = told.expect("read");
        (told.last()? == "at 90").then_some(told)
    })
    .await;
    let half_seconds = begun.elapsed().as_millis() / 500;
    running.abort();
    assert!(told.len() as u128 <= 1 + half_seconds, "{told:?} in {half_seconds} half seconds");
}

#[tokio::test]
async fn a_failing_job_is_tried_as_often_as_its_policy_says_and_then_dead() {
    let db = TestDb::new().await;
    let job = accept(&db, &asked_to(Act::Fail)).await;
    let runner = runner(&db, &Tally::new(&db), LEASE);
    for attempt in 1..=3 {
        let reference = dispatch(&db, job).await;
        runner.run(reference).await;
        let expected = if attempt < 3 { "retryable" } else { "dead" };
        assert_eq!(row(&db, job).await.state, expected, "after attempt {attempt}");
    }
    let row = row(&db, job).await;
    assert_eq!(row.dead_reason.as_deref(), Some("exhausted"));
    assert_eq!(row.last_error.as_deref(), Some("it was asked to fail"));
    assert_eq!(outcomes(&db, job).await, ["retry", "retry", "dead"]);
}

#[tokio::test]
async fn what_a_handler_gives_up_for_being_too_long_ends_as_what_the_engine_gives_up() {
    let db = TestDb::new().await;
    let job = accept(&db, &asked_to(Act::RunOutOfTime)).await;
    let runner = runner(&db, &Tally::new(&db), LEASE);
    for _ in 1..=3 {
        let reference = dispatch(&db, job).await;
        runner.run(reference).await;
    }
    let row = row(&db, job).await;
    assert_eq!((row.state.as_str(), row.dead_reason.as_deref()), ("dead", Some("timeout")));
    let classes: Vec<Option<String>> =
        sqlx::query_scalar("select error_class from job_attempts where job_id = $1 order by fence")
            .bind(job.0)
            .fetch_all(db.pool())
            .await
            .expect("read");
    assert!(classes.iter().all(|class| class.as_deref() == Some("timeout")), "{classes:?}");
}

#[tokio::test]
async fn a_job_that_recovers_is_completed() {
    let db = TestDb::new().await;
    let job = accept(&db, &asked_to(Act::FailUntilAttempt(3))).await;
    let runner = runner(&db, &Tally::new(&db), LEASE);
    for _ in 0..3 {
        let reference = dispatch(&db, job).await;
        runner.run(reference).await;
    }
    assert_eq!(row(&db, job).await.state, "completed");
}

#[tokio::test]
async fn a_panic_is_a_failed_attempt_and_not_the_end_of_the_worker() {
    let db = TestDb::new().await;
    let job = accept(&db, &asked_to(Act::Panic)).await;
    let reference = dispatch(&db, job).await;
    assert!(runner(&db, &Tally::new(&db), LEASE).run(reference).await);
    let row = row(&db, job).await;
    assert_eq!(row.state, "retryable");
    assert!(row.last_error.expect("an error").contains("it was asked to panic"));
}

#[tokio::test]
async fn a_discarded_job_is_dead_at_once_with_its_reason() {
    let db = TestDb::new().await;
    let job = accept(&db, &asked_to(Act::Discard)).await;
    let reference = dispatch(&db, job).await;
    runner(&db, &Tally::new(&db), LEASE).run(reference).await;
    let row = row(&db, job).await;
    assert_eq!((row.state.as_str(), row.dead_reason.as_deref()), ("dead", Some("discarded")));
    assert_eq!(row.last_error.as_deref(), Some("there is no point"));
}

#[tokio::test]
async fn a_snoozed_job_keeps_its_attempts_and_says_why_it_was_put_off() {
    let db = TestDb::new().await;
    let job = accept(&db, &asked_to(Act::Snooze)).await;
    let reference = dispatch(&db, job).await;
    runner(&db, &Tally::new(&db), LEASE).run(reference).await;
    let row = row(&db, job).await;
    assert_eq!((row.state.as_str(), row.attempt, row.last_error), ("scheduled", 0, None));
    assert_eq!(outcomes(&db, job).await, ["snoozed"]);
    let (class, why): (Option<String>, String) =
        sqlx::query_as("select error_class, error from job_attempts where job_id = $1")
            .bind(job.0)
            .fetch_one(db.pool())
            .await
            .expect("one attempt");
    assert_eq!((class, why.as_str()), (None, "the moon is not full"));
}

#[tokio::test]
async fn putting_a_job_off_does_not_wipe_out_what_went_wrong_before() {
    let db = TestDb::new().await;
    let job = accept(&db, &asked_to(Act::Snooze)).await;
    sqlx::query("update jobs set last_error = 'HTTP 502' where id = $1")
        .bind(job.0)
        .execute(db.pool())
        .await
        .expect("it had failed");
    let reference = dispatch(&db, job).await;
    runner(&db, &Tally::new(&db), LEASE).run(reference).await;
    assert_eq!(row(&db, job).await.last_error.as_deref(), Some("HTTP 502"));
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_ended() {
    let db = TestDb::new().await;
    let job = accept(&db, &asked_to(Act::SleepMillis(60_000))).await;
    let reference = dispatch(&db, job).await;
    runner(&db, &Tally::new(&db), LEASE).run(reference).await;
    let row = row(&db, job).await;
    assert_eq!((row.state.as_str(), row.last_error.as_deref()), ("retryable", Some("not done within 10 s")));
}

#[tokio::test]
async fn a_payload_that_cannot_be_read_is_dead_and_says_why() {
    let db = TestDb::new().await;
    let job = accept(&db, &Work::default()).await;
    sqlx::query("update jobs set payload = '{\"act\": 7}' where id = $1")
        .bind(job.0)
        .execute(db.pool())
        .await
        .expect("it is spoilt");
    let reference = dispatch(&db, job).await;
    runner(&db, &Tally::new(&db), LEASE).run(reference).await;
    let row = row(&db, job).await;
    assert_eq!((row.state.as_str(), row.dead_reason.as_deref()), ("dead", Some("invalid_payload")));
    assert!(row.last_error.expect("an error").contains("test_work"));
}

#[tokio::test]
async fn a_payload_newer_than_this_build_waits_for_a_newer_worker() {
    let db = TestDb::new().await;
    let job = accept(&db, &Work::default()).await;
    sqlx::query("update jobs set kind_version = 3 where id = $1")
        .bind(job.0)
        .execute(db.pool())
        .await
        .expect("it is from the future");
    let reference = dispatch(&db, job).await;
    runner(&db, &Tally::new(&db), LEASE).run(reference).await;
    let row = row(&db, job).await;
    assert_eq!((row.state.as_str(), row.attempt, row.last_error), ("scheduled", 0, None));
    let why: String = sqlx::query_scalar("select error from job_attempts where job_id = $1")
        .bind(job.0)
        .fetch_one(db.pool())
        .await
        .expect("one attempt");
    assert_eq!(why, "version 3 of `test_work`; this worker reads up to version 2");
}

#[tokio::test]
async fn the_same_work_asked_for_fifty_times_at_once_is_one_job() {
    let db = TestDb::new().await;
    let work = Work { unique: Some("report-7".into()), ..Work::default() };
    let ids = futures::future::join_all((0..50).map(|_| accept(&db, &work))).await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn finished_work_may_be_asked_for_again() {
    let db = TestDb::new().await;
    let work = Work { unique: Some("report-7".into()), ..Work::default() };
    let first = accept(&db, &work).await;
    let reference = dispatch(&db, first).await;
    runner(&db, &Tally::new(&db), LEASE).run(reference).await;
    assert_ne!(accept(&db, &work).await, first);
}

#[tokio::test]
async fn a_hundred_deliveries_of_one_job_do_it_once() {
    let db = TestDb::new().await;
    let job = accept(&db, &asked_to(Act::SleepMillis(50))).await;
    let reference = dispatch(&db, job).await;
    let (tally, runner) = {
        let tally = Tally::new(&db);
        let runner = runner(&db, &tally, LEASE);
        (tally, runner)
    };
    let runs = futures::future::join_all((0..100).map(|_| runner.run(reference))).await;
    assert_eq!(runs.into_iter().filter(|did| *did).count(), 1);
    assert_eq!(tally.completions().get(&job), Some(&1));
}

#[tokio::test]
async fn a_worker_that_comes_late_changes_nothing() {
    let db = TestDb::new().await;
    let job = accept(&db, &asked_to(Act::SleepMillis(1500))).await;
    let stale = dispatch(&db, job).await;
    let tally = Tally::new(&db);
    let slow = runner(&db, &tally, LEASE);
    let slow = tokio::spawn(async move { slow.run(stale).await });
    eventually("its start", LEASE, || async { (row(&db, job).await.state == "running").then_some(()) }).await;
    sqlx::query("update jobs set leased_until = now() - interval '1 second' where id = $1")
        .bind(job.0)
        .execute(db.pool())
        .await
        .expect("the lease runs out");
    assert_eq!(rescue::once(db.pool()).await.expect("a look").returned, 1);
    let again = dispatch(&db, job).await;
    runner(&db, &tally, LEASE).run(again).await;
    slow.await.expect("the slow worker ends");
    let row = row(&db, job).await;
    assert_eq!((row.state.as_str(), row.crashes), ("completed", 1));
    assert_eq!(tally.completions().get(&job), Some(&1), "only the second worker's result counts");
    assert_eq!(outcomes(&db, job).await, ["crashed", "completed"]);
}

#[tokio::test]
async fn a_job_that_kills_three_workers_is_dead_as_poison() {
    let db = TestDb::new().await;
    let job = accept(&db, &Work::default()).await;
    for crash in 1..=3 {
        let reference = dispatch(&db, job).await;
        queue::claim::take(db.pool(), reference, "doomed", Duration::ZERO)
            .await
            .expect("postgres answers")
            .expect("it is claimed");
        let rescued = rescue::once(db.pool()).await.expect("a look");
        assert_eq!(rescued.poisoned, u64::from(crash == 3), "after crash {crash}");
    }
    let row = row(&db, job).await;
    assert_eq!((row.state.as_str(), row.dead_reason.as_deref()), ("dead", Some("poison")));
    assert_eq!(row.attempt, 0, "a crash is not a failed attempt");
}

#[tokio::test]
async fn an_id_that_no_worker_took_up_was_lost_and_is_not_taken_for_the_end_of_a_worker() {
    let db = TestDb::new().await;
    let (begun, sent) = (accept(&db, &Work::default()).await, accept(&db, &Work::default()).await);
    let reference = dispatch(&db, begun).await;
    queue::claim::take(db.pool(), reference, "doomed", Duration::ZERO)
        .await
        .expect("postgres answers")
        .expect("it is claimed");
    dispatch(&db, sent).await;
    sqlx::query("update jobs set leased_until = now() - interval '1 second' where id = $1")
        .bind(sent.0)
        .execute(db.pool())
        .await
        .expect("nobody takes it up");
    let rescued = rescue::once(db.pool()).await.expect("a look");
    assert_eq!(rescued, rescue::Rescued { returned: 2, lost: 1, poisoned: 0 });
    assert_eq!((row(&db, begun).await.crashes, row(&db, sent).await.crashes), (1, 0));
}

#[tokio::test]
async fn an_illegal_change_of_state_is_refused_even_in_sql() {
    let db = TestDb::new().await;
    let job = accept(&db, &Work::default()).await;
    let refused = sqlx::query("update jobs set state = 'completed', finished_at = now() where id = $1")
        .bind(job.0)
        .execute(db.pool())
        .await
        .expect_err("available cannot become completed");
    assert!(refused.to_string().contains("cannot go from available to completed"), "{refused}");
}

#[tokio::test]
async fn a_job_whose_cancellation_was_asked_for_is_not_begun() {
    let db = TestDb::new().await;
    let job = accept(&db, &Work::default()).await;
    sqlx::query("update jobs set cancel_requested = true where id = $1")
        .bind(job.0)
        .execute(db.pool())
        .await
        .expect("somebody asks");
    let reference = dispatch(&db, job).await;
    let tally = Tally::new(&db);
    runner(&db, &tally, LEASE).run(reference).await;
    assert_eq!(row(&db, job).await.state, "cancelled");
    assert!(tally.completions().is_empty());
}
