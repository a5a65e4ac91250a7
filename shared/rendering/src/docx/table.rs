//! Tables: a header that is repeated on every page, widths by what the columns hold, strips where a page is too narrow.

use std::fmt::Write;

use domain::document::{Cell, Column, ColumnKind, Fact, Inline, Orientation, Section, Status, Table};

use super::{
    blocks::TWIPS,
    body::{Body, Letters, PLAIN, STRONG, escaped},
    styles::hex,
};
use crate::{
    measure,
    office::plain,
    prepare::{LETTER, LOOKED_AT, strips, widths_within},
    theme::{self, Shades},
    words,
};

/// Characters of table text that fit on a line of an upright page, and of one that is turned.
const UPRIGHT: usize = 110;
const TURNED: usize = 170;
/// By so much letters take more than those that are measured. They are a little larger, and which typeface there is where the document is
/// opened nobody knows: this leaves the usual ones some room.
const LARGER: f64 = 1.125;
/// Points between the edge of a cell and its text, with a little room.
const SIDE: f64 = 4.5;
/// Sections with wider tables are turned.
const MANY_COLUMNS: usize = 8;
/// A table of so many rows is not parted.
const FEW_ROWS: usize = 8;
/// Characters of a labelled value that may go over the end of a page.
const LONG_VALUE: usize = 1_500;
/// Rows of more lines may go over the end of a page.
const MOST_LINES: usize = 30;

/// How a row stands on its page.
#[derive(Clone, Copy)]
pub(super) enum Row {
    /// Repeated on every page.
    Header,
    /// On one page, whatever comes after it.
    Whole,
    /// On one page with the row that follows.
    WithNext,
    /// Over the end of a page, if it must.
    Long,
}

impl Row {
    /// The one at `place` of so many: a short table stays together, and of a long one no row stands alone at either end of it.
    pub(super) fn of(place: usize, count: usize) -> Self {
        let is_last = place + 1 == count;
        if !is_last && (count <= FEW_ROWS || place == 0 || place + 2 == count) {
            Self::WithNext
        } else {
            Self::Whole
        }
    }
}

/// Whether the pages of a section are turned: because it says so, or because a table of it asks for it.
pub(super) fn wants_landscape(section: &Section) -> bool {
    fn wide(section: &Section) -> bool {
        let table = |block: &domain::document::Block| match block {
            domain::document::Block::Table(table) => table.columns.len() > MANY_COLUMNS,
            _ => false,
        };
        section.blocks.iter().any(table) || section.sections.iter().any(wide)
    }
    section.orientation == Orientation::Landscape || wide(section)
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

/// Twentieths of a point, of each column that stands on a page, by what is in it.
fn widths(table: &Table, strip: &[usize], page: u32) -> Vec<u32> {
    let columns: Vec<Column> = strip.iter().map(|index| table.columns[*index].clone()).collect();
    let rows = table.rows.iter().take(LOOKED_AT);
    let rows: Vec<Vec<Cell>> =
        rows.map(|row| strip.iter().map(|index| row[*index].clone()).collect()).collect();
    let sides = 2.0 * columns.len() as f64;
    let room = (f64::from(page) / TWIPS - sides * SIDE) / LARGER + sides * measure::SIDE;
    let widths = widths_within(room, &columns, &rows);
    let twips = |points| ((f64::from(points) - 2.0 * measure::SIDE) * LARGER + 2.0 * SIDE) * TWIPS;
    // Narrower than the page.
    widths.into_iter().map(|points| twips(points) as u32).collect()
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
        let widths = widths(table, strip, self.text_width());
        self.table_begins("Report", &widths, name);
        self.row_begins(Row::Header);
        for (index, width) in strip.iter().zip(&widths) {
            let column = &table.columns[*index];
            let side = if is_number(column.kind) { "<w:jc w:val=\"right\"/>" } else { "" };
            let title = column.title.as_str();
            self.cell(*width, None, |body| {
                body.paragraph_with("TableTitle", side, |body| body.run(title, PLAIN));
            });
        }
        self.row_ends();
        for (place, row) in table.rows.iter().enumerate() {
            let long = strip.iter().zip(&widths).any(|(index, width)| match &row[*index] {
                Cell::Text(text) | Cell::Identifier(text) | Cell::Status(Status { label: text, tone: _ }) => {
                    let line = f64::from(*width) / TWIPS / LARGER / LETTER;
                    text.chars().count() / (line as usize).max(1) + text.lines().count() > MOST_LINES
                }
                _ => false,
            });
            self.row_begins(if long { Row::Long } else { Row::of(place, table.rows.len()) });
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
            self.row_ends();
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

    pub(super) fn row_begins(&mut self, row: Row) {
        self.raw(match row {
            Row::Header => "<w:tr><w:trPr><w:cantSplit/><w:tblHeader/></w:trPr>",
            Row::Whole | Row::WithNext => "<w:tr><w:trPr><w:cantSplit/></w:trPr>",
            Row::Long => "<w:tr>",
        });
        self.with_next = matches!(row, Row::Header | Row::WithNext);
    }

    pub(super) fn row_ends(&mut self) {
        self.with_next = false;
        self.raw("</w:tr>");
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
        rows: impl ExactSizeIterator<Item = Vec<Inline>>,
    ) {
        let widths = share(self.text_width(), wanted);
        self.table_begins("Report", &widths, None);
        self.row_begins(Row::Header);
        for (title, width) in titles.iter().zip(&widths) {
            self.cell(*width, None, |body| body.line("TableTitle", title));
        }
        self.row_ends();
        let count = rows.len();
        for (place, row) in rows.enumerate() {
            self.row_begins(Row::of(place, count));
            for (value, width) in row.iter().zip(&widths) {
                self.cell(*width, None, |body| {
                    body.paragraph("TableText", |body| body.inlines(std::slice::from_ref(value)));
                });
            }
            self.row_ends();
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
        for (place, fact) in facts.iter().enumerate() {
            let is_long = plain(&fact.value).chars().count() > LONG_VALUE;
            self.row_begins(if is_long { Row::Long } else { Row::of(place, facts.len()) });
            self.cell(widths[0], None, |body| {
                body.paragraph("TableText", |body| body.run(&fact.label, STRONG))
            });
            self.cell(widths[1], None, |body| body.paragraph("TableText", |body| body.inlines(&fact.value)));
            self.row_ends();
        }
        self.table_ends();
    }
}

fn is_number(kind: ColumnKind) -> bool {
    matches!(kind, ColumnKind::Number { .. })
}
