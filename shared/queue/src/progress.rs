//! How far a job says that it is, written at once and then at most every half second, however often it says so.
//!
//! Of what is said in between the last word takes the place of the others, so that what is shown is never older than that. An attempt that
//! ends takes with it what was not written yet.

use std::{sync::OnceLock, time::Duration};

use sqlx::PgPool;
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument, Span, warn};

use crate::claim::{self, JobRef};

/// After each word that was written.
const REST: Duration = Duration::from_millis(500);

/// Percent, and what the job is at.
type Word = (u8, String);

/// Writes the progress of one attempt, from its first word on and until it is dropped.
pub(crate) struct Progress {
    pool: PgPool,
    reference: JobRef,
    writer: OnceLock<(watch::Sender<Word>, DropGuard)>,
}

impl Progress {
    pub(crate) fn of(pool: PgPool, reference: JobRef) -> Self {
        Self { pool, reference, writer: OnceLock::new() }
    }

    /// Leaves it to be written; never waits.
    pub(crate) fn tell(&self, percent: u8, note: &str) {
        let (words, _) = self.writer.get_or_init(|| {
            let (words, told) = watch::channel(Word::default());
            let ended = CancellationToken::new();
            let writing = write(self.pool.clone(), self.reference, told, ended.clone());
            tokio::spawn(writing.instrument(Span::current()));
            (words, ended.drop_guard())
        });
        words.send_replace((percent, note.to_owned()));
    }
}

/// A statement that was begun is not cut off: its connection would be of no use for a while.
async fn write(pool: PgPool, reference: JobRef, mut told: watch::Receiver<Word>, ended: CancellationToken) {
    while let Some(Ok(())) = ended.run_until_cancelled(told.changed()).await {
        let (percent, note) = told.borrow_and_update().clone();
        // A job that is not ours any more, or has ended, keeps what it has.
        if let Err(error) = claim::progress(&pool, reference, percent, &note).await {
            warn!(job.id = %reference.id, %error, "could not write progress");
        }
        if ended.run_until_cancelled(sleep(REST)).await.is_none() {
            return;
        }
    }
}
