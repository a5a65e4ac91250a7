//! The audit trail: every second what was written since gets its number, its hash and a signed head; every hour what need not be kept any
//! longer goes.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use runtime::metrics::SCHEDULER_ROUNDS;
use store::{
    SystemDb,
    audit::{self, OtherKey, chain::SealingKey},
    retention,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

const SEAL_EVERY: Duration = Duration::from_secs(1);
const CUT_EVERY: Duration = Duration::from_hours(1);
const COMPARE_EVERY: Duration = Duration::from_mins(1);

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
    let (mut cut_at, mut compared_at) = (Instant::now(), Instant::now());
    let mut known = warn_of_other_keys(db, key, None).await;
    loop {
        let stopped = tokio::time::timeout(SEAL_EVERY, stop.cancelled()).await.is_ok();
        match audit::seal(db.pool(), key).await {
            Ok(_sealed) => SCHEDULER_ROUNDS.add(["audit".into()], 1),
            // Nothing is lost: what is not sealed now is sealed next time.
            Err(error) => runtime::complain!(%error, "could not seal the audit trail"),
        }
        if stopped {
            return;
        }
        if compared_at.elapsed() > COMPARE_EVERY {
            known = warn_of_other_keys(db, key, known).await;
            compared_at = Instant::now();
        }
        if cut_at <= Instant::now() {
            cut(db, key).await;
            cut_at = Instant::now() + CUT_EVERY;
        }
    }
}

/// Says so when another key seals too, unless nothing was sealed with one since `known` was seen. Returns the one that was used last.
async fn warn_of_other_keys(db: &SystemDb, key: &SealingKey, known: Option<OtherKey>) -> Option<OtherKey> {
    let others = match audit::other_keys(db.pool(), &key.public()).await {
        Ok(others) => others,
        Err(error) => {
            runtime::complain!(%error, "could not look whether another key seals the audit trail");
            return known;
        }
    };
    for other in &others {
        if known.as_ref().is_none_or(|known| other.sealed_at > known.sealed_at) {
            warn!(
                other_key = other.key_id,
                our_key = key.public().id_text(),
                chains = other.chains,
                sealed_at = %other.sealed_at,
                "the audit trail is sealed with another key too, which `plimsoll audit verify` takes for tampering: give every scheduler \
                 the same AUDIT_KEY_FILE (copy it from the first one) and restart those that had another"
            );
        }
    }
    others.into_iter().next().or(known)
}

/// Removes what is older than the days of `audit_log`, where these are set.
async fn cut(db: &SystemDb, key: &SealingKey) {
    let cut = async {
        let mut connection = db.pool().acquire().await?;
        let days = retention::get(&mut connection).await?.audit_days();
        drop(connection);
        match days {
            Some(days) => audit::cut(db.pool(), key, days).await,
            None => Ok(audit::Cutting::default()),
        }
    };
    match cut.await {
        Ok(audit::Cutting { removed, flawed }) => {
            if removed > 0 {
                info!(removed, "removed the oldest entries of the audit trail");
            }
            for (chain, flaw) in flawed {
                runtime::complain!(%chain, %flaw, "the audit trail is not cut here: run `plimsoll audit verify`");
            }
        }
        Err(error) => runtime::complain!(%error, "could not remove the oldest entries of the audit trail"),
    }
}
