//! A System Security Plan of a made-up cloud service: some 400 controls from a list of their names, and one of every other
//! kind of block.

mod boundary;
mod closing;
mod controls;
mod overview;

use chrono::{DateTime, NaiveDate, Utc};
use domain::document::{
    CoverFact, Direction, Document, FrozenInput, Inline, KeyFigure, Number, Quantity, Tone, Trend,
};

use self::{
    boundary::{boundary, roles},
    closing::{acronyms, approval, cryptography, plan},
    controls::{ENTRIES, controls, counts},
    overview::overview,
};

fn frozen_at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_759_300_200, 0).unwrap_or_default()
}

fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default()
}

fn text(text: impl Into<String>) -> Inline {
    Inline::Text(text.into())
}

pub(super) fn document() -> Document {
    let mut document = Document::new(
        "ssp",
        "System Security Plan",
        "Northwind Water & Power",
        "NWP-2025-SSP-0007",
        frozen_at(),
    );
    let cover = &mut document.cover;
    cover.subtitle = Some("Tidewater Control Plane, FedRAMP High baseline. Sample data.".to_owned());
    cover.classification = Some("CUI//SP-ISVI//NOFORN".to_owned());
    cover.prepared_for = Some("Authorizing Official, Bureau of Sample Affairs".to_owned());
    cover.prepared_by = Some("Information Security".to_owned());
    cover.version = Some("3.2".to_owned());
    cover.verify_url = Some("https://plimsoll.example/verify/NWP-2025-SSP-0007".to_owned());
    let fact = |label: &str, value: &str| CoverFact { label: label.to_owned(), value: value.to_owned() };
    cover.facts = vec![fact("System", "Tidewater Control Plane (TCP-01)"), fact("Impact level", "High")];
    document.key_figures = key_figures();
    document.sections = vec![overview(), boundary(), roles(), plan(), controls(), approval()];
    document.appendices = vec![acronyms(), cryptography()];
    document.inputs = inputs();
    document
}

fn key_figures() -> Vec<KeyFigure> {
    let counts = counts();
    let total = ENTRIES.len() as u64;
    let figure = |label: &str, value: u64, tone: Tone, history: &[u64]| KeyFigure {
        label: label.to_owned(),
        value: Quantity::Number(Number::from(value)),
        unit: None,
        trend: None,
        tone,
        history: history.iter().map(|value| Number::from(*value)).collect(),
    };
    let trend =
        Trend { direction: Direction::Up, change: "14 more than in July".to_owned(), tone: Tone::Good };
    vec![
        figure("Controls", total, Tone::Neutral, &[]),
        KeyFigure {
            trend: Some(trend),
            ..figure("Implemented", counts[0], Tone::Good, &[291, 296, 300, 305, 311, 318, counts[0]])
        },
        figure("Partially implemented", counts[1], Tone::Caution, &[62, 58, 57, 51, 44, 40, counts[1]]),
        figure("Planned", counts[2], Tone::Bad, &[29, 27, 24, 24, 21, 20, counts[2]]),
    ]
}

fn inputs() -> Vec<FrozenInput> {
    let input = |name: &str, version: &str, records: u64, sha256: &str| FrozenInput {
        name: name.to_owned(),
        version: Some(version.to_owned()),
        as_of: Some(frozen_at()),
        records: Some(records),
        sha256: sha256.repeat(8),
    };
    vec![
        input("NIST SP 800-53 catalogue", "5.2.0", 1196, "5f1d7a84"),
        input("FedRAMP High baseline", "Rev. 5", ENTRIES.len() as u64, "b2c09e13"),
        input("Control statements of the tenant", "2025-10-01", 820, "07e4d6fa"),
    ]
}
