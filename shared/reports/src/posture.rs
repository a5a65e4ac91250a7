//! What is wrong where, at one moment: the data that the vulnerability reports share.

use chrono::{DateTime, Utc};
use domain::{
    Severity,
    document::{
        AffectedAsset, Bar, Block, Cell, Chart, Column, ColumnKind, Cover, DataFreshness, Fact,
        FeedFreshness, FindingCard, Fix, Inline, KeyFigure, Link, Method, Note, Number, Plot, Quantity,
        SeverityCount, Status, Table, Tone, Truncated,
    },
};
use sqlx::FromRow;
use store::{Result, TenantTx, reports::Report};

/// Rows of a table in a document; beyond it the document says where the rest is.
const MOST_ROWS: usize = 2000;

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
    pub(crate) description: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) evidence: serde_json::Value,
}

/// One asset with its count of open findings.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct AssetLine {
    pub(crate) hostname: String,
    pub(crate) os_name: Option<String>,
    pub(crate) risk_zone: String,
    pub(crate) package_count: i64,
    pub(crate) critical: i64,
    pub(crate) high: i64,
    pub(crate) medium: i64,
    pub(crate) low: i64,
    pub(crate) unrated: i64,
    pub(crate) worst: Option<f32>,
    pub(crate) correlated_at: Option<DateTime<Utc>>,
}

/// One open finding.
#[derive(Debug, Clone, FromRow)]
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

#[derive(Debug, Clone, FromRow)]
struct FeedLine {
    name: String,
    label: Option<String>,
    as_of: Option<DateTime<Utc>>,
    last_success_at: Option<DateTime<Utc>>,
    records: i64,
    status: Option<String>,
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
    /// Worst first.
    pub(crate) problems: Vec<Problem>,
    pub(crate) assets: Vec<AssetLine>,
    findings: Vec<FindingLine>,
    feeds: Vec<FeedLine>,
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
}

impl Posture {
    /// Reads everything in a handful of statements. `most_problems` bounds the list of vulnerabilities.
    pub(crate) async fn load(tx: &mut TenantTx, most_problems: i64) -> Result<Self> {
        let tenant = tx.tenant();
        let (organization, at): (String, DateTime<Utc>) =
            sqlx::query_as("select display_name, now() from tenants where id = $1")
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
                    count(*) filter (where severity = 'unknown') as unrated
               from findings where tenant_id = $1 and status <> 'resolved'",
        )
        .bind(tenant.0)
        .fetch_one(&mut **tx)
        .await?;
        let counted: Vec<(String, i64)> = sqlx::query_as(
            "select severity, count(*) from findings where tenant_id = $1 and status <> 'resolved' group by severity",
        )
        .bind(tenant.0)
        .fetch_all(&mut **tx)
        .await?;
        let by_severity = Severity::ALL
            .into_iter()
            .map(|severity| {
                let count = counted.iter().find(|(word, _)| word == severity.as_str()).map_or(0, |(_, n)| *n);
                (severity, count.unsigned_abs())
            })
            .filter(|(severity, count)| *count > 0 || *severity < Severity::None)
            .collect();
        let problems = problems(tx, most_problems).await?;
        let assets = assets(tx).await?;
        let findings = findings(tx).await?;
        let feeds = feeds(tx).await?;
        Ok(Self { organization, at, by_severity, totals, problems, assets, findings, feeds })
    }

    /// The first page, for `report`.
    pub(crate) fn cover(&self, report: &Report, subtitle: &str) -> Cover {
        let option =
            |name: &str| report.options.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        Cover {
            title: report.title.clone(),
            subtitle: Some(subtitle.to_owned()),
            organization: option("company_name").unwrap_or_else(|| self.organization.clone()),
            period: None,
            classification: option("classification"),
            prepared_for: option("prepared_for"),
            prepared_by: option("prepared_by").or_else(|| Some("Plimsoll".to_owned())),
            document_number: format!("report_{}", report.id.simple()),
            version: None,
            generated_at: self.at,
        }
    }

    /// The numbers a hurried reader takes away.
    pub(crate) fn key_figures(&self) -> Vec<KeyFigure> {
        let figure = |label: &str, value: i64, tone: Tone| KeyFigure {
            label: label.to_owned(),
            value: Quantity::Number(Number::from(value)),
            unit: None,
            trend: None,
            tone,
        };
        let bad_if_any = |count: i64| if count > 0 { Tone::Bad } else { Tone::Good };
        let worst: i64 = self
            .by_severity
            .iter()
            .filter(|(severity, _)| *severity <= Severity::High)
            .map(|(_, count)| i64::try_from(*count).unwrap_or(i64::MAX))
            .sum();
        let mut figures = vec![
            figure("Open findings", self.totals.open, Tone::Neutral),
            figure("Critical or high", worst, bad_if_any(worst)),
            figure("Known exploited", self.totals.kev, bad_if_any(self.totals.kev)),
            figure("A fix is available", self.totals.fixable, Tone::Neutral),
            figure("Affected assets", self.totals.affected_assets, Tone::Neutral),
            figure("Assets in scope", i64::try_from(self.assets.len()).unwrap_or(i64::MAX), Tone::Neutral),
        ];
        if self.totals.undecided > 0 {
            figures.push(figure("Could not be decided", self.totals.undecided, Tone::Caution));
        }
        if self.totals.unrated > 0 {
            figures.push(figure("Not rated by any source", self.totals.unrated, Tone::Caution));
        }
        figures
    }

    /// Open findings by severity.
    pub(crate) fn severity_chart(&self) -> Block {
        let words: Vec<_> =
            self.by_severity.iter().map(|(severity, count)| format!("{count} {severity}")).collect();
        Block::Chart(Chart {
            title: "Open findings by severity".into(),
            alt: format!("Of {} open findings: {}.", self.totals.open, words.join(", ")),
            unit: "findings".into(),
            plot: Plot::SeverityDonut {
                counts: self
                    .by_severity
                    .iter()
                    .map(|(severity, count)| SeverityCount { severity: *severity, count: *count })
                    .collect(),
            },
        })
    }

    /// The packages behind most findings.
    pub(crate) fn package_chart(&self) -> Option<Block> {
        let mut packages: std::collections::BTreeMap<&str, (u64, Severity)> =
            std::collections::BTreeMap::new();
        for finding in &self.findings {
            let severity = severity_of(&finding.severity);
            let entry = packages.entry(&finding.package_name).or_insert((0, severity));
            entry.0 += 1;
            entry.1 = entry.1.min(severity);
        }
        let mut packages: Vec<_> = packages.into_iter().collect();
        packages.sort_by(|left, right| right.1.0.cmp(&left.1.0).then(left.0.cmp(right.0)));
        packages.truncate(8);
        let first = packages.first()?;
        Some(Block::Chart(Chart {
            title: "Packages with the most findings".into(),
            alt: format!("{} leads with {} open findings.", first.0, first.1.0),
            unit: "findings".into(),
            plot: Plot::Bars {
                bars: packages
                    .iter()
                    .map(|(name, (count, severity))| Bar {
                        label: (*name).to_owned(),
                        value: Number::from(*count),
                        severity: Some(*severity),
                    })
                    .collect(),
            },
        }))
    }

    /// What to mend first: one row a vulnerability and package, worst first.
    pub(crate) fn problem_table(&self, id: &str, most: usize) -> Block {
        let shown = &self.problems[..self.problems.len().min(most)];
        let note = |problem: &Problem| note_cell(problem.is_kev, &problem.vendor_state, &problem.confidence);
        // A column of dashes only takes room from the versions.
        let noteworthy = shown.iter().any(|problem| note(problem) != Cell::Empty);
        let mut columns = vec![
            Column::new("Vulnerability", ColumnKind::Identifier).width(17),
            Column::new("Severity", ColumnKind::Severity).width(9),
            Column::new("Score", ColumnKind::Number { decimals: 1 }).width(6),
            Column::new("Package", ColumnKind::Identifier).width(14),
            Column::new("Installed", ColumnKind::Identifier).width(20),
            Column::new("Fixed in", ColumnKind::Identifier).width(20),
            Column::new("Assets", ColumnKind::Number { decimals: 0 }).width(6),
        ];
        if noteworthy {
            columns.push(Column::new("Note", ColumnKind::Status).width(14));
        }
        let rows = shown
            .iter()
            .map(|problem| {
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
                    row.push(note(problem));
                }
                row
            })
            .collect();
        let total = self.totals.vulnerabilities.unsigned_abs();
        Block::Table(Table {
            id: id.to_owned(),
            caption: None,
            columns,
            rows,
            truncated: (self.problems.len() > most).then(|| Truncated {
                total_rows: total.max(self.problems.len() as u64),
                rest: "The technical report and its CSV hold all of them.".into(),
            }),
        })
    }

    /// Every open finding.
    pub(crate) fn findings_table(&self) -> Block {
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
        let optional =
            |value: Option<f32>| value.map_or(Cell::Empty, |value| Cell::number(one_decimal(value)));
        let rows: Vec<_> = self
            .findings
            .iter()
            .take(MOST_ROWS)
            .map(|finding| {
                vec![
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
                ]
            })
            .collect();
        let open = self.totals.open.unsigned_abs();
        Block::Table(Table {
            id: "findings".into(),
            caption: None,
            columns,
            truncated: (open > rows.len() as u64).then(|| Truncated {
                total_rows: open,
                rest: "The list of vulnerability matches in the API holds all of them.".into(),
            }),
            rows,
        })
    }

    /// Assets, the worst first.
    pub(crate) fn asset_table(&self, most: usize) -> Block {
        let number = |title: &str| Column::new(title, ColumnKind::Number { decimals: 0 });
        let columns = vec![
            Column::new("Asset", ColumnKind::Identifier).width(18),
            Column::new("System", ColumnKind::Text).width(22),
            Column::new("Zone", ColumnKind::Text).width(9),
            number("Packages"),
            number("Critical"),
            number("High"),
            number("Medium"),
            number("Low"),
            number("Unrated"),
            Column::new("Worst", ColumnKind::Number { decimals: 1 }),
            Column::new("Compared", ColumnKind::Date),
        ];
        let count = |n: i64| Cell::count(n.unsigned_abs());
        let rows = self
            .assets
            .iter()
            .take(most)
            .map(|asset| {
                vec![
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
                ]
            })
            .collect();
        Block::Table(Table {
            id: "assets".into(),
            caption: None,
            columns,
            rows,
            truncated: (self.assets.len() > most).then(|| Truncated {
                total_rows: self.assets.len() as u64,
                rest: "The technical report holds all of them.".into(),
            }),
        })
    }

    /// The known exploited ones, named.
    pub(crate) fn exploited_note(&self) -> Block {
        let exploited: Vec<_> = self.problems.iter().filter(|problem| problem.is_kev).collect();
        if exploited.is_empty() {
            return Block::Note(Note {
                tone: Tone::Good,
                title: Some("No known exploited vulnerability was found".into()),
                content: vec![Inline::Text(
                    "None of the open findings is in the catalogue of known exploited vulnerabilities that was compared with."
                        .into(),
                )],
            });
        }
        let names: Vec<_> = exploited
            .iter()
            .map(|problem| {
                let due = problem.kev_due_date.map_or(String::new(), |date| format!(", due {date}"));
                format!(
                    "{} in {} ({} assets{due})",
                    problem.vulnerability, problem.package_name, problem.asset_count
                )
            })
            .collect();
        Block::Note(Note {
            tone: Tone::Bad,
            title: Some("Exploited in the wild: mend these first".into()),
            content: vec![Inline::Text(format!("{}.", names.join("; ")))],
        })
    }

    /// The worst ones at length.
    pub(crate) fn cards(&self, most: usize) -> Vec<Block> {
        self.problems.iter().take(most).map(|problem| Block::FindingCard(card(problem))).collect()
    }

    /// How old the knowledge is.
    pub(crate) fn freshness(&self) -> Block {
        let feeds = self
            .feeds
            .iter()
            .map(|feed| {
                let as_of = feed.as_of.or(feed.last_success_at);
                let age = as_of.map(|as_of| (self.at - as_of).num_seconds().max(0).unsigned_abs());
                let (label, tone) = match (feed.status.as_deref(), age) {
                    (Some("failed"), _) => ("last crawl failed", Tone::Bad),
                    (Some("quarantined"), _) => ("quarantined", Tone::Bad),
                    (_, None) => ("never crawled", Tone::Bad),
                    (_, Some(age)) if age > 7 * 86_400 => ("older than a week", Tone::Caution),
                    _ => ("current", Tone::Good),
                };
                let name = feed
                    .label
                    .as_ref()
                    .map_or_else(|| feed.name.clone(), |label| format!("{} ({label})", feed.name));
                FeedFreshness {
                    feed: name,
                    as_of,
                    age_seconds: age,
                    records: (feed.records > 0).then_some(feed.records.unsigned_abs()),
                    status: Status { label: label.to_owned(), tone },
                }
            })
            .collect();
        Block::DataFreshness(DataFreshness { feeds })
    }

    /// How the result came about, and what it does not show.
    pub(crate) fn method(&self) -> Block {
        let step =
            |label: &str, text: &str| Fact { label: label.into(), value: vec![Inline::Text(text.into())] };
        let mut limitations = vec![
            vec![Inline::Text(
                "Only packages in the package databases and bills of materials that were handed in are judged; software installed by other means is not seen.".into(),
            )],
            vec![Inline::Text(
                "A vulnerability that none of the sources below had published at their date is not in this report.".into(),
            )],
        ];
        if self.totals.undecided > 0 {
            limitations.push(vec![Inline::Text(format!(
                "{} findings could not be decided because a version was not understood. They are listed as such and are not counted as clean.",
                self.totals.undecided
            ))]);
        }
        Block::Method(Method {
            summary: vec![Inline::Text(
                "Installed packages were compared with the advisories of their distribution or language ecosystem.".into(),
            )],
            steps: vec![
                step("Inventory", "Package databases of hosts and bills of materials, reduced to distinct package versions."),
                step("Matching", "Distribution packages are judged by their source package's version in the order of the distribution's own tool; the distribution's verdict outranks all others."),
                step("Scoring", "CVSS base score, EPSS probability and known exploitation are weighed into one score from 0 to 10. What no source rates counts as not rated, never as low."),
            ],
            limitations,
        })
    }
}

fn card(problem: &Problem) -> FindingCard {
    let mut marks = Vec::new();
    if problem.is_kev {
        marks.push(Status { label: "Known exploited".into(), tone: Tone::Bad });
    }
    if problem.confidence == "undecided" {
        marks.push(Status { label: "Could not be decided".into(), tone: Tone::Caution });
    }
    let mut facts = Vec::new();
    let mut fact = |label: &str, value: String| {
        facts.push(Fact { label: label.into(), value: vec![Inline::Text(value)] });
    };
    if let Some(score) = problem.cvss_score {
        let vector = problem.cvss_vector.as_ref().map_or(String::new(), |vector| format!(" ({vector})"));
        fact("CVSS", format!("{score:.1}{vector}"));
    }
    if let Some(probability) = problem.epss_score {
        fact("EPSS", format!("{:.2} % within 30 days", probability * 100.0));
    }
    fact("First seen", problem.first_seen_at.format("%Y-%m-%d").to_string());
    fact("Vendor state", words(&problem.vendor_state));
    let fix = match problem.fixed.first() {
        Some(_) => Fix::Version(problem.fixed.join(", ")),
        None if problem.vendor_state == "under_investigation" => Fix::Unknown,
        None => Fix::NotAvailable,
    };
    let remediation = match &fix {
        Fix::Version(version) => Some(format!("Upgrade {} to {version} or later.", problem.package_name)),
        _ => Some(format!(
            "No fixed version of {} is known. Limit its exposure and watch the advisory.",
            problem.package_name
        )),
    };
    FindingCard {
        title: format!("{} in {}", problem.vulnerability, problem.package_name),
        severity: severity_of(&problem.severity),
        score: Number::from_f64(one_decimal(problem.composite_score)),
        vulnerability_id: problem.vulnerability.clone(),
        marks,
        package: Some(problem.package_name.clone()),
        installed: Some(problem.installed.join(", ")),
        fix,
        description: problem
            .description
            .clone()
            .unwrap_or_else(|| "No source that was crawled describes this vulnerability.".into()),
        facts,
        affected: problem
            .assets
            .iter()
            .map(|name| AffectedAsset { name: name.clone(), detail: None })
            .collect(),
        affected_total: problem.asset_count.unsigned_abs(),
        evidence: evidence_lines(&problem.evidence),
        remediation,
        references: problem.url.iter().map(|url| Link { text: url.clone(), url: url.clone() }).collect(),
    }
}

/// The evidence as people read it: what was compared with what, by which rule, on whose word. Fields that this does not know are
/// shown as they were recorded, nothing is left out.
fn evidence_lines(evidence: &serde_json::Value) -> Vec<String> {
    let Some(fields) = evidence.as_object() else { return Vec::new() };
    let text = |name: &str| fields.get(name).map_or_else(String::new, plain);
    let mut lines =
        vec![format!("{} {} on {}: {}", text("package"), text("version"), text("platform"), text("rule"))];
    for (name, label) in [
        ("introduced", "affected from"),
        ("fixed", "fixed in"),
        ("last_affected", "last affected"),
        ("exactly", "affected exactly"),
    ] {
        if fields.get(name).is_some_and(|value| !value.is_null()) {
            lines.push(format!("{label} {}", text(name)));
        }
    }
    lines.push(format!(
        "according to {} (advisory {}, {} tier)",
        text("source"),
        text("advisory"),
        text("tier")
    ));
    if fields.contains_key("binaries") {
        lines.push(format!("installed as {}", text("binaries")));
    }
    const TOLD: &[&str] = &[
        "package",
        "version",
        "platform",
        "rule",
        "introduced",
        "fixed",
        "last_affected",
        "exactly",
        "source",
        "advisory",
        "tier",
        "binaries",
    ];
    let others = fields.iter().filter(|(name, value)| {
        !TOLD.contains(&name.as_str()) && !value.is_null() && *value != &serde_json::json!([])
    });
    lines.extend(others.map(|(name, value)| format!("{}: {}", words(name), plain(value))));
    lines
}

/// A string as it is, a list of strings separated by commas, anything else as JSON.
fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

async fn problems(tx: &mut TenantTx, most: i64) -> Result<Vec<Problem>> {
    let tenant = tx.tenant();
    let problems = sqlx::query_as(
        "with worst as (
             select f.vulnerability, f.package_name, max(f.composite_score) as composite_score,
                    max(f.cvss_score) as cvss_score, max(f.epss_score) as epss_score, bool_or(f.is_kev) as is_kev,
                    array_agg(distinct f.installed_version) as installed,
                    array_remove(array_agg(distinct f.fixed_version), null) as fixed,
                    (array_agg(a.hostname order by f.composite_score desc, a.hostname))[1:12] as assets,
                    count(*) as asset_count, min(f.first_seen_at) as first_seen_at,
                    (array_agg(f.id order by f.composite_score desc, f.id))[1] as finding_id
               from findings f join assets a on a.tenant_id = f.tenant_id and a.id = f.asset_id
              where f.tenant_id = $1 and f.status <> 'resolved'
              group by f.vulnerability, f.package_name
              order by is_kev desc, composite_score desc, f.vulnerability, f.package_name
              limit $2
         )
         select w.vulnerability, w.package_name, f.severity, w.composite_score, w.cvss_score,
                coalesce(c.cvss_v4_vector, c.cvss_v31_vector, v.cvss_vector) as cvss_vector, w.epss_score, w.is_kev,
                k.due_date as kev_due_date, f.vendor_state, f.confidence, w.installed, w.fixed, w.assets, w.asset_count,
                w.first_seen_at, coalesce(c.description, v.summary, v.title, k.description) as description, v.url,
                f.evidence
           from worst w
           join findings f on f.tenant_id = $1 and f.id = w.finding_id
           left join cves c on c.cve_id = w.vulnerability
           left join kev k on k.cve_id = w.vulnerability
           left join advisories v on v.id = f.advisory_id
          order by w.is_kev desc, w.composite_score desc, w.vulnerability, w.package_name",
    )
    .bind(tenant.0)
    .bind(most)
    .fetch_all(&mut **tx)
    .await?;
    Ok(problems)
}

async fn assets(tx: &mut TenantTx) -> Result<Vec<AssetLine>> {
    let tenant = tx.tenant();
    let assets = sqlx::query_as(
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
    .bind(tenant.0)
    .fetch_all(&mut **tx)
    .await?;
    Ok(assets)
}

async fn findings(tx: &mut TenantTx) -> Result<Vec<FindingLine>> {
    let tenant = tx.tenant();
    let findings = sqlx::query_as(
        "select a.hostname, f.package_name, f.installed_version, f.fixed_version, f.vulnerability, f.severity,
                f.composite_score, f.cvss_score, f.epss_score, f.is_kev, f.vendor_state, f.confidence, f.status,
                f.first_seen_at
           from findings f join assets a on a.tenant_id = f.tenant_id and a.id = f.asset_id
          where f.tenant_id = $1 and f.status <> 'resolved'
          order by f.composite_score desc, f.id
          limit $2",
    )
    .bind(tenant.0)
    .bind(i64::try_from(MOST_ROWS).unwrap_or(i64::MAX))
    .fetch_all(&mut **tx)
    .await?;
    Ok(findings)
}

async fn feeds(tx: &mut TenantTx) -> Result<Vec<FeedLine>> {
    let feeds = sqlx::query_as(
        "select name, content_label as label, content_as_of as as_of, last_success_at, record_count as records,
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

fn one_decimal(value: f32) -> f64 {
    (f64::from(value) * 10.0).round() / 10.0
}

fn versions_cell(versions: &[String]) -> Cell {
    match versions {
        [] => Cell::Empty,
        [one] => Cell::identifier(one),
        [first, rest @ ..] => Cell::identifier(format!("{first} (+{})", rest.len())),
    }
}

fn note_cell(is_kev: bool, vendor_state: &str, confidence: &str) -> Cell {
    let (label, tone) = match (is_kev, confidence, vendor_state) {
        (true, ..) => ("known exploited".to_owned(), Tone::Bad),
        (_, "undecided", _) => ("undecided".to_owned(), Tone::Caution),
        (_, _, "affected") => return Cell::Empty,
        (_, _, other) => (words(other), Tone::Neutral),
    };
    Cell::Status(Status { label, tone })
}

/// `wont_fix` as people write it.
pub(crate) fn words(name: &str) -> String {
    name.replace('_', " ")
}
