//! The worker processes as an operator sees them, and the orders that may be given to them.
//!
//! Leases alone decide who holds a job; these rows only tell. A worker reads its order with its heartbeat.

use std::{fmt, str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use domain::id::TenantId;
use sqlx::{FromRow, PgExecutor};
use store::Result;
use uuid::Uuid;

/// How often a worker speaks, and reads its order.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(2);
/// Silence after which a worker counts as gone.
pub const SILENT_AFTER: Duration = Duration::from_secs(30);

/// What a worker is asked to do. Holds within [`HEARTBEAT_EVERY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Take jobs.
    Work,
    /// Finish what runs and take nothing new, until told to work again.
    Quiet,
    /// Finish what runs, then end the process.
    Drain,
}

impl Order {
    /// The words an operator may say.
    pub const ALL: [Self; 3] = [Self::Work, Self::Quiet, Self::Drain];

    /// The word in the row.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Quiet => "quiet",
            Self::Drain => "drain",
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Order {
    type Err = String;

    fn from_str(word: &str) -> std::result::Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|order| order.as_str() == word)
            .ok_or_else(|| format!("order `{word}` is not one of work, quiet, drain"))
    }
}

/// A worker process.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct WorkerView {
    /// New at every start.
    pub name: String,
    pub host: String,
    pub version: String,
    pub queues: Vec<String>,
    /// How many jobs at once on each of `queues`, in their order.
    pub queue_slots: Vec<i32>,
    /// The word of [`Order`]: what it was last told.
    pub wanted: String,
    /// What it does: `working`, `quiet` or `draining`.
    pub mode: String,
    pub started_at: DateTime<Utc>,
    pub heartbeat_at: DateTime<Utc>,
    /// Heard of within [`SILENT_AFTER`].
    pub is_alive: bool,
}

/// A job in a worker's hands.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct InHand {
    pub worker: String,
    pub id: Uuid,
    pub tenant_id: Option<Uuid>,
    pub kind: String,
    pub queue: String,
    pub attempt: i32,
    /// 0 to 100.
    pub progress: i16,
    pub progress_note: Option<String>,
    pub started_at: Option<DateTime<Utc>>,
}

/// All workers of the last hour, those heard of last first.
///
/// # Errors
/// When the database cannot be reached.
pub async fn list(db: impl PgExecutor<'_>) -> Result<Vec<WorkerView>> {
    let workers = sqlx::query_as(
        "select name, host, version, queues, queue_slots, wanted, mode, started_at, heartbeat_at,
                heartbeat_at > now() - make_interval(secs => $1) as is_alive
           from workers order by heartbeat_at desc, name",
    )
    .bind(SILENT_AFTER.as_secs_f64())
    .fetch_all(db)
    .await?;
    Ok(workers)
}

/// What workers have in hand, the longest running first: of one tenant and of the installation, or with `None` of everybody.
///
/// # Errors
/// When the database cannot be reached.
pub async fn in_hand(db: impl PgExecutor<'_>, visible_to: Option<TenantId>) -> Result<Vec<InHand>> {
    let jobs = sqlx::query_as(
        "select leased_by as worker, id, tenant_id, kind, queue, attempt, progress, progress_note, started_at
           from jobs
          where state = 'running' and leased_by is not null
            and ($1::uuid is null or tenant_id = $1 or tenant_id is null)
          order by started_at, id",
    )
    .bind(visible_to.map(|tenant| tenant.0))
    .fetch_all(db)
    .await?;
    Ok(jobs)
}

/// Whether a live worker reads payloads of `kind` up to `version`.
pub(crate) async fn somebody_reads(db: impl PgExecutor<'_>, kind: &str, version: i32) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from workers
                         where (kinds ->> $1)::integer >= $2 and mode = 'working'
                           and heartbeat_at > now() - make_interval(secs => $3))",
    )
    .bind(kind)
    .bind(version)
    .bind(SILENT_AFTER.as_secs_f64())
    .fetch_one(db)
    .await
}

/// Tells the worker called `name` what to do. False: there is none of that name.
///
/// # Errors
/// When the database refuses.
pub async fn give_order(db: impl PgExecutor<'_>, name: &str, order: Order) -> Result<bool> {
    let told = sqlx::query("update workers set wanted = $2 where name = $1")
        .bind(name)
        .bind(order.as_str())
        .execute(db)
        .await?;
    Ok(told.rows_affected() == 1)
}
