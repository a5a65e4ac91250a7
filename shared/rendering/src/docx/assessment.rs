//! Findings, controls, timelines and signatures.

use domain::document::{
    Attestation, Control, Fact, FindingCard, Fix, Inline, Link, SignOff, Signatory, Timeline,
};

use super::{
    body::{Body, KEEP_NEXT, Letters, PLAIN, STRONG},
    styles::BULLETS,
    table::{self, Row},
};
use crate::{theme, words};

const CODE: Letters<'static> = Letters { style: Some("CodeText"), ..PLAIN };

impl Body {
    fn labelled(&mut self, label: &str, text: Option<&str>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.line("Label", label);
            self.text(text);
        }
    }

    fn references(&mut self, references: &[Link]) {
        if !references.is_empty() {
            self.line("Label", "References");
        }
        for reference in references {
            self.point(BULLETS, 0, |body| body.link(reference));
        }
    }

    pub(super) fn card(&mut self, card: &FindingCard) {
        self.heading("");
        self.paragraph_with("Normal", KEEP_NEXT, |body| {
            let shades = theme::severity(card.severity);
            body.pill(shades.word, shades);
            body.run("  ", PLAIN);
            body.run(&card.vulnerability_id, STRONG);
            for mark in &card.marks {
                body.run("  ", PLAIN);
                body.pill(&mark.label, theme::tone(mark.tone));
            }
        });
        let fix = match &card.fix {
            Fix::Version(version) => version.as_str(),
            Fix::NotAvailable => "no fix yet",
            Fix::Unknown => "unknown",
        };
        let score = card.score.as_ref().map(|score| format!("{} of 10", words::number(score, Some(1))));
        let known = [
            ("Package", card.package.as_deref()),
            ("Installed", card.installed.as_deref()),
            ("Fixed in", Some(fix)),
            ("Score", score.as_deref()),
        ];
        let known = known.into_iter().filter_map(|(label, value)| Some(Fact::text(label, value?)));
        let facts: Vec<Fact> = known.chain(card.facts.iter().cloned()).collect();
        self.facts(&facts);
        self.text(&card.description);
        let mut assets = card
            .affected
            .iter()
            .map(|asset| match &asset.detail {
                Some(detail) => format!("{} ({detail})", asset.name),
                None => asset.name.clone(),
            })
            .collect::<Vec<_>>()
            .join(", ");
        let listed = card.affected.len() as u64;
        if listed == 0 {
            assets = words::count(card.affected_total);
        } else if card.affected_total > listed {
            assets.push_str(&format!(", and {} more", words::count(card.affected_total - listed)));
        }
        self.labelled("Affected assets", Some(&assets));
        if !card.evidence.is_empty() {
            self.line("Label", "Evidence");
            self.line("Code", &card.evidence.join("\n"));
        }
        self.labelled("Remediation", card.remediation.as_deref());
        self.references(&card.references);
    }

    pub(super) fn control(&mut self, control: &Control) {
        self.heading("");
        self.paragraph_with("Normal", KEEP_NEXT, |body| {
            body.pill(&control.status.label, theme::tone(control.status.tone));
        });
        self.facts(&control.facts);
        for choice in &control.choices {
            self.line("Label", &choice.label);
            // All answers to a question on one page.
            for (left, answer) in (0..choice.answers.len()).rev().zip(&choice.answers) {
                let (mark, letters) = if answer.applies { ("☒", STRONG) } else { ("☐", PLAIN) };
                let with_next = if left > 0 { KEEP_NEXT } else { "" };
                self.paragraph_with("TableText", with_next, |body| {
                    body.run(&format!("{mark} {}", answer.label), letters);
                });
            }
        }
        if !control.parameters.is_empty() {
            self.line("Label", "Parameters");
            self.facts(&control.parameters);
        }
        if !control.statement.is_empty() {
            self.line("Label", "Requirement");
            self.list(&control.statement, true);
        }
        if !control.implementation.is_empty() {
            self.line("Label", "How it is met");
        }
        for part in &control.implementation {
            if part.label.is_some() || part.status.is_some() {
                self.paragraph_with("Normal", KEEP_NEXT, |body| {
                    body.run(part.label.as_deref().unwrap_or_default(), STRONG);
                    if let Some(status) = &part.status {
                        body.run(" ", PLAIN);
                        body.pill(&status.label, theme::tone(status.tone));
                    }
                });
            }
            self.paragraphs(&part.content);
        }
        if !control.evidence.is_empty() {
            self.line("Label", "Evidence");
        }
        for item in &control.evidence {
            self.point(BULLETS, 0, |body| {
                body.run(&item.title, PLAIN);
                let date = item.collected_on.map(words::date);
                for detail in [&item.detail, &date].into_iter().flatten() {
                    body.run(&format!(", {detail}"), PLAIN);
                }
                if let Some(digest) = &item.sha256 {
                    body.run("\nSHA-256 ", PLAIN);
                    body.run(digest, CODE);
                }
            });
        }
        if !control.gaps.is_empty() {
            self.line("Label", "What is missing");
            self.paragraphs(&control.gaps);
        }
        self.labelled("Remediation", control.remediation.as_deref());
        self.references(&control.references);
    }

    pub(super) fn timeline(&mut self, timeline: &Timeline) {
        if let Some(title) = &timeline.title {
            self.line("Caption", title);
        }
        if timeline.events.is_empty() {
            return self.line("Small", "No events.");
        }
        let widths = table::share(self.text_width(), &[20, 50, 16]);
        self.table_begins("Report", &widths, timeline.title.as_deref());
        self.row_begins(Row::Header);
        for (title, width) in ["When", "What", "Status"].iter().zip(&widths) {
            self.cell(*width, None, |body| body.line("TableTitle", title));
        }
        self.row_ends();
        for (place, event) in timeline.events.iter().enumerate() {
            self.row_begins(Row::of(place, timeline.events.len()));
            let until = event.until.map(|until| format!(" – {}", words::date(until))).unwrap_or_default();
            let when = format!("{}{until}", words::date(event.on));
            self.cell(widths[0], None, |body| body.line("TableText", &when));
            self.cell(widths[1], None, |body| {
                body.paragraph("TableText", |body| body.run(&event.title, STRONG));
                if !event.detail.is_empty() {
                    body.paragraph("TableText", |body| body.inlines(&event.detail));
                }
            });
            let fill = event.status.as_ref().and_then(|status| super::front::shades(status.tone));
            let status = event.status.as_ref().map(|status| status.label.as_str()).unwrap_or_default();
            self.cell(widths[2], fill, |body| body.line("TableText", status));
            self.row_ends();
        }
        self.table_ends();
    }

    pub(super) fn sign_off(&mut self, sign_off: &SignOff) {
        self.paragraphs(&sign_off.statement);
        self.signatories(&sign_off.signatories);
    }

    /// Lines to sign on, one row each, tall enough for a pen.
    fn signatories(&mut self, signatories: &[Signatory]) {
        let widths = table::share(self.text_width(), &[24, 24, 30, 16]);
        self.table_begins("Report", &widths, Some("Signatures"));
        self.row_begins(Row::Header);
        for (title, width) in ["Capacity", "Name", "Signature", "Date"].iter().zip(&widths) {
            self.cell(*width, None, |body| body.line("TableTitle", title));
        }
        self.row_ends();
        for signatory in signatories {
            self.raw("<w:tr><w:trPr><w:cantSplit/><w:trHeight w:val=\"800\" w:hRule=\"atLeast\"/></w:trPr>");
            self.cell(widths[0], None, |body| {
                body.paragraph("TableText", |body| body.run(&signatory.role, STRONG));
                if let Some(organization) = &signatory.organization {
                    body.line("TableText", organization);
                }
            });
            self.cell(widths[1], None, |body| {
                body.line("TableText", signatory.name.as_deref().unwrap_or_default())
            });
            self.cell(widths[2], None, |body| body.line("TableText", ""));
            let date = signatory.signed_on.map(words::date).unwrap_or_default();
            self.cell(widths[3], None, |body| body.line("TableText", &date));
            self.row_ends();
        }
        self.table_ends();
    }

    pub(super) fn attestation(&mut self, attestation: &Attestation) {
        self.heading("<w:pageBreakBefore/>");
        self.facts(&attestation.facts);
        self.paragraphs(&attestation.statement);
        self.list(&attestation.affirmations, true);
        self.signatories(std::slice::from_ref(&attestation.official));
        if let Some(notice) = &attestation.legal_notice {
            self.paragraph("Small", |body| body.inlines(&[Inline::Text(notice.clone())]));
        }
    }
}
