//! What a request shows, and who that is.

use axum::http::{HeaderMap, header, request::Parts};
use chrono::{DateTime, Utc};
use domain::id::{ApiKeyId, SessionId, TenantId, UserId};
use store::{
    api_keys::{self, Kind, ShownKey},
    session_lookup::SessionKey,
    sessions,
    users::User,
};

use super::{OpaqueToken, SessionCookie, cookie, keys};
use crate::{error::ApiError, state::AppState};

const NOT_ACTIVE: ApiError = ApiError::Unauthenticated("This account is not active");
const SESSION_OVER: ApiError = ApiError::Unauthenticated("This session is over: sign in again");
const NO_SUCH_KEY: ApiError =
    ApiError::Unauthenticated("The API key is not valid: it is unknown, revoked or has expired");

/// By what somebody is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential {
    /// They signed in themselves, and show an access token or the console's cookie.
    Session(SessionId),
    /// A personal token: acts for its person, and may do no more than they may.
    PersonalToken(ApiKeyId),
    /// A key of the organization. The user is the one who made it, under the key's name and with the key's role.
    OrganizationKey(ApiKeyId),
}

/// Who asks.
pub(crate) struct Caller {
    /// With the role that counts for this request.
    pub(crate) user: User,
    pub(crate) tenant: TenantId,
    pub(crate) credential: Credential,
    /// What a key is limited to; empty: to its role alone.
    pub(crate) scopes: Vec<String>,
    /// When the credential runs out.
    pub(crate) expires_at: DateTime<Utc>,
}

/// Finds out who sends this request. `Authorization: Bearer` decides when it is there, then `X-API-Key`, then the
/// cookie; one that is there and wrong is never made good by another.
pub(crate) async fn authenticate(parts: &Parts, app: &AppState) -> Result<Caller, ApiError> {
    match shown(&parts.headers)? {
        Shown::AccessToken(token) => {
            let identity = app.access_tokens.verify(app.db.shared(), token).await?;
            in_session(app, identity.tenant, identity.session, identity.user, identity.expires_at).await
        }
        Shown::Key(key) => with_key(app, key).await,
        Shown::Cookie(token) => {
            let session = sessions::of_cookie(app.db.shared(), &token.sha256()).await?.ok_or(SESSION_OVER)?;
            cookie::refuse_other_sites(&parts.method, &parts.headers, &app.config)?;
            let (tenant, id) = (TenantId(session.tenant_id), SessionId(session.id));
            in_session(app, tenant, id, UserId(session.user_id), session.expires_at).await
        }
    }
}

/// Whether a key or a bearer token is shown, good or not. A cookie does not count: it comes with whatever a browser opens.
pub(crate) fn is_sent(headers: &HeaderMap) -> bool {
    headers.contains_key(header::AUTHORIZATION) || headers.contains_key("x-api-key")
}

enum Shown<'a> {
    AccessToken(&'a str),
    Key(&'a str),
    Cookie(OpaqueToken),
}

fn shown(headers: &HeaderMap) -> Result<Shown<'_>, ApiError> {
    if let Some(token) = only(headers, header::AUTHORIZATION.as_str())? {
        let token = token
            .split_once(' ')
            .filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty())
            .map(|(_, token)| token.trim())
            .ok_or(ApiError::Unauthenticated(
                "The Authorization header must be `Bearer` and a token or key",
            ))?;
        return Ok(if keys::looks_like_one(token) { Shown::Key(token) } else { Shown::AccessToken(token) });
    }
    if let Some(key) = only(headers, "x-api-key")? {
        return Ok(Shown::Key(key.trim()));
    }
    SessionCookie::sent(headers).map(Shown::Cookie).ok_or(ApiError::Unauthenticated(
        "Authentication required: send one header `Authorization: Bearer` with an access token, or `X-API-Key`",
    ))
}

/// The value of a header that must not be there twice.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Ok(Some(text)),
        _ => Err(ApiError::Unauthenticated("A credential is sent twice, or is not text: send one")),
    }
}

async fn in_session(
    app: &AppState,
    tenant: TenantId,
    session: SessionId,
    user: UserId,
    expires_at: DateTime<Utc>,
) -> Result<Caller, ApiError> {
    let key = SessionKey { tenant, session, user };
    let user = app.sessions.user(app.db.shared(), key).await?.ok_or(SESSION_OVER)?;
    if !user.is_active {
        return Err(NOT_ACTIVE);
    }
    let credential = Credential::Session(session);
    Ok(Caller { user, tenant, credential, scopes: Vec::new(), expires_at })
}

async fn with_key(app: &AppState, text: &str) -> Result<Caller, ApiError> {
    let sent = keys::parse(text).ok_or(NO_SUCH_KEY)?;
    let found = api_keys::shown(app.db.shared(), sent.public_id).await?.ok_or(NO_SUCH_KEY)?;
    // Digests tell nothing by the time that it takes to compare them.
    if found.kind != sent.kind || found.secret_hash != sent.sha256 {
        return Err(NO_SUCH_KEY);
    }
    let (tenant, id) = (TenantId(found.tenant_id), ApiKeyId(found.id));
    if found.is_stale {
        let mut tx = app.db.begin(tenant).await?;
        api_keys::record_use(&mut tx, id).await?;
        tx.commit().await?;
    }
    let (expires_at, scopes) = (found.expires_at, found.scopes.clone());
    let (user, credential) = match found.kind {
        Kind::Personal if !found.is_active => return Err(NOT_ACTIVE),
        Kind::Personal => (person_behind(found), Credential::PersonalToken(id)),
        Kind::Organization => (organization_behind(found), Credential::OrganizationKey(id)),
    };
    Ok(Caller { user, tenant, credential, scopes, expires_at })
}

/// The person whose token it is, with the lesser of both roles.
fn person_behind(key: ShownKey) -> User {
    let role = key.role.min(key.key_role);
    User {
        id: key.user_id,
        username: key.username,
        email: key.email,
        role,
        is_instance_admin: key.is_instance_admin && role == key.role,
        is_active: key.is_active,
    }
}

fn organization_behind(key: ShownKey) -> User {
    User {
        id: key.user_id,
        username: key.name,
        email: key.email,
        role: key.key_role,
        is_instance_admin: false,
        is_active: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("a value"));
        }
        headers
    }

    fn kind(pairs: &[(&'static str, &'static str)]) -> Option<&'static str> {
        shown(&headers(pairs)).ok().map(|shown| match shown {
            Shown::AccessToken(_) => "token",
            Shown::Key(_) => "key",
            Shown::Cookie(_) => "cookie",
        })
    }

    #[test]
    fn bearer_decides_when_it_is_there_then_the_key_then_the_cookie() {
        let (bearer, key) = (("authorization", "Bearer eyJ"), ("x-api-key", "hg_ak_x"));
        let cookie = ("cookie", "next-auth.session-token=abc");
        assert_eq!(kind(&[cookie, key, bearer]), Some("token"));
        assert_eq!(kind(&[("authorization", "bearer hg_pat_x"), cookie]), Some("key"));
        assert_eq!(kind(&[cookie, key]), Some("key"));
        assert_eq!(kind(&[cookie]), Some("cookie"));
        assert_eq!(kind(&[]), None);
    }

    #[test]
    fn exactly_one_bearer_token_is_wanted_and_nothing_makes_a_wrong_one_good() {
        let key = ("x-api-key", "hg_ak_x");
        for refused in ["Basic abc", "Bearer ", "abc"] {
            assert_eq!(kind(&[("authorization", refused), key]), None, "{refused}");
        }
        assert_eq!(kind(&[("authorization", "Bearer a"), ("authorization", "Bearer a")]), None);
        assert_eq!(kind(&[key, key]), None);
    }

    #[test]
    fn a_personal_token_may_do_the_lesser_of_its_role_and_its_persons() {
        use store::users::Role;
        let behind = |role, key_role| {
            let key = ShownKey {
                tenant_id: uuid::Uuid::nil(),
                id: uuid::Uuid::nil(),
                kind: Kind::Personal,
                name: "laptop".into(),
                secret_hash: Vec::new(),
                key_role,
                scopes: Vec::new(),
                expires_at: Utc::now(),
                is_stale: false,
                user_id: uuid::Uuid::nil(),
                username: "ada".into(),
                email: "ada@example.org".into(),
                role,
                is_instance_admin: true,
                is_active: true,
            };
            let user = person_behind(key);
            (user.role, user.is_instance_admin)
        };
        assert_eq!(behind(Role::Admin, Role::ReadOnly), (Role::ReadOnly, false));
        assert_eq!(behind(Role::ReadOnly, Role::Admin), (Role::ReadOnly, true));
        assert_eq!(behind(Role::Admin, Role::Admin), (Role::Admin, true));
    }
}
