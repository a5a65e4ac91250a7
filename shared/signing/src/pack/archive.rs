//! ZIP in one form: entries stored, in order, with nothing between, before or behind them.
//!
//! Every header follows from name and content, and what a reader finds must be exactly that. So an archive cannot
//! show one thing to this reader and another to the next, and is the same bytes whenever it is made. Stored rather
//! than compressed: the formats worth sending are compressed in themselves, and what a compressor writes depends on its version.
//!
//! Contents pass through in pieces: neither [`write`] nor [`Reader`] holds more of an archive than one of them.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind, Read, Write},
};

use crate::{Refusal, SignError};

/// Bytes of an archive: as far as an offset of ZIP without its 64-bit extension reaches.
pub(super) const LARGEST: u64 = u32::MAX as u64;

const LOCAL: &[u8; 4] = b"PK\x03\x04";
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
const END: &[u8; 4] = b"PK\x05\x06";
/// Needed to extract: 2.0. Names are UTF-8 (bit 11). Stored. 1980-01-01 00:00, the earliest that ZIP can say.
const SHAPE: &[u8] = &[20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0];
/// What follows in the header of an entry: [`SHAPE`], CRC-32, two sizes, two lengths.
const PARTICULARS: usize = 26;
/// Made on Unix by version 2.0.
const MADE_BY: &[u8] = &[20, 3];
/// Regular file, `rw-r--r--`.
const ATTRIBUTES: u32 = 0o100_644 << 16;
const MOST_ENTRIES: usize = 1000;
const LONGEST_NAME: usize = 150;
/// Contents are read so many bytes at a time.
const PIECE: usize = 256 << 10;

/// Whether a name may stand in a pack: one that is harmless on every system.
pub(super) fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=LONGEST_NAME).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed)
}

/// What headers say about a file, apart from its place.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) size: u32,
    /// CRC-32 of the content.
    pub(super) crc: u32,
}

impl Entry {
    /// Of a content that is in memory.
    pub(super) fn of(name: &str, content: &[u8]) -> Result<Self, SignError> {
        let size = u32::try_from(content.len()).map_err(|_| too_large())?;
        Ok(Self { name: name.to_owned(), size, crc: crc32fast::hash(content) })
    }

    fn particulars(&self) -> Vec<u8> {
        let mut bytes = SHAPE.to_vec();
        bytes.extend(self.crc.to_le_bytes());
        bytes.extend(self.size.to_le_bytes());
        bytes.extend(self.size.to_le_bytes());
        bytes.extend(u16::try_from(self.name.len()).unwrap_or(u16::MAX).to_le_bytes());
        // No extra field.
        bytes.extend([0, 0]);
        bytes
    }

    /// How many bytes its header and content take.
    fn length(&self) -> u64 {
        (LOCAL.len() + PARTICULARS + self.name.len()) as u64 + u64::from(self.size)
    }
}

/// What stands behind the contents of `entries`.
fn directory(entries: &[Entry]) -> Result<Vec<u8>, SignError> {
    let count = u16::try_from(entries.len())
        .ok()
        .filter(|count| usize::from(*count) <= MOST_ENTRIES)
        .ok_or_else(|| refuse("a pack holds 1000 files at most"))?;
    let place = |offset: u64| u32::try_from(offset).map_err(|_| too_large());
    let (mut central, mut offset) = (Vec::new(), 0);
    for entry in entries {
        central.extend_from_slice(CENTRAL);
        central.extend_from_slice(MADE_BY);
        central.extend_from_slice(&entry.particulars());
        // No comment, on the first disk, binary.
        central.extend_from_slice(&[0; 6]);
        central.extend_from_slice(&ATTRIBUTES.to_le_bytes());
        central.extend_from_slice(&place(offset)?.to_le_bytes());
        central.extend_from_slice(entry.name.as_bytes());
        offset += entry.length();
    }
    let size = place(central.len() as u64)?;
    let mut bytes = central;
    bytes.extend_from_slice(END);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&size.to_le_bytes());
    bytes.extend_from_slice(&place(offset)?.to_le_bytes());
    bytes.extend_from_slice(&[0; 2]);
    if offset + bytes.len() as u64 > LARGEST { Err(too_large()) } else { Ok(bytes) }
}

fn refuse(why: &'static str) -> SignError {
    SignError::Pack { name: "the archive".into(), why }
}

pub(super) fn too_large() -> SignError {
    refuse("a pack holds less than 4 GiB")
}

/// Writes the archive of `entries` in that order, each with what `contents` has in its place.
pub(super) fn write(
    entries: &[Entry],
    contents: Vec<Box<dyn Read + '_>>,
    archive: &mut dyn Write,
) -> Result<(), SignError> {
    // Whatever cannot be packed is told before the first byte.
    let directory = directory(entries)?;
    for (entry, mut content) in entries.iter().zip(contents) {
        archive.write_all(LOCAL)?;
        archive.write_all(&entry.particulars())?;
        archive.write_all(entry.name.as_bytes())?;
        let (mut crc, mut size) = (crc32fast::Hasher::new(), 0);
        in_pieces(&mut content, |piece| {
            crc.update(piece);
            size += piece.len() as u64;
            archive.write_all(piece)
        })?;
        if (size, crc.finalize()) != (u64::from(entry.size), entry.crc) {
            return Err(SignError::Pack { name: entry.name.clone(), why: "it changed while it was packed" });
        }
    }
    Ok(archive.write_all(&directory)?)
}

/// Hands over all of `content`, one piece after another.
pub(super) fn in_pieces(
    content: &mut dyn Read,
    mut hand_over: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match content.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => hand_over(&piece[..count])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Why reading ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    #[error("the file cannot be read")]
    Input(#[source] io::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl From<io::Error> for Stop {
    /// What ends too early was cut off.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof => Self::Refused(Refusal::Changed),
            _ => Self::Input(error),
        }
    }
}

/// Reads an archive that [`write`] could have made, from the beginning to the end. Call [`Self::next`] and [`Self::content`] by turns.
pub(super) struct Reader<R> {
    input: R,
    seen: Vec<Entry>,
    names: BTreeSet<String>,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, seen: Vec::new(), names: BTreeSet::new() }
    }

    /// The next file; none when all of them were read and the archive has ended as it must.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Stop> {
        let mut mark = [0; 4];
        self.input.read_exact(&mut mark)?;
        if mark != *LOCAL {
            return self.end(mark);
        }
        let mut particulars = [0; PARTICULARS];
        self.input.read_exact(&mut particulars)?;
        let number = |at: usize| {
            u32::from_le_bytes([
                particulars[at],
                particulars[at + 1],
                particulars[at + 2],
                particulars[at + 3],
            ])
        };
        let length = usize::from(u16::from_le_bytes([particulars[22], particulars[23]]));
        if length > LONGEST_NAME || self.seen.len() == MOST_ENTRIES {
            return Err(Refusal::Changed.into());
        }
        let mut name = vec![0; length];
        self.input.read_exact(&mut name)?;
        let name = String::from_utf8(name).map_err(|_| Refusal::Changed)?;
        let entry = Entry { name, size: number(14), crc: number(10) };
        // Whatever was written in another way comes out differently.
        if entry.particulars() != particulars
            || !is_plain(&entry.name)
            || !self.names.insert(entry.name.clone())
        {
            return Err(Refusal::Changed.into());
        }
        self.seen.push(entry.clone());
        Ok(Some(entry))
    }

    /// Hands over the content of `entry`, which [`Self::next`] has just named.
    pub(super) fn content(&mut self, entry: &Entry, mut hand_over: impl FnMut(&[u8])) -> Result<(), Stop> {
        let (mut crc, mut size) = (crc32fast::Hasher::new(), 0);
        in_pieces(&mut self.input.by_ref().take(entry.size.into()), |piece| {
            crc.update(piece);
            size += piece.len() as u64;
            hand_over(piece);
            Ok(())
        })?;
        let is_whole = (size, crc.finalize()) == (u64::from(entry.size), entry.crc);
        if is_whole { Ok(()) } else { Err(Refusal::Changed.into()) }
    }

    /// The content of the next file, which is called `name` and has at most so many bytes.
    pub(super) fn short(&mut self, name: &str, most: u32) -> Result<Vec<u8>, Stop> {
        let Some(entry) = self.next()?.filter(|entry| entry.name == name && entry.size <= most) else {
            return Err(Refusal::Changed.into());
        };
        let mut content = Vec::new();
        self.content(&entry, |piece| content.extend_from_slice(piece))?;
        Ok(content)
    }

    fn end(&mut self, mark: [u8; 4]) -> Result<Option<Entry>, Stop> {
        let expected = directory(&self.seen).map_err(|_| Refusal::Changed)?;
        let mut found = mark.to_vec();
        self.input.by_ref().take(expected.len() as u64 + 1 - 4).read_to_end(&mut found)?;
        if !self.seen.is_empty() && found == expected { Ok(None) } else { Err(Refusal::Changed.into()) }
    }
}
