//! How an organization wants its reports of one type: order and wording of their sections, and what stands on every page.
//!
//! The same options as a request's ([`super::options`]), but for those that are decided for each report. The worker reads them when it
//! freezes a report's data.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use reports::ReportType;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::report_styles::{self, Style};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::options::ReportOptions;
use crate::{
    error::{ApiError, Problems},
    extract::{Actor, Admin, Json, Path, ReadOnly},
    openapi::{BadBody, Missing, SignedIn},
    state::AppState,
    words::ReportTypeWord,
};

/// What holds for every report of a type unless its request says otherwise.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"report_type": "executive_summary", "updated_at": "2026-11-22T11:30:00Z",
    "options": {"classification": "Internal", "sections": [{"id": "top-findings", "heading": "What we do first"}]}}))]
struct ReportStyle {
    #[schema(value_type = ReportTypeWord)]
    report_type: &'static str,
    /// As a request would name them; none where nothing was chosen.
    #[schema(value_type = ReportOptions)]
    options: Map<String, Value>,
    /// Null: nothing was chosen.
    updated_at: Option<DateTime<Utc>>,
}

impl ReportStyle {
    fn of(report_type: &'static ReportType, style: Option<Style>) -> Self {
        let (options, updated_at) =
            style.map_or((Map::new(), None), |style| (style.options.0, Some(style.changed_at)));
        Self { report_type: report_type.id, options, updated_at }
    }
}

/// What is to hold for every report of a type.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"options": {"classification": "Internal", "prepared_by": "Security office",
    "sections": [{"id": "top-findings", "heading": "What we do first"}, {"id": "overview", "introduction": "As agreed in October."}]}}))]
struct SetReportStyle {
    /// Any but `title`, `organization_logo`, `severity_filter`, `signed`, `signer`, `attach_data`, `csv_bom` and `formats`, which are
    /// decided for each report.
    options: ReportOptions,
}

/// Decided for each report. The logo of all of them stands in the branding.
const OF_ONE_REPORT: [&str; 8] = [
    "title",
    "organization_logo",
    "severity_filter",
    "signed",
    "signer",
    "attach_data",
    "csv_bom",
    "formats",
];

fn checked(request: &SetReportStyle) -> Result<Map<String, Value>, ApiError> {
    let mut problems = Problems::default();
    request.options.check(None, &[], &mut problems);
    let written = serde_json::to_value(&request.options).and_then(serde_json::from_value);
    let options: Map<String, Value> = written.map_err(anyhow::Error::from)?;
    for name in OF_ONE_REPORT {
        problems.require(!options.contains_key(name), &format!("options -> {name}"), || match name {
            "organization_logo" => {
                "belongs into the branding, for every document: PUT it there, and leave it out here".into()
            }
            _ => "is decided for each report: give it with the request, and leave it out here".into(),
        });
    }
    problems.finish()?;
    Ok(options)
}

fn known(word: &str) -> Result<&'static ReportType, ApiError> {
    reports::find(word).ok_or(ApiError::NotFound)
}

/// How reports of a type look
///
/// What the organization has chosen for every report of this type.
#[utoipa::path(get, path = "/api/reports/report-types/{report_type}/style", tag = "reports",
    params(("report_type" = ReportTypeWord, Path, description = "An `id` of `GET /api/reports/report-types`.")),
    responses((status = 200, body = ReportStyle), SignedIn, Missing))]
async fn get_report_style(
    actor: Actor<ReadOnly>,
    Path(word): Path<String>,
) -> Result<Json<ReportStyle>, ApiError> {
    let report_type = known(&word)?;
    let style = match report_styles::find(&mut actor.begin().await?, report_type.id).await {
        Ok(style) => Some(style),
        Err(store::Error::NotFound) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Json(ReportStyle::of(report_type, style)))
}

/// Choose how reports of a type look
///
/// In the place of what was chosen before. It holds for reports whose data is gathered from now on: the words and order of their
/// sections, what stands on the cover and on every page. What a request says comes before it, option by option.
#[utoipa::path(put, path = "/api/reports/report-types/{report_type}/style", tag = "reports", request_body = SetReportStyle,
    params(("report_type" = ReportTypeWord, Path, description = "An `id` of `GET /api/reports/report-types`.")),
    responses((status = 200, body = ReportStyle), SignedIn, Missing, BadBody))]
async fn set_report_style(
    actor: Actor<Admin>,
    Path(word): Path<String>,
    Json(request): Json<SetReportStyle>,
) -> Result<Json<ReportStyle>, ApiError> {
    let report_type = known(&word)?;
    let options = checked(&request)?;
    let mut tx = actor.begin().await?;
    let style = report_styles::set(&mut tx, report_type.id, &options).await?;
    tx.commit().await?;
    Ok(Json(ReportStyle::of(report_type, Some(style))))
}

/// Let reports of a type look as they come
///
/// What was chosen for them is forgotten. Reports that are there already stay as they are.
#[utoipa::path(delete, path = "/api/reports/report-types/{report_type}/style", tag = "reports",
    params(("report_type" = ReportTypeWord, Path, description = "An `id` of `GET /api/reports/report-types`.")),
    responses((status = 204, description = "They do from now on."), SignedIn, Missing))]
async fn reset_report_style(actor: Actor<Admin>, Path(word): Path<String>) -> Result<StatusCode, ApiError> {
    let report_type = known(&word)?;
    let mut tx = actor.begin().await?;
    report_styles::reset(&mut tx, report_type.id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get_report_style, set_report_style, reset_report_style))
}
