//! Numbers and times as people write them, in English.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use domain::document::{Direction, Number};

/// 1284377 becomes `1,284,377`. At most two decimals unless `decimals` says how many; never fewer digits before them than there are.
pub(crate) fn number(value: &Number, decimals: Option<u8>) -> String {
    let places = usize::from(decimals.unwrap_or(2).min(9));
    let whole = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    if let Some(whole) = whole {
        let fraction =
            if decimals.is_some() && places > 0 { format!(".{:0places$}", 0) } else { String::new() };
        return grouped(whole) + &fraction;
    }
    let value = value.as_f64().unwrap_or(0.0);
    // Beyond it the digits of a double are not those that somebody wrote; these are, in their shortest form.
    if value.abs() >= 1e21 {
        return format!("{value:e}");
    }
    let text = format!("{:.places$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let fraction = if decimals.is_none() { fraction.trim_end_matches('0') } else { fraction };
    let is_zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    let sign = if value < 0.0 && !is_zero { "−" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}", in_threes(whole))
}

pub(crate) fn count(value: u64) -> String {
    in_threes(&value.to_string())
}

fn grouped(value: i128) -> String {
    let sign = if value < 0 { "−" } else { "" };
    format!("{sign}{}", in_threes(&value.unsigned_abs().to_string()))
}

fn in_threes(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Which way something moved.
pub(crate) fn arrow(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "↑",
        Direction::Down => "↓",
        Direction::Level => "→",
    }
}

/// `1 October 2025`.
pub(crate) fn long_date(date: NaiveDate) -> String {
    format!("{} {} {}", date.day(), date.format("%B"), date.year())
}

/// `1 Oct 2025`.
pub(crate) fn date(date: NaiveDate) -> String {
    format!("{} {} {}", date.day(), date.format("%b"), date.year())
}

/// `1 Oct 2025, 06:30`, to be called UTC by whoever shows it.
pub(crate) fn moment(time: DateTime<Utc>) -> String {
    format!("{}, {}", date(time.date_naive()), time.format("%H:%M"))
}

/// Seconds in the largest unit that leaves a meaningful number.
pub(crate) fn age(seconds: u64) -> String {
    let (size, name) = match seconds {
        0..3_600 => (60, "minute"),
        3_600..172_800 => (3_600, "hour"),
        _ => (86_400, "day"),
    };
    let number = seconds / size;
    format!("{} {name}{}", count(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(value: f64) -> Number {
        Number::from_f64(value).unwrap()
    }

    #[test]
    fn numbers_are_grouped_and_keep_the_decimals_that_matter() {
        assert_eq!(number(&Number::from(1_284_377), None), "1,284,377");
        assert_eq!(number(&Number::from(-5), None), "−5");
        assert_eq!(number(&float(-1234.5), None), "−1,234.5");
        assert_eq!(number(&float(9.8), Some(1)), "9.8");
        assert_eq!(number(&Number::from(7), Some(1)), "7.0");
        assert_eq!(number(&float(-0.001), None), "0");
        assert_eq!(number(&Number::from(999), None), "999");
    }

    #[test]
    fn large_numbers_keep_every_digit() {
        assert_eq!(number(&Number::from(u64::MAX), None), "18,446,744,073,709,551,615");
        assert_eq!(number(&Number::from(i64::MIN), Some(0)), "−9,223,372,036,854,775,808");
        assert_eq!(number(&Number::from(9_007_199_254_740_993_u64), Some(1)), "9,007,199,254,740,993.0");
        assert_eq!(number(&float(1_234_567_890_123_456.5), None), "1,234,567,890,123,456.5");
        assert_eq!(number(&float(1.5e300), None), "1.5e300");
    }

    #[test]
    fn ages_take_the_largest_unit_that_says_something() {
        assert_eq!(age(60), "1 minute");
        assert_eq!(age(7_300), "2 hours");
        assert_eq!(age(864_000), "10 days");
    }
}
