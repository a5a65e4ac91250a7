//! A report's life, apart from its content.

use serde::{Deserialize, Serialize};

/// Days for which the addresses of finished files hold, as the examples of seeds 003 and 002 show them.
pub const INFRACAST_LINK_DAYS: i64 = 7;
pub const BREAKWATER_LINK_DAYS: i64 = 31;
/// Days for which the link in a mail opens a file that is too large to be attached. It needs no account, hence the shorter of the two.
pub const MAIL_LINK_DAYS: i64 = INFRACAST_LINK_DAYS;

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
