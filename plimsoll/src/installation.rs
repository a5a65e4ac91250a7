//! Which Postgres and Redis a command works with: those that the settings name, or private ones.

use std::collections::BTreeMap;
use std::path::Path;

use runtime::config::Config;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use store::migrate::{self, MigrateError};
use store::{auth, db, sources};

use crate::embedded::{self, Addresses, Running};
use crate::exit::{Exit, Failure};
use crate::terminal;

/// Settings with an address for everything, and the private services behind it, if any.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) config: Config,
    /// The servers are private ones, of this process or of another.
    private: bool,
    services: Option<Running>,
}

impl Installation {
    /// Use what the settings name, or start private services in the data folder.
    pub(crate) async fn open(mut config: Config) -> Result<Self, Failure> {
        if names_servers(&config)? {
            return Ok(Self::of_others(config));
        }
        let services = embedded::start(&embedded::Settings::new(&config.home)).await?;
        point_at(&mut config, &services.addresses);
        Ok(Self { config, private: true, services: Some(services) })
    }

    /// Use servers that are not ours, as `config` names them.
    pub(crate) fn of_others(config: Config) -> Self {
        Self { config, private: false, services: None }
    }

    /// Use what the settings name, or private services that another process runs; `None` when none do.
    pub(crate) fn find(mut config: Config) -> Result<Option<Self>, Failure> {
        if names_servers(&config)? {
            return Ok(Some(Self::of_others(config)));
        }
        let Some(addresses) = embedded::find_running(&config.home) else { return Ok(None) };
        point_at(&mut config, &addresses);
        Ok(Some(Self { config, private: true, services: None }))
    }

    /// Whether Postgres and Redis are private ones.
    pub(crate) fn is_private(&self) -> bool {
        self.private
    }

    /// Bring the schema up to date, as the login that owns it, and register the public sources.
    pub(crate) async fn migrate(&self) -> Result<(), Failure> {
        let url = self.owner_url()?;
        migrate::run(url).await.map_err(migration_failure)?;
        if self.private {
            migrate::create_local_logins(url).await.map_err(migration_failure)?;
        }
        let mut connection = self.connect_as_owner().await?;
        sources::ensure(&mut connection, sources::PUBLIC).await.map_err(Failure::unavailable)?;
        Ok(())
    }

    /// Allow one set-up from another machine, by whoever knows the returned token. `None` when it is done.
    ///
    /// Each call makes the token of the call before worthless: only its digest is kept.
    pub(crate) async fn new_setup_token(&self) -> Result<Option<String>, Failure> {
        let mut connection = self.connect_as_owner().await?;
        let token = hex::encode(rand::random::<[u8; 20]>());
        let digest = Sha256::digest(&token);
        let open = auth::replace_setup_token(&mut connection, &digest).await.map_err(Failure::unavailable)?;
        Ok(open.then_some(token))
    }

    /// A connection that may do anything. Not for serving.
    pub(crate) async fn connect_as_owner(&self) -> Result<PgConnection, Failure> {
        db::connect_once(self.owner_url()?).await.map_err(Failure::unavailable)
    }

    fn owner_url(&self) -> Result<&SecretString, Failure> {
        let url = self.config.migration_database_url.as_ref().or(self.config.database_url.as_ref());
        url.ok_or_else(no_database)
    }

    /// Stop what [`Installation::open`] started.
    pub(crate) async fn close(self) {
        if let Some(services) = self.services {
            services.stop().await;
        }
    }
}

/// Whether the settings name a Postgres and a Redis. One without the other is a mistake.
fn names_servers(config: &Config) -> Result<bool, Failure> {
    let postgres = [&config.database_url, &config.api_database_url, &config.migration_database_url];
    match (postgres.into_iter().any(Option::is_some), config.redis_url.is_some()) {
        (true, true) => Ok(true),
        (false, false) => Ok(false),
        (true, false) => Err(half("DATABASE_URL", "REDIS_URL")),
        (false, true) => Err(half("REDIS_URL", "DATABASE_URL")),
    }
}

fn half(given: &str, missing: &str) -> Failure {
    let sentence =
        format!("{given} is set and {missing} is not: set both, or neither to have private ones run");
    Failure::new(Exit::Config, anyhow::anyhow!(sentence))
}

fn no_database() -> Failure {
    Failure::new(
        Exit::Config,
        anyhow::anyhow!("MIGRATION_DATABASE_URL and DATABASE_URL are both not set: set one of them"),
    )
}

fn migration_failure(error: MigrateError) -> Failure {
    let exit = match error {
        MigrateError::Connect(_) => Exit::Unavailable,
        MigrateError::TooNew { .. } => Exit::Config,
        MigrateError::Failed(_) => Exit::Failure,
    };
    Failure::new(exit, error)
}

fn point_at(config: &mut Config, addresses: &Addresses) {
    let secret = |url: &String| Some(SecretString::from(url.clone()));
    config.database_url = secret(&addresses.worker_url);
    config.api_database_url = secret(&addresses.api_url);
    config.migration_database_url = secret(&addresses.owner_url);
    config.redis_url = secret(&addresses.redis_url);
}

/// Where the data of a root installation goes when nobody says where and the current folder will not do.
const SYSTEM_HOME: &str = "/var/lib/plimsoll";

/// The settings, from the environment.
///
/// The default data folder is below the current one. When root stands in a folder that the servers' account
/// cannot enter, such as root's own home, that default cannot work, and [`SYSTEM_HOME`] is used instead.
pub(crate) fn settings() -> Result<Config, Failure> {
    let config = Config::from_env()?;
    let given = config.home != Path::new(".plimsoll");
    if given || names_servers(&config)? || embedded::can_be_home(&config.home) {
        return Ok(config);
    }
    terminal::remark(format_args!("Postgres could not reach a data folder here, so it is {SYSTEM_HOME}"));
    #[expect(clippy::disallowed_methods, reason = "handed on to the settings whole, with one value added")]
    let mut environment: BTreeMap<String, String> = std::env::vars().collect();
    environment.insert("PLIMSOLL_HOME".to_owned(), SYSTEM_HOME.to_owned());
    Ok(Config::load(environment)?)
}
