//! How an organization wants its reports of one type: options that hold for each of them unless its request says otherwise.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::{FromRow, types::Json};

use crate::{db::TenantTx, error::Result};

/// What was chosen for a type.
#[derive(Debug, Clone, FromRow)]
pub struct Style {
    /// Of a request's options, as it would name them.
    pub options: Json<Map<String, Value>>,
    pub changed_at: DateTime<Utc>,
}

/// What was chosen for reports of `report_type`.
///
/// # Errors
/// [`crate::Error::NotFound`] when nothing was.
pub async fn find(tx: &mut TenantTx, report_type: &str) -> Result<Style> {
    let tenant = tx.tenant();
    let style = sqlx::query_as(
        "select options, changed_at from report_styles where tenant_id = $1 and report_type = $2",
    )
    .bind(tenant.0)
    .bind(report_type)
    .fetch_one(&mut **tx)
    .await?;
    Ok(style)
}

/// Chooses, in the place of what was chosen before.
///
/// # Errors
/// When the database refuses.
pub async fn set(tx: &mut TenantTx, report_type: &str, options: &Map<String, Value>) -> Result<Style> {
    let tenant = tx.tenant();
    let style = sqlx::query_as(
        "insert into report_styles (tenant_id, report_type, options) values ($1, $2, $3)
         on conflict (tenant_id, report_type) do update set options = excluded.options, changed_at = now()
      returning options, changed_at",
    )
    .bind(tenant.0)
    .bind(report_type)
    .bind(Json(options))
    .fetch_one(&mut **tx)
    .await?;
    Ok(style)
}

/// Goes back to what the type itself looks like. That nothing was chosen is no error.
///
/// # Errors
/// When the database cannot be reached.
pub async fn reset(tx: &mut TenantTx, report_type: &str) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query("delete from report_styles where tenant_id = $1 and report_type = $2")
        .bind(tenant.0)
        .bind(report_type)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
