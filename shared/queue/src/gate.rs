//! A slot before an id: apalis fetches only while this process has room to run what it fetches.
//!
//! apalis's own limit would hold a slot until the job is acknowledged. Here the slot travels with the job, and is free when its handler has
//! ended, while the record of it is still being written.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use apalis::prelude::{Layer, Service, Task};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

/// The right to run one job. Freed with its last copy.
#[derive(Debug, Clone)]
pub struct Slot {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Slot {
    /// The right that `permit` gives.
    #[must_use]
    pub fn of(permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: Arc::new(permit) }
    }
}

/// Lets a delivery in when one of `slots` is free, and hands it over as a [`Slot`].
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) slots: Arc<Semaphore>,
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, slots: PollSemaphore::new(self.slots.clone()), next: None }
    }
}

/// The service behind the gate.
#[derive(Debug)]
pub(crate) struct Gated<S> {
    inner: S,
    slots: PollSemaphore,
    next: Option<OwnedSemaphorePermit>,
}

impl<S, Args> Service<Task<Args>> for Gated<S>
where
    S: Service<Task<Args>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if self.next.is_none() {
            // Never closed, so always some.
            self.next = ready!(self.slots.poll_acquire(context));
        }
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut task: Task<Args>) -> S::Future {
        if let Some(permit) = self.next.take() {
            task.inject_data(Slot::of(permit));
        }
        self.inner.call(task)
    }
}
