//! Findings, controls, timelines and signatures.

use domain::document::{
    Attestation, Control, EvidenceItem, FindingCard, Fix, SignOff, Signatory, Timeline, TimelineEvent,
};

use super::{
    caption_of, code, dash, escape, facts, heading, inlines, link, list, paragraph_of, table, write_items,
};

pub(super) fn write_card(out: &mut String, card: &FindingCard, level: usize) {
    heading(out, level, &card.title);
    let mut lines = vec![format!("**Severity:** {}", card.severity)];
    lines.push(format!("**Vulnerability:** {}", escape(&card.vulnerability_id)));
    lines.extend(card.marks.iter().map(|mark| format!("**{}**", escape(&mark.label))));
    lines.extend(card.score.as_ref().map(|score| format!("**Score:** {score} of 10")));
    lines.extend(card.package.as_ref().map(|package| format!("**Package:** {}", escape(package))));
    lines.extend(card.installed.as_ref().map(|version| format!("**Installed:** {}", escape(version))));
    lines.push(match &card.fix {
        Fix::Version(version) => format!("**Fixed in:** {}", escape(version)),
        Fix::NotAvailable => "**Fixed in:** no fix yet".to_owned(),
        Fix::Unknown => "**Fixed in:** unknown".to_owned(),
    });
    list(out, "-", lines.into_iter());
    facts(out, &card.facts);
    paragraph_of(out, &escape(&card.description));
    let names: Vec<String> = card
        .affected
        .iter()
        .map(|asset| match &asset.detail {
            Some(detail) => format!("{} ({})", escape(&asset.name), escape(detail)),
            None => escape(&asset.name),
        })
        .collect();
    let names = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    paragraph_of(out, &format!("**Affected assets ({})**{names}", card.affected_total));
    list(out, "-", card.evidence.iter().map(|line| code(line)));
    if let Some(remediation) = &card.remediation {
        paragraph_of(out, &format!("**Remediation:** {}", escape(remediation)));
    }
    list(out, "-", card.references.iter().map(link));
}

pub(super) fn write_control(out: &mut String, control: &Control, level: usize) {
    heading(out, level, &format!("{} {}", control.control_id, control.title));
    list(out, "-", std::iter::once(format!("**Status:** {}", escape(&control.status.label))));
    facts(out, &control.facts);
    for choice in &control.choices {
        paragraph_of(out, &format!("**{}**", escape(&choice.label)));
        let answers = choice.answers.iter();
        list(
            out,
            "-",
            answers.map(|answer| {
                format!("[{}] {}", if answer.applies { 'x' } else { ' ' }, escape(&answer.label))
            }),
        );
    }
    let part = |out: &mut String, title: &str, present: bool| {
        if present {
            paragraph_of(out, &format!("**{title}**"));
        }
    };
    part(out, "Parameters", !control.parameters.is_empty());
    facts(out, &control.parameters);
    part(out, "Requirement", !control.statement.is_empty());
    write_items(out, &control.statement, true, 0);
    part(out, "Implementation", !control.implementation.is_empty());
    for implementation in &control.implementation {
        let label =
            implementation.label.as_ref().map(|label| format!("**{}:** ", escape(label))).unwrap_or_default();
        let status = implementation
            .status
            .as_ref()
            .map(|status| format!("({}) ", escape(&status.label)))
            .unwrap_or_default();
        paragraph_of(out, &format!("{label}{status}{}", inlines(&implementation.content)));
    }
    part(out, "Evidence", !control.evidence.is_empty());
    list(out, "-", control.evidence.iter().map(evidence));
    if !control.gaps.is_empty() {
        paragraph_of(out, &format!("**What is missing:** {}", inlines(&control.gaps)));
    }
    if let Some(remediation) = &control.remediation {
        paragraph_of(out, &format!("**Remediation:** {}", escape(remediation)));
    }
    list(out, "-", control.references.iter().map(link));
}

fn evidence(item: &EvidenceItem) -> String {
    let detail = item.detail.as_ref().map(|detail| format!(", {}", escape(detail))).unwrap_or_default();
    let date = item.collected_on.map(|date| format!(", {date}")).unwrap_or_default();
    let digest = item.sha256.as_ref().map(|digest| format!(", {}", code(digest))).unwrap_or_default();
    format!("{}{detail}{date}{digest}", escape(&item.title))
}

pub(super) fn write_timeline(out: &mut String, timeline: &Timeline) {
    caption_of(out, timeline.title.as_deref());
    let rows = timeline.events.iter().map(|event| {
        let TimelineEvent { on, until, title, detail, status } = event;
        let until = until.map(|until| format!(" to {until}")).unwrap_or_default();
        let detail = if detail.is_empty() { String::new() } else { format!("<br>{}", inlines(detail)) };
        let status = status.as_ref().map_or_else(dash, |status| escape(&status.label));
        vec![format!("{on}{until}"), format!("{}{detail}", escape(title)), status]
    });
    table(out, &["When", "What", "Status"].map(str::to_owned), &[false; 3], rows);
}

pub(super) fn write_sign_off(out: &mut String, sign_off: &SignOff) {
    paragraph_of(out, &inlines(&sign_off.statement));
    signatories(out, &sign_off.signatories);
}

pub(super) fn write_attestation(out: &mut String, attestation: &Attestation, level: usize) {
    heading(out, level, &attestation.title);
    facts(out, &attestation.facts);
    paragraph_of(out, &inlines(&attestation.statement));
    write_items(out, &attestation.affirmations, true, 0);
    signatories(out, std::slice::from_ref(&attestation.official));
    if let Some(notice) = &attestation.legal_notice {
        paragraph_of(out, &escape(notice));
    }
}

fn signatories(out: &mut String, signatories: &[Signatory]) {
    let blank = || "\\_\\_\\_\\_\\_\\_\\_\\_".to_owned();
    let rows = signatories.iter().map(|signatory| {
        vec![
            escape(&signatory.role),
            signatory.name.as_deref().map_or_else(blank, escape),
            signatory.organization.as_deref().map(escape).unwrap_or_default(),
            signatory.signed_on.map_or_else(blank, |date| date.to_string()),
        ]
    });
    table(out, &["Role", "Name", "Organization", "Date"].map(str::to_owned), &[false; 4], rows);
}
