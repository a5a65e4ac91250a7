//! HTML: one file that works without a network and without scripts, on screen in light and dark, and on paper.
//!
//! Every text is escaped where it is written ([`escaped`]), and the page forbids itself everything but its own style and
//! pictures that it carries (Content-Security-Policy, ASVS 3.4). Texts are complete here: nothing is cut for want of
//! room. The style is `templates/html/report.css`.

mod assessment;
mod blocks;
mod style;

use std::fmt::Write;

use domain::document::{
    Document, Fact, FrozenInput, Image, Inline, KeyFigure, Link, Orientation, Quantity, Reference, Seal,
    Section, Tone,
};

use crate::{
    Options, appendix_heading, figure, image, marking,
    prepare::{anchor, is_safe_link},
    sanitise::reveal,
    theme::Palette,
    words,
};

pub(crate) fn render(document: &Document, options: &Options) -> String {
    let palette = Palette::of(&options.branding);
    let mut page = Page { out: String::with_capacity(64 << 10), palette, anchors: Vec::new() };
    gather_anchors(&document.sections, &mut page.anchors);
    gather_anchors(&document.appendices, &mut page.anchors);
    page.head(document);
    page.front(document, options);
    page.main(document);
    page.foot(document, options);
    page.out
}

/// The page so far.
struct Page {
    out: String,
    palette: Palette,
    /// Anchors of all sections, as far as they are unique.
    anchors: Vec<String>,
}

fn gather_anchors(sections: &[Section], into: &mut Vec<String>) {
    for section in sections {
        let id = anchor(&section.id);
        if !id.is_empty() && !into.contains(&id) {
            into.push(id);
        }
        gather_anchors(&section.sections, into);
    }
}

/// Text with what hides spelled out and what acts escaped; fits in attributes too.
fn escaped(text: &str) -> String {
    figure::escape(&reveal(text))
}

fn tone_class(tone: Tone) -> &'static str {
    match tone {
        Tone::Neutral => "t-neutral",
        Tone::Good => "t-good",
        Tone::Caution => "t-caution",
        Tone::Bad => "t-bad",
    }
}

impl Page {
    fn raw(&mut self, html: &str) {
        self.out.push_str(html);
    }

    fn text(&mut self, text: &str) {
        let text = escaped(text);
        self.out.push_str(&text);
    }

    /// `<tag class>text</tag>`; the tag is ours.
    fn element(&mut self, tag: &str, text: &str) {
        let name = tag.split(' ').next().unwrap_or(tag);
        let _ = write!(self.out, "<{tag}>{}</{name}>", escaped(text));
    }

    fn heading(&mut self, level: usize, text: &str) {
        let level = level.clamp(1, 6);
        let _ = write!(self.out, "<h{level}>{}</h{level}>", escaped(text));
    }

    fn head(&mut self, document: &Document) {
        let banner = marking::banner(document).map(|banner| reveal(&banner));
        let style = style::sheet(&self.palette, banner.as_deref());
        let language = if document.language.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            document.language.as_str()
        } else {
            "en"
        };
        let _ = write!(
            self.out,
            "<!doctype html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '{}'; img-src data:; \
             base-uri 'none'; form-action 'none'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"generator\" content=\"Plimsoll {}\">\n\
             <title>{}</title>\n<style>{style}</style>\n</head>\n<body>\n",
            style::digest(&style),
            env!("CARGO_PKG_VERSION"),
            escaped(&document.cover.title),
        );
    }

    fn banner(&mut self, document: &Document, place: &str) {
        if let Some(banner) = marking::banner(document) {
            self.element(&format!("p class=\"banner {place}\""), &banner);
        }
    }

    fn front(&mut self, document: &Document, options: &Options) {
        let cover = &document.cover;
        self.raw("<a class=\"skip\" href=\"#content\">Skip to the content</a>");
        self.banner(document, "top");
        let plain = if document.presentation.cover_page { "" } else { " plain" };
        let _ = write!(self.out, "<header class=\"cover{plain}\">");
        let logo = cover.logo.as_ref().or(options.branding.logo.as_ref()).and_then(image::usable);
        if let Some(logo) = logo {
            self.raw("<div class=\"logo\">");
            self.picture(&logo);
            self.raw("</div>");
        }
        self.element("p class=\"organization\"", &cover.organization);
        self.element("h1", &cover.title);
        if let Some(subtitle) = &cover.subtitle {
            self.element("p class=\"subtitle\"", subtitle);
        }
        self.raw("</header><dl class=\"facts front\">");
        let period = cover
            .period
            .map(|period| format!("{} to {}", words::long_date(period.from), words::long_date(period.until)));
        let frozen = format!(
            "{}, {} UTC",
            words::long_date(cover.generated_at.date_naive()),
            cover.generated_at.format("%H:%M")
        );
        let known = [
            ("Prepared for", cover.prepared_for.as_deref()),
            ("Prepared by", cover.prepared_by.as_deref()),
            ("Period", period.as_deref()),
            ("Data frozen", Some(frozen.as_str())),
            ("Document", Some(cover.document_number.as_str())),
            ("Version", cover.version.as_deref()),
        ];
        let further = cover.facts.iter().map(|fact| (fact.label.as_str(), Some(fact.value.as_str())));
        for (label, value) in known.into_iter().chain(further) {
            if let Some(value) = value {
                let _ = write!(self.out, "<div><dt>{}</dt><dd>{}</dd></div>", escaped(label), escaped(value));
            }
        }
        if let Some(url) = &cover.verify_url {
            self.raw("<div><dt>Verify at</dt><dd>");
            self.link(&Link { text: url.clone(), url: url.clone() });
            self.raw("</dd></div>");
        }
        self.raw("</dl>");
        self.contents(document);
        self.raw("<main id=\"content\">");
        self.designation(document, options);
    }

    /// The designation indicator of a CUI document.
    fn designation(&mut self, document: &Document, options: &Options) {
        let Some(lines) = marking::designation(document, options.branding.contact.as_deref()) else { return };
        self.raw("<div class=\"designation\">");
        for (label, value) in lines {
            let _ = write!(self.out, "<div><strong>{label}:</strong> {}</div>", escaped(&value));
        }
        self.raw("</div>");
    }

    fn contents(&mut self, document: &Document) {
        if !marking::wants_contents(document) {
            return;
        }
        self.raw("<nav class=\"contents\" aria-label=\"Contents\"><h2>Contents</h2><ol>");
        let appendices = document
            .appendices
            .iter()
            .enumerate()
            .map(|(index, section)| (section, appendix_heading(index, &section.heading)));
        let sections = document.sections.iter().map(|section| (section, section.heading.clone()));
        for (section, heading) in sections.chain(appendices) {
            self.raw("<li>");
            let id = anchor(&section.id);
            if id.is_empty() {
                self.text(&heading);
            } else {
                let _ = write!(self.out, "<a href=\"#{id}\">{}</a>", escaped(&heading));
            }
            self.raw("</li>");
        }
        self.raw("</ol></nav>");
    }

    fn main(&mut self, document: &Document) {
        if !document.omissions.is_empty() {
            self.raw(
                "<div class=\"note t-caution\"><p class=\"title\">Not everything is in this document</p>",
            );
            document.omissions.iter().for_each(|omission| self.element("p", omission));
            self.raw("</div>");
        }
        if !document.key_figures.is_empty() {
            let in_threes = matches!(document.key_figures.len(), 3 | 5 | 6 | 9);
            self.raw("<h2>At a glance</h2><ul class=\"tiles");
            self.raw(if in_threes { " threes\">" } else { "\">" });
            document.key_figures.iter().for_each(|figure| self.key_figure(figure));
            self.raw("</ul>");
        }
        document.sections.iter().for_each(|section| self.section(section, &section.heading, 2));
        for (index, appendix) in document.appendices.iter().enumerate() {
            self.section(appendix, &appendix_heading(index, &appendix.heading), 2);
        }
        if document.sections.len() + document.appendices.len() + document.key_figures.len() == 0 {
            self.raw("<p class=\"muted\">There is nothing to report.</p>");
        }
        self.inputs(&document.inputs);
        if let Some(seal) = &document.seal {
            self.seal(seal);
        }
        self.raw("</main>");
    }

    fn key_figure(&mut self, figure: &KeyFigure) {
        let _ = write!(self.out, "<li class=\"{}\">", tone_class(figure.tone));
        self.element("span class=\"small muted\"", &figure.label);
        let value = match &figure.value {
            Quantity::Number(number) => words::number(number, None),
            Quantity::Text(text) => text.clone(),
        };
        let _ = write!(self.out, "<span class=\"value\">{}", escaped(&value));
        if let Some(unit) = &figure.unit {
            let _ = write!(self.out, " <small class=\"muted\">{}</small>", escaped(unit));
        }
        self.raw("</span>");
        if let Some(history) = figure::history(&figure.history, figure.tone) {
            let _ = write!(self.out, "<span class=\"history\" aria-hidden=\"true\">{history}</span>");
        }
        if let Some(trend) = &figure.trend {
            let arrow = words::arrow(trend.direction);
            let class = tone_class(trend.tone);
            let _ =
                write!(self.out, "<span class=\"trend {class}\">{arrow} {}</span>", escaped(&trend.change));
        }
        self.raw("</li>");
    }

    fn section(&mut self, section: &Section, heading: &str, level: usize) {
        let id = anchor(&section.id);
        // The first section of a name has it.
        let place = self.anchors.iter().position(|anchor| *anchor == id);
        let turned = level == 2 && section.orientation == Orientation::Landscape;
        self.raw(if turned { "<section class=\"turned\"" } else { "<section" });
        if let Some(place) = place {
            self.anchors[place].insert(0, '#');
            let _ = write!(self.out, " id=\"{id}\"");
        }
        self.raw(">");
        self.heading(level, heading);
        self.blocks(section, level + 1);
        section.sections.iter().for_each(|inner| self.section(inner, &inner.heading, level + 1));
        self.raw("</section>");
    }

    /// Runs of text. Line feeds become line breaks.
    fn inlines(&mut self, content: &[Inline]) {
        for inline in content {
            match inline {
                Inline::Text(text) => self.lines(text),
                Inline::Strong(text) => self.element("strong", text),
                Inline::Emphasis(text) => self.element("em", text),
                Inline::Code(text) => self.element("code", text),
                Inline::Link(link) => self.link(link),
                Inline::Reference(Reference { text, section }) => {
                    let id = anchor(section);
                    if !id.is_empty()
                        && self.anchors.iter().any(|anchor| anchor.trim_start_matches('#') == id)
                    {
                        let _ = write!(self.out, "<a href=\"#{id}\">{}</a>", escaped(text));
                    } else {
                        self.text(text);
                    }
                }
            }
        }
    }

    fn lines(&mut self, text: &str) {
        let escaped = escaped(text).replace("\r\n", "\n").replace('\r', "\n");
        self.out.push_str(&escaped.replace('\n', "<br>"));
    }

    fn link(&mut self, link: &Link) {
        let text = if link.text.trim().is_empty() { &link.url } else { &link.text };
        if is_safe_link(&link.url) {
            let url = figure::escape(&link.url);
            let _ = write!(self.out, "<a href=\"{url}\" rel=\"noopener noreferrer\">{}</a>", escaped(text));
        } else if *text == link.url || link.url.is_empty() {
            self.text(text);
        } else {
            self.text(&format!("{text} ({})", link.url));
        }
    }

    fn picture(&mut self, image: &Image) {
        let _ = write!(self.out, "<img src=\"{}\" alt=\"{}\">", image.data_url(), escaped(&image.alt));
    }

    fn facts(&mut self, facts: &[Fact]) {
        if facts.is_empty() {
            return;
        }
        self.raw("<dl class=\"pairs\">");
        for fact in facts {
            self.element("dt", &fact.label);
            self.raw("<dd>");
            self.inlines(&fact.value);
            self.raw("</dd>");
        }
        self.raw("</dl>");
    }

    fn inputs(&mut self, inputs: &[FrozenInput]) {
        if inputs.is_empty() {
            return;
        }
        self.raw("<section><h2>Inputs of this report</h2><p>What this report was made from, frozen when it was made. Whoever has \
                  the same inputs can compare their digests.</p><div class=\"scroll\"><table><thead><tr>\
                  <th scope=\"col\">Input</th><th scope=\"col\">Version</th><th scope=\"col\">State of (UTC)</th>\
                  <th scope=\"col\" class=\"number\">Records</th><th scope=\"col\">SHA-256</th></tr></thead><tbody>");
        for input in inputs {
            let as_of = input.as_of.map_or_else(|| "–".to_owned(), words::moment);
            let records = input.records.map_or_else(|| "–".to_owned(), words::count);
            let _ = write!(
                self.out,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{as_of}</td><td class=\"number\">{records}</td><td><code>{}</code></td></tr>",
                escaped(&input.name),
                escaped(input.version.as_deref().unwrap_or("–")),
                escaped(&input.sha256)
            );
        }
        self.raw("</tbody></table></div></section>");
    }

    fn seal(&mut self, seal: &Seal) {
        self.raw("<section><h2>Signature</h2><div class=\"seal\"><dl class=\"facts\">");
        let signed_at = seal.signed_at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
        for (label, value) in [
            ("Signed by", Some(seal.signer.as_str())),
            ("For", seal.organization.as_deref()),
            ("Signed at", Some(signed_at.as_str())),
            ("Reason", seal.reason.as_deref()),
            ("Certificate", seal.certificate.as_deref()),
            ("Timestamp", seal.timestamp.as_deref()),
            ("Report hash (SHA-256)", Some(seal.content_sha256.as_str())),
        ] {
            if let Some(value) = value {
                let _ = write!(self.out, "<div><dt>{label}</dt><dd>{}</dd></div>", escaped(value));
            }
        }
        self.raw("<div><dt>Verify at</dt><dd>");
        self.link(&Link { text: seal.verify_url.clone(), url: seal.verify_url.clone() });
        self.raw("</dd></div></dl>");
        if let Some(code) =
            figure::qr_code(&seal.verify_url, "QR code of the address to verify this report at")
        {
            self.raw(&code);
        }
        self.raw("</div></section>");
    }

    fn foot(&mut self, document: &Document, options: &Options) {
        self.raw("<footer>");
        if let Some(contact) = &options.branding.contact {
            self.element("p", &format!("Questions about this document: {contact}"));
        }
        options.branding.legal_statements.iter().for_each(|statement| self.element("p", statement));
        self.element("p", &format!("{} · {}", document.cover.document_number, document.cover.title));
        self.raw("</footer>");
        if let Some(watermark) = &document.presentation.watermark {
            let _ = write!(
                self.out,
                "<div class=\"watermark\" aria-hidden=\"true\"><span>{}</span></div>",
                escaped(watermark)
            );
        }
        self.banner(document, "bottom");
        self.raw("</body>\n</html>\n");
    }
}
