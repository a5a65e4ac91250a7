//! Reports of the organization that the address names, in the words of seed 003.
//!
//! They are the reports of `/api/reports`, asked for by the same code ([`super::reports::asking`]) and made by the same job; what
//! is this document's own is how a report is asked for and told of. Its address of the file is among the others
//! (`reports/download.rs`), and `POST /api/v1/reports/verify` in `verify.rs`.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    document::Format,
    report::{INFRACAST_LINK_DAYS, ReportStatus},
};
use reports::{FrameworkUse, ReportType, find_framework};
use serde::{Deserialize, Serialize};
use store::{TenantTx, audit, organizations, reports as stored};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::reports::{
    ReportStatus as StatusWord,
    asking::{permit, record},
    download::{AnyReportId, fetched, file_of},
    options::ReportOptions,
    request::{GenerateReport, check},
};
use crate::{
    error::{ApiError, FieldError},
    extract::{Actor, Json, Listing, Path, ReadOnly},
    file::{self, Portion, Show},
    idempotency::{Begun, IdempotencyKey},
    openapi::{BadBody, Conflicting, Invalid, Missing, SignedIn},
    reply::{Accepted, FileAccepted, Page},
    state::AppState,
    waiting,
};

/// What a report is asked for with.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "type": "framework", "framework": "nist-800-53", "format": "pdf",
    "options": {"include_remediation": true, "include_evidence": false, "severity_filter": ["CRITICAL", "HIGH", "MEDIUM"],
                "title": "NIST 800-53 Compliance Report — Q1 2024"}}))]
struct GenerateTenantReport {
    /// `framework` for the controls of one, `executive`, or another `id` of `GET /api/reports/report-types`.
    #[serde(rename = "type")]
    report_type: String,
    /// `nist-800-53`, `nist-800-171`, `pci-dss`, `soc2`, `fedramp-moderate` or `fedramp-high`, with or without hyphens. A report of the
    /// type `framework` needs one; `executive` has a part about it if one is named.
    framework: Option<String>,
    /// One of the type's formats: `pdf` when missing, `docx`, `xlsx`, `json`, `md` and others.
    format: Option<String>,
    /// What stands in it and how it looks.
    #[serde(default)]
    options: ReportOptions,
}

impl GenerateTenantReport {
    /// The same in the words of the rest of the API, with what was chosen.
    fn checked(self) -> Result<(GenerateReport, (&'static ReportType, Format)), ApiError> {
        let Self { report_type, framework, format, options } = self;
        let named = reports::find(&report_type);
        let title = options.title().map_or_else(|| title(named, framework.as_deref()), str::to_owned);
        let request = GenerateReport::new(title, report_type, format, framework, options);
        // What is wrong is told in the words in which it was asked.
        let chosen = check(&request).map_err(|error| match error {
            ApiError::Invalid(errors) => ApiError::Invalid(errors.into_iter().map(in_own_words).collect()),
            other => other,
        })?;
        Ok((request, chosen))
    }
}

fn in_own_words(error: FieldError) -> FieldError {
    let field = match error.field.as_str() {
        "body -> report_type" => "body -> type".to_owned(),
        "body -> title" => "body -> options -> title".to_owned(),
        _ => error.field,
    };
    FieldError { field, ..error }
}

/// What a report is called that nobody gave a title.
fn title(report_type: Option<&ReportType>, framework: Option<&str>) -> String {
    let Some(report_type) = report_type else { return "Report".to_owned() };
    match framework.and_then(find_framework) {
        Some(framework) if report_type.framework == FrameworkUse::Required => {
            format!("{} report", framework.name)
        }
        _ => report_type.name.to_owned(),
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct TenantReportFilter {
    /// Only this type.
    #[serde(rename = "type")]
    report_type: Option<String>,
    /// Only reports on this framework.
    framework: Option<String>,
    /// Only reports that stand there.
    #[param(inline)]
    status: Option<StatusWord>,
}

impl From<TenantReportFilter> for stored::Filter {
    /// A word that nobody knows matches nothing.
    fn from(asked: TenantReportFilter) -> Self {
        let known = |word: String| reports::find(&word).map_or(word, |report| report.id.to_owned());
        let framework = |word: String| find_framework(&word).map_or(word, |found| found.id.clone());
        Self {
            framework: asked.framework.map(framework),
            status: asked.status.map(|status| ReportStatus::from(status).as_str().to_owned()),
            report_type: asked.report_type.map(known),
            ..Self::default()
        }
    }
}

/// A report of an organization.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "rpt-0199f8a26c1e7b629a535e1f0c2d4b7c", "report_id": "rpt-0199f8a26c1e7b629a535e1f0c2d4b7c", "type": "framework",
    "framework": "pci-dss", "format": "pdf", "status": "completed", "title": "PCI DSS report", "error": null,
    "size_bytes": 2_847_392,
    "download_url": "https://plimsoll.example.com/api/v1/tenants/acme-corp/reports/rpt-0199f8a26c1e7b629a535e1f0c2d4b7c/download",
    "download_expires": "2024-03-23T10:00:45Z", "created_at": "2024-03-16T10:00:00Z", "completed_at": "2024-03-16T10:00:45Z"}))]
struct TenantReport {
    /// `rpt-` and the report's id without hyphens, which is understood in its place.
    id: String,
    /// The same as `id`.
    report_id: String,
    /// `framework`, `executive`, or another `id` of `GET /api/reports/report-types`.
    #[serde(rename = "type")]
    report_type: String,
    /// The framework that it is on; null: on none.
    framework: Option<String>,
    /// That it was asked for in.
    format: &'static str,
    #[schema(value_type = StatusWord)]
    status: String,
    title: String,
    /// Why it failed.
    error: Option<String>,
    /// Of the file. Null until it is completed.
    size_bytes: Option<i64>,
    /// Where to fetch it. Null until it is completed.
    download_url: Option<String>,
    /// Until when it can be fetched there: seven days after it was completed.
    download_expires: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    /// Null until it is completed.
    completed_at: Option<DateTime<Utc>>,
}

impl TenantReport {
    /// `reports` is the address of all of them.
    fn new(report: stored::Report, reports: &str) -> Self {
        let id = public_id(report.id);
        let completed = (report.status == ReportStatus::Completed.as_str()).then_some(report.completed_at);
        let completed_at = completed.flatten();
        Self {
            report_id: id.clone(),
            report_type: spelled(report.report_type),
            framework: report.framework,
            format: report.format.parse().map_or("", spelled_format),
            status: report.status,
            title: report.title,
            error: report.error,
            size_bytes: report.byte_count,
            download_url: completed_at.map(|_| format!("{reports}/{id}/download")),
            download_expires: completed_at.map(|at| at + TimeDelta::days(INFRACAST_LINK_DAYS)),
            created_at: report.created_at,
            completed_at,
            id,
        }
    }
}

fn public_id(id: Uuid) -> String {
    format!("rpt-{}", id.simple())
}

/// Seed 003's word for a type of report.
fn spelled(report_type: String) -> String {
    if report_type == "executive_summary" { "executive".to_owned() } else { report_type }
}

fn spelled_format(format: Format) -> &'static str {
    if format == Format::Markdown { "md" } else { format.as_str() }
}

/// The address of the reports of the organization of `tx`.
async fn address(app: &AppState, tx: &mut TenantTx) -> Result<String, ApiError> {
    let slug = organizations::own(tx).await?.slug;
    Ok(format!("{}/api/v1/tenants/{slug}/reports", app.config.public_url()))
}

/// A report that will be made.
#[derive(Debug, Serialize, ToSchema)]
struct TenantReportAccepted {
    #[serde(flatten)]
    report: TenantReport,
    /// Ask `GET /api/jobs/{job_id}`, or listen to `GET /api/jobs/{job_id}/events`.
    #[schema(example = "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a")]
    job_id: Uuid,
}

/// List an organization's reports
///
/// The latest first; failed ones among them, with why.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant_id}/reports", tag = "reports",
    params(("tenant_id" = String, Path, description = "The organization's name in addresses, such as `acme-corp`."),
           Listing<TenantReportFilter, stored::Sort>),
    responses((status = 200, body = Page<TenantReport>), SignedIn, Missing, Invalid))]
async fn list_tenant_reports(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Path(tenant): Path<String>,
    listing: Listing<TenantReportFilter, stored::Sort>,
) -> Result<Page<TenantReport>, ApiError> {
    page(&app, actor, &tenant, listing).await
}

/// The history of an organization's reports
///
/// The same list under the document's other address for it.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant_id}/reports/history", tag = "reports",
    params(("tenant_id" = String, Path, description = "The organization's name in addresses, such as `acme-corp`."),
           Listing<TenantReportFilter, stored::Sort>),
    responses((status = 200, body = Page<TenantReport>), SignedIn, Missing, Invalid))]
async fn list_tenant_report_history(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Path(tenant): Path<String>,
    listing: Listing<TenantReportFilter, stored::Sort>,
) -> Result<Page<TenantReport>, ApiError> {
    page(&app, actor, &tenant, listing).await
}

async fn page(
    app: &AppState,
    actor: Actor<ReadOnly>,
    tenant: &str,
    Listing { page, order, filter }: Listing<TenantReportFilter, stored::Sort>,
) -> Result<Page<TenantReport>, ApiError> {
    let actor = actor.in_organization(tenant).await?;
    let mut tx = actor.begin().await?;
    let address = address(app, &mut tx).await?;
    let found = stored::list(&mut tx, &filter.into(), order, page).await?;
    Ok(Page::of(found.map(|report| TenantReport::new(report, &address))))
}

/// Ask for a report of an organization
///
/// It is made in the background from the data as it is when the job starts. Ask for it, or for the list, until its `status` is
/// `completed`. A report on a framework tells what inventories and findings show of its controls, and of all others that they were not
/// assessed.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant_id}/reports/generate", tag = "reports",
    request_body = GenerateTenantReport,
    params(("tenant_id" = String, Path, description = "The organization's name in addresses, such as `acme-corp`."), IdempotencyKey),
    responses((status = 202, body = TenantReportAccepted,
               headers(("Location" = String, description = "Where to ask about the job."))),
              SignedIn, Missing, Conflicting, BadBody))]
async fn generate_tenant_report(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Path(tenant): Path<String>,
    key: IdempotencyKey,
    Json(request): Json<GenerateTenantReport>,
) -> Result<Accepted<TenantReportAccepted>, ApiError> {
    let actor = actor.in_organization(&tenant).await?;
    let (request, chosen) = request.checked()?;
    permit(&actor, &request)?;
    let mut work = match key.begin(actor.begin().await?, &request).await? {
        Begun::Before(answer) => return Ok(Accepted::Before(answer)),
        Begun::Now(work) => work,
    };
    let (id, job) = record(&mut work, &actor, &request, chosen).await?;
    let address = address(&app, &mut work).await?;
    let report = TenantReport::new(stored::find(&mut work, id).await?, &address);
    work.accept(job, TenantReportAccepted { report, job_id: job.0 }).await
}

/// Make a PDF and wait for it
///
/// As `generate`, but the answer is the file, if it is made within twenty seconds. Of one that takes longer, 202 says where it will be; so
/// it does when the request is sent again with its `Idempotency-Key`.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant_id}/reports/pdf", tag = "reports",
    request_body(content = GenerateTenantReport, example = json!({"type": "executive", "format": "pdf"})),
    params(("tenant_id" = String, Path, description = "The organization's name in addresses, such as `acme-corp`."), IdempotencyKey),
    responses((status = 200, description = "The file.", content((Vec<u8> = "application/pdf"))),
              (status = 202, body = FileAccepted, headers(("Location" = String, description = "Where to ask about the job."))),
              SignedIn, Missing, Conflicting, BadBody))]
async fn make_tenant_pdf(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Path(tenant): Path<String>,
    key: IdempotencyKey,
    Json(request): Json<GenerateTenantReport>,
) -> Result<Response, ApiError> {
    let actor = actor.in_organization(&tenant).await?;
    let (request, (report_type, format)) = request.checked()?;
    if format != Format::Pdf {
        let message =
            format!("`{format}` is not made here: ask for pdf, or for others with POST …/reports/generate");
        return Err(ApiError::Invalid(vec![FieldError::value("body -> format", message)]));
    }
    permit(&actor, &request)?;
    let mut work = match key.begin(actor.begin().await?, &request).await? {
        Begun::Before(answer) => return Ok(Accepted::<FileAccepted>::Before(answer).into_response()),
        Begun::Now(work) => work,
    };
    let (id, job) = record(&mut work, &actor, &request, (report_type, format)).await?;
    let url = format!("{}/{}/download", address(&app, &mut work).await?, public_id(id.0));
    let later = work.accept(job, FileAccepted::new(job, id, url)).await?;
    match waiting::finished(&actor, id).await? {
        Some(report) => sent(&app, &actor, &report).await,
        None => Ok(later.into_response()),
    }
}

async fn sent(
    app: &AppState,
    actor: &Actor<ReadOnly>,
    report: &stored::Report,
) -> Result<Response, ApiError> {
    let mut tx = actor.begin().await?;
    let artifact = file_of(&mut tx, report).await?;
    audit::note(&mut tx, Some(actor.tenant), actor.by(), &fetched(&artifact)).await?;
    tx.commit().await?;
    file::send(app, &artifact, Portion::Whole, Show::Attachment).await
}

/// Get a report of an organization
///
/// As the list has it.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant_id}/reports/{report_id}", tag = "reports",
    params(("tenant_id" = String, Path, description = "The organization's name in addresses, such as `acme-corp`."),
           ("report_id" = String, Path, description = "The report's id.")),
    responses((status = 200, body = TenantReport), SignedIn, Missing))]
async fn get_tenant_report(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Path((tenant, id)): Path<(String, AnyReportId)>,
) -> Result<Json<TenantReport>, ApiError> {
    let actor = actor.in_organization(&tenant).await?;
    let mut tx = actor.begin().await?;
    let address = address(&app, &mut tx).await?;
    Ok(Json(TenantReport::new(stored::find(&mut tx, id.0).await?, &address)))
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_tenant_reports))
        .routes(routes!(generate_tenant_report))
        .routes(routes!(make_tenant_pdf))
        .routes(routes!(list_tenant_report_history))
        .routes(routes!(get_tenant_report))
}
