//! PDF by Typst, in a world that holds the templates, the document and the bundled fonts: no file system, no
//! network, no clock.
//!
//! The result conforms to PDF/A-2a (archiving; PDF/A-3a where data is attached) and PDF/UA-1 (accessibility), checked while
//! it is written, and the same document gives the same bytes. What a template may read is gathered in [`page`].

mod page;

use std::{collections::HashMap, sync::LazyLock};

use chrono::{DateTime, Datelike, Timelike, Utc};
use domain::document::{Document, Format};
use typst::{
    Library, LibraryExt, World, WorldExt,
    diag::{FileError, FileResult, SourceDiagnostic},
    foundations::{Bytes, Datetime, Duration, Smart},
    syntax::{FileId, Source},
    text::{Font, FontBook},
    utils::LazyHash,
};
use typst_layout::PagedDocument;
use typst_pdf::{PdfOptions, PdfStandard, PdfStandards, Timestamp};

use crate::{
    Options, RenderError, Rendered,
    fonts::FONTS,
    templates::{self, Sources},
};

static LIBRARY: LazyLock<LazyHash<Library>> = LazyLock::new(|| LazyHash::new(Library::builder().build()));

pub(crate) fn render(document: &Document, options: &Options) -> Result<Rendered, RenderError> {
    let (rendered, warnings) = typeset(document, options)?;
    for warning in warnings {
        tracing::warn!(report.r#type = %document.report_type, warning, "template warning");
    }
    Ok(rendered)
}

/// The file, and what the typesetter was not happy about.
pub(crate) fn typeset(
    document: &Document,
    options: &Options,
) -> Result<(Rendered, Vec<String>), RenderError> {
    let main = templates::main_file(&document.report_type).ok_or_else(|| RenderError::UnsupportedFormat {
        report: document.report_type.clone(),
        format: Format::Pdf,
    })?;
    let world = Page {
        main,
        sources: templates::sources(options.template_dir.as_deref())?,
        files: page::files(document, options)?,
        now: datetime(document.cover.generated_at),
        standards: if options.attach_data { PdfStandard::A_3a } else { PdfStandard::A_2a },
    };
    let typeset = world.compile(document);
    drop(world);
    // Typst remembers every intermediate result for the next keystroke of an editor. Reports share next to nothing,
    // and what is not evicted stays: 18 MB for each report of seven pages.
    typst::comemo::evict(0);
    typeset
}

/// All that one compilation can see.
struct Page {
    main: FileId,
    sources: Sources,
    files: HashMap<FileId, Bytes>,
    now: Option<Datetime>,
    standards: PdfStandard,
}

impl Page {
    fn compile(&self, document: &Document) -> Result<(Rendered, Vec<String>), RenderError> {
        let compiled = typst::compile::<PagedDocument>(self);
        let warnings = compiled.warnings.iter().map(|warning| self.error(warning).to_string()).collect();
        let pages = compiled.output.map_err(|errors| self.first_error(&errors))?;
        let standards = PdfStandards::new(&[self.standards, PdfStandard::Ua_1])
            .expect("PDF/A-2a, PDF/A-3a and PDF/UA-1 are based on PDF 1.7");
        let options = PdfOptions {
            ident: Smart::Custom(document.cover.document_number.clone()),
            creator: Smart::Custom(Some(format!("Plimsoll {}", env!("CARGO_PKG_VERSION")))),
            timestamp: self.now.map(Timestamp::new_utc),
            standards,
            ..PdfOptions::default()
        };
        let bytes = typst_pdf::pdf(&pages, &options).map_err(|errors| self.first_error(&errors))?;
        let page_count = u32::try_from(pages.pages().len()).ok();
        Ok((Rendered { page_count, ..Rendered::new(Format::Pdf, bytes) }, warnings))
    }

    fn first_error(&self, errors: &[SourceDiagnostic]) -> RenderError {
        errors.first().map_or_else(
            || RenderError::Template {
                template: String::new(),
                line: None,
                message: "no diagnostics".to_owned(),
            },
            |error| self.error(error),
        )
    }

    fn error(&self, diagnostic: &SourceDiagnostic) -> RenderError {
        let source = diagnostic.span.id().and_then(|id| self.sources.get(&id));
        let line = source
            .zip(self.range(diagnostic.span))
            .and_then(|(source, range)| source.lines().byte_to_line(range.start));
        let hints = diagnostic.hints.iter().map(|hint| format!(" (hint: {})", hint.v));
        RenderError::Template {
            template: diagnostic.span.id().unwrap_or(self.main).vpath().get_without_slash().to_owned(),
            line: line.map(|zero_based| zero_based + 1),
            message: std::iter::once(diagnostic.message.to_string()).chain(hints).collect(),
        }
    }
}

impl World for Page {
    fn library(&self) -> &LazyHash<Library> {
        &LIBRARY
    }

    fn book(&self) -> &LazyHash<FontBook> {
        &FONTS.book
    }

    fn main(&self) -> FileId {
        self.main
    }

    fn source(&self, id: FileId) -> FileResult<Source> {
        self.sources.get(&id).cloned().ok_or(FileError::AccessDenied)
    }

    fn file(&self, id: FileId) -> FileResult<Bytes> {
        self.files.get(&id).cloned().ok_or(FileError::AccessDenied)
    }

    fn font(&self, index: usize) -> Option<Font> {
        FONTS.fonts.get(index).cloned()
    }

    fn today(&self, _offset: Option<Duration>) -> Option<Datetime> {
        self.now
    }
}

/// None for years that a PDF date cannot hold (ISO 32000-1, 7.9.4).
fn datetime(time: DateTime<Utc>) -> Option<Datetime> {
    let year = time.year();
    if !(1..=9999).contains(&year) {
        return None;
    }
    // At most 31, 23, 59 and 60.
    let small = |part: u32| u8::try_from(part).ok();
    Datetime::from_ymd_hms(
        year,
        small(time.month())?,
        small(time.day())?,
        small(time.hour())?,
        small(time.minute())?,
        small(time.second())?,
    )
}

#[cfg(test)]
mod tests {
    use domain::document::{Block, Inline, Paragraph};

    use super::*;

    fn sample(json: &str) -> Document {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_samples_compile_without_a_warning() {
        for json in [
            include_str!("../../../templates/samples/executive_summary.json"),
            include_str!("../../../templates/samples/technical.json"),
        ] {
            let (_, warnings) = typeset(&sample(json), &Options::default()).unwrap();
            assert_eq!(warnings, Vec::<String>::new());
        }
    }

    /// The sample with these paragraphs only, each in every style.
    fn document_of(texts: impl Iterator<Item = String>) -> Document {
        let mut document = sample(include_str!("../../../templates/samples/executive_summary.json"));
        document.key_figures.clear();
        document.sections.truncate(1);
        document.sections[0].sections.clear();
        let styles = [Inline::Text, Inline::Strong, Inline::Emphasis, Inline::Code];
        document.sections[0].blocks = texts
            .map(|text| Paragraph { content: styles.map(|style| style(text.clone())).to_vec() })
            .map(Block::Paragraph)
            .collect();
        document
    }

    fn code_points() -> impl Iterator<Item = char> {
        (0..=u32::from(char::MAX)).filter_map(char::from_u32)
    }

    /// PDF/A turns a glyph that is missing, or that has no Unicode value, into an error.
    #[test]
    fn every_code_point_that_the_fonts_have_can_be_printed_in_every_style() {
        let shown: Vec<char> = code_points().filter(|character| FONTS.cover(*character)).collect();
        // Apart and together: shaping joins neighbours.
        let texts = shown.chunks(40).flat_map(|chunk| {
            [chunk.iter().flat_map(|character| [*character, ' ']).collect(), chunk.iter().collect()]
        });
        let (rendered, _) = typeset(&document_of(texts), &Options::default()).unwrap();
        assert!(rendered.page_count > Some(20));
    }

    /// Letters meet marks, directions and scripts of other fonts.
    #[test]
    fn random_strings_can_be_printed_in_every_style() {
        let shown: Vec<char> = code_points().filter(|character| FONTS.cover(*character)).collect();
        let marks: Vec<char> =
            shown.iter().copied().filter(|character| ('\u{300}'..='\u{36f}').contains(character)).collect();
        let mut state = SEED;
        // Numerical Recipes' linear congruential generator: the same strings on every machine.
        let mut below = |limit: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % limit
        };
        let texts: Vec<String> = (0..60)
            .map(|_| {
                (0..120)
                    .map(|_| match below(8) {
                        0 | 1 => marks[below(marks.len())],
                        2 => char::from_u32(below(0x11_0000) as u32).unwrap_or(' '),
                        _ => shown[below(shown.len())],
                    })
                    .collect()
            })
            .collect();
        typeset(&document_of(texts.into_iter()), &Options::default()).unwrap();
    }

    const SEED: u32 = 20_250_930;
}
