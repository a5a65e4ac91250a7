//! Who is asking, and whether they may.

use std::marker::PhantomData;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, Method, header, request::Parts},
};
use chrono::{DateTime, Utc};
use domain::id::{TenantId, UserId};
use queue::enqueue::Origin;
use store::{
    TenantTx,
    users::{self, Role, User},
};

use crate::{error::ApiError, state::AppState};

/// A person who is signed in, active, and satisfies the policy `P`. Role and activity are read with every
/// request, so that taking them away works at once.
pub(crate) struct Actor<P> {
    pub(crate) user: User,
    pub(crate) tenant: TenantId,
    /// When the token that they showed runs out.
    pub(crate) expires_at: DateTime<Utc>,
    app: AppState,
    /// Where the person was looked up. Requests without a body go on in it.
    tx: Option<TenantTx>,
    policy: PhantomData<P>,
}

/// Decides who may call a handler.
pub(crate) trait Policy: Send + 'static {
    /// Why `user` may not; nothing, if they may.
    fn refusal(user: &User) -> Option<String>;
}

/// Anybody who is signed in.
pub(crate) struct ReadOnly;
/// Analysts and administrators.
pub(crate) struct Analyst;
/// Administrators of the tenant.
pub(crate) struct Admin;
/// Administrators of the installation, for what all tenants share.
pub(crate) struct InstanceAdmin;

fn at_least(role: Role, user: &User) -> Option<String> {
    (user.role < role).then(|| format!("This needs the role {role}, and yours is {}", user.role))
}

impl Policy for ReadOnly {
    fn refusal(user: &User) -> Option<String> {
        at_least(Role::ReadOnly, user)
    }
}

impl Policy for Analyst {
    fn refusal(user: &User) -> Option<String> {
        at_least(Role::Analyst, user)
    }
}

impl Policy for Admin {
    fn refusal(user: &User) -> Option<String> {
        at_least(Role::Admin, user)
    }
}

impl Policy for InstanceAdmin {
    fn refusal(user: &User) -> Option<String> {
        let shared =
            "This changes what all organizations share and needs an administrator of the installation";
        at_least(Role::Admin, user).or_else(|| (!user.is_instance_admin).then(|| shared.into()))
    }
}

impl<P> Actor<P> {
    /// The person's id.
    pub(crate) fn id(&self) -> UserId {
        UserId(self.user.id)
    }

    /// Work of this tenant that this person asks for.
    pub(crate) fn origin(&self) -> Origin {
        Origin { tenant: Some(self.tenant), user: Some(self.id()) }
    }

    /// Work that this person asks for and all tenants have a part in.
    pub(crate) fn shared_origin(&self) -> Origin {
        Origin { tenant: None, user: Some(self.id()) }
    }

    /// A transaction that sees this tenant's rows.
    pub(crate) async fn begin(&mut self) -> Result<TenantTx, ApiError> {
        match self.tx.take() {
            Some(tx) => Ok(tx),
            None => Ok(self.app.db.begin(self.tenant).await?),
        }
    }
}

impl<P: Policy> FromRequestParts<AppState> for Actor<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        let token = bearer(&parts.headers)?;
        let identity = app.access_tokens.verify(app.db.shared(), token).await?;
        let mut tx = app.db.begin(identity.tenant).await?;
        let user = match users::find(&mut tx, identity.user).await {
            Ok(user) if user.is_active => user,
            Ok(_) | Err(store::Error::NotFound) => {
                return Err(ApiError::Unauthenticated("This account is not active"));
            }
            Err(error) => return Err(error.into()),
        };
        tracing::Span::current().record("user", tracing::field::display(user.id));
        if let Some(why) = P::refusal(&user) {
            return Err(ApiError::Forbidden(why));
        }
        // A connection must not wait for a body that a slow client is still sending.
        let has_no_body = matches!(parts.method, Method::GET | Method::HEAD);
        Ok(Self {
            user,
            tenant: identity.tenant,
            expires_at: identity.expires_at,
            app: app.clone(),
            tx: has_no_body.then_some(tx),
            policy: PhantomData,
        })
    }
}

/// The token of an `Authorization: Bearer` header. One that is there and wrong is never made good by another
/// header.
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(ApiError::Unauthenticated(
            "Authentication required: send one header `Authorization: Bearer` with an access token",
        ));
    };
    value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty())
        .map(|(_, token)| token.trim())
        .ok_or(ApiError::Unauthenticated("The Authorization header must be `Bearer` and an access token"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(role: Role, is_instance_admin: bool) -> User {
        User {
            id: uuid::Uuid::nil(),
            username: "ada".into(),
            email: "ada@example.org".into(),
            role,
            is_instance_admin,
            is_active: true,
        }
    }

    #[test]
    fn a_role_may_do_what_the_lesser_ones_may() {
        let may = |role, is_instance_admin| {
            let user = user(role, is_instance_admin);
            [
                ReadOnly::refusal(&user),
                Analyst::refusal(&user),
                Admin::refusal(&user),
                InstanceAdmin::refusal(&user),
            ]
            .map(|refusal| refusal.is_none())
        };
        assert_eq!(may(Role::ReadOnly, false), [true, false, false, false]);
        assert_eq!(may(Role::Analyst, false), [true, true, false, false]);
        assert_eq!(may(Role::Admin, false), [true, true, true, false]);
        assert_eq!(may(Role::Admin, true), [true, true, true, true]);
        assert_eq!(may(Role::Analyst, true), [true, true, false, false]);
    }

    #[test]
    fn exactly_one_bearer_token_is_wanted() {
        let headers = |values: &[&str]| -> HeaderMap {
            values
                .iter()
                .map(|value| (header::AUTHORIZATION, value.parse().expect("a header value")))
                .collect()
        };
        assert_eq!(bearer(&headers(&["Bearer abc"])).ok(), Some("abc"));
        assert_eq!(bearer(&headers(&["bearer abc"])).ok(), Some("abc"));
        for refused in [&[][..], &["Basic abc"], &["Bearer "], &["abc"], &["Bearer abc", "Bearer abc"]] {
            assert!(bearer(&headers(refused)).is_err(), "{refused:?}");
        }
    }
}
