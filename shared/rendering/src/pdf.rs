//! PDF by Typst, in a world that holds the templates, the document and the bundled fonts: no file system, no
//! network, no clock.
//!
//! The result conforms to PDF/A-2a (archiving; PDF/A-3a where data is attached) and PDF/UA-1 (accessibility), checked while
//! it is written, and the same document gives the same bytes. What a template may read is gathered in [`page`].

mod page;
mod rows;

use std::{
    collections::HashMap,
    sync::LazyLock,
    time::{Duration, Instant},
};

use chrono::{DateTime, Datelike, Timelike, Utc};
use domain::document::{Block, Document, Format, Section};
use typst::{
    Library, LibraryExt, World, WorldExt,
    diag::{FileError, FileResult, SourceDiagnostic},
    foundations::{Bytes, Datetime, Smart},
    syntax::{FileId, Source},
    text::{Font, FontBook},
    utils::LazyHash,
};
use typst_layout::PagedDocument;
use typst_pdf::{PdfOptions, PdfStandard, PdfStandards, Timestamp};

use crate::{
    Options, RenderError, Rendered, Stage,
    fonts::FONTS,
    templates::{self, Sources},
};

static LIBRARY: LazyLock<LazyHash<Library>> = LazyLock::new(|| LazyHash::new(Library::builder().build()));

pub(crate) fn render(
    document: &Document,
    options: &Options,
    watch: &mut dyn FnMut(Stage),
) -> Result<Rendered, RenderError> {
    let (rendered, warnings) =
        typeset(document, options, watch).map_err(|error| located(error, document, options))?;
    for warning in warnings {
        tracing::warn!(report.r#type = %document.report_type, warning, "template warning");
    }
    Ok(rendered)
}

/// The file, and what the typesetter was not happy about.
fn typeset(
    document: &Document,
    options: &Options,
    watch: &mut dyn FnMut(Stage),
) -> Result<(Rendered, Vec<String>), RenderError> {
    let world = Page::of(document, options)?;
    let typeset = world.compile(document, watch);
    drop(world);
    // Typst remembers every intermediate result for the next keystroke of an editor. Reports share next to nothing,
    // and what is not evicted stays: 18 MB for each report of seven pages.
    typst::comemo::evict(0);
    typeset
}

/// A template's error with the block that it fails on, found by halving. Most errors have one, and whoever mends the
/// template or the data looks for it.
fn located(error: RenderError, document: &Document, options: &Options) -> RenderError {
    let RenderError::Template { template, line, message, datum: None } = error else { return error };
    let mut alone = Document {
        sections: Vec::new(),
        appendices: Vec::new(),
        key_figures: Vec::new(),
        ..document.clone()
    };
    let started = Instant::now();
    let mut fails = |parts: &[(String, Section)]| {
        alone.sections = parts.iter().map(|(_, section)| section.clone()).collect();
        matches!(typeset(&alone, options, &mut |_| ()), Err(RenderError::Template { message: other, .. }) if other == message)
    };
    let parts: Vec<_> = document.sections.iter().chain(&document.appendices).flat_map(parts_of).collect();
    let mut suspects = parts.as_slice();
    let datum = if fails(&[]) {
        Some("the first page or the end".to_owned())
    } else if !fails(suspects) {
        // Only all of it together fails.
        None
    } else {
        while suspects.len() > 1 && started.elapsed() < SEARCH {
            let (first, second) = suspects.split_at(suspects.len() / 2);
            suspects = if fails(first) { first } else { second };
        }
        match suspects {
            [(name, _)] => Some(name.clone()),
            [(first, _), .., (last, _)] => Some(format!("something from {first} to {last}")),
            [] => None,
        }
    };
    RenderError::Template { template, line, message, datum }
}

/// How long the search for the failing part may take.
const SEARCH: Duration = Duration::from_secs(30);

/// Each block of a section and of those within, in a section of its own, with what people call it.
fn parts_of(section: &Section) -> Vec<(String, Section)> {
    let block = |(index, block): (usize, &Block)| {
        let name = match block {
            Block::Table(table) => format!("table `{}`", table.id),
            Block::FindingCard(card) => format!("finding `{}`", card.vulnerability_id),
            Block::Control(control) => format!("control `{}`", control.control_id),
            Block::Chart(chart) => format!("chart `{}`", chart.title),
            Block::Diagram(diagram) => format!("diagram `{}`", diagram.title),
            _ => format!("block {}", index + 1),
        };
        let alone = Section { blocks: vec![block.clone()], sections: Vec::new(), ..section.clone() };
        (format!("{name} of section `{}`", section.heading), alone)
    };
    let mut parts: Vec<_> = section.blocks.iter().enumerate().map(block).collect();
    parts.extend(section.sections.iter().flat_map(parts_of));
    parts
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
    fn of(document: &Document, options: &Options) -> Result<Self, RenderError> {
        let main = templates::main_file(&document.report_type).ok_or_else(|| {
            RenderError::UnsupportedFormat { report: document.report_type.clone(), format: Format::Pdf }
        })?;
        Ok(Self {
            main,
            sources: templates::sources(options.template_dir.as_deref())?,
            files: page::files(document, options)?,
            now: datetime(document.cover.generated_at),
            standards: if options.attach_data { PdfStandard::A_3a } else { PdfStandard::A_2a },
        })
    }

    fn compile(
        &self,
        document: &Document,
        watch: &mut dyn FnMut(Stage),
    ) -> Result<(Rendered, Vec<String>), RenderError> {
        watch(Stage::Typesetting);
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
        watch(Stage::Writing);
        // What was remembered of the layout is of no use to the export, and a fifth of the memory in use.
        typst::comemo::evict(0);
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
                datum: None,
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
            datum: None,
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

    fn today(&self, _offset: Option<typst::foundations::Duration>) -> Option<Datetime> {
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
    use domain::{
        Severity,
        document::{
            Block, Cell, Column, ColumnKind, Inline, Link, Orientation, Paragraph, Status, Table, Tone,
        },
    };

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
            let (_, warnings) = typeset(&sample(json), &Options::default(), &mut |_| ()).unwrap();
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
        // Ideographs and syllables are many and all alike: every fifteenth.
        let is_one_of_many =
            |character: char| matches!(character, '\u{3400}'..='\u{d7a3}') && u32::from(character) % 15 != 0;
        let shown: Vec<char> = code_points()
            .filter(|character| FONTS.cover(*character) && !is_one_of_many(*character))
            .collect();
        // Apart and together: shaping joins neighbours.
        let texts = shown.chunks(40).flat_map(|chunk| {
            [chunk.iter().flat_map(|character| [*character, ' ']).collect(), chunk.iter().collect()]
        });
        let (rendered, _) = typeset(&document_of(texts), &Options::default(), &mut |_| ()).unwrap();
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
        typeset(&document_of(texts.into_iter()), &Options::default(), &mut |_| ()).unwrap();
    }

    /// Entries about as long as their columns are wide, of every kind.
    fn table_of_random_entries() -> Table {
        let columns = vec![
            Column::new("Severity", ColumnKind::Severity),
            Column::new("Identifier", ColumnKind::Identifier).width(18),
            Column::new("Link", ColumnKind::Link).width(16),
            Column::new("What it is", ColumnKind::Text).width(24),
            Column::new("Number", ColumnKind::Number { decimals: 2 }).width(6),
            Column::new("Status", ColumnKind::Status).width(12),
            Column::new("Date", ColumnKind::Date),
        ];
        let mut state = SEED;
        let mut below = |limit: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % limit
        };
        let mut word = |most: usize| -> String {
            // The wide ones more often.
            let letters = b"4x8_jWM@%LATYrf 0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIKNOPQRSUVXZ-.:~+/()[]{}<>#$*\\\"'`^|;,?!&=";
            (0..1 + below(most)).map(|_| char::from(letters[below(letters.len())])).collect()
        };
        let row = |row: usize| {
            let status = Status { label: word(11), tone: Tone::Caution };
            vec![
                Cell::Severity(Severity::ALL[row % 4]),
                Cell::Identifier(word(46)),
                Cell::Link(Link { text: word(40), url: "https://example.org/".to_owned() }),
                Cell::Text(word(60)),
                Cell::number(row as f64 * 377.7),
                if row.is_multiple_of(5) { Cell::Empty } else { Cell::Status(status) },
                Cell::Date(chrono::NaiveDate::from_yo_opt(2025, 1 + row as u32 % 365).unwrap()),
            ]
        };
        Table::new("random", columns, (0..600).map(row).collect())
    }

    /// Being told its height saves a row from being measured, and must change nothing else.
    #[test]
    fn a_row_that_is_told_its_height_looks_as_if_it_had_been_measured() {
        let mut document = document_of(std::iter::empty());
        document.sections[0].orientation = Orientation::Landscape;
        document.sections[0].blocks = vec![Block::Table(table_of_random_entries())];
        let mut world = Page::of(&document, &Options::default()).unwrap();
        let (told, _) = world.compile(&document, &mut |_| ()).unwrap();

        let file = templates::data_file("tables.json");
        let rows = world.files[&file].as_str().unwrap().to_owned();
        let (short, long) = (rows.matches("true").count(), rows.matches("false").count());
        assert!(short > 80 && long > 80, "{short} rows of one line, {long} others");
        world.files.insert(file, Bytes::from_string(rows.replace("true", "false")));
        let (measured, _) = world.compile(&document, &mut |_| ()).unwrap();
        assert!(told == measured, "the two files differ");
    }

    const SEED: u32 = 20_250_930;
}
