//! Accepting work: a row in the caller's transaction. COMMIT rings the relay's bell.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};
use domain::id::{JobId, TenantId, UserId};
use sqlx::PgConnection;
use store::Result;
use uuid::Uuid;

use crate::{
    job::{During, Job},
    measure,
};

/// Rows written by one statement.
const CHUNK: usize = 1000;

/// What became of a request to do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    pub id: JobId,
    /// False: the same work was there already, and this is its id.
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

    /// A subject's key in the rows: one tenant's subjects are none of another's.
    fn key(&self, subject: &str) -> String {
        match self.tenant {
            Some(tenant) => format!("{tenant}/{subject}"),
            None => subject.to_owned(),
        }
    }
}

/// What a job does when one that it waits for was cancelled or is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It is dead as well (`dependency`), and comes back when the other one is retried.
    Fail,
    /// It runs anyway, once the other one has ended for good.
    Run,
    /// It goes on waiting, until somebody has retried the other one or cancels this.
    Wait,
    /// It runs anyway, and does not wait for a second attempt of the other one either.
    RunAfterFirstAttempt,
}

impl OnFailure {
    fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Run => "run",
            Self::Wait => "wait",
            Self::RunAfterFirstAttempt => "first_attempt",
        }
    }
}

/// What a job waits for.
#[derive(Debug, Clone, Copy)]
pub struct After<'a> {
    /// All of these.
    pub jobs: &'a [JobId],
    pub on_failure: OnFailure,
    /// It runs after this time whether they have ended or not. `None`: it waits for as long as it takes.
    pub at_most: Option<Duration>,
}

/// Records `job` in the transaction of `connection`, to be done as soon as that is committed.
///
/// # Errors
/// When the database refuses.
pub async fn enqueue<J: Job>(connection: &mut PgConnection, origin: Origin, job: &J) -> Result<Enqueued> {
    record::<J>(connection, origin, Row::of(job, origin)?, None, 0).await
}

/// As [`enqueue`], but a job of its own beside others with its key: only what was asked for under the same `name` is the same work.
///
/// # Errors
/// When the database refuses.
pub async fn enqueue_apart<J: Job>(
    connection: &mut PgConnection,
    origin: Origin,
    job: &J,
    name: &str,
) -> Result<Enqueued> {
    let mut row = Row::of(job, origin)?;
    row.key = row.key.map(|key| format!("{key} {name}"));
    record::<J>(connection, origin, row, None, 0).await
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
    record::<J>(connection, origin, Row::of(job, origin)?, Some(run_at), 0).await
}

/// As [`enqueue`], but not to be begun before the other jobs have ended; what has ended already counts.
///
/// Work that is there already by its unique key is given as it is, and does not wait for more than it did.
///
/// Holds the rows of the other jobs until the transaction ends: keep it short, and complete a job of one's own before.
///
/// # Errors
/// When one of the other jobs is none that this tenant may see.
pub async fn enqueue_after<J: Job>(
    connection: &mut PgConnection,
    origin: Origin,
    job: &J,
    after: After<'_>,
) -> Result<Enqueued> {
    let mut others: Vec<Uuid> = after.jobs.iter().map(|id| id.0).collect();
    others.sort_unstable();
    others.dedup();
    let enqueued = record::<J>(connection, origin, Row::of(job, origin)?, None, others.len()).await?;
    if enqueued.created && !others.is_empty() {
        let _state: String = sqlx::query_scalar("select jobs_depend($1, $2, $3, $4)")
            .bind(enqueued.id.0)
            .bind(&others)
            .bind(after.on_failure.as_str())
            .bind(after.at_most.map(|wait| wait.as_secs_f64()))
            .fetch_one(&mut *connection)
            .await?;
    }
    Ok(enqueued)
}

/// The jobs of kind `J` that run or are due, held so that they can be waited for.
///
/// Left out is what another transaction writes at this moment. For kinds that are unique while unfinished, of which there are few.
///
/// # Errors
/// When the database cannot be reached.
pub async fn under_way<J: Job>(connection: &mut PgConnection) -> Result<Vec<JobId>> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select id from jobs
          where kind = $1 and unique_key is not null and finished_at is null
            and state in ('available', 'dispatched', 'running') and run_at <= now()
          order by id for update skip locked",
    )
    .bind(J::KIND)
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(JobId).collect())
}

/// As [`enqueue`] for each of `jobs`, a thousand with one statement. The answers are in their order.
///
/// # Errors
/// When the database refuses.
pub async fn enqueue_many<J: Job>(
    connection: &mut PgConnection,
    origin: Origin,
    jobs: &[J],
) -> Result<Vec<Enqueued>> {
    let mut answers = Vec::with_capacity(jobs.len());
    for chunk in jobs.chunks(CHUNK) {
        let rows = chunk.iter().map(|job| Row::of(job, origin)).collect::<Result<Vec<_>>>()?;
        if rows.iter().any(|row| matches!(row.during, Some(During::Waiting | During::Period(_)))) {
            for job in chunk {
                answers.push(enqueue(connection, origin, job).await?);
            }
            continue;
        }
        let created = insert_chunk::<J>(connection, origin, &rows).await?;
        for (row, job) in rows.iter().zip(chunk) {
            answers.push(if created.contains(&row.id) {
                Enqueued { id: JobId(row.id), created: true }
            } else {
                enqueue(connection, origin, job).await?
            });
        }
    }
    Ok(answers)
}

/// A job as it is written.
struct Row {
    id: Uuid,
    payload: serde_json::Value,
    key: Option<String>,
    during: Option<During>,
    concurrency_key: Option<String>,
}

impl Row {
    fn of<J: Job>(job: &J, origin: Origin) -> Result<Self> {
        let key = job.unique_key();
        Ok(Self {
            id: JobId::new().0,
            payload: serde_json::to_value(job).map_err(|error| sqlx::Error::Encode(error.into()))?,
            during: key.as_ref().map(|key| key.during),
            key: key.map(|key| origin.key(&key.subject)),
            concurrency_key: job.concurrency_key(),
        })
    }

    /// The key, where it is one for as long as `during`.
    fn key_during(&self, during: During) -> Option<&str> {
        self.key.as_deref().filter(|_| self.during == Some(during))
    }

    /// The key, where it is one for a period.
    fn key_of_period(&self) -> Option<&str> {
        self.key.as_deref().filter(|_| matches!(self.during, Some(During::Period(_))))
    }
}

async fn record<J: Job>(
    connection: &mut PgConnection,
    origin: Origin,
    row: Row,
    run_at: Option<DateTime<Utc>>,
    waits_for: usize,
) -> Result<Enqueued> {
    let there = match (row.during, &row.key) {
        (Some(During::Waiting), Some(key)) => fold::<J>(connection, key, run_at).await?,
        (Some(During::Period(period)), Some(key)) => {
            begin_period::<J>(connection, origin, key, period, row.id).await?
        }
        _ => None,
    };
    if let Some(id) = there {
        return Ok(Enqueued { id: JobId(id), created: false });
    }
    loop {
        if let Some(xmin) = insert::<J>(connection, origin, &row, run_at, waits_for).await? {
            measure::written::<J>(xmin, 1);
            return Ok(Enqueued { id: JobId(row.id), created: true });
        }
        let unfinished: Option<Uuid> = sqlx::query_scalar(
            // One that is being cancelled will not do what this one asks for.
            "select id from jobs where kind = $1 and unique_key = $2 and finished_at is null and not cancel_requested",
        )
        .bind(J::KIND)
        .bind(row.key_during(During::Unfinished))
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(id) = unfinished {
            return Ok(Enqueued { id: JobId(id), created: false });
        }
        // The other one finished between the two statements: now there is room for ours.
    }
}

/// The number of the transaction that it was written in, as it stands in the row. None: an unfinished job has the key, and is not being
/// cancelled.
async fn insert<J: Job>(
    connection: &mut PgConnection,
    origin: Origin,
    row: &Row,
    run_at: Option<DateTime<Utc>>,
    waits_for: usize,
) -> Result<Option<i64>> {
    let xmin = sqlx::query_scalar(
        "insert into jobs (id, tenant_id, kind, kind_version, queue, priority, payload, state, run_at, max_attempts,
                           timeout_seconds, unique_key, concurrency_key, requested_by, fold_key, pending_dependencies,
                           trace_context, period_key)
         values ($1, $2, $3, $4, $5, $6, $7,
                 case when $15 > 0 then 'waiting' when $8 > now() then 'scheduled' else 'available' end,
                 coalesce($8, now()), $9, $10, $11, $12, $13, $14, $15, $16, $17)
         on conflict (kind, unique_key) where unique_key is not null and finished_at is null and not cancel_requested
             do nothing
         returning xmin::text::bigint",
    )
    .bind(row.id)
    .bind(origin.tenant.map(|tenant| tenant.0))
    .bind(J::KIND)
    .bind(J::VERSION)
    .bind(J::QUEUE.as_str())
    .bind(J::PRIORITY)
    .bind(&row.payload)
    .bind(run_at)
    .bind(J::RETRY.max_attempts)
    .bind(timeout_seconds::<J>())
    .bind(row.key_during(During::Unfinished))
    .bind(&row.concurrency_key)
    .bind(origin.user.map(|user| user.0))
    .bind(row.key_during(During::Waiting))
    .bind(i32::try_from(waits_for).unwrap_or(i32::MAX))
    .bind(runtime::trace::current())
    .bind(row.key_of_period())
    .fetch_optional(&mut *connection)
    .await?;
    Ok(xmin)
}

/// The ids that were inserted; the others' keys were taken.
async fn insert_chunk<J: Job>(
    connection: &mut PgConnection,
    origin: Origin,
    rows: &[Row],
) -> Result<HashSet<Uuid>> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let payloads: Vec<&serde_json::Value> = rows.iter().map(|row| &row.payload).collect();
    let keys: Vec<Option<&str>> = rows.iter().map(|row| row.key.as_deref()).collect();
    let concurrency: Vec<Option<&str>> = rows.iter().map(|row| row.concurrency_key.as_deref()).collect();
    let inserted: Vec<(Uuid, i64)> = sqlx::query_as(
        "insert into jobs (id, tenant_id, kind, kind_version, queue, priority, payload, max_attempts,
                           timeout_seconds, unique_key, concurrency_key, requested_by, trace_context)
         select new.id, $5, $6, $7, $8, $9, new.payload, $10, $11, new.unique_key, new.concurrency_key, $12, $13
           from unnest($1::uuid[], $2::jsonb[], $3::text[], $4::text[])
                as new (id, payload, unique_key, concurrency_key)
         on conflict (kind, unique_key) where unique_key is not null and finished_at is null and not cancel_requested
             do nothing
         returning id, xmin::text::bigint",
    )
    .bind(&ids)
    .bind(&payloads)
    .bind(&keys)
    .bind(&concurrency)
    .bind(origin.tenant.map(|tenant| tenant.0))
    .bind(J::KIND)
    .bind(J::VERSION)
    .bind(J::QUEUE.as_str())
    .bind(J::PRIORITY)
    .bind(J::RETRY.max_attempts)
    .bind(timeout_seconds::<J>())
    .bind(origin.user.map(|user| user.0))
    .bind(runtime::trace::current())
    .fetch_all(&mut *connection)
    .await?;
    if let Some((_, xmin)) = inserted.first() {
        measure::written::<J>(*xmin, inserted.len() as u64);
    }
    Ok(inserted.into_iter().map(|(id, _)| id).collect())
}

fn timeout_seconds<J: Job>() -> i32 {
    i32::try_from(J::TIMEOUT.as_secs()).unwrap_or(i32::MAX)
}

/// A job of the kind and key that has not begun, held back until this transaction ends.
async fn fold<J: Job>(
    connection: &mut PgConnection,
    key: &str,
    run_at: Option<DateTime<Utc>>,
) -> Result<Option<Uuid>> {
    let folded = sqlx::query_scalar("select jobs_fold($1, $2, coalesce($3, now()))")
        .bind(J::KIND)
        .bind(key)
        .bind(run_at)
        .fetch_one(&mut *connection)
        .await?;
    Ok(folded)
}

/// Begins a period with `job`; or says which job has begun the present one.
async fn begin_period<J: Job>(
    connection: &mut PgConnection,
    origin: Origin,
    key: &str,
    period: Duration,
    job: Uuid,
) -> Result<Option<Uuid>> {
    let holder: Uuid = sqlx::query_scalar("select jobs_begin_period($1, $2, $3, $4, $5)")
        .bind(origin.tenant.map(|tenant| tenant.0))
        .bind(J::KIND)
        .bind(key)
        .bind(job)
        .bind(period.as_secs_f64())
        .fetch_one(&mut *connection)
        .await?;
    Ok((holder != job).then_some(holder))
}
