//! Reading a fixture whole, writing broken files, and a web server that says what it is told to.

use std::{
    io::Write,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use domain::{
    advisory::{Advisory, Record},
    source::FeedKind,
};
use feeds::{Caps, ParseError, Parsed};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub(crate) fn fixture_text(name: &str) -> String {
    std::fs::read_to_string(fixture(name)).expect("a fixture")
}

/// Reads a feed and keeps all of it.
pub(crate) fn read(kind: FeedKind, path: &Path) -> Result<(Vec<Record>, Parsed), ParseError> {
    read_within(Caps::default(), kind, path)
}

pub(crate) fn read_within(
    caps: Caps,
    kind: FeedKind,
    path: &Path,
) -> Result<(Vec<Record>, Parsed), ParseError> {
    let mut records = Vec::new();
    let parsed = feeds::parse_within(caps, kind, path, &mut |record| {
        records.push(record);
        ControlFlow::Continue(())
    })?;
    assert_eq!(parsed.records, records.len() as u64, "what is counted is what was emitted");
    Ok((records, parsed))
}

/// Reads a feed that lies in a file of these bytes.
pub(crate) fn read_bytes(kind: FeedKind, bytes: &[u8]) -> Result<(Vec<Record>, Parsed), ParseError> {
    let folder = Folder::new();
    read(kind, &folder.file("feed", bytes))
}

pub(crate) fn advisories(records: Vec<Record>) -> Vec<Advisory> {
    records
        .into_iter()
        .map(|record| match record {
            Record::Advisory(advisory) => advisory,
            other => panic!("not an advisory: {other:?}"),
        })
        .collect()
}

/// A temporary directory to write feeds into.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().expect("a temporary directory"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

pub(crate) fn zip_of<'a>(entries: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in entries {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).expect("an entry");
        archive.write_all(&content).expect("memory");
    }
    archive.finish().expect("a zip archive").into_inner()
}

/// Answers one canned reply per connection, the last one for ever, and keeps the heads of the requests.
pub(crate) struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) async fn answering(replies: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        tokio::spawn(async move {
            for turn in 0.. {
                let Ok((mut socket, _)) = listener.accept().await else { return };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await.expect("a request"));
                }
                kept.lock()
                    .expect("not poisoned")
                    .push(String::from_utf8(head).expect("text").to_lowercase());
                // The client may have had enough already.
                let _ = socket.write_all(&replies[turn.min(replies.len() - 1)]).await;
            }
        });
        Self { port, requests }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("not poisoned").clone()
    }
}

/// A whole HTTP answer; `headers` are lines without their ends.
pub(crate) fn reply(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut reply = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
    headers.iter().for_each(|header| reply.push_str(&format!("{header}\r\n")));
    reply.push_str("\r\n");
    let mut reply = reply.into_bytes();
    reply.extend_from_slice(body);
    reply
}
