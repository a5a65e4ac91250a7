//! Findings as people read and judge them. Opening, confirming and resolving them is correlation's business.

use chrono::{DateTime, Utc};
use domain::{
    Severity,
    finding::FindingStatus,
    id::{AssetId, FindingId, TenantId, UserId},
    page::{Direction, Page, PageRequest},
};
use serde_json::Value;
use sqlx::FromRow;
use uuid::Uuid;

use crate::{
    db::TenantTx,
    error::Result,
    paging::{self, Order, Part, Total},
    sql::Conditions,
};

/// One finding in a list.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Finding {
    pub id: Uuid,
    pub asset_id: Uuid,
    pub asset_hostname: String,
    /// The CVE, or the advisory's own id where there is none.
    pub vulnerability: String,
    /// The platform without its release: a package keeps its history when its host is upgraded.
    pub ecosystem: String,
    pub package_name: String,
    pub installed_version: String,
    pub fixed_version: Option<String>,
    pub confidence: String,
    pub vendor_state: String,
    pub severity: String,
    pub cvss_score: Option<f32>,
    pub epss_score: Option<f32>,
    pub is_kev: bool,
    pub has_exploit: bool,
    /// 0 to 10.
    pub composite_score: f32,
    pub status: String,
    pub status_note: Option<String>,
    pub first_seen_at: DateTime<Utc>,
    /// When it was last compared and still there: while it is not resolved, whenever its asset was.
    pub last_confirmed_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
    pub resolution: Option<String>,
}

/// One finding with why it is one.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct FindingDetail {
    #[sqlx(flatten)]
    pub finding: Finding,
    pub evidence: Value,
    pub advisory: Option<String>,
    pub advisory_url: Option<String>,
    pub cve_description: Option<String>,
    pub cve_published_at: Option<DateTime<Utc>>,
    pub cve_last_modified_at: Option<DateTime<Utc>>,
    pub cvss_v31_score: Option<f32>,
    pub cvss_v31_vector: Option<String>,
    pub cvss_v4_score: Option<f32>,
    pub cvss_v4_vector: Option<String>,
    pub epss_percentile: Option<f32>,
}

/// Something that happened to a finding.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct FindingEvent {
    pub at: DateTime<Utc>,
    pub event: String,
    pub detail: Value,
    pub actor: Option<Uuid>,
}

/// Which findings are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub asset: Option<AssetId>,
    pub vulnerability: Option<String>,
    /// At any of these places; empty: wherever they stand.
    pub statuses: Vec<FindingStatus>,
    /// Any of these; empty: all.
    pub severities: Vec<Severity>,
    pub kev: Option<bool>,
    pub has_exploit: Option<bool>,
    /// True: there is a version without it.
    pub patch_available: Option<bool>,
    /// Composite score, both ends included.
    pub score: (Option<f32>, Option<f32>),
}

/// What findings can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    CompositeScore,
    CvssScore,
    EpssScore,
    FirstSeenAt,
    LastConfirmedAt,
    ResolvedAt,
    PackageName,
    Status,
}

macro_rules! last_confirmed_at {
    () => {
        "case when f.status = 'resolved' then f.last_confirmed_at
              else greatest(f.last_confirmed_at, a.correlated_at) end"
    };
}

/// How many findings may be put in the order of [`Sort::LastConfirmedAt`], which no index has: for most of them it is the time of their
/// asset's last comparison.
pub const MOST_BY_LAST_CONFIRMED: i64 = 10_000;

impl Sort {
    /// The parts that the list has in this order.
    fn parts(self, direction: Direction) -> Vec<Part> {
        let part = |key, absent: Option<&str>| {
            let order = Order { key, tie: ("f.id", "uuid"), direction };
            match absent {
                Some(absent) => Part::absent_last(SELECT, "findings f", order, absent),
                None => Part::whole(SELECT, "findings f", order),
            }
        };
        match self {
            Self::CompositeScore => part(("f.composite_score", "real"), None),
            Self::CvssScore => {
                part(("case when f.cvss_score is null then -1 else f.cvss_score end", "real"), Some("-1"))
            }
            Self::EpssScore => {
                part(("case when f.epss_score is null then -1 else f.epss_score end", "real"), Some("-1"))
            }
            Self::FirstSeenAt => part(("f.first_seen_at", "timestamptz"), None),
            Self::ResolvedAt => part(
                ("case when f.resolved_at is null then '-infinity' else f.resolved_at end", "timestamptz"),
                Some("-infinity"),
            ),
            Self::PackageName => part(("f.package_name", "text"), None),
            Self::Status => part(("f.status", "text"), None),
            Self::LastConfirmedAt => {
                let order =
                    Order { key: (last_confirmed_at!(), "timestamptz"), tie: ("f.id", "uuid"), direction };
                Part::whole(SELECT, TABLES, order)
            }
        }
    }
}

macro_rules! columns {
    () => {
        concat!(
            "f.id, f.asset_id, a.hostname as asset_hostname, f.vulnerability, f.ecosystem, f.package_name, f.installed_version,
             f.fixed_version, f.confidence, f.vendor_state, f.severity, f.cvss_score, f.epss_score, f.is_kev, f.has_exploit,
             f.composite_score, f.status, f.status_note, f.first_seen_at, f.resolved_at, f.resolution, ",
            last_confirmed_at!(),
            " as last_confirmed_at"
        )
    };
}

const TABLES: &str = "findings f join assets a on a.tenant_id = f.tenant_id and a.id = f.asset_id";
const SELECT: &str = concat!(
    "select ",
    columns!(),
    " from findings f join assets a on a.tenant_id = f.tenant_id and a.id = f.asset_id"
);

/// A page of findings. What has nothing to be ordered by comes last.
///
/// # Errors
/// When the database cannot be reached.
pub async fn list(
    tx: &mut TenantTx,
    filter: &Filter,
    sort: (Sort, Direction),
    page: PageRequest,
) -> Result<Page<Finding>> {
    let narrow = |tx: &TenantTx, select: String| narrowed(tx, select, filter);
    let list = format!("findings {filter:?}");
    let total = match summed(tx, filter) {
        // What no index has in order would be sorted for each step of the way to a far page.
        Some(sum) if sort.0 != Sort::LastConfirmedAt => Total::Known(scalar(tx, sum).await?),
        _ => Total::Counted(counted(tx, filter)),
    };
    paging::page(tx, &list, &sort.0.parts(sort.1), page, total, narrow).await
}

/// How many there are.
///
/// # Errors
/// When the database cannot be reached.
pub async fn total(tx: &mut TenantTx, filter: &Filter) -> Result<i64> {
    let total = summed(tx, filter).unwrap_or_else(|| counted(tx, filter));
    scalar(tx, total).await
}

async fn scalar(tx: &mut TenantTx, mut total: Conditions) -> Result<i64> {
    Ok(total.query.build_query_scalar().fetch_one(&mut **tx).await?)
}

/// Counts them: of one asset or one vulnerability, which are not many, and which an index has.
fn counted(tx: &TenantTx, filter: &Filter) -> Conditions {
    narrowed(tx, "select count(*) from findings f", filter)
}

/// Adds up counts, which are kept of everything else that findings are filtered by (`count_findings` in `migrations/*_filtered_lists.sql`).
fn summed(tx: &TenantTx, filter: &Filter) -> Option<Conditions> {
    if filter.asset.is_some() || filter.vulnerability.is_some() {
        return None;
    }
    let mut counts = Conditions::after("select coalesce(sum(findings), 0)::bigint from finding_counts");
    counts.also().push("tenant_id = ").push_bind(tx.tenant().0);
    counts.one_of("status", filter.statuses.iter().map(|status| status.as_str()));
    counts.one_of("severity", filter.severities.iter().map(|severity| severity.as_str()));
    for (column, wanted) in
        [("is_kev", filter.kev), ("has_exploit", filter.has_exploit), ("is_fixable", filter.patch_available)]
    {
        if let Some(wanted) = wanted {
            counts.also().push(column).push(" = ").push_bind(wanted);
        }
    }
    for (operator, bound) in [(" >= ", filter.score.0), (" <= ", filter.score.1)] {
        if let Some(bound) = bound {
            counts.also().push("composite_score").push(operator).push_bind(bound);
        }
    }
    Some(counts)
}

fn narrowed(tx: &TenantTx, select: impl Into<String>, filter: &Filter) -> Conditions {
    matching(tx.tenant(), select, filter)
}

/// Those of `tenant`'s findings `f` that `filter` lets through.
pub(crate) fn matching(tenant: TenantId, select: impl Into<String>, filter: &Filter) -> Conditions {
    let mut conditions = Conditions::after(select);
    conditions.also().push("f.tenant_id = ").push_bind(tenant.0);
    if let Some(asset) = filter.asset {
        conditions.also().push("f.asset_id = ").push_bind(asset.0);
    }
    if let Some(vulnerability) = filter.vulnerability.clone() {
        conditions.also().push("f.vulnerability = ").push_bind(vulnerability);
    }
    conditions.one_of("f.status", filter.statuses.iter().map(|status| status.as_str()));
    conditions.one_of("f.severity", filter.severities.iter().map(|severity| severity.as_str()));
    if let Some(kev) = filter.kev {
        // As a word, not as a value: the planner must see which index has them.
        conditions.also().push(if kev { "f.is_kev" } else { "not f.is_kev" });
    }
    if let Some(has_exploit) = filter.has_exploit {
        conditions.also().push("f.has_exploit = ").push_bind(has_exploit);
    }
    if let Some(available) = filter.patch_available {
        conditions.also().push("f.is_fixable = ").push_bind(available);
    }
    if let Some(least) = filter.score.0 {
        conditions.also().push("f.composite_score >= ").push_bind(least);
    }
    if let Some(most) = filter.score.1 {
        conditions.also().push("f.composite_score <= ").push_bind(most);
    }
    conditions
}

/// One finding.
///
/// # Errors
/// [`crate::Error::NotFound`] when this tenant has none of that id.
pub async fn find(tx: &mut TenantTx, id: FindingId) -> Result<FindingDetail> {
    let tenant = tx.tenant();
    let detail = sqlx::query_as(concat!(
        "select ",
        columns!(),
        ", f.evidence, adv.external_id as advisory, adv.url as advisory_url,
         c.description as cve_description, c.published_at as cve_published_at, c.last_modified_at as cve_last_modified_at,
         c.cvss_v31_score, c.cvss_v31_vector, c.cvss_v4_score, c.cvss_v4_vector, e.percentile as epss_percentile
           from findings f
           join assets a on a.tenant_id = f.tenant_id and a.id = f.asset_id
           left join advisories adv on adv.id = f.advisory_id
           left join cves c on c.cve_id = f.vulnerability
           left join epss e on e.cve_id = f.vulnerability
          where f.tenant_id = $1 and f.id = $2"
    ))
    .bind(tenant.0)
    .bind(id.0)
    .fetch_one(&mut **tx)
    .await?;
    Ok(detail)
}

/// What happened to a finding, the latest first, at most `limit` of it.
///
/// # Errors
/// When the database cannot be reached.
pub async fn history(tx: &mut TenantTx, id: FindingId, limit: i64) -> Result<Vec<FindingEvent>> {
    let tenant = tx.tenant();
    let events = sqlx::query_as(
        "select at, event, detail, actor from finding_events
          where tenant_id = $1 and finding_id = $2 order by at desc limit $3",
    )
    .bind(tenant.0)
    .bind(id.0)
    .bind(limit)
    .fetch_all(&mut **tx)
    .await?;
    Ok(events)
}

/// A person's verdict on findings.
#[derive(Debug, Clone)]
pub struct Triage<'a> {
    pub status: FindingStatus,
    /// Needed for [`FindingStatus::AcceptedRisk`].
    pub note: Option<&'a str>,
    pub by: UserId,
}

/// Writes the verdict on those of `ids` that this tenant has, and into their history. Returns which they are.
///
/// # Errors
/// When the database refuses.
pub async fn triage(tx: &mut TenantTx, ids: &[FindingId], triage: &Triage<'_>) -> Result<Vec<FindingId>> {
    let tenant = tx.tenant();
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let changed: Vec<Uuid> = sqlx::query_scalar(
        "with chosen as (
             -- In one order, so that two verdicts on the same findings wait for one another.
             select id, status from findings where tenant_id = $1 and id = any ($2) order by id for update
         ), judged as (
             update findings f
                set status = $3, status_note = $4,
                    resolved_at = case when $3 = 'resolved' then coalesce(f.resolved_at, now()) end,
                    resolution = case when $3 = 'resolved' then coalesce(f.resolution, 'manual') end
               from chosen where f.tenant_id = $1 and f.id = chosen.id
          returning f.id
         ), noted as (
             insert into finding_events (tenant_id, finding_id, event, detail, actor)
             select $1, id, 'triaged', jsonb_build_object('from', status, 'to', $3, 'note', $4), $5 from chosen
         )
         select id from judged",
    )
    .bind(tenant.0)
    .bind(ids)
    .bind(triage.status.as_str())
    .bind(triage.note)
    .bind(triage.by.0)
    .fetch_all(&mut **tx)
    .await?;
    Ok(changed.into_iter().map(FindingId).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_rated_comes_last_either_way() {
        let only = |direction| {
            Sort::CvssScore.parts(direction).into_iter().map(|part| part.only).collect::<Vec<_>>()
        };
        let condition =
            |text: &str| Some(format!("case when f.cvss_score is null then -1 else f.cvss_score end {text}"));
        assert_eq!(only(Direction::Descending), [None]);
        assert_eq!(only(Direction::Ascending), [condition("> '-1'"), condition("= '-1'")]);
    }
}
