//! Why a verdict is what it is, in a form to be stored with it and shown to a person.

use serde::{Serialize, Serializer};

use super::{
    Bound, Subject, Tier,
    range::{Claim, Range},
};

/// What made a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence<'a> {
    /// The advisory that decided, and where it came from.
    pub advisory: i64,
    pub source: &'a str,
    pub tier: Tier,
    pub rule: Rule,
    /// What was compared.
    pub platform: &'a str,
    pub package: &'a str,
    pub version: &'a str,
    /// What it was compared with.
    #[serde(flatten)]
    pub range: Stated<'a>,
    /// Who said otherwise and was not followed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overruled: Vec<Overruled<'a>>,
}

impl<'a> Evidence<'a> {
    pub(super) fn new(
        subject: &Subject<'a>,
        deciding: &Claim<'_, 'a>,
        overruled: Vec<Overruled<'a>>,
    ) -> Self {
        Self {
            advisory: deciding.range.advisory,
            source: deciding.range.source,
            tier: deciding.range.tier,
            rule: deciding.rule,
            platform: subject.platform,
            package: subject.package,
            version: subject.version.text,
            range: Stated::from(deciding.range),
            overruled,
        }
    }
}

/// A range in the advisory's own spelling.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stated<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introduced: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_affected: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exactly: Option<&'a str>,
}

impl<'a> From<&Range<'a>> for Stated<'a> {
    fn from(range: &Range<'a>) -> Self {
        let stated = Self { introduced: range.introduced.map(|version| version.text), ..Self::default() };
        match range.bound {
            Bound::Unbounded => stated,
            Bound::Fixed(version) => Self { fixed: Some(version.text), ..stated },
            Bound::LastAffected(version) => Self { last_affected: Some(version.text), ..stated },
            Bound::Exactly(version) => Self { exactly: Some(version.text), ..stated },
        }
    }
}

/// A source that disagreed with the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overruled<'a> {
    pub advisory: i64,
    pub source: &'a str,
    pub tier: Tier,
    pub said: Said,
    pub rule: Rule,
    #[serde(flatten)]
    pub range: Stated<'a>,
}

impl<'a> From<&Claim<'_, 'a>> for Overruled<'a> {
    fn from(claim: &Claim<'_, 'a>) -> Self {
        Self {
            advisory: claim.range.advisory,
            source: claim.range.source,
            tier: claim.range.tier,
            said: claim.said,
            rule: claim.rule,
            range: Stated::from(claim.range),
        }
    }
}

/// What a source says of the package, the worst greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    NotAffected,
    Undecided,
    Affected,
}

/// The rule by which a range spoke. Serialised in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    BelowFixed,
    UpToLastAffected,
    NoFixKnown,
    NamedAffected,
    FixedOrLater,
    AboveLastAffected,
    BeforeIntroduced,
    NotNamed,
    StatedNotAffected,
    UnderInvestigation,
    VersionNotUnderstood,
    RangeNotUnderstood,
}

impl Rule {
    /// The rule in words, for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BelowFixed => "version is below the fixed version",
            Self::UpToLastAffected => "version is not above the last affected version",
            Self::NoFixKnown => "version is affected and no fixed version is known",
            Self::NamedAffected => "version is named as affected",
            Self::FixedOrLater => "version is the fixed version or later",
            Self::AboveLastAffected => "version is above the last affected version",
            Self::BeforeIntroduced => "version is below the first affected version",
            Self::NotNamed => "version is not the one named as affected",
            Self::StatedNotAffected => "stated not to be affected",
            Self::UnderInvestigation => "under investigation by the source",
            Self::VersionNotUnderstood => "package version is not understood",
            Self::RangeNotUnderstood => "advisory version is not understood",
        }
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
