//! Everything on one machine: it serves, stops cleanly, refuses to run twice, and the demo ends with a report.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use plimsoll::embedded;
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

#[test]
fn up_serves_with_a_one_time_token_and_stops_cleanly_on_sigterm() {
    let home = folder();
    let mut up = Up::start(home.path());
    assert!(up.get("/readyz").starts_with("HTTP/1.0 200"), "{}", up.get("/readyz"));
    assert!(up.get("/health").contains("\"status\":\"ok\""), "{}", up.get("/health"));
    let invitation = up.line();
    let token = invitation.rsplit(' ').next().expect("a last word");
    assert!(token.len() == 40 && invitation.contains("/api/auth/setup"), "{invitation}");

    assert_eq!(up.end(Signal::TERM), Some(0));
    assert_eq!(embedded::find_running(home.path()), None, "nothing is left running");
}

#[test]
fn a_second_up_on_the_same_folder_is_refused_with_the_id_of_the_first() {
    let home = folder();
    let up = Up::start(home.path());
    let second = plimsoll(home.path(), &["up"]).output().expect("the command runs");
    assert_eq!(second.status.code(), Some(75));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&format!("in use by process {}", up.child.id())), "{said}");
    assert_eq!(up.end(Signal::INT), Some(0));
}

#[test]
fn a_port_that_is_taken_is_named_with_what_to_do() {
    let home = folder();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let output =
        plimsoll(home.path(), &["up"]).env("API_LISTEN", &address).output().expect("the command runs");
    assert_eq!(output.status.code(), Some(69));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("API_LISTEN={address}")) && said.contains("free port"), "{said}");
}

#[test]
fn an_up_that_was_killed_is_followed_by_one_with_the_same_data() {
    let home = folder();
    let first = Up::start(home.path());
    let administrator =
        r#"{"username":"first","email":"first@example.com","password":"correct horse battery"}"#;
    let created = first.post("/api/auth/setup", administrator);
    assert!(created.starts_with("HTTP/1.0 201"), "{created}");
    assert_eq!(first.end(Signal::KILL), None);

    let second = Up::start(home.path());
    let login = second.post("/api/auth/login", r#"{"username":"first","password":"correct horse battery"}"#);
    assert!(login.starts_with("HTTP/1.0 200"), "{login}");
    assert_eq!(second.end(Signal::TERM), Some(0));
}

#[test]
fn the_demo_ends_with_reports_a_mail_and_nothing_left_running() {
    let home = folder();
    for run in ["the first", "the second on the same folder"] {
        let output = plimsoll(home.path(), &["demo", "--exit"]).output().expect("the command runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{run}: {said}{errors}");
        for part in [
            "feed debian-tracker",
            "packages",
            "known exploited",
            "its signature verifies",
            "/api/docs",
            "password ",
        ] {
            assert!(said.contains(part), "{run}: {part}: {said}");
        }
        let reports = said.lines().filter_map(|line| line.strip_prefix("Report:")).map(str::trim);
        let begins: Vec<_> =
            reports.map(|path| std::fs::read(path).expect("a report")[..5].to_vec()).collect();
        assert_eq!(begins, [b"%PDF-", b"%PDF-"]);
    }
    let mails = std::fs::read_dir(home.path().join("outbox")).expect("an outbox").count();
    assert_eq!(mails, 2, "one for each run");
    assert_eq!(embedded::find_running(home.path()), None);
}

#[test]
fn the_demo_names_what_is_known_to_be_exploited_on_the_host_that_it_is_shown() {
    let (home, image) = (folder(), folder());
    let write = |path: &str, text: &str| {
        let path = image.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    write("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n");
    write("etc/hostname", "museum\n");
    write(
        "var/lib/dpkg/status",
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc\nVersion: 2.36-9+deb12u1\n\n\
         Package: libwebp7\nStatus: install ok installed\nArchitecture: amd64\nSource: libwebp\nVersion: 1.2.4-0.2\n",
    );
    let root = image.path().to_str().expect("utf-8");
    let output =
        plimsoll(home.path(), &["demo", "--exit", "--root", root]).output().expect("the command runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let exploited = said.lines().find(|line| line.contains("known exploited")).expect("a line of them");
    assert!(exploited.contains("CVE-2023-4911") && exploited.contains("CVE-2023-4863"), "{exploited}");
    assert!(said.contains("host museum  2 packages"), "{said}");
}

/// `plimsoll up`, running.
struct Up {
    child: Child,
    lines: BufReader<ChildStdout>,
    address: String,
}

impl Up {
    fn start(home: &Path) -> Self {
        let mut child = plimsoll(home, &["up"]).stdout(Stdio::piped()).spawn().expect("the command runs");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut up = Self { child, lines, address: String::new() };
        let first = up.line();
        let url = first.split_whitespace().nth(1).expect("an address").to_owned();
        up.address = url.strip_prefix("http://").expect("http").to_owned();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !up.get("/readyz").starts_with("HTTP/1.0 200") {
            assert!(Instant::now() < deadline, "the API is not ready: {}", up.get("/readyz"));
            std::thread::park_timeout(Duration::from_millis(50));
        }
        up
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n"))
    }

    fn post(&self, path: &str, json: &str) -> String {
        let length = json.len();
        self.ask(&format!(
            "POST {path} HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{json}"
        ))
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("the API listens");
        stream.write_all(request.as_bytes()).expect("the API reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the API answers");
        answer
    }

    /// Send `signal` and wait. The exit code, unless the signal itself ended it.
    fn end(mut self, signal: Signal) -> Option<i32> {
        let id = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id")).expect("not zero");
        rustix::process::kill_process(id, signal).expect("our own child");
        self.child.wait().expect("our own child").code()
    }
}

impl Drop for Up {
    /// A test that failed must not leave it behind. Without an effect once it has been waited for.
    fn drop(&mut self) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let (Ok(None), Some(id)) = (self.child.try_wait(), id) {
            let _ = rustix::process::kill_process(id, Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("plimsoll-test-").tempdir().expect("a temporary folder")
}

fn plimsoll(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
        .env("PLIMSOLL_HOME", home)
        .env("API_LISTEN", "127.0.0.1:0")
        .env("LOG_LEVEL", "warn")
        .stdin(Stdio::null());
    command
}
