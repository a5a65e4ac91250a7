//! What was read from the store and compared with its digest.
//!
//! All of it is compared before any of it is handed out: an answer that has begun cannot be taken back, and a part of a file
//! proves nothing of itself. Small files are held in memory meanwhile. Larger ones stay in their file, or are laid by in a
//! temporary one when they come over the network, so that memory does not grow with them.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    ops::Range,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use sha2::{Digest, Sha256};
use tokio::{io::AsyncWriteExt as _, task::spawn_blocking};

/// Files up to so many bytes are held in memory.
pub(super) const IN_MEMORY: u64 = 4 << 20;
/// Larger ones are read so much at a time.
const PIECE: u64 = 256 << 10;

/// A file whose bytes are the ones that were stored.
#[derive(Debug)]
pub struct Verified {
    content: Content,
    length: u64,
}

#[derive(Debug)]
enum Content {
    Memory(Bytes),
    File(File),
}

impl Verified {
    pub(super) fn from_memory(bytes: Vec<u8>) -> Self {
        Self { length: bytes.len() as u64, content: Content::Memory(bytes.into()) }
    }

    pub(super) fn from_file(file: File, length: u64) -> Self {
        Self { content: Content::File(file), length }
    }

    /// How many bytes it has.
    #[expect(clippy::len_without_is_empty, reason = "a file without bytes is no special case")]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// The bytes of `part`, which lies within the file.
    pub fn stream(self, part: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        match self.content {
            Content::Memory(bytes) => {
                let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let part = bytes.slice(at(part.start)..at(part.end));
                stream::once(async move { Ok(part) }).left_stream()
            }
            Content::File(file) => stream::try_unfold((file, part), |(file, part)| async move {
                if part.is_empty() {
                    return Ok(None);
                }
                let piece = part.start..part.end.min(part.start + PIECE);
                let rest = piece.end..part.end;
                let read = spawn_blocking(move || read_at(file, piece)).await.map_err(io::Error::other)?;
                read.map(|(file, bytes)| Some((bytes, (file, rest))))
            })
            .right_stream(),
        }
    }

    /// Lays all of it at `path`, in the place of whatever is there.
    pub(super) async fn save(self, path: PathBuf) -> io::Result<()> {
        let save = move || {
            let mut to = File::create(path)?;
            match self.content {
                Content::Memory(bytes) => to.write_all(&bytes),
                Content::File(mut from) => io::copy(&mut from, &mut to).map(drop),
            }
        };
        spawn_blocking(save).await.map_err(io::Error::other)?
    }

    /// All bytes.
    pub(super) async fn into_bytes(self) -> io::Result<Vec<u8>> {
        match self.content {
            Content::Memory(bytes) => Ok(bytes.into()),
            Content::File(file) => {
                let read = spawn_blocking(move || read_at(file, 0..self.length)).await;
                read.map_err(io::Error::other)?.map(|(_, bytes)| bytes.into())
            }
        }
    }
}

fn read_at(mut file: File, part: Range<u64>) -> io::Result<(File, Bytes)> {
    let length = usize::try_from(part.end - part.start).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.seek(SeekFrom::Start(part.start))?;
    file.read_exact(&mut bytes)?;
    Ok((file, bytes.into()))
}

/// What is to be stored.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'s> {
    Memory(&'s [u8]),
    /// And how many bytes it has.
    File(&'s Path, u64),
}

impl Source<'_> {
    pub(super) fn len(self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, length) => length,
        }
    }

    /// The bytes from `start` on, at most so many.
    pub(super) async fn part(self, start: u64, most: usize) -> io::Result<Bytes> {
        let end = self.len().min(start + most as u64);
        match self {
            Self::Memory(bytes) => {
                let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
                Ok(Bytes::copy_from_slice(&bytes[at(start)..at(end)]))
            }
            Self::File(path, _) => {
                let path = path.to_owned();
                let read = move || read_at(File::open(path)?, start..end).map(|(_, bytes)| bytes);
                spawn_blocking(read).await.map_err(io::Error::other)?
            }
        }
    }
}

/// Digest and length of a file.
pub(super) async fn digest_of(path: PathBuf) -> io::Result<([u8; 32], u64)> {
    let digest = move || {
        let mut digest = Sha256::new();
        let length = io::copy(&mut File::open(path)?, &mut digest)?;
        Ok((digest.finalize().into(), length))
    };
    spawn_blocking(digest).await.map_err(io::Error::other)?
}

/// Takes bytes as they come over the network, digests them, and lays them by.
#[derive(Default)]
pub(super) struct Intake {
    digest: Sha256,
    memory: Vec<u8>,
    spilled: Option<tokio::fs::File>,
    length: u64,
}

impl Intake {
    pub(super) async fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.length += bytes.len() as u64;
        if self.spilled.is_none() && self.length > IN_MEMORY {
            // It has no name, so it goes away with whoever holds it.
            let file = spawn_blocking(tempfile::tempfile).await.map_err(io::Error::other)??;
            let mut file = tokio::fs::File::from_std(file);
            file.write_all(&std::mem::take(&mut self.memory)).await?;
            self.spilled = Some(file);
        }
        match &mut self.spilled {
            Some(file) => file.write_all(bytes).await,
            None => {
                self.memory.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// The digest of all that was taken, and what it is of.
    pub(super) async fn finish(self) -> io::Result<([u8; 32], Verified)> {
        let verified = match self.spilled {
            Some(mut file) => {
                file.flush().await?;
                Verified::from_file(file.into_std().await, self.length)
            }
            None => Verified::from_memory(self.memory),
        };
        Ok((self.digest.finalize().into(), verified))
    }
}
