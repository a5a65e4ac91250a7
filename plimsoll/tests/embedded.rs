//! The private Postgres and Redis: they start, stay, keep their data, and never run twice on one folder.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use plimsoll::embedded::{self, Error, Settings};
use rustix::process::{Pid, Signal};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tempfile::TempDir;

#[tokio::test]
async fn both_servers_answer_and_their_data_survives_a_restart() {
    let home = folder();
    let running = start(&home).await;
    let mut postgres = connect(&running.addresses.owner_url).await;
    run(&mut postgres, "create table kept (word text)").await;
    run(&mut postgres, "insert into kept values ('here')").await;
    drop(postgres);
    redis_set(&running.addresses.redis_url, "here").await;
    running.stop().await;
    assert!(processes_in(home.path()).is_empty(), "nothing runs on after a clean stop");

    let running = start(&home).await;
    let mut postgres = connect(&running.addresses.owner_url).await;
    let word: String =
        sqlx::query_scalar("select word from kept").fetch_one(&mut postgres).await.expect("the table");
    assert_eq!(word, "here");
    assert_eq!(redis_get(&running.addresses.redis_url).await.as_deref(), Some("here"));
    running.stop().await;
}

#[tokio::test]
async fn a_commit_is_durable_and_keys_are_never_evicted() {
    let home = folder();
    let running = start(&home).await;
    let mut postgres = connect(&running.addresses.owner_url).await;
    for setting in ["fsync", "synchronous_commit", "full_page_writes", "data_checksums"] {
        let value: String = sqlx::query_scalar("select current_setting($1)")
            .bind(setting)
            .fetch_one(&mut postgres)
            .await
            .expect("a setting");
        assert_eq!(value, "on", "{setting}");
    }
    let client = redis::Client::open(format!("{}?protocol=resp3", running.addresses.redis_url))
        .expect("a Redis address");
    let mut redis = client.get_multiplexed_async_connection().await.expect("Redis answers");
    for (setting, expected) in [("appendonly", "yes"), ("maxmemory-policy", "noeviction"), ("port", "0")] {
        let (_, value): (String, String) = redis::cmd("CONFIG")
            .arg("GET")
            .arg(setting)
            .query_async(&mut redis)
            .await
            .map(one_pair)
            .expect("a setting");
        assert_eq!(value, expected, "{setting}");
    }
    running.stop().await;
}

#[tokio::test]
async fn no_server_runs_as_root_and_nobody_else_can_reach_the_sockets() {
    let home = folder();
    let running = start(&home).await;
    let mut looked_at = 0;
    for process in processes_in(home.path()) {
        // Postgres starts and ends processes as it likes: one that was there a moment ago need not be there now.
        let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())) else {
            continue;
        };
        let user = status.lines().find_map(|line| line.strip_prefix("Uid:\t")).expect("a user");
        assert!(!user.starts_with("0\t"), "{status}");
        looked_at += 1;
    }
    assert!(looked_at >= 2, "Postgres and Redis run");
    for private in ["run", "postgres", "redis"] {
        let mode = std::fs::metadata(home.path().join(private)).expect("a directory").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{private}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_killed_server_is_started_again() {
    let home = folder();
    let running = start(&home).await;
    redis_set(&running.addresses.redis_url, "kept").await;
    for process in top_processes_in(home.path()) {
        rustix::process::kill_process(process, Signal::KILL).expect("our own process");
    }
    within(Duration::from_secs(20), async || answers(&running.addresses.owner_url).await).await;
    within(Duration::from_secs(20), async || {
        redis_get(&running.addresses.redis_url).await.as_deref() == Some("kept")
    })
    .await;
    running.stop().await;
    assert!(processes_in(home.path()).is_empty());
}

#[tokio::test]
async fn a_second_start_on_the_same_folder_is_refused_with_the_id_of_the_first() {
    let home = folder();
    let running = start(&home).await;
    let error = embedded::start(&settings(&home)).await.expect_err("the folder is in use");
    assert!(error.to_string().contains(&format!("in use by process {}", std::process::id())), "{error}");
    running.stop().await;
    start(&home).await.stop().await;
}

#[tokio::test]
async fn servers_left_behind_by_a_killed_parent_are_found_and_replaced() {
    let home = folder();
    let (mut parent, urls) = services_command(home.path());
    let mut postgres = connect(&urls[0]).await;
    run(&mut postgres, "create table kept ()").await;
    parent.kill().expect("our own child");
    parent.wait().expect("our own child");
    let left = top_processes_in(home.path());
    assert_eq!(left.len(), 2, "both servers outlive a parent killed with -9");

    let running = start(&home).await;
    let now = top_processes_in(home.path());
    assert!(
        now.iter().all(|process| !left.contains(process)),
        "the old servers have ended: {left:?} {now:?}"
    );
    let mut postgres = connect(&running.addresses.owner_url).await;
    run(&mut postgres, "select from kept").await;
    running.stop().await;
}

#[tokio::test]
async fn the_services_command_stops_cleanly_on_a_signal() {
    for signal in [Signal::INT, Signal::TERM] {
        let home = folder();
        let (mut parent, _) = services_command(home.path());
        let id = Pid::from_raw(i32::try_from(parent.id()).expect("a process id")).expect("not zero");
        rustix::process::kill_process(id, signal).expect("our own child");
        assert_eq!(parent.wait().expect("our own child").code(), Some(0));
        assert!(processes_in(home.path()).is_empty());
    }
}

#[tokio::test]
async fn a_stranger_who_now_has_the_process_id_in_a_lock_file_does_not_matter() {
    let home = folder();
    start(&home).await.stop().await;
    // As after a power cut: the file is still there, and its process id has been given to another program of
    // the same account, which is the case that Postgres cannot tell from a running Postgres.
    let data = home.path().join("postgres/data");
    let account = std::fs::metadata(&data).expect("a cluster").uid();
    let mut stranger = Command::new("sleep")
        .arg("60")
        .uid(account)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a program");
    let lock = format!("{}\n{}\n1700000000\n5432\n\n\n", stranger.id(), data.display());
    std::fs::write(data.join("postmaster.pid"), lock).expect("a writable folder");
    start(&home).await.stop().await;
    stranger.kill().expect("our own child");
    stranger.wait().expect("our own child");
}

#[tokio::test]
async fn an_interrupted_first_start_is_made_good() {
    let home = folder();
    std::fs::create_dir_all(home.path().join("postgres/unfinished")).expect("a writable folder");
    std::fs::write(home.path().join("postgres/unfinished/PG_VERSION"), "15\n").expect("a writable folder");
    start(&home).await.stop().await;
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_address_works_too() {
    let outer = folder();
    let home = outer.path().join("a long name, with a comma and 'quotes' ".repeat(4).trim());
    std::fs::create_dir(&home).expect("a writable folder");
    open_to_all(outer.path());
    let first = embedded::start(&Settings::for_tests(&home)).await.expect("services start");
    assert!(answers(&first.addresses.owner_url).await);
    let address = first.addresses.owner_url.clone();
    assert_eq!(embedded::find_running(&home), Some(first.addresses.clone()));
    first.stop().await;
    assert_eq!(embedded::find_running(&home), None);
    let second = embedded::start(&Settings::for_tests(&home)).await.expect("services start");
    assert_eq!(second.addresses.owner_url, address, "the short directory is remembered");
    second.stop().await;
    let sockets = std::fs::read_to_string(home.join("run/socket-directory")).expect("a note");
    std::fs::remove_dir_all(sockets).expect("our own directory");
}

#[tokio::test]
async fn a_missing_program_is_one_sentence_that_says_what_to_install() {
    let home = folder();
    let nowhere = Settings { program_directories: vec![], ..settings(&home) };
    let error = embedded::start(&nowhere).await.expect_err("there is no Redis");
    assert!(error.to_string().contains("apt-get install redis-server"), "{error}");

    let only_redis = folder();
    let redis = Settings::new("unused").program_directories;
    let redis = redis.iter().map(|directory| directory.join("redis-server")).find(|path| path.exists());
    std::os::unix::fs::symlink(redis.expect("Redis is installed"), only_redis.path().join("redis-server"))
        .expect("a writable folder");
    let no_postgres = Settings { program_directories: vec![only_redis.path().into()], ..settings(&home) };
    let error = embedded::start(&no_postgres).await.expect_err("there is no Postgres");
    assert!(error.to_string().contains("apt-get install postgresql"), "{error}");
}

#[tokio::test]
async fn a_folder_from_a_newer_version_is_refused() {
    let home = folder();
    std::fs::write(home.path().join("VERSION"), "999\n").expect("a writable folder");
    let error = embedded::start(&settings(&home)).await.expect_err("it is too new");
    assert!(matches!(error, Error::NewerFormat { found: 999, .. }), "{error}");
    let output = plimsoll(home.path()).output().expect("the command runs");
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("install the newer Plimsoll"), "{said}");
}

#[tokio::test]
async fn a_full_disk_is_one_sentence() {
    let home = folder();
    let greedy = Settings { least_free_bytes: u64::MAX, ..settings(&home) };
    let error = embedded::start(&greedy).await.expect_err("no disk is that large");
    assert!(error.to_string().contains("is full"), "{error}");
}

#[tokio::test]
async fn a_home_that_cannot_be_made_is_one_sentence() {
    let error =
        embedded::start(&Settings::for_tests("/proc/plimsoll")).await.expect_err("nobody can write there");
    assert!(error.to_string().contains("/proc/plimsoll"), "{error}");
}

#[tokio::test]
async fn a_home_behind_a_closed_directory_names_that_directory() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root drops to another account");
        return;
    }
    let closed = folder();
    let home = closed.path().join("home");
    std::fs::set_permissions(closed.path(), PermissionsExt::from_mode(0o700)).expect("our own folder");
    let error = embedded::start(&Settings::for_tests(&home)).await.expect_err("the account cannot get there");
    let closed = closed.path().canonicalize().expect("our own folder");
    assert!(matches!(&error, Error::NotReachable { directory, .. } if *directory == closed), "{error}");
}

#[tokio::test]
async fn tests_share_running_servers() {
    let home = folder();
    let first = embedded::attach_or_start(home.path()).await.expect("servers start");
    let started = top_processes_in(home.path());
    let second = embedded::attach_or_start(home.path()).await.expect("servers are there");
    assert_eq!(first.owner_url, second.owner_url);
    assert!(answers(&second.owner_url).await);
    drop(first);
    assert_eq!(top_processes_in(home.path()), started, "they were not started twice");
    // A real start takes the folder over, and its stop ends everything.
    drop(second);
    start(&home).await.stop().await;
    assert!(processes_in(home.path()).is_empty());
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("plimsoll-test-").tempdir().expect("a temporary folder")
}

/// Durable, unlike [`Settings::for_tests`]: this is how it runs for people.
fn settings(home: &TempDir) -> Settings {
    Settings::new(home.path())
}

async fn start(home: &TempDir) -> embedded::Running {
    embedded::start(&settings(home)).await.expect("services start")
}

fn open_to_all(directory: &Path) {
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).expect("our own folder");
}

fn plimsoll(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.arg("services").env("PLIMSOLL_HOME", home);
    command
}

/// The command, running, and the two addresses that it has printed.
fn services_command(home: &Path) -> (Child, Vec<String>) {
    let mut child = plimsoll(home).stdout(Stdio::piped()).spawn().expect("the command runs");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().take(2);
    let url = |line: String| line.split_once('=').expect("NAME='value'").1.trim_matches('\'').to_owned();
    let urls: Vec<String> = lines.map(|line| url(line.expect("a line"))).collect();
    assert_eq!(urls.len(), 2, "it prints two settings");
    (child, urls)
}

async fn connect(url: &str) -> PgConnection {
    PgConnectOptions::from_str(url).expect("an address").connect().await.expect("Postgres answers")
}

async fn answers(url: &str) -> bool {
    PgConnectOptions::from_str(url).expect("an address").connect().await.is_ok()
}

async fn run(connection: &mut PgConnection, sql: &'static str) {
    sqlx::query(sql).execute(connection).await.expect("a statement");
}

async fn redis_set(url: &str, value: &str) {
    let mut connection = redis::Client::open(url)
        .expect("an address")
        .get_multiplexed_async_connection()
        .await
        .expect("Redis answers");
    redis::cmd("SET").arg("word").arg(value).query_async::<()>(&mut connection).await.expect("a command");
    // The append-only file is flushed every second; waiting for one replica of none flushes nothing, so wait.
    tokio::time::sleep(Duration::from_millis(1200)).await;
}

async fn redis_get(url: &str) -> Option<String> {
    let mut connection = redis::Client::open(url).ok()?.get_multiplexed_async_connection().await.ok()?;
    redis::cmd("GET").arg("word").query_async(&mut connection).await.ok()
}

fn one_pair(map: std::collections::HashMap<String, String>) -> (String, String) {
    map.into_iter().next().expect("one setting")
}

async fn within(limit: Duration, condition: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + limit;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Every process whose working directory is inside `home`.
fn processes_in(home: &Path) -> Vec<Pid> {
    let home = home.canonicalize().expect("a folder");
    let inside = |entry: std::fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        std::fs::read_link(entry.path().join("cwd")).ok()?.starts_with(&home).then_some(id)
    };
    std::fs::read_dir("/proc").expect("Linux").flatten().filter_map(inside).collect()
}

/// The two servers without their worker processes.
fn top_processes_in(home: &Path) -> Vec<Pid> {
    let home: PathBuf = home.canonicalize().expect("a folder");
    let all = processes_in(&home);
    let parent = |id: &Pid| -> Option<Pid> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero())).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok().and_then(Pid::from_raw)
    };
    all.iter().copied().filter(|id| parent(id).is_some_and(|parent| !all.contains(&parent))).collect()
}
