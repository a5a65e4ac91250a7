//! When an apalis worker looks for work: at once when poked, and in any case every so often.
//!
//! apalis-core's own interval strategy loses its timer when one round trip to Redis takes longer than the interval, and the
//! worker then sleeps until its next heartbeat. This one polls until the *next* timer is registered.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use apalis::prelude::{PollSnapshot, PollStrategy};
use futures::task::AtomicWaker;
use runtime::health::Pulse;
use tokio::time::Sleep;

/// Polls every `every`, and whenever [`AtomicWaker::wake`] is called on the shared waker.
#[derive(Debug, Clone)]
pub(crate) struct SafeWake {
    every: Duration,
    timer: Arc<Mutex<Option<Pin<Box<Sleep>>>>>,
    poke: Arc<AtomicWaker>,
    poked: Arc<std::sync::atomic::AtomicBool>,
    /// Beaten at every poll: this is where a worker that fetches no more is noticed.
    pulse: Arc<Pulse>,
}

/// The other end: pokes the worker.
#[derive(Debug, Clone)]
pub(crate) struct Poke {
    waker: Arc<AtomicWaker>,
    poked: Arc<std::sync::atomic::AtomicBool>,
}

impl Poke {
    pub(crate) fn now(&self) {
        self.poked.store(true, std::sync::atomic::Ordering::Release);
        self.waker.wake();
    }
}

impl SafeWake {
    pub(crate) fn every(every: Duration, pulse: Arc<Pulse>) -> (Self, Poke) {
        let waker = Arc::new(AtomicWaker::new());
        let poked = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let poke = Poke { waker: waker.clone(), poked: poked.clone() };
        (Self { every, timer: Arc::default(), poke: waker, poked, pulse }, poke)
    }
}

impl PollStrategy for SafeWake {
    fn poll_drive(&mut self, context: &mut Context<'_>, _: &PollSnapshot) -> Poll<Option<()>> {
        self.pulse.beat();
        self.poke.register(context.waker());
        let mut fired = self.poked.swap(false, std::sync::atomic::Ordering::Acquire);
        let mut timer = self.timer.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let sleep = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.every)));
            match sleep.as_mut().poll(context) {
                Poll::Ready(()) => {
                    fired = true;
                    *timer = None;
                }
                Poll::Pending => break,
            }
        }
        if fired { Poll::Ready(Some(())) } else { Poll::Pending }
    }
}
