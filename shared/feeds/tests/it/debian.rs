//! The Debian security tracker.

use domain::{
    Severity,
    advisory::{Affected, Bound, State},
    source::FeedKind::DebianTracker,
};
use feeds::ParseError;

use crate::support::{advisories, fixture, fixture_text, read, read_bytes};

fn said(affected: &[Affected]) -> Vec<(&str, State, Bound, Option<&str>)> {
    affected
        .iter()
        .map(|entry| (entry.platform.as_str(), entry.state, entry.bound.clone(), entry.note.as_deref()))
        .collect()
}

#[test]
fn each_package_of_a_problem_is_an_advisory_of_its_own() {
    let (records, parsed) = read(DebianTracker, &fixture("debian/good.json")).expect("a good feed");
    let advisories = advisories(records);
    let ids: Vec<&str> = advisories.iter().map(|advisory| advisory.external_id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "CVE-2014-0160:openssl",
            "CVE-2007-6755:openssl",
            "CVE-2022-0456:chromium",
            "CVE-2099-0001:example",
            "TEMP-0000000-ABCDEF:example"
        ]
    );
    assert_eq!(advisories[0].cves, ["CVE-2014-0160"]);
    assert_eq!(advisories[0].severity, Some(Severity::Medium));
    assert_eq!(
        advisories[0].url.as_deref(),
        Some("https://security-tracker.debian.org/tracker/CVE-2014-0160")
    );
    assert!(advisories[4].cves.is_empty());
    assert_eq!(advisories[4].title.as_deref(), Some("TEMP-0000000-ABCDEF in example"));
    // One release that nobody knows; one problem that is open in sid only, and one of no release at all.
    assert_eq!(parsed.skipped.get("release we do not know"), Some(&1));
    assert_eq!(parsed.skipped.get("no release we know"), Some(&2));
}

#[test]
fn fixed_unimportant_and_abandoned_releases_are_told_apart() {
    let (records, _) = read(DebianTracker, &fixture("debian/good.json")).expect("a good feed");
    let advisories = advisories(records);
    assert_eq!(
        said(&advisories[0].affected),
        [("Debian:12", State::Affected, Bound::Fixed("1.0.1g-1".into()), None)]
    );
    assert_eq!(
        said(&advisories[1].affected),
        [
            ("Debian:12", State::Affected, Bound::Unbounded, Some("unimportant")),
            ("Debian:13", State::Affected, Bound::Unbounded, Some("unimportant")),
        ]
    );
    assert_eq!(
        said(&advisories[2].affected),
        [
            ("Debian:12", State::Affected, Bound::Fixed("98.0.4758.80-1".into()), None),
            ("Debian:11", State::Affected, Bound::Fixed("98.0.4758.80-1~deb11u1".into()), None),
            ("Debian:10", State::EndOfLife, Bound::Unbounded, None),
        ]
    );
}

#[test]
fn every_state_of_the_tracker_has_one_of_ours() {
    let (records, _) = read(DebianTracker, &fixture("debian/good.json")).expect("a good feed");
    let advisories = advisories(records);
    assert_eq!(
        said(&advisories[3].affected),
        [
            ("Debian:12", State::Deferred, Bound::Unbounded, Some("Minor issue (postponed)")),
            ("Debian:11", State::NotAffected, Bound::Unbounded, None),
            ("Debian:10", State::Deferred, Bound::Unbounded, Some("Too intrusive to backport")),
            ("Debian:14", State::UnderInvestigation, Bound::Unbounded, None),
            ("Debian:13", State::Affected, Bound::Unbounded, None),
        ]
    );
    assert_eq!(advisories[3].severity, Some(Severity::High), "the worst release counts");
}

#[test]
fn bad_records_are_left_out_and_named() {
    let (records, parsed) = read(DebianTracker, &fixture("debian/bad-records.json")).expect("a sound feed");
    assert_eq!(records.len(), 1);
    let reasons: Vec<(&str, &str)> = parsed
        .rejected
        .iter()
        .map(|rejection| (rejection.id.as_deref().unwrap_or_default(), rejection.reason.as_str()))
        .collect();
    assert_eq!(reasons.len(), 5);
    assert_eq!(reasons[0], ("CVE-2099-0002:example", "bookworm: resolved, but no `fixed_version`"));
    assert_eq!(
        reasons[1],
        ("CVE-2099-0003:example", "bookworm: status `perhaps` is not resolved, open or undetermined")
    );
    assert_eq!(reasons[2].0, "CVE-2099-0004:example");
    assert_eq!(reasons[3], ("EXAMPLE-1:example", "neither a CVE id nor a TEMP id"));
    assert_eq!(reasons[4], ("CVE-2099-0001:example", "a record of this id came before"));
}

#[test]
fn a_tracker_cut_off_anywhere_is_an_error() {
    let whole = fixture_text("debian/good.json");
    for end in (2..whole.trim_end().len()).step_by(11) {
        let error = read_bytes(DebianTracker, &whole.as_bytes()[..end]).expect_err("cut off");
        assert!(matches!(error, ParseError::Broken { .. }), "cut at {end}: {error:?}");
    }
}

#[test]
fn another_document_is_no_tracker() {
    for other in ["{}", "[]", "{\"openssl\": []}", "<html></html>", "{\"error\": \"try later\"}"] {
        assert!(read_bytes(DebianTracker, other.as_bytes()).is_err(), "{other}");
    }
}
