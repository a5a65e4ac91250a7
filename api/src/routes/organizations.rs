//! Organizations: the tenants, as their administrators and those of the installation see them.

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::{
    id::{TenantId, UserId},
    page,
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use store::{
    Error, TenantTx,
    organizations::{self, NewOrganization},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    auth::account::{check, secret},
    error::{ApiError, Problems},
    extract::{Actor, Admin, InPerson, InstanceAdmin, Json, Listing, Path, ReadOnly, shown},
    openapi::{BadBody, Conflicting, Invalid, Missing, SignedIn},
    reply::{Created, Page},
    routes::users::taken,
    state::AppState,
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"slug": "globex", "display_name": "Globex", "administrator": {
    "username": "globex-admin", "email": "admin@globex.example", "password": "correct horse battery staple"}}))]
struct CreateOrganization {
    /// Its name in addresses: small letters, digits and hyphens.
    #[schema(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    slug: String,
    /// Its name for people.
    #[schema(min_length = 1, max_length = 200)]
    display_name: String,
    administrator: Administrator,
}

/// The first person of an organization.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Administrator {
    /// Unique over all organizations, since a sign-in names none.
    #[schema(min_length = 3, max_length = 64)]
    username: String,
    /// Unique over all organizations, too.
    #[schema(min_length = 3, max_length = 254, format = Email)]
    email: String,
    /// 8 to 128 characters. Refused when it is among the first that anybody would guess, such as the username.
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 128)]
    password: SecretString,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"display_name": "Globex Corporation"}))]
struct UpdateOrganization {
    /// Its name for people.
    #[schema(min_length = 1, max_length = 200)]
    display_name: String,
}

/// An organization.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "slug": "acme-corp", "display_name": "Acme Corp",
                          "users": 12, "created_at": "2026-11-22T02:00:00Z"}))]
struct Organization {
    id: Uuid,
    /// Its name in addresses. It never changes.
    slug: String,
    /// Its name for people.
    display_name: String,
    /// People who may sign in.
    #[schema(minimum = 0)]
    users: i64,
    created_at: DateTime<Utc>,
}

impl From<organizations::Organization> for Organization {
    fn from(organization: organizations::Organization) -> Self {
        Self {
            id: organization.id,
            slug: organization.slug,
            display_name: organization.display_name,
            users: organization.users,
            created_at: organization.created_at,
        }
    }
}

/// List organizations
///
/// One's own; administrators of the installation see all.
#[utoipa::path(get, path = "/api/organizations", tag = "organizations", params(Listing),
    responses((status = 200, body = Page<Organization>), SignedIn, Invalid))]
async fn list_organizations(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Listing { page, .. }: Listing,
) -> Result<Page<Organization>, ApiError> {
    if actor.user.is_instance_admin {
        return Ok(Page::of(organizations::list_all(app.db.shared(), page).await?));
    }
    let own = organizations::own(&mut actor.begin().await?).await?;
    Ok(Page::of(page::Page::of([own].into_iter(), page)))
}

/// Create an organization
///
/// With its first administrator, who makes its other users. Needs an administrator of the installation.
#[utoipa::path(post, path = "/api/organizations", tag = "organizations", request_body = CreateOrganization,
    responses((status = 201, body = Organization), SignedIn, Conflicting, BadBody))]
async fn create_organization(
    State(app): State<AppState>,
    _: Actor<InPerson<InstanceAdmin>>,
    Json(request): Json<CreateOrganization>,
) -> Result<Created<Organization>, ApiError> {
    let CreateOrganization { slug, display_name, administrator } = request;
    let mut problems = Problems::default();
    problems.require(is_slug(&slug), "slug", || {
        format!("`{slug}` is not 1 to 63 small letters, digits and hyphens between them: write acme-corp")
    });
    check_name(&mut problems, &display_name);
    check(&mut problems, &administrator.username, &administrator.email, &administrator.password);
    problems.finish()?;
    let password_hash = app.passwords.hash(administrator.password).await?;
    let new = NewOrganization {
        id: TenantId::new(),
        slug: &slug,
        display_name: display_name.trim(),
        user: UserId::new(),
        username: &administrator.username,
        email: &administrator.email,
        password_hash: &password_hash,
    };
    organizations::insert(app.db.shared(), &new).await.map_err(|error| match error {
        Error::Conflict(name) if name == "tenants_slug_key" => {
            ApiError::Conflict(format!("There is an organization `{slug}` already"))
        }
        other => taken(other),
    })?;
    let mut tx = app.db.begin(new.id).await?;
    Ok(Created(organizations::own(&mut tx).await?.into()))
}

/// Get an organization
///
/// One's own; administrators of the installation get any.
#[utoipa::path(get, path = "/api/organizations/{organization_id}", tag = "organizations",
    params(("organization_id" = Uuid, Path, description = "The organization's id.")),
    responses((status = 200, body = Organization), SignedIn, Missing))]
async fn get_organization(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Path(id): Path<TenantId>,
) -> Result<Json<Organization>, ApiError> {
    let mut tx = enter(&app, &actor, id).await?;
    Ok(Json(organizations::own(&mut tx).await?.into()))
}

/// Rename an organization
///
/// One's own; administrators of the installation rename any. The slug stays: it is part of addresses.
#[utoipa::path(patch, path = "/api/organizations/{organization_id}", tag = "organizations",
    request_body = UpdateOrganization,
    params(("organization_id" = Uuid, Path, description = "The organization's id.")),
    responses((status = 200, body = Organization), SignedIn, Missing, BadBody))]
async fn update_organization(
    State(app): State<AppState>,
    actor: Actor<Admin>,
    Path(id): Path<TenantId>,
    Json(request): Json<UpdateOrganization>,
) -> Result<Json<Organization>, ApiError> {
    let mut problems = Problems::default();
    check_name(&mut problems, &request.display_name);
    problems.finish()?;
    let mut tx = enter(&app, &actor, id).await?;
    organizations::rename(&mut tx, request.display_name.trim()).await?;
    let organization = organizations::own(&mut tx).await?;
    tx.commit().await?;
    Ok(Json(organization.into()))
}

/// A transaction of an organization that the actor may look into: for all others it does not exist.
async fn enter<P>(app: &AppState, actor: &Actor<P>, id: TenantId) -> Result<TenantTx, ApiError> {
    if id == actor.tenant {
        return actor.begin().await;
    }
    if !actor.user.is_instance_admin {
        return Err(ApiError::NotFound);
    }
    Ok(app.db.begin(id).await?)
}

fn check_name(problems: &mut Problems, name: &str) {
    let length = name.trim().chars().count();
    let is_text = !name.contains(|c: char| c.is_control());
    problems.require((1..=200).contains(&length) && is_text, "display_name", || {
        format!("{} has {length} characters: a name has 1 to 200, on one line", shown(name))
    });
}

fn is_slug(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_organizations, create_organization))
        .routes(routes!(get_organization, update_organization))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_can_stand_in_an_address() {
        for good in ["a", "acme-corp", "3com", &"a".repeat(63)] {
            assert!(is_slug(good), "{good}");
        }
        for bad in ["", "-a", "a-", "Acme", "a b", "a/b", "ä", &"a".repeat(64)] {
            assert!(!is_slug(bad), "{bad}");
        }
    }
}
