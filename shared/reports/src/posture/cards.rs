//! The worst findings at length, each with what proves it.

use domain::document::{AffectedAsset, Block, Fact, FindingCard, Fix, Inline, Link, Number, Status, Tone};

use super::{Posture, Problem, one_decimal, severity_of, words};

impl Posture {
    /// The worst ones at length.
    pub(crate) fn cards(&self, most: usize) -> Vec<Block> {
        self.problems.iter().take(most).map(|problem| Block::FindingCard(card(problem))).collect()
    }
}

fn card(problem: &Problem) -> FindingCard {
    let mut marks = Vec::new();
    if problem.is_kev {
        marks.push(Status { label: "Known exploited".into(), tone: Tone::Bad });
    }
    if problem.confidence == "undecided" {
        marks.push(Status { label: "Could not be decided".into(), tone: Tone::Caution });
    }
    let mut facts = Vec::new();
    let mut fact = |label: &str, value: String| {
        facts.push(Fact { label: label.into(), value: vec![Inline::Text(value)] });
    };
    if let Some(score) = problem.cvss_score {
        let vector = problem.cvss_vector.as_ref().map_or(String::new(), |vector| format!(" ({vector})"));
        fact("CVSS", format!("{score:.1}{vector}"));
    }
    if let Some(probability) = problem.epss_score {
        fact("EPSS", format!("{:.2} % within 30 days", probability * 100.0));
    }
    fact("First seen", problem.first_seen_at.format("%Y-%m-%d").to_string());
    fact("Vendor state", words(&problem.vendor_state));
    let fix = match problem.fixed.first() {
        Some(_) => Fix::Version(problem.fixed.join(", ")),
        None if problem.vendor_state == "under_investigation" => Fix::Unknown,
        None => Fix::NotAvailable,
    };
    let remediation = match &fix {
        Fix::Version(version) => Some(format!("Upgrade {} to {version} or later.", problem.package_name)),
        _ => Some(format!(
            "No fixed version of {} is known. Limit its exposure and watch the advisory.",
            problem.package_name
        )),
    };
    FindingCard {
        title: format!("{} in {}", problem.vulnerability, problem.package_name),
        severity: severity_of(&problem.severity),
        score: Number::from_f64(one_decimal(problem.composite_score)),
        vulnerability_id: problem.vulnerability.clone(),
        marks,
        package: Some(problem.package_name.clone()),
        installed: Some(problem.installed.join(", ")),
        fix,
        description: problem
            .description
            .clone()
            .unwrap_or_else(|| "No source that was crawled describes this vulnerability.".into()),
        facts,
        affected: problem
            .assets
            .iter()
            .map(|name| AffectedAsset { name: name.clone(), detail: None })
            .collect(),
        affected_total: problem.asset_count.unsigned_abs(),
        evidence: problem.evidence.as_ref().map(evidence_lines).unwrap_or_default(),
        remediation,
        references: problem.url.iter().map(|url| Link { text: url.clone(), url: url.clone() }).collect(),
    }
}

/// The evidence as people read it: what was compared with what, by which rule, on whose word. Fields that this does not know are
/// shown as they were recorded, nothing is left out.
fn evidence_lines(evidence: &serde_json::Value) -> Vec<String> {
    let Some(fields) = evidence.as_object() else { return Vec::new() };
    let text = |name: &str| fields.get(name).map_or_else(String::new, plain);
    let mut lines =
        vec![format!("{} {} on {}: {}", text("package"), text("version"), text("platform"), text("rule"))];
    for (name, label) in [
        ("introduced", "affected from"),
        ("fixed", "fixed in"),
        ("last_affected", "last affected"),
        ("exactly", "affected exactly"),
    ] {
        if fields.get(name).is_some_and(|value| !value.is_null()) {
            lines.push(format!("{label} {}", text(name)));
        }
    }
    lines.push(format!(
        "according to {} (advisory {}, {} tier)",
        text("source"),
        text("advisory"),
        text("tier")
    ));
    if fields.contains_key("binaries") {
        lines.push(format!("installed as {}", text("binaries")));
    }
    const TOLD: &[&str] = &[
        "package",
        "version",
        "platform",
        "rule",
        "introduced",
        "fixed",
        "last_affected",
        "exactly",
        "source",
        "advisory",
        "tier",
        "binaries",
    ];
    let others = fields.iter().filter(|(name, value)| {
        !TOLD.contains(&name.as_str()) && !value.is_null() && *value != &serde_json::json!([])
    });
    lines.extend(others.map(|(name, value)| format!("{}: {}", words(name), plain(value))));
    lines
}

/// A string as it is, a list of strings separated by commas, anything else as JSON.
fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
