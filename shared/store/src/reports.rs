//! Reports and their rendered files.

use chrono::{DateTime, Utc};
use domain::{
    document::Format,
    id::{ArtifactId, JobId, ReportId, UserId},
    page::{Direction, Page, PageRequest},
};
use sqlx::FromRow;
use uuid::Uuid;

use crate::{
    artifacts::{self, Finished},
    db::TenantTx,
    error::Result,
    paging::{self, Order, Part, Total},
    sql::Conditions,
};

/// A report that is being asked for.
#[derive(Debug, Clone)]
pub struct NewReport {
    pub id: ReportId,
    /// What makes it: to be enqueued in the same transaction.
    pub job: JobId,
    pub title: String,
    pub report_type: String,
    pub framework: Option<String>,
    pub format: Format,
    pub options: serde_json::Value,
    pub requested_by: Option<UserId>,
}

/// A report as it stands. One whose job died without a verdict on it has failed: a trigger sees to that.
#[derive(Debug, Clone, FromRow)]
pub struct Report {
    pub id: Uuid,
    pub title: String,
    pub report_type: String,
    pub framework: Option<String>,
    pub format: String,
    pub options: serde_json::Value,
    pub status: String,
    pub job_id: Option<Uuid>,
    pub requested_by: Option<Uuid>,
    pub error: Option<String>,
    pub page_count: Option<i32>,
    pub document_sha256: Option<Vec<u8>>,
    /// Of the file in the report's own format.
    pub byte_count: Option<i64>,
    pub created_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
}

/// A rendered file of a report.
#[derive(Debug, Clone, FromRow)]
pub struct Artifact {
    pub id: Uuid,
    pub report_id: Uuid,
    pub format: String,
    pub file_name: String,
    pub media_type: String,
    pub byte_count: i64,
    pub sha256: Vec<u8>,
    pub storage_key: String,
    pub created_at: DateTime<Utc>,
}

/// Which reports are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub framework: Option<String>,
    pub status: Option<String>,
    pub report_type: Option<String>,
    /// Only what was finished then or later; of what is not finished it counts when it was asked for.
    pub from: Option<DateTime<Utc>>,
    /// Only what was finished before.
    pub before: Option<DateTime<Utc>>,
}

/// What reports can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    CreatedAt,
    ReportType,
    Status,
    Title,
}

impl Sort {
    fn order(self, direction: Direction) -> Order {
        let key = match self {
            Self::CreatedAt => ("created_at", "timestamptz"),
            Self::ReportType => ("report_type", "text"),
            Self::Status => ("status", "text"),
            Self::Title => ("title", "text"),
        };
        Order { key, tie: ("id", "uuid"), direction }
    }
}

macro_rules! select {
    () => {
        "select id, title, report_type, framework, format, options, status, job_id, requested_by, error, page_count,
                document_sha256, created_at, completed_at,
                (select a.byte_count from artifacts a where a.tenant_id = reports.tenant_id and a.report_id = reports.id and a.format = reports.format) as byte_count
           from reports"
    };
}

/// Records a request.
///
/// # Errors
/// When the database refuses.
pub async fn insert(tx: &mut TenantTx, new: &NewReport) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query(
        "insert into reports (tenant_id, id, title, report_type, framework, format, options, requested_by, job_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(tenant.0)
    .bind(new.id.0)
    .bind(&new.title)
    .bind(&new.report_type)
    .bind(&new.framework)
    .bind(new.format.as_str())
    .bind(&new.options)
    .bind(new.requested_by.map(|user| user.0))
    .bind(new.job.0)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// One report.
///
/// # Errors
/// [`crate::Error::NotFound`] when this tenant has none of that id.
pub async fn find(tx: &mut TenantTx, id: ReportId) -> Result<Report> {
    let tenant = tx.tenant();
    let report = sqlx::query_as(concat!(select!(), " where tenant_id = $1 and id = $2"))
        .bind(tenant.0)
        .bind(id.0)
        .fetch_one(&mut **tx)
        .await?;
    Ok(report)
}

/// A page of reports.
///
/// # Errors
/// When the database cannot be reached.
pub async fn list(
    tx: &mut TenantTx,
    filter: &Filter,
    sort: (Sort, Direction),
    page: PageRequest,
) -> Result<Page<Report>> {
    let narrow = |tx: &TenantTx, select: String| narrowed(tx, select, filter);
    let parts = Part::whole(select!(), "reports", sort.0.order(sort.1));
    let mut counts = paging::counts(tx, "reports");
    push_equal(&mut counts, ["facets[1]", "facets[2]", "facets[3]"], filter);
    let total = match (filter.from, filter.before) {
        (None, None) => Total::Known(paging::sum(tx, counts).await?),
        _ => Total::Counted(narrowed(tx, "select count(*) from reports", filter)),
    };
    paging::page(tx, &format!("reports {filter:?}"), &parts, page, total, narrow).await
}

fn narrowed(tx: &TenantTx, select: impl Into<String>, filter: &Filter) -> Conditions {
    let mut conditions = Conditions::after(select);
    conditions.also().push("tenant_id = ").push_bind(tx.tenant().0);
    push_equal(&mut conditions, ["framework", "status", "report_type"], filter);
    if let Some(from) = filter.from {
        conditions.also().push("coalesce(completed_at, created_at) >= ").push_bind(from);
    }
    if let Some(before) = filter.before {
        conditions.also().push("coalesce(completed_at, created_at) < ").push_bind(before);
    }
    conditions
}

/// Adds what `filter` asks of these columns.
fn push_equal(
    conditions: &mut Conditions,
    [framework, status, report_type]: [&'static str; 3],
    filter: &Filter,
) {
    conditions.equal(framework, filter.framework.as_deref());
    conditions.equal(status, filter.status.as_ref().map(|status| status.to_lowercase()).as_deref());
    conditions.equal(report_type, filter.report_type.as_deref());
}

/// Records that the report is there.
///
/// # Errors
/// [`crate::Error::NotFound`] when it was deleted meanwhile.
pub async fn complete(tx: &mut TenantTx, id: ReportId, finished: &Finished) -> Result<ArtifactId> {
    let tenant = tx.tenant();
    let updated = sqlx::query(
        "update reports
            set status = 'completed', page_count = $3, error = null, completed_at = now()
          where tenant_id = $1 and id = $2",
    )
    .bind(tenant.0)
    .bind(id.0)
    .bind(finished.page_count.and_then(|pages| i32::try_from(pages).ok()))
    .execute(&mut **tx)
    .await?;
    if updated.rows_affected() == 0 {
        return Err(crate::Error::NotFound);
    }
    artifacts::record(tx, id, finished).await
}

/// Records that the report cannot be made, and why.
///
/// # Errors
/// When the database refuses.
pub async fn fail(tx: &mut TenantTx, id: ReportId, why: &str) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query(
        "update reports set status = 'failed', error = $3, completed_at = now()
          where tenant_id = $1 and id = $2 and status = 'generating'",
    )
    .bind(tenant.0)
    .bind(id.0)
    .bind(why)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The report's file in its own format.
///
/// # Errors
/// [`crate::Error::NotFound`] when there is none (yet), or not for this tenant.
pub async fn artifact(tx: &mut TenantTx, report: ReportId) -> Result<Artifact> {
    let tenant = tx.tenant();
    let artifact = sqlx::query_as(
        "select a.id, a.report_id, a.format, a.file_name, a.media_type, a.byte_count, a.sha256, a.storage_key, a.created_at
           from artifacts a join reports r on r.id = a.report_id and r.format = a.format
          where a.tenant_id = $1 and a.report_id = $2",
    )
    .bind(tenant.0)
    .bind(report.0)
    .fetch_one(&mut **tx)
    .await?;
    Ok(artifact)
}

/// Deletes a report. Its files are removed from the store later, by `purge_expired`.
///
/// # Errors
/// [`crate::Error::NotFound`] when this tenant has none of that id.
pub async fn delete(tx: &mut TenantTx, id: ReportId) -> Result<()> {
    let tenant = tx.tenant();
    let deleted = sqlx::query("delete from reports where tenant_id = $1 and id = $2")
        .bind(tenant.0)
        .bind(id.0)
        .execute(&mut **tx)
        .await?;
    if deleted.rows_affected() == 0 { Err(crate::Error::NotFound) } else { Ok(()) }
}
