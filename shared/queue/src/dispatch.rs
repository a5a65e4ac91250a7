//! Whose turn it is: which due jobs of a queue go to the workers next.
//!
//! Decided by one statement under a lock that one relay has at a time. Within a lane (a tenant, or the installation) the order is
//! priority, then age. Between lanes it is a fair queue over what is in flight: a lane's next job has the place
//! `(its jobs in flight + 1) / its weight`, and the lowest places go. A lane with thousands waiting so gives way to one with a single
//! job, and takes everything when it is alone.
//!
//! Every look-up here can be done in one way only, so that the plan is the same whether it was made over an empty table or over a million
//! rows: by id it goes through an array, not a join, which might begin with the whole table, and `state || ''` keeps partial indexes out.
//!
//! Only what is to begin is locked `for update`: who folds a request into a job that waits (`jobs_fold` in the migrations) holds its row by
//! `for key share`, which that alone shuts out.
//!
//! What it costs does not depend on the backlog: lanes are found by one probe of `jobs_ready_idx` each, and of each lane no more rows are
//! read than could go. A job whose concurrency key another one has is *parked*, out of that index, when it is met, and comes back when the
//! key is free.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{claim::JobRef, fleet, job::Queue, rescue};

/// A queue's row, and what its workers could take.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Standing {
    pub(crate) is_paused: bool,
    max_running: Option<i32>,
    max_per_tenant: Option<i32>,
    /// Jobs that the rate lets begin now.
    allowance: Option<f64>,
    pub(crate) revision: i64,
    /// Of live workers that take jobs.
    slots: i64,
    dispatched: i64,
    running: i64,
}

/// True when this transaction is the only one at work on `what`, until it ends.
pub(crate) async fn try_lock(connection: &mut PgConnection, what: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("select pg_try_advisory_xact_lock(hashtextextended('plimsoll relay ' || $1, 0))")
        .bind(what)
        .fetch_one(connection)
        .await
}

/// A queue at a glance: whether a round need look closer.
#[derive(Debug, FromRow)]
pub(crate) struct Glance {
    pub(crate) queue: String,
    pub(crate) revision: i64,
    /// A job is due, and the queue is not paused.
    pub(crate) has_work: bool,
}

/// All queues, by one probe each.
pub(crate) async fn glance(connection: &mut PgConnection) -> sqlx::Result<Vec<Glance>> {
    sqlx::query_as(
        "select q.queue, q.revision,
                -- Not `exists`, which Postgres may answer by hashing the whole backlog.
                q.paused_at is null
                and coalesce((select true from jobs j
                               where j.queue = q.queue and j.state = 'available' and not j.parked limit 1), false) as has_work
           from job_queues q",
    )
    .fetch_all(connection)
    .await
}

/// Makes available what waited for its time, the longest overdue first; the answer is when the next one is due.
pub(crate) async fn promote(connection: &mut PgConnection) -> sqlx::Result<Option<Duration>> {
    let until_next: Option<f64> = sqlx::query_scalar(
        "with due as (
             select id from jobs
              where state in ('scheduled', 'retryable') and run_at <= now()
              order by run_at limit 1000
                for no key update skip locked
         ), promoted as (
             update jobs set state = 'available' where id = any (array(select id from due))
         )
         select greatest(0, extract(epoch from run_at - now()))::float8
           from jobs
          where state in ('scheduled', 'retryable') and id not in (select id from due)
          order by run_at limit 1",
    )
    .fetch_optional(connection)
    .await?;
    Ok(until_next.map(Duration::from_secs_f64))
}

/// Lets in a parked job of each key that nobody has. Whoever gives a key up does this at once; here is made good what was parked in that
/// very moment. Reads no more than there are parked keys, up to a thousand.
pub(crate) async fn unpark(connection: &mut PgConnection) -> sqlx::Result<u64> {
    let freed = sqlx::query(
        "with recursive keys (key, passed) as (
             (select concurrency_key, 1 from jobs where state = 'available' and parked order by concurrency_key limit 1)
             union all
             select (select j.concurrency_key from jobs j
                      where j.state = 'available' and j.parked and j.concurrency_key > keys.key
                      order by j.concurrency_key limit 1), passed + 1
               from keys where keys.key is not null and passed < 1000
         ), free as (
             select (select j.id from jobs j
                      where j.state = 'available' and j.parked and j.concurrency_key = keys.key
                      order by j.priority, j.run_at, j.id limit 1) as id
               from keys
              where keys.key is not null
                and not exists (select from jobs h where h.concurrency_key = keys.key and h.leased_until is not null)
         )
         update jobs set parked = false where id = any (array(select id from free)) and state || '' = 'available'",
    )
    .execute(connection)
    .await?;
    Ok(freed.rows_affected())
}

/// How `queue` stands.
pub(crate) async fn standing(connection: &mut PgConnection, queue: Queue) -> sqlx::Result<Standing> {
    sqlx::query_as(
        "select q.paused_at is not null as is_paused, q.max_running, q.max_per_tenant, q.revision,
                least(q.rate_jobs, q.tokens + extract(epoch from now() - q.refilled_at)::float8 * q.rate_jobs / q.rate_seconds)
                    as allowance,
                (select coalesce(sum(s.slots), 0)
                   from workers w, unnest(w.queues, w.queue_slots) as s (queue, slots)
                  where s.queue = q.queue and w.mode = 'working' and w.wanted = 'work'
                    and w.heartbeat_at > now() - make_interval(secs => $2)) as slots,
                held.dispatched, held.running
           from job_queues q
          cross join lateral (select count(*) filter (where state = 'dispatched') as dispatched,
                                     count(*) filter (where state = 'running') as running
                                from jobs where queue = $1 and state in ('dispatched', 'running')) held
          where q.queue = $1",
    )
    .bind(queue.as_str())
    .bind(fleet::SILENT_AFTER.as_secs_f64())
    .fetch_one(connection)
    .await
}

impl Standing {
    /// How many jobs may go now, given that `ahead` should lie ready beyond the free slots.
    pub(crate) fn room(&self, ahead: i64) -> i64 {
        if self.is_paused {
            return 0;
        }
        let free = (self.slots - self.running).max(0);
        let mut room = free + ahead - self.dispatched;
        if let Some(most) = self.max_running {
            room = room.min(i64::from(most) - self.dispatched - self.running);
        }
        if let Some(allowance) = self.allowance {
            #[expect(clippy::cast_possible_truncation, reason = "a rate is far below 2^52")]
            let whole = allowance.floor() as i64;
            room = room.min(whole);
        }
        room.max(0)
    }
}

/// A job that was given to the workers.
#[derive(Debug, FromRow)]
struct Sent {
    id: Uuid,
    fence: i64,
    place: f64,
    priority: i16,
    run_at: DateTime<Utc>,
}

/// Moves up to `room` due jobs of `queue` to `dispatched`, in the order in which they shall begin. `patience` is for how long an id may lie
/// in Redis unclaimed.
pub(crate) async fn send(
    connection: &mut PgConnection,
    queue: Queue,
    standing: &Standing,
    room: i64,
    patience: Duration,
) -> sqlx::Result<Vec<JobRef>> {
    let mut sent: Vec<Sent> = sqlx::query_as(
        "with recursive steps (lane) as (
             (select lane from jobs where queue = $1 and state = 'available' and not parked order by lane limit 1)
             union all
             select (select j.lane from jobs j
                      where j.queue = $1 and j.state = 'available' and not j.parked and j.lane > steps.lane
                      order by j.lane limit 1)
               from steps where steps.lane is not null
         ), lanes as (
             select steps.lane, coalesce(share.weight, 1)::float8 as weight, coalesce(share.max_in_flight, $3) as most,
                    (select count(*) from jobs h
                      where h.queue = $1 and h.lane = steps.lane and h.state in ('dispatched', 'running')) as held
               from steps left join job_shares share on share.lane = steps.lane
              where steps.lane is not null
         ), fair as (
             -- Twice its share of the room, so that what one lane leaves over others can have.
             select lane, weight, held,
                    least($2, coalesce(most - held, $2), 1 + ceil(2 * $2 * weight / sum(weight) over ())::bigint) as reach
               from lanes
         ), candidates as (
             select first.id, first.concurrency_key, first.crashes >= $5 as is_suspect, first.priority, first.run_at,
                    (fair.held + row_number() over (partition by fair.lane order by first.priority, first.run_at, first.id)) / fair.weight
                        as place
               from fair
              cross join lateral (
                  select j.id, j.concurrency_key, j.crashes, j.priority, j.run_at from jobs j
                   where j.queue = $1 and j.state = 'available' and not j.parked and j.lane = fair.lane and j.run_at <= now()
                   order by j.priority, j.run_at, j.id
                   limit greatest(fair.reach, 0)) first
         ), suspect as (
             -- One at a time, whatever their keys are, so that only the guilty one takes a worker down again.
             select id from candidates
              where case when is_suspect
                         then not exists (select from jobs h
                                           where h.queue = $1 and h.state in ('dispatched', 'running') and h.crashes >= $5) end
              order by place, priority, run_at, id limit 1
         ), judged as (
             select id, place, priority, run_at,
                    is_suspect and id is distinct from (select id from suspect)
                    or concurrency_key is not null
                    and (row_number() over (partition by concurrency_key order by place, priority, run_at, id) > 1
                         or exists (select from jobs h
                                     where h.concurrency_key = candidates.concurrency_key
                                       and h.leased_until is not null)) as barred
               from candidates
         ), to_park as (
             select id from jobs
              where id = any (array(select id from judged where barred)) and state || '' = 'available'
                for no key update skip locked
         ), parked as (
             update jobs set parked = true where id = any (array(select id from to_park))
         ), chosen as (
             select id, place from judged where not barred order by place, priority, run_at, id limit $2
         ), due as (
             select id from jobs
              where id = any (array(select id from chosen)) and state || '' = 'available' and not parked
                for update skip locked
         ), sent as (
             update jobs
                set state = 'dispatched', fence = nextval('job_fences'), leased_by = null,
                    leased_until = now() + make_interval(secs => $4)
              where id = any (array(select id from due))
          returning id, fence, priority, run_at
         )
         select sent.id, sent.fence, chosen.place, sent.priority, sent.run_at from sent join chosen on chosen.id = sent.id",
    )
    .bind(queue.as_str())
    .bind(room)
    .bind(standing.max_per_tenant)
    .bind(patience.as_secs_f64())
    .bind(rescue::CRASHES_UNTIL_POISON - 1)
    .fetch_all(&mut *connection)
    .await?;
    if standing.allowance.is_some() && !sent.is_empty() {
        sqlx::query(
            "update job_queues
                set tokens = least(rate_jobs, tokens + extract(epoch from now() - refilled_at)::float8 * rate_jobs / rate_seconds) - $2,
                    refilled_at = now()
              where queue = $1",
        )
        .bind(queue.as_str())
        .bind(i32::try_from(sent.len()).unwrap_or(i32::MAX))
        .execute(connection)
        .await?;
    }
    sent.sort_unstable_by(|one, other| {
        (one.place.total_cmp(&other.place)).then((one.priority, one.run_at, one.id).cmp(&(
            other.priority,
            other.run_at,
            other.id,
        )))
    });
    Ok(sent.into_iter().map(|job| JobRef { id: job.id, fence: job.fence }).collect())
}

/// Takes back everything of `queue` that was sent and not begun; a rate gets its tokens back.
pub(crate) async fn recall(connection: &mut PgConnection, queue: Queue) -> sqlx::Result<u64> {
    let (returned,): (i64,) = sqlx::query_as(
        "with sent as (
             select id from jobs where queue = $1 and state = 'dispatched' for update skip locked
         ), returned as (
             update jobs set state = 'available', leased_until = null where id = any (array(select id from sent)) returning id
         ), repaid as (
             update job_queues set tokens = least(rate_jobs, tokens + (select count(*) from returned))
              where queue = $1 and rate_jobs is not null and exists (select from returned)
         )
         select count(*) from returned",
    )
    .bind(queue.as_str())
    .fetch_one(connection)
    .await?;
    Ok(returned.unsigned_abs())
}

/// Takes back what Redis did not take of one queue; a rate gets its tokens back. What did arrive is refused by its fence when it is dispatched anew.
pub(crate) async fn take_back(connection: &mut PgConnection, references: &[JobRef]) -> sqlx::Result<u64> {
    let (ids, fences): (Vec<Uuid>, Vec<i64>) = references.iter().map(|r| (r.id, r.fence)).unzip();
    let (returned,): (i64,) = sqlx::query_as(
        "with sent as (
             -- Fences are given once: each is looked for with its own job only.
             select id from jobs
              where id = any ($1) and fence = any ($2) and state || '' = 'dispatched'
                for update skip locked
         ), returned as (
             update jobs set state = 'available', leased_until = null where id = any (array(select id from sent)) returning queue
         ), repaid as (
             update job_queues set tokens = least(rate_jobs, tokens + (select count(*) from returned))
              where queue = (select queue from returned limit 1) and rate_jobs is not null
         )
         select count(*) from returned",
    )
    .bind(&ids)
    .bind(&fences)
    .fetch_one(connection)
    .await?;
    Ok(returned.unsigned_abs())
}
