//! What every request may reach.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use runtime::{config::Config, secrets::Keys};
use secrecy::{ExposeSecret, SecretString};
use store::{AppDb, blob::BlobStore, session_lookup::SessionLookup};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{AccessTokens, Passwords, ldap::Directory, oidc::Provider},
    extract::Turns,
    limit::{Backend, Counter, Guesses},
    maintenance::Maintenance,
    patience::Patience,
};

/// Inventories that are held in memory at once, and how many of them may be one tenant's; more wait their turn.
const UPLOADS: usize = 4;
const UPLOADS_OF_A_TENANT: usize = UPLOADS / 2;
/// Files that are verified at once; more wait their turn.
const VERIFICATIONS: usize = 2;
/// Exports that are read from the database at once, each with a connection of its own; more wait their turn.
const EXPORTS: usize = 4;
/// Streams of progress that are served at once.
const STREAMS: usize = 1000;
/// How long Redis may take before it counts as away.
const REDIS_PATIENCE: Duration = Duration::from_secs(1);

/// Shared by all requests. Cloning it is cheap.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

impl std::ops::Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What an [`AppState`] holds.
pub struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) db: AppDb,
    /// Asked for its health and by `limits`: jobs reach it by way of Postgres.
    pub(crate) redis: Option<ConnectionManager>,
    pub(crate) artifacts: BlobStore,
    /// What secrets in the database are sealed with.
    pub(crate) secrets: Keys,
    pub(crate) access_tokens: AccessTokens,
    pub(crate) passwords: Passwords,
    pub(crate) oidc: Option<Provider>,
    pub(crate) directory: Option<Directory>,
    pub(crate) limits: Counter,
    pub(crate) guesses: Guesses,
    pub(crate) maintenance: Maintenance,
    pub(crate) sessions: SessionLookup,
    pub(crate) uploads: Turns,
    pub(crate) verifications: Arc<Semaphore>,
    pub(crate) exports: Arc<Semaphore>,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) patience: Patience,
    pub(crate) started: Instant,
    /// Cancelled when the server is to stop: what would go on for ever ends then.
    pub(crate) stopping: CancellationToken,
}

impl AppState {
    /// Opens what `config` names. Connections are made as they are needed, so that neither Postgres nor Redis
    /// has to be there yet.
    ///
    /// # Errors
    /// When an address is missing or cannot be parsed, or the keys for secrets cannot be used; the message names the setting and the remedy.
    pub fn new(config: Arc<Config>, stopping: CancellationToken) -> anyhow::Result<Self> {
        Self::with_patience(config, stopping, Patience::default())
    }

    /// As [`Self::new`], waiting longer or shorter than usual.
    ///
    /// # Errors
    /// As there.
    pub fn with_patience(
        config: Arc<Config>,
        stopping: CancellationToken,
        patience: Patience,
    ) -> anyhow::Result<Self> {
        let (setting, url) = database_url(&config)?;
        let db = AppDb::connect(url, config.database_max_connections)
            .with_context(|| format!("{setting} is not an address of Postgres"))?;
        let secrets = Keys::load(&config.secrets_key)?;
        let redis = config.redis_url.as_ref().map(redis).transpose().context("REDIS_URL cannot be used")?;
        let counted_in = Arc::new(Backend::new(redis.clone(), &config.queue_prefix));
        Ok(Self(Arc::new(Shared {
            db,
            limits: Counter::new(counted_in.clone()),
            guesses: Guesses::new(counted_in),
            maintenance: Maintenance::default(),
            sessions: SessionLookup::default(),
            redis,
            artifacts: BlobStore::of(&config).context("the artifact store cannot be used")?,
            access_tokens: AccessTokens::new(config.lifetimes, secrets.clone()),
            secrets,
            passwords: Passwords::new()?,
            oidc: config.oidc.clone().map(|oidc| Provider::new(oidc, &config)).transpose()?,
            directory: config.ldap.clone().map(Directory::new).transpose()?,
            uploads: Turns::new(UPLOADS, UPLOADS_OF_A_TENANT),
            patience,
            verifications: Arc::new(Semaphore::new(VERIFICATIONS)),
            exports: Arc::new(Semaphore::new(EXPORTS)),
            streams: Arc::new(Semaphore::new(STREAMS)),
            started: Instant::now(),
            stopping,
            config,
        })))
    }
}

/// Where the API's rows are, and the setting that says so.
pub(crate) fn database_url(config: &Config) -> anyhow::Result<(&'static str, &SecretString)> {
    let named = [("API_DATABASE_URL", &config.api_database_url), ("DATABASE_URL", &config.database_url)];
    named
        .into_iter()
        .find_map(|(setting, url)| Some((setting, url.as_ref()?)))
        .context("no database is named: set API_DATABASE_URL (or DATABASE_URL) to a postgres:// address")
}

fn redis(url: &SecretString) -> redis::RedisResult<ConnectionManager> {
    let settings = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(REDIS_PATIENCE))
        .set_response_timeout(Some(REDIS_PATIENCE))
        .set_number_of_retries(1);
    ConnectionManager::new_lazy_with_config(redis::Client::open(url.expose_secret())?, settings)
}
