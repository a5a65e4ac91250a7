//! The bell: transactions that add jobs ring it while the relay that keeps it sleeps, and only then.

use std::time::Duration;

use harness::{TestDb, eventually};
use queue::enqueue::{Origin, enqueue};
use sqlx::{PgPool, postgres::PgListener};

use crate::{
    queue_carriers::{Carrier, carried, relay},
    work::{Work, accept},
};

const SOON: Duration = Duration::from_secs(30);

async fn listen(db: &TestDb) -> PgListener {
    let mut listener = PgListener::connect_with(db.pool()).await.expect("a connection");
    listener.listen("plimsoll_jobs").await.expect("it listens");
    listener
}

async fn heard(listener: &mut PgListener) -> String {
    let heard = tokio::time::timeout(SOON, listener.recv()).await.expect("a ring in time");
    heard.expect("a connection").payload().to_owned()
}

async fn ring(pool: &PgPool, word: &str) {
    sqlx::query("select pg_notify('plimsoll_jobs', $1)").bind(word).execute(pool).await.expect("it rings");
}

/// Whether some session holds the lock called `name` for itself.
async fn is_held(pool: &PgPool, name: &str) -> bool {
    sqlx::query_scalar(
        "select exists (select from pg_locks, hashtextextended($1, 0) as key
                         where locktype = 'advisory' and mode = 'ExclusiveLock' and granted
                           and database = (select oid from pg_database where datname = current_database())
                           and classid::bigint = ((key >> 32) & 4294967295) and objid::bigint = (key & 4294967295))",
    )
    .bind(name)
    .fetch_one(pool)
    .await
    .expect("the locks")
}

async fn until_held(pool: &PgPool, name: &str) {
    eventually(name, SOON, || async { is_held(pool, name).await.then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_rung_while_somebody_sleeps_and_not_otherwise() {
    let db = TestDb::new().await;
    let mut listener = listen(&db).await;
    accept(&db, &Work::default()).await;
    ring(db.pool(), "nothing rang before").await;
    assert_eq!(heard(&mut listener).await, "nothing rang before");

    let mut sleeper = db.pool().acquire().await.expect("a connection");
    sqlx::query("select pg_advisory_lock(hashtextextended('plimsoll relay asleep', 0))")
        .execute(&mut *sleeper)
        .await
        .expect("a lock");
    accept(&db, &Work::default()).await;
    assert_eq!(heard(&mut listener).await, "maintenance");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_relay_falls_asleep_over_what_is_being_added() {
    let db = TestDb::new().await;
    let mut tx = db.system.begin().await.expect("a transaction");
    let job = enqueue(&mut tx, Origin::INSTALLATION, &Work::default()).await.expect("accepted").id;
    let carrier = Carrier::default();
    let _relay = relay(&db, &carrier, SOON).await;
    until_held(db.pool(), "plimsoll relay keeper").await;
    assert!(!is_held(db.pool(), "plimsoll relay asleep").await, "it waits for the transaction");
    tx.commit().await.expect("committed");
    until_held(db.pool(), "plimsoll relay asleep").await;
    // By the look that follows on the lock, or by the round that comes soon: which of them cannot be told from here.
    assert_eq!(carried(&carrier).await.id, job.0, "it was sent");
    assert!(carrier.take().is_empty(), "and sent it once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_has_to_begin_anew_leaves_its_locks_on_no_connection_that_stays() {
    let db = TestDb::new().await;
    let carrier = Carrier::default();
    let _relay = relay(&db, &carrier, SOON).await;
    until_held(db.pool(), "plimsoll relay asleep").await;
    carrier.be_away(true);
    accept(&db, &Work::default()).await;
    for name in ["plimsoll relay asleep", "plimsoll relay keeper"] {
        eventually("nobody with the lock", SOON, || async {
            (!is_held(db.pool(), name).await).then_some(())
        })
        .await;
    }
    carrier.be_away(false);
    until_held(db.pool(), "plimsoll relay asleep").await;
    assert_eq!(carrier.take().len(), 1, "the job was sent as soon as it could be");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_keeper_is_gone_another_relay_keeps_the_bell() {
    let db = TestDb::new().await;
    let carrier = Carrier::default();
    let first = relay(&db, &carrier, SOON).await;
    until_held(db.pool(), "plimsoll relay asleep").await;
    drop(first);
    eventually("the end of the first", SOON, || async {
        (!is_held(db.pool(), "plimsoll relay keeper").await).then_some(())
    })
    .await;
    let _second = relay(&db, &carrier, SOON).await;
    until_held(db.pool(), "plimsoll relay asleep").await;
}
