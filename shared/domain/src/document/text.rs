//! Blocks of words: paragraphs, lists, notes, code, pictures, labelled values, data ages and method.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Image, Status, Tone};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Paragraph {
    pub content: Vec<Inline>,
}

/// A run of text. Line feeds inside are line breaks; an empty line begins a paragraph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Inline {
    Text(String),
    Strong(String),
    Emphasis(String),
    Code(String),
    Link(Link),
    Reference(Reference),
}

/// A reference to elsewhere. Formats make it clickable only when the scheme is `http`, `https` or `mailto`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    pub text: String,
    pub url: String,
}

/// A reference to a section of this document. Plain text where no section has that id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reference {
    pub text: String,
    /// [`Section::id`](super::Section::id) of the target.
    pub section: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct List {
    pub ordered: bool,
    pub items: Vec<ListItem>,
}

/// A point with the points below it, which are ordered as the list is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListItem {
    pub content: Vec<Inline>,
    #[serde(default)]
    pub items: Vec<Self>,
}

impl From<Vec<Inline>> for ListItem {
    fn from(content: Vec<Inline>) -> Self {
        Self { content, items: Vec::new() }
    }
}

/// A boxed remark that must not be overlooked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Note {
    pub tone: Tone,
    #[serde(default)]
    pub title: Option<String>,
    pub content: Vec<Inline>,
}

/// Lines for machines: a command, a configuration, an excerpt of a log. Spaces and line feeds are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CodeBlock {
    #[serde(default)]
    pub caption: Option<String>,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Picture {
    pub image: Image,
    #[serde(default)]
    pub caption: Option<String>,
}

/// A labelled value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fact {
    pub label: String,
    pub value: Vec<Inline>,
}

impl Fact {
    /// A value of plain text.
    pub fn text(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self { label: label.into(), value: vec![Inline::Text(value.into())] }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyValues {
    pub entries: Vec<Fact>,
}

/// How old the knowledge behind the report is, source by source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DataFreshness {
    pub feeds: Vec<FeedFreshness>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FeedFreshness {
    pub feed: String,
    /// State of the data that was used; none when the feed never arrived.
    #[serde(default)]
    pub as_of: Option<DateTime<Utc>>,
    /// Age of that data at [`Cover::generated_at`](super::Cover::generated_at), in seconds.
    #[serde(default)]
    pub age_seconds: Option<u64>,
    #[serde(default)]
    pub records: Option<u64>,
    pub status: Status,
}

/// How the result came about, and what it does not show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Method {
    pub summary: Vec<Inline>,
    /// In order of execution.
    #[serde(default)]
    pub steps: Vec<Fact>,
    #[serde(default)]
    pub limitations: Vec<Vec<Inline>>,
}
