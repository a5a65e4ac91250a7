//! `plimsoll tokens`: the key that signs access tokens.

use runtime::config::Config;
use runtime::secrets::Keys;
use secrecy::SecretString;
use sqlx::Connection as _;
use store::audit::{self, By, Note};
use store::{auth, db};
use uuid::Uuid;

use crate::exit::{Exit, Failure};
use crate::installation::Installation;
use crate::terminal;

/// Look after what access tokens are signed with.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Rotate(Rotate),
}

/// Sign access tokens with a new key from now on.
///
/// It happens by itself every SIGNING_KEY_DAYS. Running API processes notice within a minute, and tokens that are signed
/// already stay good until they end.
#[derive(Debug, clap::Args)]
struct Rotate {
    /// The old keys may have been seen by others: forget them. Access tokens signed with one are worthless within a
    /// minute; whoever has a refresh token stays signed in.
    #[arg(long)]
    forget: bool,
}

pub(super) async fn run(config: Config, arguments: &Arguments) -> Result<(), Failure> {
    let Command::Rotate(Rotate { forget }) = &arguments.command;
    let Some(installation) = Installation::find(config)? else {
        let sentence = "nothing runs here: start `plimsoll up`, or set DATABASE_URL and REDIS_URL";
        return Err(Failure::new(Exit::Unavailable, anyhow::anyhow!(sentence)));
    };
    let mut owner = installation.connect_as_owner().await?;
    let keys =
        Keys::load(&installation.config.secrets_key).map_err(|error| Failure::new(Exit::Config, error))?;
    let secret = SecretString::from(hex::encode(rand::random::<[u8; 32]>()));
    let mut tx = owner.begin().await.map_err(Failure::unavailable)?;
    let left = auth::rotate_signing_key(&mut tx, &keys, Uuid::now_v7(), &secret, *forget)
        .await
        .map_err(Failure::unavailable)?;
    let note = Note {
        action: "tokens.rotate",
        target_type: "installation",
        target_id: None,
        detail: serde_json::json!({ "forgot_older_keys": forget, "older_keys_left": left }),
    };
    let by = By { actor: "system".into(), ..By::default() };
    db::act_as_system(&mut tx).await.map_err(Failure::unavailable)?;
    audit::note(&mut tx, None, &by, &note).await.map_err(Failure::unavailable)?;
    tx.commit().await.map_err(Failure::unavailable)?;
    terminal::result(format_args!("access tokens are signed with a new key; {left} older ones still verify"));
    Ok(())
}
