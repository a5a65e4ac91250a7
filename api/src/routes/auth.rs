//! Signing in, and the first administrator.

use axum::{extract::State, http::HeaderMap};
use domain::id::{TenantId, UserId};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};
use store::{
    auth::{self, FirstAdministrator, Redeemed, Setup},
    users,
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    auth::RefreshToken,
    error::{ApiError, Problems},
    extract::{Actor, Caller, Json, ReadOnly, SignInAttempt},
    openapi::{Anyone, BadBody, Conflicting, Limited, SignedIn},
    reply::Created,
    state::AppState,
    words::RoleWord,
};

const SETUP_TOKEN: &str = "x-setup-token";
const WRONG: ApiError = ApiError::Unauthenticated("Wrong username or password");

/// Which ways of signing in are open.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"internal_enabled": true, "ldap_enabled": false, "oidc_enabled": false, "oidc_provider_name": null}))]
struct Providers {
    internal_enabled: bool,
    ldap_enabled: bool,
    oidc_enabled: bool,
    /// Null while OpenID Connect is off.
    oidc_provider_name: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"username": "admin", "password": "secretpassword"}))]
struct Login {
    username: String,
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"username": "admin", "email": "admin@example.com", "password": "secretpassword"}))]
struct SetUp {
    #[schema(min_length = 3, max_length = 64)]
    username: String,
    #[schema(min_length = 3, max_length = 254, format = Email)]
    email: String,
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 128)]
    password: SecretString,
    /// The one-time token that was printed when the installation was made. May also be sent as the header
    /// `X-Setup-Token`.
    #[serde(default)]
    setup_token: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"refresh_token": "k1YxJ0zN0XgD3m9rT6m5sBqf2V8uZ4aEwPcHnLyIo7M"}))]
struct Refresh {
    refresh_token: String,
}

/// Tokens, and whose they are.
#[derive(Debug, Serialize, ToSchema)]
struct SignedInAs {
    #[serde(flatten)]
    tokens: Tokens,
    user: Me,
}

#[derive(Debug, Serialize, ToSchema)]
struct Tokens {
    /// A JWT, to be sent as `Authorization: Bearer`.
    #[schema(example = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJIUzI1NiJ9...")]
    access_token: String,
    /// Good for one use of `POST /api/auth/refresh`.
    #[schema(example = "k1YxJ0zN0XgD3m9rT6m5sBqf2V8uZ4aEwPcHnLyIo7M")]
    refresh_token: String,
    #[schema(example = "bearer")]
    token_type: &'static str,
}

/// The person who is signed in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "550e8400-e29b-41d4-a716-446655440000", "username": "admin", "email": "admin@example.com",
                          "role": "admin"}))]
struct Me {
    id: Uuid,
    username: String,
    email: String,
    #[schema(value_type = RoleWord)]
    role: &'static str,
}

/// Ways to sign in
#[utoipa::path(get, path = "/api/auth/providers", tag = "auth", security(()),
    responses((status = 200, body = Providers), Anyone))]
async fn list_auth_providers() -> Json<Providers> {
    Json(Providers {
        internal_enabled: true,
        ldap_enabled: false,
        oidc_enabled: false,
        oidc_provider_name: None,
    })
}

/// Who is signed in
#[utoipa::path(get, path = "/api/auth/me", tag = "auth", responses((status = 200, body = Me), SignedIn))]
async fn get_me(actor: Actor<ReadOnly>) -> Json<Me> {
    let user = actor.user;
    Json(Me { id: user.id, username: user.username, email: user.email, role: user.role.as_str() })
}

/// Sign in with username and password
///
/// At most ten times a minute from one address. An unknown name, a wrong password and an account that was
/// deactivated get the same answer.
#[utoipa::path(post, path = "/api/auth/login", tag = "auth", security(()), request_body = Login,
    responses((status = 200, body = SignedInAs),
              (status = 401, description = "Wrong username or password.", body = crate::error::ErrorBody),
              Anyone, BadBody, Limited))]
async fn login(
    _: SignInAttempt,
    State(app): State<AppState>,
    Json(request): Json<Login>,
) -> Result<Json<SignedInAs>, ApiError> {
    let account = auth::account_by_login(app.db.shared(), &request.username).await?;
    let hash = account.as_ref().and_then(|account| account.password_hash.clone());
    let fits = app.passwords.verify(request.password, hash).await?;
    let Some(account) = account.filter(|account| fits && account.is_active) else { return Err(WRONG) };
    let (tenant, user) = (TenantId(account.tenant_id), UserId(account.id));
    let tokens = first_tokens(&app, tenant, user).await?;
    let user =
        Me { id: account.id, username: account.username, email: account.email, role: account.role.as_str() };
    Ok(Json(SignedInAs { tokens, user }))
}

/// Create the first administrator
///
/// Works once, while there is no user. The user becomes administrator of a first organization, whose name is
/// the setting `ORGANIZATION_NAME`. Where a one-time token was printed at installation, it is needed unless
/// the call comes from the machine itself.
#[utoipa::path(post, path = "/api/auth/setup", tag = "auth", security(()), request_body = SetUp,
    params(("X-Setup-Token" = Option<String>, Header, description = "The one-time token, instead of the field `setup_token`.")),
    responses((status = 201, body = SignedInAs),
              (status = 403, description = "The one-time token is missing or wrong.", body = crate::error::ErrorBody),
              Anyone, BadBody, Conflicting, Limited))]
async fn set_up(
    _: SignInAttempt,
    State(app): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    Json(request): Json<SetUp>,
) -> Result<Created<SignedInAs>, ApiError> {
    let done = || ApiError::Conflict("The set-up is done: sign in as the administrator".into());
    let sent = headers.get(SETUP_TOKEN).and_then(|token| token.to_str().ok());
    match auth::setup(app.db.shared()).await? {
        Setup::Done => return Err(done()),
        Setup::Open { token_sha256: Some(wanted) } if !caller.is_local() => {
            let sent = request.setup_token.as_deref().or(sent).unwrap_or_default();
            // Digests tell nothing by the time that it takes to compare them.
            if Sha256::digest(sent).as_slice() != wanted {
                return Err(ApiError::Forbidden(
                    "The one-time token is missing or wrong: send it as setup_token; it was printed at installation".into(),
                ));
            }
        }
        Setup::Open { .. } => {}
    }
    check(&request)?;
    let password_hash = app.passwords.hash(request.password).await?;
    let organization = display_name(&app.config.organization_name);
    let first = FirstAdministrator {
        tenant_id: TenantId::new(),
        tenant_slug: &slug(&organization),
        organization: &organization,
        user_id: UserId::new(),
        username: &request.username,
        email: &request.email,
        password_hash: &password_hash,
    };
    if !auth::set_up(app.db.shared(), &first).await? {
        return Err(done());
    }
    tracing::info!(username = first.username, "the first administrator was created");
    let tokens = first_tokens(&app, first.tenant_id, first.user_id).await?;
    let role = users::Role::Admin.as_str();
    let user = Me { id: first.user_id.0, username: request.username, email: request.email, role };
    Ok(Created(SignedInAs { tokens, user }))
}

/// Exchange a refresh token
///
/// Gives a new access token and the next refresh token. A refresh token is good for one use: when one is used
/// again, somebody has a copy of it, and all that came from the same sign-in become worthless.
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
    let sha256 = RefreshToken::received(request.refresh_token).sha256();
    let Some(tenant) = auth::tenant_of_refresh_token(app.db.shared(), &sha256).await? else {
        return Err(WORTHLESS);
    };
    let mut tx = app.db.begin(tenant).await?;
    let (user, family) = match auth::redeem_refresh_token(&mut tx, &sha256).await? {
        Redeemed::Valid { user, family } => (user, family),
        Redeemed::Reused { user } => {
            tx.commit().await?;
            tracing::warn!(%user, "a refresh token was used twice, everything from its sign-in is revoked");
            return Err(WORTHLESS);
        }
        Redeemed::Worthless => return Err(WORTHLESS),
    };
    if !users::find(&mut tx, user).await?.is_active {
        return Err(WORTHLESS);
    }
    let next = RefreshToken::generate();
    let lifetime = app.config.refresh_token_lifetime;
    auth::insert_refresh_token(&mut tx, user, family, &next.sha256(), lifetime).await?;
    tx.commit().await?;
    let access_token = app.access_tokens.issue(app.db.shared(), tenant, user).await?;
    Ok(Json(Tokens { access_token, refresh_token: next.reveal(), token_type: "bearer" }))
}

/// The tokens of a sign-in, the first of their family.
async fn first_tokens(app: &AppState, tenant: TenantId, user: UserId) -> Result<Tokens, ApiError> {
    let access_token = app.access_tokens.issue(app.db.shared(), tenant, user).await?;
    let token = RefreshToken::generate();
    let mut tx = app.db.begin(tenant).await?;
    let lifetime = app.config.refresh_token_lifetime;
    auth::insert_refresh_token(&mut tx, user, Uuid::now_v7(), &token.sha256(), lifetime).await?;
    users::record_sign_in(&mut tx, user).await?;
    tx.commit().await?;
    Ok(Tokens { access_token, refresh_token: token.reveal(), token_type: "bearer" })
}

fn check(request: &SetUp) -> Result<(), ApiError> {
    use secrecy::ExposeSecret;
    let characters = |text: &str| text.chars().count();
    let mut problems = Problems::default();
    let name = request.username.as_str();
    problems.require((3..=64).contains(&characters(name)), "username", || {
        format!("a username has 3 to 64 characters, this one has {}", characters(name))
    });
    problems.require(!name.contains(|c: char| c.is_control() || c.is_whitespace()), "username", || {
        "a username has no spaces and no control characters: leave them out".into()
    });
    problems.require(is_email(&request.email), "email", || {
        format!("`{}` is not an e-mail address: write one like name@example.com", request.email)
    });
    let length = characters(request.password.expose_secret());
    problems.require((8..=128).contains(&length), "password", || {
        format!("a password has 8 to 128 characters, this one has {length}")
    });
    problems.finish()
}

/// `local@domain` without spaces, at most 254 bytes (RFC 5321, section 4.5.3.1.3). Whether mail arrives is
/// another question.
pub(super) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"<>()[],;:\\\"@".contains(c);
    let label = |label: &str| {
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.len() <= 63
    };
    text.len() <= 254
        && (1..=64).contains(&local.len())
        && local.chars().all(plain)
        && local.split('.').all(|part| !part.is_empty())
        && domain.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '.')
        && domain.split('.').all(label)
}

/// The name of an organization for people, at most 200 characters.
fn display_name(setting: &str) -> String {
    let name: String = setting.trim().chars().filter(|c| !c.is_control()).take(200).collect();
    if name.is_empty() { "Organization".into() } else { name }
}

/// The name of an organization in addresses: `Acme Corp` is `acme-corp`.
fn slug(name: &str) -> String {
    let words: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' }).collect();
    let slug: String = words.split_whitespace().collect::<Vec<_>>().join("-").chars().take(63).collect();
    match slug.trim_end_matches('-') {
        "" => "organization".into(),
        slug => slug.into(),
    }
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_auth_providers))
        .routes(routes!(get_me))
        .routes(routes!(login))
        .routes(routes!(set_up))
        .routes(routes!(refresh))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_mail_addresses_are_told_from_other_texts() {
        for good in ["admin@example.com", "a.b+c@example.co.uk", "root@localhost", "zoë@münchen.example"] {
            assert!(is_email(good), "{good}");
        }
        for bad in [
            "",
            "admin",
            "@example.com",
            "a@",
            "a b@example.com",
            "a@b@c",
            "a@-b.c",
            "a..b@c.d",
            "a@b..c",
            "a@b.c\r\nBcc: x@y.z",
            "<a@b.c>",
            "a,b@c.d",
        ] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn an_organization_has_a_name_for_addresses() {
        assert_eq!(slug("Acme Corp"), "acme-corp");
        assert_eq!(slug("  Müller & Söhne GmbH  "), "m-ller-s-hne-gmbh");
        assert_eq!(slug("株式会社"), "organization");
        let long = slug(&"word ".repeat(40));
        assert!(long.len() <= 63 && !long.ends_with('-'), "{long}");
    }

    #[test]
    fn every_fault_of_a_set_up_is_told() {
        let request = SetUp {
            username: "x".into(),
            email: "y".into(),
            password: "z".to_owned().into(),
            setup_token: None,
        };
        let Err(ApiError::Invalid(errors)) = check(&request) else { panic!("it is not valid") };
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["body -> username", "body -> email", "body -> password"]);
    }
}
