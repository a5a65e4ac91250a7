//! The keys that secrets in the database are sealed with: there, and the right ones.

use runtime::config::{Config, SecretsKey};
use runtime::secrets::{Keys, SecretError};
use store::{db, secrets};

use super::{Finding, failure, ok, warning};
use crate::exit;

const SUBJECT: &str = "secrets";

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    vec![look(config).await.unwrap_or_else(|error| failure(SUBJECT, exit::chain(&error)))]
}

async fn look(config: &Config) -> anyhow::Result<Finding> {
    // Without it the database has been reported already.
    let Some(url) = &config.database_url else {
        return Ok(warning(SUBJECT, "DATABASE_URL is not set, so nobody can tell"));
    };
    let mut connection = db::connect_once(url).await?;
    db::act_as_system(&mut connection).await?;
    let current = secrets::current(&mut connection).await?;
    let keys = match (Keys::look(&config.secrets_key), current, &config.secrets_key) {
        (Err(SecretError::File { source, .. }), None, SecretsKey::File(path))
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            return Ok(ok(SUBJECT, format!("none yet; the first start makes a key in {}", path.display())));
        }
        (keys, ..) => keys?,
    };
    let Some(current) = current else { return Ok(ok(SUBJECT, "none yet")) };
    secrets::check(&mut connection, &keys).await?;
    let used = secrets::in_use(&mut connection).await?;
    let count: i64 = used.iter().map(|(_, count)| count).sum();
    let missing: Vec<String> =
        used.iter().filter(|(id, _)| !keys.has(*id)).map(|(id, _)| id.to_string()).collect();
    Ok(match missing.is_empty() {
        true if used.iter().all(|(id, _)| *id == current) => {
            ok(SUBJECT, format!("{count}, sealed with the key {current} of {}", keys.source()))
        }
        true => warning(SUBJECT, "a rotation was interrupted: run `plimsoll secrets rotate` again"),
        false => failure(
            SUBJECT,
            format!("{} lacks the keys {} that some are sealed with", keys.source(), missing.join(", ")),
        ),
    })
}
