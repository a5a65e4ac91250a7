//! One process of the installation under test: started, signalled, waited for, its log kept.

use std::{
    fs::File,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// The binary of this run. A build that takes place meanwhile may replace the one that cargo made, so this is another name for it.
static BINARY: OnceLock<PathBuf> = OnceLock::new();

/// Takes the binary that cargo built with the harness into `folder`.
pub(crate) fn take_binary(folder: &Path) -> Result<()> {
    let (built, taken) = (Path::new(env!("CARGO_BIN_EXE_worker-under-test")), folder.join("under-test"));
    if std::fs::hard_link(built, &taken).is_err() {
        std::fs::copy(built, &taken).with_context(|| format!("cannot copy {}", built.display()))?;
    }
    BINARY.get_or_init(|| taken);
    Ok(())
}

/// The programs of an installation in one file; the first argument says which.
pub(crate) fn binary() -> &'static Path {
    BINARY.get().map_or_else(|| Path::new(env!("CARGO_BIN_EXE_worker-under-test")), PathBuf::as_path)
}

/// How to start a program, as often as needed.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// `worker`, `scheduler`, `api`.
    pub(crate) name: &'static str,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) log: PathBuf,
}

impl Program {
    /// With another setting.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// With further arguments.
    #[must_use]
    pub(crate) fn asked(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    pub(crate) fn start(&self) -> Result<Process> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new(binary())
            .arg(self.name)
            .args(&self.arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start the {}", self.name))?;
        Ok(Process { child, name: self.name })
    }
}

/// A running process. Killed when it goes out of sight.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: &'static str,
}

impl Process {
    pub(crate) fn signal(&self, signal: Signal) {
        self::signal(&self.child, signal);
    }

    /// SIGKILL, and it has gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub(crate) fn id(&self) -> i32 {
        i32::try_from(self.child.id()).expect("process ids are small")
    }

    /// Whether it was stopped by a signal and has not been continued (proc(5), the state of `/proc/PID/stat`).
    pub(crate) fn is_stopped(&self) -> Result<bool> {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        let state = status.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next());
        Ok(state.context("no state")? == "T")
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    pub(crate) async fn end(&mut self, within: Duration) -> Result<ExitStatus> {
        let what = format!("the end of the {}", self.name);
        wait::until(&what, within, async || self.ended()).await
    }

    /// Resident memory, bytes, and open files.
    pub(crate) fn footprint(&self) -> Result<(u64, usize)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
            .context("no VmRSS")?;
        // Our programs let nobody look but root (`keep_memory_private`): others see no growth of files, that of memory they do.
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.id())).map_or(0, Iterator::count);
        Ok((kilobytes * 1024, files))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends `signal` to a child that was not waited for yet.
pub(crate) fn signal(child: &Child, signal: Signal) {
    if let Some(id) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may just have ended; whoever waits for it will know.
        let _ = kill_process(id, signal);
    }
}

/// Whether it was ended by SIGABRT, as a failpoint does.
pub(crate) fn aborted(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::ABORT.as_raw())
}
