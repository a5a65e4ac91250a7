//! Cancelling what runs, at once: the word goes to every worker with COMMIT, and the one that has the job ends it.
//!
//! Nothing depends on the word arriving. A worker that did not hear it learns of the request when it next renews the lease.

use std::time::Duration;

use sqlx::{PgPool, postgres::PgListener};
use tracing::debug;
use uuid::Uuid;

/// The channel that `jobs_cancel` speaks on.
const CHANNEL: &str = "plimsoll_cancel";
/// Rest before a lost connection is made again.
const RECONNECT: Duration = Duration::from_secs(1);

/// Calls `cancel` with each job whose cancellation is asked for, until the task is dropped.
pub(crate) async fn listen(pool: PgPool, cancel: impl Fn(Uuid)) {
    loop {
        if let Err(error) = follow(&pool, &cancel).await {
            debug!(%error, "cancellations are not heard for now, only read with the leases");
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn follow(pool: &PgPool, cancel: &impl Fn(Uuid)) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        if let Ok(job) = listener.recv().await?.payload().parse() {
            cancel(job);
        }
    }
}
