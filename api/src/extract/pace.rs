//! Bodies that have to keep coming.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::patience::{Allowance, Patience};

/// How fast a body has to come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    whole: Duration,
    grace: Duration,
    least_rate: u64,
}

impl Pace {
    /// That of the requests which are given `allowance`.
    pub(crate) fn of(patience: &Patience, allowance: Allowance) -> Self {
        Self { whole: allowance.body, grace: patience.grace, least_rate: patience.least_rate }
    }

    /// By when more must be there, if it had to be by `due` and `bytes` have come `now`. Nothing is saved up by being fast.
    fn put_off(self, due: Instant, now: Instant, bytes: usize) -> Instant {
        let earned = Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / self.least_rate);
        (due + earned).min(now + self.grace)
    }
}

/// What a body ends with that is slower than its [`Pace`].
#[derive(Debug, thiserror::Error)]
#[error("the body comes too slowly")]
pub(crate) struct TooSlow;

/// A body that ends with [`TooSlow`] when it does not keep its pace. The clock starts when it is first waited for: until
/// then whoever reads it took the time.
pub(crate) struct Paced {
    body: Body,
    pace: Pace,
    waiting: Option<Waiting>,
}

struct Waiting {
    /// By when more must be there.
    due: Instant,
    /// By when all must be there.
    end: Instant,
    late: Pin<Box<Sleep>>,
}

impl Paced {
    pub(crate) fn new(body: Body, pace: Pace) -> Self {
        Self { body, pace, waiting: None }
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let pace = this.pace;
        if let Poll::Ready(next) = Pin::new(&mut this.body).poll_frame(context) {
            let data = next.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            if let (Some(waiting), Some(data)) = (&mut this.waiting, data) {
                waiting.due = pace.put_off(waiting.due, Instant::now(), data.len());
            }
            return Poll::Ready(next.map(|frame| frame.map_err(axum::Error::into_inner)));
        }
        let waiting = this.waiting.get_or_insert_with(|| {
            let now = Instant::now();
            Waiting { due: now + pace.grace, end: now + pace.whole, late: Box::pin(sleep_until(now)) }
        });
        let patience = waiting.due.min(waiting.end);
        if waiting.late.deadline() != patience {
            waiting.late.as_mut().reset(patience);
        }
        ready!(waiting.late.as_mut().poll(context));
        Poll::Ready(Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_earns_time_with_what_it_brings_and_cannot_save_it_up() {
        let seconds = Duration::from_secs;
        let pace = Pace { whole: seconds(540), grace: seconds(15), least_rate: 8 << 10 };
        let begun = Instant::now();
        let due = begun + pace.grace;
        assert_eq!(pace.put_off(due, begun + seconds(10), 16 << 10), due + seconds(2));
        assert_eq!(pace.put_off(due, begun + seconds(10), 5 << 20), begun + seconds(25));
        let a_byte = pace.put_off(due, begun + seconds(14), 1) - due;
        assert!(a_byte < Duration::from_millis(1), "{a_byte:?}");
    }
}
