//! Gather one report's data, render it to its format, store the file and announce it.

use std::time::Duration;

use domain::id::{ReportId, TenantId};
use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue, RetryPolicy, UniqueKey, mins, secs};

/// Enqueued by `POST /api/reports/generate`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RenderReport {
    pub tenant_id: TenantId,
    pub report_id: ReportId,
}

impl Job for RenderReport {
    const KIND: &'static str = "render_report";
    const QUEUE: Queue = Queue::Rendering;
    const RETRY: RetryPolicy = RetryPolicy::exponential(5, secs(10), mins(10));
    const TIMEOUT: Duration = mins(5);

    fn unique_key(&self) -> Option<UniqueKey> {
        Some(UniqueKey::while_unfinished(self.report_id))
    }
}
