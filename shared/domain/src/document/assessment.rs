//! What auditors read: findings, controls, timelines, sign-off and attestation.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::{Fact, Inline, Link, ListItem, Tone};
use crate::Severity;

/// A state in words with the impression it should leave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    pub label: String,
    pub tone: Tone,
}

/// All there is to say about one finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FindingCard {
    pub title: String,
    pub severity: Severity,
    /// Composite score from 0 to 10.
    #[serde(default)]
    pub score: Option<Number>,
    /// For example `CVE-2024-3094`.
    pub vulnerability_id: String,
    /// Short marks beside the title: `Known exploited`.
    #[serde(default)]
    pub marks: Vec<Status>,
    #[serde(default)]
    pub package: Option<String>,
    #[serde(default)]
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
    #[serde(default)]
    pub remediation: Option<String>,
    #[serde(default)]
    pub references: Vec<Link>,
}

/// What is known about a version that is no longer vulnerable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fix {
    /// Fixed in this version.
    Version(String),
    /// The source states that there is no fix yet.
    NotAvailable,
    /// No source says anything.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AffectedAsset {
    pub name: String,
    /// Operating system, address or owner, in one phrase.
    #[serde(default)]
    pub detail: Option<String>,
}

/// One control or requirement of a framework: what is asked, how it is met, and how that is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Control {
    /// As the framework writes it: `AC-2(1)`, `3.11.2`, `CC6.1`.
    pub control_id: String,
    pub title: String,
    pub status: Status,
    /// Responsible role, owner, last assessment, score.
    #[serde(default)]
    pub facts: Vec<Fact>,
    /// Questions of which some answers apply: implementation status, control origination.
    #[serde(default)]
    pub choices: Vec<Choice>,
    /// Values of the framework's parameters: `AC-1(c)(1)`, `annually`.
    #[serde(default)]
    pub parameters: Vec<Fact>,
    /// The requirement itself.
    #[serde(default)]
    pub statement: Vec<ListItem>,
    /// How each part is met.
    #[serde(default)]
    pub implementation: Vec<ControlPart>,
    /// What proves it.
    #[serde(default)]
    pub evidence: Vec<EvidenceItem>,
    /// What is missing, and what mends it.
    #[serde(default)]
    pub gaps: Vec<Inline>,
    #[serde(default)]
    pub remediation: Option<String>,
    #[serde(default)]
    pub references: Vec<Link>,
}

/// A question with all its answers and which of them apply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Choice {
    pub label: String,
    pub answers: Vec<Answer>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    pub label: String,
    pub applies: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ControlPart {
    /// `Part a`; none where the control has one part only.
    #[serde(default)]
    pub label: Option<String>,
    #[serde(default)]
    pub status: Option<Status>,
    pub content: Vec<Inline>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceItem {
    pub title: String,
    /// Where it came from, or what it shows, in one phrase.
    #[serde(default)]
    pub detail: Option<String>,
    #[serde(default)]
    pub collected_on: Option<NaiveDate>,
    /// Of the artifact, in lower-case hexadecimal.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// Events in order of time, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timeline {
    #[serde(default)]
    pub title: Option<String>,
    pub events: Vec<TimelineEvent>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineEvent {
    pub on: NaiveDate,
    /// Last day of what takes longer than one.
    #[serde(default)]
    pub until: Option<NaiveDate>,
    pub title: String,
    #[serde(default)]
    pub detail: Vec<Inline>,
    #[serde(default)]
    pub status: Option<Status>,
}

/// Who has agreed, with lines for those who have not yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SignOff {
    /// What the signatures stand for.
    pub statement: Vec<Inline>,
    pub signatories: Vec<Signatory>,
}

/// A line to sign on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Signatory {
    /// In what capacity: `Authorizing Official`.
    pub role: String,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub organization: Option<String>,
    /// When it was signed; none leaves a line to fill in.
    #[serde(default)]
    pub signed_on: Option<NaiveDate>,
}

/// A statement that an official answers for by name, on a page of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attestation {
    pub title: String,
    pub statement: Vec<Inline>,
    /// What is affirmed, point by point.
    #[serde(default)]
    pub affirmations: Vec<ListItem>,
    /// Contract numbers, CAGE code, assessment date.
    #[serde(default)]
    pub facts: Vec<Fact>,
    pub official: Signatory,
    /// Consequences of a false statement.
    #[serde(default)]
    pub legal_notice: Option<String>,
}
