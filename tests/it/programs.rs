//! API, worker and scheduler as three processes, as they run on many machines.

use std::time::Duration;

use harness::{PASSWORD, Program, TestDb, eventually, services};
use runtime::egress::{Client, HeaderName, HeaderValue, Method, Policy, Request};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_program-under-test");

/// Long enough for a loaded machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The three, with an administrator who has signed in.
pub(crate) struct Programs {
    pub(crate) db: TestDb,
    pub(crate) api: Program,
    pub(crate) worker: Program,
    pub(crate) scheduler: Program,
    client: Client,
    token: String,
    _folder: TempDir,
}

impl Programs {
    /// Starts them with `settings` over the usual ones, and waits until all are ready.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        let db = TestDb::new().await;
        let folder = tempfile::tempdir().expect("a folder");
        let prefix = format!("t_{}", Uuid::new_v4().simple());
        let mut all = vec![
            ("REDIS_URL", services().await.redis_url.as_str()),
            ("QUEUE_PREFIX", &prefix),
            ("DATABASE_MAX_CONNECTIONS", "6"),
            ("WEBHOOK_ALLOW_PRIVATE", "true"),
        ];
        all.extend(settings);
        let start = |name| Program::start(PROGRAM, name, &db, folder.path(), &all);
        let (api, worker, scheduler) = (start("api"), start("worker"), start("scheduler"));
        for program in [&api, &worker, &scheduler] {
            eventually("readiness", SOON, || async { program.probe("/readyz").ok() }).await;
        }
        let client = Client::new(Policy { max_redirects: 0, ..Policy::administrator() }).expect("a client");
        let mut programs = Self { db, api, worker, scheduler, client, token: String::new(), _folder: folder };
        let account = json!({ "username": "admin", "email": "admin@example.com", "password": PASSWORD });
        let (status, answer) = programs.send(Method::POST, "/api/auth/setup", &[], &account).await;
        assert_eq!(status, 201, "{answer}");
        programs.token = answer["access_token"].as_str().expect("a token").to_owned();
        programs
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
