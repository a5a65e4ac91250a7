//! What stands around the sections: the first page, the contents, the key figures, the inputs, the signature.

use domain::document::{CoverFact, Document, Fact, Inline, KeyFigure, Link, Quantity, Seal, Section};

use super::{
    CONTENTS_LEVEL,
    body::{Body, PLAIN, bookmark},
    table::{self, Row},
};
use crate::{
    Options, marking,
    office::{self, Pixels},
    theme::{self, Shades},
    words,
};

/// Points that a logo may be wide and high.
const LOGO: [f64; 2] = [220.0, 80.0];

fn text(label: &str, value: &str) -> Fact {
    Fact::text(label, value)
}

impl Body {
    pub(super) fn front(&mut self, document: &Document, options: &Options) {
        let cover = &document.cover;
        if let Some(logo) = office::logo(document, &options.branding) {
            self.paragraph("Picture", |body| body.picture(logo, LOGO));
        }
        self.line("Organization", &cover.organization);
        self.line("Title", &cover.title);
        if let Some(subtitle) = &cover.subtitle {
            self.line("Subtitle", subtitle);
        }
        let mut facts = Vec::new();
        let mut add =
            |label: &str, value: Option<String>| facts.extend(value.map(|value| text(label, &value)));
        add("Prepared for", cover.prepared_for.clone());
        add("Prepared by", cover.prepared_by.clone());
        let period = cover.period;
        add(
            "Period",
            period.map(|period| {
                format!("{} to {}", words::long_date(period.from), words::long_date(period.until))
            }),
        );
        let time = cover.generated_at;
        add(
            "Data frozen",
            Some(format!("{}, {} UTC", words::long_date(time.date_naive()), time.format("%H:%M"))),
        );
        add("Document", Some(cover.document_number.clone()));
        add("Version", cover.version.clone());
        facts.extend(cover.facts.iter().map(|CoverFact { label, value }| text(label, value)));
        if let Some(url) = &cover.verify_url {
            facts.push(Fact { label: "Verify at".to_owned(), value: vec![address(url)] });
        }
        self.facts(&facts);
        self.designation(document, options);
        self.contents(document);
    }

    /// The designation indicator of a CUI document.
    fn designation(&mut self, document: &Document, options: &Options) {
        if let Some(lines) = marking::designation(document, options.branding.contact.as_deref()) {
            self.facts(&lines.map(|(label, value)| text(label, &value)));
        }
    }

    /// The contents as a field that the word processor fills anew, with the headings there are now as links. On which pages they
    /// will stand is for the word processor to find out: Word does when it opens the file, LibreOffice when it is told to,
    /// and shows whatever stands here until then. No number is better than a wrong one.
    fn contents(&mut self, document: &Document) {
        let wanted = marking::wants_contents(document);
        let entries: Vec<(usize, usize, String)> = self
            .headings
            .iter()
            .enumerate()
            .filter(|(_, heading)| heading.level <= CONTENTS_LEVEL)
            .map(|(index, heading)| (index, heading.level, heading.text.replace(['\r', '\n'], " ")))
            .collect();
        if wanted && !entries.is_empty() {
            let new_page = if document.presentation.cover_page { "<w:pageBreakBefore/>" } else { "" };
            self.paragraph_with("TOCHeading", new_page, |body| body.run("Contents", PLAIN));
            let last = entries.len() - 1;
            for (place, (index, level, heading)) in entries.into_iter().enumerate() {
                self.paragraph(&format!("TOC{level}"), |body| {
                    if place == 0 {
                        body.field_begins(&format!(" TOC \\o \"1-{CONTENTS_LEVEL}\" \\h \\z \\u "));
                    }
                    let name = bookmark(index);
                    body.raw(&format!("<w:hyperlink w:anchor=\"{name}\" w:history=\"1\">"));
                    body.run(&heading, PLAIN);
                    body.raw("</w:hyperlink>");
                    if place == last {
                        body.field_ends();
                    }
                });
            }
        }
        if document.presentation.cover_page || wanted {
            self.raw(
                "<w:p><w:pPr><w:pStyle w:val=\"Small\"/></w:pPr><w:r><w:br w:type=\"page\"/></w:r></w:p>",
            );
        }
    }

    pub(super) fn main(&mut self, document: &Document) {
        if !document.omissions.is_empty() {
            let content: Vec<Inline> = vec![Inline::Text(document.omissions.join("\n"))];
            self.boxed(domain::document::Tone::Caution, "Not everything is in this document", &content);
        }
        self.key_figures(&document.key_figures, marking::has_trends(document));
        for section in document.sections.iter().chain(&document.appendices) {
            self.turn(table::wants_landscape(section));
            self.section(section);
        }
        if document.sections.len() + document.appendices.len() + document.key_figures.len() == 0 {
            self.line("Normal", "There is nothing to report.");
        }
    }

    fn section(&mut self, section: &Section) {
        self.heading("");
        self.blocks(section);
        section.sections.iter().for_each(|inner| self.section(inner));
    }

    fn key_figures(&mut self, figures: &[KeyFigure], with_trends: bool) {
        if figures.is_empty() {
            return;
        }
        self.heading("");
        let widths = table::share(self.text_width(), if with_trends { &[4, 2, 4] } else { &[4, 6] });
        self.table_begins("Report", &widths, Some("Key figures"));
        self.row_begins(Row::Header);
        for (title, width) in ["Key figure", "Value", "Trend"].iter().zip(&widths) {
            self.cell(*width, None, |body| body.line("TableTitle", title));
        }
        self.row_ends();
        for (place, figure) in figures.iter().enumerate() {
            let value = match &figure.value {
                Quantity::Number(number) => words::number(number, None),
                Quantity::Text(text) => text.clone(),
            };
            let unit = figure.unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
            let trend = figure.trend.as_ref().map(|trend| {
                let arrow = words::arrow(trend.direction);
                (format!("{arrow} {}", trend.change), shades(trend.tone))
            });
            let (trend, trend_shades) = trend.unwrap_or_default();
            self.row_begins(Row::of(place, figures.len()));
            let cells = [
                (figure.label.clone(), None),
                (format!("{value}{unit}"), shades(figure.tone)),
                (trend, trend_shades),
            ];
            for ((text, fill), width) in cells.into_iter().zip(&widths) {
                self.cell(*width, fill, |body| {
                    body.paragraph("TableText", |body| {
                        body.run(&text, super::body::Letters { shades: fill, ..PLAIN });
                    });
                });
            }
            self.row_ends();
        }
        self.table_ends();
    }

    /// What comes behind the sections.
    pub(super) fn end(&mut self, document: &Document, options: &Options) {
        let branding = &options.branding;
        let says_more = !document.inputs.is_empty()
            || document.seal.is_some()
            || branding.contact.is_some()
            || !branding.legal_statements.is_empty();
        // Otherwise a turned last section would be followed by an empty upright page.
        if says_more {
            self.turn(false);
        }
        if !document.inputs.is_empty() {
            self.heading("");
            self.line(
                "Normal",
                "What this report was made from, frozen when it was made. Whoever has the same inputs can compare their digests.",
            );
            let dash = || "–".to_owned();
            let rows = document.inputs.iter().map(|input| {
                vec![
                    Inline::Text(input.name.clone()),
                    Inline::Text(input.version.clone().unwrap_or_else(dash)),
                    Inline::Text(input.as_of.map_or_else(dash, words::moment)),
                    Inline::Text(input.records.map_or_else(dash, words::count)),
                    Inline::Code(input.sha256.clone()),
                ]
            });
            self.small_table(
                &["Input", "Version", "State of (UTC)", "Records", "SHA-256"],
                &[20, 10, 13, 9, 34],
                rows,
            );
        }
        if let Some(seal) = &document.seal {
            self.seal(seal);
        }
        if let Some(contact) = &options.branding.contact {
            self.line("Small", &format!("Questions about this document: {contact}"));
        }
        options.branding.legal_statements.iter().for_each(|statement| self.line("Small", statement));
    }

    fn seal(&mut self, seal: &Seal) {
        self.heading("<w:pageBreakBefore/>");
        let mut facts = vec![text("Signed by", &seal.signer)];
        facts.extend(seal.organization.as_ref().map(|value| text("For", value)));
        facts.push(text("Signed at", &seal.signed_at.format("%Y-%m-%d %H:%M:%S UTC").to_string()));
        facts.extend(seal.reason.as_ref().map(|value| text("Reason", value)));
        facts.extend(seal.certificate.as_ref().map(|value| text("Certificate", value)));
        facts.extend(seal.timestamp.as_ref().map(|value| text("Timestamp", value)));
        facts.push(text("Report hash (SHA-256)", &seal.content_sha256));
        facts.push(Fact { label: "Verify at".to_owned(), value: vec![address(&seal.verify_url)] });
        self.facts(&facts);
        let alt = "QR code of the address to verify this report at";
        let code = crate::figure::qr_code(&seal.verify_url, alt);
        if let Some(code) = code.and_then(|svg| Pixels::of_drawing(&svg, alt).ok()) {
            self.paragraph("Picture", |body| body.picture(code, [110.0, 110.0]));
        }
    }
}

pub(super) fn shades(tone: domain::document::Tone) -> Option<Shades> {
    (tone != domain::document::Tone::Neutral).then(|| theme::tone(tone))
}

fn address(url: &str) -> Inline {
    Inline::Link(Link { text: url.to_owned(), url: url.to_owned() })
}
