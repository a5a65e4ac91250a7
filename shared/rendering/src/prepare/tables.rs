//! Tables on a page: rows up to a limit, column widths in shares, cells that fit.

use domain::document::{Block, Cell, Column, ColumnKind, Orientation, Sheet, Status, Table, Truncated};

use super::{HEADING, PHRASE, Place, SHORT, line, set, set_fact, set_link, set_option};

pub(super) fn set_table(table: &mut Table, orientation: Orientation) {
    let Table { id: _, caption, columns, rows, key_columns: _, sheet, shown_rows: _, truncated } = table;
    set_option(caption, HEADING);
    if let Some(Sheet { name, preamble }) = sheet {
        set(name, PHRASE);
        preamble.iter_mut().for_each(|fact| set_fact(fact, SHORT));
    }
    if let Some(Truncated { total_rows: _, rest }) = truncated {
        set(rest, PHRASE);
    }

    let full_line = full_line(orientation).saturating_sub(2 * columns.len());
    widen_for_words(columns, rows, full_line);
    let total: usize = columns.iter().map(|column| usize::from(characters(column)).min(4 * MAX_SHARE)).sum();
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

/// Columns of words get room for their longest one: `production` broken in two is harder to read than a narrower neighbour.
fn widen_for_words(columns: &mut [Column], rows: &[Vec<Cell>], full_line: usize) {
    let total: usize = columns.iter().map(|column| usize::from(characters(column))).sum();
    for (index, column) in columns.iter_mut().enumerate() {
        let longest = rows
            .iter()
            .take(LOOKED_AT)
            .filter_map(|row| match row.get(index)? {
                Cell::Text(text) | Cell::Status(Status { label: text, tone: _ }) => {
                    text.split_whitespace().map(|word| word.chars().count()).max()
                }
                _ => None,
            })
            .max();
        // A table that is too wide is squeezed, and its columns with it.
        let needed = longest.unwrap_or(0).min(MAX_WHOLE_WORD) * total.max(full_line) / full_line.max(1);
        let needed = u16::try_from(needed).unwrap_or(u16::MAX);
        column.width = Some(characters(column).max(needed));
    }
}

/// Rows that tell how long the words of a column are.
const LOOKED_AT: usize = 500;
/// Longer words are no words: addresses, digests.
const MAX_WHOLE_WORD: usize = 12;

/// Characters on a full line of a table.
fn full_line(orientation: Orientation) -> usize {
    match orientation {
        Orientation::Portrait => 112,
        Orientation::Landscape => 168,
    }
}

/// A table that a page is not wide enough for becomes several, each beginning with the key columns.
pub(super) fn split_wide(block: Block, orientation: Orientation) -> Vec<Block> {
    let Block::Table(table) = block else { return vec![block] };
    let strips = strips(&table.columns, usize::from(table.key_columns), full_line(orientation));
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
            id: table.id.clone(),
        })
    };
    strips.into_iter().enumerate().map(part).collect()
}

/// Which columns stand in which part. Columns are squeezed by a third before a table is split.
fn strips(columns: &[Column], keys: usize, full_line: usize) -> Vec<Vec<usize>> {
    let width = |column: &Column| usize::from(characters(column)).min(MAX_SHARE) + 2;
    let room = full_line * 4 / 3;
    if columns.iter().map(width).sum::<usize>() <= room {
        return vec![(0..columns.len()).collect()];
    }
    let keys = keys.min(columns.len().saturating_sub(1)).min(3);
    let start: usize = columns[..keys].iter().map(width).sum();
    let packed = |room: usize| {
        let mut strips: Vec<Vec<usize>> = Vec::new();
        let mut used = usize::MAX;
        for (index, column) in columns.iter().enumerate().skip(keys) {
            if used.saturating_add(width(column)) > room {
                strips.push((0..keys).collect());
                used = start;
            }
            used += width(column);
            if let Some(strip) = strips.last_mut() {
                strip.push(index);
            }
        }
        strips
    };
    // As few parts as possible, and none of them much narrower than the others.
    let fewest = packed(room).len();
    (room / 2..room).map(packed).find(|strips| strips.len() == fewest).unwrap_or_else(|| packed(room))
}

/// Longer texts are broken into lines rather than given more of the page.
const MAX_SHARE: usize = 40;

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
        Cell::Text(text) => set(text, Place { multiline: true, ..place }),
        Cell::Identifier(text) => set(text, place),
        Cell::Status(Status { label, tone: _ }) => set(label, place),
        Cell::Link(link) => set_link(link, place),
    }
}

#[cfg(test)]
mod tests {
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
