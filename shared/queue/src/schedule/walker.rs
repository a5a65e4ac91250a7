//! The timetable against a second implementation that shares nothing with it but the offsets of the zones: a clock that is
//! watched minute by minute, and the rules of cron(8) applied to what it shows.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Timelike, Utc};
use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};
use proptest::{collection::vec, prelude::*, sample::select};

use super::timetable::Timetable;

/// Zones with ordinary rules, with changes of half an hour, of two hours, at midnight, by decree and by the moon, and one that
/// left out a day.
const ZONES: &[&str] = &[
    "UTC",
    "Europe/Berlin",
    "Europe/Dublin",
    "America/New_York",
    "America/St_Johns",
    "America/Caracas",
    "America/Sao_Paulo",
    "America/Nuuk",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Asia/Tehran",
    "Asia/Gaza",
    "Africa/Casablanca",
    "Antarctica/Troll",
];
/// Clock changes from here on are corrections, minutes.
const CORRECTION: i64 = 180;

/// One item of a field, as it is meant rather than as it is written.
#[derive(Debug, Clone, Copy)]
enum Item {
    All { step: u32 },
    One(u32),
    Range { from: u32, to: u32, step: u32 },
}

#[derive(Debug, Clone)]
struct Field(Vec<Item>);

impl Field {
    /// Whether `value` is meant; `first` is where counting begins.
    fn has(&self, value: u32, first: u32) -> bool {
        self.0.iter().any(|item| match *item {
            Item::All { step } => (value - first).is_multiple_of(step),
            Item::One(one) => value == one,
            Item::Range { from, to, step } => {
                (from..=to).contains(&value) && (value - from).is_multiple_of(step)
            }
        })
    }

    fn begins_with_star(&self) -> bool {
        matches!(self.0.first(), Some(Item::All { .. }))
    }

    fn text(&self, name: impl Fn(u32) -> String) -> String {
        let items = self.0.iter().map(|item| match *item {
            Item::All { step: 1 } => "*".to_owned(),
            Item::All { step } => format!("*/{step}"),
            Item::One(one) => name(one),
            Item::Range { from, to, step: 1 } => format!("{}-{}", name(from), name(to)),
            Item::Range { from, to, step } => format!("{}-{}/{step}", name(from), name(to)),
        });
        items.collect::<Vec<_>>().join(",")
    }
}

#[derive(Debug, Clone)]
struct Cron {
    minute: Field,
    hour: Field,
    day_of_month: Field,
    month: Field,
    /// Sunday is 0, and never 7.
    day_of_week: Field,
    with_names: bool,
}

impl Cron {
    fn shows(&self, wall: NaiveDateTime) -> bool {
        // The minute first: it is what most often does not fit.
        self.minute.has(wall.minute(), 0)
            && self.hour.has(wall.hour(), 0)
            && self.month.has(wall.month(), 1)
            && self.shows_day(wall)
    }

    fn shows_day(&self, wall: NaiveDateTime) -> bool {
        let day_of_month = self.day_of_month.has(wall.day(), 1);
        let day_of_week = self.day_of_week.has(wall.weekday().num_days_from_sunday(), 0);
        if self.day_of_month.begins_with_star() || self.day_of_week.begins_with_star() {
            day_of_month && day_of_week
        } else {
            day_of_month || day_of_week
        }
    }

    fn text(&self) -> String {
        let plain = |number: u32| number.to_string();
        let named = |names: &'static str, first: u32| {
            move |number: u32| match self.with_names {
                true => names.split(' ').nth((number - first) as usize).expect("a name").to_owned(),
                false => number.to_string(),
            }
        };
        [
            self.minute.text(plain),
            self.hour.text(plain),
            self.day_of_month.text(plain),
            self.month.text(named("jan feb mar apr may jun jul aug sep oct nov dec", 1)),
            self.day_of_week.text(named("SUN MON TUE WED THU FRI SAT", 0)),
        ]
        .join(" ")
    }
}

/// A field with values from `first` to `last`, which is everything in three cases of eight.
fn field(first: u32, last: u32) -> impl Strategy<Value = Field> {
    let span = last - first;
    let item = prop_oneof![
        3 => Just(Item::All { step: 1 }),
        1 => (1..=span).prop_map(|step| Item::All { step }),
        3 => (first..=last).prop_map(Item::One),
        1 => (first..=last, first..=last, 1..=span).prop_map(|(one, other, step)| {
            Item::Range { from: one.min(other), to: one.max(other), step }
        }),
    ];
    vec(item, 1..=2).prop_map(Field)
}

fn cron() -> impl Strategy<Value = Cron> {
    (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6), any::<bool>()).prop_map(
        |(minute, hour, day_of_month, month, day_of_week, with_names)| Cron {
            minute,
            hour,
            day_of_month,
            month,
            day_of_week,
            with_names,
        },
    )
}

/// Work for a time of day in the small hours, when clocks are changed.
fn nightly() -> impl Strategy<Value = Cron> {
    let everything = || Field(vec![Item::All { step: 1 }]);
    (vec((0_u32..=59).prop_map(Item::One), 1..=3), vec((0_u32..=4).prop_map(Item::One), 1..=2)).prop_map(
        move |(minutes, hours)| Cron {
            minute: Field(minutes),
            hour: Field(hours),
            day_of_month: everything(),
            month: everything(),
            day_of_week: everything(),
            with_names: false,
        },
    )
}

/// A zone, and a moment in it that is as often as not on the day before its clock is changed.
fn place_and_time() -> impl Strategy<Value = (&'static str, DateTime<Utc>)> {
    // 2006 to 2040.
    (select(ZONES), 1_136_073_600_i64..2_208_988_800, any::<bool>(), 0_i64..172_800).prop_map(
        |(zone, second, is_near, offset)| {
            let at = Timestamp::from_second(second).expect("in range");
            let change = rules(zone).following(at).next().map(|change| change.timestamp().as_second());
            let near = change.filter(|_| is_near).map_or(second, |change| change - offset);
            (zone, DateTime::from_timestamp(near, 0).expect("in range"))
        },
    )
}

fn rules(zone: &str) -> TimeZone {
    TimeZoneDatabase::bundled().get(zone).expect(zone)
}

/// What the clock of a zone shows at `instant`.
fn shown(rules: &TimeZone, instant: DateTime<Utc>) -> NaiveDateTime {
    let at = Timestamp::from_second(instant.timestamp()).expect("in range");
    (instant + TimeDelta::seconds(rules.to_offset(at).seconds().into())).naive_utc()
}

/// When cron would start something from `from` until `until`, by watching the clock.
fn watched(
    crons: &[&Cron],
    zone: &str,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Vec<BTreeSet<DateTime<Utc>>> {
    let rules = rules(zone);
    let minute = TimeDelta::minutes(1);
    let mut runs = vec![BTreeSet::new(); crons.len()];
    // Long enough before to have seen a change that is still felt.
    let mut instant = from - TimeDelta::minutes(2 * CORRECTION);
    instant -= TimeDelta::seconds(i64::from(shown(&rules, instant).second()));
    // The latest time that the clock has shown since it was last corrected.
    let mut reached = shown(&rules, instant) - minute;
    while instant < until {
        let now = shown(&rules, instant);
        let change = (now - reached).num_minutes() - 1;
        let is_put_back = -CORRECTION < change && change < 0;
        let passed_from = if 0 < change && change < CORRECTION { reached + minute } else { now };
        for (cron, runs) in crons.iter().zip(&mut runs) {
            let follows = cron.minute.begins_with_star() || cron.hour.begins_with_star();
            let mut passed = passed_from;
            let comes = if follows {
                cron.shows(now)
            } else if is_put_back {
                false
            } else {
                std::iter::from_fn(|| {
                    let this = passed;
                    passed += minute;
                    (this <= now).then_some(this)
                })
                .any(|wall| cron.shows(wall))
            };
            if comes && instant > from {
                runs.insert(instant);
            }
        }
        if !is_put_back {
            reached = now;
        }
        instant += minute;
    }
    runs
}

fn computed(
    cron: &Cron,
    zone: &str,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Option<BTreeSet<DateTime<Utc>>> {
    // What can never come is refused, which other tests are about.
    let expression = cron.text().parse().ok()?;
    let timetable = Timetable::Cron { expression, zone: zone.parse().expect(zone) };
    Some(timetable.upcoming(from).map(|run| run.at).take_while(|at| *at < until).collect())
}

proptest! {
    // Ten thousand timetables in zones: watching a clock takes longer than asking what it shows of twenty-five of them.
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_timetable_comes_when_a_watched_clock_says_so(
        (zone, from) in place_and_time(),
        crons in vec(prop_oneof![cron(), nightly()], 25)
    ) {
        // Two days after it at most the clock is changed, in half of the cases.
        let until = from + TimeDelta::hours(54);
        let all: Vec<&Cron> = crons.iter().collect();
        for (cron, watched) in crons.iter().zip(watched(&all, zone, from, until)) {
            if let Some(computed) = computed(cron, zone, from, until) {
                prop_assert_eq!(computed, watched, "`{}` in {} after {}", cron.text(), zone, from);
            }
        }
    }
}

/// Every change of every zone over thirty-five years, with work at each minute that could be skipped or repeated.
#[test]
fn every_change_of_a_clock_is_treated_as_cron_does() {
    let times = |minute: u32, hour: Item| Cron {
        minute: Field(vec![Item::One(minute)]),
        hour: Field(vec![hour]),
        day_of_month: Field(vec![Item::All { step: 1 }]),
        month: Field(vec![Item::All { step: 1 }]),
        day_of_week: Field(vec![Item::All { step: 1 }]),
        with_names: false,
    };
    let crons: Vec<Cron> = [0, 1, 2, 3, 23]
        .into_iter()
        .flat_map(|hour| [0, 30, 59].map(|minute| times(minute, Item::One(hour))))
        .chain([times(0, Item::All { step: 1 }), times(45, Item::All { step: 2 })])
        .collect();
    let all: Vec<&Cron> = crons.iter().collect();
    let mut changes = 0;
    for zone in ZONES {
        let from = Timestamp::from_second(1_136_073_600).expect("2006");
        for change in
            rules(zone).following(from).take_while(|change| change.timestamp().as_second() < 2_208_988_800)
        {
            changes += 1;
            let change = DateTime::from_timestamp(change.timestamp().as_second(), 0).expect("in range");
            let (from, until) = (change - TimeDelta::hours(5), change + TimeDelta::hours(5));
            for (cron, watched) in crons.iter().zip(watched(&all, zone, from, until)) {
                let computed = computed(cron, zone, from, until).expect("it comes");
                assert_eq!(computed, watched, "`{}` in {zone} around {change}", cron.text());
            }
        }
    }
    assert!(changes > 500, "{changes} changes are few: is the database of zones complete?");
}

#[test]
fn rare_days_come_when_a_watched_clock_says_so() {
    let on = |day_of_month: Item, month: Item, day_of_week: Item| Cron {
        minute: Field(vec![Item::One(30)]),
        hour: Field(vec![Item::One(2)]),
        day_of_month: Field(vec![day_of_month]),
        month: Field(vec![month]),
        day_of_week: Field(vec![day_of_week]),
        with_names: true,
    };
    let any = Item::All { step: 1 };
    let crons = [
        on(Item::One(29), Item::One(2), any),
        on(Item::One(31), any, any),
        on(Item::One(29), Item::One(3), any),
        on(Item::One(13), Item::One(10), Item::One(5)),
        on(Item::All { step: 7 }, any, Item::One(0)),
    ];
    let from = "2027-12-30T00:00:00Z".parse().expect("a time");
    let until = "2029-04-01T00:00:00Z".parse().expect("a time");
    let all: Vec<&Cron> = crons.iter().collect();
    for (cron, watched) in crons.iter().zip(watched(&all, "Europe/Berlin", from, until)) {
        assert!(!watched.is_empty(), "{}", cron.text());
        assert_eq!(computed(cron, "Europe/Berlin", from, until), Some(watched), "{}", cron.text());
    }
}
