//! `plimsoll services`: the private Postgres and Redis alone, for a program that runs beside them.

use runtime::config::Config;
use runtime::shutdown;

use crate::embedded;
use crate::exit::Failure;
use crate::terminal;

/// Run only the private Postgres and Redis, and print the settings that lead to them.
///
/// The lines on standard output can be read by a shell: NAME='value'. Ends on SIGINT and SIGTERM, and
/// stops both servers then.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Do not flush to disk: faster, and the data does not survive a power cut.
    #[arg(long)]
    no_fsync: bool,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let stop = shutdown::on_signals()?;
    let settings =
        embedded::Settings { durable: !arguments.no_fsync, ..embedded::Settings::new(&config.home) };
    let running = embedded::start(&settings).await?;
    terminal::result(format_args!("DATABASE_URL='{}'", running.addresses.owner_url));
    terminal::result(format_args!("REDIS_URL='{}'", running.addresses.redis_url));
    stop.cancelled().await;
    running.stop().await;
    Ok(())
}
