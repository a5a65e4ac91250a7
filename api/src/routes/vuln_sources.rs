//! Sources of vulnerability data: how they are doing, their settings, and whether they answer.

use std::time::Duration;

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::{id::SourceId, source::FeedKind};
use queue::{enqueue, jobs::CrawlSource};
use runtime::egress::{Client, HeaderValue, Policy, Request, Url, header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use store::{TenantTx, source_keys, sources};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    scan_runs::CrawlAccepted,
    scoring::compare_everybody,
    tested::{Outcome, Tested, Trouble},
};
use crate::{
    error::{ApiError, FieldError, Problems},
    extract::{Actor, Admin, InstanceAdmin, Json, Listing, Path, ReadOnly, given_secret},
    idempotency::{Begun, IdempotencyKey},
    openapi::{BadBody, Conflicting, Invalid, Missing, SignedIn},
    reply::{Accepted, JobAccepted, Page},
    state::AppState,
    words::MASK,
};

/// For the whole of a test.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SourceFilter {
    /// Only sources that tell of this.
    #[param(inline)]
    category: Option<Category>,
    /// Only sources that are crawled, or only those that are not.
    enabled: Option<bool>,
}

/// What a source tells of.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Category {
    Cve,
    Exploit,
    Advisory,
    Scoring,
}

impl Category {
    fn word(self) -> &'static str {
        match self {
            Self::Cve => "cve",
            Self::Exploit => "exploit",
            Self::Advisory => "advisory",
            Self::Scoring => "scoring",
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"enabled": true, "crawl_interval_minutes": 360, "priority_weight": 1.5, "notes": "mirrored"}))]
struct UpdateSource {
    /// Whether it is crawled.
    enabled: Option<bool>,
    /// So often it is crawled.
    #[schema(minimum = 5, maximum = 43200)]
    crawl_interval_minutes: Option<i32>,
    /// How much it counts in the composite score.
    #[schema(minimum = 0.0, maximum = 10.0)]
    priority_weight: Option<f32>,
    /// For people; nothing reads them.
    #[schema(max_length = 4000)]
    notes: Option<String>,
    /// Let the next content be far smaller than the last, which is otherwise held to be a fault of the
    /// source.
    accept_shrink: Option<bool>,
    /// Sent with every crawl: to NVD as `apiKey`, to others as `Authorization: Bearer`. Kept sealed; `********` leaves it as it is, null takes
    /// it away.
    #[serde(default, deserialize_with = "given_secret")]
    #[schema(value_type = Option<String>, format = Password, min_length = 1, max_length = 512)]
    api_key: Option<Option<SecretString>>,
}

/// A source of vulnerability data.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "slug": "nvd", "name": "National Vulnerability Database", "category": "cve",
    "feed": "nvd", "url": "https://nvd.example.com/feeds/", "crawl_interval_minutes": 360, "enabled": true, "priority_weight": 1.0,
    "notes": "", "accept_shrink": false, "record_count": 310000, "content_label": "2026-11-22", "content_as_of": "2026-11-22T05:45:00Z",
    "next_crawl_at": "2026-11-22T12:00:00Z", "last_crawled_at": "2026-11-22T06:00:00Z", "last_success_at": "2026-11-22T06:00:41Z",
    "last_crawl_status": "success", "last_error": null, "api_key": "********"}))]
struct VulnSource {
    id: Uuid,
    /// Its name in addresses.
    #[schema(example = "nvd")]
    slug: String,
    /// Its name for people.
    #[schema(example = "National Vulnerability Database")]
    name: String,
    #[schema(value_type = Category)]
    category: String,
    /// The format of its content: `cisa-kev`, `epss`, `debian-tracker`, `alpine-secdb`, `osv` or `nvd`.
    feed: String,
    /// Where its content is fetched.
    url: String,
    /// So often it is crawled.
    crawl_interval_minutes: i32,
    /// It is crawled.
    enabled: bool,
    /// How much it counts in the composite score, 0 to 10.
    priority_weight: f32,
    /// For people; may be empty.
    notes: String,
    /// The next content may be far smaller than the last.
    accept_shrink: bool,
    /// Records in the content that was merged last.
    record_count: i64,
    /// What that content calls itself.
    content_label: Option<String>,
    /// How old that content says it is.
    content_as_of: Option<DateTime<Utc>>,
    next_crawl_at: DateTime<Utc>,
    /// However that went. Null: never.
    last_crawled_at: Option<DateTime<Utc>>,
    /// When its content was merged or found unchanged. Null: never.
    last_success_at: Option<DateTime<Utc>>,
    /// `success`, `unchanged`, `failed` or `quarantined`; null before the first crawl.
    last_crawl_status: Option<String>,
    /// Why the last crawl failed; null: it did not.
    last_error: Option<String>,
    /// `********` when one is kept for it.
    api_key: Option<&'static str>,
}

impl VulnSource {
    fn new(source: sources::Source, has_key: bool) -> Self {
        Self {
            api_key: has_key.then_some(MASK),
            id: source.id,
            slug: source.slug,
            name: source.name,
            category: source.category,
            feed: source.feed,
            url: source.url,
            crawl_interval_minutes: source.crawl_interval_minutes,
            enabled: source.enabled,
            priority_weight: source.priority_weight,
            notes: source.notes,
            accept_shrink: source.accept_shrink,
            record_count: source.record_count,
            content_label: source.content_label,
            content_as_of: source.content_as_of,
            next_crawl_at: source.next_crawl_at,
            last_crawled_at: source.last_crawled_at,
            last_success_at: source.last_success_at,
            last_crawl_status: source.last_crawl_status,
            last_error: source.last_error,
        }
    }
}

/// List sources
///
/// By slug, with what became of the last crawl of each. All organizations share them.
#[utoipa::path(get, path = "/api/config/vuln-sources", tag = "sources", params(Listing<SourceFilter>),
    responses((status = 200, body = Page<VulnSource>), SignedIn, Invalid))]
async fn list_vuln_sources(
    actor: Actor<ReadOnly>,
    Listing { page, filter, .. }: Listing<SourceFilter>,
) -> Result<Page<VulnSource>, ApiError> {
    let filter = sources::Filter {
        category: filter.category.map(|category| category.word().into()),
        enabled: filter.enabled,
    };
    let mut tx = actor.begin().await?;
    let sources = sources::list(&mut tx, &filter, page).await?;
    let keys = source_keys::kept(&mut tx).await?;
    let shown = sources.map(|source| {
        let has_key = keys.contains(&source.id);
        VulnSource::new(source, has_key)
    });
    Ok(Page::of(shown))
}

/// Get a source
///
/// With what became of its last crawl. All organizations share it.
#[utoipa::path(get, path = "/api/config/vuln-sources/{config_id}", tag = "sources",
    params(("config_id" = Uuid, Path, description = "The source's id.")),
    responses((status = 200, body = VulnSource), SignedIn, Missing))]
async fn get_vuln_source(
    actor: Actor<ReadOnly>,
    Path(id): Path<SourceId>,
) -> Result<Json<VulnSource>, ApiError> {
    let mut tx = actor.begin().await?;
    Ok(Json(shown(&mut tx, id).await?))
}

async fn shown(tx: &mut TenantTx, id: SourceId) -> Result<VulnSource, ApiError> {
    let source = sources::find(tx, id).await?;
    let has_key = source_keys::kept(tx).await?.contains(&id.0);
    Ok(VulnSource::new(source, has_key))
}

/// Change a source
///
/// What is not named stays as it is. Another weight has every organization's findings scored anew. All organizations share the
/// sources, so this needs an administrator of the installation.
#[utoipa::path(patch, path = "/api/config/vuln-sources/{config_id}", tag = "sources", request_body = UpdateSource,
    params(("config_id" = Uuid, Path, description = "The source's id.")),
    responses((status = 200, body = VulnSource), SignedIn, Missing, BadBody))]
async fn update_vuln_source(
    State(app): State<AppState>,
    actor: Actor<InstanceAdmin>,
    Path(id): Path<SourceId>,
    Json(request): Json<UpdateSource>,
) -> Result<Json<VulnSource>, ApiError> {
    check(&request)?;
    let update = sources::Update {
        enabled: request.enabled,
        crawl_interval_minutes: request.crawl_interval_minutes,
        priority_weight: request.priority_weight,
        notes: request.notes,
        accept_shrink: request.accept_shrink,
    };
    let mut tx = actor.begin().await?;
    let before = sources::find(&mut tx, id).await?;
    sources::update(&mut tx, id, &update).await?;
    match &request.api_key {
        None => {}
        Some(None) => source_keys::delete(&mut tx, id).await?,
        Some(Some(key)) if key.expose_secret() == MASK => {}
        Some(Some(key)) => source_keys::put(&mut tx, &app.secrets, id, key).await?,
    }
    let source = shown(&mut tx, id).await?;
    if source.priority_weight != before.priority_weight {
        compare_everybody(&mut tx, &actor).await?;
    }
    tx.commit().await?;
    Ok(Json(source))
}

fn check(request: &UpdateSource) -> Result<(), ApiError> {
    let mut problems = Problems::default();
    if let Some(minutes) = request.crawl_interval_minutes {
        problems.require((5..=43_200).contains(&minutes), "crawl_interval_minutes", || {
            format!("the interval is {minutes} minutes, it must be between 5 and 43200 (thirty days)")
        });
    }
    if let Some(weight) = request.priority_weight {
        problems.require((0.0..=10.0).contains(&weight), "priority_weight", || {
            format!("the weight is {weight}, it must be between 0.0 and 10.0")
        });
    }
    if let Some(notes) = &request.notes {
        let length = notes.chars().count();
        problems.require(length <= 4000, "notes", || {
            format!("the notes have {length} characters, at most 4000 are kept")
        });
    }
    if let Some(Some(key)) = &request.api_key {
        let key = key.expose_secret();
        let is_key = (1..=512).contains(&key.len()) && key.chars().all(|c| c.is_ascii_graphic());
        problems.require(is_key, "api_key", || {
            "must be 1 to 512 letters, digits and marks without spaces; null takes it away".into()
        });
    }
    let nothing = request.enabled.is_none()
        && request.crawl_interval_minutes.is_none()
        && request.priority_weight.is_none()
        && request.notes.is_none()
        && request.accept_shrink.is_none()
        && request.api_key.is_none();
    if nothing {
        let message = "nothing to change: name enabled, crawl_interval_minutes, priority_weight, notes, accept_shrink or api_key";
        problems.add(FieldError::value("body", message));
    }
    problems.finish()
}

/// Crawl a source now
///
/// While the source is waiting to be crawled or being crawled, the answer names that job.
#[utoipa::path(post, path = "/api/config/vuln-sources/{config_id}/crawl-now", tag = "sources",
    params(("config_id" = Uuid, Path, description = "The source's id."), IdempotencyKey),
    responses((status = 202, body = CrawlAccepted,
               headers(("Location" = String, description = "Where to ask about the job."))),
              SignedIn, Missing, Conflicting, Invalid))]
async fn crawl_vuln_source(
    actor: Actor<Admin>,
    key: IdempotencyKey,
    Path(source_id): Path<SourceId>,
) -> Result<Accepted<CrawlAccepted>, ApiError> {
    let mut work = match key.begin(actor.begin().await?, &()).await? {
        Begun::Before(answer) => return Ok(Accepted::Before(answer)),
        Begun::Now(work) => work,
    };
    let source = sources::find(&mut work, source_id).await?;
    let job = enqueue(&mut work, actor.shared_origin(), &CrawlSource { source_id }).await?;
    work.accept(job.id, CrawlAccepted { job: JobAccepted::new(job.id), source_slug: source.slug }).await
}

/// Test a source
///
/// Asks the source's address with its key, and says whether it answers and how long that took. Nothing of the answer is read but its status.
/// Always 200: what failed is in `message`.
#[utoipa::path(post, path = "/api/config/vuln-sources/{config_id}/test", tag = "sources",
    params(("config_id" = Uuid, Path, description = "The source's id.")),
    responses((status = 200, body = Tested), SignedIn, Missing))]
async fn test_vuln_source(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Path(id): Path<SourceId>,
) -> Result<Json<Tested>, ApiError> {
    let mut tx = actor.begin().await?;
    let source = sources::find(&mut tx, id).await?;
    let key = source_keys::get(&mut tx, &app.secrets, id).await?;
    tx.commit().await?;
    let policy =
        Policy { total_timeout: PATIENCE, ..Policy::administrator_within(&app.config.source_networks) };
    let client = Client::new(policy).map_err(anyhow::Error::from)?;
    Ok(Json(Tested::timed(ask(&client, &source, key.as_ref())).await))
}

async fn ask(client: &Client, source: &sources::Source, key: Option<&SecretString>) -> Outcome {
    let Ok(mut url) = Url::parse(&source.url) else {
        return Err(Trouble::Missing("The address of this source is none."));
    };
    if url.scheme() == "file" {
        return Err(Trouble::Missing(
            "This source is a file on the machines of the workers: nobody can be asked.",
        ));
    }
    let is_nvd = source.feed == FeedKind::Nvd.as_str();
    if is_nvd {
        // Or its answer is a page of two thousand.
        url.query_pairs_mut().append_pair("resultsPerPage", "1");
    }
    let mut request = Request::get(url);
    if let Some(key) = key {
        let (name, value) = match is_nvd {
            true => (header::HeaderName::from_static("apikey"), key.expose_secret().to_owned()),
            false => (header::AUTHORIZATION, format!("Bearer {}", key.expose_secret())),
        };
        // What is kept has passed `check`.
        if let Ok(mut value) = HeaderValue::try_from(value) {
            value.set_sensitive(true);
            request = request.header(name, value);
        }
    }
    match client.send(request).await?.status {
        status if status.is_success() => Ok(format!("The source answers ({}).", status.as_u16())),
        status => Err(Trouble::Failed(format!("The source answers with {}.", status.as_u16()))),
    }
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(test_vuln_source))
        .routes(routes!(list_vuln_sources))
        .routes(routes!(get_vuln_source, update_vuln_source))
        .routes(routes!(crawl_vuln_source))
}
