//! The fenced writes: taking a dispatched job, keeping it, and saying how it ended.
//!
//! Every statement here names the fencing token it was given. If the job has been dispatched again since, or was
//! cancelled, the token no longer fits, nothing is written, and the caller learns that its work is void.

use std::time::Duration;

use domain::id::{JobId, TenantId};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

/// All that travels through Redis. No domain type, so that nothing in it can fail to be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRef {
    pub id: Uuid,
    pub fence: i64,
}

/// A job in the hands of this process.
#[derive(Debug, Clone, FromRow)]
pub struct Claimed {
    #[sqlx(try_from = "Uuid")]
    pub id: IdColumn,
    pub tenant_id: Option<Uuid>,
    pub kind: String,
    pub kind_version: i32,
    pub payload: serde_json::Value,
    pub attempt: i32,
    pub max_attempts: i32,
    pub timeout_seconds: i32,
    pub cancel_requested: bool,
    /// From when it could have started to when it did, seconds.
    pub waited_seconds: f64,
}

/// A job's id as it comes out of a row.
#[derive(Debug, Clone, Copy)]
pub struct IdColumn(pub JobId);

impl From<Uuid> for IdColumn {
    fn from(id: Uuid) -> Self {
        Self(JobId(id))
    }
}

impl Claimed {
    #[must_use]
    pub fn job_id(&self) -> JobId {
        self.id.0
    }

    #[must_use]
    pub fn tenant(&self) -> Option<TenantId> {
        self.tenant_id.map(TenantId)
    }
}

/// Takes the job that `reference` names; `None` when it is no longer that dispatch's to take (delivered twice, cancelled, rescued).
///
/// # Errors
/// When the database cannot be reached; the job is then dispatched again when its lease has run out.
pub async fn take(
    pool: &PgPool,
    reference: JobRef,
    worker: &str,
    lease: Duration,
) -> sqlx::Result<Option<Claimed>> {
    sqlx::query_as(
        "with taken as (
             update jobs
                set state = 'running', attempt = attempt + 1, leased_by = $3,
                    leased_until = now() + make_interval(secs => $4), started_at = now(),
                    progress = 0, progress_note = null
              where id = $1 and fence = $2 and state = 'dispatched'
          returning id, tenant_id, kind, kind_version, payload, attempt, max_attempts, timeout_seconds,
                    cancel_requested, extract(epoch from now() - run_at)::float8 as waited_seconds
         ), noted as (
             insert into job_attempts (job_id, fence, attempt, worker)
             select id, $2, attempt, $3 from taken
         )
         select id, tenant_id, kind, kind_version, payload, attempt, max_attempts, timeout_seconds,
                cancel_requested, waited_seconds
           from taken",
    )
    .bind(reference.id)
    .bind(reference.fence)
    .bind(worker)
    .bind(lease.as_secs_f64())
    .fetch_optional(pool)
    .await
}

/// Whether a job is still ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    Kept,
    CancelRequested,
    Lost,
}

/// Extends the lease, and learns on the way whether somebody wants the job cancelled.
///
/// # Errors
/// When the database cannot be reached.
pub async fn renew(pool: &PgPool, reference: JobRef, lease: Duration) -> sqlx::Result<Hold> {
    let cancel: Option<bool> = sqlx::query_scalar(
        "update jobs set leased_until = now() + make_interval(secs => $3)
          where id = $1 and fence = $2 and state = 'running' returning cancel_requested",
    )
    .bind(reference.id)
    .bind(reference.fence)
    .bind(lease.as_secs_f64())
    .fetch_optional(pool)
    .await?;
    Ok(match cancel {
        None => Hold::Lost,
        Some(true) => Hold::CancelRequested,
        Some(false) => Hold::Kept,
    })
}

/// Writes how far the job is. Never 100 before it is done, never backwards.
///
/// # Errors
/// When the database cannot be reached.
pub async fn progress(pool: &PgPool, reference: JobRef, percent: u8, note: &str) -> sqlx::Result<()> {
    sqlx::query(
        "update jobs set progress = greatest(progress, $3), progress_note = $4
          where id = $1 and fence = $2 and state = 'running'",
    )
    .bind(reference.id)
    .bind(reference.fence)
    .bind(i16::from(percent.min(99)))
    .bind(note)
    .execute(pool)
    .await?;
    Ok(())
}

/// Records completion in the transaction of `connection`. False: the job is not ours any more, and the transaction must not be committed.
///
/// # Errors
/// When the database refuses.
pub async fn complete(
    connection: &mut PgConnection,
    reference: JobRef,
    result: &serde_json::Value,
) -> sqlx::Result<bool> {
    let written = sqlx::query(
        "with done as (
             update jobs
                set state = 'completed', progress = 100, result = $3, finished_at = now(), leased_until = null,
                    last_error = null
              where id = $1 and fence = $2 and state = 'running' and not cancel_requested
          returning id
         )
         update job_attempts set ended_at = clock_timestamp(), outcome = 'completed'
          where fence = $2 and job_id in (select id from done)",
    )
    .bind(reference.id)
    .bind(reference.fence)
    .bind(result)
    .execute(connection)
    .await?;
    Ok(written.rows_affected() == 1)
}

/// How an attempt ended that was not completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Again after the pause; dead (`exhausted`) when the attempts are used up.
    Retry {
        pause: Duration,
        class: &'static str,
        error: String,
    },
    /// Again after the pause, and the attempt does not count.
    GiveBack {
        pause: Duration,
        outcome: &'static str,
    },
    Dead {
        reason: &'static str,
        error: String,
    },
    Cancelled,
}

/// Writes the verdict. False: the job is not ours any more.
///
/// # Errors
/// When the database cannot be reached; the lease then runs out and the job is rescued.
pub async fn conclude(pool: &PgPool, reference: JobRef, verdict: &Verdict) -> sqlx::Result<bool> {
    let (state, pause, outcome, class, error, reason, give_back) = match verdict {
        Verdict::Retry { pause, class, error } => {
            ("retryable", *pause, "retry", Some(*class), Some(error), "exhausted", 0)
        }
        Verdict::GiveBack { pause, outcome } => ("available", *pause, *outcome, None, None, "", 1),
        Verdict::Dead { reason, error } => {
            ("dead", Duration::ZERO, "dead", Some(*reason), Some(error), *reason, 0)
        }
        Verdict::Cancelled => ("cancelled", Duration::ZERO, "cancelled", None, None, "", 0),
    };
    let written = sqlx::query(
        "with judged as (
             select id,
                    case when cancel_requested then 'cancelled'
                         when $3 = 'retryable' and attempt >= max_attempts then 'dead'
                         else $3 end as next
               from jobs where id = $1 and fence = $2 and state = 'running'
                for update
         ), written as (
             update jobs
                set state = judged.next, leased_until = null, attempt = attempt - $9,
                    run_at = case when judged.next in ('retryable', 'available')
                                  then now() + make_interval(secs => $4) else run_at end,
                    last_error = coalesce($7, last_error),
                    dead_reason = case when judged.next = 'dead' then $8 end,
                    finished_at = case when judged.next in ('dead', 'cancelled') then now() end
               from judged where jobs.id = judged.id
          returning jobs.id, jobs.state
         )
         update job_attempts
            set ended_at = clock_timestamp(), error_class = $6, error = $7,
                outcome = case written.state when 'dead' then 'dead' when 'cancelled' then 'cancelled' else $5 end
           from written where job_id = written.id and fence = $2",
    )
    .bind(reference.id)
    .bind(reference.fence)
    .bind(state)
    .bind(pause.as_secs_f64())
    .bind(outcome)
    .bind(class)
    .bind(error)
    .bind(reason)
    .bind(give_back)
    .execute(pool)
    .await?;
    Ok(written.rows_affected() == 1)
}
