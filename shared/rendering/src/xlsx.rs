//! XLSX: a workbook to go on working in. A summary, one sheet for each table, and sheets for what is no table.
//!
//! Strings are written as strings, never as formulas, and those that begin like one keep their quote mark, so that not
//! even editing a cell makes it one. Excel's limits (Excel specifications and limits, Microsoft) are met here: long
//! cells end in a note, long tables go on in further sheets, names of sheets are made legal and unique.
//! [`sheet`] writes a table, [`summary`] the first sheet, [`derived`] makes tables of cards, controls and prose.

mod derived;
mod names;
mod sheet;
mod styles;
mod summary;

use domain::document::{Block, Document, Format, Section, Table};
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Workbook, Worksheet, XlsxError};

use self::{names::Names, sheet::Part, styles::Styles};
use crate::{Options, RenderError, Rendered, office, theme::Palette};

/// Rows of a sheet, its header among them.
const MAX_ROWS: usize = 1_048_576;
/// Tables with more rows are written through a temporary file, cell by cell.
const STREAMED_ROWS: usize = 5_000;

pub(crate) fn render(document: &Document, options: &Options) -> Result<Rendered, RenderError> {
    render_split(document, options, MAX_ROWS)
}

fn render_split(document: &Document, options: &Options, max_rows: usize) -> Result<Rendered, RenderError> {
    let derived = derived::tables(document);
    let mut tables = Vec::new();
    gather(&document.sections, &mut tables);
    gather(&document.appendices, &mut tables);
    tables.extend(derived.iter().map(|table| (table.id.as_str(), table)));
    let mut names = Names::default();
    let summary = names.take("Summary");
    let parts: Vec<Part<'_>> = tables
        .into_iter()
        .flat_map(|(heading, table)| sheet::parts(table, heading, max_rows, &mut names))
        .collect();
    let lists = sheet::lists(&parts);
    let lists_name = (!lists.is_empty()).then(|| names.take("Lists"));

    let mut workbook = Workbook::new();
    workbook.set_properties(&properties(document));
    let styles = Styles::new(&Palette::of(&options.branding));
    let page = Page::new(document);
    let first = workbook.add_worksheet().set_name(&summary)?;
    page.set(first);
    summary::write(first, document, options, &parts, &styles)?;
    for (index, part) in parts.iter().enumerate() {
        let streamed = part.rows.len() > STREAMED_ROWS;
        let sheet = add_worksheet(&mut workbook, streamed)?.set_name(&part.name)?;
        page.set(sheet);
        sheet::write(sheet, part, index, &lists, lists_name.as_deref(), &styles)?;
    }
    if let Some(name) = lists_name {
        sheet::write_lists(workbook.add_worksheet().set_name(name)?, &lists, &styles)?;
    }
    Ok(Rendered::new(Format::Xlsx, workbook.save_to_buffer()?))
}

/// The tables with the headings that they stand under.
fn gather<'a>(sections: &'a [Section], into: &mut Vec<(&'a str, &'a Table)>) {
    for section in sections {
        into.extend(section.blocks.iter().filter_map(|block| match block {
            Block::Table(table) => Some((section.heading.as_str(), table)),
            _ => None,
        }));
        gather(&section.sections, into);
    }
}

/// A sheet that keeps its cells in a file rather than in memory, where there is a place for one.
fn add_worksheet(workbook: &mut Workbook, streamed: bool) -> Result<&mut Worksheet, XlsxError> {
    if streamed && tempfile::tempfile().is_ok() {
        return workbook.add_worksheet_with_constant_memory();
    }
    Ok(workbook.add_worksheet())
}

fn properties(document: &Document) -> DocProperties {
    let cover = &document.cover;
    let text = |text: &str| office::literal(text).chars().take(250).collect::<String>();
    let option = |option: &Option<String>| option.as_deref().map(text).unwrap_or_default();
    let mut properties = DocProperties::new()
        .set_title(text(&cover.title))
        .set_subject(option(&cover.subtitle))
        .set_author(option(&cover.prepared_by))
        .set_company(text(&cover.organization))
        .set_keywords(text(&cover.document_number))
        .set_category(office::banner(document).as_deref().map(text).unwrap_or_default())
        .set_status(option(&cover.version))
        .set_custom_property("Document number", text(&cover.document_number).as_str());
    if let Some(banner) = office::banner(document) {
        properties = properties.set_custom_property("Classification", text(&banner).as_str());
    }
    match styles::moment(cover.generated_at) {
        Some(moment) => properties.set_creation_datetime(&moment),
        // Before 1900 there is no time that a workbook could say. Any fixed one keeps the bytes the same.
        None => properties.set_creation_datetime(&ExcelDateTime::default()),
    }
}

/// Head, foot and shape of the printed pages.
struct Page {
    header: String,
    footer: String,
}

impl Page {
    fn new(document: &Document) -> Self {
        // Excel takes 255 characters for all three parts. An ampersand begins a command, two are one.
        let part = |text: &str, most: usize| {
            let text: String = office::literal(text).chars().take(most).collect();
            text.replace(['\n', '\t'], " ").replace('&', "&&")
        };
        let banner = office::banner(document).map(|banner| part(&banner, 60)).unwrap_or_default();
        let marked = if banner.is_empty() { String::new() } else { format!("&C&\"-,Bold\"{banner}") };
        let number = part(&document.cover.document_number, 30);
        Self {
            header: format!("{marked}&R{}", part(&document.cover.title, 40)),
            footer: format!("&L{number}{marked}&RPage &P of &N"),
        }
    }

    fn set(&self, sheet: &mut Worksheet) {
        const A4: u8 = 9;
        sheet
            .set_header(&self.header)
            .set_footer(&self.footer)
            .set_paper_size(A4)
            .set_landscape()
            .set_print_fit_to_pages(1, 0);
    }
}

#[cfg(test)]
mod tests {
    use domain::document::{Cell, Column, ColumnKind};

    use super::*;

    #[test]
    fn a_table_longer_than_a_sheet_goes_on_in_further_sheets_that_say_so() {
        let rows = (0..25_u64).map(|row| vec![Cell::count(row)]).collect();
        let table = Table::new("findings", vec![Column::new("N", ColumnKind::Number { decimals: 0 })], rows);
        let mut names = Names::default();
        let parts = sheet::parts(&table, "Findings", 12, &mut names);
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["Findings", "Findings (2)", "Findings (3)"]);
        assert_eq!(parts.iter().map(|part| part.rows.len()).sum::<usize>(), 25);
        assert_eq!(parts[1].remark().as_deref(), Some("Rows 10 to 18 of 25; sheet 2 of 3"));
        let document = Document {
            sections: vec![Section { blocks: vec![Block::Table(table)], ..Section::new("s", "S") }],
            ..Document::new("technical", "T", "O", "R-1", chrono::DateTime::UNIX_EPOCH)
        };
        assert!(render_split(&document, &Options::default(), 12).is_ok());
    }
}
