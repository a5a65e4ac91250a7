//! Charts and diagrams: the values and names, never the drawing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::{DocumentError, Tone};
use crate::Severity;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Chart {
    /// Unique in the document; names the picture where charts become files. May be empty.
    #[serde(default)]
    pub id: String,
    pub title: String,
    /// The chart in a sentence, for readers who cannot see it (PDF/UA-1, clause 7.3). Never empty.
    pub alt: String,
    /// What is counted, for example `findings`.
    pub unit: String,
    pub plot: Plot,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Plot {
    /// Shares of a whole, worst first.
    SeverityDonut { counts: Vec<SeverityCount> },
    /// Horizontal bars, drawn in the order given.
    Bars { bars: Vec<Bar> },
    /// One column per point in time, oldest first, stacked in the order of the series.
    StackedBars { series: Vec<Series>, columns: Vec<StackedColumn> },
    /// One line per series over the same points in time, oldest first.
    Lines { points: Vec<String>, lines: Vec<Line>, target: Option<Target> },
    /// How full each measure is.
    Gauges { gauges: Vec<Gauge> },
    /// A grid of counts, darker where there are more; for likelihood by impact and control family by status.
    HeatMap { columns: Vec<String>, rows: Vec<HeatRow> },
    /// A small line for each name, with its latest value beside it.
    Sparklines { lines: Vec<Sparkline> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeverityCount {
    pub severity: Severity,
    pub count: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bar {
    pub label: String,
    /// Not negative.
    pub value: Number,
    #[serde(default)]
    pub severity: Option<Severity>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    pub name: String,
    #[serde(default)]
    pub severity: Option<Severity>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StackedColumn {
    /// The point in time, short: `Sep`, `W38`.
    pub label: String,
    /// One value per series, in their order.
    pub values: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    pub name: String,
    #[serde(default)]
    pub severity: Option<Severity>,
    /// One value per point, none where nothing was measured.
    pub values: Vec<Option<Number>>,
}

/// A level that the lines are held against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    pub label: String,
    pub value: Number,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gauge {
    pub label: String,
    /// From `minimum` to `maximum`; none when it could not be measured.
    #[serde(default)]
    pub value: Option<Number>,
    pub minimum: Number,
    pub maximum: Number,
    pub tone: Tone,
    /// Under the value, for example `of 110 points`.
    #[serde(default)]
    pub note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeatRow {
    pub label: String,
    /// One cell per column.
    pub cells: Vec<HeatCell>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeatCell {
    /// None where nothing was assessed, which is not zero.
    #[serde(default)]
    pub value: Option<u64>,
    /// What the place itself means, as in a risk matrix. Without it the value alone gives the shade.
    #[serde(default)]
    pub severity: Option<Severity>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sparkline {
    pub label: String,
    /// Oldest first, none where nothing was measured.
    pub values: Vec<Option<Number>>,
    pub tone: Tone,
}

impl Chart {
    pub(super) fn check(&self) -> Result<(), DocumentError> {
        let ragged = |part: &str, values: usize, expected: usize| {
            if values == expected {
                return Ok(());
            }
            Err(DocumentError::RaggedChart {
                chart: self.title.clone(),
                part: part.to_owned(),
                values,
                expected,
            })
        };
        match &self.plot {
            Plot::StackedBars { series, columns } => {
                columns.iter().try_for_each(|column| ragged(&column.label, column.values.len(), series.len()))
            }
            Plot::Lines { points, lines, target: _ } => {
                lines.iter().try_for_each(|line| ragged(&line.name, line.values.len(), points.len()))
            }
            Plot::HeatMap { columns, rows } => {
                rows.iter().try_for_each(|row| ragged(&row.label, row.cells.len(), columns.len()))
            }
            Plot::SeverityDonut { .. }
            | Plot::Bars { .. }
            | Plot::Gauges { .. }
            | Plot::Sparklines { .. } => Ok(()),
        }
    }
}

/// Boxes and arrows. Where they stand is left to a layout library.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Diagram {
    /// Unique in the document; names the picture where diagrams become files. May be empty.
    #[serde(default)]
    pub id: String,
    pub title: String,
    /// The diagram in a sentence, for readers who cannot see it. Never empty.
    pub alt: String,
    #[serde(default)]
    pub direction: Flow,
    #[serde(default)]
    pub groups: Vec<Group>,
    pub nodes: Vec<Node>,
    #[serde(default)]
    pub edges: Vec<Edge>,
}

/// Which way most arrows point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    #[default]
    Down,
    Right,
}

/// A frame around nodes: a network, a zone, an authorization boundary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    pub id: String,
    pub label: String,
    /// The group around this one.
    #[serde(default)]
    pub parent: Option<String>,
    #[serde(default)]
    pub tone: Tone,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    pub id: String,
    pub label: String,
    /// Second line: address, system, role.
    #[serde(default)]
    pub detail: Option<String>,
    #[serde(default)]
    pub shape: Shape,
    #[serde(default)]
    pub tone: Tone,
    /// [`Group::id`] of the frame that it stands in.
    #[serde(default)]
    pub group: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    #[default]
    Box,
    /// Something that keeps data.
    Store,
    /// Somebody, or something outside.
    Actor,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Edge {
    /// [`Node::id`] of both ends.
    pub from: String,
    pub to: String,
    #[serde(default)]
    pub label: Option<String>,
    #[serde(default)]
    pub dashed: bool,
}

impl Diagram {
    pub(super) fn check(&self) -> Result<(), DocumentError> {
        let unknown =
            |id: &str| DocumentError::UnknownNode { diagram: self.title.clone(), id: id.to_owned() };
        let nodes: std::collections::HashSet<&str> = self.nodes.iter().map(|node| node.id.as_str()).collect();
        let groups: std::collections::HashSet<&str> =
            self.groups.iter().map(|group| group.id.as_str()).collect();
        let ends = self.edges.iter().flat_map(|edge| [&edge.from, &edge.to]);
        let frames = self.nodes.iter().filter_map(|node| node.group.as_ref());
        let parents = self.groups.iter().filter_map(|group| group.parent.as_ref());
        match ends.map(String::as_str).find(|id| !nodes.contains(id)) {
            Some(id) => Err(unknown(id)),
            None => match frames.chain(parents).map(String::as_str).find(|id| !groups.contains(id)) {
                Some(id) => Err(unknown(id)),
                None => Ok(()),
            },
        }
    }
}
