//! Bringing the schema up to date: embedded, forward only, one process at a time.

use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection, migrate::Migrator};

/// The migrations of this build.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations");

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("the database cannot be reached")]
    Connect(#[source] sqlx::Error),
    /// Somebody ran a newer version on it.
    #[error(
        "the database has migration {found}, and this version knows none beyond {known}: run the newer version, or restore the backup made before it was upgraded"
    )]
    TooNew { found: i64, known: i64 },
    #[error("a migration failed; the database is as it was before it")]
    Failed(#[source] sqlx::migrate::MigrateError),
}

/// Applies what is missing. Several processes may call this at once: one works, the others wait.
///
/// # Errors
/// See [`MigrateError`]; a failed migration is rolled back.
pub async fn run(owner_url: &SecretString) -> Result<(), MigrateError> {
    let mut connection =
        PgConnection::connect(owner_url.expose_secret()).await.map_err(MigrateError::Connect)?;
    if let Some(found) = newest_applied(&mut connection).await.map_err(MigrateError::Connect)? {
        let known = newest_known();
        if found > known {
            return Err(MigrateError::TooNew { found, known });
        }
    }
    MIGRATOR.run(&mut connection).await.map_err(MigrateError::Failed)
}

/// True when the database has exactly the migrations of this build.
///
/// # Errors
/// When the database cannot be asked.
pub async fn is_current(connection: &mut PgConnection) -> sqlx::Result<bool> {
    Ok(newest_applied(connection).await? == Some(newest_known()))
}

fn newest_known() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0)
}

async fn newest_applied(connection: &mut PgConnection) -> sqlx::Result<Option<i64>> {
    let exists: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(None);
    }
    sqlx::query_scalar("select max(version) from _sqlx_migrations where success").fetch_one(connection).await
}

/// Makes the two logins that a private cluster is used with, neither of them an owner or a superuser.
///
/// `plimsoll_api` can be nothing but `plimsoll_app`; `plimsoll_worker` may take either role. They have no password: only for a
/// cluster that listens on a socket which nobody else can reach.
///
/// # Errors
/// When the database refuses.
pub async fn create_local_logins(owner_url: &SecretString) -> Result<(), MigrateError> {
    let mut connection =
        PgConnection::connect(owner_url.expose_secret()).await.map_err(MigrateError::Connect)?;
    sqlx::raw_sql(
        "do $$
         begin
             perform pg_advisory_xact_lock(7202611210001);
             if not exists (select from pg_roles where rolname = 'plimsoll_api') then
                 create role plimsoll_api login in role plimsoll_app;
             end if;
             if not exists (select from pg_roles where rolname = 'plimsoll_worker') then
                 create role plimsoll_worker login in role plimsoll_app, plimsoll_system;
             end if;
         end $$",
    )
    .execute(&mut connection)
    .await
    .map_err(MigrateError::Connect)?;
    Ok(())
}
