//! How long finished things are kept. What is removed then is in [`crate::purge`].

use std::{collections::BTreeMap, ops::RangeInclusive};

use sqlx::{PgConnection, types::Json};

use crate::error::Result;

/// The days that may be asked for: a day to ten years.
pub const DAYS: RangeInclusive<i32> = 1..=3650;

/// What can have a time of its own, by the word that settings call it, and since when its days count.
pub const TABLES: &[(&str, &str)] = &[
    ("alerts", "acknowledged alerts, since they were acknowledged"),
    ("dead_jobs", "jobs that were given up, since then"),
    ("inventory_submissions", "inventories that were read, since they came"),
    ("jobs", "jobs that were completed or cancelled, since then"),
    ("scan_runs", "runs, since they began"),
    ("schedule_firings", "times that a schedule came, since then"),
    ("webhook_deliveries", "deliveries that have ended, since they were accepted"),
];

/// The audit trail. It does not go by the days of everything else, only by days of its own, and is no rule of [`crate::purge`]: whoever removes
/// from it signs what stays ([`crate::audit::cut`]).
pub const AUDIT_LOG: (&str, &str) =
    ("audit_log", "entries of the audit trail, since they were written; none are while this is not set");

/// The days that may be asked for of the audit trail. PCI DSS 4.0.1, requirement 10.5.1, wants three months at hand.
pub const AUDIT_LOG_DAYS: RangeInclusive<i32> = 90..=3650;

/// How many days things are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// For whatever has no time of its own.
    pub days: i32,
    /// By the words of [`TABLES`].
    pub overrides: BTreeMap<String, i32>,
}

impl Retention {
    /// How many days the rows that `table` names are kept.
    #[must_use]
    pub fn days_for(&self, table: &str) -> i32 {
        self.overrides.get(table).copied().unwrap_or(self.days)
    }

    /// How many days the audit trail is kept; `None`: for ever.
    #[must_use]
    pub fn audit_days(&self) -> Option<i32> {
        self.overrides.get(AUDIT_LOG.0).copied()
    }
}

/// What was chosen.
///
/// # Errors
/// When the database cannot be reached.
pub async fn get(connection: &mut PgConnection) -> Result<Retention> {
    read(connection, "select retention_days, overrides from retention").await
}

/// As [`get`], and nobody else changes it until the transaction ends.
///
/// # Errors
/// When the database cannot be reached.
pub async fn get_for_update(connection: &mut PgConnection) -> Result<Retention> {
    read(connection, "select retention_days, overrides from retention for update").await
}

async fn read(connection: &mut PgConnection, query: &'static str) -> Result<Retention> {
    let (days, Json(overrides)): (i32, Json<BTreeMap<String, i32>>) =
        sqlx::query_as(query).fetch_one(connection).await?;
    Ok(Retention { days, overrides })
}

/// Chooses. The next purge goes by it.
///
/// # Errors
/// When the days are not in [`DAYS`].
pub async fn set(connection: &mut PgConnection, retention: &Retention) -> Result<()> {
    sqlx::query("update retention set retention_days = $1, overrides = $2, changed_at = now()")
        .bind(retention.days)
        .bind(Json(&retention.overrides))
        .execute(connection)
        .await?;
    Ok(())
}
