//! Links that open a report's file without an account: those that people make, and what these have in common with those in the history of
//! reports ([`crate::report_links`]).

use chrono::{DateTime, Utc};
use domain::id::{ReportId, ShareId, TenantId, UserId};
use sha2::{Digest, Sha256};
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::{
    db::TenantTx,
    error::{Error, Result},
};

/// A link as it stands.
#[derive(Debug, Clone, FromRow)]
pub struct Share {
    pub id: Uuid,
    /// `share`: somebody made it; `history`: the history of reports shows it.
    pub kind: String,
    pub report_id: Uuid,
    pub created_by: Option<Uuid>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
    /// How often the file was fetched by it.
    pub opened_count: i64,
    pub last_opened_at: Option<DateTime<Utc>>,
}

/// What a link opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub tenant: TenantId,
    pub share: ShareId,
    pub report: ReportId,
}

/// What is kept of a link's secret.
#[must_use]
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Makes a link that holds for `hours`. `token_hash` is the SHA-256 of its secret, which is kept nowhere.
///
/// # Errors
/// [`Error::Conflict`] when there is no such report.
pub async fn insert(
    tx: &mut TenantTx,
    report: ReportId,
    token_hash: &[u8; 32],
    hours: i64,
    by: impl Into<Option<UserId>>,
) -> Result<Share> {
    let tenant = tx.tenant();
    let share = sqlx::query_as(
        "insert into shares (tenant_id, id, report_id, token_hash, created_by, expires_at)
         values ($1, $2, $3, $4, $5, now() + make_interval(hours => $6::bigint::integer))
      returning id, kind, report_id, created_by, created_at, expires_at, revoked_at, opened_count, last_opened_at",
    )
    .bind(tenant.0)
    .bind(ShareId::new().0)
    .bind(report.0)
    .bind(token_hash.as_slice())
    .bind(by.into().map(|user| user.0))
    .bind(hours)
    .fetch_one(&mut **tx)
    .await?;
    Ok(share)
}

/// The links of a report, the latest first.
///
/// # Errors
/// When the database cannot be reached.
pub async fn list(tx: &mut TenantTx, report: ReportId) -> Result<Vec<Share>> {
    let tenant = tx.tenant();
    let shares = sqlx::query_as(
        "select id, kind, report_id, created_by, created_at, expires_at, revoked_at, opened_count, last_opened_at
           from shares where tenant_id = $1 and report_id = $2 order by created_at desc, id limit 1000",
    )
    .bind(tenant.0)
    .bind(report.0)
    .fetch_all(&mut **tx)
    .await?;
    Ok(shares)
}

/// Ends a link.
///
/// # Errors
/// [`Error::NotFound`] when the report has none of that id.
pub async fn revoke(tx: &mut TenantTx, report: ReportId, id: ShareId) -> Result<()> {
    let tenant = tx.tenant();
    let revoked = sqlx::query(
        "update shares set revoked_at = coalesce(revoked_at, now())
          where tenant_id = $1 and report_id = $2 and id = $3",
    )
    .bind(tenant.0)
    .bind(report.0)
    .bind(id.0)
    .execute(&mut **tx)
    .await?;
    if revoked.rows_affected() == 0 { Err(Error::NotFound) } else { Ok(()) }
}

/// Ends all links of the tenant that still open something; how many those were.
///
/// # Errors
/// When the database refuses.
pub async fn revoke_all(tx: &mut TenantTx) -> Result<u64> {
    let tenant = tx.tenant();
    let revoked = sqlx::query(
        "update shares set revoked_at = now() where tenant_id = $1 and revoked_at is null and expires_at > now()",
    )
    .bind(tenant.0)
    .execute(&mut **tx)
    .await?;
    Ok(revoked.rows_affected())
}

/// What the link with this hash opens, before a tenant is known.
///
/// # Errors
/// [`Error::NotFound`] when it opens nothing: it has run out, was revoked, or never was.
pub async fn target(pool: &PgPool, token_hash: &[u8; 32]) -> Result<Target> {
    let (tenant, share, report): (Uuid, Uuid, Uuid) =
        sqlx::query_as("select tenant_id, share_id, report_id from share_target($1)")
            .bind(token_hash.as_slice())
            .fetch_one(pool)
            .await?;
    Ok(Target { tenant: TenantId(tenant), share: ShareId(share), report: ReportId(report) })
}

/// Remembers that the file was fetched by a link.
///
/// # Errors
/// When the database refuses.
pub async fn count(tx: &mut TenantTx, id: ShareId) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query(
        "update shares set opened_count = opened_count + 1, last_opened_at = now() where tenant_id = $1 and id = $2",
    )
    .bind(tenant.0)
    .bind(id.0)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
