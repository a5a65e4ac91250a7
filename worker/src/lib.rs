//! Doing the work: one handler file for each job kind, same file name as its declaration in `queue::jobs`.
//!
//! A handler loads, calls an engine, and saves; rules live in the engines, SQL in `store`. Start at [`run`].

pub mod context;
mod freezing;
pub mod handlers;
mod issue;
mod logo;
pub mod renderer;
mod rows;
pub mod sealing;

use std::sync::Arc;

use anyhow::Context as _;
use context::Context;
use queue::{Registry, transport::Transport, worker::Settings};
use renderer::{Limits, Renderer};
use runtime::{config::Config, metrics};
use store::SystemDb;
use tokio_util::sync::CancellationToken;

/// Works until `stop`, then finishes what runs within the grace period.
///
/// # Errors
/// When a setting is missing or wrong, or Postgres or Redis does not answer at start.
pub async fn run(config: Arc<Config>, stop: CancellationToken) -> anyhow::Result<()> {
    run_with(queue::jobs::registry(), config, stop).await
}

/// As [`run`], with the kinds of `registry`. Reports are rendered by this program called once more: its `main` begins with
/// [`renderer::serve_if_asked`].
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    registry: Registry<Context>,
    config: Arc<Config>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let database_url = config.database_url.as_ref().context(
        "DATABASE_URL is not set: give the address of Postgres, or use `plimsoll up`, which runs its own",
    )?;
    let redis_url = config.redis_url.as_ref().context(
        "REDIS_URL is not set: give the address of Redis, or use `plimsoll up`, which runs its own",
    )?;
    let queues = config
        .worker_queues
        .iter()
        .map(|name| name.parse().map_err(anyhow::Error::msg))
        .collect::<anyhow::Result<_>>()
        .context("WORKER_QUEUES cannot be used")?;
    let db = SystemDb::connect(database_url, config.database_max_connections)?;
    let transport = Transport::connect(redis_url, &config.queue_prefix)
        .await
        .context("redis does not answer: check REDIS_URL and that it is running")?;
    let settings = Settings {
        queues,
        slots: config.worker_slots,
        lease: config.job_lease,
        grace: config.shutdown_grace,
    };
    let pool = db.pool().clone();
    // An alarm hears of a class only if it was shown as 0 before it was counted.
    for class in ["delivered", "transient", "permanent", "configuration"] {
        metrics::MAIL_ATTEMPTS.add([class.into()], 0);
    }
    let mut context = Context::new(config.clone(), db)?;
    let secrets = context.secrets.clone();
    context.renderer = Renderer::of(std::env::current_exe()?, Limits::of(&config));
    tokio::select! {
        ended = queue::worker::run(registry, context, pool.clone(), transport, settings, stop) => ended,
        problem = store::secrets::watch(&pool, &secrets) => Err(problem.into()),
        never = store::log_level::follow(&pool) => match never {},
        never = store::db::show_pool("worker", &pool) => match never {},
        never = queue::measure::count_written(&pool) => match never {},
    }
}
