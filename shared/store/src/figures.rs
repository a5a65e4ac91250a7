//! Figures of the installation as a whole, for metrics: read every now and then by whoever shows them.
//!
//! Each part of the query over jobs has the predicate of one partial index, so that what is finished costs nothing.

use sqlx::{FromRow, PgPool};

use crate::error::Result;

/// Unfinished jobs of one queue in one state.
#[derive(Debug, Clone, FromRow)]
pub struct Standing {
    pub queue: String,
    pub state: String,
    pub jobs: i64,
    /// Seconds that the oldest has been due for and could have been taken; null where nothing waits to be taken.
    pub oldest_seconds: Option<f64>,
}

/// How the queues stand.
///
/// # Errors
/// When the database cannot be reached.
pub async fn queues(pool: &PgPool) -> Result<Vec<Standing>> {
    Ok(sqlx::query_as(
        "select queue, 'available' as state, count(*) as jobs,
                extract(epoch from now() - min(run_at))::float8 as oldest_seconds
           from jobs where state = 'available' and not parked group by queue
         union all
         select queue, 'waiting', count(*), null from jobs where state = 'waiting' group by queue
         union all
         select queue, 'parked', count(*), null from jobs where state = 'available' and parked group by queue
         union all
         select queue, state, count(*), null from jobs where state in ('scheduled', 'retryable') group by queue, state
         union all
         select queue, state, count(*),
                extract(epoch from now() - min(run_at) filter (where state = 'dispatched'))::float8
           from jobs where state in ('dispatched', 'running') group by queue, state",
    )
    .fetch_all(pool)
    .await?)
}

/// Each enabled source with the Unix time of its last success; 0 if there was none.
///
/// # Errors
/// When the database cannot be reached.
pub async fn feeds(pool: &PgPool) -> Result<Vec<(String, f64)>> {
    Ok(sqlx::query_as(
        "select slug, coalesce(extract(epoch from last_success_at), 0)::float8 from sources where enabled",
    )
    .fetch_all(pool)
    .await?)
}

/// Some numbers, each of the whole installation.
#[derive(Debug, Clone, FromRow)]
pub struct Numbers {
    /// Workers that have shown themselves in the last half minute.
    pub workers: i64,
    pub webhooks_disabled: i64,
    /// Sealed entries of the audit trail, over all chains. Never falls, unless an older database was put in place of this one.
    pub audit_head: i64,
}

/// Counts them.
///
/// # Errors
/// When the database cannot be reached.
pub async fn numbers(pool: &PgPool) -> Result<Numbers> {
    Ok(sqlx::query_as(
        "select (select count(*) from workers where heartbeat_at > now() - interval '30 seconds') as workers,
                (select count(*) from webhooks where not enabled) as webhooks_disabled,
                (select coalesce(sum(sequence), 0)::bigint from audit_heads) as audit_head",
    )
    .fetch_one(pool)
    .await?)
}
