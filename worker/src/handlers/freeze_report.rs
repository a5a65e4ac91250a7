//! Freeze a report's data, for the jobs that make the files of a pack from it.

use queue::{Attempt, Done, Handler, JobError, error::DiscardIfMissing, jobs::FreezeReport};
use serde_json::json;

use crate::{context::Context, freezing::freeze, issue::hex};

impl Handler<Context> for FreezeReport {
    async fn run(self, context: &Context, attempt: &Attempt) -> Result<Done, JobError> {
        attempt.progress(5, "gathering data");
        let mut tx = context.db.begin_as(self.tenant_id).await?;
        let report = store::reports::find(&mut tx, self.report_id).await.discard_if_missing("the report")?;
        let frozen = store::frozen::find(&mut tx, self.report_id).await.discard_if_missing("the report")?;
        tx.commit().await?;
        let frozen = match frozen {
            Some(frozen) => frozen,
            None => freeze(context, self.tenant_id, &report).await?,
        };
        let mut tx = context.db.begin_as(self.tenant_id).await?;
        let result = json!({
            "report_id": self.report_id,
            "data_of": frozen.document.cover.generated_at,
            "sha256": hex(&frozen.sha256),
        });
        let done = attempt.complete(&mut tx, result).await?;
        tx.commit().await?;
        Ok(done)
    }
}
