//! Webhook endpoints that a tenant has registered. What is sent to them is in [`crate::deliveries`].

use chrono::{DateTime, Utc};
use domain::{
    id::WebhookId,
    page::{Page, PageRequest},
};
use runtime::secrets::Keys;
use secrecy::SecretString;
use sqlx::FromRow;
use uuid::Uuid;

use crate::{
    db::TenantTx,
    error::{Error, Result},
    paging, secrets,
};

/// A registered endpoint, without its secret: that is shown once, by whoever made it.
#[derive(Debug, Clone, FromRow)]
pub struct Webhook {
    pub id: Uuid,
    pub url: String,
    /// Empty: all of them.
    pub events: Vec<String>,
    pub enabled: bool,
    pub disabled_reason: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// A page of endpoints, the newest first.
///
/// # Errors
/// When the database cannot be reached.
pub async fn list(tx: &mut TenantTx, page: PageRequest) -> Result<Page<Webhook>> {
    let tenant = tx.tenant();
    let items: Vec<Webhook> = sqlx::query_as(
        "select id, url, events, enabled, disabled_reason, created_at
           from webhooks where tenant_id = $1 order by created_at desc, id limit $2 offset $3",
    )
    .bind(tenant.0)
    .bind(page.limit())
    .bind(page.offset())
    .fetch_all(&mut **tx)
    .await?;
    let total = match paging::total_of_last_page(page, items.len()) {
        Some(total) => total,
        None => count(tx).await?,
    };
    Ok(Page::new(items, total, page))
}

/// How many endpoints there are.
///
/// # Errors
/// When the database cannot be reached.
pub async fn count(tx: &mut TenantTx) -> Result<i64> {
    let tenant = tx.tenant();
    Ok(sqlx::query_scalar("select count(*) from webhooks where tenant_id = $1")
        .bind(tenant.0)
        .fetch_one(&mut **tx)
        .await?)
}

/// Registers an endpoint that is sent `events`, signed with `secret`.
///
/// # Errors
/// When the database refuses, or the secret cannot be sealed.
pub async fn insert(
    tx: &mut TenantTx,
    keys: &Keys,
    url: &str,
    secret: &SecretString,
    events: &[String],
) -> Result<Webhook> {
    let (id, tenant) = (WebhookId::new(), tx.tenant());
    let row = id.to_string();
    let place = secrets::place(Some(tenant), "webhooks", "secret", &row);
    let sealed = secrets::seal(&mut *tx, keys, &place, secret).await?;
    let webhook = sqlx::query_as(
        "insert into webhooks (tenant_id, id, url, secret, secret_key, events) values ($1, $2, $3, $4, $5, $6)
         returning id, url, events, enabled, disabled_reason, created_at",
    )
    .bind(tenant.0)
    .bind(id.0)
    .bind(url)
    .bind(sealed.secret)
    .bind(sealed.key)
    .bind(events)
    .fetch_one(&mut **tx)
    .await?;
    Ok(webhook)
}

/// One endpoint.
///
/// # Errors
/// [`Error::NotFound`] when this tenant has none of that id.
pub async fn find(tx: &mut TenantTx, id: WebhookId) -> Result<Webhook> {
    let tenant = tx.tenant();
    let webhook = sqlx::query_as(
        "select id, url, events, enabled, disabled_reason, created_at
           from webhooks where tenant_id = $1 and id = $2",
    )
    .bind(tenant.0)
    .bind(id.0)
    .fetch_one(&mut **tx)
    .await?;
    Ok(webhook)
}

/// Forgets an endpoint and what was on its way to it.
///
/// # Errors
/// [`Error::NotFound`] when this tenant has none of that id.
pub async fn delete(tx: &mut TenantTx, id: WebhookId) -> Result<()> {
    let tenant = tx.tenant();
    let deleted = sqlx::query("delete from webhooks where tenant_id = $1 and id = $2")
        .bind(tenant.0)
        .bind(id.0)
        .execute(&mut **tx)
        .await?;
    if deleted.rows_affected() == 0 { Err(Error::NotFound) } else { Ok(()) }
}
