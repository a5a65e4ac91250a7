//! How a control is judged: by a rule, from what was measured. Pure.
//!
//! Nothing unknown counts as a pass. A control is met only where there is evidence, and the evidence is whole and young; with
//! a part of it, it is partly met; without any it is not assessed, whatever the figures say. Start at [`judge`].

use domain::document::{EvidenceItem, Fact, Status, Tone};

use super::{
    measure::{Late, Measured},
    rule::Rule,
    words::{capital, counted, grouped, of_all, these},
};

/// What is to be said of a control. The order is that of urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    NotMet,
    Partly,
    /// As far as this system can see.
    Met,
    NotAssessed,
}

impl Verdict {
    pub(super) const ALL: [Self; 4] = [Self::NotMet, Self::Partly, Self::Met, Self::NotAssessed];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::NotMet => "Not met",
            Self::Partly => "Partly met",
            Self::Met => "Met as observed",
            Self::NotAssessed => "Not assessed",
        }
    }

    pub(super) fn tone(self) -> Tone {
        match self {
            Self::NotMet => Tone::Bad,
            Self::Partly => Tone::Caution,
            Self::Met => Tone::Good,
            Self::NotAssessed => Tone::Neutral,
        }
    }

    pub(super) fn status(self) -> Status {
        Status { label: self.label().to_owned(), tone: self.tone() }
    }
}

/// A verdict with its reasons.
#[derive(Debug, Clone)]
pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    /// What was found, in a sentence or two.
    pub(super) found: String,
    pub(super) facts: Vec<Fact>,
    /// What is missing, each in a sentence.
    pub(super) gaps: Vec<String>,
    pub(super) evidence: Vec<EvidenceItem>,
    pub(super) remediation: Option<String>,
}

impl Judgement {
    fn new(verdict: Verdict, found: impl Into<String>) -> Self {
        let (facts, gaps, evidence) = (Vec::new(), Vec::new(), Vec::new());
        Self { verdict, found: found.into(), facts, gaps, evidence, remediation: None }
    }

    /// Without evidence there is nothing to say.
    fn not_assessed(why: &str) -> Self {
        Self::new(Verdict::NotAssessed, why)
    }

    /// A gap, if `missing`, and what closes it.
    fn gap(&mut self, missing: bool, what: String, remedy: &str) {
        if missing {
            self.gaps.push(what);
            let remedies = self.remediation.get_or_insert_default();
            if !remedies.contains(remedy) {
                if !remedies.is_empty() {
                    remedies.push(' ');
                }
                remedies.push_str(remedy);
            }
        }
    }
}

/// So many of so many: all is met, none is not, the rest is partly.
fn share(part: i64, whole: i64) -> Verdict {
    match part {
        0 => Verdict::NotMet,
        part if part < whole => Verdict::Partly,
        _ => Verdict::Met,
    }
}

/// What `rule` says of what was measured.
pub(super) fn judge(rule: Rule, measured: &Measured) -> Judgement {
    if measured.assets == 0 {
        return Judgement::not_assessed(
            "No asset of this organization is known, so there is nothing to judge by.",
        );
    }
    match rule {
        Rule::Inventory => inventory(measured),
        Rule::Software => software(measured),
        Rule::Coverage => coverage(measured),
        Rule::Scanning => scanning(measured),
        Rule::Advisories => advisories(measured),
        Rule::Ranking => ranking(measured),
        Rule::Flaws | Rule::UrgentFlaws | Rule::LesserFlaws => flaws(rule, measured),
        Rule::Exceptions => exceptions(measured),
        Rule::Unsupported => unsupported(measured),
    }
}

const SEND_INVENTORIES: &str =
    "Have every asset send its inventory at least daily, and take out those that are gone.";
const COMPARE: &str =
    "Compare every asset anew, and use a source of advisories for every system and ecosystem that is in use.";
const CRAWL: &str = "See to the sources that are not current: the list at the end says which and why.";

fn inventory(measured: &Measured) -> Judgement {
    let Measured { assets, heard, .. } = *measured;
    let found = format!(
        "{} an inventory within a day.",
        of_all(heard, assets, ("known asset", "known assets"), ("sent", "sent"))
    );
    let mut judgement = Judgement::new(share(heard, assets), found);
    let silent = assets - heard;
    judgement.gap(
        silent > 0,
        format!("{} not been heard of for a day.", counted(silent, "asset has", "assets have")),
        SEND_INVENTORIES,
    );
    judgement.evidence.push(inventories(measured));
    judgement
}

fn software(measured: &Measured) -> Judgement {
    let Measured { assets, heard, packaged, .. } = *measured;
    if packaged == 0 {
        return Judgement::not_assessed("The packages of no asset are known.");
    }
    let found = format!(
        "{} an inventory that names packages.",
        of_all(packaged, assets, ("asset", "assets"), ("has", "have"))
    );
    let mut judgement =
        Judgement::new(share(packaged, assets).min(share(heard, assets)).max(Verdict::Partly), found);
    let (bare, silent) = (assets - packaged, assets - heard);
    judgement.gap(
        bare > 0,
        format!("{} no package known.", counted(bare, "asset has", "assets have")),
        "Let the inventories of these assets hold their packages, or hand in a bill of materials.",
    );
    judgement.gap(
        silent > 0,
        format!(
            "What runs on {} is known from an inventory older than a day.",
            counted(silent, "asset", "assets")
        ),
        SEND_INVENTORIES,
    );
    judgement.evidence.push(inventories(measured));
    judgement
}

fn coverage(measured: &Measured) -> Judgement {
    let Measured { assets, compared, covered, observed, .. } = *measured;
    if compared == 0 {
        return Judgement::not_assessed("No asset was ever compared with what is known of vulnerabilities.");
    }
    let found = format!(
        "{} compared with advisories within a week, by an inventory no older than that.",
        of_all(observed, assets, ("asset", "assets"), ("was", "were")),
    );
    let mut judgement = Judgement::new(share(observed, assets), found);
    let unreached = assets - covered;
    judgement.gap(
        unreached > 0,
        format!(
            "No source of advisories speaks of any package on {}: nothing can be found there, which is not the same as nothing being wrong.",
            counted(unreached, "asset", "assets"),
        ),
        COMPARE,
    );
    let old = covered - observed;
    judgement.gap(
        old > 0,
        format!("What is known of {} is older than a week.", counted(old, "further asset", "further assets")),
        COMPARE,
    );
    judgement.evidence.extend([inventories(measured), comparison(measured)]);
    judgement
}

fn scanning(measured: &Measured) -> Judgement {
    let mut judgement = coverage(measured);
    let sources = &measured.sources;
    if judgement.verdict == Verdict::NotAssessed {
        return judgement;
    }
    judgement.found.push(' ');
    judgement.found.push_str(&sources_told(measured));
    if sources.current < sources.enabled {
        judgement.verdict = judgement.verdict.min(Verdict::Partly);
    }
    wanting_sources(&mut judgement, measured);
    judgement.facts.push(Fact::text("Open findings", measured.open.to_string()));
    judgement
}

fn advisories(measured: &Measured) -> Judgement {
    let sources = &measured.sources;
    if sources.ever == 0 {
        return Judgement::not_assessed("No source of advisories ever arrived.");
    }
    let mut judgement = Judgement::new(share(sources.current, sources.enabled), sources_told(measured));
    wanting_sources(&mut judgement, measured);
    judgement.evidence.push(EvidenceItem {
        title: "State of the sources".into(),
        detail: Some("name, age and last crawl of each, at the end of this report".into()),
        collected_on: None,
        sha256: None,
    });
    judgement
}

fn sources_told(measured: &Measured) -> String {
    let sources = &measured.sources;
    format!("{} current.", of_all(sources.current, sources.enabled, ("source", "sources"), ("is", "are")))
}

fn wanting_sources(judgement: &mut Judgement, measured: &Measured) {
    let wanting = &measured.sources.wanting;
    judgement.gap(!wanting.is_empty(), format!("Not current: {}.", these(wanting, wanting.len())), CRAWL);
}

fn ranking(measured: &Measured) -> Judgement {
    let Measured { open, unrated, .. } = *measured;
    if open == 0 {
        return Judgement::not_assessed("There is no open finding to rate.");
    }
    let rated = open - unrated;
    let found = format!(
        "{} a severity from a published source.",
        of_all(rated, open, ("open finding", "open findings"), ("has", "have"))
    );
    let mut judgement = Judgement::new(share(rated, open), found);
    judgement.gap(
        unrated > 0,
        format!(
            "{} rated by nobody, and counted as pressing until somebody does.",
            counted(unrated, "finding is", "findings are")
        ),
        "Rate these findings by hand, or add a source that does.",
    );
    judgement.facts.push(Fact::text("Pressing", measured.urgent.to_string()));
    judgement.evidence.push(findings_evidence(open));
    judgement
}

fn flaws(rule: Rule, measured: &Measured) -> Judgement {
    let all = measured;
    if all.compared == 0 {
        return Judgement::not_assessed("No asset was ever compared with what is known of vulnerabilities.");
    }
    let lesser = |all: i64, urgent: i64| all - urgent;
    let (open, overdue, undecided) = match rule {
        Rule::UrgentFlaws => (all.urgent, all.overdue_urgent, all.undecided_urgent),
        Rule::LesserFlaws => (
            lesser(all.open, all.urgent),
            lesser(all.overdue, all.overdue_urgent),
            lesser(all.undecided, all.undecided_urgent),
        ),
        _ => (all.open, all.overdue, all.undecided),
    };
    let is_failed = if rule == Rule::Flaws { all.overdue_urgent > 0 } else { overdue > 0 };
    let is_current = all.sources.current == all.sources.enabled;
    let is_whole = overdue == 0 && undecided == 0 && all.observed == all.assets && is_current;
    let verdict = match (is_failed, is_whole) {
        (true, _) => Verdict::NotMet,
        (false, false) => Verdict::Partly,
        (false, true) => Verdict::Met,
    };
    let kind = match rule {
        Rule::UrgentFlaws => "pressing ",
        Rule::LesserFlaws => "lesser ",
        _ => "",
    };
    let open_told = capital(counted(open, &format!("{kind}finding is"), &format!("{kind}findings are")));
    let found = match (open, overdue) {
        (0, _) => format!("{open_told} open."),
        (_, 0) => format!("{open_told} open, none of them past its time."),
        (_, 1) => format!("{open_told} open; 1 of them is past its time."),
        (_, late) => {
            format!("{open_told} open; {} of them are past their time.", grouped(late.unsigned_abs()))
        }
    };
    let mut judgement = Judgement::new(verdict, found);
    let in_scope = |late: &&Late| match rule {
        Rule::UrgentFlaws => late.is_urgent,
        Rule::LesserFlaws => !late.is_urgent,
        _ => true,
    };
    let late: Vec<String> = all.late.iter().filter(in_scope).map(told).collect();
    judgement.gap(
        overdue > 0,
        format!("Past their time, the worst first:\n{}", late.join("\n")),
        "Install the fixed versions that the table of findings names, the known exploited ones first, then those longest overdue; where there is none, limit the exposure or have the risk accepted with its reason.",
    );
    judgement.gap(
        undecided > 0,
        format!(
            "{} not be decided, because a version was not understood. Such findings count as open, but not as late.",
            counted(undecided, "finding could", "findings could"),
        ),
        "Look at the undecided findings by hand.",
    );
    let unseen = all.assets - all.observed;
    judgement.gap(
        unseen > 0,
        format!("Of {} nothing is known that is younger than a week.", counted(unseen, "asset", "assets")),
        COMPARE,
    );
    wanting_sources(&mut judgement, all);
    judgement.facts.push(Fact::text("Resolved within 90 days", all.resolved.to_string()));
    judgement.evidence.extend([findings_evidence(open), comparison(all)]);
    judgement
}

/// A late vulnerability in a phrase.
fn told(late: &Late) -> String {
    let exploited = if late.is_kev { ", known to be exploited" } else { "" };
    let rating = if late.severity == "unknown" { "not rated" } else { &late.severity };
    let fix =
        late.fixed.as_ref().map_or("no fix is known".to_owned(), |version| format!("fixed in {version}"));
    format!(
        "{} in {} on {} ({rating}{exploited}, due {}, {fix})",
        late.vulnerability,
        late.package_name,
        counted(late.assets, "asset", "assets"),
        late.due,
    )
}

fn exceptions(measured: &Measured) -> Judgement {
    let Measured { accepted, accepted_exploited, .. } = *measured;
    if accepted == 0 {
        return Judgement::not_assessed("No risk was accepted, so there is no answer to a risk to look at.");
    }
    let found = format!(
        "The risk of {} was accepted, each with a reason and by somebody whom the audit trail names.",
        counted(accepted, "finding", "findings"),
    );
    let verdict = if accepted_exploited > 0 { Verdict::Partly } else { Verdict::Met };
    let mut judgement = Judgement::new(verdict, found);
    judgement.gap(
        accepted_exploited > 0,
        format!(
            "{} known to be exploited although the risk was accepted.",
            counted(accepted_exploited, "finding is", "findings are"),
        ),
        "Look at these acceptances again: what is exploited is no longer a chance.",
    );
    judgement.evidence.push(findings_evidence(accepted));
    judgement
}

fn unsupported(measured: &Measured) -> Judgement {
    if measured.unsupported == 0 {
        return Judgement::not_assessed(
            "No advisory calls an installed package out of support. No source lists all software that is, so this proves nothing.",
        );
    }
    let found = format!(
        "{} about packages that their maker no longer mends.",
        counted(measured.unsupported, "open finding is", "open findings are"),
    );
    let mut judgement = Judgement::new(Verdict::NotMet, found);
    let packages = &measured.unsupported_packages;
    judgement.gap(
        true,
        format!("Out of support: {}.", these(packages, packages.len())),
        "Replace these packages, or move to a release that is supported.",
    );
    judgement.evidence.push(findings_evidence(measured.unsupported));
    judgement
}

fn inventories(measured: &Measured) -> EvidenceItem {
    EvidenceItem {
        title: format!("Inventories of {}", counted(measured.assets, "asset", "assets")),
        detail: Some(format!("{} of them younger than a day", measured.heard)),
        collected_on: measured.last_seen_at.map(|at| at.date_naive()),
        sha256: None,
    }
}

fn comparison(measured: &Measured) -> EvidenceItem {
    EvidenceItem {
        title: format!("Comparison of {} with advisories", counted(measured.compared, "asset", "assets")),
        detail: Some(format!("{} of them within a week", measured.observed)),
        collected_on: None,
        sha256: None,
    }
}

fn findings_evidence(count: i64) -> EvidenceItem {
    EvidenceItem {
        title: counted(count, "finding", "findings"),
        detail: Some("each with asset, first sight and time, in the table of findings".into()),
        collected_on: None,
        sha256: None,
    }
}
