//! The files that a template may read: the prepared document, and what is drawn or decided outside of Typst.

use std::collections::{BTreeMap, HashMap};

use domain::document::{Block, Branding, Document, Format, Image, ImageFormat, Section, Table};
use serde::Serialize;
use typst::{foundations::Bytes, syntax::FileId};

use super::rows::{Grid, Sizes, sizes};
use crate::{
    MOST_ATTACHED_ROWS, Options, RenderError, appendix_heading, figure, image, marking, prepare,
    sanitise::{Place, printable},
    shorten, templates,
    theme::Palette,
};

/// `page.json`.
#[derive(Serialize)]
struct Page {
    palette: Palette,
    /// `png` or `svg`; the file is `logo`.
    logo: Option<ImageFormat>,
    logo_alt: String,
    banner: Option<String>,
    /// Labels and texts.
    designation: Option<[(&'static str, String); 4]>,
    contact: Option<String>,
    legal_statements: Vec<String>,
    /// Drawings by the id of their block.
    figures: BTreeMap<String, Drawing>,
    /// For each key figure its small line, or none.
    histories: Vec<Option<String>>,
    /// Format of each picture, in reading order; the files are `picture-0` …
    pictures: Vec<Option<ImageFormat>>,
    qr_code: Option<String>,
    appendix_headings: Vec<String>,
    attachments: Vec<Attachment>,
    /// Of the cells of tables.
    cell: Sizes,
}

#[derive(Serialize)]
struct Drawing {
    svg: String,
    /// In points.
    width: f64,
    /// Beside another, or with room to its right.
    narrow: bool,
}

#[derive(Serialize)]
struct Attachment {
    name: &'static str,
    media_type: &'static str,
    description: &'static str,
}

/// Everything that the compilation of `document` can read besides the templates.
pub(super) fn files(document: &Document, options: &Options) -> Result<HashMap<FileId, Bytes>, RenderError> {
    let mut page = prepare::for_page(&shorten::for_readers(document));
    let logo = page.cover.logo.take();
    let logo = logo.as_ref().or(options.branding.logo.as_ref()).and_then(image::usable);
    let mut pictures = Vec::new();
    page.sections
        .iter_mut()
        .chain(&mut page.appendices)
        .for_each(|section| take_pictures(section, &mut pictures));
    let mut files = HashMap::new();
    let mut attachments = Vec::new();
    if options.attach_data {
        if let Some(table) = document.tables().find(|table| table.row_count() > MOST_ATTACHED_ROWS) {
            return Err(RenderError::TooMuchToAttach { table: table.id.clone(), rows: table.row_count() });
        }
        for (name, format, description) in [
            ("report.json", Format::Json, "The report as data, in the published schema"),
            ("report.csv", Format::Csv, "The report's main table"),
        ] {
            let is_whole = |table: &Table| table.truncated.is_none();
            if format == Format::Csv && !document.main_table().is_some_and(is_whole) {
                continue;
            }
            files.insert(
                templates::data_file(name),
                Bytes::new(crate::render(document, format, options)?.bytes),
            );
            let media_type = format.media_type().split(';').next().unwrap_or_default();
            attachments.push(Attachment { name, media_type, description });
        }
    }
    let content = content(&page, &options.branding, logo.as_ref(), &pictures, attachments);
    if let Some(logo) = logo {
        files.insert(templates::data_file("logo"), Bytes::new(logo.data));
    }
    for (index, picture) in pictures.into_iter().enumerate() {
        if let Some((id, picture)) = templates::picture_file(index).zip(picture) {
            files.insert(id, Bytes::new(picture.data));
        }
    }
    files.insert(templates::data_file("page.json"), Bytes::new(serde_json::to_vec(&content)?));
    let grids: BTreeMap<&str, Grid<'_>> =
        page.tables().map(|table| (table.id.as_str(), Grid::of(table))).collect();
    files.insert(templates::data_file("tables.json"), Bytes::new(serde_json::to_vec(&grids)?));
    page.each_table(|table| {
        table.rows = Vec::new();
        table.row_file = None;
    });
    files.insert(templates::data_file("data.json"), Bytes::new(serde_json::to_vec(&page)?));
    Ok(files)
}

fn content(
    page: &Document,
    branding: &Branding,
    logo: Option<&Image>,
    pictures: &[Option<Image>],
    attachments: Vec<Attachment>,
) -> Page {
    let palette = Palette::of(branding);
    let contact = branding.contact.as_deref().map(|text| printable(text, PHRASE));
    let mut figures = BTreeMap::new();
    page.sections.iter().chain(&page.appendices).for_each(|section| draw(section, &palette, &mut figures));
    Page {
        palette,
        logo: logo.map(|logo| logo.format),
        logo_alt: logo.map_or_else(String::new, |logo| printable(&logo.alt, ALT)),
        designation: marking::designation(page, contact.as_deref()),
        banner: marking::banner(page),
        contact,
        legal_statements: branding.legal_statements.iter().map(|text| printable(text, PROSE)).collect(),
        figures,
        histories: page
            .key_figures
            .iter()
            .map(|figure| figure::history(&figure.history, figure.tone))
            .collect(),
        pictures: pictures.iter().map(|picture| picture.as_ref().map(|picture| picture.format)).collect(),
        qr_code: page.seal.as_ref().and_then(|seal| {
            figure::qr_code(
                &seal.verify_url.replace('\u{200b}', ""),
                "QR code of the address to verify this report at",
            )
        }),
        appendix_headings: page
            .appendices
            .iter()
            .enumerate()
            .map(|(index, appendix)| appendix_heading(index, &appendix.heading))
            .collect(),
        attachments,
        cell: sizes(),
    }
}

const PHRASE: Place = Place { multiline: false, max_characters: 300, line: 60 };
const PROSE: Place = Place { multiline: true, max_characters: 4_000, line: 60 };
const ALT: Place = Place { multiline: false, max_characters: 300, line: usize::MAX };

fn draw(section: &Section, palette: &Palette, figures: &mut BTreeMap<String, Drawing>) {
    for (block, width) in section.blocks.iter().zip(figure::widths(section)) {
        match block {
            Block::Chart(chart) => {
                let width = width.unwrap_or(figure::FULL);
                let svg = figure::chart(chart, palette, width);
                figures.insert(chart.id.clone(), Drawing { svg, width, narrow: width < figure::FULL });
            }
            Block::Diagram(diagram) => {
                let svg = figure::diagram(diagram, palette);
                let width = figure::width_of(&svg);
                figures.insert(diagram.id.clone(), Drawing { svg, width, narrow: false });
            }
            _ => {}
        }
    }
    section.sections.iter().for_each(|inner| draw(inner, palette, figures));
}

/// The pictures that can be shown; the bytes would only swell the document.
fn take_pictures(section: &mut Section, pictures: &mut Vec<Option<Image>>) {
    for block in &mut section.blocks {
        if let Block::Picture(picture) = block {
            let fits = pictures.len() < templates::MAX_PICTURES;
            pictures.push(fits.then(|| image::usable(&picture.image)).flatten());
            picture.image.data.clear();
        }
    }
    section.sections.iter_mut().for_each(|inner| take_pictures(inner, pictures));
}
