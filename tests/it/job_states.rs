//! No event takes a job where it cannot go, and each ending keeps what an operator needs. What either login may write at all is in
//! [`statements`].

mod statements;

use std::{collections::BTreeSet, time::Duration};

use domain::id::JobId;
use harness::{TestDb, eventually};
use queue::{
    claim::{self, JobRef, Verdict},
    rescue,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use store::jobs::operate;

use crate::{
    queue_delivery::Engine,
    work::{Act, Tally, Work, accept, dispatch, outcomes, row, runner},
};

const STATES: [&str; 9] = [
    "waiting",
    "scheduled",
    "available",
    "dispatched",
    "running",
    "retryable",
    "completed",
    "cancelled",
    "dead",
];

/// Where each state may lead. Written down a second time on purpose: the drawing in the migration, as a table.
fn may_follow(state: &str) -> &'static [&'static str] {
    match state {
        "waiting" => &["available", "scheduled", "cancelled", "dead"],
        "scheduled" | "retryable" => &["available", "dispatched", "cancelled"],
        "available" => &["dispatched", "cancelled"],
        "dispatched" => &["running", "available", "cancelled", "dead"],
        "running" => &["completed", "retryable", "scheduled", "available", "cancelled", "dead"],
        "dead" | "cancelled" => &["available", "waiting"],
        _ => &[],
    }
}

/// The columns that the constraints want with a state.
fn columns(state: &str) -> String {
    let lease = if ["dispatched", "running"].contains(&state) { "now()" } else { "null" };
    let finished = if ["completed", "cancelled", "dead"].contains(&state) { "now()" } else { "null" };
    let reason = if state == "dead" { "'exhausted'" } else { "null" };
    let pending = i32::from(state == "waiting");
    format!(
        "state = '{state}', leased_until = {lease}, finished_at = {finished}, dead_reason = {reason}, pending_dependencies = {pending}"
    )
}

/// A job in `state`, put there without asking the trigger.
async fn job_in(db: &TestDb, state: &str) -> JobId {
    let job = accept(db, &Work::default()).await;
    let mut owner = store::db::connect_once(&db.owner_url).await.expect("the owner");
    let moved = format!(
        "set session_replication_role = replica; update jobs set {} where id = '{job}'; set session_replication_role = origin",
        columns(state)
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(moved)).execute(&mut owner).await.expect("the owner may");
    job
}

#[tokio::test]
async fn a_job_goes_only_where_the_drawing_lets_it() {
    let db = TestDb::new().await;
    for from in STATES {
        for to in STATES.into_iter().filter(|to| *to != from) {
            let job = job_in(&db, from).await;
            let moved = sqlx::AssertSqlSafe(format!("update jobs set {} where id = '{job}'", columns(to)));
            let moved = sqlx::query(moved).execute(db.pool()).await;
            assert_eq!(moved.is_ok(), may_follow(from).contains(&to), "{from} to {to}: {moved:?}");
        }
    }
}

/// What may happen to a job, by whoever it is.
#[derive(Debug, Clone, Copy)]
enum Event {
    Dispatched,
    Taken,
    Completed,
    Failed,
    PutOff,
    GivenBack,
    GivenUp,
    LeaseRunsOut,
    Due,
    Cancelled,
    Retried,
}

const EVENTS: [Event; 11] = [
    Event::Dispatched,
    Event::Taken,
    Event::Completed,
    Event::Failed,
    Event::PutOff,
    Event::GivenBack,
    Event::GivenUp,
    Event::LeaseRunsOut,
    Event::Due,
    Event::Cancelled,
    Event::Retried,
];

impl Event {
    /// Lets it happen, whether it fits or not, as the engine and its operators do it.
    async fn happen(self, db: &TestDb, reference: &mut JobRef) {
        let job = JobId(reference.id);
        let (pause, why) = (Duration::from_secs(60), "because".to_owned());
        let verdict = match self {
            Self::Dispatched => {
                let fence: Option<i64> = sqlx::query_scalar(
                    "update jobs set state = 'dispatched', fence = nextval('job_fences'), leased_until = now() + interval '1 minute'
                      where id = $1 and state = 'available' returning fence",
                )
                .bind(job.0)
                .fetch_optional(db.pool())
                .await
                .expect("a relay is not refused");
                reference.fence = fence.unwrap_or(reference.fence);
                return;
            }
            Self::Taken => {
                let lease = Duration::from_secs(30);
                claim::take(db.pool(), *reference, "w", lease).await.expect("a claim is not refused");
                return;
            }
            Self::Completed => {
                let done = [(*reference, serde_json::json!({}))];
                claim::complete_many(db.pool(), &done).await.expect("a completion is not refused");
                return;
            }
            Self::Failed => Verdict::Retry { pause, class: "error", error: why },
            Self::PutOff => Verdict::GiveBack { pause, outcome: "snoozed", why },
            Self::GivenBack => Verdict::GiveBack { pause: Duration::ZERO, outcome: "interrupted", why },
            Self::GivenUp => Verdict::Dead { reason: "discarded", error: why },
            Self::LeaseRunsOut => {
                sqlx::query("update jobs set leased_until = now() - interval '1 second' where id = $1 and leased_until is not null")
                    .bind(job.0)
                    .execute(db.pool())
                    .await
                    .expect("time passes");
                rescue::once(db.pool()).await.expect("a rescue is not refused");
                return;
            }
            Self::Due => {
                sqlx::query("update jobs set state = 'available', run_at = now() where id = $1 and state in ('scheduled', 'retryable')")
                    .bind(job.0)
                    .execute(db.pool())
                    .await
                    .expect("time passes");
                return;
            }
            Self::Cancelled | Self::Retried => {
                let verb = if matches!(self, Self::Cancelled) { "jobs_cancel" } else { "jobs_retry" };
                let ask = sqlx::AssertSqlSafe(format!("select new_state from {verb}(array[$1::uuid])"));
                sqlx::query(ask).bind(job.0).execute(db.pool()).await.expect("an operator is not refused");
                return;
            }
        };
        claim::conclude_many(db.pool(), &[(*reference, verdict)]).await.expect("a verdict is not refused");
    }
}

/// Whatever happens to a job in whatever order, each step is one of the drawing, and nobody is told of a refusal.
#[tokio::test]
async fn in_whatever_order_things_happen_a_job_goes_along_the_drawing() {
    let db = TestDb::new().await;
    let seed: u64 = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let mut seen = BTreeSet::new();
    for _ in 0..30 {
        let job = accept(&db, &Work::default()).await;
        let mut reference = JobRef { id: job.0, fence: 0 };
        let mut before = row(&db, job).await;
        for _ in 0..30 {
            // What fits is likelier, or a job would hardly ever get anywhere.
            let fitting = match before.state.as_str() {
                "available" => Event::Dispatched,
                "dispatched" => Event::Taken,
                "scheduled" | "retryable" => Event::Due,
                "running" => EVENTS[2 + random.random_range(0..6)],
                _ => Event::Retried,
            };
            let event =
                if random.random_bool(0.6) { fitting } else { EVENTS[random.random_range(0..EVENTS.len())] };
            event.happen(&db, &mut reference).await;
            let after = row(&db, job).await;
            assert!(
                before.state == after.state || may_follow(&before.state).contains(&after.state.as_str()),
                "{event:?} took a job from {} to {} (seed {seed})",
                before.state,
                after.state
            );
            assert!(after.attempt <= 3 && after.crashes <= 3, "{event:?}: {after:?} (seed {seed})");
            seen.insert(after.state.clone());
            before = after;
        }
    }
    assert!(seen.len() >= 7, "it got about: {seen:?} (seed {seed})");
}

#[tokio::test]
async fn a_state_without_what_belongs_to_it_is_refused() {
    let db = TestDb::new().await;
    for (from, change) in [
        ("available", "state = 'dispatched'"),
        ("running", "state = 'completed', leased_until = null"),
        ("running", "state = 'dead', leased_until = null, finished_at = now()"),
        ("running", "state = 'available'"),
        ("dead", "state = 'available'"),
        ("waiting", "state = 'available'"),
        ("available", "attempt = -1"),
        ("available", "progress = 101"),
        ("available", "priority = 10"),
    ] {
        let job = job_in(&db, from).await;
        let change = sqlx::AssertSqlSafe(format!("update jobs set {change} where id = '{job}'"));
        assert!(sqlx::query(change).execute(db.pool()).await.is_err(), "{from}");
    }
}

#[tokio::test]
async fn every_attempt_keeps_its_worker_its_times_and_the_class_of_its_error() {
    let db = TestDb::new().await;
    let job = accept(&db, &Work { act: Act::Panic, ..Work::default() }).await;
    let reference = dispatch(&db, job).await;
    runner(&db, &Tally::new(&db), Duration::from_secs(30)).run(reference).await;
    let (class, error, took): (String, String, bool) = sqlx::query_as(
        "select error_class, error, ended_at >= started_at from job_attempts where job_id = $1 and worker like 'test-%'",
    )
    .bind(job.0)
    .fetch_one(db.pool())
    .await
    .expect("one attempt");
    assert_eq!((class.as_str(), took), ("panic", true));
    assert!(error.contains("it was asked to panic"), "{error}");
}

async fn cancel(db: &TestDb, job: JobId) -> String {
    sqlx::query_scalar("select new_state from jobs_cancel(array[$1::uuid])")
        .bind(job.0)
        .fetch_one(db.pool())
        .await
        .expect("it is changed")
}

#[tokio::test]
async fn what_nobody_runs_is_cancelled_at_once_and_cancelling_twice_is_the_same_as_once() {
    let db = TestDb::new().await;
    for state in ["scheduled", "available", "dispatched", "retryable"] {
        let job = job_in(&db, state).await;
        assert_eq!(cancel(&db, job).await, "cancelled", "{state}");
        let again: Vec<String> = sqlx::query_scalar("select new_state from jobs_cancel(array[$1::uuid])")
            .bind(job.0)
            .fetch_all(db.pool())
            .await
            .expect("asked");
        assert!(again.is_empty(), "{state}");
    }
    let tenant = db.tenant("acme").await;
    let mut tx = db.app.begin(tenant).await.expect("a transaction");
    let shared = accept(&db, &Work::default()).await;
    assert!(
        operate::cancel(&mut tx, &[shared]).await.expect("asked").is_empty(),
        "what all share is not a tenant's"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_cancelled_within_a_moment() {
    let mut engine = Engine::idle().await;
    engine.start_relay().await;
    engine.start_worker(2).await;
    let job = accept(&engine.db, &Work { act: Act::SleepMillis(60_000), ..Work::default() }).await;
    eventually("its start", Duration::from_secs(10), || async {
        (row(&engine.db, job).await.state == "running").then_some(())
    })
    .await;
    assert_eq!(cancel(&engine.db, job).await, "running");
    let ended = eventually("its end", Duration::from_secs(10), || async {
        let state = row(&engine.db, job).await.state;
        (state != "running").then_some(state)
    })
    .await;
    assert_eq!(ended, "cancelled");
    assert_eq!(outcomes(&engine.db, job).await, ["cancelled"]);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_cancellations_against_a_hundred_completions_leave_every_job_at_an_end() {
    let db = TestDb::new().await;
    let tally = Tally::new(&db);
    let runner = runner(&db, &tally, Duration::from_secs(30));
    let mut jobs = Vec::new();
    for _ in 0..100 {
        jobs.push(accept(&db, &Work { act: Act::SleepMillis(2), ..Work::default() }).await);
    }
    let races = jobs.iter().map(|job| async {
        let reference = dispatch(&db, *job).await;
        let cancelled = sqlx::query("select jobs_cancel(array[$1::uuid])").bind(job.0);
        let (_, cancelled) = tokio::join!(runner.run(reference), cancelled.execute(db.pool()));
        cancelled.expect("asked");
    });
    futures::future::join_all(races).await;
    let completions = tally.completions();
    for job in jobs {
        let state = row(&db, job).await.state;
        assert!(["completed", "cancelled"].contains(&state.as_str()), "{state}");
        assert_eq!(
            state == "completed",
            completions.contains_key(&job),
            "its result is there exactly if it is completed"
        );
    }
}

/// Whoever is on call finds every word that a job can end with, and what to do about it.
#[test]
fn the_handbook_has_every_state_reason_and_class() {
    let handbook = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OPERATIONS.md"))
        .expect("it is there");
    let reasons = ["exhausted", "poison", "invalid_payload", "timeout", "discarded", "dependency"];
    let classes = queue::error::Class::ALL.map(queue::error::Class::as_str);
    for word in STATES.into_iter().chain(reasons).chain(classes) {
        assert!(
            handbook.contains(&format!("| `{word}` |")),
            "{word} is not in the tables of docs/OPERATIONS.md"
        );
    }
}
