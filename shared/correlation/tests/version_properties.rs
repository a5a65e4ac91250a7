//! Keys against comparators written straight from the rules, on versions made up at random.

use std::cmp::Ordering;

use correlation::version::{LONGEST, Scheme, key};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn dpkg_keys_order_like_debian_policy(left in dpkg_version(), right in dpkg_version()) {
        prop_assert_eq!(compare_keys(Scheme::Dpkg, &left, &right), Some(dpkg::compare(&left, &right)));
    }

    #[test]
    fn dpkg_keys_order_like_another_implementation(left in dpkg_version(), right in dpkg_version()) {
        prop_assert_eq!(compare_keys(Scheme::Dpkg, &left, &right), Some(deb_version::compare_versions(&left, &right)));
    }

    #[test]
    fn rpm_keys_order_like_rpmvercmp(left in rpm_version(), right in rpm_version()) {
        prop_assert_eq!(compare_keys(Scheme::Rpm, &left, &right), Some(rpm::compare(&left, &right)));
    }

    #[test]
    fn semver_keys_order_like_section_11(left in semver_version(), right in semver_version()) {
        prop_assert_eq!(compare_keys(Scheme::SemVer, &left, &right), Some(semver::compare(&left, &right)));
    }

    #[test]
    fn gem_keys_order_like_gem_version(left in gem_version(), right in gem_version()) {
        prop_assert_eq!(compare_keys(Scheme::RubyGems, &left, &right), Some(gem::compare(&left, &right)));
    }

    #[test]
    fn a_key_is_made_of_the_version_alone_and_stays_small(version in "\\PC{0,40}") {
        for scheme in [Scheme::Dpkg, Scheme::Rpm, Scheme::Apk, Scheme::SemVer, Scheme::Pep440, Scheme::RubyGems,
                       Scheme::NuGet, Scheme::Packagist, Scheme::Maven] {
            let once = key(scheme, &version);
            prop_assert_eq!(&once, &key(scheme, &version));
            // The largest growth: a gem's hyphen is a whole word.
            let longest = once.map_or(0, |key| key.as_bytes().len());
            prop_assert!(longest <= 8 * version.len() + 8 && longest <= 8 * LONGEST);
        }
    }
}

fn compare_keys(scheme: Scheme, left: &str, right: &str) -> Option<Ordering> {
    Some(key(scheme, left)?.cmp(&key(scheme, right)?))
}

// Few characters and short runs, so that versions often share a beginning.

fn dpkg_version() -> impl Strategy<Value = String> {
    "([0-2]:)?[0-2][0-2.~+aZ-]{0,5}(-[01.~+ab]{1,4})?"
        .prop_filter("a hyphen begins a revision", |version| !version.ends_with('-'))
}

fn rpm_version() -> impl Strategy<Value = String> {
    "([0-2]:)?[0-2.~^aZ_]{1,6}(-[0-2.~^ab]{0,4})?"
}

fn semver_version() -> impl Strategy<Value = String> {
    "[0-2]\\.[0-2]\\.[0-2](-(0|1|10|a|a1|-)(\\.(0|1|10|a|a1|-)){0,2})?"
}

fn gem_version() -> impl Strategy<Value = String> {
    "[0-2](\\.(0|1|00|a|b|a1|0b)){0,5}"
}

/// Debian Policy 5.6.12, step by step.
mod dpkg {
    use super::*;

    pub(super) fn compare(left: &str, right: &str) -> Ordering {
        let (left, right) = (split(left), split(right));
        (left.0.cmp(&right.0)).then_with(|| part(left.1, right.1)).then_with(|| part(left.2, right.2))
    }

    fn split(version: &str) -> (u64, &str, &str) {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.parse().unwrap(), upstream, revision)
    }

    fn part(mut left: &str, mut right: &str) -> Ordering {
        while !left.is_empty() || !right.is_empty() {
            let (left_text, right_text) = (take(&mut left, false), take(&mut right, false));
            for index in 0..left_text.len().max(right_text.len()) {
                let order = weight(left_text, index).cmp(&weight(right_text, index));
                if order.is_ne() {
                    return order;
                }
            }
            let order = number(take(&mut left, true)).cmp(&number(take(&mut right, true)));
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    }

    fn take<'a>(text: &mut &'a str, digits: bool) -> &'a str {
        let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
        let (run, rest) = text.split_at(end);
        *text = rest;
        run
    }

    fn number(digits: &str) -> u64 {
        digits.parse().unwrap_or(0)
    }

    fn weight(text: &str, index: usize) -> i32 {
        match text.as_bytes().get(index) {
            None => 0,
            Some(b'~') => -1,
            Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
            Some(other) => i32::from(*other) + 256,
        }
    }
}

/// rpm's comparison, step by step.
mod rpm {
    use super::*;

    pub(super) fn compare(left: &str, right: &str) -> Ordering {
        let (left, right) = (split(left), split(right));
        (left.0.cmp(&right.0)).then_with(|| segments(left.1, right.1)).then_with(|| match (left.2, right.2) {
            (Some(left), Some(right)) => segments(left, right),
            (left, right) => left.is_some().cmp(&right.is_some()),
        })
    }

    fn split(version: &str) -> (u64, &str, Option<&str>) {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (version, release) =
            rest.rsplit_once('-').map_or((rest, None), |(version, release)| (version, Some(release)));
        (epoch.parse().unwrap(), version, release)
    }

    fn segments(mut left: &str, mut right: &str) -> Ordering {
        loop {
            let separator = |c: char| !c.is_ascii_alphanumeric() && c != '~' && c != '^';
            left = left.trim_start_matches(separator);
            right = right.trim_start_matches(separator);
            for (sign, against_end) in [('~', Ordering::Less), ('^', Ordering::Greater)] {
                match (left.starts_with(sign), right.starts_with(sign)) {
                    (true, true) => return segments(&left[1..], &right[1..]),
                    (true, false) if right.is_empty() => return against_end,
                    (true, false) => return Ordering::Less,
                    (false, true) if left.is_empty() => return against_end.reverse(),
                    (false, true) => return Ordering::Greater,
                    (false, false) => {}
                }
            }
            if left.is_empty() || right.is_empty() {
                return left.len().cmp(&right.len());
            }
            let digits = left.starts_with(|c: char| c.is_ascii_digit());
            let (left_segment, right_segment) = (take(&mut left, digits), take(&mut right, digits));
            let order = match (digits, right_segment.is_empty()) {
                (true, true) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (true, false) => left_segment.parse::<u64>().unwrap().cmp(&right_segment.parse().unwrap()),
                (false, false) => left_segment.cmp(right_segment),
            };
            if order.is_ne() {
                return order;
            }
        }
    }

    fn take<'a>(text: &mut &'a str, digits: bool) -> &'a str {
        let belongs = |c: char| if digits { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
        let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
        let (segment, rest) = text.split_at(end);
        *text = rest;
        segment
    }
}

/// Semantic Versioning 2.0.0, section 11, step by step.
mod semver {
    use super::*;

    pub(super) fn compare(left: &str, right: &str) -> Ordering {
        let (left_core, left_pre) = split(left);
        let (right_core, right_pre) = split(right);
        left_core.cmp(&right_core).then_with(|| match (left_pre, right_pre) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(left), Some(right)) => {
                left.split('.').map(identifier).cmp(right.split('.').map(identifier))
            }
        })
    }

    fn split(version: &str) -> (Vec<u64>, Option<&str>) {
        let (core, pre) = version.split_once('-').map_or((version, None), |(core, pre)| (core, Some(pre)));
        (core.split('.').map(|number| number.parse().unwrap()).collect(), pre)
    }

    /// Whether it is text, which sorts behind numbers; the number; the text.
    fn identifier(text: &str) -> (bool, u64, &str) {
        text.parse().map_or((true, 0, text), |number| (false, number, ""))
    }
}

/// `Gem::Version`'s comparison, step by step.
mod gem {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
    enum Segment {
        Letters(String),
        Number(u64),
    }

    pub(super) fn compare(left: &str, right: &str) -> Ordering {
        let (left, right) = (canonical(left), canonical(right));
        let zero = Segment::Number(0);
        (0..left.len().max(right.len()))
            .map(|index| left.get(index).unwrap_or(&zero).cmp(right.get(index).unwrap_or(&zero)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    /// Segments without the zeros that end the release's numbers and those that end the whole.
    fn canonical(version: &str) -> Vec<Segment> {
        let segments: Vec<Segment> = version.split('.').flat_map(segments).collect();
        let numbers = segments
            .iter()
            .position(|segment| matches!(segment, Segment::Letters(_)))
            .unwrap_or(segments.len());
        let (release, pre_release) = segments.split_at(numbers);
        [without_zeros(release), without_zeros(pre_release)].concat()
    }

    fn segments(part: &str) -> Vec<Segment> {
        let split = part
            .find(|c: char| c.is_ascii_digit() != part.as_bytes()[0].is_ascii_digit())
            .unwrap_or(part.len());
        let (first, second) = part.split_at(split);
        [first, second]
            .into_iter()
            .filter(|run| !run.is_empty())
            .map(|run| run.parse().map_or_else(|_| Segment::Letters(run.to_owned()), Segment::Number))
            .collect()
    }

    fn without_zeros(segments: &[Segment]) -> &[Segment] {
        let end =
            segments.iter().rposition(|segment| *segment != Segment::Number(0)).map_or(0, |last| last + 1);
        &segments[..end]
    }
}
