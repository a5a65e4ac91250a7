//! A database, a worker and a folder of feeds for one test.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use domain::{
    id::{JobId, SourceId, SubmissionId, TenantId},
    source::FeedKind,
};
use harness::TestDb;
use queue::{
    Job, Registry,
    claim::JobRef,
    enqueue::{Origin, enqueue},
    jobs::{Correlate, CrawlSource, IngestInventory},
    runner::Runner,
};
use runtime::{config::Config, egress::Url};
use serde_json::Value;
use sqlx::{AssertSqlSafe, FromRow, PgPool};
use store::{SystemDb, inventory::Format, sources};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::context::Context;

pub(crate) struct Site {
    pub(crate) db: SystemDb,
    pub(crate) tenant: TenantId,
    runner: Runner<Context>,
    folder: TempDir,
    _database: TestDb,
}

#[derive(Debug, FromRow)]
pub(crate) struct Finding {
    pub(crate) id: Uuid,
    pub(crate) ecosystem: String,
    pub(crate) package_name: String,
    pub(crate) vulnerability: String,
    pub(crate) installed_version: String,
    pub(crate) fixed_version: Option<String>,
    pub(crate) confidence: String,
    pub(crate) severity: String,
    pub(crate) composite_score: f32,
    pub(crate) is_kev: bool,
    pub(crate) status: String,
    pub(crate) resolution: Option<String>,
    pub(crate) evidence: Value,
}

#[derive(Debug, FromRow)]
pub(crate) struct Run {
    pub(crate) source_slug: Option<String>,
    pub(crate) status: String,
    pub(crate) records_processed: i64,
    pub(crate) records_created: i64,
    pub(crate) records_removed: i64,
    pub(crate) records_unchanged: i64,
    pub(crate) records_rejected: i64,
    pub(crate) error: Option<String>,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let database = TestDb::new().await;
        let db = database.system.clone();

        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = folder.path().to_str().expect("utf-8").to_owned();
        let settings = BTreeMap::from([
            ("PLIMSOLL_HOME".to_owned(), home),
            ("SOURCE_ALLOW_PRIVATE".to_owned(), "127.0.0.0/8".to_owned()),
        ]);
        let config = Arc::new(Config::load(settings).expect("sound settings"));
        let context = Context::new(config, db.clone()).expect("a worker");
        let mut registry = Registry::default();
        registry.add::<CrawlSource>();
        registry.add::<IngestInventory>();
        registry.add::<Correlate>();
        let runner = Runner::new(
            registry,
            context,
            db.pool().clone(),
            "test".to_owned(),
            Duration::from_secs(60),
            CancellationToken::new(),
        );
        let tenant = database.tenant("acme").await;
        Self { db, tenant, runner, folder, _database: database }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn write(&self, file: &str, content: &Value) {
        std::fs::write(self.path(file), content.to_string()).expect("written");
    }

    /// A source that reads `file`.
    pub(crate) async fn source(&self, slug: &str, feed: FeedKind, file: &str) -> SourceId {
        let id = SourceId::new();
        sqlx::query(
            "insert into sources (id, slug, name, category, feed, url, crawl_interval_minutes)
             values ($1, $2, $2, 'advisory', $3, $4, 60)",
        )
        .bind(id.0)
        .bind(slug)
        .bind(feed.as_str())
        .bind(Url::from_file_path(self.path(file)).expect("an absolute path").as_str())
        .execute(self.pool())
        .await
        .expect("a source");
        id
    }

    /// The Debian tracker with one problem of openssl, merged.
    pub(crate) async fn know_of_openssl(&self, fixed: &str) -> SourceId {
        let tracker = self.source("debian-tracker", FeedKind::DebianTracker, "debian.json").await;
        self.write("debian.json", &crate::debian("openssl", "CVE-2026-0001", crate::fixed_in(fixed)));
        self.crawl(tracker).await.expect("merged");
        tracker
    }

    /// Crawls a source, then does whatever follows. On failure: what the job died of.
    pub(crate) async fn crawl(&self, source_id: SourceId) -> Result<(), String> {
        let job = self.enqueue(Origin::INSTALLATION, &CrawlSource { source_id }).await;
        self.run_jobs().await;
        self.verdict(job).await
    }

    /// Registers the snapshot's sources and crawls all of them.
    pub(crate) async fn use_snapshot(&self, folder: &Path) {
        let folder = Url::from_directory_path(folder.canonicalize().expect("it is there")).expect("absolute");
        let mut tx = self.db.begin().await.expect("a transaction");
        sources::ensure(&mut tx, sources::PUBLIC).await.expect("registered");
        sources::use_snapshot(&mut tx, &folder).await.expect("set");
        tx.commit().await.expect("committed");
        for source in self.column::<Uuid>("select id from sources where enabled order by slug").await {
            self.enqueue(Origin::INSTALLATION, &CrawlSource { source_id: SourceId(source) }).await;
        }
        self.run_jobs().await;
    }

    pub(crate) async fn submit(&self, report: &Value) -> SubmissionId {
        self.submit_as(Format::HostReport, report).await
    }

    pub(crate) async fn submit_as(&self, format: Format, document: &Value) -> SubmissionId {
        let mut tx = self.db.begin_as(self.tenant).await.expect("a transaction");
        let payload = document.to_string();
        let id = store::inventory::submit(&mut tx, format, payload.as_bytes()).await.expect("kept");
        tx.commit().await.expect("committed");
        id
    }

    pub(crate) async fn ingest(&self, submission_id: SubmissionId) -> Result<(), String> {
        let job = IngestInventory { tenant_id: self.tenant, submission_id };
        let job = self.enqueue(Origin::tenant(self.tenant), &job).await;
        self.run_jobs().await;
        self.verdict(job).await
    }

    /// Hands in a host's report, which is read and compared.
    pub(crate) async fn report(&self, report: &Value) {
        let submission = self.submit(report).await;
        self.ingest(submission).await.expect("read");
    }

    /// Compares all assets.
    pub(crate) async fn correlate(&self) {
        let job = Correlate { tenant_id: self.tenant, asset_id: None };
        let job = self.enqueue(Origin::tenant(self.tenant), &job).await;
        self.run_jobs().await;
        self.verdict(job).await.expect("compared");
    }

    pub(crate) async fn findings(&self) -> Vec<Finding> {
        sqlx::query_as(
            "select id, ecosystem, package_name, vulnerability, installed_version, fixed_version, confidence, severity,
                    composite_score, is_kev, status, resolution, evidence
               from findings where tenant_id = $1 order by package_name, vulnerability",
        )
        .bind(self.tenant.0)
        .fetch_all(self.pool())
        .await
        .expect("findings")
    }

    pub(crate) async fn events(&self, finding: &Finding) -> Vec<String> {
        sqlx::query_scalar("select event from finding_events where finding_id = $1 order by at")
            .bind(finding.id)
            .fetch_all(self.pool())
            .await
            .expect("events")
    }

    pub(crate) async fn runs(&self, run_type: &str) -> Vec<Run> {
        sqlx::query_as(
            "select source_slug, status, records_processed, records_created, records_removed, records_unchanged,
                    records_rejected, error
               from scan_runs where run_type = $1 order by id",
        )
        .bind(run_type)
        .fetch_all(self.pool())
        .await
        .expect("runs")
    }

    pub(crate) async fn last_run(&self, run_type: &str) -> Run {
        self.runs(run_type).await.pop().expect("a run")
    }

    /// Where the rows of `tables` lie, which transaction wrote and which locked or deleted each: the same again means that nothing was
    /// written.
    pub(crate) async fn rows_as_stored(&self, tables: &str) -> Vec<String> {
        let mut stored = Vec::new();
        for table in tables.split(", ") {
            stored.extend(
                self.column::<String>(&format!(
                    "select '{table} ' || ctid || ' ' || xmin || ' ' || xmax from {table}"
                ))
                .await,
            );
        }
        stored
    }

    pub(crate) async fn column<T>(&self, query: &str) -> Vec<T>
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(self.pool()).await.expect("a column")
    }

    pub(crate) async fn count(&self, query: &str) -> i64 {
        self.column::<i64>(query).await[0]
    }

    pub(crate) async fn run(&self, statement: &str) {
        sqlx::query(AssertSqlSafe(statement)).execute(self.pool()).await.expect("executed");
    }

    fn pool(&self) -> &PgPool {
        self.db.pool()
    }

    async fn enqueue<J: Job>(&self, origin: Origin, job: &J) -> JobId {
        let mut connection = self.pool().acquire().await.expect("a connection");
        enqueue(&mut connection, origin, job).await.expect("enqueued").id
    }

    /// Does what waits, and what comes of it, one after the other.
    async fn run_jobs(&self) {
        loop {
            let next: Option<(Uuid, i64)> = sqlx::query_as(
                "update jobs set state = 'dispatched', fence = nextval('job_fences'),
                        leased_until = now() + interval '1 minute'
                  where id = (select id from jobs where state = 'available' order by id limit 1)
              returning id, fence",
            )
            .fetch_optional(self.pool())
            .await
            .expect("dispatched");
            let Some((id, fence)) = next else { break };
            self.runner.run(JobRef { id, fence }).await;
        }
        let failed: Vec<String> = self
            .column("select last_error from jobs where kind = 'correlate' and state <> 'completed'")
            .await;
        assert!(failed.is_empty(), "{failed:?}");
    }

    async fn verdict(&self, job: JobId) -> Result<(), String> {
        let (state, error): (String, Option<String>) =
            sqlx::query_as("select state, last_error from jobs where id = $1")
                .bind(job.0)
                .fetch_one(self.pool())
                .await
                .expect("the job");
        if state == "completed" { Ok(()) } else { Err(error.unwrap_or(state)) }
    }
}
