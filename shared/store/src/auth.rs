//! Proofs of identity: passwords on their way in, refresh tokens, signing keys, and the first administrator.
//!
//! Nothing here is known in the clear: passwords are Argon2id strings, refresh tokens SHA-256. What must be
//! asked before a tenant is known goes through the narrow SQL functions of the first migration. Hashing and
//! signing are the API's business.

use std::time::Duration;

use domain::id::{TenantId, UserId};
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use crate::{db::TenantTx, error::Result, users::Role};

/// Taken while the first signing key is made, so that processes that start together agree on one.
const SIGNING_KEY_LOCK: i64 = 7_202_611_210_002;

/// A person as far as signing in goes.
#[derive(Debug, Clone, FromRow)]
pub struct Account {
    pub tenant_id: Uuid,
    pub id: Uuid,
    pub username: String,
    pub email: String,
    #[sqlx(try_from = "String")]
    pub role: Role,
    pub is_instance_admin: bool,
    /// PHC string; none for people who sign in elsewhere.
    pub password_hash: Option<String>,
    pub is_active: bool,
}

/// The person who signs in as `login`, upper and lower case being the same.
///
/// # Errors
/// When the database cannot be reached.
pub async fn account_by_login(pool: &PgPool, login: &str) -> Result<Option<Account>> {
    let account = sqlx::query_as(
        "select tenant_id, id, username, email, role, is_instance_admin, password_hash, is_active
           from auth_user_by_login($1)",
    )
    .bind(login)
    .fetch_optional(pool)
    .await?;
    Ok(account)
}

/// How far the first-run set-up is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setup {
    Done,
    /// Still to be done. With a hash, by whoever knows the token of which this is the SHA-256.
    Open {
        token_sha256: Option<Vec<u8>>,
    },
}

/// Whether there is an administrator yet.
///
/// # Errors
/// When the database cannot be reached.
pub async fn setup(pool: &PgPool) -> Result<Setup> {
    let (done, token_sha256): (bool, Option<Vec<u8>>) =
        sqlx::query_as("select auth_is_set_up(), (select setup_token_hash from installation)")
            .fetch_one(pool)
            .await?;
    Ok(if done { Setup::Done } else { Setup::Open { token_sha256 } })
}

/// Lets whoever knows the token with this SHA-256 do the set-up, and nobody who was given one before. False when it is done.
///
/// # Errors
/// When the database refuses, as it does to every login but the owner's.
pub async fn replace_setup_token(owner: &mut PgConnection, sha256: &[u8]) -> Result<bool> {
    let updated = sqlx::query("update installation set setup_token_hash = $1 where set_up_at is null")
        .bind(sha256)
        .execute(owner)
        .await?;
    Ok(updated.rows_affected() > 0)
}

/// The first tenant and its administrator.
#[derive(Debug, Clone)]
pub struct FirstAdministrator<'a> {
    pub tenant_id: TenantId,
    pub tenant_slug: &'a str,
    pub organization: &'a str,
    pub user_id: UserId,
    pub username: &'a str,
    pub email: &'a str,
    pub password_hash: &'a str,
}

/// Creates the first tenant and its administrator. False when somebody else was first.
///
/// # Errors
/// When the database refuses.
pub async fn set_up(pool: &PgPool, first: &FirstAdministrator<'_>) -> Result<bool> {
    let won = sqlx::query_scalar("select auth_set_up($1, $2, $3, $4, $5, $6, $7)")
        .bind(first.tenant_id.0)
        .bind(first.tenant_slug)
        .bind(first.organization)
        .bind(first.user_id.0)
        .bind(first.username)
        .bind(first.email)
        .bind(first.password_hash)
        .fetch_one(pool)
        .await?;
    Ok(won)
}

/// A key that signs access tokens.
#[derive(Clone, FromRow)]
pub struct SigningKey {
    pub id: Uuid,
    pub secret: Vec<u8>,
    /// Retired keys verify what they signed, and sign no more.
    pub retired: bool,
}

/// Every signing key, the newest first.
///
/// # Errors
/// When the database cannot be reached.
pub async fn signing_keys(pool: &PgPool) -> Result<Vec<SigningKey>> {
    let keys = sqlx::query_as(
        "select id, secret, retired_at is not null as retired from signing_keys order by created_at desc, id desc",
    )
    .fetch_all(pool)
    .await?;
    Ok(keys)
}

/// Adds a signing key unless there is one that may sign. Of many processes that call this at once, one adds
/// its key.
///
/// # Errors
/// When the database refuses.
pub async fn add_signing_key_if_none(pool: &PgPool, id: Uuid, secret: &[u8]) -> Result<()> {
    let mut transaction = pool.begin().await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(SIGNING_KEY_LOCK).execute(&mut *transaction).await?;
    sqlx::query(
        "insert into signing_keys (id, secret)
         select $1, $2 where not exists (select from signing_keys where retired_at is null)",
    )
    .bind(id)
    .bind(secret)
    .execute(&mut *transaction)
    .await?;
    Ok(transaction.commit().await?)
}

/// Records a refresh token of `user`. Tokens that came from one sign-in, each from the one before, share a
/// family.
///
/// # Errors
/// When the database refuses.
pub async fn insert_refresh_token(
    tx: &mut TenantTx,
    user: UserId,
    family: Uuid,
    sha256: &[u8],
    lifetime: Duration,
) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query(
        "insert into refresh_tokens (tenant_id, token_hash, family_id, user_id, expires_at)
         values ($1, $2, $3, $4, now() + make_interval(secs => $5))",
    )
    .bind(tenant.0)
    .bind(sha256)
    .bind(family)
    .bind(user.0)
    .bind(lifetime.as_secs_f64())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whose refresh token this is, used or not; `None` when we never gave it out.
///
/// # Errors
/// When the database cannot be reached.
pub async fn tenant_of_refresh_token(pool: &PgPool, sha256: &[u8]) -> Result<Option<TenantId>> {
    let tenant: Option<Uuid> =
        sqlx::query_scalar("select auth_tenant_of_refresh_token($1)").bind(sha256).fetch_one(pool).await?;
    Ok(tenant.map(TenantId))
}

/// What a refresh token was good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redeemed {
    Valid {
        user: UserId,
        family: Uuid,
    },
    /// It was used before: somebody has a copy, and its whole family has just been revoked.
    Reused {
        user: UserId,
    },
    /// Expired, revoked or unknown.
    Worthless,
}

/// Uses a refresh token, once. The transaction is to be committed whatever the answer.
///
/// # Errors
/// When the database refuses.
pub async fn redeem_refresh_token(tx: &mut TenantTx, sha256: &[u8]) -> Result<Redeemed> {
    let tenant = tx.tenant();
    let used: Option<(Uuid, Uuid)> = sqlx::query_as(
        "update refresh_tokens set used_at = now()
          where tenant_id = $1 and token_hash = $2
            and used_at is null and revoked_at is null and expires_at > now()
      returning user_id, family_id",
    )
    .bind(tenant.0)
    .bind(sha256)
    .fetch_optional(&mut **tx)
    .await?;
    if let Some((user, family)) = used {
        return Ok(Redeemed::Valid { user: UserId(user), family });
    }
    let spent: Option<Uuid> = sqlx::query_scalar(
        "with spent as (
             select tenant_id, family_id, user_id from refresh_tokens
              where tenant_id = $1 and token_hash = $2 and used_at is not null
         ), revoked as (
             update refresh_tokens t set revoked_at = now()
               from spent where t.tenant_id = spent.tenant_id and t.family_id = spent.family_id and t.revoked_at is null
         )
         select user_id from spent",
    )
    .bind(tenant.0)
    .bind(sha256)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(spent.map_or(Redeemed::Worthless, |user| Redeemed::Reused { user: UserId(user) }))
}
