//! How an organization's pages and documents look. One record with two views: that of the console, part of which is for everybody, and that of
//! reports ([`organization`]).

mod organization;
mod picture;

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use domain::document::Colour;
use serde::{Deserialize, Serialize};
use store::branding::{self, AssetType, Assets, Branding, Record};
use url::Url;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::account::is_email,
    error::{ApiError, Problems},
    extract::{Actor, Admin, Json, Path, Query, file_of, given},
    layers::REPR_DIGEST,
    openapi::{Anyone, BadBody, Invalid, Missing, SignedIn},
    state::AppState,
    words::AssetTypeWord,
};

/// How long whoever asked may keep a picture: an hour, as seed 000 has it.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// What everybody may see: what a sign-in page shows.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"company_name": "Acme Corp", "primary_color": "#1E3A8A", "secondary_color": "#3B82F6", "accent_color": "#EF4444",
    "logo_light_url": "https://plimsoll.example.com/api/branding/assets/logo_light?organization=acme-corp&version=2c26b46b68ff",
    "logo_dark_url": null, "favicon_url": null}))]
struct PublicBranding {
    /// Null, like all that follows: nothing was chosen, the product's own look is meant.
    company_name: Option<String>,
    #[serde(flatten)]
    colours: Colours,
    /// For light grounds.
    logo_light_url: Option<String>,
    /// For dark grounds.
    logo_dark_url: Option<String>,
    /// What browsers show beside the page's title.
    favicon_url: Option<String>,
}

/// Everything that was chosen.
#[derive(Debug, Serialize, ToSchema)]
struct BrandingSettings {
    #[serde(flatten)]
    public: PublicBranding,
    /// What the organization does, as it wants it to stand on documents.
    #[schema(example = "Manufacturing")]
    industry: Option<String>,
    contact_info: ContactInfo,
    legal: Legal,
    /// Null: nothing was ever chosen.
    #[schema(example = "2026-11-22T11:30:00Z")]
    updated_at: Option<DateTime<Utc>>,
}

/// The colours of pages and documents. Null: the product's own.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Colours {
    /// Of covers and headings, as `#RRGGBB`.
    primary_color: Option<String>,
    /// Of charts and links.
    secondary_color: Option<String>,
    /// Of small marks.
    accent_color: Option<String>,
}

/// What of a record both views show, each in its own place.
struct Shown {
    company_name: Option<String>,
    industry: Option<String>,
    colours: Colours,
    contact_info: ContactInfo,
    legal: Legal,
}

impl From<Branding> for Shown {
    fn from(branding: Branding) -> Self {
        let Branding {
            company_name,
            industry,
            primary_color,
            secondary_color,
            accent_color,
            address,
            phone,
            email,
            website,
            confidentiality_statement,
            disclaimer,
        } = branding;
        Self {
            company_name,
            industry,
            colours: Colours { primary_color, secondary_color, accent_color },
            contact_info: ContactInfo { address, phone, email, website },
            legal: Legal { confidentiality_statement, disclaimer },
        }
    }
}

/// Whom to ask about a document.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(example = json!({"address": "123 Industrial Blvd", "phone": "+1 (555) 123-4567", "email": "security@acme.example",
                          "website": "https://acme.example"}))]
struct ContactInfo {
    /// By post. Null, like all that follows: it stands on no document.
    address: Option<String>,
    phone: Option<String>,
    email: Option<String>,
    /// With `https://` or `http://`.
    website: Option<String>,
}

/// What stands at the end of every document.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(example = json!({"confidentiality_statement": "This report contains confidential information.", "disclaimer": null}))]
struct Legal {
    /// Who may read a document. Null: none is printed.
    confidentiality_statement: Option<String>,
    /// What nobody may rely on. Null: none is printed.
    disclaimer: Option<String>,
}

/// What is to be changed. What is not named stays; null goes back to the product's own look.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"company_name": "Acme Corp", "primary_color": "#1E3A8A",
    "contact_info": {"email": "security@acme.example"}, "legal": {"disclaimer": null}}))]
struct UpdateBranding {
    /// Null: the organization's own name.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
    company_name: Option<Option<String>>,
    /// What the organization does.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
    industry: Option<Option<String>>,
    /// Covers and headings.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "#1E3A8A")]
    primary_color: Option<Option<String>>,
    /// Charts and links.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "#3B82F6")]
    secondary_color: Option<Option<String>>,
    /// Small marks.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "#EF4444")]
    accent_color: Option<Option<String>>,
    #[serde(default)]
    contact_info: UpdateContact,
    #[serde(default)]
    legal: UpdateLegal,
}

/// Whom to ask about a document. What is not named stays; null takes it away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UpdateContact {
    /// By post.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 500)]
    address: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    phone: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = Email, max_length = 254)]
    email: Option<Option<String>>,
    /// `https://` or `http://`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = "uri", max_length = 2048)]
    website: Option<Option<String>>,
}

/// What stands at the end of every document. What is not named stays; null takes it away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UpdateLegal {
    /// Who may read a document.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 4000)]
    confidentiality_statement: Option<Option<String>>,
    /// What nobody may rely on.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 4000)]
    disclaimer: Option<Option<String>>,
}

impl UpdateBranding {
    /// `before` with the changes. What is wrong with them is noted under the names that the fields have at `place`.
    fn apply(self, before: Branding, problems: &mut Problems, place: &str) -> Branding {
        let Self {
            company_name,
            industry,
            primary_color,
            secondary_color,
            accent_color,
            contact_info,
            legal,
        } = self;
        let name_field = if place.is_empty() { "company_name".to_owned() } else { format!("{place}name") };
        let field = |name: &str| format!("{place}{name}");
        let text = |problems: &mut Problems, field: &str, most: usize, new: Option<Option<String>>, old| {
            changed(new, old, |text| within(problems, field, text, most))
        };
        Branding {
            company_name: text(problems, &name_field, 200, company_name, before.company_name),
            industry: text(problems, &field("industry"), 200, industry, before.industry),
            primary_color: colour(problems, &field("primary_color"), primary_color, before.primary_color),
            secondary_color: colour(
                problems,
                &field("secondary_color"),
                secondary_color,
                before.secondary_color,
            ),
            accent_color: colour(problems, &field("accent_color"), accent_color, before.accent_color),
            address: text(problems, "contact_info -> address", 500, contact_info.address, before.address),
            phone: text(problems, "contact_info -> phone", 100, contact_info.phone, before.phone),
            email: changed(contact_info.email, before.email, |email| {
                problems.require(is_email(&email), "contact_info -> email", || {
                    format!("`{email}` is not an e-mail address: write one like name@example.com, or null")
                });
                email
            }),
            website: changed(contact_info.website, before.website, |website| {
                problems.require(is_website(&website), "contact_info -> website", || {
                    format!("`{website}` is not an address of a page: write https://host/path, or null")
                });
                website
            }),
            confidentiality_statement: text(
                problems,
                "legal -> confidentiality_statement",
                4000,
                legal.confidentiality_statement,
                before.confidentiality_statement,
            ),
            disclaimer: text(problems, "legal -> disclaimer", 4000, legal.disclaimer, before.disclaimer),
        }
    }
}

fn changed<T>(new: Option<Option<T>>, old: Option<T>, check: impl FnOnce(T) -> T) -> Option<T> {
    match new {
        Some(new) => new.map(check),
        None => old,
    }
}

fn within(problems: &mut Problems, field: &str, text: String, most: usize) -> String {
    let length = text.chars().count();
    problems.require(!text.trim().is_empty(), field, || "is empty: write something, or null".into());
    problems.require(length <= most, field, || format!("has {length} characters, it may have {most}"));
    text
}

fn colour(
    problems: &mut Problems,
    field: &str,
    new: Option<Option<String>>,
    old: Option<String>,
) -> Option<String> {
    changed(new, old, |text| match text.parse::<Colour>() {
        Ok(colour) => colour.to_string().to_ascii_uppercase(),
        Err(error) => {
            problems.require(false, field, || format!("{error}: write six hexadecimal digits, or null"));
            text
        }
    })
}

fn is_website(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let is_plain = url.username().is_empty() && url.password().is_none();
    matches!(url.scheme(), "http" | "https") && url.has_host() && is_plain && (8..=2048).contains(&text.len())
}

/// Whose looks are meant.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Whose {
    /// Slug of the organization; the installation's first one otherwise. One that does not exist looks like one that has chosen nothing.
    #[param(example = "acme-corp")]
    organization: Option<String>,
    /// Part of the addresses that we give out: it changes with the picture, so that a new one is not hidden by a kept one.
    #[param(example = "2c26b46b68ff")]
    #[serde(rename = "version")]
    _version: Option<String>,
}

/// Where a picture of the organization `slug` is, if it has one there.
fn asset_url(app: &AppState, slug: Option<&str>, assets: &Assets, place: AssetType) -> Option<String> {
    let (slug, digest) = (slug?, assets.digest(place)?);
    let version = digest.get(..12).unwrap_or(digest);
    Some(format!(
        "{}/api/branding/assets/{}?organization={slug}&version={version}",
        app.config.public_url(),
        place.as_str()
    ))
}

impl PublicBranding {
    fn new(
        app: &AppState,
        (slug, assets): (Option<&str>, &Assets),
        company_name: Option<String>,
        colours: Colours,
    ) -> Self {
        let url = |place| asset_url(app, slug, assets, place);
        Self {
            logo_light_url: url(AssetType::LogoLight),
            logo_dark_url: url(AssetType::LogoDark),
            favicon_url: url(AssetType::Favicon),
            company_name,
            colours,
        }
    }
}

impl BrandingSettings {
    fn new(app: &AppState, record: Record) -> Self {
        let Record { branding, assets, slug, changed_at, .. } = record;
        let Shown { company_name, industry, colours, contact_info, legal } = branding.into();
        let public = PublicBranding::new(app, (Some(&slug), &assets), company_name, colours);
        Self { public, industry, contact_info, legal, updated_at: changed_at }
    }
}

/// How the pages look
///
/// For everybody, before signing in. Contact and legal statements are in `GET /api/v1/reports/branding`.
#[utoipa::path(get, path = "/api/branding", tag = "settings", security(()), params(Whose),
    responses((status = 200, body = PublicBranding), Anyone, Invalid))]
async fn get_branding(
    State(app): State<AppState>,
    Query(whose): Query<Whose>,
) -> Result<Json<PublicBranding>, ApiError> {
    let shown = branding::public(app.db.shared(), whose.organization.as_deref()).await?;
    let branding::PublicBranding { slug, company_name, primary_color, secondary_color, accent_color, assets } =
        shown;
    let colours = Colours { primary_color, secondary_color, accent_color };
    Ok(Json(PublicBranding::new(&app, (slug.as_deref(), &assets), company_name, colours)))
}

/// Change how pages and documents look
///
/// Documents take it over with the next report. What is not named stays as it is.
#[utoipa::path(patch, path = "/api/branding", tag = "settings", request_body = UpdateBranding,
    responses((status = 200, body = BrandingSettings), SignedIn, BadBody))]
async fn update_branding(
    State(app): State<AppState>,
    actor: Actor<Admin>,
    Json(request): Json<UpdateBranding>,
) -> Result<Json<BrandingSettings>, ApiError> {
    let mut tx = actor.begin().await?;
    let before = branding::get_for_update(&mut tx).await?;
    let mut problems = Problems::default();
    let chosen = request.apply(before.branding, &mut problems, "");
    problems.finish()?;
    branding::set(&mut tx, &chosen).await?;
    let record = branding::get(&mut tx).await?;
    tx.commit().await?;
    Ok(Json(BrandingSettings::new(&app, record)))
}

/// The body that is sent.
#[derive(ToSchema)]
#[expect(dead_code, reason = "stands in the OpenAPI document only")]
struct AssetFile {
    /// A PNG of at most 2 MiB and 4096 pixels a side.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

fn asset_type(word: &str) -> Result<AssetType, ApiError> {
    AssetType::from_word(word).ok_or(ApiError::NotFound)
}

/// Upload a picture
///
/// A PNG. It is decoded and written anew: nothing but the pixels is kept. `logo_light` stands on documents.
#[utoipa::path(post, path = "/api/branding/assets/{asset_type}", tag = "settings",
    params(("asset_type" = inline(AssetTypeWord), Path, description = "Which picture.")),
    request_body(content = AssetFile, content_type = "multipart/form-data", example = json!({"file": "(the bytes of a PNG)"})),
    responses((status = 204, description = "It is kept."), SignedIn, Missing, BadBody))]
async fn upload_picture(
    Path(word): Path<String>,
    actor: Actor<Admin>,
    State(app): State<AppState>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let place = asset_type(&word)?;
    let file = file_of(request, &app, picture::LARGEST).await?;
    let picture = picture::written_anew(file).await?;
    let picture = picture.map_err(|why| ApiError::BadRequest(format!("The file cannot be used: {why}")))?;
    let mut tx = actor.begin().await?;
    branding::put_asset(&mut tx, place, &picture).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get a picture
///
/// For everybody. It may be kept for an hour, and asked for again by its `ETag`.
#[utoipa::path(get, path = "/api/branding/assets/{asset_type}", tag = "settings", security(()),
    params(("asset_type" = inline(AssetTypeWord), Path, description = "Which picture."), Whose),
    responses((status = 200, description = "The PNG.", body = Vec<u8>, content_type = "image/png"), Anyone, Missing, Invalid))]
async fn get_picture(
    State(app): State<AppState>,
    Path(word): Path<String>,
    Query(whose): Query<Whose>,
) -> Result<Response, ApiError> {
    let asset =
        branding::public_asset(app.db.shared(), whose.organization.as_deref(), asset_type(&word)?).await?;
    let digest = format!("sha-256=:{}:", STANDARD.encode(&asset.sha256));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/png")),
        (header::CACHE_CONTROL, KEPT),
        (REPR_DIGEST, HeaderValue::try_from(digest).map_err(anyhow::Error::from)?),
    ];
    Ok((headers, asset.png).into_response())
}

/// Take a picture away
///
/// Pages and documents go back to the product's own look.
#[utoipa::path(delete, path = "/api/branding/assets/{asset_type}", tag = "settings",
    params(("asset_type" = inline(AssetTypeWord), Path, description = "Which picture.")),
    responses((status = 204, description = "It is gone."), SignedIn, Missing))]
async fn delete_picture(Path(word): Path<String>, actor: Actor<Admin>) -> Result<StatusCode, ApiError> {
    let place = asset_type(&word)?;
    let mut tx = actor.begin().await?;
    branding::delete_asset(&mut tx, place).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(get_branding, update_branding))
        .routes(routes!(get_picture, upload_picture, delete_picture))
        .merge(organization::router())
}
