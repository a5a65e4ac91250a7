//! Signing in and out, and the person who is signed in.
//!
//! The first administrator is [`setup`]'s business, the OpenID provider [`oidc`]'s, personal tokens are [`tokens`]'.

mod oidc;
mod setup;
mod tokens;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    audit::{self, Note},
    sessions::{self, Redeemed},
    users::{self, Change},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::users::User;
use crate::{
    auth::{
        Credential, OpaqueToken, SessionCookie,
        account::{check_password, secret},
        sign_in::{self, Me, SignedInAs, Tokens},
    },
    error::{ApiError, Problems},
    extract::{Actor, InPerson, Json, ReadOnly, SignInAttempt},
    openapi::{Anyone, BadBody, Conflicting, Limited, SignedIn},
    state::AppState,
    words::ThemeWord,
};

/// Which ways of signing in are open.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"internal_enabled": true, "ldap_enabled": false, "oidc_enabled": true,
                          "oidc_provider_name": "keycloak.example.com"}))]
struct Providers {
    /// Always true: the first administrator has a password here.
    internal_enabled: bool,
    /// People of a directory may sign in with the password they have there.
    ldap_enabled: bool,
    /// `GET /api/auth/oidc/authorize` says where.
    oidc_enabled: bool,
    /// Null while OpenID Connect is off.
    oidc_provider_name: Option<String>,
}

/// Who somebody says they are.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"username": "admin", "password": "correct horse battery staple"}))]
struct Login {
    /// Their name here, or in the directory.
    username: String,
    /// The one that they have here or, where a directory is asked, there.
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"refresh_token": "k1YxJ0zN0XgD3m9rT6m5sBqf2V8uZ4aEwPcHnLyIo7M"}))]
struct Refresh {
    /// As the last sign-in or refresh gave it.
    refresh_token: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"theme_preference": "dark"}))]
struct UpdateMe {
    #[schema(value_type = ThemeWord)]
    theme_preference: Theme,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Theme {
    System,
    Light,
    Dark,
}

impl Theme {
    fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"current_password": "correct horse battery staple", "new_password": "seven grey herons at noon"}))]
struct ChangePassword {
    /// Proves that it is the person, and not somebody at their desk.
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String, format = Password)]
    current_password: SecretString,
    /// 8 to 128 characters. Refused when it is among the first that anybody would guess, such as the username.
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 128)]
    new_password: SecretString,
}

/// The session is over.
#[derive(Debug, Serialize, ToSchema)]
struct SignedOut {
    /// Always true.
    #[schema(example = true)]
    signed_out: bool,
}

/// Ways to sign in
///
/// For the sign-in page, before anybody is: which of its ways to show.
#[utoipa::path(get, path = "/api/auth/providers", tag = "auth", security(()),
    responses((status = 200, body = Providers), Anyone))]
async fn list_auth_providers(State(app): State<AppState>) -> Json<Providers> {
    let oidc = app.config.oidc.as_ref();
    Json(Providers {
        internal_enabled: true,
        ldap_enabled: app.config.ldap.is_some(),
        oidc_enabled: oidc.is_some(),
        oidc_provider_name: oidc.map(|oidc| oidc.provider_name.clone()),
    })
}

/// Sign in with username and password
///
/// At most ten times a minute from one address. An unknown name, a wrong password and an account that was
/// deactivated get the same answer. 503 while the directory that people sign in with cannot be reached.
#[utoipa::path(post, path = "/api/auth/login", tag = "auth", security(()), request_body = Login,
    responses((status = 200, body = SignedInAs),
              (status = 401, description = "Wrong username or password.", body = crate::error::ErrorBody),
              Anyone, BadBody, Limited))]
async fn login(
    SignInAttempt(by): SignInAttempt,
    State(app): State<AppState>,
    Json(request): Json<Login>,
) -> Result<Json<SignedInAs>, ApiError> {
    let account = match sign_in::by_password(&app, &by, &request.username, request.password).await {
        Err(error @ ApiError::Unauthenticated(_)) => {
            sign_in::note_failure(&app, &by, &request.username).await?;
            return Err(error);
        }
        account => account?,
    };
    Ok(Json(sign_in::begin(&app, account, by).await?))
}

/// Exchange a refresh token
///
/// Gives a new access token and the next refresh token. A refresh token is good for one use: when one is used
/// again, somebody has a copy of it, and the session that it belongs to is ended.
#[utoipa::path(post, path = "/api/auth/refresh", tag = "auth", security(()), request_body = Refresh,
    responses((status = 200, body = Tokens),
              (status = 401, description = "The refresh token is unknown, expired or was used.", body = crate::error::ErrorBody),
              Anyone, BadBody))]
async fn refresh(
    State(app): State<AppState>,
    Json(request): Json<Refresh>,
) -> Result<Json<Tokens>, ApiError> {
    const WORTHLESS: ApiError =
        ApiError::Unauthenticated("The refresh token is not valid any more: sign in again");
    let sha256 = OpaqueToken::received(request.refresh_token).sha256();
    let Some(tenant) = sessions::tenant_of_refresh_token(app.db.shared(), &sha256).await? else {
        return Err(WORTHLESS);
    };
    let mut tx = app.db.begin(tenant).await?;
    let (user, session) = match sessions::redeem_refresh_token(&mut tx, &sha256).await? {
        Redeemed::Valid { user, session } => (user, session),
        Redeemed::Reused { user } => {
            tx.commit().await?;
            tracing::warn!(%user, "a refresh token was used twice, its session is ended");
            return Err(WORTHLESS);
        }
        Redeemed::Worthless => return Err(WORTHLESS),
    };
    if !users::find(&mut tx, user).await?.user.is_active {
        return Err(WORTHLESS);
    }
    Ok(Json(sign_in::tokens(&app, tx, user, session).await?))
}

/// Sign out
///
/// Ends the session: its access tokens, its refresh token and its cookie are worthless from now on.
#[utoipa::path(post, path = "/api/auth/logout", tag = "auth",
    responses((status = 200, body = SignedOut), SignedIn))]
async fn logout(State(app): State<AppState>, actor: Actor<InPerson<ReadOnly>>) -> Result<Response, ApiError> {
    let mut tx = actor.begin().await?;
    if let Some(session) = actor.session() {
        sessions::end(&mut tx, session).await?;
    }
    let note = Note {
        action: "auth.logout",
        target_type: "user",
        target_id: Some(actor.id().to_string()),
        detail: json!({}),
    };
    audit::note(&mut tx, Some(actor.tenant), actor.by(), &note).await?;
    tx.commit().await?;
    let forget = [(header::SET_COOKIE, SessionCookie::forget(&app.config))];
    Ok((forget, Json(SignedOut { signed_out: true })).into_response())
}

/// Keep the session in a cookie
///
/// For browsers: lets the session that the access token belongs to go on in an HttpOnly cookie,
/// `next-auth.session-token` (behind https with the prefix `__Host-`), until a refresh token would run out. Requests
/// that change something are taken with it from this site's own pages only.
#[utoipa::path(post, path = "/api/auth/session", tag = "auth",
    responses((status = 200, body = Me), SignedIn))]
async fn keep_session(
    State(app): State<AppState>,
    actor: Actor<InPerson<ReadOnly>>,
) -> Result<Response, ApiError> {
    let token = OpaqueToken::generate();
    let mut tx = actor.begin().await?;
    if let Some(session) = actor.session() {
        sessions::set_cookie(&mut tx, session, &token.sha256()).await?;
    }
    tx.commit().await?;
    let seconds = app.config.lifetimes.refresh_token.min(app.config.lifetimes.session).as_secs();
    let cookie = [(header::SET_COOKIE, SessionCookie::set(&app.config, token, seconds))];
    Ok((cookie, Json(me(actor.user))).into_response())
}

/// Who is signed in
///
/// The person, or the one who made the key.
#[utoipa::path(get, path = "/api/auth/me", tag = "auth", responses((status = 200, body = Me), SignedIn))]
async fn get_me(actor: Actor<ReadOnly>) -> Result<Json<Me>, ApiError> {
    if matches!(actor.credential, Credential::OrganizationKey(_)) {
        return Err(ApiError::Forbidden("This key belongs to an organization, not to a person".into()));
    }
    Ok(Json(me(actor.user)))
}

/// Update oneself
///
/// How the console looks to them. Name, address and role are for administrators to change.
#[utoipa::path(patch, path = "/api/auth/me", tag = "auth", request_body = UpdateMe,
    responses((status = 200, body = User), SignedIn, BadBody))]
async fn update_me(
    actor: Actor<InPerson<ReadOnly>>,
    Json(request): Json<UpdateMe>,
) -> Result<Json<User>, ApiError> {
    let theme_preference = Some(request.theme_preference.as_str());
    let mut tx = actor.begin().await?;
    let user = users::update(&mut tx, actor.id(), &Change { theme_preference, ..Change::default() }).await?;
    tx.commit().await?;
    Ok(Json(user.into()))
}

/// Change one's password
///
/// Ends every other session of the person. At most as often as one may sign in.
#[utoipa::path(post, path = "/api/auth/password", tag = "auth", request_body = ChangePassword,
    responses((status = 200, body = Me), SignedIn, Conflicting, BadBody))]
async fn change_password(
    _: SignInAttempt,
    State(app): State<AppState>,
    actor: Actor<InPerson<ReadOnly>>,
    Json(request): Json<ChangePassword>,
) -> Result<Json<Me>, ApiError> {
    let mut problems = Problems::default();
    let user = &actor.user;
    check_password(&mut problems, "new_password", &request.new_password, &user.username, &user.email);
    problems.finish()?;
    let Some(hash) = users::password_hash(&mut actor.begin().await?, actor.id()).await? else {
        return Err(ApiError::Conflict("You sign in elsewhere: change your password there".into()));
    };
    if !app.passwords.verify(request.current_password, Some(hash)).await? {
        let mut problems = Problems::default();
        problems.require(false, "current_password", || "this is not your password".into());
        problems.finish()?;
    }
    let hash = app.passwords.hash(request.new_password).await?;
    let mut tx = actor.begin().await?;
    users::set_password_hash(&mut tx, actor.id(), &hash).await?;
    sessions::end_all(&mut tx, actor.id(), actor.session()).await?;
    tx.commit().await?;
    Ok(Json(me(actor.user)))
}

fn me(user: users::User) -> Me {
    Me { id: user.id, username: user.username, email: user.email, role: user.role.as_str() }
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_auth_providers))
        .routes(routes!(login))
        .merge(setup::router())
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(keep_session))
        .routes(routes!(get_me, update_me))
        .routes(routes!(change_password))
        .merge(oidc::router())
        .merge(tokens::router())
}
