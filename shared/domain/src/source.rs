//! Where vulnerability data comes from.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The format that a source's content is in, and with it how it is fetched and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeedKind {
    /// CISA Known Exploited Vulnerabilities, JSON.
    CisaKev,
    /// FIRST EPSS, gzipped CSV.
    Epss,
    /// Debian security tracker, `data/json`.
    DebianTracker,
    /// Alpine secdb: the fixes of one repository of one release, JSON.
    AlpineSecdb,
    /// Open Source Vulnerabilities: a zip or a directory of JSON records.
    Osv,
    /// NVD 2.0 CVE API pages.
    Nvd,
}

impl FeedKind {
    /// The catalogue of feed kinds.
    pub const ALL: [Self; 6] =
        [Self::CisaKev, Self::Epss, Self::DebianTracker, Self::AlpineSecdb, Self::Osv, Self::Nvd];

    /// The word kept in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CisaKev => "cisa-kev",
            Self::Epss => "epss",
            Self::DebianTracker => "debian-tracker",
            Self::AlpineSecdb => "alpine-secdb",
            Self::Osv => "osv",
            Self::Nvd => "nvd",
        }
    }
}

impl fmt::Display for FeedKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for FeedKind {
    type Err = UnknownFeed;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or_else(|| UnknownFeed(word.to_owned()))
    }
}

/// A word that is not a feed kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("feed kind `{0}` is not one of {known}", known = FeedKind::ALL.map(FeedKind::as_str).join(", "))]
pub struct UnknownFeed(pub String);
