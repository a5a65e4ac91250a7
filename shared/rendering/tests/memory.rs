//! What a long table takes in memory while it becomes a PDF: the peak of a process of its own, which is this one called again.

use std::{env, fs, process::Command};

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Severity,
    document::{
        Block, Cell, Column, ColumnKind, Document, Format, Link, Orientation, Section, Status, Table, Tone,
    },
};
use rendering::{Options, render};

/// Rows of some fifty pages.
const ROWS: usize = 1_300;
/// It took 170 MiB when this was written, and 250 MiB before rows were told their height and what Typst had remembered was let go.
const MOST_MIB: u64 = 215;
const PEAK: &str = "peak in MiB: ";

#[test]
fn fifty_pages_of_findings_take_no_more_memory_than_they_need() {
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "one_rendering", "--ignored", "--nocapture"])
        // One thread and one arena: the same peak each time.
        .envs([("RAYON_NUM_THREADS", "1"), ("MALLOC_ARENA_MAX", "1")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let peak = said.lines().find_map(|line| line.split_once(PEAK)?.1.parse::<u64>().ok());
    let peak = peak.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&child.stderr)));
    assert!(peak <= MOST_MIB, "{peak} MiB");
}

#[test]
#[ignore = "is called by the test above, in a process of its own"]
fn one_rendering() {
    let file = render(&findings(ROWS), Format::Pdf, &Options::default()).unwrap();
    assert!(file.page_count.is_some_and(|pages| (45..55).contains(&pages)), "{:?}", file.page_count);
    println!("{PEAK}{}", peak_mib());
}

fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

/// So many findings in one wide table of ten columns.
fn findings(count: usize) -> Document {
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
    let row = |row: usize| {
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
            Cell::Date(NaiveDate::from_yo_opt(2025, (row % 365 + 1) as u32).unwrap()),
        ]
    };
    let table = Table { key_columns: 1, ..Table::new("findings", columns, (0..count).map(row).collect()) };
    let section = Section {
        orientation: Orientation::Landscape,
        blocks: vec![Block::Table(table)],
        ..Section::new("findings", "All findings")
    };
    Document {
        sections: vec![section],
        ..Document::new("technical", "Technical report", "Example", "R-1", DateTime::<Utc>::UNIX_EPOCH)
    }
}
