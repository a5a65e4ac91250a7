//! When a schedule comes: wall times of a cron expression as instants, or a steady interval.
//!
//! The rule for clock changes is that of Debian's cron(8). When the clock is put forward by less than three hours, what was due
//! in the skipped time comes right after it; when it is put back by less than three hours, what falls into the repeated time is not
//! repeated. That holds for work at a time of day; an expression whose minute or hour begins with `*` follows the
//! clock as it is. Larger changes are corrections, such as the day that Samoa left out in 2011: the new time counts.
//!
//! [`Timetable::next_after`] is what both the preview shows and the scheduler fires by.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use super::{
    expression::Expression,
    zone::{Stretch, Zone},
};

/// From here on a change of the clock is a correction (cron(8)).
const CORRECTION: TimeDelta = TimeDelta::hours(3);

/// When something comes round.
#[derive(Debug, Clone)]
pub enum Timetable {
    /// At the wall times of a cron expression.
    Cron { expression: Expression, zone: Zone },
    /// Again and again, counted from a moment at which it came or is to come.
    Every { interval: TimeDelta, from: DateTime<Utc> },
}

/// A moment at which something comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occurrence {
    pub at: DateTime<Utc>,
    pub shift: Option<Shift>,
}

/// What a change of the clock made of an occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shift {
    /// Its wall time was skipped: it comes as soon as the clock has been put forward.
    AfterGap,
    /// Its wall time comes twice: this is the first.
    FirstOfTwo,
}

impl Shift {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::AfterGap, Self::FirstOfTwo];

    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AfterGap => "after_gap",
            Self::FirstOfTwo => "first_of_two",
        }
    }
}

impl Timetable {
    /// The first occurrence after `after`. None: there is none in this century.
    #[must_use]
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<Occurrence> {
        match self {
            Self::Cron { expression, zone } => next_at_wall_time(expression, zone, after),
            Self::Every { interval, from } => {
                let step = interval.num_seconds().max(1);
                let passed = (after - from).num_seconds().div_euclid(step) + 1;
                let at = *from + TimeDelta::seconds(step.checked_mul(passed)?);
                Some(Occurrence { at, shift: None })
            }
        }
    }

    /// Every occurrence after `after`, in order.
    pub fn upcoming(&self, after: DateTime<Utc>) -> impl Iterator<Item = Occurrence> + '_ {
        std::iter::successors(self.next_after(after), |last| self.next_after(last.at))
    }
}

fn next_at_wall_time(expression: &Expression, zone: &Zone, after: DateTime<Utc>) -> Option<Occurrence> {
    let mut from = after.duration_trunc(TimeDelta::seconds(1)).ok()? + TimeDelta::seconds(1);
    loop {
        let stretch = zone.stretch_at(from);
        match first_within(expression, &stretch, from)? {
            Found::Here(occurrence) => return Some(occurrence),
            Found::Later(start) => from = start,
        }
    }
}

enum Found {
    Here(Occurrence),
    /// Not before the next stretch, which begins then.
    Later(DateTime<Utc>),
}

/// The first occurrence at or after `from` within `stretch`, which `from` lies in. None: no wall time is left at all.
fn first_within(expression: &Expression, stretch: &Stretch, from: DateTime<Utc>) -> Option<Found> {
    let once_a_day = !expression.follows_real_time();
    let wall = |instant: DateTime<Utc>, offset: TimeDelta| (instant + offset).naive_utc();
    let mut earliest = wall(from, stretch.offset);
    if let Some((start, before)) = stretch.start
        && once_a_day
    {
        let forward = stretch.offset - before;
        // What the clock would show, had it not been changed.
        let unchanged = wall(start, before);
        if from == start && TimeDelta::zero() < forward && forward < CORRECTION {
            let skipped = expression.next_wall(unchanged)?;
            if skipped < wall(start, stretch.offset) {
                return Some(Found::Here(Occurrence { at: start, shift: Some(Shift::AfterGap) }));
            }
        }
        if -CORRECTION < forward && forward < TimeDelta::zero() {
            earliest = earliest.max(unchanged);
        }
    }
    let found = expression.next_wall(earliest)?;
    let at = found.and_utc() - stretch.offset;
    let Some((end, next_offset)) = stretch.end else {
        return Some(Found::Here(Occurrence { at, shift: None }));
    };
    if at >= end {
        return Some(Found::Later(end));
    }
    let back = stretch.offset - next_offset;
    let comes_twice = once_a_day && back < CORRECTION && found >= wall(end, next_offset);
    Some(Found::Here(Occurrence { at, shift: comes_twice.then_some(Shift::FirstOfTwo) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(expression: &str, zone: &str) -> Timetable {
        Timetable::Cron { expression: expression.parse().expect(expression), zone: zone.parse().expect(zone) }
    }

    /// The wall times from `after` on as the zone's clock shows them, and what became of each.
    fn runs(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let wall: Zone = zone.parse().expect(zone);
        cron(expression, zone)
            .upcoming(after.parse().expect("a time"))
            .take(count)
            .map(|run| match run.shift {
                None => wall.local(run.at),
                Some(shift) => format!("{} {shift:?}", wall.local(run.at)),
            })
            .collect()
    }

    #[test]
    fn work_at_a_skipped_time_comes_once_right_after_the_gap() {
        assert_eq!(
            runs("30 2 * * *", "America/New_York", "2026-03-07T00:00:00Z", 3),
            ["2026-03-07T02:30:00-05:00", "2026-03-08T03:00:00-04:00 AfterGap", "2026-03-09T02:30:00-04:00"]
        );
        // Two skipped times and a regular one at the same moment are one.
        assert_eq!(
            runs("0,30 2-3 8 3 *", "America/New_York", "2026-03-08T00:00:00Z", 2),
            ["2026-03-08T03:00:00-04:00 AfterGap", "2026-03-08T03:30:00-04:00"]
        );
        assert_eq!(
            runs("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T16:00:00Z", 2),
            ["2026-10-04T02:30:00+11:00 AfterGap", "2026-10-05T02:15:00+11:00"]
        );
    }

    #[test]
    fn work_at_a_repeated_time_comes_once() {
        assert_eq!(
            runs("30 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", 2),
            ["2026-11-01T01:30:00-04:00 FirstOfTwo", "2026-11-02T01:30:00-05:00"]
        );
        assert_eq!(
            runs("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", 2),
            ["2026-04-05T01:45:00+11:00 FirstOfTwo", "2026-04-06T01:45:00+10:30"]
        );
        // Asked in the middle of the second time, the next one is tomorrow's.
        assert_eq!(
            runs("30,50 1 * * *", "America/New_York", "2026-11-01T06:10:00Z", 1),
            ["2026-11-02T01:30:00-05:00"]
        );
    }

    #[test]
    fn work_at_a_pace_follows_real_time() {
        let on_that_day = |day: &str, expression| {
            runs(expression, "America/New_York", "2026-01-01T00:00:00Z", 24 * 400)
                .iter()
                .filter(|run| run.starts_with(day))
                .count()
        };
        assert_eq!(on_that_day("2026-03-08", "0 * * * *"), 23);
        assert_eq!(on_that_day("2026-11-01", "0 * * * *"), 25);
        assert_eq!(
            runs("*/30 1-2 1 11 *", "America/New_York", "2026-11-01T00:00:00Z", 6),
            [
                "2026-11-01T01:00:00-04:00",
                "2026-11-01T01:30:00-04:00",
                "2026-11-01T01:00:00-05:00",
                "2026-11-01T01:30:00-05:00",
                "2026-11-01T02:00:00-05:00",
                "2026-11-01T02:30:00-05:00"
            ]
        );
    }

    #[test]
    fn a_day_that_a_zone_left_out_is_left_out() {
        assert_eq!(
            runs("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", 3),
            ["2011-12-29T12:00:00-10:00", "2011-12-31T12:00:00+14:00", "2012-01-01T12:00:00+14:00"]
        );
    }

    #[test]
    fn an_interval_counts_from_its_beginning() {
        let from = "2026-11-22T10:00:00Z".parse().expect("a time");
        let hourly = Timetable::Every { interval: TimeDelta::minutes(90), from };
        let times = |after: &str| -> Vec<String> {
            hourly.upcoming(after.parse().expect("a time")).take(2).map(|run| run.at.to_rfc3339()).collect()
        };
        assert_eq!(times("2026-11-22T09:59:59Z"), ["2026-11-22T10:00:00+00:00", "2026-11-22T11:30:00+00:00"]);
        assert_eq!(times("2026-11-22T10:00:00Z"), ["2026-11-22T11:30:00+00:00", "2026-11-22T13:00:00+00:00"]);
        assert_eq!(times("2026-11-25T10:00:01Z")[0], "2026-11-25T11:30:00+00:00");
    }
}
