//! A report's life, apart from its content.

use serde::{Deserialize, Serialize};

/// Where a report stands, in the words that seeds 002 and 003 share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportStatus {
    Generating,
    Completed,
    Failed,
}

impl ReportStatus {
    /// The word kept in the database and used in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Generating => "generating",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}
