//! Fetching the file of a report, under the addresses that the documents give it.
//!
//! `GET /api/reports/{id}/download` for as long as the report is there; seed 003's address for seven days and seed 002's
//! for thirty-one after the report was finished, as their examples show. What is sent, and how, is [`crate::file`]'s business.

use axum::{extract::State, response::Response};
use chrono::{TimeDelta, Utc};
use domain::{document::Format, id::ReportId, report::ReportStatus};
use serde::{Deserialize, Deserializer};
use serde_json::json;
use store::{
    TenantTx,
    audit::{self, Note},
    organizations,
    reports::{self as stored, Artifact, Report},
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    error::{ApiError, ErrorBody},
    extract::{Actor, Path, Query, ReadOnly},
    file::{self, Asked, Show},
    openapi::{Invalid, Missing, SignedIn},
    state::AppState,
};

/// How long the address of seed 003's `download_url` holds, from when the report was finished.
const INFRACAST_DAYS: i64 = 7;
/// And that of seed 002's.
const BREAKWATER_DAYS: i64 = 31;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// In any case of the letters; that of the report when missing. A report is there in the format it was asked for.
    #[serde(default, deserialize_with = "format")]
    #[param(value_type = Option<String>, example = "PDF")]
    format: Option<Format>,
}

fn format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Format>, D::Error> {
    crate::extract::word(deserializer)
}

/// An id as any of the documents writes it: a UUID with or without hyphens, behind `report_`, `rpt-`, `doc-` or nothing,
/// before the ending of a file name or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AnyReportId(ReportId);

impl AnyReportId {
    fn read(text: &str) -> Option<Self> {
        let stem = text.split_once('.').map_or(text, |(stem, _)| stem);
        let bare = ["report_", "rpt-", "doc-"].iter().find_map(|prefix| stem.strip_prefix(prefix));
        Uuid::try_parse(bare.unwrap_or(stem)).ok().map(|id| Self(ReportId(id)))
    }
}

impl<'de> Deserialize<'de> for AnyReportId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(&text).ok_or_else(|| serde::de::Error::custom("is not the id of a report"))
    }
}

/// Download a report
///
/// The file as it was rendered, proven to be the one that was stored: its SHA-256 is the `ETag`, and stands in `Repr-Digest`.
/// Parts can be asked for with `Range`.
#[utoipa::path(get, path = "/api/reports/{report_id}/download", tag = "reports",
    params(("report_id" = String, Path, description = "The report's id."), Wanted),
    responses((status = 200, description = "The file.", content(
                  (Vec<u8> = "application/pdf"), (String = "text/csv"), (Object = "application/json"),
                  (Vec<u8> = "application/octet-stream"))),
              (status = 206, description = "A part of the file."),
              (status = 304, description = "The client has it: `If-None-Match`."),
              (status = 409, description = "There is no file: the report is being made, it failed, or it is of another format.",
               body = ErrorBody),
              (status = 416, description = "No byte of the range exists.", body = ErrorBody),
              SignedIn, Missing, Invalid))]
async fn download_report(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Path(id): Path<AnyReportId>,
    Query(wanted): Query<Wanted>,
    asked: Asked,
) -> Result<Response, ApiError> {
    fetch(&app, actor, id.0, &asked, Fetch { format: wanted.format, ..Fetch::ATTACHMENT }).await
}

/// View a report
///
/// As the download, but a PDF is shown in the browser. Everything else is saved.
#[utoipa::path(get, path = "/api/reports/{report_id}/artifact", tag = "reports",
    params(("report_id" = String, Path, description = "The report's id.")),
    responses((status = 200, description = "The file.", content(
                  (Vec<u8> = "application/pdf"), (Object = "application/json"),
                  (Vec<u8> = "application/octet-stream"))),
              (status = 206, description = "A part of the file."),
              (status = 304, description = "The client has it: `If-None-Match`."),
              (status = 409, description = "There is no file: the report is being made, or it failed.", body = ErrorBody),
              (status = 416, description = "No byte of the range exists.", body = ErrorBody),
              SignedIn, Missing))]
async fn view_report(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Path(id): Path<AnyReportId>,
    asked: Asked,
) -> Result<Response, ApiError> {
    fetch(&app, actor, id.0, &asked, Fetch { show: Show::Inline, ..Fetch::ATTACHMENT }).await
}

/// Download a report by its file name
///
/// `report_<id>.pdf`, for thirty-one days after it was finished.
#[utoipa::path(get, path = "/api/v1/reports/download/{file}", tag = "reports",
    params(("file" = String, Path, description = "The report's id and the ending of the file.")),
    responses((status = 200, description = "The file.", content(
                  (Vec<u8> = "application/pdf"), (Object = "application/json"),
                  (Vec<u8> = "application/octet-stream"))),
              (status = 409, description = "There is no file yet.", body = ErrorBody),
              (status = 410, description = "`DOWNLOAD_EXPIRED`", body = ErrorBody),
              SignedIn, Missing))]
async fn download_file(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Path(id): Path<AnyReportId>,
    asked: Asked,
) -> Result<Response, ApiError> {
    let days = Some(BREAKWATER_DAYS);
    fetch(&app, actor, id.0, &asked, Fetch { days, ..Fetch::ATTACHMENT }).await
}

/// Download a report of an organization
///
/// For seven days after it was finished.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant_id}/reports/{report_id}/download", tag = "reports",
    params(("tenant_id" = String, Path, description = "The organization's name in addresses, such as `acme-corp`."),
           ("report_id" = String, Path, description = "The report's id.")),
    responses((status = 200, description = "The file.", content(
                  (Vec<u8> = "application/pdf"), (Object = "application/json"),
                  (Vec<u8> = "application/octet-stream"))),
              (status = 409, description = "There is no file yet.", body = ErrorBody),
              (status = 410, description = "`DOWNLOAD_EXPIRED`", body = ErrorBody),
              SignedIn, Missing))]
async fn download_tenants_report(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Path((tenant, id)): Path<(String, AnyReportId)>,
    asked: Asked,
) -> Result<Response, ApiError> {
    expect_own(&actor, &tenant).await?;
    let days = Some(INFRACAST_DAYS);
    fetch(&app, actor, id.0, &asked, Fetch { days, ..Fetch::ATTACHMENT }).await
}

/// Download a document of an organization
///
/// Documents are reports, and theirs is the same file.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant_id}/documents/{document_id}/download", tag = "reports",
    params(("tenant_id" = String, Path, description = "The organization's name in addresses, such as `acme-corp`."),
           ("document_id" = String, Path, description = "The document's id.")),
    responses((status = 200, description = "The file.", content(
                  (Vec<u8> = "application/pdf"), (Object = "application/json"),
                  (Vec<u8> = "application/octet-stream"))),
              (status = 409, description = "There is no file yet.", body = ErrorBody),
              (status = 410, description = "`DOWNLOAD_EXPIRED`", body = ErrorBody),
              SignedIn, Missing))]
async fn download_tenants_document(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Path((tenant, id)): Path<(String, AnyReportId)>,
    asked: Asked,
) -> Result<Response, ApiError> {
    expect_own(&actor, &tenant).await?;
    let days = Some(INFRACAST_DAYS);
    fetch(&app, actor, id.0, &asked, Fetch { days, ..Fetch::ATTACHMENT }).await
}

/// The organization in the path must be the caller's own; no other is known to them.
async fn expect_own(actor: &Actor<ReadOnly>, slug: &str) -> Result<(), ApiError> {
    let own = organizations::own(&mut actor.begin().await?).await?;
    if own.slug == slug { Ok(()) } else { Err(ApiError::NotFound) }
}

/// How a file is fetched.
#[derive(Debug, Clone, Copy)]
struct Fetch {
    format: Option<Format>,
    /// For how many days after the report was finished; for ever when missing.
    days: Option<i64>,
    show: Show,
}

impl Fetch {
    const ATTACHMENT: Self = Self { format: None, days: None, show: Show::Attachment };
}

async fn fetch(
    app: &AppState,
    actor: Actor<ReadOnly>,
    id: ReportId,
    asked: &Asked,
    how: Fetch,
) -> Result<Response, ApiError> {
    let mut tx = actor.begin().await?;
    let report = stored::find(&mut tx, id).await?;
    if let (Some(days), Some(finished)) = (how.days, report.completed_at)
        && Utc::now() > finished + TimeDelta::days(days)
    {
        return Err(ApiError::Expired);
    }
    let artifact = file_of(&mut tx, &report, how.format).await?;
    let portion = file::portion(asked, &artifact);
    if portion.begins() {
        audit::note(&mut tx, Some(actor.tenant), actor.by(), &fetched(&artifact)).await?;
    }
    // The file may be large and the client slow: give the connection back first.
    tx.commit().await?;
    file::send(app, &artifact, portion, how.show).await
}

/// What the audit trail says when somebody fetches a file.
pub(super) fn fetched(artifact: &Artifact) -> Note<'static> {
    Note {
        action: "report.download",
        target_type: "report",
        target_id: Some(artifact.report_id.to_string()),
        detail: json!({ "file_name": artifact.file_name, "sha256": hex::encode(&artifact.sha256) }),
    }
}

/// The file of `report`, or why there is none.
pub(super) async fn file_of(
    tx: &mut TenantTx,
    report: &Report,
    format: Option<Format>,
) -> Result<Artifact, ApiError> {
    if let Some(other) = format.filter(|format| format.as_str() != report.format) {
        return Err(ApiError::Conflict(format!(
            "The report was made as {}, not as {other}: leave format out, or ask for a report in {other}",
            report.format
        )));
    }
    match stored::artifact(tx, ReportId(report.id)).await {
        Ok(artifact) => Ok(artifact),
        Err(store::Error::NotFound) if report.status == ReportStatus::Failed.as_str() => {
            Err(ApiError::Conflict("The report could not be made: its `error` says why".into()))
        }
        Err(store::Error::NotFound) => {
            Err(ApiError::Conflict("The report is still being made: ask again when it is completed".into()))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(download_report))
        .routes(routes!(view_report))
        .routes(routes!(download_file))
        .routes(routes!(download_tenants_report))
        .routes(routes!(download_tenants_document))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_any_document_is_understood() {
        let id = "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a";
        let expected = Some(AnyReportId(id.parse().expect("an id")));
        let bare = id.replace('-', "");
        for text in [
            id.to_owned(),
            bare.clone(),
            format!("report_{bare}.pdf"),
            format!("rpt-{bare}"),
            format!("doc-{id}"),
            format!("report_{bare}"),
        ] {
            assert_eq!(AnyReportId::read(&text), expected, "{text}");
        }
        for text in ["", "report_", "site_456", ".pdf", "report_../../etc/passwd"] {
            assert_eq!(AnyReportId::read(text), None, "{text}");
        }
    }
}
