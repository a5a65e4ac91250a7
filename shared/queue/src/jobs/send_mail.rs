//! Send one mail to those of its recipients who do not have it yet.

use std::time::Duration;

use domain::id::{MailId, TenantId};
use serde::{Deserialize, Serialize};

use crate::job::{Job, Queue, RetryPolicy, UniqueKey, hours, mins, secs};

/// Enqueued when a report is completed that was asked for with recipients.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SendMail {
    pub tenant_id: TenantId,
    pub mail_id: MailId,
}

impl Job for SendMail {
    const KIND: &'static str = "send_mail";
    const QUEUE: Queue = Queue::Delivery;
    const RETRY: RetryPolicy = RetryPolicy::exponential(10, secs(30), hours(4));
    const TIMEOUT: Duration = mins(5);

    fn unique_key(&self) -> Option<UniqueKey> {
        Some(UniqueKey::while_unfinished(self.mail_id))
    }
}
