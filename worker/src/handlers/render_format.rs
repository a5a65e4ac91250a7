//! Make a further file of a finished report, from what was frozen with it.

use queue::{Attempt, Done, Handler, JobError, error::DiscardIfMissing, jobs::RenderFormat};
use serde_json::json;

use crate::{
    context::Context,
    issue::{download_url, issue},
};

impl Handler<Context> for RenderFormat {
    async fn run(self, context: &Context, attempt: &Attempt) -> Result<Done, JobError> {
        let mut tx = context.db.begin_as(self.tenant_id).await?;
        let report = store::reports::find(&mut tx, self.report_id).await.discard_if_missing("the report")?;
        let frozen = store::frozen::find(&mut tx, self.report_id).await.discard_if_missing("the report")?;
        tx.commit().await?;
        let frozen = frozen.ok_or_else(|| JobError::discard("the report was never made"))?;
        let issued = issue(context, attempt, self.tenant_id, &report, frozen, self.format).await?;

        let mut tx = context.db.begin_as(self.tenant_id).await?;
        store::artifacts::record(&mut tx, self.report_id, &issued.file)
            .await
            .discard_if_missing("the report")?;
        for signed in issued.seal.iter().chain(&issued.inner) {
            store::signing_keys::record_issued(&mut tx, signed).await?;
        }
        let url = format!("{}?format={}", download_url(context, self.report_id), self.format);
        let result = json!({
            "report_id": self.report_id,
            "file_name": issued.file.file_name,
            "byte_count": issued.file.stored.byte_count,
            "download_url": url,
        });
        let done = attempt.complete(&mut tx, result).await?;
        tx.commit().await?;
        Ok(done)
    }
}
