//! Schedules: what comes round by itself, when, and what became of the last times.

mod check;

use chrono::{DateTime, Utc};
use domain::id::ScheduleId;
use queue::{
    job::Recurs,
    jobs::NamedError,
    schedule::{Occurrence, Shift, Timetable, Zone, catch_up::IN_TIME, database_version, firing, next_runs},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::schedules::{self, CatchUp, Outcome, Overlap};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use self::check::{checked, leave_room, may_change, name_taken, recurring, timing};
use crate::{
    error::{ApiError, Problems},
    extract::{Actor, Admin, Json, Listing, Path, ReadOnly},
    idempotency::{Begun, IdempotencyKey},
    openapi::{BadBody, Conflicting, Invalid, Missing, SignedIn},
    reply::{Accepted, Created, Deleted, JobAccepted, Page},
    state::AppState,
    words::{CatchUpWord, OutcomeWord, OverlapWord, ScheduleKindWord, ShiftWord},
};

/// Schedules of its own that an organization may have turned on.
const MOST_ENABLED: i64 = 20;
/// How many of the next times are shown, and how many of the last.
const NEXT_RUNS: usize = 5;
const LAST_FIRINGS: i64 = 20;
/// Missed times of the last day are made up for unless something else is asked for, and never of more than a week; minutes.
const DAY: i32 = 24 * 60;
const WEEK: i32 = 7 * DAY;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "correlation before work", "kind": "correlate", "cron": "30 6 * * MON-FRI",
                          "time_zone": "Europe/Berlin"}))]
struct CreateSchedule {
    /// Not the name of another schedule of the organization.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// What is to be done. Work for the whole installation needs an administrator of the installation.
    #[schema(value_type = ScheduleKindWord)]
    kind: String,
    /// What the kind wants to know. The organization's id is added where it is wanted.
    #[serde(default)]
    #[schema(value_type = Object)]
    payload: Map<String, Value>,
    /// Minute, hour, day of month, month and day of week, as in crontab(5); or `@hourly`, `@daily`, `@weekly`, `@monthly`,
    /// `@yearly`.
    #[schema(min_length = 1, max_length = 256, example = "30 6 * * MON-FRI")]
    cron: String,
    /// Whose wall clock that is: a name of the IANA database.
    #[serde(default = "utc")]
    #[schema(min_length = 1, max_length = 64, default = "UTC", example = "Europe/Berlin")]
    time_zone: String,
    /// One that is turned off never comes by itself, and can be run by hand.
    #[serde(default = "enabled")]
    #[schema(default = true)]
    enabled: bool,
    /// What is done about times at which no scheduler ran. `all` needs the overlap `allow`.
    #[serde(default = "catch_up")]
    #[schema(value_type = CatchUpWord, default = "last")]
    catch_up: CatchUp,
    /// How far back times are made up for.
    #[serde(default = "window")]
    #[schema(minimum = 1, maximum = 10080, default = 1440)]
    catch_up_window_minutes: i32,
    /// What is done when it comes again before the job of the last time is finished. With `allow` every time has a job of its own; those of
    /// one schedule are done one after another all the same.
    #[serde(default = "overlap")]
    #[schema(value_type = OverlapWord, default = "skip")]
    overlap: Overlap,
}

fn enabled() -> bool {
    true
}

fn catch_up() -> CatchUp {
    CatchUp::Last
}

fn window() -> i32 {
    DAY
}

fn overlap() -> Overlap {
    Overlap::Skip
}

fn utc() -> String {
    "UTC".into()
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"enabled": false}))]
struct UpdateSchedule {
    /// Not the name of another schedule of the organization.
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    /// All that the kind wants to know.
    #[schema(value_type = Option<Object>)]
    payload: Option<Map<String, Value>>,
    /// Five fields as in crontab(5), or `@daily` and its like.
    #[schema(min_length = 1, max_length = 256)]
    cron: Option<String>,
    /// A name of the IANA database.
    #[schema(min_length = 1, max_length = 64)]
    time_zone: Option<String>,
    /// Times that pass while it is turned off are not made up for.
    enabled: Option<bool>,
    /// What is done about times at which no scheduler ran. `all` needs the overlap `allow`.
    #[schema(value_type = Option<CatchUpWord>)]
    catch_up: Option<CatchUp>,
    /// How far back times are made up for.
    #[schema(minimum = 1, maximum = 10080)]
    catch_up_window_minutes: Option<i32>,
    /// What is done when it comes again before the job of the last time is finished.
    #[schema(value_type = Option<OverlapWord>)]
    overlap: Option<Overlap>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"cron": "30 2 * * *", "time_zone": "America/New_York"}))]
struct PreviewSchedule {
    /// As in a schedule.
    #[schema(min_length = 1, max_length = 256, example = "30 2 * * *")]
    cron: String,
    /// Whose wall clock that is: a name of the IANA database.
    #[serde(default = "utc")]
    #[schema(min_length = 1, max_length = 64, default = "UTC", example = "America/New_York")]
    time_zone: String,
    /// The times after this one; now, when it is missing.
    after: Option<DateTime<Utc>>,
}

/// When an expression comes next.
#[derive(Debug, Serialize, ToSchema)]
struct Preview {
    /// As it was sent.
    #[schema(example = "30 2 * * *")]
    cron: String,
    /// As the database writes it.
    #[schema(example = "America/New_York")]
    time_zone: String,
    /// The release of the IANA time zone database that says so.
    #[schema(example = "2026a")]
    time_zone_version: &'static str,
    /// The next five times.
    next_runs: Vec<Run>,
}

/// A time at which a schedule comes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"at": "2026-03-08T07:00:00Z", "local": "2026-03-08T03:00:00-04:00", "shift": "after_gap"}))]
struct Run {
    /// The moment, in UTC.
    at: DateTime<Utc>,
    /// The same time on the wall clock of the schedule's zone.
    #[schema(format = DateTime)]
    local: String,
    /// What a change of the clock made of it; null on all other days.
    #[schema(value_type = Option<ShiftWord>)]
    shift: Option<&'static str>,
}

impl Run {
    fn of(occurrence: Occurrence, zone: &Zone) -> Self {
        let shift = occurrence.shift.map(Shift::as_str);
        Self { at: occurrence.at, local: zone.local(occurrence.at), shift }
    }
}

/// Something that comes round by itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "name": "correlation before work", "kind": "correlate", "payload": {},
    "is_shared": false, "is_built_in": false, "source_id": null, "integration": null, "cron": "30 6 * * MON-FRI",
    "interval_minutes": null, "time_zone": "Europe/Berlin", "time_zone_version": "2026a", "enabled": true, "disabled_reason": null,
    "catch_up": "last", "catch_up_window_minutes": 1440, "overlap": "skip",
    "next_runs": [{"at": "2026-11-23T05:30:00Z", "local": "2026-11-23T06:30:00+01:00", "shift": null}],
    "last_job_id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7d", "created_at": "2026-11-20T10:00:00Z"}))]
struct Schedule {
    id: Uuid,
    name: String,
    /// What is done.
    #[schema(value_type = ScheduleKindWord)]
    kind: String,
    /// What the kind wants to know.
    #[schema(value_type = Object)]
    payload: Value,
    /// True for work of the installation, which all organizations share.
    is_shared: bool,
    /// It came with the program: it may be changed and turned off, not deleted.
    is_built_in: bool,
    /// The source whose interval this is; its settings decide.
    source_id: Option<Uuid>,
    /// The integration whose pulls these are; its settings decide how often.
    #[schema(example = "wazuh")]
    integration: Option<String>,
    /// Null: it comes at an interval.
    cron: Option<String>,
    /// Null: it comes by a cron expression.
    interval_minutes: Option<i32>,
    /// Whose wall clock `cron` is about: a name of the IANA database.
    #[schema(example = "Europe/Berlin")]
    time_zone: String,
    /// The release of the IANA time zone database in this server.
    #[schema(example = "2026a")]
    time_zone_version: &'static str,
    /// One that is turned off never comes by itself.
    enabled: bool,
    /// Why the scheduler turned it off.
    disabled_reason: Option<String>,
    /// What is done about times at which no scheduler ran.
    #[schema(value_type = CatchUpWord)]
    catch_up: CatchUp,
    /// How far back times are made up for.
    catch_up_window_minutes: i32,
    /// What is done when it comes again before the job of the last time is finished.
    #[schema(value_type = OverlapWord)]
    overlap: Overlap,
    /// The next five times; none while it is turned off.
    next_runs: Vec<Run>,
    /// The job of the last time; null: it has not come yet.
    last_job_id: Option<Uuid>,
    created_at: DateTime<Utc>,
}

impl Schedule {
    /// The schedule as things stand at `now`.
    fn at(schedule: schedules::Schedule, now: DateTime<Utc>) -> Self {
        // One that the scheduler cannot use either has no next time, and says why in `disabled_reason`.
        let runs = match (next_runs(&schedule, now, NEXT_RUNS), schedule.time_zone.parse::<Zone>()) {
            (Ok(runs), Ok(zone)) => runs.into_iter().map(|run| Run::of(run, &zone)).collect(),
            _ => Vec::new(),
        };
        Self {
            next_runs: runs,
            id: schedule.id,
            name: schedule.name,
            kind: schedule.kind,
            payload: schedule.payload,
            is_shared: schedule.tenant_id.is_none(),
            is_built_in: schedule.is_built_in,
            source_id: schedule.source_id,
            integration: schedule.integration,
            cron: schedule.cron,
            interval_minutes: schedule.interval_minutes,
            time_zone: schedule.time_zone,
            time_zone_version: database_version(),
            enabled: schedule.enabled,
            disabled_reason: schedule.disabled_reason,
            catch_up: schedule.catch_up,
            catch_up_window_minutes: schedule.catch_up_window_minutes,
            overlap: schedule.overlap,
            last_job_id: schedule.last_job_id,
            created_at: schedule.created_at,
        }
    }
}

/// A schedule, and what became of the last times that it came.
#[derive(Debug, Serialize, ToSchema)]
struct ScheduleDetail {
    #[serde(flatten)]
    schedule: Schedule,
    /// The last twenty, the newest first.
    firings: Vec<Firing>,
}

/// One time that a schedule came.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "nominal_at": "2026-11-20T05:30:00Z", "fired_at": "2026-11-20T05:30:00Z", "outcome": "enqueued", "is_late": false,
    "missed_until": null, "job_id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7d", "job_state": "completed", "is_by_hand": false}))]
struct Firing {
    /// The time it was for; of a run that somebody asked for, when they did.
    nominal_at: DateTime<Utc>,
    /// When a scheduler saw to it.
    fired_at: DateTime<Utc>,
    #[schema(value_type = OutcomeWord)]
    outcome: Outcome,
    /// It was made up for later than a minute after its time.
    is_late: bool,
    /// Of a `missed` one: until when none was made up for.
    missed_until: Option<DateTime<Utc>>,
    /// The job that was made or joined; null: none was.
    job_id: Option<Uuid>,
    /// Where the job stands; null when it has been deleted since.
    #[schema(example = "completed")]
    job_state: Option<String>,
    /// Somebody asked for it.
    is_by_hand: bool,
}

impl From<schedules::Firing> for Firing {
    fn from(firing: schedules::Firing) -> Self {
        Self {
            nominal_at: firing.nominal_at,
            fired_at: firing.fired_at,
            outcome: firing.outcome,
            is_late: firing.outcome != Outcome::Missed && firing.fired_at - firing.nominal_at > IN_TIME,
            missed_until: firing.missed_until,
            job_id: firing.job_id,
            job_state: firing.job_state,
            is_by_hand: firing.requested_by.is_some(),
        }
    }
}

/// List schedules
///
/// The organization's own by name, then those that all share: crawls, housekeeping.
#[utoipa::path(get, path = "/api/schedules", tag = "schedules", params(Listing),
    responses((status = 200, body = Page<Schedule>), SignedIn, Invalid))]
async fn list_schedules(
    actor: Actor<ReadOnly>,
    Listing { page, .. }: Listing,
) -> Result<Page<Schedule>, ApiError> {
    let mut tx = actor.begin().await?;
    let now = schedules::database_time(&mut tx).await?;
    let schedules = schedules::list(&mut tx, page).await?;
    Ok(Page::of(schedules.map(|schedule| Schedule::at(schedule, now))))
}

/// Make a schedule
///
/// An organization may have twenty of its own turned on.
#[utoipa::path(post, path = "/api/schedules", tag = "schedules", request_body = CreateSchedule,
    responses((status = 201, body = Schedule), SignedIn, Conflicting, BadBody))]
async fn create_schedule(
    actor: Actor<Admin>,
    Json(request): Json<CreateSchedule>,
) -> Result<Created<Schedule>, ApiError> {
    let kind = recurring(&request.kind)?;
    let is_shared = kind.recurs == Recurs::ForInstallation;
    may_change(is_shared, &actor.user)?;
    let mut tx = actor.begin().await?;
    let now = schedules::database_time(&mut tx).await?;
    let settings = schedules::Settings {
        name: request.name,
        payload: Value::Object(request.payload),
        kind_version: kind.version,
        cron: Some(request.cron),
        time_zone: request.time_zone,
        interval_minutes: None,
        enabled: request.enabled,
        catch_up: request.catch_up,
        catch_up_window_minutes: request.catch_up_window_minutes,
        overlap: request.overlap,
        next_run_at: None,
        time_zone_version: database_version(),
    };
    let settings = checked(settings, kind, tx.tenant(), now)?;
    if settings.enabled && !is_shared {
        leave_room(&mut tx).await?;
    }
    let id = schedules::insert(&mut tx, is_shared, kind.name, &settings, actor.id())
        .await
        .map_err(|error| name_taken(error, &settings.name))?;
    let schedule = schedules::find(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Created(Schedule::at(schedule, now)))
}

/// Get a schedule
///
/// With the times that it comes next, and what became of the last twenty.
#[utoipa::path(get, path = "/api/schedules/{schedule_id}", tag = "schedules",
    params(("schedule_id" = Uuid, Path, description = "The schedule's id.")),
    responses((status = 200, body = ScheduleDetail), SignedIn, Missing))]
async fn get_schedule(
    actor: Actor<ReadOnly>,
    Path(id): Path<ScheduleId>,
) -> Result<Json<ScheduleDetail>, ApiError> {
    let mut tx = actor.begin().await?;
    let now = schedules::database_time(&mut tx).await?;
    let schedule = schedules::find(&mut tx, id).await?;
    let firings = schedules::firings(&mut tx, id, LAST_FIRINGS).await?;
    let firings = firings.into_iter().map(Firing::from).collect();
    Ok(Json(ScheduleDetail { schedule: Schedule::at(schedule, now), firings }))
}

/// Change a schedule
///
/// What is not named stays as it is. What all organizations share needs an administrator of the installation; a crawl follows
/// the settings of its source, and pulls those of their integration.
#[utoipa::path(patch, path = "/api/schedules/{schedule_id}", tag = "schedules", request_body = UpdateSchedule,
    params(("schedule_id" = Uuid, Path, description = "The schedule's id.")),
    responses((status = 200, body = Schedule), SignedIn, Missing, Conflicting, BadBody))]
async fn update_schedule(
    actor: Actor<Admin>,
    Path(id): Path<ScheduleId>,
    Json(request): Json<UpdateSchedule>,
) -> Result<Json<Schedule>, ApiError> {
    let mut tx = actor.begin().await?;
    let before = schedules::lock(&mut tx, id).await?;
    may_change(before.tenant_id.is_none(), &actor.user)?;
    if let Some(source) = before.source_id {
        return Err(ApiError::Conflict(format!(
            "This crawl follows its source: change enabled or crawl_interval_minutes at /api/config/vuln-sources/{source}"
        )));
    }
    if let Some(integration) = &before.integration
        && (request.name.is_some()
            || request.payload.is_some()
            || request.cron.is_some()
            || request.time_zone.is_some())
    {
        return Err(ApiError::Conflict(format!(
            "These pulls follow their integration, and can only be turned off and on here: its settings are at \
             /api/config/integrations/{integration}"
        )));
    }
    let now = schedules::database_time(&mut tx).await?;
    let is_retimed = request.cron.is_some() || request.time_zone.is_some() || request.enabled.is_some();
    let kind = recurring(&before.kind)?;
    let kind_version = if request.payload.is_some() { kind.version } else { before.kind_version };
    let settings = schedules::Settings {
        name: request.name.unwrap_or(before.name),
        payload: request.payload.map_or(before.payload, Value::Object),
        kind_version,
        cron: request.cron.or(before.cron),
        time_zone: request.time_zone.unwrap_or(before.time_zone),
        interval_minutes: before.interval_minutes,
        enabled: request.enabled.unwrap_or(before.enabled),
        catch_up: request.catch_up.unwrap_or(before.catch_up),
        catch_up_window_minutes: request.catch_up_window_minutes.unwrap_or(before.catch_up_window_minutes),
        overlap: request.overlap.unwrap_or(before.overlap),
        next_run_at: before.next_run_at,
        time_zone_version: database_version(),
    };
    let mut settings = checked(settings, kind, tx.tenant(), now)?;
    if !is_retimed && before.enabled {
        settings.next_run_at = before.next_run_at;
    }
    if settings.enabled && !before.enabled && !before.is_built_in && before.tenant_id.is_some() {
        leave_room(&mut tx).await?;
    }
    schedules::update(&mut tx, id, &settings).await.map_err(|error| name_taken(error, &settings.name))?;
    let schedule = schedules::find(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(Schedule::at(schedule, now)))
}

/// Delete a schedule
///
/// Jobs that it made go on. Those that came with the program can be turned off only.
#[utoipa::path(delete, path = "/api/schedules/{schedule_id}", tag = "schedules",
    params(("schedule_id" = Uuid, Path, description = "The schedule's id.")),
    responses((status = 200, body = Deleted), SignedIn, Missing, Conflicting))]
async fn delete_schedule(actor: Actor<Admin>, Path(id): Path<ScheduleId>) -> Result<Deleted, ApiError> {
    let mut tx = actor.begin().await?;
    let schedule = schedules::lock(&mut tx, id).await?;
    may_change(schedule.tenant_id.is_none(), &actor.user)?;
    if schedule.is_built_in {
        let why = "This schedule came with the program: set enabled to false instead of deleting it";
        return Err(ApiError::Conflict(why.into()));
    }
    schedules::delete(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Deleted::new(id.0))
}

/// Run a schedule now
///
/// Also one that is turned off; its next time stays what it is. While the job of the last time is not finished the answer names that job,
/// unless the schedule allows overlap.
#[utoipa::path(post, path = "/api/schedules/{schedule_id}/run-now", tag = "schedules",
    params(("schedule_id" = Uuid, Path, description = "The schedule's id."), IdempotencyKey),
    responses((status = 202, body = JobAccepted,
               headers(("Location" = String, description = "Where to ask about the job."))),
              SignedIn, Missing, Conflicting, Invalid))]
async fn run_schedule(
    actor: Actor<Admin>,
    key: IdempotencyKey,
    Path(id): Path<ScheduleId>,
) -> Result<Accepted<JobAccepted>, ApiError> {
    let mut work = match key.begin(actor.begin().await?, &()).await? {
        Begun::Before(answer) => return Ok(Accepted::Before(answer)),
        Begun::Now(work) => work,
    };
    let schedule = schedules::lock(&mut work, id).await?;
    may_change(schedule.tenant_id.is_none(), &actor.user)?;
    let job = firing::run_now(&mut work, &schedule, actor.id()).await.map_err(|error| match error {
        NamedError::Store(error) => error.into(),
        unusable => ApiError::Conflict(format!("This schedule cannot be run: {unusable}")),
    })?;
    work.accept(job, JobAccepted::new(job)).await
}

/// Preview a schedule
///
/// When an expression comes next, with what changes of the clock make of it: exactly the times at which a schedule with
/// it is fired. Nothing is kept.
#[utoipa::path(post, path = "/api/schedules/preview", tag = "schedules", request_body = PreviewSchedule,
    responses((status = 200, body = Preview), SignedIn, BadBody))]
async fn preview_schedule(
    actor: Actor<ReadOnly>,
    Json(request): Json<PreviewSchedule>,
) -> Result<Json<Preview>, ApiError> {
    let mut problems = Problems::default();
    let timing = timing(&mut problems, &request.cron, &request.time_zone);
    problems.finish()?;
    let now = schedules::database_time(&mut *actor.begin().await?).await?;
    let after = request.after.unwrap_or(now);
    let Some((expression, zone)) = timing else { return Err(ApiError::NotFound) };
    let (cron, time_zone) = (expression.to_string(), zone.to_string());
    let timetable = Timetable::Cron { expression, zone: zone.clone() };
    let next_runs = timetable.upcoming(after).take(NEXT_RUNS).map(|run| Run::of(run, &zone)).collect();
    Ok(Json(Preview { cron, time_zone, time_zone_version: database_version(), next_runs }))
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_schedules, create_schedule))
        .routes(routes!(preview_schedule))
        .routes(routes!(get_schedule, update_schedule, delete_schedule))
        .routes(routes!(run_schedule))
}
