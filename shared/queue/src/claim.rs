//! The fenced writes: taking dispatched jobs, keeping them, and saying how they ended.
//!
//! A worker process does each of these for many jobs in one statement (`gather` collects them); the fence of each is checked for itself.
//! Rows are looked up by id and by nothing else; `state || ''` keeps the planner from reading a partial index of all held jobs instead.
//!
//! Every statement here names the fencing token it was given. If the job has been dispatched again since, or was
//! cancelled, the token no longer fits, nothing is written, and the caller learns that its work is void.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use domain::id::{JobId, TenantId};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

/// All that travels through Redis. No domain type, so that nothing in it can fail to be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobRef {
    pub id: Uuid,
    pub fence: i64,
}

/// A job in the hands of this process.
#[derive(Debug, Clone, FromRow)]
pub struct Claimed {
    #[sqlx(try_from = "Uuid")]
    pub id: IdColumn,
    pub fence: i64,
    pub tenant_id: Option<Uuid>,
    pub queue: String,
    pub kind: String,
    pub kind_version: i32,
    pub payload: serde_json::Value,
    pub attempt: i32,
    pub max_attempts: i32,
    pub timeout_seconds: i32,
    pub cancel_requested: bool,
    /// From when it could have started to when it did, seconds.
    pub waited_seconds: f64,
    /// The span that enqueued it, if that was traced.
    pub trace_context: Option<String>,
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

    /// The dispatch that it was taken by.
    #[must_use]
    pub fn reference(&self) -> JobRef {
        JobRef { id: self.id.0.0, fence: self.fence }
    }

    #[must_use]
    pub fn tenant(&self) -> Option<TenantId> {
        self.tenant_id.map(TenantId)
    }
}

/// Takes the jobs that `references` name, at once. Missing in the answer are those that are no longer that dispatch's to take (delivered
/// twice, cancelled, rescued).
///
/// A job that `worker` has already taken by the same dispatch is answered again, so that a caller who lost the answer may ask once
/// more. `worker` is the name of one process, which must not have the job in hand.
///
/// # Errors
/// When the database cannot be reached; the jobs are then dispatched again when their lease has run out.
pub async fn take_many(
    pool: &PgPool,
    references: &[JobRef],
    worker: &str,
    lease: Duration,
) -> sqlx::Result<Vec<Claimed>> {
    let (ids, fences) = columns_of(references.iter());
    // A claim that a crash of the server undoes is made again: it need not wait for the disk.
    sqlx::query_as(
        "with hasty as materialized (select set_config('synchronous_commit', 'off', true)),
         open as (
             select jobs.id, jobs.state as was
               from unnest($1::uuid[], $2::bigint[]) as asked (id, fence)
               join jobs on jobs.id = any (array[asked.id]) and jobs.fence = asked.fence
              where jobs.state || '' = 'dispatched' or (jobs.state || '' = 'running' and jobs.leased_by = $3)
              order by asked.id
                for update of jobs
         ), taken as (
             update jobs
                set state = 'running', attempt = attempt + (open.was = 'dispatched')::int, leased_by = $3,
                    leased_until = now() + make_interval(secs => $4), started_at = now(),
                    progress = 0, progress_note = null
               from open, hasty where jobs.id = any (array[open.id])
          returning jobs.id, fence, tenant_id, queue, kind, kind_version, payload, attempt, max_attempts, timeout_seconds,
                    cancel_requested, extract(epoch from now() - run_at)::float8 as waited_seconds,
                    trace_context
         ), noted as (
             insert into job_attempts (job_id, fence, attempt, worker)
             select id, fence, attempt, $3 from taken
             on conflict (job_id, fence) do nothing
         )
         select id, fence, tenant_id, queue, kind, kind_version, payload, attempt, max_attempts, timeout_seconds,
                cancel_requested, waited_seconds, trace_context
           from taken",
    )
    .bind(ids)
    .bind(fences)
    .bind(worker)
    .bind(lease.as_secs_f64())
    .fetch_all(pool)
    .await
}

/// [`take_many`] for one.
///
/// # Errors
/// When the database cannot be reached.
pub async fn take(
    pool: &PgPool,
    reference: JobRef,
    worker: &str,
    lease: Duration,
) -> sqlx::Result<Option<Claimed>> {
    Ok(take_many(pool, &[reference], worker, lease).await?.pop())
}

/// A job that is still ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Held {
    pub id: Uuid,
    pub fence: i64,
    /// Somebody wants it cancelled.
    pub cancel_requested: bool,
}

/// Extends the leases of `references`, and learns on the way which of them are to be cancelled. Missing in the answer are those
/// that have been given away.
///
/// A row that somebody is writing at this moment, such as its own completion, is passed over: its turn comes with the next renewal,
/// and a rescue passes it over as well. So this waits for nobody and nobody waits for a circle.
///
/// # Errors
/// When the database cannot be reached.
pub async fn renew_many(pool: &PgPool, references: &[JobRef], lease: Duration) -> sqlx::Result<Vec<Held>> {
    let (ids, fences) = columns_of(references.iter());
    sqlx::query_as(
        "with hasty as materialized (select set_config('synchronous_commit', 'off', true)),
         ours as (
             select jobs.id, jobs.fence, jobs.cancel_requested
               from unnest($1::uuid[], $2::bigint[]) as asked (id, fence)
               join jobs on jobs.id = any (array[asked.id]) and jobs.fence = asked.fence
              -- Completed, and the handler has not returned yet: still its own.
              where jobs.state in ('running', 'completed')
         ), free as (
             select jobs.id from ours join jobs on jobs.id = any (array[ours.id])
              where jobs.state || '' = 'running'
                for update of jobs skip locked
         ), renewed as (
             update jobs set leased_until = now() + make_interval(secs => $3)
               from free, hasty where jobs.id = any (array[free.id])
         )
         select id, fence, cancel_requested from ours",
    )
    .bind(ids)
    .bind(fences)
    .bind(lease.as_secs_f64())
    .fetch_all(pool)
    .await
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

/// Records completion of jobs that wrote nothing in a transaction of their own.
///
/// The answer says for each, in their order, whether it is completed by this dispatch; asking again after a lost answer gives the same one.
///
/// # Errors
/// When the database refuses; then none of them is recorded.
pub async fn complete_many(
    pool: &PgPool,
    finished: &[(JobRef, serde_json::Value)],
) -> sqlx::Result<Vec<bool>> {
    let (ids, fences) = columns_of(finished.iter().map(|(reference, _)| reference));
    let results: Vec<&serde_json::Value> = finished.iter().map(|(_, result)| result).collect();
    let completed: Vec<(Uuid, i64)> = sqlx::query_as(
        "with asked as materialized (
             select id, fence, result from unnest($1::uuid[], $2::bigint[], $3::jsonb[]) as asked (id, fence, result)
         ), ours as (
             select jobs.id, asked.result
               from asked join jobs on jobs.id = any (array[asked.id]) and jobs.fence = asked.fence
              where jobs.state || '' = 'running' and not jobs.cancel_requested
              order by asked.id
                for update of jobs
         ), done as (
             update jobs
                set state = 'completed', progress = 100, result = ours.result, finished_at = now(),
                    leased_until = null, last_error = null
               from ours where jobs.id = any (array[ours.id])
          returning jobs.id, jobs.fence
         ), noted as (
             update job_attempts set ended_at = clock_timestamp(), outcome = 'completed'
               from done where job_id = any (array[done.id]) and job_attempts.fence = done.fence
         )
         select id, fence from done
          union all
         select jobs.id, jobs.fence from asked join jobs on jobs.id = any (array[asked.id]) and jobs.fence = asked.fence
          where jobs.state = 'completed'",
    )
    .bind(ids)
    .bind(fences)
    .bind(results)
    .fetch_all(pool)
    .await?;
    let completed: HashSet<(Uuid, i64)> = completed.into_iter().collect();
    Ok(finished.iter().map(|(reference, _)| completed.contains(&(reference.id, reference.fence))).collect())
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
    /// Again after the pause, and the attempt does not count. `why` is kept with the attempt, and is no error of the job.
    GiveBack {
        pause: Duration,
        outcome: &'static str,
        why: String,
    },
    Dead {
        reason: &'static str,
        error: String,
    },
    Cancelled,
}

/// A verdict as the statement takes it.
struct Sentence<'a> {
    /// Where the job goes, unless it is cancelled or its attempts are used up.
    state: &'static str,
    pause: Duration,
    outcome: &'static str,
    class: Option<&'static str>,
    error: Option<&'a str>,
    reason: Option<&'static str>,
    /// 1: the attempt does not count.
    give_back: i32,
}

impl Verdict {
    fn sentence(&self) -> Sentence<'_> {
        let plain = |state, outcome| Sentence {
            state,
            pause: Duration::ZERO,
            outcome,
            class: None,
            error: None,
            reason: None,
            give_back: 0,
        };
        match self {
            Self::Retry { pause, class, error } => Sentence {
                pause: *pause,
                class: Some(class),
                error: Some(error),
                reason: Some("exhausted"),
                ..plain("retryable", "retry")
            },
            Self::GiveBack { pause, outcome, why } => Sentence {
                pause: *pause,
                error: Some(why),
                give_back: 1,
                ..plain(if pause.is_zero() { "available" } else { "scheduled" }, outcome)
            },
            Self::Dead { reason, error } => Sentence {
                class: Some(reason),
                error: Some(error),
                reason: Some(reason),
                ..plain("dead", "dead")
            },
            Self::Cancelled => plain("cancelled", "cancelled"),
        }
    }
}

/// Writes the verdicts, and answers for each, in their order, with which outcome the attempt was written down.
///
/// That is the verdict's, or `cancelled` where somebody wanted that, or `dead` where it was the last attempt. None: the job was not ours any
/// more. Asking again after a lost answer gives the same one.
///
/// # Errors
/// When the database refuses; then none of them is written, and their leases run out.
pub async fn conclude_many(pool: &PgPool, judged: &[(JobRef, Verdict)]) -> sqlx::Result<Vec<Option<String>>> {
    let (ids, fences) = columns_of(judged.iter().map(|(reference, _)| reference));
    let sentences: Vec<_> = judged.iter().map(|(_, verdict)| verdict.sentence()).collect();
    let written: Vec<(Uuid, i64, String)> = sqlx::query_as(
        "with asked as materialized (
             select id, fence, state, pause, outcome, class, error, reason, give_back
               from unnest($1::uuid[], $2::bigint[], $3::text[], $4::float8[], $5::text[], $6::text[], $7::text[], $8::text[], $9::int[])
                    as asked (id, fence, state, pause, outcome, class, error, reason, give_back)
         ), judged as (
             select jobs.id, asked.pause, asked.outcome, asked.class, asked.error, asked.reason, asked.give_back,
                    case when cancel_requested then 'cancelled'
                         when asked.state = 'retryable' and attempt >= max_attempts then 'dead'
                         else asked.state end as next
               from asked
               join jobs on jobs.id = any (array[asked.id]) and jobs.fence = asked.fence
              where jobs.state || '' = 'running'
              order by asked.id
                for update of jobs
         ), written as (
             update jobs
                set state = judged.next, leased_until = null, attempt = attempt - judged.give_back,
                    run_at = case when judged.next in ('retryable', 'available', 'scheduled')
                                  then now() + make_interval(secs => judged.pause) else run_at end,
                    last_error = case when judged.give_back = 0 then coalesce(judged.error, last_error) else last_error end,
                    dead_reason = case when judged.next = 'dead' then judged.reason end,
                    finished_at = case when judged.next in ('dead', 'cancelled') then now() end
               from judged where jobs.id = any (array[judged.id])
          returning jobs.id, jobs.fence, judged.class, judged.error,
                    case jobs.state when 'dead' then 'dead' when 'cancelled' then 'cancelled' else judged.outcome end as outcome
         ), noted as (
             update job_attempts
                set ended_at = clock_timestamp(), error_class = written.class, error = written.error, outcome = written.outcome
               from written where job_id = any (array[written.id]) and job_attempts.fence = written.fence
         )
         select id, fence, outcome from written
          union all
         select asked.id, asked.fence, attempts.outcome
           from asked join job_attempts attempts on attempts.job_id = any (array[asked.id]) and attempts.fence = asked.fence
          where attempts.outcome not in ('completed', 'crashed')",
    )
    .bind(ids)
    .bind(fences)
    .bind(sentences.iter().map(|s| s.state).collect::<Vec<_>>())
    .bind(sentences.iter().map(|s| s.pause.as_secs_f64()).collect::<Vec<_>>())
    .bind(sentences.iter().map(|s| s.outcome).collect::<Vec<_>>())
    .bind(sentences.iter().map(|s| s.class).collect::<Vec<_>>())
    .bind(sentences.iter().map(|s| s.error).collect::<Vec<_>>())
    .bind(sentences.iter().map(|s| s.reason).collect::<Vec<_>>())
    .bind(sentences.iter().map(|s| s.give_back).collect::<Vec<_>>())
    .fetch_all(pool)
    .await?;
    let mut written: HashMap<(Uuid, i64), String> =
        written.into_iter().map(|(id, fence, outcome)| ((id, fence), outcome)).collect();
    Ok(judged.iter().map(|(reference, _)| written.remove(&(reference.id, reference.fence))).collect())
}

/// Ids and fences side by side, for `unnest`.
fn columns_of<'a>(references: impl Iterator<Item = &'a JobRef>) -> (Vec<Uuid>, Vec<i64>) {
    references.map(|reference| (reference.id, reference.fence)).unzip()
}
