//! Inventories that are pulled: from hosts that another system watches and repositories that it keeps, to assets and findings.

mod github;
mod manager;
mod timetable;
mod wazuh;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Query, Request},
    http::{HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    routing::any,
};
use harness::TestApp;
use serde_json::{Value, json};

const WAZUH: &str = "/api/config/integrations/wazuh";
const GITHUB: &str = "/api/config/integrations/github";

/// What another system is asked.
struct Asked {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    /// `Authorization`.
    shown: String,
}

/// What it answers, or that it never does.
enum Says {
    This(u16, Vec<(&'static str, String)>, Value),
    Nothing,
}

impl Says {
    fn this(status: u16, body: Value) -> Self {
        Self::This(status, Vec::new(), body)
    }

    fn good(body: Value) -> Self {
        Self::this(200, body)
    }
}

/// Another system on a loopback port. Returns its address.
async fn serve<S: Send + 'static>(system: Arc<Mutex<S>>, answer: fn(&mut S, &Asked) -> Says) -> String {
    let handler = any(async move |Query(query): Query<BTreeMap<String, String>>, request: Request| {
        let shown = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        let asked = Asked {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query,
            shown: shown.unwrap_or_default().to_owned(),
        };
        let says = answer(&mut system.lock().expect("a system"), &asked);
        match says {
            Says::This(status, headers, body) => {
                let mut answer =
                    (StatusCode::from_u16(status).expect("a status"), Json(body)).into_response();
                for (name, value) in headers {
                    let value = HeaderValue::try_from(value).expect("a header");
                    answer.headers_mut().insert(HeaderName::from_static(name), value);
                }
                answer
            }
            Says::Nothing => std::future::pending::<Response>().await,
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback_service(handler)).await });
    url
}

/// Pulls everything that is set up, and does what follows. Returns the job of the pull.
async fn pull(app: &TestApp) -> Value {
    app.post("/api/system/force-inventory", &json!({})).await.expect(202);
    app.run_jobs().await;
    last_pull(app).await
}

async fn last_pull(app: &TestApp) -> Value {
    let listed = app.get("/api/jobs?kind=pull_inventory&page_size=1").await.expect(200).json();
    app.job(&listed["data"][0]["id"]).await
}

/// Whatever was put off is due at once.
async fn let_time_pass(app: &TestApp) {
    sqlx::query("update jobs set run_at = now() where state in ('scheduled', 'retryable')")
        .execute(app.db.pool())
        .await
        .expect("due");
}

async fn listed(app: &TestApp, path: &str) -> Vec<Value> {
    app.get(path).await.expect(200).json()["data"].as_array().expect("a list").clone()
}

/// The names of a list's entries.
async fn names(app: &TestApp, path: &str, field: &str) -> Vec<String> {
    let name = |entry: &Value| entry[field].as_str().expect(field).to_owned();
    listed(app, path).await.iter().map(name).collect()
}

/// One problem of openssl in Debian 12, mended in `3.0.17-1~deb12u2`, and one of lodash, are known.
async fn know_of_two_problems(app: &TestApp, folder: &std::path::Path) {
    let tracker = json!({ "openssl": { "CVE-2026-0001": {
        "description": "Something is wrong.",
        "releases": { "bookworm": { "status": "resolved", "fixed_version": "3.0.17-1~deb12u2",
                                    "urgency": "not yet assigned" } },
    } } });
    std::fs::write(folder.join("debian.json"), tracker.to_string()).expect("written");
    let url = url::Url::from_file_path(folder.join("debian.json")).expect("an address");
    sqlx::query(
        "insert into sources (id, slug, name, category, feed, url, crawl_interval_minutes)
         values (gen_random_uuid(), 'tracker', 'tracker', 'advisory', 'debian-tracker', $1, 60)",
    )
    .bind(url.as_str())
    .execute(app.db.pool())
    .await
    .expect("a source");
    app.post("/api/scan-runs/trigger/tracker", &json!({})).await.expect(202);
    app.run_jobs().await;
}
