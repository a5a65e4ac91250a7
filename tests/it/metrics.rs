//! What Prometheus is shown: names that the handbook explains, labels that cannot grow without bound.

use std::{collections::BTreeSet, time::Duration};

use domain::id::JobId;
use harness::{Program, TestDb, eventually};
use queue::{
    After, Attempt, Done, Handler, Job, JobError, OnFailure, Queue, Registry, RetryPolicy, claim,
    enqueue::{Origin, enqueue, enqueue_after, enqueue_many},
    jobs::{Correlate, PurgeExpired, VerifyArtifacts},
    rescue,
    runner::Runner,
};
use runtime::{
    egress::{Client, Method, Policy, Request},
    metrics,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::SystemDb;
use tokio_util::sync::CancellationToken;

use crate::{
    programs::{Programs, SOON},
    work::dispatch,
};

async fn shown(program: &Program) -> String {
    let client = Client::new(Policy::administrator()).expect("a client");
    let answer =
        client.send(Request::get(format!("http://{}/metrics", program.admin))).await.expect("an answer");
    let content_type = answer.headers.get("content-type").and_then(|value| value.to_str().ok());
    assert_eq!(content_type, Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    String::from_utf8(answer.bytes().await.expect("the body arrives").to_vec()).expect("utf-8")
}

/// The value of the series that begins like this.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(series))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_jobs_and_queues_are_counted_where_they_happen() {
    // Nothing comes by itself there, as at night it would, and be counted too.
    let programs = Programs::start_for_deeds(&[]).await;
    let (status, accepted) =
        programs.send(Method::POST, "/api/system/force-correlate", &[], &json!({})).await;
    assert_eq!(status, 202, "{accepted}");
    programs.until_completed(&accepted["job_id"]).await;
    let path = format!("/api/jobs/{}", accepted["job_id"].as_str().expect("an id"));
    assert_eq!(programs.send(Method::GET, &path, &[], &Value::Null).await.0, 200);

    let enqueued = r#"plimsoll_jobs_enqueued_total{queue="analysis",kind="correlate"}"#;
    eventually("the committed job to be counted", SOON, || async {
        (value(&shown(&programs.api).await, enqueued) == Some(1.0)).then_some(())
    })
    .await;
    let text = shown(&programs.api).await;
    let by_template = r#"plimsoll_http_requests_total{route="/api/jobs/{job_id}",method="GET",code="200"}"#;
    assert_eq!(value(&text, by_template), Some(1.0), "{text}");
    assert!(text.ends_with("# EOF\n"));
    let text = shown(&programs.worker).await;
    let finished = r#"plimsoll_jobs_finished_total{queue="analysis",kind="correlate",outcome="completed"}"#;
    assert_eq!(value(&text, finished), Some(1.0), "{text}");
    assert_eq!(value(&text, r#"plimsoll_job_queue_duration_seconds_count{queue="analysis"}"#), Some(1.0));
    assert!(value(&text, r#"plimsoll_worker_slots{queue="analysis",state="total"}"#).is_some());
    let latency = r#"plimsoll_queue_latency_seconds{queue="analysis"}"#;
    eventually("the figures of the scheduler", SOON, || async {
        let text = shown(&programs.scheduler).await;
        value(&text, latency).filter(|_| value(&text, "plimsoll_workers{}") == Some(1.0))
    })
    .await;
    let text = shown(&programs.scheduler).await;
    assert!(value(&text, "plimsoll_relay_dispatched_total{queue=\"analysis\"}") >= Some(1.0), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_tells_which_duties_it_gets_done_and_how_long_the_audit_trail_is() {
    let programs = Programs::start(&[]).await;
    let first = eventually("the length of the audit trail", SOON, || async {
        value(&shown(&programs.scheduler).await, "plimsoll_audit_head_seq{}").filter(|length| *length >= 1.0)
    })
    .await;
    for duty in ["relay", "rescue", "schedules", "audit"] {
        let series = format!(r#"plimsoll_scheduler_rounds_total{{duty="{duty}"}}"#);
        let rounds = async || value(&shown(&programs.scheduler).await, &series).unwrap_or_default();
        let before = rounds().await;
        eventually(&format!("another round of {duty}"), SOON, || async {
            (rounds().await > before).then_some(())
        })
        .await;
    }
    let hook = json!({ "url": "http://127.0.0.1:1/hook", "events": [] });
    assert_eq!(programs.send(Method::POST, "/api/webhooks", &[], &hook).await.0, 201);
    eventually("a longer audit trail", SOON, || async {
        value(&shown(&programs.scheduler).await, "plimsoll_audit_head_seq{}").filter(|length| *length > first)
    })
    .await;
}

#[tokio::test]
async fn jobs_that_wait_for_others_are_counted_apart_from_those_that_are_due() {
    let db = TestDb::new().await;
    let mut tx = db.system.begin().await.expect("a transaction");
    let first = enqueue(&mut tx, Origin::INSTALLATION, &PurgeExpired {}).await.expect("accepted").id;
    let after = After { jobs: &[first], on_failure: OnFailure::Run, at_most: None };
    enqueue_after(&mut tx, Origin::INSTALLATION, &VerifyArtifacts {}, after).await.expect("accepted");
    tx.commit().await.expect("committed");
    let standings = store::figures::queues(db.pool()).await.expect("counted");
    let mut counted: Vec<_> = standings
        .iter()
        .map(|standing| (standing.queue.as_str(), standing.state.as_str(), standing.jobs))
        .collect();
    counted.sort_unstable();
    assert_eq!(counted, [("maintenance", "available", 1), ("maintenance", "waiting", 1)]);
}

/// A kind that only this file makes. Its handler has itself cancelled, and fails.
#[derive(Debug, Serialize, Deserialize)]
struct Counted {
    fails: bool,
}

impl Job for Counted {
    const KIND: &'static str = "test_counted";
    const QUEUE: Queue = Queue::Maintenance;
    const RETRY: RetryPolicy = RetryPolicy::exponential(3, Duration::from_secs(1), Duration::from_secs(1));
    const TIMEOUT: Duration = Duration::from_secs(60);
}

impl Handler<SystemDb> for Counted {
    async fn run(self, db: &SystemDb, attempt: &Attempt) -> Result<Done, JobError> {
        if self.fails {
            sqlx::query("update jobs set cancel_requested = true where id = $1")
                .bind(attempt.job.0)
                .execute(db.pool())
                .await?;
            return Err(JobError::Retry(anyhow::anyhow!("it fails, and nobody wants it any more")));
        }
        // The lease runs out meanwhile, though it is being renewed, and somebody else has the job.
        while rescue::once(db.pool()).await?.returned == 0 {
            sqlx::query("update jobs set leased_until = now() - interval '1 second' where id = $1")
                .bind(attempt.job.0)
                .execute(db.pool())
                .await?;
        }
        Err(JobError::discard("there is no point"))
    }
}

/// What this process has counted in the series that begins like this.
fn counted(series: &str) -> f64 {
    value(&metrics::exposition(), series).unwrap_or_default()
}

/// Another kind that only this file makes, and nobody does.
#[derive(Debug, Serialize, Deserialize)]
struct Accepted {}

impl Job for Accepted {
    const KIND: &'static str = "test_accepted";
    const QUEUE: Queue = Queue::Maintenance;
    const RETRY: RetryPolicy = RetryPolicy::exponential(3, Duration::from_secs(1), Duration::from_secs(1));
    const TIMEOUT: Duration = Duration::from_secs(60);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_undone_is_not_counted_as_enqueued() {
    let db = TestDb::new().await;
    let series = r#"plimsoll_jobs_enqueued_total{queue="maintenance",kind="test_accepted"}"#;
    let accept = async {
        let mut open = db.system.begin().await.expect("a transaction");
        enqueue(&mut open, Origin::INSTALLATION, &Accepted {}).await.expect("accepted");
        let mut undone = db.system.begin().await.expect("a transaction");
        enqueue_many(&mut undone, Origin::INSTALLATION, &[Accepted {}, Accepted {}]).await.expect("accepted");
        undone.rollback().await.expect("undone");
        let mut tx = db.system.begin().await.expect("a transaction");
        enqueue_many(&mut tx, Origin::INSTALLATION, &[(); 5].map(|()| Accepted {})).await.expect("accepted");
        for end in ["rollback to savepoint part", "release savepoint part"] {
            sqlx::query("savepoint part").execute(&mut *tx).await.expect("begun");
            enqueue(&mut tx, Origin::INSTALLATION, &Accepted {}).await.expect("accepted");
            sqlx::query(end).execute(&mut *tx).await.expect("ended");
        }
        tx.commit().await.expect("committed");
        let rises_to = async |jobs: f64| {
            eventually("what was committed", SOON, || async { (counted(series) >= jobs).then_some(()) })
                .await;
            assert_eq!(counted(series), jobs);
        };
        rises_to(6.0).await;
        open.commit().await.expect("committed");
        rises_to(7.0).await;
    };
    tokio::select! {
        never = queue::measure::count_written(db.pool()) => match never {},
        () = accept => {}
    }
}

/// Has a job begun by a worker that then vanishes.
async fn crash(db: &TestDb, job: JobId) {
    let reference = dispatch(db, job).await;
    claim::take(db.pool(), reference, "doomed", Duration::ZERO).await.expect("answered").expect("it is ours");
    rescue::once(db.pool()).await.expect("a look");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_end_without_a_worker_are_counted_once() {
    let db = TestDb::new().await;
    let of = |metric: &str, kind: &str, word: &str| {
        counted(&format!(r#"plimsoll_{metric}_total{{queue="maintenance",kind="{kind}",{word}}}"#))
    };
    let look = || {
        [
            of("jobs_finished", "verify_artifacts", r#"outcome="cancelled""#),
            of("jobs_finished", "purge_expired", r#"outcome="dead""#),
            of("jobs_dead", "purge_expired", r#"reason="dependency""#),
            of("jobs_dead", "purge_expired", r#"reason="poison""#),
        ]
    };
    let before = look();
    let mut tx = db.system.begin().await.expect("a transaction");
    let cancelled = enqueue(&mut tx, Origin::INSTALLATION, &VerifyArtifacts {}).await.expect("accepted").id;
    let after = After { jobs: &[cancelled], on_failure: OnFailure::Fail, at_most: None };
    enqueue_after(&mut tx, Origin::INSTALLATION, &PurgeExpired {}, after).await.expect("accepted");
    tx.commit().await.expect("committed");
    sqlx::query("select jobs_cancel(array[$1::uuid])")
        .bind(cancelled.0)
        .execute(db.pool())
        .await
        .expect("cancelled, and with it what waited for it");
    let mut tx = db.system.begin().await.expect("a transaction");
    let poison = enqueue(&mut tx, Origin::INSTALLATION, &PurgeExpired {}).await.expect("accepted").id;
    tx.commit().await.expect("committed");
    for _ in 0..rescue::CRASHES_UNTIL_POISON {
        crash(&db, poison).await;
    }
    for _ in 0..2 {
        queue::measure::count_ends(db.pool()).await.expect("counted");
    }
    let after = look();
    let risen: Vec<f64> = before.iter().zip(after).map(|(before, after)| after - before).collect();
    assert_eq!(risen, [1.0, 2.0, 1.0, 1.0], "cancelled, dead, for a dependency, as poison");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_is_counted_as_what_came_of_it() {
    let db = TestDb::new().await;
    let mut registry = Registry::default();
    registry.add::<Counted>();
    let lease = Duration::from_secs(60);
    let (pool, stop) = (db.pool().clone(), CancellationToken::new());
    let runner = Runner::new(registry, db.system.clone(), pool, "counting".into(), lease, stop);
    let look = || {
        ["cancelled", "retry", "dead", "superseded"].map(|outcome| {
            let of = format!(r#"{{queue="maintenance",kind="test_counted",outcome="{outcome}"}}"#);
            counted(&format!("plimsoll_jobs_finished_total{of}"))
        })
    };
    for (fails, expected) in [(true, [1.0, 0.0, 0.0, 0.0]), (false, [0.0, 0.0, 0.0, 1.0])] {
        let before = look();
        let mut tx = db.system.begin().await.expect("a transaction");
        let job = enqueue(&mut tx, Origin::INSTALLATION, &Counted { fails }).await.expect("accepted").id;
        tx.commit().await.expect("committed");
        let reference = dispatch(&db, job).await;
        assert!(runner.run(reference).await);
        let risen: Vec<f64> = before.iter().zip(look()).map(|(before, after)| after - before).collect();
        assert_eq!(risen, expected, "cancelled, retry, dead, superseded");
    }
}

/// The samples that are shown, each without its value.
fn series(text: &str) -> BTreeSet<String> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series.to_owned()).collect()
}

/// The metrics that are shown, by the names that Prometheus knows them by.
fn names(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .filter_map(|line| line.split_once(' '))
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .collect()
}

/// The metrics that the handbook explains.
fn explained(handbook: &str) -> BTreeSet<String> {
    let rows = handbook.lines().filter_map(|line| line.strip_prefix("| `plimsoll_"));
    let ours = rows.filter_map(|rest| rest.split(['`', '{']).next()).map(|name| format!("plimsoll_{name}"));
    let of_processes = handbook.split('`').filter(|word| word.starts_with("process_")).map(str::to_owned);
    ours.chain(of_processes).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).expect("it is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_process_shows_what_the_handbook_explains_and_nothing_else() {
    let programs = Programs::start(&[]).await;
    let explained = explained(&read("docs/OPERATIONS.md"));
    assert!(explained.len() > 30, "{explained:?}");
    for program in [&programs.api, &programs.worker, &programs.scheduler] {
        let shown = names(&shown(program).await);
        let (missing, unexplained) = (explained.difference(&shown), shown.difference(&explained));
        assert_eq!(
            (missing.collect::<Vec<_>>(), unexplained.collect::<Vec<_>>()),
            (Vec::new(), Vec::new()),
            "not shown, and not in docs/OPERATIONS.md"
        );
    }
}

/// What an alarm counts is there from the beginning: a series that appears as 1 has never risen.
#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_that_waits_for_the_first_time_hears_it() {
    let programs = Programs::start(&[]).await;
    let rules = read("deploy/prometheus/rules.yml");
    let mut awaited = Vec::new();
    for counted in rules.split("increase(").skip(1) {
        let (selector, _) = counted.split_once('[').expect("a stretch of time");
        let (name, matchers) = selector.split_once('{').unwrap_or((selector, "}"));
        let matchers = matchers.trim_end_matches('}').split(',').filter(|matcher| !matcher.is_empty());
        let words: Vec<Vec<String>> = matchers
            .filter(|matcher| !matcher.contains("!="))
            .map(|matcher| {
                let (label, values) = matcher.split_once('=').expect("a label and a value");
                let values = values.trim_start_matches('~').trim_matches('"').split('|');
                values.map(|value| format!("{label}=\"{value}\"")).collect()
            })
            .collect();
        awaited.push((name.to_owned(), words));
    }
    assert!(awaited.len() > 5, "{awaited:?}");
    for (name, words) in awaited {
        eventually(&format!("{name} as 0"), SOON, || async {
            let mut all = BTreeSet::new();
            for program in [&programs.api, &programs.worker, &programs.scheduler] {
                all.extend(series(&shown(program).await));
            }
            let of_name: Vec<_> =
                all.into_iter().filter(|series| series.starts_with(&format!("{name}{{"))).collect();
            let has = |word: &String| of_name.iter().any(|series| series.contains(word.as_str()));
            (!of_name.is_empty() && words.iter().flatten().all(has)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_organizations_make_no_more_series_than_one() {
    let programs = Programs::start(&[]).await;
    let mut seen = BTreeSet::new();
    for (round, organizations) in [(0, 1), (1, 100)] {
        let mut jobs = Vec::new();
        let mut tx = programs.db.system.begin().await.expect("a transaction");
        for number in 0..organizations {
            let tenant = programs.db.tenant(&format!("series-{round}-{number}")).await;
            let job = Correlate { tenant_id: tenant, asset_id: None };
            jobs.push(enqueue(&mut tx, Origin::tenant(tenant), &job).await.expect("accepted").id);
        }
        tx.commit().await.expect("committed");
        for job in &jobs {
            programs.until_completed(&json!(job)).await;
            for path in [format!("/api/jobs/{job}"), format!("/api/nothing/{job}")] {
                let (status, _) = programs.send(Method::GET, &path, &[], &Value::Null).await;
                assert!([200, 404].contains(&status), "{path}: {status}");
            }
        }
        let invented = Method::from_bytes(format!("INVENT{round}").as_bytes()).expect("a method");
        programs.send(invented, "/api/jobs", &[], &Value::Null).await;

        let mut all = BTreeSet::new();
        for program in [&programs.api, &programs.worker, &programs.scheduler] {
            all.extend(series(&shown(program).await));
        }
        assert!(all.len() < 2000, "{} series", all.len());
        for series in &all {
            let words = series.split('"').skip(1).step_by(2);
            for word in words {
                assert!(uuid::Uuid::try_parse(word).is_err(), "an id is a label: {series}");
                assert!(!word.contains("series-") && !word.contains("admin"), "a name is a label: {series}");
                assert!(!word.contains("INVENT"), "what anybody may invent is a label: {series}");
            }
        }
        if round == 1 {
            let new: Vec<_> = all.difference(&seen).collect();
            assert!(new.len() < 50, "{new:?}");
        }
        seen = all;
    }
}

#[test]
fn labels_are_words_of_ours() {
    let known: BTreeSet<&str> = [
        "cause", "class", "code", "duty", "format", "kind", "method", "outcome", "pool", "queue", "reason",
        "result", "route", "source", "state", "version",
    ]
    .into();
    assert_eq!(metrics::label_names(), known, "a new label: of what can there be how many?");
}

#[test]
fn every_alarm_is_explained_and_asks_only_for_what_is_counted() {
    let (rules, handbook) = (read("deploy/prometheus/rules.yml"), read("docs/OPERATIONS.md"));
    let alarms: BTreeSet<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let explained: BTreeSet<&str> = handbook
        .lines()
        .filter_map(|line| line.strip_prefix("| `Plimsoll").and(line.split('`').nth(1)))
        .collect();
    assert!(alarms.len() > 5);
    assert_eq!(
        explained, alarms,
        "the table of alarms in docs/OPERATIONS.md must follow deploy/prometheus/rules.yml"
    );
    let known: BTreeSet<String> = metrics::names().into_iter().collect();
    let labels = metrics::label_names();
    for file in
        ["deploy/prometheus/rules.yml", "deploy/prometheus/rules_test.yml", "deploy/grafana/plimsoll.json"]
    {
        let text = read(file);
        let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        for name in words.filter(|word| word.starts_with("plimsoll_")) {
            let suffixes = ["_bucket", "_count", "_sum"];
            let base = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
            assert!(known.contains(base), "{file} asks for {name}, which is not counted");
        }
        for grouped in text.split(" by (").skip(1).filter_map(|rest| rest.split(')').next()) {
            for label in grouped.split(',').map(str::trim).filter(|label| *label != "le") {
                assert!(labels.contains(label), "{file} groups by {label}, which is no label");
            }
        }
    }
}
