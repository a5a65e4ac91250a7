//! A database of its own for every test, cloned from a migrated template in some forty milliseconds.

use domain::id::TenantId;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use sqlx::{Connection, Executor, PgConnection, PgPool};
use store::{AppDb, SystemDb};
use url::Url;
use uuid::Uuid;

use crate::services::services;

/// A fresh database with the current schema. Dropped with the value.
#[derive(Debug)]
pub struct TestDb {
    /// As the worker sees it.
    pub system: SystemDb,
    /// As the API sees it.
    pub app: AppDb,
    pub owner_url: SecretString,
    pub worker_url: SecretString,
    pub api_url: SecretString,
    name: String,
    server_url: String,
}

impl TestDb {
    /// Makes it.
    ///
    /// # Panics
    /// When Postgres cannot be used.
    pub async fn new() -> Self {
        Self::on(&services().await.owner_url).await
    }

    /// Makes it on the server of `server_url`, a superuser's address.
    ///
    /// # Panics
    /// When Postgres cannot be used.
    pub async fn on(server_url: &str) -> Self {
        let template = template(server_url).await;
        let name = format!("t_{}", Uuid::new_v4().simple());
        let mut owner = PgConnection::connect(server_url).await.expect("postgres answers");
        // The names are ours: letters, digits and underscores.
        // Postgres 14 knows one strategy, this one, and no word for it.
        let number: i32 = sqlx::query_scalar("select current_setting('server_version_num')::int")
            .fetch_one(&mut owner)
            .await
            .expect("postgres says its version");
        let strategy = if number >= 150_000 { "strategy file_copy" } else { "" };
        let create = format!("create database {name} template {template} {strategy}");
        owner.execute(sqlx::AssertSqlSafe(create)).await.expect("a database is cloned");
        let url = |user: Option<&str>| SecretString::from(database_url(server_url, &name, user));
        let (owner_url, worker_url, api_url) =
            (url(None), url(Some("plimsoll_worker")), url(Some("plimsoll_api")));
        Self {
            system: SystemDb::connect(&worker_url, 8).expect("the address is sound"),
            app: AppDb::connect(&api_url, 8).expect("the address is sound"),
            owner_url,
            worker_url,
            api_url,
            name,
            server_url: server_url.to_owned(),
        }
    }

    /// The pool of the system role.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        self.system.pool()
    }

    /// A tenant called `slug`.
    ///
    /// # Panics
    /// When the database refuses.
    pub async fn tenant(&self, slug: &str) -> TenantId {
        let id = TenantId::new();
        sqlx::query("insert into tenants (id, slug, display_name) values ($1, $2, $2)")
            .bind(id.0)
            .bind(slug)
            .execute(self.pool())
            .await
            .expect("a tenant is made");
        id
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let (name, server_url) = (self.name.clone(), self.server_url.clone());
        // Tests drop this inside their runtime, which may be about to end: a thread of its own finishes the job.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                runtime.block_on(async {
                    let Ok(mut owner) = PgConnection::connect(&server_url).await else {
                        return;
                    };
                    let drop = format!("drop database if exists {name} with (force)");
                    if let Err(error) = owner.execute(sqlx::AssertSqlSafe(drop)).await {
                        tracing::warn!(%error, name, "a test database stays behind");
                    }
                });
            }
        });
        if dropping.join().is_err() {
            tracing::warn!(name = self.name, "a test database stays behind");
        }
    }
}

/// The name of the migrated template for this build's migrations, made when it does not exist.
async fn template(owner_url: &str) -> String {
    let mut digest = Sha256::new();
    for migration in store::migrate::MIGRATOR.iter() {
        digest.update(migration.checksum.as_ref());
    }
    let name = format!("template_{:x}", digest.finalize())[..25].to_owned();
    let mut owner = PgConnection::connect(owner_url).await.expect("postgres answers");
    // Several test processes may arrive here at once: one makes it, the others wait and find it.
    owner.execute("select pg_advisory_lock(7202611210002)").await.expect("the lock is had");
    let ready: bool =
        sqlx::query_scalar("select exists (select from pg_database where datname = $1 and datistemplate)")
            .bind(&name)
            .fetch_one(&mut owner)
            .await
            .expect("the catalogue is read");
    if !ready {
        for statement in [format!("drop database if exists {name}"), format!("create database {name}")] {
            owner.execute(sqlx::AssertSqlSafe(statement)).await.expect("an empty template is made");
        }
        let url = SecretString::from(database_url(owner_url, &name, None));
        store::migrate::run(&url).await.expect("the migrations apply to an empty database");
        store::migrate::create_local_logins(&url).await.expect("the logins are made");
        let mark = format!("alter database {name} is_template true");
        owner.execute(sqlx::AssertSqlSafe(mark)).await.expect("the template is marked");
    }
    owner.execute("select pg_advisory_unlock(7202611210002)").await.expect("the lock is given back");
    name
}

/// `url` with another database and, where given, another login.
fn database_url(url: &str, database: &str, user: Option<&str>) -> String {
    let mut url = Url::parse(url).expect("the address of postgres is a URL");
    url.set_path(database);
    if let Some(user) = user {
        let others: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(key, _)| key != "user")
            .map(|(k, v)| (k.into_owned(), v.into_owned()))
            .collect();
        url.query_pairs_mut().clear().extend_pairs(others).append_pair("user", user);
        if !url.username().is_empty() {
            url.set_username(user).expect("a login may be named");
        }
    }
    url.into()
}
