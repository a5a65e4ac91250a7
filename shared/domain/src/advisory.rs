//! What vulnerability sources publish, in one shape for all of them.
//!
//! The key of everything is the *advisory* (one source's statement), not the CVE: one advisory may name
//! several CVEs or none, and several advisories may name the same CVE. Reading a feed's format is the business of `feeds`;
//! ordering versions and judging packages is that of `correlation`.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::Severity;

/// One record of a feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Record {
    Advisory(Advisory),
    Cve(Cve),
    Epss(Epss),
    Kev(Kev),
}

/// One source's statement about one problem: which packages, in which versions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Advisory {
    /// The source's own id: `GHSA-…`, `RUSTSEC-…`, `DSA-…`, or the CVE id where the source keys on that.
    pub external_id: String,
    /// The CVEs it is about. Empty: the advisory's own id is the name of the problem.
    pub cves: Vec<String>,
    /// Other ids of the very same problem (never `related`, never `upstream`).
    pub aliases: Vec<String>,
    pub title: Option<String>,
    pub summary: Option<String>,
    pub severity: Option<Severity>,
    /// CVSS base score, 0.0 to 10.0, where the source states or implies one by its vector.
    pub cvss_score: Option<f32>,
    pub cvss_vector: Option<String>,
    pub published: Option<DateTime<Utc>>,
    pub modified: Option<DateTime<Utc>>,
    /// Set when the source took it back: matches are closed, history stays.
    pub withdrawn: Option<DateTime<Utc>>,
    pub url: Option<String>,
    pub references: Vec<String>,
    /// True for notices that are not vulnerabilities (unmaintained, unsound).
    pub informational: bool,
    pub affected: Vec<Affected>,
}

/// One package on one platform, and the versions of it that the advisory speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    /// OSV ecosystem spelling with the release behind the colon: `Debian:12`, `Ubuntu:22.04`, `Alpine:v3.20`,
    /// `crates.io`, `npm`, `PyPI`, `Go`.
    pub platform: String,
    /// The package judged: the *source* package for Debian, Ubuntu and Alpine, the binary one for rpm systems.
    pub package: String,
    /// The first version affected; `None` means from the beginning.
    pub introduced: Option<String>,
    pub bound: Bound,
    pub state: State,
    /// The source's own remark, such as why no fix will come.
    pub note: Option<String>,
    /// CVEs this entry is about, where it differs from the advisory's.
    pub cves: Vec<String>,
}

/// Where a range of affected versions ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    /// It does not end: no fixed version is known.
    Unbounded,
    /// The first version that is not affected any more.
    Fixed(String),
    /// The last version that is affected, itself included.
    LastAffected(String),
    /// This one version only.
    Exactly(String),
}

/// What the source says about the package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Versions within the range are affected.
    Affected,
    /// No version of this package is.
    NotAffected,
    /// The source has not decided yet.
    UnderInvestigation,
    /// Affected, and the vendor will not mend it.
    WontFix,
    /// Affected; a fix is not urgent enough for an advisory of its own (Debian: no-DSA, postponed).
    Deferred,
    /// Affected; the release is not looked after any more.
    EndOfLife,
}

impl State {
    /// The word kept in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Affected => "affected",
            Self::NotAffected => "not_affected",
            Self::UnderInvestigation => "under_investigation",
            Self::WontFix => "wont_fix",
            Self::Deferred => "deferred",
            Self::EndOfLife => "end_of_life",
        }
    }

    /// Reads the word kept in the database.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::Affected,
            Self::NotAffected,
            Self::UnderInvestigation,
            Self::WontFix,
            Self::Deferred,
            Self::EndOfLife,
        ]
        .into_iter()
        .find(|state| state.as_str() == word)
    }
}

/// What the NVD, or a CVE record, says about a CVE.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Cve {
    pub cve_id: String,
    pub description: Option<String>,
    pub published: Option<DateTime<Utc>>,
    pub modified: Option<DateTime<Utc>>,
    /// NVD `vulnStatus`, such as `Analyzed`, `Awaiting Analysis`, `Rejected`.
    pub nvd_status: Option<String>,
    pub cvss_v2_score: Option<f32>,
    /// CVSS 3.1, or 3.0 where that is all there is.
    pub cvss_v31_score: Option<f32>,
    pub cvss_v31_vector: Option<String>,
    pub cvss_v4_score: Option<f32>,
    pub cvss_v4_vector: Option<String>,
    pub cwes: Vec<String>,
    pub references: Vec<String>,
    /// True when a reference is tagged as an exploit.
    pub has_exploit: bool,
}

impl Cve {
    /// The best base score known: CVSS 4.0, then 3.x, then 2.0.
    #[must_use]
    pub fn base_score(&self) -> Option<f32> {
        self.cvss_v4_score.or(self.cvss_v31_score).or(self.cvss_v2_score)
    }
}

/// FIRST EPSS: the chance that a CVE is exploited within the next thirty days.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epss {
    pub cve_id: String,
    /// Probability, 0.0 to 1.0.
    pub score: f32,
    /// Share of CVEs with the same or a lower score, 0.0 to 1.0.
    pub percentile: f32,
}

/// CISA Known Exploited Vulnerabilities: seen in the wild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kev {
    pub cve_id: String,
    pub vendor: String,
    pub product: String,
    pub name: String,
    pub description: String,
    pub required_action: String,
    pub date_added: NaiveDate,
    pub due_date: Option<NaiveDate>,
    /// `knownRansomwareCampaignUse` is `Known`.
    pub ransomware: bool,
    pub notes: String,
}
