//! Keys that programs show: those of an organization, and personal tokens.
//!
//! Of the secret only the SHA-256 is known here. How a key is written, and what its scopes open, is the API's business.

use chrono::{DateTime, Utc};
use domain::{
    id::{ApiKeyId, UserId},
    page::{Direction, Page, PageRequest},
};
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::{
    db::TenantTx,
    error::{Error, Result, UnknownWord},
    paging,
    sql::Conditions,
    users::Role,
};

/// Whose a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The organization's: it outlives the account of whoever made it.
    Organization,
    /// A person's: it may never do more than they may, and nothing once they may not sign in.
    Personal,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Organization, Self::Personal];

    /// The word kept in the database and used in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Personal => "personal",
        }
    }
}

impl TryFrom<String> for Kind {
    type Error = UnknownWord;

    fn try_from(word: String) -> std::result::Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or(UnknownWord { what: "kind of key", word })
    }
}

/// A key, without its secret.
#[derive(Debug, Clone, FromRow)]
pub struct ApiKey {
    pub id: Uuid,
    #[sqlx(try_from = "String")]
    pub kind: Kind,
    pub name: String,
    /// The part of the key that is no secret.
    pub public_id: String,
    #[sqlx(try_from = "String")]
    pub role: Role,
    pub scopes: Vec<String>,
    /// Whose it is, or who made it.
    pub user_id: Uuid,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A key that is to be made.
#[derive(Debug, Clone)]
pub struct NewApiKey<'a> {
    pub kind: Kind,
    pub name: &'a str,
    pub public_id: &'a str,
    pub secret_sha256: [u8; 32],
    pub role: Role,
    pub scopes: &'a [String],
    pub user: UserId,
    pub expires_at: DateTime<Utc>,
}

/// Which keys to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    pub kind: Option<Kind>,
    pub user: Option<UserId>,
}

/// A page of keys, the newest first, revoked ones included.
///
/// # Errors
/// When the database cannot be reached.
pub async fn list(tx: &mut TenantTx, filter: Filter, page: PageRequest) -> Result<Page<ApiKey>> {
    let select = "select id, kind, name, public_id, role, scopes, user_id, created_at, expires_at, last_used_at, revoked_at
                    from api_keys";
    let mut keys = matching(tx, select, filter).page("created_at", Direction::Descending, "id", page);
    let items: Vec<ApiKey> = keys.build_query_as().fetch_all(&mut **tx).await?;
    let total = match paging::total_of_last_page(page, items.len()) {
        Some(total) => total,
        None => {
            let mut count = matching(tx, "select count(*) from api_keys", filter).query;
            count.build_query_scalar().fetch_one(&mut **tx).await?
        }
    };
    Ok(Page::new(items, total, page))
}

fn matching(tx: &TenantTx, select: &'static str, filter: Filter) -> Conditions {
    let mut conditions = Conditions::after(select);
    conditions.also().push("tenant_id = ").push_bind(tx.tenant().0);
    if let Some(kind) = filter.kind {
        conditions.also().push("kind = ").push_bind(kind.as_str());
    }
    if let Some(user) = filter.user {
        conditions.also().push("user_id = ").push_bind(user.0);
    }
    conditions
}

/// How many keys of a kind are in use: of one person, or of the whole organization.
///
/// # Errors
/// When the database cannot be reached.
pub async fn count_valid(tx: &mut TenantTx, filter: Filter) -> Result<i64> {
    let mut conditions = matching(tx, "select count(*) from api_keys", filter);
    conditions.also().push("revoked_at is null and expires_at > now()");
    Ok(conditions.query.build_query_scalar().fetch_one(&mut **tx).await?)
}

/// Keeps a new key.
///
/// # Errors
/// When the database refuses.
pub async fn insert(tx: &mut TenantTx, key: &NewApiKey<'_>) -> Result<ApiKey> {
    let tenant = tx.tenant();
    let key = sqlx::query_as(
        "insert into api_keys (tenant_id, id, kind, name, public_id, secret_hash, role, scopes, user_id, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         returning id, kind, name, public_id, role, scopes, user_id, created_at, expires_at, last_used_at, revoked_at",
    )
    .bind(tenant.0)
    .bind(ApiKeyId::new().0)
    .bind(key.kind.as_str())
    .bind(key.name)
    .bind(key.public_id)
    .bind(key.secret_sha256.as_slice())
    .bind(key.role.as_str())
    .bind(key.scopes)
    .bind(key.user.0)
    .bind(key.expires_at)
    .fetch_one(&mut **tx)
    .await?;
    Ok(key)
}

/// One key, of `owner` if one is named.
///
/// # Errors
/// [`Error::NotFound`] when this tenant, or this person, has none of that id.
pub async fn find(tx: &mut TenantTx, id: ApiKeyId, owner: Option<UserId>) -> Result<ApiKey> {
    let tenant = tx.tenant();
    let key = sqlx::query_as(
        "select id, kind, name, public_id, role, scopes, user_id, created_at, expires_at, last_used_at, revoked_at
           from api_keys
          where tenant_id = $1 and id = $2 and ($3::uuid is null or user_id = $3 and kind = 'personal')",
    )
    .bind(tenant.0)
    .bind(id.0)
    .bind(owner.map(|owner| owner.0))
    .fetch_one(&mut **tx)
    .await?;
    Ok(key)
}

/// Makes a key worthless. Revoking it again changes nothing.
///
/// # Errors
/// [`Error::NotFound`] when this tenant, or this person, has none of that id.
pub async fn revoke(tx: &mut TenantTx, id: ApiKeyId, owner: Option<UserId>) -> Result<ApiKey> {
    let tenant = tx.tenant();
    let key: Option<ApiKey> = sqlx::query_as(
        "update api_keys set revoked_at = coalesce(revoked_at, now())
          where tenant_id = $1 and id = $2 and ($3::uuid is null or user_id = $3 and kind = 'personal')
      returning id, kind, name, public_id, role, scopes, user_id, created_at, expires_at, last_used_at, revoked_at",
    )
    .bind(tenant.0)
    .bind(id.0)
    .bind(owner.map(|owner| owner.0))
    .fetch_optional(&mut **tx)
    .await?;
    key.ok_or(Error::NotFound)
}

/// A key that was shown, with the person behind it.
#[derive(Debug, Clone, FromRow)]
pub struct ShownKey {
    pub tenant_id: Uuid,
    pub id: Uuid,
    #[sqlx(try_from = "String")]
    pub kind: Kind,
    pub name: String,
    pub secret_hash: Vec<u8>,
    /// The most that the key may do.
    #[sqlx(try_from = "String")]
    pub key_role: Role,
    pub scopes: Vec<String>,
    pub expires_at: DateTime<Utc>,
    /// It was last noted as used more than a minute ago.
    pub is_stale: bool,
    pub user_id: Uuid,
    pub username: String,
    pub email: String,
    #[sqlx(try_from = "String")]
    pub role: Role,
    pub is_instance_admin: bool,
    pub is_active: bool,
}

/// The key of this public part, unless it is revoked or has expired. Whether the secret fits is still to be seen.
///
/// # Errors
/// When the database cannot be reached.
pub async fn shown(pool: &PgPool, public_id: &str) -> Result<Option<ShownKey>> {
    let key = sqlx::query_as(
        "select tenant_id, id, kind, name, secret_hash, key_role, scopes, expires_at, is_stale, user_id, username, email,
                role, is_instance_admin, is_active
           from auth_api_key($1)",
    )
    .bind(public_id)
    .fetch_optional(pool)
    .await?;
    Ok(key)
}

/// Notes that a key is used, at most once a minute.
///
/// # Errors
/// When the database refuses.
pub async fn record_use(tx: &mut TenantTx, id: ApiKeyId) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query(
        "update api_keys set last_used_at = now()
          where tenant_id = $1 and id = $2 and (last_used_at is null or last_used_at < now() - interval '1 minute')",
    )
    .bind(tenant.0)
    .bind(id.0)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
