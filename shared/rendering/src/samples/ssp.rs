//! A System Security Plan of a made-up cloud service: some 400 controls from a list of their names, and one of every other
//! kind of block.

use std::sync::LazyLock;

use chrono::{DateTime, NaiveDate, Utc};
use domain::document::{
    Answer, Attestation, Block, Cell, Chart, Choice, CodeBlock, Column, ColumnKind, Control, ControlPart,
    CoverFact, Diagram, Direction, Document, Edge, EvidenceItem, Fact, Flow, FrozenInput, Gauge, Group,
    HeatCell, HeatRow, Inline, KeyFigure, Line, Link, List, ListItem, Node, Note, Number, Paragraph, Plot,
    Quantity, Reference, Section, Shape, SignOff, Signatory, Sparkline, Status, Table, Target, Timeline,
    TimelineEvent, Tone, Trend,
};

/// `control,family,title` of the controls that FedRAMP asks of a system of high impact (NIST SP 800-53 Rev. 5).
const CONTROLS: &str = include_str!("../../../../templates/samples/ssp_controls.csv");

const STATES: [(&str, Tone); 5] = [
    ("Implemented", Tone::Good),
    ("Partially implemented", Tone::Caution),
    ("Planned", Tone::Bad),
    ("Alternative implementation", Tone::Neutral),
    ("Not applicable", Tone::Neutral),
];
const ORIGINS: [&str; 4] = [
    "Service provider corporate",
    "Service provider system specific",
    "Shared with the customer",
    "Inherited",
];
const ROLES: [&str; 5] =
    ["Platform operations", "Security engineering", "Human resources", "Facilities", "ISSO"];

struct Entry {
    id: String,
    family: String,
    title: String,
}

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let mut reader = csv::Reader::from_reader(CONTROLS.as_bytes());
    let entry = |record: csv::StringRecord| {
        let field = |index: usize| record.get(index).unwrap_or_default().to_owned();
        Entry { id: field(0), family: field(1), title: field(2) }
    };
    reader.records().filter_map(Result::ok).map(entry).collect()
});

/// Most are implemented; which are not follows from the place in the list, so that the sample never changes.
fn state(index: usize) -> usize {
    match index % 23 {
        5 | 17 => 1,
        11 => 2,
        14 => 3,
        20 => 4,
        _ => 0,
    }
}

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

fn counts() -> [u64; 5] {
    let mut counts = [0; 5];
    (0..ENTRIES.len()).for_each(|index| counts[state(index)] += 1);
    counts
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

fn chart(id: &str, title: &str, alt: &str, unit: &str, plot: Plot) -> Block {
    Block::Chart(Chart {
        id: id.to_owned(),
        title: title.to_owned(),
        alt: alt.to_owned(),
        unit: unit.to_owned(),
        plot,
    })
}

fn overview() -> Section {
    let families = families();
    let rows = families
        .iter()
        .map(|(family, indices)| HeatRow {
            label: (*family).to_owned(),
            cells: (0..STATES.len())
                .map(|wanted| HeatCell {
                    value: Some(indices.iter().filter(|index| state(**index) == wanted).count() as u64),
                    severity: None,
                })
                .collect(),
        })
        .collect();
    let columns = ["Implemented", "Partial", "Planned", "Alternative", "N/A"].map(str::to_owned).to_vec();
    let gauge = |label: &str, value: u64, maximum: u64, tone: Tone, note: &str| Gauge {
        label: label.to_owned(),
        value: Some(Number::from(value)),
        minimum: Number::from(0),
        maximum: Number::from(maximum),
        tone,
        note: Some(note.to_owned()),
    };
    let counts = counts();
    let share = counts[0] * 100 / ENTRIES.len() as u64;
    let numbers = |values: [u64; 9]| values.map(|value| Some(Number::from(value))).to_vec();
    let points = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep"].map(str::to_owned).to_vec();
    let mut assessed = numbers([212, 230, 246, 259, 281, 302, 328, 351, 377]);
    assessed[3] = None;
    let line = |name: &str, values| Line { name: name.to_owned(), severity: None, values };
    let lines = vec![
        line("Implemented", numbers([240, 251, 263, 270, 284, 296, 305, 318, counts[0]])),
        line("Assessed", assessed),
    ];
    let target = Target { label: "Authorization target".to_owned(), value: Number::from(340) };
    let sparkline = |label: &str, values: [u64; 6], tone| Sparkline {
        label: label.to_owned(),
        values: values.map(|value| Some(Number::from(value))).to_vec(),
        tone,
    };
    let summary = Paragraph {
        content: vec![
            text(
                "The Tidewater Control Plane schedules pumps and valves of a water utility from two regions. It is assessed against the ",
            ),
            Inline::Strong("FedRAMP High".to_owned()),
            text(" baseline. What is still open is in the "),
            Inline::Reference(Reference { text: "plan".to_owned(), section: "plan".to_owned() }),
            text(", and the boundary is drawn in "),
            Inline::Reference(Reference {
                text: "the next section".to_owned(),
                section: "boundary".to_owned(),
            }),
            text(". The baseline is published by "),
            Inline::Link(Link { text: "FedRAMP".to_owned(), url: "https://www.fedramp.gov/".to_owned() }),
            text("."),
        ],
    };
    Section {
        blocks: vec![
            Block::Paragraph(summary),
            chart(
                "readiness",
                "Readiness",
                &format!(
                    "Two gauges: {share} percent of the controls are implemented, 377 have been assessed."
                ),
                "percent",
                Plot::Gauges {
                    gauges: vec![
                        gauge("Implemented", share, 100, Tone::Good, "percent of controls"),
                        gauge("Assessed", 377, ENTRIES.len() as u64, Tone::Caution, "controls"),
                    ],
                },
            ),
            chart(
                "open-work",
                "Open work",
                "Small lines from April to September: open milestones fall from 31 to 12, overdue ones from 9 to 2.",
                "items",
                Plot::Sparklines {
                    lines: vec![
                        sparkline("Open milestones", [31, 28, 26, 20, 15, 12], Tone::Good),
                        sparkline("Overdue milestones", [9, 7, 8, 5, 3, 2], Tone::Caution),
                        sparkline("Deviation requests", [2, 2, 3, 5, 6, 6], Tone::Bad),
                    ],
                },
            ),
            chart(
                "progress",
                "Controls over the year",
                "Two lines from January to September: implemented controls rise from 240, assessed ones from 212 to 377.",
                "controls",
                Plot::Lines { points, lines, target: Some(target) },
            ),
            chart(
                "families",
                "Control families by status",
                "Grid of control families and the number of their controls in each status.",
                "controls",
                Plot::HeatMap { columns, rows },
            ),
        ],
        ..Section::new("overview", "Overview")
    }
}

fn families() -> Vec<(&'static str, Vec<usize>)> {
    let mut families: Vec<(&str, Vec<usize>)> = Vec::new();
    for (index, entry) in ENTRIES.iter().enumerate() {
        match families.last_mut() {
            Some((family, indices)) if *family == entry.family => indices.push(index),
            _ => families.push((&entry.family, vec![index])),
        }
    }
    families
}

fn boundary() -> Section {
    let node = |id: &str, label: &str, detail: &str, shape: Shape, tone: Tone, group: Option<&str>| Node {
        id: id.to_owned(),
        label: label.to_owned(),
        detail: Some(detail.to_owned()),
        shape,
        tone,
        group: group.map(str::to_owned),
    };
    let group = |id: &str, label: &str, parent: Option<&str>| Group {
        id: id.to_owned(),
        label: label.to_owned(),
        parent: parent.map(str::to_owned),
        tone: Tone::Neutral,
    };
    let edge = |from: &str, to: &str, label: &str, dashed: bool| Edge {
        from: from.to_owned(),
        to: to.to_owned(),
        label: Some(label.to_owned()),
        dashed,
    };
    let diagram = Diagram {
        id: "boundary".to_owned(),
        title: "Authorization boundary".to_owned(),
        alt: "Operators reach a gateway in the public zone over TLS; it forwards to scheduler and telemetry in the private zone, which keep their data in two stores. Logs leave to the monitoring service outside the boundary.".to_owned(),
        direction: Flow::Down,
        groups: vec![
            group("boundary", "Authorization boundary", None),
            group("public", "Public zone", Some("boundary")),
            group("private", "Private zone", Some("boundary")),
        ],
        nodes: vec![
            node("operator", "Operator", "PIV, managed laptop", Shape::Actor, Tone::Neutral, None),
            node("gateway", "Gateway", "gw-01, gw-02", Shape::Box, Tone::Neutral, Some("public")),
            node("scheduler", "Pump scheduler", "FIPS 140-3 modules", Shape::Box, Tone::Neutral, Some("private")),
            node("telemetry", "Telemetry", "MQTT broker", Shape::Box, Tone::Caution, Some("private")),
            node("plans", "Plans", "PostgreSQL, encrypted", Shape::Store, Tone::Neutral, Some("private")),
            node("series", "Time series", "90 days", Shape::Store, Tone::Neutral, Some("private")),
            node("monitoring", "Monitoring service", "FedRAMP High, inherited", Shape::Actor, Tone::Good, None),
        ],
        edges: vec![
            edge("operator", "gateway", "TLS 1.3, 443", false),
            edge("gateway", "scheduler", "mTLS", false),
            edge("gateway", "telemetry", "mTLS", false),
            edge("scheduler", "plans", "TLS, 5432", false),
            edge("telemetry", "series", "TLS, 5432", false),
            edge("scheduler", "monitoring", "logs", true),
            edge("telemetry", "monitoring", "logs", true),
        ],
    };
    let item = |words: &str, items: &[&str]| ListItem {
        items: items.iter().map(|words| ListItem::from(vec![text(*words)])).collect(),
        ..ListItem::from(vec![text(words)])
    };
    Section {
        blocks: vec![
            Block::text("Everything inside the outer frame is authorized together. What lies outside is inherited or used under its own authorization."),
            Block::Diagram(diagram),
            Block::List(List {
                ordered: false,
                items: vec![
                    item("Ports open to the outside", &["443 over TLS 1.3 at the gateway", "no other"]),
                    item("Data that crosses the boundary", &["operator sessions", "logs without personal data"]),
                ],
            }),
            Block::Code(CodeBlock {
                caption: Some("Packet filter of the gateway, shortened".to_owned()),
                text: "table inet filter {\n  chain input {\n    type filter hook input priority 0; policy drop;\n    ct state established,related accept\n    tcp dport 443 accept\n  }\n}".to_owned(),
            }),
        ],
        ..Section::new("boundary", "Authorization boundary")
    }
}

fn roles() -> Section {
    let columns = vec![
        Column::new("Role", ColumnKind::Text).width(26),
        Column::new("Name", ColumnKind::Text).width(20),
        Column::new("Privilege", ColumnKind::Status).width(14),
        Column::new("Functions", ColumnKind::Text).width(46),
    ];
    let row = |role: &str, name: &str, privileged: bool, functions: &str| {
        let (label, tone) =
            if privileged { ("Privileged", Tone::Caution) } else { ("Standard", Tone::Neutral) };
        vec![
            Cell::text(role),
            Cell::text(name),
            Cell::Status(Status { label: label.to_owned(), tone }),
            Cell::text(functions),
        ]
    };
    let rows = vec![
        row("System owner", "Dana Whitfield", false, "Accountable for the system and its budget"),
        row(
            "Information system security officer",
            "Ilse Brandt",
            true,
            "Reviews access, logs and changes; keeps this plan",
        ),
        row(
            "Platform operator",
            "Six persons",
            true,
            "Deploys, patches and restores; no access to plans of customers",
        ),
        row("Customer operator", "Customers", false, "Schedules pumps and valves of their own sites"),
    ];
    Section {
        blocks: vec![Block::Table(Table { key_columns: 1, ..Table::new("roles", columns, rows) })],
        ..Section::new("roles", "Roles and privileges")
    }
}

fn plan() -> Section {
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

fn controls() -> Section {
    let sections = families()
        .into_iter()
        .enumerate()
        .map(|(number, (family, indices))| Section {
            blocks: indices.into_iter().map(|index| Block::Control(control(index))).collect(),
            ..Section::new(format!("family-{}", number + 1), family)
        })
        .collect();
    let paragraph = format!(
        "How each of the {} controls of the baseline is met, family by family. Choices that apply are ticked.",
        ENTRIES.len()
    );
    Section {
        blocks: vec![Block::text(paragraph)],
        sections,
        ..Section::new("controls", "Control implementation")
    }
}

fn control(index: usize) -> Control {
    let Entry { id, family, title } = &ENTRIES[index];
    let (label, tone) = STATES[state(index)];
    let role = ROLES[index % ROLES.len()];
    let lower = title.to_lowercase();
    let choice = |label: &str, words: &[&str], chosen: usize| Choice {
        label: label.to_owned(),
        answers: words
            .iter()
            .enumerate()
            .map(|(at, word)| Answer { label: (*word).to_owned(), applies: at == chosen })
            .collect(),
    };
    let states: Vec<&str> = STATES.iter().map(|(word, _)| *word).collect();
    let is_open = matches!(tone, Tone::Caution | Tone::Bad);
    let point = |words: String, items: Vec<ListItem>| ListItem { content: vec![text(words)], items };
    let part = |letter: char, words: String| ControlPart {
        label: Some(format!("Part {letter}")),
        status: None,
        content: vec![text(words)],
    };
    Control {
        control_id: id.clone(),
        title: title.clone(),
        status: Status { label: label.to_owned(), tone },
        facts: vec![
            Fact::text("Responsible role", role),
            Fact::text("Last assessed", format!("2025-0{}-15", index % 9 + 1)),
        ],
        choices: vec![
            choice("Implementation status", &states, state(index)),
            choice("Control origination", &ORIGINS, index % ORIGINS.len()),
        ],
        parameters: if index.is_multiple_of(3) {
            vec![Fact::text(format!("{id}(a)(1)"), "at least annually and after significant changes")]
        } else {
            Vec::new()
        },
        statement: vec![
            point(
                format!("Define what {lower} asks of the system and who answers for it:"),
                vec![
                    point(format!("name the roles of {}; and", family.to_lowercase()), vec![]),
                    point("keep the record for three years.".to_owned(), vec![]),
                ],
            ),
            point(format!("Review {lower} at the frequency that the organization has set."), vec![]),
        ],
        implementation: vec![
            part(
                'a',
                format!(
                    "{role} keeps the procedure for {lower} in the service handbook. Changes are reviewed by a second person and recorded with the ticket that asked for them."
                ),
            ),
            part(
                'b',
                format!(
                    "The review of {lower} runs on the first working day of each quarter. Its result is filed with the evidence below, and deviations become items of the plan of action."
                ),
            ),
        ],
        evidence: vec![EvidenceItem {
            title: format!("{id} review record"),
            detail: Some("exported from the ticket system".to_owned()),
            collected_on: Some(day(2025, 9, 1 + (index % 28) as u32)),
            sha256: index.is_multiple_of(5).then(|| {
                format!("{:016x}", 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(index as u64 + 1)).repeat(4)
            }),
        }],
        gaps: if is_open {
            vec![text("The last two regions still follow the previous procedure.")]
        } else {
            Vec::new()
        },
        remediation: is_open.then(|| {
            format!("Roll the procedure for {lower} out to the remaining regions by 31 October 2025.")
        }),
        references: Vec::new(),
    }
}

fn approval() -> Section {
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

fn acronyms() -> Section {
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

fn cryptography() -> Section {
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
