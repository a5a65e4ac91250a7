//! Who is asking, and whether they may.

use std::marker::PhantomData;

use axum::{extract::FromRequestParts, http::request::Parts};
use chrono::{DateTime, Utc};
use domain::id::{SessionId, TenantId, UserId};
use queue::enqueue::Origin;
use store::{
    TenantTx,
    audit::{self, By},
    organizations,
    users::{Role, User},
};

use crate::{
    auth::{Caller, Credential, authenticate, scopes},
    error::ApiError,
    extract::Client,
    layers::RequestId,
    limit,
    state::AppState,
};

/// A person or a key that is known, active, and satisfies the policy `P`. Role, activity and session are read with
/// every request, so that taking them away works at once, on every node.
pub(crate) struct Actor<P> {
    /// Who; behind a key of the organization the person who made it, with the key's name and role.
    pub(crate) user: User,
    /// Whose rows they see: their own organization, until they go to another ([`Self::in_organization`]).
    pub(crate) tenant: TenantId,
    home: TenantId,
    pub(crate) credential: Credential,
    /// When what they showed runs out.
    pub(crate) expires_at: DateTime<Utc>,
    by: By,
    app: AppState,
    policy: PhantomData<P>,
}

/// Decides who may call a handler.
pub(crate) trait Policy: Send + 'static {
    /// Whether a person must have signed in for it: no key will do, so that a leaked one makes no others.
    const IN_PERSON: bool = false;

    /// Why `user` may not; nothing, if they may.
    fn refusal(user: &User) -> Option<String>;
}

/// Anybody who is known.
pub(crate) struct ReadOnly;
/// Analysts and administrators.
pub(crate) struct Analyst;
/// Administrators of the tenant.
pub(crate) struct Admin;
/// Administrators of the installation, for what all tenants share.
pub(crate) struct InstanceAdmin;
/// As `P`, and signed in themselves.
pub(crate) struct InPerson<P>(PhantomData<P>);

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

impl<P: Policy> Policy for InPerson<P> {
    const IN_PERSON: bool = true;

    fn refusal(user: &User) -> Option<String> {
        P::refusal(user)
    }
}

impl<P> Actor<P> {
    /// The person's id.
    pub(crate) fn id(&self) -> UserId {
        UserId(self.user.id)
    }

    /// The session, if they signed in themselves.
    pub(crate) fn session(&self) -> Option<SessionId> {
        match self.credential {
            Credential::Session(session) => Some(session),
            Credential::PersonalToken(_) | Credential::OrganizationKey(_) => None,
        }
    }

    /// Work of this tenant that this person asks for.
    pub(crate) fn origin(&self) -> Origin {
        Origin { tenant: Some(self.tenant), user: Some(self.id()) }
    }

    /// Work that this person asks for and all tenants have a part in.
    pub(crate) fn shared_origin(&self) -> Origin {
        Origin { tenant: None, user: Some(self.id()) }
    }

    /// The person, as the rows of the tenant may refer to them: nobody, where they are a guest.
    pub(crate) fn as_member(&self) -> Option<UserId> {
        (self.tenant == self.home).then(|| self.id())
    }

    /// The same person in the organization that an address names by `slug`: their own, or, for administrators of the installation,
    /// any. Whether there is another is nobody else's business. What is done there is in the trail of that organization.
    pub(crate) async fn in_organization(mut self, slug: &str) -> Result<Self, ApiError> {
        let own = organizations::own(&mut self.begin().await?).await?;
        if own.slug != slug {
            if InstanceAdmin::refusal(&self.user).is_some() {
                return Err(ApiError::NotFound);
            }
            self.tenant = organizations::id_of(self.app.db.shared(), slug).await?;
        }
        Ok(self)
    }

    /// Whose doing it is, for the audit trail.
    pub(crate) fn by(&self) -> &By {
        &self.by
    }

    /// A transaction that sees this tenant's rows. What it changes is this person's doing, and is in the audit trail.
    pub(crate) async fn begin(&self) -> Result<TenantTx, ApiError> {
        Ok(self.app.db.begin_by(self.tenant, &self.by).await?)
    }
}

impl<P: Policy> FromRequestParts<AppState> for Actor<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        let Caller { user, tenant, credential, scopes: granted, expires_at } =
            authenticate(parts, app).await?;
        tracing::Span::current().record("user", tracing::field::display(user.id));
        let by = by(parts, app, &user).await?;
        limit::admit(parts, app, tenant, user.id, credential).await?;
        let may_not = if P::IN_PERSON && !matches!(credential, Credential::Session(_)) {
            Some("This needs a person who signed in: a key will not do".into())
        } else {
            P::refusal(&user).or_else(|| {
                let scope = scopes::missing(&granted, &parts.method, parts.uri.path())?;
                Some(format!("This needs the scope {scope}, which the key does not have"))
            })
        };
        if let Some(why) = may_not {
            note_refusal(parts, app, tenant, &by, &why).await?;
            return Err(ApiError::Forbidden(why));
        }
        parts.extensions.insert(tenant);
        let app = app.clone();
        Ok(Self { user, tenant, home: tenant, credential, expires_at, by, app, policy: PhantomData })
    }
}

async fn by(parts: &mut Parts, app: &AppState, user: &User) -> Result<By, ApiError> {
    let client = Client::from_request_parts(parts, app).await?;
    Ok(By {
        actor_id: Some(user.id),
        actor: user.username.clone(),
        is_instance_admin: user.is_instance_admin,
        request_id: RequestId::of(&parts.extensions),
        address: client.address.map(|address| address.to_string()),
    })
}

/// Whoever tries what they may not is in the audit trail.
async fn note_refusal(
    parts: &Parts,
    app: &AppState,
    tenant: TenantId,
    by: &By,
    why: &str,
) -> Result<(), ApiError> {
    let note = audit::Note {
        action: "permission.refused",
        target_type: "request",
        target_id: None,
        detail: serde_json::json!({ "method": parts.method.as_str(), "path": parts.uri.path(), "why": why }),
    };
    let mut tx = app.db.begin(tenant).await?;
    audit::note(&mut tx, Some(tenant), by, &note).await?;
    Ok(tx.commit().await?)
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
                InPerson::<InstanceAdmin>::refusal(&user),
            ]
            .map(|refusal| refusal.is_none())
        };
        assert_eq!(may(Role::ReadOnly, false), [true, false, false, false]);
        assert_eq!(may(Role::Analyst, false), [true, true, false, false]);
        assert_eq!(may(Role::Admin, false), [true, true, true, false]);
        assert_eq!(may(Role::Admin, true), [true, true, true, true]);
        assert_eq!(may(Role::Analyst, true), [true, true, false, false]);
    }
}
