//! Two releases side by side: what each can read it does, what it cannot it leaves to the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use domain::id::JobId;
use harness::{TestApp, TestDb, eventually};
use queue::{
    Attempt, Done, Handler, Job, JobError, Queue, Registry, RetryPolicy,
    enqueue::{Origin, enqueue},
    explain,
    jobs::read_payload,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::jobs::detail;

use crate::{
    job_operations::{ids, job},
    queue_delivery::Engine,
    work::{dispatch, outcomes, row},
};

const SOON: Duration = Duration::from_secs(60);
const KIND: &str = "test_parcel";
const RETRY: RetryPolicy = RetryPolicy::exponential(3, Duration::from_millis(1), Duration::from_millis(5));

/// A kind as the release before knew it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OldParcel {
    grams: u32,
}

impl Job for OldParcel {
    const KIND: &'static str = KIND;
    const QUEUE: Queue = Queue::Maintenance;
    const RETRY: RetryPolicy = RETRY;
    const TIMEOUT: Duration = Duration::from_secs(10);
}

/// The same kind as this release knows it: in other units, and with an address.
#[derive(Debug, Serialize, Deserialize)]
struct Parcel {
    kilograms: f64,
    address: String,
}

impl Job for Parcel {
    const KIND: &'static str = KIND;
    const VERSION: i32 = 2;
    const QUEUE: Queue = Queue::Maintenance;
    const RETRY: RetryPolicy = RETRY;
    const TIMEOUT: Duration = Duration::from_secs(10);

    fn upcast(payload: Value, _from: i32) -> Result<Value, String> {
        let grams = payload["grams"].as_f64().ok_or("it has no weight")?;
        Ok(json!({ "kilograms": grams / 1000.0, "address": "poste restante" }))
    }
}

/// What a release's handlers may touch: nothing.
struct Nothing;

impl Handler<Nothing> for OldParcel {
    async fn run(self, _: &Nothing, attempt: &Attempt) -> Result<Done, JobError> {
        Ok(attempt.finish(json!({ "release": 1, "grams": self.grams })))
    }
}

impl Handler<Nothing> for Parcel {
    async fn run(self, _: &Nothing, attempt: &Attempt) -> Result<Done, JobError> {
        Ok(attempt.finish(json!({ "release": 2, "kilograms": self.kilograms, "address": self.address })))
    }
}

fn registry<J: Handler<Nothing>>() -> Registry<Nothing> {
    let mut registry = Registry::default();
    registry.add::<J>();
    registry
}

async fn accept<J: Job + Sync>(db: &TestDb, job: &J) -> JobId {
    let mut tx = db.system.begin().await.expect("a transaction");
    let accepted = enqueue(&mut tx, Origin::INSTALLATION, job).await.expect("it is accepted");
    tx.commit().await.expect("it is committed");
    accepted.id
}

async fn until_completed(db: &TestDb, job: JobId) -> Value {
    eventually("its completion", SOON, || async {
        let row = row(db, job).await;
        (row.state == "completed").then_some(row.result).flatten()
    })
    .await
}

/// The reasons why `job` is not running: code and text of each.
async fn why_not_running(db: &TestDb, job: JobId) -> Vec<(&'static str, String)> {
    let tenant = db.tenant(&format!("t{}", uuid::Uuid::new_v4().simple())).await;
    let mut tx = db.app.begin(tenant).await.expect("a transaction");
    let row = store::jobs::find(&mut tx, job).await.expect("it is there");
    let standing = detail::standing(&mut tx, job).await.expect("it is there");
    let reasons = explain::why_not_running(&row, &standing, &[]);
    reasons.into_iter().map(|reason| (reason.code, reason.text)).collect()
}

/// How many attempts at the kind, as it is counted, were handed back for being too new.
fn counted(kind: &str) -> u64 {
    let series = format!(r#"plimsoll_jobs_unknown_version_total{{queue="maintenance",kind="{kind}"}} "#);
    let shown = runtime::metrics::exposition();
    let value = shown.lines().find_map(|line| line.strip_prefix(&series));
    value.map_or(0, |value| value.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_newer_version_is_left_alone_explained_counted_and_taken_by_who_knows_it() {
    let mut engine = Engine::idle().await;
    engine.start_relay().await;
    engine.start_worker_of(registry::<OldParcel>(), Nothing, 2).await;
    let newer = accept(&engine.db, &Parcel { kilograms: 2.5, address: "Plimsoll Street 1".into() }).await;
    eventually("the old worker to leave it", SOON, || async {
        (row(&engine.db, newer).await.state == "scheduled").then_some(())
    })
    .await;
    // It does not come round and round: others are done meanwhile, and it waits.
    let older = accept(&engine.db, &OldParcel { grams: 300 }).await;
    assert_eq!(until_completed(&engine.db, older).await, json!({ "release": 1, "grams": 300 }));
    assert_eq!(outcomes(&engine.db, newer).await, ["left_to_newer"]);
    let left = row(&engine.db, newer).await;
    assert_eq!((left.state.as_str(), left.attempt, left.dead_reason), ("scheduled", 0, None));
    assert_eq!(counted(KIND), 1);

    let told = why_not_running(&engine.db, newer).await;
    assert_eq!(told[0].0, "newer_version", "{told:?}");
    assert_eq!(
        told[0].1,
        "It is of version 2 of `test_parcel`, and no live worker reads more than version 1: upgrade a worker."
    );
    assert!(told[1].1.starts_with("A worker left it to a newer one: it is handed out again at "), "{told:?}");

    engine.start_worker_of(registry::<Parcel>(), Nothing, 2).await;
    let old_payload = accept(&engine.db, &OldParcel { grams: 700 }).await;
    sqlx::query("update jobs set run_at = now() where id = $1 and state = 'scheduled'")
        .bind(newer.0)
        .execute(engine.db.pool())
        .await
        .expect("a minute passes");
    let result = until_completed(&engine.db, newer).await;
    assert_eq!(result, json!({ "release": 2, "kilograms": 2.5, "address": "Plimsoll Street 1" }));
    assert_eq!(row(&engine.db, newer).await.attempt, 1, "what was left to others has cost no attempt");
    until_completed(&engine.db, old_payload).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_payload_is_brought_up_to_date_by_a_worker_that_knows_a_newer_version() {
    let mut engine = Engine::idle().await;
    engine.start_relay().await;
    engine.start_worker_of(registry::<Parcel>(), Nothing, 2).await;
    let job = accept(&engine.db, &OldParcel { grams: 700 }).await;
    let result = until_completed(&engine.db, job).await;
    assert_eq!(result, json!({ "release": 2, "kilograms": 0.7, "address": "poste restante" }));
    engine.stop().await;
}

#[tokio::test]
async fn a_kind_that_this_build_has_never_heard_of_is_counted_by_one_word_whatever_it_is_called() {
    let db = TestDb::new().await;
    let before = counted("other");
    let tally = crate::work::Tally::new(&db);
    let runner = crate::work::runner(&db, &tally, Duration::from_secs(30));
    for kind in ["test_from_the_future", "test_from_elsewhere"] {
        let job = JobId::new();
        sqlx::query(
            "insert into jobs (id, kind, queue, payload, max_attempts, timeout_seconds)
             values ($1, $2, 'maintenance', '{}', 3, 60)",
        )
        .bind(job.0)
        .bind(kind)
        .execute(db.pool())
        .await
        .expect("a job");
        let reference = dispatch(&db, job).await;
        runner.run(reference).await;
        assert_eq!(outcomes(&db, job).await, ["left_to_newer"]);
        let told = why_not_running(&db, job).await;
        assert_eq!(
            told[0],
            ("unknown_kind", format!("No live worker of the queue `maintenance` knows the kind `{kind}`."))
        );
        assert!(!runtime::metrics::exposition().contains(kind), "a row's word is no label");
    }
    assert!(counted("other") >= before + 2);
}

/// What each version of each kind wrote, by kind and version. A file is added with each new version, and never changed or removed: rows that
/// were written so are still there.
fn kept_payloads() -> BTreeMap<(String, i32), Vec<Value>> {
    let folder =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/jobs")).expect("it is there");
    let read = |file: std::io::Result<std::fs::DirEntry>| {
        let path = file.expect("readable").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let (kind, version) =
            name.strip_suffix(".json").and_then(|name| name.rsplit_once('.')).expect("kind.version.json");
        let text = std::fs::read_to_string(&path).expect("readable");
        let payloads = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        ((kind.to_owned(), version.parse().expect("a number")), payloads)
    };
    folder.map(read).collect()
}

#[test]
fn every_payload_that_was_ever_written_is_still_read_and_a_new_member_is_a_new_version() {
    let kept = kept_payloads();
    let expected: BTreeSet<(String, i32)> = queue::jobs::ALL
        .iter()
        .flat_map(|kind| (1..=kind.version).map(|version| (kind.name.to_owned(), version)))
        .collect();
    assert_eq!(
        kept.keys().cloned().collect::<BTreeSet<_>>(),
        expected,
        "tests/fixtures/jobs has a file for each version of each kind, KIND.VERSION.json: a list of payloads"
    );
    for ((kind, version), payloads) in &kept {
        assert!(!payloads.is_empty(), "{kind} {version}");
        let current = queue::jobs::ALL.iter().find(|known| known.name == kind).expect("it is known").version;
        for payload in payloads {
            let read = read_payload(kind, *version, payload)
                .unwrap_or_else(|why| panic!("version {version} of {kind} is not read any more: {why}"));
            let again = read_payload(kind, current, &read).expect("what this version writes it reads");
            assert_eq!(again, read, "{kind}");
            if *version == current {
                assert_eq!(
                    read, *payload,
                    "{kind} has other members than version {version} of it had: raise Job::VERSION, say in Job::upcast what older \
                     payloads mean, and add a file for the new version"
                );
            }
        }
    }
}

/// What only a newer release has a word for is shown as it is.
#[tokio::test(flavor = "multi_thread")]
async fn states_reasons_and_outcomes_of_a_newer_release_are_shown_and_left_alone() {
    let app = TestApp::set_up().await;
    let tenant = Some(app.tenant().await);
    let mut owner = store::db::connect_once(&app.db.owner_url).await.expect("the owner");
    sqlx::raw_sql(
        "alter table jobs drop constraint jobs_state_check, drop constraint jobs_dead_reason_check;
         alter table job_attempts drop constraint job_attempts_outcome_check;
         set session_replication_role = replica",
    )
    .execute(&mut owner)
    .await
    .expect("a newer schema has more words");
    for _ in 0..5 {
        let word: String = (0..rand::random_range(1..20)).map(|_| rand::random_range('a'..='z')).collect();
        let (moved, dead) =
            (job(&app, tenant, "send_mail", "available").await, job(&app, tenant, "send_mail", "dead").await);
        for change in [
            "update jobs set state = $2 where id = $1",
            "insert into job_attempts (job_id, fence, attempt, worker, ended_at, outcome) values ($1, 1, 1, 'w', now(), $2)",
        ] {
            sqlx::query(change).bind(moved.0).bind(&word).execute(&mut owner).await.expect(change);
        }
        let reason = "update jobs set dead_reason = $2 where id = $1";
        sqlx::query(reason).bind(dead.0).bind(&word).execute(&mut owner).await.expect(reason);
        let listed = app.get("/api/jobs?page_size=100").await.expect(200).json();
        assert!(ids(&listed).is_superset(&[moved, dead].map(|id| id.to_string()).into()), "{word}");
        let seen = app.get(&format!("/api/jobs/{moved}")).await.expect(200).json();
        assert_eq!((&seen["state"], &seen["attempts"][0]["outcome"]), (&json!(word), &json!(word)));
        assert_eq!(app.get(&format!("/api/jobs/{dead}")).await.expect(200).json()["dead_reason"], word);
        app.post(&format!("/api/jobs/{moved}/retry"), &json!({})).await.expect(409);
        queue::rescue::once(app.db.pool()).await.expect("a look");
        let state: String = sqlx::query_scalar("select state from jobs where id = $1")
            .bind(moved.0)
            .fetch_one(app.db.pool())
            .await
            .expect("it is there");
        assert_eq!(state, word);
    }
    app.get("/api/queues").await.expect(200);
    store::figures::queues(app.db.pool()).await.expect("counted");
}
