//! Whether the installation is being maintained, which is asked before every change.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use store::{AppDb, Result, system};

/// How long an answer is good for: this much later another process's switch is noticed here.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// What was last seen, and when.
#[derive(Debug, Default)]
pub(crate) struct Maintenance(Mutex<Option<(Instant, bool)>>);

impl Maintenance {
    /// Whether it was going on within the last second.
    pub(crate) async fn goes_on(&self, db: &AppDb) -> Result<bool> {
        let seen = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, goes_on)) = seen
            && at.elapsed() < GOOD_FOR
        {
            return Ok(goes_on);
        }
        let asked = Instant::now();
        let goes_on = system::maintenance(db.shared()).await?.enabled;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((asked, goes_on));
        Ok(goes_on)
    }

    /// It was switched: by this process at once.
    pub(crate) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
