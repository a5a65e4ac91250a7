//! When to try again.

use std::time::Duration;

const SECOND: u64 = 1;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * 60;

/// The delays before each attempt that Standard Webhooks 1.0.0 recommends ("Deliverability and reliability"):
/// ten attempts in 75 hours and 35 minutes.
const DELAYS: [u64; MAX_ATTEMPTS as usize] =
    [0, 5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];

/// How often an event is sent to an endpoint before it is given up.
pub const MAX_ATTEMPTS: u32 = 10;

/// How long to wait before the next attempt when `made` were made and failed; `None` when the event is given up.
///
/// `jitter` is a random number from 0 to 1 and moves the delay by up to a tenth either way, so that what failed together
/// does not come back together.
#[must_use]
pub fn schedule(made: u32, jitter: f64) -> Option<Duration> {
    let delay = *DELAYS.get(usize::try_from(made).ok()?)?;
    let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.5 };
    Some(Duration::from_secs(delay).mul_f64(0.9 + 0.2 * jitter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_attempts_are_spread_over_three_days() {
        let middle: Vec<u64> =
            (0..).map_while(|made| schedule(made, 0.5)).map(|delay| delay.as_secs()).collect();
        assert_eq!(middle, [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]);
        assert_eq!(middle.iter().sum::<u64>(), 75 * HOUR + 35 * MINUTE + 5 * SECOND);
    }

    #[test]
    fn the_eleventh_attempt_is_never_made() {
        assert_eq!(schedule(10, 0.5), None);
        assert_eq!(schedule(u32::MAX, 0.5), None);
    }

    #[test]
    fn jitter_moves_a_delay_by_a_tenth_at_most() {
        let seconds = |jitter| schedule(2, jitter).unwrap().as_secs_f64().round();
        assert_eq!((seconds(0.0), seconds(1.0)), (270.0, 330.0));
        assert_eq!((seconds(-5.0), seconds(9.0), seconds(f64::NAN)), (270.0, 330.0, 300.0));
    }
}
