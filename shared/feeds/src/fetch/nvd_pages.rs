//! Downloading the NVD, which comes 2,000 records at a time and answers 403, 429 and 503 on ordinary days.
//!
//! Pages go to a temporary directory, one file each. A page that fails is asked for again, more and more slowly; the pages
//! before it are kept. <https://nvd.nist.gov/developers/vulnerabilities>.

use std::{path::Path, time::Duration};

use tempfile::TempDir;

use super::{
    Client, Content, FetchError, HeaderName, HeaderValue, Limits, Place, Request, Response, StatusCode, Url,
    blocking, digest_of, expect_feed, receive,
};
use crate::nvd;

/// The most records that the NVD puts on one page.
const LARGEST_PAGE: &str = "2000";

/// How fast pages are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two pages. The NVD allows 5 requests in 30 seconds.
    pub pause: Duration,
    /// The same with a key, which allows 50.
    pub pause_with_key: Duration,
    /// How often one page is asked for before giving up.
    pub attempts: u32,
    /// After a page's first failure; doubled after each further one.
    pub backoff: Duration,
    /// Do not sit waiting longer than this: say when to come back instead.
    pub longest_wait: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            pause: Duration::from_secs(6),
            pause_with_key: Duration::from_millis(600),
            attempts: 6,
            backoff: Duration::from_secs(6),
            longest_wait: Duration::from_secs(300),
        }
    }
}

/// Downloads every page of the query that `url` is.
pub(super) async fn download(
    client: &Client,
    url: &Url,
    api_key: Option<&str>,
    limits: &Limits,
) -> Result<Content, FetchError> {
    let directory = TempDir::new().map_err(FetchError::Disk)?;
    let mut pager =
        Pager { client, url, api_key, pace: limits.pace, left: limits.max_bytes, limit: limits.max_bytes };
    let (mut start, mut total) = (0, 0);
    loop {
        let file = directory.path().join(format!("page-{start:09}.json"));
        let page = pager.page(start, &file).await?;
        total = page.total.max(total);
        start += page.held;
        if start >= total {
            break;
        }
        if page.held == 0 {
            return Err(FetchError::Page { start, reason: format!("no records, though there are {total}") });
        }
        tokio::time::sleep(pager.pause()).await;
    }
    let (path, limit) = (directory.path().to_owned(), limits.max_bytes);
    let (bytes, digest) = blocking(move || digest_of(&path, limit)).await?;
    Ok(Content {
        place: Place::DownloadedPages(directory),
        bytes,
        digest,
        etag: None,
        last_modified: None,
        url: url.to_string(),
    })
}

struct Pager<'a> {
    client: &'a Client,
    url: &'a Url,
    api_key: Option<&'a str>,
    pace: Pace,
    /// Bytes that may still come.
    left: u64,
    limit: u64,
}

impl Pager<'_> {
    fn pause(&self) -> Duration {
        if self.api_key.is_some() { self.pace.pause_with_key } else { self.pace.pause }
    }

    /// Asks for the page that begins with record `start` until it comes.
    async fn page(&mut self, start: u64, file: &Path) -> Result<nvd::Outline, FetchError> {
        let mut backoff = self.pace.backoff;
        let mut attempts_left = self.pace.attempts;
        loop {
            let error = match self.attempt(start, file, backoff).await {
                Ok(page) => return Ok(page),
                Err(error) => error,
            };
            attempts_left = attempts_left.saturating_sub(1);
            let wait = match &error {
                FetchError::RetryAfter(wait) => *wait,
                FetchError::Egress(error) if !error.is_permanent() => backoff,
                FetchError::Page { .. } | FetchError::NotAFeed(_) => backoff,
                _ => return Err(error),
            };
            if attempts_left == 0 || wait > self.pace.longest_wait {
                return Err(error);
            }
            tracing::info!(start, ?wait, %error, "NVD page failed, will ask again");
            tokio::time::sleep(wait).await;
            backoff *= 2;
        }
    }

    async fn attempt(
        &mut self,
        start: u64,
        file: &Path,
        backoff: Duration,
    ) -> Result<nvd::Outline, FetchError> {
        let mut request = Request::get(self.page_url(start));
        if let Some(key) = self.api_key {
            let mut key = HeaderValue::from_str(key).map_err(|_| FetchError::Page {
                start,
                reason: "the API key is not a header value".to_owned(),
            })?;
            key.set_sensitive(true);
            request = request.header(HeaderName::from_static("apikey"), key);
        }
        let mut answer: Response = self.client.send(request).await?;
        // Over its rate limit the NVD answers 403 as well.
        if answer.status == StatusCode::FORBIDDEN {
            return Err(FetchError::RetryAfter(backoff));
        }
        expect_feed(&answer, backoff)?;
        let (bytes, _) = receive(&mut answer, file, self.left).await.map_err(|error| match error {
            FetchError::TooLarge { .. } => FetchError::TooLarge { limit: self.limit },
            other => other,
        })?;
        let written = file.to_owned();
        let page = blocking(move || {
            nvd::outline(&written).map_err(|reason| FetchError::Page { start, reason: reason.to_string() })
        })
        .await?;
        if page.start != start {
            let reason = format!("the answer begins with record {}", page.start);
            return Err(FetchError::Page { start, reason });
        }
        self.left -= bytes;
        Ok(page)
    }

    fn page_url(&self, start: u64) -> String {
        let mut url = self.url.clone();
        let kept: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(name, _)| name != "startIndex")
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        let sized = kept.iter().any(|(name, _)| name == "resultsPerPage");
        let mut query = url.query_pairs_mut();
        query.clear().extend_pairs(kept);
        if !sized {
            query.append_pair("resultsPerPage", LARGEST_PAGE);
        }
        query.append_pair("startIndex", &start.to_string());
        drop(query);
        url.into()
    }
}
