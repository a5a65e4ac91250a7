//! The record of each time that a schedule came: what is due, what was made of it, and when it comes next.

use chrono::{DateTime, Utc};
use domain::id::{JobId, ScheduleId, UserId};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Outcome, Schedule};
use crate::{db::TenantTx, error::Result};

/// One time that a schedule came, and the job it made as that stands now.
#[derive(Debug, Clone, FromRow)]
pub struct Firing {
    pub nominal_at: DateTime<Utc>,
    pub fired_at: DateTime<Utc>,
    #[sqlx(try_from = "String")]
    pub outcome: Outcome,
    pub job_id: Option<Uuid>,
    /// The word of the state machine; none when the job has been deleted since.
    pub job_state: Option<String>,
    pub missed_until: Option<DateTime<Utc>>,
    pub requested_by: Option<Uuid>,
}

/// The latest `count` firings, the newest first. The schedule must have been found in the same transaction.
///
/// # Errors
/// When the database cannot be reached.
pub async fn firings(tx: &mut TenantTx, id: ScheduleId, count: i64) -> Result<Vec<Firing>> {
    let tenant = tx.tenant();
    let firings = sqlx::query_as(
        "select firing.nominal_at, firing.fired_at, firing.outcome, firing.job_id, jobs.state as job_state,
                firing.missed_until, firing.requested_by
           from schedule_firings firing
           left join jobs on jobs.id = firing.job_id and (jobs.tenant_id = $1 or jobs.tenant_id is null)
          where firing.schedule_id = $2 order by firing.nominal_at desc limit $3",
    )
    .bind(tenant.0)
    .bind(id.0)
    .bind(count)
    .fetch_all(&mut **tx)
    .await?;
    Ok(firings)
}

/// The time by the database's clock, which is the one that counts.
///
/// # Errors
/// When the database cannot be reached.
pub async fn database_time(connection: &mut PgConnection) -> Result<DateTime<Utc>> {
    Ok(sqlx::query_scalar("select clock_timestamp()").fetch_one(connection).await?)
}

/// Schedules that something is to be done about at `now`, locked; those that somebody else is at are left out. What is newer than
/// `kinds`, each with its version, is left to a newer scheduler.
///
/// Due are those whose time has come, those whose time is not worked out, and those that came in what is now the
/// far future: the clock had been wrong.
///
/// # Errors
/// When the database cannot be reached.
pub async fn lock_due(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    kinds: &[(&str, i32)],
    count: i64,
) -> Result<Vec<Schedule>> {
    let (kinds, versions): (Vec<&str>, Vec<i32>) = kinds.iter().copied().unzip();
    let due = sqlx::query_as(select!(
        "where enabled
           and exists (select from unnest($2::text[], $4::integer[]) as known (kind, version)
                        where known.kind = schedules.kind and known.version >= schedules.kind_version)
           and (next_run_at is null or next_run_at <= $1 or done_until > $1 + interval '3 hours')
         order by next_run_at nulls first, id limit $3 for update skip locked"
    ))
    .bind(now)
    .bind(kinds)
    .bind(count)
    .bind(versions)
    .fetch_all(connection)
    .await?;
    Ok(due)
}

/// A schedule one of whose times waits for a job that is finished by now, locked, with that time. One that is turned off waits on.
///
/// # Errors
/// When the database cannot be reached.
pub async fn lock_released(
    connection: &mut PgConnection,
    kinds: &[(&str, i32)],
) -> Result<Option<(Schedule, DateTime<Utc>)>> {
    let (kinds, versions): (Vec<&str>, Vec<i32>) = kinds.iter().copied().unzip();
    let released: Option<(Uuid, DateTime<Utc>)> = sqlx::query_as(
        "select schedules.id, firing.nominal_at
           from schedule_firings firing
           join schedules on schedules.id = firing.schedule_id
          where firing.outcome = 'waiting' and schedules.enabled
            and exists (select from unnest($1::text[], $2::integer[]) as known (kind, version)
                         where known.kind = schedules.kind and known.version >= schedules.kind_version)
            and not exists (select from jobs where jobs.id = schedules.last_job_id and jobs.finished_at is null)
          order by firing.nominal_at limit 1 for update skip locked",
    )
    .bind(kinds)
    .bind(versions)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((id, nominal_at)) = released else { return Ok(None) };
    let schedule = sqlx::query_as(select!("where id = $1")).bind(id).fetch_one(connection).await?;
    Ok(Some((schedule, nominal_at)))
}

/// True while the job of the schedule's last time is not finished.
///
/// # Errors
/// When the database cannot be reached.
pub async fn is_last_unfinished(connection: &mut PgConnection, schedule: &Schedule) -> Result<bool> {
    let Some(job) = schedule.last_job_id else { return Ok(false) };
    let unfinished =
        sqlx::query_scalar("select exists (select from jobs where id = $1 and finished_at is null)")
            .bind(job)
            .fetch_one(connection)
            .await?;
    Ok(unfinished)
}

/// True when a time of the schedule waits for the job before it.
///
/// # Errors
/// When the database cannot be reached.
pub async fn has_waiting(connection: &mut PgConnection, id: ScheduleId) -> Result<bool> {
    let waiting = sqlx::query_scalar(
        "select exists (select from schedule_firings where schedule_id = $1 and outcome = 'waiting')",
    )
    .bind(id.0)
    .fetch_one(connection)
    .await?;
    Ok(waiting)
}

/// Takes a nominal time, to be settled in the same transaction. False: it was dealt with before. One that was missed, by a clock that had
/// been wrong, can still be taken.
///
/// # Errors
/// When the database refuses.
pub async fn take(
    connection: &mut PgConnection,
    id: ScheduleId,
    nominal_at: DateTime<Utc>,
    requested_by: Option<UserId>,
) -> Result<bool> {
    let taken = sqlx::query(
        "insert into schedule_firings (schedule_id, nominal_at, outcome, requested_by) values ($1, $2, 'skipped', $3)
         on conflict (schedule_id, nominal_at) do update set outcome = 'skipped', missed_until = null, fired_at = now()
          where schedule_firings.outcome = 'missed'",
    )
    .bind(id.0)
    .bind(nominal_at)
    .bind(requested_by.map(|user| user.0))
    .execute(connection)
    .await?;
    Ok(taken.rows_affected() > 0)
}

/// Records that the job of a nominal time is `job`, which was made for it or, with [`Outcome::Joined`], was there.
///
/// # Errors
/// When the database refuses.
pub async fn settle(
    connection: &mut PgConnection,
    id: ScheduleId,
    nominal_at: DateTime<Utc>,
    outcome: Outcome,
    job: JobId,
) -> Result<()> {
    sqlx::query(
        "with settled as (
             update schedule_firings set outcome = $3, job_id = $4, fired_at = now()
              where schedule_id = $1 and nominal_at = $2
         )
         update schedules set last_job_id = $4 where id = $1",
    )
    .bind(id.0)
    .bind(nominal_at)
    .bind(outcome.as_str())
    .bind(job.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// Records that a nominal time waits for the job before it.
///
/// # Errors
/// When the database refuses.
pub async fn keep_waiting(
    connection: &mut PgConnection,
    id: ScheduleId,
    nominal_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query("update schedule_firings set outcome = 'waiting' where schedule_id = $1 and nominal_at = $2")
        .bind(id.0)
        .bind(nominal_at)
        .execute(connection)
        .await?;
    Ok(())
}

/// Records that the nominal times from `from` on were missed until `until`.
///
/// # Errors
/// When the database refuses.
pub async fn record_missed(
    connection: &mut PgConnection,
    id: ScheduleId,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "insert into schedule_firings (schedule_id, nominal_at, outcome, missed_until) values ($1, $2, 'missed', $3)
         on conflict (schedule_id, nominal_at) do nothing",
    )
    .bind(id.0)
    .bind(from)
    .bind(until)
    .execute(connection)
    .await?;
    Ok(())
}

/// Sets when the schedule comes next, and up to which nominal time everything has been dealt with.
///
/// # Errors
/// When the database refuses.
pub async fn advance(
    connection: &mut PgConnection,
    id: ScheduleId,
    done_until: Option<DateTime<Utc>>,
    next_run_at: DateTime<Utc>,
    time_zone_version: &str,
) -> Result<()> {
    sqlx::query(
        "update schedules set done_until = $2, next_run_at = $3, time_zone_version = $4 where id = $1",
    )
    .bind(id.0)
    .bind(done_until)
    .bind(next_run_at)
    .bind(time_zone_version)
    .execute(connection)
    .await?;
    Ok(())
}

/// Turns a schedule off that cannot be fired, and says why.
///
/// # Errors
/// When the database refuses.
pub async fn give_up(connection: &mut PgConnection, id: ScheduleId, why: &str) -> Result<()> {
    sqlx::query(
        "update schedules set enabled = false, next_run_at = null, disabled_reason = $2 where id = $1",
    )
    .bind(id.0)
    .bind(why)
    .execute(connection)
    .await?;
    Ok(())
}

/// Has the next time worked out anew where another release of the time zone database said when that is. Returns how many.
///
/// # Errors
/// When the database refuses.
pub async fn forget_other_releases(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    time_zone_version: &str,
) -> Result<u64> {
    // What is due is due: only times to come are in question.
    let changed = sqlx::query(
        "update schedules set next_run_at = null
          where cron is not null and enabled and next_run_at > $1 and time_zone_version <> $2",
    )
    .bind(now)
    .bind(time_zone_version)
    .execute(connection)
    .await?;
    Ok(changed.rows_affected())
}
