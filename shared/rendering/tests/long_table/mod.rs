//! So many findings in one wide table of ten columns, which is what long reports mostly are. The test of memory and `benches/render.rs`
//! both measure it.

use domain::{
    Severity,
    document::{Block, Cell, Column, ColumnKind, Link, Orientation, Section, Status, Table, Tone},
};

pub(crate) fn section(count: usize) -> Section {
    let number = |title: &str, decimals| Column::new(title, ColumnKind::Number { decimals }).width(6);
    let columns = vec![
        Column::new("Severity", ColumnKind::Severity),
        Column::new("Vulnerability", ColumnKind::Link).width(16),
        Column::new("Asset", ColumnKind::Identifier).width(16),
        Column::new("Package", ColumnKind::Identifier).width(16),
        Column::new("Installed", ColumnKind::Identifier).width(18),
        Column::new("Fixed in", ColumnKind::Identifier).width(18),
        number("Score", 1),
        number("EPSS", 2),
        Column::new("Status", ColumnKind::Status).width(12),
        Column::new("First seen", ColumnKind::Date),
    ];
    let table = Table { key_columns: 1, ..Table::new("findings", columns, (0..count).map(row).collect()) };
    Section {
        orientation: Orientation::Landscape,
        blocks: vec![Block::Table(table)],
        ..Section::new("findings", "All findings")
    }
}

/// One of them.
pub(crate) fn row(row: usize) -> Vec<Cell> {
    let vulnerability = format!("CVE-2024-{}", 10_000 + row);
    let url = format!("https://nvd.nist.gov/vuln/detail/{vulnerability}");
    vec![
        Cell::Severity(Severity::ALL[row % 4]),
        Cell::Link(Link { text: vulnerability, url }),
        Cell::identifier(format!("app-{:03}.example.org", row % 300)),
        Cell::identifier(["openssl", "linux-image-amd64", "curl", "libxml2", "glibc"][row % 5]),
        Cell::identifier(format!("3.0.{}-1~deb12u{}", row % 17, row % 5)),
        Cell::identifier(format!("3.0.{}-1~deb12u{}", row % 17 + 1, row % 5)),
        Cell::number((row % 100) as f64 / 10.0),
        Cell::number((row % 89) as f64 / 100.0),
        Cell::Status(Status { label: "open".to_owned(), tone: Tone::Neutral }),
        Cell::Date(chrono::NaiveDate::from_yo_opt(2025, (row % 365 + 1) as u32).unwrap_or_default()),
    ]
}
