//! The world outside: a feed, a GitHub, a mail server, a webhook endpoint. All on loopback, all keep what they were given or asked.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, header},
    response::IntoResponse,
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use uuid::Uuid;

use crate::system::System;

const KEV: &str = r#"{"title":"t","catalogVersion":"2025.08.25","dateReleased":"2025-08-25T00:00:00.0000Z","count":1,
 "vulnerabilities":[{"cveID":"CVE-2023-4911","vendorProject":"GNU","product":"GNU C Library","vulnerabilityName":"n",
 "dateAdded":"2023-11-21","shortDescription":"d","requiredAction":"a","dueDate":"2023-12-12",
 "knownRansomwareCampaignUse":"Unknown","notes":"","cwes":[]}]}"#;

/// A server that ends with the value.
struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn serve(router: Router) -> Result<(u16, Serving)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let serving = tokio::spawn(async move {
        // It ends with the test, and then there is nobody to tell.
        let _ = axum::serve(listener, router).await;
    });
    Ok((port, Serving(serving)))
}

/// A feed of one known exploited vulnerability.
pub(crate) struct Feed {
    pub(crate) url: String,
    _serving: Serving,
}

pub(crate) async fn feed() -> Result<Feed> {
    let answer = || async { ([(header::CONTENT_TYPE, "application/json")], KEV).into_response() };
    let (port, serving) = serve(Router::new().route("/{name}", get(answer))).await?;
    Ok(Feed { url: format!("http://127.0.0.1:{port}/kev.json"), _serving: serving })
}

/// Registers a source, which is due by itself in so many seconds, or never.
pub(crate) async fn source(
    system: &System<'_>,
    slug: &str,
    url: &str,
    due_in_seconds: Option<f64>,
) -> Result<Uuid> {
    let id = Uuid::now_v7();
    let mut tx = store::db::begin_transaction(system.db.pool(), "begin").await?;
    sqlx::query(
        "insert into sources (id, slug, name, category, feed, url, crawl_interval_minutes, enabled)
         values ($1, $2, $2, 'exploit', 'cisa-kev', $3, 60, $4)",
    )
    .bind(id)
    .bind(slug)
    .bind(url)
    .bind(due_in_seconds.is_some())
    .execute(&mut *tx)
    .await?;
    // The source's schedule came with it.
    sqlx::query(
        "update schedules set next_run_at = now() + make_interval(secs => coalesce($2, 86400)) where source_id = $1",
    )
    .bind(id)
    .bind(due_in_seconds)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(id)
}

/// A GitHub that keeps [`ORGANIZATION`], whose repositories depend on one package each.
pub(crate) struct Github {
    pub(crate) url: String,
    known: Arc<Mutex<Known>>,
    _serving: Serving,
}

/// The organization that there is.
pub(crate) const ORGANIZATION: &str = "example";

#[derive(Default)]
struct Known {
    repositories: usize,
    /// How often somebody asked what a repository depends on.
    asked: usize,
}

impl Github {
    /// Without a repository.
    pub(crate) async fn start() -> Result<Self> {
        type Shared = Arc<Mutex<Known>>;
        async fn repositories(State(known): State<Shared>) -> Json<Value> {
            let repositories = known.lock().unwrap_or_else(PoisonError::into_inner).repositories;
            let listed = (1..=repositories).map(|id| json!({ "id": id, "name": format!("repository-{id}") }));
            Json(listed.collect())
        }
        async fn dependencies(State(known): State<Shared>, Path(name): Path<String>) -> Json<Value> {
            known.lock().unwrap_or_else(PoisonError::into_inner).asked += 1;
            Json(json!({ "sbom": sbom(&name) }))
        }
        let known = Shared::default();
        let router = Router::new()
            .route(&format!("/orgs/{ORGANIZATION}/repos"), get(repositories))
            .route(&format!("/repos/{ORGANIZATION}/{{name}}/dependency-graph/sbom"), get(dependencies));
        let (port, serving) = serve(router.with_state(known.clone())).await?;
        Ok(Self { url: format!("http://127.0.0.1:{port}"), known, _serving: serving })
    }

    /// From now on there is one more.
    pub(crate) fn add_repository(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).repositories += 1;
    }

    /// How often somebody asked what a repository depends on.
    pub(crate) fn asked(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).asked
    }
}

/// What a repository depends on, in SPDX 2.3: a package that bears its name.
fn sbom(repository: &str) -> Value {
    let package = |id: &str, name: &str, version: &str, purl: String| {
        json!({ "SPDXID": id, "name": name, "versionInfo": version, "downloadLocation": "NOASSERTION",
                "filesAnalyzed": false,
                "externalRefs": [{ "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                                   "referenceLocator": purl }] })
    };
    let itself = format!("com.github.{ORGANIZATION}/{repository}");
    json!({
        "SPDXID": "SPDXRef-DOCUMENT", "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "name": itself,
        "packages": [
            package("SPDXRef-root", &itself, "main", format!("pkg:github/{ORGANIZATION}/{repository}@main")),
            package("SPDXRef-1", &format!("of-{repository}"), "1.0.0", format!("pkg:npm/of-{repository}@1.0.0")),
        ],
        "relationships": [{ "relationshipType": "DESCRIBES", "spdxElementId": "SPDXRef-DOCUMENT",
                            "relatedSpdxElement": "SPDXRef-root" }],
    })
}

/// A mail server that takes everything.
pub(crate) struct MailServer {
    pub(crate) port: u16,
    mails: Arc<Mutex<Vec<String>>>,
    _serving: Serving,
}

impl MailServer {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let mails: Arc<Mutex<Vec<String>>> = Arc::default();
        let received = mails.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let received = received.clone();
                tokio::spawn(async move {
                    // The client may be killed at any moment; that is what this is for.
                    let _ = converse(stream, &received).await;
                });
            }
        });
        Ok(Self { port, mails, _serving: Serving(serving) })
    }

    /// The Message-ID of every mail that was taken.
    pub(crate) fn message_ids(&self) -> Vec<String> {
        let mails = self.mails.lock().unwrap_or_else(PoisonError::into_inner);
        mails
            .iter()
            .map(|mail| {
                let line = mail.lines().find(|line| line.to_ascii_lowercase().starts_with("message-id:"));
                line.unwrap_or("none").to_owned()
            })
            .collect()
    }
}

/// RFC 5321, as far as a well-behaved client needs it.
async fn converse(stream: TcpStream, mails: &Mutex<Vec<String>>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 under-test\r\n").await?;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let verb = line.split_ascii_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        let answer: &[u8] = match verb.as_str() {
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let mut mail = String::new();
                while stream.read_line(&mut mail).await? > 0 && !mail.ends_with("\r\n.\r\n") {}
                mails.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
                b"250 taken\r\n"
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => b"250 ok\r\n",
        };
        stream.write_all(answer).await?;
    }
}

type Calls = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// An endpoint that answers 200.
pub(crate) struct WebhookReceiver {
    pub(crate) url: String,
    calls: Calls,
    _serving: Serving,
}

impl WebhookReceiver {
    pub(crate) async fn start() -> Result<Self> {
        async fn take(State(calls): State<Calls>, headers: HeaderMap, body: Bytes) {
            calls.lock().unwrap_or_else(PoisonError::into_inner).push((headers, body));
        }
        let calls = Calls::default();
        let (port, serving) =
            serve(Router::new().route("/hook", post(take)).with_state(calls.clone())).await?;
        Ok(Self { url: format!("http://127.0.0.1:{port}/hook"), calls, _serving: serving })
    }

    /// The `webhook-id` of every call, whose signatures all verify.
    pub(crate) fn verified_ids(&self, secret: &str) -> Result<Vec<String>> {
        let verifier = standardwebhooks::Webhook::new(secret)?;
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls
            .iter()
            .map(|(headers, body)| {
                verifier.verify(body, headers)?;
                Ok(headers.get("webhook-id").context("no webhook-id")?.to_str()?.to_owned())
            })
            .collect()
    }
}
