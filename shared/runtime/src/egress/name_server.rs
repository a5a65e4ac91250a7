//! One name server, asked for the addresses of a name (RFC 1035): over UDP, and over TCP when the answer does not fit.
//!
//! For the setting `EGRESS_NAME_SERVER`: where the machine's resolver knows internal names too, names that strangers type in
//! are better asked of a server that knows the internet alone. The server is trusted to follow aliases, not to be polite:
//! an answer is bounded, and has to be one to our question. Which addresses are connected to is the policy's to say.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// For each try; a datagram may be lost.
const PATIENCE: Duration = Duration::from_secs(2);
const TRIES: usize = 3;
/// Records of one answer, which nobody honest has more of.
const MOST_RECORDS: u16 = 256;

/// RFC 1035, section 3.2.2, and RFC 3596, section 2.1.
const A: u16 = 1;
const AAAA: u16 = 28;
/// RFC 1035, section 4.1.1.
const HEADER: usize = 12;
const NO_SUCH_NAME: u8 = 3;

/// A recursive name server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NameServer(pub(super) SocketAddr);

impl NameServer {
    /// All addresses of `name`, with port 0.
    ///
    /// # Errors
    /// When the server does not answer, refuses, or knows no such name.
    pub(super) async fn addresses(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        match tokio::join!(self.ask(name, A), self.ask(name, AAAA)) {
            (Err(error), Err(_)) => Err(error),
            (v4, v6) => {
                let found = [v4.unwrap_or_default(), v6.unwrap_or_default()].concat();
                match found.is_empty() {
                    true => Err(no_such_name()),
                    false => Ok(found.into_iter().map(|address| SocketAddr::new(address, 0)).collect()),
                }
            }
        }
    }

    async fn ask(&self, name: &str, kind: u16) -> io::Result<Vec<IpAddr>> {
        let query = query(name, kind)?;
        for _ in 0..TRIES {
            let Ok(answer) = timeout(PATIENCE, self.over_udp(&query)).await else { continue };
            let answer = answer?;
            if !is_cut(&answer) {
                return read(&answer, &query);
            }
            let Ok(whole) = timeout(PATIENCE, self.over_tcp(&query)).await else { continue };
            return read(&whole?, &query);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("the name server {} does not answer", self.0)))
    }

    /// Waits for an answer to `query`; what else arrives at its port is somebody's attempt at one.
    async fn over_udp(&self, query: &[u8]) -> io::Result<Vec<u8>> {
        let ours: IpAddr =
            if self.0.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((ours, 0)).await?;
        socket.connect(self.0).await?;
        socket.send(query).await?;
        let mut answer = vec![0; 4096];
        loop {
            let length = socket.recv(&mut answer).await?;
            if answers(&answer[..length], query) {
                answer.truncate(length);
                return Ok(answer);
            }
        }
    }

    /// RFC 1035, section 4.2.2: two bytes of length, then the message.
    async fn over_tcp(&self, query: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.0).await?;
        let length = u16::try_from(query.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
        let mut answer = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut answer).await?;
        match answers(&answer, query) {
            true => Ok(answer),
            false => Err(nonsense()),
        }
    }
}

/// One question, recursion desired, under a number that cannot be guessed.
fn query(name: &str, kind: u16) -> io::Result<Vec<u8>> {
    let mut id = [0; 2];
    SystemRandom::new().fill(&mut id).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let mut query = [id.as_slice(), &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.trim_end_matches('.').split('.') {
        match u8::try_from(label.len()) {
            Ok(length @ 1..=63) => query.push(length),
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("`{name}` is no name of a host"),
                ));
            }
        }
        query.extend_from_slice(label.as_bytes());
    }
    if query.len() > HEADER + 254 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name is longer than a name can be"));
    }
    query.push(0);
    query.extend_from_slice(&kind.to_be_bytes());
    // The class: the internet.
    query.extend_from_slice(&[0, 1]);
    Ok(query)
}

/// Whether `answer` has the number of `query` and repeats its question.
fn answers(answer: &[u8], query: &[u8]) -> bool {
    let is_response = answer.get(2).is_some_and(|flags| flags & 0x80 != 0);
    let question = answer.get(HEADER..query.len());
    is_response
        && answer[..2] == query[..2]
        && question.is_some_and(|question| question.eq_ignore_ascii_case(&query[HEADER..]))
}

fn is_cut(answer: &[u8]) -> bool {
    answer.get(2).is_some_and(|flags| flags & 2 != 0)
}

fn read(answer: &[u8], query: &[u8]) -> io::Result<Vec<IpAddr>> {
    match answer[3] & 0x0f {
        0 => records(answer, query.len()).ok_or_else(nonsense),
        NO_SUCH_NAME => Err(no_such_name()),
        code => Err(io::Error::other(format!("the name server refuses with code {code}"))),
    }
}

/// The addresses among the records that begin at `at`: those of the name, or of what it is an alias of.
fn records(answer: &[u8], mut at: usize) -> Option<Vec<IpAddr>> {
    let number = |at: usize| Some(u16::from_be_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    let mut addresses = Vec::new();
    for _ in 0..number(6)?.min(MOST_RECORDS) {
        at = after_name(answer, at)?;
        let (kind, class, length) = (number(at)?, number(at + 2)?, usize::from(number(at + 8)?));
        let data = answer.get(at + 10..at + 10 + length)?;
        match (kind, class) {
            (A, 1) => addresses.push(<[u8; 4]>::try_from(data).ok()?.into()),
            (AAAA, 1) => addresses.push(<[u8; 16]>::try_from(data).ok()?.into()),
            _ => {}
        }
        at += 10 + length;
    }
    Some(addresses)
}

/// Where the name that begins at `at` ends. A pointer (RFC 1035, section 4.1.4) ends it and is not followed.
fn after_name(answer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *answer.get(at)? {
            0 => return Some(at + 1),
            pointer if pointer & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

fn no_such_name() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

fn nonsense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the name server's answer cannot be read")
}
