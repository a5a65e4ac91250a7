//! The public feeds themselves, read whole. They lie beside the repository, in `../shared/data/feeds` from its root; where
//! they do not, these tests say so and pass. Counts were taken with another program.

use std::path::{Path, PathBuf};

use domain::{
    advisory::{Bound, Record, State},
    source::FeedKind,
};

use crate::support::{advisories, read, read_bytes};

/// The file, or `None` with a word of why.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn public(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/feeds").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no `{name}` among the public feeds beside the repository");
    None
}

#[test]
fn the_whole_kev_catalogue_is_read() {
    let Some(path) = public("kev/known_exploited_vulnerabilities.json") else { return };
    let (records, parsed) = read(FeedKind::CisaKev, &path).expect("the catalogue");
    assert_eq!((parsed.records, parsed.rejected_total), (1404, 0));
    assert_eq!(parsed.label.as_deref(), Some("2025.08.25"));
    let ransomware =
        records.iter().filter(|record| matches!(record, Record::Kev(kev) if kev.ransomware)).count();
    assert_eq!(ransomware, 293);
}

#[test]
fn the_head_of_epss_is_read() {
    let Some(path) = public("epss/epss-2026-09-29-head.csv") else { return };
    let (records, parsed) = read(FeedKind::Epss, &path).expect("the head");
    assert_eq!((records.len(), parsed.rejected_total), (20, 0));
    assert_eq!(parsed.as_of, "2026-09-29T12:00:22Z".parse().ok());
    let Some(path) = public("epss/invalid-header.csv") else { return };
    assert!(read(FeedKind::Epss, &path).is_err());
    let Some(path) = public("epss/missing-date.csv") else { return };
    assert_eq!(read(FeedKind::Epss, &path).expect("no date is no harm").1.as_of, None);
}

#[test]
fn the_excerpt_of_the_debian_tracker_is_read() {
    let Some(path) = public("debian/debian.json") else { return };
    let (records, parsed) = read(FeedKind::DebianTracker, &path).expect("the excerpt");
    assert_eq!(parsed.rejected_total, 0);
    let advisories = advisories(records);
    let sope =
        advisories.iter().find(|advisory| advisory.external_id == "CVE-2025-53603:sope").expect("sope");
    let bookworm = sope.affected.iter().find(|entry| entry.platform == "Debian:12").expect("bookworm");
    assert_eq!(bookworm.bound, Bound::Fixed("5.8.0-1+deb12u1".into()));
    let chromium = advisories
        .iter()
        .find(|advisory| advisory.external_id == "CVE-2022-0456:chromium")
        .expect("chromium");
    let buster = chromium.affected.iter().find(|entry| entry.platform == "Debian:10").expect("buster");
    assert_eq!(buster.state, State::EndOfLife);
}

#[test]
fn the_excerpt_of_alpines_secdb_is_read() {
    let Some(path) = public("alpine/claircore/fetch/v3.10/community.json") else { return };
    let (records, parsed) = read(FeedKind::AlpineSecdb, &path).expect("the excerpt");
    assert_eq!((records.len(), parsed.rejected_total), (9, 0));
    let advisories = advisories(records);
    let botan =
        advisories.iter().find(|advisory| advisory.external_id == "CVE-2018-20187:botan").expect("botan");
    assert_eq!(botan.affected[0].platform, "Alpine:v3.10");
    assert_eq!(botan.affected[0].bound, Bound::Fixed("2.9.0-r0".into()));
}

#[test]
fn the_osv_archives_are_read_whole() {
    // records, of which withdrawn, with several CVEs, informational
    let expected = [
        ("crates.io", [411, 1, 14, 166]),
        ("Go", [1069, 2, 5, 0]),
        ("PyPI", [680, 2, 0, 0]),
        ("Bitnami", [437, 0, 0, 0]),
        // 564 files, 7 of them copies of another.
        ("AlmaLinux", [557, 0, 222, 145]),
    ];
    for (name, expected) in expected {
        let Some(path) = public(&format!("osv/{name}.zip")) else { return };
        let (records, parsed) = read(FeedKind::Osv, &path).expect(name);
        assert_eq!(parsed.rejected_total, 0, "{name}: {:?}", parsed.rejected.first());
        let advisories = advisories(records);
        let count =
            |test: fn(&domain::advisory::Advisory) -> bool| advisories.iter().filter(|a| test(a)).count();
        let counted = [
            advisories.len(),
            count(|advisory| advisory.withdrawn.is_some()),
            count(|advisory| advisory.cves.len() > 1),
            count(|advisory| advisory.informational),
        ];
        assert_eq!(counted, expected, "{name}");
    }
}

#[test]
fn ubuntu_rocky_and_github_records_are_read() {
    for (folder, count) in
        [("ubuntu/osv", 6), ("ubuntu/osv-esm-cases", 3), ("rocky", 3), ("ghsa/osv", 10), ("osv/mixed", 26)]
    {
        let Some(path) = public(folder) else { return };
        let (records, parsed) = read(FeedKind::Osv, &path).expect(folder);
        assert_eq!((records.len(), parsed.rejected_total), (count, 0), "{folder}: {:?}", parsed.rejected);
        for advisory in advisories(records) {
            assert!(
                advisory
                    .affected
                    .iter()
                    .all(|entry| !entry.platform.contains(":LTS") && !entry.platform.contains("Pro"))
            );
        }
    }
}

#[test]
fn the_nvd_pages_are_read_and_their_scores_are_what_their_vectors_say() {
    for (page, count) in [("nvd/nvd-2.0-full-page-real.json", 38), ("nvd/nvd-2.0-page-assembled.json", 78)] {
        let Some(path) = public(page) else { return };
        let (records, parsed) = read(FeedKind::Nvd, &path).expect(page);
        assert_eq!((records.len(), parsed.rejected_total), (count, 0), "{page}: {:?}", parsed.rejected);
        // The same vectors, in OSV records, must come to the scores that the NVD states.
        let scored = records.iter().filter_map(|record| match record {
            Record::Cve(cve) => {
                Some((cve.cve_id.as_str(), cve.cvss_v31_vector.clone()?, cve.cvss_v31_score?))
            }
            _ => None,
        });
        let mut compared = 0;
        for (id, vector, score) in scored {
            let record =
                format!(r#"{{"id": "{id}", "severity": [{{"type": "CVSS_V3", "score": "{vector}"}}]}}"#);
            let zip = crate::support::zip_of([("record.json", record.into_bytes())]);
            let computed =
                advisories(read_bytes(FeedKind::Osv, &zip).expect("a record").0).remove(0).cvss_score;
            assert_eq!(computed, Some(score), "{id} {vector}");
            compared += 1;
        }
        assert!(compared > 20);
    }
}
