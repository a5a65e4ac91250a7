//! The data folder: its format version, its lock, who owns what in it, and where the sockets are.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::account::{self, Account};
use super::{Error, Settings};

/// What this program writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// `sun_path` holds 107 bytes and a terminator on Linux (104 on macOS); this leaves room for `/.s.PGSQL.5432`.
const LONGEST_SOCKET_DIRECTORY: usize = 88;

/// The data folder, held under its lock for as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    /// Absolute, without symbolic links.
    pub(super) home: PathBuf,
    /// Where both servers have their sockets.
    pub(super) sockets: PathBuf,
    /// Whom the servers run as, when not as ourselves.
    pub(super) account: Option<Account>,
    _lock: Option<Lock>,
}

impl Folder {
    /// Make the folder if need be, check it, take its lock. A lock held elsewhere is [`Error::InUse`].
    pub(super) fn open(settings: &Settings) -> Result<Self, Error> {
        let home = make_home(&settings.home)?;
        let lock = take_lock(&home)?;
        Self::check(settings, home, lock)
    }

    /// As [`Folder::open`], but wait for a lock held elsewhere. Blocks the thread.
    pub(super) fn open_when_free(settings: &Settings) -> Result<Self, Error> {
        let home = make_home(&settings.home)?;
        let lock = open_lock(&home)?;
        lock.lock().map_err(Error::io("lock", &home.join("lock")))?;
        Self::check(settings, home, lock)
    }

    /// An existing folder as it is, without its lock: to find servers that another process runs.
    pub(super) fn look_at(home: &Path) -> Option<Self> {
        let home = fs::canonicalize(home).ok()?;
        let sockets = remembered_sockets(&home)?;
        Some(Self { home, sockets, account: None, _lock: None })
    }

    fn check(settings: &Settings, home: PathBuf, lock: File) -> Result<Self, Error> {
        check_format(&home)?;
        check_space(&home, settings.least_free_bytes)?;
        let account = account::to_drop_to(&home.join("postgres"))?;
        if let Some(account) = &account {
            open_to(&home, account)?;
        }
        for directory in ["postgres", "redis", "run"] {
            make_private(&home.join(directory), account.as_ref())?;
        }
        make_private(&home.join("log"), None)?;
        let sockets = choose_sockets(&home, account.as_ref())?;
        Ok(Self { home, sockets, account, _lock: Some(Lock(lock)) })
    }

    pub(super) fn postgres_data(&self) -> PathBuf {
        self.home.join("postgres/data")
    }

    pub(super) fn redis_data(&self) -> PathBuf {
        self.home.join("redis")
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.home.join("log").join(name)
    }

    /// The major version of the Postgres that made the cluster, when there is one.
    pub(super) fn postgres_version(&self) -> Option<u32> {
        fs::read_to_string(self.postgres_data().join("PG_VERSION")).ok()?.trim().parse().ok()
    }

    /// Write a file that the servers may read and nobody else.
    pub(super) fn write(&self, path: &Path, content: &str) -> Result<(), Error> {
        let write = || {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
            file.write_all(content.as_bytes())?;
            self.give(path)
        };
        write().map_err(Error::io("write", path))
    }

    /// Hand `path` to the account that the servers run as.
    fn give(&self, path: &Path) -> std::io::Result<()> {
        let Some(account) = &self.account else { return Ok(()) };
        chown(path, Some(account.user), Some(account.group))
    }
}

/// The folder as an absolute path without links; made with mode 0700 when missing.
fn make_home(wanted: &Path) -> Result<PathBuf, Error> {
    let create = || {
        let home = std::path::absolute(wanted)?;
        if let Some(parent) = home.parent() {
            fs::create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(&home) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
            _ => fs::canonicalize(&home),
        }
    };
    let home = create().map_err(Error::io("create the data folder", wanted))?;
    let plain = home.to_str().is_some_and(|path| !path.chars().any(char::is_control));
    if !plain {
        return Err(Error::UnusablePath { home });
    }
    // Somebody else's directory is no place for our data; one of root's was made for us (a mounted volume).
    let owner = fs::metadata(&home).map_err(Error::io("read", &home))?.uid();
    let me = rustix::process::geteuid().as_raw();
    if owner != me && owner != 0 {
        return Err(Error::NotOurs { home, owner, me });
    }
    Ok(home)
}

/// A lock that is held.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough while a process that another thread is just starting has it too, until its exec.
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the lock of the data folder is given back when this process ends");
        }
    }
}

fn open_lock(home: &Path) -> Result<File, Error> {
    let path = home.join("lock");
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(Error::io("open", &path))
}

/// The kernel drops the lock with the process that holds it, however that one ends.
fn take_lock(home: &Path) -> Result<File, Error> {
    let path = home.join("lock");
    let mut lock = open_lock(home)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            lock.read_to_string(&mut holder).map_err(Error::io("read", &path))?;
            return Err(Error::InUse { home: home.to_path_buf(), holder: holder.trim().to_owned() });
        }
        Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
    }
    let note = |lock: &mut File| {
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())
    };
    note(&mut lock).map_err(Error::io("write", &path))?;
    Ok(lock)
}

fn check_format(home: &Path) -> Result<(), Error> {
    let path = home.join("VERSION");
    let found = match fs::read_to_string(&path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return fs::write(&path, format!("{FORMAT}\n")).map_err(Error::io("write", &path));
        }
        Err(error) => return Err(Error::io("read", &path)(error)),
    };
    match found.trim().parse::<u32>() {
        Ok(format) if format <= FORMAT => Ok(()),
        Ok(format) => Err(Error::NewerFormat { home: home.to_path_buf(), found: format, known: FORMAT }),
        Err(_) => {
            let found = found.trim().chars().take(40).filter(|character| !character.is_control()).collect();
            Err(Error::UnknownFormat { path, found })
        }
    }
}

fn check_space(home: &Path, least: u64) -> Result<(), Error> {
    const MIB: u64 = 1024 * 1024;
    let disk =
        rustix::fs::statvfs(home).map_err(|error| Error::io("measure the disk of", home)(error.into()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < least {
        return Err(Error::DiskFull {
            path: home.to_path_buf(),
            free_mib: free / MIB,
            needed_mib: least / MIB,
        });
    }
    Ok(())
}

/// Let `account` pass through the folder, and make sure that it can get that far.
fn open_to(home: &Path, account: &Account) -> Result<(), Error> {
    chown(home, None, Some(account.group)).map_err(Error::io("change the group of", home))?;
    set_mode(home, 0o710)?;
    let reachable = Command::new("/bin/true")
        .current_dir(home)
        .uid(account.user)
        .gid(account.group)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if reachable {
        return Ok(());
    }
    let closed = |directory: &&Path| fs::metadata(directory).is_ok_and(|found| !may_enter(&found, account));
    let ancestors: Vec<&Path> = home.ancestors().collect();
    let directory = ancestors.into_iter().rev().find(closed).unwrap_or(home).to_path_buf();
    Err(Error::NotReachable { account: account.name.clone(), directory })
}

/// Whether every existing directory above `home` lets the servers' account pass.
pub(super) fn is_reachable(home: &Path) -> bool {
    let Ok(Some(account)) = account::to_drop_to(&home.join("postgres")) else { return true };
    let Ok(home) = std::path::absolute(home) else { return true };
    let passes = |directory: &Path| fs::metadata(directory).map_or(true, |found| may_enter(&found, &account));
    home.ancestors().skip(1).all(passes)
}

fn may_enter(directory: &fs::Metadata, account: &Account) -> bool {
    let shift = match (directory.uid() == account.user, directory.gid() == account.group) {
        (true, _) => 6,
        (false, true) => 3,
        (false, false) => 0,
    };
    directory.mode() >> shift & 0o1 == 1
}

fn make_private(directory: &Path, account: Option<&Account>) -> Result<(), Error> {
    let make = || {
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        account.map_or(Ok(()), |account| chown(directory, Some(account.user), Some(account.group)))
    };
    make().map_err(Error::io("create", directory))?;
    set_mode(directory, 0o700)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(Error::io("set the permissions of", path))
}

/// `home/run` when its path fits into a socket address, else a private directory with a short random
/// name under the system's temporary directory, remembered in `home/run`.
fn choose_sockets(home: &Path, account: Option<&Account>) -> Result<PathBuf, Error> {
    let run = home.join("run");
    if fits(&run) {
        return Ok(run);
    }
    let owner = account.map_or(rustix::process::geteuid().as_raw(), |account| account.user);
    // The temporary directory is shared and emptied at will: a remembered name may be gone, or no longer ours.
    let ours = |path: &PathBuf| {
        fs::symlink_metadata(path)
            .is_ok_and(|found| found.is_dir() && found.uid() == owner && found.mode() & 0o777 == 0o700)
    };
    if let Some(remembered) = remembered_sockets(home).filter(ours) {
        return Ok(remembered);
    }
    let name = format!("plimsoll-{}", hex::encode(rand::random::<[u8; 8]>()));
    let directory = std::env::temp_dir().join(name);
    if !fits(&directory) {
        return Err(Error::UnusablePath { home: home.to_path_buf() });
    }
    DirBuilder::new().mode(0o700).create(&directory).map_err(Error::io("create", &directory))?;
    make_private(&directory, account)?;
    let note = note_of_sockets(home);
    fs::write(&note, directory.as_os_str().as_encoded_bytes()).map_err(Error::io("write", &note))?;
    Ok(directory)
}

fn remembered_sockets(home: &Path) -> Option<PathBuf> {
    let run = home.join("run");
    if fits(&run) {
        return Some(run);
    }
    fs::read_to_string(note_of_sockets(home)).ok().map(PathBuf::from)
}

fn note_of_sockets(home: &Path) -> PathBuf {
    home.join("run/socket-directory")
}

fn fits(directory: &Path) -> bool {
    directory.as_os_str().len() <= LONGEST_SOCKET_DIRECTORY
}
