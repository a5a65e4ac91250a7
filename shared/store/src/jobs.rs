//! Jobs as those who wait for them see them. Making, claiming and finishing them is the queue's business.

use chrono::{DateTime, Utc};
use domain::{
    id::JobId,
    page::{Page, PageRequest},
};
use sqlx::{FromRow, PgPool, QueryBuilder};
use uuid::Uuid;

use crate::{db::TenantTx, error::Result, paging};

/// A job as it stands.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Job {
    pub id: Uuid,
    /// True for work of the installation itself, such as crawling a public feed.
    pub is_shared: bool,
    pub kind: String,
    pub queue: String,
    /// The word of the state machine: `available`, `running`, `dead` …
    pub state: String,
    /// 0 to 100.
    pub progress: i16,
    pub progress_note: Option<String>,
    /// Attempts begun.
    pub attempt: i32,
    pub max_attempts: i32,
    /// Not before this moment.
    pub run_at: DateTime<Utc>,
    pub result: Option<serde_json::Value>,
    pub dead_reason: Option<String>,
    pub last_error: Option<String>,
    pub cancel_requested: bool,
    pub requested_by: Option<Uuid>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

macro_rules! columns {
    () => {
        "id, tenant_id is null as is_shared, kind, queue, state, progress, progress_note, attempt, max_attempts, run_at,
         result, dead_reason, last_error, cancel_requested, requested_by, created_at, started_at, finished_at"
    };
}

/// Which jobs are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub kind: Option<String>,
    /// Any of these states; none named: all.
    pub states: Vec<&'static str>,
}

/// One job of this tenant or of the installation.
///
/// # Errors
/// [`crate::Error::NotFound`] when there is none that this tenant may see.
pub async fn find(tx: &mut TenantTx, id: JobId) -> Result<Job> {
    let tenant = tx.tenant();
    let job = sqlx::query_as(concat!(
        "select ",
        columns!(),
        " from jobs where id = $2 and (tenant_id = $1 or tenant_id is null)"
    ))
    .bind(tenant.0)
    .bind(id.0)
    .fetch_one(&mut **tx)
    .await?;
    Ok(job)
}

/// A page of the tenant's and the installation's jobs, the newest first.
///
/// # Errors
/// When the database cannot be reached.
pub async fn list(tx: &mut TenantTx, filter: &Filter, page: PageRequest) -> Result<Page<Job>> {
    let tenant = tx.tenant();
    // Two ordered halves, so that each is read from its end of the index and no further than the page reaches.
    let reach = page.offset() + page.limit();
    let mut query = QueryBuilder::new("select * from ((select ");
    query.push(columns!()).push(" from jobs where tenant_id = ").push_bind(tenant.0);
    narrow(&mut query, filter);
    query.push(" order by jobs.tenant_id, created_at desc, id desc limit ").push_bind(reach);
    query.push(") union all (select ").push(columns!()).push(" from jobs where tenant_id is null");
    narrow(&mut query, filter);
    query.push(" order by jobs.tenant_id, created_at desc, id desc limit ").push_bind(reach);
    query.push(")) as job order by created_at desc, id desc limit ").push_bind(page.limit());
    query.push(" offset ").push_bind(page.offset());
    let items: Vec<Job> = query.build_query_as().fetch_all(&mut **tx).await?;
    let total = match paging::total_of_last_page(page, items.len()) {
        Some(total) => total,
        None => {
            let mut count =
                QueryBuilder::new("select count(*) from jobs where (tenant_id is null or tenant_id = ");
            count.push_bind(tenant.0).push(")");
            narrow(&mut count, filter);
            count.build_query_scalar().fetch_one(&mut **tx).await?
        }
    };
    Ok(Page::new(items, total, page))
}

fn narrow(query: &mut QueryBuilder<sqlx::Postgres>, filter: &Filter) {
    if let Some(kind) = filter.kind.clone() {
        query.push(" and kind = ").push_bind(kind);
    }
    if !filter.states.is_empty() {
        query.push(" and state = any (").push_bind(filter.states.clone()).push(")");
    }
}

/// How many things happen by themselves: recurring jobs, and sources that are crawled.
///
/// # Errors
/// When the database cannot be reached.
pub async fn count_schedules(pool: &PgPool) -> Result<i64> {
    let count = sqlx::query_scalar(
        "select (select count(*) from recurring_jobs where enabled) + (select count(*) from sources where enabled)",
    )
    .fetch_one(pool)
    .await?;
    Ok(count)
}
