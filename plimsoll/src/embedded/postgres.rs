//! The private Postgres: its cluster, its settings, and when it is ready.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::{Pid, Signal};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tracing::info;

use super::folder::Folder;
use super::launch::{Launch, Process, command};
use super::programs::PostgresPrograms;
use super::{Error, Settings};

/// Superuser and owner of everything. No password: who can enter the socket directory is its account or root.
pub(super) const OWNER: &str = "plimsoll";
const DATABASE: &str = "plimsoll";
/// Only the socket's name contains it.
const PORT: u16 = 5432;

pub(super) const PROCESS_NAMES: &[&str] = &["postgres"];
/// "Fast shutdown": sessions are ended, a checkpoint is written.
pub(super) const STOP_SIGNAL: Signal = Signal::INT;

/// For `database` of the cluster in `folder`, as `login`.
fn url_of(folder: &Folder, database: &str, login: &str) -> String {
    let sockets = folder.sockets.to_string_lossy();
    let host = utf8_percent_encode(&sockets, NON_ALPHANUMERIC);
    format!("postgres:///{database}?host={host}&port={PORT}&user={login}")
}

/// For our database in the cluster of `folder`, as `login`.
pub(super) fn url(folder: &Folder, login: &str) -> String {
    url_of(folder, DATABASE, login)
}

/// Make the cluster if there is none, and write its settings.
pub(super) async fn prepare(
    settings: &Settings,
    folder: &Folder,
    programs: &PostgresPrograms,
) -> Result<Launch, Error> {
    let data = folder.postgres_data();
    if folder.postgres_version().is_none() {
        create_cluster(settings, folder, programs).await?;
    }
    folder.write(&data.join("plimsoll.conf"), &configuration(&folder.sockets, settings.durable))?;
    folder.write(&data.join("pg_hba.conf"), ACCESS)?;
    remove_stale_lock(&data.join("postmaster.pid"))?;
    remove_stale_lock(&folder.sockets.join(format!(".s.PGSQL.{PORT}.lock")))?;
    Ok(Launch {
        name: "Postgres",
        program: programs.postgres.clone(),
        arguments: vec!["-D".to_owned(), data.to_string_lossy().into_owned()],
        directory: data,
        process_names: PROCESS_NAMES,
        account: folder.account.clone(),
        log: folder.log("postgres.log"),
        stop: STOP_SIGNAL,
    })
}

const ACCESS: &str = "\
# Written by plimsoll at each start. There is no network listener; the directory of the socket is what keeps
# others out (mode 0700).
local all all trust
";

/// Read after the cluster's own postgresql.conf, before what `alter system` has set.
fn configuration(sockets: &Path, durable: bool) -> String {
    // A list of directories in which a name may be quoted, inside a quoted string.
    let sockets = sockets.to_string_lossy().replace('"', "\"\"").replace('\'', "''");
    let on = if durable { "on" } else { "off" };
    let (connections, checkpoint) = if durable { (100, "5min") } else { (400, "30min") };
    format!(
        "\
# Written by plimsoll at each start: changes belong into `alter system`, which wins over this file.
listen_addresses = ''
port = {PORT}
unix_socket_directories = '\"{sockets}\"'
unix_socket_permissions = 0700
max_connections = {connections}
shared_buffers = 128MB
checkpoint_timeout = {checkpoint}
timezone = 'UTC'
idle_in_transaction_session_timeout = 2min

# What was answered with COMMIT is on the disk.
fsync = {on}
full_page_writes = {on}
synchronous_commit = {on}

# To standard error, which is log/postgres.log. Statements stay out of it: they hold data.
log_destination = stderr
logging_collector = off
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
log_min_messages = warning
log_min_error_statement = panic
log_checkpoints = off
"
    )
}

/// `initdb` into a directory beside, renamed when whole: a cluster that is there is complete.
async fn create_cluster(
    settings: &Settings,
    folder: &Folder,
    programs: &PostgresPrograms,
) -> Result<(), Error> {
    let data = folder.postgres_data();
    let unfinished = data.with_file_name("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(Error::io("remove", &unfinished))?;
    }
    info!(version = programs.major, directory = %data.display(), "creating a Postgres cluster");
    let mut initdb = command(&programs.initdb, folder.account.as_ref());
    let locale = if cfg!(target_os = "linux") { "--locale=C.UTF-8" } else { "--locale=C" };
    initdb
        .args(["--encoding=UTF8", locale, "--auth=trust", "--no-instructions"])
        .args(["--username", OWNER, "-D"])
        .arg(&unfinished)
        .arg(if settings.durable { "--data-checksums" } else { "--no-sync" })
        .current_dir(folder.home.join("postgres"));
    let output = initdb.output().await.map_err(Error::io("run", &programs.initdb))?;
    if !output.status.success() {
        return Err(initdb_failure(&output, folder));
    }
    let configuration = unfinished.join("postgresql.conf");
    let generated = fs::read_to_string(&configuration).map_err(Error::io("read", &configuration))?;
    folder.write(&configuration, &format!("{generated}\ninclude 'plimsoll.conf'\n"))?;
    if data.exists() {
        // Not a cluster (it has no PG_VERSION) and so not ours to remove; renaming says so unless it is empty.
        fs::remove_dir(&data).map_err(Error::io("replace", &data))?;
    }
    fs::rename(&unfinished, &data).map_err(Error::io("rename the new cluster to", &data))
}

fn initdb_failure(output: &std::process::Output, folder: &Folder) -> Error {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("No space left on device") {
        return Error::DiskFull { path: folder.home.clone(), free_mib: 0, needed_mib: 64 };
    }
    let log = folder.log("initdb.log");
    // The sentence below names the log; that it could not be written changes nothing about the failure.
    let _ = folder.write(&log, &said);
    let said = said.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join(" / ");
    Error::Failed { program: "initdb".to_owned(), outcome: output.status.to_string(), said, log }
}

/// Remove a lock file whose process id now belongs to somebody else.
///
/// Postgres removes a stale one itself unless a process with that id lives: after a reboot, or in a container, it
/// may well. That it is none of ours is known by now, see [`super::leftovers`].
fn remove_stale_lock(lock: &Path) -> Result<(), Error> {
    let Ok(content) = fs::read_to_string(lock) else { return Ok(()) };
    let holder = content.lines().next().and_then(|line| line.trim().parse().ok()).and_then(Pid::from_raw);
    let lives = holder.is_some_and(|id| rustix::process::test_kill_process(id).is_ok());
    if lives && Path::new("/proc/self").exists() {
        fs::remove_file(lock).map_err(Error::io("remove", lock))?;
    }
    Ok(())
}

/// Wait until the database answers, and create ours in a new cluster.
pub(super) async fn wait_until_ready(
    settings: &Settings,
    folder: &Folder,
    process: &mut Process,
) -> Result<(), Error> {
    let maintenance = url_of(folder, "postgres", OWNER);
    process.wait_until(settings.start_timeout, async || answers(&maintenance).await).await?;
    create_database(&maintenance).await.map_err(|source| Error::CreateDatabase { database: DATABASE, source })
}

/// Whether a session can be had at `url`.
pub(super) async fn answers(url: &str) -> bool {
    let Ok(options) = PgConnectOptions::from_str(url) else { return false };
    match options.connect().await {
        Ok(connection) => connection.close().await.is_ok(),
        Err(_) => false,
    }
}

async fn create_database(maintenance: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnectOptions::from_str(maintenance)?.connect().await?;
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(DATABASE)
        .fetch_one(&mut connection)
        .await?;
    if !exists {
        sqlx::query("create database plimsoll").execute(&mut connection).await?;
    }
    connection.close().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_directory_with_quotes_and_a_comma_stays_one_directory() {
        let written = configuration(Path::new("/srv/o'brien, \"ops\"/run"), true);
        assert!(written.contains(r#"unix_socket_directories = '"/srv/o''brien, ""ops""/run"'"#), "{written}");
    }

    #[test]
    fn a_real_installation_flushes_every_commit() {
        for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
            assert!(configuration(Path::new("/run"), true).contains(&format!("\n{setting} = on\n")));
            assert!(configuration(Path::new("/run"), false).contains(&format!("\n{setting} = off\n")));
        }
    }
}
