//! Tell whoever listens that the last job of a batch has ended, and how all of them did.

use std::ops::Deref;

use delivery::webhook::event::{BatchFinished, batch_finished};
use domain::id::TenantId;
use queue::{
    Attempt, Done, Handler, JobError,
    enqueue::{Origin, enqueue},
    jobs::{DeliverWebhook, FinishBatch},
};
use serde_json::json;
use store::jobs::detail::{self, Members};

use crate::context::Context;

const BATCH_FINISHED: &str = "batch.finished";

impl Handler<Context> for FinishBatch {
    async fn run(self, context: &Context, attempt: &Attempt) -> Result<Done, JobError> {
        let mut tx = context.db.begin().await?;
        let members = detail::members(&mut tx, attempt.job).await?;
        tx.commit().await?;
        let result = json!({
            "batch_id": attempt.job,
            "jobs": members.total,
            "completed": members.completed,
            "failed": members.dead,
            "cancelled": members.cancelled,
        });
        let Some(tenant_id) = self.tenant_id else {
            let mut tx = context.db.begin().await?;
            let done = attempt.complete(&mut tx, result).await?;
            tx.commit().await?;
            return Ok(done);
        };
        let mut tx = context.db.begin_as(tenant_id).await?;
        let body = event(&self.name, attempt, tenant_id, &members);
        for webhook in store::deliveries::listeners(&mut tx, BATCH_FINISHED).await? {
            let delivery_id =
                store::deliveries::insert_delivery(&mut tx, webhook, BATCH_FINISHED, &body).await?;
            enqueue(&mut tx, Origin::tenant(tenant_id), &DeliverWebhook { tenant_id, delivery_id }).await?;
        }
        let done = attempt.complete(&mut tx, result).await?;
        tx.commit().await?;
        Ok(done)
    }
}

fn event(
    name: &str,
    attempt: &Attempt,
    tenant: TenantId,
    members: &Members,
) -> impl Deref<Target = [u8]> + use<> {
    let finished = BatchFinished {
        batch_id: &attempt.job.to_string(),
        name,
        status: if members.completed == members.total { "completed" } else { "failed" },
        jobs: members.total,
        completed: members.completed,
        failed: members.dead,
        cancelled: members.cancelled,
        organization_id: &format!("org_{}", tenant.0.simple()),
    };
    batch_finished(chrono::Utc::now(), &finished)
}
