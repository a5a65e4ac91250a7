//! Finding the machine's own Postgres and Redis programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;
use super::folder::Folder;

/// The oldest Postgres that the migrations are written for (Ubuntu 22.04 has 14).
const OLDEST_POSTGRES: u32 = 14;

/// One installed Postgres.
#[derive(Debug, Clone)]
pub(super) struct PostgresPrograms {
    pub(super) postgres: PathBuf,
    pub(super) initdb: PathBuf,
    pub(super) major: u32,
}

/// `PATH`, then where distributions put the server programs that they keep out of `PATH`.
pub(super) fn usual_directories() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    directories.extend(versioned("/usr/lib/postgresql", "", "bin"));
    directories.extend(versioned("/usr", "pgsql-", "bin"));
    directories.extend(versioned("/opt/homebrew/opt", "postgresql@", "bin"));
    directories.extend(
        ["/usr/local/pgsql/bin", "/opt/homebrew/bin", "/usr/local/bin", "/usr/bin", "/usr/sbin"]
            .map(PathBuf::from),
    );
    directories
}

/// `parent/<prefix><number>/<below>`, highest number first.
fn versioned(parent: &str, prefix: &str, below: &str) -> Vec<PathBuf> {
    let number = |entry: fs::DirEntry| -> Option<(u32, PathBuf)> {
        let number = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
        Some((number, entry.path().join(below)))
    };
    let mut found: Vec<_> = fs::read_dir(parent).into_iter().flatten().flatten().filter_map(number).collect();
    found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    found.into_iter().map(|(_, path)| path).collect()
}

/// Redis, or Valkey, which speaks the same protocol and reads the same settings.
pub(super) fn find_redis(directories: &[PathBuf]) -> Result<PathBuf, Error> {
    ["redis-server", "valkey-server"]
        .iter()
        .find_map(|name| directories.iter().map(|directory| directory.join(name)).find(|path| path.is_file()))
        .ok_or(Error::ProgramMissing { program: "redis-server", package: "redis-server" })
}

/// The Postgres that made the folder's cluster or, for a new folder, the newest.
pub(super) fn find_postgres(directories: &[PathBuf], folder: &Folder) -> Result<PostgresPrograms, Error> {
    let missing = Error::ProgramMissing { program: "postgres", package: "postgresql" };
    let mut installed: Vec<_> = directories.iter().filter_map(|directory| postgres_in(directory)).collect();
    installed.sort_by_key(|programs| std::cmp::Reverse(programs.major));
    let Some(newest) = installed.first().cloned() else { return Err(missing) };
    let Some(cluster) = folder.postgres_version() else {
        return if newest.major < OLDEST_POSTGRES { Err(missing) } else { Ok(newest) };
    };
    installed.into_iter().find(|programs| programs.major == cluster).ok_or_else(|| Error::PostgresVersion {
        home: folder.home.clone(),
        cluster,
        installed: newest.major,
    })
}

/// `postgres` and `initdb` side by side. A link into a versioned directory is followed to it, for
/// `initdb` looks for its companion where it lies itself.
fn postgres_in(directory: &Path) -> Option<PostgresPrograms> {
    let postgres = fs::canonicalize(directory.join("postgres")).ok()?;
    let initdb = postgres.with_file_name("initdb");
    let version = Command::new(&postgres).arg("--version").output().ok()?;
    let major = parse_major(&String::from_utf8_lossy(&version.stdout))?;
    initdb.is_file().then_some(PostgresPrograms { postgres, initdb, major })
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` is 15.
fn parse_major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    number.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_postgres_prints() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(parse_major("command not found"), None);
    }
}
