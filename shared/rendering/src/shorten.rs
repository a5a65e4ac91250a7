//! Long tables for readers: what is laid out on pages, or scrolled through, ends where nobody reads on.
//!
//! Formats for programs (CSV, JSON, XLSX) hold every row that the document has. What they get is never shortened here.

use std::borrow::Cow;

use domain::document::{Document, SHOWN_ROWS, Table, Truncated};

const REST: &str = "The XLSX and JSON files of this report hold all of them.";

/// The document as it is shown: of each table as many rows as [`Table::shown_rows`] asks for, and of the longest no more than
/// leaves the others whole.
pub(crate) fn for_readers(document: &Document) -> Cow<'_, Document> {
    let wanted = |table: &Table| {
        let wish = table.shown_rows.and_then(|rows| usize::try_from(rows).ok());
        table.rows.len().min(wish.unwrap_or(usize::MAX))
    };
    let most = fair_share(document.tables().map(wanted).collect(), SHOWN_ROWS);
    if document.tables().all(|table| table.row_count() <= wanted(table).min(most) as u64) {
        return Cow::Borrowed(document);
    }
    let mut shown = document.clone();
    shown.each_table(|table| {
        let rows = wanted(table).min(most);
        cut(table, rows);
    });
    Cow::Owned(shown)
}

/// The most that each may take so that all of them take `most` at most: whoever wants less leaves the rest to the others.
fn fair_share(mut wishes: Vec<usize>, most: usize) -> usize {
    wishes.sort_unstable();
    let mut left = most;
    for (index, wish) in wishes.iter().enumerate() {
        let share = left / (wishes.len() - index);
        if *wish > share {
            return share;
        }
        left -= wish;
    }
    usize::MAX
}

fn cut(table: &mut Table, rows: usize) {
    let all = table.row_count();
    if all > rows as u64 {
        table.truncated.get_or_insert_with(|| Truncated { total_rows: all, rest: REST.to_owned() });
        table.rows.truncate(rows);
        table.row_file = None;
    }
}

#[cfg(test)]
mod tests {
    use domain::document::{Block, Cell, Column, ColumnKind, RowWriter, Section};

    use super::*;

    fn document(tables: impl IntoIterator<Item = Table>) -> Document {
        let blocks = tables.into_iter().map(Block::Table).collect();
        Document {
            sections: vec![Section { blocks, ..Section::new("s", "S") }],
            ..Document::new("technical", "T", "O", "R-1", chrono::DateTime::UNIX_EPOCH)
        }
    }

    fn table(rows: usize) -> Table {
        let columns = vec![Column::new("N", ColumnKind::Number { decimals: 0 })];
        Table::new("t", columns, vec![vec![Cell::count(1_u64)]; rows])
    }

    fn shown(document: &Document) -> Vec<(usize, Option<u64>)> {
        let total = |table: &Table| table.truncated.as_ref().map(|truncated| truncated.total_rows);
        for_readers(document).tables().map(|table| (table.rows.len(), total(table))).collect()
    }

    #[test]
    fn the_longest_table_is_shortened_and_leaves_the_others_whole() {
        let long = document([table(SHOWN_ROWS), table(300), table(20)]);
        assert_eq!(shown(&long), [(SHOWN_ROWS - 320, Some(SHOWN_ROWS as u64)), (300, None), (20, None)]);
        let short = document([table(20)]);
        assert!(matches!(for_readers(&short), Cow::Borrowed(_)));
    }

    #[test]
    fn a_table_shows_the_rows_that_its_report_thinks_enough() {
        let top = Table { shown_rows: Some(10), ..table(500) };
        assert_eq!(shown(&document([top])), [(10, Some(500))]);
    }

    #[test]
    fn of_rows_in_a_file_those_that_the_document_holds_are_shown_and_all_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = RowWriter::create(folder.path().join("t.part")).unwrap();
        (0..500).for_each(|_| writer.push(&table(1).rows[0]).unwrap());
        let filed = document([Table { row_file: Some(writer.finish().unwrap()), ..table(10) }]);
        assert_eq!(shown(&filed), [(10, Some(500))]);
        assert_eq!(for_readers(&filed).row_files().count(), 0);
    }

    #[test]
    fn what_the_document_left_out_itself_is_still_counted() {
        let rest = "The export holds all of them.";
        let truncated = Some(Truncated { total_rows: 1_000_000, rest: rest.into() });
        let part = document([Table { truncated, ..table(SHOWN_ROWS + 1) }]);
        assert_eq!(shown(&part), [(SHOWN_ROWS, Some(1_000_000))]);
        let cut = for_readers(&part);
        assert_eq!(
            cut.main_table().and_then(|table| table.truncated.as_ref()).map(|cut| cut.rest.as_str()),
            Some(rest)
        );
    }
}
