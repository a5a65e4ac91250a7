//! The command line: exit codes, where output goes, and sentences that help.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use plimsoll::embedded::{self, Settings};
use tempfile::TempDir;

#[test]
fn settings_that_cannot_be_used_end_with_78_and_name_every_problem() {
    let output = run(plimsoll(&["check-config"]).env("API_LISTEN", "nowhere").env("WORKER_SLOTS", "0"));
    assert_eq!(output.status.code(), Some(78));
    let said = errors(&output);
    assert!(said.contains("API_LISTEN=nowhere") && said.contains("WORKER_SLOTS=0"), "{said}");
    assert!(output.stdout.is_empty(), "what goes wrong is no result");
}

#[test]
fn sound_settings_end_with_0() {
    let output = run(&mut plimsoll(&["check-config"]));
    assert_eq!((output.status.code(), results(&output).as_str()), (Some(0), "the settings can be used\n"));
}

#[test]
fn a_command_that_does_not_exist_ends_with_2_and_a_suggestion() {
    let output = run(&mut plimsoll(&["docter"]));
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("'doctor'"), "{}", errors(&output));
}

#[test]
fn one_server_address_without_the_other_is_a_mistake() {
    let output = run(plimsoll(&["doctor"]).env("REDIS_URL", "redis://127.0.0.1:1"));
    assert_eq!(output.status.code(), Some(78));
    assert!(errors(&output).contains("DATABASE_URL is not"), "{}", errors(&output));
}

#[test]
fn doctor_without_anything_running_says_what_to_do() {
    let home = folder();
    let output = run(plimsoll(&["doctor"]).env("PLIMSOLL_HOME", home.path()));
    assert_eq!(output.status.code(), Some(69));
    assert!(errors(&output).contains("plimsoll up"), "{}", errors(&output));
}

#[test]
fn a_signing_key_is_not_rotated_where_nothing_runs() {
    let home = folder();
    let output = run(plimsoll(&["tokens", "rotate"]).env("PLIMSOLL_HOME", home.path()));
    assert_eq!(output.status.code(), Some(69));
    assert!(errors(&output).contains("plimsoll up"), "{}", errors(&output));
}

#[test]
fn doctor_names_each_server_that_does_not_answer() {
    let home = folder();
    let output = run(plimsoll(&["doctor"])
        .env("PLIMSOLL_HOME", home.path())
        .env("DATABASE_URL", "postgres://someone:hunter2@127.0.0.1:1/x")
        .env("REDIS_URL", "redis://:hunter2@127.0.0.1:1"));
    assert_eq!(output.status.code(), Some(1));
    let said = results(&output);
    assert!(said.contains("FAILURE  postgres") && said.contains("FAILURE  redis"), "{said}");
    assert!(!said.contains("hunter2") && !errors(&output).contains("hunter2"), "a password is shown: {said}");
}

#[tokio::test]
async fn migrate_makes_the_schema_and_doctor_is_then_content() {
    let home = folder();
    let running = embedded::start(&Settings::new(home.path())).await.expect("services start");
    let at_home = |arguments: &[&str]| run(plimsoll(arguments).env("PLIMSOLL_HOME", home.path()));

    let before = at_home(&["doctor", "--json"]);
    assert_eq!(before.status.code(), Some(1), "{}{}", results(&before), errors(&before));
    assert!(results(&before).contains("plimsoll migrate"), "{}", results(&before));

    for _ in 0..2 {
        let migrated = at_home(&["migrate"]);
        assert_eq!(migrated.status.code(), Some(0), "{}", errors(&migrated));
    }
    let after = at_home(&["doctor"]);
    assert_eq!(after.status.code(), Some(0), "{}{}", results(&after), errors(&after));
    let said = results(&after);
    for part in ["an answered commit is on the disk", "never evicts a key", "read back", "is this version's"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    running.stop().await;
}

#[tokio::test]
async fn migrate_without_servers_uses_private_ones_and_stops_them_again() {
    let home = folder();
    let output = run(plimsoll(&["migrate"]).env("PLIMSOLL_HOME", home.path()));
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(embedded::find_running(home.path()), None);
}

#[test]
fn the_agent_writes_its_report_to_a_file_without_a_server() {
    let home = folder();
    let file = home.path().join("report.json");
    let output = run(plimsoll(&["agent", "report", "--out"]).arg(&file));
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).expect("a file")).expect("JSON");
    assert!(report["packages"].as_array().is_some_and(|packages| !packages.is_empty()));
}

#[test]
fn the_agent_needs_a_token_and_takes_it_from_a_file() {
    let home = folder();
    let token = home.path().join("token");
    std::fs::write(&token, "secret-of-the-agent\n").expect("a writable folder");
    let without = run(&mut plimsoll(&["agent", "report", "--url", "http://127.0.0.1:1"]));
    assert_eq!(without.status.code(), Some(78), "{}", errors(&without));

    let (url, request) =
        answer_once("HTTP/1.1 202 Accepted\r\ncontent-length: 16\r\n\r\n{\"job_id\":\"j-7\"}");
    let sent = run(plimsoll(&["agent", "report", "--url", &url, "--token-file"]).arg(&token));
    assert_eq!(sent.status.code(), Some(0), "{}", errors(&sent));
    assert!(results(&sent).contains("job j-7 "), "{}", results(&sent));
    let request = request.join().expect("a request").to_ascii_lowercase();
    assert!(request.starts_with("post /api/inventory/reports "), "{request}");
    assert!(request.contains("authorization: bearer secret-of-the-agent\r\n"), "{request}");
}

#[test]
fn the_agent_ends_by_what_the_server_says() {
    for (status, code) in [("401 Unauthorized", 77), ("503 Service Unavailable", 75), ("413 Too Large", 1)] {
        let body = "{\"detail\":\"the reason\"}";
        let (url, _) =
            answer_once(&format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        let output = run(plimsoll(&["agent", "report", "--url", &url]).env("AGENT_TOKEN", "x"));
        assert_eq!(output.status.code(), Some(code), "{}", errors(&output));
        assert!(errors(&output).contains("the reason"), "{}", errors(&output));
    }
    let output = run(plimsoll(&["agent", "report", "--url", "http://127.0.0.1:1"]).env("AGENT_TOKEN", "x"));
    assert_eq!(output.status.code(), Some(69), "{}", errors(&output));
}

#[test]
fn help_is_quick_and_lists_the_exit_codes() {
    let help = || {
        let started = std::time::Instant::now();
        let output = run(&mut plimsoll(&["--help"]));
        let took = started.elapsed();
        assert!(results(&output).contains("78 configuration"), "{}", results(&output));
        took
    };
    // Others may hold one up.
    let fastest = (0..5).map(|_| help()).min().expect("five runs");
    assert!(fastest.as_millis() < 1000, "{fastest:?}");
}

#[test]
fn the_openapi_document_is_printed_as_json() {
    let output = run(&mut plimsoll(&["openapi"]));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    assert!(document["paths"]["/api/reports/generate"]["post"].is_object());
}

/// A server on loopback that gives one answer, and the request that it was given.
fn answer_once(answer: &str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let answer = answer.to_owned();
    let request = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let request = read_request(&mut stream);
        stream.write_all(answer.as_bytes()).expect("the client listens");
        request
    });
    (url, request)
}

/// The head of a request; its body is read to the end and left out.
fn read_request(stream: &mut impl Read) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 64 * 1024];
    let end_of_head = loop {
        let count = stream.read(&mut buffer).expect("the client sends");
        assert_ne!(count, 0, "the client went away");
        request.extend_from_slice(&buffer[..count]);
        if let Some(at) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
    };
    let head = String::from_utf8_lossy(&request[..end_of_head + 2]).into_owned();
    let length = head.to_ascii_lowercase();
    let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let mut left = length.trim().parse::<usize>().expect("a number") + end_of_head + 4 - request.len();
    while left > 0 {
        left -= stream.read(&mut buffer).expect("the client sends");
    }
    head
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("plimsoll-test-").tempdir().expect("a temporary folder")
}

/// The command with settings that do not depend on who runs the tests.
fn plimsoll(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).current_dir(Path::new("/"));
    command
}

fn run(command: &mut Command) -> Output {
    command.output().expect("the command runs")
}

fn results(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
