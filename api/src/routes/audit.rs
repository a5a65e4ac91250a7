//! The audit trail, for whoever must answer for what was done.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::audit::{self, Entry};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    error::ApiError,
    extract::{Actor, Analyst, Listing, day},
    openapi::{Invalid, SignedIn},
    reply::Page,
    state::AppState,
};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AuditFilter {
    /// Name or id of whoever did it; `system` for what nobody asked for.
    #[param(example = "admin")]
    actor: Option<String>,
    /// A whole action, or what it is about: `user.create`, or `user` for all of these.
    #[param(example = "user.create")]
    action: Option<String>,
    /// Only what was done to this kind of thing.
    #[param(example = "user")]
    target_type: Option<String>,
    /// Id of what it was done to.
    target_id: Option<String>,
    /// On this day or later (UTC).
    #[serde(default, deserialize_with = "day")]
    #[param(example = "2026-01-01")]
    date_from: Option<NaiveDate>,
    /// On this day or earlier (UTC).
    #[serde(default, deserialize_with = "day")]
    #[param(example = "2026-12-31")]
    date_to: Option<NaiveDate>,
}

/// Somebody did something.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "actor": "admin", "actor_id": "550e8400-e29b-41d4-a716-446655440000",
    "action": "user.update", "target_type": "user", "target_id": "550e8400-e29b-41d4-a716-446655440001",
    "old_value": {"role": "read_only"}, "new_value": {"role": "analyst"}, "request_id": "0199f8a26c1e7b629a535e1f0c2d4b7f",
    "address": "192.0.2.17", "sequence": 4711,
    "hash": "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9", "created_at": "2026-11-22T10:00:00Z"}))]
struct AuditEntry {
    id: Uuid,
    /// The name at that time.
    #[schema(example = "admin")]
    actor: String,
    /// Null for what the product did by itself, and for who was not signed in.
    actor_id: Option<Uuid>,
    /// What was done: the thing and the deed.
    #[schema(example = "user.create")]
    action: String,
    /// What kind of thing it was done to.
    #[schema(example = "user")]
    target_type: String,
    /// Its id; null where it has none, such as a failed sign-in.
    target_id: Option<String>,
    /// Of a change: the fields that it changed, as they were. Secrets are masked.
    #[schema(value_type = Option<Object>)]
    old_value: Option<Value>,
    /// Of a change: the same fields as they are since. Of something new: all of it. Otherwise: the circumstances.
    #[schema(value_type = Option<Object>)]
    new_value: Option<Value>,
    /// `X-Request-Id` of the request.
    request_id: Option<String>,
    /// Where the request came from.
    address: Option<String>,
    /// Its number in the chain of this organization; null in the first second or two.
    sequence: Option<i64>,
    /// SHA-256 of the entry and the one before it, hexadecimal.
    hash: Option<String>,
    created_at: DateTime<Utc>,
}

impl From<Entry> for AuditEntry {
    fn from(entry: Entry) -> Self {
        Self {
            id: entry.id,
            actor: entry.actor,
            actor_id: entry.actor_id,
            action: entry.action,
            target_type: entry.target_type,
            target_id: entry.target_id,
            old_value: entry.old_value,
            new_value: entry.new_value,
            request_id: entry.request_id,
            address: entry.address,
            sequence: entry.sequence,
            hash: entry.hash.map(hex::encode),
            created_at: entry.created_at,
        }
    }
}

/// List audit entries
///
/// Newest first. Administrators of the installation also see what belongs to no organization. `plimsoll audit verify` finds out whether
/// entries were changed or removed.
#[utoipa::path(get, path = "/api/audit", tag = "system", params(Listing<AuditFilter>),
    responses((status = 200, body = Page<AuditEntry>), SignedIn, Invalid))]
async fn list_audit(
    actor: Actor<Analyst>,
    Listing { page, filter, .. }: Listing<AuditFilter>,
) -> Result<Page<AuditEntry>, ApiError> {
    let begins = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    let wanted = audit::Filter {
        actor: filter.actor,
        action: filter.action,
        target_type: filter.target_type,
        target_id: filter.target_id,
        from: filter.date_from.map(begins),
        before: filter.date_to.and_then(|day| day.checked_add_days(Days::new(1))).map(begins),
        with_installation: actor.user.is_instance_admin,
    };
    Ok(Page::of(audit::list(&mut actor.begin().await?, &wanted, page).await?))
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default().routes(routes!(list_audit))
}
