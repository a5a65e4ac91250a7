//! Webhook endpoints: addresses that are told when something happens.

use std::net::IpAddr;

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use domain::id::WebhookId;
use runtime::{
    config::Network,
    egress::address::{Reach, reach},
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use store::webhooks;
use url::{Host, Url};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    error::{ApiError, Problems},
    extract::{Actor, Admin, Json, Listing, Path, shown_address},
    openapi::{BadBody, Conflicting, Invalid, Missing, SignedIn},
    reply::{Created, Deleted, Page},
    state::AppState,
    words::EventWord,
};

/// What can be listened for.
pub(crate) const EVENTS: [&str; 2] = ["report.generated", "batch.finished"];
const MOST_WEBHOOKS: i64 = 50;
/// How secrets are written (Standard Webhooks, "Signature scheme"), and how long they are, bytes.
const PREFIX: &str = "whsec_";
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"url": "https://hooks.example.com/plimsoll", "events": ["report.generated"]}))]
struct CreateWebhook {
    /// Where to post. Addresses inside private networks have to be in one that the setting `WEBHOOK_ALLOW_PRIVATE` names.
    #[schema(min_length = 8, max_length = 2048, format = "uri")]
    url: String,
    /// What to be told of; empty or missing: everything. There are `report.generated` and `batch.finished`.
    #[serde(default)]
    #[schema(value_type = Vec<EventWord>)]
    events: Vec<String>,
    /// A secret of your own, `whsec_` and the base64 of 24 to 64 bytes. One is made when this is missing.
    #[schema(pattern = "^whsec_[A-Za-z0-9+/]{32,86}={0,2}$")]
    secret: Option<String>,
}

/// An endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "url": "https://hooks.example.com/plimsoll",
    "events": ["report.generated"], "enabled": true, "disabled_reason": null, "created_at": "2026-11-22T10:00:00Z"}))]
struct Webhook {
    id: Uuid,
    /// Where events are posted.
    url: String,
    /// Empty: everything.
    events: Vec<String>,
    /// Events are sent to it.
    enabled: bool,
    /// Why nothing is sent to it any more.
    disabled_reason: Option<String>,
    created_at: DateTime<Utc>,
}

impl From<webhooks::Webhook> for Webhook {
    fn from(webhook: webhooks::Webhook) -> Self {
        Self {
            id: webhook.id,
            url: webhook.url,
            events: webhook.events,
            enabled: webhook.enabled,
            disabled_reason: webhook.disabled_reason,
            created_at: webhook.created_at,
        }
    }
}

/// A new endpoint, with its secret.
#[derive(Debug, Serialize, ToSchema)]
struct WebhookCreated {
    #[serde(flatten)]
    webhook: Webhook,
    /// Verifies the signatures (Standard Webhooks). Shown this once.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=")]
    secret: String,
}

/// List webhooks
///
/// The newest first, those to which nothing is sent any more among them, with why.
#[utoipa::path(get, path = "/api/webhooks", tag = "webhooks", params(Listing),
    responses((status = 200, body = Page<Webhook>), SignedIn, Invalid))]
async fn list_webhooks(
    actor: Actor<Admin>,
    Listing { page, .. }: Listing,
) -> Result<Page<Webhook>, ApiError> {
    let webhooks = webhooks::list(&mut actor.begin().await?, page).await?;
    Ok(Page::of(webhooks))
}

/// Register a webhook
///
/// Events are posted as JSON, signed by the Standard Webhooks scheme (`webhook-id`, `webhook-timestamp`,
/// `webhook-signature`), and tried again for days when the endpoint does not answer. The secret is shown in
/// this answer and never again.
#[utoipa::path(post, path = "/api/webhooks", tag = "webhooks", request_body = CreateWebhook,
    responses((status = 201, body = WebhookCreated), SignedIn, Conflicting, BadBody))]
async fn create_webhook(
    axum::extract::State(app): axum::extract::State<AppState>,
    actor: Actor<Admin>,
    Json(request): Json<CreateWebhook>,
) -> Result<Created<WebhookCreated>, ApiError> {
    let mut problems = Problems::default();
    if let Err(why) = check_url(&request.url, &app.config.webhook_networks) {
        problems.require(false, "url", || format!("{} {why}", shown_address(&request.url)));
    }
    for (index, event) in request.events.iter().enumerate() {
        problems.require(EVENTS.contains(&event.as_str()), &format!("events -> {index}"), || {
            format!("there is no event `{event}`, there is {}", EVENTS.join(", "))
        });
    }
    if let Some(secret) = &request.secret {
        problems.require(is_secret(secret), "secret", || {
            format!("must be `{PREFIX}` and the base64 of 24 to 64 random bytes, or be left out")
        });
    }
    problems.finish()?;
    let secret =
        request.secret.unwrap_or_else(|| format!("{PREFIX}{}", STANDARD.encode(rand::random::<[u8; 32]>())));
    let sealable = SecretString::from(secret.clone());
    let mut events = request.events;
    events.sort_unstable();
    events.dedup();
    let mut tx = actor.begin().await?;
    if webhooks::count(&mut tx).await? >= MOST_WEBHOOKS {
        return Err(ApiError::Conflict(format!(
            "There are {MOST_WEBHOOKS} webhooks already: delete one first"
        )));
    }
    let webhook = webhooks::insert(&mut tx, &app.secrets, &request.url, &sealable, &events).await?;
    tx.commit().await?;
    Ok(Created(WebhookCreated { webhook: webhook.into(), secret }))
}

/// Get a webhook
///
/// With why nothing is sent to it any more, if that is so. Its secret was shown when it was made.
#[utoipa::path(get, path = "/api/webhooks/{webhook_id}", tag = "webhooks",
    params(("webhook_id" = Uuid, Path, description = "The webhook's id.")),
    responses((status = 200, body = Webhook), SignedIn, Missing))]
async fn get_webhook(actor: Actor<Admin>, Path(id): Path<WebhookId>) -> Result<Json<Webhook>, ApiError> {
    let webhook = webhooks::find(&mut actor.begin().await?, id).await?;
    Ok(Json(webhook.into()))
}

/// Delete a webhook
///
/// What was on its way to it is not sent any more.
#[utoipa::path(delete, path = "/api/webhooks/{webhook_id}", tag = "webhooks",
    params(("webhook_id" = Uuid, Path, description = "The webhook's id.")),
    responses((status = 200, body = Deleted), SignedIn, Missing))]
async fn delete_webhook(actor: Actor<Admin>, Path(id): Path<WebhookId>) -> Result<Deleted, ApiError> {
    let mut tx = actor.begin().await?;
    webhooks::delete(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Deleted::new(id.0))
}

/// Whether `text` is an address that events may be posted to, as far as can be told without asking. The
/// guarded client asks again, each time, where the name leads.
fn check_url(text: &str, networks: &[Network]) -> Result<(), String> {
    if !(8..=2048).contains(&text.len()) {
        return Err(format!("has {} bytes, it must be 8 to 2048", text.len()));
    }
    let url =
        Url::parse(text).map_err(|error| format!("is not an address ({error}): write https://host/path"))?;
    match url.scheme() {
        "https" => {}
        "http" if !networks.is_empty() => {}
        "http" => return Err("must be https, so that nobody can read or change what is sent".into()),
        other => return Err(format!("has the scheme `{other}`: write https://host/path")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "must not carry a user name or a password: the receiver verifies the signature instead".into()
        );
    }
    let address: Option<IpAddr> = match url.host() {
        Some(Host::Ipv4(address)) => Some(address.into()),
        Some(Host::Ipv6(address)) => Some(address.into()),
        Some(Host::Domain(name)) if name.trim_end_matches('.') == "localhost" => Some([127, 0, 0, 1].into()),
        Some(Host::Domain(_)) => None,
        None => return Err("names no host: write https://host/path".into()),
    };
    match address.map(|address| (address, reach(address))) {
        Some((_, Reach::Never)) => Err("leads to an address that nothing may be sent to".into()),
        Some((address, Reach::Private)) if !networks.iter().any(|network| network.contains(address)) => {
            Err("leads into a private network: name that in WEBHOOK_ALLOW_PRIVATE if it is meant".into())
        }
        _ => Ok(()),
    }
}

fn is_secret(text: &str) -> bool {
    let bytes = text.strip_prefix(PREFIX).and_then(|encoded| STANDARD.decode(encoded).ok());
    bytes.is_some_and(|bytes| SECRET_BYTES.contains(&bytes.len()))
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_webhooks, create_webhook))
        .routes(routes!(get_webhook, delete_webhook))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_posted_to_public_https_addresses_only() {
        assert!(check_url("https://hooks.example.com/x?y=z", &[]).is_ok());
        for url in [
            "http://hooks.example.com/x",
            "ftp://hooks.example.com/",
            "https://user:secret@hooks.example.com/",
            "https://127.0.0.1/",
            "https://localhost/",
            "https://[::1]/",
            "https://10.0.0.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://2130706433/",
            "hooks.example.com",
            "javascript:alert(1)",
            "https://",
        ] {
            assert!(check_url(url, &[]).is_err(), "{url}");
        }
    }

    #[test]
    fn private_networks_can_be_allowed_but_metadata_services_cannot() {
        let networks = ["127.0.0.0/8", "10.0.0.0/24", "169.254.0.0/16"];
        let networks = networks.map(|network| network.parse().expect("a network"));
        assert!(check_url("http://127.0.0.1:9000/hook", &networks).is_ok());
        assert!(check_url("https://10.0.0.1/", &networks).is_ok());
        assert!(check_url("https://10.0.1.1/", &networks).is_err());
        assert!(check_url("http://169.254.169.254/latest/meta-data", &networks).is_err());
    }

    #[test]
    fn a_secret_is_long_enough_and_written_as_the_standard_says() {
        assert!(is_secret(&format!("{PREFIX}{}", STANDARD.encode([7; 24]))));
        for secret in ["", "secret", "whsec_", "whsec_???", &format!("{PREFIX}{}", STANDARD.encode([7; 23]))]
        {
            assert!(!is_secret(secret), "{secret}");
        }
    }
}
