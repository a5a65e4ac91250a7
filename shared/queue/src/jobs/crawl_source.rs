//! Fetch one vulnerability source and merge what it says.

use std::time::Duration;

use domain::id::SourceId;
use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue, Recurs, RetryPolicy, UniqueKey, hours, mins, secs};

/// Enqueued by the schedule that each source has, and by `POST /api/scan-runs/trigger/{source_slug}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CrawlSource {
    pub source_id: SourceId,
}

impl Job for CrawlSource {
    const KIND: &'static str = "crawl_source";
    const QUEUE: Queue = Queue::Ingest;
    const RETRY: RetryPolicy = RetryPolicy::exponential(5, secs(30), hours(1));
    const TIMEOUT: Duration = mins(30);
    const RECURS: Recurs = Recurs::ForInstallation;

    fn unique_key(&self) -> Option<UniqueKey> {
        Some(UniqueKey::while_unfinished(self.source_id))
    }

    fn concurrency_key(&self) -> Option<String> {
        Some(format!("crawl_source:{}", self.source_id))
    }
}
