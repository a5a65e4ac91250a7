//! The artifact store: immutable files under keys that we make, never the user.
//!
//! A local folder shared by all processes. A file appears under its key all at once (written beside it, synced,
//! renamed) or not at all, and is checked against its digest before it leaves.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::error::{Error, Result};

/// Where artifacts are kept.
#[derive(Debug, Clone)]
pub struct BlobStore {
    root: PathBuf,
}

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub key: String,
    pub byte_count: i64,
    pub sha256: [u8; 32],
}

impl BlobStore {
    /// A store in the folder `root`, which is made when something is first put.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Stores `bytes` under `{prefix}/{sha256}.{extension}`. Storing the same bytes twice is the same as once.
    ///
    /// # Errors
    /// [`Error::Blob`] with the cause, such as a full disk; nothing is left behind then.
    pub async fn put(&self, prefix: &str, extension: &str, bytes: &[u8]) -> Result<Stored> {
        let sha256: [u8; 32] = Sha256::digest(bytes).into();
        let key = format!("{prefix}/{}.{extension}", hex::encode(sha256));
        let path = self.path(&key)?;
        let wrap = |source| Error::Blob { key: key.clone(), source };
        if tokio::fs::try_exists(&path).await.map_err(wrap)? {
            return Ok(Stored { key, byte_count: bytes.len() as i64, sha256 });
        }
        let folder = path.parent().unwrap_or(&self.root);
        tokio::fs::create_dir_all(folder).await.map_err(wrap)?;
        let unfinished = folder.join(format!(".{}.part", uuid::Uuid::new_v4()));
        let written = write_synced(&unfinished, bytes).await;
        let placed = match written {
            Ok(()) => tokio::fs::rename(&unfinished, &path).await,
            Err(error) => Err(error),
        };
        if let Err(source) = placed {
            // The disk may be full: what was begun must not stay. Its own failure adds nothing to the first.
            let _ = tokio::fs::remove_file(&unfinished).await;
            return Err(wrap(source));
        }
        Ok(Stored { key, byte_count: bytes.len() as i64, sha256 })
    }

    /// The bytes under `key`, proven to have the digest they were stored with.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there are none, [`Error::Corrupt`] when they have changed.
    pub async fn get(&self, key: &str, sha256: &[u8]) -> Result<Vec<u8>> {
        let bytes = match tokio::fs::read(self.path(key)?).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::NotFound),
            Err(source) => return Err(Error::Blob { key: key.to_owned(), source }),
        };
        if Sha256::digest(&bytes).as_slice() != sha256 {
            return Err(Error::Corrupt { key: key.to_owned() });
        }
        Ok(bytes)
    }

    /// Removes what is under `key`, if anything.
    ///
    /// # Errors
    /// [`Error::Blob`] with the cause.
    pub async fn delete(&self, key: &str) -> Result<()> {
        match tokio::fs::remove_file(self.path(key)?).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::Blob { key: key.to_owned(), source: error })
            }
            _ => Ok(()),
        }
    }

    /// Writes, reads back and removes a small object.
    ///
    /// # Errors
    /// The first step that failed.
    pub async fn probe(&self) -> Result<()> {
        let stored = self.put("probe", "txt", b"plimsoll").await?;
        self.get(&stored.key, &stored.sha256).await?;
        self.delete(&stored.key).await
    }

    fn path(&self, key: &str) -> Result<PathBuf> {
        let relative = Path::new(key);
        if relative.components().all(|part| matches!(part, Component::Normal(_))) && !key.is_empty() {
            Ok(self.root.join(relative))
        } else {
            Err(Error::Blob {
                key: key.to_owned(),
                source: io::Error::new(io::ErrorKind::InvalidInput, "the key leaves the store"),
            })
        }
    }
}

async fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tokio::fs::File::create_new(path).await?;
    file.write_all(bytes).await?;
    file.sync_all().await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store that goes away with the folder it is in.
    fn store() -> (tempfile::TempDir, BlobStore) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = BlobStore::new(folder.path());
        (folder, store)
    }

    #[tokio::test]
    async fn what_was_put_comes_back() {
        let (_folder, store) = store();
        let stored = store.put("tenant/report", "pdf", b"%PDF").await.expect("stored");
        assert_eq!(store.get(&stored.key, &stored.sha256).await.expect("read"), b"%PDF");
        let again = store.put("tenant/report", "pdf", b"%PDF").await.expect("stored twice");
        assert_eq!(again, stored);
    }

    #[tokio::test]
    async fn altered_bytes_never_leave() {
        let (_folder, store) = store();
        let stored = store.put("t", "csv", b"a,b").await.expect("stored");
        std::fs::write(store.root.join(&stored.key), b"a,c").expect("altered");
        assert!(matches!(store.get(&stored.key, &stored.sha256).await, Err(Error::Corrupt { .. })));
    }

    #[tokio::test]
    async fn a_key_cannot_leave_the_store() {
        for key in ["../x", "/etc/passwd", "a/../../x", ""] {
            assert!(matches!(store().1.get(key, &[]).await, Err(Error::Blob { .. })), "{key}");
        }
    }
}
