//! Holds one package against everything that advisories say of it.
//!
//! The advisories are the caller's to find: all ranges for the package's platform and name. [`judge`] sorts out which of them
//! to believe, and says for each vulnerability whether the package is affected, is not, or cannot be judged, with the
//! evidence for it.
//!
//! - Whoever knows the package best decides: a statement on this very product ([`Tier::Vex`]), then the distribution,
//!   then the language ecosystem, then the NVD's product names. A lower tier never overrules a higher one that spoke: a
//!   distribution's backported fix is a fix, however old the version looks from upstream.
//! - The ranges of a tier add up. Where two advisories of one tier disagree, "affected" wins over "cannot tell", and that over
//!   "not affected".
//! - Versions compare by their keys ([`crate::version`]). Without a key only the same spelling is the same version, and
//!   what that leaves open is undecided, never clean.

mod evidence;
mod range;

use std::cmp::Reverse;

use domain::advisory::State;
use serde::Serialize;

use self::range::Claim;
pub use self::{
    evidence::{Evidence, Overruled, Rule, Said, Stated},
    range::{Bound, Range, Tier, Version},
};
use crate::version::Scheme;

/// The package to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// OSV ecosystem spelling, such as `Debian:12`.
    pub platform: &'a str,
    /// The name that advisories use: of the source package on Debian, Ubuntu and Alpine.
    pub package: &'a str,
    /// The version of that package: of the source package where that is the one named.
    pub version: Version<'a>,
}

/// What one vulnerability means for the package.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict<'a> {
    /// The CVE, or the advisory's own id where there is none.
    pub vulnerability: &'a str,
    pub outcome: Outcome<'a>,
    pub evidence: Evidence<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome<'a> {
    Affected {
        /// The earliest known version that is later than the package's and not affected itself. `None`: there is no patch.
        fixed_version: Option<&'a str>,
        /// How it stands: affected, or affected and for some reason not going to be mended soon.
        state: State,
    },
    NotAffected,
    Undecided {
        why: Rule,
    },
}

/// Judges `subject` by `ranges`, which are about its platform and package and have keys of its platform's scheme.
///
/// Gives one verdict for each vulnerability that somebody said something about, ordered by vulnerability.
#[must_use]
pub fn judge<'a>(subject: &Subject<'a>, ranges: &[Range<'a>]) -> Vec<Verdict<'a>> {
    let mut ranges: Vec<&Range<'a>> = ranges.iter().filter(|range| may_judge(subject, range.tier)).collect();
    ranges.sort_by_key(|range| (range.vulnerability, Reverse(range.tier), range.advisory));
    ranges
        .chunk_by(|one, next| one.vulnerability == next.vulnerability)
        .filter_map(|of_one_vulnerability| verdict(subject, of_one_vulnerability))
        .collect()
}

/// A distribution's packages carry its own version numbers and fixes, of which the NVD's upstream versions know nothing.
fn may_judge(subject: &Subject<'_>, tier: Tier) -> bool {
    let is_distribution =
        matches!(Scheme::of_platform(subject.platform), Some(Scheme::Dpkg | Scheme::Rpm | Scheme::Apk));
    tier != Tier::Cpe || !is_distribution
}

/// `ranges` are about one vulnerability, the highest tier first and each advisory's together.
fn verdict<'a>(subject: &Subject<'a>, ranges: &[&Range<'a>]) -> Option<Verdict<'a>> {
    let statements = statements(&subject.version, ranges);
    let tier = statements.first()?.range.tier;
    let deciding =
        statements.iter().filter(|claim| claim.range.tier == tier).max_by_key(|claim| claim.weight())?;

    let outcome = match deciding.said {
        Said::Affected => {
            let of_tier: Vec<_> = ranges.iter().copied().filter(|range| range.tier == tier).collect();
            let fixed_version = fixed_version(subject.version, &of_tier);
            Outcome::Affected { fixed_version, state: deciding.range.state }
        }
        Said::Undecided => Outcome::Undecided { why: deciding.rule },
        Said::NotAffected => Outcome::NotAffected,
    };
    let overruled =
        statements.iter().filter(|claim| claim.said != deciding.said).map(Overruled::from).collect();
    Some(Verdict {
        vulnerability: deciding.range.vulnerability,
        outcome,
        evidence: Evidence::new(subject, deciding, overruled),
    })
}

/// What each advisory says of `version`, by all its ranges together. Those that are silent are left out.
fn statements<'r, 'a>(version: &Version<'a>, ranges: &[&'r Range<'a>]) -> Vec<Claim<'r, 'a>> {
    ranges
        .chunk_by(|one, next| (one.tier, one.advisory) == (next.tier, next.advisory))
        .filter_map(|of_one_advisory| {
            of_one_advisory
                .iter()
                .filter_map(|range| range.claim(version))
                .max_by_key(|claim| (claim.is_exception(), claim.weight()))
        })
        .collect()
}

/// The version to go to: from fix to fix, until one is affected by nothing that `ranges` know.
fn fixed_version<'a>(from: Version<'a>, ranges: &[&Range<'a>]) -> Option<&'a str> {
    let mut version = from;
    // Every step goes up and leaves a range behind, so there are no more steps than ranges. Versions without keys might
    // lead in a circle; that ends here too.
    for _ in ranges {
        let affecting = statements(&version, ranges).into_iter().filter(|claim| claim.said == Said::Affected);
        let fixes = affecting.filter_map(|claim| claim.range.bound.fixed());
        version = fixes.max_by_key(|fixed| fixed.key)?;
        if statements(&version, ranges).iter().all(|claim| claim.said != Said::Affected) {
            return Some(version.text);
        }
    }
    None
}
