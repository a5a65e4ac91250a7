//! What happens by itself: relaying due jobs, rescuing abandoned ones, firing schedules.
//!
//! Leaderless: run one or three, each does what is due and skips what another is at. Start at [`run`].

mod audit;
mod figures;
mod schedules;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use queue::{relay::Relay, rescue, transport::Transport};
use runtime::{config::Config, metrics::SCHEDULER_ROUNDS};
use store::{
    SystemDb,
    processes::{Part, Process},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Runs until `stop`.
///
/// # Errors
/// When a setting is missing, or Redis does not answer at start.
pub async fn run(config: Arc<Config>, stop: CancellationToken) -> anyhow::Result<()> {
    let database_url = config.database_url.as_ref().context(
        "DATABASE_URL is not set: give the address of Postgres, or use `plimsoll up`, which runs its own",
    )?;
    let redis_url = config.redis_url.as_ref().context(
        "REDIS_URL is not set: give the address of Redis, or use `plimsoll up`, which runs its own",
    )?;
    let db = SystemDb::connect(database_url, config.database_max_connections)?;
    let transport = Transport::connect(redis_url, &config.queue_prefix)
        .await
        .context("redis does not answer: check REDIS_URL and that it is running")?;
    let relay =
        Relay { pool: db.pool().clone(), transport, window: config.relay_window, patience: config.job_lease };
    // Often enough that a lease which ran out is noticed soon after, seldom enough to cost nothing.
    let rescue_every = (config.job_lease / 6).clamp(Duration::from_millis(250), Duration::from_secs(5));
    let audit_key = audit::key(&config.audit_key_file)?;
    for duty in ["relay", "rescue", "schedules", "audit"] {
        SCHEDULER_ROUNDS.add([duty.into()], 0);
    }
    info!("scheduler ready");
    tokio::join!(
        relay.run(&stop),
        rescue::run(db.pool(), rescue_every, &stop),
        schedules::run(&db, &stop),
        audit::run(&db, &audit_key, &stop),
        figures::run(&db, &stop),
        watch(&db, &stop)
    );
    info!("scheduler stopped");
    Ok(())
}

/// What every process does beside its work.
async fn watch(db: &SystemDb, stop: &CancellationToken) {
    let process = Process::new(Part::Scheduler);
    tokio::select! {
        () = stop.cancelled() => process.leave(db.pool()).await,
        never = process.speak(db.pool()) => match never {},
        never = store::log_level::follow(db.pool()) => match never {},
        never = store::db::show_pool("scheduler", db.pool()) => match never {},
        never = queue::measure::count_written(db.pool()) => match never {},
    }
}
