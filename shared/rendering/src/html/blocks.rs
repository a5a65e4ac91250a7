//! Sections' blocks: words, tables, charts.

use std::fmt::Write;

use domain::document::{
    Block, Cell, CodeBlock, ColumnKind, DataFreshness, Inline, KeyValues, ListItem, Method, Note, Section,
    Status, Table,
};

use super::{Page, escaped, style::severity_class, tone_class};
use crate::{figure, image, prepare, theme, words};

impl Page {
    pub(super) fn blocks(&mut self, section: &Section, level: usize) {
        let widths = figure::widths(section);
        let mut in_row = false;
        for (block, width) in section.blocks.iter().zip(widths) {
            let narrow = width.is_some_and(|width| width < figure::FULL);
            if narrow != in_row {
                self.raw(if narrow { "<div class=\"charts\">" } else { "</div>" });
                in_row = narrow;
            }
            self.block(block, level, width.unwrap_or(figure::FULL));
        }
        if in_row {
            self.raw("</div>");
        }
    }

    fn block(&mut self, block: &Block, level: usize, width: f64) {
        match block {
            Block::Paragraph(paragraph) => self.paragraphs(&paragraph.content),
            Block::List(list) => self.list(&list.items, if list.ordered { "ol" } else { "ul" }),
            Block::Note(Note { tone, title, content }) => {
                let _ = write!(self.out, "<div class=\"note {}\">", tone_class(*tone));
                self.element("p class=\"title\"", title.as_deref().unwrap_or(theme::tone(*tone).word));
                self.paragraphs(content);
                self.raw("</div>");
            }
            Block::Code(CodeBlock { caption, text }) => {
                if let Some(caption) = caption {
                    self.element("p class=\"label\"", caption);
                }
                self.element("pre", text);
            }
            Block::Picture(picture) => {
                self.raw("<figure>");
                if let Some(caption) = &picture.caption {
                    self.element("figcaption", caption);
                }
                match image::usable(&picture.image) {
                    Some(image) => self.picture(&image),
                    None => {
                        self.element(
                            "p class=\"muted\"",
                            &format!("This picture could not be shown: {}", picture.image.alt),
                        );
                    }
                }
                self.raw("</figure>");
            }
            Block::Table(table) => self.table(table),
            Block::Chart(chart) => {
                let chart = prepare::chart(chart);
                let svg = figure::chart(&chart, &self.palette, width);
                self.figure(&chart.title, &svg);
            }
            Block::Diagram(diagram) => {
                let diagram = prepare::diagram(diagram);
                let svg = figure::diagram(&diagram, &self.palette);
                self.figure(&diagram.title, &svg);
            }
            Block::FindingCard(card) => self.card(card, level),
            Block::Control(control) => self.control(control, level),
            Block::Timeline(timeline) => self.timeline(timeline),
            Block::SignOff(sign_off) => self.sign_off(sign_off),
            Block::Attestation(attestation) => self.attestation(attestation, level),
            Block::KeyValues(KeyValues { entries }) => self.facts(entries),
            Block::DataFreshness(freshness) => self.freshness(freshness),
            Block::Method(method) => self.method(method),
        }
    }

    /// An empty line between runs begins a paragraph.
    pub(super) fn paragraphs(&mut self, content: &[Inline]) {
        if content.is_empty() {
            return;
        }
        self.raw("<p>");
        for inline in content {
            match inline {
                Inline::Text(text) => {
                    for (index, paragraph) in text.replace("\r\n", "\n").split("\n\n").enumerate() {
                        if index > 0 {
                            self.raw("</p><p>");
                        }
                        self.lines(paragraph);
                    }
                }
                other => self.inlines(std::slice::from_ref(other)),
            }
        }
        self.raw("</p>");
    }

    pub(super) fn list(&mut self, items: &[ListItem], tag: &str) {
        if items.is_empty() {
            return;
        }
        let name = tag.split(' ').next().unwrap_or(tag).to_owned();
        let _ = write!(self.out, "<{tag}>");
        for ListItem { content, items } in items {
            self.raw("<li>");
            self.inlines(content);
            self.list(items, &name);
            self.raw("</li>");
        }
        let _ = write!(self.out, "</{name}>");
    }

    fn figure(&mut self, title: &str, svg: &str) {
        self.raw("<figure>");
        self.element("figcaption", title);
        self.raw(&figure::enlarged(svg, ON_SCREEN));
        self.raw("</figure>");
    }

    fn table(&mut self, table: &Table) {
        let name = table.caption.as_deref().or(table.sheet.as_ref().map(|sheet| sheet.name.as_str()));
        if let Some(sheet) = &table.sheet {
            self.facts(&sheet.preamble);
        }
        let label = escaped(name.unwrap_or("Table"));
        let _ = write!(
            self.out,
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{label}\"><table>"
        );
        if let Some(caption) = &table.caption {
            self.element("caption", caption);
        }
        self.raw("<thead><tr>");
        for column in &table.columns {
            let class = if is_number(column.kind) { " class=\"number\"" } else { "" };
            let _ = write!(self.out, "<th scope=\"col\"{class}>{}</th>", escaped(&column.title));
        }
        self.raw("</tr></thead><tbody>");
        let classes: Vec<&str> = table
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| match (column.kind, column.width) {
                (ColumnKind::Number { .. }, _) => " class=\"number\"",
                (ColumnKind::Link, _) if table.rows.iter().all(|row| is_short(&row[index])) => {
                    " class=\"whole\""
                }
                (ColumnKind::Text, Some(28..) | None) => " class=\"wide\"",
                (ColumnKind::Text | ColumnKind::Identifier | ColumnKind::Link, Some(..=12)) => {
                    " class=\"short\""
                }
                (ColumnKind::Text | ColumnKind::Identifier | ColumnKind::Link, _) => " class=\"word\"",
                (ColumnKind::Date | ColumnKind::Severity | ColumnKind::Status, _) => "",
            })
            .collect();
        let keys = usize::from(table.key_columns.min(1));
        for row in &table.rows {
            self.raw("<tr>");
            for (index, (cell, column)) in row.iter().zip(&table.columns).enumerate() {
                let tag = if index < keys { "th" } else { "td" };
                let scope = if index < keys { " scope=\"row\"" } else { "" };
                let _ = write!(self.out, "<{tag}{scope}{}>", classes[index]);
                self.cell(cell, column.kind);
                let _ = write!(self.out, "</{tag}>");
            }
            self.raw("</tr>");
        }
        self.raw("</tbody></table></div>");
        if table.rows.is_empty() {
            self.raw("<p class=\"muted\">No entries.</p>");
        }
        if let Some(truncated) = &table.truncated {
            let shown = words::count(table.rows.len() as u64);
            let total = words::count(truncated.total_rows);
            self.element(
                "p class=\"muted small\"",
                &format!("{shown} of {total} rows shown. {}", truncated.rest),
            );
        }
    }

    fn cell(&mut self, cell: &Cell, kind: ColumnKind) {
        match cell {
            Cell::Empty => self.raw("<span class=\"muted\">–</span>"),
            Cell::Text(text) => self.lines(text),
            Cell::Identifier(text) => self.identifier(text),
            Cell::Number(number) => {
                let decimals = match kind {
                    ColumnKind::Number { decimals } => Some(decimals),
                    _ => None,
                };
                let number = words::number(number, decimals);
                self.raw(&number);
            }
            Cell::Date(date) => {
                let _ = write!(self.out, "<time datetime=\"{date}\">{}</time>", words::date(*date));
            }
            Cell::Severity(severity) => self.severity(*severity),
            Cell::Status(status) => self.status(status),
            Cell::Link(link) => self.link(link),
        }
    }

    /// Long names are broken behind their marks rather than within a part.
    fn identifier(&mut self, text: &str) {
        if text.chars().count() <= LONG_LABEL || text.split(MARKS).any(|part| part.len() > 2 * LONG_LABEL) {
            return self.text(text);
        }
        for part in text.split_inclusive(MARKS) {
            self.text(part);
            if part.ends_with(MARKS) {
                self.raw("<wbr>");
            }
        }
    }

    pub(super) fn severity(&mut self, severity: domain::Severity) {
        let _ = write!(
            self.out,
            "<span class=\"pill {}\">{}</span>",
            severity_class(severity),
            theme::severity(severity).word
        );
    }

    pub(super) fn status(&mut self, status: &Status) {
        let long = if status.label.chars().count() > LONG_LABEL { " long" } else { "" };
        let _ = write!(
            self.out,
            "<span class=\"pill {}{long}\">{}</span>",
            tone_class(status.tone),
            escaped(&status.label)
        );
    }

    fn freshness(&mut self, freshness: &DataFreshness) {
        self.raw("<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Source</th><th scope=\"col\">Data as of (UTC)</th>\
                  <th scope=\"col\">Age</th><th scope=\"col\" class=\"number\">Records</th><th scope=\"col\">Status</th></tr>\
                  </thead><tbody>");
        let dash = || "–".to_owned();
        for feed in &freshness.feeds {
            let _ = write!(
                self.out,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td class=\"number\">{}</td><td>",
                escaped(&feed.feed),
                feed.as_of.map_or_else(dash, words::moment),
                feed.age_seconds.map_or_else(dash, words::age),
                feed.records.map_or_else(dash, words::count)
            );
            self.status(&feed.status);
            self.raw("</td></tr>");
        }
        self.raw("</tbody></table></div>");
    }

    fn method(&mut self, method: &Method) {
        self.paragraphs(&method.summary);
        if !method.steps.is_empty() {
            self.raw("<ol>");
            for step in &method.steps {
                let _ = write!(self.out, "<li><strong>{}.</strong> ", escaped(&step.label));
                self.inlines(&step.value);
                self.raw("</li>");
            }
            self.raw("</ol>");
        }
        if !method.limitations.is_empty() {
            self.raw("<p class=\"label\">What this does not show</p><ul>");
            for limitation in &method.limitations {
                self.raw("<li>");
                self.inlines(limitation);
                self.raw("</li>");
            }
            self.raw("</ul>");
        }
    }
}

/// Longer ones are broken into lines.
const LONG_LABEL: usize = 28;
/// The number of a vulnerability, which nobody finds again once it is broken.
fn is_short(cell: &Cell) -> bool {
    !matches!(cell, Cell::Link(link) if link.text.chars().count() > SHORT_LINK)
}

/// Characters of the longest: `CVE-2024-123456`, and a little.
const SHORT_LINK: usize = 18;
/// What parts of a name end with.
const MARKS: [char; 6] = [':', '/', '@', '.', '_', '-'];

/// Drawings are sized for paper, where letters are smaller.
const ON_SCREEN: f64 = 1.4;

fn is_number(kind: ColumnKind) -> bool {
    matches!(kind, ColumnKind::Number { .. })
}
