//! `plimsoll secrets`: the keys that secrets in the database are sealed with.

use std::path::Path;

use runtime::config::Config;
use runtime::secrets::{self as sealing, Keys, SecretError};
use secrecy::ExposeSecret;
use sqlx::PgConnection;
use store::audit::{self, By, Note};
use store::{db, secrets};

use crate::exit::{Exit, Failure};
use crate::installation::Installation;
use crate::terminal;

/// Look after the keys that secrets in the database are sealed with, those of webhooks and integrations for instance.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print a new key, for SECRETS_KEY or a file of one's own. Changes nothing.
    Generate,
    /// Say which keys there are, and how many secrets are sealed with each.
    Status,
    Rotate,
    Forget(Forget),
}

/// Give up every secret that no key here opens.
///
/// For when a key is lost for good. Webhooks are switched off until they are registered again, settings of integrations lose
/// their passwords and keys, people go on by their refresh tokens.
#[derive(Debug, clap::Args)]
struct Forget {
    /// Yes, these secrets are lost.
    #[arg(long, required = true)]
    yes: bool,
}

pub(super) async fn run(config: Config, arguments: &Arguments) -> Result<(), Failure> {
    if let Command::Generate = arguments.command {
        terminal::result(sealing::generate().map_err(unusable)?.expose_secret());
        return Ok(());
    }
    let home = config.home.clone();
    let Some(Installation { config, .. }) = Installation::find(config)? else {
        return Err(nothing_runs(&home));
    };
    let keys = match arguments.command {
        Command::Status => Keys::look(&config.secrets_key),
        _ => Keys::load(&config.secrets_key),
    };
    let keys = keys.map_err(unusable)?;
    let Some(url) = &config.database_url else { return Err(nothing_runs(&home)) };
    let mut connection = db::connect_once(url).await.map_err(Failure::unavailable)?;
    db::act_as_system(&mut connection).await.map_err(Failure::unavailable)?;
    match &arguments.command {
        Command::Generate => Ok(()),
        Command::Status => status(&mut connection, &keys).await,
        Command::Rotate => rotate(&mut connection, &keys).await,
        Command::Forget(Forget { .. }) => forget(&mut connection, &keys).await,
    }
}

async fn status(connection: &mut PgConnection, keys: &Keys) -> Result<(), Failure> {
    let current = secrets::current(connection).await.map_err(failure)?;
    let used = secrets::in_use(connection).await.map_err(failure)?;
    let mut ids = keys.ids();
    ids.extend(used.iter().map(|(id, _)| *id).filter(|id| !keys.has(*id)));
    ids.extend(current.filter(|id| !keys.has(*id)));
    ids.dedup();
    for id in ids {
        let count = used.iter().find(|(used, _)| *used == id).map_or(0, |(_, count)| *count);
        let role = if current == Some(id) { "seals" } else { "opens" };
        let place = if keys.has(id) { keys.source() } else { "MISSING".into() };
        terminal::result(format_args!("{id} {role} {count:>6} secrets  {place}"));
    }
    Ok(())
}

async fn rotate(connection: &mut PgConnection, keys: &Keys) -> Result<(), Failure> {
    secrets::check(connection, keys).await.map_err(failure)?;
    let current = secrets::current(connection).await.map_err(failure)?;
    // One that was put in front by hand, or by a rotation that was interrupted, is the one that is meant.
    let to = match keys.newest() {
        newest if Some(newest) == current => keys.add().map_err(unusable)?,
        newest => newest,
    };
    let rotated = secrets::rotate(connection, keys, to).await.map_err(failure)?;
    let note = Note {
        action: "secrets.rotate",
        target_type: "installation",
        target_id: None,
        detail: serde_json::json!({ "from": rotated.from.to_string(), "to": to.to_string(), "secrets": rotated.wrapped }),
    };
    let by = By { actor: "system".into(), ..By::default() };
    audit::note(connection, None, &by, &note).await.map_err(failure)?;
    terminal::result(format_args!(
        "{} secrets are sealed with the key {to} now; {} is needed for older backups of the database only. Back up {}",
        rotated.wrapped,
        rotated.from,
        keys.source()
    ));
    Ok(())
}

async fn forget(connection: &mut PgConnection, keys: &Keys) -> Result<(), Failure> {
    let given_up = secrets::forget(connection, keys).await.map_err(failure)?;
    terminal::result(format_args!(
        "{given_up} secrets were given up; new ones are sealed with {}",
        keys.newest()
    ));
    Ok(())
}

fn nothing_runs(home: &Path) -> Failure {
    let sentence = format!(
        "DATABASE_URL and REDIS_URL are not set and no `plimsoll up` runs in {}: start it and ask again",
        home.display()
    );
    Failure::new(Exit::Unavailable, anyhow::anyhow!(sentence))
}

fn unusable(error: SecretError) -> Failure {
    Failure::new(Exit::Config, error)
}

fn failure(error: store::Error) -> Failure {
    match error {
        store::Error::Secret(error) => unusable(error),
        other => Failure::unavailable(other),
    }
}
