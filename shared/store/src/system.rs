//! The installation as a whole: whether it is being maintained, and how its database is.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor};

use crate::error::Result;

/// Whether nothing may be changed for now.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Maintenance {
    pub enabled: bool,
    /// Since when it is as it is.
    pub changed_at: DateTime<Utc>,
}

/// As it is.
///
/// # Errors
/// When the database cannot be reached.
pub async fn maintenance(db: impl PgExecutor<'_>) -> Result<Maintenance> {
    Ok(sqlx::query_as("select enabled, changed_at from maintenance").fetch_one(db).await?)
}

/// Begins or ends it, or with `None` does whichever can be done.
///
/// While it lasts the API refuses changes, and workers begin nothing: those that work are quieted within some seconds, those that start
/// begin quiet. Its end lets all quiet ones work again.
///
/// # Errors
/// When the database cannot be reached.
pub async fn set_maintenance(connection: &mut PgConnection, enabled: Option<bool>) -> Result<Maintenance> {
    sqlx::query(
        "update maintenance set enabled = coalesce($1, not enabled), changed_at = now()
          where enabled is distinct from $1",
    )
    .bind(enabled)
    .execute(&mut *connection)
    .await?;
    maintenance(connection).await
}

/// What Postgres says of itself.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Database {
    pub version: String,
    pub size_bytes: i64,
    /// Of all programs to this database.
    pub connections: i64,
    pub max_connections: i32,
}

/// How the database is.
///
/// # Errors
/// When it cannot be reached.
pub async fn database(db: impl PgExecutor<'_>) -> Result<Database> {
    let database = sqlx::query_as(
        "select current_setting('server_version') as version, pg_database_size(current_database()) as size_bytes,
                (select count(*) from pg_stat_activity where datname = current_database()) as connections,
                current_setting('max_connections')::integer as max_connections",
    )
    .fetch_one(db)
    .await?;
    Ok(database)
}
