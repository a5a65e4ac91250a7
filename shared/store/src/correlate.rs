//! What correlation reads, and the difference that it writes.
//!
//! One transaction: [`begin`] notes whom it compares and opens a cursor over the candidates, [`next`] hands them out, [`stage`]
//! takes the verdicts, [`merge`] spreads them over the assets and writes what changed, with the history of each finding. Judging is
//! the engine's business. Packages are judged once for the whole tenant, whatever number of assets has them.

mod sql;

use domain::{Severity, finding::Confidence, id::AssetId};
use sqlx::FromRow;

use crate::{
    copy::{Rows, copy},
    db::TenantTx,
    error::Result,
    scan_runs::Counts,
};

/// One range about one package for one vulnerability, with what else is known of the vulnerability.
#[derive(Debug, Clone, FromRow)]
pub struct Candidate {
    pub platform: String,
    pub judged_name: String,
    pub judged_version: String,
    pub judged_key: Option<Vec<u8>>,
    pub vulnerability: String,
    pub advisory_id: i64,
    /// The slug of the source.
    pub source: String,
    pub tier: i16,
    pub state: String,
    pub introduced: Option<String>,
    pub introduced_key: Option<Vec<u8>>,
    pub bound: String,
    pub bound_version: Option<String>,
    pub bound_key: Option<Vec<u8>>,
    pub note: Option<String>,
    pub advisory_severity: Option<String>,
    pub advisory_cvss: Option<f32>,
    /// The CVE's own CVSS base score.
    pub base_score: Option<f32>,
    pub epss: Option<f32>,
    pub is_kev: bool,
    pub has_exploit: bool,
}

/// Notes what is compared (one asset, or all of the tenant) and opens the cursor. Returns the number of packages to be judged.
///
/// # Errors
/// When the database refuses.
pub async fn begin(tx: &mut TenantTx, asset: Option<AssetId>) -> Result<i64> {
    let tenant = tx.tenant();
    for setting in sql::SETTINGS {
        sqlx::query(*setting).execute(&mut **tx).await?;
    }
    if asset.is_some() {
        sqlx::query(sql::PREFER_LOOKUPS).execute(&mut **tx).await?;
    }
    sqlx::query(sql::CREATE_COMPARED)
        .bind(tenant.0)
        .bind(asset.map(|asset| asset.0))
        .execute(&mut **tx)
        .await?;
    let judged = match asset {
        Some(asset) => sqlx::query(sql::CREATE_JUDGED_OF_ASSET).bind(tenant.0).bind(asset.0),
        None => sqlx::query(sql::CREATE_JUDGED_OF_TENANT).bind(tenant.0),
    };
    let subjects = judged.execute(&mut **tx).await?.rows_affected();
    for statement in ["analyze judged", sql::CREATE_VERDICTS, sql::DECLARE_CANDIDATES] {
        sqlx::query(statement).execute(&mut **tx).await?;
    }
    Ok(i64::try_from(subjects).unwrap_or(i64::MAX))
}

/// The next candidates, some ten thousand, ordered by package; none at the end.
///
/// Of a package only those vulnerabilities come along of which a range contains the version or cannot be compared with it, but of
/// these everything that is said of the package.
///
/// # Errors
/// When the database refuses.
pub async fn next(tx: &mut TenantTx) -> Result<Vec<Candidate>> {
    // Not kept as a prepared statement: what it returns belongs to the cursor of this transaction.
    let rows =
        sqlx::query_as("fetch forward 10000 from candidates").persistent(false).fetch_all(&mut **tx).await?;
    Ok(rows)
}

/// A package is affected by a vulnerability, or it cannot be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub platform: String,
    pub judged_name: String,
    pub judged_version: String,
    pub vulnerability: String,
    pub advisory_id: i64,
    pub fixed_version: Option<String>,
    pub confidence: Confidence,
    /// What the source says of the package: `affected`, `deferred`, `wont_fix` …
    pub vendor_state: &'static str,
    pub severity: Severity,
    pub cvss_score: Option<f32>,
    pub epss_score: Option<f32>,
    pub is_kev: bool,
    pub has_exploit: bool,
    /// 0 to 10.
    pub composite_score: f32,
    pub evidence: serde_json::Value,
}

/// Takes verdicts in. Packages that are not affected have none.
///
/// # Errors
/// When the database refuses.
pub async fn stage(tx: &mut TenantTx, verdicts: &[Verdict]) -> Result<()> {
    let mut rows = Rows::default();
    for verdict in verdicts {
        let evidence = verdict.evidence.to_string();
        rows.push(&[
            (&verdict.platform).into(),
            (&verdict.judged_name).into(),
            (&verdict.judged_version).into(),
            (&verdict.vulnerability).into(),
            verdict.advisory_id.into(),
            verdict.fixed_version.as_deref().into(),
            verdict.confidence.as_str().into(),
            verdict.vendor_state.into(),
            verdict.severity.as_str().into(),
            verdict.cvss_score.into(),
            verdict.epss_score.into(),
            verdict.is_kev.into(),
            verdict.has_exploit.into(),
            verdict.composite_score.into(),
            (&evidence).into(),
        ]);
    }
    copy(tx, sql::COPY_VERDICTS, &rows).await?;
    Ok(())
}

/// What a correlation changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub struct Changes {
    pub opened: i64,
    pub updated: i64,
    pub reopened: i64,
    pub resolved: i64,
    pub unchanged: i64,
    /// Assets compared. One whose inventory was read meanwhile is left to the correlation that was enqueued with it.
    pub assets: i64,
}

impl Changes {
    /// The counts for a run that judged `subjects` packages.
    #[must_use]
    pub fn counts(&self, subjects: i64) -> Counts {
        Counts {
            processed: subjects,
            created: self.opened,
            updated: self.updated + self.reopened,
            removed: self.resolved,
            unchanged: self.unchanged,
            rejected: 0,
        }
    }
}

/// Writes the difference between the verdicts and the findings of the compared assets. `asset` is the one that [`begin`] was told.
///
/// New findings are opened, changed ones updated, resolved ones that are back reopened, and those without a verdict resolved. What
/// people decided about an open finding stays. A finding that is as it was is not written.
///
/// # Errors
/// When the database refuses.
pub async fn merge(tx: &mut TenantTx, asset: Option<AssetId>) -> Result<Changes> {
    let (tenant, asset) = (tx.tenant(), asset.map(|asset| asset.0));
    let assets = sqlx::query(sql::LOCK_COMPARED).bind(tenant.0).execute(&mut **tx).await?.rows_affected();
    let affected = [sql::CREATE_AFFECTED, sql::INDEX_AFFECTED, "analyze affected"];
    for statement in ["analyze compared", "analyze verdicts"].into_iter().chain(affected) {
        sqlx::query(statement).execute(&mut **tx).await?;
    }
    sqlx::query(sql::CREATE_INSTALLED).bind(tenant.0).execute(&mut **tx).await?;
    sqlx::query(sql::CREATE_EXISTING).bind(tenant.0).bind(asset).execute(&mut **tx).await?;
    for statement in ["analyze installed", "analyze existing"] {
        sqlx::query(statement).execute(&mut **tx).await?;
    }
    let found = sqlx::query(sql::CREATE_FOUND).execute(&mut **tx).await?.rows_affected();
    sqlx::query("analyze found").execute(&mut **tx).await?;
    sqlx::query(sql::CREATE_CHANGES).bind(tenant.0).execute(&mut **tx).await?;
    let (opened, updated, reopened): (i64, i64, i64) =
        sqlx::query_as(sql::COUNT_CHANGES).fetch_one(&mut **tx).await?;
    // Before any is opened: what was not found then is what is no more.
    let resolved = sqlx::query(sql::RESOLVE).bind(tenant.0).execute(&mut **tx).await?.rows_affected();
    if opened > 0 {
        sqlx::query(sql::OPEN).bind(tenant.0).execute(&mut **tx).await?;
    }
    if updated + reopened > 0 {
        sqlx::query(sql::UPDATE).bind(tenant.0).execute(&mut **tx).await?;
    }
    if opened + updated + reopened > 0 {
        sqlx::query(sql::NOTE_CHANGES).bind(tenant.0).execute(&mut **tx).await?;
    }
    let count = |rows: u64| i64::try_from(rows).unwrap_or(i64::MAX);
    Ok(Changes {
        opened,
        updated,
        reopened,
        resolved: count(resolved),
        unchanged: count(found) - opened - updated - reopened,
        assets: count(assets),
    })
}
