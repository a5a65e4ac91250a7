//! Links that open a report's file without an account, for a while.
//!
//! The token in the address is the whole credential: 256 random bits, kept as SHA-256, never logged. A link ends by its
//! time, by being revoked, or with its report; all three look like an address that never was. Links in the history of reports are rows beside
//! these, and opened by [`follow`] too (`routes/report_history.rs`).

use axum::{
    extract::{FromRequestParts, Request, State},
    http::request::Parts,
    response::Response,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use domain::id::ShareId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    audit::{self, By, Note},
    reports as stored, shares,
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::download::{AnyReportId, fetched, file_of};
use crate::{
    error::{ApiError, ErrorBody, Problems},
    extract::{Actor, Admin, Client, Json, Path, body, parse},
    file::{self, Asked, Show},
    layers::{RequestId, SHARED},
    limit,
    openapi::{Anyone, BadBody, Limited, Missing, SignedIn},
    reply::Deleted,
    state::AppState,
};

/// Seed 004: how long a link holds, hours.
const SHORTEST: i64 = 1;
const LONGEST: i64 = 720;
const USUAL: i64 = 72;

/// For how long a link shall hold.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"expiresInHours": 72}))]
struct ShareReport {
    /// For so many hours from now.
    #[serde(rename = "expiresInHours", alias = "expires_in_hours")]
    #[schema(minimum = 1, maximum = 720, default = 72)]
    expires_in_hours: Option<i64>,
}

/// A link that was just made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a",
    "url": "https://plimsoll.example.com/api/reports/shared/3kXb0P8Jt9W2nC5yLq7vR1eH6uMzA4sDfGiOoTxYwKc",
    "expiresAt": "2026-11-25T10:00:00Z"}))]
struct NewLink {
    /// What it is revoked by.
    id: Uuid,
    /// Shown this once. Whoever has it can fetch the file.
    url: String,
    /// It opens nothing from then on.
    #[serde(rename = "expiresAt")]
    expires_at: DateTime<Utc>,
}

/// A link, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "createdBy": "550e8400-e29b-41d4-a716-446655440000",
    "kind": "share", "createdAt": "2026-11-22T10:00:00Z", "expiresAt": "2026-11-25T10:00:00Z", "revokedAt": null, "opened": 2,
    "lastOpenedAt": "2026-11-23T08:12:00Z"}))]
struct Link {
    /// What it is revoked by.
    id: Uuid,
    /// `share`: it was made as such; `history`: it is the one in the history of reports.
    kind: String,
    /// Who made it, or asked for the history first. Null: they are gone.
    #[serde(rename = "createdBy")]
    created_by: Option<Uuid>,
    #[serde(rename = "createdAt")]
    created_at: DateTime<Utc>,
    /// It opens nothing from then on.
    #[serde(rename = "expiresAt")]
    expires_at: DateTime<Utc>,
    /// Null: nobody has revoked it.
    #[serde(rename = "revokedAt")]
    revoked_at: Option<DateTime<Utc>>,
    /// How often the file was fetched by it.
    opened: i64,
    /// Null: never.
    #[serde(rename = "lastOpenedAt")]
    last_opened_at: Option<DateTime<Utc>>,
}

impl From<shares::Share> for Link {
    fn from(share: shares::Share) -> Self {
        Self {
            id: share.id,
            kind: share.kind,
            created_by: share.created_by,
            created_at: share.created_at,
            expires_at: share.expires_at,
            revoked_at: share.revoked_at,
            opened: share.opened_count,
            last_opened_at: share.last_opened_at,
        }
    }
}

/// The links of a report.
#[derive(Debug, Serialize, ToSchema)]
struct Links {
    /// The newest first.
    data: Vec<Link>,
    /// How many there are; all of them are in `data`.
    #[schema(example = 1)]
    total: usize,
}

/// Share a report
///
/// Makes a link that opens its file without an account. The body may be left out.
#[utoipa::path(post, path = "/api/reports/{report_id}/share", tag = "reports",
    params(("report_id" = String, Path, description = "The report's id.")),
    request_body(content = ShareReport, description = "For how long; 72 hours when left out."),
    responses((status = 200, body = NewLink),
              (status = 409, description = "There is no file to share: the report is being made, or it failed.", body = ErrorBody),
              SignedIn, Missing, BadBody))]
async fn share_report(
    State(app): State<AppState>,
    actor: Actor<Admin>,
    Path(id): Path<AnyReportId>,
    request: Request,
) -> Result<Json<NewLink>, ApiError> {
    let id = id.0;
    let (head, body) = request.into_parts();
    let bytes = body::read(&head.headers, body, 1 << 10).await?;
    let wanted = if bytes.is_empty() { ShareReport::default() } else { parse::<ShareReport>(&bytes)? };
    let hours = wanted.expires_in_hours.unwrap_or(USUAL);
    let mut problems = Problems::default();
    problems.require((SHORTEST..=LONGEST).contains(&hours), "expiresInHours", || {
        format!("is {hours}, a link holds from {SHORTEST} to {LONGEST} hours")
    });
    problems.finish()?;

    let mut tx = actor.begin().await?;
    let report = stored::find(&mut tx, id).await?;
    file_of(&mut tx, &report).await?;
    let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let share = shares::insert(&mut tx, id, &shares::hash(&token), hours, actor.id()).await?;
    tx.commit().await?;
    let url = format!("{}{SHARED}{token}", app.config.public_url());
    Ok(Json(NewLink { id: share.id, url, expires_at: share.expires_at }))
}

/// List the links of a report
///
/// Also those that do not open it any more.
#[utoipa::path(get, path = "/api/reports/{report_id}/shares", tag = "reports",
    params(("report_id" = String, Path, description = "The report's id.")),
    responses((status = 200, body = Links), SignedIn, Missing))]
async fn list_shares(actor: Actor<Admin>, Path(id): Path<AnyReportId>) -> Result<Json<Links>, ApiError> {
    let id = id.0;
    let mut tx = actor.begin().await?;
    stored::find(&mut tx, id).await?;
    let data: Vec<Link> = shares::list(&mut tx, id).await?.into_iter().map(Into::into).collect();
    Ok(Json(Links { total: data.len(), data }))
}

/// Revoke a link
///
/// It opens nothing from then on. Revoking it twice is the same as once.
#[utoipa::path(delete, path = "/api/reports/{report_id}/shares/{share_id}", tag = "reports",
    params(("report_id" = String, Path, description = "The report's id."),
           ("share_id" = Uuid, Path, description = "The link's id.")),
    responses((status = 200, body = Deleted), SignedIn, Missing))]
async fn revoke_share(
    actor: Actor<Admin>,
    Path((report, id)): Path<(AnyReportId, ShareId)>,
) -> Result<Deleted, ApiError> {
    let mut tx = actor.begin().await?;
    shares::revoke(&mut tx, report.0, id).await?;
    tx.commit().await?;
    Ok(Deleted::new(id.0))
}

/// How many links were ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"revoked": 12}))]
struct Revoked {
    /// Those that opened something until then.
    revoked: u64,
}

/// Revoke all links
///
/// Of all reports of the organization: those that were made as such, and those in the history of reports. They open nothing from then on, and
/// no others take their place in the history. For when somebody may have read them who should not have.
#[utoipa::path(delete, path = "/api/reports/shares", tag = "reports",
    responses((status = 200, body = Revoked), SignedIn))]
async fn revoke_all_shares(actor: Actor<Admin>) -> Result<Json<Revoked>, ApiError> {
    let mut tx = actor.begin().await?;
    let revoked = shares::revoke_all(&mut tx).await?;
    tx.commit().await?;
    Ok(Json(Revoked { revoked }))
}

/// Whoever follows a link: so many times a minute for each address.
pub(super) struct Visitor(By);

impl FromRequestParts<AppState> for Visitor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        let client = Client::from_request_parts(parts, app).await?;
        limit::admit_visitor(parts, app, client.address).await?;
        Ok(Self(By {
            request_id: RequestId::of(&parts.extensions),
            address: client.address.map(|address| address.to_string()),
            ..By::default()
        }))
    }
}

/// Open a link
///
/// The file, for whoever has the link, without an account. What has run out, was revoked or never was is a 404.
#[utoipa::path(get, path = "/api/reports/shared/{token}", tag = "reports", security(()),
    params(("token" = String, Path, description = "What the link ends in.")),
    responses((status = 200, description = "The file.", content(
                  (Vec<u8> = "application/pdf"), (Vec<u8> = "application/octet-stream"))),
              (status = 206, description = "A part of the file."),
              (status = 416, description = "No byte of the range exists.", body = ErrorBody),
              Anyone, Missing, Limited))]
async fn open_share(
    State(app): State<AppState>,
    visitor: Visitor,
    Path(token): Path<String>,
    asked: Asked,
) -> Result<Response, ApiError> {
    let target = shares::target(app.db.shared(), &shares::hash(&token)).await?;
    follow(&app, &visitor, target, &asked).await
}

/// The file that a link opens. It is counted, and in the audit trail, whenever somebody begins to fetch it.
pub(super) async fn follow(
    app: &AppState,
    visitor: &Visitor,
    target: shares::Target,
    asked: &Asked,
) -> Result<Response, ApiError> {
    let mut tx = app.db.begin(target.tenant).await?;
    let artifact = stored::artifact(&mut tx, target.report).await?;
    let portion = file::portion(asked, &artifact);
    if portion.begins() {
        shares::count(&mut tx, target.share).await?;
        let Note { target_type, target_id, .. } = fetched(&artifact);
        let note = Note {
            action: "share.open",
            target_type,
            target_id,
            detail: json!({ "share_id": target.share, "sha256": hex::encode(&artifact.sha256) }),
        };
        audit::note(&mut tx, Some(target.tenant), &visitor.0, &note).await?;
    }
    tx.commit().await?;
    file::send(app, &artifact, portion, Show::Shared).await
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(share_report))
        .routes(routes!(list_shares))
        .routes(routes!(revoke_share))
        .routes(routes!(revoke_all_shares))
        .routes(routes!(open_share))
}
