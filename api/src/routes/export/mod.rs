//! Exports of what was found: CSV and JSON as they are read from the database, PDF and HTML as reports.
//!
//! CSV and JSON leave row by row ([`rows`]), however many there are. PDF and HTML are made by a worker; a small one is waited for
//! and answered at once, of a large one the answer says where it will be.

mod rows;

use std::time::Duration;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, header},
    response::{IntoResponse, Response},
};
use chrono::Utc;
use domain::{
    Severity,
    document::Format,
    finding::FindingStatus,
    id::{AssetId, ReportId},
    report::ReportStatus,
};
use queue::{enqueue, jobs::RenderReport};
use serde::{Deserialize, Deserializer};
use serde_json::json;
use store::{
    audit::{self, Note},
    exports::{self, Export, Request, What},
    reports as stored,
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::rows::Layout;
use super::cves::spelled;
use crate::{
    error::{ApiError, FieldError},
    extract::{Actor, Path, Query, Range, ReadOnly, words},
    file::{self, Portion, Show},
    openapi::{Invalid, Limited, Missing, SignedIn},
    reply::{Accepted, FileAccepted},
    state::AppState,
    waiting,
    words::{ExportFormatWord, ExportWord, FindingStatusWord, SeverityWord},
};

/// The type of report that a PDF or HTML is.
const REPORT_TYPE: &str = "findings";
/// So many rows are made into a document while the client waits.
const SMALL: i64 = 1000;
/// How long an export waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ExportFilter {
    /// What a row is: a finding (`findings`, when missing), a vulnerability with all that it touches, or an asset with all
    /// that is wrong with it.
    #[serde(default, deserialize_with = "what")]
    #[param(inline, value_type = Option<ExportWord>)]
    report_type: Option<What>,
    /// Only what was found on this asset.
    #[param(value_type = Option<Uuid>)]
    asset_id: Option<AssetId>,
    /// Exactly this CVE, or an advisory's own id where it names none.
    #[param(example = "CVE-2014-0160")]
    cve_id: Option<String>,
    /// Only findings that stand there, or at one of several places.
    #[serde(default, deserialize_with = "words")]
    #[param(inline, value_type = Option<Vec<FindingStatusWord>>)]
    status: Vec<FindingStatus>,
    /// Only findings of this severity, or of one of several.
    #[serde(default, deserialize_with = "words")]
    #[param(inline, value_type = Option<Vec<SeverityWord>>)]
    severity: Vec<Severity>,
    /// True: known to be exploited.
    kev: Option<bool>,
    /// True: a reference of the CVE is an exploit.
    has_exploit: Option<bool>,
    /// True: there is a version without it.
    patch_available: Option<bool>,
    /// Lowest composite score of a finding.
    #[param(minimum = 0.0, maximum = 10.0)]
    min_score: Option<f32>,
    /// Highest composite score of a finding.
    #[param(minimum = 0.0, maximum = 10.0)]
    max_score: Option<f32>,
}

fn what<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<What>, D::Error> {
    let Some(word) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let known = What::ALL.into_iter().find(|what| what.as_str().eq_ignore_ascii_case(&word));
    let unknown = || serde::de::Error::custom("there is findings, vulnerabilities, assets");
    known.map(Some).ok_or_else(unknown)
}

impl ExportFilter {
    fn checked(self) -> Result<Request, ApiError> {
        let bounds = Range {
            from: ("min_score", self.min_score),
            to: ("max_score", self.max_score),
            within: (0.0, 10.0),
        };
        let (min_score, max_score) = bounds.checked()?;
        Ok(Request {
            what: self.report_type.unwrap_or_default(),
            asset_id: self.asset_id,
            cve_id: self.cve_id.map(spelled),
            status: self.status,
            severity: self.severity,
            kev: self.kev,
            has_exploit: self.has_exploit,
            patch_available: self.patch_available,
            min_score,
            max_score,
        })
    }
}

/// The format that an export has.
#[derive(Debug, Clone, Copy)]
enum ExportFormat {
    Rows(Layout),
    Document(Format),
}

fn export_format(word: &str) -> Result<ExportFormat, ApiError> {
    match word.to_ascii_lowercase().as_str() {
        "csv" => Ok(ExportFormat::Rows(Layout::Csv)),
        "json" => Ok(ExportFormat::Rows(Layout::Json)),
        "html" => Ok(ExportFormat::Document(Format::Html)),
        "pdf" => Ok(ExportFormat::Document(Format::Pdf)),
        other => {
            let shown: String = other.chars().take(60).collect();
            let message = format!("`{shown}` is not a format of exports: ask for csv, json, html or pdf");
            Err(ApiError::Invalid(vec![FieldError::value("path -> format", message)]))
        }
    }
}

/// Export findings
///
/// CSV and JSON have all of them, however many; a file that breaks off has not come to its end, and says so by how the
/// connection ends. In CSV no cell is a formula. PDF and HTML show the worst fifteen thousand and are made in the background: a small one
/// is answered when it is done, of a large one 202 says in `Location` where to ask.
#[utoipa::path(get, path = "/api/export/{format}", tag = "findings",
    params(("format" = inline(ExportFormatWord), Path, description = "Of the file."), ExportFilter),
    responses((status = 200, description = "The file.", content(
                  (String = "text/csv"), (Object = "application/json", example = json!({
                      "generated_at": "2026-11-22T10:00:00Z", "request": {"what": "vulnerabilities", "severity": ["high"]},
                      "data": [{"cve_id": "CVE-2014-0160", "severity": "high", "composite_score": 9.1, "cvss_score": 7.5, "epss_score": 0.94,
                                "kev": true, "has_exploit": true, "patch_available": true, "packages": "openssl", "assets": 3, "findings": 3,
                                "first_seen_at": "2026-11-21T10:00:00Z"}],
                      "total": 1})),
                   (String = "text/html"), (Vec<u8> = "application/pdf"))),
              (status = 202, body = FileAccepted,
               headers(("Location" = String, description = "Where to ask about the job."))),
              SignedIn, Missing, Invalid, Limited))]
async fn export_findings(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Path(format): Path<String>,
    Query(filter): Query<ExportFilter>,
    method: Method,
) -> Result<Response, ApiError> {
    let format = export_format(&format)?;
    let request = filter.checked()?;
    if method == Method::HEAD {
        return Ok(head_of(format, &request)?.into_response());
    }
    let word = match format {
        ExportFormat::Rows(layout) => layout.extension(),
        ExportFormat::Document(format) => format.as_str(),
    };
    let mut tx = actor.begin().await?;
    let note = Note {
        action: "findings.export",
        target_type: "export",
        target_id: None,
        detail: json!({ "format": word, "request": request }),
    };
    audit::note(&mut tx, Some(actor.tenant), actor.by(), &note).await?;
    match format {
        ExportFormat::Rows(layout) => {
            tx.commit().await?;
            // Each has a connection to the database for as long as its reader takes.
            let busy = || ApiError::Unavailable(anyhow::anyhow!("too many exports are under way"));
            let turn = tokio::time::timeout(PATIENCE, app.exports.clone().acquire_owned());
            let turn = turn.await.map_err(|_| busy())?.map_err(|_| busy())?;
            let head = head_of(format, &request)?;
            let export = Export::begin(app.db.shared(), actor.tenant, &request).await?;
            let body = rows::stream(export, layout, &request, Utc::now(), turn);
            Ok((head, Body::from_stream(body)).into_response())
        }
        ExportFormat::Document(format) => {
            let is_small = exports::count_up_to(&mut tx, &request, SMALL + 1).await? <= SMALL;
            let report = ReportId::new();
            let render = RenderReport { tenant_id: actor.tenant, report_id: report };
            let job = enqueue(&mut tx, actor.origin(), &render).await?;
            let new = stored::NewReport {
                id: report,
                job: job.id,
                title: title(&request),
                report_type: REPORT_TYPE.to_owned(),
                framework: None,
                format,
                options: json!({ "export": request }),
                requested_by: Some(actor.id()),
            };
            stored::insert(&mut tx, &new).await?;
            tx.commit().await?;
            if is_small && let Some(report) = waiting::finished(&actor, report).await? {
                return sent(&app, &actor, report).await;
            }
            let download_url = format!("{}/api/reports/{report}/download", app.config.public_url());
            let body = FileAccepted::new(job.id, report, download_url);
            Ok(Accepted::Now { job: job.id, body }.into_response())
        }
    }
}

/// The document, or why there is none.
async fn sent(app: &AppState, actor: &Actor<ReadOnly>, report: stored::Report) -> Result<Response, ApiError> {
    if report.status == ReportStatus::Failed.as_str() {
        let why = report.error.unwrap_or_default();
        return Err(ApiError::Internal(anyhow::anyhow!("the export cannot be made: {why}")));
    }
    let artifact = stored::artifact(&mut actor.begin().await?, ReportId(report.id)).await?;
    file::send(app, &artifact, Portion::Whole, Show::Attachment).await
}

/// Title of the document.
fn title(request: &Request) -> String {
    let what = match request.what {
        What::Findings => "Findings",
        What::Vulnerabilities => "Vulnerabilities",
        What::Assets => "Assets with findings",
    };
    let severities: Vec<&str> = request.severity.iter().map(|severity| severity.as_str()).collect();
    match severities.as_slice() {
        [] => what.to_owned(),
        chosen => format!("{what}: {}", chosen.join(", ")),
    }
}

/// The headers of an export, which say nothing about what is in it.
fn head_of(format: ExportFormat, request: &Request) -> Result<HeaderMap, ApiError> {
    let (media_type, extension) = match format {
        ExportFormat::Rows(layout) => (layout.media_type(), layout.extension()),
        ExportFormat::Document(format) => (format.media_type(), format.extension()),
    };
    let name = format!("{}-{}.{extension}", request.what.as_str(), Utc::now().format("%Y-%m-%d"));
    let disposition = HeaderValue::try_from(file::disposition(&name, false)).map_err(anyhow::Error::from)?;
    Ok(HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CONTENT_DISPOSITION, disposition),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("sandbox; default-src 'none'; frame-ancestors 'none'"),
        ),
    ]))
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default().routes(routes!(export_findings))
}
