//! How long a short report takes, warm: from the document to the bytes of each format.

use std::time::Instant;

use benches::{Row, median, report};
use domain::document::{Document, Format};
use rendering::{Options, render};

const SAMPLE: &str = include_str!("../templates/samples/executive_summary.json");
const ROUNDS: usize = 20;

fn main() -> anyhow::Result<()> {
    let document: Document = serde_json::from_str(SAMPLE)?;
    let options = Options::default();
    let first = Instant::now();
    let pages = render(&document, Format::Pdf, &options)?.page_count.unwrap_or(0);
    let cold = first.elapsed();
    let time = |format: Format| -> anyhow::Result<f64> {
        let mut times = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            // Another title each time: no cache may help.
            let mut document = document.clone();
            document.cover.title = format!("{} {round}", document.cover.title);
            let started = Instant::now();
            render(&document, format, &options)?;
            times.push(started.elapsed());
        }
        Ok(median(times) * 1e3)
    };
    let json = time(Format::Json)?;
    let rows = [
        Row::alone(format!("first PDF of a process, {pages} pages"), cold.as_secs_f64() * 1e3, "ms"),
        Row::beside(
            format!("PDF, {pages} pages, warm"),
            time(Format::Pdf)?,
            "ms",
            "the same document as JSON",
            json,
        ),
        Row::beside(
            "CSV of its main table, warm",
            time(Format::Csv)?,
            "ms",
            "the same document as JSON",
            json,
        ),
    ];
    report("render", &rows)
}
