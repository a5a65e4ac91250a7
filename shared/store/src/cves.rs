//! CVE records as people look them up: the NVD's words with EPSS and KEV beside them, and which of a tenant's
//! assets they concern.

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Severity,
    page::{Direction, Page, PageRequest},
};
use sqlx::FromRow;
use uuid::Uuid;

use crate::{
    db::TenantTx,
    error::Result,
    paging::{self, Order, Part, Total},
    sql::{Conditions, contains_pattern},
};

/// One CVE in a list.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Cve {
    pub cve_id: String,
    pub description: Option<String>,
    pub published_at: Option<DateTime<Utc>>,
    pub last_modified_at: Option<DateTime<Utc>>,
    pub nvd_status: Option<String>,
    pub cvss_v2_score: Option<f32>,
    pub cvss_v31_score: Option<f32>,
    pub cvss_v4_score: Option<f32>,
    /// The best of the scores: CVSS 4.0, then 3.x, then 2.0.
    pub base_score: Option<f32>,
    pub epss_score: Option<f32>,
    pub epss_percentile: Option<f32>,
    pub is_kev: bool,
    pub has_exploit: bool,
}

impl Cve {
    /// The rating of the best score.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.base_score.map_or(Severity::Unknown, Severity::of_score)
    }
}

/// Everything that is known of one CVE.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct CveDetail {
    #[sqlx(flatten)]
    pub cve: Cve,
    pub cvss_v31_vector: Option<String>,
    pub cvss_v4_vector: Option<String>,
    pub cwes: Vec<String>,
    pub references: Vec<String>,
    pub kev_name: Option<String>,
    pub kev_required_action: Option<String>,
    pub kev_date_added: Option<NaiveDate>,
    pub kev_due_date: Option<NaiveDate>,
    pub kev_ransomware: Option<bool>,
    /// The tenant's assets with a finding of it that is not resolved.
    pub affected_asset_count: i64,
}

/// An asset that a CVE concerns.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct AffectedAsset {
    pub id: Uuid,
    pub hostname: String,
    pub os_distro: Option<String>,
    pub os_version: Option<String>,
    pub risk_zone: String,
    pub tags: Vec<String>,
    /// The worst composite score of its findings of the CVE, 0 to 10.
    pub composite_score: f32,
    pub packages: Vec<String>,
    /// The statuses of its findings, each once.
    pub statuses: Vec<String>,
}

/// Which CVEs are wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Any of these; empty: all.
    pub severities: Vec<Severity>,
    pub cvss: (Option<f32>, Option<f32>),
    pub epss: (Option<f32>, Option<f32>),
    pub kev: Option<bool>,
    pub has_exploit: Option<bool>,
    pub nvd_status: Option<String>,
    /// Part of the id or of the description.
    pub search: Option<String>,
}

/// What CVEs can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    CveId,
    PublishedAt,
    LastModifiedAt,
    CvssV31Score,
    CvssV4Score,
    EpssScore,
    EpssPercentile,
}

impl Sort {
    /// The parts that the list has in this order. Where EPSS puts them in order, the CVEs that it does not know come behind those that it
    /// does, by their ids.
    fn parts(self, direction: Direction, filter: &Filter) -> Vec<Part> {
        let order = |key| Order { key, tie: ("c.cve_id", "text"), direction };
        // Who asks for scores of EPSS asks for none that it does not know.
        let (select, table) =
            if filter.epss == (None, None) { (SELECT, "cves c") } else { (RATED, RATED_TABLES) };
        let part = |key, absent| Part::absent_last(select, table, order(key), absent);
        let by_epss = |key| {
            let known = Order { key: (key, "real"), tie: ("e.cve_id", "text"), direction };
            let known = Part { select: RATED, table: RATED_TABLES, only: None, each: None, order: known };
            if filter.epss != (None, None) {
                return vec![known];
            }
            let only = Some("e.cve_id is null".to_owned());
            let order = order(("c.cve_id", "text"));
            vec![known, Part { select: SELECT, table: TABLES, only, each: None, order }]
        };
        match self {
            Self::CveId => Part::whole(select, table, order(("c.cve_id", "text"))),
            Self::PublishedAt => part(("coalesce(c.published_at, '-infinity')", "timestamptz"), "-infinity"),
            Self::LastModifiedAt => {
                part(("coalesce(c.last_modified_at, '-infinity')", "timestamptz"), "-infinity")
            }
            Self::CvssV31Score => part(("coalesce(c.cvss_v31_score, -1)", "real"), "-1"),
            Self::CvssV4Score => part(("coalesce(c.cvss_v4_score, -1)", "real"), "-1"),
            Self::EpssScore => by_epss("e.score"),
            Self::EpssPercentile => by_epss("e.percentile"),
        }
    }
}

macro_rules! columns {
    () => {
        "c.description, c.published_at, c.last_modified_at, c.nvd_status, c.cvss_v2_score, c.cvss_v31_score, c.cvss_v4_score,
         c.base_score, e.score as epss_score, e.percentile as epss_percentile, k.cve_id is not null as is_kev,
         coalesce(c.has_exploit, false) as has_exploit"
    };
}

/// What EPSS says is looked up for each row of a page: a join that may be planned otherwise reads all of EPSS up to a far page.
macro_rules! with_epss {
    () => {
        "cves c left join lateral (select cve_id, score, percentile from epss where cve_id = c.cve_id limit 1) e on true"
    };
}

const TABLES: &str = with_epss!();
const SELECT: &str = concat!(
    "select c.cve_id, ",
    columns!(),
    " from ",
    with_epss!(),
    " left join kev k on k.cve_id = c.cve_id"
);
const RATED_TABLES: &str = "epss e join cves c on c.cve_id = e.cve_id";
const RATED: &str = concat!(
    "select c.cve_id, ",
    columns!(),
    " from epss e join cves c on c.cve_id = e.cve_id left join kev k on k.cve_id = c.cve_id"
);

/// A page of CVE records. What has nothing to be ordered by comes last. Those that only EPSS, KEV or an advisory knows are found by [`find`], not here.
///
/// # Errors
/// When the database cannot be reached.
pub async fn list(
    tx: &mut TenantTx,
    filter: &Filter,
    sort: (Sort, Direction),
    page: PageRequest,
) -> Result<Page<Cve>> {
    let narrow = |_: &TenantTx, select: String| narrowed(select, filter);
    let list = format!("cves {filter:?}");
    let total = if *filter == Filter::default() {
        Total::Known(paging::count(tx, "cves").await?)
    } else {
        let from = if filter.epss == (None, None) { "cves c" } else { RATED_TABLES };
        let count = narrowed(format!("select count(*) from {from}"), filter);
        Total::Remembered { count, changes: "cve_changes" }
    };
    paging::page(tx, &list, &sort.0.parts(sort.1, filter), page, total, narrow).await
}

fn narrowed(select: impl Into<String>, filter: &Filter) -> Conditions {
    let mut conditions = Conditions::after(select);
    for (number, severity) in filter.severities.iter().enumerate() {
        let query = if number == 0 { conditions.also().push("(") } else { conditions.query.push(" or ") };
        match score_band(*severity) {
            Some((from, to)) => {
                query.push("c.base_score >= ").push_bind(from);
                query.push(" and c.base_score < ").push_bind(to);
            }
            None => _ = query.push("c.base_score is null"),
        }
    }
    if !filter.severities.is_empty() {
        conditions.query.push(")");
    }
    for (column, operator, bound) in [
        ("c.base_score", " >= ", filter.cvss.0),
        ("c.base_score", " <= ", filter.cvss.1),
        ("e.score", " >= ", filter.epss.0),
        ("e.score", " <= ", filter.epss.1),
    ] {
        if let Some(bound) = bound {
            conditions.also().push(column).push(operator).push_bind(bound);
        }
    }
    if let Some(kev) = filter.kev {
        let word = if kev { "" } else { "not " };
        conditions.also().push(word).push("exists (select from kev where kev.cve_id = c.cve_id)");
    }
    if let Some(has_exploit) = filter.has_exploit {
        conditions.also().push("c.has_exploit = ").push_bind(has_exploit);
    }
    if let Some(status) = filter.nvd_status.clone() {
        conditions.also().push("lower(c.nvd_status) = lower(").push_bind(status).push(")");
    }
    if let Some(search) = &filter.search {
        let pattern = contains_pattern(search);
        let condition = conditions.also();
        condition.push("(c.cve_id ilike ").push_bind(pattern.clone());
        condition.push(" or c.description ilike ").push_bind(pattern).push(")");
    }
    conditions
}

/// The base scores of a severity, from and below; `None` for CVEs without a score. Scores have one decimal.
fn score_band(severity: Severity) -> Option<(f32, f32)> {
    match severity {
        Severity::Critical => Some((9.0, 11.0)),
        Severity::High => Some((7.0, 9.0)),
        Severity::Medium => Some((4.0, 7.0)),
        Severity::Low => Some((0.05, 4.0)),
        Severity::None => Some((0.0, 0.05)),
        Severity::Unknown => None,
    }
}

/// One CVE, if the NVD, EPSS, KEV or any advisory knows it.
///
/// # Errors
/// [`crate::Error::NotFound`] when none of them does.
pub async fn find(tx: &mut TenantTx, cve_id: &str) -> Result<CveDetail> {
    let tenant = tx.tenant();
    let detail = sqlx::query_as(concat!(
        "select wanted.cve_id, ",
        columns!(),
        ", c.cvss_v31_vector, c.cvss_v4_vector, coalesce(c.cwes, '{}') as cwes,
         coalesce(c.cve_references, '{}') as references, k.name as kev_name, k.required_action as kev_required_action,
         k.date_added as kev_date_added, k.due_date as kev_due_date, k.ransomware as kev_ransomware,
         (select count(distinct f.asset_id) from findings f
           where f.tenant_id = $1 and f.vulnerability = wanted.cve_id and f.status <> 'resolved') as affected_asset_count
           from (select $2::text as cve_id) as wanted
           left join cves c on c.cve_id = wanted.cve_id
           left join epss e on e.cve_id = wanted.cve_id
           left join kev k on k.cve_id = wanted.cve_id
          where c.cve_id is not null or e.cve_id is not null or k.cve_id is not null
             or exists (select from advisories a where a.cves @> array[wanted.cve_id])"
    ))
    .bind(tenant.0)
    .bind(cve_id)
    .fetch_one(&mut **tx)
    .await?;
    Ok(detail)
}

/// A page of the tenant's assets with a finding of the CVE that is not resolved, the worst first.
///
/// # Errors
/// [`crate::Error::NotFound`] when nobody knows the CVE.
pub async fn affected_assets(
    tx: &mut TenantTx,
    cve_id: &str,
    page: PageRequest,
) -> Result<Page<AffectedAsset>> {
    let tenant = tx.tenant();
    // Which assets there are and which of them are on the page comes from an index alone; the rest is looked up for those of the page.
    let items: Vec<AffectedAsset> = sqlx::query_as(
        "select a.id, a.hostname, a.os_distro, a.os_version, a.risk_zone, a.tags,
                shown.composite_score, f.packages, f.statuses
           from (select asset_id, max(composite_score) as composite_score
                   from findings
                  where tenant_id = $1 and vulnerability = $2 and status <> 'resolved'
                  group by asset_id order by 2 desc, 1 limit $3 offset $4) as shown
           join assets a on a.tenant_id = $1 and a.id = shown.asset_id
           cross join lateral (
                select array_agg(distinct package_name order by package_name) as packages,
                       array_agg(distinct status order by status) as statuses
                  from findings
                 where tenant_id = $1 and vulnerability = $2 and asset_id = a.id and status <> 'resolved') as f
          order by shown.composite_score desc, a.id",
    )
    .bind(tenant.0)
    .bind(cve_id)
    .bind(page.limit())
    .bind(page.offset())
    .fetch_all(&mut **tx)
    .await?;
    let total = match paging::total_of_last_page(page, items.len()) {
        // An empty first page may also be that of a CVE that does not exist.
        Some(total) if total > 0 => total,
        _ => find(tx, cve_id).await?.affected_asset_count,
    };
    Ok(Page::new(items, total, page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_severity_selects_the_scores_that_have_it() {
        for tenths in 0..=100_u8 {
            let score = f32::from(tenths) / 10.0;
            let rated: Vec<Severity> = Severity::ALL
                .into_iter()
                .filter(|severity| {
                    score_band(*severity).is_some_and(|(from, to)| from <= score && score < to)
                })
                .collect();
            assert_eq!(rated, [Severity::of_score(score)], "{score}");
        }
    }
}
