//! Stored files: those of a report, and the condition of all, the frozen rows of long tables among them.

use domain::{
    document::Format,
    id::{ArtifactId, ReportId},
};
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::{blob::Stored, db::TenantTx, error::Result, reports::Artifact};

/// A file that was made and stored.
#[derive(Debug, Clone)]
pub struct Finished {
    pub format: Format,
    pub file_name: String,
    pub media_type: &'static str,
    /// For formats that have pages.
    pub page_count: Option<u32>,
    pub stored: Stored,
}

/// Records a file of a report. One that is made again takes the place of the one before, whose bytes are removed later.
///
/// # Errors
/// [`crate::Error::NotFound`] when the report was deleted meanwhile.
pub async fn record(tx: &mut TenantTx, report: ReportId, finished: &Finished) -> Result<ArtifactId> {
    let tenant = tx.tenant();
    let artifact = ArtifactId::new();
    let recorded = sqlx::query(
        "insert into artifacts (tenant_id, id, report_id, format, file_name, media_type, byte_count, sha256, storage_key)
         select tenant_id, $2, id, $4, $5, $6, $7, $8, $9 from reports where tenant_id = $1 and id = $3
         on conflict (report_id, format) do update
            set file_name = excluded.file_name, byte_count = excluded.byte_count, sha256 = excluded.sha256,
                storage_key = excluded.storage_key, created_at = now()",
    )
    .bind(tenant.0)
    .bind(artifact.0)
    .bind(report.0)
    .bind(finished.format.as_str())
    .bind(&finished.file_name)
    .bind(finished.media_type)
    .bind(finished.stored.byte_count)
    .bind(finished.stored.sha256.as_slice())
    .bind(&finished.stored.key)
    .execute(&mut **tx)
    .await?;
    if recorded.rows_affected() == 0 { Err(crate::Error::NotFound) } else { Ok(artifact) }
}

/// The report's file in `format`.
///
/// # Errors
/// [`crate::Error::NotFound`] when there is none (yet), or not for this tenant.
pub async fn in_format(tx: &mut TenantTx, report: ReportId, format: Format) -> Result<Artifact> {
    let tenant = tx.tenant();
    let artifact = sqlx::query_as(
        "select id, report_id, format, file_name, media_type, byte_count, sha256, storage_key, created_at
           from artifacts where tenant_id = $1 and report_id = $2 and format = $3",
    )
    .bind(tenant.0)
    .bind(report.0)
    .bind(format.as_str())
    .fetch_one(&mut **tx)
    .await?;
    Ok(artifact)
}

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
        "select id, storage_key, sha256
           from (select id, storage_key, sha256, coalesce(checked_at, created_at) as seen_at from artifacts
                 union all
                 select id, storage_key, sha256, coalesce(checked_at, created_at) from frozen_rows) as files
          order by seen_at, id limit $1",
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
        "with file as (
             update artifacts
                set checked_at = now(), damaged_at = case when $2 then coalesce(damaged_at, now()) end
              where id = $1
         )
         update frozen_rows
            set checked_at = now(), damaged_at = case when $2 then coalesce(damaged_at, now()) end
          where id = $1",
    )
    .bind(id)
    .bind(condition == Condition::Damaged)
    .execute(pool)
    .await?;
    Ok(())
}
