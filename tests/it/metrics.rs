//! What Prometheus is shown: names that the handbook explains, labels that cannot grow without bound.

use std::collections::BTreeSet;

use harness::{Program, eventually};
use runtime::{
    egress::{Client, Method, Policy, Request},
    metrics,
};
use serde_json::{Value, json};

use crate::programs::{Programs, SOON};

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
    let programs = Programs::start(&[]).await;
    let (status, accepted) =
        programs.send(Method::POST, "/api/system/force-correlate", &[], &json!({})).await;
    assert_eq!(status, 202, "{accepted}");
    programs.until_completed(&accepted["job_id"]).await;
    let path = format!("/api/jobs/{}", accepted["job_id"].as_str().expect("an id"));
    assert_eq!(programs.send(Method::GET, &path, &[], &Value::Null).await.0, 200);

    let text = shown(&programs.api).await;
    assert_eq!(value(&text, r#"plimsoll_jobs_enqueued_total{queue="analysis",kind="correlate"}"#), Some(1.0));
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

#[test]
fn the_handbook_explains_every_metric_and_no_other() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OPERATIONS.md");
    let handbook = std::fs::read_to_string(path).expect("the handbook is there");
    let explained: BTreeSet<String> = handbook
        .lines()
        .filter_map(|line| line.strip_prefix("| `plimsoll_"))
        .filter_map(|rest| rest.split(['`', '{']).next())
        .map(|name| format!("plimsoll_{name}"))
        .collect();
    let counted: BTreeSet<String> = metrics::names().into_iter().collect();
    assert_eq!(
        explained, counted,
        "the tables of metrics in docs/OPERATIONS.md must follow runtime::metrics"
    );
}

#[test]
fn every_alarm_is_explained_and_asks_only_for_what_is_counted() {
    let read = |path: &str| {
        std::fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).expect("it is there")
    };
    let (rules, handbook) = (read("deploy/prometheus/rules.yml"), read("docs/OPERATIONS.md"));
    let alarms: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alarms.len() > 5);
    for alarm in alarms {
        assert!(handbook.contains(&format!("| `{alarm}` |")), "docs/OPERATIONS.md does not explain {alarm}");
    }
    let known = metrics::names();
    for file in ["deploy/prometheus/rules.yml", "deploy/grafana/plimsoll.json"] {
        let text = read(file);
        let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        for name in words.filter(|word| word.starts_with("plimsoll_")) {
            let suffixes = ["_bucket", "_count", "_sum"];
            let base = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
            assert!(known.iter().any(|known| known == base), "{file} asks for {name}, which is not counted");
        }
    }
}
