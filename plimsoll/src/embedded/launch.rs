//! Starting one server program, knowing why it did not start, and ending it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::Error;
use super::account::Account;

/// A log that has grown past this is set aside at the next start.
const LOG_BYTES: u64 = 16 * 1024 * 1024;

/// How long a server may take to end by itself before it is made to.
const PATIENCE: Duration = Duration::from_secs(60);

/// How to start one server, as often as needed.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    /// What people call it: `Postgres`, `Redis`.
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    /// The server's own data, and its working directory from the first moment: see [`super::leftovers`].
    pub(super) directory: PathBuf,
    pub(super) process_names: &'static [&'static str],
    pub(super) account: Option<Account>,
    pub(super) log: PathBuf,
    /// Asks for a clean end.
    pub(super) stop: Signal,
}

/// A server that was started. Dropping it asks the server to end.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    name: &'static str,
    stop: Signal,
    log: PathBuf,
    /// Where this start's lines begin in the log.
    log_start: u64,
    end_on_drop: bool,
}

impl Launch {
    /// Start the program in its own process group, so that a Ctrl-C meant for us does not reach it, and
    /// with an empty environment, so that none of our secrets does.
    pub(super) fn spawn(&self) -> Result<Process, Error> {
        let (log, log_start) = self.open_log()?;
        let errors = log.try_clone().map_err(Error::io("open", &self.log))?;
        let mut command = command(&self.program, self.account.as_ref());
        command
            .args(&self.arguments)
            .current_dir(&self.directory)
            .process_group(0)
            .stdout(log)
            .stderr(errors);
        let child = command.spawn().map_err(Error::io("run", &self.program))?;
        Ok(Process {
            child,
            name: self.name,
            stop: self.stop,
            log: self.log.clone(),
            log_start,
            end_on_drop: true,
        })
    }

    fn open_log(&self) -> Result<(File, u64), Error> {
        if fs::metadata(&self.log).is_ok_and(|log| log.len() > LOG_BYTES) {
            let old = self.log.with_extension("log.1");
            fs::rename(&self.log, &old).map_err(Error::io("rename", &self.log))?;
        }
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.log)
            .map_err(Error::io("open", &self.log))?;
        let length = log.metadata().map_err(Error::io("read", &self.log))?.len();
        Ok((log, length))
    }
}

/// A command that runs as `account`, without our environment and without input.
pub(super) fn command(program: &PathBuf, account: Option<&Account>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C").stdin(Stdio::null());
    if let Some(account) = account {
        // std drops the supplementary groups together with root's user id.
        command.uid(account.user).gid(account.group);
    }
    command
}

impl Process {
    /// Ask `answers` until it is true. Fails when the server ends first, or takes longer than `limit`.
    pub(super) async fn wait_until(
        &mut self,
        limit: Duration,
        answers: impl AsyncFn() -> bool,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + limit;
        while !answers().await {
            if let Some(status) = self.child.try_wait().map_err(Error::io("wait for", &self.log))? {
                return Err(self.failure(status));
            }
            if Instant::now() > deadline {
                let (program, log) = (self.name.to_owned(), self.log.clone());
                return Err(Error::NotReady { program, seconds: limit.as_secs(), log });
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Wait for the server to end by itself.
    pub(super) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// End the server cleanly, and by force when it takes longer than a minute.
    pub(super) async fn end(mut self) {
        self.signal(self.stop);
        if timeout(PATIENCE, self.child.wait()).await.is_ok() {
            return;
        }
        warn!(program = self.name, seconds = PATIENCE.as_secs(), "server does not end: killing it");
        self.signal(Signal::KILL);
        if let Err(error) = self.child.wait().await {
            warn!(program = self.name, error = &error as &dyn std::error::Error, "cannot wait for server");
        }
    }

    /// Let the server run on without us: for tests that share one.
    pub(super) fn leave_running(mut self) {
        self.end_on_drop = false;
    }

    /// Has an effect only while the child has not been waited for, so it cannot meet a stranger's process.
    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(id) = id else { return };
        if let Err(error) = rustix::process::kill_process(id, signal) {
            warn!(program = self.name, pid = id.as_raw_nonzero(), %error, "cannot signal server");
        }
    }

    fn failure(&self, status: ExitStatus) -> Error {
        let said = self.said();
        if said.contains("No space left on device") {
            return Error::DiskFull { path: self.log.clone(), free_mib: 0, needed_mib: 1 };
        }
        let last: Vec<&str> = said.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
        let said = last.into_iter().rev().collect::<Vec<_>>().join(" / ");
        Error::Failed {
            program: self.name.to_owned(),
            outcome: status.to_string(),
            said,
            log: self.log.clone(),
        }
    }

    /// What the server has printed since this start.
    fn said(&self) -> String {
        let read = || {
            let mut log = File::open(&self.log)?;
            log.seek(SeekFrom::Start(self.log_start))?;
            let mut said = Vec::new();
            log.take(1024 * 1024).read_to_end(&mut said)?;
            std::io::Result::Ok(String::from_utf8_lossy(&said).into_owned())
        };
        read().unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.end_on_drop {
            self.signal(self.stop);
        }
    }
}
