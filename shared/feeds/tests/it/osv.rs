//! OSV records, in a directory and in a zip.

use std::collections::BTreeMap;

use domain::{
    Severity,
    advisory::{Advisory, Bound},
    source::FeedKind::Osv,
};
use feeds::ParseError;

use crate::support::{Folder, advisories, fixture, fixture_text, read, read_bytes, zip_of};

fn good() -> BTreeMap<String, Advisory> {
    let (records, _) = read(Osv, &fixture("osv/records")).expect("a good feed");
    advisories(records).into_iter().map(|advisory| (advisory.external_id.clone(), advisory)).collect()
}

fn ranges(advisory: &Advisory) -> Vec<(&str, Option<&str>, Bound)> {
    advisory
        .affected
        .iter()
        .map(|entry| (entry.platform.as_str(), entry.introduced.as_deref(), entry.bound.clone()))
        .collect()
}

/// Reads one record whose only range has these events.
fn with_events(events: &str) -> Result<Advisory, String> {
    let record = format!(
        r#"{{"id": "EXAMPLE-1", "affected": [{{"package": {{"ecosystem": "PyPI", "name": "example"}},
            "ranges": [{{"type": "ECOSYSTEM", "events": {events}}}]}}]}}"#
    );
    let other = br#"{"id": "EXAMPLE-2"}"#.to_vec();
    let (records, parsed) =
        read_bytes(Osv, &zip_of([("1.json", record.into_bytes()), ("2.json", other)])).expect("a sound feed");
    match parsed.rejected.first() {
        Some(rejection) => Err(rejection.reason.clone()),
        None => Ok(advisories(records).remove(0)),
    }
}

#[test]
fn a_zip_and_a_directory_of_the_same_records_read_the_same() {
    let names = [
        "README.txt",
        "RUSTSEC-2019-0004.json",
        "PYSEC-2099-1.json",
        "UBUNTU-CVE-2021-3782.json",
        "USN-2099-1.json",
        "RUSTSEC-2016-0004.json",
        "almalinux9/ALSA-2025:11797.json",
    ];
    let zip = zip_of(names.map(|name| (name, fixture_text(&format!("osv/records/{name}")).into_bytes())));
    let from_zip = read_bytes(Osv, &zip).expect("a good feed");
    assert_eq!(from_zip, read(Osv, &fixture("osv/records")).expect("a good feed"));
    assert_eq!(from_zip.1.records, 6);
    let skipped: Vec<(&str, u64)> = from_zip.1.skipped.into_iter().collect();
    assert_eq!(skipped, [("GIT range", 1), ("Ubuntu Pro entry", 1), ("file that is no JSON record", 1)]);
}

#[test]
fn a_fix_on_two_branches_is_two_ranges() {
    let advisory = &good()["RUSTSEC-2019-0004"];
    assert_eq!(
        ranges(advisory),
        [
            ("crates.io", Some("0.3.0"), Bound::Fixed("0.7.1".into())),
            ("crates.io", Some("0.8.0-0"), Bound::Fixed("0.8.1".into())),
        ]
    );
    assert_eq!(advisory.cves, ["CVE-2019-15545"], "related CVEs are other problems");
    assert_eq!(advisory.aliases, ["CVE-2019-15545", "GHSA-4q4x-67hx-5mpg"]);
    assert_eq!(advisory.cvss_score, Some(7.5));
    assert_eq!(advisory.severity, Some(Severity::High));
    assert!(!advisory.informational && advisory.withdrawn.is_none());
}

#[test]
fn an_unmaintained_crate_is_a_notice_and_no_vulnerability() {
    let advisory = &good()["RUSTSEC-2016-0004"];
    assert!(advisory.informational);
    assert_eq!(ranges(advisory), [("crates.io", Some("0.0.0-0"), Bound::Unbounded)]);
}

#[test]
fn ubuntu_platforms_lose_their_suffix_and_pro_is_left_out() {
    let advisory = &good()["UBUNTU-CVE-2021-3782"];
    assert_eq!(
        ranges(advisory),
        [
            ("Ubuntu:22.04", None, Bound::Fixed("1.20.0-1ubuntu0.1".into())),
            ("Ubuntu:25.10", None, Bound::Unbounded),
        ]
    );
    assert_eq!(advisory.cves, ["CVE-2021-3782"]);
    assert!(advisory.aliases.is_empty());
    assert_eq!(advisory.severity, Some(Severity::Medium), "Ubuntu's own word outranks the score");
}

#[test]
fn a_notice_of_several_cves_says_which_release_has_which() {
    let notice = &good()["USN-2099-1"];
    assert_eq!(notice.cves, ["CVE-2099-0001", "CVE-2099-0002"]);
    assert!(notice.aliases.is_empty(), "upstream is no alias");
    assert_eq!(notice.affected[0].cves, ["CVE-2099-0001"]);
    assert!(notice.affected[1].cves.is_empty(), "all of the notice's");
}

#[test]
fn an_almalinux_erratum_is_known_by_its_release_and_carries_its_cves() {
    let erratum = &good()["ALSA-2025:11797/9"];
    assert_eq!(erratum.cves, ["CVE-2025-8027", "CVE-2025-8028"]);
    assert_eq!(erratum.aliases, ["ALSA-2025:11797"]);
    assert_eq!(erratum.severity, Some(Severity::High), "`Important`");
}

#[test]
fn an_erratum_filed_under_two_releases_is_one_unless_they_differ() {
    let nine = fixture_text("osv/records/almalinux9/ALSA-2025:11797.json");
    let eight = nine.replace("AlmaLinux:9", "AlmaLinux:8").replace(".el9_6", ".el8_10");
    let zip = zip_of([
        ("almalinux8/ALSA-2025:11797.json", eight.into_bytes()),
        ("almalinux9/ALSA-2025:11797.json", nine.clone().into_bytes()),
        ("almalinux10/ALSA-2025:11797.json", nine.into_bytes()),
    ]);
    let (records, parsed) = read_bytes(Osv, &zip).expect("a good feed");
    let ids: Vec<String> = advisories(records).into_iter().map(|advisory| advisory.external_id).collect();
    assert_eq!(ids, ["ALSA-2025:11797/9", "ALSA-2025:11797/8"]);
    assert_eq!(parsed.skipped.get("the same record again"), Some(&1));
}

#[test]
fn versions_are_listed_only_where_no_range_of_versions_is() {
    let advisory = &good()["PYSEC-2099-1"];
    assert_eq!(
        ranges(advisory),
        [
            ("PyPI", None, Bound::Exactly("1.0".into())),
            ("PyPI", None, Bound::Exactly("1.1".into())),
            ("PyPI", Some("2.0"), Bound::LastAffected("2.9".into())),
        ]
    );
    assert_eq!(advisory.cves, ["CVE-2099-0003", "CVE-2099-0004"]);
    assert_eq!(advisory.withdrawn, "2026-02-01T00:00:00Z".parse().ok());
}

#[test]
fn events_that_can_be_paired_are() {
    let pairs = [
        (r#"[{"introduced": "0"}]"#, vec![(None, Bound::Unbounded)]),
        (r#"[{"fixed": "2"}, {"introduced": "0"}]"#, vec![(None, Bound::Fixed("2".into()))]),
        (r#"[{"introduced": "1"}, {"limit": "*"}]"#, vec![(Some("1"), Bound::Unbounded)]),
        (
            r#"[{"introduced": "0"}, {"fixed": "1"}, {"introduced": "2"}]"#,
            vec![(None, Bound::Fixed("1".into())), (Some("2"), Bound::Unbounded)],
        ),
    ];
    for (events, expected) in pairs {
        let advisory = with_events(events).expect(events);
        let read: Vec<_> =
            ranges(&advisory).into_iter().map(|(_, introduced, bound)| (introduced, bound)).collect();
        assert_eq!(read, expected, "{events}");
    }
}

#[test]
fn events_whose_order_we_would_have_to_guess_are_refused() {
    for events in [
        r#"[{"introduced": "1"}, {"introduced": "3"}, {"fixed": "2"}, {"fixed": "4"}]"#,
        r#"[{"introduced": "1"}, {"fixed": "2"}, {"fixed": "3"}]"#,
        r#"[{"fixed": "2"}, {"introduced": "1"}, {"introduced": "3"}]"#,
        r#"[{"fixed": "2"}]"#,
    ] {
        assert!(with_events(events).is_err(), "{events}");
    }
}

#[test]
fn bad_entries_are_left_out_and_named() {
    let zip = zip_of([
        ("good.json", br#"{"id": "EXAMPLE-1"}"#.to_vec()),
        ("cut-off.json", br#"{"id": "EXAMPLE-2", "aff"#.to_vec()),
        ("other.json", br#"{"id": "EXAMPLE-3", "affected": "all"}"#.to_vec()),
        ("latin.json", b"{\"id\": \"EXAMPLE-\xe9\"}".to_vec()),
        ("again.json", br#"{"id": "EXAMPLE-1", "summary": "another"}"#.to_vec()),
        ("nested.zip", zip_of([("bomb.json", b"{}".to_vec())])),
        ("time.json", br#"{"id": "EXAMPLE-4", "withdrawn": "last week"}"#.to_vec()),
    ]);
    let (records, parsed) = read_bytes(Osv, &zip).expect("a sound feed");
    assert_eq!(records.len(), 1);
    let rejected: Vec<_> = parsed
        .rejected
        .iter()
        .map(|rejection| (rejection.position.entry.as_deref().unwrap_or_default(), rejection.id.as_deref()))
        .collect();
    assert_eq!(
        rejected,
        [
            ("cut-off.json", None),
            ("good.json", Some("EXAMPLE-1")),
            ("latin.json", None),
            ("other.json", Some("EXAMPLE-3")),
            ("time.json", Some("EXAMPLE-4")),
        ]
    );
}

#[test]
fn a_damaged_zip_is_an_error() {
    let text: String = (0..2000).map(|number| format!("{number} ")).collect();
    let record = format!(r#"{{"id": "EXAMPLE-1", "details": "{text}"}}"#).into_bytes();
    let whole = zip_of([("EXAMPLE-1.json", record)]);
    let mut flipped = whole.clone();
    flipped[2000] ^= 0xff;
    let error = read_bytes(Osv, &flipped).expect_err("damaged");
    assert!(error.to_string().contains("entry `EXAMPLE-1.json`"), "{error}");
    for (what, bytes) in [
        ("cut off", whole[..whole.len() - 10].to_vec()),
        ("a web page", b"<html></html>".to_vec()),
        ("one record", br#"{"id": "EXAMPLE-1"}"#.to_vec()),
        ("nothing", Vec::new()),
    ] {
        let error = read_bytes(Osv, &bytes).expect_err(what);
        assert!(matches!(error, ParseError::Broken { .. }), "{what}: {error:?}");
    }
}

#[test]
fn a_feed_without_records_replaces_nothing() {
    let zip = read_bytes(Osv, &zip_of([("README.md", b"hello".to_vec())])).expect_err("no records");
    assert!(matches!(zip, ParseError::Empty { .. }));
    let directory = read(Osv, Folder::new().path()).expect_err("no records");
    assert!(matches!(directory, ParseError::Empty { .. }));
}
