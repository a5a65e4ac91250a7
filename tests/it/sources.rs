//! Where sources of vulnerability data may lie.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, extract::State, routing::get};
use harness::TestApp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

const CATALOGUE: &str = r#"{"title":"t","catalogVersion":"2026.11.20","dateReleased":"2026-11-20T00:00:00.0000Z","count":1,
 "vulnerabilities":[{"cveID":"CVE-2026-0001","vendorProject":"Example","product":"Mirror","vulnerabilityName":"n",
 "dateAdded":"2026-11-19","shortDescription":"d","requiredAction":"a","dueDate":"2026-12-10",
 "knownRansomwareCampaignUse":"Unknown","notes":"","cwes":[]}]}"#;

/// A mirror at an address of this machine: where it is, and how often it was asked.
async fn mirror(address: &str) -> (String, Arc<AtomicUsize>) {
    let visits = Arc::new(AtomicUsize::new(0));
    let serve = get(async |State(visits): State<Arc<AtomicUsize>>| {
        visits.fetch_add(1, Ordering::SeqCst);
        ([("content-type", "application/json")], CATALOGUE)
    });
    let router = Router::new().fallback_service(serve.with_state(visits.clone()));
    let listener = TcpListener::bind((address, 0)).await.expect("a port");
    let url = format!("http://{}/kev.json", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, visits)
}

/// A source at `url`: how its test and its crawl went.
async fn tested_and_crawled(app: &TestApp, slug: &str, url: &str) -> (Value, Value) {
    let id: Uuid = sqlx::query_scalar(
        "insert into sources (id, slug, name, category, feed, url, crawl_interval_minutes)
         values (gen_random_uuid(), $1, $1, 'exploit', 'cisa-kev', $2, 60) returning id",
    )
    .bind(slug)
    .bind(url)
    .fetch_one(app.db.pool())
    .await
    .expect("a source");
    let path = format!("/api/config/vuln-sources/{id}");
    let tested = app.post(&format!("{path}/test"), &json!({})).await.expect(200).json();
    app.post(&format!("/api/scan-runs/trigger/{slug}"), &json!({})).await.expect(202);
    app.run_jobs().await;
    (tested, app.get(&path).await.expect(200).json())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_may_lie_in_a_private_network_that_is_listed_and_in_no_other() {
    let app = TestApp::set_up_with(&[("SOURCE_ALLOW_PRIVATE", "10.20.0.0/16,127.0.0.1")]).await;
    let (listed, asked) = mirror("127.0.0.1").await;
    let (tested, crawled) = tested_and_crawled(&app, "listed", &listed).await;
    assert_eq!(tested["success"], true, "{tested}");
    assert_eq!((&crawled["last_crawl_status"], &crawled["record_count"]), (&json!("success"), &json!(1)));
    assert_eq!(asked.load(Ordering::SeqCst), 2);

    let (other, asked) = mirror("127.0.0.2").await;
    let (tested, crawled) = tested_and_crawled(&app, "other", &other).await;
    assert_eq!(tested["success"], false, "{tested}");
    assert_eq!(crawled["last_crawl_status"], "failed");
    let why = crawled["last_error"].as_str().expect("why");
    assert!(why.contains("127.0.0.2") && why.contains("name it in SOURCE_ALLOW_PRIVATE"), "{why}");
    assert_eq!(asked.load(Ordering::SeqCst), 0, "somebody connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_may_be_a_file_only_where_this_machine_is_listed() {
    let app = TestApp::set_up_with(&[("SOURCE_ALLOW_PRIVATE", "10.20.0.0/16")]).await;
    let file = app.folder.path().join("kev.json");
    std::fs::write(&file, CATALOGUE).expect("written");
    let url = url::Url::from_file_path(file).expect("an address");
    let (_, crawled) = tested_and_crawled(&app, "file", url.as_str()).await;
    assert_eq!(crawled["last_crawl_status"], "failed");
    let why = crawled["last_error"].as_str().expect("why");
    assert!(why.contains("SOURCE_ALLOW_PRIVATE names 127.0.0.0/8"), "{why}");
}
