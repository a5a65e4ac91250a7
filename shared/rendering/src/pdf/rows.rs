//! The cells of a table as the page shows them: words, and which of them stand on a ground of their own.
//!
//! A long table is most of a long report, and what is done for each of its cells decides what the report takes. So the cells come ready,
//! as strings and numbers; a mark, the word on a tinted ground, is set once and used wherever it stands; and a row that surely takes one
//! line is told its height: Typst lays out such a row once, where it measures and then lays out any other. Start at [`Grid::of`].

use std::collections::HashMap;

use domain::{
    Severity,
    document::{Cell, Column, ColumnKind, Status, Table, Tone},
};
use serde::Serialize;

use crate::{
    measure::{ABOVE, ROW, SIDE, TEXT, TITLE, mark_width, text_width},
    prepare::SEVERITY,
    words,
};

/// Sizes of cells in points, for the template.
#[derive(Debug, Serialize)]
pub(super) struct Sizes {
    text: f64,
    title: f64,
    side: f64,
    above: f64,
    /// Height of a row of one line.
    row: f64,
}

pub(super) fn sizes() -> Sizes {
    Sizes { text: TEXT, title: TITLE, side: SIDE, above: ABOVE, row: *ROW }
}

/// The rows of one table.
#[derive(Debug, Default, Serialize)]
pub(super) struct Grid<'a> {
    marks: Vec<Mark<'a>>,
    rows: Vec<Vec<Shown<'a>>>,
    /// For each row, whether it surely takes no more than one line.
    one_line: Vec<bool>,
}

/// A word on a tinted ground.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Mark<'a> {
    Severity(Severity),
    Status { label: &'a str, tone: Tone },
}

/// Nothing, a text, a mark by its place among the table's, or a link as text and address.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Nothing,
    Text(&'a str),
    Written(String),
    Mark(usize),
    Link([&'a str; 2]),
}

impl<'a> Grid<'a> {
    /// Of a table whose columns have their widths on the page (`prepare::columns`).
    pub(super) fn of(table: &'a Table) -> Self {
        let mut grid = Self::default();
        let mut places = HashMap::new();
        for row in &table.rows {
            let mut one_line = true;
            let cells = row.iter().zip(&table.columns).map(|(cell, column)| {
                let shown = grid.shown(&mut places, cell, column);
                one_line &= grid.fits(&shown, column);
                shown
            });
            let cells = cells.collect();
            grid.rows.push(cells);
            grid.one_line.push(one_line);
        }
        grid
    }

    fn shown(
        &mut self,
        places: &mut HashMap<(&'a str, Option<u8>), usize>,
        cell: &'a Cell,
        column: &Column,
    ) -> Shown<'a> {
        let mark = match cell {
            Cell::Empty => return Shown::Nothing,
            Cell::Text(text) | Cell::Identifier(text) => return Shown::Text(text),
            Cell::Number(number) => {
                let decimals =
                    if let ColumnKind::Number { decimals } = column.kind { Some(decimals) } else { None };
                return Shown::Written(words::number(number, decimals));
            }
            Cell::Date(date) => return Shown::Written(words::date(*date).replace(' ', "\u{a0}")),
            Cell::Link(link) if link.url.is_empty() => return Shown::Text(&link.text),
            Cell::Link(link) => return Shown::Link([&link.text, &link.url]),
            Cell::Severity(severity) => Mark::Severity(*severity),
            Cell::Status(Status { label, tone }) => Mark::Status { label, tone: *tone },
        };
        let key = match mark {
            Mark::Severity(severity) => (severity.as_str(), None),
            Mark::Status { label, tone } => (label, Some(tone as u8)),
        };
        let place = *places.entry(key).or_insert_with(|| {
            self.marks.push(mark);
            self.marks.len() - 1
        });
        Shown::Mark(place)
    }

    /// Whether it surely fits on one line of its column.
    fn fits(&self, shown: &Shown<'_>, column: &Column) -> bool {
        let width = match shown {
            Shown::Nothing => Some(0.0),
            Shown::Text(text) | Shown::Link([text, _]) => text_width(text),
            Shown::Written(text) => text_width(text),
            Shown::Mark(place) => match self.marks[*place] {
                Mark::Severity(_) => Some(SEVERITY - 2.0 * SIDE),
                Mark::Status { label, .. } => mark_width(label),
            },
        };
        let room = f64::from(column.width.unwrap_or(0)) - 2.0 * SIDE;
        width.is_some_and(|width| width <= room)
    }
}
