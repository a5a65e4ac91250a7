//! The rows of long tables: the first of them are held, all go to a file, one after another as the database tells them.

use std::path::PathBuf;

use domain::document::{Cell, ReportOptions, RowWriter, SHOWN_ROWS, Table, Truncated};
use store::{Error, Result};

/// Rows that a table has at most: an Excel sheet holds 1,048,576. What goes beyond is an export's business (`store::exports`).
const MOST_ROWS: u64 = 1_000_000;

/// Said where a table had to stop there.
const REST: &str = "A report holds 1,000,000 rows of a table: narrow it down, or take them from GET /api/export/csv, which has no limit.";

/// Takes the rows of one report's tables.
#[derive(Debug)]
pub struct Spool<'o> {
    folder: PathBuf,
    /// Rows that these leave out are neither held nor counted.
    options: &'o ReportOptions,
    /// Longer tables go to files.
    held: usize,
    most: u64,
}

impl<'o> Spool<'o> {
    /// Rows of long tables go to files in `folder`, which is this report's alone.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, options: &'o ReportOptions) -> Self {
        Self { folder: folder.into(), options, held: SHOWN_ROWS, most: MOST_ROWS }
    }

    /// Begins to take the rows of `table`, which has none yet.
    pub(crate) fn fill(&self, table: Table) -> Filling<'_> {
        Filling { spool: self, table, count: 0, file: None }
    }
}

/// A table that is being filled.
#[derive(Debug)]
pub(crate) struct Filling<'s> {
    spool: &'s Spool<'s>,
    table: Table,
    /// Rows so far, those beyond the most that a table has among them.
    count: u64,
    /// Once there are more than are held.
    file: Option<RowWriter>,
}

impl Filling<'_> {
    /// The next row.
    pub(crate) fn push(&mut self, row: Vec<Cell>) -> Result<()> {
        let Spool { folder, options, held, most } = self.spool;
        if !options.keeps(&row) {
            return Ok(());
        }
        self.count += 1;
        if self.count > *most {
            return Ok(());
        }
        if self.file.is_none() && self.table.rows.len() < *held {
            self.table.rows.push(row);
            return Ok(());
        }
        let path = folder.join(format!("{}.part", self.table.id));
        let Self { table, file, .. } = self;
        let written = || match file {
            Some(file) => file.push(&row),
            None => {
                let begun = file.insert(RowWriter::create(&path)?);
                table.rows.iter().try_for_each(|held| begun.push(held))?;
                begun.push(&row)
            }
        };
        Self::stored(&path, written)
    }

    /// The table with its rows. One that goes to a file holds no more of them than readers are shown.
    pub(crate) fn finish(self) -> Result<Table> {
        let Self { spool, mut table, count, file } = self;
        if let Some(file) = file {
            let path = spool.folder.join(&table.id);
            table.row_file = Some(Self::stored(&path, || file.finish())?);
            let shown = table.shown_rows.and_then(|rows| usize::try_from(rows).ok());
            table.rows.truncate(shown.unwrap_or(spool.held));
        }
        if count > spool.most {
            table.truncated = Some(Truncated { total_rows: count, rest: REST.to_owned() });
        }
        Ok(table)
    }

    fn stored<T>(path: &std::path::Path, write: impl FnOnce() -> std::io::Result<T>) -> Result<T> {
        write().map_err(|source| Error::Blob { key: path.display().to_string(), source })
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use domain::{
        Severity,
        document::{Column, ColumnKind},
    };

    use super::*;

    fn filled(spool: &Spool<'_>, rows: u64, shown_rows: Option<u32>) -> Table {
        let columns = vec![
            Column::new("N", ColumnKind::Number { decimals: 0 }),
            Column::new("Severity", ColumnKind::Severity),
        ];
        let mut filling = spool.fill(Table { shown_rows, ..Table::new("t", columns, Vec::new()) });
        for number in 0..rows {
            let severity = if number % 2 == 0 { Severity::High } else { Severity::Low };
            filling.push(vec![Cell::count(number), Cell::Severity(severity)]).expect("taken");
        }
        filling.finish().expect("a table")
    }

    fn numbers(table: &Table) -> Vec<Cell> {
        let rows = table.every_row().expect("rows").map(|row| row.map(Cow::into_owned).expect("a row"));
        rows.map(|mut row| row.remove(0)).collect()
    }

    #[test]
    fn a_short_table_is_held_and_a_long_one_goes_to_a_file_in_the_order_of_its_rows() {
        let (folder, options) = (tempfile::tempdir().expect("a folder"), ReportOptions::default());
        let spool = Spool { held: 10, ..Spool::new(folder.path(), &options) };
        let short = filled(&spool, 10, Some(3));
        assert_eq!((short.rows.len(), short.row_count(), short.row_file.is_none()), (10, 10, true));
        let long = filled(&spool, 25, Some(3));
        assert_eq!((long.rows.len(), long.row_count(), long.truncated.is_none()), (3, 25, true));
        assert_eq!(numbers(&long), (0..25_u64).map(Cell::count).collect::<Vec<_>>());
        assert_eq!(filled(&spool, 26, None).rows.len(), 10);
    }

    #[test]
    fn rows_that_are_left_out_on_request_are_neither_held_nor_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = ReportOptions { severity_filter: vec![Severity::High], ..ReportOptions::default() };
        let spool = Spool { held: 5, ..Spool::new(folder.path(), &options) };
        let table = filled(&spool, 25, None);
        assert_eq!((table.rows.len(), table.row_count()), (5, 13));
        assert_eq!(numbers(&table), (0..13_u64).map(|n| Cell::count(2 * n)).collect::<Vec<_>>());
    }

    #[test]
    fn a_table_beyond_the_limit_is_a_part_that_says_how_many_there_are_and_where() {
        let (folder, options) = (tempfile::tempdir().expect("a folder"), ReportOptions::default());
        let spool = Spool { held: 5, most: 20, ..Spool::new(folder.path(), &options) };
        let table = filled(&spool, 25, None);
        let truncated = table.truncated.as_ref().expect("it is a part");
        assert_eq!((table.row_count(), truncated.total_rows), (20, 25));
        assert!(truncated.rest.contains("1,000,000") && truncated.rest.contains("GET /api/export/csv"));
        assert!(MOST_ROWS.to_string() == truncated.rest.split(' ').nth(3).unwrap_or("").replace(',', ""));
    }
}
