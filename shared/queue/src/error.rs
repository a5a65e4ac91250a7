//! How an attempt may end other than well.

use std::{fmt, time::Duration};

/// What a handler returns when it is not done. `?` on any ordinary error gives [`JobError::Retry`].
#[derive(Debug)]
pub enum JobError {
    /// Try again by the kind's policy; dead when its attempts are used up.
    Retry(anyhow::Error),
    /// Try again, not before this long: the other side said so.
    RetryAfter(Duration, anyhow::Error),
    /// Not yet. Does not count as an attempt.
    Snooze(Duration),
    /// Trying again could never help.
    Discard(String),
    /// Somebody else has been given this job, or it was cancelled: whatever was done here is void.
    Superseded,
}

impl<E: Into<anyhow::Error>> From<E> for JobError {
    fn from(error: E) -> Self {
        Self::Retry(error.into())
    }
}

impl JobError {
    /// Trying again could never help, and this is why.
    pub fn discard(why: impl fmt::Display) -> Self {
        Self::Discard(why.to_string())
    }
}

/// Turns an error that repeating cannot mend into the end of the job.
pub trait OrDiscard<T> {
    /// On an error: never again, and this is why. The cause is appended.
    ///
    /// # Errors
    /// [`JobError::Discard`] in place of the error.
    fn or_discard(self, why: &str) -> Result<T, JobError>;
}

impl<T, E: Into<anyhow::Error>> OrDiscard<T> for Result<T, E> {
    fn or_discard(self, why: &str) -> Result<T, JobError> {
        self.map_err(|error| JobError::Discard(format!("{why}: {:#}", error.into())))
    }
}

/// Turns a missing row into the end of the job.
pub trait DiscardIfMissing<T> {
    /// When the row is gone there is nothing left to do.
    ///
    /// # Errors
    /// [`JobError::Discard`] for a missing row, [`JobError::Retry`] for anything else.
    fn discard_if_missing(self, what: &str) -> Result<T, JobError>;
}

impl<T> DiscardIfMissing<T> for store::Result<T> {
    fn discard_if_missing(self, what: &str) -> Result<T, JobError> {
        self.map_err(|error| match error {
            store::Error::NotFound => JobError::Discard(format!("{what} no longer exists")),
            other => JobError::Retry(other.into()),
        })
    }
}
