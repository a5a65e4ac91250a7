//! An installation with secrets in all its settings, and everything that comes out of it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use harness::{Program, TestDb, eventually, services};
use runtime::egress::{Client, HeaderName, HeaderValue, Method, Policy, Request};
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{
    logins::{Logins, redis_of},
    planted::Canaries,
};
use crate::programs::{PROGRAM, SOON};

/// The three programs with secrets in all their settings, and what they say.
pub(super) struct Installation {
    programs: [Program; 3],
    client: Client,
    /// Answers, each with what was asked.
    answers: Mutex<Vec<(String, Vec<u8>)>>,
    /// Traces, as they were sent.
    pub(super) traces: Arc<Mutex<Vec<u8>>>,
    folder: PathBuf,
    /// What its keys in Redis begin with.
    prefix: String,
}

impl Installation {
    pub(super) async fn start(
        db: &TestDb,
        folder: &Path,
        settings: &[(&str, &str)],
    ) -> (Self, Logins, Canaries) {
        let mut canaries = Canaries::default();
        let logins = Logins::make(db, &mut canaries).await;
        let traces = Arc::<Mutex<Vec<u8>>>::default();
        let collector = serve("/v1/traces", traces.clone(), StatusCode::OK).await;
        let otlp_headers = format!("x-key={}", canaries.plant("key of the collector"));
        let planted = ["OIDC_CLIENT_SECRET", "LDAP_BIND_PASSWORD", "NVD_API_KEY", "SMTP_PASSWORD"]
            .map(|name| (name, canaries.plant(name)));
        let prefix = format!("t_{}", Uuid::new_v4().simple());
        let (seal, seal_password) = sealing_key(folder, &mut canaries);
        let keys = runtime::secrets::generate().expect("the system gives random bytes");
        canaries.add("key that secrets are sealed with", keys.expose_secret());
        // What would leave this machine ends there.
        let proxy = format!("http://plimsoll:{}@127.0.0.1:1", canaries.plant("password of the proxy"));
        let mut all = vec![
            ("DATABASE_URL", logins.worker_url.as_str()),
            ("API_DATABASE_URL", &logins.api_url),
            ("REDIS_URL", &logins.redis_url),
            ("QUEUE_PREFIX", &prefix),
            ("DATABASE_MAX_CONNECTIONS", "6"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector),
            ("OTEL_EXPORTER_OTLP_HEADERS", &otlp_headers),
            ("OIDC_ISSUER", "http://127.0.0.1:1"),
            ("OIDC_CLIENT_ID", "plimsoll"),
            ("LDAP_URL", "ldap://127.0.0.1:1"),
            ("LDAP_STARTTLS", "false"),
            ("LDAP_BASE_DN", "dc=example,dc=com"),
            ("LDAP_BIND_DN", "cn=plimsoll,dc=example,dc=com"),
            ("SECRETS_KEY", keys.expose_secret()),
            ("SEAL_PKCS12", &seal),
            ("SEAL_PKCS12_PASSWORD", &seal_password),
            ("EGRESS_PROXY", &proxy),
            ("SMTP_HOST", "127.0.0.1"),
            ("SMTP_PORT", "1"),
            ("SMTP_USERNAME", "plimsoll"),
            ("WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8"),
            ("SOURCE_ALLOW_PRIVATE", "127.0.0.0/8"),
        ];
        all.extend(planted.iter().map(|(name, secret)| (*name, secret.as_str())));
        all.extend(settings);
        let programs =
            ["api", "worker", "scheduler"].map(|name| Program::start(PROGRAM, name, db, folder, &all));
        for program in &programs {
            eventually("readiness", SOON, || async { program.probe("/readyz").ok() }).await;
        }
        let client = Client::new(Policy { max_redirects: 0, ..Policy::administrator() }).expect("a client");
        let answers = Mutex::default();
        let installation = Self { programs, client, answers, traces, folder: folder.to_owned(), prefix };
        (installation, logins, canaries)
    }

    /// Asks, with `headers`; the status and the answer, which is remembered unless it is `confidential`: it hands out a secret to whom it belongs.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &Value,
        confidential: bool,
    ) -> (u16, Value) {
        let url = format!("http://{}{path}", self.programs[0].api);
        let mut request = Request { method: method.clone(), ..Request::post(url, body.to_string()) }
            .header(HeaderName::from_static("content-type"), HeaderValue::from_static("application/json"));
        for (name, value) in headers {
            let value = HeaderValue::try_from(*value).expect("a header");
            request = request.header(HeaderName::from_static(name), value);
        }
        let answer = self.client.send(request).await.expect("the API answers");
        let status = answer.status.as_u16();
        let bytes = answer.bytes().await.expect("the body arrives");
        if !confidential {
            let asked = format!("the answer ({status}) to {method} {path}");
            self.answers.lock().expect("nobody panicked").push((asked, bytes.to_vec()));
        }
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Everything that came out.
    pub(super) async fn places(&self, db: &TestDb) -> Vec<(String, Vec<u8>)> {
        let mut places = std::mem::take(&mut *self.answers.lock().expect("nobody panicked"));
        for (program, name) in self.programs.iter().zip(["api", "worker", "scheduler"]) {
            let log = program.log();
            assert!(!log.is_empty(), "{name} logs nothing");
            places.push((format!("the log of {name}"), log.into_bytes()));
            let metrics = Request::get(format!("http://{}/metrics", program.admin));
            let metrics = self.client.send(metrics).await.expect("an answer");
            let metrics = metrics.bytes().await.expect("the body arrives");
            places.push((format!("the metrics of {name}"), metrics.to_vec()));
        }
        let traces = self.traces.lock().expect("nobody panicked").clone();
        places.push(("the traces".to_owned(), traces));
        places.extend(rows(db).await);
        places.push(("what Redis holds".to_owned(), held_in_redis(&self.prefix).await));
        let mut files = Vec::new();
        files_under(&self.folder.join("artifacts"), &mut files);
        places.push(("the stored files".to_owned(), files));
        for (place, known) in [
            ("the log of api", "/api/webhooks"),
            ("the log of worker", "deliver_webhook"),
            ("the traces", "process delivery"),
            ("the metrics of worker", "send_mail"),
            ("the table public.jobs", "crawl_source"),
            ("the table public.audit_entries", "auth.login"),
            ("what Redis holds", "epoch"),
            ("the stored files", "Nothing to hide"),
        ] {
            let (_, content) = places.iter().find(|(name, _)| name == place).expect(place);
            assert!(
                String::from_utf8_lossy(content).contains(known),
                "what is known to be in {place} is not"
            );
        }
        places
    }
}

/// A key to sign reports with, in a PKCS#12 file; its path and its password.
fn sealing_key(folder: &Path, canaries: &mut Canaries) -> (String, String) {
    let password = canaries.plant("password of the PKCS#12 file");
    let path = |name: &str| folder.join(name).to_str().expect("utf-8").to_owned();
    let (key, certificate, file) = (path("seal.key"), path("seal.pem"), path("seal.p12"));
    let passout = format!("pass:{password}");
    let openssl = |arguments: &[&str]| {
        let done = Command::new("openssl").args(arguments).output().expect("openssl runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let request =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"];
    openssl(&[&request[..], &["-subj", "/CN=Seal", "-keyout", &key, "-out", &certificate]].concat());
    openssl(&["pkcs12", "-export", "-inkey", &key, "-in", &certificate, "-out", &file, "-passout", &passout]);
    let text = std::fs::read_to_string(&key).expect("the key");
    canaries.add("private key of the PKCS#12 file", text.lines().nth(1).expect("a line of base64"));
    (file, password)
}

/// Keys and values, these as Redis would write them to its file.
async fn held_in_redis(prefix: &str) -> Vec<u8> {
    let mut redis = redis_of(&services().await.redis_url).await;
    let keys: Vec<String> =
        redis::cmd("KEYS").arg(format!("{prefix}*")).query_async(&mut redis).await.expect("keys");
    let mut held = Vec::new();
    for key in keys {
        held.extend_from_slice(key.as_bytes());
        let value: Option<Vec<u8>> =
            redis::cmd("DUMP").arg(&key).query_async(&mut redis).await.expect("dumped");
        held.extend(value.unwrap_or_default());
    }
    held
}

fn files_under(folder: &Path, content: &mut Vec<u8>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_under(&entry.path(), content),
            _ => content.extend(std::fs::read(entry.path()).unwrap_or_default()),
        }
    }
}

/// Every row of every table, as text.
async fn rows(db: &TestDb) -> Vec<(String, Vec<u8>)> {
    let mut owner = PgConnection::connect(db.owner_url.expose_secret()).await.expect("the owner");
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', schemaname, tablename) from pg_tables
          where schemaname not in ('pg_catalog', 'information_schema')",
    )
    .fetch_all(&mut owner)
    .await
    .expect("the catalogue is read");
    assert!(tables.len() > 20, "{tables:?}");
    let mut places = Vec::new();
    for table in tables {
        let text = format!("select coalesce(string_agg(t::text, E'\\n'), '') from {table} t");
        let text: String =
            sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_one(&mut owner).await.expect("read");
        places.push((format!("the table {table}"), text.into_bytes()));
    }
    places
}

/// Takes what is posted to `path`, keeps it, and answers with `status`.
pub(super) async fn serve(path: &str, kept: Arc<Mutex<Vec<u8>>>, status: StatusCode) -> String {
    async fn take(
        State((kept, status)): State<(Arc<Mutex<Vec<u8>>>, StatusCode)>,
        body: Bytes,
    ) -> (StatusCode, &'static str) {
        kept.lock().expect("nobody panicked").extend_from_slice(&body);
        (status, "no")
    }
    let router = Router::new().route(path, post(take).get(take)).with_state((kept, status));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// Waits until an attempt at a job of `kind` has ended.
pub(super) async fn until_tried(db: &TestDb, kind: &str) {
    eventually(&format!("an attempt at {kind}"), SOON, || async {
        let tried: i64 = sqlx::query_scalar(
            "select count(*) from job_attempts join jobs on jobs.id = job_id where kind = $1 and ended_at is not null",
        )
        .bind(kind)
        .fetch_one(db.pool())
        .await
        .ok()?;
        (tried > 0).then_some(())
    })
    .await;
}
