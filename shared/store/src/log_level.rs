//! How much the processes say in their logs: chosen by one, followed by all.

use std::{convert::Infallible, time::Duration};

use runtime::telemetry::{self, Level};
use sqlx::{PgConnection, PgPool};
use tokio::time::sleep;
use tracing::info;

use crate::error::Result;

/// How often each process looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What was chosen; `None`: each process's own setting.
///
/// # Errors
/// When the database cannot be reached.
pub async fn get(connection: &mut PgConnection) -> Result<Option<Level>> {
    let word: Option<String> =
        sqlx::query_scalar("select level from log_level").fetch_one(connection).await?;
    Ok(word.as_deref().and_then(Level::from_word))
}

/// Chooses. All processes follow within some seconds.
///
/// # Errors
/// When the database cannot be reached.
pub async fn set(connection: &mut PgConnection, level: Level) -> Result<()> {
    sqlx::query("update log_level set level = $1, changed_at = now()")
        .bind(level.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Makes this process follow. While the database is away it goes on as it is.
pub async fn follow(pool: &PgPool) -> Infallible {
    loop {
        if let Ok(mut connection) = pool.acquire().await
            && let Ok(level) = get(&mut connection).await
            && telemetry::choose(level)
        {
            info!(chosen = level.map_or("as set at start", Level::as_str), "the log level has changed");
        }
        sleep(LOOK_EVERY).await;
    }
}
