//! Reports: what there is to choose from, asking for one ([`request`]), and fetching it ([`download`]).

pub(super) mod asking;
pub(super) mod download;
mod further;
pub(super) mod options;
pub(super) mod request;
mod shares;
mod style;

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::page::{self, Direction};
use reports::ReportType;
use serde::{Deserialize, Deserializer, Serialize};
use store::{frozen, reports as stored};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use self::{
    asking::{permit, record},
    download::AnyReportId,
    request::{GenerateReport, all_types, check},
};
use crate::{
    error::ApiError,
    extract::{Actor, Admin, Json, Listing, Path, ReadOnly, SortKey},
    idempotency::{Begun, IdempotencyKey},
    openapi::{BadBody, Conflicting, Invalid, Missing, SignedIn},
    reply::{Accepted, Deleted, JobAccepted, Page},
    state::AppState,
    words::ReportTypeWord,
};

/// A kind of report.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "executive_summary", "name": "Executive summary", "description": "The posture on two pages.",
                          "category": "executive", "formats": ["pdf", "json", "csv"]}))]
#[schema(as = ReportType)]
struct ReportTypeView {
    #[schema(value_type = ReportTypeWord)]
    id: &'static str,
    /// For people.
    name: &'static str,
    /// What stands in it, in a sentence.
    description: &'static str,
    /// What it is for, by which lists are grouped.
    category: &'static str,
    /// The words that `format` of a request takes.
    formats: Vec<&'static str>,
}

impl From<&'static ReportType> for ReportTypeView {
    fn from(report: &'static ReportType) -> Self {
        Self {
            id: report.id,
            name: report.name,
            description: report.description,
            category: report.category,
            formats: report.formats.iter().map(|format| format.as_str()).collect(),
        }
    }
}

/// A report that will be made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"job_id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "status": "queued",
    "id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7c", "report_id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7c"}))]
struct ReportAccepted {
    #[serde(flatten)]
    job: JobAccepted,
    /// Of the report, which can be asked for at once.
    id: Uuid,
    /// The same as `id`.
    report_id: Uuid,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ReportFilter {
    /// Only reports on this framework.
    framework: Option<String>,
    /// Only reports that stand there, in any case of the letters.
    #[param(inline)]
    status: Option<ReportStatus>,
    /// Only this type.
    #[serde(default, rename = "type", deserialize_with = "report_type")]
    #[param(inline, value_type = Option<ReportTypeWord>)]
    report_type: Option<&'static ReportType>,
}

/// Where a report stands.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ReportStatus {
    Generating,
    Completed,
    Failed,
}

impl From<ReportStatus> for domain::report::ReportStatus {
    fn from(status: ReportStatus) -> Self {
        match status {
            ReportStatus::Generating => Self::Generating,
            ReportStatus::Completed => Self::Completed,
            ReportStatus::Failed => Self::Failed,
        }
    }
}

fn report_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'static ReportType>, D::Error> {
    let word: Option<String> = Deserialize::deserialize(deserializer)?;
    let unknown = || serde::de::Error::custom(format!("there is {}", all_types()));
    word.map(|word| reports::find(&word).ok_or_else(unknown)).transpose()
}

impl SortKey for stored::Sort {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("created_at", Self::CreatedAt),
        ("report_type", Self::ReportType),
        ("type", Self::ReportType),
        ("status", Self::Status),
        ("title", Self::Title),
    ];
    const UNASKED: (Self, Direction) = (Self::CreatedAt, Direction::Descending);
}

/// A report.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7c", "report_id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7c", "title": "November posture",
    "report_type": "executive_summary", "framework": null, "format": "pdf", "status": "completed", "error": null, "page_count": 2,
    "download_url": "https://plimsoll.example.com/api/reports/0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7c/download",
    "document_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "requested_by": "550e8400-e29b-41d4-a716-446655440000", "job_id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a",
    "created_at": "2026-11-22T10:00:00Z", "completed_at": "2026-11-22T10:00:03Z"}))]
struct Report {
    id: Uuid,
    /// The same as `id`.
    report_id: Uuid,
    /// As it was asked for.
    #[schema(example = "November posture")]
    title: String,
    #[schema(value_type = ReportTypeWord)]
    report_type: String,
    /// The framework that it is on; null: on none.
    framework: Option<String>,
    /// That it was asked for in; others are made from the same content when they are asked for.
    #[schema(example = "pdf")]
    format: String,
    #[schema(value_type = ReportStatus)]
    status: String,
    /// Why it failed.
    error: Option<String>,
    /// Of a PDF. Null until it is completed, and for formats without pages.
    page_count: Option<i32>,
    /// Where to fetch it. Null until it is completed.
    download_url: Option<String>,
    /// SHA-256 of the frozen content that the file was made from, in hex.
    document_sha256: Option<String>,
    /// The user who asked for it. Null: nobody did, or they are gone.
    requested_by: Option<Uuid>,
    /// The job that makes it.
    job_id: Option<Uuid>,
    created_at: DateTime<Utc>,
    /// Null until it is completed.
    completed_at: Option<DateTime<Utc>>,
}

impl Report {
    fn new(report: stored::Report, public_url: &str) -> Self {
        let path = format!("{public_url}/api/reports/{}/download", report.id);
        Self {
            id: report.id,
            report_id: report.id,
            title: report.title,
            report_type: report.report_type,
            framework: report.framework,
            format: report.format,
            download_url: (report.status == domain::report::ReportStatus::Completed.as_str()).then_some(path),
            status: report.status,
            error: report.error,
            page_count: report.page_count,
            document_sha256: report.document_sha256.map(hex::encode),
            requested_by: report.requested_by,
            job_id: report.job_id,
            created_at: report.created_at,
            completed_at: report.completed_at,
        }
    }
}

/// A report with its parts.
#[derive(Debug, Serialize, ToSchema)]
struct ReportDetail {
    #[serde(flatten)]
    report: Report,
    /// The file. Null until it is completed.
    artifact: Option<Artifact>,
    /// The sections of the document in reading order, each followed by the controls in it. Empty until its content is frozen.
    sections: Vec<ReportSection>,
}

/// The file of a report.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "signature": {"signed_by": "compliance@acme.example", "signed_at": "2026-11-22T10:00:03Z", "timestamp_authority": "Example TSA",
                  "certificate_sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"},
    "file_name": "november-posture.pdf", "media_type": "application/pdf", "size_bytes": 48213,
    "sha256": "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9"}))]
struct Artifact {
    /// Null unless the file was signed.
    signature: Option<Signature>,
    /// What a download is called.
    file_name: String,
    /// As the download declares it.
    media_type: String,
    /// Of the file as it is stored and sent.
    size_bytes: i64,
    /// In hex.
    sha256: String,
}

/// The signature of a file. Whoever has the file can have it verified by `POST /api/v1/reports/verify`.
#[derive(Debug, Serialize, ToSchema)]
struct Signature {
    /// The address in whose name it was signed.
    signed_by: String,
    /// By the timestamp if there is one, else by the clock of the server that signed.
    signed_at: DateTime<Utc>,
    /// Who attests the time. Null: nobody, it is that of the server that signed.
    timestamp_authority: Option<String>,
    /// SHA-256 of the certificate, in hex.
    certificate_sha256: String,
}

impl From<store::signing_keys::IssuedFile> for Signature {
    fn from(file: store::signing_keys::IssuedFile) -> Self {
        Self {
            signed_by: file.signed_by,
            signed_at: file.signed_at,
            timestamp_authority: file.timestamp_authority,
            certificate_sha256: hex::encode(file.certificate_sha256),
        }
    }
}

/// A section of a report, or a control in one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "details", "heading": "Management of technical vulnerabilities", "control_id": "A.8.8", "status": "Partly met"}))]
struct ReportSection {
    /// What options call the section; a control has the id of the section that it stands in.
    id: String,
    /// What stands above it.
    heading: String,
    /// The control that this is about. Null: it is a section.
    control_id: Option<String>,
    /// How the control was judged, as the report says it. Null: it is a section.
    status: Option<String>,
}

impl From<frozen::Heading> for ReportSection {
    fn from(section: frozen::Heading) -> Self {
        let frozen::Heading { id, heading, control_id, status } = section;
        Self { id, heading, control_id, status }
    }
}

/// List report types
///
/// With the formats that each can be had in. They are part of the program.
#[utoipa::path(get, path = "/api/reports/report-types", tag = "reports", params(Listing),
    responses((status = 200, body = Page<ReportTypeView>), SignedIn, Invalid))]
async fn list_report_types(_: Actor<ReadOnly>, Listing { page, .. }: Listing) -> Page<ReportTypeView> {
    Page::of(page::Page::of(reports::catalogue().iter(), page))
}

/// List reports
///
/// The organization's own, the latest first; failed ones among them, with why.
#[utoipa::path(get, path = "/api/reports", tag = "reports", params(Listing<ReportFilter, stored::Sort>),
    responses((status = 200, body = Page<Report>), SignedIn, Invalid))]
async fn list_reports(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Listing { page, order, filter }: Listing<ReportFilter, stored::Sort>,
) -> Result<Page<Report>, ApiError> {
    let wanted = stored::Filter {
        framework: filter
            .framework
            .map(|word| reports::find_framework(&word).map_or(word, |found| found.id.clone())),
        status: filter.status.map(|status| domain::report::ReportStatus::from(status).as_str().into()),
        report_type: filter.report_type.map(|report| report.id.into()),
        ..stored::Filter::default()
    };
    let reports = stored::list(&mut actor.begin().await?, &wanted, order, page).await?;
    let public_url = app.config.public_url();
    Ok(Page::of(reports.map(|report| Report::new(report, &public_url))))
}

/// Ask for a report
///
/// It is made in the background from the data as it is when the job starts. Follow `Location`, or ask for the
/// report until its `status` is `completed`.
#[utoipa::path(post, path = "/api/reports/generate", tag = "reports", request_body = GenerateReport,
    params(IdempotencyKey),
    responses((status = 202, body = ReportAccepted,
               headers(("Location" = String, description = "Where to ask about the job."))),
              SignedIn, Conflicting, BadBody))]
async fn generate_report(
    actor: Actor<ReadOnly>,
    key: IdempotencyKey,
    Json(request): Json<GenerateReport>,
) -> Result<Accepted<ReportAccepted>, ApiError> {
    let chosen = check(&request)?;
    permit(&actor, &request)?;
    let mut work = match key.begin(actor.begin().await?, &request).await? {
        Begun::Before(answer) => return Ok(Accepted::Before(answer)),
        Begun::Now(work) => work,
    };
    let (id, job) = record(&mut work, &actor, &request, chosen).await?;
    let body = ReportAccepted { job: JobAccepted::new(job), id: id.0, report_id: id.0 };
    work.accept(job, body).await
}

/// Get a report
///
/// With its parts, and the file once there is one.
#[utoipa::path(get, path = "/api/reports/{report_id}", tag = "reports",
    params(("report_id" = String, Path, description = "The report's id.")),
    responses((status = 200, body = ReportDetail), SignedIn, Missing))]
async fn get_report(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Path(id): Path<AnyReportId>,
) -> Result<Json<ReportDetail>, ApiError> {
    let id = id.0;
    let mut tx = actor.begin().await?;
    let report = stored::find(&mut tx, id).await?;
    let artifact = match stored::artifact(&mut tx, id).await {
        Ok(artifact) => Some(Artifact {
            signature: store::signing_keys::issued(&mut tx, &artifact.sha256).await?.map(Into::into),
            file_name: artifact.file_name,
            media_type: artifact.media_type,
            size_bytes: artifact.byte_count,
            sha256: hex::encode(artifact.sha256),
        }),
        Err(store::Error::NotFound) => None,
        Err(error) => return Err(error.into()),
    };
    let sections = frozen::outline(&mut tx, id).await?.map_or_else(Vec::new, |outline| outline.sections);
    let sections = sections.into_iter().map(Into::into).collect();
    let report = Report::new(report, &app.config.public_url());
    Ok(Json(ReportDetail { report, artifact, sections }))
}

/// Delete a report
///
/// And its files. A report that is still being made is not made any more.
#[utoipa::path(delete, path = "/api/reports/{report_id}", tag = "reports",
    params(("report_id" = String, Path, description = "The report's id.")),
    responses((status = 200, body = Deleted), SignedIn, Missing))]
async fn delete_report(actor: Actor<Admin>, Path(id): Path<AnyReportId>) -> Result<Deleted, ApiError> {
    let id = id.0;
    let mut tx = actor.begin().await?;
    stored::delete(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Deleted::new(id.0))
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_report_types))
        .routes(routes!(list_reports))
        .routes(routes!(generate_report))
        .routes(routes!(get_report, delete_report))
        .merge(download::router())
        .merge(shares::router())
        .merge(style::router())
}
