//! The first page, the figures at a glance, and the last page of a signed report.

use chrono::{DateTime, NaiveDate, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::{Image, Tone};

/// Who, what, when: the first page and the document's metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cover {
    pub title: String,
    #[serde(default)]
    pub subtitle: Option<String>,
    /// The organization that the report is about.
    pub organization: String,
    /// The organization's mark. Without it the branding's is taken.
    #[serde(default)]
    pub logo: Option<Image>,
    /// The time that the report covers; none for a report on one moment.
    #[serde(default)]
    pub period: Option<Period>,
    /// Marking repeated at the top and bottom of every page, for example `CONFIDENTIAL`. [`Marking`](super::Marking)
    /// knows the rules of `CUI` and `FOUO`.
    #[serde(default)]
    pub classification: Option<String>,
    #[serde(default)]
    pub prepared_for: Option<String>,
    #[serde(default)]
    pub prepared_by: Option<String>,
    /// The report's id as people quote it. Also the PDF's permanent identifier, so it must be unique.
    pub document_number: String,
    /// Edition of this document, for example `1.0` or `Draft 2`.
    #[serde(default)]
    pub version: Option<String>,
    /// When the data was frozen. Every format takes its timestamp from here, never from the clock.
    pub generated_at: DateTime<Utc>,
    /// Where anybody can check that a copy is genuine.
    #[serde(default)]
    pub verify_url: Option<String>,
    /// Further facts of the first page: system identifier, impact level, contract numbers.
    #[serde(default)]
    pub facts: Vec<CoverFact>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CoverFact {
    pub label: String,
    pub value: String,
}

/// A span of days, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Period {
    pub from: NaiveDate,
    pub until: NaiveDate,
}

/// One number worth a tile of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyFigure {
    pub label: String,
    pub value: Quantity,
    /// Follows the value: `%`, `days`.
    #[serde(default)]
    pub unit: Option<String>,
    #[serde(default)]
    pub trend: Option<Trend>,
    pub tone: Tone,
    /// Earlier values up to the present one, oldest first: drawn as a small line. Fewer than two are not drawn.
    #[serde(default)]
    pub history: Vec<Number>,
}

/// A figure, or the word that stands in for one that could not be measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Quantity {
    Number(Number),
    Text(String),
}

/// Movement of a key figure since the previous report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trend {
    pub direction: Direction,
    /// The change in words, for example `12 fewer than in September`.
    pub change: String,
    /// Whether the movement is welcome: fewer findings are good, less coverage is not.
    pub tone: Tone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Up,
    Down,
    Level,
}

/// Something that the report was made from, frozen by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FrozenInput {
    /// For example `NVD CVE feed` or `Findings of the tenant`.
    pub name: String,
    /// Edition or version of a catalogue.
    #[serde(default)]
    pub version: Option<String>,
    /// State of the data that was used.
    #[serde(default)]
    pub as_of: Option<DateTime<Utc>>,
    #[serde(default)]
    pub records: Option<u64>,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// What the signature page says. The signature itself is made over the finished file and is not in here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Seal {
    /// Name or address of the person or service that signs.
    pub signer: String,
    #[serde(default)]
    pub organization: Option<String>,
    pub signed_at: DateTime<Utc>,
    /// Why it is signed, in a sentence.
    #[serde(default)]
    pub reason: Option<String>,
    /// Subject or fingerprint of the certificate.
    #[serde(default)]
    pub certificate: Option<String>,
    /// The timestamp in a sentence: which authority was asked, or that there is none.
    #[serde(default)]
    pub timestamp: Option<String>,
    /// [`Document::content_sha256`](super::Document::content_sha256) in lower-case hexadecimal.
    pub content_sha256: String,
    /// Where the file can be verified. Also drawn as a QR code.
    pub verify_url: String,
}
