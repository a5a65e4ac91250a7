//! Feeds made to harm: bombs, endless records, deep nesting, and callers who have had enough.

use std::ops::ControlFlow;

use domain::source::FeedKind::{self, CisaKev, DebianTracker, Osv};
use feeds::{Cap, Caps, ParseError};

use crate::support::{Folder, fixture, gzip, read, read_within, zip_of};

fn entry(extra: &str) -> String {
    format!(
        r#"{{"cveID": "CVE-2099-0001", "vendorProject": "v", "product": "p", "vulnerabilityName": "n",
            "dateAdded": "2026-01-01", "shortDescription": "d", "requiredAction": "a"{extra}}}"#
    )
}

fn cap_hit(caps: Caps, kind: FeedKind, bytes: &[u8]) -> Cap {
    let folder = Folder::new();
    match read_within(caps, kind, &folder.file("feed", bytes)) {
        Err(ParseError::TooLarge { cap, .. }) => cap,
        other => panic!("no cap was hit: {other:?}"),
    }
}

#[test]
fn a_gzip_bomb_is_stopped_by_its_ratio() {
    let bomb = gzip(&vec![b'x'; 64 << 20]);
    assert_eq!(
        cap_hit(Caps::default(), FeedKind::Epss, &[bomb.as_slice(), &bomb].concat()),
        Cap::RecordBytes(16 << 20)
    );
    let generous = Caps { record_bytes: 1 << 30, ..Caps::default() };
    assert_eq!(cap_hit(generous, FeedKind::Epss, &bomb), Cap::Ratio(200));
}

#[test]
fn a_zip_bomb_is_stopped_whether_it_is_one_entry_or_many() {
    let zeros = |megabytes: usize| vec![b'0'; megabytes << 20];
    let one = zip_of([("bomb.json", zeros(32))]);
    assert_eq!(cap_hit(Caps::default(), Osv, &one), Cap::RecordBytes(16 << 20));
    let names: Vec<String> = (0..8).map(|number| format!("{number}.json")).collect();
    let many = zip_of(names.iter().map(|name| (name.as_str(), zeros(4))));
    assert_eq!(cap_hit(Caps::default(), Osv, &many), Cap::Ratio(200));
    let small = Caps { total_bytes: 10 << 20, ..Caps::default() };
    assert_eq!(cap_hit(small, Osv, &many), Cap::TotalBytes(10 << 20));
}

#[test]
fn one_endless_record_or_name_is_stopped() {
    let caps = Caps { record_bytes: 1 << 20, ..Caps::default() };
    let long = "x".repeat(2 << 20);
    let in_record = format!(r#"{{"vulnerabilities": [{}]}}"#, entry(&format!(r#", "notes": "{long}""#)));
    assert_eq!(cap_hit(caps, CisaKev, in_record.as_bytes()), Cap::RecordBytes(1 << 20));
    let in_header = format!(r#"{{"title": "{long}", "vulnerabilities": []}}"#);
    assert_eq!(cap_hit(caps, CisaKev, in_header.as_bytes()), Cap::RecordBytes(1 << 20));
    let in_name = format!(r#"{{"{long}": {{}}}}"#);
    assert_eq!(cap_hit(caps, DebianTracker, in_name.as_bytes()), Cap::RecordBytes(1 << 20));
    let in_row = format!("cve,epss,percentile\n{long}\n");
    assert_eq!(cap_hit(caps, FeedKind::Epss, in_row.as_bytes()), Cap::RecordBytes(1 << 20));
}

#[test]
fn a_feed_of_endless_records_is_stopped() {
    let caps = Caps { records: 1000, ..Caps::default() };
    let rows: String = (1000..9000).map(|number| format!("CVE-2099-{number},0.5,0.5\n")).collect();
    let feed = format!("cve,epss,percentile\n{rows}");
    assert_eq!(cap_hit(caps, FeedKind::Epss, feed.as_bytes()), Cap::Records(1000));
    let junk = format!(r#"{{"vulnerabilities": [{}0]}}"#, "0,".repeat(5000));
    assert_eq!(cap_hit(caps, CisaKev, junk.as_bytes()), Cap::Records(1000));
}

#[test]
fn a_deeply_nested_record_is_left_out_and_a_deeper_one_crashes_nothing() {
    for depth in [100, 100_000] {
        let nest = format!(r#", "cwes": {}{}"#, "[".repeat(depth), "]".repeat(depth));
        let feed =
            format!(r#"{{"vulnerabilities": [{}, {}]}}"#, entry(""), entry(&nest).replace("0001", "0002"));
        let folder = Folder::new();
        let (records, parsed) = read(CisaKev, &folder.file("feed", feed.as_bytes())).expect("a sound feed");
        assert_eq!(records.len(), 1);
        assert_eq!(parsed.rejected[0].reason, "nested more than 64 deep");
    }
}

#[test]
fn rejections_are_kept_up_to_a_number_and_a_length() {
    let long = "x".repeat(10_000);
    let bad = format!(r#"{{"cveID": "{long}", "dateAdded": "{long}"}},"#).repeat(300);
    let feed = format!(r#"{{"vulnerabilities": [{bad} {}]}}"#, entry(""));
    let folder = Folder::new();
    let (_, parsed) = read(CisaKev, &folder.file("feed", feed.as_bytes())).expect("a sound feed");
    assert_eq!((parsed.rejected_total, parsed.rejected.len()), (300, 100));
    for rejection in &parsed.rejected {
        let id = rejection.id.as_deref().unwrap_or_default();
        assert!(id.chars().count() <= 201 && rejection.reason.chars().count() <= 201);
    }
}

#[test]
fn the_caller_may_stop_the_reading() {
    for (kind, name) in [
        (CisaKev, "kev/good.json"),
        (FeedKind::Epss, "epss/good.csv"),
        (DebianTracker, "debian/good.json"),
        (FeedKind::AlpineSecdb, "alpine/good.json"),
        (Osv, "osv/records"),
        (FeedKind::Nvd, "nvd/pages"),
    ] {
        let mut taken = 0;
        let stopped = feeds::parse(kind, &fixture(name), &mut |_| {
            taken += 1;
            if taken == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(stopped, Err(ParseError::Stopped)), "{kind}: {stopped:?}");
        assert_eq!(taken, 2);
    }
}

#[test]
fn a_path_that_does_not_exist_is_named() {
    for kind in FeedKind::ALL {
        let error = read(kind, &fixture("nowhere")).expect_err("nothing there");
        assert!(
            matches!(&error, ParseError::Unreadable { path, .. } if path.ends_with("nowhere")),
            "{error:?}"
        );
    }
}
