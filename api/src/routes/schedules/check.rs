//! What a schedule must be like to be accepted, told with field, value, rule and remedy.

use chrono::{DateTime, TimeDelta, Utc};
use domain::id::TenantId;
use queue::{
    job::Recurs,
    jobs::{Kind, read_payload},
    schedule::{Expression, Timetable, Zone},
};
use serde_json::Value;
use store::{
    TenantTx,
    schedules::{self, CatchUp, Overlap},
    users::User,
};

use super::{DAY, MOST_ENABLED, WEEK};
use crate::{
    error::{ApiError, FieldError, Problems},
    extract::{InstanceAdmin, Policy},
};

/// The kind called `name`, if schedules may make such jobs.
pub(super) fn recurring(name: &str) -> Result<&'static Kind, ApiError> {
    let recurs = |kind: &&Kind| kind.recurs != Recurs::Never;
    queue::jobs::ALL.iter().filter(recurs).find(|kind| kind.name == name).ok_or_else(|| {
        let kinds: Vec<_> = queue::jobs::ALL.iter().filter(recurs).map(|kind| kind.name).collect();
        let message = format!("`{name}` cannot be scheduled: choose one of {}", kinds.join(", "));
        ApiError::Invalid(vec![FieldError::value("body -> kind", message)])
    })
}

/// What all organizations share is for administrators of the installation.
pub(super) fn may_change(is_shared: bool, user: &User) -> Result<(), ApiError> {
    match InstanceAdmin::refusal(user) {
        Some(why) if is_shared => Err(ApiError::Forbidden(why)),
        _ => Ok(()),
    }
}

/// The settings with everything in them checked, written as they are kept, and the next time worked out.
pub(super) fn checked(
    settings: schedules::Settings,
    kind: &Kind,
    tenant: TenantId,
    now: DateTime<Utc>,
) -> Result<schedules::Settings, ApiError> {
    let mut problems = Problems::default();
    let name = settings.name.trim().to_owned();
    let length = name.chars().count();
    problems.require((1..=100).contains(&length) && !name.contains(char::is_control), "name", || {
        format!("the name has {length} characters, it must have 1 to 100, none of them a control character")
    });
    let window = settings.catch_up_window_minutes;
    problems.require((1..=WEEK).contains(&window), "catch_up_window_minutes", || {
        format!("the window is {window} minutes, it must be between 1 and {WEEK} (a week)")
    });
    let (catch_up, overlap) = (settings.catch_up, settings.overlap);
    problems.require(catch_up != CatchUp::All || overlap == Overlap::Allow, "catch_up", || {
        format!(
            "`all` makes a job for each missed time, and overlap `{}` would leave out most of them again: set overlap to `allow`, or \
             catch_up to `last`",
            overlap.as_str()
        )
    });
    let payload = payload(&mut problems, kind, settings.kind_version, settings.payload, tenant);
    let mut time_zone = settings.time_zone;
    let mut timetable = None;
    match (&settings.cron, settings.interval_minutes) {
        (Some(cron), _) => {
            if let Some((expression, zone)) = timing(&mut problems, cron, &time_zone) {
                time_zone = zone.to_string();
                timetable = Some(Timetable::Cron { expression, zone });
            }
        }
        (None, minutes) => {
            let interval = TimeDelta::minutes(minutes.unwrap_or(DAY).into());
            let from = settings.next_run_at.unwrap_or(now);
            timetable = Some(Timetable::Every { interval, from });
        }
    }
    let next = timetable.as_ref().and_then(|timetable| timetable.next_after(now));
    problems.require(timetable.is_none() || next.is_some(), "cron", || {
        "it does not come again in this century: choose a time that does".into()
    });
    problems.finish()?;
    let next_run_at = next.map(|next| next.at).filter(|_| settings.enabled);
    Ok(schedules::Settings { name, payload, kind_version: kind.version, time_zone, next_run_at, ..settings })
}

/// The payload as the kind has it, for a tenant's work with that tenant in it.
fn payload(
    problems: &mut Problems,
    kind: &Kind,
    written_by: i32,
    mut payload: Value,
    tenant: TenantId,
) -> Value {
    if kind.recurs == Recurs::ForTenant {
        let given = payload.get("tenant_id").cloned();
        problems.require(
            given.is_none_or(|given| given == tenant.to_string()),
            "payload -> tenant_id",
            || "must be your own organization's, or be left out".into(),
        );
        payload["tenant_id"] = tenant.to_string().into();
    }
    match read_payload(kind.name, written_by, &payload) {
        Ok(complete) => complete,
        Err(wrong) => {
            problems.require(false, "payload", || wrong.to_string());
            payload
        }
    }
}

/// Expression and zone, unless one of them has a problem.
pub(super) fn timing(problems: &mut Problems, cron: &str, time_zone: &str) -> Option<(Expression, Zone)> {
    let expression =
        cron.parse::<Expression>().map_err(|wrong| problems.require(false, "cron", || wrong.to_string()));
    let zone =
        time_zone.parse::<Zone>().map_err(|wrong| problems.require(false, "time_zone", || wrong.to_string()));
    expression.ok().zip(zone.ok())
}

/// Refuses one more than an organization may have.
pub(super) async fn leave_room(tx: &mut TenantTx) -> Result<(), ApiError> {
    if schedules::count_own_enabled(tx).await? < MOST_ENABLED {
        return Ok(());
    }
    Err(ApiError::Conflict(format!(
        "{MOST_ENABLED} schedules are turned on already: delete one or turn one off first"
    )))
}

pub(super) fn name_taken(error: store::Error, name: &str) -> ApiError {
    match error {
        store::Error::Conflict(constraint) if constraint == "schedules_name_key" => {
            ApiError::Conflict(format!("There is a schedule called `{name}` already: choose another name"))
        }
        other => other.into(),
    }
}
