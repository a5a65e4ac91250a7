//! Markdown in GitHub's dialect: front matter, contents, headings, tables. Charts become tables of their values.
//!
//! Text is escaped so that it reads as text wherever Markdown is shown (ASVS 1.2, output encoding): no markup, no
//! HTML, links only by [`is_safe_link`].

mod assessment;
mod contents;
mod text;

use std::fmt::Write;

use domain::document::{
    Block, Cell, Chart, CodeBlock, ColumnKind, CoverFact, DataFreshness, Diagram, Document, Fact,
    FrozenInput, KeyFigure, Link, ListItem, Method, Note, Number, Picture, Plot, Quantity, Seal, Section,
    Table,
};

use self::{
    contents::write_contents,
    text::{code, escape, inlines, link, wrap},
};
use crate::{Options, appendix_heading, marking, sanitise::reveal, theme, words::arrow};

pub(crate) fn render(document: &Document, options: &Options) -> String {
    let contact = options.branding.contact.as_deref();
    let marks = marks(document);
    let mut out = front_matter(document);
    paragraph_of(&mut out, &marks);
    let title = escape(&document.cover.title);
    let _ = write!(out, "# {title}\n\n");
    if let Some(subtitle) = &document.cover.subtitle {
        let _ = write!(out, "{}\n\n", escape(subtitle));
    }
    if let Some(lines) = marking::designation(document, contact) {
        let lines = lines.map(|(label, text)| format!("**{label}:** {}", escape(&text)));
        let _ = write!(out, "> {}\n\n", lines.join("<br>"));
    }
    for omission in &document.omissions {
        let _ = write!(out, "> {}\n\n", escape(omission));
    }
    let body = body(document);
    if marking::wants_contents(document) {
        write_contents(&mut out, &title, &body);
    }
    out.push_str(&body.text);
    let said = contact.map(|contact| format!("Questions about this document: {}", escape(contact)));
    paragraph_of(&mut out, &said.unwrap_or_default());
    options.branding.legal_statements.iter().for_each(|statement| paragraph_of(&mut out, &escape(statement)));
    paragraph_of(&mut out, &marks);
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// Classification and watermark, which stand at the head and at the foot: there are no pages.
fn marks(document: &Document) -> String {
    let watermark = document.presentation.watermark.clone();
    let marks = marking::banner(document).into_iter().chain(watermark);
    let marks: Vec<_> = marks.map(|mark| wrap("**", &mark)).collect();
    marks.join("<br>")
}

/// What stands below the contents, which lead there.
struct Body {
    text: String,
    /// Level and place of the headings of sections.
    sections: Vec<(usize, usize)>,
}

fn body(document: &Document) -> Body {
    let mut body = Body { text: String::new(), sections: Vec::new() };
    if !document.key_figures.is_empty() {
        let with_trends = marking::has_trends(document);
        let titles = ["Key figure", "Value", "Trend"].map(str::to_owned);
        let titles = if with_trends { &titles[..] } else { &titles[..2] };
        let rows = document.key_figures.iter().map(|figure| key_figure(figure, with_trends));
        table(&mut body.text, titles, &[false; 3][..titles.len()], rows);
    }
    document.sections.iter().for_each(|section| write_section(&mut body, section, &section.heading, 2));
    for (index, appendix) in document.appendices.iter().enumerate() {
        write_section(&mut body, appendix, &appendix_heading(index, &appendix.heading), 2);
    }
    if document.sections.len() + document.appendices.len() + document.key_figures.len() == 0 {
        paragraph_of(&mut body.text, "There is nothing to report.");
    }
    write_inputs(&mut body.text, &document.inputs);
    if let Some(seal) = &document.seal {
        write_seal(&mut body.text, seal);
    }
    body
}

/// More would become a block of code in some readers.
const MAX_INDENTATION: usize = 5;

/// YAML, whose double-quoted strings are those of JSON.
fn front_matter(document: &Document) -> String {
    let cover = &document.cover;
    let texts = [
        ("title", Some(&cover.title)),
        ("organization", Some(&cover.organization)),
        ("classification", cover.classification.as_ref()),
        ("watermark", document.presentation.watermark.as_ref()),
        ("document_number", Some(&cover.document_number)),
        ("version", cover.version.as_ref()),
        ("prepared_for", cover.prepared_for.as_ref()),
        ("prepared_by", cover.prepared_by.as_ref()),
        ("verify_url", cover.verify_url.as_ref()),
    ];
    let mut out = "---\n".to_owned();
    for (name, value) in texts {
        if let Some(value) = value {
            let _ = writeln!(out, "{name}: {}", quoted(value));
        }
    }
    if !cover.facts.is_empty() {
        out.push_str("facts:\n");
        for CoverFact { label, value } in &cover.facts {
            let _ = writeln!(out, "  {}: {}", quoted(label), quoted(value));
        }
    }
    if let Some(period) = cover.period {
        let _ = writeln!(out, "period: {} to {}", period.from, period.until);
    }
    let _ = write!(out, "generated_at: {}\n---\n\n", cover.generated_at.format("%Y-%m-%dT%H:%M:%SZ"));
    out
}

/// A reader that does not know front matter takes it for text: what begins markup there is escaped as JSON escapes it.
fn quoted(text: &str) -> String {
    let quoted = serde_json::Value::String(reveal(text)).to_string();
    quoted.replace('<', "\\u003c").replace('>', "\\u003e").replace('[', "\\u005b")
}

fn key_figure(figure: &KeyFigure, with_trends: bool) -> Vec<String> {
    let value = match &figure.value {
        Quantity::Number(number) => number.to_string(),
        Quantity::Text(text) => escape(text),
    };
    let unit = figure.unit.as_ref().map(|unit| format!(" {}", escape(unit))).unwrap_or_default();
    let trend =
        figure.trend.as_ref().map(|trend| format!("{} {}", arrow(trend.direction), escape(&trend.change)));
    let mut cells = vec![escape(&figure.label), format!("{value}{unit}")];
    cells.extend(with_trends.then(|| trend.unwrap_or_default()));
    cells
}

fn write_section(body: &mut Body, section: &Section, title: &str, level: usize) {
    body.sections.push((level, body.text.len()));
    heading(&mut body.text, level, title);
    section.blocks.iter().for_each(|block| write_block(&mut body.text, block, level + 1));
    section.sections.iter().for_each(|inner| write_section(body, inner, &inner.heading, level + 1));
}

fn heading(out: &mut String, level: usize, text: &str) {
    let _ = write!(out, "{} {}\n\n", "#".repeat(level.min(6)), escape(text));
}

fn write_block(out: &mut String, block: &Block, level: usize) {
    match block {
        Block::Paragraph(paragraph) => paragraph_of(out, &inlines(&paragraph.content)),
        Block::List(list) => write_items(out, &list.items, list.ordered, 0),
        Block::Note(Note { tone: _, title, content }) => {
            let title = title.as_ref().map(|title| format!("**{}**<br>", escape(title))).unwrap_or_default();
            let _ = write!(out, "> {title}{}\n\n", inlines(content));
        }
        Block::Code(CodeBlock { caption, text }) => {
            caption_of(out, caption.as_deref());
            fenced(out, text);
        }
        Block::Picture(Picture { image, caption }) => {
            caption_of(out, caption.as_deref());
            let _ = write!(out, "*Picture: {}*\n\n", escape(&image.alt));
        }
        Block::Table(table) => write_table(out, table),
        Block::Chart(chart) => write_chart(out, chart),
        Block::Diagram(diagram) => write_diagram(out, diagram),
        Block::FindingCard(card) => assessment::write_card(out, card, level),
        Block::Control(control) => assessment::write_control(out, control, level),
        Block::Timeline(timeline) => assessment::write_timeline(out, timeline),
        Block::SignOff(sign_off) => assessment::write_sign_off(out, sign_off),
        Block::Attestation(attestation) => assessment::write_attestation(out, attestation, level),
        Block::KeyValues(values) => facts(out, &values.entries),
        Block::DataFreshness(freshness) => write_freshness(out, freshness),
        Block::Method(Method { summary, steps, limitations }) => {
            paragraph_of(out, &inlines(summary));
            list(
                out,
                "1.",
                steps.iter().map(|step| format!("**{}.** {}", escape(&step.label), inlines(&step.value))),
            );
            if !limitations.is_empty() {
                caption_of(out, Some("What this does not show"));
            }
            list(out, "-", limitations.iter().map(|limitation| inlines(limitation)));
        }
    }
}

fn paragraph_of(out: &mut String, text: &str) {
    if !text.is_empty() {
        let _ = write!(out, "{text}\n\n");
    }
}

fn list(out: &mut String, marker: &str, items: impl ExactSizeIterator<Item = String>) {
    if items.len() == 0 {
        return;
    }
    for item in items {
        let _ = writeln!(out, "{marker} {item}");
    }
    out.push('\n');
}

/// Points below points are indented by what any marker needs.
fn write_items(out: &mut String, items: &[ListItem], ordered: bool, depth: usize) {
    fn write(out: &mut String, items: &[ListItem], ordered: bool, depth: usize) {
        let marker = if ordered { "1." } else { "-" };
        for ListItem { content, items } in items {
            let _ = writeln!(out, "{}{marker} {}", "   ".repeat(depth), inlines(content));
            write(out, items, ordered, (depth + 1).min(MAX_INDENTATION));
        }
    }
    if !items.is_empty() {
        write(out, items, ordered, depth);
        out.push('\n');
    }
}

/// Text between fences, which nothing in it can end.
fn fenced(out: &mut String, text: &str) {
    let text = reveal(&text.replace("\r\n", "\n"));
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    let _ = write!(out, "{fence}text\n{}\n{fence}\n\n", text.trim_end_matches('\n'));
}

fn caption_of(out: &mut String, caption: Option<&str>) {
    if let Some(caption) = caption {
        let _ = write!(out, "**{}**\n\n", escape(caption));
    }
}

fn facts(out: &mut String, facts: &[Fact]) {
    list(out, "-", facts.iter().map(|fact| format!("**{}:** {}", escape(&fact.label), inlines(&fact.value))));
}

/// Titles and cells come escaped.
fn table(out: &mut String, titles: &[String], numeric: &[bool], rows: impl Iterator<Item = Vec<String>>) {
    let _ = writeln!(out, "| {} |", titles.join(" | "));
    let rules: Vec<&str> = numeric.iter().map(|numeric| if *numeric { "---:" } else { "---" }).collect();
    let _ = writeln!(out, "| {} |", rules.join(" | "));
    for row in rows {
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
    out.push('\n');
}

fn write_table(out: &mut String, block: &Table) {
    caption_of(out, block.caption.as_deref());
    facts(out, block.sheet.as_ref().map_or(&[], |sheet| &sheet.preamble));
    let titles: Vec<String> = block.columns.iter().map(|column| escape(&column.title)).collect();
    let numeric: Vec<bool> =
        block.columns.iter().map(|column| matches!(column.kind, ColumnKind::Number { .. })).collect();
    table(out, &titles, &numeric, block.rows.iter().map(|row| row.iter().map(cell).collect()));
    if let Some(truncated) = &block.truncated {
        let _ = write!(
            out,
            "{} of {} rows shown. {}\n\n",
            block.rows.len(),
            truncated.total_rows,
            escape(&truncated.rest)
        );
    }
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Empty => dash(),
        Cell::Text(text) | Cell::Identifier(text) => escape(text),
        Cell::Number(number) => number.to_string(),
        Cell::Date(date) => date.to_string(),
        Cell::Severity(severity) => theme::severity(*severity).word.to_owned(),
        Cell::Status(status) => escape(&status.label),
        Cell::Link(target) => link(target),
    }
}

fn write_chart(out: &mut String, chart: &Chart) {
    let _ = write!(out, "**{}**\n\n{}\n\n", escape(&chart.title), escape(&chart.alt));
    let unit = escape(&chart.unit);
    match &chart.plot {
        Plot::SeverityDonut { counts } => {
            let rows = counts
                .iter()
                .map(|entry| vec![theme::severity(entry.severity).word.to_owned(), entry.count.to_string()]);
            table(out, &["Severity".to_owned(), unit], &[false, true], rows);
        }
        Plot::Bars { bars } => {
            let rows = bars.iter().map(|bar| vec![escape(&bar.label), bar.value.to_string()]);
            table(out, &[String::new(), unit], &[false, true], rows);
        }
        Plot::StackedBars { series, columns } => {
            let titles: Vec<String> =
                std::iter::once(unit).chain(series.iter().map(|series| escape(&series.name))).collect();
            let numeric: Vec<bool> = (0..titles.len()).map(|index| index > 0).collect();
            let rows = columns.iter().map(|column| {
                std::iter::once(escape(&column.label))
                    .chain(column.values.iter().map(u64::to_string))
                    .collect()
            });
            table(out, &titles, &numeric, rows);
        }
        Plot::Lines { points, lines, target } => {
            let titles: Vec<String> =
                std::iter::once(unit).chain(lines.iter().map(|line| escape(&line.name))).collect();
            let numeric: Vec<bool> = (0..titles.len()).map(|index| index > 0).collect();
            let rows = points.iter().enumerate().map(|(index, point)| {
                let values =
                    lines.iter().map(|line| measured(line.values.get(index).and_then(Option::as_ref)));
                std::iter::once(escape(point)).chain(values).collect()
            });
            table(out, &titles, &numeric, rows);
            if let Some(target) = target {
                paragraph_of(out, &format!("{}: {}", escape(&target.label), target.value));
            }
        }
        Plot::Gauges { gauges } => {
            let rows = gauges.iter().map(|gauge| {
                let note = gauge.note.as_deref().map(escape).unwrap_or_default();
                vec![escape(&gauge.label), measured(gauge.value.as_ref()), gauge.maximum.to_string(), note]
            });
            let titles = ["Measure".to_owned(), unit, "Of".to_owned(), "Note".to_owned()];
            table(out, &titles, &[false, true, true, false], rows);
        }
        Plot::HeatMap { columns, rows } => {
            let titles: Vec<String> =
                std::iter::once(unit).chain(columns.iter().map(|title| escape(title))).collect();
            let numeric: Vec<bool> = (0..titles.len()).map(|index| index > 0).collect();
            let rows = rows.iter().map(|row| {
                let cells =
                    row.cells.iter().map(|cell| cell.value.map_or_else(dash, |value| value.to_string()));
                std::iter::once(escape(&row.label)).chain(cells).collect()
            });
            table(out, &titles, &numeric, rows);
        }
        Plot::Sparklines { lines } => {
            let rows = lines.iter().map(|line| {
                let values: Vec<String> = line.values.iter().map(|value| measured(value.as_ref())).collect();
                vec![escape(&line.label), values.join(", ")]
            });
            table(out, &[String::new(), unit], &[false, false], rows);
        }
    }
}

fn dash() -> String {
    "–".to_owned()
}

fn measured(value: Option<&Number>) -> String {
    value.map_or_else(dash, Number::to_string)
}

/// A diagram as the list of its arrows, and of what has none.
fn write_diagram(out: &mut String, diagram: &Diagram) {
    let _ = write!(out, "**{}**\n\n{}\n\n", escape(&diagram.title), escape(&diagram.alt));
    let name = |id: &str| {
        let node = diagram.nodes.iter().find(|node| node.id == id);
        escape(node.map_or(id, |node| node.label.as_str()))
    };
    let nodes = diagram.nodes.iter().map(|node| {
        let group = node.group.as_ref().and_then(|id| diagram.groups.iter().find(|group| &group.id == id));
        vec![
            escape(&node.label),
            node.detail.as_deref().map(escape).unwrap_or_default(),
            group.map(|group| escape(&group.label)).unwrap_or_default(),
        ]
    });
    table(out, &["Element", "Detail", "Within"].map(str::to_owned), &[false; 3], nodes);
    if !diagram.edges.is_empty() {
        let edges = diagram.edges.iter().map(|edge| {
            vec![name(&edge.from), name(&edge.to), edge.label.as_deref().map(escape).unwrap_or_default()]
        });
        table(out, &["From", "To", "What"].map(str::to_owned), &[false; 3], edges);
    }
}

fn write_inputs(out: &mut String, inputs: &[FrozenInput]) {
    if inputs.is_empty() {
        return;
    }
    heading(out, 2, "Inputs");
    let rows = inputs.iter().map(|input| {
        vec![
            escape(&input.name),
            input.version.as_deref().map(escape).unwrap_or_default(),
            input.as_of.map_or_else(dash, |time| time.format("%Y-%m-%d %H:%M UTC").to_string()),
            input.records.map_or_else(dash, |records| records.to_string()),
            code(&input.sha256),
        ]
    });
    let titles = ["Input", "Version", "State of", "Records", "SHA-256"].map(str::to_owned);
    table(out, &titles, &[false, false, false, true, false], rows);
}

fn write_seal(out: &mut String, seal: &Seal) {
    heading(out, 2, "Signature");
    let mut lines = vec![format!("**Signed by:** {}", escape(&seal.signer))];
    lines.extend(seal.organization.as_ref().map(|name| format!("**For:** {}", escape(name))));
    lines.push(format!("**Signed at:** {}", seal.signed_at.format("%Y-%m-%d %H:%M:%S UTC")));
    lines.extend(seal.reason.as_ref().map(|reason| format!("**Reason:** {}", escape(reason))));
    lines.extend(seal.certificate.as_ref().map(|subject| format!("**Certificate:** {}", escape(subject))));
    lines.extend(seal.timestamp.as_ref().map(|words| format!("**Timestamp:** {}", escape(words))));
    lines.push(format!("**Report hash (SHA-256):** {}", code(&seal.content_sha256)));
    let verify = Link { text: seal.verify_url.clone(), url: seal.verify_url.clone() };
    lines.push(format!("**Verify at:** {}", link(&verify)));
    list(out, "-", lines.into_iter());
}

fn write_freshness(out: &mut String, freshness: &DataFreshness) {
    let titles = ["Source", "Data as of", "Age in hours", "Records", "Status"].map(str::to_owned);
    let rows = freshness.feeds.iter().map(|feed| {
        vec![
            escape(&feed.feed),
            feed.as_of.map_or_else(dash, |time| time.format("%Y-%m-%d %H:%M UTC").to_string()),
            feed.age_seconds.map_or_else(dash, |seconds| (seconds / 3600).to_string()),
            feed.records.map_or_else(dash, |records| records.to_string()),
            escape(&feed.status.label),
        ]
    });
    table(out, &titles, &[false, false, true, true, false], rows);
}
