//! Find the signature in a file, and refuse every file that is not exactly as this crate leaves it.

use std::ops::Range;

use super::{
    LayoutError,
    revision::Revision,
    syntax::{Dictionary, Object},
};
use crate::{Refusal, Statement, revocation::Evidence};

/// Bytes of a statement: titles and names are limited, and so is this.
const LONGEST_STATEMENT: usize = 16 * 1024;
/// Certificates, answers of responders, lists of revoked ones: so many of each kind, and bytes of each.
const MOST_OF_A_KIND: usize = 32;
const LONGEST: usize = 1 << 20;

/// What stands in the file about its signature. Nothing of it is to be believed before the signature was checked.
#[derive(Debug)]
pub(super) struct Sealed {
    /// The only part that the signature does not cover: the digits of `/Contents` with their brackets.
    pub(super) gap: Range<usize>,
    /// The CMS structure, with the zeros behind it.
    pub(super) signature: Vec<u8>,
    pub(super) statement: Statement,
    /// What is said to show that the certificates were good.
    pub(super) evidence: Evidence,
}

/// Reads the last revision of `pdf`.
pub(super) fn read(pdf: &[u8]) -> Result<Sealed, Refusal> {
    let last = Revision::last(pdf).map_err(|error| unsigned_or(pdf, error))?;
    let Some(table_before) = last.trailer.integer("Prev") else { return Err(Refusal::NotSigned) };
    let begin = last.check_filled()?;
    check_before(pdf, begin, table_before)?;

    let root = last.trailer.reference("Root").ok_or(LayoutError::Table)?;
    let (catalog, _) = last.dictionary(root).map_err(|_| Refusal::NotSigned)?;
    let form = catalog.dictionary("AcroForm").ok_or(Refusal::NotSigned)?;
    let [field] = form.array("Fields").ok_or(Refusal::NotSigned)? else { return Err(Refusal::Form) };
    let Object::Reference(field) = field.object else { return Err(Refusal::Form) };
    let (field, _) = last.dictionary(field)?;
    let number =
        field.reference("V").filter(|_| field.name("FT") == Some(b"Sig")).ok_or(Refusal::NotSigned)?;
    // A signature that does not certify would let others be added and forms be filled in.
    let certifies = catalog.dictionary("Perms").and_then(|permissions| permissions.reference("DocMDP"));
    if certifies != Some(number) {
        return Err(Refusal::Form);
    }
    let (signature, _) = last.dictionary(number)?;
    let (gap, bytes) = contents(pdf, &signature)?;
    Ok(Sealed {
        gap,
        signature: bytes,
        statement: statement(&signature)?,
        evidence: evidence(pdf, &last, &catalog)?,
    })
}

/// A file that does not end as it should may still show whether it ever was signed.
fn unsigned_or(pdf: &[u8], error: LayoutError) -> Refusal {
    const MARK: &[u8] = b"/SubFilter/ETSI.CAdES.detached";
    if pdf.windows(MARK.len()).any(|window| window == MARK) { error.into() } else { Refusal::NotSigned }
}

/// What this revision was appended to: a file with its own end and no revision before it.
fn check_before(pdf: &[u8], end: usize, table: u64) -> Result<(), LayoutError> {
    let before = Revision::last(pdf.get(..end).ok_or(LayoutError::Table)?)?;
    if u64::try_from(before.table) != Ok(table) || before.trailer.get("Prev").is_some() {
        return Err(LayoutError::Revised);
    }
    Ok(())
}

/// The signature's bytes and the gap that `/ByteRange` leaves for them.
fn contents(pdf: &[u8], signature: &Dictionary<'_>) -> Result<(Range<usize>, Vec<u8>), Refusal> {
    if signature.name("SubFilter") != Some(b"ETSI.CAdES.detached") || signature.name("Type") != Some(b"Sig") {
        return Err(Refusal::Form);
    }
    let contents = signature.get("Contents").ok_or(Refusal::Form)?;
    let Object::Hexadecimal(digits) = contents.object else { return Err(Refusal::Form) };
    let range: Vec<u64> = signature
        .array("ByteRange")
        .ok_or(Refusal::Form)?
        .iter()
        .map(|value| match value.object {
            Object::Integer(value) => Ok(value),
            _ => Err(Refusal::Form),
        })
        .collect::<Result<_, _>>()?;
    let gap = contents.span.clone();
    let position = |position: usize| position as u64;
    if range != [0, position(gap.start), position(gap.end), position(pdf.len() - gap.end)] {
        return Err(Refusal::NotWhole);
    }
    // Upper and lower case would be two ways to write the same.
    if digits.iter().any(u8::is_ascii_uppercase) {
        return Err(Refusal::Form);
    }
    let bytes = hex::decode(digits).map_err(|_| Refusal::Form)?;
    Ok((gap, bytes))
}

fn statement(signature: &Dictionary<'_>) -> Result<Statement, Refusal> {
    match signature.get("PLIM_Statement").map(|value| &value.object) {
        Some(Object::Hexadecimal(digits)) if digits.len() <= 2 * LONGEST_STATEMENT => {
            hex::decode(digits).ok().and_then(|json| Statement::read(&json)).ok_or(Refusal::Form)
        }
        _ => Err(Refusal::NotOurs),
    }
}

fn evidence(pdf: &[u8], last: &Revision<'_>, catalog: &Dictionary<'_>) -> Result<Evidence, Refusal> {
    if catalog.get("DSS").is_none() {
        return Ok(Evidence::default());
    }
    let store = catalog.reference("DSS").ok_or(Refusal::Form)?;
    let (store, _) = last.dictionary(store)?;
    let streams = |key| {
        let values = store.array(key).unwrap_or_default();
        if values.len() > MOST_OF_A_KIND {
            return Err(Refusal::Form);
        }
        values
            .iter()
            .map(|value| match value.object {
                Object::Reference(number) => stream(pdf, last, number),
                _ => Err(Refusal::Form),
            })
            .collect()
    };
    Ok(Evidence { certificates: streams("Certs")?, responses: streams("OCSPs")?, lists: streams("CRLs")? })
}

fn stream(pdf: &[u8], last: &Revision<'_>, number: u32) -> Result<Vec<u8>, Refusal> {
    let (dictionary, span) = last.dictionary(number)?;
    let length = dictionary.integer("Length").and_then(|length| usize::try_from(length).ok());
    let length = length.filter(|length| *length <= LONGEST).ok_or(Refusal::Form)?;
    // `check_filled` has seen that the stream is where it says.
    let start = span.end + b"\nstream\n".len();
    Ok(pdf.get(start..start + length).ok_or(Refusal::Form)?.to_vec())
}
