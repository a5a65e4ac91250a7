//! Finished jobs go in small steps that nobody waits behind, and a forgotten transaction is ended before it makes the queue slow.

use std::{collections::BTreeSet, time::Duration};

use harness::{TestDb, eventually};
use sqlx::{Connection, Executor};
use store::purge::{POLICY, Rule};

use crate::work::{Tally, Work, accept, dispatch, row, runner};

const SOON: Duration = Duration::from_secs(30);

/// `count` jobs that were completed `days` ago, with an attempt each.
async fn completed(db: &TestDb, count: i32, days: i32) {
    let mut owner = store::db::connect_once(&db.owner_url).await.expect("the owner");
    sqlx::query(
        "with old as (
             insert into jobs (id, kind, queue, payload, state, max_attempts, timeout_seconds, created_at, finished_at)
             select gen_random_uuid(), 'test_work', 'maintenance', '{}', 'completed', 3, 60, at, at
               from (select now() - make_interval(days => $2) as at from generate_series(1, $1)) as finished
          returning id
         )
         insert into job_attempts (job_id, fence, attempt, worker, outcome) select id, 1, 1, 'w', 'completed' from old",
    )
    .bind(count)
    .bind(days)
    .execute(&mut owner)
    .await
    .expect("old jobs");
}

/// Has every statement that removes jobs wait for the lock of that number, and note how many it has removed.
async fn watch_removals(db: &TestDb, lock: i64) {
    let mut owner = store::db::connect_once(&db.owner_url).await.expect("the owner");
    let watch = format!(
        "create table removals (transaction text not null, jobs bigint not null);
         grant select, insert on removals to plimsoll_system;
         create function watch_removals() returns trigger language plpgsql as $$
         begin
             insert into removals select txid_current()::text, count(*) from gone;
             perform pg_advisory_xact_lock_shared({lock});
             return null;
         end $$;
         create trigger watch_removals after delete on jobs referencing old table as gone
             for each statement execute function watch_removals();"
    );
    owner.execute(sqlx::AssertSqlSafe(watch)).await.expect("they are watched");
}

fn rule() -> &'static Rule {
    POLICY.iter().find(|rule| rule.what == "completed jobs").expect("they are removed some day")
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_jobs_go_a_thousand_at_a_time_and_the_others_are_done_meanwhile() {
    let db = TestDb::new().await;
    let lock: i64 = rand::random();
    completed(&db, 2500, 40).await;
    completed(&db, 7, 5).await;
    watch_removals(&db, lock).await;
    let mut holder = store::db::connect_once(&db.owner_url).await.expect("the owner");
    sqlx::query("select pg_advisory_lock($1)").bind(lock).execute(&mut holder).await.expect("held");
    let pool = db.pool().clone();
    let purge = tokio::spawn(async move {
        let retention = store::retention::get(&mut *pool.acquire().await?).await?;
        rule().apply(&pool, &retention).await
    });
    eventually("a removal in mid-work", SOON, || async {
        let waits: bool = sqlx::query_scalar(
            "select exists (select from pg_locks
                             where locktype = 'advisory' and not granted
                               and database = (select oid from pg_database where datname = current_database()))",
        )
        .fetch_one(db.pool())
        .await
        .ok()?;
        waits.then_some(())
    })
    .await;

    // The first thousand are locked and not gone yet, and a job goes from acceptance to its end.
    let job = accept(&db, &Work::default()).await;
    let reference = dispatch(&db, job).await;
    runner(&db, &Tally::new(&db), Duration::from_secs(30)).run(reference).await;
    assert_eq!(row(&db, job).await.state, "completed");
    assert!(!purge.is_finished());

    holder.close().await.expect("the lock is given back");
    assert_eq!(purge.await.expect("no panic").expect("removed"), 2500);
    let steps: Vec<(String, i64)> = sqlx::query_as("select transaction, jobs from removals where jobs > 0")
        .fetch_all(db.pool())
        .await
        .expect("read");
    let transactions: BTreeSet<_> = steps.iter().map(|(transaction, _)| transaction).collect();
    assert_eq!(transactions.len(), 3, "each step is a transaction of its own: {steps:?}");
    assert!(steps.iter().all(|(_, jobs)| *jobs <= 1000), "{steps:?}");
    let left: (i64, i64) =
        sqlx::query_as("select (select count(*) from jobs), (select count(*) from job_attempts)")
            .fetch_one(db.pool())
            .await
            .expect("counted");
    assert_eq!(left, (8, 8), "the young ones stay, with their attempts");
}

/// What a transaction that is held open keeps from being cleared up, every look for work wades through. None of ours is for long.
#[tokio::test]
async fn a_session_that_forgets_its_transaction_is_ended_within_a_minute() {
    let db = TestDb::new().await;
    for (pool, whose) in [(db.app.shared(), "the API's"), (db.pool(), "the worker's and the scheduler's")] {
        let limit: i64 = sqlx::query_scalar(
            "select setting::bigint from pg_settings where name = 'idle_in_transaction_session_timeout'",
        )
        .fetch_one(pool)
        .await
        .expect("asked");
        assert!((1..=60_000).contains(&limit), "{whose}: {limit} ms");
    }
}
