//! The copy of a document that goes to the page: every string printable, links harmless, depth and length bounded.
//!
//! Each type is taken apart field by field, so that a new field does not compile until somebody has decided what
//! kind of text it holds. The data formats (JSON, CSV) never see this copy. Start at [`for_page`].

use domain::document::{
    AffectedAsset, Bar, Block, Cell, Chart, Column, ColumnKind, Cover, DataFreshness, Document, Fact,
    FeedFreshness, FindingCard, Fix, Inline, KeyFigure, KeyValues, Link, List, Method, Note, Orientation,
    Paragraph, Plot, Quantity, Section, Series, StackedColumn, Status, Table, Trend, Truncated,
};

use crate::sanitise::{Place, printable};

/// Typst needs about 1 ms and 0.15 MB for a row; beyond this the table belongs into a spreadsheet.
const MAX_ROWS: usize = 15_000;
/// A chart must fit on a page, whatever its labels.
const MAX_BARS: usize = 15;
/// Headings have six levels in PDF (ISO 32000-1, 14.8.4.3.2); sections below the sixth are set on it.
const MAX_DEPTH: usize = 6;

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

pub(crate) fn for_page(document: &Document) -> Document {
    let mut copy = document.clone();
    let Document {
        schema_version: _,
        report_type: _,
        language,
        cover,
        key_figures,
        sections,
        primary_table: _,
    } = &mut copy;
    if !matches!(language.len(), 2 | 3) || !language.bytes().all(|byte| byte.is_ascii_lowercase()) {
        *language = "en".to_owned();
    }
    set_cover(cover);
    key_figures.iter_mut().for_each(set_key_figure);
    lift_deep_sections(sections, 1);
    let mut rows_left = MAX_ROWS;
    sections.iter_mut().for_each(|section| set_section(section, &mut rows_left));
    copy
}

fn set(text: &mut String, place: Place) {
    *text = printable(text, place);
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
        period: _,
        classification,
        prepared_for,
        prepared_by,
        document_number,
        version,
        generated_at: _,
    } = cover;
    set_required(title, TITLE, "Untitled report");
    set_option(subtitle, PHRASE);
    set(organization, line(120, 40));
    set_option(classification, line(60, 40));
    for fact in [prepared_for, prepared_by, version] {
        set_option(fact, line(120, 30));
    }
    set(document_number, line(80, 30));
}

fn set_key_figure(figure: &mut KeyFigure) {
    let KeyFigure { label, value, unit, trend, tone: _ } = figure;
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

fn set_section(section: &mut Section, rows_left: &mut usize) {
    let Section { id, heading, orientation, blocks, sections } = section;
    // Becomes a link target's name: kept to what needs no escaping there.
    id.retain(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '_'));
    id.truncate(64);
    set_required(heading, HEADING, "Untitled section");
    blocks.iter_mut().for_each(|block| set_block(block, *orientation, rows_left));
    for section in sections {
        section.orientation = *orientation;
        set_section(section, rows_left);
    }
}

fn set_block(block: &mut Block, orientation: Orientation, rows_left: &mut usize) {
    match block {
        Block::Paragraph(Paragraph { content }) => set_inlines(content, PROSE),
        Block::List(List { ordered: _, items }) => items.iter_mut().for_each(|item| set_inlines(item, PROSE)),
        Block::Note(Note { tone: _, title, content }) => {
            set_option(title, PHRASE);
            set_inlines(content, PROSE);
        }
        Block::Table(table) => set_table(table, orientation, rows_left),
        Block::Chart(chart) => set_chart(chart),
        Block::FindingCard(card) => set_card(card),
        Block::KeyValues(KeyValues { entries }) => {
            entries.iter_mut().for_each(|entry| set_fact(entry, Place { max_characters: 2_000, ..PROSE }));
        }
        Block::DataFreshness(DataFreshness { feeds }) => feeds.iter_mut().for_each(set_feed),
        Block::Method(Method { summary, steps, limitations }) => {
            set_inlines(summary, PROSE);
            steps.iter_mut().for_each(|step| set_fact(step, PROSE));
            limitations.iter_mut().for_each(|limitation| set_inlines(limitation, PROSE));
        }
    }
}

fn set_inlines(content: &mut [Inline], place: Place) {
    for inline in content {
        match inline {
            Inline::Text(text) | Inline::Strong(text) | Inline::Emphasis(text) => set(text, place),
            Inline::Code(text) => set(text, Place { line: place.line * 3 / 4, ..place }),
            Inline::Link(link) => set_link(link, place),
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

fn set_table(table: &mut Table, orientation: Orientation, rows_left: &mut usize) {
    let Table { id: _, caption, columns, rows, truncated } = table;
    set_option(caption, HEADING);
    if rows.len() > *rows_left {
        *truncated = Some(Truncated {
            total_rows: truncated.as_ref().map_or(rows.len() as u64, |truncated| truncated.total_rows),
            rest: "The complete table is in the CSV and JSON files of this report.".to_owned(),
        });
        rows.truncate(*rows_left);
    }
    *rows_left -= rows.len();
    if let Some(Truncated { total_rows: _, rest }) = truncated {
        set(rest, PHRASE);
    }

    // Characters on a full line of a table, less the padding between its columns.
    let full_line = match orientation {
        Orientation::Portrait => 112_usize,
        Orientation::Landscape => 168,
    }
    .saturating_sub(2 * columns.len());
    let total: usize = columns.iter().map(|column| usize::from(characters(column))).sum();
    let places: Vec<Place> = columns
        .iter()
        .map(|column| (usize::from(characters(column)) * full_line / total).max(3))
        // Twenty full lines may become forty when they break badly, and a row must fit on a page.
        .map(|characters| line((20 * characters).clamp(40, 400), characters))
        .collect();
    for (column, place) in columns.iter_mut().zip(&places) {
        let characters = characters(column);
        let Column { title, kind, width } = column;
        let title_length = title.chars().count();
        // Columns of numbers are narrow; their titles need not be broken for that.
        let title_fits = matches!(kind, ColumnKind::Number { .. }) && title_length <= 14;
        *width = Some(if title_fits { characters.max(title_length as u16) } else { characters });
        set(title, Place { max_characters: 60, line: if title_fits { 20 } else { place.line }, ..*place });
    }
    for row in rows {
        row.iter_mut().zip(&places).for_each(|(cell, place)| set_cell(cell, *place));
    }
}

/// The column's width hint, or what its kind usually needs.
fn characters(column: &Column) -> u16 {
    column
        .width
        .unwrap_or(match column.kind {
            ColumnKind::Text => 30,
            ColumnKind::Number { .. } => 8,
            ColumnKind::Date => 12,
            ColumnKind::Severity | ColumnKind::Status => 12,
            ColumnKind::Link => 19,
            ColumnKind::Identifier => 18,
        })
        .clamp(4, 200)
}

fn set_cell(cell: &mut Cell, place: Place) {
    match cell {
        Cell::Empty | Cell::Number(_) | Cell::Date(_) | Cell::Severity(_) => {}
        Cell::Text(text) | Cell::Identifier(text) => set(text, place),
        Cell::Status(Status { label, tone: _ }) => set(label, place),
        Cell::Link(link) => set_link(link, place),
    }
}

fn set_chart(chart: &mut Chart) {
    let Chart { title, alt, unit, plot } = chart;
    set_required(title, PHRASE, "Chart");
    set_required(alt, Place { line: usize::MAX, ..PROSE }, title);
    set(unit, line(24, 12));
    match plot {
        Plot::SeverityDonut { counts: _ } => {}
        Plot::Bars { bars } => {
            if bars.len() > MAX_BARS {
                *title = format!("{title} (the first {MAX_BARS} of {})", bars.len());
                bars.truncate(MAX_BARS);
            }
            for Bar { label, value: _, severity: _ } in bars {
                set(label, line(28, 14));
            }
        }
        Plot::StackedBars { series, columns } => {
            for Series { name, severity: _ } in series {
                set(name, line(40, 14));
            }
            for StackedColumn { label, values: _ } in columns {
                set(label, line(16, 4));
            }
        }
    }
}

fn set_card(card: &mut FindingCard) {
    let FindingCard {
        title,
        severity: _,
        score: _,
        vulnerability_id,
        marks,
        package,
        installed,
        fix,
        description,
        facts,
        affected,
        affected_total: _,
        evidence,
        remediation,
        references,
    } = card;
    set_required(title, HEADING, "Untitled finding");
    set(vulnerability_id, line(120, 30));
    for Status { label, tone: _ } in marks {
        set(label, line(40, 20));
    }
    set_option(package, SHORT);
    set_option(installed, SHORT);
    match fix {
        Fix::Version(version) => set(version, SHORT),
        Fix::NotAvailable | Fix::Unknown => {}
    }
    set(description, PROSE);
    facts.iter_mut().for_each(|fact| set_fact(fact, SHORT));
    for AffectedAsset { name, detail } in affected {
        set(name, NAME);
        set_option(detail, NAME);
    }
    evidence.iter_mut().for_each(|evidence| set(evidence, EVIDENCE));
    set_option(remediation, PROSE);
    references
        .iter_mut()
        .for_each(|link| set_link(link, Place { multiline: false, max_characters: 500, line: 60 }));
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
    fn a_table_beyond_the_limit_says_how_many_rows_there_are_and_where() {
        let mut document = sample();
        let table = document.blocks().into_iter().find_map(|block| match block {
            Block::Table(table) => Some(table.clone()),
            _ => None,
        });
        let mut table = table.unwrap();
        table.rows = vec![table.rows[0].clone(); MAX_ROWS + 1];
        table.truncated = None;
        document.sections[0].blocks = vec![Block::Table(table.clone()), Block::Table(table)];
        let page = for_page(&document);
        let [Block::Table(first), Block::Table(second)] = page.sections[0].blocks.as_slice() else {
            unreachable!()
        };
        assert_eq!((first.rows.len(), second.rows.len()), (MAX_ROWS, 0));
        assert_eq!(
            second.truncated.as_ref().map(|truncated| truncated.total_rows),
            Some(MAX_ROWS as u64 + 1)
        );
    }

    #[test]
    fn sections_a_hundred_levels_deep_keep_their_order_on_the_sixth_level() {
        let mut section = None;
        for depth in (1..=100).rev() {
            section = Some(Section {
                id: String::new(),
                heading: depth.to_string(),
                orientation: Orientation::Portrait,
                blocks: vec![],
                sections: section.into_iter().collect(),
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
