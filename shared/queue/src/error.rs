//! How an attempt may end other than well, and what an operator is told about it.

use std::{fmt, io::ErrorKind, time::Duration};

use runtime::egress::EgressError;

/// What a handler returns when it is not done. `?` on any ordinary error gives [`JobError::Retry`].
#[derive(Debug)]
pub enum JobError {
    /// Try again by the kind's policy; dead when its attempts are used up.
    Retry(anyhow::Error),
    /// Try again, not before this long: the other side said so.
    RetryAfter(Duration, anyhow::Error),
    /// Not before `pause` is over, because of `why`. Does not count as an attempt.
    Snooze { pause: Duration, why: String },
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
    /// Not yet: again after `pause`, and the attempt does not count. `why` is kept with the attempt and shown to whoever asks why
    /// the job is not running.
    pub fn snooze(pause: Duration, why: impl fmt::Display) -> Self {
        Self::Snooze { pause, why: why.to_string() }
    }

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

/// What kind of trouble ended an attempt: the word in `job_attempts.error_class`, and what to do about it.
///
/// Taken from the causes of the error ([`Class::of`]). A handler that knows better says so: `error.context(Class::Upstream)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Database,
    Storage,
    Network,
    Upstream,
    AskedToWait,
    Timeout,
    Panic,
    Crashed,
    Unreadable,
    Newer,
    Discarded,
    Other,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 12] = [
        Self::Database,
        Self::Storage,
        Self::Network,
        Self::Upstream,
        Self::AskedToWait,
        Self::Timeout,
        Self::Panic,
        Self::Crashed,
        Self::Unreadable,
        Self::Newer,
        Self::Discarded,
        Self::Other,
    ];

    /// The class of an error, by the first of its causes that tells.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        if let Some(class) = error.downcast_ref::<Self>() {
            return *class;
        }
        error.chain().find_map(Self::of_cause).unwrap_or(Self::Other)
    }

    fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Self> {
        if let Some(error) = cause.downcast_ref::<store::Error>() {
            return match error {
                store::Error::Blob { .. } | store::Error::Corrupt { .. } => Some(Self::Storage),
                store::Error::Unavailable(_) | store::Error::Database(_) => Some(Self::Database),
                _ => None,
            };
        }
        if cause.is::<sqlx::Error>() {
            return Some(Self::Database);
        }
        if cause.is::<EgressError>() {
            return Some(Self::Network);
        }
        match cause.downcast_ref::<std::io::Error>()?.kind() {
            ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::PermissionDenied => Some(Self::Storage),
            ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::TimedOut => Some(Self::Network),
            _ => None,
        }
    }

    /// The word in rows, in the API and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Storage => "storage",
            Self::Network => "network",
            Self::Upstream => "upstream",
            Self::AskedToWait => "asked_to_wait",
            Self::Timeout => "timeout",
            Self::Panic => "panic",
            Self::Crashed => "crashed",
            Self::Unreadable => "invalid_payload",
            Self::Newer => "newer_payload",
            Self::Discarded => "discarded",
            Self::Other => "error",
        }
    }

    /// The class of that word; an unknown one is [`Class::Other`].
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        Self::ALL.into_iter().find(|class| class.as_str() == word).unwrap_or(Self::Other)
    }

    /// What an operator should do about it.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::Database => {
                "Postgres was away or refused a statement: look at its log at that time. The job is tried again by itself."
            }
            Self::Storage => {
                "The artifact store could not be used: check free space, rights and mounts of ARTIFACT_DIR. The job is tried again by itself."
            }
            Self::Network => {
                "Another server could not be reached: check its address, DNS, firewall and certificate from the worker's machine."
            }
            Self::Upstream => {
                "Another server answered with an error: the message says which and what. Check its status and the credentials for it."
            }
            Self::AskedToWait => {
                "The other server limits how often it is asked: nothing to do, the job comes again when it said."
            }
            Self::Timeout => {
                "The attempt did not end in its time: look at the size of the work and the load of the worker's machine."
            }
            Self::Panic => "A fault of the program: report it with the message. The worker goes on.",
            Self::Crashed => {
                "The worker vanished while it had the job: look for the out-of-memory killer, a restart or a lost connection at that time."
            }
            Self::Unreadable => {
                "The payload is not one of its kind: a fault of the program, or a row that was written by hand."
            }
            Self::Newer => {
                "A newer build wrote this job: upgrade the workers of its queue, or wait until that has been done."
            }
            Self::Discarded => {
                "Trying again could not help: mend what the message says, then ask for the work again."
            }
            Self::Other => "Read the message; the worker's log has more under the job's id.",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_class_of_an_error_is_found_among_its_causes() {
        let database = anyhow::Error::from(store::Error::Unavailable(sqlx::Error::PoolTimedOut));
        let full = std::io::Error::from(ErrorKind::StorageFull);
        let stored = store::Error::Blob { key: "a/b".into(), source: full };
        let refused = std::io::Error::from(ErrorKind::ConnectionRefused);
        for (error, class) in [
            (database.context("cannot load the report"), Class::Database),
            (anyhow::Error::from(stored), Class::Storage),
            (anyhow::Error::from(refused).context("cannot mail"), Class::Network),
            (anyhow::anyhow!("no idea"), Class::Other),
        ] {
            assert_eq!(Class::of(&error), class, "{error:#}");
        }
    }

    #[test]
    fn a_handler_may_name_the_class_itself() {
        let answered = anyhow::anyhow!("HTTP 502").context(Class::Upstream);
        assert_eq!(Class::of(&answered), Class::Upstream);
        let wrapped: anyhow::Result<()> = Err(answered);
        assert_eq!(Class::of(&wrapped.context("while crawling").expect_err("it failed")), Class::Upstream);
    }

    #[test]
    fn every_class_has_a_word_of_its_own() {
        for class in Class::ALL {
            assert_eq!(Class::from_word(class.as_str()), class);
        }
    }
}
