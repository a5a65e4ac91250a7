//! Secrets are planted wherever one can come in, and looked for in everything that comes out: log lines, answers, metrics, traces, files,
//! what Redis holds, and every row of the database.

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use harness::{Program, TestDb, eventually, services};
use runtime::{
    config::SETTINGS,
    egress::{Client, HeaderName, HeaderValue, Method, Policy, Request},
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use url::Url;
use uuid::Uuid;

use crate::programs::{PROGRAM, SOON};

const COMMANDS: &str = env!("CARGO_BIN_EXE_worker-under-test");

/// What was planted: what it is, and the secret.
#[derive(Default)]
struct Canaries(Vec<(String, String)>);

impl Canaries {
    /// A new secret: letters and digits, so that it looks the same in a URL, in JSON and in a shell.
    fn plant(&mut self, what: impl Into<String>) -> String {
        let secret = format!("canary{}", Uuid::new_v4().simple());
        self.add(what, &secret);
        secret
    }

    /// One that somebody else has made.
    fn add(&mut self, what: impl Into<String>, secret: &str) {
        assert!(secret.len() >= 12, "too short to be told from other text: {secret}");
        self.0.push((what.into(), secret.to_owned()));
    }

    /// Fails with each place where one of them can be read, as it is or in base64.
    fn look_for(&self, places: &[(String, Vec<u8>)]) {
        let mut found = Vec::new();
        for (place, content) in places {
            let content = String::from_utf8_lossy(content);
            for (what, secret) in &self.0 {
                if let Some(at) = forms(secret).iter().find_map(|form| content.find(form)) {
                    let before = content[..at].char_indices().rev().nth(120).map_or(0, |(from, _)| from);
                    found.push(format!("the {what} is in {place}, behind {:?}", &content[before..at]));
                }
            }
        }
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// The secret itself, and the middle of its base64 wherever in a longer text it stands.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    for before in 0..3 {
        let encoded = STANDARD_NO_PAD.encode(format!("{}{secret}", &"xx"[..before]));
        forms.push(encoded[4 * before.min(1)..encoded.len() - 4].to_owned());
    }
    forms
}

#[test]
fn a_secret_is_found_as_it_is_and_in_base64_wherever_it_begins() {
    let secret = "canary0123456789abcdef";
    for before in ["", "u", "us", "user:", "\0user\0"] {
        let sent = STANDARD_NO_PAD.encode(format!("{before}{secret} and more"));
        assert!(forms(secret).iter().any(|form| sent.contains(form)), "{sent}");
    }
    assert!(!forms(secret).iter().any(|form| "nothing of the kind".contains(form)));
}

/// Logins of its own in Postgres and in Redis, with passwords. Gone with the value.
struct Logins {
    suffix: String,
    worker_url: String,
    api_url: String,
    redis_url: String,
}

impl Logins {
    async fn make(db: &TestDb, canaries: &mut Canaries) -> Self {
        let suffix = Uuid::new_v4().simple().to_string();
        let mut owner = PgConnection::connect(db.owner_url.expose_secret()).await.expect("the owner");
        let mut url_of = async |what: &str, roles: &str| {
            let (name, password) =
                (format!("canary_{what}_{suffix}"), canaries.plant(format!("{what}'s password in Postgres")));
            let create = format!("create role {name} login password '{password}' in role {roles}");
            owner.execute(sqlx::AssertSqlSafe(create)).await.expect("a login is made");
            with_login(db.owner_url.expose_secret(), &name, &password, "password")
        };
        let worker_url = url_of("worker", "plimsoll_app, plimsoll_system").await;
        let api_url = url_of("api", "plimsoll_app").await;
        let (name, password) = (format!("canary_{suffix}"), canaries.plant("password in Redis"));
        let mut redis = redis_of(&services().await.redis_url).await;
        let mut rules = vec!["on".to_owned(), format!(">{password}"), "allkeys".into(), "allcommands".into()];
        let mut allow = async |rules: &[String]| -> redis::RedisResult<()> {
            redis::cmd("ACL").arg("SETUSER").arg(&name).arg(rules).query_async(&mut redis).await
        };
        rules.push("allchannels".into());
        if allow(&rules).await.is_err() {
            // Redis 6.0 has no such word, and no such limit.
            rules.pop();
            allow(&rules).await.expect("a login is made");
        }
        let redis_url = with_login(&services().await.redis_url, &name, &password, "pass");
        Self { suffix, worker_url, api_url, redis_url }
    }

    async fn remove(self, db: TestDb) {
        let mut owner = PgConnection::connect(&services().await.owner_url).await.expect("the owner");
        drop(db);
        for what in ["worker", "api"] {
            let drop = format!("drop role canary_{what}_{}", self.suffix);
            owner.execute(sqlx::AssertSqlSafe(drop)).await.expect("the login is removed");
        }
        let mut redis = redis_of(&services().await.redis_url).await;
        let deleted: redis::RedisResult<i64> = redis::cmd("ACL")
            .arg("DELUSER")
            .arg(format!("canary_{}", self.suffix))
            .query_async(&mut redis)
            .await;
        deleted.expect("the login is removed");
    }
}

async fn redis_of(url: &str) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(url).expect("the address is sound");
    client.get_multiplexed_async_connection().await.expect("redis answers")
}

/// `url` with another login: where it names a socket, as parameters, the password's being called `parameter`.
fn with_login(url: &str, name: &str, password: &str, parameter: &str) -> String {
    let mut url = Url::parse(url).expect("a URL");
    if url.has_host() && url.host_str().is_some_and(|host| !host.is_empty()) {
        url.set_username(name).expect("a login may be named");
        url.set_password(Some(password)).expect("a password may be named");
        return url.into();
    }
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(key, _)| key != "user" && key != parameter)
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    url.query_pairs_mut()
        .clear()
        .extend_pairs(kept)
        .append_pair("user", name)
        .append_pair(parameter, password);
    url.into()
}

/// The three programs with secrets in all their settings, and what they say.
struct Installation {
    programs: [Program; 3],
    client: Client,
    /// Answers, each with what was asked.
    answers: Mutex<Vec<(String, Vec<u8>)>>,
    /// Traces, as they were sent.
    traces: Arc<Mutex<Vec<u8>>>,
    folder: PathBuf,
    /// What its keys in Redis begin with.
    prefix: String,
}

impl Installation {
    async fn start(db: &TestDb, folder: &Path, settings: &[(&str, &str)]) -> (Self, Logins, Canaries) {
        let mut canaries = Canaries::default();
        let logins = Logins::make(db, &mut canaries).await;
        let traces = Arc::<Mutex<Vec<u8>>>::default();
        let collector = serve("/v1/traces", traces.clone(), StatusCode::OK).await;
        let otlp_headers = format!("x-key={}", canaries.plant("key of the collector"));
        let planted = ["OIDC_CLIENT_SECRET", "LDAP_BIND_PASSWORD", "NVD_API_KEY", "SMTP_PASSWORD"]
            .map(|name| (name, canaries.plant(name)));
        let prefix = format!("t_{}", Uuid::new_v4().simple());
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
            ("SMTP_HOST", "127.0.0.1"),
            ("SMTP_PORT", "1"),
            ("SMTP_USERNAME", "plimsoll"),
            ("WEBHOOK_ALLOW_PRIVATE", "true"),
            ("SOURCE_ALLOW_PRIVATE", "true"),
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
    async fn ask(
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
    async fn places(&self, db: &TestDb) -> Vec<(String, Vec<u8>)> {
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
async fn serve(path: &str, kept: Arc<Mutex<Vec<u8>>>, status: StatusCode) -> String {
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
async fn until_tried(db: &TestDb, kind: &str) {
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

/// Brings secrets in by every door, well and badly, and has each thing that can fail fail.
async fn live(installation: &Installation, db: &TestDb, canaries: &mut Canaries) {
    let password = canaries.plant("administrator's password");
    let account = json!({ "username": "admin", "email": "admin@example.com", "password": password });
    let (status, answer) = installation.ask(Method::POST, "/api/auth/setup", &[], &account, true).await;
    assert_eq!(status, 201, "{answer}");
    let mistyped = canaries.plant("mistyped password");
    for name in ["admin", "nobody"] {
        let account = json!({ "username": name, "password": mistyped });
        let (status, _) = installation.ask(Method::POST, "/api/auth/login", &[], &account, false).await;
        assert!([401, 503].contains(&status), "{status}");
    }
    let account = json!({ "username": "admin", "password": password });
    let (status, session) = installation.ask(Method::POST, "/api/auth/login", &[], &account, true).await;
    assert_eq!(status, 200, "{session}");
    let token = |answer: &Value, name: &str| answer[name].as_str().expect(name).to_owned();
    let (access, refresh) = (token(&session, "access_token"), token(&session, "refresh_token"));
    canaries.add("access token", &access);
    canaries.add("refresh token", &refresh);
    let bearer = format!("Bearer {access}");
    let signed_in = [("authorization", bearer.as_str())];
    let post = async |path: &str, body: Value, confidential: bool| {
        installation.ask(Method::POST, path, &signed_in, &body, confidential).await
    };

    let (status, key) = post("/api/api-keys", json!({ "name": "pipeline", "role": "analyst" }), true).await;
    assert_eq!(status, 201, "{key}");
    let (status, personal) = post("/api/auth/tokens", json!({ "name": "mine" }), true).await;
    assert_eq!(status, 201, "{personal}");
    for (what, answer) in [("key of the organization", &key), ("personal token", &personal)] {
        let secret = answer.as_object().expect("an object").values().filter_map(Value::as_str);
        let secret = secret.into_iter().find(|text| text.starts_with("hg_")).expect("it is shown this once");
        canaries.add(what, secret);
        let (status, _) =
            installation.ask(Method::GET, "/api/jobs", &[("x-api-key", secret)], &Value::Null, false).await;
        assert_eq!(status, 200, "{what}");
        let by_query = format!("/api/jobs?api_key={secret}");
        installation.ask(Method::GET, &by_query, &[("x-api-key", secret)], &Value::Null, true).await;
    }

    let received = Arc::<Mutex<Vec<u8>>>::default();
    let refusing = serve("/{*path}", received, StatusCode::BAD_GATEWAY).await;
    let secret = canaries.plant("secret of the webhook");
    let whsec = format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(&secret));
    canaries.add("secret of the webhook, as it was sent", whsec.trim_end_matches('='));
    let hook = json!({ "url": format!("{refusing}/hook"), "events": ["report.generated"], "secret": whsec });
    let (status, answer) = post("/api/webhooks", hook, true).await;
    assert_eq!(status, 201, "{answer}");
    let unsound = canaries.plant("unsound secret of a webhook");
    let hook = json!({ "url": format!("{refusing}/hook"), "secret": unsound });
    assert_eq!(post("/api/webhooks", hook, false).await.0, 422);
    let hook = json!({ "url": format!("{refusing}/hook"), "secret": { "of": unsound } });
    assert_eq!(post("/api/webhooks", hook, false).await.0, 422);
    let (login, in_url) = ("plimsoll", canaries.plant("password in the address of a webhook"));
    let hook = json!({ "url": refusing.replace("http://", &format!("http://{login}:{in_url}@")) });
    assert_eq!(post("/api/webhooks", hook, false).await.0, 422);

    let other = canaries.plant("password of somebody else");
    let user = json!({ "username": "ann", "email": "ann@example.com", "password": other, "role": "analyst" });
    assert_eq!(post("/api/users", user, false).await.0, 201);
    let short =
        json!({ "username": "bob", "email": "bob@example.com", "password": [other], "role": "analyst" });
    assert_eq!(post("/api/users", short, false).await.0, 422);
    installation.ask(Method::GET, "/api/auth/oidc/authorize", &[], &Value::Null, false).await;

    let mut tx = db.system.begin().await.expect("a transaction");
    store::sources::ensure(&mut tx, store::sources::PUBLIC).await.expect("sources");
    sqlx::query("update sources set url = $1 || '/' || slug")
        .bind(&refusing)
        .execute(&mut *tx)
        .await
        .expect("set");
    tx.commit().await.expect("committed");
    assert_eq!(post("/api/scan-runs/trigger/nvd", json!({}), false).await.0, 202);
    let report = json!({ "title": "Nothing to hide", "report_type": "executive_summary", "format": "json",
                         "recipients": ["board@example.com"] });
    let (status, answer) = post("/api/reports/generate", report, false).await;
    assert_eq!(status, 202, "{answer}");
    for kind in ["crawl_source", "send_mail", "deliver_webhook"] {
        until_tried(db, kind).await;
    }
    for path in [
        "/api/jobs?status=queued",
        "/api/audit?page_size=500",
        "/api/webhooks",
        "/api/users",
        "/api/scan-runs/",
    ] {
        assert_eq!(
            installation.ask(Method::GET, path, &signed_in, &Value::Null, false).await.0,
            200,
            "{path}"
        );
    }

    // Used twice, a refresh token has been stolen: the session ends.
    let spent = json!({ "refresh_token": refresh });
    let (status, renewed) = installation.ask(Method::POST, "/api/auth/refresh", &[], &spent, true).await;
    assert_eq!(status, 200, "{renewed}");
    canaries.add("renewed access token", &token(&renewed, "access_token"));
    canaries.add("renewed refresh token", &token(&renewed, "refresh_token"));
    assert_eq!(installation.ask(Method::POST, "/api/auth/refresh", &[], &spent, false).await.0, 401);
    assert_eq!(installation.ask(Method::GET, "/api/jobs", &signed_in, &Value::Null, false).await.0, 401);
}

async fn nothing_comes_out(log_format: &str, log_level: &str) {
    let db = TestDb::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("LOG_FORMAT", log_format), ("LOG_LEVEL", log_level)];
    let (installation, logins, mut canaries) = Installation::start(&db, folder.path(), &settings).await;
    live(&installation, &db, &mut canaries).await;
    eventually("the traces of all that was tried", SOON, || async {
        let traces =
            String::from_utf8_lossy(&installation.traces.lock().expect("nobody panicked")).into_owned();
        ["process ingest", "process delivery", "POST /api/auth/refresh"]
            .into_iter()
            .all(|name| traces.contains(name))
            .then_some(())
    })
    .await;
    canaries.look_for(&installation.places(&db).await);
    drop(installation);
    logins.remove(db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_comes_out_of_an_installation_that_logs_all_it_can_as_json() {
    nothing_comes_out("json", "trace").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_comes_out_of_an_installation_that_logs_text() {
    nothing_comes_out("text", "debug").await;
}

/// What a command says, on both channels.
fn said(what: &str, output: &Output) -> (String, Vec<u8>) {
    assert!(!output.status.success(), "{what} ends as if all were well");
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    assert!(!said.is_empty(), "{what} says nothing");
    (format!("what {what} says"), said)
}

/// What those programs and commands say that cannot do anything with these settings.
fn refusals(programs: &[&str], commands: &[&str], settings: &[(&str, String)]) -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().expect("a folder");
    let programs = programs.iter().map(|program| {
        let mut command = Command::new(PROGRAM);
        command.arg(program);
        (program, command)
    });
    let commands = commands.iter().map(|name| {
        let mut command = Command::new(COMMANDS);
        command.arg0("plimsoll").arg(name);
        (name, command)
    });
    programs
        .chain(commands)
        .map(|(name, mut command)| {
            command
                .env("PLIMSOLL_HOME", folder.path())
                .env("API_LISTEN", "127.0.0.1:0")
                .env("LOG_LEVEL", "trace");
            command.envs(settings.iter().map(|(name, value)| (name, value)));
            said(name, &command.output().expect("it starts"))
        })
        .collect()
}

#[test]
fn a_secret_that_cannot_be_used_is_not_said() {
    let mut canaries = Canaries::default();
    let secrets = SETTINGS.iter().filter(|setting| setting.secret);
    let settings: Vec<_> = secrets.map(|setting| (setting.name, canaries.plant(setting.name))).collect();
    assert!(settings.len() > 8);
    let commands = ["check-config", "doctor", "migrate"];
    canaries.look_for(&refusals(&["api", "worker", "scheduler"], &commands, &settings));
}

#[test]
fn the_password_of_a_server_that_does_not_answer_is_not_said() {
    let mut canaries = Canaries::default();
    let mut settings = Vec::new();
    for name in ["DATABASE_URL", "API_DATABASE_URL", "MIGRATION_DATABASE_URL"] {
        settings.push((name, format!("postgres://plimsoll:{}@127.0.0.1:1/plimsoll", canaries.plant(name))));
    }
    settings.push(("REDIS_URL", format!("redis://plimsoll:{}@127.0.0.1:1/0", canaries.plant("REDIS_URL"))));
    canaries.look_for(&refusals(&["worker", "scheduler"], &["doctor", "migrate"], &settings));
}
