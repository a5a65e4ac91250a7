//! The words for where a job stands: the queue's own, and fewer for everybody else.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! vocabulary {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $word_doc:literal])* $word:ident = $text:literal),+ $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub(super) enum $name { $($(#[doc = $word_doc])* $word),+ }

        impl $name {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$word),+];

            /// The word in the rows.
            pub(super) fn word(self) -> &'static str {
                match self { $(Self::$word => $text),+ }
            }
        }
    };
}

vocabulary! {
    /// A state of the queue.
    JobState {
        /// For the jobs that it depends on.
        Waiting = "waiting",
        /// For its time.
        Scheduled = "scheduled",
        /// Due.
        Available = "available",
        /// Sent to the workers.
        Dispatched = "dispatched",
        Running = "running",
        /// Failed, and comes again.
        Retryable = "retryable",
        Completed = "completed",
        Cancelled = "cancelled",
        /// Given up.
        Dead = "dead",
    }
}

vocabulary! {
    /// Why a job was given up.
    DeadReason {
        /// Every attempt failed.
        Exhausted = "exhausted",
        /// Workers vanished while they had it.
        Poison = "poison",
        /// Its payload cannot be read.
        InvalidPayload = "invalid_payload",
        /// The last attempt did not end in its time.
        Timeout = "timeout",
        /// The handler said that trying again cannot help.
        Discarded = "discarded",
        /// A job that it depends on was cancelled or given up.
        Dependency = "dependency",
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum JobStatus {
    /// Accepted, and waiting: for other jobs, for its time, for a worker, or to be tried again.
    Queued,
    Running,
    Completed,
    Cancelled,
    /// Given up: see `dead_reason` and `last_error`.
    Failed,
}

impl JobStatus {
    const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Completed, Self::Cancelled, Self::Failed];

    /// The states of the queue that look like this from outside.
    pub(super) fn states(self) -> &'static [&'static str] {
        match self {
            Self::Queued => &["waiting", "scheduled", "available", "dispatched", "retryable"],
            Self::Running => &["running"],
            Self::Completed => &["completed"],
            Self::Cancelled => &["cancelled"],
            Self::Failed => &["dead"],
        }
    }

    pub(super) fn of(state: &str) -> Self {
        Self::ALL.into_iter().find(|status| status.states().contains(&state)).unwrap_or(Self::Queued)
    }

    /// Nothing more will happen by itself.
    pub(super) fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Failed)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_state_of_the_queue_has_a_status() {
        let states: Vec<_> = JobStatus::ALL.into_iter().flat_map(JobStatus::states).copied().collect();
        assert_eq!(states.len(), JobState::ALL.len());
        for state in JobState::ALL {
            assert!(JobStatus::of(state.word()).states().contains(&state.word()));
        }
    }

    #[test]
    fn the_words_of_the_api_are_those_of_the_rows() {
        for state in JobState::ALL {
            assert_eq!(json!(state), state.word());
        }
        for reason in DeadReason::ALL {
            assert_eq!(json!(reason), reason.word());
        }
    }
}
