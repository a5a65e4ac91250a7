//! `plimsoll up`: everything on one machine, in one process.

use std::sync::Arc;

use runtime::config::Config;
use runtime::shutdown;
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;
use crate::installation::Installation;
use crate::system::{self, Port};
use crate::terminal;

/// Run API, worker and scheduler in this process.
///
/// Without DATABASE_URL and REDIS_URL it also runs a private Postgres and Redis, from the machine's own programs, in
/// PLIMSOLL_HOME. Brings the schema up to date first. Ends on SIGINT and SIGTERM after finishing what is under way; a
/// second signal ends it at once.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

pub(super) async fn run(mut config: Config, _: &Arguments) -> Result<(), Failure> {
    let stop = shutdown::on_signals()?;
    let port = Port::take(&mut config).await?;
    let installation = Installation::open(config).await?;
    let served = serve(&installation, port, &stop).await;
    installation.close().await;
    served
}

async fn serve(installation: &Installation, port: Port, stop: &CancellationToken) -> Result<(), Failure> {
    installation.migrate().await?;
    let url = installation.config.public_url();
    terminal::result(format_args!("API: {url}   documentation: {url}/api/docs"));
    if let Some(token) = installation.new_setup_token().await? {
        terminal::result(format_args!(
            "no administrator yet: POST {url}/api/auth/setup; from another machine with the one-time token {token}"
        ));
    }
    system::run(port, Arc::new(installation.config.clone()), stop).await?;
    Ok(())
}
