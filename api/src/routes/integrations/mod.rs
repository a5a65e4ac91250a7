//! The systems that an organization works with: where each is, what it is shown, and whether that works.
//!
//! Secrets go in and do not come out: they are shown as [`crate::words::MASK`], and the mask sent back leaves the secret as it is. An address can only be
//! changed together with the secrets that would be sent there, so that nobody who does not know a secret can have it sent to themselves.

mod change;
mod probe;

use std::collections::BTreeSet;

use axum::extract::State;
use jsonwebtoken::EncodingKey;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use store::integrations::{self, Ceph, Github, GithubAuth, Integration, Settings, Wazuh};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::change::{Change, is_app_id, is_login, within};
use crate::{
    error::ApiError,
    extract::{Actor, Admin, Json, ReadOnly, given, given_secret, shown},
    openapi::{BadBody, SignedIn},
    routes::tested::Tested,
    state::AppState,
    words::{GithubAuthWord, MASK},
};

/// Everything that is set, with secrets masked.
#[derive(Debug, Serialize, ToSchema)]
struct Integrations {
    wazuh: WazuhSettings,
    github: GithubSettings,
    ceph: CephSettings,
}

/// Wazuh, which knows what is installed on hosts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"url": "https://wazuh.example.com:55000", "api_key": "********", "poll_interval_minutes": 15,
                          "staleness_threshold_hours": 24}))]
struct WazuhSettings {
    /// Of the manager's API. Null: it is not set up.
    url: Option<String>,
    /// `********` when there is one.
    api_key: Option<&'static str>,
    /// So often inventories are pulled.
    poll_interval_minutes: i32,
    /// A host that has been silent for so long is stale.
    staleness_threshold_hours: i32,
}

impl From<Integration<Wazuh>> for WazuhSettings {
    fn from(Integration { settings, secrets, .. }: Integration<Wazuh>) -> Self {
        Self {
            url: settings.url,
            api_key: masked(&secrets, "api_key"),
            poll_interval_minutes: settings.poll_interval_minutes,
            staleness_threshold_hours: settings.staleness_threshold_hours,
        }
    }
}

/// GitHub, or a GitHub Enterprise Server.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"url": "https://api.github.com", "org": "example", "auth_type": "pat", "pat": "********", "app_id": null,
                          "private_key": null}))]
struct GithubSettings {
    /// Of the API; of a GitHub Enterprise Server `https://host/api/v3`.
    url: String,
    /// The organization whose repositories are pulled. Null: it is not set up.
    org: Option<String>,
    /// Which of the two credentials is used.
    #[schema(value_type = GithubAuthWord)]
    auth_type: GithubAuth,
    /// `********` when there is one.
    pat: Option<&'static str>,
    /// Id or client id of a GitHub App.
    app_id: Option<String>,
    /// `********` when there is one.
    private_key: Option<&'static str>,
}

impl From<Integration<Github>> for GithubSettings {
    fn from(Integration { settings, secrets, .. }: Integration<Github>) -> Self {
        Self {
            url: settings.url,
            org: settings.org,
            auth_type: settings.auth_type,
            pat: masked(&secrets, "pat"),
            app_id: settings.app_id,
            private_key: masked(&secrets, "private_key"),
        }
    }
}

/// Ceph, by the API of its manager's dashboard.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"url": "https://ceph.example.com:8443", "username": "plimsoll", "password": "********"}))]
struct CephSettings {
    /// Of the manager's dashboard. Null: it is not set up.
    url: Option<String>,
    /// Of an account of the dashboard.
    username: Option<String>,
    /// `********` when there is one.
    password: Option<&'static str>,
}

impl From<Integration<Ceph>> for CephSettings {
    fn from(Integration { settings, secrets, .. }: Integration<Ceph>) -> Self {
        Self { url: settings.url, username: settings.username, password: masked(&secrets, "password") }
    }
}

fn masked(secrets: &BTreeSet<String>, name: &str) -> Option<&'static str> {
    secrets.contains(name).then_some(MASK)
}

/// What is to be changed. What is not named stays; null takes it away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"url": "https://wazuh.example.com:55000", "api_key": "wazuh:correct horse battery staple",
                          "poll_interval_minutes": 15, "staleness_threshold_hours": 24}))]
struct UpdateWazuh {
    /// Of the manager's API. `http` and addresses in private networks can be set by administrators of the installation only.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = "uri", max_length = 2048)]
    url: Option<Option<String>>,
    /// A token, or `user:password` of the manager's API. `********` leaves it as it is.
    #[serde(default, deserialize_with = "given_secret")]
    #[schema(value_type = Option<String>, format = Password, max_length = 16384)]
    api_key: Option<Option<SecretString>>,
    /// Null: 15.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 1440)]
    poll_interval_minutes: Option<Option<i32>>,
    /// A host that has been silent for so long is stale. Null: 24.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 8760)]
    staleness_threshold_hours: Option<Option<i32>>,
}

/// What is to be changed. What is not named stays; null takes it away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"org": "example", "auth_type": "pat", "pat": "github_pat_11ABCDEFG0"}))]
struct UpdateGithub {
    /// Of the API; of a GitHub Enterprise Server `https://host/api/v3`. Null: `https://api.github.com`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = "uri", max_length = 2048)]
    url: Option<Option<String>>,
    /// The organization whose repositories are pulled.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9]([A-Za-z0-9-]{0,37}[A-Za-z0-9])?$")]
    org: Option<Option<String>>,
    /// Which of the two credentials is used.
    #[schema(value_type = Option<GithubAuthWord>)]
    auth_type: Option<GithubAuth>,
    /// A personal access token. `********` leaves it as it is.
    #[serde(default, deserialize_with = "given_secret")]
    #[schema(value_type = Option<String>, format = Password, max_length = 16384)]
    pat: Option<Option<SecretString>>,
    /// Id or client id of a GitHub App.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9._-]{1,64}$")]
    app_id: Option<Option<String>>,
    /// The app's private key, RSA in PEM. `********` leaves it as it is.
    #[serde(default, deserialize_with = "given_secret")]
    #[schema(value_type = Option<String>, format = Password, max_length = 16384)]
    private_key: Option<Option<SecretString>>,
}

/// What is to be changed. What is not named stays; null takes it away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"url": "https://ceph.example.com:8443", "username": "plimsoll", "password": "correct horse battery staple"}))]
struct UpdateCeph {
    /// Of the manager's dashboard. `http` and addresses in private networks can be set by administrators of the installation only.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = "uri", max_length = 2048)]
    url: Option<Option<String>>,
    /// Of an account of the dashboard.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
    username: Option<Option<String>>,
    /// `********` leaves it as it is.
    #[serde(default, deserialize_with = "given_secret")]
    #[schema(value_type = Option<String>, format = Password, max_length = 16384)]
    password: Option<Option<SecretString>>,
}

/// How integrations are set up
///
/// With secrets masked.
#[utoipa::path(get, path = "/api/config/integrations", tag = "settings",
    responses((status = 200, body = Integrations), SignedIn))]
async fn get_integrations(actor: Actor<ReadOnly>) -> Result<Json<Integrations>, ApiError> {
    let mut tx = actor.begin().await?;
    Ok(Json(Integrations {
        wazuh: integrations::get::<Wazuh>(&mut tx).await?.into(),
        github: integrations::get::<Github>(&mut tx).await?.into(),
        ceph: integrations::get::<Ceph>(&mut tx).await?.into(),
    }))
}

/// Set up Wazuh
///
/// A new address needs the key again, even if it is the same.
#[utoipa::path(patch, path = "/api/config/integrations/wazuh", tag = "settings", request_body = UpdateWazuh,
    responses((status = 200, body = WazuhSettings), SignedIn, BadBody))]
async fn update_wazuh(
    State(app): State<AppState>,
    actor: Actor<Admin>,
    Json(request): Json<UpdateWazuh>,
) -> Result<Json<WazuhSettings>, ApiError> {
    let mut tx = actor.begin().await?;
    let before = integrations::get_for_update::<Wazuh>(&mut tx).await?;
    let mut change = Change::new(&app, &actor, &before);
    change.secret("api_key", request.api_key);
    let (old, default) = (before.settings, Wazuh::default());
    let settings = Wazuh {
        url: change.url(request.url, old.url, &before.secrets),
        poll_interval_minutes: within(
            &mut change.problems,
            "poll_interval_minutes",
            request.poll_interval_minutes,
            old.poll_interval_minutes,
            default.poll_interval_minutes,
            1440,
        ),
        staleness_threshold_hours: within(
            &mut change.problems,
            "staleness_threshold_hours",
            request.staleness_threshold_hours,
            old.staleness_threshold_hours,
            default.staleness_threshold_hours,
            8760,
        ),
    };
    change.finish(&app, &mut tx, &settings).await?;
    let after = integrations::get::<Wazuh>(&mut tx).await?;
    tx.commit().await?;
    Ok(Json(after.into()))
}

/// Set up GitHub
///
/// A new address needs token and key again, even if they are the same.
#[utoipa::path(patch, path = "/api/config/integrations/github", tag = "settings", request_body = UpdateGithub,
    responses((status = 200, body = GithubSettings), SignedIn, BadBody))]
async fn update_github(
    State(app): State<AppState>,
    actor: Actor<Admin>,
    Json(request): Json<UpdateGithub>,
) -> Result<Json<GithubSettings>, ApiError> {
    let mut tx = actor.begin().await?;
    let before = integrations::get_for_update::<Github>(&mut tx).await?;
    let mut change = Change::new(&app, &actor, &before);
    change.secret("pat", request.pat);
    change.secret("private_key", request.private_key);
    let is_key = |key: &SecretString| EncodingKey::from_rsa_pem(key.expose_secret().as_bytes()).is_ok();
    let is_usable = change.new_secret("private_key").is_none_or(is_key);
    change.problems.require(is_usable, "private_key", || {
        "is not an RSA key in PEM: send the file as GitHub gave it".into()
    });
    let old = before.settings;
    let url = request.url.map(|url| Some(url.unwrap_or_else(|| Github::PUBLIC.into())));
    let settings = Github {
        url: change.url(url, Some(old.url), &before.secrets).unwrap_or_else(|| Github::PUBLIC.into()),
        org: request.org.unwrap_or(old.org),
        auth_type: request.auth_type.unwrap_or(old.auth_type),
        app_id: request.app_id.unwrap_or(old.app_id),
    };
    change.problems.require(settings.org.as_deref().is_none_or(is_login), "org", || {
        let org = shown(settings.org.as_deref().unwrap_or_default());
        format!("{org} is not the name of an organization: letters, digits and single hyphens between them, at most 39")
    });
    change.problems.require(settings.app_id.as_deref().is_none_or(is_app_id), "app_id", || {
        let id = shown(settings.app_id.as_deref().unwrap_or_default());
        format!("{id} is not the id of an app: at most 64 letters, digits, `.`, `_` and `-`")
    });
    change.finish(&app, &mut tx, &settings).await?;
    let after = integrations::get::<Github>(&mut tx).await?;
    tx.commit().await?;
    Ok(Json(after.into()))
}

/// Set up Ceph
///
/// A new address needs the password again, even if it is the same.
#[utoipa::path(patch, path = "/api/config/integrations/ceph", tag = "settings", request_body = UpdateCeph,
    responses((status = 200, body = CephSettings), SignedIn, BadBody))]
async fn update_ceph(
    State(app): State<AppState>,
    actor: Actor<Admin>,
    Json(request): Json<UpdateCeph>,
) -> Result<Json<CephSettings>, ApiError> {
    let mut tx = actor.begin().await?;
    let before = integrations::get_for_update::<Ceph>(&mut tx).await?;
    let mut change = Change::new(&app, &actor, &before);
    change.secret("password", request.password);
    let old = before.settings;
    let settings = Ceph {
        url: change.url(request.url, old.url, &before.secrets),
        username: request.username.unwrap_or(old.username),
    };
    let length = settings.username.as_ref().map(|name| name.chars().count());
    change.problems.require(length.is_none_or(|length| (1..=200).contains(&length)), "username", || {
        format!("has {} characters, it must have 1 to 200; null takes it away", length.unwrap_or_default())
    });
    change.finish(&app, &mut tx, &settings).await?;
    let after = integrations::get::<Ceph>(&mut tx).await?;
    tx.commit().await?;
    Ok(Json(after.into()))
}

/// Test Wazuh
///
/// Asks the manager's API with what is set, and says whether it answers, whether it takes the key, and how long that took. Always 200: what
/// failed is in `message`.
#[utoipa::path(post, path = "/api/config/integrations/wazuh/test", tag = "settings",
    responses((status = 200, body = Tested), SignedIn))]
async fn test_wazuh(State(app): State<AppState>, actor: Actor<ReadOnly>) -> Result<Json<Tested>, ApiError> {
    let (set, key) = set_up::<Wazuh>(&app, &actor, |_| "api_key").await?;
    let client = probe::client(set.may_be_private, &app.config.integration_allow_hosts)
        .map_err(anyhow::Error::from)?;
    Ok(Json(Tested::timed(probe::wazuh(&client, &set.settings, key)).await))
}

/// Test GitHub
///
/// Asks GitHub with what is set, and says whether it answers, whether it takes the credential, and how long that took. Always 200: what
/// failed is in `message`.
#[utoipa::path(post, path = "/api/config/integrations/github/test", tag = "settings",
    responses((status = 200, body = Tested), SignedIn))]
async fn test_github(State(app): State<AppState>, actor: Actor<ReadOnly>) -> Result<Json<Tested>, ApiError> {
    let credential = |github: &Github| match github.auth_type {
        GithubAuth::Pat => "pat",
        GithubAuth::App => "private_key",
    };
    let (set, secret) = set_up::<Github>(&app, &actor, credential).await?;
    let client = probe::client(set.may_be_private, &app.config.integration_allow_hosts)
        .map_err(anyhow::Error::from)?;
    Ok(Json(Tested::timed(probe::github(&client, &set.settings, secret)).await))
}

/// Test Ceph
///
/// Signs in at the manager's dashboard with what is set, and says whether it answers, whether it takes the password, and how long that took.
/// Always 200: what failed is in `message`.
#[utoipa::path(post, path = "/api/config/integrations/ceph/test", tag = "settings",
    responses((status = 200, body = Tested), SignedIn))]
async fn test_ceph(State(app): State<AppState>, actor: Actor<ReadOnly>) -> Result<Json<Tested>, ApiError> {
    let (set, password) = set_up::<Ceph>(&app, &actor, |_| "password").await?;
    let client = probe::client(set.may_be_private, &app.config.integration_allow_hosts)
        .map_err(anyhow::Error::from)?;
    Ok(Json(Tested::timed(probe::ceph(&client, &set.settings, password)).await))
}

/// What is set, and the secret that `which` names. The connection is given back: the other side may take its time.
async fn set_up<T: Settings>(
    app: &AppState,
    actor: &Actor<ReadOnly>,
    which: impl FnOnce(&T) -> &'static str,
) -> Result<(Integration<T>, Option<SecretString>), ApiError> {
    let mut tx = actor.begin().await?;
    let set = integrations::get::<T>(&mut tx).await?;
    let secret = integrations::secret::<T>(&mut tx, &app.secrets, which(&set.settings)).await?;
    tx.commit().await?;
    Ok((set, secret))
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(get_integrations))
        .routes(routes!(update_wazuh))
        .routes(routes!(update_github))
        .routes(routes!(update_ceph))
        .routes(routes!(test_wazuh))
        .routes(routes!(test_github))
        .routes(routes!(test_ceph))
}
