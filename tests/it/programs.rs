//! API, worker and scheduler as three processes, as they run on many machines.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use domain::id::TenantId;
use harness::{PASSWORD, Program, TestDb, deed, eventually, services};
use runtime::egress::{Client, HeaderName, HeaderValue, Method, Policy, Request};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_program-under-test");
/// The same, whose worker knows one more kind of job; called `plimsoll` it is that.
pub(crate) const WITH_DEEDS: &str = env!("CARGO_BIN_EXE_worker-under-test");

/// Long enough for a loaded machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The three, with an administrator who has signed in.
pub(crate) struct Programs {
    pub(crate) db: TestDb,
    pub(crate) api: Program,
    pub(crate) worker: Program,
    pub(crate) scheduler: Program,
    path: &'static str,
    settings: Vec<(String, String)>,
    client: Client,
    token: String,
    folder: TempDir,
}

impl Programs {
    /// Starts them with `settings` over the usual ones, and waits until all are ready.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_on(TestDb::new().await, PROGRAM, settings).await
    }

    /// Starts those that know deeds ([`harness::deed`]) too, in an installation in which nothing comes by itself.
    pub(crate) async fn start_for_deeds(settings: &[(&str, &str)]) -> Self {
        let db = TestDb::new().await;
        deed::create_tables(db.owner_url.expose_secret()).await.expect("tables to count in");
        const QUIET: &str = "update schedules set enabled = false";
        for statement in ["update sources set enabled = false", QUIET] {
            sqlx::query(statement).execute(db.pool()).await.expect("nothing comes by itself");
        }
        let programs = Self::start_on(db, WITH_DEEDS, settings).await;
        // The organization has brought one of its own.
        sqlx::query(QUIET).execute(programs.db.pool()).await.expect("nor at night");
        programs
    }

    async fn start_on(db: TestDb, path: &'static str, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let prefix = format!("t_{}", Uuid::new_v4().simple());
        let mut all = vec![
            ("REDIS_URL", services().await.redis_url.as_str()),
            ("QUEUE_PREFIX", &prefix),
            ("DATABASE_MAX_CONNECTIONS", "6"),
            ("WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8"),
        ];
        all.extend(settings);
        let start = |name| Program::start(path, name, &db, folder.path(), &all);
        let (api, worker, scheduler) = (start("api"), start("worker"), start("scheduler"));
        for program in [&api, &worker, &scheduler] {
            eventually("readiness", SOON, || async { program.probe("/readyz").ok() }).await;
        }
        let settings = all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let client = Client::new(Policy { max_redirects: 0, ..Policy::administrator() }).expect("a client");
        let mut programs =
            Self { db, api, worker, scheduler, path, settings, client, token: String::new(), folder };
        let account = json!({ "username": "admin", "email": "admin@example.com", "password": PASSWORD });
        let (status, answer) = programs.send(Method::POST, "/api/auth/setup", &[], &account).await;
        assert_eq!(status, 201, "{answer}");
        programs.token = answer["access_token"].as_str().expect("a token").to_owned();
        programs
    }

    /// Another `api`, `worker` or `scheduler` of the installation, and it is ready.
    pub(crate) async fn another(&self, name: &'static str) -> Program {
        let settings: Vec<(&str, &str)> =
            self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let program = Program::start(self.path, name, &self.db, self.folder.path(), &settings);
        eventually("readiness", SOON, || async { program.probe("/readyz").ok() }).await;
        program
    }

    /// The organization that set-up made.
    pub(crate) async fn tenant(&self) -> TenantId {
        let tenant = sqlx::query_scalar("select tenant_id from users where username = 'admin'");
        TenantId(tenant.fetch_one(self.db.pool()).await.expect("it is set up"))
    }

    /// Of the administrator.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// A name for a file that is not there yet.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join(Uuid::new_v4().simple().to_string())
    }

    /// Their PLIMSOLL_HOME.
    pub(crate) fn home(&self) -> &Path {
        self.folder.path()
    }

    /// Sends a request; the answer's status and body.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &Value,
    ) -> (u16, Value) {
        let url = format!("http://{}{path}", self.api.api);
        let mut request = Request { method, ..Request::post(url, body.to_string()) }
            .header(HeaderName::from_static("content-type"), HeaderValue::from_static("application/json"))
            .header(
                HeaderName::from_static("authorization"),
                HeaderValue::try_from(format!("Bearer {}", self.token)).expect("a header"),
            );
        for (name, value) in headers {
            let value = HeaderValue::try_from(*value).expect("a header");
            request = request.header(HeaderName::from_static(name), value);
        }
        let answer = self.client.send(request).await.expect("the API answers");
        let status = answer.status.as_u16();
        let bytes = answer.bytes().await.expect("the body arrives");
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Waits until the job is completed.
    pub(crate) async fn until_completed(&self, job: &Value) {
        let id: Uuid = job.as_str().expect("a job id").parse().expect("an id");
        eventually("the end of the job", SOON, || async {
            let state: String = sqlx::query_scalar("select state from jobs where id = $1")
                .bind(id)
                .fetch_one(self.db.pool())
                .await
                .ok()?;
            (state == "completed").then_some(())
        })
        .await;
    }
}
