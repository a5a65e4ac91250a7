//! Findings, controls, timelines and signatures.

use std::fmt::Write;

use domain::document::{
    Attestation, Control, EvidenceItem, FindingCard, Fix, Link, SignOff, Signatory, Timeline,
};

use super::{Page, escaped, style::severity_class, tone_class};
use crate::words;

impl Page {
    fn label(&mut self, text: &str) {
        self.element("p class=\"label\"", text);
    }

    /// A label with text under it, if there is any.
    fn labelled(&mut self, label: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.label(label);
            self.paragraphs(&[domain::document::Inline::Text(text.to_owned())]);
        }
    }

    fn references(&mut self, references: &[Link]) {
        if references.is_empty() {
            return;
        }
        self.label("References");
        self.raw("<ul>");
        for reference in references {
            self.raw("<li>");
            self.link(reference);
            self.raw("</li>");
        }
        self.raw("</ul>");
    }

    pub(super) fn card(&mut self, card: &FindingCard, level: usize) {
        let _ = write!(self.out, "<article class=\"card {}\"><p>", severity_class(card.severity));
        self.severity(card.severity);
        let _ = write!(self.out, " <span class=\"muted\">{}</span>", escaped(&card.vulnerability_id));
        for mark in &card.marks {
            self.raw(" ");
            self.status(mark);
        }
        self.raw("</p>");
        self.heading(level, &card.title);
        self.raw("<dl class=\"facts\">");
        let fix = match &card.fix {
            Fix::Version(version) => version.as_str(),
            Fix::NotAvailable => "no fix yet",
            Fix::Unknown => "unknown",
        };
        let score = card.score.as_ref().map(|score| format!("{} of 10", words::number(score, Some(1))));
        for (label, value) in [
            ("Package", card.package.as_deref()),
            ("Installed", card.installed.as_deref()),
            ("Fixed in", Some(fix)),
            ("Score", score.as_deref()),
        ] {
            if let Some(value) = value {
                let _ = write!(self.out, "<div><dt>{label}</dt><dd>{}</dd></div>", escaped(value));
            }
        }
        for fact in &card.facts {
            let _ = write!(self.out, "<div><dt>{}</dt><dd>", escaped(&fact.label));
            self.inlines(&fact.value);
            self.raw("</dd></div>");
        }
        self.raw("</dl>");
        self.paragraphs(&[domain::document::Inline::Text(card.description.clone())]);
        self.label("Affected assets");
        self.affected(card);
        if !card.evidence.is_empty() {
            self.label("Evidence");
            self.element("pre", &card.evidence.join("\n"));
        }
        self.labelled("Remediation", card.remediation.as_deref());
        self.references(&card.references);
        self.raw("</article>");
    }

    fn affected(&mut self, card: &FindingCard) {
        self.raw("<p>");
        for (index, asset) in card.affected.iter().enumerate() {
            self.raw(if index > 0 { ", " } else { "" });
            self.text(&asset.name);
            if let Some(detail) = &asset.detail {
                self.element("span class=\"muted\"", &format!(" ({detail})"));
            }
        }
        let listed = card.affected.len() as u64;
        if listed == 0 {
            self.text(&words::count(card.affected_total));
        } else if card.affected_total > listed {
            self.text(&format!(", and {} more", words::count(card.affected_total - listed)));
        }
        self.raw("</p>");
    }

    pub(super) fn control(&mut self, control: &Control, level: usize) {
        let _ = write!(
            self.out,
            "<article class=\"control {}\"><div class=\"head\">",
            tone_class(control.status.tone)
        );
        self.heading(level, &format!("{} {}", control.control_id, control.title));
        self.status(&control.status);
        self.raw("</div>");
        self.facts(&control.facts);
        for choice in &control.choices {
            self.element("span class=\"small muted\"", &choice.label);
            self.raw("<ul class=\"choices\">");
            for answer in &choice.answers {
                let (class, mark) = if answer.applies { ("yes", "☒") } else { ("no", "☐") };
                let _ = write!(self.out, "<li class=\"{class}\">{mark} {}</li>", escaped(&answer.label));
            }
            self.raw("</ul>");
        }
        if !control.parameters.is_empty() {
            self.label("Parameters");
            self.facts(&control.parameters);
        }
        if !control.statement.is_empty() {
            self.label("Requirement");
            self.list(&control.statement, "ol class=\"statement\"");
        }
        if !control.implementation.is_empty() {
            self.label("How it is met");
        }
        for part in &control.implementation {
            self.raw("<div class=\"part\">");
            if let Some(label) = &part.label {
                self.element("strong", label);
                self.raw(" ");
            }
            if let Some(status) = &part.status {
                self.status(status);
            }
            self.paragraphs(&part.content);
            self.raw("</div>");
        }
        if !control.evidence.is_empty() {
            self.label("Evidence");
            self.raw("<ul>");
            control.evidence.iter().for_each(|item| self.evidence(item));
            self.raw("</ul>");
        }
        if !control.gaps.is_empty() {
            self.label("What is missing");
            self.paragraphs(&control.gaps);
        }
        self.labelled("Remediation", control.remediation.as_deref());
        self.references(&control.references);
        self.raw("</article>");
    }

    fn evidence(&mut self, item: &EvidenceItem) {
        self.raw("<li>");
        self.text(&item.title);
        let date = item.collected_on.map(words::date);
        for detail in [&item.detail, &date].into_iter().flatten() {
            self.element("span class=\"muted\"", &format!(", {detail}"));
        }
        if let Some(digest) = &item.sha256 {
            self.raw("<br><span class=\"muted small\">SHA-256 ");
            self.element("code", digest);
            self.raw("</span>");
        }
        self.raw("</li>");
    }

    pub(super) fn timeline(&mut self, timeline: &Timeline) {
        if let Some(title) = &timeline.title {
            self.label(title);
        }
        if timeline.events.is_empty() {
            self.raw("<p class=\"muted\">No events.</p>");
            return;
        }
        self.raw("<ol class=\"timeline\">");
        for event in &timeline.events {
            let tone = event.status.as_ref().map_or_else(Default::default, |status| status.tone);
            let until = event.until.map(|until| format!(" – {}", words::date(until))).unwrap_or_default();
            let _ = write!(
                self.out,
                "<li class=\"{}\"><span class=\"muted small\"><time datetime=\"{}\">{}</time>{until}</span><br><strong>{}</strong> ",
                tone_class(tone),
                event.on,
                words::date(event.on),
                escaped(&event.title)
            );
            if let Some(status) = &event.status {
                self.status(status);
            }
            self.raw("<br>");
            self.inlines(&event.detail);
            self.raw("</li>");
        }
        self.raw("</ol>");
    }

    pub(super) fn sign_off(&mut self, sign_off: &SignOff) {
        self.paragraphs(&sign_off.statement);
        sign_off.signatories.iter().for_each(|signatory| self.signatory(signatory));
    }

    fn signatory(&mut self, signatory: &Signatory) {
        let _ = write!(self.out, "<p><strong>{}</strong>", escaped(&signatory.role));
        if let Some(organization) = &signatory.organization {
            self.text(&format!(", {organization}"));
        }
        self.raw("</p><div class=\"sign\"><div>");
        self.text(signatory.name.as_deref().unwrap_or_default());
        self.raw("</div><div></div><div>");
        self.text(&signatory.signed_on.map(words::date).unwrap_or_default());
        self.raw(
            "</div><span class=\"small muted\">Name</span><span class=\"small muted\">Signature</span>\
                  <span class=\"small muted\">Date</span></div>",
        );
    }

    pub(super) fn attestation(&mut self, attestation: &Attestation, level: usize) {
        self.heading(level, &attestation.title);
        self.facts(&attestation.facts);
        self.paragraphs(&attestation.statement);
        self.list(&attestation.affirmations, "ol");
        self.signatory(&attestation.official);
        if let Some(notice) = &attestation.legal_notice {
            self.element("p class=\"small muted\"", notice);
        }
    }
}
