//! The application in this process, with a database, a data folder and a Redis prefix of its own.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use domain::id::TenantId;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use queue::{claim::JobRef, runner::Runner};
use runtime::config::Config;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;
use worker::{
    context::Context,
    renderer::{Limits, Renderer},
};

use crate::{TestDb, services};

/// Password of every account that tests make.
pub const PASSWORD: &str = "correct horse battery staple";

/// A running application. Requests go to the router directly; jobs are done when [`Self::run_jobs`] is called.
pub struct TestApp {
    pub db: TestDb,
    pub config: Arc<Config>,
    pub folder: TempDir,
    router: Router,
    runner: Runner<Context>,
    /// Sent with every request once somebody has signed in.
    token: Option<String>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null when it is empty.
    ///
    /// # Panics
    /// When it is neither.
    #[must_use]
    pub fn json(&self) -> Value {
        if self.bytes.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error} in {:?}", String::from_utf8_lossy(&self.bytes)))
    }

    /// The same answer, if its status is `expected`.
    ///
    /// # Panics
    /// When it is another.
    #[expect(clippy::must_use_candidate, reason = "it is an assertion first")]
    pub fn expect(self, expected: u16) -> Self {
        assert_eq!(self.status.as_u16(), expected, "{}", String::from_utf8_lossy(&self.bytes));
        self
    }

    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl TestApp {
    /// An application that nobody has set up yet.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// As [`Self::start`], with some settings of its own.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        Self::made(settings, None).await
    }

    async fn made(settings: &[(&str, &str)], renders_in: Option<PathBuf>) -> Self {
        let db = TestDb::new().await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut environment: BTreeMap<String, String> = [
            ("PLIMSOLL_HOME", folder.path().to_str().expect("utf-8")),
            ("DATABASE_URL", db.worker_url.expose_secret()),
            ("API_DATABASE_URL", db.api_url.expose_secret()),
            ("REDIS_URL", &services().await.redis_url),
            ("QUEUE_PREFIX", &format!("t_{}", Uuid::new_v4().simple())),
            ("DATABASE_MAX_CONNECTIONS", "6"),
            ("ORGANIZATION_NAME", "Acme Corp"),
            ("SOURCE_ALLOW_PRIVATE", "127.0.0.0/8"),
            ("WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let config = Arc::new(Config::load(environment).expect("the settings are sound"));
        let state =
            api::AppState::new(config.clone(), CancellationToken::new()).expect("the API can be made");
        let mut context = Context::new(config.clone(), db.system.clone()).expect("the worker can be made");
        if let Some(program) = renders_in {
            context.renderer = Renderer::of(program, Limits::of(&config));
        }
        let runner = Runner::new(
            queue::jobs::registry(),
            context,
            db.pool().clone(),
            "test-worker".to_owned(),
            Duration::from_secs(60),
            CancellationToken::new(),
        );
        Self { db, config, folder, router: api::app(state), runner, token: None }
    }

    /// An application with an administrator, who is signed in.
    ///
    /// # Panics
    /// When set-up fails.
    pub async fn set_up() -> Self {
        Self::set_up_with(&[]).await
    }

    /// As [`Self::set_up`], with some settings of its own.
    ///
    /// # Panics
    /// When set-up fails.
    pub async fn set_up_with(settings: &[(&str, &str)]) -> Self {
        Self::with(settings).await.with_administrator().await
    }

    /// As [`Self::set_up`], rendering as a worker does: in processes of `program`, whose `main` begins with
    /// [`worker::renderer::serve_if_asked`].
    ///
    /// # Panics
    /// When set-up fails.
    pub async fn set_up_rendering_in(program: PathBuf) -> Self {
        Self::made(&[], Some(program)).await.with_administrator().await
    }

    async fn with_administrator(self) -> Self {
        let mut app = self;
        let account = json!({ "username": "admin", "email": "admin@example.com", "password": PASSWORD });
        let answer = app.post("/api/auth/setup", &account).await.expect(201);
        app.token = Some(answer.json()["access_token"].as_str().expect("a token").to_owned());
        app
    }

    /// Sends the next requests with another token, or none. Returns the one before.
    pub fn sign_in_as(&mut self, token: Option<String>) -> Option<String> {
        std::mem::replace(&mut self.token, token)
    }

    /// What is sent with every request.
    #[must_use]
    pub fn access_token(&self) -> Option<String> {
        self.token.clone()
    }

    /// A second tenant with an account of `role`, and a token for it.
    ///
    /// # Panics
    /// When the database or the sign-in refuses.
    pub async fn other_tenant(&self, slug: &str, role: &str) -> (TenantId, String) {
        let tenant = self.db.tenant(slug).await;
        let token = self.account(tenant, &format!("{role}-{slug}"), role).await;
        (tenant, token)
    }

    /// An account in `tenant`, and a token for it. Its password is [`PASSWORD`].
    ///
    /// # Panics
    /// When the database or the sign-in refuses.
    pub async fn account(&self, tenant: TenantId, username: &str, role: &str) -> String {
        sqlx::query(
            "insert into users (tenant_id, id, username, email, role, password_hash)
             select $1, $2, $3, $3 || '@example.com', $4, password_hash from users where username = 'admin'",
        )
        .bind(tenant.0)
        .bind(Uuid::now_v7())
        .bind(username)
        .bind(role)
        .execute(self.db.pool())
        .await
        .expect("an account is made");
        let answer =
            self.post("/api/auth/login", &json!({ "username": username, "password": PASSWORD })).await;
        answer.expect(200).json()["access_token"].as_str().expect("a token").to_owned()
    }

    /// The tenant that set-up made.
    ///
    /// # Panics
    /// When there is none.
    pub async fn tenant(&self) -> TenantId {
        let id = sqlx::query_scalar("select tenant_id from users where username = 'admin'")
            .fetch_one(self.db.pool())
            .await
            .expect("the application is set up");
        TenantId(id)
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).body(Body::empty()).expect("a request")).await
    }

    /// `DELETE path`.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path).body(Body::empty()).expect("a request")).await
    }

    /// `POST path` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_bytes(path, body.to_string().into_bytes()).await
    }

    /// `PATCH path` with a JSON body.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::PATCH, path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).expect("a request")).await
    }

    /// `PUT path` with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::PUT, path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).expect("a request")).await
    }

    /// `POST path` with bytes that claim to be JSON.
    pub async fn post_bytes(&self, path: &str, bytes: Vec<u8>) -> Answer {
        let request = self.request(Method::POST, path).header("content-type", "application/json");
        self.send(request.body(Body::from(bytes)).expect("a request")).await
    }

    /// A request of one's own making, with the token.
    pub fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let request = Request::builder().method(method).uri(path).header("host", "plimsoll.test");
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    /// Sends a request as from a loopback address.
    ///
    /// # Panics
    /// When the answer cannot be read.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        Self::send_to(&self.router, [127, 0, 0, 1], request).await
    }

    /// Another API process of the same installation.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn another_node(&self) -> Router {
        let state = api::AppState::new(self.config.clone(), CancellationToken::new());
        api::app(state.expect("the API can be made"))
    }

    /// Sends a request to a node, as from `address`.
    ///
    /// # Panics
    /// When the answer cannot be read.
    pub async fn send_to(node: &Router, address: [u8; 4], mut request: Request<Body>) -> Answer {
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((address, 40_000))));
        let response = node.clone().oneshot(request).await.expect("a router always answers");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("the body arrives").to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, bytes }
    }

    /// Does everything that is due, and what follows from it, in order. Returns how many jobs were done.
    ///
    /// # Panics
    /// When the database cannot be used, or the work does not end.
    pub async fn run_jobs(&self) -> usize {
        for done in 0..1000 {
            let next: Option<(Uuid, i64)> = sqlx::query_as(
                "update jobs
                    set state = 'dispatched', fence = nextval('job_fences'), leased_until = now() + interval '1 minute'
                  where id = (select id from jobs
                               where state in ('available', 'scheduled', 'retryable') and run_at <= now()
                               order by priority, run_at, id limit 1)
              returning id, fence",
            )
            .fetch_optional(self.db.pool())
            .await
            .expect("postgres answers");
            let Some((id, fence)) = next else { return done };
            self.runner.run(JobRef { id, fence }).await;
        }
        panic!("a thousand jobs and still more are due");
    }

    /// A job as the API shows it.
    pub async fn job(&self, id: &Value) -> Value {
        self.get(&format!("/api/jobs/{}", id.as_str().expect("a job id"))).await.expect(200).json()
    }
}
