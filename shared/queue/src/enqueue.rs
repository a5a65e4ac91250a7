//! Accepting work: a row in the caller's transaction. COMMIT rings the relay's bell.

use chrono::{DateTime, Utc};
use domain::id::{JobId, TenantId, UserId};
use sqlx::PgConnection;
use store::Result;

use crate::job::Job;

/// What became of a request to do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    pub id: JobId,
    /// False: the same work was already waiting or running, and this is its id.
    pub created: bool,
}

/// Who wants the work done, and for whom.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origin {
    /// None: for the installation itself.
    pub tenant: Option<TenantId>,
    pub user: Option<UserId>,
}

impl Origin {
    /// Work of the installation itself.
    pub const INSTALLATION: Self = Self { tenant: None, user: None };

    /// Work for `tenant` that nobody in particular asked for.
    #[must_use]
    pub fn tenant(tenant: TenantId) -> Self {
        Self { tenant: Some(tenant), user: None }
    }
}

/// Records `job` in the transaction of `connection`, to be done as soon as that is committed.
///
/// # Errors
/// When the database refuses.
pub async fn enqueue<J: Job>(connection: &mut PgConnection, origin: Origin, job: &J) -> Result<Enqueued> {
    insert(connection, origin, job, None).await
}

/// As [`enqueue`], but not to be begun before `run_at`.
///
/// # Errors
/// When the database refuses.
pub async fn enqueue_at<J: Job>(
    connection: &mut PgConnection,
    origin: Origin,
    job: &J,
    run_at: DateTime<Utc>,
) -> Result<Enqueued> {
    insert(connection, origin, job, Some(run_at)).await
}

async fn insert<J: Job>(
    connection: &mut PgConnection,
    origin: Origin,
    job: &J,
    run_at: Option<DateTime<Utc>>,
) -> Result<Enqueued> {
    let payload = serde_json::to_value(job).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let timeout = i32::try_from(J::TIMEOUT.as_secs()).unwrap_or(i32::MAX);
    loop {
        let id = JobId::new();
        let unique_key = job.unique_key().map(|key| key.0);
        let inserted: Option<uuid::Uuid> = sqlx::query_scalar(
            "insert into jobs (id, tenant_id, kind, kind_version, queue, priority, payload, state, run_at,
                               max_attempts, timeout_seconds, unique_key, concurrency_key, requested_by)
             values ($1, $2, $3, $4, $5, $6, $7, case when $8 > now() then 'scheduled' else 'available' end,
                     coalesce($8, now()), $9, $10, $11, $12, $13)
             on conflict (kind, unique_key)
                 where unique_key is not null
                   and state in ('scheduled', 'available', 'dispatched', 'running', 'retryable')
             do nothing
             returning id",
        )
        .bind(id.0)
        .bind(origin.tenant.map(|tenant| tenant.0))
        .bind(J::KIND)
        .bind(J::VERSION)
        .bind(J::QUEUE.as_str())
        .bind(J::PRIORITY)
        .bind(&payload)
        .bind(run_at)
        .bind(J::RETRY.max_attempts)
        .bind(timeout)
        .bind(&unique_key)
        .bind(job.concurrency_key())
        .bind(origin.user.map(|user| user.0))
        .fetch_optional(&mut *connection)
        .await?;
        if inserted.is_some() {
            return Ok(Enqueued { id, created: true });
        }
        let waiting: Option<uuid::Uuid> = sqlx::query_scalar(
            "select id from jobs
              where kind = $1 and unique_key = $2
                and state in ('scheduled', 'available', 'dispatched', 'running', 'retryable')",
        )
        .bind(J::KIND)
        .bind(&unique_key)
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(id) = waiting {
            return Ok(Enqueued { id: JobId(id), created: false });
        }
        // The other one finished between the two statements: now there is room for ours.
    }
}
