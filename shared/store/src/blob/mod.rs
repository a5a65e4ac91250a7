//! The artifact store: immutable files under keys that we make, never the user.
//!
//! A key ends in the SHA-256 of what lies under it. A file appears under its key all at once or not at all, is read back
//! when it was written, and is compared with its digest before the first byte of it leaves. Where it lies is one of two
//! places: a [`folder`] that all processes share, or a [`bucket`] of any S3-compatible store. Start at [`BlobStore`].

mod bucket;
mod folder;
mod read;
mod wire;

use std::path::{Component, Path, PathBuf};

use runtime::config::Config;
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use self::read::Verified;
use self::{
    bucket::Bucket,
    folder::Folder,
    read::{Source, digest_of},
};
use crate::error::{Error, Result};

/// Where artifacts are kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BlobStore {
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Folder(Folder),
    Bucket(Bucket),
}

/// Something to be stored, and where it will be.
#[derive(Debug)]
pub struct Parcel<'a> {
    key: String,
    source: Source<'a>,
    sha256: [u8; 32],
}

impl<'a> Parcel<'a> {
    /// `bytes`, to be stored under `{prefix}/{sha256}.{extension}`.
    ///
    /// # Errors
    /// [`Error::Blob`] when that would lead out of the store.
    pub fn of(prefix: &str, extension: &str, bytes: &'a [u8]) -> Result<Self> {
        Self::under(prefix, extension, Source::Memory(bytes), Sha256::digest(bytes).into())
    }

    /// As [`Self::of`], of a file that may be too large for memory.
    ///
    /// # Errors
    /// As [`Self::of`], and [`Error::Blob`] when the file cannot be read.
    pub async fn of_file(prefix: &str, extension: &str, file: &'a Path) -> Result<Self> {
        let (sha256, length) = digest_of(file.to_owned())
            .await
            .map_err(|source| Error::Blob { key: file.display().to_string(), source })?;
        Self::under(prefix, extension, Source::File(file, length), sha256)
    }

    fn under(prefix: &str, extension: &str, source: Source<'a>, sha256: [u8; 32]) -> Result<Self> {
        let key = checked(format!("{prefix}/{}.{extension}", hex::encode(sha256)))?;
        Ok(Self { key, source, sha256 })
    }

    /// Where it will be.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
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
        Self { place: Place::Folder(Folder::new(root)) }
    }

    /// The store that the settings name. Asks nobody yet.
    ///
    /// # Errors
    /// When the settings of the bucket cannot be used.
    pub fn of(config: &Config) -> Result<Self> {
        match &config.bucket {
            Some(settings) => Ok(Self { place: Place::Bucket(Bucket::new(settings)?) }),
            None => Ok(Self::new(&config.artifact_dir)),
        }
    }

    /// Where it is, for people.
    #[must_use]
    pub fn whereabouts(&self) -> String {
        match &self.place {
            Place::Folder(folder) => folder.root().display().to_string(),
            Place::Bucket(bucket) => bucket.whereabouts(),
        }
    }

    /// Stores `parcel` and reads it back. Storing the same bytes twice is the same as once;
    /// what has been damaged since is made good.
    ///
    /// # Errors
    /// [`Error::Blob`] with the cause, such as a full disk; nothing is left behind then. [`Error::Corrupt`] when what is read back is
    /// not what was written.
    pub async fn deliver(&self, parcel: Parcel<'_>) -> Result<Stored> {
        let Parcel { key, source, sha256 } = parcel;
        self.write(&key, source, false).await?;
        match self.read(&key, &sha256).await {
            Err(Error::Corrupt { .. } | Error::NotFound) => {
                self.write(&key, source, true).await?;
                self.read(&key, &sha256).await?;
            }
            read => drop(read?),
        }
        Ok(Stored { key, byte_count: source.len() as i64, sha256 })
    }

    /// Stores `bytes` under `{prefix}/{sha256}.{extension}`, as [`Self::deliver`] does.
    ///
    /// # Errors
    /// As [`Self::deliver`].
    pub async fn put(&self, prefix: &str, extension: &str, bytes: &[u8]) -> Result<Stored> {
        self.deliver(Parcel::of(prefix, extension, bytes)?).await
    }

    /// As [`Self::put`], of a file that may be too large for memory.
    ///
    /// # Errors
    /// As [`Self::put`], and [`Error::Blob`] when the file cannot be read.
    pub async fn put_file(&self, prefix: &str, extension: &str, file: &Path) -> Result<Stored> {
        self.deliver(Parcel::of_file(prefix, extension, file).await?).await
    }

    /// What lies under `key`, proven to have the digest it was stored with, ready to be sent in whole or in part.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is nothing, [`Error::Corrupt`] when it has changed, [`Error::Blob`] when the store does not answer.
    pub async fn read(&self, key: &str, sha256: &[u8]) -> Result<Verified> {
        let key = checked(key.to_owned())?;
        match &self.place {
            Place::Folder(folder) => folder.read(&key, sha256).await,
            Place::Bucket(bucket) => bucket.read(&key, sha256).await,
        }
    }

    /// All of what lies under `key`, for those who need it in memory.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn get(&self, key: &str, sha256: &[u8]) -> Result<Vec<u8>> {
        let wrap = |source| Error::Blob { key: key.to_owned(), source };
        self.read(key, sha256).await?.into_bytes().await.map_err(wrap)
    }

    /// Lays a copy of what lies under `key`, compared with its digest, at `path`.
    ///
    /// # Errors
    /// As [`Self::read`], and [`Error::Blob`] when there is no room at `path`.
    pub async fn copy_to(&self, key: &str, sha256: &[u8], path: &Path) -> Result<()> {
        let wrap = |source| Error::Blob { key: key.to_owned(), source };
        self.read(key, sha256).await?.save(path.to_owned()).await.map_err(wrap)
    }

    /// Removes what is under `key`, if anything.
    ///
    /// # Errors
    /// [`Error::Blob`] with the cause.
    pub async fn delete(&self, key: &str) -> Result<()> {
        let key = checked(key.to_owned())?;
        match &self.place {
            Place::Folder(folder) => folder.delete(&key).await,
            Place::Bucket(bucket) => bucket.delete(&key).await,
        }
    }

    /// Writes, reads back and removes a small object that nobody else has.
    ///
    /// # Errors
    /// The first step that failed.
    pub async fn probe(&self) -> Result<()> {
        let stored = self.put("probe", "txt", Uuid::new_v4().as_bytes()).await?;
        self.delete(&stored.key).await
    }

    /// Unless something is there already, or `over` it.
    async fn write(&self, key: &str, source: Source<'_>, over: bool) -> Result<()> {
        match &self.place {
            Place::Folder(folder) => folder.write(key, source, over).await,
            Place::Bucket(bucket) => bucket.write(key, source, over).await,
        }
    }
}

/// The key, if it cannot lead out of the store.
fn checked(key: String) -> Result<String> {
    let stays = Path::new(&key).components().all(|part| matches!(part, Component::Normal(_)));
    if stays && !key.is_empty() {
        return Ok(key);
    }
    let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "the key leaves the store");
    Err(Error::Blob { key, source })
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
    async fn altered_bytes_never_leave_and_are_made_good_by_the_next_put() {
        let (folder, store) = store();
        let stored = store.put("t", "csv", b"a,b").await.expect("stored");
        std::fs::write(folder.path().join(&stored.key), b"a,c").expect("altered");
        assert!(matches!(store.get(&stored.key, &stored.sha256).await, Err(Error::Corrupt { .. })));
        store.put("t", "csv", b"a,b").await.expect("stored again");
        assert_eq!(store.get(&stored.key, &stored.sha256).await.expect("sound"), b"a,b");
    }

    #[tokio::test]
    async fn a_file_is_stored_as_its_bytes_would_be_and_comes_back_as_a_file() {
        let (folder, store) = store();
        for bytes in [vec![7; 1_000], vec![7; 9_000_001]] {
            let file = folder.path().join("file");
            std::fs::write(&file, &bytes).expect("written");
            let stored = store.put_file("t", "bin", &file).await.expect("stored");
            assert_eq!(stored, store.put("t", "bin", &bytes).await.expect("stored"));
            let copy = folder.path().join("copy");
            store.copy_to(&stored.key, &stored.sha256, &copy).await.expect("copied");
            assert!(std::fs::read(&copy).expect("a copy") == bytes);
        }
    }

    #[tokio::test]
    async fn a_key_cannot_leave_the_store() {
        for key in ["../x", "/etc/passwd", "a/../../x", ""] {
            assert!(matches!(store().1.get(key, &[]).await, Err(Error::Blob { .. })), "{key}");
        }
    }

    #[tokio::test]
    async fn a_file_too_large_for_memory_is_read_in_parts_and_altered_ones_are_found() {
        use futures::TryStreamExt as _;
        let (folder, store) = store();
        let bytes: Vec<u8> = (0..9_000_001_u32).map(|n| (n % 251) as u8).collect();
        let stored = store.put("t", "bin", &bytes).await.expect("stored");
        let read = store.read(&stored.key, &stored.sha256).await.expect("sound");
        assert_eq!(read.len(), 9_000_001);
        let pieces: Vec<bytes::Bytes> =
            read.stream(4_000_000..9_000_001).try_collect().await.expect("the end of it");
        assert_eq!(pieces.concat(), bytes[4_000_000..]);

        let path = folder.path().join(&stored.key);
        let mut altered = bytes;
        altered[9_000_000] ^= 1;
        std::fs::write(path, &altered).expect("altered");
        assert!(matches!(store.read(&stored.key, &stored.sha256).await, Err(Error::Corrupt { .. })));
    }
}
