//! Tables: a header that is repeated on every page, widths by what the columns hold, strips where a page is too narrow.

use std::fmt::Write;

use domain::document::{Cell, Column, ColumnKind, Fact, Inline, Section, Status, Table};

use super::{
    body::{Body, Letters, PLAIN, STRONG, escaped},
    styles::hex,
};
use crate::{
    prepare::strips,
    theme::{self, Shades},
    words,
};

/// Characters of table text that fit on a line of an upright page, and of one that is turned.
const UPRIGHT: usize = 110;
const TURNED: usize = 170;
/// Longer words may be broken: they are names and addresses.
const MOST_OF_A_WORD: usize = 16;
/// `12 Sep 2025`.
const DATE: usize = 11;
/// Rows that tell what a column needs.
const LOOKED_AT: usize = 500;
/// Sections with wider tables are turned.
const MANY_COLUMNS: usize = 8;
/// Rows of more lines may go over the end of a page.
const MOST_LINES: usize = 30;

/// Whether the pages of a section are turned: because it says so, or because a table of it asks for it.
pub(super) fn wants_landscape(section: &Section) -> bool {
    fn wide(section: &Section) -> bool {
        let table = |block: &domain::document::Block| match block {
            domain::document::Block::Table(table) => table.columns.len() > MANY_COLUMNS,
            _ => false,
        };
        section.blocks.iter().any(table) || section.sections.iter().any(wide)
    }
    section.orientation == domain::document::Orientation::Landscape || wide(section)
}

/// Characters that a column asks for; fewer make long texts tall.
fn characters(column: &Column) -> usize {
    let usual = match column.kind {
        ColumnKind::Text => 26,
        ColumnKind::Number { .. } => 8,
        ColumnKind::Date => 11,
        ColumnKind::Severity => 10,
        ColumnKind::Status => 12,
        ColumnKind::Link => 18,
        ColumnKind::Identifier => 17,
    };
    let longest = column.title.split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0);
    // Titles are bold, and set in a wider font where the document's own is missing.
    usize::from(column.width.unwrap_or(usual)).clamp(4, 40).max(longest.min(14) * 5 / 4 + 3)
}

/// The longest word of a column, as far as it is one; addresses and digests may be broken. A date must not.
fn longest_word(table: &Table, index: usize) -> usize {
    let words = table.rows.iter().take(LOOKED_AT).filter_map(|row| match &row[index] {
        Cell::Text(text) | Cell::Identifier(text) | Cell::Status(Status { label: text, tone: _ }) => {
            Some(text.as_str())
        }
        Cell::Link(link) => Some(link.text.as_str()),
        _ => None,
    });
    let longest = words
        .flat_map(str::split_whitespace)
        .map(|word| word.chars().count())
        .filter(|length| *length <= MOST_OF_A_WORD)
        .max();
    let date = (table.columns[index].kind == ColumnKind::Date).then_some(DATE);
    longest.max(date).map_or(0, |length| length * 6 / 5 + 3)
}

/// What the columns ask for; where that is more than a line, columns of words give way to those whose content has one length, as far
/// as their words stay whole.
fn squeezed(table: &Table, strip: &[usize], line: usize) -> Vec<usize> {
    let columns: Vec<&Column> = strip.iter().map(|index| &table.columns[*index]).collect();
    let least: Vec<usize> = strip.iter().map(|index| longest_word(table, *index)).collect();
    let wanted: Vec<usize> =
        columns.iter().zip(&least).map(|(column, least)| characters(column).max(*least)).collect();
    let is_rigid = |column: &Column| {
        matches!(column.kind, ColumnKind::Severity | ColumnKind::Date | ColumnKind::Number { .. })
    };
    let sum = |rigid: bool| -> usize {
        columns
            .iter()
            .zip(&wanted)
            .filter(|(column, _)| is_rigid(column) == rigid)
            .map(|(_, wanted)| wanted)
            .sum()
    };
    let (rigid, flexible) = (sum(true), sum(false));
    // A table of nothing but numbers is squeezed as a whole.
    if rigid + flexible <= line || rigid * 2 > line {
        return wanted;
    }
    let given = |((column, wanted), least): ((&&Column, &usize), &usize)| {
        if is_rigid(column) { *wanted } else { (wanted * (line - rigid) / flexible.max(1)).max(*least) }
    };
    columns.iter().zip(&wanted).zip(&least).map(given).collect()
}

/// Shares of the width in proportion to `wanted`.
pub(super) fn share(width: u32, wanted: &[usize]) -> Vec<u32> {
    let total = wanted.iter().sum::<usize>().max(1) as u64;
    // A share of a width is no more than it.
    wanted.iter().map(|wanted| (u64::from(width) * *wanted as u64 / total) as u32).collect()
}

impl Body {
    pub(super) fn table(&mut self, table: &Table) {
        let name = table.caption.as_deref().or(table.sheet.as_ref().map(|sheet| sheet.name.as_str()));
        if let Some(name) = name {
            self.line("Caption", name);
        }
        if let Some(sheet) = &table.sheet {
            self.facts(&sheet.preamble);
        }
        let wanted: Vec<usize> = table.columns.iter().map(characters).collect();
        let line = if self.landscape { TURNED } else { UPRIGHT };
        let strips = strips(&wanted, usize::from(table.key_columns), line);
        let many = strips.len();
        for (index, strip) in strips.into_iter().enumerate() {
            if many > 1 {
                self.line("Label", &format!("Columns, part {} of {many}", index + 1));
            }
            self.strip(table, &strip, name);
        }
        if table.rows.is_empty() {
            self.line("Small", "No entries.");
        }
        if let Some(truncated) = &table.truncated {
            let (shown, total) = (words::count(table.rows.len() as u64), words::count(truncated.total_rows));
            self.line("Small", &format!("{shown} of {total} rows shown. {}", truncated.rest));
        }
    }

    fn strip(&mut self, table: &Table, strip: &[usize], name: Option<&str>) {
        let wanted = squeezed(table, strip, if self.landscape { TURNED } else { UPRIGHT });
        let widths = share(self.text_width(), &wanted);
        self.table_begins("Report", &widths, name);
        self.row_begins(true, true);
        for (index, width) in strip.iter().zip(&widths) {
            let column = &table.columns[*index];
            let style = if is_number(column.kind) { "TableNumber" } else { "TableText" };
            let title = column.title.as_str();
            self.cell(*width, None, |body| body.paragraph(style, |body| body.run(title, STRONG)));
        }
        self.raw("</w:tr>");
        for row in &table.rows {
            let long = strip.iter().zip(&wanted).any(|(index, line)| match &row[*index] {
                Cell::Text(text) | Cell::Identifier(text) | Cell::Status(Status { label: text, tone: _ }) => {
                    text.chars().count() / line + text.lines().count() > MOST_LINES
                }
                _ => false,
            });
            self.row_begins(false, !long);
            for (index, width) in strip.iter().zip(&widths) {
                let kind = table.columns[*index].kind;
                let cell = &row[*index];
                let (style, fill) = match cell {
                    Cell::Number(_) => ("TableNumber", None),
                    Cell::Severity(severity) => ("TableText", Some(theme::severity(*severity))),
                    Cell::Status(Status { label: _, tone }) if *tone != domain::document::Tone::Neutral => {
                        ("TableText", Some(theme::tone(*tone)))
                    }
                    _ => ("TableText", None),
                };
                self.cell(*width, fill, |body| body.paragraph(style, |body| body.value(cell, kind, fill)));
            }
            self.raw("</w:tr>");
        }
        self.table_ends();
    }

    fn value(&mut self, cell: &Cell, kind: ColumnKind, shades: Option<Shades>) {
        let word = Letters { shades, ..PLAIN };
        match cell {
            Cell::Empty => self.run("–", PLAIN),
            Cell::Text(text) | Cell::Identifier(text) => self.run(text, PLAIN),
            Cell::Number(number) => {
                let decimals = match kind {
                    ColumnKind::Number { decimals } => Some(decimals),
                    _ => None,
                };
                self.run(&words::number(number, decimals), PLAIN);
            }
            Cell::Date(date) => self.run(&words::date(*date), PLAIN),
            Cell::Severity(severity) => self.run(theme::severity(*severity).word, word),
            Cell::Status(status) => self.run(&status.label, word),
            Cell::Link(link) => self.link(link),
        }
    }

    /// `name` is read out to those who cannot see the table.
    pub(super) fn table_begins(&mut self, style: &str, widths: &[u32], name: Option<&str>) {
        let total: u32 = widths.iter().sum();
        let mut xml = format!(
            "<w:tbl><w:tblPr><w:tblStyle w:val=\"{style}\"/><w:tblW w:w=\"{total}\" w:type=\"dxa\"/>\
             <w:tblLayout w:type=\"fixed\"/><w:tblLook w:val=\"0020\" w:firstRow=\"1\" w:lastRow=\"0\" w:firstColumn=\"0\" \
             w:lastColumn=\"0\" w:noHBand=\"1\" w:noVBand=\"1\"/>"
        );
        if let Some(name) = name {
            let _ = write!(
                xml,
                "<w:tblCaption w:val=\"{}\"/>",
                escaped(&name.chars().take(250).collect::<String>())
            );
        }
        xml.push_str("</w:tblPr><w:tblGrid>");
        for width in widths {
            let _ = write!(xml, "<w:gridCol w:w=\"{width}\"/>");
        }
        xml.push_str("</w:tblGrid>");
        self.raw(&xml);
    }

    /// Two tables that follow one another would become one.
    pub(super) fn table_ends(&mut self) {
        self.raw("</w:tbl>");
        self.gap();
    }

    /// A little white between what has no space of its own.
    pub(super) fn gap(&mut self) {
        self.raw("<w:p><w:pPr><w:pStyle w:val=\"Small\"/><w:spacing w:after=\"60\" w:line=\"120\" w:lineRule=\"exact\"/></w:pPr></w:p>");
    }

    pub(super) fn row_begins(&mut self, header: bool, whole: bool) {
        self.raw(match (header, whole) {
            (true, _) => "<w:tr><w:trPr><w:cantSplit/><w:tblHeader/></w:trPr>",
            (false, true) => "<w:tr><w:trPr><w:cantSplit/></w:trPr>",
            (false, false) => "<w:tr>",
        });
    }

    /// `content` writes at least one paragraph.
    pub(super) fn cell(&mut self, width: u32, fill: Option<Shades>, content: impl FnOnce(&mut Self)) {
        let fill = fill.map(|shades| hex(shades.tint));
        let fill = fill.map(|fill| format!("<w:shd w:val=\"clear\" w:color=\"auto\" w:fill=\"{fill}\"/>"));
        let fill = fill.unwrap_or_default();
        self.raw(&format!("<w:tc><w:tcPr><w:tcW w:w=\"{width}\" w:type=\"dxa\"/>{fill}</w:tcPr>"));
        content(self);
        self.raw("</w:tc>");
    }

    /// Rows of our own words under titles.
    pub(super) fn small_table(
        &mut self,
        titles: &[&str],
        wanted: &[usize],
        rows: impl Iterator<Item = Vec<Inline>>,
    ) {
        let widths = share(self.text_width(), wanted);
        self.table_begins("Report", &widths, None);
        self.row_begins(true, true);
        for (title, width) in titles.iter().zip(&widths) {
            self.cell(*width, None, |body| body.paragraph("TableText", |body| body.run(title, STRONG)));
        }
        self.raw("</w:tr>");
        for row in rows {
            self.row_begins(false, true);
            for (value, width) in row.iter().zip(&widths) {
                self.cell(*width, None, |body| {
                    body.paragraph("TableText", |body| body.inlines(std::slice::from_ref(value)));
                });
            }
            self.raw("</w:tr>");
        }
        self.table_ends();
    }

    /// Labels with their values beside them.
    pub(super) fn facts(&mut self, facts: &[Fact]) {
        if facts.is_empty() {
            return;
        }
        let widths = share(self.text_width(), &[3, 7]);
        self.table_begins("Facts", &widths, None);
        for fact in facts {
            self.row_begins(false, false);
            self.cell(widths[0], None, |body| {
                body.paragraph("TableText", |body| body.run(&fact.label, STRONG))
            });
            self.cell(widths[1], None, |body| body.paragraph("TableText", |body| body.inlines(&fact.value)));
            self.raw("</w:tr>");
        }
        self.table_ends();
    }
}

fn is_number(kind: ColumnKind) -> bool {
    matches!(kind, ColumnKind::Number { .. })
}
