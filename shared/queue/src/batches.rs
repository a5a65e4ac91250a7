//! Work that belongs together: several jobs, one progress, one end.
//!
//! A batch is a job of the kind [`FinishBatch`] that waits for its members, so its id is a job's id, and what holds for jobs holds for it:
//! it can be cancelled, is found in the list, and cannot be lost. When the last member has ended, well or not, its handler tells whoever
//! listens (`batch.finished`). A job that is to follow the members waits for them by itself ([`enqueue_after`]).

use domain::id::JobId;
use sqlx::PgConnection;
use store::Result;

use crate::{
    enqueue::{After, Enqueued, OnFailure, Origin, enqueue_after},
    jobs::FinishBatch,
};

/// Makes a batch called `name` of `members`, which are there already: in this transaction or before.
///
/// # Errors
/// [`store::Error::Conflict`] when one of `members` is none that this tenant may see.
pub async fn enqueue_batch(
    connection: &mut PgConnection,
    origin: Origin,
    name: &str,
    members: &[JobId],
) -> Result<Enqueued> {
    let batch = FinishBatch { tenant_id: origin.tenant, name: name.to_owned() };
    let after = After { jobs: members, on_failure: OnFailure::Run, at_most: None };
    enqueue_after(connection, origin, &batch, after).await
}
