//! Tables of typed columns, from five rows on a page to a workbook of several sheets.

use std::io;

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};
use serde_json::Number;

use super::{DocumentError, Fact, Link, RowFile, Rows, Status, rows::EveryRow};
use crate::Severity;

/// Rows under typed columns. Every row has as many cells as there are columns ([`Document::check`](super::Document::check)).
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct Table {
    /// Unique in the document.
    pub id: String,
    #[serde(default)]
    pub caption: Option<String>,
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Cell>>,
    /// So many leading columns tell one row from another: they stay in view in a spreadsheet, and are repeated where a
    /// table too wide for a page is split.
    #[serde(default)]
    pub key_columns: u16,
    /// The sheet of a workbook that this table is. Without it a workbook names one after the caption or the id.
    #[serde(default)]
    pub sheet: Option<Sheet>,
    /// So many rows are enough for whoever reads: formats for reading show no more of them and say where the rest is. Formats for
    /// programs hold all. Without it a page takes as many as it can.
    #[serde(default)]
    pub shown_rows: Option<u32>,
    /// Set when rows were left out of the document itself.
    #[serde(default)]
    pub truncated: Option<Truncated>,
    /// Where all rows are, if they are too many to be held: [`Self::rows`] are then the first of them, as many as readers are shown.
    /// No file of a report says so: programs are given every row.
    #[serde(default)]
    #[schemars(skip)]
    pub row_file: Option<RowFile>,
}

impl Table {
    /// A table without caption whose rows are all there.
    pub fn new(id: impl Into<String>, columns: Vec<Column>, rows: Vec<Vec<Cell>>) -> Self {
        Self {
            id: id.into(),
            caption: None,
            columns,
            rows,
            key_columns: 0,
            sheet: None,
            shown_rows: None,
            truncated: None,
            row_file: None,
        }
    }

    /// How many rows it has, wherever they are.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        self.row_file.as_ref().map_or(self.rows.len() as u64, |file| file.rows)
    }

    /// Every row, one after another.
    ///
    /// # Errors
    /// When they are in a file that is not at hand or cannot be opened.
    pub fn every_row(&self) -> io::Result<Rows<'_>> {
        match &self.row_file {
            Some(file) => Ok(Rows::Filed(Box::new(file.open()?))),
            None => Ok(Rows::Held(self.rows.iter())),
        }
    }

    pub(super) fn check(&self) -> Result<(), DocumentError> {
        let columns = self.columns.len();
        if columns == 0 {
            return Err(DocumentError::NoColumns { table: self.id.clone() });
        }
        match self.rows.iter().enumerate().find(|(_, row)| row.len() != columns) {
            Some((index, row)) => Err(DocumentError::RaggedRow {
                table: self.id.clone(),
                row: index + 1,
                cells: row.len(),
                columns,
            }),
            None => Ok(()),
        }
    }
}

impl Serialize for Table {
    /// While its row file is at hand, a table is written whole: every row, and no word of the file.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { id, caption, columns, rows, key_columns, sheet, shown_rows, truncated, row_file } = self;
        let mut table = serializer.serialize_struct("Table", 9)?;
        table.serialize_field("id", id)?;
        table.serialize_field("caption", caption)?;
        table.serialize_field("columns", columns)?;
        let at_hand = row_file.as_ref().filter(|file| file.path().is_some());
        match at_hand {
            Some(file) => table.serialize_field("rows", &EveryRow(file))?,
            None => table.serialize_field("rows", rows)?,
        }
        table.serialize_field("key_columns", key_columns)?;
        table.serialize_field("sheet", sheet)?;
        table.serialize_field("shown_rows", shown_rows)?;
        table.serialize_field("truncated", truncated)?;
        match row_file {
            Some(file) if at_hand.is_none() => table.serialize_field("row_file", file)?,
            _ => table.skip_field("row_file")?,
        }
        table.end()
    }
}

/// A tab of a workbook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sheet {
    /// At most 31 characters survive in a spreadsheet.
    pub name: String,
    /// Labelled values above the table, as the head of a POA&M has them.
    #[serde(default)]
    pub preamble: Vec<Fact>,
}

/// The honest end of a shortened table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Truncated {
    /// Rows there would be in full.
    pub total_rows: u64,
    /// Where the rest can be had, as a sentence.
    pub rest: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Column {
    pub title: String,
    pub kind: ColumnKind,
    /// Characters that a typical line of this column holds; formats share out the width in this proportion.
    /// Without it the kind decides.
    #[serde(default)]
    pub width: Option<u16>,
    /// The only words that an editor may enter here; empty allows any. Spreadsheets offer them as a list.
    #[serde(default)]
    pub allowed: Vec<String>,
    /// What belongs here, for whoever fills in the table.
    #[serde(default)]
    pub note: Option<String>,
}

impl Column {
    pub fn new(title: impl Into<String>, kind: ColumnKind) -> Self {
        Self { title: title.into(), kind, width: None, allowed: Vec::new(), note: None }
    }

    /// The same column, expected to hold lines of so many characters.
    #[must_use]
    pub fn width(self, characters: u16) -> Self {
        Self { width: Some(characters), ..self }
    }

    /// The same column, holding one of these words.
    #[must_use]
    pub fn allowed(self, words: &[&str]) -> Self {
        Self { allowed: words.iter().map(|word| (*word).to_owned()).collect(), ..self }
    }
}

/// What a column holds: decides alignment, typography and, in spreadsheets, the cell type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    Text,
    /// Numbers shown with so many decimals.
    Number {
        decimals: u8,
    },
    Date,
    Severity,
    Status,
    Link,
    /// Names made for machines: packages, versions, vulnerability ids, host names. May be broken anywhere.
    Identifier,
}

/// One value of a table. A cell may differ from its column's kind, as `not assessed` in a column of numbers does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// Nothing to say; shown as a dash, so that it cannot pass for a lost value.
    Empty,
    Text(String),
    Number(Number),
    Date(NaiveDate),
    Severity(Severity),
    Status(Status),
    Link(Link),
    Identifier(String),
}

impl Cell {
    /// A number, or [`Cell::Empty`] for infinities and not-a-number, which no format could carry.
    #[must_use]
    pub fn number(value: f64) -> Self {
        Number::from_f64(value).map_or(Self::Empty, Self::Number)
    }

    /// A whole number.
    pub fn count(value: impl Into<u64>) -> Self {
        Self::Number(Number::from(value.into()))
    }

    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub fn identifier(text: impl Into<String>) -> Self {
        Self::Identifier(text.into())
    }
}
