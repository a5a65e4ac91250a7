//! How the installation is, what an administrator starts by hand, how much is logged, and maintenance.

use axum::extract::{Request, State};
use chrono::{DateTime, Utc};
use domain::inventory::Integration;
use queue::{
    batches::enqueue_batch,
    enqueue, enqueue_many,
    fleet::{self, WorkerView},
    jobs::{Correlate, IngestInventory, PullInventory},
    queues::{self, QueueView},
};
use runtime::telemetry::Level;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    audit, integrations, inventory, log_level,
    processes::{self, ProcessView},
    system,
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::health::{self, Connection, HealthStatus};
use crate::{
    error::ApiError,
    extract::{Actor, Admin, InstanceAdmin, Json, ReadOnly, body, parse},
    idempotency::{Begun, IdempotencyKey},
    openapi::{BadBody, Conflicting, Invalid, SignedIn},
    reply::{Accepted, JobAccepted},
    state::AppState,
};

/// What was started.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"job_id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "status": "queued",
                          "batch_id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "integrations": ["wazuh", "github"],
                          "submissions": 0}))]
struct InventoryForced {
    #[serde(flatten)]
    job: JobAccepted,
    /// The progress of all of it together: `GET /api/batches/{batch_id}`.
    batch_id: Uuid,
    /// The integrations that are pulled.
    #[schema(example = json!(["wazuh", "github"]))]
    integrations: Vec<&'static str>,
    /// Inventories that were handed in, and had not been read.
    #[schema(minimum = 0)]
    submissions: usize,
}

/// Compare everything again
///
/// Compares every package of every asset with all that is known, and opens, confirms or resolves findings.
#[utoipa::path(post, path = "/api/system/force-correlate", tag = "system", params(IdempotencyKey),
    responses((status = 202, body = JobAccepted,
               headers(("Location" = String, description = "Where to ask about the job."))),
              SignedIn, Conflicting, Invalid))]
async fn force_correlate(
    actor: Actor<Admin>,
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

/// Pull all inventories now
///
/// Asks every integration that is set up what is installed, as one batch; one that is being pulled, or waits for it, is not pulled
/// twice. Inventories that were handed in and could not be read yet are read again in the same batch. With no integration set up and
/// nothing to read there is nothing to do, and the answer is 409.
#[utoipa::path(post, path = "/api/system/force-inventory", tag = "system", params(IdempotencyKey),
    responses((status = 202, body = InventoryForced,
               headers(("Location" = String, description = "Where to ask about the batch's job."))),
              SignedIn, Conflicting, Invalid))]
async fn force_inventory(
    actor: Actor<Admin>,
    key: IdempotencyKey,
) -> Result<Accepted<InventoryForced>, ApiError> {
    let mut work = match key.begin(actor.begin().await?, &()).await? {
        Begun::Before(answer) => return Ok(Accepted::Before(answer)),
        Begun::Now(work) => work,
    };
    let tenant_id = actor.tenant;
    let integrations = integrations::pulled(&mut work).await?;
    let pulls: Vec<_> =
        integrations.iter().map(|&integration| PullInventory { tenant_id, integration }).collect();
    let unread = inventory::unread(&mut work).await?.into_iter();
    let unread: Vec<_> = unread.map(|submission_id| IngestInventory { tenant_id, submission_id }).collect();
    if pulls.is_empty() && unread.is_empty() {
        return Err(ApiError::Conflict(
            "No integration is set up: give Wazuh an address and a key, or GitHub an organization and a credential, at \
             /api/config/integrations"
                .into(),
        ));
    }
    let mut jobs = enqueue_many(&mut work, actor.origin(), &pulls).await?;
    jobs.extend(enqueue_many(&mut work, actor.origin(), &unread).await?);
    let jobs: Vec<_> = jobs.into_iter().map(|job| job.id).collect();
    let batch = enqueue_batch(&mut work, actor.origin(), "Pull all inventories", &jobs).await?.id;
    let integrations: Vec<_> = integrations.into_iter().map(Integration::as_str).collect();
    let note = audit::Note {
        action: "inventory.pull",
        target_type: "job",
        target_id: Some(batch.to_string()),
        detail: json!({ "integrations": &integrations, "submissions": unread.len() }),
    };
    audit::note(&mut work, Some(tenant_id), actor.by(), &note).await?;
    let accepted = InventoryForced {
        job: JobAccepted::new(batch),
        batch_id: batch.0,
        integrations,
        submissions: unread.len(),
    };
    work.accept(batch, accepted).await
}

/// How much the processes say in their logs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"level": "debug"}))]
struct LogLevel {
    /// What matters less is not logged.
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
    responses((status = 200, body = LogLevel), SignedIn))]
async fn current_log_level(
    State(app): State<AppState>,
    actor: Actor<Admin>,
) -> Result<Json<LogLevel>, ApiError> {
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
    responses((status = 200, body = LogLevel), SignedIn, BadBody))]
async fn choose_log_level(
    actor: Actor<InstanceAdmin>,
    Json(wanted): Json<LogLevel>,
) -> Result<Json<LogLevel>, ApiError> {
    let mut work = actor.begin().await?;
    log_level::set(&mut work, wanted.level.into()).await?;
    work.commit().await?;
    Ok(Json(wanted))
}

/// How the installation is and what it consists of.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "status": "ok", "version": "0.1.0", "maintenance_mode": false, "maintenance_changed_at": "2026-11-20T06:00:00Z",
    "uptime_seconds": 86432.15, "scheduler_jobs": 8, "database": "connected", "redis": "connected", "storage": "connected",
    "time_zone_version": "2026b",
    "database_details": {"version": "17.2", "size_bytes": 8_123_456_789_i64, "connections": 14, "max_connections": 100},
    "nodes": [{"name": "worker-1/4711", "role": "worker", "host": "worker-1", "version": "0.1.0", "mode": "working",
               "started_at": "2026-11-20T06:00:00Z", "heartbeat_at": "2026-11-21T06:00:00Z", "alive": true}],
    "queues": [{"queue": "ingest", "paused": false, "due": 3, "later": 11, "dispatched": 0, "running": 2, "slots": 4,
                "oldest_due": "2026-11-21T05:59:58Z"}]}))]
struct SystemStatus {
    /// `degraded` when Redis or the storage is away.
    status: HealthStatus,
    /// Of the process that answers.
    version: &'static str,
    /// Nothing can be changed for now.
    maintenance_mode: bool,
    /// Since when that is so.
    maintenance_changed_at: DateTime<Utc>,
    /// Since the process that answers started.
    uptime_seconds: f64,
    /// Things that happen by themselves: recurring jobs and sources that are crawled.
    #[schema(minimum = 0)]
    scheduler_jobs: i64,
    database: Connection,
    redis: Connection,
    /// Whether a file could be written, read and removed where reports are kept.
    storage: Connection,
    /// The release of the IANA time zone database that schedules go by.
    time_zone_version: &'static str,
    database_details: DatabaseDetails,
    /// The processes of the last hour: workers, those heard of last first, then APIs and schedulers, those that started last first. Schedulers
    /// are peers: any of them does whatever is due.
    nodes: Vec<Node>,
    /// What waits in each queue, over all organizations.
    queues: Vec<QueueDepth>,
}

/// What Postgres says of itself.
#[derive(Debug, Serialize, ToSchema)]
struct DatabaseDetails {
    /// Of the server.
    version: String,
    /// All of the database on the disk.
    #[schema(minimum = 0)]
    size_bytes: i64,
    /// Of all programs to this database.
    #[schema(minimum = 0)]
    connections: i64,
    /// So many the server lets in.
    #[schema(minimum = 1)]
    max_connections: i32,
}

/// A process of the installation.
#[derive(Debug, Serialize, ToSchema)]
struct Node {
    /// New at every start.
    name: String,
    /// `worker`, `api` or `scheduler`.
    role: String,
    host: String,
    version: String,
    /// `working`; of a worker also `quiet` or `draining`.
    mode: String,
    started_at: DateTime<Utc>,
    /// Workers speak every two seconds, the others every ten.
    heartbeat_at: DateTime<Utc>,
    /// False when it has been silent for half a minute.
    alive: bool,
}

/// How full a queue is.
#[derive(Debug, Serialize, ToSchema)]
struct QueueDepth {
    queue: String,
    /// Nothing of it is begun.
    paused: bool,
    /// Jobs that could run now if there were room.
    #[schema(minimum = 0)]
    due: i64,
    /// Jobs that wait for their time.
    #[schema(minimum = 0)]
    later: i64,
    /// Sent to the workers, not begun.
    #[schema(minimum = 0)]
    dispatched: i64,
    /// Jobs that workers have in hand.
    #[schema(minimum = 0)]
    running: i64,
    /// Jobs that live workers could run at once.
    #[schema(minimum = 0)]
    slots: i64,
    /// Since when the oldest due job could have run.
    oldest_due: Option<DateTime<Utc>>,
}

impl From<WorkerView> for Node {
    fn from(worker: WorkerView) -> Self {
        Self {
            name: worker.name,
            role: "worker".into(),
            host: worker.host,
            version: worker.version,
            mode: worker.mode,
            started_at: worker.started_at,
            heartbeat_at: worker.heartbeat_at,
            alive: worker.is_alive,
        }
    }
}

impl From<ProcessView> for Node {
    fn from(process: ProcessView) -> Self {
        Self {
            name: process.name,
            role: process.part,
            host: process.host,
            version: process.version,
            mode: "working".into(),
            started_at: process.started_at,
            heartbeat_at: process.heartbeat_at,
            alive: process.is_alive,
        }
    }
}

impl From<QueueView> for QueueDepth {
    fn from(queue: QueueView) -> Self {
        Self {
            paused: queue.paused_at.is_some(),
            queue: queue.queue,
            due: queue.due,
            later: queue.later,
            dispatched: queue.dispatched,
            running: queue.running,
            slots: queue.slots,
            oldest_due: queue.oldest_due,
        }
    }
}

/// Status of the installation
///
/// More than `/health` says, for whoever is signed in. While the database is away nobody can be, and the answer is 503.
#[utoipa::path(get, path = "/api/system/status", tag = "system", responses((status = 200, body = SystemStatus), SignedIn))]
async fn system_status(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
) -> Result<Json<SystemStatus>, ApiError> {
    let (redis, storage) = tokio::join!(health::redis_answers(&app), health::storage_answers(&app));
    let mut tx = actor.begin().await?;
    let maintenance = system::maintenance(&mut *tx).await?;
    let database = system::database(&mut *tx).await?;
    let workers = fleet::list(&mut *tx).await?.into_iter().map(Node::from);
    let others = processes::list(&mut *tx).await?.into_iter().map(Node::from);
    let is_well = redis && storage;
    Ok(Json(SystemStatus {
        status: if is_well { HealthStatus::Ok } else { HealthStatus::Degraded },
        version: runtime::VERSION,
        maintenance_mode: maintenance.enabled,
        maintenance_changed_at: maintenance.changed_at,
        uptime_seconds: health::uptime_seconds(&app),
        scheduler_jobs: store::jobs::count_schedules(&mut *tx).await?,
        database: true.into(),
        redis: redis.into(),
        storage: storage.into(),
        time_zone_version: queue::schedule::database_version(),
        database_details: DatabaseDetails {
            version: database.version,
            size_bytes: database.size_bytes,
            connections: database.connections,
            max_connections: database.max_connections,
        },
        nodes: workers.chain(others).collect(),
        queues: queues::list(&mut *tx).await?.into_iter().map(QueueDepth::from).collect(),
    }))
}

/// Whether maintenance is to begin or to end.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"enabled": true}))]
struct UpdateMaintenance {
    /// Left out: whichever it is not.
    enabled: Option<bool>,
}

/// Whether the installation is being maintained.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"maintenance_mode": true, "changed_at": "2026-11-21T06:00:00Z"}))]
struct MaintenanceMode {
    /// Nothing can be changed for now.
    maintenance_mode: bool,
    /// When it was begun or ended last.
    changed_at: DateTime<Utc>,
}

/// Begin or end maintenance
///
/// While it lasts, every request that would change something is answered with 503 and `Retry-After`, except signing in and out and this
/// one. Workers finish what runs and begin nothing; when it ends they all work again, those that were quiet before too. Without a body
/// it switches.
#[utoipa::path(patch, path = "/api/system/maintenance", tag = "system", 
    request_body(content = UpdateMaintenance, description = "Which of the two; without a body, whichever it is not."),
    responses((status = 200, body = MaintenanceMode), SignedIn, BadBody))]
async fn set_maintenance(
    State(app): State<AppState>,
    actor: Actor<InstanceAdmin>,
    request: Request,
) -> Result<Json<MaintenanceMode>, ApiError> {
    let (head, body) = request.into_parts();
    let bytes = body::read(&head.headers, body, 1024).await?;
    let request = if bytes.is_empty() { UpdateMaintenance::default() } else { parse(&bytes)? };
    let mut tx = actor.begin().await?;
    let now = system::set_maintenance(&mut tx, request.enabled).await?;
    tx.commit().await?;
    app.maintenance.forget();
    Ok(Json(MaintenanceMode { maintenance_mode: now.enabled, changed_at: now.changed_at }))
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(force_correlate))
        .routes(routes!(force_inventory))
        .routes(routes!(current_log_level, choose_log_level))
        .routes(routes!(system_status))
        .routes(routes!(set_maintenance))
}
