//! Sign-ins and what keeps them alive: refresh tokens, each good for one use, and the console's cookie.
//!
//! Whose session it is that a request names is asked in [`crate::session_lookup`]. A session is what an access token names. Ending it makes its access tokens, its refresh tokens and its cookie
//! worthless with the next request, on every node. Secrets are known here by their SHA-256 only.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::id::{SessionId, TenantId, UserId};
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::{db::TenantTx, error::Result};

/// Begins a session of `user`, over after `lifetime` whatever happens, and notes that the person signed in.
///
/// # Errors
/// When the database refuses.
pub async fn begin(tx: &mut TenantTx, user: UserId, lifetime: Duration) -> Result<SessionId> {
    let (tenant, id) = (tx.tenant(), SessionId::new());
    sqlx::query(
        "with seen as (update users set last_login_at = now() where tenant_id = $1 and id = $3)
         insert into sessions (tenant_id, id, user_id, expires_at)
         values ($1, $2, $3, now() + make_interval(secs => $4))",
    )
    .bind(tenant.0)
    .bind(id.0)
    .bind(user.0)
    .bind(lifetime.as_secs_f64())
    .execute(&mut **tx)
    .await?;
    Ok(id)
}

/// Ends a session. Ending it again changes nothing.
///
/// # Errors
/// When the database refuses.
pub async fn end(tx: &mut TenantTx, session: SessionId) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query("update sessions set ended_at = now() where tenant_id = $1 and id = $2 and ended_at is null")
        .bind(tenant.0)
        .bind(session.0)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Ends every session of `user` but `kept`.
///
/// # Errors
/// When the database refuses.
pub async fn end_all(tx: &mut TenantTx, user: UserId, kept: Option<SessionId>) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query(
        "update sessions set ended_at = now()
          where tenant_id = $1 and user_id = $2 and ended_at is null and id is distinct from $3",
    )
    .bind(tenant.0)
    .bind(user.0)
    .bind(kept.map(|kept| kept.0))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A session that a cookie stands for.
#[derive(Debug, Clone, FromRow)]
pub struct CookieSession {
    pub tenant_id: Uuid,
    pub id: Uuid,
    pub user_id: Uuid,
    pub expires_at: DateTime<Utc>,
}

/// Lets the cookie with this SHA-256 stand for the session, and no cookie before it.
///
/// # Errors
/// When the database refuses.
pub async fn set_cookie(tx: &mut TenantTx, session: SessionId, sha256: &[u8]) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query("update sessions set cookie_hash = $3 where tenant_id = $1 and id = $2 and ended_at is null")
        .bind(tenant.0)
        .bind(session.0)
        .bind(sha256)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The session that a cookie stands for, over or not.
///
/// # Errors
/// When the database cannot be reached.
pub async fn of_cookie(pool: &PgPool, sha256: &[u8]) -> Result<Option<CookieSession>> {
    let session = sqlx::query_as("select tenant_id, id, user_id, expires_at from auth_session_of_cookie($1)")
        .bind(sha256)
        .fetch_optional(pool)
        .await?;
    Ok(session)
}

/// Records a refresh token of a session, good for one use within `lifetime`.
///
/// # Errors
/// When the database refuses.
pub async fn insert_refresh_token(
    tx: &mut TenantTx,
    session: SessionId,
    sha256: &[u8],
    lifetime: Duration,
) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query(
        "insert into refresh_tokens (tenant_id, token_hash, session_id, expires_at)
         values ($1, $2, $3, now() + make_interval(secs => $4))",
    )
    .bind(tenant.0)
    .bind(sha256)
    .bind(session.0)
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
        session: SessionId,
    },
    /// It was used before: somebody has a copy, and its session has just been ended.
    Reused {
        user: UserId,
    },
    /// Expired, ended or unknown.
    Worthless,
}

/// Uses a refresh token, once. The transaction is to be committed whatever the answer.
///
/// # Errors
/// When the database refuses.
pub async fn redeem_refresh_token(tx: &mut TenantTx, sha256: &[u8]) -> Result<Redeemed> {
    let tenant = tx.tenant();
    let used: Option<(Uuid, Uuid)> = sqlx::query_as(
        "update refresh_tokens t set used_at = now()
           from sessions s
          where t.tenant_id = $1 and t.token_hash = $2 and t.used_at is null and t.expires_at > now()
            and s.tenant_id = t.tenant_id and s.id = t.session_id and s.ended_at is null and s.expires_at > now()
      returning s.user_id, s.id",
    )
    .bind(tenant.0)
    .bind(sha256)
    .fetch_optional(&mut **tx)
    .await?;
    if let Some((user, session)) = used {
        return Ok(Redeemed::Valid { user: UserId(user), session: SessionId(session) });
    }
    let spent: Option<Uuid> = sqlx::query_scalar(
        "with spent as (
             select s.tenant_id, s.id, s.user_id
               from refresh_tokens t join sessions s on s.tenant_id = t.tenant_id and s.id = t.session_id
              where t.tenant_id = $1 and t.token_hash = $2 and t.used_at is not null
         ), ended as (
             update sessions s set ended_at = now()
               from spent where s.tenant_id = spent.tenant_id and s.id = spent.id and s.ended_at is null
         )
         select user_id from spent",
    )
    .bind(tenant.0)
    .bind(sha256)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(spent.map_or(Redeemed::Worthless, |user| Redeemed::Reused { user: UserId(user) }))
}
