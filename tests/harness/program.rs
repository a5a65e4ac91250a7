//! The programs as processes, for tests that ask them, stop them and kill them.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use runtime::admin::{self, ProbeError};
use secrecy::ExposeSecret;

use crate::{TestDb, free_address};

/// A program with an admin port of its own. Killed when it goes out of sight.
#[derive(Debug)]
pub struct Program {
    path: &'static str,
    name: &'static str,
    pub admin: SocketAddr,
    /// Where the API listens, if it is the API.
    pub api: SocketAddr,
    log: PathBuf,
    child: Child,
}

impl Program {
    /// Starts `name` (`api`, `worker`, `scheduler`) on `db`; `path` is `env!("CARGO_BIN_EXE_program-under-test")`. With `settings` over the usual ones.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(
        path: &'static str,
        name: &'static str,
        db: &TestDb,
        folder: &Path,
        settings: &[(&str, &str)],
    ) -> Self {
        let (admin, api) = (free_address(), free_address());
        std::fs::create_dir_all(folder).expect("a folder");
        let log = folder.join(format!("{name}-{}.log", admin.port()));
        let child = Command::new(path)
            .arg(name)
            .stdin(Stdio::null())
            .stderr(File::create(&log).expect("a log"))
            .env("DATABASE_URL", db.worker_url.expose_secret())
            .env("API_DATABASE_URL", db.api_url.expose_secret())
            .env("PLIMSOLL_HOME", folder)
            .env("API_LISTEN", api.to_string())
            .env("ADMIN_LISTEN", admin.to_string())
            .env("LOG_LEVEL", "warn")
            .env("ALLOW_VOLATILE_DATABASE", "true")
            .envs(settings.iter().copied())
            .spawn()
            .expect("the program starts");
        Self { path, name, admin, api, log, child }
    }

    /// The number of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    ///
    /// # Panics
    /// When the file has gone.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log is there")
    }

    /// What its admin port says to `/readyz` or `/livez`.
    ///
    /// # Errors
    /// When it does not answer, or not with 200.
    pub fn probe(&self, path: &str) -> Result<String, ProbeError> {
        admin::probe(self.admin, path)
    }

    /// Its own health check, as a container runs it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn check_health(&self) -> Output {
        let mut command = Command::new(self.path);
        command.args([self.name, "--probe"]).env("ADMIN_LISTEN", self.admin.to_string()).stdin(Stdio::null());
        command.output().expect("the health check runs")
    }

    /// Sends the signal `name` (`TERM`, `KILL` …).
    ///
    /// # Panics
    /// When there is nobody to send it to.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "the process has gone already");
    }

    /// The exit code, once it has ended; `Some(None)` when a signal ended it.
    ///
    /// # Panics
    /// When it is not ours any more.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().expect("our own child").map(|status| status.code())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may be gone already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
