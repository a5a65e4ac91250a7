//! A finding: one vulnerability on one package of one asset.

use serde::{Deserialize, Serialize};

/// Where a finding stands, in the words of seed 000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingStatus {
    Open,
    InReview,
    AcceptedRisk,
    Resolved,
}

impl FindingStatus {
    /// All of them, in the order of a finding's life.
    pub const ALL: [Self; 4] = [Self::Open, Self::InReview, Self::AcceptedRisk, Self::Resolved];

    /// The word kept in the database and used in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::InReview => "in_review",
            Self::AcceptedRisk => "accepted_risk",
            Self::Resolved => "resolved",
        }
    }
}

impl std::str::FromStr for FindingStatus {
    type Err = UnknownStatus;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(word))
            .ok_or_else(|| UnknownStatus(word.to_owned()))
    }
}

/// A word that is not a finding's status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("status `{0}` is not one of open, in_review, accepted_risk, resolved")]
pub struct UnknownStatus(pub String);

/// Whether the package was judged affected or could not be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The advisory's range contains the version.
    Confirmed,
    /// The version or the range could not be compared: shown, never counted as clean.
    Undecided,
}

impl Confidence {
    /// The word kept in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Undecided => "undecided",
        }
    }
}
