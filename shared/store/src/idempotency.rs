//! Answers kept by `Idempotency-Key`, so that a request sent twice is done once.
//!
//! Both functions run in the transaction that does the work: the answer is there exactly when the work is.

use serde_json::Value;
use sqlx::{FromRow, PgConnection};

use crate::{db::TenantTx, error::Result};

/// Names one request of one tenant: which route, which key, and the SHA-256 of what was asked.
#[derive(Debug, Clone, Copy)]
pub struct RequestKey<'a> {
    pub route: &'a str,
    pub key: &'a str,
    pub request_sha256: &'a [u8],
}

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Answer {
    pub status: i16,
    pub location: Option<String>,
    pub body: Value,
}

/// Whether a request has been here before.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    Never,
    /// Within a day, and this was the answer.
    Before(Answer),
    /// The key was used within a day for something else.
    OtherRequest,
}

/// Looks the request up, and makes its copies wait until this transaction has ended.
///
/// # Errors
/// When the database cannot be reached.
pub async fn begin(tx: &mut TenantTx, request: RequestKey<'_>) -> Result<Seen> {
    let tenant = tx.tenant();
    hold(tx, &format!("{tenant} {} {}", request.route, request.key)).await?;
    let kept: Option<(Vec<u8>, i16, Option<String>, Value)> = sqlx::query_as(
        "select request_hash, status, location, body from idempotency_keys
          where tenant_id = $1 and route = $2 and key = $3 and created_at > now() - interval '24 hours'",
    )
    .bind(tenant.0)
    .bind(request.route)
    .bind(request.key)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(match kept {
        None => Seen::Never,
        Some((sha256, status, location, body)) if sha256 == request.request_sha256 => {
            Seen::Before(Answer { status, location, body })
        }
        Some(_) => Seen::OtherRequest,
    })
}

/// Keeps the answer to a request that [`begin`] had never seen.
///
/// # Errors
/// When the database refuses.
pub async fn finish(tx: &mut TenantTx, request: RequestKey<'_>, answer: &Answer) -> Result<()> {
    let tenant = tx.tenant();
    // What is older than a day has been purged or is about to be.
    sqlx::query("delete from idempotency_keys where tenant_id = $1 and route = $2 and key = $3")
        .bind(tenant.0)
        .bind(request.route)
        .bind(request.key)
        .execute(&mut **tx)
        .await?;
    sqlx::query(
        "insert into idempotency_keys (tenant_id, route, key, request_hash, status, location, body)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(tenant.0)
    .bind(request.route)
    .bind(request.key)
    .bind(request.request_sha256)
    .bind(answer.status)
    .bind(&answer.location)
    .bind(&answer.body)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Takes a lock by name until the transaction ends. Two names that hash alike merely wait for one another.
async fn hold(connection: &mut PgConnection, name: &str) -> Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(name)
        .execute(connection)
        .await?;
    Ok(())
}
