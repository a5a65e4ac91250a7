//! The tables: what to mend first, every finding, every asset. Each is read and written a batch at a time, however long it is.

use chrono::{DateTime, Utc};
use domain::document::{Block, Cell, Column, ColumnKind, Status, Table, Tone};
use sqlx::FromRow;
use store::{Result, TenantTx, cursor::Cursor};

use super::{Posture, one_decimal, severity_of, words};
use crate::Spool;

/// A vulnerability and package, with what is worst about them.
#[derive(FromRow)]
struct ProblemLine {
    vulnerability: String,
    package_name: String,
    severity: String,
    composite_score: f32,
    is_kev: bool,
    vendor_state: String,
    confidence: String,
    installed: Vec<String>,
    fixed: Vec<String>,
    asset_count: i64,
}

impl Posture {
    /// What to mend first: one row a vulnerability and package, worst first. Readers are shown the first of them.
    pub(crate) async fn problem_table(
        &self,
        tx: &mut TenantTx,
        spool: &Spool<'_>,
        id: &str,
        shown: u32,
    ) -> Result<Block> {
        let mut columns = vec![
            Column::new("Vulnerability", ColumnKind::Identifier).width(17),
            Column::new("Severity", ColumnKind::Severity).width(9),
            Column::new("Score", ColumnKind::Number { decimals: 1 }).width(6),
            Column::new("Package", ColumnKind::Identifier).width(14),
            Column::new("Installed", ColumnKind::Identifier).width(20),
            Column::new("Fixed in", ColumnKind::Identifier).width(20),
            Column::new("Assets", ColumnKind::Number { decimals: 0 }).width(6),
        ];
        // A column of dashes only takes room from the versions.
        let noteworthy = self.totals.noteworthy;
        if noteworthy {
            columns.push(Column::new("Note", ColumnKind::Status).width(14));
        }
        let empty = Table { key_columns: 1, shown_rows: Some(shown), ..Table::new(id, columns, Vec::new()) };
        let mut table = spool.fill(empty);
        let mut problems = Cursor::open(
            tx,
            "with problems as (
                 select vulnerability, package_name, max(composite_score) as composite_score, bool_or(is_kev) as is_kev,
                        array_agg(distinct installed_version) as installed,
                        array_remove(array_agg(distinct fixed_version), null) as fixed, count(*) as asset_count,
                        (array_agg(id order by composite_score desc, id))[1] as worst
                   from findings where tenant_id = $1 and status <> 'resolved'
                  group by vulnerability, package_name
             )
             select p.vulnerability, p.package_name, f.severity, p.composite_score, p.is_kev, f.vendor_state, f.confidence,
                    p.installed, p.fixed, p.asset_count
               from problems p join findings f on f.tenant_id = $1 and f.id = p.worst
              order by p.is_kev desc, p.composite_score desc, p.vulnerability, p.package_name",
        )
        .await?;
        loop {
            let batch: Vec<ProblemLine> = problems.next().await?;
            if batch.is_empty() {
                return Ok(Block::Table(table.finish()?));
            }
            for problem in &batch {
                let mut row = vec![
                    Cell::identifier(&problem.vulnerability),
                    Cell::Severity(severity_of(&problem.severity)),
                    Cell::number(one_decimal(problem.composite_score)),
                    Cell::identifier(&problem.package_name),
                    versions_cell(&problem.installed),
                    versions_cell(&problem.fixed),
                    Cell::count(problem.asset_count.unsigned_abs()),
                ];
                if noteworthy {
                    row.push(note_cell(problem.is_kev, &problem.vendor_state, &problem.confidence));
                }
                table.push(row)?;
            }
        }
    }
}

/// One open finding.
#[derive(FromRow)]
struct FindingLine {
    hostname: String,
    package_name: String,
    installed_version: String,
    fixed_version: Option<String>,
    vulnerability: String,
    severity: String,
    composite_score: f32,
    cvss_score: Option<f32>,
    epss_score: Option<f32>,
    is_kev: bool,
    vendor_state: String,
    confidence: String,
    status: String,
    first_seen_at: DateTime<Utc>,
}

/// Every open finding.
pub(crate) async fn findings_table(tx: &mut TenantTx, spool: &Spool<'_>) -> Result<Block> {
    let columns = vec![
        Column::new("Asset", ColumnKind::Identifier).width(14),
        Column::new("Package", ColumnKind::Identifier).width(14),
        Column::new("Installed", ColumnKind::Identifier).width(20),
        Column::new("Fixed in", ColumnKind::Identifier).width(20),
        Column::new("Vulnerability", ColumnKind::Identifier).width(18),
        Column::new("Severity", ColumnKind::Severity).width(9),
        Column::new("Score", ColumnKind::Number { decimals: 1 }),
        Column::new("CVSS", ColumnKind::Number { decimals: 1 }),
        Column::new("EPSS %", ColumnKind::Number { decimals: 1 }),
        Column::new("Status", ColumnKind::Status).width(11),
        Column::new("Note", ColumnKind::Status).width(13),
        Column::new("First seen", ColumnKind::Date).width(11),
    ];
    let mut table = spool.fill(Table { key_columns: 1, ..Table::new("findings", columns, Vec::new()) });
    let optional = |value: Option<f32>| value.map_or(Cell::Empty, |value| Cell::number(one_decimal(value)));
    let mut findings = Cursor::open(
        tx,
        "select a.hostname, f.package_name, f.installed_version, f.fixed_version, f.vulnerability, f.severity,
                f.composite_score, f.cvss_score, f.epss_score, f.is_kev, f.vendor_state, f.confidence, f.status,
                f.first_seen_at
           from findings f join assets a on a.tenant_id = f.tenant_id and a.id = f.asset_id
          where f.tenant_id = $1 and f.status <> 'resolved'
          order by f.composite_score desc, f.id",
    )
    .await?;
    loop {
        let batch: Vec<FindingLine> = findings.next().await?;
        if batch.is_empty() {
            return Ok(Block::Table(table.finish()?));
        }
        for finding in &batch {
            table.push(vec![
                Cell::identifier(&finding.hostname),
                Cell::identifier(&finding.package_name),
                Cell::identifier(&finding.installed_version),
                finding.fixed_version.as_ref().map_or(Cell::Empty, Cell::identifier),
                Cell::identifier(&finding.vulnerability),
                Cell::Severity(severity_of(&finding.severity)),
                Cell::number(one_decimal(finding.composite_score)),
                optional(finding.cvss_score),
                optional(finding.epss_score.map(|probability| probability * 100.0)),
                Cell::Status(Status { label: words(&finding.status), tone: Tone::Neutral }),
                note_cell(finding.is_kev, &finding.vendor_state, &finding.confidence),
                Cell::Date(finding.first_seen_at.date_naive()),
            ])?;
        }
    }
}

/// One asset with its count of open findings.
#[derive(FromRow)]
struct AssetLine {
    hostname: String,
    os_name: Option<String>,
    risk_zone: String,
    package_count: i64,
    critical: i64,
    high: i64,
    medium: i64,
    low: i64,
    unrated: i64,
    worst: Option<f32>,
    correlated_at: Option<DateTime<Utc>>,
}

/// Assets, the worst first. Readers are shown so many of them; without a number all.
pub(crate) async fn asset_table(
    tx: &mut TenantTx,
    spool: &Spool<'_>,
    shown_rows: Option<u32>,
) -> Result<Block> {
    let number = |title: &str| Column::new(title, ColumnKind::Number { decimals: 0 }).width(8);
    let columns = vec![
        Column::new("Asset", ColumnKind::Identifier).width(18),
        Column::new("System", ColumnKind::Text).width(28),
        Column::new("Zone", ColumnKind::Text).width(10),
        number("Packages"),
        number("Critical"),
        number("High"),
        number("Medium"),
        number("Low"),
        number("Unrated"),
        Column::new("Worst", ColumnKind::Number { decimals: 1 }).width(6),
        Column::new("Compared", ColumnKind::Date).width(11),
    ];
    let count = |n: i64| Cell::count(n.unsigned_abs());
    let empty = Table { key_columns: 1, shown_rows, ..Table::new("assets", columns, Vec::new()) };
    let mut table = spool.fill(empty);
    let mut assets = Cursor::open(
        tx,
        "with open as (
             select asset_id, count(*) filter (where severity = 'critical') as critical,
                    count(*) filter (where severity = 'high') as high,
                    count(*) filter (where severity = 'medium') as medium,
                    count(*) filter (where severity = 'low') as low,
                    count(*) filter (where severity in ('none', 'unknown')) as unrated,
                    max(composite_score) as worst
               from findings where tenant_id = $1 and status <> 'resolved' group by asset_id
         ), installed as (
             select asset_id, count(*) as packages from asset_packages where tenant_id = $1 group by asset_id
         )
         select a.hostname, coalesce(a.os_name, a.os_distro) as os_name, a.risk_zone,
                coalesce(i.packages, 0) as package_count, coalesce(o.critical, 0) as critical, coalesce(o.high, 0) as high,
                coalesce(o.medium, 0) as medium, coalesce(o.low, 0) as low, coalesce(o.unrated, 0) as unrated, o.worst,
                a.correlated_at
           from assets a
           left join open o on o.asset_id = a.id
           left join installed i on i.asset_id = a.id
          where a.tenant_id = $1
          order by o.worst desc nulls last, a.hostname, a.id",
    )
    .await?;
    loop {
        let batch: Vec<AssetLine> = assets.next().await?;
        if batch.is_empty() {
            return Ok(Block::Table(table.finish()?));
        }
        for asset in &batch {
            table.push(vec![
                Cell::identifier(&asset.hostname),
                asset.os_name.as_ref().map_or(Cell::Empty, Cell::text),
                Cell::text(&asset.risk_zone),
                count(asset.package_count),
                count(asset.critical),
                count(asset.high),
                count(asset.medium),
                count(asset.low),
                count(asset.unrated),
                asset.worst.map_or(Cell::Empty, |score| Cell::number(one_decimal(score))),
                asset.correlated_at.map_or_else(
                    || Cell::Status(Status { label: "never".into(), tone: Tone::Caution }),
                    |at| Cell::Date(at.date_naive()),
                ),
            ])?;
        }
    }
}

fn versions_cell(versions: &[String]) -> Cell {
    match versions {
        [] => Cell::Empty,
        [one] => Cell::identifier(one),
        [first, rest @ ..] => Cell::identifier(format!("{first} (+{})", rest.len())),
    }
}

/// What is to be said of a finding beside its severity. [`super::Totals::noteworthy`] asks the database whether there is any of it.
fn note_cell(is_kev: bool, vendor_state: &str, confidence: &str) -> Cell {
    let (label, tone) = match (is_kev, confidence, vendor_state) {
        (true, ..) => ("known exploited".to_owned(), Tone::Bad),
        (_, "undecided", _) => ("undecided".to_owned(), Tone::Caution),
        (_, _, "affected") => return Cell::Empty,
        (_, _, other) => (words(other), Tone::Neutral),
    };
    Cell::Status(Status { label, tone })
}
