//! Runs: what each crawl, ingestion and correlation did, and starting a crawl by hand.

use chrono::{DateTime, Days, NaiveDate, Utc};
use domain::page::Direction;
use queue::{
    After, OnFailure,
    batches::enqueue_batch,
    enqueue, enqueue_after, enqueue_many,
    jobs::{Correlate, CrawlSource},
};
use serde::{Deserialize, Serialize};
use store::{scan_runs, sources};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    error::ApiError,
    extract::{Actor, Admin, Listing, Path, ReadOnly, SortKey, day},
    idempotency::{Begun, IdempotencyKey},
    openapi::{Conflicting, Invalid, Missing, SignedIn},
    reply::{Accepted, JobAccepted, Page},
    state::AppState,
};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RunFilter {
    /// `source_crawl`, `inventory` or `correlation`.
    #[param(inline)]
    run_type: Option<RunType>,
    /// Only crawls of this source, or pulls of this integration.
    #[param(example = "nvd")]
    source_slug: Option<String>,
    /// `running`, `success`, `partial`, `unchanged`, `failed` or `quarantined`.
    #[param(inline)]
    status: Option<RunStatus>,
    /// Started on this day or later (UTC).
    #[serde(default, deserialize_with = "day")]
    #[param(example = "2026-01-01")]
    date_from: Option<NaiveDate>,
    /// Started on this day or earlier (UTC).
    #[serde(default, deserialize_with = "day")]
    #[param(example = "2026-12-31")]
    date_to: Option<NaiveDate>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum RunType {
    SourceCrawl,
    Inventory,
    Correlation,
}

impl RunType {
    fn word(self) -> &'static str {
        match self {
            Self::SourceCrawl => scan_runs::RunType::SourceCrawl,
            Self::Inventory => scan_runs::RunType::Inventory,
            Self::Correlation => scan_runs::RunType::Correlation,
        }
        .as_str()
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum RunStatus {
    Running,
    Success,
    Partial,
    Unchanged,
    Failed,
    Quarantined,
}

impl RunStatus {
    fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Success => scan_runs::Status::Success.as_str(),
            Self::Partial => scan_runs::Status::Partial.as_str(),
            Self::Unchanged => scan_runs::Status::Unchanged.as_str(),
            Self::Failed => scan_runs::Status::Failed.as_str(),
            Self::Quarantined => scan_runs::Status::Quarantined.as_str(),
        }
    }
}

impl SortKey for scan_runs::Sort {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("started_at", Self::StartedAt),
        ("completed_at", Self::CompletedAt),
        ("status", Self::Status),
        ("source_slug", Self::SourceSlug),
        ("run_type", Self::RunType),
        ("records_processed", Self::RecordsProcessed),
    ];
    const UNASKED: (Self, Direction) = (Self::StartedAt, Direction::Descending);
    const NOTE: &'static str = "What has no such value comes last.";
}

/// One run, with its counts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "run_type": "source_crawl", "source_slug": "nvd", "status": "success",
    "started_at": "2026-11-22T06:00:00Z", "completed_at": "2026-11-22T06:00:41Z", "records_processed": 310000, "records_created": 120,
    "records_updated": 873, "records_removed": 0, "records_unchanged": 309007, "records_rejected": 0, "bytes_read": 84213377,
    "provenance": {"url": "https://nvd.example.com/feed.json.gz", "etag": "\"5f2b\"", "label": "2026-11-22", "skipped": 0},
    "error": null, "job_id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7d"}))]
struct ScanRun {
    id: Uuid,
    /// What it did: crawled a source, took in an inventory, or compared packages with what is known.
    #[schema(value_type = RunType)]
    run_type: String,
    /// The source that was crawled, or the integration that was pulled; null for other runs.
    #[schema(example = "nvd")]
    source_slug: Option<String>,
    /// `partial`: some of it could not be had. `unchanged`: nothing was new. `quarantined`: the content was not believed and not merged.
    #[schema(value_type = RunStatus)]
    status: String,
    started_at: DateTime<Utc>,
    /// Null while it runs.
    completed_at: Option<DateTime<Utc>>,
    /// Records that were read: of a crawl advisories and scores, of an inventory packages.
    records_processed: i64,
    /// Of these, those that were new.
    records_created: i64,
    /// Of these, those that differed from what was kept.
    records_updated: i64,
    /// Records that were kept and are not there any more.
    records_removed: i64,
    /// Of these, those that were kept just so.
    records_unchanged: i64,
    /// Of these, those that could not be read.
    records_rejected: i64,
    /// What came over the network or from the disk, as it came.
    bytes_read: i64,
    /// Where the content came from: address, validators, digest, what it calls itself.
    provenance: serde_json::Value,
    /// Why it failed; null: it did not.
    error: Option<String>,
    /// The job that this was a run of.
    job_id: Option<Uuid>,
}

impl From<scan_runs::ScanRun> for ScanRun {
    fn from(run: scan_runs::ScanRun) -> Self {
        Self {
            id: run.id,
            run_type: run.run_type,
            source_slug: run.source_slug,
            status: run.status,
            started_at: run.started_at,
            completed_at: run.completed_at,
            records_processed: run.records_processed,
            records_created: run.records_created,
            records_updated: run.records_updated,
            records_removed: run.records_removed,
            records_unchanged: run.records_unchanged,
            records_rejected: run.records_rejected,
            bytes_read: run.bytes_read,
            provenance: run.provenance,
            error: run.error,
            job_id: run.job_id,
        }
    }
}

/// A crawl that was started.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"job_id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "status": "queued", "source_slug": "nvd"}))]
pub(super) struct CrawlAccepted {
    #[serde(flatten)]
    pub(super) job: JobAccepted,
    /// The source that is crawled.
    pub(super) source_slug: String,
}

/// List runs
///
/// The organization's own and the crawls that all share. Kept for ninety days.
#[utoipa::path(get, path = "/api/scan-runs", tag = "sources", params(Listing<RunFilter, scan_runs::Sort>),
    responses((status = 200, body = Page<ScanRun>), SignedIn, Invalid))]
async fn list_scan_runs(
    actor: Actor<ReadOnly>,
    Listing { page, order, filter }: Listing<RunFilter, scan_runs::Sort>,
) -> Result<Page<ScanRun>, ApiError> {
    let wanted = scan_runs::Filter {
        run_type: filter.run_type.map(|run_type| run_type.word().into()),
        source_slug: filter.source_slug,
        status: filter.status.map(|status| status.word().into()),
        from: filter.date_from,
        until: filter.date_to.and_then(|day| day.checked_add_days(Days::new(1))),
    };
    let runs = scan_runs::list(&mut actor.begin().await?, &wanted, order, page).await?;
    Ok(Page::of(runs))
}

/// Crawl a source now
///
/// While the source is waiting to be crawled or being crawled, the answer names that job.
#[utoipa::path(post, path = "/api/scan-runs/trigger/{source_slug}", tag = "sources",
    params(("source_slug" = String, Path, description = "The source's slug.", example = "nvd"), IdempotencyKey),
    responses((status = 202, body = CrawlAccepted,
               headers(("Location" = String, description = "Where to ask about the job."))),
              SignedIn, Missing, Conflicting, Invalid))]
async fn trigger_crawl(
    actor: Actor<Admin>,
    key: IdempotencyKey,
    Path(slug): Path<String>,
) -> Result<Accepted<CrawlAccepted>, ApiError> {
    let mut work = match key.begin(actor.begin().await?, &()).await? {
        Begun::Before(answer) => return Ok(Accepted::Before(answer)),
        Begun::Now(work) => work,
    };
    let source_id = sources::id_of(&mut work, &slug).await?;
    let job = enqueue(&mut work, actor.shared_origin(), &CrawlSource { source_id }).await?;
    work.accept(job.id, CrawlAccepted { job: JobAccepted::new(job.id), source_slug: slug }).await
}

/// Crawls that were started together.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"job_id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "status": "queued",
                          "batch_id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "sources": 5,
                          "correlation_job_id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7b"}))]
struct CrawlsAccepted {
    #[serde(flatten)]
    job: JobAccepted,
    /// Their progress together: `GET /api/batches/{batch_id}`.
    batch_id: Uuid,
    /// How many sources are crawled.
    #[schema(minimum = 1)]
    sources: usize,
    /// The comparison that follows when all have ended, well or not.
    correlation_job_id: Uuid,
}

/// Crawl all sources now
///
/// Every source that is enabled, as one batch, followed by one comparison with what the organization has installed. A source
/// that is waiting to be crawled or being crawled is not crawled twice.
#[utoipa::path(post, path = "/api/scan-runs/trigger", tag = "sources", params(IdempotencyKey),
    responses((status = 202, body = CrawlsAccepted,
               headers(("Location" = String, description = "Where to ask about the batch's job."))),
              SignedIn, Conflicting, Invalid))]
async fn trigger_all_crawls(
    actor: Actor<Admin>,
    key: IdempotencyKey,
) -> Result<Accepted<CrawlsAccepted>, ApiError> {
    let mut work = match key.begin(actor.begin().await?, &()).await? {
        Begun::Before(answer) => return Ok(Accepted::Before(answer)),
        Begun::Now(work) => work,
    };
    let crawls: Vec<_> =
        sources::enabled(&mut work).await?.into_iter().map(|source_id| CrawlSource { source_id }).collect();
    if crawls.is_empty() {
        return Err(ApiError::Conflict("No source is enabled: enable one first".into()));
    }
    let jobs = enqueue_many(&mut work, actor.shared_origin(), &crawls).await?;
    let jobs: Vec<_> = jobs.into_iter().map(|job| job.id).collect();
    let batch = enqueue_batch(&mut work, actor.origin(), "Crawl all sources", &jobs).await?.id;
    let correlate = Correlate { tenant_id: actor.tenant, asset_id: None };
    let after = After { jobs: &jobs, on_failure: OnFailure::Run, at_most: None };
    let correlation = enqueue_after(&mut work, actor.origin(), &correlate, after).await?.id;
    let accepted = CrawlsAccepted {
        job: JobAccepted::new(batch),
        batch_id: batch.0,
        sources: jobs.len(),
        correlation_job_id: correlation.0,
    };
    work.accept(batch, accepted).await
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_scan_runs))
        .routes(routes!(trigger_crawl))
        .routes(routes!(trigger_all_crawls))
}
