//! Somebody else on this machine, who would like to know what our processes have in memory. Also used by the suite of `plimsoll`.
//!
//! To root everything is shown, so where tests run as root both the process and the onlooker are nobody in particular.

use std::{
    fs::{self, File, Permissions},
    io::{ErrorKind, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

const NOBODY: u32 = 65_534;

/// Long enough for a loaded machine.
const SOON: Duration = Duration::from_secs(60);

/// A process that is killed when it goes out of sight.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Starts `program` with the account of the onlooker.
    ///
    /// # Panics
    /// When it cannot be started.
    fn start(program: &Path, folder: &Path, prepare: impl Fn(&mut Command)) -> Self {
        let start = |path: &Path| {
            let mut command = Command::new(path);
            prepare(&mut command);
            as_onlooker(&mut command).stderr(Stdio::inherit()).spawn()
        };
        let started = start(program).or_else(|error| {
            // Where it was built, perhaps in root's own folder, the onlooker may have no business.
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{}: {error}", program.display());
            let copy = folder.join("program");
            // Not by us: another test's child may be born with our descriptor, and what somebody may still write to cannot be run.
            let copied = Command::new("install").args(["-m", "755"]).arg(program).arg(&copy).status();
            assert!(copied.expect("install runs").success(), "a copy for everybody");
            start(&copy)
        });
        Self(started.expect("the program starts"))
    }

    /// Whether the onlooker can read it. That needs the same right as reading its memory and attaching a debugger do (proc(5),
    /// `/proc/pid/environ`; ptrace(2), "Ptrace access mode checking").
    fn is_readable(&mut self) -> bool {
        let mut look = Command::new("cat");
        let seen =
            as_onlooker(look.arg(format!("/proc/{}/environ", self.0.id()))).output().expect("cat runs");
        assert!(self.0.try_wait().expect("our own child").is_none(), "it has ended, and says nothing");
        seen.status.success()
    }
}

fn as_onlooker(command: &mut Command) -> &mut Command {
    match rustix::process::geteuid().is_root() {
        true => command.uid(NOBODY).gid(NOBODY),
        false => command,
    }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("reachable");
    folder
}

/// Whether somebody else's process can be read that does nothing about it. If not, nothing else here proves anything.
///
/// # Panics
/// When it cannot be tried.
#[must_use]
pub fn reads_a_plain_process() -> bool {
    let mut process = Process::start(Path::new("sleep"), folder().path(), |command| {
        command.arg("600");
    });
    process.is_readable()
}

/// Whether `program`, called with `arguments`, can be read while it reads its settings: before it has any secret.
///
/// # Panics
/// When it cannot be tried.
#[must_use]
pub fn reads_a_program(program: &Path, arguments: &[&str]) -> bool {
    let folder = folder();
    let settings = folder.path().join("settings");
    let made = Command::new("mkfifo").args(["-m", "644"]).arg(&settings).status().expect("mkfifo runs");
    assert!(made.success(), "{made}");
    let mut process = Process::start(program, folder.path(), |command| {
        command.args(arguments).env("PLIMSOLL_CONFIG", &settings).stdin(Stdio::null());
    });
    // Opened when the program has opened it; what it waits for never comes.
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(File::options().write(true).open(settings)));
    let _settings = told.recv_timeout(SOON).expect("the program reads its settings").expect("a pipe");
    process.is_readable()
}

/// Whether a process that `program` renders in can be read.
///
/// # Panics
/// When it cannot be tried.
#[must_use]
pub fn reads_a_renderer(program: &Path) -> bool {
    let mut process = Process::start(program, folder().path(), |command| {
        command.arg("render-child").stdin(Stdio::piped()).stdout(Stdio::null());
    });
    let mut input = process.0.stdin.take().expect("it is piped");
    // The first part of a document, more than fits into a pipe: it is written when the process is reading.
    input.write_all(&(1_u64 << 30).to_le_bytes()).expect("it reads");
    input.write_all(&vec![b' '; 1 << 20]).expect("it reads");
    process.is_readable()
}
