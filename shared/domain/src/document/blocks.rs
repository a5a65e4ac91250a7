//! What the blocks of a section are made of, in the order of [`Block`](super::Block)'s variants.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::{DocumentError, Tone};
use crate::Severity;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Paragraph {
    pub content: Vec<Inline>,
}

/// A run of text. Line feeds inside are line breaks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inline {
    Text(String),
    Strong(String),
    Emphasis(String),
    Code(String),
    Link(Link),
}

/// A reference to elsewhere. Formats make it clickable only when the scheme is `http`, `https` or `mailto`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Link {
    pub text: String,
    pub url: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct List {
    pub ordered: bool,
    pub items: Vec<Vec<Inline>>,
}

/// A boxed remark that must not be overlooked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub tone: Tone,
    pub title: Option<String>,
    pub content: Vec<Inline>,
}

/// Rows under typed columns. Every row has as many cells as there are columns ([`Document::check`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Unique in the document.
    pub id: String,
    pub caption: Option<String>,
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Cell>>,
    /// Set when rows were left out of the document itself.
    #[serde(default)]
    pub truncated: Option<Truncated>,
}

/// The honest end of a shortened table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Truncated {
    /// Rows there would be in full.
    pub total_rows: u64,
    /// Where the rest can be had, as a sentence.
    pub rest: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub title: String,
    pub kind: ColumnKind,
    /// Characters that a typical line of this column holds; formats share out the width in this proportion.
    /// Without it the kind decides.
    #[serde(default)]
    pub width: Option<u16>,
}

impl Column {
    pub fn new(title: impl Into<String>, kind: ColumnKind) -> Self {
        Self { title: title.into(), kind, width: None }
    }

    /// The same column, expected to hold lines of so many characters.
    #[must_use]
    pub fn width(self, characters: u16) -> Self {
        Self { width: Some(characters), ..self }
    }
}

/// What a column holds: decides alignment, typography and, in spreadsheets, the cell type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

/// A state in words with the impression it should leave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub label: String,
    pub tone: Tone,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chart {
    pub title: String,
    /// The chart in a sentence, for readers who cannot see it (PDF/UA-1, clause 7.3). Never empty.
    pub alt: String,
    /// What is counted, for example `findings`.
    pub unit: String,
    pub plot: Plot,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Plot {
    /// Shares of a whole, worst first.
    SeverityDonut { counts: Vec<SeverityCount> },
    /// Horizontal bars, drawn in the order given.
    Bars { bars: Vec<Bar> },
    /// One column per point in time, oldest first, stacked in the order of the series.
    StackedBars { series: Vec<Series>, columns: Vec<StackedColumn> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeverityCount {
    pub severity: Severity,
    pub count: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    pub label: String,
    /// Not negative.
    pub value: Number,
    pub severity: Option<Severity>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    pub name: String,
    pub severity: Option<Severity>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StackedColumn {
    /// The point in time, short: `Sep`, `W38`.
    pub label: String,
    /// One value per series, in their order.
    pub values: Vec<u64>,
}

/// All there is to say about one finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindingCard {
    pub title: String,
    pub severity: Severity,
    /// Composite score from 0 to 10.
    pub score: Option<Number>,
    /// For example `CVE-2024-3094`.
    pub vulnerability_id: String,
    /// Short marks beside the title: `Known exploited`.
    #[serde(default)]
    pub marks: Vec<Status>,
    pub package: Option<String>,
    pub installed: Option<String>,
    pub fix: Fix,
    pub description: String,
    /// Further facts: CVSS vector, EPSS, first seen.
    #[serde(default)]
    pub facts: Vec<Fact>,
    #[serde(default)]
    pub affected: Vec<AffectedAsset>,
    /// Number of affected assets, which may be more than are listed.
    pub affected_total: u64,
    /// What proves the finding, line by line: advisory, range, compared versions, rule.
    #[serde(default)]
    pub evidence: Vec<String>,
    pub remediation: Option<String>,
    #[serde(default)]
    pub references: Vec<Link>,
}

/// What is known about a version that is no longer vulnerable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fix {
    /// Fixed in this version.
    Version(String),
    /// The source states that there is no fix yet.
    NotAvailable,
    /// No source says anything.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AffectedAsset {
    pub name: String,
    /// Operating system, address or owner, in one phrase.
    pub detail: Option<String>,
}

/// A labelled value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    pub label: String,
    pub value: Vec<Inline>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyValues {
    pub entries: Vec<Fact>,
}

/// How old the knowledge behind the report is, source by source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataFreshness {
    pub feeds: Vec<FeedFreshness>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeedFreshness {
    pub feed: String,
    /// State of the data that was used; none when the feed never arrived.
    pub as_of: Option<DateTime<Utc>>,
    /// Age of that data at [`Cover::generated_at`], in seconds.
    pub age_seconds: Option<u64>,
    pub records: Option<u64>,
    pub status: Status,
}

/// How the result came about, and what it does not show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Method {
    pub summary: Vec<Inline>,
    /// In order of execution.
    #[serde(default)]
    pub steps: Vec<Fact>,
    #[serde(default)]
    pub limitations: Vec<Vec<Inline>>,
}

impl Table {
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

impl Chart {
    pub(super) fn check(&self) -> Result<(), DocumentError> {
        let Plot::StackedBars { series, columns } = &self.plot else { return Ok(()) };
        match columns.iter().find(|column| column.values.len() != series.len()) {
            Some(column) => Err(DocumentError::RaggedChart {
                chart: self.title.clone(),
                column: column.label.clone(),
                values: column.values.len(),
                series: series.len(),
            }),
            None => Ok(()),
        }
    }
}
