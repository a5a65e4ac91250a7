//! `plimsoll-scheduler`: the scheduler alone, for installations of several machines.

use std::sync::Arc;

use runtime::{config::Config, shutdown, telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Arc::new(Config::from_env()?);
    telemetry::init(&config)?;
    let stop = shutdown::on_signals()?;
    scheduler::run(config, stop).await
}
