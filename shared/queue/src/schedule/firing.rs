//! Firing: a due schedule's jobs, the record of its times and its next time, in one transaction.
//!
//! Any number of schedulers may do this at once. Each locks the schedules it is at and passes over those of others; should two ever
//! come to the same nominal time, the second finds its row in `schedule_firings` and does nothing. The clock is a parameter: in
//! operation it is the database's ([`store::schedules::database_time`]).

use chrono::{DateTime, TimeDelta, Utc};
use domain::id::{JobId, UserId};
use runtime::metrics;
use sqlx::{Connection, PgConnection};
use store::{
    SystemDb,
    schedules::{self, Outcome, Overlap, Schedule},
};
use tracing::{error, info, warn};

use super::{UnusableSchedule, catch_up, timetable_of, zone::database_version};
use crate::{
    enqueue::Origin,
    jobs::{self, NamedError},
};

/// Schedules locked in one transaction.
const BATCH: i64 = 20;
/// A clock that is put back by more than this had been wrong (cron(8)).
const CORRECTION: TimeDelta = TimeDelta::hours(3);

/// Why a schedule cannot be fired.
#[derive(Debug, thiserror::Error)]
enum FireError {
    #[error(transparent)]
    Unusable(#[from] UnusableSchedule),
    #[error("it does not come again in this century")]
    NeverAgain,
    #[error(transparent)]
    Job(#[from] NamedError),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What there is to do for a schedule.
enum Step {
    /// It is due, or it is to be worked out when it is.
    Fire { now: DateTime<Utc> },
    /// This time waited for a job that is finished by now.
    Release { nominal_at: DateTime<Utc> },
}

/// Fires everything that is due at `now`. Returns how many jobs that made.
///
/// # Errors
/// When the database cannot be reached; what had been committed until then stays.
pub async fn fire_due(db: &SystemDb, now: DateTime<Utc>) -> store::Result<usize> {
    let kinds: Vec<(&str, i32)> = jobs::ALL.iter().map(|kind| (kind.name, kind.version)).collect();
    let mut made = 0;
    loop {
        let mut tx = db.begin().await?;
        let Some((schedule, nominal_at)) = schedules::lock_released(&mut tx, &kinds).await? else { break };
        made += take_step(&mut tx, &schedule, Step::Release { nominal_at }).await?;
        tx.commit().await?;
    }
    loop {
        let mut tx = db.begin().await?;
        let due = schedules::lock_due(&mut tx, now, &kinds, BATCH).await?;
        for schedule in &due {
            made += take_step(&mut tx, schedule, Step::Fire { now }).await?;
        }
        tx.commit().await?;
        if i64::try_from(due.len()).unwrap_or(BATCH) < BATCH {
            return Ok(made);
        }
    }
}

/// Takes a step for a locked schedule. One that cannot be fired is turned off, so that it does not keep the others waiting.
async fn take_step(connection: &mut PgConnection, schedule: &Schedule, step: Step) -> store::Result<usize> {
    let mut attempt = connection.begin().await?;
    let done = match step {
        Step::Fire { now } => fire(&mut attempt, schedule, now).await,
        Step::Release { nominal_at } => {
            make_job(&mut attempt, schedule, nominal_at, None).await.map(|_| 1).map_err(FireError::from)
        }
    };
    match done {
        Ok(made) => {
            attempt.commit().await?;
            Ok(made)
        }
        Err(FireError::Store(error) | FireError::Job(NamedError::Store(error))) if error.is_transient() => {
            Err(error)
        }
        Err(unusable) => {
            attempt.rollback().await?;
            let why = unusable.to_string();
            error!(schedule.id = %schedule.id, schedule.name, why, "a schedule cannot be fired and is turned off");
            schedules::give_up(connection, schedule.id(), &why).await?;
            Ok(0)
        }
    }
}

async fn fire(
    connection: &mut PgConnection,
    schedule: &Schedule,
    now: DateTime<Utc>,
) -> Result<usize, FireError> {
    let timetable = timetable_of(schedule, now)?;
    // What was done while the clock was far ahead is no reason to wait until then.
    let done_until = schedule.done_until.filter(|until| *until <= now + CORRECTION);
    let clock_was_wrong = schedule.done_until != done_until;
    let Some(next_run_at) = schedule.next_run_at.filter(|_| !clock_was_wrong) else {
        let after = done_until.map_or(now, |until| until.max(now));
        let next = timetable.next_after(after).ok_or(FireError::NeverAgain)?;
        schedules::advance(connection, schedule.id(), done_until, next.at, database_version()).await?;
        return Ok(0);
    };
    let policy = (schedule.catch_up, schedule.catch_up_window());
    let due = catch_up::due(&timetable, policy, next_run_at, now);
    let next = due.next.ok_or(FireError::NeverAgain)?;
    if let Some((from, until)) = due.missed {
        warn!(schedule.id = %schedule.id, schedule.name, %from, %until, "times of a schedule were missed");
        metrics::SCHEDULE_MISSED.add([], 1);
        schedules::record_missed(connection, schedule.id(), from, until).await?;
    }
    let mut made = 0;
    // The job of one time is the one before for the next.
    let mut schedule = schedule.clone();
    for nominal_at in &due.run {
        if let Some(job) = fire_one(connection, &schedule, *nominal_at).await? {
            schedule.last_job_id = Some(job.0);
            metrics::SCHEDULE_LAG.observe([], (now - *nominal_at).as_seconds_f64().max(0.0));
            made += 1;
        }
    }
    let done_until = due.run.last().copied().unwrap_or(now);
    schedules::advance(connection, schedule.id(), Some(done_until), next, database_version()).await?;
    Ok(made)
}

/// Makes the job of a nominal time, unless that was dealt with before or the overlap policy is against it.
async fn fire_one(
    connection: &mut PgConnection,
    schedule: &Schedule,
    nominal_at: DateTime<Utc>,
) -> Result<Option<JobId>, FireError> {
    let id = schedule.id();
    if !schedules::take(connection, id, nominal_at, None).await? {
        return Ok(None);
    }
    let is_alone = schedule.overlap == Overlap::Allow
        || !schedules::is_last_unfinished(connection, schedule).await?
            && !schedules::has_waiting(connection, id).await?;
    if is_alone {
        return Ok(Some(make_job(connection, schedule, nominal_at, None).await?));
    }
    if schedule.overlap == Overlap::QueueOne && !schedules::has_waiting(connection, id).await? {
        schedules::keep_waiting(connection, id, nominal_at).await?;
    }
    Ok(None)
}

/// Makes the job of a nominal time that has been taken.
async fn make_job(
    connection: &mut PgConnection,
    schedule: &Schedule,
    nominal_at: DateTime<Utc>,
    user: Option<UserId>,
) -> Result<JobId, NamedError> {
    runtime::failpoint!("fire-recorded");
    let origin = Origin { tenant: schedule.tenant(), user };
    // Where times may overlap, each has a job of its own, though the kind may be done once at a time only.
    let apart = (schedule.overlap == Overlap::Allow).then(|| format!("{} {nominal_at}", schedule.id));
    let Schedule { kind, kind_version, payload, .. } = schedule;
    let job = jobs::enqueue_named(connection, origin, kind, *kind_version, payload, apart.as_deref()).await?;
    let outcome = if job.created { Outcome::Enqueued } else { Outcome::Joined };
    schedules::settle(connection, schedule.id(), nominal_at, outcome, job.id).await?;
    info!(schedule.id = %schedule.id, schedule.name, %nominal_at, job.id = %job.id, "a schedule came");
    Ok(job.id)
}

/// Runs a schedule now, whatever its timetable says, and returns the job. While the job of the last time is unfinished, that is the
/// job, unless overlap is allowed. The caller has locked the schedule.
///
/// # Errors
/// When the payload cannot be used any more, or the database refuses.
pub async fn run_now(
    connection: &mut PgConnection,
    schedule: &Schedule,
    by: UserId,
) -> Result<JobId, NamedError> {
    if let Some(job) = schedule.last_job_id
        && schedule.overlap != Overlap::Allow
        && schedules::is_last_unfinished(connection, schedule).await?
    {
        return Ok(JobId(job));
    }
    let now = schedules::database_time(connection).await?;
    schedules::take(connection, schedule.id(), now, Some(by)).await?;
    make_job(connection, schedule, now, Some(by)).await
}
