//! Say that the last job of a batch has ended.

use std::time::Duration;

use domain::id::TenantId;
use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue, RetryPolicy, mins, secs};

/// Enqueued with the batch ([`crate::batches`]), to wait for its members. Its id is the batch's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FinishBatch {
    /// Whose webhooks are told. None: a batch of the installation, of which nobody is told.
    pub tenant_id: Option<TenantId>,
    pub name: String,
}

impl Job for FinishBatch {
    const KIND: &'static str = "finish_batch";
    const QUEUE: Queue = Queue::Delivery;
    const RETRY: RetryPolicy = RetryPolicy::exponential(10, secs(1), mins(5));
    const TIMEOUT: Duration = mins(1);
}
