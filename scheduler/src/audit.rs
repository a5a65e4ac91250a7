//! Sealing the audit trail: every second what was written since gets its number, its hash and a signed head.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use runtime::metrics::SCHEDULER_ROUNDS;
use store::{
    SystemDb,
    audit::{self, chain::SealingKey},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

const EVERY: Duration = Duration::from_secs(1);

/// The key that heads are signed with, made at the first start.
///
/// # Errors
/// When the file cannot be used.
pub(crate) fn key(path: &Path) -> anyhow::Result<SealingKey> {
    let key = SealingKey::load_or_create(path)
        .context("the key that signs the audit trail cannot be used: see AUDIT_KEY_FILE")?;
    info!(public_key = key.public().to_hex(), "audit entries are sealed with this key");
    Ok(key)
}

/// Seals until `stop`, and once more then.
pub(crate) async fn run(db: &SystemDb, key: &SealingKey, stop: &CancellationToken) {
    loop {
        let stopped = tokio::time::timeout(EVERY, stop.cancelled()).await.is_ok();
        match audit::seal(db.pool(), key).await {
            Ok(_sealed) => SCHEDULER_ROUNDS.add(["audit".into()], 1),
            // Nothing is lost: what is not sealed now is sealed next time.
            Err(error) => runtime::complain!(%error, "could not seal the audit trail"),
        }
        if stopped {
            return;
        }
    }
}
