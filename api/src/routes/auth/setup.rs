//! The first administrator.

use axum::{extract::State, http::HeaderMap};
use domain::id::{TenantId, UserId};
use secrecy::SecretString;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use store::{
    auth::{self, Account, FirstAdministrator, Setup},
    users::{AuthProvider, Role},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{
        account::{self, secret},
        sign_in::{self, SignedInAs},
    },
    error::{ApiError, Problems},
    extract::{Client, Json, SignInAttempt},
    openapi::{Anyone, BadBody, Conflicting, Limited},
    reply::Created,
    state::AppState,
};

const SETUP_TOKEN: &str = "x-setup-token";

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"username": "admin", "email": "admin@example.com", "password": "correct horse battery staple"}))]
struct SetUp {
    /// What the administrator signs in with.
    #[schema(min_length = 3, max_length = 64)]
    username: String,
    /// Where the administrator is written to.
    #[schema(min_length = 3, max_length = 254, format = Email)]
    email: String,
    /// 8 to 128 characters. Refused when it is among the first that anybody would guess, such as the username.
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 128)]
    password: SecretString,
    /// The one-time token that was printed when the installation was made. May also be sent as the header
    /// `X-Setup-Token`.
    #[serde(default)]
    setup_token: Option<String>,
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
    SignInAttempt(by): SignInAttempt,
    State(app): State<AppState>,
    client: Client,
    headers: HeaderMap,
    Json(request): Json<SetUp>,
) -> Result<Created<SignedInAs>, ApiError> {
    let done = || ApiError::Conflict("The set-up is done: sign in as the administrator".into());
    let sent = headers.get(SETUP_TOKEN).and_then(|token| token.to_str().ok());
    match auth::setup(app.db.shared()).await? {
        Setup::Done => return Err(done()),
        Setup::Open { token_sha256: Some(wanted) } if !client.is_local() => {
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
    let mut problems = Problems::default();
    account::check(&mut problems, &request.username, &request.email, &request.password);
    problems.finish()?;
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
    let account = Account {
        tenant_id: first.tenant_id.0,
        id: first.user_id.0,
        role: Role::Admin,
        is_instance_admin: true,
        auth_provider: AuthProvider::Internal,
        password_hash: None,
        is_active: true,
        username: request.username,
        email: request.email,
    };
    Ok(Created(sign_in::begin(&app, account, by).await?))
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
    OpenApiRouter::default().routes(routes!(set_up))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut problems = Problems::default();
        account::check(&mut problems, "x", "y", &"z".to_owned().into());
        let Err(ApiError::Invalid(errors)) = problems.finish() else { panic!("it is not valid") };
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["body -> username", "body -> email", "body -> password", "body -> password"]);
    }
}
