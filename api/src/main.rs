//! The API as a process of its own: `plimsoll-api`. Everything is in the library.

use std::{process::ExitCode, sync::Arc};

use runtime::{config::Config, shutdown, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the settings that say how to log may be what is wrong")]
            {
                eprintln!("plimsoll-api: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let config = Arc::new(Config::from_env()?);
    telemetry::init(&config)?;
    api::serve(config, shutdown::on_signals()?).await
}
