//! What is still to be done, who answers for it, and the appendices.

use chrono::NaiveDate;
use domain::document::{
    Attestation, Block, Cell, Column, ColumnKind, Fact, Link, ListItem, Note, Section, SignOff, Signatory,
    Status, Table, Timeline, TimelineEvent, Tone,
};

use super::{day, text};

pub(super) fn plan() -> Section {
    let event = |on: NaiveDate, title: &str, detail: &str, label: &str, tone: Tone| TimelineEvent {
        on,
        until: None,
        title: title.to_owned(),
        detail: vec![text(detail)],
        status: Some(Status { label: label.to_owned(), tone }),
    };
    let timeline = Timeline {
        title: Some("Milestones until authorization".to_owned()),
        events: vec![
            event(
                day(2025, 6, 2),
                "Readiness assessment",
                "By the assessment organization, on site.",
                "Done",
                Tone::Good,
            ),
            TimelineEvent {
                until: Some(day(2025, 9, 12)),
                ..event(
                    day(2025, 8, 18),
                    "Penetration test",
                    "Three findings of moderate risk.",
                    "Done",
                    Tone::Good,
                )
            },
            event(
                day(2025, 10, 31),
                "Multi-factor sign-in of the last two service accounts",
                "Closes IA-2(2) and IA-2(8).",
                "On track",
                Tone::Neutral,
            ),
            event(
                day(2025, 12, 5),
                "Security assessment report",
                "Depends on the evidence of 33 controls.",
                "At risk",
                Tone::Caution,
            ),
        ],
    };
    let note = Note {
        tone: Tone::Caution,
        title: Some("Two milestones depend on a vendor".to_owned()),
        content: vec![text(
            "The broker's FIPS build has been announced for November. Until then, SC-13 stays partially implemented.",
        )],
    };
    Section { blocks: vec![Block::Note(note), Block::Timeline(timeline)], ..Section::new("plan", "Plan") }
}

pub(super) fn approval() -> Section {
    let signatory = |role: &str, name: Option<&str>, signed_on: Option<NaiveDate>| Signatory {
        role: role.to_owned(),
        name: name.map(str::to_owned),
        organization: Some("Northwind Water & Power".to_owned()),
        signed_on,
    };
    let sign_off = SignOff {
        statement: vec![text(
            "The undersigned have read this plan and agree that it describes the system as it is.",
        )],
        signatories: vec![
            signatory("System owner", Some("Dana Whitfield"), Some(day(2025, 9, 30))),
            signatory("Information system security officer", None, None),
        ],
    };
    let affirmation = |words: &str| ListItem::from(vec![text(words)]);
    let attestation = Attestation {
        title: "Attestation".to_owned(),
        statement: vec![text("I have authority to make this statement for Northwind Water & Power, and affirm that:")],
        affirmations: vec![
            affirmation("the controls marked as implemented are in place and operate as described;"),
            affirmation("open items are recorded in the plan of action and milestones; and"),
            affirmation("the evidence named in this plan exists and is kept for three years."),
        ],
        facts: vec![Fact::text("CAGE code", "1A2B3"), Fact::text("Unique entity id", "ABCD1234EFGH")],
        official: signatory("Certifying official", Some("Jane Smith, CISO"), None),
        legal_notice: Some("A knowingly false statement to the Government may be prosecuted under 18 U.S.C. 1001 and give rise to liability under the False Claims Act, 31 U.S.C. 3729 to 3733.".to_owned()),
    };
    Section {
        blocks: vec![Block::SignOff(sign_off), Block::Attestation(attestation)],
        ..Section::new("approval", "Approval")
    }
}

pub(super) fn acronyms() -> Section {
    let columns = vec![
        Column::new("Acronym", ColumnKind::Identifier).width(12),
        Column::new("Meaning", ColumnKind::Text).width(60),
    ];
    let words = [
        ("CAGE", "Commercial and Government Entity"),
        ("ISSO", "Information system security officer"),
        ("PIV", "Personal identity verification"),
        ("POA&M", "Plan of action and milestones"),
    ];
    let rows = words.map(|(short, long)| vec![Cell::identifier(short), Cell::text(long)]).to_vec();
    Section {
        blocks: vec![Block::Table(Table::new("acronyms", columns, rows))],
        ..Section::new("acronyms", "Acronyms")
    }
}

pub(super) fn cryptography() -> Section {
    let columns = vec![
        Column::new("Module", ColumnKind::Identifier).width(22),
        Column::new("Certificate", ColumnKind::Link).width(14),
        Column::new("Used for", ColumnKind::Text).width(40),
        Column::new("Valid until", ColumnKind::Date),
    ];
    let row = |module: &str, number: u32, purpose: &str, until| {
        let url = format!(
            "https://csrc.nist.gov/projects/cryptographic-module-validation-program/certificate/{number}"
        );
        vec![
            Cell::identifier(module),
            Cell::Link(Link { text: format!("#{number}"), url }),
            Cell::text(purpose),
            Cell::Date(until),
        ]
    };
    let rows = vec![
        row("OpenSSL FIPS Provider 3.0.9", 4985, "TLS at the gateway and between services", day(2030, 3, 10)),
        row("BoringCrypto", 4735, "Telemetry, from November", day(2029, 7, 20)),
    ];
    Section {
        blocks: vec![Block::Table(Table::new("modules", columns, rows))],
        ..Section::new("cryptography", "Cryptographic modules")
    }
}
