//! What the judgement says of organizations of all kinds.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::Severity;
use serde_json::json;
use uuid::Uuid;

use super::{
    measure::{Late, Sources},
    *,
};
use crate::posture::FeedLine;

fn at() -> DateTime<Utc> {
    "2026-11-22T10:00:00Z".parse().expect("a time")
}

/// An estate in which everything is in order: twelve assets, all of them seen, nothing late.
fn orderly() -> Measured {
    Measured {
        assets: 12,
        heard: 12,
        packaged: 12,
        covered: 12,
        compared: 12,
        observed: 12,
        open: 40,
        urgent: 9,
        resolved: 61,
        last_seen_at: Some(at() - TimeDelta::hours(2)),
        sources: Sources { enabled: 5, ever: 5, current: 5, wanting: Vec::new() },
        ..Measured::default()
    }
}

fn late(
    (vulnerability, package, severity): (&str, &str, &str),
    is_kev: bool,
    assets: i64,
    fixed: &str,
) -> Late {
    Late {
        vulnerability: vulnerability.into(),
        package_name: package.into(),
        severity: severity.into(),
        is_kev,
        is_urgent: is_kev || severity == "critical" || severity == "high",
        assets,
        due: NaiveDate::from_ymd_opt(2026, 10, 30).expect("a day"),
        fixed: Some(fixed.into()),
    }
}

fn verdicts(measured: &Measured) -> Vec<(Rule, Verdict)> {
    Rule::ALL.into_iter().map(|rule| (rule, judge(rule, measured).verdict)).collect()
}

#[test]
fn an_organization_without_data_has_no_control_met_and_none_failed() {
    for framework in frameworks() {
        let judged = Judged::new(framework, &Measured::default());
        assert_eq!(judged.assessed(), 0, "{}", framework.id);
        assert_eq!(judged.count(Verdict::NotAssessed), framework.total);
    }
    // Sources that everybody shares are no evidence of an organization's own.
    let only_sources = Measured { sources: orderly().sources, ..Measured::default() };
    assert!(verdicts(&only_sources).iter().all(|(_, verdict)| *verdict == Verdict::NotAssessed));
    // Neither are assets of which nothing more is known.
    let silent = Measured { assets: 3, ..Measured::default() };
    for (rule, verdict) in verdicts(&silent) {
        let expected = if rule == Rule::Inventory { Verdict::NotMet } else { Verdict::NotAssessed };
        assert_eq!(verdict, expected, "{rule:?}");
    }
}

#[test]
fn what_is_whole_young_and_in_time_is_met_and_what_nothing_proves_is_not_assessed() {
    for (rule, verdict) in verdicts(&orderly()) {
        let expected = match rule {
            Rule::Exceptions | Rule::Unsupported => Verdict::NotAssessed,
            _ => Verdict::Met,
        };
        assert_eq!(verdict, expected, "{rule:?}");
        if verdict == Verdict::Met {
            let judgement = judge(rule, &orderly());
            assert!(judgement.gaps.is_empty() && judgement.remediation.is_none(), "{judgement:?}");
            assert!(!judgement.evidence.is_empty() || rule == Rule::Ranking, "{rule:?}");
        }
    }
}

/// A part of the evidence, and the rules that see it and what they say.
#[test]
fn every_hole_in_the_evidence_keeps_a_control_from_being_met() {
    use Rule::{
        Advisories, Coverage, Exceptions, Flaws, Inventory, LesserFlaws, Ranking, Scanning, Software,
        Unsupported, UrgentFlaws,
    };
    use Verdict::{NotAssessed, NotMet, Partly};
    /// What is missing, how it comes to be missing, and who notices with what verdict.
    type Hole = (&'static str, fn(&mut Measured), &'static [(Rule, Verdict)]);
    let holes: &[Hole] = &[
        ("an asset is silent", |m| m.heard = 11, &[(Inventory, Partly), (Software, Partly)]),
        ("all are silent", |m| m.heard = 0, &[(Inventory, NotMet), (Software, Partly)]),
        ("one asset's packages are unknown", |m| m.packaged = 11, &[(Software, Partly)]),
        ("no packages are known", |m| m.packaged = 0, &[(Software, NotAssessed)]),
        (
            "an asset is out of reach of all sources",
            |m| (m.covered, m.observed) = (11, 11),
            &[
                (Coverage, Partly),
                (Scanning, Partly),
                (Flaws, Partly),
                (UrgentFlaws, Partly),
                (LesserFlaws, Partly),
            ],
        ),
        (
            "all comparisons are old",
            |m| m.observed = 0,
            &[
                (Coverage, NotMet),
                (Scanning, NotMet),
                (Flaws, Partly),
                (UrgentFlaws, Partly),
                (LesserFlaws, Partly),
            ],
        ),
        (
            "nothing was ever compared",
            |m| (m.compared, m.observed, m.open, m.urgent) = (0, 0, 0, 0),
            &[
                (Coverage, NotAssessed),
                (Scanning, NotAssessed),
                (Flaws, NotAssessed),
                (UrgentFlaws, NotAssessed),
                (LesserFlaws, NotAssessed),
                (Ranking, NotAssessed),
            ],
        ),
        (
            "a source is old",
            |m| (m.sources.current, m.sources.wanting) = (4, vec!["NVD".into()]),
            &[
                (Advisories, Partly),
                (Scanning, Partly),
                (Flaws, Partly),
                (UrgentFlaws, Partly),
                (LesserFlaws, Partly),
            ],
        ),
        (
            "all sources are old",
            |m| (m.sources.current, m.sources.wanting) = (0, vec!["NVD".into()]),
            &[
                (Advisories, NotMet),
                (Scanning, Partly),
                (Flaws, Partly),
                (UrgentFlaws, Partly),
                (LesserFlaws, Partly),
            ],
        ),
        (
            "no source ever arrived",
            |m| (m.sources.ever, m.sources.current, m.sources.wanting) = (0, 0, vec!["NVD".into()]),
            &[
                (Advisories, NotAssessed),
                (Scanning, Partly),
                (Flaws, Partly),
                (UrgentFlaws, Partly),
                (LesserFlaws, Partly),
            ],
        ),
        ("a finding is not rated", |m| m.unrated = 1, &[(Ranking, Partly)]),
        ("no finding is rated", |m| m.unrated = 40, &[(Ranking, NotMet)]),
        ("there is no finding", |m| (m.open, m.urgent) = (0, 0), &[(Ranking, NotAssessed)]),
        (
            "a critical one is late",
            |m| (m.overdue, m.overdue_urgent) = (1, 1),
            &[(Flaws, NotMet), (UrgentFlaws, NotMet)],
        ),
        ("a low one is late", |m| m.overdue = 1, &[(Flaws, Partly), (LesserFlaws, NotMet)]),
        (
            "a pressing one is undecided",
            |m| (m.undecided, m.undecided_urgent) = (1, 1),
            &[(Flaws, Partly), (UrgentFlaws, Partly)],
        ),
        (
            "an exploited risk was accepted",
            |m| (m.accepted, m.accepted_exploited) = (2, 1),
            &[(Exceptions, Partly)],
        ),
        ("a package has no support", |m| m.unsupported = 1, &[(Unsupported, NotMet)]),
    ];
    let usual = verdicts(&orderly());
    for (hole, change, expected) in holes {
        let mut measured = orderly();
        change(&mut measured);
        for (rule, before) in &usual {
            let said = judge(*rule, &measured);
            let expected =
                expected.iter().find(|(one, _)| one == rule).map_or(*before, |(_, verdict)| *verdict);
            assert_eq!(said.verdict, expected, "{hole}: {rule:?}");
            let is_wanting = [NotMet, Partly].contains(&said.verdict);
            assert_eq!(!said.gaps.is_empty(), is_wanting, "{hole}: {rule:?} says why: {said:?}");
            assert_eq!(said.remediation.is_some(), is_wanting, "{hole}: {rule:?} says what to do");
        }
    }
}

#[test]
fn what_is_late_is_named_with_where_and_since_when() {
    let measured = Measured {
        overdue: 7,
        overdue_urgent: 4,
        late: vec![
            late(("CVE-2026-1001", "openssl", "critical"), true, 3, "3.0.15-1~deb12u1"),
            late(("CVE-2026-2002", "curl", "medium"), false, 1, "7.88.1-10+deb12u8"),
        ],
        ..orderly()
    };
    let said = judge(Rule::Flaws, &measured).gaps.join(" ");
    for part in [
        "CVE-2026-1001 in openssl on 3 assets (critical, known to be exploited, due 2026-10-30, fixed in 3.0.15",
        "curl",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!judge(Rule::UrgentFlaws, &measured).gaps.join(" ").contains("curl"));
    assert!(!judge(Rule::LesserFlaws, &measured).gaps.join(" ").contains("openssl"));
}

#[test]
fn the_cover_and_the_summary_say_how_little_of_the_framework_was_looked_at() {
    let framework = find_framework("nist-800-53").expect("there");
    let document = write(&report("nist-800-53"), framework, &posture(), &orderly(), None);
    document.check().expect("nothing contradicts itself");
    let judged = &document.cover.facts[1].value;
    assert_eq!(judged, "10 of 1,014 controls and enhancements; 1,004 not assessed");
    let text = serde_json::to_string(&document).expect("JSON");
    assert!(text.contains("Nothing unknown counts as a pass") && !text.contains('%'), "no percentage");
    assert_eq!(document.main_table().map(|table| table.rows.len()), Some(framework.controls.len()));
}

fn report(framework: &str) -> Report {
    Report {
        id: Uuid::from_u128(0x0199_f8a2_6c1e_7b62_9a53_5e1f_0c2d_4b7c),
        title: "PCI DSS v4.0.1, November 2026".into(),
        report_type: ID.into(),
        framework: Some(framework.into()),
        format: "pdf".into(),
        options: json!({}),
        status: "generating".into(),
        job_id: None,
        requested_by: None,
        error: None,
        page_count: None,
        document_sha256: None,
        byte_count: None,
        created_at: at(),
        completed_at: None,
    }
}

fn posture() -> Posture {
    let feed = |feed: &str, name: &str, hours: i64, records: i64, status: &str| FeedLine {
        feed: feed.into(),
        name: name.into(),
        label: None,
        as_of: Some(at() - TimeDelta::hours(hours)),
        last_success_at: Some(at() - TimeDelta::hours(hours)),
        records,
        status: Some(status.into()),
    };
    Posture {
        organization: "Acme Corp".into(),
        at: at(),
        by_severity: vec![(Severity::Critical, 2)],
        totals: crate::posture::Totals::default(),
        problems: Vec::new(),
        systems: Vec::new(),
        packages: Vec::new(),
        feeds: vec![
            feed("cisa-kev", "CISA KEV", 9, 1_462, "success"),
            feed("debian-tracker", "Debian Security Tracker", 3, 61_204, "success"),
            feed("epss", "FIRST EPSS", 20, 301_877, "success"),
            feed("nvd", "NVD", 260, 318_554, "failed"),
        ],
    }
}

/// The sample is what this type writes of a made-up organization, so that it cannot fall behind.
#[test]
fn the_sample_is_up_to_date() {
    let framework = find_framework("pci-dss").expect("there");
    let posture = posture();
    let measured = Measured {
        heard: 11,
        covered: 11,
        observed: 11,
        open: 8,
        unrated: 1,
        urgent: 6,
        overdue: 5,
        overdue_urgent: 4,
        undecided: 1,
        undecided_urgent: 1,
        accepted: 1,
        late: vec![
            late(("CVE-2026-1001", "openssl", "critical"), true, 3, "3.0.15-1~deb12u1"),
            late(("CVE-2026-1417", "libxml2", "high"), false, 1, "2.9.14+dfsg-1.3~deb12u2"),
            late(("CVE-2026-2002", "curl", "medium"), false, 1, "7.88.1-10+deb12u8"),
        ],
        sources: Sources::of(&posture),
        ..orderly()
    };
    let evidence = measure::sample_evidence(posture.at);
    let mut document = write(&report("pci-dss"), framework, &posture, &measured, Some(evidence));
    document.cover.prepared_for = Some("Audit committee".into());
    let written = serde_json::to_string_pretty(&document).expect("JSON") + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../templates/samples/framework.json");
    if std::env::var_os("UPDATE_SAMPLE").is_some() {
        std::fs::write(path, &written).expect("written");
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == written,
        "UPDATE_SAMPLE=1 cargo test -p reports sample writes templates/samples/framework.json anew"
    );
}
