//! Links in the history of reports: each opens the file of one report without an account, for as long as seed 002's example shows.
//!
//! They are rows of `shares`, listed, counted and revoked as those that people make ([`crate::shares`]). What is their own: the history shows a
//! link as often as it is asked for, and the hash of its token is all that is kept. So the token is not drawn but derived, from the key that
//! secrets are sealed with, of report and end ([`runtime::secrets::Keys::token`]). Who opens a link needs the hash alone: a link goes on when
//! another key has become the current one, and the history shows another from then on. Where one was revoked, no other is made.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::id::{ReportId, ShareId, TenantId, UserId};
use runtime::secrets::Keys;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    db::TenantTx,
    error::Result,
    secrets,
    shares::{self, Target},
};

/// The link that a report's history shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub report: ReportId,
    /// At most 744 hours from now.
    pub expires_at: DateTime<Utc>,
}

/// What a link opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub target: Target,
    /// It did open it: its time is over.
    pub has_run_out: bool,
}

/// What becomes of links that are not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// They are made in this name.
    Make(Option<UserId>),
    /// Nothing may be written now: they stay missing.
    Leave,
}

/// The tokens of the links that are `wanted`, those `missing` among them if they are made. A report that was deleted meanwhile has none, and
/// none is made for one of whose links was revoked.
///
/// # Errors
/// [`crate::Error::Secret`] when this process does not have the current key.
pub async fn tokens(
    tx: &mut TenantTx,
    keys: &Keys,
    wanted: &[Wanted],
    missing: Missing,
) -> Result<HashMap<ReportId, String>> {
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let tenant = tx.tenant();
    let key = secrets::current_key(tx, keys).await?;
    let mut tokens = HashMap::with_capacity(wanted.len());
    for Wanted { report, expires_at } in wanted {
        let row = format!("{report} {}", expires_at.timestamp_micros());
        let place = secrets::place(Some(tenant), "shares", "token_hash", &row);
        tokens.insert(*report, hex::encode(keys.token(key, &place)?));
    }
    let reports: Vec<Uuid> = wanted.iter().map(|link| link.report.0).collect();
    let hashes: Vec<Vec<u8>> =
        wanted.iter().map(|link| shares::hash(&tokens[&link.report]).to_vec()).collect();
    if let Missing::Make(by) = missing {
        make(tx, wanted, &reports, &hashes, by).await?;
    }
    let opening: Vec<Uuid> = sqlx::query_scalar(
        "select report_id from shares
          where tenant_id = $1 and report_id = any ($2) and token_hash = any ($3) and revoked_at is null",
    )
    .bind(tenant.0)
    .bind(&reports)
    .bind(&hashes)
    .fetch_all(&mut **tx)
    .await?;
    tokens.retain(|report, _| opening.contains(&report.0));
    Ok(tokens)
}

/// Makes the links that are not there yet, whoever else does so at the same time.
async fn make(
    tx: &mut TenantTx,
    wanted: &[Wanted],
    reports: &[Uuid],
    hashes: &[Vec<u8>],
    by: Option<UserId>,
) -> Result<()> {
    let tenant = tx.tenant();
    let ids: Vec<Uuid> = wanted.iter().map(|_| ShareId::new().0).collect();
    let ends: Vec<DateTime<Utc>> = wanted.iter().map(|link| link.expires_at).collect();
    // A report may have been finished after this transaction began, or by the clock of another server: its link is not older than it. In one
    // order, so that of two who make the same links neither waits for the other in turn.
    sqlx::query(
        "insert into shares (tenant_id, id, kind, report_id, token_hash, created_by, created_at, expires_at)
         select $1, made.id, 'history', made.report_id, made.token_hash, $2,
                greatest(clock_timestamp(), made.expires_at - interval '744 hours'), made.expires_at
           from unnest($3::uuid[], $4::uuid[], $5::bytea[], $6::timestamptz[]) as made (id, report_id, token_hash, expires_at)
           join reports r on r.tenant_id = $1 and r.id = made.report_id
          where not exists (select from shares s
                             where s.tenant_id = $1 and s.report_id = made.report_id and s.kind = 'history'
                               and (s.token_hash = made.token_hash or s.revoked_at is not null))
          order by made.token_hash
            for key share of r
             on conflict (token_hash) do nothing",
    )
    .bind(tenant.0)
    .bind(by.map(|user| user.0))
    .bind(&ids)
    .bind(reports)
    .bind(hashes)
    .bind(&ends)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What the link with this hash opens of `report`, before a tenant is known.
///
/// # Errors
/// [`crate::Error::NotFound`] when it never did, or was revoked.
pub async fn find(pool: &PgPool, report: ReportId, token_hash: &[u8; 32]) -> Result<Found> {
    let (tenant, share, has_run_out): (Uuid, Uuid, bool) =
        sqlx::query_as("select tenant_id, share_id, has_run_out from report_link_target($1, $2)")
            .bind(token_hash.as_slice())
            .bind(report.0)
            .fetch_one(pool)
            .await?;
    let target = Target { tenant: TenantId(tenant), share: ShareId(share), report };
    Ok(Found { target, has_run_out })
}
