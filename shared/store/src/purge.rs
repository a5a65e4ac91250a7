//! Removing what has outlived its purpose, in small batches so that nobody waits behind it.

use sqlx::{PgPool, Postgres, Transaction};

use crate::{db::begin_transaction, error::Result, retention::Retention};

/// What is removed when. The one declaration of this policy; the days are those of [`crate::retention`], as `$1`.
pub const POLICY: &[Rule] = &[
    Rule {
        what: "completed jobs",
        days_of: Some("jobs"),
        statement:
            "delete from jobs where id in (select id from jobs where state = 'completed' and finished_at < now() - make_interval(days => $1)
                     order by finished_at limit 1000)",
    },
    Rule {
        what: "cancelled jobs",
        days_of: Some("jobs"),
        statement:
            "delete from jobs where id in (select id from jobs where state = 'cancelled' and finished_at < now() - make_interval(days => $1)
                     order by finished_at limit 1000)",
    },
    Rule {
        // Somebody may still want to know why, or try again.
        what: "dead jobs",
        days_of: Some("dead_jobs"),
        statement: "delete from jobs where id in (select id from jobs where state = 'dead' and finished_at < now() - make_interval(days => $1)
                     order by finished_at limit 1000)",
    },
    Rule {
        what: "ended sessions",
        days_of: None,
        statement: "delete from sessions where id in (select id from sessions
                     where expires_at < now() - interval '1 day' order by expires_at limit 1000)",
    },
    Rule {
        what: "sign-ins that never came back",
        days_of: None,
        statement: "delete from oidc_sign_ins where state_hash in (select state_hash from oidc_sign_ins
                     where expires_at < now() order by expires_at limit 1000)",
    },
    Rule {
        // Twice the longest life that an access token may be given.
        what: "superseded signing keys",
        days_of: None,
        statement: "delete from signing_keys where id in (select s.id from signing_keys s
                     where exists (select from signing_keys n where n.created_at > s.created_at
                                      and n.created_at < now() - interval '2 days'))",
    },
    Rule {
        what: "idempotency keys",
        days_of: None,
        statement: "delete from idempotency_keys where (tenant_id, route, key) in (
                     select tenant_id, route, key from idempotency_keys
                      where created_at < now() - interval '24 hours' order by created_at limit 1000)",
    },
    Rule {
        // Whoever made them may want to know for a while how often they were opened.
        what: "links that have run out",
        days_of: None,
        statement: "delete from shares where id in (select id from shares
                     where expires_at < now() - interval '30 days' order by expires_at limit 1000)",
    },
    Rule {
        what: "logos that no report shows any more",
        days_of: None,
        statement: "delete from frozen_logos l where not exists (
                     select from reports r where r.tenant_id = l.tenant_id and r.logo_sha256 = l.sha256)",
    },
    Rule {
        what: "scan runs",
        days_of: Some("scan_runs"),
        statement: "delete from scan_runs where id in (select id from scan_runs
                     where started_at < now() - make_interval(days => $1) order by started_at limit 1000)",
    },
    Rule {
        what: "read inventories",
        days_of: Some("inventory_submissions"),
        statement: "delete from inventory_submissions where id in (select id from inventory_submissions
                     where ingested_at is not null and received_at < now() - make_interval(days => $1)
                     order by received_at limit 1000)",
    },
    Rule {
        what: "webhook deliveries",
        days_of: Some("webhook_deliveries"),
        statement: "delete from webhook_deliveries where id in (select id from webhook_deliveries
                     where status <> 'pending' and created_at < now() - make_interval(days => $1)
                     order by created_at limit 1000)",
    },
    Rule {
        what: "acknowledged alerts",
        days_of: Some("alerts"),
        statement: "delete from alerts where id in (select id from alerts
                     where acknowledged_at < now() - make_interval(days => $1) order by acknowledged_at limit 1000)",
    },
    Rule {
        what: "schedule firings",
        days_of: Some("schedule_firings"),
        statement: "delete from schedule_firings where (schedule_id, nominal_at) in (
                     select schedule_id, nominal_at from schedule_firings
                      where fired_at < now() - make_interval(days => $1) and outcome <> 'waiting' order by fired_at limit 1000)",
    },
    Rule {
        // An attempt that lost its job stored the same as the one that did it.
        what: "notes of objects that are somebody's",
        days_of: None,
        statement: "delete from orphaned_objects where storage_key in (select o.storage_key from orphaned_objects o
                     where o.since < now() - interval '24 hours'
                       and (exists (select from artifacts a where a.storage_key = o.storage_key)
                            or exists (select from frozen_rows r where r.storage_key = o.storage_key))
                     order by o.since limit 1000) and since < now() - interval '24 hours'",
    },
    Rule {
        what: "workers that went silent",
        days_of: None,
        statement: "delete from workers where heartbeat_at < now() - interval '1 hour'",
    },
    Rule {
        what: "periods that are over",
        days_of: None,
        statement: "delete from job_periods where (kind, key) in (
                     select kind, key from job_periods where until < now() order by until limit 1000)",
    },
];

/// One kind of thing and the statement that removes a batch of it.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    pub what: &'static str,
    /// The word of [`crate::retention::TABLES`] whose days hold; `None`: people do not choose.
    days_of: Option<&'static str>,
    statement: &'static str,
}

impl Rule {
    /// Removes everything the rule covers, a batch at a time, each in a transaction of its own. Returns the number of rows.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn apply(&self, pool: &PgPool, retention: &Retention) -> Result<u64> {
        let mut removed = 0;
        loop {
            let statement = sqlx::query(self.statement);
            let statement = match self.days_of {
                Some(table) => statement.bind(retention.days_for(table)),
                None => statement,
            };
            let batch = statement.execute(pool).await?.rows_affected();
            removed += batch;
            if batch < 1000 {
                return Ok(removed);
            }
        }
    }
}

/// Keys of stored objects that no row has referred to for a day.
///
/// # Errors
/// When the database cannot be reached.
pub async fn orphaned_objects(pool: &PgPool) -> Result<Vec<String>> {
    let keys = sqlx::query_scalar(
        "select o.storage_key from orphaned_objects o
          where o.since < now() - interval '24 hours'
            and not exists (select from artifacts a where a.storage_key = o.storage_key)
            and not exists (select from frozen_rows r where r.storage_key = o.storage_key)
          order by o.since limit 10000",
    )
    .fetch_all(pool)
    .await?;
    Ok(keys)
}

/// Says of an object that is about to be stored that no row refers to it yet, so that it goes away a day later if none ever does. The first row
/// that does takes the word back (a trigger of its table).
///
/// # Errors
/// When the database refuses.
pub async fn expect_orphan(pool: &PgPool, key: &str) -> Result<()> {
    sqlx::query(
        "insert into orphaned_objects (storage_key) values ($1) on conflict (storage_key) do update set since = now()",
    )
    .bind(key)
    .execute(pool)
    .await?;
    Ok(())
}

/// An object that is being removed. Whoever is about to store it anew waits in [`expect_orphan`] until it is [gone](Self::gone), or this dropped.
#[derive(Debug)]
pub struct Orphan(Transaction<'static, Postgres>);

/// Takes hold of the object `key`, if it still is what [`orphaned_objects`] tells of.
///
/// # Errors
/// When the database refuses.
pub async fn hold_orphan(pool: &PgPool, key: &str) -> Result<Option<Orphan>> {
    let mut tx = begin_transaction(pool, "begin").await?;
    let held = sqlx::query(
        "delete from orphaned_objects o
          where o.storage_key = $1 and o.since < now() - interval '24 hours'
            and not exists (select from artifacts a where a.storage_key = o.storage_key)
            and not exists (select from frozen_rows r where r.storage_key = o.storage_key)",
    )
    .bind(key)
    .execute(&mut *tx)
    .await?;
    Ok((held.rows_affected() == 1).then_some(Orphan(tx)))
}

impl Orphan {
    /// There is nothing left of it.
    ///
    /// # Errors
    /// When the database refuses; it is removed once more another day.
    pub async fn gone(self) -> Result<()> {
        Ok(self.0.commit().await?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::retention::TABLES;

    #[test]
    fn what_people_may_choose_the_days_of_is_what_is_purged_by_them() {
        let chosen: BTreeSet<_> = TABLES.iter().map(|(table, _)| *table).collect();
        let purged: BTreeSet<_> = POLICY.iter().filter_map(|rule| rule.days_of).collect();
        assert_eq!(chosen, purged);
        for rule in POLICY {
            assert_eq!(rule.statement.contains("days => $1"), rule.days_of.is_some(), "{}", rule.what);
        }
    }
}
