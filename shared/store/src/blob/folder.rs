//! Artifacts in a local folder, shared by all processes.

use std::{
    io::{self, Read as _, Seek as _},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use tokio::{io::AsyncWriteExt, task::spawn_blocking};
use uuid::Uuid;

use super::read::{IN_MEMORY, Source, Verified};
use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(super) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Written beside its place, synced, and renamed: there all at once or not at all.
    pub(super) async fn write(&self, key: &str, source: Source<'_>, over: bool) -> Result<()> {
        let path = self.root.join(key);
        let wrap = |source| Error::Blob { key: key.to_owned(), source };
        if !over && tokio::fs::try_exists(&path).await.map_err(wrap)? {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(&self.root).to_owned();
        tokio::fs::create_dir_all(&folder).await.map_err(wrap)?;
        let unfinished = folder.join(format!(".{}.part", Uuid::new_v4()));
        let placed = async {
            write_synced(&unfinished, source).await?;
            tokio::fs::rename(&unfinished, &path).await?;
            // The name, too, has to survive a power cut.
            tokio::fs::File::open(&folder).await?.sync_all().await
        };
        if let Err(source) = placed.await {
            // The disk may be full: what was begun must not stay. Its own failure adds nothing to the first.
            let _ = tokio::fs::remove_file(&unfinished).await;
            return Err(wrap(source));
        }
        Ok(())
    }

    /// Compared from the beginning to the end, then read again from the same open file: a file that is replaced
    /// meanwhile is another one.
    pub(super) async fn read(&self, key: &str, sha256: &[u8]) -> Result<Verified> {
        let path = self.root.join(key);
        let read = spawn_blocking(move || open_and_digest(&path)).await.map_err(io::Error::other);
        match read.flatten() {
            Ok((found, verified)) if found == sha256 => Ok(verified),
            Ok(_) => Err(Error::Corrupt { key: key.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::NotFound),
            Err(source) => Err(Error::Blob { key: key.to_owned(), source }),
        }
    }

    pub(super) async fn delete(&self, key: &str) -> Result<()> {
        match tokio::fs::remove_file(self.root.join(key)).await {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::Blob { key: key.to_owned(), source })
            }
            _ => Ok(()),
        }
    }
}

async fn write_synced(path: &Path, source: Source<'_>) -> io::Result<()> {
    let mut file = tokio::fs::File::create_new(path).await?;
    match source {
        Source::Memory(bytes) => file.write_all(bytes).await?,
        Source::File(from, _) => {
            tokio::io::copy(&mut tokio::fs::File::open(from).await?, &mut file).await?;
            file.flush().await?;
        }
    }
    file.sync_all().await
}

fn open_and_digest(path: &Path) -> io::Result<([u8; 32], Verified)> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    if length <= IN_MEMORY {
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        file.read_to_end(&mut bytes)?;
        return Ok((Sha256::digest(&bytes).into(), Verified::from_memory(bytes)));
    }
    let mut digest = Sha256::new();
    let length = io::copy(&mut file, &mut digest)?;
    file.rewind()?;
    Ok((digest.finalize().into(), Verified::from_file(file, length)))
}
