//! Cron expressions: the five fields of crontab(5), read strictly, matched against a wall clock.
//!
//! Reading is ours, so that a mistake is told with its field, its value and what to write instead. Searching the
//! calendar is the crate `cron`'s, which gets the fields as plain lists of numbers, with a second before them and Sunday
//! as 1, and is never told of a time zone: what a wall time means is for [`super::timetable`] to say.

use std::{collections::BTreeSet, fmt, str::FromStr};

use chrono::{DateTime, NaiveDateTime, TimeDelta};

/// Far more than any expression needs.
const LONGEST: usize = 256;

/// When on a wall clock something is to happen.
#[derive(Debug, Clone)]
pub struct Expression {
    source: String,
    /// The wall time matches when it matches one of these: two, when day of month and day of week are both restricted.
    alternatives: Vec<cron::Schedule>,
    follows_real_time: bool,
}

/// Why a text is not a cron expression: what is wrong with which field, and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidExpression(String);

/// One of the five fields: what it is called, and what may stand in it.
struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    /// Words for the numbers from `first` on.
    words: &'static [&'static str],
}

const MINUTE: Field = Field { name: "minute", first: 0, last: 59, words: &[] };
const HOUR: Field = Field { name: "hour", first: 0, last: 23, words: &[] };
const DAY_OF_MONTH: Field = Field { name: "day of month", first: 1, last: 31, words: &[] };
const MONTH: Field = Field {
    name: "month",
    first: 1,
    last: 12,
    words: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
/// Sunday is 0 and 7.
const DAY_OF_WEEK: Field = Field {
    name: "day of week",
    first: 0,
    last: 7,
    words: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
};

/// Short names for common expressions.
const MACROS: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl Expression {
    /// The first wall time at or after `from`, a whole second, that matches; none before the year 2101 is none at all.
    #[must_use]
    pub fn next_wall(&self, from: NaiveDateTime) -> Option<NaiveDateTime> {
        // UTC stands in for a clock without a zone. The search begins after the moment it is given.
        let before = (from - TimeDelta::seconds(1)).and_utc();
        self.alternatives
            .iter()
            .filter_map(|schedule| schedule.after(&before).next())
            .min()
            .map(|found| found.naive_utc())
    }

    /// True when minute or hour begins with `*`: such work recurs at a pace, and goes on with it when clocks are changed. Other
    /// work is for a time of day, and comes once on each day (Debian's cron(8), "daylight saving time").
    #[must_use]
    pub fn follows_real_time(&self) -> bool {
        self.follows_real_time
    }
}

impl FromStr for Expression {
    type Err = InvalidExpression;

    fn from_str(text: &str) -> Result<Self, InvalidExpression> {
        let source = text.trim();
        if source.len() > LONGEST {
            let message = format!("has {} characters, at most {LONGEST} are read", source.len());
            return Err(InvalidExpression(message));
        }
        let [minute, hour, day_of_month, month, day_of_week] = fields(source)?;
        let minutes = list(MINUTE.read(minute)?);
        let hours = list(HOUR.read(hour)?);
        let days = list(DAY_OF_MONTH.read(day_of_month)?);
        let months = list(MONTH.read(month)?);
        let weekdays = list(DAY_OF_WEEK.read(day_of_week)?.into_iter().map(|day| day % 7 + 1).collect());
        // crontab(5): when both are restricted, either is enough.
        let either = !day_of_month.starts_with('*') && !day_of_week.starts_with('*');
        let (days, weekdays) = (days.as_str(), weekdays.as_str());
        let wanted = if either { vec![(days, "*"), ("*", weekdays)] } else { vec![(days, weekdays)] };
        let alternatives = wanted
            .into_iter()
            .map(|(days, weekdays)| format!("0 {minutes} {hours} {days} {months} {weekdays}").parse())
            .collect::<Result<_, cron::error::Error>>()
            .map_err(|error| InvalidExpression(format!("`{source}` cannot be used: {error}")))?;
        let follows_real_time = minute.starts_with('*') || hour.starts_with('*');
        let expression = Self { source: source.to_owned(), alternatives, follows_real_time };
        if expression.next_wall(DateTime::UNIX_EPOCH.naive_utc()).is_none() {
            let message = format!(
                "`{source}` never comes, since month `{month}` has no day `{day_of_month}`: name a day that the month has, or `28` for near its end"
            );
            return Err(InvalidExpression(message));
        }
        Ok(expression)
    }
}

/// As it was written.
impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.source)
    }
}

/// The five fields of an expression, or of what a macro stands for.
fn fields(source: &str) -> Result<[&str; 5], InvalidExpression> {
    let spelt_out = match source.strip_prefix('@') {
        None => source,
        Some(_) => MACROS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(source))
            .map(|(_, fields)| *fields)
            .ok_or_else(|| {
                let known: Vec<_> = MACROS.iter().map(|(name, _)| *name).collect();
                InvalidExpression(format!(
                    "there is no `{source}`: write five fields, or {}",
                    known.join(", ")
                ))
            })?,
    };
    let found: Vec<&str> = spelt_out.split_ascii_whitespace().collect();
    let hint = if found.len() == 6 { "; seconds and years are not among them" } else { "" };
    found.try_into().map_err(|found: Vec<_>| {
        InvalidExpression(format!(
            "`{source}` has {} fields and needs five{hint}: minute, hour, day of month, month, day of week, as in `30 2 * * MON-FRI`",
            found.len()
        ))
    })
}

/// `1,2,3`, which is how the crate `cron` reads numbers most plainly.
fn list(numbers: BTreeSet<u32>) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

impl Field {
    /// The numbers that `text` stands for: items joined by commas, each `*`, a number, a range, or one of these with a step.
    fn read(&self, text: &str) -> Result<BTreeSet<u32>, InvalidExpression> {
        let mut numbers = BTreeSet::new();
        for item in text.split(',') {
            if item.is_empty() {
                return Err(self.error(text, "a comma needs a value on either side: remove it"));
            }
            let (range, step) = match item.split_once('/') {
                None => (item, 1),
                Some((range, step)) => (range, self.step(item, step)?),
            };
            let (from, to) = match range.split_once('-') {
                _ if range == "*" => (self.first, self.last),
                Some((from, to)) => self.range(item, from, to)?,
                None if item != range => {
                    let remedy =
                        format!("a step needs a range: write `{range}-{}/{step}` or `*/{step}`", self.last);
                    return Err(self.error(item, &remedy));
                }
                None => {
                    let number = self.number(item, range)?;
                    (number, number)
                }
            };
            let step = usize::try_from(step).unwrap_or(usize::MAX);
            numbers.extend((from..=to).step_by(step));
        }
        Ok(numbers)
    }

    fn range(&self, item: &str, from: &str, to: &str) -> Result<(u32, u32), InvalidExpression> {
        let (start, end) = (self.number(item, from)?, self.number(item, to)?);
        // A week that is said to end on Sunday ends on day 7.
        let end = if self.last == DAY_OF_WEEK.last && end == 0 && start > 0 { 7 } else { end };
        if start > end {
            return Err(self.error(item, "the range runs backwards: write two, joined by a comma"));
        }
        Ok((start, end))
    }

    fn step(&self, item: &str, step: &str) -> Result<u32, InvalidExpression> {
        let width = self.last - self.first;
        match parse(step) {
            Some(step) if (1..=width).contains(&step) => Ok(step),
            _ => Err(self.error(item, &format!("the step after `/` must be a number from 1 to {width}"))),
        }
    }

    fn number(&self, item: &str, text: &str) -> Result<u32, InvalidExpression> {
        let by_name = || {
            let index = self.words.iter().position(|word| word.eq_ignore_ascii_case(text))?;
            Some(self.first + u32::try_from(index).ok()?)
        };
        parse(text).or_else(by_name).filter(|number| (self.first..=self.last).contains(number)).ok_or_else(
            || {
                let names = match self.words {
                    [] => String::new(),
                    [first, .., last] => format!(", or a name from {first} to {last}"),
                    [only] => format!(", or {only}"),
                };
                self.error(
                    item,
                    &format!("write a number from {} to {}{names}, or `*` for each", self.first, self.last),
                )
            },
        )
    }

    fn error(&self, value: &str, remedy: &str) -> InvalidExpression {
        InvalidExpression(format!("{} `{value}`: {remedy}", self.name))
    }
}

/// A number without sign and of at most two digits.
fn parse(text: &str) -> Option<u32> {
    let is_number = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first `count` wall times at or after `from`.
    fn times(expression: &str, from: &str, count: usize) -> Vec<String> {
        let expression: Expression = expression.parse().expect(expression);
        let mut from: NaiveDateTime = from.parse().expect("a time");
        (0..count)
            .map(|_| {
                let found = expression.next_wall(from).expect("it comes");
                from = found + TimeDelta::minutes(1);
                found.format("%a %F %H:%M").to_string()
            })
            .collect()
    }

    fn refusal(expression: &str) -> String {
        expression.parse::<Expression>().expect_err(expression).to_string()
    }

    #[test]
    fn names_ranges_steps_lists_and_macros_mean_what_crontab_says() {
        // 22 November 2026 is a Sunday.
        let from = "2026-11-22T00:00:00";
        for (one, other) in [
            ("0 9 * * MON-FRI", "0 9 * * 1-5"),
            ("0 9 * * fri-sun", "0 9 * * 5,6,0"),
            ("0 9 * * 7", "0 9 * * SUN"),
            ("0 9 * * 5-7", "0 9 * * 0,5,6"),
            ("0 9 1 JAN,JUL *", "0 9 1 1,7 *"),
            ("*/20 9-10 * * *", "0,20,40 9,10 * * *"),
            ("10-30/10 9 * * *", "10,20,30 9 * * *"),
            ("@weekly", "0 0 * * 0"),
            (" @Daily ", "0 0 * * *"),
            ("0\t9  * * *", "0 9 * * *"),
        ] {
            assert_eq!(times(one, from, 12), times(other, from, 12), "{one}");
        }
        assert_eq!(
            times("30 2 * * FRI-SUN", from, 4),
            ["Sun 2026-11-22 02:30", "Fri 2026-11-27 02:30", "Sat 2026-11-28 02:30", "Sun 2026-11-29 02:30"]
        );
    }

    #[test]
    fn days_of_month_and_of_week_are_alternatives_when_both_are_restricted() {
        assert_eq!(
            times("0 0 13 * FRI", "2026-11-01T00:00:00", 4),
            ["Fri 2026-11-06 00:00", "Fri 2026-11-13 00:00", "Fri 2026-11-20 00:00", "Fri 2026-11-27 00:00"]
        );
        assert_eq!(
            times("0 0 13 * FRI", "2026-12-12T00:00:00", 2),
            ["Sun 2026-12-13 00:00", "Fri 2026-12-18 00:00"]
        );
        // A star with a step restricts nothing in this sense: both must match.
        assert_eq!(
            times("0 0 */2 * MON", "2026-11-01T00:00:00", 2),
            ["Mon 2026-11-09 00:00", "Mon 2026-11-23 00:00"]
        );
    }

    #[test]
    fn months_have_the_days_they_have() {
        assert_eq!(
            times("0 0 31 * *", "2026-11-01T00:00:00", 3),
            ["Thu 2026-12-31 00:00", "Sun 2027-01-31 00:00", "Wed 2027-03-31 00:00"]
        );
        assert_eq!(
            times("0 0 29 FEB *", "2026-11-01T00:00:00", 2),
            ["Tue 2028-02-29 00:00", "Sun 2032-02-29 00:00"]
        );
        assert_eq!(times("0 0 29 2 *", "2097-01-01T00:00:00", 0), Vec::<String>::new());
    }

    #[test]
    fn a_mistake_is_told_with_its_field_its_value_and_the_remedy() {
        for (expression, told) in [
            ("61 * * * *", "minute `61`: write a number from 0 to 59, or `*` for each"),
            ("* 24 * * *", "hour `24`: write a number from 0 to 23, or `*` for each"),
            ("* * 0 * *", "day of month `0`: write a number from 1 to 31, or `*` for each"),
            (
                "* * * 13 *",
                "month `13`: write a number from 1 to 12, or a name from JAN to DEC, or `*` for each",
            ),
            (
                "* * * * 8",
                "day of week `8`: write a number from 0 to 7, or a name from SUN to SAT, or `*` for each",
            ),
            ("* * * * MO", "day of week `MO`: write a number"),
            ("* * L * *", "day of month `L`: write a number"),
            ("-1 * * * *", "minute `-1`: write a number"),
            ("1,,2 * * * *", "minute `1,,2`: a comma needs a value on either side"),
            ("+5 * * * *", "minute `+5`: write a number"),
            ("*/0 * * * *", "minute `*/0`: the step after `/` must be a number from 1 to 59"),
            ("*/90 * * * *", "minute `*/90`: the step after `/` must be a number from 1 to 59"),
            ("5/15 * * * *", "minute `5/15`: a step needs a range: write `5-59/15` or `*/15`"),
            ("30-10 * * * *", "minute `30-10`: the range runs backwards: write two, joined by a comma"),
            ("* * * * FRI-MON", "day of week `FRI-MON`: the range runs backwards"),
            ("0 0 30 2 *", "`0 0 30 2 *` never comes, since month `2` has no day `30`"),
            ("0 0 31 APR,JUN *", "`0 0 31 APR,JUN *` never comes"),
            ("0 0 1 1 * 2026", "has 6 fields and needs five; seconds and years are not among them"),
            ("0 0 1", "`0 0 1` has 3 fields and needs five: minute, hour, day of month, month, day of week"),
            ("", "`` has 0 fields"),
            ("@reboot", "there is no `@reboot`: write five fields, or @yearly"),
        ] {
            let said = refusal(expression);
            assert!(said.contains(told), "{expression}: {said}");
        }
        assert!(refusal(&"*".repeat(300)).contains("300 characters"));
    }
}
