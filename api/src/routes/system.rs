//! What an administrator starts by hand, and how much is logged.

use axum::extract::State;
use queue::{
    Job, enqueue,
    jobs::{Correlate, IngestInventory},
};
use runtime::telemetry::Level;
use serde::{Deserialize, Serialize};
use store::{inventory, log_level};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    error::ApiError,
    extract::{Actor, Admin, InstanceAdmin, Json},
    idempotency::{Begun, IdempotencyKey},
    openapi::{Conflicting, Invalid, WithRole},
    reply::{Accepted, JobAccepted},
    state::AppState,
};

/// What was started.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"job_id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "status": "queued", "jobs": 3,
                          "kind": "ingest_inventory"}))]
struct InventoryForced {
    #[serde(flatten)]
    job: JobAccepted,
    /// How many jobs there are; `job_id` is the first.
    #[schema(minimum = 1)]
    jobs: usize,
    /// `ingest_inventory`, or `correlate` when every inventory had been read.
    kind: &'static str,
}

/// Compare everything again
///
/// Compares every package of every asset with all that is known, and opens, confirms or resolves findings.
#[utoipa::path(post, path = "/api/system/force-correlate", tag = "system", params(IdempotencyKey),
    responses((status = 202, body = JobAccepted,
               headers(("Location" = String, description = "Where to ask about the job."))),
              WithRole, Conflicting, Invalid))]
async fn force_correlate(
    mut actor: Actor<Admin>,
    key: IdempotencyKey,
) -> Result<Accepted<JobAccepted>, ApiError> {
    let mut work = match key.begin(actor.begin().await?, &()).await? {
        Begun::Before(answer) => return Ok(Accepted::Before(answer)),
        Begun::Now(work) => work,
    };
    let correlate = Correlate { tenant_id: actor.tenant, asset_id: None };
    let job = enqueue(&mut work, actor.origin(), &correlate).await?;
    work.accept(job.id, JobAccepted::new(job.id)).await
}

/// Read all inventories now
///
/// Starts one job for each inventory that was handed in and is not read yet, those whose earlier job failed
/// among them. When there is none, all inventories are read, and what is left of the task is done: every
/// asset is compared again, by one job of the kind `correlate`.
#[utoipa::path(post, path = "/api/system/force-inventory", tag = "system", params(IdempotencyKey),
    responses((status = 202, body = InventoryForced,
               headers(("Location" = String, description = "Where to ask about the first job."))),
              WithRole, Conflicting, Invalid))]
async fn force_inventory(
    mut actor: Actor<Admin>,
    key: IdempotencyKey,
) -> Result<Accepted<InventoryForced>, ApiError> {
    let mut work = match key.begin(actor.begin().await?, &()).await? {
        Begun::Before(answer) => return Ok(Accepted::Before(answer)),
        Begun::Now(work) => work,
    };
    let tenant_id = actor.tenant;
    let mut jobs = Vec::new();
    for submission_id in inventory::unread(&mut work).await? {
        let ingest = IngestInventory { tenant_id, submission_id };
        jobs.push(enqueue(&mut work, actor.origin(), &ingest).await?.id);
    }
    let (first, jobs, kind) = match jobs.first() {
        Some(first) => (*first, jobs.len(), IngestInventory::KIND),
        None => {
            let correlate = Correlate { tenant_id, asset_id: None };
            (enqueue(&mut work, actor.origin(), &correlate).await?.id, 1, Correlate::KIND)
        }
    };
    work.accept(first, InventoryForced { job: JobAccepted::new(first), jobs, kind }).await
}

/// How much the processes say in their logs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"level": "debug"}))]
struct LogLevel {
    level: LogLevelWord,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum LogLevelWord {
    Debug,
    Info,
    Warn,
    Error,
}

impl From<Level> for LogLevelWord {
    fn from(level: Level) -> Self {
        match level {
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

impl From<LogLevelWord> for Level {
    fn from(word: LogLevelWord) -> Self {
        match word {
            LogLevelWord::Debug => Self::Debug,
            LogLevelWord::Info => Self::Info,
            LogLevelWord::Warn => Self::Warn,
            LogLevelWord::Error => Self::Error,
        }
    }
}

/// How much is logged
///
/// What was chosen last, or what the API's `LOG_LEVEL` says if nothing ever was.
#[utoipa::path(get, path = "/api/system/log-level", tag = "system",
    responses((status = 200, body = LogLevel), WithRole))]
async fn current_log_level(State(app): State<AppState>, mut actor: Actor<Admin>) -> Result<Json<LogLevel>, ApiError> {
    let mut tx = actor.begin().await?;
    let chosen = log_level::get(&mut tx).await?;
    let level = chosen.unwrap_or_else(|| Level::of_setting(&app.config.log_level));
    Ok(Json(LogLevel { level: level.into() }))
}

/// Log more, or less
///
/// All processes, of all parts of the installation, follow within five seconds, and those that start later do too. `debug` is
/// about the product's own work; libraries stay at `info`. Secrets are logged at no level.
#[utoipa::path(put, path = "/api/system/log-level", tag = "system", request_body = LogLevel,
    responses((status = 200, body = LogLevel), WithRole, Invalid))]
async fn choose_log_level(
    mut actor: Actor<InstanceAdmin>,
    Json(wanted): Json<LogLevel>,
) -> Result<Json<LogLevel>, ApiError> {
    let mut work = actor.begin().await?;
    log_level::set(&mut work, wanted.level.into()).await?;
    work.commit().await?;
    Ok(Json(wanted))
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(force_correlate))
        .routes(routes!(force_inventory))
        .routes(routes!(current_log_level, choose_log_level))
}
