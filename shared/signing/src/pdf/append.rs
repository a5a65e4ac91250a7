//! Write the revision that carries the signature.

use std::{collections::BTreeMap, fmt::Write as _, ops::Range};

use super::{
    LayoutError,
    revision::Revision,
    syntax::{Dictionary, Object},
};
use crate::{Identity, SignError, Statement};

/// Pages are searched for this deep in the tree: Typst's has one level.
const DEEPEST_PAGE: usize = 16;

/// Digits that each number of `/ByteRange` gets.
const OFFSET_DIGITS: usize = 10;

/// The file with a signature of `reserved` zero bytes, and where its digits stand.
pub(super) fn append(
    pdf: &[u8],
    identity: &Identity,
    statement: &Statement,
    reserved: usize,
) -> Result<(Vec<u8>, Range<usize>), SignError> {
    let before = Revision::last(pdf)?;
    if before.trailer.get("Prev").is_some() || before.trailer.get("Encrypt").is_some() {
        return Err(LayoutError::Revised.into());
    }
    let root = before.trailer.reference("Root").ok_or(LayoutError::Table)?;
    let size =
        before.trailer.integer("Size").and_then(|size| u32::try_from(size).ok()).ok_or(LayoutError::Table)?;
    let (catalog, catalog_span) = before.dictionary(root)?;
    if catalog.get("AcroForm").is_some() || catalog.get("Perms").is_some() || catalog.get("DSS").is_some() {
        return Err(LayoutError::Form.into());
    }

    let mut writer = Writer::new(pdf);
    let (signature, field) = (size, size + 1);
    let store = SecurityStore::write(&mut writer, size + 2, identity);
    let page = first_page(&before, &catalog)?;

    let mut additions = format!(
        "/AcroForm<</Fields[{field} 0 R]/SigFlags 3>>/Perms<</DocMDP {signature} 0 R>>{}",
        store.entry
    );
    if catalog.get("Extensions").is_none() {
        // ETSI EN 319 142-1, section 5.6: says that PAdES is used in a file of PDF 1.7.
        additions.push_str("/Extensions<</ESIC<</BaseVersion/1.7/ExtensionLevel 1>>>>");
    }
    writer.object(root, &with(&pdf[catalog_span], &additions));
    writer.object(page.number, &page.with_annotation(pdf, &before, field)?);
    writer.object(
        field,
        format!(
            "<</Type/Annot/Subtype/Widget/FT/Sig/T(ReportSeal)/TU(Signature of the report)/F 132\
             /Rect[-1 -1 -1 -1]/P {} 0 R/V {signature} 0 R>>",
            page.number
        )
        .as_bytes(),
    );
    let hole = write_signature(&mut writer, signature, statement, reserved)?;
    let bytes = writer.finish(&before, store.next);
    Ok(fill_byte_range(bytes, hole))
}

/// What has been written so far, and where each object begins.
struct Writer {
    bytes: Vec<u8>,
    objects: BTreeMap<u32, usize>,
}

impl Writer {
    fn new(pdf: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(pdf.len() + (64 << 10));
        bytes.extend_from_slice(pdf);
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        Self { bytes, objects: BTreeMap::new() }
    }

    fn object(&mut self, number: u32, body: &[u8]) {
        self.objects.insert(number, self.bytes.len());
        self.bytes.extend_from_slice(format!("{number} 0 obj\n").as_bytes());
        self.bytes.extend_from_slice(body);
        self.bytes.extend_from_slice(b"\nendobj\n");
    }

    fn stream(&mut self, number: u32, content: &[u8]) {
        let mut body = format!("<</Length {}>>\nstream\n", content.len()).into_bytes();
        body.extend_from_slice(content);
        body.extend_from_slice(b"\nendstream");
        self.object(number, &body);
    }

    /// Adds the table and the trailer: as before, with what this revision changes.
    fn finish(mut self, before: &Revision<'_>, size: u32) -> Vec<u8> {
        let table = self.bytes.len();
        let mut end = String::from("xref\n");
        let mut numbers = self.objects.iter().peekable();
        while let Some((first, offset)) = numbers.next() {
            let mut run = vec![*offset];
            while let Some((_, offset)) = numbers
                .next_if(|(number, _)| **number == first + u32::try_from(run.len()).unwrap_or(u32::MAX))
            {
                run.push(*offset);
            }
            let _ = writeln!(end, "{first} {}", run.len());
            for offset in run {
                let _ = writeln!(end, "{offset:010} 00000 n ");
            }
        }
        let _ = write!(end, "trailer\n<</Size {size}/Prev {}", before.table);
        self.bytes.extend_from_slice(end.as_bytes());
        for key in before.trailer.keys().filter(|key| *key != b"Size") {
            let value = before.trailer.get(std::str::from_utf8(key).unwrap_or_default());
            if let Some(value) = value {
                let text = before.text(value.span.clone()).to_vec();
                self.bytes.push(b'/');
                self.bytes.extend_from_slice(key);
                if text.first().is_some_and(u8::is_ascii_digit) {
                    self.bytes.push(b' ');
                }
                self.bytes.extend_from_slice(&text);
            }
        }
        self.bytes.extend_from_slice(format!(">>\nstartxref\n{table}\n%%EOF\n").as_bytes());
        self.bytes
    }
}

/// The dictionary `text` with further entries at its end.
fn with(text: &[u8], additions: &str) -> Vec<u8> {
    let mut extended = text[..text.len() - 2].to_vec();
    extended.extend_from_slice(additions.as_bytes());
    extended.extend_from_slice(b">>");
    extended
}

/// Certificates, and what shows that they were not revoked, for long-term validation (ETSI EN 319 142-1, section 5.4).
struct SecurityStore {
    /// For the catalog; empty when there is nothing to show.
    entry: String,
    /// The first object number that is free afterwards.
    next: u32,
}

impl SecurityStore {
    fn write(writer: &mut Writer, first: u32, identity: &Identity) -> Self {
        let mut next = first;
        let evidence = &identity.evidence;
        let nothing_was_shown = evidence.responses.is_empty() && evidence.lists.is_empty();
        // The certificates above the signer's are to stand inside what is signed too.
        if nothing_was_shown && identity.chain().len() == 1 {
            return Self { entry: String::new(), next };
        }
        let mut kinds = String::new();
        let mut streams = |kind: &str, contents: &[Vec<u8>]| {
            if contents.is_empty() {
                return;
            }
            let mut references = String::new();
            for content in contents {
                writer.stream(next, content);
                let _ = write!(references, "{}{next} 0 R", if references.is_empty() { "" } else { " " });
                next += 1;
            }
            let _ = write!(kinds, "/{kind}[{references}]");
        };
        let more = evidence.certificates.iter().filter(|one| !identity.chain().contains(one));
        let certificates: Vec<_> = identity.chain().iter().chain(more).cloned().collect();
        streams("Certs", &certificates);
        streams("OCSPs", &evidence.responses);
        streams("CRLs", &evidence.lists);
        writer.object(next, format!("<</Type/DSS{kinds}>>").as_bytes());
        Self { entry: format!("/DSS {next} 0 R"), next: next + 1 }
    }
}

struct Page<'a> {
    number: u32,
    dictionary: Dictionary<'a>,
    span: Range<usize>,
}

fn first_page<'a>(revision: &Revision<'a>, catalog: &Dictionary<'a>) -> Result<Page<'a>, LayoutError> {
    let mut number = catalog.reference("Pages").ok_or(LayoutError::Table)?;
    for _ in 0..DEEPEST_PAGE {
        let (dictionary, span) = revision.dictionary(number)?;
        match dictionary.array("Kids").map(<[_]>::first) {
            None => return Ok(Page { number, dictionary, span }),
            Some(Some(kid)) => match kid.object {
                Object::Reference(kid) => number = kid,
                _ => return Err(LayoutError::Object(number)),
            },
            Some(None) => return Err(LayoutError::Object(number)),
        }
    }
    Err(LayoutError::Object(number))
}

impl Page<'_> {
    /// The page with one more annotation. It lies outside of what is printed and has no size, so that PDF/A asks for
    /// no appearance (ISO 19005-2, 6.3.3) and PDF/UA for no place in the structure (ISO 14289-1, 7.18.1).
    fn with_annotation(
        &self,
        pdf: &[u8],
        revision: &Revision<'_>,
        field: u32,
    ) -> Result<Vec<u8>, LayoutError> {
        let text = &pdf[self.span.clone()];
        // ISO 14289-1, 7.18.3: pages with annotations say in which order they are visited.
        let tabs = if self.dictionary.get("Tabs").is_some() { "" } else { "/Tabs/S" };
        let Some(annotations) = self.dictionary.get("Annots") else {
            return Ok(with(text, &format!("/Annots[{field} 0 R]{tabs}")));
        };
        let old = match &annotations.object {
            Object::Array(_) => annotations.span.clone(),
            Object::Reference(number) => revision.array_span(*number)?,
            _ => return Err(LayoutError::Object(self.number)),
        };
        let mut page = pdf[self.span.start..annotations.span.start].to_vec();
        page.extend_from_slice(&pdf[old.start..old.end - 1]);
        page.extend_from_slice(format!(" {field} 0 R]").as_bytes());
        page.extend_from_slice(&pdf[annotations.span.end..self.span.end]);
        Ok(with(&page, tabs))
    }
}

/// Writes the signature dictionary with a hole, and says where the hole is.
fn write_signature(
    writer: &mut Writer,
    number: u32,
    statement: &Statement,
    reserved: usize,
) -> Result<Range<usize>, SignError> {
    let json = serde_json::to_vec(statement).map_err(|error| SignError::Certificate(error.to_string()))?;
    let head = format!(
        "<</Type/Sig/Filter/Adobe.PPKLite/SubFilter/ETSI.CAdES.detached/Name{}/Reason{}/M(D:{}Z)\
         /Reference[<</Type/SigRef/TransformMethod/DocMDP/TransformParams<</Type/TransformParams/P 1/V/1.2>>>>]\
         /PLIM_Statement<{}>/ByteRange[0 {} {} {}]/Contents<",
        text(&statement.signed_by),
        text("Seal of the report: any change after it was issued shows"),
        statement.signed_at.format("%Y%m%d%H%M%S"),
        hex::encode(json),
        "*".repeat(OFFSET_DIGITS),
        "*".repeat(OFFSET_DIGITS),
        "*".repeat(OFFSET_DIGITS),
    );
    let mut body = head.into_bytes();
    let from_body = body.len();
    body.resize(from_body + reserved * 2, b'0');
    body.extend_from_slice(b">>>");
    writer.object(number, &body);
    let start = writer.objects[&number] + format!("{number} 0 obj\n").len() + from_body;
    Ok(start..start + reserved * 2)
}

/// Puts the numbers in: all of the file but the digits and the brackets around them.
fn fill_byte_range(mut bytes: Vec<u8>, hole: Range<usize>) -> (Vec<u8>, Range<usize>) {
    let numbers = [hole.start - 1, hole.end + 1, bytes.len() - (hole.end + 1)];
    let stars = vec![b'*'; OFFSET_DIGITS];
    let mut from = hole.start;
    // They stand right before the hole, the last one first.
    for number in numbers.iter().rev() {
        let place = bytes[..from].windows(OFFSET_DIGITS).rposition(|window| window == stars.as_slice());
        let place = place.expect("three places were left for them");
        bytes[place..place + OFFSET_DIGITS].copy_from_slice(format!("{number:<10}").as_bytes());
        from = place;
    }
    (bytes, hole)
}

/// A text string (ISO 32000-1, 7.9.2.2) in UTF-16, which needs no escapes.
fn text(text: &str) -> String {
    let units: String = text.encode_utf16().fold(String::new(), |mut digits, unit| {
        let _ = write!(digits, "{unit:04x}");
        digits
    });
    format!("<feff{units}>")
}
