//! What leaves the house: mails and webhook events, each with what became of it.
//!
//! Rows are written in the transaction of the event they tell of, together with the job that sends them.

use chrono::{DateTime, Utc};
use domain::id::{DeliveryId, MailId, ReportId, WebhookId};
use runtime::secrets::{Keys, Sealed};
use secrecy::SecretString;
use sqlx::{FromRow, types::Json};
use uuid::Uuid;

use crate::{db::TenantTx, error::Result, secrets};

/// A mail on its way.
#[derive(Debug, Clone, FromRow)]
pub struct Mail {
    pub id: Uuid,
    pub report_id: Option<Uuid>,
    pub subject: String,
    pub recipients: Vec<String>,
    pub outcomes: Json<Outcomes>,
    pub created_at: DateTime<Utc>,
}

/// What became of a mail at each recipient. Whoever is not in it has not been tried, or may be tried again.
pub type Outcomes = std::collections::BTreeMap<String, Outcome>;

/// The end of a mail at one recipient.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Outcome {
    Delivered,
    Failed { detail: String },
}

/// Records a mail about `report`.
///
/// # Errors
/// When the database refuses.
pub async fn insert_mail(
    tx: &mut TenantTx,
    report: ReportId,
    subject: &str,
    recipients: &[String],
) -> Result<MailId> {
    let (id, tenant) = (MailId::new(), tx.tenant());
    sqlx::query(
        "insert into mails (tenant_id, id, report_id, subject, recipients) values ($1, $2, $3, $4, $5)",
    )
    .bind(tenant.0)
    .bind(id.0)
    .bind(report.0)
    .bind(subject)
    .bind(recipients)
    .execute(&mut **tx)
    .await?;
    Ok(id)
}

/// A mail with the outcomes so far.
///
/// # Errors
/// [`crate::Error::NotFound`] when there is none of that id.
pub async fn mail(tx: &mut TenantTx, id: MailId) -> Result<Mail> {
    let tenant = tx.tenant();
    let mail = sqlx::query_as(
        "select id, report_id, subject, recipients, outcomes, created_at from mails where tenant_id = $1 and id = $2",
    )
    .bind(tenant.0)
    .bind(id.0)
    .fetch_one(&mut **tx)
    .await?;
    Ok(mail)
}

/// What became of the last mail about a report.
#[derive(Debug, Clone, FromRow)]
pub struct MailAbout {
    pub report_id: Uuid,
    /// So many addresses it is for.
    pub recipient_count: i32,
    /// When no address was left to be tried, if it went out to any.
    pub sent_at: Option<DateTime<Utc>>,
}

/// The last mail about each of `reports` that there was one about.
///
/// # Errors
/// When the database cannot be reached.
pub async fn mails_about(tx: &mut TenantTx, reports: &[Uuid]) -> Result<Vec<MailAbout>> {
    let tenant = tx.tenant();
    let mails = sqlx::query_as(
        "select distinct on (report_id) report_id, cardinality(recipients) as recipient_count, sent_at
           from mails where tenant_id = $1 and report_id = any ($2)
          order by report_id, created_at desc, id desc",
    )
    .bind(tenant.0)
    .bind(reports)
    .fetch_all(&mut **tx)
    .await?;
    Ok(mails)
}

/// Writes the outcomes so far; the mail's status follows from them.
///
/// # Errors
/// When the database refuses.
pub async fn record_outcomes(tx: &mut TenantTx, id: MailId, outcomes: &Outcomes) -> Result<()> {
    let tenant = tx.tenant();
    let delivered = outcomes.values().filter(|outcome| **outcome == Outcome::Delivered).count();
    sqlx::query(
        "update mails
            set outcomes = $3,
                status = case when $4 + $5 < cardinality(recipients) then 'pending'
                              when $5 = 0 then 'sent' when $4 = 0 then 'failed' else 'partly_sent' end,
                sent_at = case when $4 + $5 = cardinality(recipients) and $4 > 0 then now() end
          where tenant_id = $1 and id = $2",
    )
    .bind(tenant.0)
    .bind(id.0)
    .bind(Json(outcomes))
    .bind(i32::try_from(delivered).unwrap_or(i32::MAX))
    .bind(i32::try_from(outcomes.len() - delivered).unwrap_or(i32::MAX))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// An event on its way to an endpoint, with what is needed to send it.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub id: Uuid,
    pub webhook_id: Uuid,
    pub event: String,
    pub body: Vec<u8>,
    pub status: String,
    pub attempt_count: i32,
    pub url: String,
    /// What it is signed with; none when the endpoint's was lost, which is not enabled then.
    pub secret: Option<SecretString>,
    pub enabled: bool,
}

/// One attempt at an endpoint, kept for whoever looks into it.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct DeliveryAttempt {
    pub at: DateTime<Utc>,
    pub status: Option<u16>,
    pub latency_ms: u64,
    pub outcome: String,
    pub response: String,
}

/// The tenant's enabled endpoints that listen for `event`; one without a list listens for everything.
///
/// # Errors
/// When the database cannot be reached.
pub async fn listeners(tx: &mut TenantTx, event: &str) -> Result<Vec<WebhookId>> {
    let tenant = tx.tenant();
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select id from webhooks
          where tenant_id = $1 and enabled and (events = '{}' or $2 = any (events)) order by id",
    )
    .bind(tenant.0)
    .bind(event)
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids.into_iter().map(WebhookId).collect())
}

/// Records an event for an endpoint. The id is the `webhook-id` of every attempt.
///
/// # Errors
/// When the database refuses.
pub async fn insert_delivery(
    tx: &mut TenantTx,
    webhook: WebhookId,
    event: &str,
    body: &[u8],
) -> Result<DeliveryId> {
    let (id, tenant) = (DeliveryId::new(), tx.tenant());
    sqlx::query(
        "insert into webhook_deliveries (tenant_id, id, webhook_id, event, body) values ($1, $2, $3, $4, $5)",
    )
    .bind(tenant.0)
    .bind(id.0)
    .bind(webhook.0)
    .bind(event)
    .bind(body)
    .execute(&mut **tx)
    .await?;
    Ok(id)
}

/// A delivery and its endpoint.
///
/// # Errors
/// [`crate::Error::NotFound`] when either is gone; [`crate::Error::Secret`] when the endpoint's secret cannot be opened.
pub async fn delivery(tx: &mut TenantTx, keys: &Keys, id: DeliveryId) -> Result<Delivery> {
    #[derive(FromRow)]
    struct Row {
        id: Uuid,
        webhook_id: Uuid,
        event: String,
        body: Vec<u8>,
        status: String,
        attempt_count: i32,
        url: String,
        secret: Option<Vec<u8>>,
        secret_key: Option<Vec<u8>>,
        enabled: bool,
    }
    let tenant = tx.tenant();
    let row: Row = sqlx::query_as(
        "select d.id, d.webhook_id, d.event, d.body, d.status, jsonb_array_length(d.attempts) as attempt_count,
                w.url, w.secret, w.secret_key, w.enabled
           from webhook_deliveries d join webhooks w on w.tenant_id = d.tenant_id and w.id = d.webhook_id
          where d.tenant_id = $1 and d.id = $2",
    )
    .bind(tenant.0)
    .bind(id.0)
    .fetch_one(&mut **tx)
    .await?;
    let webhook = WebhookId(row.webhook_id).to_string();
    let place = secrets::place(Some(tenant), "webhooks", "secret", &webhook);
    let sealed = row.secret.zip(row.secret_key).map(|(secret, key)| Sealed { secret, key });
    let secret = sealed.map(|sealed| secrets::unseal(keys, &place, &sealed)).transpose()?;
    Ok(Delivery {
        id: row.id,
        webhook_id: row.webhook_id,
        event: row.event,
        body: row.body,
        status: row.status,
        attempt_count: row.attempt_count,
        url: row.url,
        secret,
        enabled: row.enabled,
    })
}

/// Writes one attempt and where the delivery stands after it.
///
/// # Errors
/// When the database refuses.
pub async fn record_attempt(
    tx: &mut TenantTx,
    id: DeliveryId,
    attempt: &DeliveryAttempt,
    status: &str,
) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query(
        "update webhook_deliveries
            set attempts = attempts || jsonb_build_array($3::jsonb), status = $4,
                delivered_at = case when $4 = 'delivered' then now() end
          where tenant_id = $1 and id = $2",
    )
    .bind(tenant.0)
    .bind(id.0)
    .bind(Json(attempt))
    .bind(status)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Stops sending to an endpoint that said it is gone.
///
/// # Errors
/// When the database refuses.
pub async fn disable_webhook(tx: &mut TenantTx, webhook: WebhookId, why: &str) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query("update webhooks set enabled = false, disabled_reason = $3 where tenant_id = $1 and id = $2")
        .bind(tenant.0)
        .bind(webhook.0)
        .bind(why)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
