//! A private Postgres and a private Redis, run from the machine's own programs inside one data folder.
//!
//! This is what `plimsoll up` uses when no `DATABASE_URL` and `REDIS_URL` are given, and what the tests stand
//! on. Both servers listen on Unix sockets only, in a directory that nobody but their account (and root) can
//! enter, so there is no port to be taken and no password to leak. Migrating the database, and everything
//! above it, is left to others. Start at [`start`]; tests start at [`attach_or_start`].
//!
//! ```text
//! home/VERSION     format of this folder; a newer one is refused
//! home/lock        held (flock) by the process that supervises, whose id it contains
//! home/postgres/   data/ is the cluster
//! home/redis/      redis.conf and the append-only file
//! home/run/        the sockets, or the name of the directory that has them when `home` is too long a path
//! home/log/        what the two servers print
//! ```

mod account;
mod error;
mod folder;
mod launch;
mod leftovers;
mod postgres;
mod programs;
mod redis_server;
mod shared;
mod supervise;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

pub use error::Error;
pub use shared::{Attached, attach_or_start, folder_for_tests};

use folder::Folder;
use launch::{Launch, Process};

/// What the services need to know before they start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data folder (`PLIMSOLL_HOME`); made when it does not exist.
    pub home: PathBuf,
    /// Whether an answered commit survives a power cut. `false` is for tests only.
    pub durable: bool,
    /// Where to look for `postgres`, `initdb` and `redis-server`, best first.
    pub program_directories: Vec<PathBuf>,
    /// Refuse to start with less free space than this in the data folder, in bytes.
    pub least_free_bytes: u64,
    /// How long a server may take to answer, its crash recovery included.
    pub start_timeout: Duration,
}

impl Settings {
    /// The settings of a real installation in `home`.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        Self {
            home: home.into(),
            durable: true,
            program_directories: programs::usual_directories(),
            least_free_bytes: 256 * 1024 * 1024,
            start_timeout: Duration::from_secs(300),
        }
    }

    /// Quick and forgetful: nothing is flushed to disk. Only for data that may be lost.
    pub fn for_tests(home: impl Into<PathBuf>) -> Self {
        Self { durable: false, start_timeout: Duration::from_secs(60), ..Self::new(home) }
    }
}

/// Where the two servers of a folder listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Connects as the superuser `plimsoll` to the database `plimsoll`: for migrations, not for serving.
    pub owner_url: String,
    /// For the API. The login `plimsoll_api` is there after `store::migrate::create_local_logins`.
    pub api_url: String,
    /// For worker and scheduler, as the login `plimsoll_worker` of the same function.
    pub worker_url: String,
    /// `redis+unix:///…/redis.sock`, without a query: `?protocol=resp3` may be appended.
    pub redis_url: String,
}

impl Addresses {
    fn of(folder: &Folder) -> Self {
        Self {
            owner_url: postgres::url(folder, postgres::OWNER),
            api_url: postgres::url(folder, "plimsoll_api"),
            worker_url: postgres::url(folder, "plimsoll_worker"),
            redis_url: redis_server::url(folder),
        }
    }
}

/// The two servers, running and supervised: one that ends is started again.
///
/// Call [`Running::stop`] to end them. Dropping this asks them to end and does not wait.
#[derive(Debug)]
pub struct Running {
    pub addresses: Addresses,
    /// The data folder, as an absolute path without symbolic links.
    pub home: PathBuf,
    stop: CancellationToken,
    supervisors: JoinSet<()>,
    _folder: Folder,
}

/// Start both servers in `settings.home`, making the folder and the cluster when they do not exist, and
/// wait until they answer. Servers that a killed predecessor left behind are stopped first.
pub async fn start(settings: &Settings) -> Result<Running, Error> {
    let folder = Folder::open(settings)?;
    let (postgres, redis) = prepare(settings, &folder).await?;
    let (postgres_process, redis_process) = start_both(settings, &folder, &postgres, &redis).await?;

    let stop = CancellationToken::new();
    let mut supervisors = JoinSet::new();
    supervisors.spawn(supervise::keep_running(postgres, postgres_process, stop.clone()));
    supervisors.spawn(supervise::keep_running(redis, redis_process, stop.clone()));
    info!(home = %folder.home.display(), "private Postgres and Redis are running");
    Ok(Running {
        addresses: Addresses::of(&folder),
        home: folder.home.clone(),
        stop,
        supervisors,
        _folder: folder,
    })
}

impl Running {
    /// End both servers cleanly: Postgres finishes its writes (fast shutdown), Redis its append-only file.
    /// Returns when both have gone.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.supervisors.join_next().await.is_some() {}
        info!(home = %self.home.display(), "private Postgres and Redis have stopped");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Where the servers of `home` listen, when some process has them running.
///
/// For commands that look at a running installation from beside it, like `plimsoll doctor`.
pub fn find_running(home: &Path) -> Option<Addresses> {
    let folder = Folder::look_at(home)?;
    let running = !leftovers::find(&folder.postgres_data(), postgres::PROCESS_NAMES).is_empty();
    running.then(|| Addresses::of(&folder))
}

/// Find the programs, write the settings, end what an earlier run left behind.
async fn prepare(settings: &Settings, folder: &Folder) -> Result<(Launch, Launch), Error> {
    let redis_program = programs::find_redis(&settings.program_directories)?;
    let postgres_programs = programs::find_postgres(&settings.program_directories, folder)?;
    leftovers::stop(&folder.postgres_data(), postgres::PROCESS_NAMES, postgres::STOP_SIGNAL).await;
    leftovers::stop(&folder.redis_data(), redis_server::PROCESS_NAMES, redis_server::STOP_SIGNAL).await;
    let postgres = postgres::prepare(settings, folder, &postgres_programs).await?;
    let redis = redis_server::prepare(settings, folder, redis_program)?;
    Ok((postgres, redis))
}

/// Start both and wait until both answer. When one fails the other does not stay behind.
async fn start_both(
    settings: &Settings,
    folder: &Folder,
    postgres: &Launch,
    redis: &Launch,
) -> Result<(Process, Process), Error> {
    let mut postgres_process = postgres.spawn()?;
    let mut redis_process = redis.spawn()?;
    let ready = tokio::try_join!(
        postgres::wait_until_ready(settings, folder, &mut postgres_process),
        redis_server::wait_until_ready(settings, folder, &mut redis_process),
    );
    if let Err(error) = ready {
        tokio::join!(postgres_process.end(), redis_process.end());
        return Err(error);
    }
    Ok((postgres_process, redis_process))
}

/// Whether the account that the servers would run as can reach `home`, which need not exist yet.
pub fn can_be_home(home: &Path) -> bool {
    folder::is_reachable(home)
}
