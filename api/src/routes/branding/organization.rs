//! The same record as seed 002 shows and changes it: with the logo in the body, as a data URL.

use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use domain::document::{Image, ImageFormat};
use serde::{Deserialize, Serialize};
use store::branding::{self, AssetType, Record};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Colours, ContactInfo, Legal, Shown, UpdateBranding, UpdateContact, UpdateLegal, asset_url, picture,
};
use crate::{
    error::{ApiError, Problems},
    extract::{Actor, Admin, Json, LongJson, ReadOnly, given},
    openapi::{BadBody, SignedIn},
    state::AppState,
};

/// A logo of two mebibytes in base64, and the rest.
const LIMIT: usize = picture::LARGEST / 3 * 4 + (64 << 10);

/// How an organization's documents look.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "organization": {"name": "Manufacturing Corp", "industry": "Manufacturing",
        "logo_url": "https://plimsoll.example.com/api/branding/assets/logo_light?organization=manufacturing&version=2c26b46b68ff",
        "primary_color": "#1E3A8A", "secondary_color": "#3B82F6", "accent_color": "#EF4444"},
    "contact_info": {"address": "123 Industrial Blvd", "phone": "+1 (555) 123-4567", "email": "security@manufacturingcorp.com",
        "website": "https://manufacturingcorp.com"},
    "legal": {"confidentiality_statement": "This report contains confidential information.", "disclaimer": null}}))]
struct OrganizationBranding {
    organization: Organization,
    contact_info: ContactInfo,
    legal: Legal,
}

/// What it is called and its colours. Null: the product's own look.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BrandedOrganization)]
struct Organization {
    /// As documents call it: the name that was chosen, or else the organization's own.
    name: String,
    /// What it does. Null: nothing was said.
    industry: Option<String>,
    /// Where its logo is. Null: it has none.
    logo_url: Option<String>,
    #[serde(flatten)]
    colours: Colours,
}

/// What is to be changed. What is not named stays; null goes back to the product's own look.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "organization": {"name": "Manufacturing Corp", "industry": "Manufacturing", "primary_color": "#1E3A8A",
        "secondary_color": "#3B82F6", "accent_color": "#EF4444"},
    "contact_info": {"address": "123 Industrial Blvd", "phone": "+1 (555) 123-4567", "email": "security@manufacturingcorp.com",
        "website": "https://manufacturingcorp.com"},
    "logo_upload": {"filename": "company-logo.png", "image_data": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg=="}}))]
struct UpdateOrganizationBranding {
    #[serde(default)]
    organization: UpdateOrganization,
    #[serde(default)]
    contact_info: UpdateContact,
    #[serde(default)]
    legal: UpdateLegal,
    /// A new logo; the one that there is stays when it is missing.
    logo_upload: Option<LogoUpload>,
}

/// What it is called and its colours. What is not named stays; null goes back to the product's own look.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UpdateBrandedOrganization)]
struct UpdateOrganization {
    /// As documents are to call it; null: the organization's own name.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
    name: Option<Option<String>>,
    /// What it does.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
    industry: Option<Option<String>>,
    /// Of covers and headings.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "#1E3A8A")]
    primary_color: Option<Option<String>>,
    /// Of charts and links.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "#3B82F6")]
    secondary_color: Option<Option<String>>,
    /// Of small marks.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "#EF4444")]
    accent_color: Option<Option<String>>,
    /// May be sent back as it was received. It changes nothing: send `logo_upload`.
    #[serde(default, rename = "logo_url")]
    #[schema(rename = "logo_url")]
    _logo_url: Option<String>,
}

/// A logo to be used from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LogoUpload {
    /// `data:image/png;base64,` and a PNG of at most 2 MiB and 4096 pixels a side.
    #[schema(
        example = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg=="
    )]
    image_data: String,
    /// Not kept.
    #[serde(rename = "filename")]
    #[schema(rename = "filename", example = "company-logo.png")]
    _filename: Option<String>,
}

/// That it was changed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"message": "Branding updated successfully",
    "logo_url": "https://plimsoll.example.com/api/branding/assets/logo_light?organization=manufacturing&version=2c26b46b68ff",
    "updated_at": "2026-11-22T11:30:00Z"}))]
struct BrandingUpdated {
    /// The same whatever was changed.
    message: &'static str,
    /// Null: there is none.
    logo_url: Option<String>,
    /// When anything of it was changed last.
    updated_at: Option<DateTime<Utc>>,
}

fn logo_url(app: &AppState, record: &Record) -> Option<String> {
    asset_url(app, Some(&record.slug), &record.assets, AssetType::LogoLight)
}

/// How documents look
///
/// With contact and legal statements, for whoever is signed in. `GET /api/branding` is for everybody.
#[utoipa::path(get, path = "/api/v1/reports/branding", tag = "reports",
    responses((status = 200, body = OrganizationBranding), SignedIn))]
async fn get_organization_branding(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
) -> Result<Json<OrganizationBranding>, ApiError> {
    let record = branding::get(&mut actor.begin().await?).await?;
    let logo_url = logo_url(&app, &record);
    let Record { branding, organization: its_name, .. } = record;
    let Shown { company_name, industry, colours, contact_info, legal } = branding.into();
    let organization = Organization { name: company_name.unwrap_or(its_name), industry, logo_url, colours };
    Ok(Json(OrganizationBranding { organization, contact_info, legal }))
}

/// Change how documents look
///
/// All of it or nothing. A logo that cannot be used is refused with the code `BRANDING_UPLOAD_FAILED` and the reason.
#[utoipa::path(post, path = "/api/v1/reports/branding", tag = "reports", request_body = UpdateOrganizationBranding,
    responses((status = 200, body = BrandingUpdated), SignedIn, BadBody))]
async fn update_organization_branding(
    State(app): State<AppState>,
    actor: Actor<Admin>,
    LongJson(request): LongJson<UpdateOrganizationBranding, LIMIT>,
) -> Result<Json<BrandingUpdated>, ApiError> {
    let UpdateOrganizationBranding { organization, contact_info, legal, logo_upload } = request;
    let logo = match logo_upload {
        Some(upload) => Some(decoded(&upload.image_data).await?),
        None => None,
    };
    let mut tx = actor.begin().await?;
    let before = branding::get_for_update(&mut tx).await?;
    let mut problems = Problems::default();
    let changes = UpdateBranding {
        company_name: organization.name,
        industry: organization.industry,
        primary_color: organization.primary_color,
        secondary_color: organization.secondary_color,
        accent_color: organization.accent_color,
        contact_info,
        legal,
    };
    let chosen = changes.apply(before.branding, &mut problems, "organization -> ");
    problems.finish()?;
    branding::set(&mut tx, &chosen).await?;
    if let Some(logo) = &logo {
        branding::put_asset(&mut tx, AssetType::LogoLight, logo).await?;
    }
    let record = branding::get(&mut tx).await?;
    tx.commit().await?;
    Ok(Json(BrandingUpdated {
        message: "Branding updated successfully",
        logo_url: logo_url(&app, &record),
        updated_at: record.changed_at,
    }))
}

async fn decoded(image_data: &str) -> Result<branding::Picture, ApiError> {
    let refuse = |why: String| ApiError::Coded {
        status: StatusCode::BAD_REQUEST,
        code: "BRANDING_UPLOAD_FAILED",
        message: format!("Logo upload processing failed: {why}"),
        details: serde_json::json!({ "field": "logo_upload.image_data", "reason": why }),
    };
    let image = Image::from_data_url(image_data, "logo").map_err(|error| refuse(error.to_string()))?;
    if image.format != ImageFormat::Png {
        return Err(refuse("it is not a PNG: give `data:image/png;base64,…`".into()));
    }
    picture::written_anew(image.data.into()).await?.map_err(refuse)
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default().routes(routes!(get_organization_branding, update_organization_branding))
}
