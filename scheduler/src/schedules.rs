//! Firing what is due, every second. How is `queue::schedule`'s business.

use std::time::Duration;

use queue::schedule::{database_version, firing};
use runtime::metrics::SCHEDULER_ROUNDS;
use store::{SystemDb, schedules};
use tokio_util::sync::CancellationToken;
use tracing::info;

const EVERY: Duration = Duration::from_secs(1);
/// A scheduler that has fired what is due longer ago than this is not ready.
const READY_WITHIN: Duration = Duration::from_secs(15);

/// Fires until `stop`; what has been begun by then is ended.
pub(crate) async fn run(db: &SystemDb, stop: &CancellationToken) {
    let pulse = runtime::health::pulse("schedules", READY_WITHIN);
    let mut is_planned = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let round = async {
            if !is_planned {
                plan_anew(db).await?;
            }
            fire(db).await
        };
        let round = round.await;
        pulse.mark(&round);
        match round {
            Ok(()) => {
                is_planned = true;
                SCHEDULER_ROUNDS.add(["schedules".into()], 1);
            }
            Err(error) => runtime::complain!(%error, "cannot fire what is due"),
        }
    }
}

/// The clock is read anew each time: one that jumps is noticed within a second.
async fn fire(db: &SystemDb) -> store::Result<()> {
    let now = schedules::database_time(&mut *db.pool().acquire().await?).await?;
    firing::fire_due(db, now).await?;
    Ok(())
}

/// Times that were worked out with another release of the time zone database are worked out again.
async fn plan_anew(db: &SystemDb) -> store::Result<()> {
    let mut connection = db.pool().acquire().await?;
    let now = schedules::database_time(&mut connection).await?;
    let changed = schedules::forget_other_releases(&mut connection, now, database_version()).await?;
    if changed > 0 {
        info!(changed, release = database_version(), "schedules are planned anew by this time zone database");
    }
    Ok(())
}
