//! The systems that an organization works with: where each is, and the secrets it asks for, which are sealed.

use std::collections::BTreeSet;

use domain::inventory;
use runtime::secrets::{Keys, Place, Sealed};
use secrecy::SecretString;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sqlx::types::Json;

use crate::{db::TenantTx, error::Result, secrets};

/// What is kept of one system besides its secrets. Stored as JSON: a setting that is added needs no migration.
pub trait Settings: Default + Serialize + DeserializeOwned + Send + Unpin + 'static {
    /// The word in rows and addresses.
    const NAME: &'static str;
}

/// Wazuh, which knows what is installed on hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wazuh {
    /// Of its manager's API, without a path of ours.
    pub url: Option<String>,
    pub poll_interval_minutes: i32,
    /// A host that has been silent for so long is stale.
    pub staleness_threshold_hours: i32,
}

impl Default for Wazuh {
    fn default() -> Self {
        Self { url: None, poll_interval_minutes: 15, staleness_threshold_hours: 24 }
    }
}

impl Settings for Wazuh {
    const NAME: &'static str = "wazuh";
}

/// How we prove who we are at GitHub.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GithubAuth {
    /// A personal access token.
    #[default]
    Pat,
    /// A GitHub App with a private key.
    App,
}

impl GithubAuth {
    /// Every way.
    pub const ALL: [Self; 2] = [Self::Pat, Self::App];

    /// The word in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pat => "pat",
            Self::App => "app",
        }
    }
}

/// GitHub, or a GitHub Enterprise Server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Github {
    /// Of its API.
    pub url: String,
    pub org: Option<String>,
    pub auth_type: GithubAuth,
    pub app_id: Option<String>,
}

impl Github {
    /// Where the API of github.com is.
    pub const PUBLIC: &'static str = "https://api.github.com";
}

impl Default for Github {
    fn default() -> Self {
        Self { url: Self::PUBLIC.into(), org: None, auth_type: GithubAuth::default(), app_id: None }
    }
}

impl Settings for Github {
    const NAME: &'static str = "github";
}

/// Ceph, by the API of its manager's dashboard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ceph {
    pub url: Option<String>,
    pub username: Option<String>,
}

impl Settings for Ceph {
    const NAME: &'static str = "ceph";
}

/// One system as an organization has set it up.
#[derive(Debug, Clone, Default)]
pub struct Integration<T> {
    pub settings: T,
    /// An administrator of the installation has set the address: it may lie in a private network.
    pub may_be_private: bool,
    /// Which secrets there are.
    pub secrets: BTreeSet<String>,
}

/// What was set, or the defaults.
///
/// # Errors
/// When the database cannot be reached.
pub async fn get<T: Settings>(tx: &mut TenantTx) -> Result<Integration<T>> {
    let tenant = tx.tenant();
    let kept: Option<(Json<T>, bool)> = sqlx::query_as(
        "select settings, may_be_private from integrations where tenant_id = $1 and name = $2",
    )
    .bind(tenant.0)
    .bind(T::NAME)
    .fetch_optional(&mut **tx)
    .await?;
    let secrets: Vec<String> =
        sqlx::query_scalar("select name from integration_secrets where tenant_id = $1 and integration = $2")
            .bind(tenant.0)
            .bind(T::NAME)
            .fetch_all(&mut **tx)
            .await?;
    let (settings, may_be_private) =
        kept.map_or_else(Default::default, |(Json(settings), private)| (settings, private));
    Ok(Integration { settings, may_be_private, secrets: secrets.into_iter().collect() })
}

/// As [`get`], and nobody else changes the tenant's integrations until the transaction ends.
///
/// # Errors
/// When the database cannot be reached.
pub async fn get_for_update<T: Settings>(tx: &mut TenantTx) -> Result<Integration<T>> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('integrations ' || $1, 0))")
        .bind(tx.tenant().to_string())
        .execute(&mut **tx)
        .await?;
    get(tx).await
}

/// Replaces what was set, but for the secrets.
///
/// # Errors
/// When the database refuses.
pub async fn set<T: Settings>(tx: &mut TenantTx, settings: &T, may_be_private: bool) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query(
        "insert into integrations (tenant_id, name, settings, may_be_private) values ($1, $2, $3, $4)
         on conflict (tenant_id, name) do update
            set settings = excluded.settings, may_be_private = excluded.may_be_private, changed_at = now()",
    )
    .bind(tenant.0)
    .bind(T::NAME)
    .bind(Json(settings))
    .bind(may_be_private)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Keeps a secret, instead of the one that was there. The settings have to be there first.
///
/// # Errors
/// When the database refuses, or the secret cannot be sealed.
pub async fn put_secret<T: Settings>(
    tx: &mut TenantTx,
    keys: &Keys,
    name: &str,
    secret: &SecretString,
) -> Result<()> {
    let tenant = tx.tenant();
    let row = row::<T>(name);
    let sealed = secrets::seal(&mut *tx, keys, &place(tenant, &row), secret).await?;
    sqlx::query(
        "insert into integration_secrets (tenant_id, integration, name, secret, secret_key) values ($1, $2, $3, $4, $5)
         on conflict (tenant_id, integration, name) do update
            set secret = excluded.secret, secret_key = excluded.secret_key",
    )
    .bind(tenant.0)
    .bind(T::NAME)
    .bind(name)
    .bind(sealed.secret)
    .bind(sealed.key)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Forgets a secret, if there is one.
///
/// # Errors
/// When the database refuses.
pub async fn delete_secret<T: Settings>(tx: &mut TenantTx, name: &str) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query("delete from integration_secrets where tenant_id = $1 and integration = $2 and name = $3")
        .bind(tenant.0)
        .bind(T::NAME)
        .bind(name)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// A secret, to be used and not to be shown.
///
/// # Errors
/// [`crate::Error::Secret`] when it cannot be opened.
pub async fn secret<T: Settings>(tx: &mut TenantTx, keys: &Keys, name: &str) -> Result<Option<SecretString>> {
    let tenant = tx.tenant();
    let kept: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "select secret, secret_key from integration_secrets
          where tenant_id = $1 and integration = $2 and name = $3",
    )
    .bind(tenant.0)
    .bind(T::NAME)
    .bind(name)
    .fetch_optional(&mut **tx)
    .await?;
    let row = row::<T>(name);
    kept.map(|(secret, key)| secrets::unseal(keys, &place(tenant, &row), &Sealed { secret, key })).transpose()
}

/// The integrations that are set up, with an address and the secret for it, so that inventories can be pulled. Each has its schedule,
/// which the database keeps (`migrations/*_inventory_pulls.sql`).
///
/// # Errors
/// When the database cannot be reached.
pub async fn pulled(tx: &mut TenantTx) -> Result<Vec<inventory::Integration>> {
    let tenant = tx.tenant();
    let names: Vec<String> = sqlx::query_scalar(
        "select integration from schedules where tenant_id = $1 and integration is not null",
    )
    .bind(tenant.0)
    .fetch_all(&mut **tx)
    .await?;
    let is_set_up =
        |integration: &inventory::Integration| names.iter().any(|name| name == integration.as_str());
    Ok(inventory::Integration::ALL.into_iter().filter(is_set_up).collect())
}

fn row<T: Settings>(name: &str) -> String {
    format!("{}/{name}", T::NAME)
}

fn place(tenant: domain::id::TenantId, row: &str) -> Place<'_> {
    secrets::place(Some(tenant), "integration_secrets", "secret", row)
}
