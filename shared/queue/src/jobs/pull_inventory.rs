//! Ask another system what is installed, keep it asset by asset, and have what changed correlated.

use std::time::Duration;

use domain::{id::TenantId, inventory::Integration};
use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue, Recurs, RetryPolicy, UniqueKey, hours, mins, secs};

/// Enqueued by the schedule that each integration has once it is set up, and by `POST /api/system/force-inventory`. An attempt goes on
/// with the asset at which the one before it ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PullInventory {
    pub tenant_id: TenantId,
    pub integration: Integration,
}

impl Job for PullInventory {
    const KIND: &'static str = "pull_inventory";
    const QUEUE: Queue = Queue::Ingest;
    const RETRY: RetryPolicy = RetryPolicy::exponential(5, secs(30), hours(1));
    const TIMEOUT: Duration = mins(30);
    const RECURS: Recurs = Recurs::ForTenant;

    fn unique_key(&self) -> Option<UniqueKey> {
        Some(UniqueKey::while_unfinished(self.integration.as_str()))
    }

    fn concurrency_key(&self) -> Option<String> {
        Some(format!("pull_inventory:{}:{}", self.tenant_id, self.integration.as_str()))
    }
}
