//! Bringing a source's content to this machine, unless it is what we have already.
//!
//! Content goes to a temporary file as it arrives and is never held in memory. Nothing of it is understood here, beyond
//! telling a feed from a login page. Start at [`fetch`]; the NVD, which comes in pages, is [`nvd_pages`]'s.

mod nvd_pages;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, Utc};
use domain::source::FeedKind;
use runtime::egress::{
    Client, EgressError, HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Url, header,
};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::io::{AsyncWriteExt, BufWriter};

use crate::{
    content::{Content, Place, Validators},
    files,
};

pub use nvd_pages::Pace;

/// Never wait longer than this for a source, whatever it asks.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long to leave a source alone that is overloaded and does not say for how long.
const USUAL_WAIT: Duration = Duration::from_secs(60);

/// What to fetch.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    pub kind: FeedKind,
    /// `https:`, `http:`, or `file:` with an absolute path. A file may be named only where the client's policy trusts its
    /// user with private networks: by the administrator of the instance.
    pub url: &'a str,
    /// Sent to the NVD as its key, which buys a faster pace; to others as `Authorization: Bearer`.
    pub api_key: Option<&'a str>,
}

/// How much to fetch, and how fast.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Size of the whole content, in bytes, as it travels. The client's policy limits each answer besides.
    pub max_bytes: u64,
    /// For sources that come in pages.
    pub pace: Pace,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 4 << 30, pace: Pace::default() }
    }
}

/// What a visit brought.
#[derive(Debug)]
pub enum Fetched {
    /// Nothing new. The validators are those to remember from now on.
    NotModified(Validators),
    Content(Content),
}

/// Visits `source`. `have` tells what we have of it; the default is nothing.
pub async fn fetch(
    client: &Client,
    source: &Source<'_>,
    have: &Validators,
    limits: &Limits,
) -> Result<Fetched, FetchError> {
    let url = Url::parse(source.url).map_err(EgressError::Malformed)?;
    let content = match (url.scheme(), source.kind) {
        ("file", _) => local(client, &url, limits).await?,
        ("http" | "https", FeedKind::Nvd) => {
            nvd_pages::download(client, &url, source.api_key, limits).await?
        }
        ("http" | "https", _) => match download(client, source, have, limits).await? {
            Some(content) => content,
            None => return Ok(Fetched::NotModified(have.clone())),
        },
        (other, _) => return Err(FetchError::Scheme(other.to_owned())),
    };
    if have.digest.as_ref() == Some(&content.digest) {
        return Ok(Fetched::NotModified(content.validators()));
    }
    Ok(Fetched::Content(content))
}

/// One conditional GET; `None` when the source says that we have it.
async fn download(
    client: &Client,
    source: &Source<'_>,
    have: &Validators,
    limits: &Limits,
) -> Result<Option<Content>, FetchError> {
    let mut request = Request::get(source.url);
    for (name, value) in
        [(header::IF_NONE_MATCH, &have.etag), (header::IF_MODIFIED_SINCE, &have.last_modified)]
    {
        // A validator that is no header value was not one when we got it either: do without.
        if let Some(value) = value.as_ref().and_then(|value| HeaderValue::from_str(value).ok()) {
            request = request.header(name, value);
        }
    }
    let key = source.api_key.and_then(|key| HeaderValue::try_from(format!("Bearer {key}")).ok());
    if let Some(mut key) = key {
        key.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, key);
    }
    let mut answer = client.send(request).await?;
    if answer.status == StatusCode::NOT_MODIFIED && (have.etag.is_some() || have.last_modified.is_some()) {
        return Ok(None);
    }
    expect_feed(&answer, USUAL_WAIT)?;
    let file = NamedTempFile::new().map_err(FetchError::Disk)?;
    let (bytes, digest) = receive(&mut answer, file.path(), limits.max_bytes).await?;
    Ok(Some(Content {
        place: Place::Downloaded(file),
        bytes,
        digest,
        etag: answer.header(header::ETAG).map(str::to_owned),
        last_modified: answer.header(header::LAST_MODIFIED).map(str::to_owned),
        url: answer.url.to_string(),
    }))
}

/// Turns away what cannot be a feed: any status but 200, and web pages, whatever their status.
fn expect_feed(answer: &Response, usual_wait: Duration) -> Result<(), FetchError> {
    match answer.status {
        StatusCode::OK => {}
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            return Err(FetchError::RetryAfter(
                retry_after(&answer.headers, Utc::now()).unwrap_or(usual_wait),
            ));
        }
        other => return Err(FetchError::Status(other.as_u16())),
    }
    let content_type = answer.header(header::CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    if content_type.starts_with("text/html") || content_type.starts_with("application/xhtml") {
        return Err(FetchError::NotAFeed(content_type));
    }
    Ok(())
}

/// `Retry-After`, in seconds or as a date (RFC 9110, section 10.2.3), within a day.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(value).ok()?.to_utc() - now).to_std().unwrap_or_default(),
    };
    Some(wait.min(LONGEST_WAIT))
}

/// Writes the answer's body to `path`; returns its size and digest.
async fn receive(answer: &mut Response, path: &Path, max_bytes: u64) -> Result<(u64, String), FetchError> {
    let mut file = BufWriter::new(tokio::fs::File::create(path).await.map_err(FetchError::Disk)?);
    let (mut bytes, mut digest) = (0, Sha256::new());
    while let Some(chunk) = answer.chunk().await? {
        bytes += chunk.len() as u64;
        if bytes > max_bytes {
            return Err(FetchError::TooLarge { limit: max_bytes });
        }
        digest.update(&chunk);
        file.write_all(&chunk).await.map_err(FetchError::Disk)?;
    }
    file.flush().await.map_err(FetchError::Disk)?;
    Ok((bytes, hex::encode(digest.finalize())))
}

/// A file or directory of this machine, read where it lies.
async fn local(client: &Client, url: &Url, limits: &Limits) -> Result<Content, FetchError> {
    if !client.policy().permits_this_machine() {
        return Err(FetchError::FileNotAllowed);
    }
    let path = url.to_file_path().map_err(|()| FetchError::Scheme(url.scheme().to_owned()))?;
    let (looked_at, limit) = (path.clone(), limits.max_bytes);
    let (bytes, digest, last_modified) = blocking(move || {
        let (bytes, digest) = digest_of(&looked_at, limit)?;
        Ok((bytes, digest, modified(&looked_at)))
    })
    .await?;
    Ok(Content { place: Place::Local(path), bytes, digest, etag: None, last_modified, url: url.to_string() })
}

/// When the file was last written, as HTTP would say it: the age of a feed that does not tell its own. A directory's time says
/// nothing of its files.
fn modified(path: &Path) -> Option<String> {
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let time: chrono::DateTime<chrono::Utc> = metadata.modified().ok()?.into();
    Some(time.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

/// Size and digest of a file, or of all files below a directory.
fn digest_of(path: &Path, limit: u64) -> Result<(u64, String), FetchError> {
    let unreadable = |path: &Path, error| FetchError::File { path: path.to_owned(), error };
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, error))?;
    let files = if metadata.is_dir() {
        files::below(path).map_err(|error| unreadable(path, error))?
    } else {
        vec![(String::new(), path.to_owned())]
    };
    let (mut total, mut digest) = (0, Sha256::new());
    for (name, file) in &files {
        let size = std::fs::metadata(file).map_err(|error| unreadable(file, error))?.len();
        total += size;
        if total > limit {
            return Err(FetchError::TooLarge { limit });
        }
        if metadata.is_dir() {
            // With its length in front of each part, no two directories read the same.
            digest.update((name.len() as u64).to_le_bytes());
            digest.update(name);
            digest.update(size.to_le_bytes());
        }
        let mut content = std::fs::File::open(file).map_err(|error| unreadable(file, error))?;
        io::copy(&mut content, &mut digest).map_err(|error| unreadable(file, error))?;
    }
    Ok((total, hex::encode(digest.finalize())))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(FetchError::Disk(io::Error::other(error))),
    }
}

/// Why a visit brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Egress(#[from] EgressError),
    #[error("a source cannot be fetched by `{0}:`, only by https, http, or file with an absolute path")]
    Scheme(String),
    #[error(
        "a source may be a file of this machine only where SOURCE_ALLOW_PRIVATE names 127.0.0.0/8: add that, or give the source an https address"
    )]
    FileNotAllowed,
    #[error("`{path}` cannot be read")]
    File {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("what was fetched cannot be kept on disk")]
    Disk(#[source] io::Error),
    #[error("the source answered with status {0}")]
    Status(u16),
    /// 429 or 503: no failure of ours, but not to be tried again before.
    #[error("the source asks not to be visited for {} seconds", .0.as_secs())]
    RetryAfter(Duration),
    #[error("the source answered with `{0}`, a web page and not a feed")]
    NotAFeed(String),
    #[error("the content is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("page from record {start}: {reason}")]
    Page { start: u64, reason: String },
}

impl FetchError {
    /// True when only somebody who changes the source's settings can help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Egress(error) => error.is_permanent(),
            Self::Scheme(_) | Self::FileNotAllowed | Self::TooLarge { .. } => true,
            Self::Status(status) => matches!(status, 401 | 403 | 404 | 410),
            Self::File { .. }
            | Self::Disk(_)
            | Self::RetryAfter(_)
            | Self::NotAFeed(_)
            | Self::Page { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date_and_capped_at_a_day() {
        let now = "2026-11-21T08:00:00Z".parse().expect("a time");
        let waits =
            ["120", "Sat, 21 Nov 2026 08:02:00 GMT", "Sat, 21 Nov 2026 07:00:00 GMT", "99999999", "soon"];
        let read = waits.map(|value| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
            retry_after(&headers, now).map(|wait| wait.as_secs())
        });
        assert_eq!(read, [Some(120), Some(120), Some(0), Some(86_400), None]);
    }
}
