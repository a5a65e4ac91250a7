//! Markdown in GitHub's dialect: front matter, headings, tables. Charts become tables of their values.
//!
//! Text is escaped so that it reads as text wherever Markdown is shown (ASVS 1.2, output encoding): no markup, no
//! HTML, links only by [`is_safe_link`].

mod assessment;

use std::fmt::Write;

use domain::document::{
    Block, Cell, Chart, CodeBlock, ColumnKind, Cover, DataFreshness, Diagram, Document, Fact, FrozenInput,
    Inline, KeyFigure, Link, ListItem, Marking, Method, Note, Number, Picture, Plot, Quantity, Seal, Section,
    Table,
};

use crate::{appendix_heading, prepare::is_safe_link, sanitise::reveal};

pub(crate) fn render(document: &Document) -> String {
    let mut out = front_matter(&document.cover);
    let banner = document.cover.classification.as_deref().and_then(Marking::parse);
    let banner = banner.map(|marking| format!("**{}**", escape(&marking.banner())));
    paragraph_of(&mut out, banner.as_deref().unwrap_or_default());
    let _ = write!(out, "# {}\n\n", escape(&document.cover.title));
    if let Some(subtitle) = &document.cover.subtitle {
        let _ = write!(out, "{}\n\n", escape(subtitle));
    }
    for omission in &document.omissions {
        let _ = write!(out, "> {}\n\n", escape(omission));
    }
    if !document.key_figures.is_empty() {
        let rows = document.key_figures.iter().map(key_figure);
        table(&mut out, &["Key figure", "Value", "Trend"].map(str::to_owned), &[false; 3], rows);
    }
    document.sections.iter().for_each(|section| write_section(&mut out, section, 2));
    for (index, appendix) in document.appendices.iter().enumerate() {
        let heading = appendix_heading(index, &appendix.heading);
        write_section_as(&mut out, appendix, &heading, 2);
    }
    write_inputs(&mut out, &document.inputs);
    if let Some(seal) = &document.seal {
        write_seal(&mut out, seal);
    }
    paragraph_of(&mut out, banner.as_deref().unwrap_or_default());
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// More would become a block of code in some readers.
const MAX_INDENTATION: usize = 5;

/// YAML, whose double-quoted strings are those of JSON.
fn front_matter(cover: &Cover) -> String {
    let texts = [
        ("title", Some(&cover.title)),
        ("organization", Some(&cover.organization)),
        ("classification", cover.classification.as_ref()),
        ("document_number", Some(&cover.document_number)),
        ("version", cover.version.as_ref()),
        ("prepared_for", cover.prepared_for.as_ref()),
        ("prepared_by", cover.prepared_by.as_ref()),
        ("verify_url", cover.verify_url.as_ref()),
    ];
    let mut out = "---\n".to_owned();
    for (name, value) in texts {
        if let Some(value) = value {
            let quoted = serde_json::Value::String(reveal(value)).to_string();
            let _ = writeln!(out, "{name}: {}", inert(&quoted));
        }
    }
    if let Some(period) = cover.period {
        let _ = writeln!(out, "period: {} to {}", period.from, period.until);
    }
    let _ = write!(out, "generated_at: {}\n---\n\n", cover.generated_at.format("%Y-%m-%dT%H:%M:%SZ"));
    out
}

/// A reader that does not know front matter takes it for text: what begins markup there is escaped as JSON escapes it.
fn inert(quoted: &str) -> String {
    quoted.replace('<', "\\u003c").replace('>', "\\u003e").replace('[', "\\u005b")
}

fn key_figure(figure: &KeyFigure) -> Vec<String> {
    let value = match &figure.value {
        Quantity::Number(number) => number.to_string(),
        Quantity::Text(text) => escape(text),
    };
    let unit = figure.unit.as_ref().map(|unit| format!(" {}", escape(unit))).unwrap_or_default();
    let trend = figure.trend.as_ref().map(|trend| escape(&trend.change)).unwrap_or_default();
    vec![escape(&figure.label), format!("{value}{unit}"), trend]
}

fn write_section(out: &mut String, section: &Section, level: usize) {
    write_section_as(out, section, &section.heading, level);
}

fn write_section_as(out: &mut String, section: &Section, title: &str, level: usize) {
    heading(out, level, title);
    section.blocks.iter().for_each(|block| write_block(out, block, level + 1));
    section.sections.iter().for_each(|inner| write_section(out, inner, level + 1));
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
        Cell::Severity(severity) => severity.to_string(),
        Cell::Status(status) => escape(&status.label),
        Cell::Link(target) => link(target),
    }
}

fn write_chart(out: &mut String, chart: &Chart) {
    let _ = write!(out, "**{}**\n\n{}\n\n", escape(&chart.title), escape(&chart.alt));
    let unit = escape(&chart.unit);
    match &chart.plot {
        Plot::SeverityDonut { counts } => {
            let rows = counts.iter().map(|entry| vec![entry.severity.to_string(), entry.count.to_string()]);
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

fn inlines(content: &[Inline]) -> String {
    content
        .iter()
        .map(|inline| match inline {
            Inline::Text(text) => escape(text),
            Inline::Strong(text) => wrap("**", text),
            Inline::Emphasis(text) => wrap("*", text),
            Inline::Code(text) => code(text),
            Inline::Link(target) => link(target),
            Inline::Reference(reference) => wrap("*", &reference.text),
        })
        .collect()
}

/// Blanks inside the markers would keep Markdown from seeing them.
fn wrap(marker: &str, text: &str) -> String {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return escape(text);
    }
    let (before, after) = text.split_once(trimmed).unwrap_or_default();
    format!("{before}{marker}{}{marker}{after}", escape(trimmed))
}

fn link(link: &Link) -> String {
    let text = if link.text.trim().is_empty() { &link.url } else { &link.text };
    if is_safe_link(&link.url) {
        let url = link.url.replace('<', "%3C").replace('>', "%3E").replace('\\', "%5C").replace('|', "%7C");
        format!("[{}](<{url}>)", escape(text))
    } else if *text == link.url {
        escape(text)
    } else {
        format!("{} ({})", escape(text), escape(&link.url))
    }
}

/// A code span, fenced by one backtick more than it contains in a row, and padded where it touches the fence.
fn code(text: &str) -> String {
    let text = reveal(text).replace(['\n', '\r'], " ").replace('|', "\\|");
    if text.trim().is_empty() {
        return text;
    }
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let padding = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{padding}{text}{padding}{fence}")
}

/// Text that reads as itself in a paragraph, a heading and a table cell.
fn escape(text: &str) -> String {
    let text = reveal(&text.replace("\r\n", "\n"));
    let mut escaped = String::with_capacity(text.len() + 8);
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let mut characters = text.chars().enumerate().peekable();
    while let Some((index, character)) = characters.next() {
        let ends_word = characters.peek().is_none_or(|(_, next)| next.is_whitespace());
        match character {
            '\n' | '\r' => escaped.push_str("<br>"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '~' | '&' | '$' | '!' | '{'
            | '}' => {
                escaped.extend(['\\', character]);
            }
            // At the start these would begin a list, a heading or a rule.
            '-' | '+' | '=' | ':' if index == 0 => escaped.extend(['\\', character]),
            '.' | ')' if digits > 0 && index == digits && ends_word => escaped.extend(['\\', character]),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_html_read_as_text() {
        assert_eq!(escape("<img src=x> [a](b) *c* | d"), "\\<img src=x\\> \\[a\\](b) \\*c\\* \\| d");
        assert_eq!(escape("- a"), "\\- a");
        assert_eq!(escape("1. a"), "1\\. a");
        assert_eq!(escape("2.36-9+deb12u1"), "2.36-9+deb12u1");
        assert_eq!(escape("a\r\nb\u{202e}"), "a<br>b⟨U+202E⟩");
    }

    #[test]
    fn code_may_contain_backticks() {
        assert_eq!(code("a ``b`` | c"), "```a ``b`` \\| c```");
        assert_eq!(code("`a"), "`` `a ``");
    }

    #[test]
    fn only_harmless_addresses_are_linked() {
        let to = |url: &str| link(&Link { text: "x".into(), url: url.into() });
        assert_eq!(to("https://e.example/>)a"), "[x](<https://e.example/%3E)a>)");
        assert_eq!(to("javascript:alert(1)"), "x (javascript:alert(1))");
    }

    #[test]
    fn strong_text_keeps_its_outer_blanks_outside() {
        assert_eq!(wrap("**", " a "), " **a** ");
    }
}
