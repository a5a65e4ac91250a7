//! Sections' blocks: words, lists, notes, pictures.

use domain::document::{
    Block, CodeBlock, DataFreshness, Inline, KeyValues, List, ListItem, Method, Note, Picture, Section, Tone,
};

use super::{
    body::{Body, KEEP_NEXT, PLAIN, STRONG},
    front::shades,
    styles::{BULLETS, MAX_LIST_LEVEL},
    table::{self, Row},
};
use crate::{figure, office::Pixels, prepare, theme, words};

/// Twentieths of a point in a point.
pub(super) const TWIPS: f64 = 20.0;
/// Points that a picture may be high: a page with its caption.
const TALL: f64 = 560.0;

impl Body {
    pub(super) fn blocks(&mut self, section: &Section) {
        let widths = figure::widths(section);
        for (block, width) in section.blocks.iter().zip(widths) {
            self.block(block, width.unwrap_or(figure::FULL));
        }
    }

    fn block(&mut self, block: &Block, width: f64) {
        match block {
            Block::Paragraph(paragraph) => self.paragraphs(&paragraph.content),
            Block::List(List { ordered, items }) => self.list(items, *ordered),
            Block::Note(Note { tone, title, content }) => {
                self.boxed(*tone, title.as_deref().unwrap_or(theme::tone(*tone).word), content);
            }
            Block::Code(CodeBlock { caption, text }) => {
                if let Some(caption) = caption {
                    self.line("Label", caption);
                }
                self.line("Code", text.trim_end_matches(['\r', '\n']));
            }
            Block::Picture(Picture { image, caption }) => match Pixels::of_image(image) {
                Some(pixels) => self.shown(pixels, figure::FULL, caption.as_deref()),
                None => self.line("Small", &format!("This picture could not be shown: {}", image.alt)),
            },
            Block::Table(table) => self.table(table),
            Block::Chart(chart) => {
                let chart = prepare::chart(chart);
                let svg = figure::chart(&chart, &self.palette, width);
                self.drawing(&chart.title, &chart.alt, &svg, width);
            }
            Block::Diagram(diagram) => {
                let diagram = prepare::diagram(diagram);
                let svg = figure::diagram(&diagram, &self.palette);
                let width = figure::width_of(&svg);
                self.drawing(&diagram.title, &diagram.alt, &svg, width);
            }
            Block::FindingCard(card) => self.card(card),
            Block::Control(control) => self.control(control),
            Block::Timeline(timeline) => self.timeline(timeline),
            Block::SignOff(sign_off) => self.sign_off(sign_off),
            Block::Attestation(attestation) => self.attestation(attestation),
            Block::KeyValues(KeyValues { entries }) => self.facts(entries),
            Block::DataFreshness(freshness) => self.freshness(freshness),
            Block::Method(method) => self.method(method),
        }
    }

    /// An empty line within a text begins a paragraph.
    pub(super) fn paragraphs(&mut self, content: &[Inline]) {
        let mut paragraphs: Vec<Vec<Inline>> = vec![Vec::new()];
        for inline in content {
            match inline {
                Inline::Text(text) if text.contains("\n\n") => {
                    for (index, part) in text.split("\n\n").enumerate() {
                        if index > 0 {
                            paragraphs.push(Vec::new());
                        }
                        if let Some(last) = paragraphs.last_mut() {
                            last.push(Inline::Text(part.to_owned()));
                        }
                    }
                }
                other => {
                    if let Some(last) = paragraphs.last_mut() {
                        last.push(other.clone());
                    }
                }
            }
        }
        for content in paragraphs.iter().filter(|content| !content.is_empty()) {
            self.paragraph("Normal", |body| body.inlines(content));
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.paragraphs(&[Inline::Text(text.to_owned())]);
    }

    pub(super) fn list(&mut self, items: &[ListItem], ordered: bool) {
        if !items.is_empty() {
            let number = if ordered { self.ordered_list() } else { BULLETS };
            self.items(items, number, 0);
        }
    }

    fn items(&mut self, items: &[ListItem], number: u32, level: usize) {
        for item in items {
            self.point(number, level, |body| body.inlines(&item.content));
            self.items(&item.items, number, (level + 1).min(MAX_LIST_LEVEL));
        }
    }

    pub(super) fn point(&mut self, number: u32, level: usize, content: impl FnOnce(&mut Self)) {
        let properties =
            format!("<w:numPr><w:ilvl w:val=\"{level}\"/><w:numId w:val=\"{number}\"/></w:numPr>");
        self.paragraph_with("ListParagraph", &properties, content);
    }

    /// A remark on ground of its own.
    pub(super) fn boxed(&mut self, tone: Tone, title: &str, content: &[Inline]) {
        let width = self.text_width();
        self.gap();
        self.table_begins("Facts", &[width], Some(title));
        self.row_begins(Row::Long);
        self.cell(width, Some(theme::tone(tone)), |body| {
            body.paragraph("Normal", |body| body.run(title, STRONG));
            body.paragraphs(content);
        });
        self.row_ends();
        self.table_ends();
    }

    fn drawing(&mut self, title: &str, alt: &str, svg: &str, width: f64) {
        match Pixels::of_drawing(svg, alt) {
            Ok(pixels) => self.shown(pixels, width, Some(title)),
            Err(error) => {
                tracing::warn!(picture = title, %error, "a drawing was left out of a document");
                self.line("Small", &format!("This drawing could not be shown: {title}. {alt}"));
            }
        }
    }

    /// The caption stands below, as is usual for figures: LibreOffice 7 parts a picture from what stands above it, whatever is asked for.
    fn shown(&mut self, pixels: Pixels, width: f64, caption: Option<&str>) {
        let across = width.min(f64::from(self.text_width()) / TWIPS);
        let tall = if self.landscape { TALL * 0.65 } else { TALL };
        // Small pictures are not blown up: a pixel is three quarters of a point.
        let own = f64::from(pixels.width) * 0.75;
        let with_next = if caption.is_some() { KEEP_NEXT } else { "" };
        let size = [across.min(own.max(24.0)), tall];
        self.paragraph_with("Picture", with_next, |body| body.picture(pixels, size));
        if let Some(caption) = caption {
            self.line("FigureCaption", caption);
        }
    }

    fn freshness(&mut self, freshness: &DataFreshness) {
        let widths = table::share(self.text_width(), &[30, 20, 12, 12, 20]);
        self.table_begins("Report", &widths, Some("Age of the data"));
        self.row_begins(Row::Header);
        for (title, width) in ["Source", "Data as of (UTC)", "Age", "Records", "Status"].iter().zip(&widths) {
            self.cell(*width, None, |body| body.line("TableTitle", title));
        }
        self.row_ends();
        let dash = || "–".to_owned();
        for (place, feed) in freshness.feeds.iter().enumerate() {
            self.row_begins(Row::of(place, freshness.feeds.len()));
            let cells = [
                (feed.feed.clone(), None),
                (feed.as_of.map_or_else(dash, words::moment), None),
                (feed.age_seconds.map_or_else(dash, words::age), None),
                (feed.records.map_or_else(dash, words::count), None),
                (feed.status.label.clone(), shades(feed.status.tone)),
            ];
            for ((text, fill), width) in cells.into_iter().zip(&widths) {
                self.cell(*width, fill, |body| body.paragraph("TableText", |body| body.run(&text, PLAIN)));
            }
            self.row_ends();
        }
        self.table_ends();
    }

    fn method(&mut self, method: &Method) {
        self.paragraphs(&method.summary);
        if !method.steps.is_empty() {
            let number = self.ordered_list();
            for step in &method.steps {
                self.point(number, 0, |body| {
                    body.run(&format!("{}. ", step.label), STRONG);
                    body.inlines(&step.value);
                });
            }
        }
        if !method.limitations.is_empty() {
            self.line("Label", "What this does not show");
            for limitation in &method.limitations {
                self.point(BULLETS, 0, |body| body.inlines(limitation));
            }
        }
    }
}
