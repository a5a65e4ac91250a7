//! Turn a [`Document`] into a file: PDF, HTML, DOCX, XLSX, CSV, JSON, Markdown, or its main figure alone.
//!
//! Pure: the same document gives the same bytes, on any machine and at any time. Filling the document is the
//! business of `reports`, storing and sending the file that of the worker. Typst lives here and nowhere else.
//! It has no limit on time or memory of its own: whoever renders on behalf of others runs this in a process that
//! can be stopped. Start at [`render`].

pub mod child;
mod docx;
mod figure;
mod fonts;
mod html;
mod image;
mod json;
mod markdown;
mod marking;
mod measure;
mod office;
mod pdf;
mod prepare;
pub mod samples;
mod sanitise;
mod shorten;
mod table_csv;
mod templates;
mod theme;
mod words;
mod xlsx;

use std::{
    borrow::Cow,
    io::{self, Write},
    path::PathBuf,
};

use domain::document::{Branding, Document, DocumentError, Format};
use serde::{Deserialize, Serialize};

pub use image::checked as checked_image;

/// The formats that [`render`] makes: all but a pack, which is made of files of these.
pub const FORMATS: [Format; 9] = [
    Format::Pdf,
    Format::Html,
    Format::Docx,
    Format::Xlsx,
    Format::Csv,
    Format::Json,
    Format::Markdown,
    Format::Svg,
    Format::Png,
];

/// Settings that change the file but not what it says.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Read the templates from this folder at every call instead of using the built-in ones. For editing them.
    pub template_dir: Option<PathBuf>,
    /// Begin CSV with a byte order mark, without which Excel takes UTF-8 for the local code page.
    pub csv_bom: bool,
    pub branding: Branding,
    /// Attach the report's JSON and CSV to a PDF, which becomes PDF/A-3a.
    pub attach_data: bool,
}

/// How far a rendering has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Checking the document, drawing its figures.
    Preparing,
    /// Laying out pages.
    Typesetting,
    /// Turning what was laid out into the file.
    Writing,
}

impl Stage {
    /// For people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing the document",
            Self::Typesetting => "typesetting",
            Self::Writing => "writing the file",
        }
    }
}

/// A finished file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    pub bytes: Vec<u8>,
    /// For the `Content-Type` header.
    pub media_type: &'static str,
    /// For the file's name, without the dot.
    pub extension: &'static str,
    /// For formats that have pages.
    pub page_count: Option<u32>,
}

impl Rendered {
    fn new(format: Format, bytes: Vec<u8>) -> Self {
        Self { bytes, media_type: format.media_type(), extension: format.extension(), page_count: None }
    }
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    #[error("report type `{report}` has no `{format}` output")]
    UnsupportedFormat { report: String, format: Format },
    #[error("a pack is made of files and signed: render each of them, and pack those")]
    Pack,
    #[error(
        "template `{template}`{}: {message}{}",
        line.map(|line| format!(", line {line}")).unwrap_or_default(),
        datum.as_ref().map(|datum| format!(" (in {datum})")).unwrap_or_default()
    )]
    Template {
        template: String,
        line: Option<usize>,
        message: String,
        /// The part of the document that it fails on, where one alone is enough.
        datum: Option<String>,
    },
    #[error("template file `{}` cannot be read", path.display())]
    TemplateFile { path: PathBuf, source: std::io::Error },
    #[error("the document contradicts itself")]
    Document(#[from] DocumentError),
    #[error("the document cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    #[error("the rows of a table cannot be read, or the file not be written")]
    Stream(#[from] io::Error),
    #[error(
        "table `{table}` has {rows} rows, and no more than {} are attached to a PDF: leave attach_data out, and ask for xlsx, csv \
         or json, which hold all of them",
        MOST_ATTACHED_ROWS
    )]
    TooMuchToAttach { table: String, rows: u64 },
    #[error("the table cannot be written as CSV")]
    Csv(#[from] csv::Error),
    #[error(
        "table `{table}` holds {rows} of {total_rows} rows, and CSV has no place to say so: ask for xlsx or json, which do, or take \
         the findings from GET /api/export/csv, which has no limit"
    )]
    Partial { table: String, rows: u64, total_rows: u64 },
    #[error("the drawing cannot be turned into pixels: {message}")]
    Picture { message: String },
    #[error("the workbook cannot be written")]
    Workbook(#[from] rust_xlsxwriter::XlsxError),
    #[error("the parts of the file cannot be packed")]
    Package(#[from] zip::result::ZipError),
}

/// A PDF with its attachments is one value in memory, and whoever opens it reads all of it.
pub(crate) const MOST_ATTACHED_ROWS: u64 = 100_000;

/// `Appendix A: Glossary`. The twenty-seventh is `AA`.
pub(crate) fn appendix_heading(index: usize, heading: &str) -> String {
    let letter = char::from(b'A' + u8::try_from(index % 26).unwrap_or(0));
    format!("Appendix {}: {heading}", letter.to_string().repeat(index / 26 + 1))
}

/// Render a document in one format. Takes CPU time in proportion to the document (PDF: about 0.1 s a page in
/// a debug build): keep it off the threads that serve requests.
///
/// # Errors
/// When the document contradicts itself, or its type has no such output, or a template fails.
pub fn render(document: &Document, format: Format, options: &Options) -> Result<Rendered, RenderError> {
    render_watched(document, format, options, |_| ())
}

/// The document as it can be shown: one whose logo is refused says so. Data is left as it is.
fn with_usable_logo(document: &Document, format: Format) -> Cow<'_, Document> {
    let has_a_face = !matches!(format, Format::Csv | Format::Json | Format::Svg | Format::Png);
    let refused =
        document.cover.logo.as_ref().filter(|_| has_a_face).and_then(|logo| checked_image(logo).err());
    let Some(reason) = refused else { return Cow::Borrowed(document) };
    tracing::warn!(report.r#type = %document.report_type, reason, "a logo was left out of a report");
    let mut document = document.clone();
    document.cover.logo = None;
    document.omissions.push(format!("The logo was left out: {reason}."));
    Cow::Owned(document)
}

/// As [`render`], telling `watch` at the beginning of each stage.
///
/// # Errors
/// As [`render`].
pub fn render_watched(
    document: &Document,
    format: Format,
    options: &Options,
    mut watch: impl FnMut(Stage),
) -> Result<Rendered, RenderError> {
    watch(Stage::Preparing);
    document.check()?;
    let shown = with_usable_logo(document, format);
    let document = shown.as_ref();
    if format != Format::Pdf {
        watch(Stage::Writing);
    }
    match format {
        Format::Pdf => pdf::render(document, options, &mut watch),
        Format::Csv | Format::Json | Format::Xlsx => {
            let mut bytes = Vec::new();
            write(document, format, options, &mut bytes)?;
            Ok(Rendered::new(format, bytes))
        }
        Format::Markdown => {
            let shown = shorten::for_readers(document);
            Ok(Rendered::new(format, markdown::render(&shown, options).into_bytes()))
        }
        Format::Svg | Format::Png => figure::render(document, format, options),
        Format::Html => {
            let shown = shorten::for_readers(document);
            Ok(Rendered::new(format, html::render(&shown, options).into_bytes()))
        }
        Format::Docx => docx::render(&shorten::for_readers(document), options),
        Format::Zip => Err(RenderError::Pack),
    }
}

/// As [`render`], for the formats [for programs](Format::is_for_programs): written to `output` while rows are read.
///
/// Memory does not grow with the number of rows if they are [in a file](domain::document::Table::row_file).
///
/// # Errors
/// As [`render`], and when `output` does not take what is written. What stands there then is of no use.
pub fn render_into(
    document: &Document,
    format: Format,
    options: &Options,
    output: &mut (dyn Write + Send),
    mut watch: impl FnMut(Stage),
) -> Result<(), RenderError> {
    watch(Stage::Preparing);
    document.check()?;
    let shown = with_usable_logo(document, format);
    watch(Stage::Writing);
    write(&shown, format, options, output)
}

fn write(
    document: &Document,
    format: Format,
    options: &Options,
    output: &mut (dyn Write + Send),
) -> Result<(), RenderError> {
    match format {
        Format::Csv => table_csv::write(document, options, output),
        Format::Json => json::write(document, output),
        Format::Xlsx => xlsx::write(document, options, output),
        _ => Err(RenderError::UnsupportedFormat { report: document.report_type.clone(), format }),
    }
}
