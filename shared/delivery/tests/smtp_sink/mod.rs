//! A mail server for tests: strict about line ends, scripted in what it answers, and it remembers all it was told.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// How the server behaves.
#[derive(Clone, Default)]
pub(crate) struct Script {
    /// Answers to commands that begin so, in place of the usual ones; an empty answer is silence.
    pub(crate) answers: Vec<(&'static str, &'static str)>,
    /// TLS from the first byte, with this certificate.
    pub(crate) implicit_tls: Option<Identity>,
    /// STARTTLS is offered, with this certificate.
    pub(crate) starttls: Option<Identity>,
    /// Sent in one packet with the answer to STARTTLS, in clear text.
    pub(crate) injected: &'static str,
    /// The connection is closed in place of the answer to the message.
    pub(crate) drops_after_data: bool,
    /// Connections are accepted, and then nothing is said.
    pub(crate) never_greets: bool,
}

/// A certificate for `localhost` and its key.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) pem: String,
    acceptor: TlsAcceptor,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self { pem: made.cert.pem(), acceptor: TlsAcceptor::from(Arc::new(config)) }
    }
}

/// A message that was accepted.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    /// With dot-stuffing undone.
    pub(crate) bytes: Vec<u8>,
}

#[derive(Default)]
struct Heard {
    /// Every command, with a `*` in front of those that came in clear text.
    commands: Vec<String>,
    messages: Vec<Received>,
    connections: usize,
    /// Lines that did not end in CRLF, or had a CR or an LF inside.
    violations: Vec<String>,
}

pub(crate) struct Sink {
    pub(crate) port: u16,
    heard: Arc<Mutex<Heard>>,
}

impl Sink {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let shared = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                let (script, heard) = (script.clone(), Arc::clone(&shared));
                tokio::spawn(async move { serve(stream, script, heard).await });
            }
        });
        Self { port, heard }
    }

    pub(crate) fn messages(&self) -> Vec<Received> {
        self.heard.lock().unwrap().messages.clone()
    }

    pub(crate) fn commands(&self) -> Vec<String> {
        self.heard.lock().unwrap().commands.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.heard.lock().unwrap().connections
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.heard.lock().unwrap().violations.clone()
    }
}

async fn serve(stream: TcpStream, script: Script, heard: Arc<Mutex<Heard>>) -> Option<()> {
    if script.never_greets {
        std::future::pending::<()>().await;
    }
    if let Some(identity) = script.implicit_tls.clone() {
        let mut stream = BufReader::new(identity.acceptor.accept(stream).await.ok()?);
        greet(&mut stream).await?;
        converse(&mut stream, &script, &heard, true).await?;
        return Some(());
    }
    let mut clear = BufReader::new(stream);
    greet(&mut clear).await?;
    if let End::StartTls = converse(&mut clear, &script, &heard, false).await? {
        let identity = script.starttls.clone()?;
        let mut stream = BufReader::new(identity.acceptor.accept(clear.into_inner()).await.ok()?);
        converse(&mut stream, &script, &heard, true).await?;
    }
    Some(())
}

enum End {
    Closed,
    StartTls,
}

async fn greet<S: AsyncWrite + Unpin>(stream: &mut S) -> Option<()> {
    say(stream, "220 sink ESMTP").await
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, answer: &str) -> Option<()> {
    stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
    stream.flush().await.ok()
}

/// The next line without its end; a line that does not end properly is noted and ends the conversation.
async fn line<S: AsyncRead + Unpin>(stream: &mut BufReader<S>, heard: &Mutex<Heard>) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line).await.ok()? == 0 {
        return None;
    }
    let Some(text) = line.strip_suffix(b"\r\n").filter(|text| !text.contains(&b'\r')) else {
        heard.lock().unwrap().violations.push(String::from_utf8_lossy(&line).escape_debug().to_string());
        return None;
    };
    Some(text.to_vec())
}

async fn converse<S>(
    stream: &mut BufReader<S>,
    script: &Script,
    heard: &Mutex<Heard>,
    encrypted: bool,
) -> Option<End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from, mut to) = (String::new(), Vec::new());
    while let Some(command) = line(stream, heard).await {
        let command = String::from_utf8(command).ok()?;
        let mark = if encrypted { "" } else { "*" };
        heard.lock().unwrap().commands.push(format!("{mark}{command}"));
        if let Some((_, answer)) = script.answers.iter().find(|(prefix, _)| command.starts_with(prefix)) {
            if answer.is_empty() {
                std::future::pending::<()>().await;
            }
            say(stream, answer).await?;
            continue;
        }
        let verb = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => {
                say(stream, "250-sink").await?;
                if encrypted {
                    say(stream, "250-AUTH PLAIN LOGIN").await?;
                } else if script.starttls.is_some() {
                    say(stream, "250-STARTTLS").await?;
                }
                say(stream, "250 8BITMIME").await?;
            }
            "STARTTLS" => {
                let answer = format!("220 go ahead\r\n{}", script.injected);
                stream.write_all(answer.as_bytes()).await.ok()?;
                stream.flush().await.ok()?;
                return Some(End::StartTls);
            }
            "AUTH" => say(stream, "235 welcome").await?,
            "MAIL" => {
                from = command;
                say(stream, "250 ok").await?;
            }
            "RCPT" => {
                to.push(command);
                say(stream, "250 ok").await?;
            }
            "DATA" => {
                say(stream, "354 go on").await?;
                let mut bytes = Vec::new();
                loop {
                    let line = line(stream, heard).await?;
                    if line == b"." {
                        break;
                    }
                    bytes.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
                    bytes.extend_from_slice(b"\r\n");
                }
                if script.drops_after_data {
                    return Some(End::Closed);
                }
                let message =
                    Received { from: std::mem::take(&mut from), to: std::mem::take(&mut to), bytes };
                heard.lock().unwrap().messages.push(message);
                say(stream, "250 queued as 1").await?;
            }
            "QUIT" => {
                say(stream, "221 bye").await?;
                return Some(End::Closed);
            }
            _ => say(stream, "500 what?").await?,
        }
    }
    Some(End::Closed)
}
