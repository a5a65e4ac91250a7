//! HTTP/1.1 as far as the harness needs it, over a connection of its own for every request, so that it is known exactly which
//! bytes of an answer arrived.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long an answer may take before the client gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// All of it.
    Whole(Answer),
    /// No connection was had.
    Refused,
    /// The connection ended, or nothing came any more, before the answer was whole. These bytes arrived.
    Cut(Vec<u8>),
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The head as it arrived.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| String::from_utf8_lossy(&self.body).into_owned())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Reply {
    /// The answer, or an error that says what came instead.
    pub(crate) fn whole(self) -> Result<Answer> {
        match self {
            Self::Whole(answer) => Ok(answer),
            Self::Refused => anyhow::bail!("the connection was refused"),
            Self::Cut(bytes) => anyhow::bail!("the answer was cut after {} bytes", bytes.len()),
        }
    }
}

/// Sends one request and reads what comes of it.
pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let Ok(Ok(mut stream)) = timeout(PATIENCE, TcpStream::connect(address)).await else {
        return Reply::Refused;
    };
    if stream.write_all(&written(address, method, path, headers, body)).await.is_err() {
        return Reply::Cut(Vec::new());
    }
    let mut received = Vec::new();
    let mut buffer = [0; 8192];
    let reading = async {
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return parse(&received),
                Ok(count) => received.extend_from_slice(&buffer[..count]),
            }
            if let Some(answer) = parse(&received) {
                return Some(answer);
            }
        }
    };
    match timeout(PATIENCE, reading).await {
        Ok(Some(answer)) => Reply::Whole(answer),
        _ => Reply::Cut(received),
    }
}

/// A request as it goes over the wire.
pub(crate) fn written(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let mut bytes = request.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// How a connection ends before its time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// As when a process closes its socket: what was sent arrives.
    Orderly,
    /// As when a process or a firewall drops it.
    Reset,
}

/// Sends `request`, or its beginning, reads `read` bytes of what comes back, fewer when that is all, and ends the connection.
pub(crate) async fn send_and_leave(
    address: SocketAddr,
    request: &[u8],
    read: usize,
    end: End,
) -> Result<Vec<u8>> {
    let mut stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    stream.write_all(request).await?;
    let mut received = Vec::new();
    let mut buffer = [0; 8192];
    while received.len() < read {
        let wanted = buffer.len().min(read - received.len());
        match timeout(PATIENCE, stream.read(&mut buffer[..wanted])).await? {
            Ok(count @ 1..) => received.extend_from_slice(&buffer[..count]),
            _ => break,
        }
    }
    match end {
        // The other side may have closed it already.
        End::Orderly => drop(stream.shutdown().await),
        End::Reset => stream.set_zero_linger()?,
    }
    Ok(received)
}

/// The answer, if all of it is there.
fn parse(received: &[u8]) -> Option<Answer> {
    let end = received.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&received[..end]).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let mut answer = Answer { status, head, body: Vec::new() };
    let body = &received[end + 4..];
    if answer.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        answer.body = dechunk(body)?;
        return Some(answer);
    }
    let length: usize = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    answer.body = body.get(..length)?.to_vec();
    Some(answer)
}

/// The content of a chunked body, if its last chunk is there (RFC 9112, section 7.1).
fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        rest = rest.get(line + 2..)?;
        if size == 0 {
            return Some(content);
        }
        content.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
