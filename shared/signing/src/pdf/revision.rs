//! The last revision of a file: its table of objects, and the objects themselves (ISO 32000-1, 7.5).
//!
//! Only the layout that Typst and this crate write is understood: a classic table, not a stream. That is no loss to
//! us, and leaves little room for files that two readers see differently.

use std::{collections::BTreeMap, ops::Range};

use super::{
    LayoutError,
    syntax::{Dictionary, Object, Parser, Value},
};

/// `startxref`, ten digits, `%%EOF` and line ends fit in.
const TAIL: usize = 48;
/// Objects in a table: a report of thousands of pages has fewer.
const MOST_OBJECTS: u64 = 8_000_000;

/// A table of objects with its trailer.
#[derive(Debug)]
pub(super) struct Revision<'a> {
    bytes: &'a [u8],
    /// Where each object begins, by its number.
    pub(super) objects: BTreeMap<u32, usize>,
    pub(super) trailer: Dictionary<'a>,
    /// Where the table begins.
    pub(super) table: usize,
}

impl<'a> Revision<'a> {
    /// The revision that a reader starts with: the one named at the end of `bytes`.
    pub(super) fn last(bytes: &'a [u8]) -> Result<Self, LayoutError> {
        let bad = LayoutError::Table;
        let tail = bytes.len().saturating_sub(TAIL);
        let found = bytes[tail..].windows(9).rposition(|window| window == b"startxref").ok_or(bad)?;
        let mut end = Parser::at(bytes, tail + found);
        let after_trailer = end.position;
        end.expect(b"startxref\n").ok_or(bad)?;
        let table = usize::try_from(end.digits().ok_or(bad)?).map_err(|_| bad)?;
        end.expect(b"\n%%EOF").ok_or(bad)?;
        // One line end or none, and nothing else.
        if !matches!(&bytes[end.position..], b"" | b"\n") {
            return Err(LayoutError::AfterEnd);
        }
        let mut parser = Parser::at(bytes, table);
        let objects = table_at(&mut parser).ok_or(bad)?;
        parser.expect(b"trailer\n").ok_or(bad)?;
        let Some(Value { object: Object::Dictionary(trailer), .. }) = parser.value() else { return Err(bad) };
        parser.expect(b"\n").ok_or(bad)?;
        if parser.position != after_trailer {
            return Err(bad);
        }
        Ok(Self { bytes, objects, trailer, table })
    }

    /// The dictionary that is object `number` of this revision, and where it stands.
    pub(super) fn dictionary(&self, number: u32) -> Result<(Dictionary<'a>, Range<usize>), LayoutError> {
        let start = *self.objects.get(&number).ok_or(LayoutError::Missing(number))?;
        let mut parser = Parser::at(self.bytes, start);
        let read = (|| {
            let found = parser.object_header()?;
            let value = parser.value()?;
            match value.object {
                Object::Dictionary(dictionary) if found == number => Some((dictionary, value.span)),
                _ => None,
            }
        })();
        read.ok_or(LayoutError::Object(number))
    }

    /// Where the array that is object `number` stands.
    pub(super) fn array_span(&self, number: u32) -> Result<Range<usize>, LayoutError> {
        let start = *self.objects.get(&number).ok_or(LayoutError::Missing(number))?;
        let mut parser = Parser::at(self.bytes, start);
        let read = (|| {
            let found = parser.object_header()?;
            let value = parser.value()?;
            (found == number && matches!(value.object, Object::Array(_))).then_some(value.span)
        })();
        read.ok_or(LayoutError::Object(number))
    }

    /// The file's bytes there.
    pub(super) fn text(&self, span: Range<usize>) -> &'a [u8] {
        &self.bytes[span]
    }

    /// Makes sure that the objects of this revision fill it: from the end of the one before, which is returned, to the
    /// table, without a byte that belongs to none.
    pub(super) fn check_filled(&self) -> Result<usize, LayoutError> {
        let mut starts: Vec<(usize, u32)> =
            self.objects.iter().map(|(number, start)| (*start, *number)).collect();
        starts.sort_unstable();
        let (first, _) = *starts.first().ok_or(LayoutError::Table)?;
        let mut expected = first;
        for (start, number) in starts {
            if start != expected {
                return Err(LayoutError::Object(number));
            }
            expected = object_end(self.bytes, start, number).ok_or(LayoutError::Object(number))?;
        }
        if expected == self.table { Ok(first) } else { Err(LayoutError::Table) }
    }
}

fn table_at(parser: &mut Parser<'_>) -> Option<BTreeMap<u32, usize>> {
    let mut objects = BTreeMap::new();
    parser.expect(b"xref\n")?;
    while let Some(first) = parser.digits() {
        parser.expect(b" ")?;
        let count = parser.digits().filter(|count| *count <= MOST_OBJECTS)?;
        parser.expect(b"\n")?;
        for number in first..first + count {
            let offset = parser.digits()?;
            parser.expect(b" ")?;
            parser.digits()?;
            let used = parser.expect(b" n").is_some();
            if !used {
                parser.expect(b" f")?;
            }
            parser.expect(b" \n").or_else(|| parser.expect(b"\r\n"))?;
            let number = u32::try_from(number).ok()?;
            if used && objects.insert(number, usize::try_from(offset).ok()?).is_some() {
                return None;
            }
        }
    }
    Some(objects)
}

/// One byte behind object `number`, which begins at `start`.
fn object_end(bytes: &[u8], start: usize, number: u32) -> Option<usize> {
    let mut parser = Parser::at(bytes, start);
    if parser.object_header()? != number {
        return None;
    }
    parser.expect(b"\n")?;
    let value = parser.value()?;
    parser.expect(b"\n")?;
    if parser.expect(b"stream\n").is_some() {
        let Object::Dictionary(dictionary) = value.object else { return None };
        let length = usize::try_from(dictionary.integer("Length")?).ok()?;
        parser.position = parser.position.checked_add(length)?;
        parser.expect(b"\nendstream\n")?;
    }
    parser.expect(b"endobj\n")?;
    Some(parser.position)
}
