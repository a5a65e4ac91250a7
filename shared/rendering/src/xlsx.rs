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

use std::{io::Write, path::Path};

use domain::document::{Block, Document, RowFile, Section, Table};
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Workbook, Worksheet, XlsxError};

use self::{names::Names, sheet::Part, styles::Styles};
use crate::{Options, RenderError, office, theme::Palette};

/// Rows of a sheet, its header among them.
const MAX_ROWS: u64 = 1_048_576;
/// Tables with more rows are written through a temporary file, cell by cell.
const STREAMED_ROWS: u64 = 5_000;

/// Cells of a sheet that may come to more than the 4 GiB that a part of a ZIP has without its extension for larger ones.
const LARGE: u64 = 10_000_000;

pub(crate) fn write(
    document: &Document,
    options: &Options,
    output: &mut (dyn Write + Send),
) -> Result<(), RenderError> {
    write_split(document, options, MAX_ROWS, output)
}

fn write_split(
    document: &Document,
    options: &Options,
    max_rows: u64,
    output: &mut (dyn Write + Send),
) -> Result<(), RenderError> {
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
    let is_large = |part: &Part<'_>| part.rows * part.table.columns.len() as u64 > LARGE;
    workbook.use_zip_large_file(parts.iter().any(is_large));
    // Rows that come from a file are laid by beside it.
    if let Some(folder) = document.row_files().filter_map(RowFile::path).find_map(Path::parent) {
        workbook.set_tempdir(folder)?;
    }
    let mut rows = None;
    for (index, part) in parts.iter().enumerate() {
        if part.is_first() {
            rows = Some(part.table.every_row()?);
        }
        let rows = rows.iter_mut().flatten().take(usize::try_from(part.rows).unwrap_or(usize::MAX));
        let sheet = add_worksheet(&mut workbook, part)?.set_name(&part.name)?;
        page.set(sheet);
        sheet::write(sheet, part, rows, index, &lists, lists_name.as_deref(), &styles)?;
    }
    if let Some(name) = lists_name {
        let sheet = workbook.add_worksheet().set_name(name)?;
        page.set(sheet);
        sheet::write_lists(sheet, &lists, &styles)?;
    }
    Ok(workbook.save_to_writer(output)?)
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

/// Long sheets keep their cells in a file rather than in memory, where there is a place for one.
fn add_worksheet<'w>(workbook: &'w mut Workbook, part: &Part<'_>) -> Result<&'w mut Worksheet, XlsxError> {
    let is_streamed = part.rows > STREAMED_ROWS;
    if is_streamed && (part.table.row_file.is_some() || tempfile::tempfile().is_ok()) {
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
        let number = part(&document.cover.document_number, 45);
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
        assert_eq!(parts.iter().map(|part| part.rows).sum::<u64>(), 25);
        assert_eq!(parts[1].remark().as_deref(), Some("Rows 10 to 18 of 25; sheet 2 of 3"));
        let document = Document {
            sections: vec![Section { blocks: vec![Block::Table(table)], ..Section::new("s", "S") }],
            ..Document::new("technical", "T", "O", "R-1", chrono::DateTime::UNIX_EPOCH)
        };
        assert!(write_split(&document, &Options::default(), 12, &mut std::io::sink()).is_ok());
    }
}
