//! Fetch one source, read it, merge it: all of it or nothing.

use std::{ops::ControlFlow, path::Path, time::Duration};

use domain::{id::ScanRunId, source::FeedKind};
use feeds::{Content, FetchError, Fetched, Limits, ParseError, Parsed, Validators};
use queue::{
    Attempt, Done, Handler, JobError,
    enqueue::{After, OnFailure, Origin, enqueue_after, under_way},
    error::{Class, DiscardIfMissing},
    jobs::{Correlate, CrawlSource},
};
use runtime::{
    egress::{EgressError, Obstacle},
    metrics,
};
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::PgConnection;
use store::{
    alerts::{self, Raised, Severity},
    knowledge::{self, Batch, Merged, Rejected},
    scan_runs::{self, Counts, Finish, NewRun, RunType, Status},
    source_keys,
    sources::{self, ContentFacts, Source},
};
use tokio::sync::mpsc;
use tracing::info;

use super::judging;
use crate::context::Context;

/// Rows are handed over in pieces of this size, so that memory stays small whatever the size of the feed.
const BATCH_BYTES: usize = 1 << 20;
/// How long the comparison with what one crawl brought waits for the others.
const PATIENCE_WITH_OTHER_CRAWLS: Duration = Duration::from_secs(120);
/// Rejected records told in full; the others are counted.
const REJECTED_KEPT: usize = 100;

impl Handler<Context> for CrawlSource {
    async fn run(self, context: &Context, attempt: &Attempt) -> Result<Done, JobError> {
        let mut tx = context.db.begin().await?;
        let source = sources::find(&mut tx, self.source_id).await.discard_if_missing("the source")?;
        let run = NewRun {
            tenant: None,
            job: attempt.job,
            run_type: RunType::SourceCrawl,
            source_slug: Some(&source.slug),
        };
        let run = scan_runs::begin(&mut tx, &run).await?;
        tx.commit().await?;

        let crawl = Crawl { context, attempt, source: &source, run };
        match crawl.visit().await {
            Ok(done) => Ok(done),
            Err(failure) => {
                // Whoever has the job now has closed our run already.
                if !matches!(failure.verdict, JobError::Superseded) {
                    crawl.record_failure(&failure).await?;
                }
                Err(failure.verdict)
            }
        }
    }
}

/// One visit to one source.
struct Crawl<'a> {
    context: &'a Context,
    attempt: &'a Attempt,
    source: &'a Source,
    run: ScanRunId,
}

/// How old content is that does not say so itself: when it was last changed where it came from.
fn age_of(content: &Content) -> Option<chrono::DateTime<chrono::Utc>> {
    let changed = chrono::DateTime::parse_from_rfc2822(content.last_modified.as_ref()?).ok()?;
    Some(changed.to_utc())
}

fn count(source: &str, counts: &Counts) {
    for (result, rows) in [
        ("created", counts.created),
        ("updated", counts.updated),
        ("removed", counts.removed),
        ("unchanged", counts.unchanged),
        ("rejected", counts.rejected),
    ] {
        metrics::FEED_ROWS.add([source.to_owned().into(), result.into()], rows.unsigned_abs());
    }
}

/// Why a crawl brought nothing, and what is to become of the job.
struct Failure {
    status: Status,
    bytes_read: i64,
    why: String,
    verdict: JobError,
}

impl Failure {
    /// Trying again soon could help.
    fn transient(error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        Self { why: format!("{error:#}"), verdict: JobError::Retry(error), ..Self::permanent("") }
    }

    /// Only other content or other settings could help: the next interval will tell.
    fn permanent(why: impl Into<String>) -> Self {
        let why = why.into();
        Self { status: Status::Failed, bytes_read: 0, verdict: JobError::discard(&why), why }
    }
}

impl From<JobError> for Failure {
    /// Of `complete`, which knows two ways to fail.
    fn from(error: JobError) -> Self {
        match error {
            JobError::Retry(error) => Self::transient(error),
            other => Self { verdict: other, ..Self::permanent("") },
        }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::transient(error)
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::RetryAfter(wait) => {
                let error = anyhow::Error::from(error);
                Self {
                    why: error.to_string(),
                    verdict: JobError::RetryAfter(wait, error),
                    ..Self::permanent("")
                }
            }
            FetchError::Egress(refused @ EgressError::Unreachable { obstacle: Obstacle::Forbidden, .. }) => {
                let why = anyhow::Error::from(refused);
                Self::permanent(format!(
                    "{why:#}: if a private network is meant, name it in SOURCE_ALLOW_PRIVATE"
                ))
            }
            error if error.is_permanent() => Self::permanent(format!("{:#}", anyhow::Error::from(error))),
            error => {
                let class = match error {
                    FetchError::Egress(_) => Class::Network,
                    FetchError::Disk(_) | FetchError::File { .. } => Class::Storage,
                    _ => Class::Upstream,
                };
                let error = anyhow::Error::from(error);
                let why = format!("{error:#}");
                Self { why, verdict: JobError::Retry(error.context(class)), ..Self::permanent("") }
            }
        }
    }
}

impl From<ParseError> for Failure {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Unreadable { .. } => Self::transient(error),
            broken => Self::permanent(broken.to_string()),
        }
    }
}

impl Crawl<'_> {
    async fn visit(&self) -> Result<Done, Failure> {
        self.attempt.progress(1, "fetching");
        let feed = self.source.feed()?;
        let mut connection = self.context.db.pool().acquire().await.map_err(Failure::transient)?;
        let kept = source_keys::get(&mut connection, &self.context.secrets, self.source.id()).await?;
        drop(connection);
        let of_settings = self.context.config.nvd_api_key.as_ref().filter(|_| feed == FeedKind::Nvd);
        let api_key = kept.as_ref().or(of_settings);
        let place = feeds::Source {
            kind: feed,
            url: &self.source.url,
            api_key: api_key.map(ExposeSecret::expose_secret),
        };
        let limits = Limits::default();
        match feeds::fetch(&self.context.sources, &place, &known(self.source), &limits).await? {
            Fetched::NotModified(validators) => self.finish_unchanged(&validators).await,
            Fetched::Content(content) => {
                metrics::FEED_BYTES.add([self.source.slug.clone().into()], content.bytes);
                let bytes_read = i64::try_from(content.bytes).unwrap_or(i64::MAX);
                self.merge(&content).await.map_err(|failure| Failure { bytes_read, ..failure })
            }
        }
    }

    async fn finish_unchanged(&self, validators: &Validators) -> Result<Done, Failure> {
        metrics::FEED_NOT_MODIFIED.add([self.source.slug.clone().into()], 1);
        let mut tx = self.context.db.begin().await?;
        let (etag, last_modified) = (validators.etag.as_deref(), validators.last_modified.as_deref());
        sources::mark_unchanged(&mut tx, self.source.id(), etag, last_modified).await?;
        let end = Finish { status: Status::Unchanged, ..Finish::success(Counts::default()) };
        scan_runs::finish(&mut tx, self.run, &end).await?;
        let result = json!({ "source": self.source.slug, "status": "unchanged" });
        let done = self.attempt.complete(&mut tx, result).await?;
        tx.commit().await.map_err(store::Error::from)?;
        Ok(done)
    }

    /// Everything that comes of the content, in one transaction.
    async fn merge(&self, content: &Content) -> Result<Done, Failure> {
        let source = self.source;
        self.attempt.progress(30, "reading");
        let mut tx = self.context.db.begin().await?;
        knowledge::prepare(&mut tx, source).await?;
        let read = stage(&mut tx, source.feed()?, content.path()).await?;
        self.attempt.progress(70, "merging");
        let counts = match knowledge::merge(&mut tx, source).await? {
            Merged::Done(counts) => Counts { rejected: read.rejected_total, ..counts },
            Merged::Shrunk(lost) => {
                return Err(Failure { status: Status::Quarantined, ..Failure::permanent(lost.to_string()) });
            }
        };
        runtime::failpoint!("feed-merged");
        count(&source.slug, &counts);
        let facts = ContentFacts {
            etag: content.etag.clone(),
            last_modified: content.last_modified.clone(),
            digest: Some(content.digest.clone()),
            label: read.parsed.label.clone(),
            as_of: read.parsed.as_of.or_else(|| age_of(content)),
        };
        sources::mark_merged(&mut tx, source.id(), &facts, &counts).await?;
        knowledge::replace_rejected(&mut tx, source.id(), &read.rejected).await?;
        let end = Finish {
            status: if counts.is_change() { Status::Success } else { Status::Unchanged },
            bytes_read: i64::try_from(content.bytes).unwrap_or(i64::MAX),
            provenance: json!({
                "url": content.url,
                "etag": facts.etag,
                "last_modified": facts.last_modified,
                "sha256": facts.digest,
                "label": facts.label,
                "as_of": facts.as_of,
                "skipped": read.parsed.skipped,
            }),
            ..Finish::success(counts)
        };
        scan_runs::finish(&mut tx, self.run, &end).await?;
        let result = json!({ "source": source.slug, "status": end.status.as_str(), "records": counts });
        let done = self.attempt.complete(&mut tx, result).await?;
        if counts.is_change() {
            correlate_everybody(&mut tx).await?;
        }
        tx.commit().await.map_err(store::Error::from)?;
        info!(source = source.slug, ?counts, "merged");
        Ok(done)
    }

    /// Says what went wrong, in a transaction of its own: that of the merge is gone, and with it everything the feed brought.
    async fn record_failure(&self, failure: &Failure) -> store::Result<()> {
        let mut tx = self.context.db.begin().await?;
        sources::mark_failed(&mut tx, self.source.id(), failure.status, &failure.why).await?;
        let end = Finish {
            status: failure.status,
            bytes_read: failure.bytes_read,
            provenance: json!({ "url": self.source.url }),
            error: Some(&failure.why),
            ..Finish::success(Counts::default())
        };
        scan_runs::finish(&mut tx, self.run, &end).await?;
        if failure.status == Status::Quarantined {
            let source = self.source;
            let raised = Raised {
                alert_type: "source_quarantined",
                severity: Severity::High,
                title: &format!("What {} sent was not believed", source.name),
                message: &format!(
                    "{}. What was known before stays. If the source is right, set accept_shrink on `{}` and crawl it again.",
                    failure.why, source.slug
                ),
                subject: &source.slug,
            };
            alerts::raise(&mut tx, None, &raised).await?;
        }
        Ok(tx.commit().await?)
    }
}

/// What we have of the source. Nothing, as far as it is told, when another version of this program merged it: this one may read more.
fn known(source: &Source) -> Validators {
    if source.merged_by.as_deref() != Some(runtime::VERSION) {
        return Validators::default();
    }
    Validators {
        etag: source.etag.clone(),
        last_modified: source.last_modified.clone(),
        digest: source.content_digest.clone(),
    }
}

/// What is known has changed: whoever has packages is compared with it again, once, when the other crawls that are under way have
/// ended as well.
async fn correlate_everybody(connection: &mut PgConnection) -> store::Result<()> {
    let crawls = under_way::<CrawlSource>(connection).await?;
    let after = After {
        jobs: &crawls,
        on_failure: OnFailure::RunAfterFirstAttempt,
        at_most: Some(PATIENCE_WITH_OTHER_CRAWLS),
    };
    for tenant_id in knowledge::tenants_with_assets(connection).await? {
        let correlate = Correlate { tenant_id, asset_id: None };
        enqueue_after(connection, Origin::tenant(tenant_id), &correlate, after).await?;
    }
    Ok(())
}

/// A feed that was read to its end.
struct Read {
    parsed: Parsed,
    /// Those that the parser refused and those that no table can hold.
    rejected: Vec<Rejected>,
    rejected_total: i64,
}

/// Reads the feed on a thread of its own and copies its rows into the staging tables as they come.
async fn stage(connection: &mut PgConnection, feed: FeedKind, path: &Path) -> Result<Read, Failure> {
    let (sender, mut batches) = mpsc::channel(2);
    let path = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || read(feed, &path, &sender));
    while let Some(batch) = batches.recv().await {
        // On an error the channel closes, and with it ends the reading.
        knowledge::stage(connection, &batch).await?;
    }
    Ok(reading.await.map_err(Failure::transient)??)
}

/// Blocking. Ends when the feed does, when it is broken, or when nobody takes the batches any more.
fn read(feed: FeedKind, path: &Path, batches: &mpsc::Sender<Batch>) -> Result<Read, ParseError> {
    let mut batch = Batch::new(feed, judging::RULES);
    let (mut unfit, mut unfit_total, mut count) = (Vec::new(), 0_u64, 0_u64);
    let parsed = feeds::parse(feed, path, &mut |record| {
        if let Err(reason) = batch.push(&record) {
            unfit_total += 1;
            if unfit.len() < REJECTED_KEPT {
                unfit.push(Rejected { position: format!("record {count}"), record_id: None, reason });
            }
        }
        count += 1;
        if batch.len() < BATCH_BYTES || batches.blocking_send(batch.take()).is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    batches.blocking_send(batch).map_err(|_| ParseError::Stopped)?;
    let refused = parsed.rejected.iter().map(|rejection| Rejected {
        position: rejection.position.to_string(),
        record_id: rejection.id.clone(),
        reason: rejection.reason.clone(),
    });
    let rejected = refused.chain(unfit).collect();
    let rejected_total = i64::try_from(parsed.rejected_total + unfit_total).unwrap_or(i64::MAX);
    Ok(Read { parsed, rejected, rejected_total })
}
