//! How much each source counts in the composite score.

use domain::source::FeedKind;
use queue::{enqueue, enqueue::Origin, jobs::Correlate};
use serde::{Deserialize, Serialize};
use store::{
    TenantTx,
    scoring::{self, SourceWeight},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    error::{ApiError, FieldError, Problems},
    extract::{Actor, InstanceAdmin, Json, ReadOnly},
    idempotency::{Answered, Begun, IdempotencyKey},
    openapi::{BadBody, Conflicting, Invalid, SignedIn},
    state::AppState,
};

/// The kinds of source that give a score, in the order of the formula.
const SCORING: [FeedKind; 3] = [FeedKind::Nvd, FeedKind::Epss, FeedKind::CisaKev];

/// How much a source counts.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Weight {
    /// The source, by its name in addresses.
    #[schema(example = "nvd")]
    source_slug: String,
    /// 0.0: not at all.
    #[schema(minimum = 0.0, maximum = 10.0, example = 1.0)]
    priority_weight: f32,
}

/// Enabled sources with their weights, and what becomes of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "weights": [{"source_slug": "cisa-kev", "priority_weight": 2.0}, {"source_slug": "epss", "priority_weight": 1.5},
                {"source_slug": "nvd", "priority_weight": 1.0}],
    "formula_preview": "composite = (1.0*nvd + 1.5*epss + 2.0*cisa-kev) / sum(weights)"}))]
struct Scoring {
    /// By the slug of the source.
    weights: Vec<Weight>,
    /// How a score is made: of the enabled sources that give one. What a source does not know of takes no part.
    formula_preview: String,
}

impl Scoring {
    fn of(sources: Vec<SourceWeight>) -> Self {
        let enabled: Vec<SourceWeight> = sources.into_iter().filter(|source| source.enabled).collect();
        let formula_preview = formula(&enabled);
        let weight = |source: SourceWeight| Weight {
            source_slug: source.slug,
            priority_weight: source.priority_weight,
        };
        Self { weights: enabled.into_iter().map(weight).collect(), formula_preview }
    }
}

fn formula(enabled: &[SourceWeight]) -> String {
    let of_kind = |kind: FeedKind| enabled.iter().filter(move |source| source.feed == kind.as_str());
    let terms: Vec<String> = SCORING
        .into_iter()
        .flat_map(of_kind)
        .map(|source| format!("{:?}*{}", source.priority_weight, source.slug))
        .collect();
    match terms.is_empty() {
        true => "no enabled source gives a score".into(),
        false => format!("composite = ({}) / sum(weights)", terms.join(" + ")),
    }
}

/// Weights to be changed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"weights": [{"source_slug": "cisa-kev", "priority_weight": 2.5}]}))]
struct UpdateScoring {
    /// The sources that are not named keep theirs.
    #[schema(min_items = 1)]
    weights: Vec<Weight>,
}

/// Weights and formula
///
/// How much each enabled source counts in the composite score of a finding, which is 0 to 10.
#[utoipa::path(get, path = "/api/config/scoring", tag = "settings", responses((status = 200, body = Scoring), SignedIn))]
async fn get_scoring(actor: Actor<ReadOnly>) -> Result<Json<Scoring>, ApiError> {
    let mut tx = actor.begin().await?;
    Ok(Json(Scoring::of(scoring::list(&mut tx).await?)))
}

/// Change weights
///
/// All or none of them. When one differs from what it was, every organization's findings are scored anew, by a job of the kind
/// `correlate`. All organizations share the sources, so this needs an administrator of the installation.
#[utoipa::path(patch, path = "/api/config/scoring", tag = "settings", request_body = UpdateScoring,
    responses((status = 200, body = Scoring), SignedIn, BadBody))]
async fn update_scoring(
    actor: Actor<InstanceAdmin>,
    Json(request): Json<UpdateScoring>,
) -> Result<Json<Scoring>, ApiError> {
    let mut tx = actor.begin().await?;
    check(&request.weights, &scoring::list(&mut tx).await?)?;
    let (slugs, weights): (Vec<_>, Vec<_>) =
        request.weights.iter().map(|weight| (weight.source_slug.as_str(), weight.priority_weight)).unzip();
    let changed = scoring::set(&mut tx, &slugs, &weights).await?;
    let scoring = scored_anew(&mut tx, &actor, changed).await?;
    tx.commit().await?;
    Ok(Json(scoring))
}

fn check(weights: &[Weight], sources: &[SourceWeight]) -> Result<(), ApiError> {
    let mut problems = Problems::default();
    problems.require(!weights.is_empty(), "weights", || "nothing to change: name at least one source".into());
    for (index, weight) in weights.iter().enumerate() {
        let Weight { source_slug: slug, priority_weight } = weight;
        problems.require(
            (0.0..=10.0).contains(priority_weight),
            &format!("weights -> {index} -> priority_weight"),
            || format!("the weight is {priority_weight}, it must be between 0.0 and 10.0"),
        );
        let field = format!("body -> weights -> {index} -> source_slug");
        if !sources.iter().any(|source| source.slug == *slug) {
            let message = format!("there is no source `{slug}`: take a slug of GET /api/config/vuln-sources");
            problems.add(FieldError::value(&field, message));
        }
        if weights[..index].iter().any(|earlier| earlier.source_slug == *slug) {
            problems.add(FieldError::value(&field, format!("`{slug}` is named twice: give it one weight")));
        }
    }
    problems.finish()
}

/// Make all sources equal
///
/// Every source gets the weight 1.0, those that are not enabled too.
#[utoipa::path(post, path = "/api/config/scoring/reset", tag = "settings", params(IdempotencyKey),
    responses((status = 200, body = Scoring), SignedIn, Conflicting, Invalid))]
async fn reset_scoring(
    actor: Actor<InstanceAdmin>,
    key: IdempotencyKey,
) -> Result<Answered<Scoring>, ApiError> {
    let mut work = match key.begin(actor.begin().await?, &()).await? {
        Begun::Before(answer) => return Ok(Answered::Before(answer)),
        Begun::Now(work) => work,
    };
    let changed = scoring::reset(&mut work).await?;
    let scoring = scored_anew(&mut work, &actor, changed).await?;
    work.answer(scoring).await
}

/// The weights as they are now, with jobs under way for all that they change.
async fn scored_anew(
    tx: &mut TenantTx,
    actor: &Actor<InstanceAdmin>,
    changed: u64,
) -> Result<Scoring, ApiError> {
    let sources = scoring::list(tx).await?;
    if changed > 0 {
        compare_everybody(tx, actor).await?;
    }
    Ok(Scoring::of(sources))
}

/// Has the findings of every organization compared and scored again.
pub(super) async fn compare_everybody(
    tx: &mut TenantTx,
    actor: &Actor<InstanceAdmin>,
) -> Result<(), ApiError> {
    for tenant_id in scoring::tenants_with_assets(tx).await? {
        tx.act_for(tenant_id).await?;
        enqueue(tx, Origin::tenant(tenant_id), &Correlate { tenant_id, asset_id: None }).await?;
    }
    Ok(tx.act_for(actor.tenant).await?)
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default().routes(routes!(get_scoring, update_scoring)).routes(routes!(reset_scoring))
}
