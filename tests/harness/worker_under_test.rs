//! `plimsoll-worker` once more, built with the tests so that they have a process to kill.

use std::sync::Arc;

use runtime::{config::Config, shutdown, telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Arc::new(Config::from_env()?);
    telemetry::init(&config)?;
    let stop = shutdown::on_signals()?;
    worker::run(config, stop).await
}
