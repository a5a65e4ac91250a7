//! Alpine's secdb.

use domain::{
    advisory::{Affected, Bound, State},
    source::FeedKind::AlpineSecdb,
};
use feeds::ParseError;

use crate::support::{advisories, fixture, fixture_text, read, read_bytes};

fn said(affected: &[Affected]) -> Vec<(State, Bound, Option<&str>)> {
    affected.iter().map(|entry| (entry.state, entry.bound.clone(), entry.note.as_deref())).collect()
}

fn fixed(version: &str) -> Bound {
    Bound::Fixed(version.to_owned())
}

#[test]
fn each_problem_of_a_package_is_an_advisory_for_the_feeds_release() {
    let (records, parsed) = read(AlpineSecdb, &fixture("alpine/good.json")).expect("a good feed");
    let advisories = advisories(records);
    let ids: Vec<&str> = advisories.iter().map(|advisory| advisory.external_id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "CVE-2018-25032:zlib",
            "CVE-2022-37434:zlib",
            "CVE-2099-0001:example",
            "CVE-2099-0002:example",
            "CVE-2099-0003:example",
            "CVE-2099-0004:example",
            "GHSA-2222-3333-4444:example",
        ]
    );
    assert_eq!(advisories[0].cves, ["CVE-2018-25032"]);
    assert_eq!(advisories[0].url.as_deref(), Some("https://security.alpinelinux.org/vuln/CVE-2018-25032"));
    let places = advisories.iter().flat_map(|advisory| &advisory.affected);
    assert!(places.clone().all(|entry| entry.platform == "Alpine:v3.20" && entry.introduced.is_none()));
    assert_eq!(places.filter(|entry| entry.package == "zlib").count(), 2);
    assert_eq!((parsed.rejected_total, parsed.skipped.get("package without a fix")), (0, Some(&1)));
}

#[test]
fn what_version_0_fixed_never_was_in_the_package_and_a_second_fix_is_another_range() {
    let (records, _) = read(AlpineSecdb, &fixture("alpine/good.json")).expect("a good feed");
    let advisories = advisories(records);
    assert_eq!(said(&advisories[1].affected), [(State::Affected, fixed("1.2.12-r2"), None)]);
    assert_eq!(said(&advisories[2].affected), [(State::NotAffected, Bound::Unbounded, None)]);
    assert_eq!(
        said(&advisories[3].affected),
        [
            (State::Affected, fixed("1.0-r1"), None),
            (State::Affected, fixed("1.2-r0"), Some("+ regression fix")),
        ]
    );
}

#[test]
fn other_ids_are_aliases_of_a_cve_or_problems_of_their_own() {
    let (records, _) = read(AlpineSecdb, &fixture("alpine/good.json")).expect("a good feed");
    let advisories = advisories(records);
    assert_eq!(advisories[3].aliases, ["XSA-9901"]);
    assert!(advisories[6].cves.is_empty());
    assert_eq!(advisories[6].aliases, ["GHSA-2222-3333-4444"]);
    assert_eq!(advisories[6].title.as_deref(), Some("GHSA-2222-3333-4444 in example"));
}

#[test]
fn bad_records_are_left_out_and_named() {
    let (records, parsed) = read(AlpineSecdb, &fixture("alpine/bad-records.json")).expect("a sound feed");
    assert_eq!(records.len(), 1);
    let named: Vec<(Option<u64>, Option<&str>)> = parsed
        .rejected
        .iter()
        .map(|rejection| (rejection.position.record, rejection.id.as_deref()))
        .collect();
    assert_eq!(
        named,
        [
            (Some(0), Some("CVE-2099-2:example")),
            (Some(1), Some("wrong")),
            (Some(2), None),
            (Some(3), Some("CVE-2099-0001:example")),
        ]
    );
    assert_eq!(parsed.rejected[0].reason, "`CVE-2099-2` is not an id of a problem");
    assert_eq!(parsed.rejected[3].reason, "a record of this id came before");
}

#[test]
fn a_secdb_cut_off_anywhere_is_an_error() {
    let whole = fixture_text("alpine/good.json");
    for end in (2..whole.trim_end().len()).step_by(11) {
        let error = read_bytes(AlpineSecdb, &whole.as_bytes()[..end]).expect_err("cut off");
        assert!(matches!(error, ParseError::Broken { .. }), "cut at {end}: {error:?}");
    }
}

#[test]
fn a_feed_whose_release_is_not_known_in_time_is_no_secdb() {
    let packages = r#""packages": [{"pkg": {"name": "a", "secfixes": {"1-r0": ["CVE-2099-0001"]}}}]"#;
    for members in [
        packages.to_owned(),
        format!(r#""distroversion": "edge", {packages}"#),
        format!(r#""distroversion": 3.20, {packages}"#),
        format!(r#"{packages}, "distroversion": "v3.20""#),
        r#""distroversion": "v3.20""#.to_owned(),
    ] {
        let error = read_bytes(AlpineSecdb, format!("{{{members}}}").as_bytes()).expect_err("no release");
        assert!(matches!(error, ParseError::Broken { .. }), "{members}: {error:?}");
    }
    for other in ["[]", "{}", "<html></html>", r#"{"distroversion": "v3.20", "packages": []}"#] {
        assert!(read_bytes(AlpineSecdb, other.as_bytes()).is_err(), "{other}");
    }
}
