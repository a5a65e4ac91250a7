//! Workers as they announce themselves, and what each has in hand.

use chrono::{DateTime, Utc};
use domain::page::{Page, PageRequest};
use sqlx::FromRow;

use crate::{db::TenantTx, error::Result};

/// Silence after which a worker counts as gone. It speaks every five seconds.
const SILENT_AFTER_SECONDS: f64 = 30.0;

/// A worker process.
#[derive(Debug, Clone, FromRow)]
pub struct Worker {
    pub name: String,
    pub host: String,
    pub version: String,
    pub queues: Vec<String>,
    /// Jobs at once on each queue.
    pub slots: i32,
    pub started_at: DateTime<Utc>,
    pub heartbeat_at: DateTime<Utc>,
    pub is_alive: bool,
    /// Jobs in hand that this tenant may know of: its own and the installation's.
    pub running: i64,
}

/// A page of workers, those heard of last first.
///
/// # Errors
/// When the database cannot be reached.
pub async fn list(tx: &mut TenantTx, page: PageRequest) -> Result<Page<Worker>> {
    let items = sqlx::query_as(
        "select w.name, w.host, w.version, w.queues, w.slots, w.started_at, w.heartbeat_at,
                w.heartbeat_at > now() - make_interval(secs => $1) as is_alive,
                (select count(*) from jobs j
                  where j.state = 'running' and j.leased_by = w.name
                    and (j.tenant_id is null or j.tenant_id = $2)) as running
           from workers w order by w.heartbeat_at desc, w.name limit $3 offset $4",
    )
    .bind(SILENT_AFTER_SECONDS)
    .bind(tx.tenant().0)
    .bind(page.limit())
    .bind(page.offset())
    .fetch_all(&mut **tx)
    .await?;
    let total = sqlx::query_scalar("select count(*) from workers").fetch_one(&mut **tx).await?;
    Ok(Page::new(items, total, page))
}
