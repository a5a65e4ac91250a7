//! CSV: the document's main table, one record per row, safe to open in a spreadsheet (RFC 4180, ASVS 1.2.10).
//!
//! All rows or none: whoever reads records has no use for a remark among them, and without one a part passes for the whole.

use std::io::Write;

use csv::{QuoteStyle, Terminator, WriterBuilder};
use domain::{
    document::{Cell, Document, Format, Link, Status, Truncated},
    spreadsheet::inert,
};

use crate::{Options, RenderError};

pub(crate) fn write(
    document: &Document,
    options: &Options,
    output: &mut dyn Write,
) -> Result<(), RenderError> {
    let table = document.main_table().ok_or_else(|| RenderError::UnsupportedFormat {
        report: document.report_type.clone(),
        format: Format::Csv,
    })?;
    if let Some(Truncated { total_rows, rest: _ }) = table.truncated {
        return Err(RenderError::Partial { table: table.id.clone(), rows: table.row_count(), total_rows });
    }
    if options.csv_bom {
        output.write_all("\u{feff}".as_bytes())?;
    }
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .quote_style(QuoteStyle::Necessary)
        .from_writer(output);
    writer.write_record(table.columns.iter().map(|column| inert(&column.title).into_owned()))?;
    for row in table.every_row()? {
        writer.write_record(row?.iter().map(field))?;
    }
    Ok(writer.flush()?)
}

fn field(cell: &Cell) -> String {
    match cell {
        Cell::Empty => String::new(),
        Cell::Text(text) | Cell::Identifier(text) => inert(text).into_owned(),
        Cell::Number(number) => number.to_string(),
        Cell::Date(date) => date.to_string(),
        Cell::Severity(severity) => severity.to_string(),
        Cell::Status(Status { label, tone: _ }) => inert(label).into_owned(),
        Cell::Link(Link { text, url }) => inert(if text.is_empty() { url } else { text }).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_and_negative_numbers_are_written_as_they_are() {
        assert_eq!(inert("openssl"), "openssl");
        assert_eq!(inert("a=b"), "a=b");
        assert_eq!(field(&Cell::number(-2.5)), "-2.5");
    }
}
