//! Compare stored files with their digests. A damaged one is flagged, so that somebody makes the report again before it is needed.

use queue::{Attempt, Done, Handler, JobError, jobs::VerifyArtifacts};
use serde_json::json;
use store::artifacts::{self, Condition};
use tracing::error;

use crate::context::Context;

/// Files of one run; the rest follows the day after.
const MOST: i64 = 10_000;

impl Handler<Context> for VerifyArtifacts {
    async fn run(self, context: &Context, attempt: &Attempt) -> Result<Done, JobError> {
        let due = artifacts::longest_unchecked(context.db.pool(), MOST).await?;
        let mut damaged = 0;
        for (number, artifact) in due.iter().enumerate() {
            let percent = u8::try_from(100 * number / due.len()).unwrap_or(99);
            attempt.progress(percent, "comparing digests");
            let condition = match context.blobs.read(&artifact.storage_key, &artifact.sha256).await {
                Ok(_) => Condition::Sound,
                Err(store::Error::Corrupt { .. } | store::Error::NotFound) => {
                    damaged += 1;
                    error!(
                        artifact.key = artifact.storage_key,
                        "a stored file is damaged or gone: generate the report again"
                    );
                    Condition::Damaged
                }
                // The store as a whole may be away, which says nothing about the file.
                Err(other) => return Err(other.into()),
            };
            artifacts::record_check(context.db.pool(), artifact.id, condition).await?;
        }
        let mut tx = context.db.begin().await?;
        let done = attempt.complete(&mut tx, json!({ "checked": due.len(), "damaged": damaged })).await?;
        tx.commit().await?;
        Ok(done)
    }
}
