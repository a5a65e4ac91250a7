//! Remove what has outlived its purpose: finished jobs, spent tokens, old runs, files nobody refers to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue, Recurs, RetryPolicy, UniqueKey, mins};

/// Enqueued by a schedule, once a day.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PurgeExpired {}

impl Job for PurgeExpired {
    const KIND: &'static str = "purge_expired";
    const QUEUE: Queue = Queue::Maintenance;
    const PRIORITY: i16 = 9;
    const RETRY: RetryPolicy = RetryPolicy::exponential(3, mins(5), mins(60));
    const TIMEOUT: Duration = mins(30);
    const RECURS: Recurs = Recurs::ForInstallation;

    fn unique_key(&self) -> Option<UniqueKey> {
        Some(UniqueKey::while_unfinished("installation"))
    }

    fn concurrency_key(&self) -> Option<String> {
        Some("purge_expired".to_owned())
    }
}
