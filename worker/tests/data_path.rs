//! From feeds and inventories to findings, on a real Postgres. Jobs run here in this process, in the order in which they were
//! enqueued.

mod site;

use std::{borrow::Cow, collections::BTreeSet, fs, ops::ControlFlow, path::Path, process::Command};

use domain::{
    inventory::{HostReport, InstalledPackage},
    source::FeedKind,
};
use serde_json::{Value, json};
use site::Site;
use store::{
    inventory::Format,
    knowledge::{self, Batch, Rules},
};

/// The tracker's word on one problem of one package in Debian 12.
fn debian(package: &str, cve: &str, release: Value) -> Value {
    json!({ package: { cve: { "description": "Something is wrong.", "releases": { "bookworm": release } } } })
}

fn fixed_in(version: &str) -> Value {
    json!({ "status": "resolved", "fixed_version": version, "urgency": "not yet assigned" })
}

fn host(packages: &[(&str, &str)]) -> Value {
    let packages: Vec<Value> =
        packages.iter().map(|(name, version)| json!({ "name": name, "version": version })).collect();
    json!({
        "hostname": "web-01",
        "machine_id": "0123456789abcdef",
        "os": { "distro": "debian", "version": "12", "codename": "bookworm" },
        "packages": packages,
    })
}

fn kev(cves: &[&str]) -> Value {
    let entries: Vec<Value> = cves
        .iter()
        .map(|cve| {
            json!({
                "cveID": cve, "vendorProject": "Acme", "product": "Thing", "vulnerabilityName": "A hole",
                "dateAdded": "2026-01-02", "shortDescription": "It is used.", "requiredAction": "Mend it.",
                "dueDate": "2026-01-23", "knownRansomwareCampaignUse": "Unknown", "notes": "", "cwes": [],
            })
        })
        .collect();
    json!({
        "title": "Catalog", "catalogVersion": "2026.01.02", "dateReleased": "2026-01-02T00:00:00Z",
        "count": entries.len(), "vulnerabilities": entries,
    })
}

#[tokio::test]
async fn two_sources_of_one_catalogue_that_merge_at_once_wait_for_each_other() {
    let site = Site::new().await;
    let mirror = site.source("kev-mirror", FeedKind::CisaKev, "kev.json").await;
    let source = site.source("kev", FeedKind::CisaKev, "kev.json").await;
    site.write("kev.json", &kev(&["CVE-2026-0001", "CVE-2026-0002"]));

    let mut other = site.db.begin().await.expect("a transaction");
    let mirror = store::sources::find(&mut other, mirror).await.expect("the mirror");
    let rules = Rules { key: |_, _| None, name: |_, name| name.to_owned(), tier: |_| 1 };
    let mut batch = Batch::new(FeedKind::CisaKev, rules);
    feeds::parse(FeedKind::CisaKev, &site.path("kev.json"), &mut |record| {
        batch.push(&record).expect("a row");
        ControlFlow::Continue(())
    })
    .expect("a catalogue");
    knowledge::prepare(&mut other, &mirror).await.expect("staging tables");
    knowledge::stage(&mut other, &batch).await.expect("staged");
    knowledge::merge(&mut other, &mirror).await.expect("merged");

    let let_go = async {
        let waiting = "select exists (select from pg_locks where locktype = 'advisory' and not granted
                                         and database = (select oid from pg_database where datname = current_database()))";
        while !sqlx::query_scalar::<_, bool>(waiting).fetch_one(site.db.pool()).await.expect("locks") {
            tokio::task::yield_now().await;
        }
        other.commit().await.expect("committed");
    };
    let (crawled, ()) = tokio::join!(site.crawl(source), let_go);
    crawled.expect("merged after the other");
    let run = site.last_run("source_crawl").await;
    assert_eq!((run.records_created, run.records_unchanged), (0, 2));
}

#[tokio::test]
async fn two_sources_of_one_catalogue_do_not_take_each_others_rows_away() {
    let site = Site::new().await;
    let public = site.source("kev", FeedKind::CisaKev, "kev.json").await;
    let own = site.source("kev-own", FeedKind::CisaKev, "own.json").await;
    let known =
        async || -> Vec<String> { site.column("select cve_id || ' ' || name from kev order by 1").await };
    let renamed = |cves: &[&str]| {
        let mut catalogue = kev(cves);
        for entry in catalogue["vulnerabilities"].as_array_mut().expect("a list") {
            entry["vulnerabilityName"] = json!("As we call it");
        }
        catalogue
    };
    site.run("update sources set accept_shrink = true").await;
    site.write("kev.json", &kev(&["CVE-2026-0001", "CVE-2026-0002"]));
    site.write("own.json", &renamed(&["CVE-2026-0002", "CVE-2026-0003"]));
    for source in [public, own, public, own] {
        site.crawl(source).await.expect("merged");
    }
    let ours = |cve: &str| format!("{cve} As we call it");
    let theirs = |cve: &str| format!("{cve} A hole");
    let all = [theirs("CVE-2026-0001"), theirs("CVE-2026-0002"), ours("CVE-2026-0003")];
    assert_eq!(known().await, all, "both have the second, and the first of them says what it is");

    // The public one takes both of its own out: what the other has stays, in the other's words once it was read again, unchanged as it is.
    site.write("kev.json", &kev(&["CVE-2026-0009"]));
    site.run("update sources set accept_shrink = true").await;
    site.crawl(public).await.expect("merged");
    assert_eq!(known().await, [theirs("CVE-2026-0002"), ours("CVE-2026-0003"), theirs("CVE-2026-0009")]);
    site.crawl(own).await.expect("merged");
    assert_eq!(known().await, [ours("CVE-2026-0002"), ours("CVE-2026-0003"), theirs("CVE-2026-0009")]);

    site.run("delete from sources where slug = 'kev-own'").await;
    assert_eq!(known().await, [theirs("CVE-2026-0009")]);
}

#[tokio::test]
async fn a_vulnerable_package_becomes_a_finding_with_its_evidence() {
    let site = Site::new().await;
    let tracker = site.source("debian-tracker", FeedKind::DebianTracker, "debian.json").await;
    site.write("debian.json", &debian("openssl", "CVE-2026-0001", fixed_in("3.0.17-1~deb12u2")));
    site.crawl(tracker).await.expect("merged");
    let libssl = json!({
        "name": "libssl3", "version": "3.0.15-1~deb12u1", "source_name": "openssl", "architecture": "amd64",
    });
    let mut report = host(&[("bash", "5.2.15-2")]);
    report["packages"].as_array_mut().expect("a list").push(libssl);
    site.report(&report).await;

    let findings = site.findings().await;
    assert_eq!(findings.len(), 1);
    let finding = &findings[0];
    assert_eq!(finding.ecosystem, "Debian");
    assert_eq!(finding.package_name, "openssl");
    assert_eq!(finding.vulnerability, "CVE-2026-0001");
    assert_eq!(finding.installed_version, "3.0.15-1~deb12u1");
    assert_eq!(finding.fixed_version.as_deref(), Some("3.0.17-1~deb12u2"));
    assert_eq!((finding.status.as_str(), finding.confidence.as_str()), ("open", "confirmed"));
    assert_eq!(finding.evidence["source"], "debian-tracker");
    assert_eq!(finding.evidence["fixed"], "3.0.17-1~deb12u2");
    assert_eq!(finding.evidence["binaries"], json!(["libssl3"]));
    assert_eq!(site.events(finding).await, ["opened"]);
}

#[tokio::test]
async fn an_upgrade_resolves_a_downgrade_reopens_and_removal_resolves_again() {
    let site = Site::new().await;
    site.know_of_openssl("3.0.17-1~deb12u2").await;
    site.report(&host(&[("openssl", "3.0.15-1~deb12u1"), ("bash", "5.2.15-2")])).await;

    site.report(&host(&[("openssl", "3.0.17-1~deb12u2"), ("bash", "5.2.15-2")])).await;
    let finding = &site.findings().await[0];
    assert_eq!((finding.status.as_str(), finding.resolution.as_deref()), ("resolved", Some("fixed")));

    site.report(&host(&[("openssl", "3.0.15-1~deb12u1"), ("bash", "5.2.15-2")])).await;
    let finding = &site.findings().await[0];
    assert_eq!((finding.status.as_str(), finding.resolution.as_deref()), ("open", None));

    site.report(&host(&[("bash", "5.2.15-2")])).await;
    let finding = &site.findings().await[0];
    assert_eq!(
        (finding.status.as_str(), finding.resolution.as_deref()),
        ("resolved", Some("package removed"))
    );
    assert_eq!(site.events(finding).await, ["opened", "resolved", "reopened", "resolved"]);
}

#[tokio::test]
async fn an_upgrade_that_is_still_affected_keeps_the_finding_and_what_people_decided() {
    let site = Site::new().await;
    site.know_of_openssl("3.0.17-1~deb12u2").await;
    site.report(&host(&[("openssl", "3.0.15-1~deb12u1")])).await;
    let before = site.findings().await.remove(0);
    site.run("update findings set status = 'accepted_risk', status_note = 'behind a proxy'").await;

    site.report(&host(&[("openssl", "3.0.16-1~deb12u1")])).await;
    let after = site.findings().await.remove(0);
    assert_eq!(after.id, before.id);
    assert_eq!(after.status, "accepted_risk");
    assert_eq!(after.installed_version, "3.0.16-1~deb12u1");
    assert_eq!(site.events(&after).await, ["opened", "updated"]);
}

#[tokio::test]
async fn of_two_installed_versions_the_worse_one_counts() {
    let site = Site::new().await;
    site.know_of_openssl("3.0.17-1~deb12u2").await;
    site.report(&host(&[
        ("openssl", "3.0.17-1~deb12u2"),
        ("openssl", "3.0.16-1~deb12u1"),
        ("openssl", "3.0.15-1~deb12u1"),
    ]))
    .await;
    let findings = site.findings().await;
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].installed_version, "3.0.15-1~deb12u1");
}

#[tokio::test]
async fn an_advisory_that_is_taken_back_resolves_its_findings() {
    let site = Site::new().await;
    let tracker = site.know_of_openssl("3.0.17-1~deb12u2").await;
    site.report(&host(&[("openssl", "3.0.15-1~deb12u1")])).await;
    site.write("debian.json", &debian("openssl", "CVE-2026-0001", fixed_in("0")));
    site.crawl(tracker).await.expect("merged");
    let finding = &site.findings().await[0];
    assert_eq!(finding.resolution.as_deref(), Some("advisory withdrawn or changed"));
}

#[tokio::test]
async fn a_version_that_is_not_understood_is_undecided_and_not_clean() {
    let site = Site::new().await;
    site.know_of_openssl("3.0.17-1~deb12u2").await;
    site.report(&host(&[("openssl", "::")])).await;
    let findings = site.findings().await;
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].confidence, "undecided");
}

#[tokio::test]
async fn a_second_correlation_writes_no_findings() {
    let site = Site::new().await;
    site.know_of_openssl("3.0.17-1~deb12u2").await;
    site.report(&host(&[("openssl", "3.0.15-1~deb12u1")])).await;
    let before = site.rows_as_stored("findings, finding_events").await;
    site.correlate().await;
    assert_eq!(site.rows_as_stored("findings, finding_events").await, before);
    assert_eq!(site.last_run("correlation").await.status, "unchanged");
}

#[tokio::test]
async fn the_same_inventory_again_writes_no_packages() {
    let site = Site::new().await;
    let report = host(&[("openssl", "3.0.15-1~deb12u1"), ("bash", "5.2.15-2")]);
    site.report(&report).await;
    let before = site.rows_as_stored("package_versions, asset_packages").await;
    site.report(&report).await;
    assert_eq!(site.rows_as_stored("package_versions, asset_packages").await, before);
    let run = site.last_run("inventory").await;
    assert_eq!((run.records_created, run.records_removed, run.records_unchanged), (0, 0, 2));
}

#[tokio::test]
async fn an_older_inventory_that_is_read_later_changes_nothing() {
    let site = Site::new().await;
    let old = site.submit(&host(&[("bash", "5.2.15-1")])).await;
    site.report(&host(&[("bash", "5.2.15-2")])).await;
    site.ingest(old).await.expect("done");
    let versions: Vec<String> = site
        .column(
            "select v.version from asset_packages p join package_versions v on v.id = p.package_version_id",
        )
        .await;
    assert_eq!(versions, ["5.2.15-2"]);
}

#[tokio::test]
async fn an_inventory_of_nonsense_is_let_go_and_says_why() {
    let site = Site::new().await;
    let submission = site.submit(&json!({ "hostname": "web-01" })).await;
    let why = site.ingest(submission).await.expect_err("refused");
    assert!(why.contains("missing field"), "{why}");
    let run = site.last_run("inventory").await;
    assert_eq!((run.status.as_str(), run.error.as_deref()), ("failed", Some(why.as_str())));
    let kept: Vec<bool> = site.column("select payload is not null from inventory_submissions").await;
    assert_eq!(kept, [false]);
}

#[tokio::test]
async fn a_package_with_hostile_words_is_stored_as_it_is() {
    let site = Site::new().await;
    let long = "ü".repeat(500);
    let names =
        ["=cmd|' /C calc'!A0", "a\\tb\\N\\.", "<b>#set page()</b>", "\u{202e}gnp", "{\"x\",\\}", &long];
    let packages: Vec<(&str, &str)> = names.iter().map(|name| (*name, long.as_str())).collect();
    site.report(&host(&packages)).await;
    let mut stored: Vec<String> = site.column("select name from package_versions").await;
    stored.sort_unstable();
    let mut expected = names.map(str::to_owned);
    expected.sort_unstable();
    assert_eq!(stored, expected);
}

#[tokio::test]
async fn a_feed_that_did_not_change_writes_nothing_and_compares_nothing() {
    let site = Site::new().await;
    let tracker = site.know_of_openssl("3.0.17-1~deb12u2").await;
    site.report(&host(&[("openssl", "3.0.15-1~deb12u1")])).await;
    let tables = "advisories, affected_ranges, rejected_records, findings, finding_events";
    let before = site.rows_as_stored(tables).await;
    let runs = site.count("select count(*) from jobs where kind = 'correlate'").await;

    site.crawl(tracker).await.expect("visited");
    assert_eq!(site.last_run("source_crawl").await.status, "unchanged");
    assert_eq!(site.rows_as_stored(tables).await, before);

    // The same records in other bytes, as a server that stamps its answers would send them.
    let spaced =
        serde_json::to_string_pretty(&debian("openssl", "CVE-2026-0001", fixed_in("3.0.17-1~deb12u2")));
    fs::write(site.path("debian.json"), spaced.expect("json")).expect("written");
    site.crawl(tracker).await.expect("merged");
    let run = site.last_run("source_crawl").await;
    assert_eq!((run.status.as_str(), run.records_processed, run.records_unchanged), ("unchanged", 1, 1));
    assert_eq!(site.rows_as_stored(tables).await, before);
    assert_eq!(site.count("select count(*) from jobs where kind = 'correlate'").await, runs);
}

#[tokio::test]
async fn a_feed_that_shrank_is_quarantined_until_somebody_accepts_it() {
    let site = Site::new().await;
    let source = site.source("cisa-kev", FeedKind::CisaKev, "kev.json").await;
    let cves: Vec<String> = (1000..1010).map(|number| format!("CVE-2026-{number}")).collect();
    let cves: Vec<&str> = cves.iter().map(String::as_str).collect();
    site.write("kev.json", &kev(&cves));
    site.crawl(source).await.expect("merged");

    site.write("kev.json", &kev(&cves[..7]));
    let why = site.crawl(source).await.expect_err("refused");
    assert!(why.contains("from 10 records to 7"), "{why}");
    assert_eq!(site.last_run("source_crawl").await.status, "quarantined");
    assert_eq!(site.count("select count(*) from kev").await, 10);
    let told = "select count(*) from alerts where alert_type = 'source_quarantined' and message like '%from 10 records to 7%'";
    assert_eq!(site.count(told).await, 1);

    site.run("update sources set accept_shrink = true").await;
    site.crawl(source).await.expect("merged");
    assert_eq!(site.count("select count(*) from kev").await, 7);
    assert_eq!(site.last_run("source_crawl").await.records_removed, 3);
}

#[tokio::test]
async fn a_release_that_vanishes_from_a_feed_is_quarantined_too() {
    let site = Site::new().await;
    let source = site.source("debian-tracker", FeedKind::DebianTracker, "debian.json").await;
    let releases = json!({ "bookworm": fixed_in("2"), "trixie": fixed_in("3") });
    let mut feed = json!({ "openssl": { "CVE-2026-0001": { "releases": releases } } });
    site.write("debian.json", &feed);
    site.crawl(source).await.expect("merged");
    feed["openssl"]["CVE-2026-0001"]["releases"].as_object_mut().expect("an object").remove("trixie");
    site.write("debian.json", &feed);
    let why = site.crawl(source).await.expect_err("refused");
    assert!(why.contains("from 2 ranges to 1"), "{why}");
}

#[tokio::test]
async fn a_feed_that_is_cut_off_leaves_everything_as_it_was_and_says_where() {
    let site = Site::new().await;
    let tracker = site.know_of_openssl("3.0.17-1~deb12u2").await;
    let before = site.rows_as_stored("advisories, affected_ranges").await;
    let whole = debian("openssl", "CVE-2026-0001", fixed_in("9")).to_string();
    fs::write(site.path("debian.json"), &whole[..whole.len() - 3]).expect("written");

    let why = site.crawl(tracker).await.expect_err("refused");
    assert!(why.contains("debian-tracker feed is broken at"), "{why}");
    assert_eq!(site.rows_as_stored("advisories, affected_ranges").await, before);
    let run = site.last_run("source_crawl").await;
    assert_eq!((run.status.as_str(), run.error.as_deref()), ("failed", Some(why.as_str())));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_kept_aside_and_the_others_are_merged() {
    let site = Site::new().await;
    let source = site.source("debian-tracker", FeedKind::DebianTracker, "debian.json").await;
    let releases = json!({ "bookworm": fixed_in("2") });
    let feed = json!({
        "openssl": { "CVE-2026-0001": { "releases": releases }, "CVE-2026-0002": { "releases": 7 } },
        "x".repeat(2000): { "CVE-2026-0003": { "releases": releases } },
    });
    site.write("debian.json", &feed);
    site.crawl(source).await.expect("merged");
    assert_eq!(site.count("select count(*) from advisories").await, 1);
    assert_eq!(site.last_run("source_crawl").await.records_rejected, 2);
    assert_eq!(site.count("select count(*) from rejected_records").await, 2);
}

#[tokio::test]
async fn knowing_that_it_is_exploited_raises_a_finding() {
    let site = Site::new().await;
    site.know_of_openssl("3.0.17-1~deb12u2").await;
    site.report(&host(&[("openssl", "3.0.15-1~deb12u1")])).await;
    let before = site.findings().await.remove(0);
    let source = site.source("cisa-kev", FeedKind::CisaKev, "kev.json").await;
    site.write("kev.json", &kev(&["CVE-2026-0001"]));
    site.crawl(source).await.expect("merged");

    let after = site.findings().await.remove(0);
    assert!(!before.is_kev && after.is_kev);
    assert!(after.composite_score > before.composite_score);
    assert_eq!(site.events(&after).await, ["opened", "updated"]);
}

#[tokio::test]
async fn a_cve_that_the_nvd_rejected_is_no_finding_and_its_score_counts_until_then() {
    let site = Site::new().await;
    site.know_of_openssl("3.0.17-1~deb12u2").await;
    site.report(&host(&[("openssl", "3.0.15-1~deb12u1")])).await;
    let nvd = site.source("nvd", FeedKind::Nvd, "nvd.json").await;
    let page = |status: &str| {
        let metric = json!({
            "source": "nvd@nist.gov", "type": "Primary",
            "cvssData": {
                "version": "3.1", "vectorString": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "baseScore": 9.8,
            },
        });
        let cve = json!({
            "id": "CVE-2026-0001", "published": "2026-01-01T00:00:00.000", "lastModified": "2026-01-02T00:00:00.000",
            "vulnStatus": status, "descriptions": [], "metrics": { "cvssMetricV31": [metric] }, "references": [],
        });
        json!({
            "resultsPerPage": 1, "startIndex": 0, "totalResults": 1, "format": "NVD_CVE", "version": "2.0",
            "timestamp": "2026-01-02T00:00:00.000", "vulnerabilities": [{ "cve": cve }],
        })
    };
    site.write("nvd.json", &page("Analyzed"));
    site.crawl(nvd).await.expect("merged");
    let finding = site.findings().await.remove(0);
    assert_eq!((finding.severity.as_str(), finding.composite_score), ("critical", 9.8));

    site.write("nvd.json", &page("Rejected"));
    site.crawl(nvd).await.expect("merged");
    let finding = site.findings().await.remove(0);
    assert_eq!(finding.resolution.as_deref(), Some("advisory withdrawn or changed"));
}

#[tokio::test]
async fn a_library_in_an_sbom_is_found_under_whichever_spelling_of_its_name() {
    let site = Site::new().await;
    let osv = site.source("osv", FeedKind::Osv, "osv").await;
    fs::create_dir(site.path("osv")).expect("a folder");
    let record = |id: &str, aliases: Value| {
        json!({
            "id": id, "aliases": aliases, "modified": "2026-01-01T00:00:00Z",
            "affected": [{
                "package": { "ecosystem": "PyPI", "name": "Zope.Interface" },
                "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": "5.1" }] }],
            }],
        })
    };
    site.write("osv/GHSA-1111-2222-3333.json", &record("GHSA-1111-2222-3333", json!([])));
    site.write("osv/PYSEC-2026-1.json", &record("PYSEC-2026-1", json!(["GHSA-1111-2222-3333"])));
    site.crawl(osv).await.expect("merged");
    let sbom = json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5",
        "metadata": { "component": { "type": "application", "name": "shop", "version": "1.0" } },
        "components": [{
            "type": "library", "name": "zope_interface", "version": "5.0", "purl": "pkg:pypi/zope_interface@5.0",
        }],
    });
    let submission = site.submit_as(Format::CycloneDx, &sbom).await;
    site.ingest(submission).await.expect("read");
    let findings = site.findings().await;
    assert_eq!(findings.len(), 1, "two databases describe one problem");
    assert_eq!(findings[0].vulnerability, "GHSA-1111-2222-3333");
    assert_eq!(
        (findings[0].ecosystem.as_str(), findings[0].package_name.as_str()),
        ("PyPI", "zope-interface")
    );
}

#[tokio::test]
async fn a_run_that_was_cut_short_is_closed_by_the_next_attempt() {
    let site = Site::new().await;
    let tracker = site.know_of_openssl("3.0.17-1~deb12u2").await;
    site.run("update scan_runs set status = 'running', completed_at = null").await;
    site.crawl(tracker).await.expect("visited");
    let states: Vec<String> =
        site.column("select status || coalesce(': ' || error, '') from scan_runs order by id").await;
    assert_eq!(states, ["failed: interrupted", "unchanged"]);
}

/// The demo's way: the snapshot's feeds and this host's packages.
#[tokio::test]
async fn the_snapshot_finds_on_this_host_exactly_what_dpkg_would() {
    let site = Site::new().await;
    let snapshot = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/snapshot");
    let report = inventory::host::read(Path::new("/")).ok();
    let Some(report) = report.filter(|report| report.os.distro == "debian") else {
        return eprintln!("skipped: this machine is no Debian host");
    };
    site.use_snapshot(&snapshot).await;
    for run in site.runs("source_crawl").await {
        assert_eq!(run.status, "success", "{:?}: {:?}", run.source_slug, run.error);
        assert_eq!(run.records_rejected, 0, "{:?}", run.source_slug);
    }
    site.report(&serde_json::to_value(&report).expect("json")).await;
    let findings = site.findings().await;
    let found: BTreeSet<(String, String)> = findings
        .iter()
        .filter(|finding| finding.ecosystem == "Debian")
        .map(|finding| (finding.package_name.clone(), finding.vulnerability.clone()))
        .collect();
    let tracker = fs::read(snapshot.join("debian.json")).expect("the snapshot has the tracker's data");
    let tracker: Value = serde_json::from_slice(&tracker).expect("json");
    assert_eq!(found, affected_as_dpkg_sees_it(&report, &tracker));
    let kev = findings.iter().filter(|finding| finding.is_kev).count();
    println!(
        "{} packages, {} findings, {kev} of them known to be exploited",
        report.packages.len(),
        findings.len()
    );
}

/// The straightforward way: every package, every problem, and dpkg asked about each pair of versions.
fn affected_as_dpkg_sees_it(report: &HostReport, tracker: &Value) -> BTreeSet<(String, String)> {
    let codename = report.os.codename.as_deref().unwrap_or_default();
    let sources: BTreeSet<(Cow<'_, str>, &str)> =
        report.packages.iter().map(InstalledPackage::source).collect();
    let mut affected = BTreeSet::new();
    for (package, version) in sources {
        for (problem, entry) in tracker[&*package].as_object().into_iter().flatten() {
            let release = &entry["releases"][codename];
            let is_affected = match (release["status"].as_str(), release["fixed_version"].as_str()) {
                (None, _) | (Some("resolved"), None | Some("0")) => false,
                (Some("resolved"), Some(fixed)) => Command::new("dpkg")
                    .args(["--compare-versions", version, "lt", fixed])
                    .status()
                    .expect("a host with dpkg's database has dpkg")
                    .success(),
                _ => true,
            };
            if is_affected {
                affected.insert((package.to_string(), problem.clone()));
            }
        }
    }
    affected
}
