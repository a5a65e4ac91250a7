//! Pulled inventories: what each pull made of each thing that another system knows.
//!
//! A pull is many transactions, one for each asset. What it has dealt with is a row here with its job's id, so that the next attempt
//! goes on where this one ended, and the sums at the end are those of all attempts.

use std::collections::HashSet;

use domain::{
    id::{AssetId, JobId},
    inventory::Integration,
};
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use crate::{db::TenantTx, error::Result, scan_runs::Counts};

/// Longest text about a problem, in characters: what the table takes.
const PROBLEM_LENGTH: usize = 500;

/// What became of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its packages are kept; `counts` counts those of the asset. `skipped` entries could not be used.
    Kept { asset: AssetId, is_new: bool, counts: Counts, skipped: usize },
    /// A later inventory of the same asset was read before, from elsewhere.
    Outdated,
    /// It has nothing installed.
    Empty,
    /// The other system has never heard of it.
    Absent,
    /// It could not be read, for this reason.
    Unreadable(String),
}

/// What became of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, FromRow)]
pub struct Summary {
    /// Things that the other system knows.
    pub seen: i64,
    pub created: i64,
    pub changed: i64,
    pub unchanged: i64,
    pub empty: i64,
    pub absent: i64,
    pub unreadable: i64,
    /// Those that a pull before this came across, and this one did not.
    pub gone: i64,
    #[serde(skip)]
    packages: i64,
    #[serde(skip)]
    packages_added: i64,
    #[serde(skip)]
    packages_removed: i64,
    #[serde(skip)]
    packages_skipped: i64,
}

impl Summary {
    /// Packages of all assets that were kept.
    #[must_use]
    pub fn packages(&self) -> Counts {
        Counts {
            processed: self.packages,
            created: self.packages_added,
            updated: 0,
            removed: self.packages_removed,
            unchanged: self.packages - self.packages_added,
            rejected: self.packages_skipped,
        }
    }
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Problem {
    pub name: String,
    pub problem: String,
}

/// What the job has dealt with in earlier attempts, unless that was so long ago that it is asked for again.
///
/// # Errors
/// When the database cannot be reached.
pub async fn dealt_with(tx: &mut TenantTx, integration: Integration, job: JobId) -> Result<HashSet<String>> {
    let tenant = tx.tenant();
    let items: Vec<String> = sqlx::query_scalar(
        "select item from pulled_items
          where tenant_id = $1 and integration = $2 and job_id = $3 and dealt_with_at > now() - interval '6 hours'",
    )
    .bind(tenant.0)
    .bind(integration.as_str())
    .bind(job.0)
    .fetch_all(&mut **tx)
    .await?;
    Ok(items.into_iter().collect())
}

/// What is known of one thing from the pulls before.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromRow)]
pub struct Before {
    pub has_packages: bool,
    /// Why it could not be read the last time.
    pub problem: Option<String>,
}

/// What is known of one thing from the pulls before.
///
/// # Errors
/// When the database cannot be reached.
pub async fn before(tx: &mut TenantTx, integration: Integration, item: &str) -> Result<Before> {
    let tenant = tx.tenant();
    let before: Option<Before> = sqlx::query_as(
        "select problem,
                exists (select from asset_packages p where p.tenant_id = i.tenant_id and p.asset_id = i.asset_id) as has_packages
           from pulled_items i where i.tenant_id = $1 and i.integration = $2 and i.item = $3",
    )
    .bind(tenant.0)
    .bind(integration.as_str())
    .bind(item)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(before.unwrap_or_default())
}

/// Notes what the job made of one thing. True when it could not be read, and nobody has been told why yet: the last pull read it, or
/// failed to for another reason.
///
/// # Errors
/// When the database refuses.
pub async fn note(
    tx: &mut TenantTx,
    integration: Integration,
    job: JobId,
    (item, name): (&str, &str),
    outcome: &Outcome,
) -> Result<bool> {
    let tenant = tx.tenant();
    let (mut asset, mut counts, mut skipped, mut problem) = (None, Counts::default(), 0, None);
    let word = match outcome {
        Outcome::Kept { asset: kept, is_new, counts: of_asset, skipped: left_out } => {
            (asset, counts, skipped) = (Some(kept.0), *of_asset, *left_out);
            match (is_new, of_asset.is_change()) {
                (true, _) => "created",
                (false, true) => "changed",
                (false, false) => "unchanged",
            }
        }
        Outcome::Outdated => "unchanged",
        Outcome::Empty => "empty",
        Outcome::Absent => "absent",
        Outcome::Unreadable(why) => {
            problem = Some(why.chars().take(PROBLEM_LENGTH).collect::<String>());
            "unreadable"
        }
    };
    let is_news = sqlx::query_scalar(
        "with before as (
             select problem from pulled_items where tenant_id = $1 and integration = $2 and item = $3
         ), noted as (
             insert into pulled_items as known (tenant_id, integration, item, name, asset_id, job_id, outcome, problem, packages,
                                                packages_added, packages_removed, packages_skipped)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                 on conflict (tenant_id, integration, item) do update
                set name = excluded.name, asset_id = coalesce(excluded.asset_id, known.asset_id), job_id = excluded.job_id,
                    outcome = excluded.outcome, problem = excluded.problem, packages = excluded.packages,
                    packages_added = excluded.packages_added, packages_removed = excluded.packages_removed,
                    packages_skipped = excluded.packages_skipped, dealt_with_at = now()
         )
         select $8::text is not null and (select problem from before) is distinct from $8",
    )
    .bind(tenant.0)
    .bind(integration.as_str())
    .bind(item)
    .bind(name)
    .bind(asset)
    .bind(job.0)
    .bind(word)
    .bind(problem)
    .bind(i32::try_from(counts.processed).unwrap_or(i32::MAX))
    .bind(i32::try_from(counts.created).unwrap_or(i32::MAX))
    .bind(i32::try_from(counts.removed).unwrap_or(i32::MAX))
    .bind(i32::try_from(skipped).unwrap_or(i32::MAX))
    .fetch_one(&mut **tx)
    .await?;
    Ok(is_news)
}

/// After how long a silence the asset counts as stale.
///
/// # Errors
/// When the database refuses.
pub async fn expect_word_within(tx: &mut TenantTx, asset: AssetId, hours: i32) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query(
        "update assets set stale_after_hours = $3 where tenant_id = $1 and id = $2 and stale_after_hours <> $3",
    )
    .bind(tenant.0)
    .bind(asset.0)
    .bind(hours)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Sums up what the job made of everything, and forgets what it did not come across. Their assets stay.
///
/// # Errors
/// When the database refuses.
pub async fn sum_up(tx: &mut TenantTx, integration: Integration, job: JobId) -> Result<Summary> {
    let tenant = tx.tenant();
    let summary = sqlx::query_as(
        "with gone as (
             delete from pulled_items where tenant_id = $1 and integration = $2 and job_id <> $3 returning 1
         )
         select count(*) as seen,
                count(*) filter (where outcome = 'created') as created,
                count(*) filter (where outcome = 'changed') as changed,
                count(*) filter (where outcome = 'unchanged') as unchanged,
                count(*) filter (where outcome = 'empty') as empty,
                count(*) filter (where outcome = 'absent') as absent,
                count(*) filter (where outcome = 'unreadable') as unreadable,
                (select count(*) from gone) as gone,
                coalesce(sum(packages), 0)::bigint as packages,
                coalesce(sum(packages_added), 0)::bigint as packages_added,
                coalesce(sum(packages_removed), 0)::bigint as packages_removed,
                coalesce(sum(packages_skipped), 0)::bigint as packages_skipped
           from pulled_items where tenant_id = $1 and integration = $2 and job_id = $3",
    )
    .bind(tenant.0)
    .bind(integration.as_str())
    .bind(job.0)
    .fetch_one(&mut **tx)
    .await?;
    Ok(summary)
}

/// What the job could not read, at most `count` of it, by name.
///
/// # Errors
/// When the database cannot be reached.
pub async fn problems(
    tx: &mut TenantTx,
    integration: Integration,
    job: JobId,
    count: i64,
) -> Result<Vec<Problem>> {
    let tenant = tx.tenant();
    let problems = sqlx::query_as(
        "select name, problem from pulled_items
          where tenant_id = $1 and integration = $2 and job_id = $3 and problem is not null order by name, item limit $4",
    )
    .bind(tenant.0)
    .bind(integration.as_str())
    .bind(job.0)
    .bind(count)
    .fetch_all(&mut **tx)
    .await?;
    Ok(problems)
}

/// The assets that the job made or changed, at most `count`, by name.
///
/// # Errors
/// When the database cannot be reached.
pub async fn changed_assets(
    tx: &mut TenantTx,
    integration: Integration,
    job: JobId,
    count: i64,
) -> Result<Vec<AssetId>> {
    let tenant = tx.tenant();
    let assets: Vec<Uuid> = sqlx::query_scalar(
        "select asset_id from pulled_items
          where tenant_id = $1 and integration = $2 and job_id = $3 and outcome in ('created', 'changed')
          order by name, item limit $4",
    )
    .bind(tenant.0)
    .bind(integration.as_str())
    .bind(job.0)
    .bind(count)
    .fetch_all(&mut **tx)
    .await?;
    Ok(assets.into_iter().map(AssetId).collect())
}
