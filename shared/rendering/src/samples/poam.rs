//! A Plan of Action and Milestones: three tabs of the same 31 columns (FedRAMP POA&M template, revision 5).

use chrono::{DateTime, Days, NaiveDate};
use domain::document::{
    Block, Cell, Column, ColumnKind, Document, Fact, KeyFigure, Number, Orientation, Quantity, Section,
    Sheet, Table, Tone,
};

const YES_NO: &[&str] = &["Yes", "No"];
const DECIDED: &[&str] = &["Yes", "No", "Pending"];
const RATINGS: &[&str] = &["Low", "Moderate", "High"];

fn columns() -> Vec<Column> {
    use ColumnKind::{Date, Identifier, Text};
    let column = |title: &str, kind, width| Column::new(title, kind).width(width);
    vec![
        column("POAM ID", Identifier, 10),
        column("Controls", Identifier, 12),
        column("Weakness Name", Text, 34),
        column("Weakness Description", Text, 48),
        column("Weakness Detector Source", Text, 20),
        column("Weakness Source Identifier", Identifier, 18),
        column("Asset Identifier", Identifier, 28),
        column("Point of Contact", Text, 20),
        column("Resources Required", Text, 18),
        column("Overall Remediation Plan", Text, 40),
        column("Original Detection Date", Date, 14),
        column("Scheduled Completion Date", Date, 14),
        column("Planned Milestones", Text, 36),
        column("Milestone Changes", Text, 28),
        column("Status Date", Date, 14),
        column("Vendor Dependency", Text, 12).allowed(YES_NO),
        column("Last Vendor Check-in Date", Date, 14),
        column("Vendor Dependent Product Name", Text, 22),
        column("Original Risk Rating", Text, 12).allowed(RATINGS),
        column("Adjusted Risk Rating", Text, 12).allowed(&["Low", "Moderate", "High", "N/A"]),
        column("Risk Adjustment", Text, 12).allowed(DECIDED),
        column("False Positive", Text, 12).allowed(DECIDED),
        column("Operational Requirement", Text, 14).allowed(DECIDED),
        column("Deviation Rationale", Text, 32),
        column("Supporting Documents", Text, 20),
        column("Comments", Text, 28),
        column("Auto-Approve", Text, 12).allowed(YES_NO),
        column("Binding Operational Directive 22-01 tracking", Text, 16).allowed(YES_NO),
        column("Binding Operational Directive 22-01 Due Date", Date, 16),
        column("CVE", Identifier, 18),
        column("Service Name", Text, 20),
    ]
}

const WEAKNESSES: [(&str, &str, &str, &str); 5] = [
    ("OpenSSL 3.0.7 accepts malformed certificates", "SI-2", "CVE-2022-3602", "openssl"),
    ("Broker without a FIPS build", "SC-13", "", "mosquitto"),
    ("Service account signs in without a second factor", "IA-2(2)", "", "sso"),
    ("curl heap overflow in the SOCKS5 handshake", "RA-5", "CVE-2023-38545", "curl"),
    ("Audit records of two hosts are not forwarded", "AU-6", "", "rsyslog"),
];

fn row(prefix: &str, index: usize, start: NaiveDate) -> Vec<Cell> {
    let (name, control, cve, product) = WEAKNESSES[index % WEAKNESSES.len()];
    let later = |days: usize| Cell::Date(start.checked_add_days(Days::new(days as u64)).unwrap_or(start));
    let depends = product == "mosquitto";
    let rating = RATINGS[2 - index % 3];
    let known = cve == "CVE-2023-38545";
    let yes = |yes: bool| Cell::text(if yes { "Yes" } else { "No" });
    vec![
        Cell::identifier(format!("{prefix}-{}", index + 1)),
        Cell::identifier(control),
        Cell::text(name),
        Cell::text(format!(
            "{name}. Found on {} hosts of the private zone; reachable from the gateway only.",
            index % 7 + 1
        )),
        Cell::text(if cve.is_empty() { "Assessment organization" } else { "Plimsoll" }),
        if cve.is_empty() { Cell::Empty } else { Cell::identifier(cve) },
        Cell::text(format!("tcp-app-{:02}\ntcp-app-{:02}", index % 20, (index + 7) % 20)),
        Cell::text("Platform operations"),
        Cell::Empty,
        Cell::text(format!(
            "Upgrade {product} with the next maintenance window and confirm by a fresh scan."
        )),
        later(index),
        later(index + [180, 90, 30][2 - index % 3]),
        Cell::text("1. Test ring by week 2\n2. All regions by week 4"),
        if index.is_multiple_of(4) {
            Cell::text("Milestone 2 moved by one week: change freeze.")
        } else {
            Cell::Empty
        },
        later(index + 20),
        yes(depends),
        if depends { later(index + 18) } else { Cell::Empty },
        if depends { Cell::text("Eclipse Mosquitto") } else { Cell::Empty },
        Cell::text(rating),
        Cell::text("N/A"),
        Cell::text("No"),
        Cell::text("No"),
        Cell::text(if depends { "Pending" } else { "No" }),
        if depends { Cell::text("No other broker is certified for the pumps in use.") } else { Cell::Empty },
        Cell::Empty,
        Cell::Empty,
        Cell::text("No"),
        yes(known),
        if known { later(index + 14) } else { Cell::Empty },
        if cve.is_empty() { Cell::Empty } else { Cell::identifier(cve) },
        Cell::text("Tidewater"),
    ]
}

pub(super) fn document() -> Document {
    let frozen_at = DateTime::from_timestamp(1_759_300_200, 0).unwrap_or_default();
    let mut document = Document::new(
        "poam",
        "Plan of Action and Milestones",
        "Northwind Water & Power",
        "NWP-2025-09-POAM-0007",
        frozen_at,
    );
    document.cover.subtitle = Some("Tidewater Control Plane, September 2025. Sample data.".to_owned());
    document.cover.classification = Some("FOUO".to_owned());
    document.cover.prepared_by = Some("Information Security".to_owned());
    let tabs = [
        ("open", "Open POA&M Items", "V", 24),
        ("closed", "Closed POA&M Items", "C", 12),
        ("configuration", "Configuration Findings", "CF", 8),
    ];
    document.key_figures = tabs
        .iter()
        .map(|(_, name, _, count)| KeyFigure {
            label: (*name).to_owned(),
            value: Quantity::Number(Number::from(*count)),
            unit: None,
            trend: None,
            tone: Tone::Neutral,
            history: Vec::new(),
        })
        .collect();
    let start = frozen_at.date_naive().checked_sub_days(Days::new(60)).unwrap_or_default();
    document.sections = tabs
        .iter()
        .map(|(id, name, prefix, count)| {
            let table = Table {
                key_columns: 1,
                sheet: Some(Sheet {
                    name: (*name).to_owned(),
                    preamble: vec![
                        Fact::text("CSP", "Northwind Water & Power"),
                        Fact::text("System Name", "Tidewater Control Plane"),
                        Fact::text("Impact Level", "High"),
                        Fact::text("POAM Date", "2025-10-01"),
                    ],
                }),
                ..Table::new(
                    *id,
                    columns(),
                    (0..*count as usize).map(|index| row(prefix, index, start)).collect(),
                )
            };
            Section {
                orientation: Orientation::Landscape,
                blocks: vec![Block::Table(table)],
                ..Section::new(*id, *name)
            }
        })
        .collect();
    document.primary_table = Some("open".to_owned());
    document
}
