//! `plimsoll migrate`: bring the schema up to date, and end.

use runtime::config::Config;

use crate::exit::Failure;
use crate::installation::Installation;
use crate::terminal;

/// Bring the database schema up to date.
///
/// Uses MIGRATION_DATABASE_URL, else DATABASE_URL, else the private Postgres in PLIMSOLL_HOME. Safe to run from
/// several machines at once, and again: one works, the others wait, and what is there already is left alone.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

pub(super) async fn run(config: Config, _: &Arguments) -> Result<(), Failure> {
    // Only Postgres is needed here, so a Redis that is not named is no mistake.
    let installation = if config.database_url.is_some() || config.migration_database_url.is_some() {
        Installation::of_others(config)
    } else if let Some(running) = Installation::find(config.clone())? {
        running
    } else {
        Installation::open(config).await?
    };
    let migrated = migrate(&installation).await;
    installation.close().await;
    migrated
}

async fn migrate(installation: &Installation) -> Result<(), Failure> {
    installation.migrate().await?;
    terminal::result("the database schema is up to date");
    if let Some(token) = installation.new_setup_token().await? {
        terminal::result(format_args!("one-time token for POST /api/auth/setup: {token}"));
    }
    Ok(())
}
