//! A Postgres and a Redis that may be killed, stopped and filled up, and that nobody starts again but us.

use std::{
    fs::File,
    net::SocketAddr,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use harness::free_address;
use plimsoll::embedded::{self, Addresses, Settings};
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use sqlx::{Connection, PgConnection};

use crate::wait;

const START: Duration = Duration::from_secs(60);

/// The two servers of a run of the harness.
pub(crate) struct Servers {
    pub(crate) addresses: Addresses,
    pub(crate) postgres: Server,
    pub(crate) redis: Server,
    /// Where both keep their data.
    pub(crate) home: PathBuf,
}

/// One server program, and the process that runs it, if one does.
pub(crate) struct Server {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    directory: PathBuf,
    user: u32,
    group: u32,
    log: PathBuf,
    child: Option<Child>,
}

impl Servers {
    /// Makes both in `home`, durable as in an installation, and starts them.
    pub(crate) async fn start(home: PathBuf) -> Result<Self> {
        let settings = Settings { least_free_bytes: 64 << 20, ..Settings::new(home) };
        // Made, and started the first time, as `plimsoll up` does; that tells which programs and which account.
        let running = embedded::start(&settings).await.context("no private servers")?;
        let addresses = running.addresses.clone();
        let home = running.home.clone();
        let data = home.join("postgres/data");
        let pid_file = std::fs::read_to_string(data.join("postmaster.pid"))?;
        let postgres = pid_file.lines().next().context("an empty postmaster.pid")?.to_owned();
        let mut connection = connect(&addresses.redis_url).await?;
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
        let redis = info
            .lines()
            .find_map(|line| line.strip_prefix("process_id:"))
            .context("redis does not tell its process id")?
            .to_owned();
        let program = |pid: &str| -> Result<PathBuf> {
            let file = std::fs::read_link(format!("/proc/{pid}/exe"))?;
            // Debian's `redis-server` is a link to a program of many names, and goes by the one that it is called.
            let called = std::fs::read_to_string(format!("/proc/{pid}/comm"))?;
            let named = file.with_file_name(called.trim());
            Ok(if named.exists() { named } else { file })
        };
        let (postgres, redis) = (program(&postgres)?, program(&redis)?);
        running.stop().await;

        let owner = std::fs::metadata(&data)?;
        let server = |name, program, arguments, directory: PathBuf| Server {
            name,
            program,
            arguments,
            log: home.join(format!("log/{name}-under-fault.log")),
            directory,
            user: owner.uid(),
            group: owner.gid(),
            child: None,
        };
        let folder = home.join("redis");
        let configuration = folder.join("redis.conf").to_string_lossy().into_owned();
        let mut servers = Self {
            postgres: server("postgres", postgres, vec!["-D".into(), data.to_string_lossy().into()], data),
            redis: server("redis", redis, vec![configuration], folder),
            addresses,
            home,
        };
        servers.start_postgres().await?;
        servers.start_redis().await?;
        Ok(servers)
    }

    pub(crate) async fn start_postgres(&mut self) -> Result<()> {
        // A new one refuses to start beside what a killed one left.
        wait::until("the old postgres has gone", START, async || {
            Ok((!self.postgres.has_processes()).then_some(()))
        })
        .await?;
        self.postgres.spawn(&[])?;
        self.await_postgres().await
    }

    pub(crate) async fn await_postgres(&self) -> Result<()> {
        wait::until("postgres answers", START, async || {
            Ok(PgConnection::connect(&self.addresses.owner_url).await.is_ok().then_some(()))
        })
        .await
    }

    pub(crate) async fn start_redis(&mut self) -> Result<()> {
        self.redis.spawn(&[])?;
        self.await_redis().await
    }

    pub(crate) async fn await_redis(&self) -> Result<()> {
        wait::until("redis answers", START, async || {
            // It takes connections while it still loads its data, and answers nothing then.
            let _: String = redis::cmd("PING").query_async(&mut self.redis().await?).await?;
            Ok(Some(()))
        })
        .await
    }

    /// Brings back whatever a row left stopped, changed or filled, so that the next one starts from the same.
    pub(crate) async fn restore(&mut self) -> Result<()> {
        for server in [&mut self.postgres, &mut self.redis] {
            server.signal(Signal::CONT);
        }
        if !self.postgres.is_running() {
            self.start_postgres().await?;
        }
        if !self.redis.is_running() {
            self.start_redis().await?;
        }
        let mut redis = self.redis().await?;
        let _: () = redis::pipe()
            .cmd("REPLICAOF")
            .arg("NO")
            .arg("ONE")
            .cmd("CONFIG")
            .arg("SET")
            .arg("maxmemory")
            .arg(0)
            .cmd("CONFIG")
            .arg("SET")
            .arg("maxmemory-policy")
            .arg("noeviction")
            .cmd("FLUSHALL")
            .ignore()
            .query_async(&mut redis)
            .await?;
        Ok(())
    }

    /// A connection of the harness itself, past all proxies.
    pub(crate) async fn redis(&self) -> Result<MultiplexedConnection> {
        connect(&self.addresses.redis_url).await
    }

    pub(crate) fn postgres_socket(&self) -> PathBuf {
        self.sockets().join(".s.PGSQL.5432")
    }

    pub(crate) fn redis_socket(&self) -> PathBuf {
        self.sockets().join("redis.sock")
    }

    fn sockets(&self) -> PathBuf {
        let path = self.addresses.redis_url.trim_start_matches("redis+unix://");
        Path::new(path).parent().map_or_else(|| self.home.join("run"), Path::to_path_buf)
    }

    /// A further Redis beside ours, a copy of what answers at `primary` until somebody tells it otherwise.
    pub(crate) async fn replica_of(&self, primary: SocketAddr) -> Result<Further> {
        let port = free_address().port();
        let socket = self.further_folder("replica")?.join("redis.sock");
        let (own, master, path) = (port.to_string(), primary.port().to_string(), socket.to_string_lossy());
        // The others must find it where it is, not where the proxy before the primary sees it come from.
        let announced = ["--replica-announce-ip", "127.0.0.1", "--replica-announce-port", &own];
        let served =
            ["--port", &own, "--unixsocket", &path, "--save", "", "--replicaof", "127.0.0.1", &master];
        self.further("replica", port, &[&served[..], &announced].concat()).await
    }

    /// One of those who watch `primary` and, two of them being of one mind, put its replica in its place.
    pub(crate) async fn sentinel(&self, name: &'static str, primary: SocketAddr) -> Result<Further> {
        let port = free_address().port();
        let file = self.further_folder(name)?.join("sentinel.conf");
        // It keeps its state in this file, and wants no words of the command line instead.
        let settings = format!(
            "port {port}\nbind 127.0.0.1\nsentinel announce-ip 127.0.0.1\n\
             sentinel monitor plimsoll 127.0.0.1 {} 2\nsentinel down-after-milliseconds plimsoll 1000\n\
             sentinel failover-timeout plimsoll 10000\n",
            primary.port(),
        );
        std::fs::write(&file, settings)?;
        self.owned_by_redis(&file)?;
        self.further(name, port, &[&file.to_string_lossy(), "--sentinel"]).await
    }

    async fn further(&self, name: &'static str, port: u16, arguments: &[&str]) -> Result<Further> {
        let directory = self.further_folder(name)?;
        let mut server = Server {
            name,
            program: self.redis.program.clone(),
            arguments: Vec::new(),
            log: self.home.join(format!("log/{name}-under-fault.log")),
            directory,
            user: self.redis.user,
            group: self.redis.group,
            child: None,
        };
        server.spawn(arguments)?;
        let url = format!("redis://127.0.0.1:{port}/");
        wait::until("a further redis answers", START, async || Ok(connect(&url).await.is_ok().then_some(())))
            .await?;
        Ok(Further { server, port, url })
    }

    fn further_folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.home.join("redis").join(name);
        std::fs::create_dir_all(&folder)?;
        self.owned_by_redis(&folder)?;
        Ok(folder)
    }

    fn owned_by_redis(&self, path: &Path) -> Result<()> {
        Ok(std::os::unix::fs::chown(path, Some(self.redis.user), Some(self.redis.group))?)
    }
}

/// A Redis program that one row needs besides, killed with the value.
pub(crate) struct Further {
    server: Server,
    pub(crate) port: u16,
    url: String,
}

impl Further {
    pub(crate) async fn connect(&self) -> Result<MultiplexedConnection> {
        connect(&self.url).await
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.server.directory.join("redis.sock")
    }
}

impl Drop for Further {
    fn drop(&mut self) {
        self.server.kill();
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for server in [&mut self.postgres, &mut self.redis] {
            server.kill();
        }
    }
}

impl Server {
    pub(crate) fn spawn(&mut self, further: &[&str]) -> Result<()> {
        ensure!(!self.is_running(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .args(further)
            .current_dir(&self.directory)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if rustix::process::geteuid().is_root() {
            command.uid(self.user).gid(self.group);
        }
        self.child = Some(command.spawn().with_context(|| format!("cannot run {}", self.program.display()))?);
        Ok(())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.is_running()
            && let Some(child) = &self.child
        {
            crate::process::signal(child, signal);
        }
    }

    /// SIGKILL, and waits until it has gone. Children of a killed Postgres end by themselves within moments.
    pub(crate) fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Sends `signal` and waits for the end.
    pub(crate) fn end(&mut self, signal: Signal) -> Option<ExitStatus> {
        self.signal(Signal::CONT);
        self.signal(signal);
        let mut child = self.child.take()?;
        child.wait().ok()
    }

    /// Whether any process works in the server's folder: itself, or children that outlive a killed one for a moment.
    pub(crate) fn has_processes(&self) -> bool {
        let Ok(processes) = std::fs::read_dir("/proc") else { return false };
        processes.flatten().any(|process| {
            std::fs::read_link(process.path().join("cwd")).is_ok_and(|folder| folder == self.directory)
        })
    }
}

/// A connection to the Redis at `url` that gives up soon.
pub(crate) async fn connect(url: &str) -> Result<MultiplexedConnection> {
    let settings = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(2)))
        .set_response_timeout(Some(Duration::from_secs(5)));
    Ok(redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&settings).await?)
}
