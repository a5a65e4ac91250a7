//! A source's content on this machine, and what is remembered of it until the next visit.

use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

/// What a source said, and what we computed, about content that we have already: sent along at the next visit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    /// SHA-256 in lower-case hex.
    pub digest: Option<String>,
}

/// Content to be read by [`parse`](crate::parse). What was downloaded for it is deleted when this is dropped.
#[derive(Debug)]
pub struct Content {
    pub(crate) place: Place,
    /// Size on disk, as fetched.
    pub bytes: u64,
    /// SHA-256 in lower-case hex; of a directory, over the names and contents of its files in order.
    pub digest: String,
    pub etag: Option<String>,
    /// As the source spelled it.
    pub last_modified: Option<String>,
    /// Where the content came from, after redirects.
    pub url: String,
}

#[derive(Debug)]
pub(crate) enum Place {
    Downloaded(NamedTempFile),
    DownloadedPages(TempDir),
    /// Somebody else's file or directory, read where it lies.
    Local(PathBuf),
}

impl Content {
    /// The file or directory that the content is in.
    #[must_use]
    pub fn path(&self) -> &Path {
        match &self.place {
            Place::Downloaded(file) => file.path(),
            Place::DownloadedPages(directory) => directory.path(),
            Place::Local(path) => path,
        }
    }

    /// What to remember once the content is safely stored.
    #[must_use]
    pub fn validators(&self) -> Validators {
        Validators {
            etag: self.etag.clone(),
            last_modified: self.last_modified.clone(),
            digest: Some(self.digest.clone()),
        }
    }
}
