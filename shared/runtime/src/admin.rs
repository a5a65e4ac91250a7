//! The port for those who look after this process: `/livez`, `/readyz`, `/metrics`.
//!
//! Served by a thread of its own, so that a process that is drowning in work still says so. Nothing here needs a
//! password and nothing here is a secret; it listens on loopback unless `ADMIN_LISTEN` says otherwise. Start at [`start`].

use std::{
    convert::Infallible,
    fmt::Write as _,
    io::{self, Read, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{config::Config, health, metrics};

/// Where it listens when nobody says where.
pub const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);
/// Connections served at once.
const CONNECTIONS: usize = 32;
/// How long a client may take to say what it wants, and how long it is served.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the main runtime shows that it turns, and when that is late.
const TICK: Duration = Duration::from_secs(1);
const TICK_WITHIN: Duration = Duration::from_secs(10);
/// How long a probe waits for an answer.
const PROBE_PATIENCE: Duration = Duration::from_secs(3);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// More than any answer to a probe has.
const ANSWER_BYTES: u64 = 65_536;

/// The open port. Dropped, it is closed.
#[derive(Debug)]
pub struct Admin {
    /// None: the usual one was taken, and no other was asked for.
    pub address: Option<SocketAddr>,
    close: CancellationToken,
    ticking: tokio::task::JoinHandle<()>,
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.close.cancel();
        self.ticking.abort();
    }
}

/// Opens the port that `config` names. Not ready any more from the moment that `stop` is cancelled.
///
/// Several processes on one machine need an `ADMIN_LISTEN` each; those that have none get the usual port, or go without
/// when it is taken, with a warning.
///
/// # Errors
/// When the port that was asked for cannot be had; the message says what to do.
pub fn start(config: &Config, stop: &CancellationToken) -> anyhow::Result<Admin> {
    let close = CancellationToken::new();
    let ticking = tokio::spawn(async {
        let pulse = health::watching("async runtime", TICK_WITHIN);
        loop {
            pulse.beat();
            tokio::time::sleep(TICK).await;
        }
    });
    let listener = match (config.admin_listen, TcpListener::bind(config.admin_listen.unwrap_or(USUAL))) {
        (_, Ok(listener)) => listener,
        (None, Err(error)) => {
            tracing::warn!(%error, "no probes and no metrics, {USUAL} is taken: set ADMIN_LISTEN to an address of this process's own");
            return Ok(Admin { address: None, close, ticking });
        }
        (Some(address), Err(error)) => {
            ticking.abort();
            return Err(anyhow::Error::new(error).context(format!(
                "ADMIN_LISTEN={address} cannot be used: name a free port and an address of this machine"
            )));
        }
    };
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "probes and metrics are served");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (closing, stopping) = (close.clone(), stop.clone());
    std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        runtime.block_on(async move {
            tokio::select! {
                () = closing.cancelled() => {}
                served = serve(listener, stopping) => if let Err(error) = served {
                    tracing::error!(%error, "probes and metrics are served no more");
                },
            }
        });
    })?;
    Ok(Admin { address: Some(address), close, ticking })
}

async fn serve(listener: TcpListener, stopping: CancellationToken) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let seat = seats.clone().acquire_owned().await.map_err(io::Error::other)?;
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: that passes.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let stopping = stopping.clone();
        tokio::spawn(async move {
            let _seat = seat;
            let service = service_fn(move |request| {
                let answer = answer(&request, stopping.is_cancelled());
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // Whoever asked has gone away or is too slow: nothing to be done for it.
            let _ = tokio::time::timeout(PATIENCE, connection).await;
        });
    }
}

fn answer(request: &Request<Incoming>, stopping: bool) -> Response<Full<Bytes>> {
    let (status, body) = match request.uri().path() {
        "/metrics" => (StatusCode::OK, metrics::exposition()),
        "/livez" => verdict(health::stuck(), "alive"),
        "/readyz" if stopping => verdict(vec!["stopping".to_owned()], "ready"),
        "/readyz" => verdict(health::missing(), "ready"),
        _ => (StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n".to_owned()),
    };
    let known = status != StatusCode::NOT_FOUND;
    if known && !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let mut response = text(status, body);
    if request.uri().path() == "/metrics" {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
    }
    response
}

fn verdict(problems: Vec<String>, good: &str) -> (StatusCode, String) {
    if problems.is_empty() {
        return (StatusCode::OK, format!("{good}\n"));
    }
    let mut lines = format!("not {good}\n");
    for problem in problems {
        let _ = writeln!(lines, "{problem}");
    }
    (StatusCode::SERVICE_UNAVAILABLE, lines)
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Why a probe did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("nothing answers at {0}: is the process running, and is ADMIN_LISTEN the same for both?")]
    NoAnswer(SocketAddr, #[source] io::Error),
    #[error("{0}")]
    Refused(String),
}

/// Asks the process whose admin port is `address` for `path` (`/readyz`, `/livez`) and returns its words.
///
/// For health checks in images that have no HTTP client, and for people. Blocks for some seconds at most.
///
/// # Errors
/// When it does not answer, or not with 200.
pub fn probe(address: SocketAddr, path: &str) -> Result<String, ProbeError> {
    let address = reachable(address);
    let answer = ask(address, path).map_err(|error| ProbeError::NoAnswer(address, error))?;
    let (head, words) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let words = words.trim_end().replace('\n', "; ");
    if head.split(' ').nth(1) == Some("200") { Ok(words) } else { Err(ProbeError::Refused(words)) }
}

fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PROBE_PATIENCE)?;
    stream.set_read_timeout(Some(PROBE_PATIENCE))?;
    stream.set_write_timeout(Some(PROBE_PATIENCE))?;
    stream.write_all(
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Who listens everywhere is asked by way of loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
