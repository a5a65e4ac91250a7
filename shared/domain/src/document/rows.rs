//! All rows of a table that is too long to be held in memory: a file beside the document, written and read one by one.
//!
//! A line for each row: a JSON array of its cells, exactly as the JSON format has them. The whole is compressed (gzip, RFC 1952,
//! without a name or a time), so the same rows give the same bytes and `zcat` shows them. Where such a file is kept, and whether it
//! is still the one whose digest the document names, is settled before it is attached
//! ([`Document::attach_rows`](super::Document::attach_rows)). This is the only module of the crate that opens a file.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeSeq};
use sha2::{Digest, Sha256};

use super::{Cell, Document};

/// Which file holds all rows of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowFile {
    pub rows: u64,
    /// Of the file as it lies there, in lower-case hexadecimal.
    pub sha256: String,
    /// Where it is, once somebody has brought it.
    #[serde(skip)]
    path: Option<PathBuf>,
}

impl RowFile {
    /// What it is called, wherever it lies.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.sha256, Self::EXTENSION)
    }

    /// The end of its name.
    pub const EXTENSION: &'static str = "jsonl.gz";

    /// The file, where it is at hand.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// # Errors
    /// When it is not at hand, or cannot be opened.
    pub(super) fn open(&self) -> io::Result<RowReader> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "the table's row file is not at hand");
        let file = File::open(self.path().ok_or_else(missing)?)?;
        let lines = BufReader::new(GzDecoder::new(BufReader::new(file)));
        Ok(RowReader { lines, line: Vec::new(), left: self.rows })
    }
}

impl Document {
    /// The files that hold the rows of long tables.
    pub fn row_files(&self) -> impl Iterator<Item = &RowFile> {
        self.tables().filter_map(|table| table.row_file.as_ref())
    }

    /// From here on the rows of long tables are those in the files of `folder`, which are there under their names.
    pub fn attach_rows(&mut self, folder: &Path) {
        self.each_table(|table| {
            if let Some(file) = &mut table.row_file {
                file.path = Some(folder.join(file.name()));
            }
        });
    }

    /// From here on the files are only named, and the document is written with the rows that it holds.
    pub fn detach_rows(&mut self) {
        self.each_table(|table| table.row_file.iter_mut().for_each(|file| file.path = None));
    }
}

/// Writes a row file.
#[derive(Debug)]
pub struct RowWriter {
    lines: GzEncoder<Digesting>,
    line: Vec<u8>,
    rows: u64,
    path: PathBuf,
}

impl RowWriter {
    /// Begins a file at `path`, which it has until it is finished.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let file = Digesting { file: BufWriter::new(File::create_new(&path)?), digest: Sha256::new() };
        Ok(Self { lines: GzEncoder::new(file, Compression::fast()), line: Vec::new(), rows: 0, path })
    }

    /// Writes the next row.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn push(&mut self, row: &[Cell]) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, row)?;
        self.line.push(b'\n');
        self.rows += 1;
        self.lines.write_all(&self.line)
    }

    /// The finished file, under its name in the folder that it was begun in.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn finish(self) -> io::Result<RowFile> {
        let Digesting { mut file, digest } = self.lines.finish()?;
        file.flush()?;
        let sha256 = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let finished = RowFile { rows: self.rows, sha256, path: None };
        let path = self.path.with_file_name(finished.name());
        std::fs::rename(&self.path, &path)?;
        Ok(RowFile { path: Some(path), ..finished })
    }
}

/// Digests what goes into a file.
#[derive(Debug)]
struct Digesting {
    file: BufWriter<File>,
    digest: Sha256,
}

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Reads a row file.
#[derive(Debug)]
pub struct RowReader {
    lines: BufReader<GzDecoder<BufReader<File>>>,
    line: Vec<u8>,
    /// Rows that are still to come.
    left: u64,
}

impl RowReader {
    /// The next row. A file with more or fewer rows than the document says is another file.
    fn row(&mut self) -> io::Result<Option<Vec<Cell>>> {
        self.line.clear();
        let is_over = self.lines.read_until(b'\n', &mut self.line)? == 0;
        let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        match (is_over, self.left) {
            (true, 0) => Ok(None),
            (true, left) => Err(wrong(format!("the row file ends {left} rows before its end"))),
            (false, 0) => Err(wrong("the row file has more rows than its document says".to_owned())),
            (false, left) => {
                self.left = left - 1;
                Ok(Some(serde_json::from_slice(&self.line)?))
            }
        }
    }
}

/// The rows of a table, held or from its file.
#[derive(Debug)]
pub enum Rows<'t> {
    Held(std::slice::Iter<'t, Vec<Cell>>),
    Filed(Box<RowReader>),
}

impl<'t> Iterator for Rows<'t> {
    type Item = io::Result<Cow<'t, [Cell]>>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Held(rows) => rows.next().map(|row| Ok(Cow::Borrowed(row.as_slice()))),
            Self::Filed(reader) => reader.row().transpose().map(|row| row.map(Cow::Owned)),
        }
    }
}

/// Writes every row of a file, one after another, where a list of rows belongs.
pub(super) struct EveryRow<'f>(pub(super) &'f RowFile);

impl Serialize for EveryRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut reader = self.0.open().map_err(serde::ser::Error::custom)?;
        let mut rows = serializer.serialize_seq(usize::try_from(self.0.rows).ok())?;
        while let Some(row) = reader.row().map_err(serde::ser::Error::custom)? {
            rows.serialize_element(&row)?;
        }
        rows.end()
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::document::{Block, Column, ColumnKind, Section, Table};

    fn row(number: u64) -> Vec<Cell> {
        vec![Cell::identifier(format!("=package-{number}\n")), Cell::count(number)]
    }

    fn document(table: Table) -> Document {
        Document {
            sections: vec![Section { blocks: vec![Block::Table(table)], ..Section::new("s", "S") }],
            ..Document::new("technical", "T", "O", "R-1", DateTime::UNIX_EPOCH)
        }
    }

    fn table(rows: u64) -> Table {
        let columns = vec![
            Column::new("Package", ColumnKind::Identifier),
            Column::new("N", ColumnKind::Number { decimals: 0 }),
        ];
        Table::new("t", columns, (0..rows).map(row).collect())
    }

    /// The same rows, three of them held and all in a file of `folder`.
    fn filed(rows: u64, folder: &Path) -> Table {
        let mut writer = RowWriter::create(folder.join("t.part")).unwrap();
        (0..rows).try_for_each(|number| writer.push(&row(number))).unwrap();
        Table { row_file: Some(writer.finish().unwrap()), ..table(3) }
    }

    #[test]
    fn a_document_whose_rows_are_in_a_file_is_the_same_as_one_that_holds_them() {
        let folder = tempfile::tempdir().unwrap();
        let (held, filed) = (document(table(500)), document(filed(500, folder.path())));
        assert_eq!(filed.main_table().map(Table::row_count), Some(500));
        assert_eq!(serde_json::to_value(&filed).unwrap(), serde_json::to_value(&held).unwrap());
        assert_eq!(filed.content_sha256().unwrap(), held.content_sha256().unwrap());
    }

    #[test]
    fn without_its_file_a_document_names_it_and_has_no_hash() {
        let folder = tempfile::tempdir().unwrap();
        let filed = document(filed(500, folder.path()));
        let mut frozen = filed.clone();
        frozen.detach_rows();
        let kept = serde_json::to_value(&frozen).unwrap();
        assert_eq!(kept["sections"][0]["blocks"][0]["rows"].as_array().map(Vec::len), Some(3));
        let mut read: Document = serde_json::from_value(kept).unwrap();
        assert_eq!(read, frozen);
        assert!(read.content_sha256().unwrap_err().to_string().contains("not at hand"));
        read.attach_rows(folder.path());
        assert_eq!(read.content_sha256().unwrap(), filed.content_sha256().unwrap());
    }

    #[test]
    fn a_file_with_other_rows_than_its_document_says_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (said, problem) in [(499, "more rows"), (501, "1 rows before")] {
            let mut table = filed(500, folder.path());
            table.row_file.iter_mut().for_each(|file| file.rows = said);
            let error = table.every_row().unwrap().find_map(Result::err).unwrap();
            assert!(error.to_string().contains(problem), "{error}");
        }
        let table = filed(500, folder.path());
        let path = table.row_file.as_ref().and_then(RowFile::path).unwrap();
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() - 20]).unwrap();
        assert!(table.every_row().unwrap().any(|row| row.is_err()), "a file that was cut off");
    }

    #[test]
    fn the_same_rows_make_the_same_file() {
        let digest = || {
            let folder = tempfile::tempdir().unwrap();
            filed(500, folder.path()).row_file.map(|file| file.sha256)
        };
        assert_eq!(digest(), digest());
    }
}
