//! Render a finished report once more, in a format that it was not asked for.

use std::time::Duration;

use domain::{
    document::Format,
    id::{ReportId, TenantId},
};
use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue, RetryPolicy, UniqueKey, mins, secs};

/// Enqueued when somebody fetches a report in a format that there is no file of yet, and for each file of a pack ([`crate::packs`]).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RenderFormat {
    pub tenant_id: TenantId,
    pub report_id: ReportId,
    pub format: Format,
}

impl Job for RenderFormat {
    const KIND: &'static str = "render_format";
    const QUEUE: Queue = Queue::Rendering;
    const RETRY: RetryPolicy = RetryPolicy::exponential(5, secs(10), mins(10));
    const TIMEOUT: Duration = mins(5);

    fn unique_key(&self) -> Option<UniqueKey> {
        Some(UniqueKey::while_unfinished(format!("{}:{}", self.report_id, self.format)))
    }
}
