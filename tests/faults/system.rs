//! One installation under test: a database, a Redis prefix and a folder of its own, and the processes over them.

use std::{
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use harness::{TestDb, deed, free_address};
use queue::{
    Job,
    enqueue::{Origin, enqueue},
};
use rand::{SeedableRng, rngs::StdRng};
use secrecy::ExposeSecret;
use serde_json::json;
use uuid::Uuid;

use crate::{
    http::{self, Answer, Reply},
    invariants,
    ledger::{Ledger, Promise},
    process::{self, Process, Program},
    servers::Servers,
    wait,
};

/// How long a lease is in these tests, seconds.
pub(crate) const LEASE: u64 = 2;
/// How long a process may take to be there on a busy machine.
const START: Duration = Duration::from_secs(30);
/// A secret that must never be written to a log.
pub(crate) const PASSWORD: &str = "canary-correct-horse-battery-staple";

/// How the rows of a run are to be done.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) thorough: bool,
    pub(crate) patience: f64,
    pub(crate) soak: Duration,
}

/// Everything that a row of the table works with.
pub(crate) struct System<'a> {
    pub(crate) servers: &'a mut Servers,
    pub(crate) db: TestDb,
    pub(crate) ledger: Ledger,
    /// From the run's seed and the row's id.
    pub(crate) random: StdRng,
    pub(crate) folder: PathBuf,
    pub(crate) prefix: String,
    pub(crate) api_address: SocketAddr,
    /// Rows that make processes panic on purpose say so.
    pub(crate) panics_are_expected: bool,
    /// All repeats and full lengths, as `make faults` has them.
    pub(crate) thorough: bool,
    pub(crate) soak: Duration,
    /// How many times longer than the table's bound everything may take, for busy machines.
    pub(crate) patience: f64,
    token: Option<String>,
}

impl<'a> System<'a> {
    /// An installation that nobody uses yet. Its logs, artifacts and ledger go to `folder`.
    pub(crate) async fn new(servers: &'a mut Servers, folder: PathBuf, plan: &Plan) -> Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let db = TestDb::on(&servers.addresses.owner_url).await;
        deed::create_tables(db.owner_url.expose_secret()).await?;
        // Nothing in here may reach for the outside.
        sqlx::query("update sources set enabled = false").execute(db.pool()).await?;
        // And nothing comes by itself, unless a row is about that.
        sqlx::query("update schedules set enabled = false").execute(db.pool()).await?;
        Ok(Self {
            servers,
            db,
            ledger: Ledger::open(&folder.join("ledger"))?,
            random: StdRng::seed_from_u64(plan.seed),
            prefix: format!("t_{}", Uuid::new_v4().simple()),
            folder,
            api_address: free_address(),
            panics_are_expected: false,
            thorough: plan.thorough,
            patience: plan.patience,
            soak: plan.soak,
            token: None,
        })
    }

    /// How to start `name`. Settings are those of an installation, with short leases.
    pub(crate) fn program(&self, name: &'static str) -> Program {
        let settings = [
            ("DATABASE_URL", self.db.worker_url.expose_secret().to_owned()),
            ("API_DATABASE_URL", self.db.api_url.expose_secret().to_owned()),
            ("REDIS_URL", self.servers.addresses.redis_url.clone()),
            ("QUEUE_PREFIX", self.prefix.clone()),
            ("PLIMSOLL_HOME", self.folder.to_string_lossy().into_owned()),
            ("API_LISTEN", self.api_address.to_string()),
            ("ADMIN_LISTEN", "127.0.0.1:0".to_owned()),
            ("JOB_LEASE_SECONDS", LEASE.to_string()),
            ("SHUTDOWN_GRACE_SECONDS", "2".to_owned()),
            ("DATABASE_MAX_CONNECTIONS", "8".to_owned()),
            ("ORGANIZATION_NAME", "Acme Corp".to_owned()),
            ("SOURCE_ALLOW_PRIVATE", "127.0.0.0/8".to_owned()),
            ("WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8".to_owned()),
            ("DEBUG", "true".to_owned()),
            ("LOG_FORMAT", "text".to_owned()),
            ("LOG_LEVEL", "info".to_owned()),
        ];
        Program {
            name,
            arguments: Vec::new(),
            environment: settings.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            log: self.folder.join(format!("{name}.log")),
        }
    }

    /// What a person would type, its success and what it said.
    pub(crate) fn plimsoll(&self, arguments: &[&str]) -> Result<(bool, String)> {
        let output = Command::new(process::binary())
            .arg0("plimsoll")
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(self.program("plimsoll").environment)
            .stdin(Stdio::null())
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
    }

    pub(crate) fn scheduler(&self) -> Result<Process> {
        self.program("scheduler").start()
    }

    /// A worker, and it is ready.
    pub(crate) async fn worker(&self) -> Result<Process> {
        self.started(&self.program("worker")).await
    }

    /// Starts a worker, and waits until the database knows of it.
    pub(crate) async fn started(&self, worker: &Program) -> Result<Process> {
        let process = worker.start()?;
        // By its process id: entries of others may come and go meanwhile.
        let announced = "select exists (select from workers where name like '%-' || $1 || '-%')";
        wait::until("the worker is ready", START, async || {
            let query = sqlx::query_scalar::<_, bool>(announced).bind(process.id().to_string());
            Ok(query.fetch_one(self.db.pool()).await?.then_some(()))
        })
        .await?;
        Ok(process)
    }

    /// The API, and it is ready; the first time it is also set up.
    pub(crate) async fn api(&mut self) -> Result<Process> {
        let program = self.program("api");
        self.api_as(&program).await
    }

    pub(crate) async fn api_as(&mut self, program: &Program) -> Result<Process> {
        let process = program.start()?;
        self.until_ready(START).await?;
        if self.token.is_none() {
            let account = json!({ "username": "admin", "email": "admin@example.com", "password": PASSWORD })
                .to_string();
            let answer = self.call("POST", "/api/auth/setup", &[], account.as_bytes()).await.whole()?;
            ensure!(answer.status == 201, "set-up was answered with {}", answer.head);
            let token = answer.json()?["access_token"].as_str().context("a token")?.to_owned();
            self.token = Some(token);
        }
        Ok(process)
    }

    pub(crate) async fn until_ready(&self, within: Duration) -> Result<()> {
        wait::until("the API is ready", within, async || {
            Ok((self.get("/readyz").await.whole()?.status == 200).then_some(()))
        })
        .await
    }

    /// A request by whoever set the installation up, as it goes over the wire.
    pub(crate) fn written(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let client = Client::of(self);
        http::written(client.address, method, path, &client.headers(headers), body)
    }

    /// The token of whoever set the installation up.
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &[], &[]).await
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        Client::of(self).call(method, path, headers, body).await
    }

    /// Asks for a report by HTTP, once, and notes the promise if one was given.
    pub(crate) async fn ask_for_report(&self, body: &[u8]) -> Result<Answer> {
        let answer = self.call("POST", REPORT_PATH, &[], body).await.whole()?;
        self.ledger.note(&answer)?;
        Ok(answer)
    }

    /// Accepts a job in the database's own words, past the API, and notes the promise.
    pub(crate) async fn accept(&self, job: &impl Job, promise: Promise) -> Result<Uuid> {
        let mut tx = self.db.system.begin().await?;
        let accepted = enqueue(&mut tx, Origin::INSTALLATION, job).await?;
        tx.commit().await?;
        self.ledger.expect(accepted.id.0, promise)?;
        Ok(accepted.id.0)
    }

    /// Accepts `count` deeds that must be completed.
    pub(crate) async fn accept_deeds(&self, count: usize, act: deed::Act) -> Result<Vec<Uuid>> {
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            ids.push(self.accept(&deed::Deed::of(act.clone()), Promise::Completed).await?);
        }
        Ok(ids)
    }

    /// A file that deeds can wait for.
    pub(crate) fn gate(&self) -> PathBuf {
        self.folder.join(format!("gate-{}", Uuid::new_v4().simple()))
    }

    /// Waits until the deed has been begun `times` times, and tells the process of the latest.
    pub(crate) async fn until_begun(&self, job: Uuid, times: usize) -> Result<i32> {
        wait::until("the deed is begun", START, async || {
            let begun: Vec<i32> =
                sqlx::query_scalar("select process from deeds_begun where job_id = $1 order by at")
                    .bind(job)
                    .fetch_all(self.db.pool())
                    .await?;
            Ok((begun.len() >= times).then(|| begun.last().copied()).flatten())
        })
        .await
    }

    /// Waits until `count` deeds are done.
    pub(crate) async fn until_done(&self, count: i64) -> Result<()> {
        wait::until("enough deeds are done", START, async || {
            let done: i64 =
                sqlx::query_scalar("select count(*) from deeds_done").fetch_one(self.db.pool()).await?;
            Ok((done >= count).then_some(()))
        })
        .await
    }

    pub(crate) async fn state_of(&self, job: Uuid) -> Result<(String, i32, i32)> {
        Ok(sqlx::query_as("select state, attempt, crashes from jobs where id = $1")
            .bind(job)
            .fetch_one(self.db.pool())
            .await?)
    }

    /// How the attempts of a job ended, in order.
    pub(crate) async fn outcomes(&self, job: Uuid) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar(
            "select coalesce(outcome, 'open') from job_attempts where job_id = $1 order by fence",
        )
        .bind(job)
        .fetch_all(self.db.pool())
        .await?)
    }

    /// `bound`, stretched as far as this run allows.
    pub(crate) fn stretched(&self, bound: Duration) -> Duration {
        bound.mul_f64(self.patience)
    }

    /// Waits until nothing is left to do. Returns how long that was after `since`.
    ///
    /// # Errors
    /// When `bound` passes first, with what is left.
    pub(crate) async fn settle(&self, since: Instant, bound: Duration) -> Result<Duration> {
        let within = self.stretched(bound).saturating_sub(since.elapsed());
        wait::until("everything that was accepted is at its end", within, async || {
            let open: Vec<(String, String, i64)> = sqlx::query_as(
                "select kind, state, count(*) from jobs
                  where state not in ('completed', 'cancelled', 'dead') and run_at < now() + interval '5 minutes'
                  group by kind, state order by kind, state",
            )
            .fetch_all(self.db.pool())
            .await?;
            ensure!(open.is_empty(), "still open: {open:?}");
            Ok(Some(()))
        })
        .await?;
        Ok(since.elapsed())
    }

    /// Holds what is left of the row against the invariants.
    pub(crate) async fn check(&mut self) -> Result<()> {
        invariants::check(self).await
    }
}

pub(crate) const REPORT_PATH: &str = "/api/reports/generate";

/// The body of a request for a small report.
pub(crate) fn report_request() -> Vec<u8> {
    json!({ "title": "Under fault", "report_type": "executive_summary", "format": "json" })
        .to_string()
        .into_bytes()
}

/// What sends requests, cheap to clone for many at once.
#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    authorization: Option<String>,
}

impl Client {
    pub(crate) fn of(system: &System<'_>) -> Self {
        let authorization = system.token.as_ref().map(|token| format!("Bearer {token}"));
        Self { address: system.api_address, authorization }
    }

    #[must_use]
    pub(crate) fn signed_in_with(mut self, token: &str) -> Self {
        self.authorization = Some(format!("Bearer {token}"));
        self
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        http::send(self.address, method, path, &self.headers(headers), body).await
    }

    fn headers<'a>(&'a self, further: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut all = vec![("content-type", "application/json")];
        if let Some(authorization) = &self.authorization {
            all.push(("authorization", authorization));
        }
        all.extend_from_slice(further);
        all
    }
}
