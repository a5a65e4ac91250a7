//! Markdown in GitHub's dialect: front matter, headings, tables. Charts become tables of their values.
//!
//! Text is escaped so that it reads as text wherever Markdown is shown (ASVS 1.2, output encoding): no markup, no
//! HTML, links only by [`is_safe_link`].

use std::fmt::Write;

use domain::document::{
    Block, Cell, Chart, ColumnKind, Cover, DataFreshness, Document, Fact, FindingCard, Fix, Inline,
    KeyFigure, Link, List, Method, Note, Plot, Quantity, Section, Table,
};

use crate::{prepare::is_safe_link, sanitise::is_hidden};

pub(crate) fn render(document: &Document) -> String {
    let mut out = front_matter(&document.cover);
    let _ = write!(out, "# {}\n\n", escape(&document.cover.title));
    if let Some(subtitle) = &document.cover.subtitle {
        let _ = write!(out, "{}\n\n", escape(subtitle));
    }
    if !document.key_figures.is_empty() {
        let rows = document.key_figures.iter().map(key_figure);
        table(&mut out, &["Key figure", "Value", "Trend"].map(str::to_owned), &[false; 3], rows);
    }
    document.sections.iter().for_each(|section| write_section(&mut out, section, 2));
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

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
    ];
    let mut out = "---\n".to_owned();
    for (name, value) in texts {
        if let Some(value) = value {
            let _ = writeln!(out, "{name}: {}", serde_json::Value::String(reveal(value)));
        }
    }
    if let Some(period) = cover.period {
        let _ = writeln!(out, "period: {} to {}", period.from, period.until);
    }
    let _ = write!(out, "generated_at: {}\n---\n\n", cover.generated_at.format("%Y-%m-%dT%H:%M:%SZ"));
    out
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
    heading(out, level, &section.heading);
    section.blocks.iter().for_each(|block| write_block(out, block, level + 1));
    section.sections.iter().for_each(|inner| write_section(out, inner, level + 1));
}

fn heading(out: &mut String, level: usize, text: &str) {
    let _ = write!(out, "{} {}\n\n", "#".repeat(level.min(6)), escape(text));
}

fn write_block(out: &mut String, block: &Block, level: usize) {
    match block {
        Block::Paragraph(paragraph) => paragraph_of(out, &inlines(&paragraph.content)),
        Block::List(List { ordered, items }) => {
            list(out, if *ordered { "1." } else { "-" }, items.iter().map(|item| inlines(item)));
        }
        Block::Note(Note { tone: _, title, content }) => {
            let title = title.as_ref().map(|title| format!("**{}**<br>", escape(title))).unwrap_or_default();
            let _ = write!(out, "> {title}{}\n\n", inlines(content));
        }
        Block::Table(table) => write_table(out, table),
        Block::Chart(chart) => write_chart(out, chart),
        Block::FindingCard(card) => write_card(out, card, level),
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
    if let Some(caption) = &block.caption {
        let _ = write!(out, "**{}**\n\n", escape(caption));
    }
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
        Cell::Empty => "–".to_owned(),
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
    }
}

fn write_card(out: &mut String, card: &FindingCard, level: usize) {
    heading(out, level, &card.title);
    let mut lines = vec![format!("**Severity:** {}", card.severity)];
    lines.push(format!("**Vulnerability:** {}", escape(&card.vulnerability_id)));
    lines.extend(card.marks.iter().map(|mark| format!("**{}**", escape(&mark.label))));
    lines.extend(card.score.as_ref().map(|score| format!("**Score:** {score} of 10")));
    lines.extend(card.package.as_ref().map(|package| format!("**Package:** {}", escape(package))));
    lines.extend(card.installed.as_ref().map(|version| format!("**Installed:** {}", escape(version))));
    lines.push(match &card.fix {
        Fix::Version(version) => format!("**Fixed in:** {}", escape(version)),
        Fix::NotAvailable => "**Fixed in:** no fix yet".to_owned(),
        Fix::Unknown => "**Fixed in:** unknown".to_owned(),
    });
    list(out, "-", lines.into_iter());
    facts(out, &card.facts);
    paragraph_of(out, &escape(&card.description));
    let names: Vec<String> = card
        .affected
        .iter()
        .map(|asset| match &asset.detail {
            Some(detail) => format!("{} ({})", escape(&asset.name), escape(detail)),
            None => escape(&asset.name),
        })
        .collect();
    let names = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    paragraph_of(out, &format!("**Affected assets ({})**{names}", card.affected_total));
    list(out, "-", card.evidence.iter().map(|line| code(line)));
    if let Some(remediation) = &card.remediation {
        paragraph_of(out, &format!("**Remediation:** {}", escape(remediation)));
    }
    list(out, "-", card.references.iter().map(link));
}

fn write_freshness(out: &mut String, freshness: &DataFreshness) {
    let titles = ["Source", "Data as of", "Age in hours", "Records", "Status"].map(str::to_owned);
    let unknown = || "–".to_owned();
    let rows = freshness.feeds.iter().map(|feed| {
        vec![
            escape(&feed.feed),
            feed.as_of.map_or_else(unknown, |time| time.format("%Y-%m-%d %H:%M UTC").to_string()),
            feed.age_seconds.map_or_else(unknown, |seconds| (seconds / 3600).to_string()),
            feed.records.map_or_else(unknown, |records| records.to_string()),
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

/// Characters that would hide or reorder text, spelled out.
fn reveal(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\n' | '\r' | '\t') || !is_hidden(character) {
            shown.push(character);
        } else {
            let _ = write!(shown, "⟨U+{:04X}⟩", u32::from(character));
        }
    }
    shown
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
