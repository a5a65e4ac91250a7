//! Signing in: who it is, and what they are given.

use domain::id::{SessionId, TenantId, UserId};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::json;
use store::{
    TenantTx,
    audit::{self, By, Note},
    auth::{self, Account, ExternalIdentity, OidcSignIn},
    db::begin_transaction,
    sessions,
    users::AuthProvider,
};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    OpaqueToken,
    account::{check_email, check_username},
    groups,
    ldap::Directory,
    oidc::Provider,
};
use crate::{
    error::{ApiError, Problems},
    limit,
    state::AppState,
    words::RoleWord,
};

/// One answer for an unknown name, a wrong password and an account that was deactivated.
pub(crate) const WRONG: ApiError = ApiError::Unauthenticated("Wrong username or password");

/// Tokens, and whose they are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedInAs {
    #[serde(flatten)]
    pub(crate) tokens: Tokens,
    pub(crate) user: Me,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tokens {
    /// A JWT, to be sent as `Authorization: Bearer`.
    #[schema(example = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJIUzI1NiJ9...")]
    pub(crate) access_token: String,
    /// Good for one use of `POST /api/auth/refresh`.
    #[schema(example = "k1YxJ0zN0XgD3m9rT6m5sBqf2V8uZ4aEwPcHnLyIo7M")]
    pub(crate) refresh_token: String,
    /// `bearer`, as RFC 6749, section 5.1, calls it.
    #[schema(example = "bearer")]
    pub(crate) token_type: &'static str,
}

/// The person who is signed in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "550e8400-e29b-41d4-a716-446655440000", "username": "admin", "email": "admin@example.com",
                          "role": "admin"}))]
pub(crate) struct Me {
    pub(crate) id: Uuid,
    /// What they sign in with.
    pub(crate) username: String,
    pub(crate) email: String,
    #[schema(value_type = RoleWord)]
    pub(crate) role: &'static str,
}

/// The account that name and password open: here, or at the directory for whoever has no password here. A name that is
/// unknown is as much work as a wrong password, and has to wait as long after many. `by`: where the request came from.
pub(crate) async fn by_password(
    app: &AppState,
    by: &By,
    username: &str,
    password: SecretString,
) -> Result<Account, ApiError> {
    let guess = limit::admit_guess(app, username, by.address.as_deref()).await?;
    let account = by_right_password(app, username, password).await?;
    app.guesses.was_right(&guess).await;
    Ok(account)
}

async fn by_right_password(
    app: &AppState,
    username: &str,
    password: SecretString,
) -> Result<Account, ApiError> {
    let account = auth::account_by_login(app.db.shared(), username).await?;
    let here = account.filter(|account| account.auth_provider == AuthProvider::Internal);
    if let (None, Some(directory)) = (&here, &app.directory) {
        return by_directory(app, directory, username, &password).await;
    }
    let hash = here.as_ref().and_then(|account| account.password_hash.clone());
    let fits = app.passwords.verify(password, hash).await?;
    here.filter(|account| fits && account.is_active).ok_or(WRONG)
}

async fn by_directory(
    app: &AppState,
    directory: &Directory,
    username: &str,
    password: &SecretString,
) -> Result<Account, ApiError> {
    let person = directory.sign_in(username, password).await.map_err(ApiError::Unavailable)?.ok_or(WRONG)?;
    let settings = directory.settings();
    let identity = ExternalIdentity {
        provider: AuthProvider::Ldap,
        issuer: &directory.issuer(),
        subject: &person.id,
        username: &person.username,
        email: &person.email,
        role: groups::role(&settings.roles, &person.groups)?,
        organization: settings.organization.as_deref(),
    };
    by_identity(app, &identity).await
}

/// The account of whoever the OpenID provider gave `code` to.
pub(crate) async fn by_provider(
    app: &AppState,
    provider: &Provider,
    code: &str,
    kept: &OidcSignIn,
) -> Result<Account, ApiError> {
    let person = provider.arrive(code, kept).await?;
    let settings = provider.settings();
    let identity = ExternalIdentity {
        provider: AuthProvider::Oidc,
        issuer: &settings.issuer,
        subject: &person.subject,
        username: &person.username,
        email: &person.email,
        role: groups::role(&settings.roles, &person.groups)?,
        organization: settings.organization.as_deref(),
    };
    by_identity(app, &identity).await
}

async fn by_identity(app: &AppState, identity: &ExternalIdentity<'_>) -> Result<Account, ApiError> {
    let mut problems = Problems::default();
    check_username(&mut problems, identity.username);
    check_email(&mut problems, identity.email);
    problems.finish().map_err(|_| {
        let (username, email) = (identity.username, identity.email);
        ApiError::Conflict(format!(
            "No account can be called `{username}` and have the e-mail address `{email}`"
        ))
    })?;
    let account = auth::account_of_identity(app.db.shared(), identity).await?.ok_or_else(|| {
        tracing::warn!(
            issuer = identity.issuer,
            subject = identity.subject,
            "no account for somebody from elsewhere: the name, the address or the organization does not fit"
        );
        ApiError::Conflict(
            "Your username or e-mail address belongs to another account: ask an administrator".into(),
        )
    })?;
    if account.is_active { Ok(account) } else { Err(WRONG) }
}

/// Writes down that somebody could not sign in as `username`. A name that nobody has is not written: people type passwords there.
pub(crate) async fn note_failure(app: &AppState, by: &By, username: &str) -> Result<(), ApiError> {
    let account = auth::account_by_login(app.db.shared(), username).await?;
    let note = Note {
        action: "auth.login_failed",
        target_type: "user",
        target_id: account.as_ref().map(|account| account.id.to_string()),
        detail: json!({ "username": account.as_ref().map(|account| &account.username) }),
    };
    let tenant = account.map(|account| TenantId(account.tenant_id));
    let mut connection = begin_transaction(app.db.shared(), "begin").await.map_err(store::Error::from)?;
    let by = By { actor: "anonymous".into(), ..by.clone() };
    audit::note(&mut connection, tenant, &by, &note).await?;
    Ok(connection.commit().await.map_err(store::Error::from)?)
}

/// Begins a session of somebody who has proved who they are. `by`: where the request came from.
pub(crate) async fn begin(app: &AppState, account: Account, by: By) -> Result<SignedInAs, ApiError> {
    let (tenant, user) = (TenantId(account.tenant_id), UserId(account.id));
    let mut tx = app.db.begin(tenant).await?;
    let by = By { actor_id: Some(account.id), actor: account.username.clone(), ..by };
    let note = Note {
        action: "auth.login",
        target_type: "user",
        target_id: Some(account.id.to_string()),
        detail: json!({ "provider": account.auth_provider.as_str() }),
    };
    audit::note(&mut tx, Some(tenant), &by, &note).await?;
    let session = sessions::begin(&mut tx, user, app.config.lifetimes.session).await?;
    let tokens = tokens(app, tx, user, session).await?;
    let role = account.role.as_str();
    Ok(SignedInAs {
        tokens,
        user: Me { id: account.id, username: account.username, email: account.email, role },
    })
}

/// The next tokens of a session. Commits.
pub(crate) async fn tokens(
    app: &AppState,
    mut tx: TenantTx,
    user: UserId,
    session: SessionId,
) -> Result<Tokens, ApiError> {
    let (tenant, next) = (tx.tenant(), OpaqueToken::generate());
    sessions::insert_refresh_token(&mut tx, session, &next.sha256(), app.config.lifetimes.refresh_token)
        .await?;
    tx.commit().await?;
    let access_token = app.access_tokens.issue(app.db.shared(), tenant, user, session).await?;
    Ok(Tokens { access_token, refresh_token: next.reveal(), token_type: "bearer" })
}
