//! The keys that sources ask for, sealed: at most one each.

use std::collections::BTreeSet;

use domain::id::SourceId;
use runtime::secrets::{Keys, Place, Sealed};
use secrecy::SecretString;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{error::Result, secrets};

/// Keeps a key, instead of the one that was there.
///
/// # Errors
/// When the database refuses, or the key cannot be sealed.
pub async fn put(
    connection: &mut PgConnection,
    keys: &Keys,
    source: SourceId,
    key: &SecretString,
) -> Result<()> {
    let row = source.to_string();
    let sealed = secrets::seal(connection, keys, &place(&row), key).await?;
    sqlx::query(
        "insert into source_keys (source_id, secret, secret_key) values ($1, $2, $3)
         on conflict (source_id) do update set secret = excluded.secret, secret_key = excluded.secret_key",
    )
    .bind(source.0)
    .bind(sealed.secret)
    .bind(sealed.key)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets a key, if there is one.
///
/// # Errors
/// When the database refuses.
pub async fn delete(connection: &mut PgConnection, source: SourceId) -> Result<()> {
    sqlx::query("delete from source_keys where source_id = $1").bind(source.0).execute(connection).await?;
    Ok(())
}

/// The key of a source, to be used and not to be shown.
///
/// # Errors
/// [`crate::Error::Secret`] when it cannot be opened.
pub async fn get(
    connection: &mut PgConnection,
    keys: &Keys,
    source: SourceId,
) -> Result<Option<SecretString>> {
    let kept: Option<(Vec<u8>, Vec<u8>)> =
        sqlx::query_as("select secret, secret_key from source_keys where source_id = $1")
            .bind(source.0)
            .fetch_optional(connection)
            .await?;
    let row = source.to_string();
    kept.map(|(secret, key)| secrets::unseal(keys, &place(&row), &Sealed { secret, key })).transpose()
}

/// Which sources have one.
///
/// # Errors
/// When the database cannot be reached.
pub async fn kept(connection: &mut PgConnection) -> Result<BTreeSet<Uuid>> {
    let ids: Vec<Uuid> =
        sqlx::query_scalar("select source_id from source_keys").fetch_all(connection).await?;
    Ok(ids.into_iter().collect())
}

fn place(row: &str) -> Place<'_> {
    secrets::place(None, "source_keys", "secret", row)
}
