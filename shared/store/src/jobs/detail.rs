//! One job in full: its attempts, what it waits for and who waits for it, and everything that decides when it runs.
//!
//! Ask [`super::find`] first: it decides whether the job may be seen at all.

use chrono::{DateTime, Utc};
use domain::id::JobId;
use sqlx::FromRow;
use uuid::Uuid;

use crate::{db::TenantTx, error::Result};

/// Dependencies that are listed of one job.
const LISTED: i64 = 200;
/// Silence after which a worker counts as gone, as in `queue::fleet`.
const SILENT_AFTER_SECONDS: f64 = 30.0;
/// Jobs ahead of one that are counted.
const COUNTED_AHEAD: i64 = 10_000;

/// One attempt at a job.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Attempt {
    /// Rises with every dispatch; the attempts of a job are told apart by it.
    pub fence: i64,
    pub attempt: i32,
    pub worker: String,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    /// `completed`, `retry`, `snoozed` …; none while it runs.
    pub outcome: Option<String>,
    pub error_class: Option<String>,
    /// What went wrong; or, where nothing did, why it was put off, left to a newer worker or interrupted.
    pub error: Option<String>,
}

/// All attempts at a job, the first one first.
///
/// # Errors
/// When the database cannot be reached.
pub async fn attempts(tx: &mut TenantTx, job: JobId) -> Result<Vec<Attempt>> {
    let attempts = sqlx::query_as(
        "select fence, attempt, worker, started_at, ended_at, outcome, error_class, error
           from job_attempts where job_id = $1 order by fence",
    )
    .bind(job.0)
    .fetch_all(&mut **tx)
    .await?;
    Ok(attempts)
}

/// One job that waits for another.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Dependency {
    /// The other job: the one that is waited for, or the one that waits.
    pub id: Uuid,
    /// None: it has been removed, or may not be seen.
    pub kind: Option<String>,
    pub state: Option<String>,
    /// `fail`, `run`, `wait` or `first_attempt`.
    pub on_failure: String,
    /// How it ended for the job that waits; none while that waits.
    pub outcome: Option<String>,
    pub resolved_at: Option<DateTime<Utc>>,
}

/// What a job waits for, or has waited for: first what is still open, two hundred at most.
///
/// # Errors
/// When the database cannot be reached.
pub async fn depends_on(tx: &mut TenantTx, job: JobId) -> Result<Vec<Dependency>> {
    let dependencies = sqlx::query_as(
        "select d.depends_on as id, j.kind, j.state, d.on_failure, d.outcome, d.resolved_at
           from job_dependencies d left join jobs j on j.id = d.depends_on
          where d.job_id = $1 order by d.resolved_at nulls first, d.depends_on limit $2",
    )
    .bind(job.0)
    .bind(LISTED)
    .fetch_all(&mut **tx)
    .await?;
    Ok(dependencies)
}

/// Who waits for a job, or has waited for it, two hundred at most.
///
/// # Errors
/// When the database cannot be reached.
pub async fn dependents(tx: &mut TenantTx, job: JobId) -> Result<Vec<Dependency>> {
    let dependents = sqlx::query_as(
        "select d.job_id as id, j.kind, j.state, d.on_failure, d.outcome, d.resolved_at
           from job_dependencies d join jobs j on j.id = d.job_id
          where d.depends_on = $1 order by d.resolved_at nulls first, d.job_id limit $2",
    )
    .bind(job.0)
    .bind(LISTED)
    .fetch_all(&mut **tx)
    .await?;
    Ok(dependents)
}

/// What a job still waits for, all of it.
///
/// # Errors
/// When the database cannot be reached.
pub async fn unresolved(tx: &mut TenantTx, job: JobId) -> Result<Vec<JobId>> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select depends_on from job_dependencies where job_id = $1 and resolved_at is null",
    )
    .bind(job.0)
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids.into_iter().map(JobId).collect())
}

/// How far the jobs that another waits for are, together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub struct Members {
    pub total: i64,
    pub completed: i64,
    pub dead: i64,
    pub cancelled: i64,
    /// Of those that have not ended.
    pub running: i64,
}

impl Members {
    /// Those that have not ended.
    #[must_use]
    pub fn open(&self) -> i64 {
        self.total - self.completed - self.dead - self.cancelled
    }
}

/// Counts what `job` waits for by how it ended.
///
/// # Errors
/// When the database cannot be reached.
pub async fn members(connection: &mut sqlx::PgConnection, job: JobId) -> Result<Members> {
    let members = sqlx::query_as(
        "select count(*) as total,
                count(*) filter (where d.outcome in ('completed', 'went_on')) as completed,
                count(*) filter (where d.outcome = 'dead') as dead,
                count(*) filter (where d.outcome = 'cancelled') as cancelled,
                count(*) filter (where d.outcome is null and j.state = 'running') as running
           from job_dependencies d
           left join jobs j on d.outcome is null and j.id = d.depends_on
          where d.job_id = $1",
    )
    .bind(job.0)
    .fetch_one(connection)
    .await?;
    Ok(members)
}

/// Everything that decides when an unfinished job runs.
#[derive(Debug, Clone, Default, PartialEq, FromRow)]
pub struct Standing {
    pub is_due: bool,
    pub kind_version: i32,
    pub leased_by: Option<String>,
    /// Another job with the same concurrency key that is dispatched or running.
    pub key_holder: Option<Uuid>,
    /// A relay has met it while it had to wait for another job, which may be one that is not to be seen.
    pub is_parked: bool,
    pub paused_at: Option<DateTime<Utc>>,
    pub max_running: Option<i32>,
    /// Dispatched and running on the queue, whosever they are.
    pub held: i64,
    pub max_per_tenant: Option<i32>,
    /// Dispatched and running on the queue for the same tenant.
    pub held_of_tenant: i64,
    pub rate_jobs: Option<i32>,
    pub rate_seconds: Option<i32>,
    /// Live workers that take jobs of the queue.
    pub workers: i64,
    /// Live workers of the queue that were told to take nothing new.
    pub quiet_workers: i64,
    /// Jobs that live workers could do at once on the queue.
    pub slots: i64,
    /// The newest version of this kind's payload that a live worker of the queue reads; none if none knows the kind.
    pub newest_version: Option<i32>,
    /// Due jobs of the same tenant on the queue that come first, ten thousand at most.
    pub ahead: i64,
    /// Since when it could have run, seconds.
    pub due_for_seconds: f64,
    /// How its last attempt ended, and the error or the reason that was kept with it.
    pub last_outcome: Option<String>,
    pub last_note: Option<String>,
}

/// What decides when `job` runs.
///
/// # Errors
/// [`crate::Error::NotFound`] when there is no such job.
pub async fn standing(tx: &mut TenantTx, job: JobId) -> Result<Standing> {
    let standing = sqlx::query_as(
        "select j.run_at <= now() as is_due, j.kind_version, j.leased_by, j.parked as is_parked,
                (select holder.id from jobs holder
                  where holder.concurrency_key = j.concurrency_key and holder.state in ('dispatched', 'running')
                    and holder.id <> j.id limit 1) as key_holder,
                q.paused_at, q.max_running, coalesce(share.max_in_flight, q.max_per_tenant) as max_per_tenant,
                q.rate_jobs, q.rate_seconds,
                (select load.dispatched + load.running from job_queue_load() load where load.queue = j.queue) as held,
                (select count(*) from jobs held
                  where held.queue = j.queue and held.lane = j.lane and held.state in ('dispatched', 'running'))
                as held_of_tenant,
                fleet.workers, fleet.quiet_workers, fleet.slots, fleet.newest_version,
                (select count(*) from (
                    select from jobs first
                     where first.queue = j.queue and first.lane = j.lane and first.state = 'available'
                       and not first.parked
                       and (first.priority, first.run_at, first.id) < (j.priority, j.run_at, j.id)
                     limit $2) as ahead) as ahead,
                greatest(extract(epoch from now() - j.run_at), 0)::float8 as due_for_seconds,
                last.outcome as last_outcome, last.error as last_note
           from jobs j
           left join job_queues q on q.queue = j.queue
           left join job_share_list() share on share.lane = j.lane
           left join lateral (
                select a.outcome, a.error from job_attempts a where a.job_id = j.id order by a.fence desc limit 1) last on true
           cross join lateral (
                select count(*) filter (where w.wanted = 'work' and w.mode = 'working') as workers,
                       count(*) filter (where w.wanted <> 'work' or w.mode <> 'working') as quiet_workers,
                       coalesce(sum(w.queue_slots[array_position(w.queues, j.queue)])
                                filter (where w.mode = 'working'), 0)::bigint as slots,
                       max((w.kinds ->> j.kind)::integer) as newest_version
                  from workers w
                 where j.queue = any (w.queues) and w.heartbeat_at > now() - make_interval(secs => $3)) as fleet
          where j.id = $1",
    )
    .bind(job.0)
    .bind(COUNTED_AHEAD)
    .bind(SILENT_AFTER_SECONDS)
    .fetch_one(&mut **tx)
    .await?;
    Ok(standing)
}
