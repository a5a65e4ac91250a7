//! How long the API waits, and for whom: all of it is declared here.
//!
//! A client that does not get on is let go before a handler is given up, so that its fault is never told as ours:
//! 408 for a body that comes too slowly ([`crate::extract::Paced`]), 503 for a handler that takes too long
//! ([`crate::layers::give_up`]), an end without a word for a connection that says nothing ([`crate::connections`]).

use std::time::Duration;

/// How long the API waits. The default is what it serves with.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// With ordinary requests.
    pub ordinary: Allowance,
    /// With requests that bring a file over a slow line.
    pub upload: Allowance,
    /// Bytes that a body has to bring for each second in which it is waited for. Not 0.
    pub least_rate: u64,
    /// How far a body may be behind that: the longest pause, and the time to begin.
    pub grace: Duration,
    /// How long a large body waits for its turn to be held in memory.
    pub turn: Duration,
    /// With a connection on which no request is under way, whether its next one is coming byte by byte or not at all.
    pub silence: Duration,
}

/// What one request may take.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// From its head to its answer.
    pub answer: Duration,
    /// Of these for the body, so much less that the handler still has its time.
    pub body: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            ordinary: Allowance { answer: seconds(30), body: seconds(20) },
            upload: Allowance { answer: seconds(600), body: seconds(540) },
            grace: seconds(15),
            // Half of what the slowest DSL lines send.
            least_rate: 8 << 10,
            turn: seconds(30),
            // Longer than the minute for which proxies keep a connection that they may use again: they are to close it, not we.
            silence: seconds(75),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_body_is_noticed_while_its_handler_still_has_time() {
        let Patience { ordinary, upload, turn, .. } = Patience::default();
        assert!(ordinary.body + Duration::from_secs(10) <= ordinary.answer);
        assert!(turn + upload.body + Duration::from_secs(30) <= upload.answer);
    }
}
