//! Runs: what a crawl, an ingestion or a correlation did, with its counts.
//!
//! A run is written twice: as `running` when an attempt starts, in a transaction of its own so that it can be seen, and with its
//! counts in the transaction of the result.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use domain::{
    id::{JobId, ScanRunId, TenantId},
    page::{Direction, Page, PageRequest},
};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    db::TenantTx,
    error::Result,
    paging::{self, Order, Part, Total},
    sql::Conditions,
};

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunType {
    SourceCrawl,
    Inventory,
    Correlation,
}

impl RunType {
    /// The word kept in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SourceCrawl => "source_crawl",
            Self::Inventory => "inventory",
            Self::Correlation => "correlation",
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Success,
    /// Some of it could not be read.
    Partial,
    /// The source has nothing new.
    Unchanged,
    Failed,
    /// The content was refused as a whole because it looks wrong.
    Quarantined,
}

impl Status {
    /// The word kept in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Quarantined => "quarantined",
        }
    }
}

/// What became of records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Records looked at.
    pub processed: i64,
    pub created: i64,
    pub updated: i64,
    pub removed: i64,
    pub unchanged: i64,
    pub rejected: i64,
}

impl Counts {
    /// True when something is not as it was before.
    #[must_use]
    pub fn is_change(&self) -> bool {
        self.created + self.updated + self.removed > 0
    }
}

/// A run that starts.
#[derive(Debug, Clone, Copy)]
pub struct NewRun<'a> {
    /// None: a crawl of shared knowledge.
    pub tenant: Option<TenantId>,
    pub job: JobId,
    pub run_type: RunType,
    pub source_slug: Option<&'a str>,
}

/// The end of a run.
#[derive(Debug, Clone)]
pub struct Finish<'a> {
    pub status: Status,
    pub counts: Counts,
    pub bytes_read: i64,
    pub provenance: serde_json::Value,
    pub error: Option<&'a str>,
}

impl Finish<'_> {
    /// A run that did what it was for.
    #[must_use]
    pub fn success(counts: Counts) -> Self {
        Self {
            status: Status::Success,
            counts,
            bytes_read: 0,
            provenance: serde_json::json!({}),
            error: None,
        }
    }
}

/// Records a run of `new.job`. Runs that were left behind by an attempt that was cut short, at this job or at one that is not running
/// any more, are closed as failed.
///
/// # Errors
/// When the database refuses.
pub async fn begin(connection: &mut PgConnection, new: &NewRun<'_>) -> Result<ScanRunId> {
    let id = ScanRunId::new();
    sqlx::query(
        "update scan_runs set status = 'failed', completed_at = now(), error = 'interrupted'
          where tenant_id is not distinct from $1 and status = 'running'
            and (job_id = $2
                 or not exists (select from jobs where jobs.id = scan_runs.job_id and jobs.state = 'running'))",
    )
    .bind(new.tenant.map(|tenant| tenant.0))
    .bind(new.job.0)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "insert into scan_runs (id, tenant_id, job_id, run_type, source_slug, status)
         values ($1, $2, $3, $4, $5, 'running')",
    )
    .bind(id.0)
    .bind(new.tenant.map(|tenant| tenant.0))
    .bind(new.job.0)
    .bind(new.run_type.as_str())
    .bind(new.source_slug)
    .execute(connection)
    .await?;
    Ok(id)
}

/// Records that run `id` came to nothing, and why.
///
/// # Errors
/// When the database refuses.
pub async fn fail(connection: &mut PgConnection, id: ScanRunId, why: &str) -> Result<()> {
    let end = Finish { status: Status::Failed, error: Some(why), ..Finish::success(Counts::default()) };
    finish(connection, id, &end).await
}

/// Records the end of run `id`.
///
/// # Errors
/// When the database refuses.
pub async fn finish(connection: &mut PgConnection, id: ScanRunId, end: &Finish<'_>) -> Result<()> {
    sqlx::query(
        "update scan_runs
            set status = $2, completed_at = clock_timestamp(), records_processed = $3, records_created = $4,
                records_updated = $5, records_removed = $6, records_unchanged = $7, records_rejected = $8,
                bytes_read = $9, provenance = $10, error = $11
          where id = $1",
    )
    .bind(id.0)
    .bind(end.status.as_str())
    .bind(end.counts.processed)
    .bind(end.counts.created)
    .bind(end.counts.updated)
    .bind(end.counts.removed)
    .bind(end.counts.unchanged)
    .bind(end.counts.rejected)
    .bind(end.bytes_read)
    .bind(&end.provenance)
    .bind(end.error)
    .execute(connection)
    .await?;
    Ok(())
}

/// A run as it stands.
#[derive(Debug, Clone, FromRow)]
pub struct ScanRun {
    pub id: Uuid,
    pub job_id: Option<Uuid>,
    pub run_type: String,
    pub source_slug: Option<String>,
    pub status: String,
    pub started_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
    pub records_processed: i64,
    pub records_created: i64,
    pub records_updated: i64,
    pub records_removed: i64,
    pub records_unchanged: i64,
    pub records_rejected: i64,
    pub bytes_read: i64,
    pub provenance: serde_json::Value,
    pub error: Option<String>,
}

/// Which runs are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub run_type: Option<String>,
    pub source_slug: Option<String>,
    pub status: Option<String>,
    /// Started on this day, in UTC, or later.
    pub from: Option<NaiveDate>,
    /// Started before this day.
    pub until: Option<NaiveDate>,
}

/// What runs can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    StartedAt,
    CompletedAt,
    Status,
    SourceSlug,
    RunType,
    RecordsProcessed,
}

impl Sort {
    /// The parts that the list has in this order.
    fn parts(self, direction: Direction) -> Vec<Part> {
        let order = |key| Order { key, tie: ("id", "uuid"), direction };
        let whole = |key| Part::whole(SELECT, TABLE, order(key));
        let absent_last = |key, absent| Part::absent_last(SELECT, TABLE, order(key), absent);
        match self {
            Self::StartedAt => whole(("started_at", "timestamptz")),
            Self::CompletedAt => absent_last(
                ("case when completed_at is null then '-infinity' else completed_at end", "timestamptz"),
                "-infinity",
            ),
            Self::Status => whole(("status", "text")),
            Self::SourceSlug => {
                absent_last(("case when source_slug is null then '' else source_slug end", "text"), "")
            }
            Self::RunType => whole(("run_type", "text")),
            Self::RecordsProcessed => whole(("records_processed", "bigint")),
        }
    }
}

macro_rules! columns {
    () => {
        "id, job_id, run_type, source_slug, status, started_at, completed_at, records_processed, records_created,
         records_updated, records_removed, records_unchanged, records_rejected, bytes_read, provenance, error"
    };
}

/// The tenant's runs and the crawls that all tenants share, each from a stretch of their own: see [`Part::each`].
macro_rules! visible {
    () => {
        concat!(
            "(values (app_tenant()), ('00000000-0000-0000-0000-000000000000'::uuid)) as whose (owner)
              cross join lateral (select ",
            columns!(),
            " from scan_runs"
        )
    };
}

const TABLE: &str = visible!();
const SELECT: &str = concat!("select ", columns!(), " from ", visible!());

/// A page of the tenant's runs and of the crawls that all tenants share. What has nothing to be ordered by comes last.
///
/// # Errors
/// When the database refuses.
pub async fn list(
    tx: &mut TenantTx,
    filter: &Filter,
    sort: (Sort, Direction),
    page: PageRequest,
) -> Result<Page<ScanRun>> {
    let narrow = |_: &TenantTx, select: String| wanted(select, filter);
    let list = format!("runs {filter:?}");
    let mut parts = sort.0.parts(sort.1);
    for part in &mut parts {
        part.each = Some("scan_runs.owner = whose.owner");
    }
    let mut counts = paging::counts(tx, "scan_runs");
    push_equal(&mut counts, ["facets[1]", "facets[2]", "facets[3]"], filter);
    for (operator, day) in [(" >= ", filter.from), (" < ", filter.until)] {
        if let Some(day) = day {
            counts.also().push("facets[4]::date").push(operator).push_bind(day);
        }
    }
    let total = Total::Known(paging::sum(tx, counts).await?);
    paging::page(tx, &list, &parts, page, total, narrow).await
}

fn wanted(select: impl Into<String>, filter: &Filter) -> Conditions {
    let mut conditions = Conditions::after(select);
    push_equal(&mut conditions, ["run_type", "source_slug", "status"], filter);
    for (operator, day) in [(" >= ", filter.from), (" < ", filter.until)] {
        if let Some(day) = day {
            conditions
                .also()
                .push("started_at")
                .push(operator)
                .push_bind(day.and_time(NaiveTime::MIN).and_utc());
        }
    }
    conditions
}

/// Adds what `filter` asks of these columns.
fn push_equal(
    conditions: &mut Conditions,
    [run_type, source_slug, status]: [&'static str; 3],
    filter: &Filter,
) {
    conditions.equal(run_type, filter.run_type.as_deref());
    conditions.equal(source_slug, filter.source_slug.as_deref());
    conditions.equal(status, filter.status.as_deref());
}

/// One run, the tenant's own or a crawl that all tenants share.
///
/// # Errors
/// [`crate::Error::NotFound`] when there is none that this tenant may see.
pub async fn find(tx: &mut TenantTx, id: ScanRunId) -> Result<ScanRun> {
    let tenant = tx.tenant();
    let run = sqlx::query_as(concat!(
        "select ",
        columns!(),
        " from scan_runs where id = $1 and (tenant_id is null or tenant_id = $2)"
    ))
    .bind(id.0)
    .bind(tenant.0)
    .fetch_one(&mut **tx)
    .await?;
    Ok(run)
}
