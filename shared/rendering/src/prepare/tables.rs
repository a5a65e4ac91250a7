//! Tables on a page: as wide as it is, with cells that fit.

use domain::document::{Block, Cell, Column, Orientation, Sheet, Status, Table, Truncated};

use super::{
    HEADING, PHRASE, Place, SHORT,
    columns::{LETTER, MAX_SHARE, characters, full_line, strips, widths},
    line, set, set_fact, set_link, set_option,
};
use crate::{
    measure::{SIDE, text_width, title_width},
    sanitise::{printable, unbroken},
};

pub(super) fn set_table(table: &mut Table, orientation: Orientation) {
    let Table { id: _, caption, columns, rows, key_columns: _, sheet, shown_rows: _, truncated, row_file: _ } =
        table;
    set_option(caption, HEADING);
    if let Some(Sheet { name, preamble }) = sheet {
        set(name, PHRASE);
        preamble.iter_mut().for_each(|fact| set_fact(fact, SHORT));
    }
    if let Some(Truncated { total_rows: _, rest }) = truncated {
        set(rest, PHRASE);
    }

    let widths = widths(columns, rows, orientation);
    let places: Vec<Place> = widths
        .iter()
        .map(|points| (room(*points) / LETTER).max(3.0) as usize)
        // Twenty full lines may become forty when they break badly, and a row must fit on a page.
        .map(|characters| line((20 * characters).clamp(40, 400), characters))
        .collect();
    for ((column, place), points) in columns.iter_mut().zip(&places).zip(&widths) {
        let Column { title, kind: _, width, allowed: _, note: _ } = column;
        // On the page, a column's width is in points.
        *width = Some(*points);
        let fits = widest_word(title, title_width).is_some_and(|word| word <= room(*points));
        let place = Place { max_characters: 60, ..*place };
        *title = if fits { unbroken(title, place) } else { printable(title, place) };
    }
    for row in rows {
        for ((cell, place), points) in row.iter_mut().zip(&places).zip(&widths) {
            set_cell(cell, *place, room(*points));
        }
    }
}

/// A table that a page is not wide enough for becomes several, each beginning with the key columns.
pub(super) fn split_wide(block: Block, orientation: Orientation) -> Vec<Block> {
    let Block::Table(table) = block else { return vec![block] };
    let wanted: Vec<usize> =
        table.columns.iter().map(|column| usize::from(characters(column)).min(MAX_SHARE) + 2).collect();
    let strips = strips(&wanted, usize::from(table.key_columns), full_line(orientation));
    if strips.len() < 2 {
        return vec![Block::Table(table)];
    }
    let parts = strips.len();
    let caption = table.caption.clone().or_else(|| table.sheet.as_ref().map(|sheet| sheet.name.clone()));
    let part = |(index, strip): (usize, Vec<usize>)| {
        let caption = caption.as_deref().map(|caption| format!("{caption}, ")).unwrap_or_default();
        Block::Table(Table {
            caption: Some(format!("{caption}part {} of {parts}", index + 1)),
            columns: strip.iter().map(|&column| table.columns[column].clone()).collect(),
            rows: table
                .rows
                .iter()
                .map(|row| strip.iter().filter_map(|&column| row.get(column).cloned()).collect())
                .collect(),
            key_columns: table.key_columns,
            sheet: table.sheet.clone().filter(|_| index == 0),
            shown_rows: table.shown_rows,
            truncated: table.truncated.clone().filter(|_| index + 1 == parts),
            row_file: None,
            id: table.id.clone(),
        })
    };
    strips.into_iter().enumerate().map(part).collect()
}

/// What a line of a column so wide holds.
fn room(points: u16) -> f64 {
    f64::from(points) - 2.0 * SIDE
}

/// `room` is what a line of the cell holds, in points.
fn set_cell(cell: &mut Cell, place: Place, room: f64) {
    let fits = |text: &str| widest_word(text, text_width).is_some_and(|word| word <= room);
    let set_text = |text: &mut String, place| {
        *text = if fits(text) { unbroken(text, place) } else { printable(text, narrow(text, place)) };
    };
    match cell {
        Cell::Empty | Cell::Number(_) | Cell::Date(_) | Cell::Severity(_) => {}
        Cell::Text(text) => set_text(text, Place { multiline: true, ..place }),
        Cell::Identifier(text) => set_text(text, place),
        Cell::Status(Status { label, tone: _ }) => set(label, place),
        Cell::Link(link) => {
            let line = if fits(&link.text) { usize::MAX } else { narrow(&link.text, place).line };
            set_link(link, Place { line, ..place });
        }
    }
}

/// The width of the widest word, if all widths are known.
fn widest_word(text: &str, width: impl Fn(&str) -> Option<f64>) -> Option<f64> {
    text.split_whitespace().try_fold(0.0_f64, |widest, word| Some(widest.max(width(word)?)))
}

/// A word that does not fit, few as its letters may be, has wide ones: figures and capitals.
fn narrow(text: &str, place: Place) -> Place {
    if text.is_ascii() { Place { line: place.line * 4 / 5, ..place } } else { place }
}

#[cfg(test)]
mod tests {
    use domain::document::ColumnKind;

    use super::*;

    #[test]
    fn thirty_one_columns_are_split_and_each_part_begins_with_the_key() {
        let columns: Vec<Column> =
            (0..31).map(|index| Column::new(format!("C{index}"), ColumnKind::Text).width(20)).collect();
        let row: Vec<Cell> = (0..31).map(|index| Cell::text(format!("v{index}"))).collect();
        let table = Table { key_columns: 1, ..Table::new("poam", columns, vec![row]) };
        let parts = split_wide(Block::Table(table), Orientation::Landscape);
        let mut seen = Vec::new();
        for part in &parts {
            let Block::Table(part) = part else { unreachable!() };
            assert_eq!(part.columns[0].title, "C0");
            assert_eq!(part.columns.len(), part.rows[0].len());
            seen.extend(part.columns[1..].iter().map(|column| column.title.clone()));
        }
        assert_eq!(seen, (1..31).map(|index| format!("C{index}")).collect::<Vec<_>>());
        assert!((3..=5).contains(&parts.len()), "{}", parts.len());
    }

    #[test]
    fn a_table_that_fits_stays_whole() {
        let columns = vec![Column::new("A", ColumnKind::Text); 3];
        let parts = split_wide(Block::Table(Table::new("t", columns, vec![])), Orientation::Portrait);
        assert_eq!(parts.len(), 1);
    }
}
