//! Connections, and whose rows they see.
//!
//! Two pools, two roles: [`AppDb`] runs as `plimsoll_app` and sees one tenant at a time; [`SystemDb`] runs as
//! `plimsoll_system` and sees all, for the relay, the crawlers and the housekeeping. Either gives a [`TenantTx`], in
//! which row-level security holds every statement to one tenant.

use std::{
    convert::Infallible,
    ops::{Deref, DerefMut},
    str::FromStr,
    time::Duration,
};

use domain::id::TenantId;
use runtime::metrics::DB_CONNECTIONS;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    audit::By,
    error::{Error, Result},
};

/// How long a request waits for a connection before it is told that the database is unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(4);
/// A connection that nobody has used for this long is asked whether it is still there before it is given out.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// What a transaction is told at its beginning ([`By::settings`]), prepared once for each connection: it takes longer to plan than to do.
const ACT: &str = "plimsoll_act";
const PREPARE: &str = "prepare plimsoll_act (text, text, text, text, text, text) as
    select set_config('app.tenant_id', $1, true), set_config('app.actor_id', $2, true), set_config('app.actor', $3, true),
           set_config('app.instance_admin', $4, true), set_config('app.request_id', $5, true), set_config('app.address', $6, true)";
/// How often the metrics are told of a pool.
const SHOW_EVERY: Duration = Duration::from_secs(5);

/// Connections that see one tenant's rows at a time.
#[derive(Debug, Clone)]
pub struct AppDb(PgPool);

/// Connections that see every tenant's rows. Not for requests.
#[derive(Debug, Clone)]
pub struct SystemDb(PgPool);

/// A transaction that acts for one tenant. Dropped without [`Self::commit`], it undoes everything.
#[derive(Debug)]
pub struct TenantTx {
    transaction: Transaction<'static, Postgres>,
    tenant: TenantId,
}

impl AppDb {
    /// Opens the pool; connections are made as they are needed.
    ///
    /// # Errors
    /// When the address cannot be parsed.
    pub fn connect(url: &SecretString, max_connections: u32) -> Result<Self> {
        pool(url, "plimsoll_app", max_connections).map(Self)
    }

    /// Begins a transaction for `tenant`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no connection can be had.
    pub async fn begin(&self, tenant: TenantId) -> Result<TenantTx> {
        begin(&self.0, tenant, "begin", &By::default()).await
    }

    /// As [`Self::begin`], and what it changes is `by`'s doing in the audit trail.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no connection can be had.
    pub async fn begin_by(&self, tenant: TenantId, by: &By) -> Result<TenantTx> {
        begin(&self.0, tenant, "begin", by).await
    }

    /// The pool itself, for what belongs to no tenant: shared knowledge, sign-in functions, health.
    #[must_use]
    pub fn shared(&self) -> &PgPool {
        &self.0
    }
}

/// Shows in the metrics how many connections `pool` has, under `name`.
pub async fn show_pool(name: &'static str, pool: &PgPool) -> Infallible {
    loop {
        let (all, idle) = (f64::from(pool.size()), pool.num_idle() as f64);
        DB_CONNECTIONS.set([name.into(), "idle".into()], idle);
        DB_CONNECTIONS.set([name.into(), "busy".into()], (all - idle).max(0.0));
        tokio::time::sleep(SHOW_EVERY).await;
    }
}

impl SystemDb {
    /// Opens the pool; connections are made as they are needed.
    ///
    /// # Errors
    /// When the address cannot be parsed.
    pub fn connect(url: &SecretString, max_connections: u32) -> Result<Self> {
        pool(url, "plimsoll_system", max_connections).map(Self)
    }

    /// The pool itself.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.0
    }

    /// Begins a transaction that sees every tenant.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no connection can be had.
    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>> {
        Ok(begin_transaction(&self.0, "begin").await?)
    }

    /// As [`Self::begin_as`], and every statement sees the database as it was at the first: for reading many things that must fit together.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no connection can be had.
    pub async fn begin_frozen_as(&self, tenant: TenantId) -> Result<TenantTx> {
        begin(
            &self.0,
            tenant,
            "begin isolation level repeatable read; set local role plimsoll_app",
            &By::default(),
        )
        .await
    }

    /// Begins a transaction that is held to `tenant` as strictly as a request's is.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no connection can be had.
    pub async fn begin_as(&self, tenant: TenantId) -> Result<TenantTx> {
        begin(&self.0, tenant, "begin; set local role plimsoll_app", &By::default()).await
    }
}

impl TenantTx {
    /// Whose rows this transaction sees.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// From here on it acts for `tenant`, for what an administrator of the installation does to all organizations at once.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn act_for(&mut self, tenant: TenantId) -> Result<()> {
        self.tenant = tenant;
        act_for(&mut self.transaction, tenant).await
    }

    /// From here on jobs of every tenant can be seen, cancelled and retried in it. For administrators of the installation.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn see_installation(&mut self) -> Result<()> {
        sqlx::query("select set_config('app.installation', 'on', true)")
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }

    /// Makes everything done in it permanent.
    ///
    /// # Errors
    /// When the database does not confirm; then nothing was done.
    pub async fn commit(self) -> Result<()> {
        Ok(self.transaction.commit().await?)
    }
}

impl Deref for TenantTx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.transaction
    }
}

impl DerefMut for TenantTx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }
}

/// Begins a transaction, with `statements`, that acts for `tenant` and is `by`'s doing: one question to the server, since every request asks it.
async fn begin(pool: &PgPool, tenant: TenantId, statements: &str, by: &By) -> Result<TenantTx> {
    let values = by.settings().map(|value| literal(&value)).join(", ");
    let statements = format!("{statements}; execute {ACT}('{}', {values})", tenant.0);
    Ok(TenantTx { transaction: begin_transaction(pool, statements).await?, tenant })
}

/// Begins a transaction with `statements`, which are ours to the letter.
///
/// It is done to its end, also for a caller that is given up meanwhile (a client that hung up, a job that was cancelled): sqlx 0.9 puts a
/// connection whose BEGIN was not waited for back into the pool, within a transaction that nobody ends, and what the next one wrote would be
/// undone with it.
///
/// # Errors
/// When no connection can be had, or the server refuses.
pub async fn begin_transaction(
    pool: &PgPool,
    statements: impl Into<String>,
) -> sqlx::Result<Transaction<'static, Postgres>> {
    let (pool, statements) = (pool.clone(), statements.into());
    #[expect(clippy::disallowed_methods, reason = "nobody gives this task up")]
    let begun = tokio::spawn(async move { pool.begin_with(AssertSqlSafe(statements)).await });
    begun.await.map_err(|_| sqlx::Error::WorkerCrashed)?
}

/// `value` where none can be bound. What could end the text that it stands in is written in hexadecimal digits.
fn literal(value: &str) -> String {
    let is_plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:_".contains(&byte));
    match is_plain {
        true => format!("'{value}'"),
        false => format!("convert_from('\\x{}', 'UTF8')", hex::encode(value)),
    }
}

pub(crate) async fn act_for(connection: &mut PgConnection, tenant: TenantId) -> Result<()> {
    sqlx::query("select set_config('app.tenant_id', $1, true)")
        .bind(tenant.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

fn pool(url: &SecretString, role: &'static str, max_connections: u32) -> Result<PgPool> {
    let options = PgConnectOptions::from_str(url.expose_secret())
        .map_err(Error::Database)?
        .application_name("plimsoll")
        // A request must not wait for ever behind somebody's forgotten transaction; and compiling our statements takes Postgres
        // longer than running them. What was answered is on the disk, whatever the server or the login has set.
        .options([
            ("idle_in_transaction_session_timeout", "60s"),
            ("timezone", "UTC"),
            ("jit", "off"),
            ("synchronous_commit", "on"),
        ]);
    let set_role = match role {
        "plimsoll_app" => "set role plimsoll_app",
        _ => "set role plimsoll_system",
    };
    Ok(PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, metadata| {
            Box::pin(async move {
                if metadata.idle_for > TRUSTED_FOR {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(move |connection, _| {
            Box::pin(async move {
                connection.execute(set_role).await?;
                connection.execute(PREPARE).await?;
                Ok(())
            })
        })
        .connect_lazy_with(options))
}

/// Whose login it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// Of what answers requests: it is one tenant at a time.
    Api,
    /// Of workers, schedulers and commands, which act for every tenant.
    System,
}

/// What a login could do beyond what it needs, worst first; empty when it is as weak as it should be.
///
/// # Errors
/// When the database cannot be asked.
pub async fn excessive_rights(connection: &mut PgConnection, of: Login) -> Result<Vec<String>> {
    let (login, superuser, bypass, system): (String, bool, bool, bool) = sqlx::query_as(
        "select session_user::text, rolsuper, rolbypassrls,
                coalesce((select pg_has_role(session_user, oid, 'member') from pg_roles where rolname = 'plimsoll_system'), false)
           from pg_roles where rolname = session_user",
    )
    .fetch_one(&mut *connection)
    .await?;
    let mut found = Vec::new();
    if superuser {
        found.push(format!("the login `{login}` is a superuser"));
    }
    if bypass {
        found.push(format!("the login `{login}` may bypass row-level security"));
    }
    if system && !superuser && of == Login::Api {
        found.push(format!("the login `{login}` may become plimsoll_system, which sees every organization"));
    }
    Ok(found)
}

/// The settings of the server that let a power cut take back what was committed; empty when it is sound.
///
/// # Errors
/// When the database cannot be asked.
pub async fn volatile_settings(connection: &mut PgConnection) -> Result<Vec<String>> {
    let off = sqlx::query_scalar(
        "select name from pg_settings where name in ('fsync', 'full_page_writes') and setting = 'off' order by name",
    );
    Ok(off.fetch_all(connection).await?)
}

/// Lets a connection of its own see every tenant's rows, as [`SystemDb`]'s do.
///
/// # Errors
/// When its login may not.
pub async fn act_as_system(connection: &mut PgConnection) -> Result<()> {
    connection.execute("set role plimsoll_system").await?;
    Ok(())
}

/// A connection of its own, outside the pools: for migrations and for `doctor`.
///
/// # Errors
/// When the database cannot be reached.
pub async fn connect_once(url: &SecretString) -> Result<PgConnection> {
    Ok(PgConnection::connect(url.expose_secret()).await?)
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, net::TcpListener};

    use super::*;

    #[tokio::test]
    async fn a_server_that_hangs_up_while_it_is_greeted_is_one_that_is_not_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let hanging_up = tokio::spawn(async move {
            loop {
                let (mut caller, _) = listener.accept().await.expect("somebody calls");
                let _greeting = caller.read(&mut [0; 8]).await;
            }
        });
        let url = format!("postgres://plimsoll@{address}/plimsoll").into();
        let begun = AppDb::connect(&url, 1).expect("an address").begin(TenantId(uuid::Uuid::nil())).await;
        assert!(matches!(begun, Err(Error::Unavailable(_))), "{begun:?}");
        hanging_up.abort();
    }

    #[test]
    fn no_value_ends_the_text_that_it_stands_in() {
        assert_eq!(literal("2001:db8::1"), "'2001:db8::1'");
        assert_eq!(literal("o'brien"), "convert_from('\\x6f27627269656e', 'UTF8')");
        assert_eq!(literal("\\"), "convert_from('\\x5c', 'UTF8')");
    }
}
