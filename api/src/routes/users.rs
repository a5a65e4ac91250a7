//! People: who may sign in, and what they may do.

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::{id::UserId, page::Direction};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use store::{
    Error, TenantTx, sessions,
    users::{self, Change, Filter, NewUser, Role, Sort, UserDetail},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    auth::account::{check, check_email, check_password, secret},
    error::{ApiError, Problems},
    extract::{Actor, Admin, InPerson, Json, Listing, Path, SortKey, word},
    openapi::{BadBody, Conflicting, Invalid, Missing, SignedIn},
    reply::{Created, Page},
    state::AppState,
    words::{AuthProviderWord, RoleWord, ThemeWord},
};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct UserFilter {
    /// Only people with this role.
    #[serde(default, deserialize_with = "word")]
    #[param(inline, value_type = Option<RoleWord>)]
    role: Option<Role>,
    /// Only people who may sign in, or only those who may not.
    is_active: Option<bool>,
    /// Has this in the username or the e-mail address, in any case.
    search: Option<String>,
}

impl SortKey for Sort {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("username", Self::Username),
        ("email", Self::Email),
        ("role", Self::Role),
        ("created_at", Self::CreatedAt),
        ("last_login_at", Self::LastLoginAt),
    ];
    const UNASKED: (Self, Direction) = (Self::Username, Direction::Ascending);
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"username": "analyst1", "email": "analyst1@example.com", "password": "seven grey herons at noon",
                          "role": "analyst"}))]
struct CreateUser {
    /// What they sign in with; it never changes.
    #[schema(min_length = 3, max_length = 64)]
    username: String,
    /// Where they are written to.
    #[schema(min_length = 3, max_length = 254, format = Email)]
    email: String,
    /// 8 to 128 characters. Refused when it is among the first that anybody would guess, such as the username.
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 128)]
    password: SecretString,
    /// `viewer` and `developer` are read as `read_only` and `analyst`.
    #[serde(default = "read_only", deserialize_with = "role")]
    #[schema(value_type = RoleWord, default = "read_only")]
    role: Role,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"email": "analyst1@example.com", "role": "analyst", "is_active": true}))]
struct UpdateUser {
    /// Where they are written to.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, min_length = 3, max_length = 254, format = Email)]
    email: Option<String>,
    /// `viewer` and `developer` are read as `read_only` and `analyst`.
    #[serde(default, deserialize_with = "given_role")]
    #[schema(value_type = RoleWord)]
    role: Option<Role>,
    /// False ends the person's sessions and makes their personal tokens worthless, with the next request.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool)]
    is_active: Option<bool>,
    /// Only administrators of the installation may change it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool)]
    is_instance_admin: Option<bool>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"password": "nine brown owls at midnight"}))]
struct SetPassword {
    /// 8 to 128 characters. Refused when it is among the first that anybody would guess, such as the username.
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 128)]
    password: SecretString,
}

fn read_only() -> Role {
    Role::ReadOnly
}

fn role<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Role, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

fn given_role<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Role>, D::Error> {
    role(deserializer).map(Some)
}

/// What may be left out but, if it is there, must have a value: null would be lost silently.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A person.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "550e8400-e29b-41d4-a716-446655440000", "username": "admin", "email": "admin@example.com",
    "role": "admin", "is_instance_admin": true, "auth_provider": "internal", "is_active": true,
    "theme_preference": "dark", "created_at": "2024-01-15T10:00:00Z", "last_login_at": "2024-03-20T08:15:00Z"}))]
pub(super) struct User {
    id: Uuid,
    /// What they sign in with.
    username: String,
    email: String,
    #[schema(value_type = RoleWord)]
    role: &'static str,
    /// May also change what all organizations share.
    #[schema(required = false)]
    is_instance_admin: bool,
    #[schema(value_type = AuthProviderWord)]
    auth_provider: &'static str,
    /// May sign in.
    is_active: bool,
    #[schema(value_type = ThemeWord)]
    theme_preference: String,
    created_at: DateTime<Utc>,
    /// Null: never.
    last_login_at: Option<DateTime<Utc>>,
}

impl From<UserDetail> for User {
    fn from(detail: UserDetail) -> Self {
        let user = detail.user;
        Self {
            id: user.id,
            username: user.username,
            email: user.email,
            role: user.role.as_str(),
            is_instance_admin: user.is_instance_admin,
            auth_provider: detail.auth_provider.as_str(),
            is_active: user.is_active,
            theme_preference: detail.theme_preference,
            created_at: detail.created_at,
            last_login_at: detail.last_login_at,
        }
    }
}

/// List users
///
/// The organization's people, those who were deactivated among them.
#[utoipa::path(get, path = "/api/users", tag = "users", params(Listing<UserFilter, Sort>),
    responses((status = 200, body = Page<User>), SignedIn, Invalid))]
async fn list_users(
    actor: Actor<Admin>,
    Listing { page, order, filter }: Listing<UserFilter, Sort>,
) -> Result<Page<User>, ApiError> {
    let filter = Filter { role: filter.role, is_active: filter.is_active, search: filter.search };
    let users = users::list(&mut actor.begin().await?, &filter, order, page).await?;
    Ok(Page::of(users))
}

/// Create a user
///
/// Username and e-mail address are unique over all organizations, since a sign-in names none. Only a person who signed in may make an
/// administrator, no key.
#[utoipa::path(post, path = "/api/users", tag = "users", request_body = CreateUser,
    responses((status = 201, body = User), SignedIn, Conflicting, BadBody))]
async fn create_user(
    State(app): State<AppState>,
    actor: Actor<Admin>,
    Json(request): Json<CreateUser>,
) -> Result<Created<User>, ApiError> {
    let mut problems = Problems::default();
    check(&mut problems, &request.username, &request.email, &request.password);
    problems.finish()?;
    if request.role == Role::Admin {
        in_person(&actor)?;
    }
    let password_hash = app.passwords.hash(request.password).await?;
    let user = NewUser {
        username: &request.username,
        email: &request.email,
        password_hash: &password_hash,
        role: request.role,
    };
    let mut tx = actor.begin().await?;
    let user = users::insert(&mut tx, &user).await.map_err(taken)?;
    tx.commit().await?;
    Ok(Created(user.into()))
}

/// Get a user
///
/// A person of the organization, whether they may sign in or not.
#[utoipa::path(get, path = "/api/users/{user_id}", tag = "users",
    params(("user_id" = Uuid, Path, description = "The user's id.")),
    responses((status = 200, body = User), SignedIn, Missing))]
async fn get_user(actor: Actor<Admin>, Path(id): Path<UserId>) -> Result<Json<User>, ApiError> {
    let user = users::find(&mut actor.begin().await?, id).await?;
    Ok(Json(user.into()))
}

/// Update a user
///
/// A new role counts from the next request on, wherever that is answered. The last administrator of an organization, and
/// the last of the installation, stays one. Only a person who signed in may make an administrator, no key.
#[utoipa::path(patch, path = "/api/users/{user_id}", tag = "users", request_body = UpdateUser,
    params(("user_id" = Uuid, Path, description = "The user's id.")),
    responses((status = 200, body = User), SignedIn, Missing, Conflicting, BadBody))]
async fn update_user(
    actor: Actor<Admin>,
    Path(id): Path<UserId>,
    Json(request): Json<UpdateUser>,
) -> Result<Json<User>, ApiError> {
    let mut problems = Problems::default();
    if let Some(email) = &request.email {
        check_email(&mut problems, email);
    }
    problems.finish()?;
    if request.role == Some(Role::Admin) || request.is_instance_admin == Some(true) {
        in_person(&actor)?;
    }
    let change = Change {
        email: request.email.as_deref(),
        role: request.role,
        is_active: request.is_active,
        is_instance_admin: request.is_instance_admin,
        theme_preference: None,
    };
    let mut tx = actor.begin().await?;
    let user = apply(&mut tx, &actor.user, id, &change).await?;
    tx.commit().await?;
    Ok(Json(user.into()))
}

/// Deactivate a user
///
/// Ends the person's sessions and makes their personal tokens worthless, with the next request; keys of the
/// organization that they made go on. Nothing is deleted. Deactivating again changes nothing.
#[utoipa::path(delete, path = "/api/users/{user_id}", tag = "users",
    params(("user_id" = Uuid, Path, description = "The user's id.")),
    responses((status = 200, body = User), SignedIn, Missing, Conflicting))]
async fn deactivate_user(actor: Actor<Admin>, Path(id): Path<UserId>) -> Result<Json<User>, ApiError> {
    let mut tx = actor.begin().await?;
    let change = Change { is_active: Some(false), ..Change::default() };
    let user = apply(&mut tx, &actor.user, id, &change).await?;
    tx.commit().await?;
    Ok(Json(user.into()))
}

/// Set a user's password
///
/// For those who have forgotten theirs. Ends all sessions of the person.
#[utoipa::path(post, path = "/api/users/{user_id}/password", tag = "users", request_body = SetPassword,
    params(("user_id" = Uuid, Path, description = "The user's id.")),
    responses((status = 200, body = User), SignedIn, Missing, Conflicting, BadBody))]
async fn set_user_password(
    State(app): State<AppState>,
    actor: Actor<InPerson<Admin>>,
    Path(id): Path<UserId>,
    Json(request): Json<SetPassword>,
) -> Result<Json<User>, ApiError> {
    let user = users::find(&mut actor.begin().await?, id).await?;
    guard_instance_admin(&actor.user, &user)?;
    let mut problems = Problems::default();
    check_password(&mut problems, "password", &request.password, &user.user.username, &user.user.email);
    problems.finish()?;
    let hash = app.passwords.hash(request.password).await?;
    let mut tx = actor.begin().await?;
    match users::set_password_hash(&mut tx, id, &hash).await {
        Err(Error::NotFound) => {
            return Err(ApiError::Conflict("This person signs in elsewhere and has no password here".into()));
        }
        other => other?,
    }
    sessions::end_all(&mut tx, id, None).await?;
    tx.commit().await?;
    Ok(Json(user.into()))
}

/// Refuses keys: an administrator can make further keys, which no key may (`POST /api/api-keys`).
fn in_person(actor: &Actor<Admin>) -> Result<(), ApiError> {
    match actor.session() {
        Some(_) => Ok(()),
        None => Err(ApiError::Forbidden(
            "Only a person who signed in may make an administrator: a key may not".into(),
        )),
    }
}

/// Changes a person as far as `by` may, and as long as somebody is left who administers.
async fn apply(
    tx: &mut TenantTx,
    by: &users::User,
    id: UserId,
    change: &Change<'_>,
) -> Result<UserDetail, ApiError> {
    let before = users::find(tx, id).await?;
    let grants = change.is_instance_admin.is_some_and(|granted| granted != before.user.is_instance_admin);
    if grants && !by.is_instance_admin {
        return Err(ApiError::Forbidden("Only administrators of the installation may make others".into()));
    }
    guard_instance_admin(by, &before)?;
    refuse_to_lock_out(tx, &before.user, change).await?;
    let after = users::update(tx, id, change).await.map_err(taken)?;
    if !after.user.is_active {
        sessions::end_all(tx, id, None).await?;
    }
    Ok(after)
}

/// Administrators of the installation are changed by their like only.
fn guard_instance_admin(by: &users::User, target: &UserDetail) -> Result<(), ApiError> {
    if target.user.is_instance_admin && !by.is_instance_admin {
        let why = "This person administers the installation and is changed by another who does only";
        return Err(ApiError::Forbidden(why.into()));
    }
    Ok(())
}

/// Refuses a change after which nobody would administer the organization, or the installation.
async fn refuse_to_lock_out(
    tx: &mut TenantTx,
    before: &users::User,
    change: &Change<'_>,
) -> Result<(), ApiError> {
    let administers = before.is_active && before.role == Role::Admin;
    let leaves = change.role.is_some_and(|role| role < Role::Admin) || change.is_active == Some(false);
    let leaves_installation = before.is_instance_admin && (leaves || change.is_instance_admin == Some(false));
    if !administers || !(leaves || leaves_installation) {
        return Ok(());
    }
    let others = users::other_administrators(tx, UserId(before.id)).await?;
    let missing = match (leaves && !others.of_tenant, leaves_installation && !others.of_installation) {
        (true, _) => "this organization",
        (false, true) => "the installation",
        (false, false) => return Ok(()),
    };
    Err(ApiError::Conflict(format!(
        "Nobody else administers {missing}: make somebody an administrator of it first"
    )))
}

/// Says which of the two names is taken.
pub(super) fn taken(error: Error) -> ApiError {
    match error {
        Error::Conflict(name) if name == "users_username_key" => {
            ApiError::Conflict("This username is taken: choose another".into())
        }
        Error::Conflict(name) if name == "users_email_key" => {
            ApiError::Conflict("Another account has this e-mail address".into())
        }
        other => other.into(),
    }
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_users, create_user))
        .routes(routes!(get_user, update_user, deactivate_user))
        .routes(routes!(set_user_password))
}
