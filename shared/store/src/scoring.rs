//! How much each source counts in the composite score. What the score is, is in `correlation::score`.

use domain::id::TenantId;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{db::TenantTx, error::Result};

/// The weight of a source until somebody changes it.
pub const DEFAULT_WEIGHT: f32 = 1.0;

/// A source and how much it counts.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct SourceWeight {
    pub slug: String,
    /// The format of its content, a word of `domain::source::FeedKind`.
    pub feed: String,
    pub enabled: bool,
    /// 0.0 to 10.0.
    pub priority_weight: f32,
}

/// All sources, by slug.
///
/// # Errors
/// When the database cannot be reached.
pub async fn list(connection: &mut PgConnection) -> Result<Vec<SourceWeight>> {
    let weights = sqlx::query_as("select slug, feed, enabled, priority_weight from sources order by slug")
        .fetch_all(connection)
        .await?;
    Ok(weights)
}

/// Gives the sources with these slugs these weights, from 0.0 to 10.0. Returns how many had another.
///
/// # Errors
/// When a weight is out of range.
pub async fn set(connection: &mut PgConnection, slugs: &[&str], weights: &[f32]) -> Result<u64> {
    let changed = sqlx::query(
        "update sources set priority_weight = new.weight
           from unnest($1::text[], $2::real[]) as new (slug, weight)
          where sources.slug = new.slug and sources.priority_weight <> new.weight",
    )
    .bind(slugs)
    .bind(weights)
    .execute(connection)
    .await?;
    Ok(changed.rows_affected())
}

/// Gives every source the default weight. Returns how many had another.
///
/// # Errors
/// When the database cannot be reached.
pub async fn reset(connection: &mut PgConnection) -> Result<u64> {
    let changed = sqlx::query("update sources set priority_weight = $1 where priority_weight <> $1")
        .bind(DEFAULT_WEIGHT)
        .execute(connection)
        .await?;
    Ok(changed.rows_affected())
}

/// The organizations that have findings to score, for an administrator of the installation: see [`TenantTx::see_installation`].
///
/// # Errors
/// When the database cannot be reached.
pub async fn tenants_with_assets(tx: &mut TenantTx) -> Result<Vec<TenantId>> {
    tx.see_installation().await?;
    let tenants: Vec<Uuid> = sqlx::query_scalar("select tenants_with_assets()").fetch_all(&mut **tx).await?;
    Ok(tenants.into_iter().map(TenantId).collect())
}
