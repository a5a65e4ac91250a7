//! How long reports take, warm: from the document to the bytes of each format, short ones and long ones, with the memory
//! that the process had at its highest so far.

use std::time::{Duration, Instant};

use benches::{Row, median, report};
use domain::{
    Severity,
    document::{
        Block, Cell, Column, ColumnKind, Document, Format, Link, Orientation, Section, Status, Table, Tone,
    },
};
use rendering::{Options, render, samples};

const ROUNDS: usize = 20;
/// Rows of fifty, five hundred pages, and of the HTML page.
const FIFTY_PAGES: usize = 1_300;
const FIVE_HUNDRED_PAGES: usize = 14_000;
const HTML_ROWS: usize = 10_000;
const WORKBOOK_ROWS: usize = 100_000;
/// Renders one after another that must not need more memory each time.
const MANY: usize = 200;

fn main() -> anyhow::Result<()> {
    let document = samples::sample("executive_summary").ok_or_else(|| anyhow::anyhow!("no sample"))?;
    let options = Options::default();
    let first = Instant::now();
    let pages = render(&document, Format::Pdf, &options)?.page_count.unwrap_or(0);
    let cold = first.elapsed();
    let time = |format: Format| -> anyhow::Result<f64> {
        let mut times = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            times.push(render_once(&document, format, round)?);
        }
        Ok(median(times) * 1e3)
    };
    let json = time(Format::Json)?;
    let mut rows = vec![
        Row::alone(format!("first PDF of a process, {pages} pages"), cold.as_secs_f64() * 1e3, "ms"),
        Row::beside(
            format!("PDF, {pages} pages, warm"),
            time(Format::Pdf)?,
            "ms",
            "the same document as JSON",
            json,
        ),
        Row::beside("HTML of the same, warm", time(Format::Html)?, "ms", "the same document as JSON", json),
        Row::beside(
            "CSV of its main table, warm",
            time(Format::Csv)?,
            "ms",
            "the same document as JSON",
            json,
        ),
    ];

    let before = resident_mib()?;
    for round in 0..MANY {
        render_once(&document, Format::Pdf, round)?;
    }
    rows.push(Row::alone(format!("memory gained by {MANY} PDFs"), resident_mib()? - before, "MiB"));

    let page = findings(HTML_ROWS);
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        times.push(render_once(&page, Format::Html, round)?);
    }
    rows.push(Row::alone(format!("HTML, {HTML_ROWS} rows"), median(times) * 1e3, "ms"));
    for (format, count) in [(Format::Docx, FIVE_HUNDRED_PAGES), (Format::Xlsx, WORKBOOK_ROWS)] {
        let long = findings(count);
        let before = resident_mib()?;
        let started = Instant::now();
        let file = render(&long, format, &options)?;
        let took = started.elapsed().as_secs_f64();
        let name =
            format!("{}, {count} rows, {} MB", format.as_str().to_uppercase(), file.bytes.len() / 1_000_000);
        rows.push(Row::alone(name, took, "s"));
        rows.push(Row::alone("  memory with the document alone", before, "MiB"));
        rows.push(Row::alone("  highest memory of the process until then", peak_mib()?, "MiB"));
    }
    for count in [FIFTY_PAGES, FIVE_HUNDRED_PAGES] {
        let long = findings(count);
        let started = Instant::now();
        let pdf = render(&long, Format::Pdf, &options)?;
        let took = started.elapsed().as_secs_f64();
        let pages = pdf.page_count.unwrap_or(0);
        let name = format!("PDF, {count} findings, {pages} pages, {} MB", pdf.bytes.len() / 1_000_000);
        rows.push(Row::alone(name, took, "s"));
        rows.push(Row::alone("  highest memory of the process until then", peak_mib()?, "MiB"));
    }
    report("render", &rows)
}

/// Another title each time: no cache may help.
fn render_once(document: &Document, format: Format, round: usize) -> anyhow::Result<Duration> {
    let mut document = document.clone();
    document.cover.title = format!("{} {round}", document.cover.title);
    let started = Instant::now();
    render(&document, format, &Options::default())?;
    Ok(started.elapsed())
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
            Cell::Date(chrono_day(row)),
        ]
    };
    let table = Table { key_columns: 1, ..Table::new("findings", columns, (0..count).map(row).collect()) };
    let section = Section {
        orientation: Orientation::Landscape,
        blocks: vec![Block::Table(table)],
        ..Section::new("findings", "All findings")
    };
    let mut document = samples::sample("technical").unwrap_or_else(|| {
        Document::new("technical", "Technical report", "Example", "R-1", Default::default())
    });
    document.sections = vec![section];
    document
}

fn chrono_day(row: usize) -> chrono::NaiveDate {
    chrono::NaiveDate::from_yo_opt(2025, (row % 365 + 1) as u32).unwrap_or_default()
}

fn status_mib(name: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name));
    let kib =
        line.and_then(|line| line.split_whitespace().nth(1)).and_then(|number| number.parse::<f64>().ok());
    Ok(kib.unwrap_or(f64::NAN) / 1024.0)
}

fn resident_mib() -> anyhow::Result<f64> {
    status_mib("VmRSS")
}

fn peak_mib() -> anyhow::Result<f64> {
    status_mib("VmHWM")
}
