//! A TCP proxy between a process and its server that misbehaves on demand.
//!
//! Listens on a loopback port of its own and passes bytes on to a Unix socket. What it does to them may be changed at any time,
//! for the connections that are open and for those to come.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Network {
    Sound,
    /// Every piece arrives this much later.
    Slow(Duration),
    /// Bytes a second, each way.
    Narrow(u32),
    /// Nothing arrives, nothing is said about it, and new connections hang.
    BlackHole,
    /// What the process sends still arrives; what the server answers is swallowed.
    HalfOpen,
    /// Each connection is reset after the server has sent this many bytes more: in the middle of a message.
    CutAfter(usize),
    /// Every connection is reset, new ones as soon as they are made.
    Refusing,
}

/// The proxy. Gone with the value.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    network: watch::Sender<Network>,
    upstream: Arc<Mutex<PathBuf>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(upstream: PathBuf) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (network, changes) = watch::channel(Network::Sound);
        let upstream = Arc::new(Mutex::new(upstream));
        let accepting = tokio::spawn(accept(listener, upstream.clone(), changes));
        Ok(Self { address, network, upstream, accepting })
    }

    pub(crate) fn becomes(&self, network: Network) {
        self.network.send_replace(network);
    }

    /// Sends new connections elsewhere and resets the open ones, as a virtual address does that fails over.
    pub(crate) async fn fail_over_to(&self, upstream: PathBuf) {
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner) = upstream;
        self.becomes(Network::Refusing);
        sleep(Duration::from_millis(100)).await;
        self.becomes(Network::Sound);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.becomes(Network::Refusing);
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, upstream: Arc<Mutex<PathBuf>>, network: watch::Receiver<Network>) {
    while let Ok((client, _)) = listener.accept().await {
        let target = upstream.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tokio::spawn(serve(client, target, network.clone()));
    }
}

async fn serve(client: TcpStream, upstream: PathBuf, mut network: watch::Receiver<Network>) {
    // When the connection is dropped without being read to its end, the peer gets a reset and not an orderly end.
    let _ = client.set_zero_linger();
    let _ = client.set_nodelay(true);
    while *network.borrow_and_update() == Network::BlackHole {
        if network.changed().await.is_err() {
            return;
        }
    }
    if *network.borrow() == Network::Refusing {
        return;
    }
    let Ok(server) = UnixStream::connect(&upstream).await else { return };
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    tokio::select! {
        () = pump(client_reads, server_writes, network.clone(), Direction::ToServer) => {}
        () = pump(server_reads, client_writes, network, Direction::ToProcess) => {}
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Direction {
    ToServer,
    ToProcess,
}

/// Moves bytes one way until either side ends, or the network says that it is enough.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut network: watch::Receiver<Network>,
    direction: Direction,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut sent_since_change = 0;
    loop {
        let state = *network.borrow_and_update();
        if state == Network::Refusing {
            return;
        }
        let read = tokio::select! {
            read = from.read(&mut buffer), if state != Network::BlackHole => read,
            changed = network.changed() => {
                if changed.is_err() {
                    return;
                }
                sent_since_change = 0;
                continue;
            }
        };
        let Ok(count @ 1..) = read else { return };
        let piece = match (state, direction) {
            (Network::HalfOpen, Direction::ToProcess) => continue,
            (Network::CutAfter(bytes), Direction::ToProcess) => {
                let left = bytes.saturating_sub(sent_since_change);
                &buffer[..count.min(left)]
            }
            _ => &buffer[..count],
        };
        match state {
            Network::Slow(delay) => sleep(delay).await,
            Network::Narrow(bytes_a_second) => {
                sleep(Duration::from_secs_f64(count as f64 / f64::from(bytes_a_second))).await;
            }
            _ => {}
        }
        if to.write_all(piece).await.is_err() || piece.len() < count {
            return;
        }
        sent_since_change += count;
    }
}
