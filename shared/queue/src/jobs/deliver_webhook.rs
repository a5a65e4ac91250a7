//! Post one event to one webhook endpoint, signed, with the same id on every attempt.

use std::time::Duration;

use domain::id::{DeliveryId, TenantId};
use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue, RetryPolicy, UniqueKey, hours, secs};

/// Enqueued with the delivery's row, when something happens that an endpoint listens for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeliverWebhook {
    pub tenant_id: TenantId,
    pub delivery_id: DeliveryId,
}

impl Job for DeliverWebhook {
    const KIND: &'static str = "deliver_webhook";
    const QUEUE: Queue = Queue::Delivery;
    // The pauses come from Standard Webhooks' own table (crate `delivery`); this one only bounds crashes of ours.
    const RETRY: RetryPolicy = RetryPolicy::exponential(20, secs(5), hours(24));
    const TIMEOUT: Duration = secs(60);

    fn unique_key(&self) -> Option<UniqueKey> {
        Some(UniqueKey::while_unfinished(self.delivery_id))
    }
}
