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

mod assessment;
mod branding;
mod chart;
mod cover;
mod format;
mod image;
mod marking;
mod options;
mod rows;
mod table;
mod text;

use std::io::{self, BufWriter, Write as _};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use serde_json::Number;
use sha2::{Digest, Sha256};

pub use self::{
    assessment::*,
    branding::{Branding, Colour, Colours, UnknownColour},
    chart::*,
    cover::*,
    format::{Format, UnknownFormat},
    image::{Image, ImageError, ImageFormat},
    marking::{Cui, Marking},
    options::{Presentation, ReportOptions, SectionWish},
    rows::{RowFile, RowWriter, Rows},
    table::*,
    text::*,
};

/// Version of the JSON shape of [`Document`]. Raised when a field is renamed, removed or changes its meaning;
/// added fields and block kinds leave it alone.
pub const SCHEMA_VERSION: u32 = 1;

/// One report: what it says, in reading order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// [`SCHEMA_VERSION`] at the time of writing.
    pub schema_version: u32,
    /// The report type's slug, for example `executive_summary`. Chooses the template.
    pub report_type: String,
    /// Language of the texts as a two-letter ISO 639-1 code; screen readers need it (PDF/UA-1, clause 7.2).
    pub language: String,
    pub cover: Cover,
    #[serde(default)]
    pub presentation: Presentation,
    /// What was left out on request, each in a sentence; shown before everything else.
    #[serde(default)]
    pub omissions: Vec<String>,
    /// The few numbers a hurried reader takes away. Four to eight read well.
    #[serde(default)]
    pub key_figures: Vec<KeyFigure>,
    pub sections: Vec<Section>,
    /// Lettered A, B, C … behind the sections.
    #[serde(default)]
    pub appendices: Vec<Section>,
    /// What the report was made from.
    #[serde(default)]
    pub inputs: Vec<FrozenInput>,
    /// [`Table::id`] of the table that stands for the whole report where a format holds only one (CSV).
    /// Without it the first table is taken.
    #[serde(default)]
    pub primary_table: Option<String>,
    /// Set on a report that is going to be signed; becomes its last page.
    #[serde(default)]
    pub seal: Option<Seal>,
}

/// Rows that formats for reading show, of all tables together; a document need not hold more of a table ([`Table::row_file`]).
///
/// They take Typst about 1 ms and 0.15 MB each. A word processor and a browser do with less, but a longer table belongs into a
/// spreadsheet.
pub const SHOWN_ROWS: usize = 15_000;

/// How a value or note should strike the reader. Formats never show it by colour alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    #[default]
    Neutral,
    Good,
    Caution,
    Bad,
}

/// A heading with what stands under it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Section {
    /// Stable anchor, for example `top-findings`. Unique in the document if it is referred to.
    pub id: String,
    pub heading: String,
    #[serde(default)]
    pub orientation: Orientation,
    #[serde(default)]
    pub blocks: Vec<Block>,
    #[serde(default)]
    pub sections: Vec<Self>,
}

impl Section {
    /// An upright section without content.
    pub fn new(id: impl Into<String>, heading: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            heading: heading.into(),
            orientation: Orientation::Portrait,
            blocks: Vec::new(),
            sections: Vec::new(),
        }
    }
}

/// How the pages of a section lie. Only top-level sections are turned; it helps tables of eight columns and more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Orientation {
    #[default]
    Portrait,
    Landscape,
}

/// One piece of a section. The list that grows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    Paragraph(Paragraph),
    List(List),
    Note(Note),
    Code(CodeBlock),
    Picture(Picture),
    Table(Table),
    /// Two charts that follow one another may be set side by side.
    Chart(Chart),
    Diagram(Diagram),
    FindingCard(FindingCard),
    Control(Control),
    Timeline(Timeline),
    SignOff(SignOff),
    Attestation(Attestation),
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

/// A table, chart or diagram whose parts do not fit one another, or a nesting that nobody means.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    #[error("table `{table}` has {columns} columns, but row {row} has {cells} cells")]
    RaggedRow { table: String, row: usize, cells: usize, columns: usize },
    #[error("table `{table}` has no columns")]
    NoColumns { table: String },
    #[error("chart `{chart}` needs {expected} values for `{part}`, which has {values}")]
    RaggedChart { chart: String, part: String, values: usize, expected: usize },
    #[error("diagram `{diagram}` names `{id}`, which is neither among its nodes nor its groups")]
    UnknownNode { diagram: String, id: String },
    #[error("section `{section}` lies {} levels deep, at most {MAX_SECTION_DEPTH} are taken", MAX_SECTION_DEPTH + 1)]
    TooDeep { section: String },
    #[error("a list has points {} levels deep, at most {MAX_LIST_DEPTH} are taken", MAX_LIST_DEPTH + 1)]
    ListTooDeep,
}

/// Sections within sections beyond this are a mistake or an attack. Formats set those below the sixth level on the sixth.
pub const MAX_SECTION_DEPTH: usize = 200;
/// As much for points below points.
pub const MAX_LIST_DEPTH: usize = 200;

impl Document {
    /// A document with a first page and nothing else, in English.
    pub fn new(
        report_type: impl Into<String>,
        title: impl Into<String>,
        organization: impl Into<String>,
        document_number: impl Into<String>,
        generated_at: DateTime<Utc>,
    ) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            report_type: report_type.into(),
            language: "en".to_owned(),
            cover: Cover {
                title: title.into(),
                subtitle: None,
                organization: organization.into(),
                logo: None,
                period: None,
                classification: None,
                prepared_for: None,
                prepared_by: None,
                document_number: document_number.into(),
                version: None,
                generated_at,
                verify_url: None,
                facts: Vec::new(),
            },
            presentation: Presentation::default(),
            omissions: Vec::new(),
            key_figures: Vec::new(),
            sections: Vec::new(),
            appendices: Vec::new(),
            inputs: Vec::new(),
            primary_table: None,
            seal: None,
        }
    }

    /// Every block of sections and appendices, in reading order.
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
        gather(&self.appendices, &mut blocks);
        blocks
    }

    /// Every table, in reading order.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.blocks().into_iter().filter_map(|block| match block {
            Block::Table(table) => Some(table),
            _ => None,
        })
    }

    /// The table that stands for the report in formats that hold one, as `primary_table` names it.
    #[must_use]
    pub fn main_table(&self) -> Option<&Table> {
        match &self.primary_table {
            Some(id) => self.tables().find(|table| &table.id == id),
            None => self.tables().next(),
        }
    }

    /// The diagram or chart that stands for the report in formats that hold one: the first diagram, else the first chart.
    #[must_use]
    pub fn main_figure(&self) -> Option<&Block> {
        let blocks = self.blocks();
        let first = |wanted: fn(&Block) -> bool| blocks.iter().copied().find(|block| wanted(block));
        first(|block| matches!(block, Block::Diagram(_)))
            .or_else(|| first(|block| matches!(block, Block::Chart(_))))
    }

    /// Refuse tables, charts and diagrams with missing or surplus parts: dropping them silently would falsify the report.
    /// And nesting deeper than any reader could follow, which programs that read the JSON would choke on.
    ///
    /// # Errors
    /// Names the first part that does not fit.
    pub fn check(&self) -> Result<(), DocumentError> {
        check_depth(&self.sections)?;
        check_depth(&self.appendices)?;
        self.blocks().into_iter().try_for_each(|block| match block {
            Block::Table(table) => table.check(),
            Block::Chart(chart) => chart.check(),
            Block::Diagram(diagram) => diagram.check(),
            Block::List(list) => check_points(&list.items, 1),
            Block::Control(control) => check_points(&control.statement, 1),
            Block::Attestation(attestation) => check_points(&attestation.affirmations, 1),
            _ => Ok(()),
        })
    }

    /// The JSON Schema (draft 2020-12) of the JSON format, published as `docs/schemas/document-1.schema.json`.
    #[must_use]
    pub fn json_schema() -> serde_json::Value {
        let mut schema = schemars::schema_for!(Self);
        schema.insert("$id".to_owned(), "urn:plimsoll:document:1".into());
        schema.to_value()
    }

    /// Does `change` to every table, in reading order.
    pub fn each_table(&mut self, mut change: impl FnMut(&mut Table)) {
        fn each(sections: &mut [Section], change: &mut impl FnMut(&mut Table)) {
            for section in sections {
                for block in &mut section.blocks {
                    if let Block::Table(table) = block {
                        change(table);
                    }
                }
                each(&mut section.sections, change);
            }
        }
        each(&mut self.sections, &mut change);
        each(&mut self.appendices, &mut change);
    }

    /// The report hash: SHA-256 of the document as JSON without spaces, in the order of its fields, `seal` being `null`.
    /// Anybody who has the JSON file can compute it.
    ///
    /// # Errors
    /// When the rows of a table are in a file that is not at hand, or cannot be read.
    pub fn content_sha256(&self) -> io::Result<[u8; 32]> {
        // Without its rows, a document would be written with a word of their file.
        for table in self.tables() {
            table.every_row()?;
        }
        let mut hasher = BufWriter::new(Sha256::new());
        let unsealed = self.seal.as_ref().map(|_| Self { seal: None, ..self.clone() });
        serde_json::to_writer(&mut hasher, unsealed.as_ref().unwrap_or(self))?;
        hasher.flush()?;
        let hasher = hasher.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(hasher.finalize().into())
    }
}

/// Without recursion: whatever depth came, this comes back.
fn check_depth(sections: &[Section]) -> Result<(), DocumentError> {
    let mut waiting: Vec<(usize, &Section)> = sections.iter().map(|section| (1, section)).collect();
    while let Some((depth, section)) = waiting.pop() {
        if depth > MAX_SECTION_DEPTH {
            return Err(DocumentError::TooDeep { section: section.heading.clone() });
        }
        waiting.extend(section.sections.iter().map(|inner| (depth + 1, inner)));
    }
    Ok(())
}

fn check_points(items: &[ListItem], depth: usize) -> Result<(), DocumentError> {
    if depth > MAX_LIST_DEPTH && !items.is_empty() {
        return Err(DocumentError::ListTooDeep);
    }
    items.iter().try_for_each(|item| check_points(&item.items, depth + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity;

    fn document(block: Block) -> Document {
        Document {
            sections: vec![Section {
                sections: vec![Section { blocks: vec![block], ..Section::new("inner", "Inner") }],
                ..Section::new("outer", "Outer")
            }],
            ..Document::new("technical", "T", "O", "R-1", DateTime::UNIX_EPOCH)
        }
    }

    fn table(row: Vec<Cell>) -> Table {
        let columns = vec![
            Column::new("Package", ColumnKind::Identifier),
            Column::new("Score", ColumnKind::Number { decimals: 1 }),
        ];
        Table::new("findings", columns, vec![row])
    }

    fn chart(plot: Plot) -> Block {
        Block::Chart(Chart {
            id: String::new(),
            title: "Trend".into(),
            alt: "Trend".into(),
            unit: "findings".into(),
            plot,
        })
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
    fn charts_with_surplus_or_missing_values_are_refused() {
        let stacked = Plot::StackedBars {
            series: vec![Series { name: "Critical".into(), severity: Some(Severity::Critical) }],
            columns: vec![StackedColumn { label: "Sep".into(), values: vec![1, 2] }],
        };
        let lines = Plot::Lines {
            points: vec!["Sep".into(), "Oct".into()],
            lines: vec![Line { name: "Score".into(), severity: None, values: vec![None] }],
            target: None,
        };
        let heat = Plot::HeatMap {
            columns: vec!["Low".into()],
            rows: vec![HeatRow { label: "Likely".into(), cells: vec![] }],
        };
        for plot in [stacked, lines, heat] {
            assert!(matches!(document(chart(plot)).check(), Err(DocumentError::RaggedChart { .. })));
        }
    }

    #[test]
    fn a_diagram_with_an_arrow_to_nowhere_is_refused() {
        let node = |id: &str| Node {
            id: id.into(),
            label: id.into(),
            detail: None,
            shape: Shape::Box,
            tone: Tone::Neutral,
            group: None,
        };
        let edge = Edge { from: "web".into(), to: "db".into(), label: None, dashed: false };
        let diagram = Diagram {
            id: String::new(),
            title: "Network".into(),
            alt: "Network".into(),
            direction: Flow::Down,
            groups: vec![],
            nodes: vec![node("web")],
            edges: vec![edge],
        };
        let error = document(Block::Diagram(diagram)).check().unwrap_err();
        assert_eq!(error, DocumentError::UnknownNode { diagram: "Network".into(), id: "db".into() });
    }

    #[test]
    fn two_hundred_levels_are_taken_and_one_more_is_refused_by_name() {
        let nested = |depth: usize| {
            let deepest = Section::new("", "deepest");
            let wrap = |inner, _| Section { sections: vec![inner], ..Section::new("", "outer") };
            let section = (1..depth).fold(deepest, wrap);
            Document { sections: vec![section], ..document(Block::text("")) }
        };
        assert_eq!(nested(MAX_SECTION_DEPTH).check(), Ok(()));
        let error = nested(MAX_SECTION_DEPTH + 1).check().unwrap_err();
        assert_eq!(error, DocumentError::TooDeep { section: "deepest".into() });
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

    #[test]
    fn the_report_hash_covers_everything_but_the_seal() {
        let plain = document(Block::text("a"));
        let hash = plain.content_sha256().unwrap();
        let sealed = Document {
            seal: Some(Seal {
                signer: "ciso@example.org".into(),
                organization: None,
                signed_at: DateTime::UNIX_EPOCH,
                reason: None,
                certificate: None,
                timestamp: None,
                content_sha256: String::new(),
                verify_url: "https://example.org/verify".into(),
            }),
            ..plain.clone()
        };
        assert_eq!(sealed.content_sha256().unwrap(), hash);
        assert_ne!(document(Block::text("b")).content_sha256().unwrap(), hash);
    }
}
