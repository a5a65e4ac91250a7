//! Compare stored files with the digests they were stored with, the longest unchecked first.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue, Recurs, RetryPolicy, UniqueKey, mins};

/// Enqueued by a schedule, once a day.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifyArtifacts {}

impl Job for VerifyArtifacts {
    const KIND: &'static str = "verify_artifacts";
    const QUEUE: Queue = Queue::Maintenance;
    const PRIORITY: i16 = 9;
    const RETRY: RetryPolicy = RetryPolicy::exponential(3, mins(5), mins(60));
    const TIMEOUT: Duration = mins(60);
    const RECURS: Recurs = Recurs::ForInstallation;

    fn unique_key(&self) -> Option<UniqueKey> {
        Some(UniqueKey::while_unfinished("installation"))
    }

    fn concurrency_key(&self) -> Option<String> {
        Some("verify_artifacts".to_owned())
    }
}
