//! One table on one sheet: typed cells under a header that stays in view, with filters, colours and lists to choose from.

use std::{borrow::Cow, collections::BTreeMap, io};

use domain::{
    Severity,
    document::{Cell, Column, ColumnKind, Link, Number, Status, Table, Tone},
};
use rust_xlsxwriter::{
    ConditionalFormatCell, ConditionalFormatCellRule, ConditionalFormatFormula, DataValidation,
    DataValidationErrorStyle, Format, Formula, Note, TableColumn, TableStyle, Url, Worksheet, XlsxError,
};

use super::{
    names::{self, Names, cut},
    styles::{self, Styles},
};
use crate::{
    RenderError,
    office::{link_of, literal, plain},
    theme, words,
};

/// UTF-16 code units of a cell.
const MAX_CELL: usize = 32_767;
/// Links of a sheet; further ones are written as text.
const MAX_LINKS: usize = 65_530;
/// Each is kept in memory until the sheet is finished, twice at the end, which streaming is there to avoid. Further addresses
/// stand in the cell as text.
const MAX_STREAMED_LINKS: usize = 10_000;
/// Columns of a sheet.
const MAX_COLUMNS: usize = 16_384;
/// Cells of a sheet that is made a table of Excel's. The writer keeps a note of each cell of one, as long as the sheet is; what is longer
/// has the same filters and stripes without being one.
const MAX_TABLE: u64 = 500_000;
/// Words of a column that get a colour each.
const MAX_COLOURED: usize = 24;
/// Rows above the header that stay in view with it; more would leave no room for the table.
const MAX_FROZEN: u32 = 12;
/// Lines of a cell that are shown at once.
const MAX_LINES: usize = 12;
/// Characters across a printed page; more would be too small to read.
const PAGE_WIDTH: f64 = 230.0;
/// Whole numbers beyond lose digits in a cell, which holds a double.
const MAX_EXACT: u64 = 1 << 53;

/// The rows of a table that go on one sheet.
pub(super) struct Part<'a> {
    pub(super) name: String,
    pub(super) table: &'a Table,
    /// How many.
    pub(super) rows: u64,
    /// Rows of the table on earlier sheets.
    before: u64,
    /// Place among the parts of the table, from 1, and how many there are.
    place: [u64; 2],
}

/// The table on as many sheets as it needs, `max_rows` each. `heading` is what it stands under.
pub(super) fn parts<'a>(table: &'a Table, heading: &str, max_rows: u64, names: &mut Names) -> Vec<Part<'a>> {
    let wanted = table.sheet.as_ref().map(|sheet| sheet.name.as_str());
    let wanted = wanted.or(table.caption.as_deref()).unwrap_or(heading);
    let preamble = table.sheet.as_ref().map_or(0, |sheet| sheet.preamble.len() as u64);
    // Above the first row: labelled values, a remark, an empty row, the header.
    let size = max_rows.saturating_sub(preamble + 3).max(1);
    let all = table.row_count();
    let many = all.div_ceil(size).max(1);
    let part = |index| Part {
        name: names.take(wanted),
        table,
        rows: size.min(all - index * size),
        before: index * size,
        place: [index + 1, many],
    };
    (0..many).map(part).collect()
}

impl Part<'_> {
    /// The table begins with it.
    pub(super) fn is_first(&self) -> bool {
        self.before == 0
    }

    /// What is not on this sheet.
    pub(super) fn remark(&self) -> Option<String> {
        let all = self.table.row_count();
        let [place, many] = self.place;
        let split = (many > 1).then(|| {
            format!(
                "Rows {} to {} of {}; sheet {place} of {many}",
                words::count(self.before + 1),
                words::count(self.before + self.rows),
                words::count(all),
            )
        });
        let shortened = self.table.truncated.as_ref().map(|truncated| {
            format!(
                "{} of {} rows shown. {}",
                words::count(all),
                words::count(truncated.total_rows),
                literal(&truncated.rest)
            )
        });
        let surplus = self.table.columns.len().saturating_sub(MAX_COLUMNS);
        let wide = (surplus > 0).then(|| format!("{} columns do not fit", words::count(surplus as u64)));
        let remarks: Vec<String> = [split, shortened, wide].into_iter().flatten().collect();
        (!remarks.is_empty()).then(|| remarks.join(". "))
    }
}

/// The lists to choose from, each once, in the order of their columns on the sheet that holds them.
pub(super) fn lists(parts: &[Part<'_>]) -> Vec<Vec<String>> {
    let mut lists: Vec<Vec<String>> = Vec::new();
    for column in parts.iter().flat_map(|part| &part.table.columns) {
        let list = choices(column);
        if !list.is_empty() && !lists.contains(&list) {
            lists.push(list);
        }
    }
    lists
}

fn choices(column: &Column) -> Vec<String> {
    if column.allowed.is_empty() && column.kind == ColumnKind::Severity {
        return Severity::ALL.map(|severity| theme::severity(severity).word.to_owned()).to_vec();
    }
    column.allowed.iter().map(|word| cell_text(word).into_owned()).collect()
}

pub(super) fn write_lists(
    sheet: &mut Worksheet,
    lists: &[Vec<String>],
    styles: &Styles,
) -> Result<(), XlsxError> {
    for (column, list) in (0..).zip(lists) {
        sheet.set_column_width(column, 28)?;
        sheet.write_string_with_format(0, column, format!("List {}", column + 1), &styles.header)?;
        for (row, word) in (1..).zip(list) {
            write_text(sheet, row, column, word, styles)?;
        }
    }
    sheet.set_freeze_panes(1, 0)?;
    Ok(())
}

/// `rows` are those of `part`, `index` the sheet's place among those of tables, `lists_name` the sheet with the lists.
pub(super) fn write<'t>(
    sheet: &mut Worksheet,
    part: &Part<'_>,
    rows: impl Iterator<Item = io::Result<Cow<'t, [Cell]>>>,
    index: usize,
    lists: &[Vec<String>],
    lists_name: Option<&str>,
    styles: &Styles,
) -> Result<(), RenderError> {
    let columns = &part.table.columns[..part.table.columns.len().min(MAX_COLUMNS)];
    let wrapped = part.rows <= super::STREAMED_ROWS;
    let mut widths: Vec<f64> = columns.iter().map(width).collect();
    // Labels above the table stand in its first column, each beside its value.
    let labels = part.table.sheet.iter().flat_map(|sheet| &sheet.preamble);
    let longest = labels.map(|fact| fact.label.chars().count() + 2).max().unwrap_or(0).min(30);
    widths[0] = widths[0].max(f64::from(u8::try_from(longest).unwrap_or(30)));
    let pages = (widths.iter().sum::<f64>() / PAGE_WIDTH).ceil().clamp(1.0, 50.0);
    // Between 1 and 50.
    sheet.set_print_fit_to_pages(pages as u16, 0);
    if pages > 1.0 && part.table.key_columns > 0 {
        sheet.set_repeat_columns(0, part.table.key_columns - 1)?;
    }
    for ((place, column), width) in (0..).zip(columns).zip(&widths) {
        sheet.set_column_width(place, *width)?;
        sheet.set_column_format(place, &styles.column(column.kind, wrapped))?;
    }
    let header = preamble(sheet, part, styles)?;
    let titles = names::titles(columns.iter().map(|column| column.title.as_str()));
    let last_column = u16::try_from(columns.len() - 1).unwrap_or(u16::MAX);
    // A table has a row even when there is nothing to say.
    let last = header + u32::try_from(part.rows.max(1)).unwrap_or(u32::MAX);
    let is_table = part.rows * columns.len() as u64 <= MAX_TABLE;
    if is_table {
        let headers: Vec<TableColumn> = titles
            .iter()
            .map(|title| TableColumn::new().set_header(title).set_header_format(&styles.header))
            .collect();
        let table = rust_xlsxwriter::Table::new()
            .set_name(format!("Table{}", index + 1))
            .set_style(TableStyle::Light1)
            .set_columns(&headers);
        sheet.add_table(header, 0, last, last_column, &table)?;
    } else {
        for (place, title) in (0..).zip(&titles) {
            sheet.write_string_with_format(header, place, title, &styles.header)?;
        }
        sheet.autofilter(header, 0, last, last_column)?;
    }
    // The arrow of the filter takes room beside the title.
    let title_lines = titles.iter().zip(&widths).map(|(title, width)| lines(title, (width - ARROW).max(1.0)));
    sheet.set_row_height(header, height(title_lines.max().unwrap_or(1)))?;
    let frozen = if header < MAX_FROZEN { header + 1 } else { 0 };
    sheet.set_freeze_panes(frozen, part.table.key_columns.min(last_column))?;
    sheet.set_repeat_rows(header, header)?;

    for (place, column) in (0..).zip(columns) {
        if let Some(note) = &column.note {
            sheet.insert_note(header, place, &Note::new(cut(&literal(note), 1_000)).set_author(""))?;
        }
        let list = choices(column);
        if let (Some(sheet_name), Some(list_index)) =
            (lists_name, lists.iter().position(|other| *other == list))
        {
            let range = list_range(sheet_name, list_index, list.len());
            // What is already there stays, even if it is none of the words: a warning, not a lock.
            let validation = DataValidation::new()
                .allow_list_formula(Formula::new(range))
                .set_error_style(DataValidationErrorStyle::Warning);
            sheet.add_data_validation(header + 1, place, last, place, &validation)?;
        }
    }
    if part.rows == 0 {
        sheet.write_string(header + 1, 0, "No entries.")?;
    }
    let mut links_left = if wrapped { MAX_LINKS } else { MAX_STREAMED_LINKS };
    let mut tones = vec![BTreeMap::new(); columns.len()];
    for (row, cells) in (header + 1..).zip(rows) {
        let cells = cells?;
        if wrapped {
            let lines =
                cells.iter().zip(&widths).map(|(cell, width)| cell_lines(cell, *width)).max().unwrap_or(1);
            sheet.set_row_height(row, height(lines.min(MAX_LINES)))?;
        }
        for ((place, column), cell) in (0..).zip(columns).zip(cells.as_ref()) {
            write_cell(sheet, [row, place], cell, column.kind, &mut links_left, styles)?;
        }
        for ((tones, column), cell) in tones.iter_mut().zip(columns).zip(cells.as_ref()) {
            note_tone(tones, column, cell);
        }
    }
    // Behind the rows, which tell what words there are.
    for ((place, column), tones) in (0..).zip(columns).zip(tones) {
        for (word, format) in coloured(column, tones) {
            let rule = ConditionalFormatCell::new()
                .set_rule(ConditionalFormatCellRule::EqualTo(word.as_str()))
                .set_format(format);
            sheet.add_conditional_format(header + 1, place, last, place, &rule)?;
        }
    }
    if !is_table {
        // Stripes like a table's, behind the colours of words.
        let rule = ConditionalFormatFormula::new()
            .set_rule(format!("=MOD(ROW(),2)={}", header % 2).as_str())
            .set_format(&styles.stripe);
        sheet.add_conditional_format(header + 1, 0, last, last_column, &rule)?;
    }
    Ok(())
}

/// What stands above the header; the answer is the header's row.
fn preamble(sheet: &mut Worksheet, part: &Part<'_>, styles: &Styles) -> Result<u32, XlsxError> {
    let mut row = 0;
    for fact in part.table.sheet.iter().flat_map(|sheet| &sheet.preamble) {
        sheet.write_string_with_format(row, 0, cell_text(&fact.label), &styles.label_in_line)?;
        sheet.write_string_with_format(row, 1, cell_text(&plain(&fact.value)), &styles.value_in_line)?;
        row += 1;
    }
    if let Some(remark) = part.remark() {
        sheet.write_string_with_format(row, 0, cell_text(&remark), &styles.muted)?;
        row += 1;
    }
    Ok(if row > 0 { row + 1 } else { 0 })
}

/// Lines that a text takes up in a column of so many characters. Programs differ in whether they find out themselves.
pub(super) fn lines(text: &str, width: f64) -> usize {
    // A column has at least eight characters.
    let width = width as usize;
    text.split('\n').map(|line| line.chars().count().div_ceil(width.max(1)).max(1)).sum()
}

fn cell_lines(cell: &Cell, width: f64) -> usize {
    match cell {
        Cell::Text(text) | Cell::Identifier(text) | Cell::Status(Status { label: text, tone: _ }) => {
            lines(text, width)
        }
        Cell::Link(_) | Cell::Empty | Cell::Number(_) | Cell::Date(_) | Cell::Severity(_) => 1,
    }
}

/// Points that so many lines are high, as far as a row can be.
pub(super) fn height(lines: usize) -> f64 {
    f64::from(u16::try_from(lines.max(1)).unwrap_or(27).min(27)) * 15.0
}

/// Characters that the arrow of a filter takes beside a title.
const ARROW: f64 = 4.0;

/// Characters across, which is how Excel measures columns.
fn width(column: &Column) -> f64 {
    let usual = match column.kind {
        ColumnKind::Text => 44,
        ColumnKind::Number { .. } => 12,
        ColumnKind::Date => 13,
        ColumnKind::Severity => 12,
        ColumnKind::Status => 20,
        ColumnKind::Link => 32,
        ColumnKind::Identifier => 24,
    };
    let longest_word = column.title.split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0);
    let wanted = usize::from(column.width.unwrap_or(usual)).max(longest_word.min(30) + ARROW as usize);
    f64::from(u16::try_from(wanted.clamp(8, 70)).unwrap_or(70))
}

/// `'Lists'!$B$2:$B$5`.
fn list_range(sheet: &str, column: usize, rows: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = column + 1;
    while rest > 0 {
        rest -= 1;
        letters.push(char::from(b'A' + u8::try_from(rest % 26).unwrap_or(0)));
        rest /= 26;
    }
    let letters: String = letters.into_iter().rev().collect();
    format!("='{}'!${letters}$2:${letters}${}", sheet.replace('\'', "''"), rows + 1)
}

/// Remembers the first words of a column of statuses, and what each means.
fn note_tone(tones: &mut BTreeMap<String, Tone>, column: &Column, cell: &Cell) {
    if let (ColumnKind::Status, Cell::Status(Status { label, tone })) = (column.kind, cell)
        && tones.len() < MAX_COLOURED
        && !tones.contains_key(label)
    {
        tones.insert(label.clone(), *tone);
    }
}

/// The words of a column that a colour goes with, wherever somebody types them.
fn coloured(column: &Column, tones: BTreeMap<String, Tone>) -> Vec<(String, Format)> {
    match column.kind {
        ColumnKind::Severity => Severity::ALL
            .map(|severity| {
                let shades = theme::severity(severity);
                (shades.word.to_owned(), styles::shaded(shades))
            })
            .to_vec(),
        ColumnKind::Status => tones
            .into_iter()
            // The word stands in a formula, where a quotation mark would end it.
            .filter(|(label, _)| label.len() <= 100 && !label.contains('"') && *label == literal(label))
            .filter_map(|(label, tone)| Some((label, styles::toned(tone)?)))
            .collect(),
        ColumnKind::Text
        | ColumnKind::Number { .. }
        | ColumnKind::Date
        | ColumnKind::Link
        | ColumnKind::Identifier => Vec::new(),
    }
}

fn write_cell(
    sheet: &mut Worksheet,
    [row, column]: [u32; 2],
    cell: &Cell,
    kind: ColumnKind,
    links_left: &mut usize,
    styles: &Styles,
) -> Result<(), XlsxError> {
    let column = u16::try_from(column).unwrap_or(u16::MAX);
    match cell {
        Cell::Empty => return Ok(()),
        Cell::Text(text) | Cell::Identifier(text) | Cell::Status(Status { label: text, tone: _ }) => {
            return write_text(sheet, row, column, text, styles);
        }
        Cell::Severity(severity) => sheet.write_string(row, column, theme::severity(*severity).word)?,
        Cell::Number(number) => match exact(number) {
            Some(value) if matches!(kind, ColumnKind::Number { .. }) => {
                sheet.write_number(row, column, value)?
            }
            Some(value) => sheet.write_number_with_format(row, column, value, &styles.number)?,
            None => sheet.write_string(row, column, number.to_string())?,
        },
        Cell::Date(date) => match styles::day(*date) {
            Some(day) => sheet.write_datetime_with_format(row, column, &day, &styles.date)?,
            None => sheet.write_string(row, column, date.to_string())?,
        },
        Cell::Link(link) => return write_link(sheet, row, column, link, links_left, styles),
    };
    Ok(())
}

/// The number as a cell can hold it without a change.
pub(super) fn exact(number: &Number) -> Option<f64> {
    if number.as_i64().is_some_and(|whole| whole.unsigned_abs() > MAX_EXACT)
        || number.as_u64().is_some_and(|whole| whole > MAX_EXACT)
    {
        return None;
    }
    number.as_f64().filter(|value| value.is_finite())
}

pub(super) fn write_link(
    sheet: &mut Worksheet,
    row: u32,
    column: u16,
    link: &Link,
    links_left: &mut usize,
    styles: &Styles,
) -> Result<(), XlsxError> {
    match link_of(link) {
        (text, Some(url)) if *links_left > 0 => {
            *links_left -= 1;
            let url = Url::new(url).set_text(cell_text(&text));
            sheet.write_url_with_format(row, column, url, &styles.link)?;
            Ok(())
        }
        (_, Some(_)) => write_text(sheet, row, column, &crate::office::with_address(link), styles),
        (text, None) => write_text(sheet, row, column, &text, styles),
    }
}

/// Text that stays text: what begins like a formula keeps its quote mark when somebody edits it.
pub(super) fn write_text(
    sheet: &mut Worksheet,
    row: u32,
    column: u16,
    text: &str,
    styles: &Styles,
) -> Result<(), XlsxError> {
    let text = cell_text(text);
    let begins_like_a_formula =
        text.trim_start().starts_with(['=', '+', '-', '@', '\'', '＝', '＋', '－', '＠']);
    if begins_like_a_formula {
        sheet.write_string_with_format(row, column, text, &styles.text_as_typed)?;
    } else {
        sheet.write_string(row, column, text)?;
    }
    Ok(())
}

/// As much as a cell holds, and how much is missing.
pub(super) fn cell_text(text: &str) -> Cow<'_, str> {
    let text = literal(text);
    // Never more units than bytes.
    if text.len() <= MAX_CELL || text.encode_utf16().count() <= MAX_CELL {
        return text;
    }
    let kept = cut(&text, MAX_CELL - 40);
    let missing = text.chars().count() - kept.chars().count();
    Cow::Owned(format!("{kept}… [{missing} more characters]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_holds_what_excel_holds_and_says_what_is_missing() {
        assert_eq!(cell_text("openssl"), "openssl");
        let long = "é".repeat(40_000);
        let shown = cell_text(&long);
        assert!(
            shown.encode_utf16().count() <= MAX_CELL && shown.ends_with(" more characters]"),
            "{}",
            shown.len()
        );
    }

    #[test]
    fn a_number_that_a_cell_would_round_is_none() {
        assert_eq!(exact(&Number::from(7)), Some(7.0));
        assert_eq!(exact(&Number::from(u64::MAX)), None);
        assert_eq!(exact(&Number::from(i64::MIN)), None);
    }

    #[test]
    fn lists_are_found_by_the_letters_of_their_column() {
        assert_eq!(list_range("Lists", 0, 3), "='Lists'!$A$2:$A$4");
        assert_eq!(list_range("It's", 27, 1), "='It''s'!$AB$2:$AB$2");
    }
}
