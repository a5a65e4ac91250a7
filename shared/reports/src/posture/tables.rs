//! The tables: what to mend first, every finding, every asset.

use domain::document::{Block, Cell, Column, ColumnKind, Status, Table, Tone, Truncated};

use super::{Posture, Problem, one_decimal, severity_of, words};

/// Said where even the document had to stop ([`crate::MOST_ROWS`]).
const REST: &str = "GET /api/export/csv holds all findings, however many.";

impl Posture {
    /// What to mend first: one row a vulnerability and package, worst first. Readers are shown the first of them.
    pub(crate) fn problem_table(&self, id: &str, shown: u32) -> Block {
        let note = |problem: &Problem| note_cell(problem.is_kev, &problem.vendor_state, &problem.confidence);
        // A column of dashes only takes room from the versions.
        let noteworthy = self.problems.iter().any(|problem| note(problem) != Cell::Empty);
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
        let rows: Vec<_> = self
            .problems
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
        let all = self.totals.problems.unsigned_abs();
        Block::Table(Table {
            key_columns: 1,
            shown_rows: Some(shown),
            truncated: (all > rows.len() as u64).then(|| Truncated { total_rows: all, rest: REST.into() }),
            ..Table::new(id, columns, rows)
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
            key_columns: 1,
            truncated: (open > rows.len() as u64).then(|| Truncated { total_rows: open, rest: REST.into() }),
            ..Table::new("findings", columns, rows)
        })
    }

    /// Assets, the worst first. Readers are shown so many of them; without a number all.
    pub(crate) fn asset_table(&self, shown: Option<u32>) -> Block {
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
        let rows = self
            .assets
            .iter()
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
        Block::Table(Table { key_columns: 1, shown_rows: shown, ..Table::new("assets", columns, rows) })
    }
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
