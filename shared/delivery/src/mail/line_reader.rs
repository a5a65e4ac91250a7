//! A connection that is read one line at a time.
//!
//! After STARTTLS the SMTP client must forget what it read ahead: otherwise whoever sits between could append answers to
//! the server's "go ahead", in clear text, and have them taken for what the server says under TLS (the NO STARTTLS class of
//! attacks). The client reads through a buffer that cannot be emptied from outside; behind this it never holds more than
//! the line that it asked for, and anything appended to "go ahead" meets the TLS handshake, which fails on it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

const READ_BYTES: usize = 4 * 1024;

#[derive(Debug)]
pub(super) struct LineReader {
    stream: TcpStream,
    /// Read from the network and not yet asked for.
    ahead: Vec<u8>,
}

impl LineReader {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, ahead: Vec::new() }
    }
}

impl AsyncRead for LineReader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            let mut bytes = [0; READ_BYTES];
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut buffer))?;
            this.ahead.extend_from_slice(buffer.filled());
        }
        let line = this.ahead.iter().position(|byte| *byte == b'\n').map_or(this.ahead.len(), |end| end + 1);
        let given = line.min(out.remaining());
        out.put_slice(&this.ahead[..given]);
        this.ahead.drain(..given);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LineReader {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl AsyncTokioStream for LineReader {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}
