//! The copy of a document that goes to the page: every string printable, links harmless, depth and length bounded.
//!
//! Each type is taken apart field by field, so that a new field does not compile until somebody has decided what
//! kind of text it holds. The data formats (JSON, CSV) never see this copy. Start at [`for_page`].

mod assessment;
mod columns;
mod figures;
mod tables;

use std::collections::HashSet;

use domain::document::{
    Block, Chart, CodeBlock, Cover, CoverFact, DataFreshness, Diagram, Document, Fact, FeedFreshness,
    FrozenInput, Image, Inline, KeyFigure, KeyValues, Link, List, ListItem, Method, Note, Orientation,
    Paragraph, Picture, Presentation, Quantity, Reference, Seal, Section, Status, Trend,
};

pub(crate) use self::columns::{LETTER, LOOKED_AT, SEVERITY, strips, widths_within};
use crate::sanitise::{Place, drawable, printable};

/// Headings have six levels in PDF (ISO 32000-1, 14.8.4.3.2); sections below the sixth are set on it.
const MAX_DEPTH: usize = 6;
const MAX_LIST_DEPTH: usize = 4;

const fn line(max_characters: usize, line: usize) -> Place {
    Place { multiline: false, max_characters, line }
}

const TITLE: Place = line(120, 18);
const HEADING: Place = line(300, 44);
const LABEL: Place = line(80, 16);
const FIGURE: Place = line(24, 6);
const PHRASE: Place = line(300, 30);
const NAME: Place = line(200, 24);
/// A value beside its label, in a quarter of the page's width.
const SHORT: Place = line(160, 20);
const PROSE: Place = Place { multiline: true, max_characters: 12_000, line: 60 };
const EVIDENCE: Place = Place { multiline: true, max_characters: 2_000, line: 60 };
const CODE: Place = Place { multiline: true, max_characters: 12_000, line: 72 };
/// Text in a drawing, which measures and shortens for itself.
const DRAWN: Place = Place { multiline: false, max_characters: 200, line: usize::MAX };

pub(crate) fn for_page(document: &Document) -> Document {
    let mut copy = document.clone();
    let Document {
        schema_version: _,
        report_type: _,
        language,
        cover,
        presentation,
        omissions,
        key_figures,
        sections,
        appendices,
        inputs,
        primary_table: _,
        seal,
    } = &mut copy;
    if !matches!(language.len(), 2 | 3) || !language.bytes().all(|byte| byte.is_ascii_lowercase()) {
        *language = "en".to_owned();
    }
    set_cover(cover);
    let Presentation { cover_page: _, table_of_contents: _, watermark } = presentation;
    set_option(watermark, line(40, 40));
    omissions.iter_mut().for_each(|omission| set(omission, PROSE));
    key_figures.iter_mut().for_each(set_key_figure);
    let mut page = Page { ids: HashSet::new(), numbered: 0 };
    for part in [sections, appendices] {
        lift_deep_sections(part, 1);
        part.iter_mut().for_each(|section| page.set_anchor(section));
        part.iter_mut().for_each(|section| page.set_section(section));
    }
    inputs.iter_mut().for_each(set_input);
    seal.iter_mut().for_each(set_seal);
    copy
}

/// A chart as far as it can be drawn.
pub(crate) fn chart(chart: &Chart) -> Chart {
    let mut chart = chart.clone();
    figures::set_chart(&mut chart);
    chart
}

/// A diagram as far as it can be drawn.
pub(crate) fn diagram(diagram: &Diagram) -> Diagram {
    let mut diagram = diagram.clone();
    figures::set_diagram(&mut diagram);
    diagram
}

/// What is counted over the whole document.
struct Page {
    /// Anchors of all sections so far.
    ids: HashSet<String>,
    numbered: usize,
}

fn set(text: &mut String, place: Place) {
    *text = printable(text, place);
}

/// A text in a drawing.
fn set_drawn(text: &mut String) {
    *text = drawable(text, DRAWN);
}

/// A text that PDF/UA does not allow to be empty (title, heading, alternative text).
fn set_required(text: &mut String, place: Place, substitute: &str) {
    if text.trim().is_empty() {
        substitute.clone_into(text);
    }
    set(text, place);
}

fn set_option(text: &mut Option<String>, place: Place) {
    if let Some(text) = text {
        set(text, place);
    }
}

fn set_cover(cover: &mut Cover) {
    let Cover {
        title,
        subtitle,
        organization,
        logo,
        period: _,
        classification,
        prepared_for,
        prepared_by,
        document_number,
        version,
        generated_at: _,
        verify_url,
        facts,
    } = cover;
    set_required(title, TITLE, "Untitled report");
    set_option(subtitle, PHRASE);
    set(organization, line(120, 40));
    logo.iter_mut().for_each(set_image);
    set_option(classification, line(60, 40));
    for fact in [prepared_for, prepared_by, version] {
        set_option(fact, line(120, 30));
    }
    set(document_number, line(80, 30));
    set_option(verify_url, line(300, 40));
    facts.truncate(12);
    for CoverFact { label, value } in facts {
        set(label, LABEL);
        set(value, line(120, 30));
    }
}

fn set_image(image: &mut Image) {
    let Image { format: _, data: _, alt } = image;
    set_required(alt, Place { line: usize::MAX, ..PROSE }, "Picture");
}

fn set_input(input: &mut FrozenInput) {
    let FrozenInput { name, version, as_of: _, records: _, sha256 } = input;
    set(name, NAME);
    set_option(version, line(60, 16));
    set(sha256, line(128, 32));
}

fn set_seal(seal: &mut Seal) {
    let Seal {
        signer,
        organization,
        signed_at: _,
        reason,
        certificate,
        timestamp,
        content_sha256,
        verify_url,
    } = seal;
    set(signer, NAME);
    set_option(organization, NAME);
    for text in [reason, certificate, timestamp] {
        set_option(text, PROSE);
    }
    set(content_sha256, line(128, 32));
    set(verify_url, line(500, 40));
}

fn set_key_figure(figure: &mut KeyFigure) {
    let KeyFigure { label, value, unit, trend, tone: _, history } = figure;
    history.drain(..history.len().saturating_sub(60));
    set(label, LABEL);
    match value {
        Quantity::Number(_) => {}
        Quantity::Text(text) => set(text, FIGURE),
    }
    set_option(unit, line(24, 10));
    if let Some(Trend { direction: _, change, tone: _ }) = trend {
        set(change, LABEL);
    }
}

/// Move sections that lie too deep up to the deepest level that can be shown, keeping their order.
fn lift_deep_sections(sections: &mut Vec<Section>, depth: usize) {
    if depth < MAX_DEPTH {
        sections.iter_mut().for_each(|section| lift_deep_sections(&mut section.sections, depth + 1));
        return;
    }
    let mut lifted = Vec::new();
    let mut waiting: Vec<Section> = sections.drain(..).rev().collect();
    while let Some(mut section) = waiting.pop() {
        waiting.extend(section.sections.drain(..).rev());
        lifted.push(section);
    }
    *sections = lifted;
}

impl Page {
    /// Becomes a link target's name: kept to what needs no escaping there, and made unique.
    fn set_anchor(&mut self, section: &mut Section) {
        section.id = anchor(&section.id);
        if section.id.is_empty() || !self.ids.insert(section.id.clone()) {
            section.id.clear();
        }
        section.sections.iter_mut().for_each(|inner| self.set_anchor(inner));
    }

    fn set_section(&mut self, section: &mut Section) {
        let Section { id: _, heading, orientation, blocks, sections } = section;
        set_required(heading, HEADING, "Untitled section");
        *blocks = blocks.drain(..).flat_map(|block| tables::split_wide(block, *orientation)).collect();
        blocks.iter_mut().for_each(|block| self.set_block(block, *orientation));
        for section in sections {
            section.orientation = *orientation;
            self.set_section(section);
        }
    }

    fn set_block(&mut self, block: &mut Block, orientation: Orientation) {
        match block {
            Block::Paragraph(Paragraph { content }) => set_inlines(content, PROSE),
            Block::List(List { ordered: _, items }) => set_items(items, 1),
            Block::Note(Note { tone: _, title, content }) => {
                set_option(title, PHRASE);
                set_inlines(content, PROSE);
            }
            Block::Code(CodeBlock { caption, text }) => {
                set_option(caption, HEADING);
                set(text, CODE);
            }
            Block::Picture(Picture { image, caption }) => {
                set_image(image);
                set_option(caption, HEADING);
            }
            Block::Table(table) => {
                tables::set_table(table, orientation);
                self.number(&mut table.id);
            }
            Block::Chart(chart) => {
                figures::set_chart(chart);
                self.number(&mut chart.id);
            }
            Block::Diagram(diagram) => {
                figures::set_diagram(diagram);
                self.number(&mut diagram.id);
            }
            Block::FindingCard(card) => assessment::set_card(card),
            Block::Control(control) => assessment::set_control(control),
            Block::Timeline(timeline) => assessment::set_timeline(timeline),
            Block::SignOff(sign_off) => assessment::set_sign_off(sign_off),
            Block::Attestation(attestation) => assessment::set_attestation(attestation),
            Block::KeyValues(KeyValues { entries }) => {
                entries
                    .iter_mut()
                    .for_each(|entry| set_fact(entry, Place { max_characters: 2_000, ..PROSE }));
            }
            Block::DataFreshness(DataFreshness { feeds }) => feeds.iter_mut().for_each(set_feed),
            Block::Method(Method { summary, steps, limitations }) => {
                set_inlines(summary, PROSE);
                steps.iter_mut().for_each(|step| set_fact(step, PROSE));
                limitations.iter_mut().for_each(|limitation| set_inlines(limitation, PROSE));
            }
        }
    }

    /// Drawings, and the rows of tables, are handed over by name, so each gets one that nobody else has.
    fn number(&mut self, id: &mut String) {
        *id = format!("block-{}", self.numbered);
        self.numbered += 1;
    }
}

/// The part of an id that may stand in a link.
pub(crate) fn anchor(id: &str) -> String {
    id.chars()
        .filter(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '_'))
        .take(64)
        .collect()
}

/// Points below the fourth level are moved up to it: more indentation leaves no room for words.
fn set_items(items: &mut Vec<ListItem>, depth: usize) {
    if depth == MAX_LIST_DEPTH {
        let mut waiting: Vec<ListItem> = items.drain(..).rev().collect();
        while let Some(mut item) = waiting.pop() {
            waiting.extend(item.items.drain(..).rev());
            items.push(item);
        }
    }
    for ListItem { content, items } in items {
        set_inlines(content, PROSE);
        if depth < MAX_LIST_DEPTH {
            set_items(items, depth + 1);
        }
    }
}

fn set_inlines(content: &mut [Inline], place: Place) {
    for inline in content {
        match inline {
            Inline::Text(text) | Inline::Strong(text) | Inline::Emphasis(text) => set(text, place),
            Inline::Code(text) => set(text, Place { line: place.line * 3 / 4, ..place }),
            Inline::Link(link) => set_link(link, place),
            Inline::Reference(Reference { text, section }) => {
                *section = anchor(section);
                if text.trim().is_empty() {
                    text.clone_from(section);
                }
                set(text, place);
            }
        }
    }
}

/// A link that must not be clickable keeps its address in the text, where a reader can judge it.
fn set_link(link: &mut Link, place: Place) {
    let Link { text, url } = link;
    if text.trim().is_empty() {
        text.clone_from(url);
    }
    if !is_safe_link(url) {
        if text != url {
            *text = format!("{text} ({url})");
        }
        url.clear();
    }
    set(text, place);
}

/// Only schemes that open a page or a mail, and only printable ASCII, which is all a PDF link can carry
/// (ISO 32000-1, 12.6.4.7).
pub(crate) fn is_safe_link(url: &str) -> bool {
    let lower = url.to_ascii_lowercase();
    ["http://", "https://", "mailto:"].iter().any(|scheme| lower.starts_with(scheme))
        && url.len() <= 2_000
        && url.bytes().all(|byte| byte.is_ascii_graphic())
}

fn set_fact(fact: &mut Fact, place: Place) {
    let Fact { label, value } = fact;
    set(label, LABEL);
    set_inlines(value, place);
}

fn set_feed(feed: &mut FeedFreshness) {
    let FeedFreshness { feed: name, as_of: _, age_seconds: _, records: _, status: Status { label, tone: _ } } =
        feed;
    set(name, NAME);
    set(label, line(120, 18));
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn sample() -> Document {
        serde_json::from_str(include_str!("../../../templates/samples/technical.json")).unwrap()
    }

    /// Every string of a JSON value, by its path.
    fn paths_of_strings(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::String(_) => found.push(path.to_owned()),
            Value::Array(items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(index, item)| paths_of_strings(item, &format!("{path}/{index}"), found));
            }
            Value::Object(fields) => {
                fields
                    .iter()
                    .for_each(|(name, field)| paths_of_strings(field, &format!("{path}/{name}"), found));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    #[test]
    fn no_free_string_of_a_document_reaches_the_page_unseen() {
        let original = serde_json::to_value(sample()).unwrap();
        let mut paths = Vec::new();
        paths_of_strings(&original, "", &mut paths);
        let mut poisoned = original.clone();
        for path in &paths {
            let mut attempt = poisoned.clone();
            *attempt.pointer_mut(path).unwrap() = Value::String("a\u{202e}\u{0}日b".to_owned());
            // Words of an enum and dates refuse it: those are not free strings.
            if serde_json::from_value::<Document>(attempt.clone()).is_ok() {
                poisoned = attempt;
            }
        }
        assert!(
            poisoned.to_string().matches('\u{202e}').count() > 100,
            "the sample is too small to prove anything"
        );

        let page = serde_json::to_value(for_page(&serde_json::from_value(poisoned).unwrap())).unwrap();
        let raw: Vec<&String> = paths
            .iter()
            .filter(|path| {
                page.pointer(path).and_then(Value::as_str).is_some_and(|text| text.contains('\u{202e}'))
            })
            // Slugs and table ids choose things and are never printed.
            .filter(|path| !["/report_type", "/primary_table", "/id"].iter().any(|slug| path.ends_with(slug)))
            .collect();
        assert!(raw.is_empty(), "{raw:?}");
    }

    #[test]
    fn a_link_that_could_run_something_is_shown_and_not_linked() {
        for url in
            ["javascript:alert(1)", "file:///etc/passwd", "https://e.example/\u{202e}", "data:text/html,x"]
        {
            let mut link = Link { text: "advisory".into(), url: url.into() };
            set_link(&mut link, PROSE);
            assert_eq!(link.url, "");
            assert!(link.text.starts_with("advisory ("), "{}", link.text);
        }
        let mut link = Link { text: String::new(), url: "HTTPS://example.org/a".into() };
        set_link(&mut link, PROSE);
        assert_eq!(link, Link { text: "HTTPS://example.org/a".into(), url: "HTTPS://example.org/a".into() });
    }

    #[test]
    fn sections_a_hundred_levels_deep_keep_their_order_on_the_sixth_level() {
        let mut section = None;
        for depth in (1..=100).rev() {
            section = Some(Section {
                sections: section.into_iter().collect(),
                ..Section::new("", depth.to_string())
            });
        }
        let mut sections = vec![section.unwrap()];
        lift_deep_sections(&mut sections, 1);
        let mut level = &sections;
        for _ in 1..MAX_DEPTH {
            level = &level[0].sections;
        }
        let headings: Vec<&str> = level.iter().map(|section| section.heading.as_str()).collect();
        assert_eq!(headings, (6..=100).map(|depth| depth.to_string()).collect::<Vec<_>>());
    }
}
