//! Tables of what is no table: finding cards, controls, events, the values behind charts, and the prose.
//!
//! A workbook has no pages to set these on, but nothing of a report may be lost in one. Each becomes a row that says
//! which section it comes from; what belongs on the summary (labelled values, ages of data, method) is left to it.

use domain::document::{
    Attestation, Block, Cell, Chart, CodeBlock, Column, ColumnKind, Control, Diagram, Document, Fact,
    FindingCard, Fix, Note, Number, Picture, Plot, Section, Sheet, SignOff, Signatory, Status, Table,
    Timeline,
};

use crate::{
    appendix_heading,
    office::{outline, plain, with_address},
    theme,
};

/// Without the columns that no row has anything in, which would be pages of nothing on paper.
fn filled(name: &str, columns: Vec<Column>, rows: Vec<Vec<Cell>>) -> Table {
    let is_filled: Vec<bool> =
        (0..columns.len()).map(|column| rows.iter().any(|row| row[column] != Cell::Empty)).collect();
    fn kept<T>(of: Vec<T>, is_filled: &[bool]) -> Vec<T> {
        of.into_iter().zip(is_filled).filter_map(|(one, is_filled)| is_filled.then_some(one)).collect()
    }
    let rows = rows.into_iter().map(|row| kept(row, &is_filled)).collect();
    Table::new(name, kept(columns, &is_filled), rows)
}

/// Sheets for what the document has beside tables, without those that would be empty.
pub(super) fn tables(document: &Document) -> Vec<Table> {
    let mut rows = Rows::default();
    document.sections.iter().for_each(|section| rows.section(section, &section.heading));
    for (index, appendix) in document.appendices.iter().enumerate() {
        rows.section(appendix, &appendix_heading(index, &appendix.heading));
    }
    let text = |title: &str, width: u16| Column::new(title, ColumnKind::Text).width(width);
    let name = |title: &str, width: u16| Column::new(title, ColumnKind::Identifier).width(width);
    let status = |title: &str| Column::new(title, ColumnKind::Status);
    let number = |title: &str, decimals| Column::new(title, ColumnKind::Number { decimals });
    let is_whole =
        |row: &Vec<Cell>| !row.iter().any(|cell| matches!(cell, Cell::Number(value) if value.is_f64()));
    let decimals = if rows.values.iter().all(is_whole) { 0 } else { 2 };
    let made = [
        (
            "Findings in detail",
            2,
            vec![
                text("Section", 24),
                text("Finding", 44),
                Column::new("Severity", ColumnKind::Severity),
                number("Score", 1),
                name("Vulnerability", 20),
                text("Marks", 20),
                name("Package", 24),
                name("Installed", 18),
                name("Fixed in", 18),
                number("Affected", 0),
                text("Affected assets", 44),
                text("Description", 60),
                text("Facts", 36),
                text("Evidence", 50),
                text("Remediation", 50),
                text("References", 40),
            ],
            rows.cards,
        ),
        (
            "Controls",
            1,
            vec![
                name("Control", 14),
                text("Title", 36),
                status("Status"),
                text("Section", 24),
                text("Facts", 36),
                text("Choices", 36),
                text("Parameters", 36),
                text("Requirement", 60),
                text("How it is met", 60),
                text("Evidence", 50),
                text("What is missing", 44),
                text("Remediation", 44),
                text("References", 36),
            ],
            rows.controls,
        ),
        (
            "Events",
            1,
            vec![
                Column::new("From", ColumnKind::Date),
                Column::new("Until", ColumnKind::Date),
                text("Event", 44),
                status("Status"),
                text("Detail", 60),
                text("Section", 24),
            ],
            rows.events,
        ),
        (
            "Charts",
            0,
            vec![
                text("Chart", 48),
                text("Series", 28),
                text("Point", 28),
                number("Value", decimals),
                text("Unit", 18),
            ],
            rows.values,
        ),
        ("Text", 0, vec![text("Section", 32), text("Kind", 14), text("Text", 70)], rows.prose),
    ];
    made.into_iter()
        .filter(|(_, _, _, rows)| !rows.is_empty())
        .map(|(name, key_columns, columns, rows)| Table {
            sheet: Some(Sheet { name: name.to_owned(), preamble: Vec::new() }),
            key_columns,
            ..filled(name, columns, rows)
        })
        .collect()
}

#[derive(Default)]
struct Rows {
    cards: Vec<Vec<Cell>>,
    controls: Vec<Vec<Cell>>,
    events: Vec<Vec<Cell>>,
    values: Vec<Vec<Cell>>,
    prose: Vec<Vec<Cell>>,
}

impl Rows {
    fn section(&mut self, section: &Section, heading: &str) {
        section.blocks.iter().for_each(|block| self.block(block, heading));
        section.sections.iter().for_each(|inner| self.section(inner, &inner.heading));
    }

    fn block(&mut self, block: &Block, section: &str) {
        match block {
            Block::Paragraph(paragraph) => self.say(section, "Paragraph", plain(&paragraph.content)),
            Block::List(list) => self.say(section, "List", outline(&list.items, list.ordered)),
            Block::Note(Note { tone, title, content }) => {
                let title = title.as_deref().unwrap_or(theme::tone(*tone).word);
                self.say(section, "Note", format!("{title}: {}", plain(content)));
            }
            Block::Code(CodeBlock { caption, text }) => {
                let caption = caption.as_ref().map(|caption| format!("{caption}\n")).unwrap_or_default();
                self.say(section, "Code", format!("{caption}{text}"));
            }
            Block::Picture(Picture { image, caption }) => {
                self.say(section, "Picture", caption.as_ref().unwrap_or(&image.alt).clone());
            }
            Block::Chart(chart) => self.chart(chart),
            Block::Diagram(diagram) => self.diagram(diagram, section),
            Block::FindingCard(finding) => self.cards.push(card(finding, section)),
            Block::Control(one) => self.controls.push(control(one, section)),
            Block::Timeline(timeline) => self.timeline(timeline, section),
            Block::SignOff(SignOff { statement, signatories }) => {
                let lines = std::iter::once(plain(statement)).chain(signatories.iter().map(signatory));
                self.say(section, "Sign-off", joined(lines));
            }
            Block::Attestation(Attestation {
                title,
                statement,
                affirmations,
                facts,
                official,
                legal_notice,
            }) => {
                let lines = [title.clone(), labelled(facts), plain(statement), outline(affirmations, true)];
                let lines = lines.into_iter().chain([signatory(official)]).chain(legal_notice.clone());
                self.say(section, "Attestation", joined(lines));
            }
            // A sheet of their own, and the summary.
            Block::Table(_) | Block::KeyValues(_) | Block::DataFreshness(_) | Block::Method(_) => {}
        }
    }

    fn say(&mut self, section: &str, kind: &str, text: String) {
        if !text.trim().is_empty() {
            self.prose.push(vec![Cell::text(section), Cell::text(kind), Cell::Text(text)]);
        }
    }

    fn timeline(&mut self, timeline: &Timeline, section: &str) {
        let section = timeline.title.as_deref().unwrap_or(section);
        self.events.extend(timeline.events.iter().map(|event| {
            vec![
                Cell::Date(event.on),
                event.until.map_or(Cell::Empty, Cell::Date),
                Cell::text(&event.title),
                event.status.clone().map_or(Cell::Empty, Cell::Status),
                some_text(plain(&event.detail)),
                Cell::text(section),
            ]
        }));
    }

    fn diagram(&mut self, diagram: &Diagram, section: &str) {
        let name = |id: &str| {
            let node = diagram.nodes.iter().find(|node| node.id == id);
            node.map_or(id, |node| node.label.as_str()).to_owned()
        };
        let nodes = diagram.nodes.iter().map(|node| match &node.detail {
            Some(detail) => format!("{} ({detail})", node.label),
            None => node.label.clone(),
        });
        let edges = diagram.edges.iter().map(|edge| {
            let label = edge.label.as_ref().map(|label| format!(": {label}")).unwrap_or_default();
            format!("{} → {}{label}", name(&edge.from), name(&edge.to))
        });
        let head = [diagram.title.clone(), diagram.alt.clone()];
        self.say(section, "Diagram", joined(head.into_iter().chain(nodes).chain(edges)));
    }

    fn chart(&mut self, chart: &Chart) {
        let mut value = |series: &str, point: &str, value: Option<Number>, unit: &str| {
            let row = [&chart.title, series, point].map(|text| some_text(text.to_owned()));
            let value = value.map_or(Cell::Empty, Cell::Number);
            self.values.push(row.into_iter().chain([value, some_text(unit.to_owned())]).collect());
        };
        let unit = chart.unit.as_str();
        match &chart.plot {
            Plot::SeverityDonut { counts } => counts.iter().for_each(|entry| {
                value("", theme::severity(entry.severity).word, Some(entry.count.into()), unit);
            }),
            Plot::Bars { bars } => {
                bars.iter().for_each(|bar| value("", &bar.label, Some(bar.value.clone()), unit))
            }
            Plot::StackedBars { series, columns } => {
                for column in columns {
                    for (series, count) in series.iter().zip(&column.values) {
                        value(&series.name, &column.label, Some((*count).into()), unit);
                    }
                }
            }
            Plot::Lines { points, lines, target } => {
                for line in lines {
                    for (point, measured) in points.iter().zip(&line.values) {
                        value(&line.name, point, measured.clone(), unit);
                    }
                }
                if let Some(target) = target {
                    value("Target", &target.label, Some(target.value.clone()), unit);
                }
            }
            Plot::Gauges { gauges } => {
                for gauge in gauges {
                    let note = gauge.note.as_deref().unwrap_or(unit);
                    value("", &gauge.label, gauge.value.clone(), note);
                    value("Maximum", &gauge.label, Some(gauge.maximum.clone()), unit);
                }
            }
            Plot::HeatMap { columns, rows } => {
                for row in rows {
                    for (column, cell) in columns.iter().zip(&row.cells) {
                        value(&row.label, column, cell.value.map(Number::from), unit);
                    }
                }
            }
            Plot::Sparklines { lines } => {
                for line in lines {
                    for (index, measured) in line.values.iter().enumerate() {
                        value(&line.label, &(index + 1).to_string(), measured.clone(), unit);
                    }
                }
            }
        }
    }
}

fn card(card: &FindingCard, section: &str) -> Vec<Cell> {
    let fix = match &card.fix {
        Fix::Version(version) => Cell::identifier(version),
        Fix::NotAvailable => Cell::text("no fix yet"),
        Fix::Unknown => Cell::text("unknown"),
    };
    let assets = card.affected.iter().map(|asset| match &asset.detail {
        Some(detail) => format!("{} ({detail})", asset.name),
        None => asset.name.clone(),
    });
    let name = |name: &Option<String>| name.as_ref().map_or(Cell::Empty, Cell::identifier);
    vec![
        Cell::text(section),
        Cell::text(&card.title),
        Cell::Severity(card.severity),
        card.score.clone().map_or(Cell::Empty, Cell::Number),
        Cell::identifier(&card.vulnerability_id),
        some_text(joined(card.marks.iter().map(|mark| mark.label.clone()))),
        name(&card.package),
        name(&card.installed),
        fix,
        Cell::count(card.affected_total),
        some_text(joined(assets)),
        Cell::text(&card.description),
        some_text(labelled(&card.facts)),
        some_text(card.evidence.join("\n")),
        card.remediation.as_ref().map_or(Cell::Empty, Cell::text),
        some_text(joined(card.references.iter().map(with_address))),
    ]
}

fn control(control: &Control, section: &str) -> Vec<Cell> {
    let choices = control.choices.iter().map(|choice| {
        let applying =
            choice.answers.iter().filter(|answer| answer.applies).map(|answer| answer.label.as_str());
        format!("{}: {}", choice.label, applying.collect::<Vec<_>>().join(", "))
    });
    let implementation = control.implementation.iter().map(|part| {
        let label = part.label.as_ref().map(|label| format!("{label}: ")).unwrap_or_default();
        let status =
            part.status.as_ref().map(|Status { label, tone: _ }| format!("({label}) ")).unwrap_or_default();
        format!("{label}{status}{}", plain(&part.content))
    });
    let evidence = control.evidence.iter().map(|item| {
        let date = item.collected_on.map(|date| date.to_string());
        let digest = item.sha256.as_ref().map(|digest| format!("SHA-256 {digest}"));
        let parts = std::iter::once(item.title.clone()).chain(item.detail.clone()).chain(date).chain(digest);
        parts.collect::<Vec<_>>().join(", ")
    });
    vec![
        Cell::identifier(&control.control_id),
        Cell::text(&control.title),
        Cell::Status(control.status.clone()),
        Cell::text(section),
        some_text(labelled(&control.facts)),
        some_text(joined(choices)),
        some_text(labelled(&control.parameters)),
        some_text(outline(&control.statement, true)),
        some_text(joined(implementation)),
        some_text(joined(evidence)),
        some_text(plain(&control.gaps)),
        control.remediation.as_ref().map_or(Cell::Empty, Cell::text),
        some_text(joined(control.references.iter().map(with_address))),
    ]
}

fn signatory(signatory: &Signatory) -> String {
    let Signatory { role, name, organization, signed_on } = signatory;
    let name = name.as_deref().unwrap_or("________");
    let organization =
        organization.as_ref().map(|organization| format!(", {organization}")).unwrap_or_default();
    let date = signed_on.map_or_else(|| "________".to_owned(), |date| date.to_string());
    format!("{role}: {name}{organization}; signed on {date}")
}

fn labelled(facts: &[Fact]) -> String {
    joined(facts.iter().map(|fact| format!("{}: {}", fact.label, plain(&fact.value))))
}

fn joined(lines: impl Iterator<Item = String>) -> String {
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

fn some_text(text: String) -> Cell {
    if text.is_empty() { Cell::Empty } else { Cell::Text(text) }
}
