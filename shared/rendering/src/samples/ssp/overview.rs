//! Where the system stands, in a paragraph and charts.

use domain::document::{
    Block, Chart, Gauge, HeatCell, HeatRow, Inline, Line, Link, Number, Paragraph, Plot, Reference, Section,
    Sparkline, Target, Tone,
};

use super::{
    controls::{ENTRIES, STATES, counts, families, state},
    text,
};

fn chart(id: &str, title: &str, alt: &str, unit: &str, plot: Plot) -> Block {
    Block::Chart(Chart {
        id: id.to_owned(),
        title: title.to_owned(),
        alt: alt.to_owned(),
        unit: unit.to_owned(),
        plot,
    })
}

pub(super) fn overview() -> Section {
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
