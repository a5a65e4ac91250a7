//! What is measured of a tenant for the judgement of controls: counts of one moment, and the worst by name.

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Severity,
    document::{Block, Cell, Column, ColumnKind, Status, Table, Tone},
};
use sqlx::FromRow;
use store::{Result, TenantTx, cursor::Cursor};

use crate::{
    Spool,
    catalogue::asset_inventory::STALE_AFTER,
    posture::{CURRENT, Posture, severity_of, words},
};

/// How long a finding of a severity may stay open, in days. What nobody has rated counts as the worst, since it may be.
///
/// The figures are those of FedRAMP's continuous monitoring (Rev. 5): 30, 90 and 180 days. PCI DSS asks for a month where it
/// names a time; the other frameworks leave it to the organization.
pub(super) const DEADLINES: [(Severity, i64); 6] = [
    (Severity::Critical, 30),
    (Severity::High, 30),
    (Severity::Medium, 90),
    (Severity::Low, 180),
    (Severity::None, 180),
    (Severity::Unknown, 30),
];

/// When the finding `f` is due, `k` being its entry among the known exploited ones: by its severity, or by the catalogue's
/// date if that is earlier, but not before it was seen. The test below holds it against [`DEADLINES`].
macro_rules! due {
    () => {
        "greatest((f.first_seen_at at time zone 'utc')::date,
                  least((f.first_seen_at at time zone 'utc')::date
                            + case f.severity when 'critical' then 30 when 'high' then 30 when 'medium' then 90
                                              when 'low' then 180 when 'none' then 180 else 30 end,
                        k.due_date))"
    };
}

/// Which findings are pressing.
macro_rules! urgent {
    () => {
        "(f.is_kev or f.severity in ('critical', 'high', 'unknown'))"
    };
}

/// Vulnerabilities that are named, of each kind.
const NAMED: i64 = 6;

/// What is known of a tenant at one moment. All counts are of its own rows but those of sources, which everybody shares.
#[derive(Debug, Clone, Default, FromRow)]
pub(super) struct Measured {
    /// Assets.
    pub(super) assets: i64,
    /// Of those, with an inventory younger than [`STALE_AFTER`].
    pub(super) heard: i64,
    /// With at least one package.
    pub(super) packaged: i64,
    /// With at least one package that the advisories of some source could speak of.
    pub(super) covered: i64,
    /// Ever compared with what is known.
    pub(super) compared: i64,
    /// Compared within [`CURRENT`], by an inventory that is no older, of packages that advisories could speak of.
    pub(super) observed: i64,
    /// Findings that are not resolved, but for those whose risk was accepted.
    pub(super) open: i64,
    /// Of those, without a severity from any source.
    pub(super) unrated: i64,
    /// Of those, pressing.
    pub(super) urgent: i64,
    /// Of all and of the pressing ones: past their time, and beyond doubt.
    pub(super) overdue: i64,
    pub(super) overdue_urgent: i64,
    /// Of all and of the pressing ones: versions that could not be compared.
    pub(super) undecided: i64,
    pub(super) undecided_urgent: i64,
    /// Findings whose risk was accepted, and those of them that are known to be exploited.
    pub(super) accepted: i64,
    pub(super) accepted_exploited: i64,
    /// Findings of packages that an advisory calls out of support.
    pub(super) unsupported: i64,
    /// Findings that were resolved within ninety days.
    pub(super) resolved: i64,
    /// The inventory that came last.
    pub(super) last_seen_at: Option<DateTime<Utc>>,
    #[sqlx(skip)]
    pub(super) late: Vec<Late>,
    /// Packages without support, by name.
    #[sqlx(skip)]
    pub(super) unsupported_packages: Vec<String>,
    #[sqlx(skip)]
    pub(super) sources: Sources,
}

/// A vulnerability that should have been mended, on all assets together.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Late {
    pub(super) vulnerability: String,
    pub(super) package_name: String,
    pub(super) severity: String,
    pub(super) is_kev: bool,
    pub(super) is_urgent: bool,
    pub(super) assets: i64,
    pub(super) due: NaiveDate,
    pub(super) fixed: Option<String>,
}

/// Where vulnerability data comes from.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources {
    pub(super) enabled: i64,
    /// Merged at least once.
    pub(super) ever: i64,
    /// Of those, with data younger than [`CURRENT`] and nothing wrong with the last crawl.
    pub(super) current: i64,
    /// The others, by name.
    pub(super) wanting: Vec<String>,
}

impl Measured {
    /// Reads everything at the moment that `tx` sees.
    pub(super) async fn load(tx: &mut TenantTx, posture: &Posture) -> Result<Self> {
        let tenant = tx.tenant();
        // Ninety days back is enough to show that something is being done.
        let mut measured: Self = sqlx::query_as(concat!(
            "with installed as (
                 select ap.asset_id, pv.platform
                   from asset_packages ap join package_versions pv on pv.id = ap.package_version_id
                  where ap.tenant_id = $1 group by ap.asset_id, pv.platform
             ), platforms as (
                 select platform, exists (select 1 from affected_ranges r where r.platform = p.platform) as is_known
                   from (select distinct platform from installed) p
             ), software as (
                 select asset_id, bool_or(is_known) as is_covered
                   from installed join platforms using (platform) group by asset_id
             ), estate as (
                 select count(*) as assets, count(*) filter (where a.last_seen_at >= $2) as heard,
                        count(s.asset_id) as packaged, count(*) filter (where s.is_covered) as covered,
                        count(a.correlated_at) as compared,
                        count(*) filter (where s.is_covered and a.correlated_at >= $3 and a.last_seen_at >= $3) as observed,
                        max(a.last_seen_at) as last_seen_at
                   from assets a left join software s on s.asset_id = a.id
                  where a.tenant_id = $1
             ), wrong as (
                 select f.status, f.severity, f.is_kev, f.vendor_state, f.resolved_at, f.status in ('open', 'in_review') as is_open,
                        f.confidence = 'confirmed' as is_sure, ", urgent!(), " as is_urgent,
                        ", due!(), " < ($4 at time zone 'utc')::date as is_late
                   from findings f left join kev k on k.cve_id = f.vulnerability and f.is_kev
                  where f.tenant_id = $1
             ), found as (
                 select count(*) filter (where is_open) as open,
                        count(*) filter (where is_open and severity = 'unknown') as unrated,
                        count(*) filter (where is_open and is_urgent) as urgent,
                        count(*) filter (where is_open and is_sure and is_late) as overdue,
                        count(*) filter (where is_open and is_sure and is_late and is_urgent) as overdue_urgent,
                        count(*) filter (where is_open and not is_sure) as undecided,
                        count(*) filter (where is_open and not is_sure and is_urgent) as undecided_urgent,
                        count(*) filter (where status = 'accepted_risk') as accepted,
                        count(*) filter (where status = 'accepted_risk' and is_kev) as accepted_exploited,
                        count(*) filter (where status <> 'resolved' and vendor_state = 'end_of_life') as unsupported,
                        count(*) filter (where resolved_at >= $4 - interval '90 days') as resolved
                   from wrong
             )
             select assets, heard, packaged, covered, compared, observed, last_seen_at, open, unrated, urgent, overdue,
                    overdue_urgent, undecided, undecided_urgent, accepted, accepted_exploited, unsupported, resolved
               from estate, found"
        ))
        .bind(tenant.0)
        .bind(posture.at - STALE_AFTER)
        .bind(posture.at - CURRENT)
        .bind(posture.at)
        .fetch_one(&mut **tx)
        .await?;
        measured.late = late(tx, posture.at).await?;
        measured.unsupported_packages = sqlx::query_scalar(
            "select distinct package_name from findings
              where tenant_id = $1 and status <> 'resolved' and vendor_state = 'end_of_life'
              order by package_name limit $2",
        )
        .bind(tenant.0)
        .bind(NAMED)
        .fetch_all(&mut **tx)
        .await?;
        measured.sources = Sources::of(posture);
        Ok(measured)
    }
}

impl Sources {
    pub(super) fn of(posture: &Posture) -> Self {
        let mut sources = Self::default();
        for feed in &posture.feeds {
            sources.enabled += 1;
            let as_of = feed.as_of.or(feed.last_success_at);
            sources.ever += i64::from(as_of.is_some());
            let failed = matches!(feed.status.as_deref(), Some("failed" | "quarantined"));
            if !failed && as_of.is_some_and(|as_of| posture.at - as_of <= CURRENT) {
                sources.current += 1;
            } else {
                sources.wanting.push(feed.name.clone());
            }
        }
        sources
    }
}

/// The worst of those that should have been mended: of the pressing ones and of the others.
async fn late(tx: &mut TenantTx, at: DateTime<Utc>) -> Result<Vec<Late>> {
    let tenant = tx.tenant();
    let late = sqlx::query_as(concat!(
        "with late as (
             select f.vulnerability, f.package_name, (array_agg(f.severity order by f.composite_score desc))[1] as severity, bool_or(f.is_kev) as is_kev,
                    bool_or(", urgent!(), ") as is_urgent, count(distinct f.asset_id) as assets, min(", due!(), ") as due,
                    max(f.fixed_version) as fixed, max(f.composite_score) as score
               from findings f left join kev k on k.cve_id = f.vulnerability and f.is_kev
              where f.tenant_id = $1 and f.status in ('open', 'in_review') and f.confidence = 'confirmed'
                and ", due!(), " < ($2 at time zone 'utc')::date
              group by f.vulnerability, f.package_name
         )
         select vulnerability, package_name, severity, is_kev, is_urgent, assets, due, fixed
           from (select late.*, row_number() over (partition by is_urgent
                                              order by is_kev desc, score desc, vulnerability, package_name) as rank
                   from late) ranked
          where rank <= $3 order by is_urgent desc, rank"
    ))
    .bind(tenant.0)
    .bind(at)
    .bind(NAMED)
    .fetch_all(&mut **tx)
    .await?;
    Ok(late)
}

/// One open finding with its time.
#[derive(FromRow)]
struct DueLine {
    hostname: String,
    vulnerability: String,
    severity: String,
    package_name: String,
    installed_version: String,
    fixed_version: Option<String>,
    confidence: String,
    status: String,
    first_seen_at: DateTime<Utc>,
    due: NaiveDate,
}

/// Every open finding, those that are due first first. The fixed version is left out where nobody wants remedies.
pub(super) async fn evidence(
    tx: &mut TenantTx,
    spool: &Spool<'_>,
    at: DateTime<Utc>,
    with_fixes: bool,
) -> Result<Block> {
    let mut table = spool.fill(evidence_table(with_fixes));
    let mut findings = Cursor::open(
        tx,
        concat!(
            "select a.hostname, f.vulnerability, f.severity, f.package_name, f.installed_version, f.fixed_version, f.confidence,
                    f.status, f.first_seen_at, ", due!(), " as due
               from findings f
               join assets a on a.tenant_id = f.tenant_id and a.id = f.asset_id
               left join kev k on k.cve_id = f.vulnerability and f.is_kev
              where f.tenant_id = $1 and f.status <> 'resolved'
              order by f.status = 'accepted_risk', ", due!(), ", f.composite_score desc, lower(a.hostname), f.vulnerability,
                       f.package_name, f.id"
        ),
    )
    .await?;
    loop {
        let batch: Vec<DueLine> = findings.next().await?;
        if batch.is_empty() {
            return Ok(Block::Table(table.finish()?));
        }
        batch.iter().try_for_each(|finding| table.push(evidence_row(finding, at, with_fixes)))?;
    }
}

fn evidence_table(with_fixes: bool) -> Table {
    let mut columns = vec![
        Column::new("Asset", ColumnKind::Identifier).width(18),
        Column::new("Vulnerability", ColumnKind::Identifier).width(18),
        Column::new("Severity", ColumnKind::Severity).width(9),
        Column::new("Package", ColumnKind::Identifier).width(16),
        Column::new("Installed", ColumnKind::Identifier).width(20),
        Column::new("First seen", ColumnKind::Date).width(11),
        Column::new("Due", ColumnKind::Date).width(11),
        Column::new("Standing", ColumnKind::Status).width(16),
    ];
    if with_fixes {
        columns.insert(5, Column::new("Fixed in", ColumnKind::Identifier).width(20));
    }
    Table { key_columns: 2, ..Table::new("findings", columns, Vec::new()) }
}

fn evidence_row(finding: &DueLine, at: DateTime<Utc>, with_fixes: bool) -> Vec<Cell> {
    let mut row = vec![
        Cell::identifier(&finding.hostname),
        Cell::identifier(&finding.vulnerability),
        Cell::Severity(severity_of(&finding.severity)),
        Cell::identifier(&finding.package_name),
        Cell::identifier(&finding.installed_version),
        Cell::Date(finding.first_seen_at.date_naive()),
        Cell::Date(finding.due),
        Cell::Status(standing(finding, at.date_naive())),
    ];
    if with_fixes {
        row.insert(5, finding.fixed_version.as_ref().map_or(Cell::Empty, Cell::identifier));
    }
    row
}

/// How a finding stands to its time.
fn standing(finding: &DueLine, today: NaiveDate) -> Status {
    let days = (finding.due - today).num_days();
    let (label, tone) = match (finding.status.as_str(), finding.confidence.as_str()) {
        ("accepted_risk", _) => ("risk accepted".to_owned(), Tone::Neutral),
        (_, "undecided") => ("undecided".to_owned(), Tone::Caution),
        _ if days < 0 => (format!("{} overdue", in_days(-days)), Tone::Bad),
        _ if days == 0 => ("due today".to_owned(), Tone::Caution),
        (status, _) => {
            let also = if status == "open" { String::new() } else { format!(", {}", words(status)) };
            (format!("{} left{also}", in_days(days)), Tone::Neutral)
        }
    };
    Status { label, tone }
}

fn in_days(days: i64) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

/// A few findings as they look in an organization that was made up.
#[cfg(test)]
pub(super) fn sample_evidence(at: DateTime<Utc>) -> Block {
    let line = |host: &str,
                (vulnerability, severity): (&str, &str),
                package: &str,
                versions: [&str; 2],
                age: i64,
                limit: i64,
                status: &str| {
        let first_seen_at = at - chrono::TimeDelta::days(age);
        DueLine {
            hostname: host.into(),
            vulnerability: vulnerability.into(),
            severity: severity.into(),
            package_name: package.into(),
            installed_version: versions[0].into(),
            fixed_version: Some(versions[1].into()).filter(|fixed: &String| !fixed.is_empty()),
            confidence: if severity == "unknown" { "undecided" } else { "confirmed" }.into(),
            status: status.into(),
            first_seen_at,
            due: first_seen_at.date_naive() + chrono::TimeDelta::days(limit),
        }
    };
    let openssl = ["3.0.11-1~deb12u2", "3.0.15-1~deb12u1"];
    let xml = ["2.9.14+dfsg-1.3~deb12u1", "2.9.14+dfsg-1.3~deb12u2"];
    let curl = ["7.88.1-10+deb12u5", "7.88.1-10+deb12u8"];
    let lines = [
        line("web-1.acme.example", ("CVE-2026-1001", "critical"), "openssl", openssl, 52, 29, "open"),
        line("web-2.acme.example", ("CVE-2026-1001", "critical"), "openssl", openssl, 52, 29, "open"),
        line("db-1.acme.example", ("CVE-2026-1001", "critical"), "openssl", openssl, 40, 17, "in_review"),
        line("db-1.acme.example", ("CVE-2026-1417", "high"), "libxml2", xml, 53, 30, "open"),
        line("web-1.acme.example", ("CVE-2026-2002", "medium"), "curl", curl, 113, 90, "open"),
        line("mail-1.acme.example", ("CVE-2026-2002", "medium"), "curl", curl, 60, 90, "open"),
        line(
            "build-7.acme.example",
            ("GHSA-7f33-f4f5-xwgw", "high"),
            "minimist",
            ["0.0.8", "1.2.6"],
            12,
            30,
            "open",
        ),
        line(
            "mail-1.acme.example",
            ("CVE-2026-3110", "unknown"),
            "exim4",
            ["4.96-15+deb12u1", ""],
            5,
            30,
            "open",
        ),
        line(
            "legacy-1.acme.example",
            ("CVE-2025-9120", "medium"),
            "cups",
            ["2.4.2-3+deb12u1", ""],
            200,
            90,
            "accepted_risk",
        ),
    ];
    let mut table = evidence_table(true);
    table.rows = lines.iter().map(|line| evidence_row(line, at, true)).collect();
    Block::Table(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_counts_by_the_deadlines_that_the_report_prints() {
        for (severity, days) in DEADLINES {
            let told = match severity {
                Severity::Unknown => format!("else {days} end"),
                rated => format!("when '{rated}' then {days}"),
            };
            assert!(due!().contains(&told), "{told}");
        }
    }

    #[test]
    fn a_finding_is_told_by_how_it_stands_to_its_time() {
        let day = |text: &str| text.parse::<NaiveDate>().expect("a day");
        let finding = |status: &str, confidence: &str, due: &str| DueLine {
            hostname: "web-1".into(),
            vulnerability: "CVE-2026-0001".into(),
            severity: "high".into(),
            package_name: "openssl".into(),
            installed_version: "1".into(),
            fixed_version: None,
            confidence: confidence.into(),
            status: status.into(),
            first_seen_at: DateTime::UNIX_EPOCH,
            due: day(due),
        };
        for (status, confidence, due, told) in [
            ("open", "confirmed", "2026-11-21", "1 day overdue"),
            ("open", "confirmed", "2026-11-22", "due today"),
            ("open", "confirmed", "2026-12-22", "30 days left"),
            ("in_review", "confirmed", "2026-11-23", "1 day left, in review"),
            ("open", "undecided", "2026-11-01", "undecided"),
            ("accepted_risk", "confirmed", "2026-11-01", "risk accepted"),
        ] {
            let standing = standing(&finding(status, confidence, due), day("2026-11-22"));
            assert_eq!(standing.label, told, "{status} {due}");
        }
    }
}
