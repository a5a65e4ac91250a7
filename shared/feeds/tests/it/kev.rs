//! CISA's catalogue.

use domain::{
    advisory::{Kev, Record},
    source::FeedKind::CisaKev,
};
use feeds::ParseError;

use crate::support::{fixture, fixture_text, gzip, read, read_bytes};

#[test]
fn a_catalogue_is_read_with_its_edition_and_its_date() {
    let (records, parsed) = read(CisaKev, &fixture("kev/good.json")).expect("a good feed");
    assert_eq!(parsed.label.as_deref(), Some("2025.08.25"));
    assert_eq!(parsed.as_of, "2025-08-25T17:04:19.979600Z".parse().ok());
    assert_eq!((parsed.records, parsed.rejected_total), (3, 0));
    let expected = Kev {
        cve_id: "CVE-2021-44228".into(),
        vendor: "Apache".into(),
        product: "Log4j2".into(),
        name: "Apache Log4j2 Remote Code Execution Vulnerability".into(),
        description: "A logged text can make the library load and run code from elsewhere.".into(),
        required_action: "Update, or remove what is affected.".into(),
        date_added: "2021-12-10".parse().expect("a date"),
        due_date: "2021-12-24".parse().ok(),
        ransomware: true,
        notes: String::new(),
    };
    assert_eq!(records[0], Record::Kev(expected));
    assert!(matches!(&records[1], Record::Kev(kev) if !kev.ransomware));
}

#[test]
fn a_gzipped_catalogue_or_one_with_a_byte_order_mark_reads_the_same() {
    let plain = fixture_text("kev/good.json");
    let expected = read_bytes(CisaKev, plain.as_bytes()).expect("a good feed");
    assert_eq!(read_bytes(CisaKev, &gzip(plain.as_bytes())).expect("a good feed"), expected);
    assert_eq!(read_bytes(CisaKev, format!("\u{feff}{plain}").as_bytes()).expect("a good feed"), expected);
}

#[test]
fn bad_records_are_left_out_and_named_and_the_rest_is_kept() {
    let (records, parsed) = read(CisaKev, &fixture("kev/bad-records.json")).expect("a sound feed");
    assert_eq!(records.len(), 2);
    assert!(
        matches!(&records[1], Record::Kev(kev) if kev.vendor == "Red\u{fffd}Hat"),
        "no NUL for the database"
    );
    assert_eq!(parsed.rejected_total, 3);
    let rejected: Vec<_> = parsed
        .rejected
        .iter()
        .map(|rejection| (rejection.position.record, rejection.id.as_deref(), rejection.reason.as_str()))
        .collect();
    assert_eq!(rejected[0].0, Some(1));
    assert_eq!(rejected[0].1, Some("CVE-2014-0160"));
    assert!(rejected[0].2.contains("input contains invalid characters"), "{:?}", rejected[0]);
    assert_eq!(rejected[1], (Some(2), Some("log4shell"), "`cveID` is not a CVE id"));
    assert_eq!(rejected[2], (Some(3), Some("CVE-2021-44228"), "a record of this id came before"));
}

#[test]
fn a_catalogue_cut_off_anywhere_is_an_error_that_says_where() {
    let whole = fixture_text("kev/good.json");
    for end in (2..whole.trim_end().len()).step_by(7) {
        let error = read_bytes(CisaKev, &whole.as_bytes()[..end]).expect_err("cut off");
        let ParseError::Broken { position, .. } = &error else { panic!("{error:?}") };
        assert!(position.line.is_some() && position.record.is_some(), "cut at {end}: {error}");
    }
}

#[test]
fn a_catalogue_shorter_than_its_count_is_an_error() {
    let short = fixture_text("kev/good.json").replace("\"count\": 3", "\"count\": 4");
    let error = read_bytes(CisaKev, short.as_bytes()).expect_err("one is missing");
    assert_eq!(error.to_string(), "cisa-kev feed is broken at record 3: its `count` is 4, its list holds 3");
}

#[test]
fn an_empty_list_replaces_nothing() {
    let error = read_bytes(CisaKev, br#"{"count": 0, "vulnerabilities": []}"#).expect_err("empty");
    assert!(matches!(error, ParseError::Empty { rejected: 0, .. }), "{error:?}");
}

#[test]
fn what_is_no_catalogue_at_all_is_an_error() {
    for other in [
        "<!doctype html><title>Log in</title>",
        "  \n<html>",
        "{\"message\": \"not found\"}",
        "[]",
        "\"vulnerabilities\"",
        "{\"vulnerabilities\": {}}",
        "",
        "   ",
        "nonsense",
    ] {
        let error = read_bytes(CisaKev, other.as_bytes()).expect_err(other);
        assert!(matches!(error, ParseError::Broken { .. }), "{other}: {error:?}");
    }
}

#[test]
fn anything_behind_the_catalogue_is_an_error() {
    let followed = fixture_text("kev/good.json") + "{}";
    let error = read_bytes(CisaKev, followed.as_bytes()).expect_err("more than one document");
    assert!(error.to_string().contains("trailing characters"), "{error}");
}
