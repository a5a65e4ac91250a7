//! What an operator sees of each queue and may change while everything runs.
//!
//! The row in `job_queues` is the whole interface: relays read it before every dispatch, and when its `revision` has risen they take back
//! what they sent by the older rules, so that an edit holds within a second wherever it was made.

use chrono::{DateTime, Utc};
use domain::id::{TenantId, UserId};
use sqlx::{FromRow, PgExecutor, PgPool};
use store::Result;
use uuid::Uuid;

use crate::job::Queue;

/// At most `jobs` begin in any `seconds`, except that after a rest up to `jobs` begin at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub jobs: i32,
    /// At least 1.
    pub seconds: i32,
}

/// What a queue is held to. `None`: no such limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Jobs at once over all workers; at least 1.
    pub max_running: Option<i32>,
    /// Jobs at once of one tenant, unless its share says otherwise; at least 1.
    pub max_per_tenant: Option<i32>,
    pub rate: Option<Rate>,
}

/// A queue, what it holds over all tenants, and what it is held to.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct QueueView {
    /// The word of [`Queue::as_str`].
    pub queue: String,
    pub paused_at: Option<DateTime<Utc>>,
    pub paused_by: Option<Uuid>,
    #[sqlx(flatten)]
    pub limits: LimitColumns,
    /// Jobs that could run now if there were room, those that wait for a concurrency key included.
    pub due: i64,
    /// Jobs that wait for their time.
    pub later: i64,
    /// Sent to the workers, not begun.
    pub dispatched: i64,
    pub running: i64,
    /// Since when the oldest due job could have run.
    pub oldest_due: Option<DateTime<Utc>>,
    /// Jobs that live workers could run at once.
    pub slots: i64,
}

/// [`Limits`] as they stand in the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct LimitColumns {
    pub max_running: Option<i32>,
    pub max_per_tenant: Option<i32>,
    pub rate_jobs: Option<i32>,
    pub rate_seconds: Option<i32>,
}

impl From<LimitColumns> for Limits {
    fn from(row: LimitColumns) -> Self {
        let rate = row.rate_jobs.zip(row.rate_seconds).map(|(jobs, seconds)| Rate { jobs, seconds });
        Self { max_running: row.max_running, max_per_tenant: row.max_per_tenant, rate }
    }
}

/// All queues, in the order of [`Queue::ALL`]. Counts what waits, some 100 ms for a backlog of a million.
///
/// # Errors
/// When the database cannot be reached.
pub async fn list(db: impl PgExecutor<'_>) -> Result<Vec<QueueView>> {
    let mut queues: Vec<QueueView> = sqlx::query_as(
        "select q.queue, q.paused_at, q.paused_by, q.max_running, q.max_per_tenant, q.rate_jobs, q.rate_seconds,
                load.due, load.later, load.dispatched, load.running, load.oldest_due,
                (select coalesce(sum(s.slots), 0)
                   from workers w, unnest(w.queues, w.queue_slots) as s (queue, slots)
                  where s.queue = q.queue and w.mode = 'working' and w.heartbeat_at > now() - make_interval(secs => $1)) as slots
           from job_queues q join job_queue_load() load on load.queue = q.queue",
    )
    .bind(crate::fleet::SILENT_AFTER.as_secs_f64())
    .fetch_all(db)
    .await?;
    queues.sort_by_key(|view| Queue::ALL.iter().position(|queue| queue.as_str() == view.queue));
    Ok(queues)
}

/// Starts no further job of `queue`. What runs is finished; what was sent to workers and not begun comes back.
/// False: it was paused already.
///
/// # Errors
/// When the database refuses.
pub async fn pause(db: impl PgExecutor<'_>, queue: Queue, by: Option<UserId>) -> Result<bool> {
    let paused = sqlx::query(
        "update job_queues set paused_at = now(), paused_by = $2, revision = revision + 1
          where queue = $1 and paused_at is null",
    )
    .bind(queue.as_str())
    .bind(by.map(|user| user.0))
    .execute(db)
    .await?;
    Ok(paused.rows_affected() == 1)
}

/// Ends a pause. False: there was none.
///
/// # Errors
/// When the database refuses.
pub async fn resume(db: impl PgExecutor<'_>, queue: Queue) -> Result<bool> {
    let resumed = sqlx::query(
        "update job_queues set paused_at = null, paused_by = null, revision = revision + 1
          where queue = $1 and paused_at is not null",
    )
    .bind(queue.as_str())
    .execute(db)
    .await?;
    Ok(resumed.rows_affected() == 1)
}

/// Holds `queue` to `limits` and to nothing else. A new rate begins with a full bucket.
///
/// # Errors
/// When a figure is below 1.
pub async fn set_limits(db: impl PgExecutor<'_>, queue: Queue, limits: &Limits) -> Result<()> {
    sqlx::query(
        "update job_queues
            set max_running = $2, max_per_tenant = $3, rate_jobs = $4, rate_seconds = $5,
                tokens = coalesce($4, 0), refilled_at = now(), revision = revision + 1
          where queue = $1",
    )
    .bind(queue.as_str())
    .bind(limits.max_running)
    .bind(limits.max_per_tenant)
    .bind(limits.rate.map(|rate| rate.jobs))
    .bind(limits.rate.map(|rate| rate.seconds))
    .execute(db)
    .await?;
    Ok(())
}

/// Makes sure that every queue of this build has its row.
///
/// # Errors
/// When the database refuses.
pub async fn keep_complete(pool: &PgPool) -> sqlx::Result<()> {
    let names = Queue::ALL.map(|queue| queue.as_str());
    sqlx::query("insert into job_queues (queue) select unnest($1::text[]) on conflict (queue) do nothing")
        .bind(&names[..])
        .execute(pool)
        .await?;
    Ok(())
}

/// How much of each queue a tenant gets beside others that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// None: the installation's own work.
    pub tenant: Option<TenantId>,
    /// 1 to 1000. A tenant of weight 3 gets three slots where one of weight 1 gets one.
    pub weight: i32,
    /// Jobs at once on each queue; `None`: the queue's `max_per_tenant`. At least 1.
    pub max_in_flight: Option<i32>,
}

/// The shares that differ from weight 1 without a limit of their own.
///
/// # Errors
/// When the database cannot be reached.
pub async fn shares(db: impl PgExecutor<'_>) -> Result<Vec<Share>> {
    let rows: Vec<(Uuid, i32, Option<i32>)> =
        sqlx::query_as("select lane, weight, max_in_flight from job_share_list()").fetch_all(db).await?;
    let share = |(lane, weight, max_in_flight): (Uuid, i32, Option<i32>)| Share {
        tenant: (!lane.is_nil()).then_some(TenantId(lane)),
        weight,
        max_in_flight,
    };
    Ok(rows.into_iter().map(share).collect())
}

/// Ends a tenant's share: it is one among equals again. False: it was.
///
/// # Errors
/// When the database refuses.
pub async fn drop_share(db: impl PgExecutor<'_>, tenant: Option<TenantId>) -> Result<bool> {
    let dropped = sqlx::query_scalar("select job_share_drop($1)").bind(lane(tenant)).fetch_one(db).await?;
    Ok(dropped)
}

/// What a tenant's share is kept under.
fn lane(tenant: Option<TenantId>) -> Uuid {
    tenant.map_or(Uuid::nil(), |tenant| tenant.0)
}

/// Sets a tenant's share. It holds within a second: relays take back what they sent and nobody has begun.
///
/// # Errors
/// When a figure is out of range.
pub async fn set_share(db: impl PgExecutor<'_>, share: &Share) -> Result<()> {
    sqlx::query("select job_share_set($1, $2, $3)")
        .bind(lane(share.tenant))
        .bind(share.weight)
        .bind(share.max_in_flight)
        .execute(db)
        .await?;
    Ok(())
}
