//! Saying the same thing again only after a while, so that an outage of a minute is some lines in the log and not thousands.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Allows one line now and the next one after a while. Made to be a static beside the line.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    last: Mutex<Option<Instant>>,
}

impl Seldom {
    /// One line in `every`.
    #[must_use]
    pub const fn every(every: Duration) -> Self {
        Self { every, last: Mutex::new(None) }
    }

    /// Whether the line may be written now.
    pub fn may(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let may = last.is_none_or(|at| at.elapsed() >= self.every);
        if may {
            *last = Some(Instant::now());
        }
        may
    }
}

/// As `tracing::warn!`, at most once in ten seconds: for what is tried again and again while something is away.
#[macro_export]
macro_rules! complain {
    ($($line:tt)*) => {{
        static COMPLAINT: $crate::seldom::Seldom =
            $crate::seldom::Seldom::every(::std::time::Duration::from_secs(10));
        if COMPLAINT.may() {
            ::tracing::warn!($($line)*);
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_once_in_a_while() {
        let seldom = Seldom::every(Duration::from_secs(3600));
        assert!(seldom.may());
        assert!(!seldom.may());
        let always = Seldom::every(Duration::ZERO);
        assert!(always.may() && always.may());
    }
}
