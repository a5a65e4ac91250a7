//! Post one event to one endpoint: one attempt, remembered, and the next when the standard says.

use chrono::Utc;
use delivery::webhook::{self, Delivery, FailureClass, Outcome, WebhookSecret};
use domain::id::WebhookId;
use queue::{
    Attempt, Done, Handler, JobError, OrDiscard,
    error::{Class, DiscardIfMissing},
    jobs::DeliverWebhook,
};
use runtime::metrics;
use secrecy::ExposeSecret;
use serde_json::json;
use store::deliveries::{self, DeliveryAttempt};

use crate::context::Context;

impl Handler<Context> for DeliverWebhook {
    async fn run(self, context: &Context, attempt: &Attempt) -> Result<Done, JobError> {
        let mut tx = context.db.begin_as(self.tenant_id).await?;
        let event = deliveries::delivery(&mut tx, &context.secrets, self.delivery_id)
            .await
            .discard_if_missing("the endpoint")?;
        tx.commit().await?;
        if event.status != "pending" || !event.enabled {
            return Err(JobError::discard(format!(
                "the delivery is {} and the endpoint is {}",
                event.status,
                if event.enabled { "enabled" } else { "disabled" }
            )));
        }
        let secret = event.secret.ok_or_else(|| JobError::discard("the endpoint has no secret any more"))?;
        let secret: WebhookSecret =
            secret.expose_secret().parse().or_discard("the endpoint's secret cannot be used")?;
        let at = Utc::now();
        let made = webhook::deliver(
            &context.webhooks,
            &Delivery {
                id: format!("msg_{}", self.delivery_id.0.simple()),
                url: event.url.clone(),
                body: event.body.into(),
                secrets: vec![secret],
                attempt_at: at,
            },
        )
        .await;
        runtime::failpoint!("webhook-sent");

        let attempts_made = u32::try_from(event.attempt_count).unwrap_or(u32::MAX).saturating_add(1);
        let pause = webhook::schedule(attempts_made, rand::random());
        let (status, word) = match made.outcome {
            Outcome::Delivered => ("delivered", "delivered"),
            Outcome::Disable => ("disabled", "gone"),
            Outcome::Failed { class } => ("exhausted", class.as_str()),
            Outcome::Retry { class, .. } if pause.is_none() => ("exhausted", class.as_str()),
            Outcome::Retry { class, .. } => ("pending", class.as_str()),
        };
        metrics::WEBHOOK_ATTEMPTS.add([word.into()], 1);
        let remembered = DeliveryAttempt {
            at,
            status: made.status,
            latency_ms: made.latency_ms,
            outcome: word.to_owned(),
            response: made.response_excerpt.replace('\0', "\u{fffd}"),
        };
        let mut tx = context.db.begin_as(self.tenant_id).await?;
        deliveries::record_attempt(&mut tx, self.delivery_id, &remembered, status).await?;
        if made.outcome == Outcome::Disable {
            deliveries::disable_webhook(
                &mut tx,
                WebhookId(event.webhook_id),
                "the endpoint answered 410 Gone",
            )
            .await?;
        }
        if status == "delivered" {
            let done = attempt
                .complete(&mut tx, json!({ "status": made.status, "attempts": attempts_made }))
                .await?;
            tx.commit().await?;
            return Ok(done);
        }
        tx.commit().await?;
        let why = made.error.unwrap_or_else(|| format!("the endpoint answered {:?}", made.status));
        match (made.outcome, pause) {
            (Outcome::Retry { after, class }, Some(pause)) => {
                let error = anyhow::anyhow!(why).context(class_of(class));
                Err(JobError::RetryAfter(after.unwrap_or_default().max(pause), error))
            }
            _ => Err(JobError::discard(why)),
        }
    }
}

/// How the job's attempts call what went wrong with the request.
fn class_of(class: FailureClass) -> Class {
    match class {
        FailureClass::Connect | FailureClass::Broken => Class::Network,
        FailureClass::Timeout => Class::Timeout,
        FailureClass::Invalid
        | FailureClass::Forbidden
        | FailureClass::Redirect
        | FailureClass::Unavailable
        | FailureClass::Rejected => Class::Upstream,
    }
}
