//! Artifacts in a bucket of an S3-compatible store.
//!
//! Requests are signed and repeated by `object_store`, which also fetches and renews the credentials of a machine's role; they leave through
//! the guarded client like all others ([`super::wire`]).

use std::{io, time::Duration};

use futures::{TryStreamExt as _, stream};
use object_store::{
    BackoffConfig, Error as S3Error, GetOptions, ObjectStore, ObjectStoreExt as _, PutMode,
    PutMultipartOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use runtime::config::{BucketCredentials, BucketSettings};
use secrecy::ExposeSecret;

use super::{
    read::{Intake, Source, Verified},
    wire::GuardedConnector,
};
use crate::error::{Error, Result};

/// Larger files are sent in parts of this size, bytes; S3 wants at least 5 MiB.
const PART: usize = 8 << 20;
/// How many parts are under way at once.
const PARTS_AT_ONCE: usize = 4;

/// A request that fails for now is sent again so often, for so long.
const RETRIES: usize = 5;
const RETRY_FOR: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
pub(super) struct Bucket {
    client: AmazonS3,
    /// What all keys begin with; empty or ending in a slash.
    prefix: String,
    whereabouts: String,
}

impl Bucket {
    pub(super) fn new(settings: &BucketSettings) -> Result<Self> {
        let unusable = |error: S3Error| failed(&settings.name, error);
        let metadata = match &settings.credentials {
            BucketCredentials::Instance { metadata } => Some(metadata),
            BucketCredentials::Keys { .. } => None,
        };
        let connector = GuardedConnector::new(metadata)
            .map_err(|error| Error::Blob { key: settings.name.clone(), source: io::Error::other(error) })?;
        let retry = RetryConfig {
            backoff: BackoffConfig { max_backoff: Duration::from_secs(4), ..BackoffConfig::default() },
            max_retries: RETRIES,
            retry_timeout: RETRY_FOR,
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&settings.name)
            .with_region(&settings.region)
            .with_allow_http(true)
            .with_retry(retry)
            .with_http_connector(connector);
        builder = match &settings.credentials {
            BucketCredentials::Keys { access_key_id, secret_access_key } => builder
                .with_access_key_id(access_key_id)
                .with_secret_access_key(secret_access_key.expose_secret()),
            // Version 2 alone: without it, whoever can make this machine send a request can have its role.
            BucketCredentials::Instance { metadata } => {
                builder.with_metadata_endpoint(metadata.url.as_str().trim_end_matches('/'))
            }
        };
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
        }
        let at = settings.endpoint.as_ref().map_or_else(|| settings.region.clone(), ToString::to_string);
        Ok(Self {
            client: builder.build().map_err(unusable)?,
            prefix: match settings.prefix.trim_matches('/') {
                "" => String::new(),
                prefix => format!("{prefix}/"),
            },
            whereabouts: format!("the bucket {} at {at}", settings.name),
        })
    }

    pub(super) fn whereabouts(&self) -> String {
        self.whereabouts.clone()
    }

    /// What is small is sent under the condition that nothing is there. S3 has no such condition for what is sent in
    /// parts, and needs none here: two who write the same key write the same bytes.
    pub(super) async fn write(&self, key: &str, source: Source<'_>, over: bool) -> Result<()> {
        let path = self.path(key)?;
        let written = if source.len() <= PART as u64 {
            let wrap = |source| Error::Blob { key: key.to_owned(), source };
            let bytes = source.part(0, PART).await.map_err(wrap)?;
            let mode = if over { PutMode::Overwrite } else { PutMode::Create };
            self.client.put_opts(&path, bytes.into(), mode.into()).await.map(drop)
        } else if !over && self.exists(&path).await.map_err(|error| failed(key, error))? {
            Ok(())
        } else {
            self.write_in_parts(&path, source).await
        };
        match written {
            Err(S3Error::AlreadyExists { .. }) => Ok(()),
            written => written.map_err(|error| failed(key, error)),
        }
    }

    async fn exists(&self, path: &Path) -> std::result::Result<bool, S3Error> {
        match self.client.head(path).await {
            Ok(_) => Ok(true),
            Err(S3Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn write_in_parts(&self, path: &Path, source: Source<'_>) -> std::result::Result<(), S3Error> {
        let mut upload = self.client.put_multipart_opts(path, PutMultipartOptions::default()).await?;
        let (mut under_way, mut sent) = (stream::FuturesUnordered::new(), Ok(()));
        for start in (0..source.len()).step_by(PART) {
            if under_way.len() >= PARTS_AT_ONCE {
                sent = under_way.try_next().await.map(drop);
            }
            if sent.is_err() {
                break;
            }
            match source.part(start, PART).await {
                Ok(part) => under_way.push(upload.put_part(part.into())),
                Err(error) => {
                    sent = Err(S3Error::Generic { store: "S3", source: error.into() });
                    break;
                }
            }
        }
        let sent = match sent {
            Ok(()) => under_way.try_for_each(|()| async { Ok(()) }).await,
            Err(error) => Err(error),
        };
        let completed = match sent {
            Ok(()) => upload.complete().await.map(drop),
            Err(error) => Err(error),
        };
        if completed.is_err() {
            // Parts of what was never completed cost money. Their own failure adds nothing to the first.
            let _ = upload.abort().await;
        }
        completed
    }

    pub(super) async fn read(&self, key: &str, sha256: &[u8]) -> Result<Verified> {
        let path = self.path(key)?;
        let answer = self.client.get_opts(&path, GetOptions::default()).await;
        let mut pieces = answer.map_err(|error| failed(key, error))?.into_stream();
        let wrap = |source| Error::Blob { key: key.to_owned(), source };
        let mut intake = Intake::default();
        while let Some(piece) = pieces.try_next().await.map_err(|error| failed(key, error))? {
            intake.take(&piece).await.map_err(wrap)?;
        }
        let (found, verified) = intake.finish().await.map_err(wrap)?;
        if found == sha256 { Ok(verified) } else { Err(Error::Corrupt { key: key.to_owned() }) }
    }

    pub(super) async fn delete(&self, key: &str) -> Result<()> {
        match self.client.delete(&self.path(key)?).await {
            Err(S3Error::NotFound { .. }) => Ok(()),
            deleted => deleted.map_err(|error| failed(key, error)),
        }
    }

    fn path(&self, key: &str) -> Result<Path> {
        Path::parse(format!("{}{key}", self.prefix)).map_err(|error| failed(key, error.into()))
    }
}

/// What the store said, as a caller would act on it: what failed for now, after all repetitions, is told from what was refused.
fn failed(key: &str, error: S3Error) -> Error {
    let kind = match &error {
        S3Error::NotFound { .. } => return Error::NotFound,
        S3Error::PermissionDenied { .. } | S3Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
        S3Error::Generic { .. } => io::ErrorKind::NotConnected,
        _ => io::ErrorKind::Other,
    };
    Error::Blob { key: key.to_owned(), source: io::Error::new(kind, error) }
}
