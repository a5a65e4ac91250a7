//! Which nominal times are to be run at a given moment: usually the one that has just come, after a pause in operation what
//! the schedule's policy makes up for.
//!
//! Pure. Whatever is run is the end of what has come, so that what was missed is one stretch before it.

use chrono::{DateTime, TimeDelta, Utc};
use store::schedules::CatchUp;

use super::timetable::Timetable;

/// A run that begins within this time of its nominal time is in time; later ones are catching up.
pub const IN_TIME: TimeDelta = TimeDelta::seconds(60);
/// As many are made up for in one go; the rest in the next.
const MOST_AT_ONCE: usize = 100;

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The nominal times to run, in order.
    pub run: Vec<DateTime<Utc>>,
    /// From which nominal time until when nothing is made up for.
    pub missed: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// When it comes next.
    pub next: Option<DateTime<Utc>>,
}

/// What is due at `now` of a schedule that was to come next at `next_run_at`. Times further back than `window` are not made up for.
#[must_use]
pub fn due(
    timetable: &Timetable,
    (policy, window): (CatchUp, TimeDelta),
    next_run_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Due {
    let in_time = now - IN_TIME;
    let horizon = match policy {
        CatchUp::Skip => in_time,
        CatchUp::Last | CatchUp::All => in_time.min(now - window),
    };
    // `upcoming` begins after the moment it is given.
    let start = next_run_at.max(horizon) - TimeDelta::seconds(1);
    let mut run = Vec::new();
    let mut next = None;
    for occurrence in timetable.upcoming(start) {
        if occurrence.at > now || run.len() == MOST_AT_ONCE {
            next = Some(occurrence.at);
            break;
        }
        // Of late ones only the last is kept, until one comes that is in time.
        if policy == CatchUp::Last && run.last().is_some_and(|last| *last < in_time) {
            run.clear();
        }
        run.push(occurrence.at);
    }
    let until = run.first().copied().unwrap_or(now);
    let missed = (next_run_at < until).then_some((next_run_at, until));
    Due { run, missed, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-11-22T{text}Z").parse().expect("a time")
    }

    fn due_at(expression: &str, policy: CatchUp, window_minutes: i64, next: &str, now: &str) -> Due {
        let timetable = Timetable::Cron {
            expression: expression.parse().expect(expression),
            zone: "UTC".parse().expect("a zone"),
        };
        due(&timetable, (policy, TimeDelta::minutes(window_minutes)), at(next), at(now))
    }

    #[test]
    fn what_comes_in_time_is_run_under_every_policy() {
        for policy in CatchUp::ALL {
            let due = due_at("0 * * * *", *policy, 60, "10:00:00", "10:00:01");
            let expected = Due { run: vec![at("10:00:00")], missed: None, next: Some(at("11:00:00")) };
            assert_eq!(due, expected, "{policy:?}");
        }
    }

    #[test]
    fn after_six_hours_the_policy_decides() {
        let after_six_hours = |policy, window| due_at("0 * * * *", policy, window, "10:00:00", "15:20:00");
        let next = Some(at("16:00:00"));
        assert_eq!(
            after_six_hours(CatchUp::Skip, 1440),
            Due { run: vec![], missed: Some((at("10:00:00"), at("15:20:00"))), next }
        );
        assert_eq!(
            after_six_hours(CatchUp::Last, 1440),
            Due { run: vec![at("15:00:00")], missed: Some((at("10:00:00"), at("15:00:00"))), next }
        );
        let all = ["10", "11", "12", "13", "14", "15"].map(|hour| at(&format!("{hour}:00:00"))).to_vec();
        assert_eq!(after_six_hours(CatchUp::All, 1440), Due { run: all.clone(), missed: None, next });
        assert_eq!(
            after_six_hours(CatchUp::All, 150),
            Due { run: all[3..].to_vec(), missed: Some((at("10:00:00"), at("13:00:00"))), next }
        );
        assert_eq!(
            after_six_hours(CatchUp::Last, 10),
            Due { run: vec![], missed: Some((at("10:00:00"), at("15:20:00"))), next }
        );
    }

    #[test]
    fn what_is_in_time_is_never_dropped_for_being_one_of_several() {
        let due = due_at("* * * * *", CatchUp::Last, 1440, "10:00:00", "10:05:00");
        assert_eq!(due.run, [at("10:04:00"), at("10:05:00")]);
        assert_eq!(due.missed, Some((at("10:00:00"), at("10:04:00"))));
    }

    #[test]
    fn a_long_list_is_made_up_for_in_parts() {
        let first = due_at("* * * * *", CatchUp::All, 1440, "10:00:00", "12:00:00");
        assert_eq!((first.run.len(), first.next), (100, Some(at("11:40:00"))));
        let rest = due_at("* * * * *", CatchUp::All, 1440, "11:40:00", "12:00:00");
        assert_eq!((rest.run.len(), rest.next), (21, Some(at("12:01:00"))));
        assert_eq!(rest.missed, None);
    }

    #[test]
    fn an_interval_keeps_its_pace_after_a_pause() {
        let timetable = Timetable::Every { interval: TimeDelta::minutes(30), from: at("10:10:00") };
        let due = due(&timetable, (CatchUp::Last, TimeDelta::hours(24)), at("10:10:00"), at("12:00:00"));
        assert_eq!((due.run, due.next), (vec![at("11:40:00")], Some(at("12:10:00"))));
    }
}
