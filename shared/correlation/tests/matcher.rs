//! What a package is exposed to, given what advisories say.

use correlation::{
    matcher::{Bound, Outcome, Range, Rule, Said, Subject, Tier, Verdict, Version, judge},
    version::{Scheme, key},
};
use domain::advisory::State;
use proptest::prelude::*;

const DEBIAN: &str = "Debian:12";

/// A version of `platform`, with its key if it has one.
fn version_on(platform: &str, text: &str) -> Version<'static> {
    let key = Scheme::of_platform(platform).and_then(|scheme| key(scheme, text));
    Version { text: text.to_owned().leak(), key: key.map(|key| &*key.into_bytes().leak()) }
}

fn version(text: &str) -> Version<'static> {
    version_on(DEBIAN, text)
}

fn fixed(text: &str) -> Bound<'static> {
    Bound::Fixed(version(text))
}

/// What Debian says of one CVE: affected up to `bound`.
fn debian(bound: Bound<'static>) -> Range<'static> {
    Range {
        advisory: 1,
        source: "debian",
        vulnerability: "CVE-2024-0001",
        tier: Tier::Distro,
        state: State::Affected,
        introduced: None,
        bound,
    }
}

/// What the language ecosystem says of the same CVE.
fn ecosystem(bound: Bound<'static>) -> Range<'static> {
    Range { advisory: 2, source: "osv", tier: Tier::Ecosystem, ..debian(bound) }
}

fn since(introduced: &str, range: Range<'static>) -> Range<'static> {
    Range { introduced: Some(version(introduced)), ..range }
}

fn judge_all(installed: &str, ranges: &[Range<'static>]) -> Vec<Verdict<'static>> {
    judge(&Subject { platform: DEBIAN, package: "glibc", version: version(installed) }, ranges)
}

fn judge_one(installed: &str, ranges: &[Range<'static>]) -> Verdict<'static> {
    let verdicts = judge_all(installed, ranges);
    let [verdict] = &verdicts[..] else { panic!("one verdict expected: {verdicts:?}") };
    verdict.clone()
}

fn affected(fixed_version: Option<&'static str>) -> Outcome<'static> {
    Outcome::Affected { fixed_version, state: State::Affected }
}

#[test]
fn a_version_below_the_fix_is_affected_and_the_fix_is_named() {
    let verdict = judge_one("2.36-9+deb12u6", &[debian(fixed("2.36-9+deb12u7"))]);
    assert_eq!(verdict.outcome, affected(Some("2.36-9+deb12u7")));
    assert_eq!(verdict.evidence.rule, Rule::BelowFixed);
}

#[test]
fn the_fixed_version_itself_is_not_affected_however_it_is_spelt() {
    for installed in ["2.36-9", "0:2.36-9", "2.36-09", "2.36-10"] {
        let verdict = judge_one(installed, &[debian(fixed("2.36-9"))]);
        assert_eq!((verdict.outcome, verdict.evidence.rule), (Outcome::NotAffected, Rule::FixedOrLater));
    }
}

#[test]
fn the_first_affected_version_is_affected_and_the_one_before_is_not() {
    let range = since("2.36-5", debian(fixed("2.36-9")));
    assert_eq!(judge_one("2.36-5", &[range]).outcome, affected(Some("2.36-9")));
    let before = judge_one("2.36-4", &[range]);
    assert_eq!((before.outcome, before.evidence.rule), (Outcome::NotAffected, Rule::BeforeIntroduced));
}

#[test]
fn the_last_affected_version_is_affected_and_the_next_is_not() {
    let range = debian(Bound::LastAffected(version("2.36-9")));
    assert_eq!(judge_one("2.36-9", &[range]).outcome, affected(None));
    let above = judge_one("2.36-9+deb12u1", &[range]);
    assert_eq!((above.outcome, above.evidence.rule), (Outcome::NotAffected, Rule::AboveLastAffected));
}

#[test]
fn without_a_fix_every_version_is_affected_even_one_that_is_not_understood() {
    for range in [debian(Bound::Unbounded), since("0", debian(Bound::Unbounded))] {
        assert_eq!(judge_one("2.36-9", &[range]).outcome, affected(None));
        assert_eq!(judge_one("what version?", &[range]).outcome, affected(None));
    }
}

#[test]
fn fixed_in_version_0_means_never_affected() {
    for installed in ["2.36-9", "0", "0~a", "what version?"] {
        assert_eq!(judge_one(installed, &[debian(fixed("0"))]).outcome, Outcome::NotAffected);
    }
}

#[test]
fn why_no_fix_will_come_is_part_of_the_outcome() {
    for state in [State::WontFix, State::Deferred, State::EndOfLife] {
        let verdict = judge_one("2.36-9", &[Range { state, ..debian(Bound::Unbounded) }]);
        assert_eq!(verdict.outcome, Outcome::Affected { fixed_version: None, state });
    }
}

#[test]
fn what_is_under_investigation_is_undecided() {
    let verdict =
        judge_one("2.36-9", &[Range { state: State::UnderInvestigation, ..debian(Bound::Unbounded) }]);
    assert_eq!(verdict.outcome, Outcome::Undecided { why: Rule::UnderInvestigation });
}

#[test]
fn several_ranges_of_an_advisory_add_up() {
    // Mended in the old branch, and come back with the new one.
    let ranges = [debian(fixed("1.2.9")), since("1.3.0", debian(fixed("1.3.4")))];
    assert_eq!(judge_one("1.2.8", &ranges).outcome, affected(Some("1.2.9")));
    assert_eq!(judge_one("1.2.9", &ranges).outcome, Outcome::NotAffected);
    assert_eq!(judge_one("1.3.0", &ranges).outcome, affected(Some("1.3.4")));
    assert_eq!(judge_one("1.3.4", &ranges).outcome, Outcome::NotAffected);
}

#[test]
fn a_version_named_alone_is_affected_and_its_neighbours_are_not() {
    let named = debian(Bound::Exactly(version("1.2")));
    assert_eq!(judge_one("1.2", &[named]).outcome, affected(None));
    assert_eq!(judge_one("0:1.2-0", &[named]).outcome, affected(None));
    assert_eq!(judge_one("1.3", &[named]).outcome, Outcome::NotAffected);
}

#[test]
fn naming_a_version_beside_its_range_does_not_hide_the_fix() {
    let named = debian(Bound::Exactly(version("1.2")));
    for ranges in [[named, debian(fixed("1.5"))], [debian(fixed("1.5")), named]] {
        let verdict = judge_one("1.2", &ranges);
        assert_eq!(verdict.outcome, affected(Some("1.5")));
        assert_eq!(verdict.evidence.range.fixed, Some("1.5"));
    }
}

#[test]
fn a_fix_that_is_itself_affected_is_no_fix() {
    let again = Range { advisory: 7, ..since("1.4", debian(fixed("1.7"))) };
    assert_eq!(judge_one("1.2", &[debian(fixed("1.5")), again]).outcome, affected(Some("1.7")));
    let for_good = Range { advisory: 7, ..since("1.4", debian(Bound::Unbounded)) };
    assert_eq!(judge_one("1.2", &[debian(fixed("1.5")), for_good]).outcome, affected(None));
}

#[test]
fn a_tier_reads_back_from_its_number_and_the_nearer_one_is_the_greater() {
    let tiers = [0, 1, 2, 3].map(Tier::from_distance);
    assert_eq!(tiers, [Tier::Vex, Tier::Distro, Tier::Ecosystem, Tier::Cpe].map(Some));
    assert!(tiers.is_sorted_by(|nearer, farther| nearer > farther));
    assert_eq!(Tier::from_distance(4), None);
}

#[test]
fn the_distribution_outranks_the_ecosystem_both_ways() {
    let backported = judge_one("1.2-3+deb12u1", &[ecosystem(fixed("1.9")), debian(fixed("1.2-3+deb12u1"))]);
    assert_eq!(backported.outcome, Outcome::NotAffected);
    let worse = judge_one("1.9-1", &[ecosystem(fixed("1.9")), debian(fixed("2.0-1"))]);
    assert_eq!(worse.outcome, affected(Some("2.0-1")));
}

#[test]
fn who_was_overruled_is_kept_as_evidence() {
    let verdict = judge_one("1.2-3+deb12u1", &[ecosystem(fixed("1.9")), debian(fixed("1.2-3+deb12u1"))]);
    let [overruled] = &verdict.evidence.overruled[..] else { panic!("{:?}", verdict.evidence) };
    assert_eq!(
        (overruled.source, overruled.said, overruled.range.fixed),
        ("osv", Said::Affected, Some("1.9"))
    );
    let agreed = judge_one("1.1", &[ecosystem(fixed("1.9")), debian(fixed("1.2"))]);
    assert_eq!(agreed.evidence.overruled, []);
}

#[test]
fn a_statement_on_the_product_outranks_the_distribution() {
    let vex = Range {
        tier: Tier::Vex,
        advisory: 9,
        source: "vex",
        state: State::NotAffected,
        ..debian(Bound::Unbounded)
    };
    assert_eq!(judge_one("1.2", &[debian(fixed("1.5")), vex]).outcome, Outcome::NotAffected);
}

#[test]
fn a_statement_on_other_versions_of_the_product_is_silent_about_this_one() {
    for state in [State::NotAffected, State::Affected, State::UnderInvestigation] {
        let bound = Bound::Exactly(version("1.1"));
        let vex = Range { tier: Tier::Vex, advisory: 9, source: "vex", state, ..debian(bound) };
        assert_eq!(judge_one("1.2", &[debian(fixed("1.5")), vex]).outcome, affected(Some("1.5")));
        assert_eq!(judge_all("1.2", &[vex]), []);
    }
}

#[test]
fn an_advisory_may_clear_some_versions_of_its_own_range() {
    let cleared = Range {
        state: State::NotAffected,
        ..since("5.10.221", debian(Bound::LastAffected(version("5.10.999"))))
    };
    let ranges = [debian(fixed("6.1")), cleared];
    assert_eq!(judge_one("5.10.230", &ranges).outcome, Outcome::NotAffected);
    assert_eq!(judge_one("5.10.220", &ranges).outcome, affected(Some("6.1")));
}

#[test]
fn where_advisories_of_one_tier_disagree_the_worse_one_holds() {
    let other = |state| Range { advisory: 3, source: "dsa", state, ..debian(Bound::Unbounded) };
    let verdict = judge_one("1.2", &[debian(fixed("1.5")), other(State::NotAffected)]);
    assert_eq!(verdict.outcome, affected(Some("1.5")));
    assert_eq!(verdict.evidence.overruled[0].source, "dsa");
    let verdict = judge_one("1.7", &[debian(fixed("1.5")), other(State::UnderInvestigation)]);
    assert_eq!(verdict.outcome, Outcome::Undecided { why: Rule::UnderInvestigation });
}

#[test]
fn the_nvd_does_not_judge_a_distributions_packages() {
    let nvd = Range { tier: Tier::Cpe, advisory: 4, source: "nvd", ..debian(Bound::Unbounded) };
    assert_eq!(judge_all("1.2", &[nvd]), []);
    let verdict = judge_one("1.7", &[debian(fixed("1.5")), nvd]);
    assert_eq!((verdict.outcome, verdict.evidence.overruled.len()), (Outcome::NotAffected, 0));
    let elsewhere = Subject { platform: "npm", package: "x", version: version_on("npm", "1.2.0") };
    assert_eq!(judge(&elsewhere, &[nvd])[0].outcome, affected(None));
}

#[test]
fn a_version_that_is_not_understood_is_undecided_unless_it_is_named() {
    let range = since("what version?", debian(fixed("that version?")));
    let odd = "which version?";
    assert_eq!(judge_one(odd, &[range]).outcome, Outcome::Undecided { why: Rule::VersionNotUnderstood });
    assert_eq!(judge_one("what version?", &[range]).outcome, affected(Some("that version?")));
    assert_eq!(judge_one("that version?", &[range]).outcome, Outcome::NotAffected);
    let named = debian(Bound::Exactly(version("1.2")));
    assert_eq!(judge_one(odd, &[named]).outcome, Outcome::Undecided { why: Rule::VersionNotUnderstood });
}

#[test]
fn a_range_that_is_not_understood_is_undecided_unless_the_version_is_outside_anyway() {
    let undecided = Outcome::Undecided { why: Rule::RangeNotUnderstood };
    assert_eq!(judge_one("1.2", &[debian(fixed("that version?"))]).outcome, undecided);
    assert_eq!(judge_one("1.2", &[since("what version?", debian(fixed("1.5")))]).outcome, undecided);
    assert_eq!(
        judge_one("1.6", &[since("what version?", debian(fixed("1.5")))]).outcome,
        Outcome::NotAffected
    );
    assert_eq!(
        judge_one("1.2", &[since("1.3", debian(fixed("that version?")))]).outcome,
        Outcome::NotAffected
    );
    // A list of versions with an odd one among them says nothing about the others.
    assert_eq!(
        judge_one("1.2", &[debian(Bound::Exactly(version("what version?")))]).outcome,
        Outcome::NotAffected
    );
}

#[test]
fn a_doubt_does_not_clear_anybody() {
    let unclear = Range { state: State::NotAffected, ..debian(fixed("that version?")) };
    assert_eq!(judge_one("1.2", &[unclear, ecosystem(fixed("1.5"))]).outcome, affected(Some("1.5")));
}

#[test]
fn each_vulnerability_is_judged_by_itself_and_they_come_in_order() {
    let other = Range { vulnerability: "CVE-2023-9999", advisory: 8, ..debian(fixed("1.0")) };
    let verdicts = judge_all("1.2", &[debian(fixed("1.5")), other]);
    let outcomes: Vec<_> = verdicts.iter().map(|verdict| (verdict.vulnerability, verdict.outcome)).collect();
    assert_eq!(outcomes, [("CVE-2023-9999", Outcome::NotAffected), ("CVE-2024-0001", affected(Some("1.5")))]);
}

#[test]
fn evidence_reads_by_itself() {
    let ranges = [since("1.0", debian(fixed("1.5"))), Range { introduced: None, ..ecosystem(fixed("1.1")) }];
    let verdict = judge_one("1.2", &ranges);
    assert_eq!(
        serde_json::to_value(&verdict.evidence).unwrap(),
        serde_json::json!({
            "advisory": 1,
            "source": "debian",
            "tier": "distro",
            "rule": "version is below the fixed version",
            "platform": "Debian:12",
            "package": "glibc",
            "version": "1.2",
            "introduced": "1.0",
            "fixed": "1.5",
            "overruled": [{
                "advisory": 2,
                "source": "osv",
                "tier": "ecosystem",
                "said": "not_affected",
                "rule": "version is the fixed version or later",
                "fixed": "1.1",
            }],
        })
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_version_is_affected_exactly_when_a_range_holds_it(installed in 0_u8..9, ranges in small_ranges()) {
        let verdict = judge_small(installed, &ranges);
        let held = ranges.iter().any(|range| range.holds(installed));
        prop_assert_eq!(matches!(verdict, Outcome::Affected { .. }), held);
    }

    #[test]
    fn the_fix_is_the_first_later_version_that_is_not_affected(installed in 0_u8..9, ranges in small_ranges()) {
        if let Outcome::Affected { fixed_version, .. } = judge_small(installed, &ranges) {
            let free = (installed..=9).find(|version| !ranges.iter().any(|range| range.holds(*version)));
            match fixed_version {
                Some(fix) => prop_assert_eq!(fix.parse().ok(), free),
                // Only a range without a fix can be the reason.
                None => prop_assert!(ranges.iter().any(|range| !matches!(range.bound, Small::Fixed(_)))),
            }
        }
    }

    #[test]
    fn a_lower_tier_changes_nothing_but_the_list_of_the_overruled(installed in 0_u8..9, ranges in small_ranges(),
                                                                  lower in small_ranges()) {
        let upper: Vec<_> = ranges.iter().map(|range| range.to_range()).collect();
        let lower = lower.iter().map(|range| Range { tier: Tier::Ecosystem, advisory: 50, ..range.to_range() });
        let both: Vec<_> = lower.chain(upper.iter().copied()).collect();
        let (alone, mut together) = (judge_one(&installed.to_string(), &upper), judge_one(&installed.to_string(), &both));
        together.evidence.overruled.retain(|overruled| overruled.tier == Tier::Distro);
        prop_assert_eq!(alone, together);
    }
}

/// A range of versions 0 to 9, to be understood without any of the above.
#[derive(Debug, Clone, Copy)]
struct SmallRange {
    advisory: i64,
    introduced: u8,
    bound: Small,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Small {
    Unbounded,
    Fixed(u8),
    LastAffected(u8),
}

impl SmallRange {
    fn holds(&self, version: u8) -> bool {
        version >= self.introduced
            && match self.bound {
                Small::Unbounded => true,
                Small::Fixed(fixed) => version < fixed,
                Small::LastAffected(last) => version <= last,
            }
    }

    fn to_range(self) -> Range<'static> {
        let bound = match self.bound {
            Small::Unbounded => Bound::Unbounded,
            Small::Fixed(fix) => fixed(&fix.to_string()),
            Small::LastAffected(last) => Bound::LastAffected(version(&last.to_string())),
        };
        Range { advisory: self.advisory, ..since(&self.introduced.to_string(), debian(bound)) }
    }
}

fn small_ranges() -> impl Strategy<Value = Vec<SmallRange>> {
    let bound = prop_oneof![
        1 => Just(Small::Unbounded),
        4 => (1_u8..9).prop_map(Small::Fixed),
        2 => (1_u8..9).prop_map(Small::LastAffected),
    ];
    let range = (1_i64..4, 0_u8..9, bound);
    let range = range.prop_map(|(advisory, introduced, bound)| SmallRange { advisory, introduced, bound });
    proptest::collection::vec(range, 1..5)
}

fn judge_small(installed: u8, ranges: &[SmallRange]) -> Outcome<'static> {
    let ranges: Vec<_> = ranges.iter().map(|range| range.to_range()).collect();
    judge_one(&installed.to_string(), &ranges).outcome
}
