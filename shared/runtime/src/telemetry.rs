//! Log lines: text on a terminal, one JSON object a line elsewhere.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{Config, LogFormat};

/// Starts logging to standard error. A second call in the same process does nothing.
///
/// # Errors
/// When `LOG_LEVEL` is not a valid filter; the message names it and the remedy.
pub fn init(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log_level).map_err(|error| {
        anyhow::anyhow!(
            "LOG_LEVEL={} cannot be used ({error}): give error, warn, info, debug or trace",
            config.log_level
        )
    })?;
    // What the server remarks on a migration that was applied before is of no use to anybody.
    let filter =
        filter.add_directive("sqlx::postgres::notice=warn".parse().expect("a fixed directive parses"));
    let json = match config.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let started = if json {
        let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
        registry.with(lines).try_init()
    } else {
        registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr)).try_init()
    };
    if started.is_err() {
        tracing::debug!("logging was already started");
    }
    Ok(())
}
