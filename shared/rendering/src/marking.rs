//! What every format says alike about a document: its marking, its designation, whether there are contents and trends.

use domain::document::{Cui, Document, Marking};

/// The words at the head and foot of every page; none for a document without a classification.
pub(crate) fn banner(document: &Document) -> Option<String> {
    marking(document).map(|marking| marking.banner())
}

fn marking(document: &Document) -> Option<Marking> {
    document.cover.classification.as_deref().and_then(Marking::parse)
}

/// The designation indicator of controlled unclassified information, line by line as label and text (32 CFR 2002.20; DoDI 5200.48,
/// 3.4.b; CUI Marking Handbook, first page). None for everything else.
pub(crate) fn designation(document: &Document, contact: Option<&str>) -> Option<[(&'static str, String); 4]> {
    let Marking::Cui(Cui { categories, dissemination }) = marking(document)? else { return None };
    let or = |words: &[String], none: &str| if words.is_empty() { none.to_owned() } else { words.join(", ") };
    let cover = &document.cover;
    let controlled_by: Vec<&str> =
        std::iter::once(cover.organization.as_str()).chain(cover.prepared_by.as_deref()).collect();
    let contact = contact.unwrap_or("See the controlling organization");
    Some([
        ("Controlled by", controlled_by.join(", ")),
        ("CUI category", or(&categories, "CUI Basic")),
        ("Distribution or dissemination control", or(&dissemination, "None stated")),
        ("POC", contact.to_owned()),
    ])
}

/// Whether a key figure says how it moved; a column that says nothing is left out.
pub(crate) fn has_trends(document: &Document) -> bool {
    document.key_figures.iter().any(|figure| figure.trend.is_some())
}

/// Whether contents stand before the sections of a document without pages of its own: on request, and where there is much to find.
pub(crate) fn wants_contents(document: &Document) -> bool {
    !document.sections.is_empty()
        && document.presentation.table_of_contents.unwrap_or(document.sections.len() > 3)
}
