//! The output formats: one list for the API, the command line, the database and the renderer.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The files that a document can become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Pdf,
    Html,
    Docx,
    Xlsx,
    Csv,
    Json,
    Markdown,
    /// The document's main diagram or chart alone ([`Document::main_figure`](super::Document::main_figure)).
    Svg,
    Png,
    /// Several of the others in one file, with a signed list of what is in it.
    Zip,
}

impl Format {
    pub const ALL: [Self; 10] = [
        Self::Pdf,
        Self::Html,
        Self::Docx,
        Self::Xlsx,
        Self::Csv,
        Self::Json,
        Self::Markdown,
        Self::Svg,
        Self::Png,
        Self::Zip,
    ];
    /// What a pack holds unless something else is asked for: one to read, one to calculate with, two for programs.
    pub const PACKED: [Self; 4] = [Self::Pdf, Self::Xlsx, Self::Csv, Self::Json];

    /// The word used in APIs and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pdf => "pdf",
            Self::Html => "html",
            Self::Docx => "docx",
            Self::Xlsx => "xlsx",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Markdown => "markdown",
            Self::Svg => "svg",
            Self::Png => "png",
            Self::Zip => "zip",
        }
    }

    /// It holds every row, for programs and calculations. The others are for readers, and end where nobody reads on.
    #[must_use]
    pub fn is_for_programs(self) -> bool {
        matches!(self, Self::Csv | Self::Json | Self::Xlsx)
    }

    /// The `Content-Type` of the file.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Html => "text/html; charset=utf-8",
            Self::Docx => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Json => "application/json",
            Self::Markdown => "text/markdown; charset=utf-8",
            Self::Svg => "image/svg+xml",
            Self::Png => "image/png",
            Self::Zip => "application/zip",
        }
    }

    /// The end of the file's name, without the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Markdown => "md",
            other => other.as_str(),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A word that is not a format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("format `{0}` is not one of pdf, html, docx, xlsx, csv, json, markdown, svg, png, zip")]
pub struct UnknownFormat(pub String);

impl FromStr for Format {
    type Err = UnknownFormat;

    /// Case-insensitive; `excel`, `md` and `pack` are understood.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = text.trim().to_ascii_lowercase();
        let word = match word.as_str() {
            "excel" => "xlsx",
            "md" => "markdown",
            "pack" => "zip",
            other => other,
        };
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == word)
            .ok_or_else(|| UnknownFormat(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_reads_back_from_its_word() {
        for format in Format::ALL {
            assert_eq!(format.as_str().to_uppercase().parse(), Ok(format));
        }
    }

    #[test]
    fn the_everyday_names_of_formats_are_understood() {
        assert_eq!("Excel".parse(), Ok(Format::Xlsx));
        assert_eq!("md".parse(), Ok(Format::Markdown));
        assert_eq!(
            "word".parse::<Format>().unwrap_err().to_string(),
            "format `word` is not one of pdf, html, docx, xlsx, csv, json, markdown, svg, png, zip"
        );
    }
}
