//! Compare a tenant's packages with everything known, and open, confirm or resolve findings.

use std::time::Duration;

use domain::id::{AssetId, TenantId};
use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue, Recurs, RetryPolicy, UniqueKey, mins, secs};

/// Enqueued after an ingestion (one asset), after a crawl that changed something and by `POST /api/system/force-correlate` (all assets).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Correlate {
    pub tenant_id: TenantId,
    /// None: every asset of the tenant.
    pub asset_id: Option<AssetId>,
}

impl Job for Correlate {
    const KIND: &'static str = "correlate";
    const QUEUE: Queue = Queue::Analysis;
    const RETRY: RetryPolicy = RetryPolicy::exponential(5, secs(5), mins(5));
    const TIMEOUT: Duration = mins(30);
    const RECURS: Recurs = Recurs::ForTenant;

    fn concurrency_key(&self) -> Option<String> {
        Some(format!("correlate:{}", self.tenant_id))
    }

    // What arrives while one runs must be compared again; what arrives before it has begun is compared with it.
    fn unique_key(&self) -> Option<UniqueKey> {
        Some(match self.asset_id {
            Some(asset) => UniqueKey::while_waiting(asset),
            None => UniqueKey::while_waiting("all"),
        })
    }
}
