//! One range of versions, and what it says of one version.

use std::cmp::Ordering;

use domain::advisory::State;
use serde::Serialize;

use super::evidence::{Rule, Said};

/// A version as it is written, and its key where it is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version<'a> {
    pub text: &'a str,
    /// From [`crate::version::key`], by the scheme of the package's platform.
    pub key: Option<&'a [u8]>,
}

impl Version<'_> {
    /// `None`: it cannot be told. Without two keys only the same spelling is known to be the same version.
    fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self.key, other.key) {
            (Some(one), Some(another)) => Some(one.cmp(another)),
            _ => (self.text == other.text).then_some(Ordering::Equal),
        }
    }

    /// Feeds write `0` for the time before any version.
    fn is_beginning(&self) -> bool {
        self.text == "0"
    }
}

/// How near a source is to the package, the nearest greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Product names in the NVD, matched to packages by name.
    Cpe,
    /// The language ecosystem: OSV, GitHub.
    Ecosystem,
    /// The distribution, for its own packages in this release.
    Distro,
    /// A statement on this very product by its vendor or by the user (Vulnerability Exploitability eXchange).
    Vex,
}

impl Tier {
    /// The number kept with stored ranges: how many steps from the product itself.
    #[must_use]
    pub fn distance(self) -> i16 {
        match self {
            Self::Vex => 0,
            Self::Distro => 1,
            Self::Ecosystem => 2,
            Self::Cpe => 3,
        }
    }

    /// Reads the number kept with stored ranges.
    #[must_use]
    pub fn from_distance(distance: i16) -> Option<Self> {
        [Self::Vex, Self::Distro, Self::Ecosystem, Self::Cpe]
            .into_iter()
            .find(|tier| tier.distance() == distance)
    }
}

/// The version at which a range of affected versions ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound<'a> {
    Unbounded,
    /// The first version not affected any more; `0` means that none ever was.
    Fixed(Version<'a>),
    /// The last version affected, itself included.
    LastAffected(Version<'a>),
    /// This one version only.
    Exactly(Version<'a>),
}

impl<'a> Bound<'a> {
    pub(super) fn fixed(&self) -> Option<Version<'a>> {
        if let Self::Fixed(version) = self { Some(*version) } else { None }
    }
}

/// One row of an advisory: what it says about the versions from `introduced` to `bound`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range<'a> {
    pub advisory: i64,
    /// The slug of the source that published the advisory.
    pub source: &'a str,
    /// The CVE, or the advisory's own id where there is none.
    pub vulnerability: &'a str,
    pub tier: Tier,
    /// What is said of the versions in the range.
    pub state: State,
    /// The first version in the range; `None` or `0`: from the beginning.
    pub introduced: Option<Version<'a>>,
    pub bound: Bound<'a>,
}

/// What a range says of a version.
#[derive(Clone, Copy)]
pub(super) struct Claim<'r, 'a> {
    pub(super) said: Said,
    pub(super) rule: Rule,
    pub(super) range: &'r Range<'a>,
}

impl<'a> Claim<'_, 'a> {
    /// An advisory that clears some versions means it as an exception to its own affected ranges.
    pub(super) fn is_exception(&self) -> bool {
        let has_start = self.range.introduced.is_some_and(|introduced| !introduced.is_beginning());
        self.rule == Rule::StatedNotAffected && (has_start || self.range.bound != Bound::Unbounded)
    }

    /// The greatest claim is the one to go by, and to show: what is worse for the package first; of equals, a range that
    /// no fix ends, then the one with the latest fix.
    pub(super) fn weight(&self) -> (Said, u8, Option<&'a [u8]>) {
        match self.range.bound {
            _ if self.rule == Rule::BeforeIntroduced => (self.said, 0, None),
            Bound::Unbounded => (self.said, 2, None),
            Bound::Fixed(fixed) => (self.said, 1, fixed.key),
            Bound::LastAffected(_) | Bound::Exactly(_) => (self.said, 0, None),
        }
    }
}

/// Where a version lies; the rule tells why.
enum Place {
    Inside(Rule),
    Outside(Rule),
    Unknown(Rule),
}

impl<'a> Range<'a> {
    /// `None`: the range is silent about `version`.
    pub(super) fn claim(&self, version: &Version<'a>) -> Option<Claim<'_, 'a>> {
        let (said, rule) = match (self.place(version), self.state) {
            (Place::Inside(_), State::NotAffected) => (Said::NotAffected, Rule::StatedNotAffected),
            (Place::Inside(_), State::UnderInvestigation) => (Said::Undecided, Rule::UnderInvestigation),
            (Place::Inside(rule), _) => (Said::Affected, rule),
            // What holds for other versions only, or perhaps for others, clears nobody.
            (Place::Outside(_), State::NotAffected | State::UnderInvestigation) => return None,
            (Place::Unknown(_), State::NotAffected) => return None,
            (Place::Unknown(rule), _) => (Said::Undecided, rule),
            // An advisory lists all that is affected. A statement on a product speaks of the versions it names.
            (Place::Outside(rule), _) if self.tier == Tier::Vex && rule != Rule::FixedOrLater => return None,
            (Place::Outside(rule), _) => (Said::NotAffected, rule),
        };
        Some(Claim { said, rule, range: self })
    }

    fn place(&self, version: &Version<'a>) -> Place {
        use Ordering::{Equal, Greater, Less};
        let unknown = Place::Unknown(match version.key {
            None => Rule::VersionNotUnderstood,
            Some(_) => Rule::RangeNotUnderstood,
        });

        let introduced = self.introduced.filter(|introduced| !introduced.is_beginning());
        let from_start = introduced.map_or(Some(Greater), |introduced| version.compare(&introduced));
        if from_start == Some(Less) {
            return Place::Outside(Rule::BeforeIntroduced);
        }
        let starts = from_start.is_some();
        // Named as the first affected version, it is affected, whatever cannot be told about the end.
        let is_first = from_start == Some(Equal);

        match self.bound {
            Bound::Unbounded if starts => Place::Inside(Rule::NoFixKnown),
            Bound::Unbounded => unknown,
            Bound::Fixed(fixed) if fixed.is_beginning() => Place::Outside(Rule::FixedOrLater),
            Bound::Fixed(fixed) => match version.compare(&fixed) {
                Some(Equal | Greater) => Place::Outside(Rule::FixedOrLater),
                Some(Less) if starts => Place::Inside(Rule::BelowFixed),
                None if is_first => Place::Inside(Rule::NamedAffected),
                _ => unknown,
            },
            Bound::LastAffected(last) => match version.compare(&last) {
                Some(Greater) => Place::Outside(Rule::AboveLastAffected),
                Some(Equal) => Place::Inside(Rule::UpToLastAffected),
                Some(Less) if starts => Place::Inside(Rule::UpToLastAffected),
                None if is_first => Place::Inside(Rule::NamedAffected),
                _ => unknown,
            },
            Bound::Exactly(named) => match version.compare(&named) {
                Some(Equal) => Place::Inside(Rule::NamedAffected),
                Some(Less | Greater) => Place::Outside(Rule::NotNamed),
                // A version that is understood is none of those that are not.
                None if version.key.is_some() => Place::Outside(Rule::NotNamed),
                None => unknown,
            },
        }
    }
}
