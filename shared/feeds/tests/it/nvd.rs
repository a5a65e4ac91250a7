//! The National Vulnerability Database.

use domain::{
    advisory::{Cve, Record},
    source::FeedKind::Nvd,
};
use feeds::ParseError;

use crate::support::{Folder, fixture, fixture_text, read, read_bytes};

fn cves(records: Vec<Record>) -> Vec<Cve> {
    records
        .into_iter()
        .map(|record| match record {
            Record::Cve(cve) => cve,
            other => panic!("not a CVE: {other:?}"),
        })
        .collect()
}

#[test]
fn all_pages_of_a_directory_are_one_feed() {
    let (records, parsed) = read(Nvd, &fixture("nvd/pages")).expect("a good feed");
    assert_eq!((parsed.records, parsed.rejected_total), (3, 0));
    assert_eq!(parsed.as_of, "2026-08-22T00:00:00Z".parse().ok(), "as old as its oldest page");
    let cves = cves(records);
    let log4shell = &cves[0];
    assert_eq!(log4shell.cve_id, "CVE-2021-44228");
    assert_eq!(
        log4shell.description.as_deref(),
        Some("A logged text can make the library load and run code from elsewhere."),
        "the English one"
    );
    assert_eq!(log4shell.published, "2021-12-10T10:15:09.143Z".parse().ok());
    assert_eq!(log4shell.cvss_v31_score, Some(10.0), "the primary metric, not the first");
    assert_eq!(log4shell.cvss_v31_vector.as_deref(), Some("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H"));
    assert_eq!(log4shell.cvss_v2_score, Some(9.3));
    assert_eq!(log4shell.cvss_v4_score, None);
    assert_eq!(log4shell.cwes, ["CWE-20", "CWE-502"]);
    assert_eq!(log4shell.references.len(), 2);
    assert!(log4shell.has_exploit);
    assert_eq!(cves[1].cvss_v31_score, Some(7.5), "3.0 where there is no 3.1");
    assert!(!cves[1].has_exploit);
    assert_eq!(cves[2].nvd_status.as_deref(), Some("Rejected"));
    assert_eq!(cves[2].base_score(), None);
}

#[test]
fn a_missing_page_is_an_error() {
    let folder = Folder::new();
    let missing = "the page with `startIndex` 0 is missing";
    for (page, reason) in
        [("page-2.json", missing), ("page-0.json", "pages are missing: `totalResults` is 3, they hold 2")]
    {
        let path = folder.file("page.json", fixture_text(&format!("nvd/pages/{page}")).as_bytes());
        let error = read(Nvd, &path).expect_err(reason);
        assert!(error.to_string().ends_with(reason), "{error}");
        assert!(read(Nvd, folder.path()).is_err());
    }
}

#[test]
fn an_error_names_the_page() {
    let folder = Folder::new();
    folder.file("page-0.json", fixture_text("nvd/pages/page-0.json").as_bytes());
    folder.file("page-2.json", &fixture_text("nvd/pages/page-2.json").as_bytes()[..200]);
    let error = read(Nvd, folder.path()).expect_err("cut off");
    assert!(error.to_string().contains("entry `page-2.json`, record 0, line"), "{error}");
}

#[test]
fn bad_records_are_left_out_and_named() {
    let (records, parsed) = read(Nvd, &fixture("nvd/bad-records.json")).expect("a sound feed");
    let kept = cves(records);
    assert_eq!(
        kept.iter().map(|cve| cve.cve_id.as_str()).collect::<Vec<_>>(),
        ["CVE-2014-0160", "CVE-2024-6716"]
    );
    assert_eq!(kept[1].published, None, "a month 14 is no reason to lose the record");
    let rejected: Vec<_> = parsed
        .rejected
        .iter()
        .map(|rejection| {
            (rejection.id.as_deref(), rejection.reason.split(" at line").next().unwrap_or_default())
        })
        .collect();
    assert_eq!(
        rejected,
        [
            (Some("CVE-2099-0001"), "missing field `url`"),
            (Some("CVE-2099-0002"), "cvssMetricV31: base score 97 is not within 0 and 10"),
            (None, "missing field `cve`"),
        ]
    );
}

#[test]
fn a_query_that_finds_nothing_is_no_error_and_another_document_is() {
    let nothing = br#"{"resultsPerPage": 0, "startIndex": 0, "totalResults": 0, "vulnerabilities": []}"#;
    assert_eq!(read_bytes(Nvd, nothing).expect("nothing new").1.records, 0);
    for other in ["{}", "{\"vulnerabilities\": []}", "<html></html>", "{\"message\": \"Invalid apiKey.\"}"] {
        let error = read_bytes(Nvd, other.as_bytes()).expect_err(other);
        assert!(matches!(error, ParseError::Broken { .. }), "{other}: {error:?}");
    }
    assert!(read(Nvd, Folder::new().path()).is_err(), "an empty directory");
}
