//! Schedules that come: once for each time, with any number of schedulers, whatever happens to them or to the clock. The
//! clock is the test's own.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use domain::id::TenantId;
use harness::TestDb;
use queue::{
    job::Recurs,
    schedule::{Occurrence, firing::fire_due, next_runs, timetable_of},
};
use serde_json::{Value, json};
use store::schedules::{Schedule, forget_other_releases, lock_due};
use uuid::Uuid;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

/// A schedule that compares a tenant's packages, with nothing else that could come.
struct Under<'a> {
    db: &'a TestDb,
    id: Uuid,
}

impl<'a> Under<'a> {
    async fn new(db: &'a TestDb, columns: &Value) -> Self {
        let tenant = db.tenant("acme").await;
        sqlx::query("delete from schedules").execute(db.pool()).await.expect("nothing else is scheduled");
        Self::beside(db, tenant, columns).await
    }

    async fn beside(db: &'a TestDb, tenant: TenantId, columns: &Value) -> Self {
        let id = Uuid::now_v7();
        let mut row = json!({
            "id": id, "tenant_id": tenant, "name": id, "kind": "correlate", "payload": { "tenant_id": tenant },
            "cron": "* * * * *", "time_zone": "UTC", "enabled": true, "catch_up": "last",
            "catch_up_window_minutes": 1440, "overlap": "allow", "kind_version": 1, "is_built_in": false,
            "created_at": "2026-01-01T00:00:00Z",
        });
        row.as_object_mut().expect("an object").extend(columns.as_object().expect("an object").clone());
        sqlx::query("insert into schedules select * from jsonb_populate_record(null::schedules, $1)")
            .bind(row)
            .execute(db.pool())
            .await
            .expect("a schedule is made");
        Self { db, id }
    }

    async fn row(&self) -> Schedule {
        let mut connection = self.db.pool().acquire().await.expect("a connection");
        let far = at("2100-01-01T00:00:00Z");
        let all = lock_due(&mut connection, far, &[("correlate", 1)], 100).await.expect("read");
        all.into_iter().find(|schedule| schedule.id == self.id).expect("it is turned on")
    }

    /// What became of each time, in order: `10:00 enqueued`.
    async fn firings(&self) -> Vec<String> {
        let firings: Vec<(DateTime<Utc>, String)> = sqlx::query_as(
            "select nominal_at, outcome from schedule_firings where schedule_id = $1 order by nominal_at",
        )
        .bind(self.id)
        .fetch_all(self.db.pool())
        .await
        .expect("read");
        firings
            .into_iter()
            .map(|(nominal, outcome)| format!("{} {outcome}", nominal.format("%H:%M")))
            .collect()
    }

    async fn fire(&self, now: &str) -> usize {
        fire_due(&self.db.system, at(now)).await.expect("fired")
    }

    /// The jobs that have been made. All are finished afterwards.
    async fn finish_jobs(&self) -> usize {
        let finished =
            sqlx::query("update jobs set state = 'cancelled', finished_at = now() where finished_at is null")
                .execute(self.db.pool())
                .await
                .expect("finished");
        finished.rows_affected() as usize
    }
}

async fn count(db: &TestDb, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(db.pool()).await.expect("counted")
}

#[tokio::test(flavor = "multi_thread")]
async fn three_schedulers_one_of_which_keeps_dying_make_one_job_for_each_time() {
    let db = TestDb::new().await;
    let start = at("2026-11-22T10:00:00Z");
    let schedule = Under::new(&db, &json!({ "catch_up": "all", "next_run_at": start })).await;
    let mut made = 0;
    for tick in 0..200 {
        let now = start + TimeDelta::minutes(tick);
        let dying = tokio::spawn({
            let system = db.system.clone();
            async move { fire_due(&system, now).await }
        });
        let others = async {
            // A little later each time, so that it dies in another place.
            for _ in 0..tick % 40 {
                tokio::task::yield_now().await;
            }
            dying.abort();
            let _ = dying.await;
            tokio::join!(fire_due(&db.system, now), fire_due(&db.system, now))
        };
        let (one, other) = others.await;
        one.and(other).expect("the others go on");
        // What the dying one had begun is undone by the database when it notices, and done by the next round.
        harness::eventually("the time is dealt with", std::time::Duration::from_secs(20), || async {
            fire_due(&db.system, now).await.expect("fired");
            let firings = count(&db, "select count(*) from schedule_firings").await;
            (firings == tick + 1).then_some(())
        })
        .await;
        made += schedule.finish_jobs().await;
    }
    assert_eq!(made, 200, "one job for each time");
    let firings = schedule.firings().await;
    assert_eq!(firings.len(), 200);
    assert!(firings.iter().all(|firing| firing.ends_with("enqueued")), "{firings:?}");
    assert_eq!(count(&db, "select count(distinct job_id) from schedule_firings").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_times_that_are_shown_are_the_times_that_come() {
    for (cron, zone, from) in [
        ("30 2 * * *", "America/New_York", "2026-03-06T12:00:00Z"),
        ("30 1 * * *", "America/New_York", "2026-10-30T12:00:00Z"),
        ("*/20 1-2 * * *", "Europe/Berlin", "2026-10-24T23:30:00Z"),
        ("0 0 31 * *", "Asia/Kathmandu", "2026-11-22T00:00:00Z"),
        ("15 2 29 2 *", "Australia/Lord_Howe", "2026-11-22T00:00:00Z"),
        ("0 9 13 * FRI", "Africa/Casablanca", "2027-01-22T00:00:00Z"),
    ] {
        let db = TestDb::new().await;
        let schedule = Under::new(&db, &json!({ "cron": cron, "time_zone": zone })).await;
        schedule.fire(from).await;
        let shown = next_runs(&schedule.row().await, at(from), 5).expect("it is sound");
        assert_eq!(shown.len(), 5);
        for Occurrence { at, .. } in &shown {
            assert_eq!(
                fire_due(&db.system, *at - TimeDelta::seconds(1)).await.expect("fired"),
                0,
                "{cron}: not yet"
            );
            assert_eq!(fire_due(&db.system, *at).await.expect("fired"), 1, "{cron} in {zone} at {at}");
            schedule.finish_jobs().await;
        }
        let came: Vec<DateTime<Utc>> =
            sqlx::query_scalar("select nominal_at from schedule_firings order by nominal_at")
                .fetch_all(db.pool())
                .await
                .expect("read");
        assert_eq!(came, shown.iter().map(|run| run.at).collect::<Vec<_>>(), "{cron} in {zone}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_six_hours_without_a_scheduler_the_policy_decides() {
    for (catch_up, window, expected) in [
        ("skip", 1440, vec!["10:00 missed"]),
        ("last", 1440, vec!["10:00 missed", "15:00 enqueued"]),
        (
            "all",
            1440,
            ["10", "11", "12", "13", "14", "15"].map(|hour| &*format!("{hour}:00 enqueued").leak()).to_vec(),
        ),
        ("all", 150, vec!["10:00 missed", "13:00 enqueued", "14:00 enqueued", "15:00 enqueued"]),
    ] {
        let db = TestDb::new().await;
        let columns = json!({
            "cron": "0 * * * *", "catch_up": catch_up, "catch_up_window_minutes": window,
            "next_run_at": "2026-11-22T10:00:00Z",
        });
        let schedule = Under::new(&db, &columns).await;
        schedule.fire("2026-11-22T15:20:00Z").await;
        assert_eq!(schedule.firings().await, expected, "{catch_up} within {window} minutes");
        let made = expected.iter().filter(|firing| firing.ends_with("enqueued")).count();
        assert_eq!(schedule.finish_jobs().await, made, "{catch_up}: a job for each time");
        assert_eq!(schedule.fire("2026-11-22T16:00:00Z").await, 1, "{catch_up}: then it goes on as usual");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_comes_while_the_last_job_runs_is_treated_by_the_policy() {
    for (overlap, during, after) in [
        ("allow", vec!["10:00 enqueued", "10:01 enqueued", "10:02 enqueued"], 0),
        ("skip", vec!["10:00 enqueued", "10:01 skipped", "10:02 skipped"], 0),
        ("queue_one", vec!["10:00 enqueued", "10:01 waiting", "10:02 skipped"], 1),
    ] {
        let db = TestDb::new().await;
        let columns = json!({ "overlap": overlap, "next_run_at": "2026-11-22T10:00:00Z" });
        let schedule = Under::new(&db, &columns).await;
        for now in ["2026-11-22T10:00:01Z", "2026-11-22T10:01:01Z", "2026-11-22T10:02:01Z"] {
            schedule.fire(now).await;
        }
        assert_eq!(schedule.firings().await, during, "{overlap}");
        schedule.finish_jobs().await;
        assert_eq!(schedule.fire("2026-11-22T10:02:30Z").await, after, "{overlap}: what had waited");
        assert_eq!(schedule.fire("2026-11-22T10:02:40Z").await, 0, "{overlap}: and once only");
        if after == 1 {
            assert_eq!(schedule.firings().await[1], "10:01 enqueued");
        }
    }
}

/// All kinds that recur are done once at a time, and most are unique besides: both must leave each time its job.
#[tokio::test(flavor = "multi_thread")]
async fn of_every_kind_each_time_has_a_job_of_its_own_where_times_may_overlap_and_they_take_turns() {
    let db = TestDb::new().await;
    let tenant = db.tenant("acme").await;
    sqlx::query("delete from schedules").execute(db.pool()).await.expect("nothing else is scheduled");
    for kind in queue::jobs::ALL.iter().filter(|kind| kind.recurs != Recurs::Never) {
        let (tenant_id, payload) = match kind.recurs {
            Recurs::ForTenant => (json!(tenant), json!({ "tenant_id": tenant, "integration": "wazuh" })),
            _ => (Value::Null, json!({ "source_id": Uuid::now_v7() })),
        };
        let columns = json!({
            "kind": kind.name, "tenant_id": tenant_id, "payload": payload, "kind_version": kind.version,
            "catch_up": "all", "next_run_at": "2026-11-22T10:00:00Z",
        });
        let schedule = Under::beside(&db, tenant, &columns).await;
        assert_eq!(schedule.fire("2026-11-22T10:03:30Z").await, 4, "{}: three were missed", kind.name);
        let (jobs, keys, turns): (i64, i64, i64) = sqlx::query_as(
            "select count(*), count(distinct concurrency_key), count(concurrency_key) from jobs where kind = $1",
        )
        .bind(kind.name)
        .fetch_one(db.pool())
        .await
        .expect("read");
        assert_eq!((jobs, keys, turns), (4, 1, 4), "{}", kind.name);
        assert_eq!(schedule.firings().await.len(), 4);
        sqlx::query("update schedules set enabled = false")
            .execute(db.pool())
            .await
            .expect("that is all of it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_makes_nothing_come_twice_and_stops_nothing() {
    let db = TestDb::new().await;
    let columns = json!({ "cron": "*/10 * * * *", "next_run_at": "2026-11-22T10:00:00Z" });
    let schedule = Under::new(&db, &columns).await;
    assert_eq!(schedule.fire("2026-11-22T10:00:00Z").await, 1);
    schedule.finish_jobs().await;
    // Forward by an hour: the last of the times that were passed over.
    assert_eq!(schedule.fire("2026-11-22T11:05:00Z").await, 1);
    schedule.finish_jobs().await;
    // Back again: nothing until the clock has caught up.
    for now in ["2026-11-22T10:05:30Z", "2026-11-22T10:10:00Z", "2026-11-22T11:00:00Z"] {
        assert_eq!(schedule.fire(now).await, 0, "{now}");
    }
    assert_eq!(schedule.fire("2026-11-22T11:10:00Z").await, 1);
    schedule.finish_jobs().await;
    assert_eq!(
        schedule.firings().await,
        ["10:00 enqueued", "10:10 missed", "11:00 enqueued", "11:10 enqueued"]
    );
    // Wrong by a year, and put right: it does not wait for a year.
    assert_eq!(schedule.fire("2027-11-22T11:15:00Z").await, 1);
    schedule.finish_jobs().await;
    assert_eq!(schedule.fire("2026-11-22T11:16:00Z").await, 0);
    assert_eq!(schedule.fire("2026-11-22T11:20:00Z").await, 1);
    schedule.finish_jobs().await;
    // And where it had been that far ahead before, what it did then is not done again.
    assert_eq!(schedule.fire("2026-11-22T11:20:00Z").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_cannot_be_used_is_turned_off_with_the_reason_and_holds_up_no_other() {
    let db = TestDb::new().await;
    let sound = Under::new(&db, &json!({ "next_run_at": "2026-11-22T10:00:00Z" })).await;
    let tenant = TenantId(sound.row().await.tenant_id.expect("a tenant's"));
    for (columns, why) in [
        (json!({ "time_zone": "Europe/Berln" }), "did you mean `Europe/Berlin`"),
        (json!({ "cron": "61 * * * *" }), "minute `61`"),
        (json!({ "cron": "0 0 30 2 *" }), "never comes"),
        (json!({ "payload": { "tenant_id": tenant, "asset_id": 7 } }), "is not a payload of `correlate`"),
    ] {
        let mut columns = columns;
        columns["next_run_at"] = json!("2026-11-22T09:00:00Z");
        let broken = Under::beside(&db, tenant, &columns).await;
        sound.fire("2026-11-22T10:00:01Z").await;
        let (enabled, reason): (bool, Option<String>) =
            sqlx::query_as("select enabled, disabled_reason from schedules where id = $1")
                .bind(broken.id)
                .fetch_one(db.pool())
                .await
                .expect("read");
        assert!(!enabled && reason.as_ref().is_some_and(|reason| reason.contains(why)), "{why}: {reason:?}");
        assert_eq!(broken.firings().await, Vec::<String>::new(), "nothing half done stays");
    }
    assert_eq!(sound.firings().await, ["10:00 enqueued"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_this_version_does_not_know_is_left_to_a_newer_scheduler() {
    let db = TestDb::new().await;
    let schedule =
        Under::new(&db, &json!({ "kind": "fold_laundry", "next_run_at": "2026-11-22T10:00:00Z" })).await;
    assert_eq!(schedule.fire("2026-11-22T10:00:01Z").await, 0);
    let left: (bool, DateTime<Utc>) = sqlx::query_as("select enabled, next_run_at from schedules")
        .fetch_one(db.pool())
        .await
        .expect("read");
    assert_eq!(left, (true, at("2026-11-22T10:00:00Z")));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_release_of_the_time_zones_plans_anew_and_forgets_nothing_that_is_due() {
    let db = TestDb::new().await;
    let stale = json!({
        "cron": "0 12 * * *", "time_zone": "Europe/Berlin", "time_zone_version": "1999a",
        "next_run_at": "2026-11-22T12:00:00Z",
    });
    let schedule = Under::new(&db, &stale).await;
    let mut connection = db.pool().acquire().await.expect("a connection");
    let due = at("2026-11-22T12:00:01Z");
    assert_eq!(forget_other_releases(&mut connection, due, "2026a").await.expect("asked"), 0, "it is due");
    let before = at("2026-11-22T08:00:00Z");
    assert_eq!(forget_other_releases(&mut connection, before, "2026a").await.expect("asked"), 1);
    drop(connection);
    schedule.fire("2026-11-22T08:00:00Z").await;
    let row = schedule.row().await;
    assert_eq!(row.next_run_at, Some(at("2026-11-22T11:00:00Z")), "noon in Berlin is eleven in winter");
    assert!(timetable_of(&row, before).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_source_is_crawled_at_its_interval_and_as_soon_as_it_is_new_or_has_moved() {
    let db = TestDb::new().await;
    let mut tx = db.system.begin().await.expect("a transaction");
    store::sources::ensure(&mut tx, &store::sources::PUBLIC[..2]).await.expect("two sources");
    tx.commit().await.expect("committed");
    let due = || {
        count(
            &db,
            "select count(*) from schedules where source_id is not null and enabled and next_run_at <= now()",
        )
    };
    assert_eq!(due().await, 2);
    let now: DateTime<Utc> = sqlx::query_scalar("select now()").fetch_one(db.pool()).await.expect("a time");
    fire_due(&db.system, now).await.expect("fired");
    let crawls = || count(&db, "select count(*) from jobs where kind = 'crawl_source' and tenant_id is null");
    assert_eq!(crawls().await, 2);
    assert_eq!(due().await, 0);
    let minutes: BTreeSet<i64> = sqlx::query_scalar(
        "select (extract(epoch from next_run_at - done_until) / 60)::bigint from schedules where source_id is not null",
    )
    .fetch_all(db.pool())
    .await
    .expect("read")
    .into_iter()
    .collect();
    assert_eq!(minutes, BTreeSet::from([60, 1440]), "an hour for one, a day for the other");
    for (change, expected) in [
        ("update sources set url = url || '?mirror' where slug = 'nvd'", 1),
        ("update sources set enabled = false where slug = 'nvd'", 0),
        ("update sources set enabled = true where slug = 'nvd'", 1),
        ("update sources set crawl_interval_minutes = 5 where slug = 'cisa-kev'", 1),
        ("delete from sources where slug = 'nvd'", 0),
    ] {
        sqlx::query(change).execute(db.pool()).await.expect(change);
        assert_eq!(due().await, expected, "{change}");
    }
    let left = count(
        &db,
        "select count(*) from schedules where source_id is not null and next_run_at < now() + interval '6 minutes'",
    );
    assert_eq!(left.await, 1, "the shorter interval counts from now");
}

#[tokio::test(flavor = "multi_thread")]
async fn housekeeping_and_a_nightly_correlation_for_each_tenant_come_with_the_program() {
    let db = TestDb::new().await;
    db.tenant("acme").await;
    db.tenant("globex").await;
    let start = at("2026-11-22T00:00:00Z");
    for hour in 0..=25 {
        fire_due(&db.system, start + TimeDelta::hours(hour)).await.expect("fired");
    }
    let jobs: Vec<(String, i64)> =
        sqlx::query_as("select kind, count(*) from jobs group by kind order by kind")
            .fetch_all(db.pool())
            .await
            .expect("read");
    let expected = [("correlate", 2), ("purge_expired", 1), ("verify_artifacts", 1)];
    assert_eq!(jobs, expected.map(|(kind, count)| (kind.to_owned(), count)));
}
