//! What somebody should know of and see to, until they acknowledge it.
//!
//! Whatever finds something out [`raise`]s it in the transaction in which it records it. That a job is poison is raised by the database
//! (`migrations/*_settings.sql`), since it is found there.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use domain::{
    id::{AlertId, TenantId, UserId},
    page::{Direction, Page, PageRequest},
};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    db::TenantTx,
    error::{Error, Result},
    paging::{self, Order, Part, Total},
    sql::Conditions,
};

/// How much an alert matters, the most first: the words in the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    Critical,
    High,
    Medium,
    Low,
    Informational,
}

impl Severity {
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Informational];

    /// The word in the row.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::Informational => "informational",
        }
    }
}

/// A word that is not how much an alert matters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("severity `{0}` is not one of critical, high, medium, low, informational")]
pub struct UnknownSeverity(pub String);

impl FromStr for Severity {
    type Err = UnknownSeverity;

    /// Case-insensitive.
    fn from_str(word: &str) -> std::result::Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(word.trim()));
        known.ok_or_else(|| UnknownSeverity(word.to_owned()))
    }
}

/// Something that happened. While an alert of this kind about this subject is not acknowledged, it counts there.
#[derive(Debug, Clone, Copy)]
pub struct Raised<'a> {
    /// Such as `source_quarantined`: lower-case words.
    pub alert_type: &'a str,
    pub severity: Severity,
    /// Cut after 200 characters.
    pub title: &'a str,
    /// Cut after 4,000 characters.
    pub message: &'a str,
    /// What it is about, such as the slug of a source.
    pub subject: &'a str,
}

/// Tells `tenant`, or with `None` every organization, in the caller's transaction.
///
/// # Errors
/// When the database refuses.
pub async fn raise(
    connection: &mut PgConnection,
    tenant: Option<TenantId>,
    raised: &Raised<'_>,
) -> Result<()> {
    sqlx::query("select raise_alert($1, $2, $3, $4, $5, $6)")
        .bind(tenant.map(|tenant| tenant.0))
        .bind(raised.alert_type)
        .bind(raised.severity.as_str())
        .bind(raised.title)
        .bind(raised.message)
        .bind(raised.subject)
        .execute(connection)
        .await?;
    Ok(())
}

/// An alert as it is shown.
#[derive(Debug, Clone, FromRow)]
pub struct Alert {
    pub id: Uuid,
    pub alert_type: String,
    pub severity: String,
    pub title: String,
    pub message: String,
    /// `None`: a person wrote it.
    pub subject: Option<String>,
    pub occurrences: i32,
    /// The person's name; `None`: the product raised it.
    pub created_by: Option<String>,
    pub created_at: DateTime<Utc>,
    pub last_raised_at: DateTime<Utc>,
    pub acknowledged_at: Option<DateTime<Utc>>,
    pub acknowledged_by: Option<String>,
}

macro_rules! select {
    () => {
        "select id, alert_type, severity, title, message, subject, occurrences, created_at, last_raised_at, acknowledged_at,
                (select username from users u where u.tenant_id = alerts.tenant_id and u.id = created_by) as created_by,
                (select username from users u where u.tenant_id = alerts.tenant_id and u.id = acknowledged_by)
                    as acknowledged_by
           from alerts"
    };
}

/// Which alerts are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub acknowledged: Option<bool>,
    /// Any of these; empty: all.
    pub severities: Vec<Severity>,
}

const NEWEST_FIRST: Order =
    Order { key: ("created_at", "timestamptz"), tie: ("id", "uuid"), direction: Direction::Descending };

/// A page of alerts, the newest first.
///
/// # Errors
/// When the database cannot be reached.
pub async fn list(tx: &mut TenantTx, filter: &Filter, page: PageRequest) -> Result<Page<Alert>> {
    let parts = Part::whole(select!(), "alerts", NEWEST_FIRST);
    let narrow = |tx: &TenantTx, select: String| narrowed(tx, select, filter);
    let mut counts = paging::counts(tx, "alerts");
    counts.one_of("facets[1]", filter.severities.iter().map(|severity| severity.as_str()));
    let acknowledged = filter.acknowledged.map(|is| if is { "acknowledged" } else { "open" });
    counts.one_of("facets[2]", acknowledged);
    let total = Total::Known(paging::sum(tx, counts).await?);
    paging::page(tx, &format!("alerts {filter:?}"), &parts, page, total, narrow).await
}

fn narrowed(tx: &TenantTx, select: impl Into<String>, filter: &Filter) -> Conditions {
    let mut conditions = Conditions::after(select);
    conditions.also().push("tenant_id = ").push_bind(tx.tenant().0);
    if let Some(acknowledged) = filter.acknowledged {
        // As words, not as a value: the planner must see which index has them.
        let words = if acknowledged { "acknowledged_at is not null" } else { "acknowledged_at is null" };
        conditions.also().push(words);
    }
    conditions.one_of("severity", filter.severities.iter().map(|severity| severity.as_str()));
    conditions
}

/// An alert that a person writes.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    pub alert_type: &'a str,
    pub severity: Severity,
    pub title: &'a str,
    pub message: &'a str,
    pub by: UserId,
}

/// Keeps an alert that a person wrote.
///
/// # Errors
/// When a text breaks the rules of the table.
pub async fn insert(tx: &mut TenantTx, written: &Written<'_>) -> Result<Alert> {
    let (tenant, id) = (tx.tenant(), AlertId::new());
    sqlx::query(
        "insert into alerts (tenant_id, id, alert_type, severity, title, message, created_by)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(tenant.0)
    .bind(id.0)
    .bind(written.alert_type)
    .bind(written.severity.as_str())
    .bind(written.title)
    .bind(written.message)
    .bind(written.by.0)
    .execute(&mut **tx)
    .await?;
    find(tx, id).await
}

/// Records who has seen it and when; who was first stays.
///
/// # Errors
/// [`Error::NotFound`] when this tenant has none of that id.
pub async fn acknowledge(tx: &mut TenantTx, id: AlertId, by: UserId) -> Result<Alert> {
    let tenant = tx.tenant();
    sqlx::query(
        "update alerts set acknowledged_at = now(), acknowledged_by = $3
          where tenant_id = $1 and id = $2 and acknowledged_at is null",
    )
    .bind(tenant.0)
    .bind(id.0)
    .bind(by.0)
    .execute(&mut **tx)
    .await?;
    find(tx, id).await
}

async fn find(tx: &mut TenantTx, id: AlertId) -> Result<Alert> {
    let tenant = tx.tenant();
    sqlx::query_as(concat!(select!(), " where tenant_id = $1 and id = $2"))
        .bind(tenant.0)
        .bind(id.0)
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(Error::NotFound)
}
