//! The main job, from a feed and a host to a file, a mail and a webhook.

use std::{
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use harness::{Answer, TestApp};
use serde_json::{Value, json};
use url::Url;

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/snapshot");

fn host() -> Value {
    serde_json::from_str(include_str!("../fixtures/host.json")).expect("the fixture is JSON")
}

/// An application that has crawled the snapshot and knows the fixture's host.
async fn app_with_a_host() -> TestApp {
    let app = TestApp::set_up().await;
    crawl_snapshot(&app).await;
    app.post("/api/inventory/reports", &host()).await.expect(202);
    app.run_jobs().await;
    app
}

async fn crawl_snapshot(app: &TestApp) {
    let folder = std::path::Path::new(SNAPSHOT).canonicalize().expect("the snapshot is there");
    let folder = Url::from_directory_path(folder).expect("an absolute path");
    let mut tx = app.db.system.begin().await.expect("a transaction");
    store::sources::use_snapshot(&mut tx, &folder).await.expect("the sources are set");
    tx.commit().await.expect("committed");
    let listed = app.get("/api/config/vuln-sources?enabled=true").await.expect(200).json();
    for source in listed["data"].as_array().expect("sources") {
        let slug = source["slug"].as_str().expect("a slug");
        let accepted = app.post(&format!("/api/scan-runs/trigger/{slug}"), &json!({})).await.expect(202);
        assert!(accepted.header("location").is_some_and(|location| location.starts_with("/api/jobs/")));
    }
    app.run_jobs().await;
    let runs = app.get("/api/scan-runs/?run_type=source_crawl").await.expect(200).json();
    for run in runs["data"].as_array().expect("runs") {
        assert_eq!(run["status"], "success", "{run}");
    }
    assert_eq!(runs["total"], 5);
}

fn vulnerabilities(answer: &Answer) -> Vec<String> {
    let page = answer.json();
    let rows = page["data"].as_array().expect("a page");
    rows.iter().map(|row| row["cve_id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_judged_by_the_source_packages_it_runs() {
    let app = app_with_a_host().await;
    let findings = app.get("/api/vuln-matches/?page_size=500").await.expect(200);
    let page = findings.json();
    let rows = page["data"].as_array().expect("a page");
    let packages: std::collections::BTreeSet<_> =
        rows.iter().map(|row| row["package_name"].as_str().expect("a name")).collect();
    assert!(packages.contains("openssl") && packages.contains("expat"), "{packages:?}");
    assert!(!packages.contains("libssl3"), "a finding names the package that the advisory judges");
    assert!(!packages.contains("hello"), "nothing is known against it");
    for row in rows {
        let (installed, fixed) = (&row["installed_version"], &row["fixed_version"]);
        if let (Some(installed), Some(fixed)) = (installed.as_str(), fixed.as_str()) {
            let older = Command::new("dpkg").args(["--compare-versions", installed, "lt", fixed]).status();
            assert!(
                older.is_ok_and(|status| status.success()),
                "{installed} is not older than {fixed}: {row}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_finding_tells_why_it_is_one() {
    let app = app_with_a_host().await;
    let first = app.get("/api/vuln-matches/?page_size=1").await.expect(200).json()["data"][0].clone();
    let id = first["id"].as_str().expect("an id");
    let detail = app.get(&format!("/api/vuln-matches/{id}")).await.expect(200).json();
    assert!(detail["evidence"]["rule"].as_str().is_some_and(|rule| !rule.is_empty()), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn comparing_again_with_nothing_new_writes_nothing() {
    let app = app_with_a_host().await;
    let versions = || async {
        let rows: Vec<String> = sqlx::query_scalar("select xmin::text || id::text from findings order by id")
            .fetch_all(app.db.pool())
            .await
            .expect("read");
        rows
    };
    let before = versions().await;
    assert!(!before.is_empty());
    app.post("/api/system/force-correlate", &json!({})).await.expect(202);
    app.run_jobs().await;
    assert_eq!(versions().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_resolves_and_a_downgrade_reopens() {
    let app = app_with_a_host().await;
    let open = async || app.get("/api/vuln-matches/?status=open&page_size=500").await.expect(200);
    let before = vulnerabilities(&open().await);
    let mut upgraded = host();
    for package in upgraded["packages"].as_array_mut().expect("packages") {
        if package["name"] == "libexpat1" {
            package["version"] = json!("2.99.0-1");
        }
    }
    app.post("/api/inventory/reports", &upgraded).await.expect(202);
    app.run_jobs().await;
    let resolved = app.get("/api/vuln-matches/?status=resolved&page_size=500").await.expect(200);
    assert!(!vulnerabilities(&resolved).is_empty());
    assert!(
        resolved.json()["data"].as_array().expect("rows").iter().all(|row| row["package_name"] == "expat")
    );

    app.post("/api/inventory/reports", &host()).await.expect(202);
    app.run_jobs().await;
    assert_eq!(vulnerabilities(&open().await), before);
    let reopened: i64 = sqlx::query_scalar("select count(*) from finding_events where event = 'reopened'")
        .fetch_one(app.db.pool())
        .await
        .expect("counted");
    assert!(reopened > 0, "the history says that they came back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_rendered_downloaded_and_mailed() {
    let app = app_with_a_host().await;
    let accepted = app
        .post(
            "/api/reports/generate",
            &json!({
                "title": "Where we stand",
                "report_type": "executive_summary",
                "format": "pdf",
                "recipients": ["board@example.com", "auditor@example.org"],
            }),
        )
        .await
        .expect(202);
    let (job, report) = (accepted.json()["job_id"].clone(), accepted.json()["id"].clone());
    assert_eq!(
        accepted.header("location"),
        Some(format!("/api/jobs/{}", job.as_str().expect("an id")).as_str())
    );
    app.run_jobs().await;
    let job = app.job(&job).await;
    assert_eq!(job["state"], "completed", "{job}");

    let report = report.as_str().expect("an id");
    assert_eq!(app.get(&format!("/api/reports/{report}")).await.expect(200).json()["status"], "completed");
    let file = app.get(&format!("/api/reports/{report}/download")).await.expect(200);
    assert_eq!(file.header("content-type"), Some("application/pdf"));
    assert!(file.header("content-disposition").expect("a name").contains("executive-summary-"));
    let text = pdf_text(&file.bytes);
    for wanted in ["Where we stand", "Acme Corp", "openssl", "CISA"] {
        assert!(text.contains(wanted), "the PDF does not say `{wanted}`:\n{text}");
    }

    let mails: Vec<_> = std::fs::read_dir(app.folder.path().join("outbox"))
        .expect("an outbox")
        .map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("a mail"))
        .collect();
    assert_eq!(mails.len(), 2, "one for each recipient");
    assert!(mails.iter().all(|mail| mail.contains("application/pdf")));
    assert!(mails.iter().any(|mail| mail.contains("board@example.com")));
    let (status, outcomes): (String, Value) = sqlx::query_as("select status, outcomes from mails")
        .fetch_one(app.db.pool())
        .await
        .expect("one mail");
    assert_eq!(status, "sent");
    assert_eq!(outcomes["auditor@example.org"]["state"], "delivered");
}

fn pdf_text(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("written");
    let text =
        Command::new("pdftotext").args(["-layout", file.path().to_str().expect("utf-8"), "-"]).output();
    String::from_utf8_lossy(&text.expect("pdftotext is installed by scripts/setup").stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_report_comes_as_json_and_csv() {
    let app = app_with_a_host().await;
    for (format, media_type) in [("json", "application/json"), ("csv", "text/csv")] {
        let request = json!({ "title": "All of it", "report_type": "technical", "format": format });
        let accepted = app.post("/api/reports/generate", &request).await.expect(202).json();
        app.run_jobs().await;
        let id = accepted["id"].as_str().expect("an id").to_owned();
        let file = app.get(&format!("/api/reports/{id}/download")).await.expect(200);
        assert!(file.header("content-type").is_some_and(|found| found.starts_with(media_type)));
        let text = String::from_utf8(file.bytes).expect("text");
        assert!(text.contains("openssl"), "{text}");
    }
}

type Calls = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// A receiver that refuses the first `failing` calls.
async fn receiver(failing: usize) -> (String, Calls) {
    async fn take(
        State((calls, failing)): State<(Calls, usize)>,
        headers: HeaderMap,
        body: Bytes,
    ) -> axum::http::StatusCode {
        let mut calls = calls.lock().expect("no test panics here");
        calls.push((headers, body));
        if calls.len() <= failing {
            axum::http::StatusCode::BAD_GATEWAY
        } else {
            axum::http::StatusCode::NO_CONTENT
        }
    }
    let calls = Calls::default();
    let router = Router::new().route("/hook", post(take)).with_state((calls.clone(), failing));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}/hook"), calls)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_webhook_is_retried_with_the_same_id_and_its_signature_verifies() {
    let app = app_with_a_host().await;
    let (url, calls) = receiver(1).await;
    let hook =
        app.post("/api/webhooks", &json!({ "url": url, "events": ["report.generated"] })).await.expect(201);
    let secret: delivery::webhook::WebhookSecret =
        hook.json()["secret"].as_str().expect("shown once").parse().expect("a secret");
    let request = json!({ "title": "T", "report_type": "executive_summary", "format": "json" });
    app.post("/api/reports/generate", &request).await.expect(202);
    app.run_jobs().await;
    sqlx::query("update jobs set run_at = now() where state = 'retryable'")
        .execute(app.db.pool())
        .await
        .expect("time passes");
    app.run_jobs().await;

    let calls = calls.lock().expect("no test panics here");
    assert_eq!(calls.len(), 2);
    let text = |headers: &HeaderMap, name: &str| headers[name].to_str().expect("text").to_owned();
    assert_eq!(text(&calls[0].0, "webhook-id"), text(&calls[1].0, "webhook-id"));
    for (headers, body) in calls.iter() {
        let seconds: i64 = text(headers, "webhook-timestamp").parse().expect("seconds");
        let at = chrono::DateTime::from_timestamp(seconds, 0).expect("a time");
        let expected = delivery::webhook::sign(&secret, &text(headers, "webhook-id"), at, body);
        assert_eq!(text(headers, "webhook-signature"), expected);
        let event: Value = serde_json::from_slice(body).expect("JSON");
        assert_eq!(event["event"], "report.generated");
        assert!(event["data"]["download_url"].as_str().expect("a link").contains("/download"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_feed_writes_no_rows() {
    let app = TestApp::set_up().await;
    crawl_snapshot(&app).await;
    app.post("/api/scan-runs/trigger/cisa-kev", &json!({})).await.expect(202);
    app.run_jobs().await;
    let newest =
        app.get("/api/scan-runs/?sort=started_at&sort_dir=desc&page_size=1").await.expect(200).json();
    assert_eq!(newest["data"][0]["status"], "unchanged", "{newest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_file_that_changed_is_never_served_and_is_found_by_the_daily_check() {
    let app = TestApp::set_up().await;
    let request = json!({ "title": "T", "report_type": "asset_inventory", "format": "md" });
    let accepted = app.post("/api/reports/generate", &request).await.expect(202).json();
    app.run_jobs().await;
    let path = format!("/api/reports/{}/download", accepted["id"].as_str().expect("an id"));
    app.get(&path).await.expect(200);
    let key: String = sqlx::query_scalar("select storage_key from artifacts")
        .fetch_one(app.db.pool())
        .await
        .expect("one file");
    std::fs::write(app.config.artifact_dir.join(key), "altered").expect("it is altered");
    app.get(&path).await.expect(500);

    let mut tx = app.db.system.begin().await.expect("a transaction");
    let check = queue::jobs::VerifyArtifacts {};
    queue::enqueue(&mut tx, queue::enqueue::Origin::INSTALLATION, &check).await.expect("accepted");
    tx.commit().await.expect("committed");
    app.run_jobs().await;
    let damaged: bool = sqlx::query_scalar("select damaged_at is not null from artifacts")
        .fetch_one(app.db.pool())
        .await
        .expect("one file");
    assert!(damaged);
}
