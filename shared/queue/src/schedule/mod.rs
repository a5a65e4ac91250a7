//! What comes round by itself: cron expressions on the wall clock of a time zone, steady intervals, and firing them.
//!
//! A schedule is a row (`store::schedules`). Its [`timetable`] says when it comes; [`catch_up`] which of those times are run at a given
//! moment; [`firing`] makes the jobs. The next runs that people are shown and the runs that happen come from the same
//! function, [`Timetable::next_after`].

pub mod catch_up;
pub mod expression;
pub mod firing;
pub mod timetable;
#[cfg(test)]
mod walker;
pub mod zone;

use chrono::{DateTime, TimeDelta, Utc};
use store::schedules::Schedule;

pub use expression::{Expression, InvalidExpression};
pub use timetable::{Occurrence, Shift, Timetable};
pub use zone::{UnknownZone, Zone, database_version};

/// Why a row cannot be used as a schedule.
#[derive(Debug, thiserror::Error)]
pub enum UnusableSchedule {
    #[error(transparent)]
    Expression(#[from] InvalidExpression),
    #[error(transparent)]
    Zone(#[from] UnknownZone),
}

/// When `schedule` comes. One with an interval that has never come and is not to come at a certain time counts from `now`.
///
/// # Errors
/// When the expression or the zone cannot be read, which this version would not have accepted.
pub fn timetable_of(schedule: &Schedule, now: DateTime<Utc>) -> Result<Timetable, UnusableSchedule> {
    match &schedule.cron {
        Some(cron) => Ok(Timetable::Cron { expression: cron.parse()?, zone: schedule.time_zone.parse()? }),
        None => {
            let minutes = schedule.interval_minutes.unwrap_or(1);
            let from = schedule.next_run_at.or(schedule.done_until).unwrap_or(now);
            Ok(Timetable::Every { interval: TimeDelta::minutes(minutes.into()), from })
        }
    }
}

/// The next `count` times that `schedule` will be fired for, as things stand at `now`; none while it is turned off.
///
/// # Errors
/// As [`timetable_of`].
pub fn next_runs(
    schedule: &Schedule,
    now: DateTime<Utc>,
    count: usize,
) -> Result<Vec<Occurrence>, UnusableSchedule> {
    if !schedule.enabled {
        return Ok(Vec::new());
    }
    let timetable = timetable_of(schedule, now)?;
    // A time that has come and is not fired yet is the next one.
    let after = schedule.next_run_at.map_or(now, |next| next - TimeDelta::seconds(1));
    Ok(timetable.upcoming(after).take(count).collect())
}
