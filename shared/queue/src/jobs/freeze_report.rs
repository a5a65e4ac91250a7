//! Gather one report's data and freeze it, so that several workers can make files of it at the same time.

use std::time::Duration;

use domain::id::{ReportId, TenantId};
use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue, RetryPolicy, UniqueKey, mins, secs};

/// Enqueued for packs ([`crate::packs`]), before the jobs that make their files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FreezeReport {
    pub tenant_id: TenantId,
    pub report_id: ReportId,
}

impl Job for FreezeReport {
    const KIND: &'static str = "freeze_report";
    const QUEUE: Queue = Queue::Rendering;
    const RETRY: RetryPolicy = RetryPolicy::exponential(5, secs(10), mins(10));
    const TIMEOUT: Duration = mins(5);

    fn unique_key(&self) -> Option<UniqueKey> {
        Some(UniqueKey::while_unfinished(self.report_id))
    }
}
