//! What the bench suites share: rows of figures beside a peer's, a table on the screen, a file for machines.
//!
//! Every figure is measured beside something that does the same work with less around it (a plain COPY, pgbench), in the same run, so that the
//! ratio says something whatever machine it is.

#![expect(clippy::print_stdout, reason = "a bench prints its table")]

pub mod peers;

use std::{path::PathBuf, time::Duration};

use serde::Serialize;

/// One figure and what it is compared with.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    /// What it is compared with; empty when it stands alone.
    pub peer: String,
    pub peer_value: Option<f64>,
    /// `value / peer_value`.
    pub ratio: Option<f64>,
}

impl Row {
    /// A figure on its own.
    pub fn alone(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, peer: String::new(), peer_value: None, ratio: None }
    }

    /// A figure beside its peer's.
    pub fn beside(
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        peer: impl Into<String>,
        peer_value: f64,
    ) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            peer: peer.into(),
            peer_value: Some(peer_value),
            ratio: Some(value / peer_value),
        }
    }
}

/// Prints the rows and writes them to `target/bench/<suite>.json`.
///
/// # Errors
/// When the file cannot be written.
pub fn report(suite: &str, rows: &[Row]) -> anyhow::Result<()> {
    println!("\n{suite}");
    for row in rows {
        let own = format!("{:>12.2} {:<8}", row.value, row.unit);
        match (row.peer_value, row.ratio) {
            (Some(peer), Some(ratio)) => {
                println!("  {:<52} {own} {:<40} {peer:>12.2}  ratio {ratio:.2}", row.name, row.peer);
            }
            _ => println!("  {:<52} {own}", row.name),
        }
    }
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench"));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(format!("{suite}.json")), serde_json::to_vec_pretty(rows)?)?;
    Ok(())
}

/// The middle one of several measurements.
#[must_use]
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The middle one of several times, seconds.
#[must_use]
pub fn median_time(times: &[Duration]) -> f64 {
    median(times.iter().map(Duration::as_secs_f64).collect())
}
