//! Sealed secrets and the keys they are sealed with: which one is current, whether ours is the right one, and how all are changed to another.
//!
//! Encrypting is [`runtime::secrets`]'s. A secret is two columns, of the domains `sealed_secret` and `wrapped_key`; [`rotate`] finds the latter
//! wherever they are. Whoever stores a secret calls [`seal`] in the transaction that does, and reads it with [`unseal`].

use std::{collections::BTreeMap, time::Duration};

use domain::id::TenantId;
pub use runtime::secrets::Sealed;
use runtime::secrets::{KeyId, Keys, Place, SecretError, wrapped_with};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use crate::error::{Error, Result};

/// Held, shared, by transactions that seal, so that none is under way with the old key when a rotation has made another the current one.
const CURRENT_KEY_LOCK: i64 = 7_202_611_220_011;
/// Held by the one rotation that there may be.
const ROTATION_LOCK: i64 = 7_202_611_220_012;
/// How many data keys are wrapped anew in one transaction.
const BATCH: i64 = 500;

/// How often a database that is away is asked again.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// What the check value of each key says.
const CHECK: &[u8] = b"plimsoll";

/// Where a secret of `tenant`, or of the installation, stands.
#[must_use]
pub fn place<'a>(
    tenant: Option<TenantId>,
    table: &'static str,
    column: &'static str,
    row: &'a str,
) -> Place<'a> {
    Place { tenant: tenant.map(|tenant| tenant.0.into_bytes()), table, column, row }
}

/// Seals `secret` for `place` with the current key. Until the transaction ends that stays the current one.
///
/// # Errors
/// [`Error::Secret`] when this process does not have that key.
pub async fn seal(
    connection: &mut PgConnection,
    keys: &Keys,
    place: &Place<'_>,
    secret: &SecretString,
) -> Result<Sealed> {
    sqlx::query("select pg_advisory_xact_lock_shared($1)")
        .bind(CURRENT_KEY_LOCK)
        .execute(&mut *connection)
        .await?;
    let current = current_key(connection, keys).await?;
    Ok(keys.seal(current, place, secret.expose_secret().as_bytes())?)
}

/// The secret that was sealed for `place`.
///
/// # Errors
/// [`Error::Secret`] when this process does not have the key, or it is not what was sealed there.
pub fn unseal(keys: &Keys, place: &Place<'_>, sealed: &Sealed) -> Result<SecretString> {
    let secret = String::from_utf8(keys.unseal(place, sealed)?).map_err(|_| SecretError::Damaged)?;
    Ok(secret.into())
}

/// The key that new secrets are sealed with. The first process registers its own.
pub(crate) async fn current_key(connection: &mut PgConnection, keys: &Keys) -> Result<KeyId> {
    const CURRENT: &str = "select id from secret_keys where is_current";
    let current: Option<Vec<u8>> = sqlx::query_scalar(CURRENT).fetch_optional(&mut *connection).await?;
    if let Some(id) = current {
        return Ok(KeyId::try_from(&id[..])?);
    }
    register(connection, keys, keys.newest(), true).await?;
    let id: Vec<u8> = sqlx::query_scalar(CURRENT).fetch_one(&mut *connection).await?;
    Ok(KeyId::try_from(&id[..])?)
}

async fn register(connection: &mut PgConnection, keys: &Keys, id: KeyId, is_current: bool) -> Result<()> {
    let row = id.to_string();
    let check = keys.seal(id, &check_place(&row), CHECK)?;
    sqlx::query(
        "insert into secret_keys (id, check_value, check_key, is_current) values ($1, $2, $3, $4) on conflict do nothing",
    )
    .bind(id.0.as_slice())
    .bind(check.secret)
    .bind(check.key)
    .bind(is_current)
    .execute(connection)
    .await?;
    Ok(())
}

fn check_place(row: &str) -> Place<'_> {
    place(None, "secret_keys", "check_value", row)
}

/// Whether `keys` are those that the database's secrets are sealed with. A database without any gets the newest of them.
///
/// # Errors
/// [`SecretError::WrongKey`], for whoever started the process, when they are not.
pub async fn check(connection: &mut PgConnection, keys: &Keys) -> Result<()> {
    let current = current_key(connection, keys).await?;
    match proves_right(connection, keys, current).await? {
        true => Ok(()),
        false => Err(keys.are_wrong(current).into()),
    }
}

/// Resolves only if `keys` are not the right ones. As long as the database is away nobody knows.
pub async fn watch(pool: &PgPool, keys: &Keys) -> Error {
    loop {
        let checked = async { check(&mut *pool.acquire().await?, keys).await };
        match checked.await {
            Ok(()) => return std::future::pending().await,
            Err(error) if error.is_transient() => {
                runtime::complain!(%error, "cannot find out yet whether the keys for secrets are the right ones");
                tokio::time::sleep(ASK_EVERY).await;
            }
            Err(error) => return error,
        }
    }
}

async fn proves_right(connection: &mut PgConnection, keys: &Keys, id: KeyId) -> Result<bool> {
    let (secret, key): (Vec<u8>, Vec<u8>) =
        sqlx::query_as("select check_value, check_key from secret_keys where id = $1")
            .bind(id.0.as_slice())
            .fetch_one(connection)
            .await?;
    let row = id.to_string();
    match keys.unseal(&check_place(&row), &Sealed { secret, key }) {
        Ok(said) => Ok(said == CHECK),
        Err(SecretError::UnknownKey(_) | SecretError::Refused | SecretError::Damaged) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The columns of wrapped data keys, quoted: table, column.
async fn columns(connection: &mut PgConnection) -> Result<Vec<(String, String)>> {
    let columns = sqlx::query_as(
        "select quote_ident(c.relname), quote_ident(a.attname)
           from pg_attribute a join pg_class c on c.oid = a.attrelid
          where a.atttypid = 'wrapped_key'::regtype and c.relkind in ('r', 'p') and not a.attisdropped
          order by 1, 2",
    )
    .fetch_all(connection)
    .await?;
    Ok(columns)
}

/// How many secrets are sealed with each key. As a role that sees every tenant.
///
/// # Errors
/// When the database cannot be reached.
pub async fn in_use(connection: &mut PgConnection) -> Result<Vec<(KeyId, i64)>> {
    let mut found = BTreeMap::<KeyId, i64>::new();
    for (table, column) in columns(connection).await? {
        let query = format!(
            "select substring({column} from 2 for 8), count(*) from {table} where {column} is not null group by 1"
        );
        let counts: Vec<(Vec<u8>, i64)> =
            sqlx::query_as(AssertSqlSafe(query)).fetch_all(&mut *connection).await?;
        for (id, count) in counts {
            *found.entry(KeyId::try_from(&id[..])?).or_default() += count;
        }
    }
    Ok(found.into_iter().collect())
}

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    pub from: KeyId,
    pub to: KeyId,
    /// Data keys that were wrapped anew.
    pub wrapped: u64,
}

/// Makes `to` the current key and wraps every data key with it, in batches, while everything goes on.
///
/// Interrupted, it is taken up by the next call. The keys before it are not needed after it has ended. Of several at once one waits for the
/// other.
///
/// # Errors
/// [`Error::Secret`] when a key is missing.
pub async fn rotate(connection: &mut PgConnection, keys: &Keys, to: KeyId) -> Result<Rotated> {
    sqlx::query("select pg_advisory_lock($1)").bind(ROTATION_LOCK).execute(&mut *connection).await?;
    let rotated = rotate_alone(connection, keys, to).await;
    // The lock ends with the connection too, so nothing is lost if this fails.
    let _ = sqlx::query("select pg_advisory_unlock($1)").bind(ROTATION_LOCK).execute(&mut *connection).await;
    rotated
}

async fn rotate_alone(connection: &mut PgConnection, keys: &Keys, to: KeyId) -> Result<Rotated> {
    let from = current_key(connection, keys).await?;
    if from != to {
        let mut tx = connection.begin().await?;
        // Waits for those who are sealing.
        sqlx::query("select pg_advisory_xact_lock($1)").bind(CURRENT_KEY_LOCK).execute(&mut *tx).await?;
        make_current(&mut tx, keys, to).await?;
        tx.commit().await?;
    }
    let mut wrapped = 0;
    for (table, column) in columns(connection).await? {
        loop {
            let count = rewrap_batch(connection, keys, to, &table, &column).await?;
            wrapped += count;
            if count == 0 {
                break;
            }
        }
    }
    Ok(Rotated { from, to, wrapped })
}

/// A wrapped key is random, so it names its row. One that was replaced meanwhile was wrapped with `to`, and is let alone.
async fn rewrap_batch(
    connection: &mut PgConnection,
    keys: &Keys,
    to: KeyId,
    table: &str,
    column: &str,
) -> Result<u64> {
    let query = format!(
        "select {column} from {table}
          where {column} is not null and substring({column} from 2 for 8) <> $1 limit $2"
    );
    let old: Vec<Vec<u8>> = sqlx::query_scalar(AssertSqlSafe(query))
        .bind(to.0.as_slice())
        .bind(BATCH)
        .fetch_all(&mut *connection)
        .await?;
    let mut new = Vec::with_capacity(old.len());
    for wrapped in &old {
        debug_assert!(wrapped_with(wrapped).is_ok_and(|with| with != to));
        new.push(keys.rewrap(to, wrapped)?);
    }
    let update = format!(
        "update {table} as kept set {column} = made.new
           from unnest($1::bytea[], $2::bytea[]) as made (old, new)
          where kept.{column} = made.old"
    );
    sqlx::query(AssertSqlSafe(update)).bind(&old).bind(&new).execute(connection).await?;
    Ok(old.len() as u64)
}

/// The current key, if the database has one yet.
///
/// # Errors
/// When the database cannot be reached.
pub async fn current(connection: &mut PgConnection) -> Result<Option<KeyId>> {
    let id: Option<Vec<u8>> =
        sqlx::query_scalar("select id from secret_keys where is_current").fetch_optional(connection).await?;
    Ok(id.map(|id| KeyId::try_from(&id[..])).transpose()?)
}

/// What is given up in each table when the key is lost that $1 names among others.
const GIVEN_UP: &[(&str, &str)] = &[
    (
        "integration_secrets",
        "delete from integration_secrets where substring(secret_key from 2 for 8) = any ($1)",
    ),
    ("signing_keys", "delete from signing_keys where substring(secret_key from 2 for 8) = any ($1)"),
    ("source_keys", "delete from source_keys where substring(secret_key from 2 for 8) = any ($1)"),
    (
        "webhooks",
        "update webhooks set secret = null, secret_key = null, enabled = false,
                disabled_reason = 'its secret was lost: register it again'
          where substring(secret_key from 2 for 8) = any ($1)",
    ),
];

/// Gives up every secret that was sealed with a key which is not among `keys`, whose newest is the current one then. Returns how many
/// secrets that were.
///
/// # Errors
/// When the database refuses, as it does to roles that do not see every tenant.
pub async fn forget(connection: &mut PgConnection, keys: &Keys) -> Result<u64> {
    let mut tx = connection.begin().await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(CURRENT_KEY_LOCK).execute(&mut *tx).await?;
    let current = current_key(&mut tx, keys).await?;
    if !keys.has(current) {
        make_current(&mut tx, keys, keys.newest()).await?;
    }
    let lost = in_use(&mut tx).await?.into_iter().map(|(id, _)| id).filter(|id| !keys.has(*id));
    let lost: Vec<Vec<u8>> = lost.map(|id| id.0.to_vec()).collect();
    let mut given_up = 0;
    for (_, statement) in GIVEN_UP {
        given_up += sqlx::query(*statement).bind(&lost).execute(&mut *tx).await?.rows_affected();
    }
    tx.commit().await?;
    Ok(given_up)
}

async fn make_current(connection: &mut PgConnection, keys: &Keys, id: KeyId) -> Result<()> {
    register(connection, keys, id, false).await?;
    sqlx::query("update secret_keys set is_current = false where is_current")
        .execute(&mut *connection)
        .await?;
    sqlx::query("update secret_keys set is_current = true where id = $1")
        .bind(id.0.as_slice())
        .execute(connection)
        .await?;
    Ok(())
}

/// The tables with secrets, and those that [`forget`] knows.
///
/// # Errors
/// When the database cannot be reached.
pub async fn tables(connection: &mut PgConnection) -> Result<(Vec<String>, Vec<&'static str>)> {
    let found = columns(connection).await?.into_iter().map(|(table, _)| table).collect();
    Ok((found, GIVEN_UP.iter().map(|(table, _)| *table).collect()))
}
