//! Fetching the file of a report, under the addresses that the documents give it.
//!
//! `GET /api/reports/{id}/download` for as long as the report is there; seed 003's address for seven days and seed 002's
//! for thirty-one after the report was finished, as their examples show. Each is opened with the caller's own credential, as seed 003 has it
//! (its table of endpoints wants `findings:read` for a download, and leaves the verifier alone to the public; its client downloads with the
//! token it was given). Seed 002's is a link as well: with the token that the history of reports puts into it
//! ([`crate::routes::report_history`]) nobody has to be known; who sends a key or a bearer token is, and by that. Other links for whoever has no account are those that an administrator makes
//! ([`super::shares`]). What is sent, and how, is [`crate::file`]'s business.

use std::collections::BTreeMap;

use axum::{
    extract::{FromRequestParts, State},
    http::request::Parts,
    response::Response,
};
use chrono::{TimeDelta, Utc};
use domain::{
    document::Format,
    id::ReportId,
    report::{BREAKWATER_LINK_DAYS, INFRACAST_LINK_DAYS, ReportStatus},
};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use store::{
    TenantTx,
    audit::{self, Note},
    report_links,
    reports::{self as stored, Artifact, Report},
    shares,
};
use url::form_urlencoded;
use utoipa::{
    IntoParams, IntoResponses,
    openapi::{Content, ContentBuilder, Ref, RefOr, Response as OneResponse, ResponseBuilder},
};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    further::{self, Further},
    shares::{Visitor, follow},
};
use crate::{
    auth,
    error::ApiError,
    extract::{Actor, Path, Query, ReadOnly},
    file::{self, Asked, Show},
    openapi::{Invalid, Limited, Missing, SignedIn},
    reply::FileAccepted,
    state::AppState,
};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// One of the formats of the report's type, in any case of the letters; the one that it was asked for when missing.
    #[serde(default, deserialize_with = "format")]
    #[param(value_type = Option<String>, example = "json")]
    format: Option<Format>,
}

fn format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Format>, D::Error> {
    crate::extract::word(deserializer)
}

/// An id as any of the documents writes it: a UUID with or without hyphens, behind `report_`, `rpt-`, `doc-` or nothing,
/// before the ending of a file name or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::routes) struct AnyReportId(pub(in crate::routes) ReportId);

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
/// Parts can be asked for with `Range`. In another format than it was asked for it is made from what was frozen with the
/// report, and looks as it was issued: a small one is answered when it is done, of a large one 202 says in `Location` where to ask.
#[utoipa::path(get, path = "/api/reports/{report_id}/download", tag = "reports",
    params(("report_id" = String, Path, description = "The report's id."), Wanted),
    responses(InParts, (status = 202, body = FileAccepted,
                        headers(("Location" = String, description = "Where to ask about the job."))),
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
    responses(InParts, SignedIn, Missing))]
async fn view_report(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Path(id): Path<AnyReportId>,
    asked: Asked,
) -> Result<Response, ApiError> {
    fetch(&app, actor, id.0, &asked, Fetch { show: Show::Inline, ..Fetch::ATTACHMENT }).await
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Linked {
    /// As it stands in a `download_url` of `GET /api/v1/reports/history`. Whoever has it needs no account; one that is not right is a 404. Beside
    /// a key or a bearer token it is not looked at.
    token: Option<String>,
}

/// Who fetches a file by its name.
enum Reader {
    /// Whoever follows a link, with a token and no credential but a cookie's, which a browser sends of itself.
    Visitor(Visitor),
    Known(Box<Actor<ReadOnly>>),
}

impl FromRequestParts<AppState> for Reader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        // What is wrong with the parameters is told by the handler, to who may ask.
        let query = parts.uri.query().unwrap_or_default().as_bytes();
        let follows = form_urlencoded::parse(query).any(|(name, token)| name == "token" && !token.is_empty());
        Ok(if follows && !auth::is_sent(&parts.headers) {
            Self::Visitor(Visitor::from_request_parts(parts, app).await?)
        } else {
            Self::Known(Box::new(Actor::from_request_parts(parts, app).await?))
        })
    }
}

/// Download a report by its file name
///
/// `report_<id>.pdf`, for thirty-one days after it was finished: with the token of a link, or with a credential of the caller's own.
#[utoipa::path(get, path = "/api/v1/reports/download/{file}", tag = "reports",
    security(("bearer" = []), ("api-key" = []), ("session-cookie" = []), ()),
    params(("file" = String, Path, description = "The report's id and the ending of the file."), Linked),
    responses(InParts, ForAWhile, SignedIn, Missing, Invalid, Limited))]
async fn download_file(
    State(app): State<AppState>,
    reader: Reader,
    Path(id): Path<AnyReportId>,
    Query(linked): Query<Linked>,
    asked: Asked,
) -> Result<Response, ApiError> {
    match reader {
        Reader::Visitor(visitor) => {
            let token = linked.token.unwrap_or_default();
            let link = report_links::find(app.db.shared(), id.0, &shares::hash(&token)).await?;
            if link.has_run_out {
                return Err(ApiError::Expired);
            }
            follow(&app, &visitor, link.target, &asked).await
        }
        Reader::Known(actor) => {
            let days = Some(BREAKWATER_LINK_DAYS);
            fetch(&app, *actor, id.0, &asked, Fetch { days, ..Fetch::ATTACHMENT }).await
        }
    }
}

/// Download a report of an organization
///
/// For seven days after it was finished.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant_id}/reports/{report_id}/download", tag = "reports",
    params(("tenant_id" = String, Path, description = "The organization's name in addresses, such as `acme-corp`."),
           ("report_id" = String, Path, description = "The report's id.")),
    responses(InParts, ForAWhile, SignedIn, Missing))]
async fn download_tenants_report(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Path(of): Path<(String, AnyReportId)>,
    asked: Asked,
) -> Result<Response, ApiError> {
    of_a_tenant(&app, actor, of, &asked).await
}

/// Download a document of an organization
///
/// Documents are reports, and theirs is the same file.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant_id}/documents/{document_id}/download", tag = "reports",
    params(("tenant_id" = String, Path, description = "The organization's name in addresses, such as `acme-corp`."),
           ("document_id" = String, Path, description = "The document's id.")),
    responses(InParts, ForAWhile, SignedIn, Missing))]
async fn download_tenants_document(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Path(of): Path<(String, AnyReportId)>,
    asked: Asked,
) -> Result<Response, ApiError> {
    of_a_tenant(&app, actor, of, &asked).await
}

async fn of_a_tenant(
    app: &AppState,
    actor: Actor<ReadOnly>,
    (slug, id): (String, AnyReportId),
    asked: &Asked,
) -> Result<Response, ApiError> {
    let actor = actor.in_organization(&slug).await?;
    let days = Some(INFRACAST_LINK_DAYS);
    fetch(app, actor, id.0, asked, Fetch { days, ..Fetch::ATTACHMENT }).await
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
    let artifact = match how.format.filter(|format| format.as_str() != report.format) {
        None => file_of(&mut tx, &report).await?,
        Some(format) => {
            // It may be waited for.
            tx.commit().await?;
            match further::file_in(app, &actor, &report, format, asked).await? {
                Further::File(artifact) => {
                    tx = actor.begin().await?;
                    *artifact
                }
                Further::Later(answer) => return Ok(answer),
            }
        }
    };
    let portion = file::portion(asked, &artifact);
    if portion.begins() {
        audit::note(&mut tx, Some(actor.tenant), actor.by(), &fetched(&artifact)).await?;
    }
    // The file may be large and the client slow: give the connection back first.
    tx.commit().await?;
    file::send(app, &artifact, portion, how.show).await
}

/// What the audit trail says when somebody fetches a file.
pub(in crate::routes) fn fetched(artifact: &Artifact) -> Note<'static> {
    Note {
        action: "report.download",
        target_type: "report",
        target_id: Some(artifact.report_id.to_string()),
        detail: json!({ "file_name": artifact.file_name, "sha256": hex::encode(&artifact.sha256) }),
    }
}

/// The file of `report` as it was asked for, or why there is none.
pub(in crate::routes) async fn file_of(tx: &mut TenantTx, report: &Report) -> Result<Artifact, ApiError> {
    match stored::artifact(tx, ReportId(report.id)).await {
        Ok(artifact) => Ok(artifact),
        Err(store::Error::NotFound) => Err(no_file(report)),
        Err(error) => Err(error.into()),
    }
}

/// Why there is no file of `report`.
pub(super) fn no_file(report: &Report) -> ApiError {
    ApiError::Conflict(if report.status == ReportStatus::Failed.as_str() {
        "The report could not be made: its `error` says why".into()
    } else {
        "The report is still being made: ask again when it is completed".into()
    })
}

/// What every address of a file may answer.
struct InParts;

impl IntoResponses for InParts {
    fn responses() -> BTreeMap<String, RefOr<OneResponse>> {
        // A schema would describe text: a file is what its media type says (OpenAPI 3.1, section 4.8.14.2).
        let file = |description: &str, example: Value| {
            let of = |response: ResponseBuilder, media_type| response.content(media_type, Content::default());
            let json = ContentBuilder::new().example(Some(example)).build();
            ["application/pdf", "text/csv", "application/zip", "application/octet-stream"]
                .into_iter()
                .fold(ResponseBuilder::new().description(description).content("application/json", json), of)
        };
        let whole = json!({
            "schema_version": 1, "report_type": "executive_summary", "language": "en",
            "cover": { "title": "November posture", "organization": "Acme Corp", "generated_at": "2026-11-22T10:00:00Z" },
            "key_figures": [{ "label": "Open findings", "value": 7, "tone": "neutral" }], "sections": [],
        });
        let error = |description: &str| {
            let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
            ResponseBuilder::new().description(description).content("application/json", body)
        };
        let responses = [
            ("200", file("The file.", whole)),
            ("206", file("A part of the file.", json!("{\"schema_version\":1,"))),
            ("304", ResponseBuilder::new().description("The client has it: `If-None-Match`.")),
            ("409", error("There is no file: the report is being made, or it failed.")),
            ("412", error("It is not the file of `If-Match`.")),
            ("416", error("No byte of the range exists.")),
        ];
        responses.map(|(status, response)| (status.to_owned(), response.build().into())).into()
    }
}

/// What an address that holds for some days may answer besides.
struct ForAWhile;

impl IntoResponses for ForAWhile {
    fn responses() -> BTreeMap<String, RefOr<OneResponse>> {
        let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
        let gone = ResponseBuilder::new().description("`DOWNLOAD_EXPIRED`").content("application/json", body);
        BTreeMap::from([("410".to_owned(), gone.build().into())])
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
