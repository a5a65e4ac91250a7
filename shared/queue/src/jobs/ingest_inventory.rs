//! Read one submitted inventory into assets and packages, then have the asset correlated.

use std::time::Duration;

use domain::id::{SubmissionId, TenantId};
use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue, RetryPolicy, UniqueKey, mins, secs};

/// Enqueued with the submission itself, and by `POST /api/system/force-inventory` for those not read yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IngestInventory {
    pub tenant_id: TenantId,
    pub submission_id: SubmissionId,
}

impl Job for IngestInventory {
    const KIND: &'static str = "ingest_inventory";
    const QUEUE: Queue = Queue::Ingest;
    const RETRY: RetryPolicy = RetryPolicy::exponential(5, secs(5), mins(5));
    const TIMEOUT: Duration = mins(10);

    fn unique_key(&self) -> Option<UniqueKey> {
        Some(UniqueKey::while_unfinished(self.submission_id))
    }
}
