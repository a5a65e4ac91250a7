//! DOCX: a document to go on editing in a word processor. Office Open XML (ISO/IEC 29500-1, transitional schema).
//!
//! Written part by part into a ZIP, the text row by row, so that a long table needs no memory of its own. Styles,
//! outline, contents, lists and captions are the word processor's own, not their looks. Nothing in the file refers to
//! anything outside it: links are fields, which do nothing until somebody follows them. The order of elements within
//! properties is the schema's; Word refuses others. Start at [`render`]; [`body`] writes the words, [`package`] the rest.

mod assessment;
mod blocks;
mod body;
mod front;
mod package;
mod styles;
mod table;

use domain::document::{Block, Document, Format, Section};

use self::body::Body;
use crate::{Options, RenderError, Rendered, appendix_heading};

pub(crate) fn render(document: &Document, options: &Options) -> Result<Rendered, RenderError> {
    let package = package::Package::begin(document, options)?;
    let mut body = Body::new(document, options, package);
    body.front(document, options);
    body.main(document);
    body.end(document, options);
    let bytes = body.finish(document)?;
    Ok(Rendered::new(Format::Docx, bytes))
}

/// A heading of the outline. Its place in the list is its bookmark.
struct Heading {
    level: usize,
    text: String,
    /// [`Section::id`], for references to it.
    section: Option<String>,
}

/// The deepest heading that has a style of its own.
const MAX_LEVEL: usize = 6;
/// Headings down to this level stand in the contents.
const CONTENTS_LEVEL: usize = 2;

/// Every heading in the order in which [`Body`] writes them.
fn outline(document: &Document) -> Vec<Heading> {
    fn gather(section: &Section, text: String, level: usize, into: &mut Vec<Heading>) {
        into.push(Heading { level, text, section: Some(section.id.clone()) });
        for block in &section.blocks {
            let text = match block {
                Block::FindingCard(card) => card.title.clone(),
                Block::Control(control) => format!("{} {}", control.control_id, control.title),
                Block::Attestation(attestation) => attestation.title.clone(),
                _ => continue,
            };
            into.push(Heading { level: level + 1, text, section: None });
        }
        for inner in &section.sections {
            gather(inner, inner.heading.clone(), level + 1, into);
        }
    }
    let own = |text: &str| Heading { level: 1, text: text.to_owned(), section: None };
    let mut headings = Vec::new();
    if !document.key_figures.is_empty() {
        headings.push(own(AT_A_GLANCE));
    }
    document.sections.iter().for_each(|section| gather(section, section.heading.clone(), 1, &mut headings));
    for (index, appendix) in document.appendices.iter().enumerate() {
        gather(appendix, appendix_heading(index, &appendix.heading), 1, &mut headings);
    }
    if !document.inputs.is_empty() {
        headings.push(own(INPUTS));
    }
    if document.seal.is_some() {
        headings.push(own(SIGNATURE));
    }
    headings
}

const AT_A_GLANCE: &str = "At a glance";
const INPUTS: &str = "Inputs of this report";
const SIGNATURE: &str = "Signature";
