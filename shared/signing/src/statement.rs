//! What is signed, in words: the report's particulars, which the signature covers like everything else.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Version of [`Statement`] as it stands in files.
const VERSION: u32 = 1;

/// Written into every signed file. A verifier without a database learns from it what it has in hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// [`VERSION`]; files with another one are of a later product.
    pub version: u32,
    pub report_id: String,
    pub report_type: String,
    pub title: String,
    /// The organization that the report is about.
    pub tenant: String,
    pub framework: Option<String>,
    /// When the report's data was frozen.
    pub generated_at: DateTime<Utc>,
    /// SHA-256 of the report's content in lower-case hexadecimal, as printed on the signature page.
    pub content_sha256: String,
    /// In whose name the installation signs: an address.
    pub signed_by: String,
    /// The installation's clock. A timestamp, where there is one, says the same with somebody else's authority.
    pub signed_at: DateTime<Utc>,
    /// A timestamp goes with the signature. It cannot be among what is signed, so this keeps it from being cut out.
    pub timestamped: bool,
}

impl Statement {
    /// A statement about the report `report_id`; the rest is to be filled in with `..`.
    #[must_use]
    pub fn new(report_id: impl Into<String>, generated_at: DateTime<Utc>, signed_at: DateTime<Utc>) -> Self {
        Self {
            version: VERSION,
            report_id: report_id.into(),
            report_type: String::new(),
            title: String::new(),
            tenant: String::new(),
            framework: None,
            generated_at,
            content_sha256: String::new(),
            signed_by: String::new(),
            signed_at,
            timestamped: false,
        }
    }

    /// Reads what [`serde_json`] wrote.
    pub(crate) fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(json).ok().filter(|statement| statement.version == VERSION)
    }
}
