//! Removing what has outlived its purpose, in small batches so that nobody waits behind it.

use sqlx::PgPool;

use crate::error::Result;

/// How long finished things are kept. The one declaration of this policy.
pub const POLICY: &[Rule] = &[
    Rule {
        what: "completed jobs",
        statement:
            "delete from jobs where id in (select id from jobs where state = 'completed' and finished_at < now() - interval '30 days'
                     order by finished_at limit 1000)",
    },
    Rule {
        what: "cancelled jobs",
        statement:
            "delete from jobs where id in (select id from jobs where state = 'cancelled' and finished_at < now() - interval '30 days'
                     order by finished_at limit 1000)",
    },
    Rule {
        // Somebody may still want to know why, or try again.
        what: "dead jobs",
        statement: "delete from jobs where id in (select id from jobs where state = 'dead' and finished_at < now() - interval '90 days'
                     order by finished_at limit 1000)",
    },
    Rule {
        what: "ended sessions",
        statement: "delete from sessions where id in (select id from sessions
                     where expires_at < now() - interval '1 day' order by expires_at limit 1000)",
    },
    Rule {
        what: "sign-ins that never came back",
        statement: "delete from oidc_sign_ins where state_hash in (select state_hash from oidc_sign_ins
                     where expires_at < now() order by expires_at limit 1000)",
    },
    Rule {
        // Twice the longest life that an access token may be given.
        what: "superseded signing keys",
        statement: "delete from signing_keys where id in (select s.id from signing_keys s
                     where exists (select from signing_keys n where n.created_at > s.created_at
                                      and n.created_at < now() - interval '2 days'))",
    },
    Rule {
        what: "idempotency keys",
        statement: "delete from idempotency_keys where (tenant_id, route, key) in (
                     select tenant_id, route, key from idempotency_keys
                      where created_at < now() - interval '24 hours' order by created_at limit 1000)",
    },
    Rule {
        what: "scan runs",
        statement: "delete from scan_runs where id in (select id from scan_runs
                     where started_at < now() - interval '90 days' order by started_at limit 1000)",
    },
    Rule {
        what: "read inventories",
        statement: "delete from inventory_submissions where id in (select id from inventory_submissions
                     where ingested_at is not null and received_at < now() - interval '30 days'
                     order by received_at limit 1000)",
    },
    Rule {
        what: "webhook deliveries",
        statement: "delete from webhook_deliveries where id in (select id from webhook_deliveries
                     where status <> 'pending' and created_at < now() - interval '30 days'
                     order by created_at limit 1000)",
    },
    Rule {
        what: "schedule firings",
        statement: "delete from schedule_firings where (schedule_id, nominal_at) in (
                     select schedule_id, nominal_at from schedule_firings
                      where fired_at < now() - interval '90 days' and outcome <> 'waiting' order by fired_at limit 1000)",
    },
    Rule {
        what: "workers that went silent",
        statement: "delete from workers where heartbeat_at < now() - interval '1 hour'",
    },
];

/// One kind of thing and the statement that removes a batch of it.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    pub what: &'static str,
    statement: &'static str,
}

impl Rule {
    /// Removes everything the rule covers, a batch at a time, each in a transaction of its own. Returns the number of rows.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn apply(&self, pool: &PgPool) -> Result<u64> {
        let mut removed = 0;
        loop {
            let batch = sqlx::query(self.statement).execute(pool).await?.rows_affected();
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
          order by o.since limit 10000",
    )
    .fetch_all(pool)
    .await?;
    Ok(keys)
}

/// Forgets an orphan whose object is gone.
///
/// # Errors
/// When the database refuses.
pub async fn forget_orphan(pool: &PgPool, key: &str) -> Result<()> {
    sqlx::query("delete from orphaned_objects where storage_key = $1").bind(key).execute(pool).await?;
    Ok(())
}
