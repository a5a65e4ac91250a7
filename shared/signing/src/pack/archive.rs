//! ZIP in one form: entries stored, in order, with nothing between, before or behind them.
//!
//! Every header follows from name and content, and what a reader finds must be exactly that. So an archive cannot
//! show one thing to this reader and another to the next, and is the same bytes whenever it is made. Stored rather
//! than compressed: the formats worth sending are compressed in themselves, and what a compressor writes depends on its version.

use std::collections::BTreeSet;

use crate::{Refusal, SignError};

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
/// Needed to extract: 2.0. Names are UTF-8 (bit 11). Stored. 1980-01-01 00:00, the earliest that ZIP can say.
const SHAPE: &[u8] = &[20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0];
/// Made on Unix by version 2.0.
const MADE_BY: &[u8] = &[20, 3];
/// Regular file, `rw-r--r--`.
const ATTRIBUTES: u32 = 0o100_644 << 16;
const MOST_ENTRIES: usize = 1000;
const LONGEST_NAME: usize = 150;

/// Whether a name may stand in a pack: one that is harmless on every system.
pub(super) fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=LONGEST_NAME).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed)
}

/// What headers say about an entry, apart from its place.
fn particulars(name: &str, content: &[u8]) -> Vec<u8> {
    let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let mut bytes = SHAPE.to_vec();
    bytes.extend(crc32fast::hash(content).to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
    // No extra field.
    bytes.extend([0, 0]);
    bytes
}

/// The archive of `entries`, names and contents, in that order.
pub(super) fn write(entries: &[(&str, &[u8])]) -> Result<Vec<u8>, SignError> {
    let refuse = |why| SignError::Pack { name: "the archive".into(), why };
    let mut archive = Vec::new();
    let mut central = Vec::new();
    for (name, content) in entries {
        // ZIP without its 64-bit extension.
        let offset = u32::try_from(archive.len()).map_err(|_| refuse("a pack holds 4 GiB at most"))?;
        u32::try_from(content.len()).map_err(|_| refuse("a pack holds 4 GiB at most"))?;
        let particulars = particulars(name, content);
        archive.extend_from_slice(LOCAL);
        archive.extend_from_slice(&particulars);
        archive.extend_from_slice(name.as_bytes());
        archive.extend_from_slice(content);
        central.extend_from_slice(CENTRAL);
        central.extend_from_slice(MADE_BY);
        central.extend_from_slice(&particulars);
        // No comment, on the first disk, binary.
        central.extend_from_slice(&[0; 6]);
        central.extend_from_slice(&ATTRIBUTES.to_le_bytes());
        central.extend_from_slice(&offset.to_le_bytes());
        central.extend_from_slice(name.as_bytes());
    }
    let count = u16::try_from(entries.len())
        .ok()
        .filter(|count| usize::from(*count) <= MOST_ENTRIES)
        .ok_or_else(|| refuse("a pack holds 1000 files at most"))?;
    let start = u32::try_from(archive.len()).map_err(|_| refuse("a pack holds 4 GiB at most"))?;
    let size = u32::try_from(central.len()).map_err(|_| refuse("a pack holds 4 GiB at most"))?;
    archive.extend_from_slice(&central);
    archive.extend_from_slice(END);
    archive.extend_from_slice(&[0; 4]);
    archive.extend_from_slice(&count.to_le_bytes());
    archive.extend_from_slice(&count.to_le_bytes());
    archive.extend_from_slice(&size.to_le_bytes());
    archive.extend_from_slice(&start.to_le_bytes());
    archive.extend_from_slice(&[0; 2]);
    Ok(archive)
}

/// Names and contents of an archive that [`write`] could have made.
pub(super) fn read(archive: &[u8]) -> Result<Vec<(&str, &[u8])>, Refusal> {
    let entries = entries(archive).ok_or(Refusal::Changed)?;
    let mut names = BTreeSet::new();
    if !entries.iter().all(|(name, _)| is_plain(name) && names.insert(*name)) {
        return Err(Refusal::Changed);
    }
    // Whatever was written in another way, or beside it, comes out differently.
    match write(&entries) {
        Ok(expected) if expected == archive => Ok(entries),
        _ => Err(Refusal::Changed),
    }
}

/// The local entries from the beginning on, as long as they follow one another.
fn entries(archive: &[u8]) -> Option<Vec<(&str, &[u8])>> {
    let number =
        |bytes: &[u8]| bytes.iter().rev().fold(0_usize, |value, byte| value << 8 | usize::from(*byte));
    let mut entries = Vec::new();
    let mut rest = archive;
    while let Some(local) = rest.strip_prefix(LOCAL) {
        if entries.len() == MOST_ENTRIES {
            return None;
        }
        let (header, after) = local.split_at_checked(26)?;
        let (name, after) = after.split_at_checked(number(&header[22..24]))?;
        let (content, after) = after.split_at_checked(number(&header[14..18]))?;
        entries.push((std::str::from_utf8(name).ok()?, content));
        rest = after;
    }
    (!entries.is_empty()).then_some(entries)
}
