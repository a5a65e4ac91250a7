//! Keys that programs of an organization show. Personal tokens are made at `/api/auth/tokens`, and listed and revoked
//! here too.

use chrono::{DateTime, TimeDelta, Utc};
use domain::id::ApiKeyId;
use serde::{Deserialize, Serialize};
use store::{
    api_keys::{self, Filter, Kind, NewApiKey},
    users::Role,
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    auth::{
        keys::{self, NewKey},
        scopes,
    },
    error::{ApiError, FieldError, Problems},
    extract::{Actor, Admin, InPerson, Json, Listing, Path, Policy, shown},
    openapi::{BadBody, Conflicting, Invalid, Missing, SignedIn},
    reply::{Created, Page},
    state::AppState,
    words::{RoleWord, ScopeWord},
};

/// Keys that an organization, or a person, may have in use.
const MOST_KEYS: i64 = 100;
const MOST_DAYS: u32 = 1095;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ApiKeyFilter {
    /// Only keys of the organization, or only personal tokens.
    #[param(inline)]
    kind: Option<KindFilter>,
}

/// Whose keys.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum KindFilter {
    Organization,
    Personal,
}

impl From<KindFilter> for Kind {
    fn from(kind: KindFilter) -> Self {
        match kind {
            KindFilter::Organization => Self::Organization,
            KindFilter::Personal => Self::Personal,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "nightly pipeline", "role": "analyst", "scopes": ["inventory:write", "reports:read"],
                          "expires_in_days": 90}))]
pub(super) struct CreateApiKey {
    /// What it is for.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// The most that it may do, and no more than its maker may. For an organization's key `read_only` unless something
    /// else is said; a personal token otherwise has its person's role.
    #[serde(default)]
    #[schema(value_type = Option<RoleWord>)]
    role: Option<String>,
    /// What it is limited to; empty or missing: to what its role may do.
    #[serde(default)]
    #[schema(value_type = Vec<ScopeWord>)]
    scopes: Vec<String>,
    /// When it runs out: a year from now unless something else is said.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1095, default = 365)]
    expires_in_days: Option<u32>,
}

/// A key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "kind": "organization", "name": "nightly pipeline", "prefix": "hg_ak_6fHqT2bZ",
    "role": "analyst", "scopes": ["inventory:write", "reports:read"], "status": "active",
    "created_by": "550e8400-e29b-41d4-a716-446655440000", "created_at": "2026-11-21T10:00:00Z", "expires_at": "2027-02-19T10:00:00Z",
    "last_used_at": "2026-11-22T02:15:00Z", "revoked_at": null}))]
pub(super) struct ApiKey {
    id: Uuid,
    /// Whose it is: the organization's, or the personal token of whoever made it.
    #[schema(value_type = KindFilter)]
    kind: &'static str,
    /// What it is for.
    name: String,
    /// What the key begins with, to know it again by.
    #[schema(example = "hg_ak_6fHqT2bZ")]
    prefix: String,
    /// The most that it may do.
    #[schema(value_type = RoleWord)]
    role: &'static str,
    /// Empty: whatever the role may do.
    #[schema(value_type = Vec<ScopeWord>)]
    scopes: Vec<String>,
    status: KeyStatus,
    /// Who made it.
    created_by: Uuid,
    created_at: DateTime<Utc>,
    /// It is good for nothing from then on.
    expires_at: DateTime<Utc>,
    /// To the minute.
    last_used_at: Option<DateTime<Utc>>,
    /// Null: nobody has revoked it.
    revoked_at: Option<DateTime<Utc>>,
}

/// Whether a key is good for anything.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum KeyStatus {
    Active,
    Expired,
    Revoked,
}

impl From<api_keys::ApiKey> for ApiKey {
    fn from(key: api_keys::ApiKey) -> Self {
        let status = match key.revoked_at {
            Some(_) => KeyStatus::Revoked,
            None if key.expires_at <= Utc::now() => KeyStatus::Expired,
            None => KeyStatus::Active,
        };
        Self {
            id: key.id,
            kind: key.kind.as_str(),
            name: key.name,
            prefix: format!("{}{}", keys::prefix(key.kind), key.public_id),
            role: key.role.as_str(),
            scopes: key.scopes,
            status,
            created_by: key.user_id,
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// A new key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApiKeyCreated {
    #[serde(flatten)]
    details: ApiKey,
    /// The key itself, to be sent as `Authorization: Bearer` or `X-API-Key`. Shown this once.
    #[schema(example = "hg_ak_6fHqT2bZ_pX3mQ9rVtY7kLw2NcB5sJhD8gFzA1e0Tq4Rb")]
    key: String,
}

/// List keys
///
/// The organization's keys and the personal tokens of its people, the newest first; revoked ones stay in the list.
#[utoipa::path(get, path = "/api/api-keys", tag = "api-keys", params(Listing<ApiKeyFilter>),
    responses((status = 200, body = Page<ApiKey>), SignedIn, Invalid))]
async fn list_api_keys(
    actor: Actor<Admin>,
    Listing { page, filter, .. }: Listing<ApiKeyFilter>,
) -> Result<Page<ApiKey>, ApiError> {
    let filter = Filter { kind: filter.kind.map(Into::into), user: None };
    let keys = api_keys::list(&mut actor.begin().await?, filter, page).await?;
    Ok(Page::of(keys))
}

/// Create a key of the organization
///
/// It goes on working when its maker is gone. The key is shown in this answer and never again.
#[utoipa::path(post, path = "/api/api-keys", tag = "api-keys", request_body = CreateApiKey,
    responses((status = 201, body = ApiKeyCreated), SignedIn, Conflicting, BadBody))]
async fn create_api_key(
    actor: Actor<InPerson<Admin>>,
    Json(request): Json<CreateApiKey>,
) -> Result<Created<ApiKeyCreated>, ApiError> {
    make(actor, Kind::Organization, request).await
}

/// Get a key
///
/// A key of the organization, or a personal token of one of its people. Its secret is not kept, so nobody can be shown it.
#[utoipa::path(get, path = "/api/api-keys/{key_id}", tag = "api-keys",
    params(("key_id" = Uuid, Path, description = "The key's id.")),
    responses((status = 200, body = ApiKey), SignedIn, Missing))]
async fn get_api_key(actor: Actor<Admin>, Path(id): Path<ApiKeyId>) -> Result<Json<ApiKey>, ApiError> {
    let key = api_keys::find(&mut actor.begin().await?, id, None).await?;
    Ok(Json(key.into()))
}

/// Revoke a key
///
/// It is worthless with the next request, and stays in the list. Revoking it again changes nothing.
#[utoipa::path(delete, path = "/api/api-keys/{key_id}", tag = "api-keys",
    params(("key_id" = Uuid, Path, description = "The key's id.")),
    responses((status = 200, body = ApiKey), SignedIn, Missing))]
async fn revoke_api_key(actor: Actor<Admin>, Path(id): Path<ApiKeyId>) -> Result<Json<ApiKey>, ApiError> {
    let mut tx = actor.begin().await?;
    let key = api_keys::revoke(&mut tx, id, None).await?;
    tx.commit().await?;
    Ok(Json(key.into()))
}

/// Makes a key of either kind for whoever asks.
pub(super) async fn make<P: Policy>(
    actor: Actor<P>,
    kind: Kind,
    request: CreateApiKey,
) -> Result<Created<ApiKeyCreated>, ApiError> {
    let fallback = match kind {
        Kind::Organization => Role::ReadOnly,
        Kind::Personal => actor.user.role,
    };
    let role = check(&request, actor.user.role, fallback)?;
    let days = request.expires_in_days.unwrap_or(365);
    let mut wanted = request.scopes;
    wanted.sort_unstable();
    wanted.dedup();
    let (new, user) = (NewKey::generate(kind), actor.id());
    let mut tx = actor.begin().await?;
    let owner = (kind == Kind::Personal).then_some(user);
    if api_keys::count_valid(&mut tx, Filter { kind: Some(kind), user: owner }).await? >= MOST_KEYS {
        return Err(ApiError::Conflict(format!(
            "There are {MOST_KEYS} keys in use already: revoke one first"
        )));
    }
    let key = NewApiKey {
        kind,
        name: request.name.trim(),
        public_id: &new.public_id,
        secret_sha256: new.sha256,
        role,
        scopes: &wanted,
        user,
        expires_at: Utc::now() + TimeDelta::days(days.into()),
    };
    let kept = api_keys::insert(&mut tx, &key).await?;
    tx.commit().await?;
    Ok(Created(ApiKeyCreated { details: kept.into(), key: new.text }))
}

/// The role of the key, if the request makes sense.
fn check(request: &CreateApiKey, most: Role, fallback: Role) -> Result<Role, ApiError> {
    let mut problems = Problems::default();
    let length = request.name.trim().chars().count();
    let is_text = !request.name.contains(|c: char| c.is_control());
    problems.require((1..=100).contains(&length) && is_text, "name", || {
        format!("{} has {length} characters: a name has 1 to 100, on one line", shown(&request.name))
    });
    let role = match request.role.as_deref().map(str::parse::<Role>) {
        Some(Ok(role)) => role,
        Some(Err(unknown)) => {
            problems.add(FieldError::value("body -> role", unknown.to_string()));
            fallback
        }
        None => fallback,
    };
    problems.require(role <= most, "role", || {
        format!("a key may do no more than its maker: {role} is above {most}")
    });
    for (index, scope) in request.scopes.iter().enumerate() {
        problems.require(scopes::all().any(|known| known == *scope), &format!("scopes -> {index}"), || {
            format!("there is no scope `{scope}`, there is {}", scopes::all().collect::<Vec<_>>().join(", "))
        });
    }
    let days = request.expires_in_days.unwrap_or(1);
    problems.require((1..=MOST_DAYS).contains(&days), "expires_in_days", || {
        format!("a key lasts 1 to {MOST_DAYS} days, not {days}")
    });
    problems.finish()?;
    Ok(role)
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_api_keys, create_api_key))
        .routes(routes!(get_api_key, revoke_api_key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(role: Option<&str>, scopes: &[&str], days: Option<u32>) -> CreateApiKey {
        CreateApiKey {
            name: "pipeline".into(),
            role: role.map(Into::into),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            expires_in_days: days,
        }
    }

    #[test]
    fn a_key_may_do_no_more_than_its_maker() {
        let check = |request: CreateApiKey, most| check(&request, most, Role::ReadOnly).ok();
        assert_eq!(check(request(None, &[], None), Role::Admin), Some(Role::ReadOnly));
        assert_eq!(check(request(Some("developer"), &[], None), Role::Analyst), Some(Role::Analyst));
        assert_eq!(check(request(Some("admin"), &[], None), Role::Analyst), None);
        assert_eq!(check(request(Some("owner"), &[], None), Role::Admin), None);
    }

    #[test]
    fn scopes_and_days_have_bounds() {
        let fits =
            |scopes: &[&str], days| check(&request(None, scopes, days), Role::Admin, Role::ReadOnly).is_ok();
        assert!(fits(&["reports:read", "system:write"], Some(1095)));
        assert!(!fits(&["reports"], None) && !fits(&["*"], None));
        assert!(!fits(&[], Some(0)) && !fits(&[], Some(1096)));
    }
}
