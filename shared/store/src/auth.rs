//! Proofs of identity: who signs in, here or elsewhere, the keys that sign, and the first administrator.
//!
//! What follows a sign-in is in [`crate::sessions`], what programs show in [`crate::api_keys`]. No secret is kept in
//! the clear: signing keys are sealed ([`crate::secrets`]), passwords are Argon2id strings, everything else SHA-256. The
//! PKCE verifiers of sign-ins under way are there for ten minutes as they are: they are worth nothing without the code
//! that only the provider has. What must be asked before a tenant is known goes through the narrow SQL functions of the
//! migrations. Hashing and signing are the API's business.

use std::time::Duration;

use domain::id::{TenantId, UserId};
use runtime::secrets::{Keys, Place, Sealed};
use secrecy::SecretString;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    db::begin_transaction,
    error::Result,
    secrets,
    users::{AuthProvider, Role},
};

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
    #[sqlx(try_from = "String")]
    pub auth_provider: AuthProvider,
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
        "select tenant_id, id, username, email, role, is_instance_admin, auth_provider, password_hash, is_active
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

/// Somebody whom another place vouches for.
#[derive(Debug, Clone)]
pub struct ExternalIdentity<'a> {
    pub provider: AuthProvider,
    /// Who vouches, and what they call the person: the pair is the person, whatever else changes.
    pub issuer: &'a str,
    pub subject: &'a str,
    pub username: &'a str,
    pub email: &'a str,
    /// What the groups say that are kept there. `None`: the role is kept here, and new people only read.
    pub role: Option<Role>,
    /// The organization that new people are put into; the oldest one otherwise.
    pub organization: Option<&'a str>,
}

/// The account of `identity`, made when it is seen for the first time. `None` when its username or its e-mail address
/// belongs to somebody else, or when there is no such organization.
///
/// # Errors
/// When the database refuses, as it does to names and addresses of impossible length.
pub async fn account_of_identity(pool: &PgPool, identity: &ExternalIdentity<'_>) -> Result<Option<Account>> {
    let account = sqlx::query_as(
        "select tenant_id, id, username, email, role, is_instance_admin, auth_provider, password_hash, is_active
           from auth_sign_in_elsewhere($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(identity.provider.as_str())
    .bind(identity.issuer)
    .bind(identity.subject)
    .bind(UserId::new().0)
    .bind(identity.organization)
    .bind(identity.username)
    .bind(identity.email)
    .bind(identity.role.map(Role::as_str))
    .fetch_optional(pool)
    .await?;
    Ok(account)
}

/// What a sign-in that was sent to the OpenID provider has to come back with.
#[derive(Debug, Clone, FromRow)]
pub struct OidcSignIn {
    pub nonce: String,
    pub code_verifier: String,
}

/// Remembers a sign-in that is being sent to the OpenID provider, for `lifetime`.
///
/// # Errors
/// When the database refuses.
pub async fn remember_oidc_sign_in(
    pool: &PgPool,
    state_sha256: &[u8],
    sign_in: &OidcSignIn,
    lifetime: Duration,
) -> Result<()> {
    sqlx::query(
        "insert into oidc_sign_ins (state_hash, nonce, code_verifier, expires_at)
         values ($1, $2, $3, now() + make_interval(secs => $4))",
    )
    .bind(state_sha256)
    .bind(&sign_in.nonce)
    .bind(&sign_in.code_verifier)
    .bind(lifetime.as_secs_f64())
    .execute(pool)
    .await?;
    Ok(())
}

/// The sign-in that was sent out with this state, once.
///
/// # Errors
/// When the database refuses.
pub async fn take_oidc_sign_in(pool: &PgPool, state_sha256: &[u8]) -> Result<Option<OidcSignIn>> {
    let sign_in = sqlx::query_as(
        "with taken as (delete from oidc_sign_ins where state_hash = $1 returning nonce, code_verifier, expires_at)
         select nonce, code_verifier from taken where expires_at > now()",
    )
    .bind(state_sha256)
    .fetch_optional(pool)
    .await?;
    Ok(sign_in)
}

/// A key that signs access tokens.
#[derive(Debug, Clone)]
pub struct SigningKey {
    pub id: Uuid,
    pub secret: SecretString,
    /// Since it was made, seconds.
    pub age: f64,
    /// Since a newer one was made, seconds: it verifies what it signed until then, and signs no more.
    pub superseded: Option<f64>,
}

fn signing_key_place(row: &str) -> Place<'_> {
    secrets::place(None, "signing_keys", "secret", row)
}

/// Every signing key, the newest first.
///
/// # Errors
/// When the database cannot be reached, or one cannot be opened.
pub async fn signing_keys(pool: &PgPool, keys: &Keys) -> Result<Vec<SigningKey>> {
    #[derive(FromRow)]
    struct Row {
        id: Uuid,
        secret: Vec<u8>,
        secret_key: Vec<u8>,
        age: f64,
        superseded: Option<f64>,
    }
    let rows: Vec<Row> = sqlx::query_as(
        "select id, secret, secret_key,
                extract(epoch from now() - created_at)::double precision as age,
                extract(epoch from now() - lead(created_at) over (order by created_at, id))::double precision as superseded
           from signing_keys order by created_at desc, id desc",
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|Row { id, secret, secret_key, age, superseded }| {
            let sealed = Sealed { secret, key: secret_key };
            let secret = secrets::unseal(keys, &signing_key_place(&id.to_string()), &sealed)?;
            Ok(SigningKey { id, secret, age, superseded })
        })
        .collect()
}

/// Adds a signing key if there is none, or if the newest is older than `age`. Of many processes that call this at once,
/// one adds its key.
///
/// # Errors
/// When the database refuses, or the key cannot be sealed.
pub async fn add_signing_key(
    pool: &PgPool,
    keys: &Keys,
    id: Uuid,
    secret: &SecretString,
    age: Duration,
) -> Result<()> {
    let mut transaction = begin_transaction(pool, "begin").await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(SIGNING_KEY_LOCK).execute(&mut *transaction).await?;
    let sealed = secrets::seal(&mut transaction, keys, &signing_key_place(&id.to_string()), secret).await?;
    sqlx::query(
        "insert into signing_keys (id, secret, secret_key, created_at)
         select $1, $2, $3, clock_timestamp()
          where not exists (select from signing_keys where created_at > now() - make_interval(secs => $4))",
    )
    .bind(id)
    .bind(sealed.secret)
    .bind(sealed.key)
    .bind(age.as_secs_f64())
    .execute(&mut *transaction)
    .await?;
    Ok(transaction.commit().await?)
}

/// Signs with a new key from now on. With `forget_others` everything signed before is worthless at once. Returns
/// how many older keys still verify.
///
/// # Errors
/// When the database refuses, as it does to every login but the owner's, or the key cannot be sealed.
pub async fn rotate_signing_key(
    owner: &mut PgConnection,
    keys: &Keys,
    id: Uuid,
    secret: &SecretString,
    forget_others: bool,
) -> Result<i64> {
    let mut transaction = sqlx::Connection::begin(owner).await?;
    let sealed = secrets::seal(&mut transaction, keys, &signing_key_place(&id.to_string()), secret).await?;
    let left = sqlx::query_scalar(
        "with added as (insert into signing_keys (id, secret, secret_key, created_at)
                        values ($1, $2, $3, clock_timestamp())),
              forgotten as (delete from signing_keys where $4 returning id)
         select (select count(*) from signing_keys) - (select count(*) from forgotten)",
    )
    .bind(id)
    .bind(sealed.secret)
    .bind(sealed.key)
    .bind(forget_others)
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(left)
}
