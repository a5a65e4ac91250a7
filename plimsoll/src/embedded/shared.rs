//! One pair of servers for many test processes: the first starts it, the last one out has it stopped.
//!
//! Every user holds a shared lock on `home/users` for as long as its process lives, so the kernel counts
//! the users, crashed ones included. A small watching process ends the servers when nobody has held the
//! lock for half a minute, long enough for `cargo test` to go from one test binary to the next.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use std::os::unix::process::CommandExt;

use tracing::{info, warn};

use super::folder::Folder;
use super::{Error, Settings, postgres, prepare, redis_server, start_both};

/// A share in running servers. They stay as long as any process holds one.
#[derive(Debug)]
pub struct Attached {
    /// Connects as the superuser `plimsoll` to the database `plimsoll`.
    pub owner_url: String,
    /// `redis+unix:///…/redis.sock`, without a query.
    pub redis_url: String,
    _user: File,
}

/// Use the servers in `home`, starting them when none run. Nothing in `home` is flushed to disk, and it
/// is emptied when servers do not start from it: keep nothing there.
pub async fn attach_or_start(home: &Path) -> Result<Attached, Error> {
    let settings = Settings::for_tests(home);
    let (folder, user) = {
        let settings = settings.clone();
        let open = move || {
            let folder = Folder::open_when_free(&settings)?;
            let user = hold(&folder)?;
            Ok((folder, user))
        };
        tokio::task::spawn_blocking(open).await.expect("opening a folder does not panic")?
    };
    let attached = Attached {
        owner_url: postgres::url(&folder, postgres::OWNER),
        redis_url: redis_server::url(&folder),
        _user: user,
    };
    let running =
        postgres::answers(&attached.owner_url).await && redis_server::answers(&attached.redis_url).await;
    if !running {
        start_shared(&settings, &folder).await?;
    }
    Ok(attached)
}

fn hold(folder: &Folder) -> Result<File, Error> {
    let path = folder.home.join("users");
    let users = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .map_err(Error::io("open", &path))?;
    users.lock_shared().map_err(Error::io("lock", &path))?;
    Ok(users)
}

async fn start_shared(settings: &Settings, folder: &Folder) -> Result<(), Error> {
    let first = try_start(settings, folder).await;
    let Err(error @ (Error::Failed { .. } | Error::PostgresVersion { .. })) = first else { return first };
    // Unflushed data does not survive a power cut; it was for tests, so start over.
    warn!(error = &error as &dyn std::error::Error, "starting over with an empty folder for tests");
    for directory in [folder.postgres_data(), folder.redis_data().join("appendonlydir")] {
        if directory.exists() {
            fs::remove_dir_all(&directory).map_err(Error::io("remove", &directory))?;
        }
    }
    try_start(settings, folder).await
}

async fn try_start(settings: &Settings, folder: &Folder) -> Result<(), Error> {
    let (postgres, redis) = prepare(settings, folder).await?;
    let (postgres, redis) = start_both(settings, folder, &postgres, &redis).await?;
    postgres.leave_running();
    redis.leave_running();
    info!(home = %folder.home.display(), "started Postgres and Redis for tests");
    watch(folder)
}

/// Ends the servers of a folder, its argument, when its `users` lock has been free for 30 s.
const WATCH: &str = r#"
home=$1
servers() {
    for process in /proc/[0-9]*; do
        read -r name <"$process/comm" || continue
        case $name in
            postgres) [ "$process/cwd" -ef "$home/postgres/data" ] && echo "INT ${process#/proc/}" ;;
            redis-server | valkey-server) [ "$process/cwd" -ef "$home/redis" ] && echo "TERM ${process#/proc/}" ;;
        esac
    done 2>/dev/null
}
exec 9>>"$home/users" || exit
while :; do
    flock --exclusive 9 && flock --unlock 9 || exit
    sleep 30
    flock --exclusive --nonblock 9 || continue
    # The lock is kept until they have gone: whoever comes next starts them anew.
    while left=$(servers); [ -n "$left" ]; do
        echo "$left" | while read -r signal process; do kill -s "$signal" "$process"; done
        sleep 0.2
    done
    exit
done
"#;

/// Start the watching process. It holds no pipe of ours, so that a shell waiting for the tests' output
/// does not wait for it too.
fn watch(folder: &Folder) -> Result<(), Error> {
    let shell = Path::new("/bin/sh");
    let child = Command::new(shell)
        .args(["-c", WATCH, "plimsoll-tests-watch"])
        .arg(&folder.home)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(Error::io("run", shell))?;
    drop(child);
    Ok(())
}

/// A folder for [`attach_or_start`] that all checkouts of this user share: short enough for sockets, and on
/// the machine's temporary storage, where the account that root drops to can reach it.
pub fn folder_for_tests() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("plimsoll-tests-{}", rustix::process::geteuid().as_raw()))
}
