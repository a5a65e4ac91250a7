//! Keeping the leases of all jobs in a process's hands with one statement.
//!
//! [`Keeper::enter`] gives a guard; while it lives the job is renewed, and dropping it ends that at once, whatever became of the work. No
//! job is entered twice, so that one delivered twice to the same process is run once.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sqlx::PgPool;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

use crate::claim::{self, JobRef};

/// A cancellation is noticed within this, however long the lease is.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(5);

/// The jobs in hand.
pub(crate) struct Keeper {
    held: Arc<Held>,
    _renewal: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Held(Mutex<HashMap<JobRef, Signals>>);

#[derive(Clone)]
struct Signals {
    /// None until it is claimed: there is nothing to renew before.
    renewed: Option<Instant>,
    cancelled: CancellationToken,
    lost: CancellationToken,
}

/// A job in hand, until it is dropped.
pub(crate) struct InHand {
    held: Arc<Held>,
    reference: JobRef,
    /// Cancelled when somebody asks for it.
    pub(crate) cancelled: CancellationToken,
    /// Cancelled when the job was given to somebody else, or may have been.
    pub(crate) lost: CancellationToken,
}

impl Keeper {
    /// Renews every third of `lease` from now on, whatever is in hand then.
    pub(crate) fn new(pool: PgPool, lease: Duration) -> Self {
        let held = Arc::<Held>::default();
        let renewal = tokio::spawn(renew(pool, lease, held.clone()));
        Self { held, _renewal: AbortOnDropHandle::new(renewal) }
    }

    /// Takes `reference` in hand; `None` when this process has it in hand already.
    pub(crate) fn enter(&self, reference: JobRef) -> Option<InHand> {
        let signals =
            Signals { renewed: None, cancelled: CancellationToken::new(), lost: CancellationToken::new() };
        match self.held.lock().entry(reference) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(place) => place.insert(signals.clone()),
        };
        let Signals { cancelled, lost, .. } = signals;
        Some(InHand { held: self.held.clone(), reference, cancelled, lost })
    }

    /// Somebody wants `job` cancelled; if it is not in hand, that is somebody else's concern.
    pub(crate) fn cancel(&self, job: Uuid) {
        for (_, signals) in self.held.lock().iter().filter(|(reference, _)| reference.id == job) {
            signals.cancelled.cancel();
        }
    }
}

impl InHand {
    /// It is claimed: keep its lease from now on.
    pub(crate) fn claimed(&self) {
        if let Some(signals) = self.held.lock().get_mut(&self.reference) {
            signals.renewed = Some(Instant::now());
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.held.lock().remove(&self.reference);
    }
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, HashMap<JobRef, Signals>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claimed(&self) -> Vec<JobRef> {
        let held = self.lock();
        held.iter()
            .filter(|(_, signals)| signals.renewed.is_some())
            .map(|(reference, _)| *reference)
            .collect()
    }
}

async fn renew(pool: PgPool, lease: Duration, held: Arc<Held>) {
    let every = (lease / 3).min(LOOK_AT_LEAST_EVERY);
    loop {
        tokio::time::sleep(every).await;
        let asked = held.claimed();
        if asked.is_empty() {
            continue;
        }
        let began = Instant::now();
        match tokio::time::timeout(every, claim::renew_many(&pool, &asked, lease)).await {
            Ok(Ok(ours)) => settle(&held, &asked, &ours, began),
            Ok(Err(error)) => {
                runtime::complain!(jobs = asked.len(), %error, "could not renew leases");
                give_up_the_overdue(&held, lease);
            }
            Err(_) => {
                runtime::complain!(jobs = asked.len(), "could not renew leases in time");
                give_up_the_overdue(&held, lease);
            }
        }
    }
}

fn settle(held: &Held, asked: &[JobRef], ours: &[claim::Held], began: Instant) {
    let ours: HashMap<JobRef, bool> =
        ours.iter().map(|job| (JobRef { id: job.id, fence: job.fence }, job.cancel_requested)).collect();
    let mut held = held.lock();
    for reference in asked {
        let Some(signals) = held.get_mut(reference) else { continue };
        match ours.get(reference) {
            Some(cancel_requested) => {
                signals.renewed = Some(began);
                if *cancel_requested {
                    signals.cancelled.cancel();
                }
            }
            None => signals.lost.cancel(),
        }
    }
}

/// Whoever cannot renew for a whole lease must assume that the job has been given away.
fn give_up_the_overdue(held: &Held, lease: Duration) {
    for signals in held.lock().values() {
        if signals.renewed.is_some_and(|at| at.elapsed() > lease) {
            signals.lost.cancel();
        }
    }
}
