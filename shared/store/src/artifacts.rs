//! The condition of stored files, over all tenants.

use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::error::Result;

/// A stored file that is due for a look.
#[derive(Debug, Clone, FromRow)]
pub struct Unchecked {
    pub id: Uuid,
    pub storage_key: String,
    pub sha256: Vec<u8>,
}

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Sound,
    Damaged,
}

/// Files in the order in which they were last compared, at most `limit`.
///
/// # Errors
/// When the database cannot be reached.
pub async fn longest_unchecked(pool: &PgPool, limit: i64) -> Result<Vec<Unchecked>> {
    let files = sqlx::query_as(
        "select id, storage_key, sha256 from artifacts order by coalesce(checked_at, created_at), id limit $1",
    )
    .bind(limit)
    .fetch_all(pool)
    .await?;
    Ok(files)
}

/// Remembers what a look found. The first time a file was found damaged is kept until it is sound again.
///
/// # Errors
/// When the database refuses.
pub async fn record_check(pool: &PgPool, id: Uuid, condition: Condition) -> Result<()> {
    sqlx::query(
        "update artifacts
            set checked_at = now(), damaged_at = case when $2 then coalesce(damaged_at, now()) end
          where id = $1",
    )
    .bind(id)
    .bind(condition == Condition::Damaged)
    .execute(pool)
    .await?;
    Ok(())
}
