//! What somebody should know of and see to.

use chrono::{DateTime, Utc};
use domain::id::AlertId;
use serde::{Deserialize, Serialize};
use store::alerts::{self, Severity, Written};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    error::{ApiError, Problems},
    extract::{Actor, Analyst, Json, Listing, Path, ReadOnly, word, words},
    openapi::{BadBody, Invalid, Missing, SignedIn},
    reply::{Created, Page},
    state::AppState,
    words::AlertSeverityWord,
};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AlertFilter {
    /// Only alerts that somebody has acknowledged, or only those that nobody has.
    acknowledged: Option<bool>,
    /// Only alerts that matter so much, or as much as one of several.
    #[serde(default, deserialize_with = "words")]
    #[param(inline, value_type = Option<Vec<AlertSeverityWord>>)]
    severity: Vec<Severity>,
}

/// An alert.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "alert_type": "source_quarantined", "title": "What NVD sent was not believed",
    "message": "the feed holds 12 records where it held 310000", "severity": "high", "subject": "nvd", "occurrences": 2,
    "created_by": null, "created_at": "2026-11-20T06:00:00Z", "last_raised_at": "2026-11-21T06:00:00Z",
    "acknowledged": true, "acknowledged_by": "ada", "acknowledged_at": "2026-11-21T08:12:00Z"}))]
struct Alert {
    id: Uuid,
    /// `source_quarantined`, `job_poisoned`, or the word of whoever wrote it.
    alert_type: String,
    /// What it says, in a line.
    title: String,
    /// All that there is to say; may be empty.
    message: String,
    #[schema(value_type = AlertSeverityWord)]
    severity: String,
    /// What it is about: the slug of a source, the id of a job. Null: a person wrote it.
    subject: Option<String>,
    /// How often it happened before anybody acknowledged it.
    #[schema(minimum = 1)]
    occurrences: i32,
    /// Who wrote it; null: it was raised by what happened.
    created_by: Option<String>,
    /// When it was raised first.
    created_at: DateTime<Utc>,
    /// When it happened last.
    last_raised_at: DateTime<Utc>,
    /// Somebody has seen it, and sees to it.
    acknowledged: bool,
    /// The name of whoever acknowledged it first.
    acknowledged_by: Option<String>,
    /// Null: nobody has yet.
    acknowledged_at: Option<DateTime<Utc>>,
}

impl From<alerts::Alert> for Alert {
    fn from(alert: alerts::Alert) -> Self {
        Self {
            id: alert.id,
            alert_type: alert.alert_type,
            title: alert.title,
            message: alert.message,
            severity: alert.severity,
            subject: alert.subject,
            occurrences: alert.occurrences,
            created_by: alert.created_by,
            created_at: alert.created_at,
            last_raised_at: alert.last_raised_at,
            acknowledged: alert.acknowledged_at.is_some(),
            acknowledged_by: alert.acknowledged_by,
            acknowledged_at: alert.acknowledged_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"alert_type": "custom", "title": "Manual alert", "message": "Investigation needed", "severity": "high"}))]
struct CreateAlert {
    /// Lower-case letters, digits, `_`, `.` and `-`, a letter first.
    #[schema(min_length = 1, max_length = 64, pattern = "^[a-z][a-z0-9_.-]{0,63}$")]
    alert_type: String,
    /// What it says, in a line.
    #[schema(min_length = 1, max_length = 200)]
    title: String,
    /// All that there is to say; may be left out.
    #[serde(default)]
    #[schema(max_length = 4000)]
    message: String,
    /// `medium` if it is left out. In any case of the letters.
    #[serde(default, deserialize_with = "word")]
    #[schema(value_type = Option<AlertSeverityWord>)]
    severity: Option<Severity>,
}

/// List alerts
///
/// The newest first.
#[utoipa::path(get, path = "/api/alerts", tag = "alerts", params(Listing<AlertFilter>),
    responses((status = 200, body = Page<Alert>), SignedIn, Invalid))]
async fn list_alerts(
    actor: Actor<ReadOnly>,
    Listing { page, filter, .. }: Listing<AlertFilter>,
) -> Result<Page<Alert>, ApiError> {
    let filter = alerts::Filter { acknowledged: filter.acknowledged, severities: filter.severity };
    let mut tx = actor.begin().await?;
    Ok(Page::of(alerts::list(&mut tx, &filter, page).await?))
}

/// Write an alert
///
/// For what somebody should know of that the product does not see by itself. It is in the list like those that were raised.
#[utoipa::path(post, path = "/api/alerts", tag = "alerts", request_body = CreateAlert,
    responses((status = 201, body = Alert), SignedIn, BadBody))]
async fn create_alert(
    actor: Actor<Analyst>,
    Json(request): Json<CreateAlert>,
) -> Result<Created<Alert>, ApiError> {
    check(&request)?;
    let written = Written {
        alert_type: &request.alert_type,
        severity: request.severity.unwrap_or(Severity::Medium),
        title: request.title.trim(),
        message: &request.message,
        by: actor.id(),
    };
    let mut tx = actor.begin().await?;
    let alert = alerts::insert(&mut tx, &written).await?;
    tx.commit().await?;
    Ok(Created(alert.into()))
}

fn check(request: &CreateAlert) -> Result<(), ApiError> {
    let mut problems = Problems::default();
    let word = &request.alert_type;
    let is_a_word = word.len() <= 64
        && word.starts_with(|first: char| first.is_ascii_lowercase())
        && word
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte));
    problems.require(is_a_word, "alert_type", || {
        format!("`{word}` must be 1 to 64 lower-case letters, digits, `_`, `.` or `-` that begin with a letter, as in `custom`")
    });
    let title = request.title.trim().chars().count();
    problems.require((1..=200).contains(&title), "title", || {
        format!("the title has {title} characters, it must have 1 to 200: put more into the message")
    });
    let message = request.message.chars().count();
    problems.require(message <= 4000, "message", || {
        format!("the message has {message} characters, at most 4000 are kept")
    });
    problems.finish()
}

/// Acknowledge an alert
///
/// Records who and when. Acknowledging it again changes nothing.
#[utoipa::path(patch, path = "/api/alerts/{alert_id}/acknowledge", tag = "alerts",
    params(("alert_id" = Uuid, Path, description = "The alert's id.")),
    responses((status = 200, body = Alert), SignedIn, Missing))]
async fn acknowledge_alert(actor: Actor<Analyst>, Path(id): Path<AlertId>) -> Result<Json<Alert>, ApiError> {
    let by = actor.id();
    let mut tx = actor.begin().await?;
    let alert = alerts::acknowledge(&mut tx, id, by).await?;
    tx.commit().await?;
    Ok(Json(alert.into()))
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default().routes(routes!(list_alerts, create_alert)).routes(routes!(acknowledge_alert))
}
