//! Tables on a page: rows up to a limit, column widths in shares, cells that fit.

use domain::document::{Cell, Column, ColumnKind, Orientation, Status, Table, Truncated};

use super::{HEADING, PHRASE, Place, line, set, set_link, set_option};

/// Typst needs about 1 ms and 0.15 MB for a row; beyond this the table belongs into a spreadsheet.
pub(super) const MAX_ROWS: usize = 15_000;
const REST: &str = "The complete table is in the CSV and JSON files of this report.";

pub(super) fn set_table(table: &mut Table, orientation: Orientation, rows_left: &mut usize) {
    let Table { id: _, caption, columns, rows, key_columns: _, sheet: _, truncated } = table;
    set_option(caption, HEADING);
    if rows.len() > *rows_left {
        *truncated = Some(Truncated {
            total_rows: truncated.as_ref().map_or(rows.len() as u64, |truncated| truncated.total_rows),
            rest: REST.to_owned(),
        });
        rows.truncate(*rows_left);
    }
    *rows_left -= rows.len();
    if let Some(Truncated { total_rows: _, rest }) = truncated {
        set(rest, PHRASE);
    }

    // Characters on a full line of a table, less the padding between its columns.
    let full_line = match orientation {
        Orientation::Portrait => 112_usize,
        Orientation::Landscape => 168,
    }
    .saturating_sub(2 * columns.len());
    let total: usize = columns.iter().map(|column| usize::from(characters(column))).sum();
    let places: Vec<Place> = columns
        .iter()
        .map(|column| (usize::from(characters(column)) * full_line / total).max(3))
        // Twenty full lines may become forty when they break badly, and a row must fit on a page.
        .map(|characters| line((20 * characters).clamp(40, 400), characters))
        .collect();
    for (column, place) in columns.iter_mut().zip(&places) {
        let characters = characters(column);
        let Column { title, kind, width, allowed: _, note: _ } = column;
        let title_length = title.chars().count();
        // Columns of numbers are narrow; their titles need not be broken for that.
        let title_fits = matches!(kind, ColumnKind::Number { .. }) && title_length <= 14;
        *width = Some(if title_fits { characters.max(title_length as u16) } else { characters });
        set(title, Place { max_characters: 60, line: if title_fits { 20 } else { place.line }, ..*place });
    }
    for row in rows {
        row.iter_mut().zip(&places).for_each(|(cell, place)| set_cell(cell, *place));
    }
}

/// The column's width hint, or what its kind usually needs.
fn characters(column: &Column) -> u16 {
    column
        .width
        .unwrap_or(match column.kind {
            ColumnKind::Text => 30,
            ColumnKind::Number { .. } => 8,
            ColumnKind::Date => 12,
            ColumnKind::Severity | ColumnKind::Status => 12,
            ColumnKind::Link => 19,
            ColumnKind::Identifier => 18,
        })
        .clamp(4, 200)
}

fn set_cell(cell: &mut Cell, place: Place) {
    match cell {
        Cell::Empty | Cell::Number(_) | Cell::Date(_) | Cell::Severity(_) => {}
        Cell::Text(text) | Cell::Identifier(text) => set(text, place),
        Cell::Status(Status { label, tone: _ }) => set(label, place),
        Cell::Link(link) => set_link(link, place),
    }
}
