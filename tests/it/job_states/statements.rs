//! What the two logins can do to jobs by whatever statement: nothing that leaves the drawing.

use std::collections::BTreeSet;

use domain::id::TenantId;
use harness::TestDb;
use queue::{
    After, OnFailure,
    enqueue::{Origin, enqueue, enqueue_after},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use sqlx::{PgConnection, Postgres, Transaction};
use store::TenantTx;
use uuid::Uuid;

use super::{STATES, columns, may_follow};
use crate::work::{Work, accept};

/// Requests change jobs by `jobs_cancel` and `jobs_retry` alone.
#[tokio::test]
async fn a_request_cannot_write_to_a_job() {
    let db = TestDb::new().await;
    let tenant = db.tenant("acme").await;
    let columns: Vec<String> = sqlx::query_scalar(
        "select column_name::text from information_schema.columns where table_schema = 'public' and table_name = 'jobs'",
    )
    .fetch_all(db.pool())
    .await
    .expect("the catalogue is read");
    assert!(columns.len() > 20);
    let job = accept(&db, &Work::default()).await;
    for column in columns {
        let mut tx = db.app.begin(tenant).await.expect("a transaction");
        let change = sqlx::AssertSqlSafe(format!("update jobs set {column} = {column} where id = '{job}'"));
        assert!(sqlx::query(change).execute(&mut *tx).await.is_err(), "{column}");
    }
}

/// Whoever it is: a job is written in a state in which jobs begin, and with nothing in it that comes later.
#[tokio::test]
async fn neither_a_request_nor_the_engine_can_make_a_job_that_has_begun() {
    let db = TestDb::new().await;
    let tenant = db.tenant("acme").await;
    let later = [
        ("attempt", "1"),
        ("crashes", "1"),
        ("progress", "7"),
        ("progress_note", "'half of it'"),
        ("fence", "1"),
        ("leased_by", "'w'"),
        ("started_at", "now()"),
        ("result", "'{}'"),
        ("last_error", "'HTTP 502'"),
        ("cancel_requested", "true"),
        ("parked", "true"),
        ("has_dependents", "true"),
    ];
    for is_request in [true, false] {
        let insert = async |columns: &str, values: &str| {
            let mut tx = match is_request {
                true => Begun::Request(db.app.begin(tenant).await.expect("a transaction")),
                false => Begun::Engine(db.system.begin().await.expect("a transaction")),
            };
            let insert = format!(
                "insert into jobs (id, tenant_id, kind, queue, payload, max_attempts, timeout_seconds, {columns})
                 select gen_random_uuid(), '{tenant}', 'test_work', 'maintenance', '{{}}', 3, 60, {values}"
            );
            sqlx::query(sqlx::AssertSqlSafe(insert)).execute(tx.connection()).await
        };
        for state in STATES {
            let made = format!("made.* from (select {}) as made", columns_as_query(state));
            let inserted =
                insert("state, leased_until, finished_at, dead_reason, pending_dependencies", &made).await;
            let begins = ["waiting", "scheduled", "available"].contains(&state);
            assert_eq!(inserted.is_ok(), begins, "{state}, by a request: {is_request}: {inserted:?}");
        }
        assert!(insert("priority", "7").await.is_ok());
        for (column, value) in later {
            assert!(insert(column, value).await.is_err(), "{column}, by a request: {is_request}");
        }
    }
}

/// A transaction of one of the two logins.
enum Begun {
    Request(TenantTx),
    Engine(Transaction<'static, Postgres>),
}

impl Begun {
    fn connection(&mut self) -> &mut PgConnection {
        match self {
            Self::Request(tx) => tx,
            Self::Engine(tx) => tx,
        }
    }

    async fn commit(self) {
        match self {
            Self::Request(tx) => tx.commit().await.expect("committed"),
            Self::Engine(tx) => tx.commit().await.expect("committed"),
        }
    }
}

/// [`columns`] as what a query selects.
fn columns_as_query(state: &str) -> String {
    let typed = |pair: &str| {
        let (column, value) = pair.trim().split_once(" = ").expect("a column and its value");
        let kind = match column {
            "leased_until" | "finished_at" => "timestamptz",
            "pending_dependencies" => "integer",
            _ => "text",
        };
        format!("{value}::{kind} as {column}")
    };
    columns(state).split(',').map(typed).collect::<Vec<_>>().join(", ")
}

/// A statement that somebody might send, sensible or not, about the jobs of `ids`.
fn any_statement(random: &mut StdRng, ids: &[Uuid], tenant: TenantId) -> String {
    let state = STATES[random.random_range(0..STATES.len())];
    let id = ids[random.random_range(0..ids.len())];
    // What belongs to the state, or one of its columns only, or something else entirely.
    let change = match random.random_range(0..10) {
        0..6 => columns(state),
        6 => format!("state = '{state}'"),
        7 => format!("state = '{state}', finished_at = now()"),
        8 => format!("state = '{state}', leased_until = now() + interval '1 hour', attempt = attempt + 1"),
        _ => "cancel_requested = not cancel_requested, parked = not parked".to_owned(),
    };
    match random.random_range(0..20) {
        0..12 => format!("update jobs set {change} where id = '{id}'"),
        12 => format!("update jobs set {change}"),
        13 => format!(
            "with first as (update jobs set {change} where id = '{id}' returning id) update jobs set {} where id = '{id}'",
            columns("completed")
        ),
        14 => format!(
            "insert into jobs (id, tenant_id, kind, queue, payload, max_attempts, timeout_seconds, state, leased_until, finished_at,
                               dead_reason, pending_dependencies)
             select gen_random_uuid(), '{tenant}', 'test_work', 'maintenance', '{{}}', 3, 60, made.* from (select {}) as made",
            columns_as_query(state)
        ),
        15 => format!("select jobs_cancel(array['{id}'::uuid])"),
        16 | 17 => format!("select jobs_retry(array['{id}'::uuid])"),
        18 => "select jobs_fold('test_work', 'a', now())".to_owned(),
        _ => "select jobs_stop_waiting()".to_owned(),
    }
}

/// Neither login has a statement that takes a job where the drawing does not lead: each step that is taken is noted by the tables' owner.
#[tokio::test]
async fn whatever_is_sent_by_either_login_no_job_leaves_the_drawing() {
    let db = TestDb::new().await;
    let (ours, theirs) = (db.tenant("ours").await, db.tenant("theirs").await);
    let mut owner = store::db::connect_once(&db.owner_url).await.expect("the owner");
    sqlx::raw_sql(
        "create table steps (job uuid not null, tenant uuid, login text not null, was text, now_is text not null);
         create function note_step() returns trigger language plpgsql security definer as $$
         begin
             insert into steps values (new.id, new.tenant_id, current_setting('role'), case when tg_op = 'UPDATE' then old.state end, new.state);
             return null;
         end $$;
         create trigger note_step after insert or update on jobs for each row execute function note_step();",
    )
    .execute(&mut owner)
    .await
    .expect("each step is noted");
    let seed: u64 = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    for tenant in [Some(ours), Some(theirs), None] {
        let mut tx = db.system.begin().await.expect("a transaction");
        let origin = Origin { tenant, user: None };
        let first = enqueue(&mut tx, origin, &Work::default()).await.expect("accepted").id;
        let after = After { jobs: &[first], on_failure: OnFailure::Fail, at_most: None };
        enqueue_after(&mut tx, origin, &Work::default(), after).await.expect("accepted");
        tx.commit().await.expect("committed");
    }
    let (mut done, mut refused) = (0, 0);
    for _ in 0..600 {
        let ids: Vec<Uuid> = sqlx::query_scalar("select id from jobs order by created_at, id")
            .fetch_all(db.pool())
            .await
            .expect("read");
        let statement = any_statement(&mut random, &ids, ours);
        let mut tx = match random.random_bool(0.3) {
            true => Begun::Request(db.app.begin(ours).await.expect("a transaction")),
            false => Begun::Engine(db.system.begin().await.expect("a transaction")),
        };
        match sqlx::query(sqlx::AssertSqlSafe(statement)).execute(tx.connection()).await {
            Ok(_) => {
                tx.commit().await;
                done += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(done > 50 && refused > 50, "{done} done, {refused} refused (seed {seed})");
    let steps: Vec<(Option<Uuid>, String, Option<String>, String)> =
        sqlx::query_as("select tenant, login, was, now_is from steps")
            .fetch_all(&mut owner)
            .await
            .expect("read");
    let mut taken = BTreeSet::new();
    for (tenant, login, was, now_is) in steps {
        let led = match &was {
            None => ["waiting", "scheduled", "available"].contains(&now_is.as_str()),
            Some(was) => *was == now_is || may_follow(was).contains(&now_is.as_str()),
        };
        assert!(led, "{login} took a job from {was:?} to {now_is} (seed {seed})");
        if login == "plimsoll_app" {
            assert_eq!(tenant, Some(ours.0), "a request changed what is not its own (seed {seed})");
        }
        taken.insert((was, now_is));
    }
    assert!(taken.len() > 15, "it got about: {taken:?} (seed {seed})");
    let contradictions: i64 = sqlx::query_scalar(
        "select count(*) from jobs
          where (state in ('dispatched', 'running')) <> (leased_until is not null)
             or (state in ('completed', 'cancelled', 'dead')) <> (finished_at is not null)
             or (state = 'dead') <> (dead_reason is not null)
             or (state = 'waiting') <> (pending_dependencies > 0)",
    )
    .fetch_one(db.pool())
    .await
    .expect("counted");
    assert_eq!(contradictions, 0, "seed {seed}");
}
