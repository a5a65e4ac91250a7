//! Whether we are well, for people (`/health`) and for orchestrators (`/livez`, `/readyz`).

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{error::INTERNAL, openapi::Anyone, state::AppState};

/// How long a part of the system may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// How the system is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"status": "ok", "version": "0.1.0", "database": "connected", "redis": "connected",
                          "scheduler_jobs": 8, "uptime_seconds": 86432.15}))]
struct Health {
    status: HealthStatus,
    /// Of the process that answers.
    version: &'static str,
    database: Connection,
    redis: Connection,
    /// Things that happen by themselves: recurring jobs and sources that are crawled. Null while the database
    /// is away.
    #[schema(minimum = 0)]
    scheduler_jobs: Option<i64>,
    /// Since this process started.
    uptime_seconds: f64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum HealthStatus {
    Ok,
    /// Redis is away: work is accepted and waits.
    Degraded,
    /// The database is away.
    Unhealthy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Connection {
    Connected,
    Disconnected,
}

impl From<bool> for Connection {
    fn from(answers: bool) -> Self {
        if answers { Self::Connected } else { Self::Disconnected }
    }
}

/// Whether a probe succeeded.
#[derive(Debug, Serialize, ToSchema)]
struct Alive {
    /// Always `ok`: a probe that fails has another status code.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Health of the service
///
/// `ok`, `degraded` while Redis is away (requests are served, and accepted work waits), `unhealthy` while the
/// database is away. The status code is 200 whatever the health is, since the answer itself succeeded: load
/// balancers should ask `/readyz`.
#[utoipa::path(get, path = "/health", tag = "system", security(()), responses((status = 200, body = Health), Anyone))]
async fn health(State(app): State<AppState>) -> Json<Health> {
    let (schedules, redis) = tokio::join!(count_schedules(&app), redis_answers(&app));
    let database = Connection::from(schedules.is_some());
    let status = match (database, redis) {
        (Connection::Disconnected, _) => HealthStatus::Unhealthy,
        (_, false) => HealthStatus::Degraded,
        (_, true) => HealthStatus::Ok,
    };
    Json(Health {
        status,
        version: runtime::VERSION,
        database,
        redis: redis.into(),
        scheduler_jobs: schedules,
        uptime_seconds: uptime_seconds(&app),
    })
}

async fn count_schedules(app: &AppState) -> Option<i64> {
    timeout(PATIENCE, store::jobs::count_schedules(app.db.shared())).await.ok()?.ok()
}

/// Since this process started, to hundredths.
pub(super) fn uptime_seconds(app: &AppState) -> f64 {
    (app.started.elapsed().as_secs_f64() * 100.0).round() / 100.0
}

/// Whether files can be kept.
pub(super) async fn storage_answers(app: &AppState) -> bool {
    matches!(timeout(PATIENCE, app.artifacts.probe()).await, Ok(Ok(())))
}

pub(super) async fn redis_answers(app: &AppState) -> bool {
    let Some(mut connection) = app.redis.clone() else { return false };
    let ping = async { redis::cmd("PING").query_async::<String>(&mut connection).await };
    matches!(timeout(PATIENCE, ping).await, Ok(Ok(_)))
}

/// Whether the process lives
///
/// Answers as long as the process can. When it does not, restart it.
#[utoipa::path(get, path = "/livez", tag = "system", security(()), responses((status = 200, body = Alive)))]
async fn livez() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

/// Whether requests can be served
///
/// 503 while the database is away or the process is stopping: send requests elsewhere. Redis is not needed
/// for this.
#[utoipa::path(get, path = "/readyz", tag = "system", security(()), responses((status = 200, body = Alive), Anyone))]
async fn readyz(State(app): State<AppState>) -> Response {
    if !app.stopping.is_cancelled() && count_schedules(&app).await.is_some() {
        return Json(Alive { status: "ready" }).into_response();
    }
    let retry_after = [(header::RETRY_AFTER, HeaderValue::from_static("5"))];
    let body = Json(serde_json::json!({"detail": INTERNAL}));
    (StatusCode::SERVICE_UNAVAILABLE, retry_after, body).into_response()
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default().routes(routes!(health)).routes(routes!(livez)).routes(routes!(readyz))
}
