//! What can keep the embedded services from running: one variant a remedy.

use std::io;
use std::path::{Path, PathBuf};

/// Why the embedded services cannot run. Each text is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "`{program}` was not found on this machine: install it (on Debian and Ubuntu: `apt-get install {package}`), \
         or set DATABASE_URL and REDIS_URL to servers of your own"
    )]
    ProgramMissing { program: &'static str, package: &'static str },

    #[error(
        "the data folder {} holds a PostgreSQL {cluster} cluster but the machine has only version {installed}: \
         install postgresql-{cluster}, or move the data with pg_dump",
        home.display()
    )]
    PostgresVersion { home: PathBuf, cluster: u32, installed: u32 },

    #[error(
        "the data folder {} is in use by process {holder}: stop that one, or set PLIMSOLL_HOME to another folder",
        home.display()
    )]
    InUse { home: PathBuf, holder: String },

    #[error(
        "the data folder {} has format {found} and this program knows formats up to {known}: \
         install the newer Plimsoll that wrote it, or set PLIMSOLL_HOME to another folder",
        home.display()
    )]
    NewerFormat { home: PathBuf, found: u32, known: u32 },

    #[error(
        "{} does not contain a format number but `{found}`: set PLIMSOLL_HOME to a folder that is Plimsoll's alone",
        path.display()
    )]
    UnknownFormat { path: PathBuf, found: String },

    #[error(
        "the data folder {} belongs to user id {owner} and not to user id {me}: run as its owner, \
         or set PLIMSOLL_HOME to another folder",
        home.display()
    )]
    NotOurs { home: PathBuf, owner: u32, me: u32 },

    #[error(
        "the account `{account}`, under which Postgres and Redis run when root starts Plimsoll, cannot enter {}: \
         set PLIMSOLL_HOME to a folder that it can reach, such as /var/lib/plimsoll",
        directory.display()
    )]
    NotReachable { account: String, directory: PathBuf },

    #[error(
        "Postgres and Redis never run as root and none of the accounts postgres, redis and nobody exists: \
         start Plimsoll as an ordinary user"
    )]
    NoAccount,

    #[error(
        "the data folder {home:?} has a character in its name that the servers' settings cannot express: \
         set PLIMSOLL_HOME to a plain UTF-8 path"
    )]
    UnusablePath { home: PathBuf },

    #[error(
        "{} is not writable: give this user write permission, or set PLIMSOLL_HOME to another folder",
        path.display()
    )]
    NotWritable { path: PathBuf, source: io::Error },

    #[error(
        "the disk that holds {} is full ({free_mib} MiB free, {needed_mib} MiB needed): free some space, \
         or set PLIMSOLL_HOME to a folder on another disk",
        path.display()
    )]
    DiskFull { path: PathBuf, free_mib: u64, needed_mib: u64 },

    #[error("{program} did not start ({outcome}): {said}; its log is {}", log.display())]
    Failed { program: String, outcome: String, said: String, log: PathBuf },

    #[error("{program} did not answer within {seconds} s: see its log {}", log.display())]
    NotReady { program: String, seconds: u64, log: PathBuf },

    #[error("cannot {doing} {}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },

    #[error("cannot create the database `{database}` in the private Postgres")]
    CreateDatabase { database: &'static str, source: sqlx::Error },
}

impl Error {
    /// The failure of `doing` something to `path`, as the sentence that helps most.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::NotWritable { path, source }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, free_mib: 0, needed_mib: 1 }
            }
            _ => Self::Io { doing, path, source },
        }
    }
}
