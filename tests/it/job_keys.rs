//! Work that is asked for more often than it has to be done.

use std::{collections::BTreeSet, time::Duration};

use domain::id::{AssetId, JobId, TenantId};
use harness::{TestDb, eventually};
use queue::{
    Enqueued, Job, Queue, RetryPolicy, UniqueKey,
    enqueue::{Origin, enqueue, enqueue_at, enqueue_many},
    jobs::Correlate,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use sqlx::{Connection, Executor, PgConnection};

use crate::{
    queue_carriers::{Carrier, relay},
    work::{Tally, Work, dispatch, runner},
};

const SOON: Duration = Duration::from_secs(30);

/// Once in an hour for each subject.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Hourly {
    subject: String,
}

impl Job for Hourly {
    const KIND: &'static str = "test_hourly";
    const QUEUE: Queue = Queue::Maintenance;
    const RETRY: RetryPolicy = RetryPolicy::exponential(1, Duration::from_secs(1), Duration::from_secs(1));
    const TIMEOUT: Duration = Duration::from_secs(1);

    fn unique_key(&self) -> Option<UniqueKey> {
        Some(UniqueKey::once_in(Duration::from_secs(3600), &self.subject))
    }
}

async fn ask<J: Job + Sync>(db: &TestDb, origin: Origin, job: &J) -> Enqueued {
    let mut tx = db.system.begin().await.expect("a transaction");
    let enqueued = enqueue(&mut tx, origin, job).await.expect("accepted");
    tx.commit().await.expect("committed");
    enqueued
}

async fn set_state(db: &TestDb, job: JobId, end: &str) {
    for change in [
        "state = 'dispatched', fence = nextval('job_fences'), leased_until = now()",
        "state = 'running'",
        end,
    ] {
        let change = sqlx::AssertSqlSafe(format!("update jobs set {change} where id = $1"));
        sqlx::query(change).bind(job.0).execute(db.pool()).await.expect("a legal change");
    }
}

const COMPLETED: &str = "state = 'completed', leased_until = null, finished_at = now()";
const DEAD: &str = "state = 'dead', leased_until = null, finished_at = now(), dead_reason = 'exhausted'";

fn correlate(tenant_id: TenantId) -> Correlate {
    Correlate { tenant_id, asset_id: None }
}

#[tokio::test]
async fn whoever_asks_while_the_same_work_is_being_cancelled_gets_a_job_that_will_be_done() {
    let db = TestDb::new().await;
    let work = Work { unique: Some("nvd".into()), ..Work::default() };
    let hourly = Hourly { subject: "nvd".into() };
    let (first, of_the_hour) =
        (ask(&db, Origin::INSTALLATION, &work).await, ask(&db, Origin::INSTALLATION, &hourly).await);
    for job in [first.id, of_the_hour.id] {
        set_state(&db, job, "leased_until = now() + interval '1 minute'").await;
    }
    assert_eq!(ask(&db, Origin::INSTALLATION, &work).await, Enqueued { id: first.id, created: false });
    sqlx::query("select jobs_cancel($1)")
        .bind([first.id.0, of_the_hour.id.0])
        .execute(db.system.pool())
        .await
        .expect("asked to end");
    let second = ask(&db, Origin::INSTALLATION, &work).await;
    assert!(second.created && second.id != first.id, "the dying one does nothing for anybody");
    assert_eq!(
        ask(&db, Origin::INSTALLATION, &work).await,
        Enqueued { id: second.id, created: false },
        "and from then on there is one again"
    );
    assert!(ask(&db, Origin::INSTALLATION, &hourly).await.created);
}

#[tokio::test]
async fn five_changes_before_the_comparison_begins_are_compared_once() {
    let db = TestDb::new().await;
    let tenant = db.tenant("acme").await;
    let origin = Origin::tenant(tenant);
    let first = ask(&db, origin, &correlate(tenant)).await;
    assert!(first.created);
    for _ in 0..4 {
        assert_eq!(ask(&db, origin, &correlate(tenant)).await, Enqueued { id: first.id, created: false });
    }
    let of_an_asset = Correlate { tenant_id: tenant, asset_id: Some(AssetId::new()) };
    assert!(ask(&db, origin, &of_an_asset).await.created, "one asset is another matter");
}

#[tokio::test]
async fn a_change_while_a_comparison_runs_is_compared_after_it() {
    let db = TestDb::new().await;
    let tenant = db.tenant("acme").await;
    let origin = Origin::tenant(tenant);
    let running = ask(&db, origin, &correlate(tenant)).await.id;
    dispatch(&db, running).await;
    let next = ask(&db, origin, &correlate(tenant)).await;
    assert!(next.created, "what is on its way to a worker may miss what is asked for now");
    assert_eq!(ask(&db, origin, &correlate(tenant)).await.id, next.id);
}

#[tokio::test]
async fn a_folded_request_brings_a_later_one_forward() {
    let db = TestDb::new().await;
    let tenant = db.tenant("acme").await;
    let mut tx = db.system.begin().await.expect("a transaction");
    let tomorrow = chrono::Utc::now() + chrono::Days::new(1);
    let later =
        enqueue_at(&mut tx, Origin::tenant(tenant), &correlate(tenant), tomorrow).await.expect("accepted");
    tx.commit().await.expect("committed");
    assert_eq!(ask(&db, Origin::tenant(tenant), &correlate(tenant)).await.id, later.id);
    let (state, is_due): (String, bool) =
        sqlx::query_as("select state, run_at <= now() from jobs where id = $1")
            .bind(later.id.0)
            .fetch_one(db.pool())
            .await
            .expect("the job is there");
    assert_eq!((state.as_str(), is_due), ("available", true));
}

/// What a waiting job stands for must be committed before it begins, or it would miss it.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_cannot_begin_while_somebody_folds_into_it() {
    let db = TestDb::new().await;
    let tenant = db.tenant("acme").await;
    let waiting = ask(&db, Origin::tenant(tenant), &correlate(tenant)).await.id;
    let mut tx = db.system.begin().await.expect("a transaction");
    enqueue(&mut tx, Origin::tenant(tenant), &correlate(tenant)).await.expect("folded");
    let seen: Option<uuid::Uuid> =
        sqlx::query_scalar("select id from jobs where id = $1 for update skip locked")
            .bind(waiting.0)
            .fetch_optional(db.pool())
            .await
            .expect("a look");
    assert_eq!(seen, None, "a relay passes it over");
}

/// It is found due, parked, and let in again by the end of the job before it; whoever does that is held in the middle, the row in hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_job_is_folded_into_while_it_is_moved_among_those_that_wait() {
    let db = TestDb::new().await;
    let tenant = db.tenant("acme").await;
    let (origin, job) = (Origin::tenant(tenant), correlate(tenant));
    let before = ask(&db, origin, &job).await.id;
    set_state(&db, before, "leased_until = now() + interval '1 minute'").await;
    let mut tx = db.system.begin().await.expect("a transaction");
    let tomorrow = chrono::Utc::now() + chrono::Days::new(1);
    let waiting = enqueue_at(&mut tx, origin, &job, tomorrow).await.expect("accepted").id;
    tx.commit().await.expect("committed");
    let folded = Enqueued { id: waiting, created: false };

    let mut holder = PgConnection::connect(db.owner_url.expose_secret()).await.expect("the owner");
    let hold = "create function hold() returns trigger language plpgsql as $$
                begin
                    perform pg_advisory_xact_lock_shared(case when new.parked then 2 else 1 end);
                    return new;
                end $$;
                create trigger hold before update on jobs for each row
                    when (new.parked and not old.parked or old.state = 'scheduled' and new.state = 'available')
                    execute function hold();
                select pg_advisory_lock(1), pg_advisory_lock(2)";
    holder.execute(hold).await.expect("a trigger");
    sqlx::query("update jobs set run_at = now() where id = $1")
        .bind(waiting.0)
        .execute(db.pool())
        .await
        .expect("its time has come");
    let _relay = relay(&db, &Carrier::default(), SOON).await;
    sqlx::query("update workers set queues = '{analysis}'").execute(db.pool()).await.expect("it could run");
    for (lock, moved) in [(1_i64, "it is found due"), (2, "it is parked")] {
        eventually(moved, SOON, || async {
            let is_held = sqlx::query_scalar::<_, bool>(
                "select exists (select from pg_locks
                                 where locktype = 'advisory' and objid::bigint = $1 and not granted
                                   and database = (select oid from pg_database where datname = current_database()))",
            );
            is_held.bind(lock).fetch_one(db.pool()).await.ok()?.then_some(())
        })
        .await;
        assert_eq!(ask(&db, origin, &job).await, folded, "{moved}");
        let go = sqlx::query("select pg_advisory_unlock($1)").bind(lock);
        go.execute(&mut holder).await.expect("it goes on");
    }
    eventually("it to be parked", SOON, || async {
        let is_parked = sqlx::query_scalar::<_, bool>("select parked from jobs where id = $1");
        is_parked.bind(waiting.0).fetch_one(db.pool()).await.ok()?.then_some(())
    })
    .await;

    let mut tx = db.system.begin().await.expect("a transaction");
    let completed = sqlx::AssertSqlSafe(format!("update jobs set {COMPLETED} where id = $1"));
    sqlx::query(completed).bind(before.0).execute(&mut *tx).await.expect("a legal change");
    assert_eq!(ask(&db, origin, &job).await, folded, "it is let in");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_at_once_fold_into_one() {
    let db = TestDb::new().await;
    let tenant = db.tenant("acme").await;
    let (origin, job) = (Origin::tenant(tenant), correlate(tenant));
    let asked = futures::future::join_all((0..50).map(|_| ask(&db, origin, &job))).await;
    assert_eq!(asked.iter().filter(|one| one.created).count(), 1);
    assert!(asked.iter().all(|one| one.id == asked[0].id));
}

/// Twelve at once ask for work under three keys and end what is under way, in an order of chance: nobody is refused, nobody is given a job
/// that is not there, and of each key there is one unfinished job at most.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_key_there_is_one_however_asking_and_ending_come_together() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let db = TestDb::new().await;
    let people = (0..12).map(|person| {
        let (db, mut random) = (&db, StdRng::seed_from_u64(seed.wrapping_add(person)));
        async move {
            let mut given = Vec::new();
            for _ in 0..25 {
                let unique = format!("subject {}", random.random_range(0..3));
                if random.random_bool(0.7) {
                    let work = Work { unique: Some(unique), ..Work::default() };
                    given.push(ask(db, Origin::INSTALLATION, &work).await);
                } else {
                    sqlx::query(
                        "select jobs_cancel(array(select id from jobs
                                                   where kind = 'test_work' and finished_at is null
                                                     and payload ->> 'unique' = $1))",
                    )
                    .bind(unique)
                    .execute(db.pool())
                    .await
                    .expect("they are ended");
                }
            }
            given
        }
    });
    let given: Vec<Enqueued> = futures::future::join_all(people).await.concat();
    let there: Vec<(uuid::Uuid, String, bool)> =
        sqlx::query_as("select id, unique_key, finished_at is null from jobs where kind = 'test_work'")
            .fetch_all(db.pool())
            .await
            .expect("read");
    let made: BTreeSet<_> = given.iter().filter(|one| one.created).map(|one| one.id.0).collect();
    assert_eq!(
        made,
        there.iter().map(|(id, ..)| *id).collect(),
        "who made a job was told so, and nobody else"
    );
    assert!(given.iter().all(|one| made.contains(&one.id.0)), "everybody was given a job that is there");
    let unfinished: Vec<_> = there.iter().filter(|(.., open)| *open).map(|(_, key, _)| key).collect();
    let keys: BTreeSet<_> = unfinished.iter().collect();
    assert_eq!(keys.len(), unfinished.len(), "{unfinished:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn once_in_a_period_means_once_finished_or_not_and_however_many_ask() {
    let db = TestDb::new().await;
    let job = Hourly { subject: "a".into() };
    let asked = futures::future::join_all((0..50).map(|_| ask(&db, Origin::INSTALLATION, &job))).await;
    let first = asked.iter().find(|one| one.created).expect("somebody is first").id;
    assert!(asked.iter().all(|one| one.id == first));
    set_state(&db, first, COMPLETED).await;
    assert_eq!(ask(&db, Origin::INSTALLATION, &job).await.id, first);
    assert!(ask(&db, Origin::INSTALLATION, &Hourly { subject: "b".into() }).await.created);
    sqlx::query("update job_periods set until = now() where key = 'a'")
        .execute(db.pool())
        .await
        .expect("an hour passes");
    assert!(ask(&db, Origin::INSTALLATION, &job).await.created);
}

#[tokio::test]
async fn what_failed_may_be_asked_for_again_within_its_period() {
    let db = TestDb::new().await;
    let job = Hourly { subject: "a".into() };
    let first = ask(&db, Origin::INSTALLATION, &job).await.id;
    set_state(&db, first, DEAD).await;
    assert!(ask(&db, Origin::INSTALLATION, &job).await.created);
}

/// What retrying `jobs` made of each, in the order of their ids.
async fn retry(db: &TestDb, jobs: &[JobId]) -> Vec<String> {
    let ids: Vec<_> = jobs.iter().map(|job| job.0).collect();
    sqlx::query_scalar("select new_state from jobs_retry($1) order by job_id")
        .bind(ids)
        .fetch_all(db.pool())
        .await
        .expect("retried")
}

async fn cancel(db: &TestDb, job: JobId) {
    let cancelled = sqlx::query("select jobs_cancel(array[$1::uuid])").bind(job.0).execute(db.pool()).await;
    cancelled.expect("cancelled");
}

/// Whichever of the three keys it is: there is one job that has not ended or, of those that wait, not begun.
async fn keeps_to_its_key<J: Job + Sync>(db: &TestDb, origin: Origin, job: &J) {
    let kind = J::KIND;
    let first = ask(db, origin, job).await.id;
    cancel(db, first).await;
    let second = ask(db, origin, job).await.id;
    assert_ne!(first, second);
    assert_eq!(retry(db, &[first]).await, ["conflict"], "{kind}: another one does its work");
    cancel(db, second).await;
    assert_eq!(
        retry(db, &[first, second]).await,
        ["available", "conflict"],
        "{kind}: the first of them comes back"
    );
    assert_eq!(
        ask(db, origin, job).await,
        Enqueued { id: first, created: false },
        "{kind}: and is given to whoever asks"
    );
    assert_eq!(retry(db, &[second]).await, ["conflict"], "{kind}");
}

#[tokio::test]
async fn a_job_that_is_retried_does_not_stand_beside_another_one_with_its_key() {
    let db = TestDb::new().await;
    let tenant = db.tenant("acme").await;
    keeps_to_its_key(&db, Origin::INSTALLATION, &Work { unique: Some("nvd".into()), ..Work::default() })
        .await;
    keeps_to_its_key(&db, Origin::tenant(tenant), &correlate(tenant)).await;
    keeps_to_its_key(&db, Origin::tenant(tenant), &Hourly { subject: "a".into() }).await;
}

#[tokio::test]
async fn work_that_was_done_in_its_period_is_not_retried_before_that_is_over() {
    let db = TestDb::new().await;
    let job = Hourly { subject: "a".into() };
    let first = ask(&db, Origin::INSTALLATION, &job).await.id;
    cancel(&db, first).await;
    let second = ask(&db, Origin::INSTALLATION, &job).await.id;
    set_state(&db, second, COMPLETED).await;
    assert_eq!(retry(&db, &[first]).await, ["conflict"]);
    sqlx::query("update job_periods set until = now()").execute(db.pool()).await.expect("an hour passes");
    assert_eq!(retry(&db, &[first]).await, ["available"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_request_and_a_retry_at_once_one_does_the_work() {
    let db = TestDb::new().await;
    let tenant = db.tenant("acme").await;
    let (origin, folding, hourly) =
        (Origin::tenant(tenant), correlate(tenant), Hourly { subject: "a".into() });
    for _ in 0..20 {
        for of_hour in [false, true] {
            let request = async || match of_hour {
                false => ask(&db, origin, &folding).await,
                true => ask(&db, origin, &hourly).await,
            };
            let old = request().await.id;
            cancel(&db, old).await;
            let retried = [old];
            tokio::join!(retry(&db, &retried), request());
            let open: Vec<uuid::Uuid> = sqlx::query_scalar("select id from jobs where finished_at is null")
                .fetch_all(db.pool())
                .await
                .expect("read");
            assert_eq!(open.len(), 1, "of the hour: {of_hour}");
            cancel(&db, JobId(open[0])).await;
        }
    }
}

#[tokio::test]
async fn the_keys_of_two_tenants_have_nothing_to_do_with_one_another() {
    let db = TestDb::new().await;
    let (ours, theirs) = (db.tenant("ours").await, db.tenant("theirs").await);
    let hourly = Hourly { subject: "monthly report".into() };
    let unique = Work { unique: Some("monthly report".into()), ..Work::default() };
    for tenant in [ours, theirs] {
        let mut tx = db.app.begin(tenant).await.expect("a transaction");
        for _ in 0..2 {
            enqueue(&mut tx, Origin::tenant(tenant), &hourly).await.expect("accepted");
            enqueue(&mut tx, Origin::tenant(tenant), &unique).await.expect("accepted");
        }
        tx.commit().await.expect("committed");
    }
    let jobs: Vec<(uuid::Uuid, i64)> =
        sqlx::query_as("select tenant_id, count(*) from jobs group by tenant_id")
            .fetch_all(db.pool())
            .await
            .expect("counted");
    assert_eq!(jobs.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [2, 2]);
}

#[tokio::test]
async fn many_are_accepted_with_one_statement_and_those_that_are_there_are_named() {
    let db = TestDb::new().await;
    let work = |key: usize| Work { unique: Some(format!("subject {key}")), ..Work::default() };
    let there = ask(&db, Origin::INSTALLATION, &work(7)).await.id;
    let jobs: Vec<Work> = (0..2500).map(|index| work(index % 2000)).collect();
    let mut tx = db.system.begin().await.expect("a transaction");
    let asked = enqueue_many(&mut tx, Origin::INSTALLATION, &jobs).await.expect("accepted");
    tx.commit().await.expect("committed");
    assert_eq!(asked.len(), 2500);
    assert_eq!(asked[7], Enqueued { id: there, created: false });
    assert_eq!(asked.iter().filter(|one| one.created).count(), 1999);
    assert_eq!(asked[2100].id, asked[100].id);
    let tally = Tally::new(&db);
    let reference = dispatch(&db, asked[2000].id).await;
    assert!(
        runner(&db, &tally, Duration::from_secs(30)).run(reference).await,
        "they are jobs like any other"
    );
}
