//! What is wrong where, at one moment: the data that the vulnerability reports share.
//!
//! Loading what is bounded stands here, and what is said about it in [`figures`] and [`cards`]; lists as long as the estate is large are
//! read as they are written, in [`tables`]. Start at [`Posture::load`].

mod architecture;
mod cards;
mod figures;
mod tables;

use chrono::{DateTime, Duration, Utc};
use domain::{Severity, source::FeedKind};
use sqlx::FromRow;
use store::{Result, TenantTx};

pub(crate) use architecture::asked_for_diagram;
pub(crate) use tables::{asset_table, findings_table};

/// Data older than this is said to be old.
pub(crate) const CURRENT: Duration = Duration::days(7);

/// A vulnerability with everything of this tenant that it touches.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Problem {
    pub(crate) vulnerability: String,
    pub(crate) package_name: String,
    pub(crate) severity: String,
    pub(crate) composite_score: f32,
    pub(crate) cvss_score: Option<f32>,
    pub(crate) cvss_vector: Option<String>,
    pub(crate) epss_score: Option<f32>,
    pub(crate) is_kev: bool,
    pub(crate) kev_due_date: Option<chrono::NaiveDate>,
    pub(crate) vendor_state: String,
    pub(crate) confidence: String,
    pub(crate) installed: Vec<String>,
    pub(crate) fixed: Vec<String>,
    pub(crate) assets: Vec<String>,
    pub(crate) asset_count: i64,
    pub(crate) first_seen_at: DateTime<Utc>,
    /// These three of those that are described at length only.
    pub(crate) description: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) evidence: Option<serde_json::Value>,
}

/// A package with its open findings.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct PackageLine {
    pub(crate) name: String,
    pub(crate) findings: i64,
    pub(crate) severities: Vec<String>,
}

/// The assets of one system in one zone, with their open findings.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct SystemLine {
    pub(crate) zone: String,
    pub(crate) name: String,
    pub(crate) assets: i64,
    pub(crate) critical: i64,
    pub(crate) high: i64,
}

#[derive(Debug, Clone, FromRow)]
pub(crate) struct FeedLine {
    pub(crate) feed: String,
    pub(crate) name: String,
    pub(crate) label: Option<String>,
    pub(crate) as_of: Option<DateTime<Utc>>,
    pub(crate) last_success_at: Option<DateTime<Utc>>,
    pub(crate) records: i64,
    pub(crate) status: Option<String>,
}

/// A tenant's open findings at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Posture {
    pub(crate) organization: String,
    /// The database's time at which all of this was true.
    pub(crate) at: DateTime<Utc>,
    /// Open findings by severity, worst first.
    pub(crate) by_severity: Vec<(Severity, u64)>,
    pub(crate) totals: Totals,
    /// Those that are exploited, and then so many of the others, the worst first.
    pub(crate) problems: Vec<Problem>,
    pub(crate) systems: Vec<SystemLine>,
    /// Those with the most findings.
    pub(crate) packages: Vec<PackageLine>,
    pub(crate) feeds: Vec<FeedLine>,
}

/// Counts over all open findings.
#[derive(Debug, Clone, Copy, Default, FromRow)]
pub(crate) struct Totals {
    pub(crate) open: i64,
    pub(crate) vulnerabilities: i64,
    pub(crate) affected_assets: i64,
    pub(crate) kev: i64,
    pub(crate) fixable: i64,
    pub(crate) undecided: i64,
    pub(crate) accepted: i64,
    pub(crate) unrated: i64,
    /// Something is to be said of one of them beside its severity ([`tables::note_cell`]).
    pub(crate) noteworthy: bool,
}

impl Posture {
    /// Reads what is bounded in a handful of statements. So many of the worst vulnerabilities come with all that is told of them.
    pub(crate) async fn load(tx: &mut TenantTx, at_length: usize) -> Result<Self> {
        let tenant = tx.tenant();
        let (organization, at): (String, DateTime<Utc>) = sqlx::query_as(
            "select coalesce(b.company_name, t.display_name), now()
                   from tenants t left join branding b on b.tenant_id = t.id
                  where t.id = $1",
        )
        .bind(tenant.0)
        .fetch_one(&mut **tx)
        .await?;
        let totals = sqlx::query_as(
            "select count(*) as open, count(distinct vulnerability) as vulnerabilities,
                    count(distinct asset_id) as affected_assets,
                    count(distinct vulnerability) filter (where is_kev) as kev,
                    count(*) filter (where fixed_version is not null) as fixable,
                    count(*) filter (where confidence = 'undecided') as undecided,
                    count(*) filter (where status = 'accepted_risk') as accepted,
                    count(*) filter (where severity = 'unknown') as unrated,
                    coalesce(bool_or(is_kev or confidence = 'undecided' or vendor_state <> 'affected'), false) as noteworthy
               from findings where tenant_id = $1 and status <> 'resolved'",
        )
        .bind(tenant.0)
        .fetch_one(&mut **tx)
        .await?;
        let by_severity: Vec<(String, i64)> = sqlx::query_as(
            "select severity, count(*) from findings where tenant_id = $1 and status <> 'resolved' group by severity",
        )
        .bind(tenant.0)
        .fetch_all(&mut **tx)
        .await?;
        let by_severity = Severity::ALL
            .into_iter()
            .map(|severity| {
                let count =
                    by_severity.iter().find(|(word, _)| word == severity.as_str()).map_or(0, |(_, n)| *n);
                (severity, count.unsigned_abs())
            })
            .filter(|(severity, count)| *count > 0 || *severity < Severity::None)
            .collect();
        let problems = problems(tx, at_length).await?;
        let systems = systems(tx).await?;
        let packages = packages(tx).await?;
        let feeds = feeds(tx).await?;
        Ok(Self { organization, at, by_severity, totals, problems, systems, packages, feeds })
    }

    pub(crate) fn asset_count(&self) -> i64 {
        self.systems.iter().map(|system| system.assets).sum()
    }

    /// The state of the KEV catalogue that findings were marked with.
    pub(crate) fn kev_as_of(&self) -> Option<DateTime<Utc>> {
        let feed = self.feeds.iter().find(|feed| feed.feed == FeedKind::CisaKev.as_str())?;
        feed.as_of.or(feed.last_success_at)
    }

    pub(crate) fn kev_is_current(&self) -> bool {
        self.kev_as_of().is_some_and(|as_of| self.at - as_of <= CURRENT)
    }
}

async fn problems(tx: &mut TenantTx, at_length: usize) -> Result<Vec<Problem>> {
    let tenant = tx.tenant();
    let problems = sqlx::query_as(
        "with worst as (
             select f.vulnerability, f.package_name, max(f.composite_score) as composite_score,
                    max(f.cvss_score) as cvss_score, max(f.epss_score) as epss_score, bool_or(f.is_kev) as is_kev,
                    array_agg(distinct f.installed_version) as installed,
                    array_remove(array_agg(distinct f.fixed_version), null) as fixed,
                    (array_agg(a.hostname order by f.composite_score desc, a.hostname))[1:12] as assets,
                    count(*) as asset_count, min(f.first_seen_at) as first_seen_at,
                    (array_agg(f.id order by f.composite_score desc, f.id))[1] as finding_id,
                    row_number() over (order by bool_or(f.is_kev) desc, max(f.composite_score) desc, f.vulnerability,
                                                f.package_name) as rank
               from findings f join assets a on a.tenant_id = f.tenant_id and a.id = f.asset_id
              where f.tenant_id = $1 and f.status <> 'resolved'
              group by f.vulnerability, f.package_name
         )
         select w.vulnerability, w.package_name, f.severity, w.composite_score, w.cvss_score,
                coalesce(c.cvss_v4_vector, c.cvss_v31_vector, v.cvss_vector) as cvss_vector, w.epss_score, w.is_kev,
                k.due_date as kev_due_date, f.vendor_state, f.confidence, w.installed, w.fixed, w.assets, w.asset_count,
                w.first_seen_at,
                case when w.rank <= $2 then coalesce(c.description, v.summary, v.title, k.description) end as description,
                case when w.rank <= $2 then v.url end as url, case when w.rank <= $2 then f.evidence end as evidence
           from worst w
           join findings f on f.tenant_id = $1 and f.id = w.finding_id
           left join cves c on c.cve_id = w.vulnerability
           left join kev k on k.cve_id = w.vulnerability
           left join advisories v on v.id = f.advisory_id
          where w.is_kev or w.rank <= $2
          order by w.rank",
    )
    .bind(tenant.0)
    .bind(i64::try_from(at_length).unwrap_or(i64::MAX))
    .fetch_all(&mut **tx)
    .await?;
    Ok(problems)
}

async fn systems(tx: &mut TenantTx) -> Result<Vec<SystemLine>> {
    let tenant = tx.tenant();
    let systems = sqlx::query_as(
        "with open as (
             select asset_id, count(*) filter (where severity = 'critical') as critical,
                    count(*) filter (where severity = 'high') as high
               from findings where tenant_id = $1 and status <> 'resolved' group by asset_id
         )
         select a.risk_zone as zone, coalesce(a.os_name, a.os_distro, 'not stated') as name, count(*) as assets,
                coalesce(sum(o.critical), 0)::bigint as critical, coalesce(sum(o.high), 0)::bigint as high
           from assets a left join open o on o.asset_id = a.id
          where a.tenant_id = $1 group by 1, 2",
    )
    .bind(tenant.0)
    .fetch_all(&mut **tx)
    .await?;
    Ok(systems)
}

async fn packages(tx: &mut TenantTx) -> Result<Vec<PackageLine>> {
    let tenant = tx.tenant();
    let packages = sqlx::query_as(
        "select package_name as name, count(*) as findings, array_agg(distinct severity) as severities
           from findings where tenant_id = $1 and status <> 'resolved'
          group by package_name order by count(*) desc, package_name limit 8",
    )
    .bind(tenant.0)
    .fetch_all(&mut **tx)
    .await?;
    Ok(packages)
}

async fn feeds(tx: &mut TenantTx) -> Result<Vec<FeedLine>> {
    let feeds = sqlx::query_as(
        "select feed, name, content_label as label, content_as_of as as_of, last_success_at, record_count as records,
                last_crawl_status as status
           from sources where enabled order by name",
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(feeds)
}

pub(crate) fn severity_of(word: &str) -> Severity {
    word.parse().unwrap_or(Severity::Unknown)
}

/// Scores are told with one decimal.
pub(crate) fn one_decimal(value: f32) -> f64 {
    (f64::from(value) * 10.0).round() / 10.0
}

/// `wont_fix` as people write it.
pub(crate) fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// `1 asset`, `2 assets`.
pub(crate) fn counted(number: i64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
