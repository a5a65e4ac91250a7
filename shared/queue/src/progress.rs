//! How far a job says that it is, written at most twice in half a second however often it says so.
//!
//! What comes too soon after something that was written waits its turn, and the next one takes its place: the last word always
//! arrives, and what lies between may not.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sqlx::PgPool;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span, warn};

use crate::claim::{self, JobRef};

const EVERY: Duration = Duration::from_millis(500);

/// Writes the progress of one attempt. Dropping it drops what still waits to be written.
pub(crate) struct Progress {
    pool: PgPool,
    reference: JobRef,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    /// When something was written last, or will be.
    at: Option<Instant>,
    waits: Option<AbortOnDropHandle<()>>,
}

impl Progress {
    pub(crate) fn of(pool: PgPool, reference: JobRef) -> Self {
        Self { pool, reference, last: Mutex::default() }
    }

    /// Writes it now, or within half a second unless something newer comes.
    pub(crate) async fn tell(&self, percent: u8, note: &str) {
        if self.begin(percent, note) {
            write(&self.pool, self.reference, percent, note).await;
        }
    }

    /// Whether it is to be written now; otherwise it has been left to be written later.
    fn begin(&self, percent: u8, note: &str) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = match last.at {
            Some(ahead) if ahead > now => ahead,
            Some(behind) if behind + EVERY > now => behind + EVERY,
            _ => now,
        };
        last.at = Some(due);
        last.waits = (due > now).then(|| {
            let (pool, reference, note) = (self.pool.clone(), self.reference, note.to_owned());
            let later = async move {
                sleep_until(due).await;
                write(&pool, reference, percent, &note).await;
            };
            AbortOnDropHandle::new(tokio::spawn(later.instrument(Span::current())))
        });
        due == now
    }
}

/// A job that is not ours any more, or has ended, keeps what it has.
async fn write(pool: &PgPool, reference: JobRef, percent: u8, note: &str) {
    if let Err(error) = claim::progress(pool, reference, percent, note).await {
        warn!(job.id = %reference.id, %error, "could not write progress");
    }
}
