//! The content of a report, before any format has touched it.
//!
//! A report type fills one [`Document`]; the crate `rendering` turns it into PDF, CSV, JSON and the rest. What stands
//! here is content and its meaning, never layout: a column says that it holds severities, not that they are red.
//! Plain owned values. Every string may come from a stranger (package names, advisory texts) and is kept as it
//! came: each format escapes for itself.
//!
//! A new kind of content is a new variant of [`Block`], which stops every conversion from compiling until it is
//! written there. The JSON format is these types as serde writes them, so a renamed field is a new
//! [`SCHEMA_VERSION`]. Start at [`Document`]; [`Format`] lists the outputs.

mod blocks;
mod format;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
pub use serde_json::Number;

pub use self::{
    blocks::*,
    format::{Format, UnknownFormat},
};

/// Version of the JSON shape of [`Document`]. Raised when a field is renamed, removed or changes its meaning;
/// added fields and block kinds leave it alone.
pub const SCHEMA_VERSION: u32 = 1;

/// One report: what it says, in reading order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// [`SCHEMA_VERSION`] at the time of writing.
    pub schema_version: u32,
    /// The report type's slug, for example `executive_summary`. Chooses the template.
    pub report_type: String,
    /// Language of the texts as a two-letter ISO 639-1 code; screen readers need it (PDF/UA-1, clause 7.2).
    pub language: String,
    pub cover: Cover,
    /// The few numbers a hurried reader takes away. Four to eight read well.
    #[serde(default)]
    pub key_figures: Vec<KeyFigure>,
    pub sections: Vec<Section>,
    /// [`Table::id`] of the table that stands for the whole report where a format holds only one (CSV).
    /// Without it the first table is taken.
    #[serde(default)]
    pub primary_table: Option<String>,
}

/// Who, what, when: the first page and the document's metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cover {
    pub title: String,
    pub subtitle: Option<String>,
    /// The organization that the report is about.
    pub organization: String,
    /// The time that the report covers; none for a report on one moment.
    pub period: Option<Period>,
    /// Marking repeated at the top and bottom of every page, for example `CONFIDENTIAL`.
    pub classification: Option<String>,
    pub prepared_for: Option<String>,
    pub prepared_by: Option<String>,
    /// The report's id as people quote it. Also the PDF's permanent identifier, so it must be unique.
    pub document_number: String,
    /// Edition of this document, for example `1.0` or `Draft 2`.
    pub version: Option<String>,
    /// When the data was frozen. Every format takes its timestamp from here, never from the clock.
    pub generated_at: DateTime<Utc>,
}

/// A span of days, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    pub from: NaiveDate,
    pub until: NaiveDate,
}

/// One number worth a tile of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyFigure {
    pub label: String,
    pub value: Quantity,
    /// Follows the value: `%`, `days`.
    pub unit: Option<String>,
    pub trend: Option<Trend>,
    pub tone: Tone,
}

/// A figure, or the word that stands in for one that could not be measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Quantity {
    Number(Number),
    Text(String),
}

/// Movement of a key figure since the previous report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    pub direction: Direction,
    /// The change in words, for example `12 fewer than in September`.
    pub change: String,
    /// Whether the movement is welcome: fewer findings are good, less coverage is not.
    pub tone: Tone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Up,
    Down,
    Level,
}

/// How a value or note should strike the reader. Formats never show it by colour alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    #[default]
    Neutral,
    Good,
    Caution,
    Bad,
}

/// A heading with what stands under it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// Stable anchor, for example `top-findings`.
    pub id: String,
    pub heading: String,
    #[serde(default)]
    pub orientation: Orientation,
    #[serde(default)]
    pub blocks: Vec<Block>,
    #[serde(default)]
    pub sections: Vec<Self>,
}

/// How the pages of a section lie. Only top-level sections are turned; it helps tables of eight columns and more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Orientation {
    #[default]
    Portrait,
    Landscape,
}

/// One piece of a section. The list that grows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    Paragraph(Paragraph),
    List(List),
    Note(Note),
    Table(Table),
    /// Two charts that follow one another may be set side by side.
    Chart(Chart),
    FindingCard(FindingCard),
    KeyValues(KeyValues),
    DataFreshness(DataFreshness),
    Method(Method),
}

impl Block {
    /// A paragraph of plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Paragraph(Paragraph { content: vec![Inline::Text(text.into())] })
    }
}

/// A table or chart whose parts do not fit one another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    #[error("table `{table}` has {columns} columns, but row {row} has {cells} cells")]
    RaggedRow { table: String, row: usize, cells: usize, columns: usize },
    #[error("table `{table}` has no columns")]
    NoColumns { table: String },
    #[error("chart `{chart}` has {series} series, but column `{column}` has {values} values")]
    RaggedChart { chart: String, column: String, values: usize, series: usize },
}

impl Document {
    /// Every block, in reading order.
    #[must_use]
    pub fn blocks(&self) -> Vec<&Block> {
        fn gather<'a>(sections: &'a [Section], into: &mut Vec<&'a Block>) {
            for section in sections {
                into.extend(&section.blocks);
                gather(&section.sections, into);
            }
        }
        let mut blocks = Vec::new();
        gather(&self.sections, &mut blocks);
        blocks
    }

    /// The table that stands for the report in formats that hold one, as `primary_table` names it.
    #[must_use]
    pub fn main_table(&self) -> Option<&Table> {
        let mut tables = self.blocks().into_iter().filter_map(|block| match block {
            Block::Table(table) => Some(table),
            _ => None,
        });
        match &self.primary_table {
            Some(id) => tables.find(|table| &table.id == id),
            None => tables.next(),
        }
    }

    /// Refuse tables and charts with missing or surplus values: dropping them silently would falsify the report.
    pub fn check(&self) -> Result<(), DocumentError> {
        self.blocks().into_iter().try_for_each(|block| match block {
            Block::Table(table) => table.check(),
            Block::Chart(chart) => chart.check(),
            _ => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity;

    fn document(block: Block) -> Document {
        Document {
            schema_version: SCHEMA_VERSION,
            report_type: "technical".into(),
            language: "en".into(),
            cover: Cover {
                title: "T".into(),
                subtitle: None,
                organization: "O".into(),
                period: None,
                classification: None,
                prepared_for: None,
                prepared_by: None,
                document_number: "R-1".into(),
                version: None,
                generated_at: DateTime::UNIX_EPOCH,
            },
            key_figures: vec![],
            sections: vec![Section {
                id: "outer".into(),
                heading: "Outer".into(),
                orientation: Orientation::Portrait,
                blocks: vec![],
                sections: vec![Section {
                    id: "inner".into(),
                    heading: "Inner".into(),
                    orientation: Orientation::Portrait,
                    blocks: vec![block],
                    sections: vec![],
                }],
            }],
            primary_table: None,
        }
    }

    fn table(row: Vec<Cell>) -> Table {
        Table {
            id: "findings".into(),
            caption: None,
            columns: vec![
                Column::new("Package", ColumnKind::Identifier),
                Column::new("Score", ColumnKind::Number { decimals: 1 }),
            ],
            rows: vec![row],
            truncated: None,
        }
    }

    #[test]
    fn a_table_in_a_nested_section_is_the_main_table_unless_another_is_named() {
        let mut document = document(Block::Table(table(vec![Cell::identifier("xz"), Cell::number(10.0)])));
        assert_eq!(document.main_table().map(|table| table.id.as_str()), Some("findings"));
        document.primary_table = Some("packages".into());
        assert_eq!(document.main_table(), None);
    }

    #[test]
    fn a_row_with_a_missing_cell_is_refused_by_table_and_row() {
        let error = document(Block::Table(table(vec![Cell::identifier("xz")]))).check().unwrap_err();
        assert_eq!(error.to_string(), "table `findings` has 2 columns, but row 1 has 1 cells");
    }

    #[test]
    fn a_stacked_bar_with_a_surplus_value_is_refused() {
        let chart = Block::Chart(Chart {
            title: "Trend".into(),
            alt: "Trend".into(),
            unit: "findings".into(),
            plot: Plot::StackedBars {
                series: vec![Series { name: "Critical".into(), severity: Some(Severity::Critical) }],
                columns: vec![StackedColumn { label: "Sep".into(), values: vec![1, 2] }],
            },
        });
        assert!(matches!(
            document(chart).check(),
            Err(DocumentError::RaggedChart { values: 2, series: 1, .. })
        ));
    }

    #[test]
    fn json_names_each_block_by_its_type_and_reads_back_unchanged() {
        let document = document(Block::Table(table(vec![Cell::Severity(Severity::High), Cell::Empty])));
        let json = serde_json::to_value(&document).unwrap();
        assert_eq!(json["sections"][0]["sections"][0]["blocks"][0]["type"], "table");
        assert_eq!(
            json["sections"][0]["sections"][0]["blocks"][0]["rows"][0],
            serde_json::json!([{"severity": "high"}, "empty"])
        );
        assert_eq!(serde_json::from_value::<Document>(json).unwrap(), document);
    }

    #[test]
    fn a_score_that_is_not_a_number_becomes_an_empty_cell() {
        assert_eq!(Cell::number(f64::NAN), Cell::Empty);
    }
}
