//! How long finished things are kept.

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde::{Deserialize, Serialize};
use store::retention::{self, AUDIT_LOG, AUDIT_LOG_DAYS, DAYS, Retention, TABLES};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    error::{ApiError, FieldError, Problems},
    extract::{Actor, InstanceAdmin, Json, ReadOnly},
    openapi::{BadBody, SignedIn},
    state::AppState,
};

/// How many days things are kept.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"retention_days": 30, "overrides": {"dead_jobs": 90, "scan_runs": 90, "schedule_firings": 90},
                          "tables": {"scan_runs": "runs, since they began"}}))]
struct RetentionSettings {
    /// For whatever `overrides` does not name.
    #[schema(minimum = 1, maximum = 3650)]
    retention_days: i32,
    /// Days by table.
    overrides: BTreeMap<String, i32>,
    /// The tables that can be overridden, and what is removed from each after so many days since when.
    tables: BTreeMap<&'static str, &'static str>,
}

impl From<Retention> for RetentionSettings {
    fn from(retention: Retention) -> Self {
        Self { retention_days: retention.days, overrides: retention.overrides, tables: known().collect() }
    }
}

/// What is to be kept longer or shorter.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"retention_days": 60, "overrides": {"webhook_deliveries": 14, "scan_runs": null}}))]
struct UpdateRetention {
    /// For whatever `overrides` does not name.
    #[schema(minimum = 1, maximum = 3650)]
    retention_days: Option<i32>,
    /// Days by table; null lets a table go by `retention_days` again, and `audit_log` be kept for ever. Tables that are not named stay as they
    /// are. `audit_log` is kept for ninety days at least.
    overrides: Option<BTreeMap<String, Option<i32>>>,
}

/// How long things are kept
///
/// The job of the schedule `retention` removes what is older. The audit trail is kept for ever unless `audit_log` has days of its own; then its
/// oldest entries are removed within an hour, and what stays says where it begins, signed, so that `plimsoll audit verify` can still prove it.
#[utoipa::path(get, path = "/api/config/retention", tag = "settings",
    responses((status = 200, body = RetentionSettings), SignedIn))]
async fn get_retention(actor: Actor<ReadOnly>) -> Result<Json<RetentionSettings>, ApiError> {
    let mut tx = actor.begin().await?;
    Ok(Json(retention::get(&mut tx).await?.into()))
}

/// Keep things longer or shorter
///
/// All organizations share these settings, so this needs an administrator of the installation.
#[utoipa::path(patch, path = "/api/config/retention", tag = "settings", request_body = UpdateRetention,
    responses((status = 200, body = RetentionSettings), SignedIn, BadBody))]
async fn update_retention(
    actor: Actor<InstanceAdmin>,
    Json(request): Json<UpdateRetention>,
) -> Result<Json<RetentionSettings>, ApiError> {
    check(&request)?;
    let mut tx = actor.begin().await?;
    let mut chosen = retention::get_for_update(&mut tx).await?;
    chosen.days = request.retention_days.unwrap_or(chosen.days);
    for (table, days) in request.overrides.into_iter().flatten() {
        match days {
            Some(days) => chosen.overrides.insert(table, days),
            None => chosen.overrides.remove(&table),
        };
    }
    retention::set(&mut tx, &chosen).await?;
    tx.commit().await?;
    Ok(Json(chosen.into()))
}

/// What can have a time of its own, and what is removed then.
fn known() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLES.iter().copied().chain([AUDIT_LOG])
}

fn check(request: &UpdateRetention) -> Result<(), ApiError> {
    let mut problems = Problems::default();
    let in_range = |problems: &mut Problems, field: &str, days: i32, range: RangeInclusive<i32>| {
        problems.require(range.contains(&days), field, || {
            format!("{days} days: it must be between {} and {} (ten years)", range.start(), range.end())
        });
    };
    if let Some(days) = request.retention_days {
        in_range(&mut problems, "retention_days", days, DAYS);
    }
    for (table, days) in request.overrides.iter().flatten() {
        let field = format!("overrides -> {table}");
        problems.require(known().any(|(known, _)| known == table), &field, || {
            let known: Vec<&str> = known().map(|(known, _)| known).collect();
            format!("nothing is purged under the name `{table}`: take one of {}", known.join(", "))
        });
        if let Some(days) = days {
            let range = if *table == AUDIT_LOG.0 { AUDIT_LOG_DAYS } else { DAYS };
            in_range(&mut problems, &field, *days, range);
        }
    }
    if request.retention_days.is_none() && request.overrides.is_none() {
        problems.add(FieldError::value("body", "nothing to change: name retention_days or overrides"));
    }
    problems.finish()
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default().routes(routes!(get_retention, update_retention))
}
