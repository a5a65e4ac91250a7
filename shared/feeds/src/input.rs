//! Opening a feed's file: plain or gzip, counted and capped as it is read.

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek},
    path::Path,
    rc::Rc,
};

use flate2::read::MultiGzDecoder;

use crate::{
    outcome::{Cap, Caps, ParseError, Position},
    sink::Sink,
};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Below this size a high ratio means nothing: a short text repeated packs well.
const RATIO_COUNTS_FROM: u64 = 16 << 20;

/// Counts the bytes of a feed after decompression, and refuses the one too many.
pub(crate) struct Meter {
    caps: Caps,
    /// Size of the file on disk while its content is compressed.
    packed: Cell<Option<u64>>,
    read: Cell<u64>,
    record_from: Cell<u64>,
    last_byte: Cell<u8>,
}

impl Meter {
    pub(crate) fn new(caps: Caps) -> Self {
        Self {
            caps,
            packed: Cell::new(None),
            read: Cell::new(0),
            record_from: Cell::new(0),
            last_byte: Cell::new(b'\n'),
        }
    }

    /// From here on the bytes belong to another record.
    pub(crate) fn start_record(&self) {
        self.record_from.set(self.read.get());
    }

    /// From here on the content comes out of `bytes` compressed ones.
    pub(crate) fn decompresses(&self, bytes: u64) {
        self.packed.set(Some(bytes));
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.read.get()
    }

    /// Whether the content read so far ends with a line's end.
    pub(crate) fn at_line_end(&self) -> bool {
        self.last_byte.get() == b'\n'
    }

    fn count(&self, bytes: &[u8]) -> Result<(), Cap> {
        if let Some(last) = bytes.last() {
            self.last_byte.set(*last);
        }
        let read = self.read.get() + bytes.len() as u64;
        self.read.set(read);
        if read > self.caps.total_bytes {
            return Err(Cap::TotalBytes(self.caps.total_bytes));
        }
        if read - self.record_from.get() > self.caps.record_bytes {
            return Err(Cap::RecordBytes(self.caps.record_bytes));
        }
        match self.packed.get() {
            Some(packed) if read > RATIO_COUNTS_FROM && read / self.caps.ratio > packed => {
                Err(Cap::Ratio(self.caps.ratio))
            }
            _ => Ok(()),
        }
    }
}

/// A reader whose bytes are counted.
pub(crate) struct Metered<R> {
    inner: R,
    meter: Rc<Meter>,
}

impl<R: Read> Metered<R> {
    pub(crate) fn new(inner: R, meter: &Rc<Meter>) -> Self {
        Self { inner, meter: Rc::clone(meter) }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.meter.count(&buffer[..length]).map_err(io::Error::other)?;
        Ok(length)
    }
}

/// A feed's text, decompressed.
pub(crate) type Text = BufReader<Metered<Box<dyn Read>>>;

/// Opens a text feed, decompressing it if it is gzip. A web page in its place (a captive portal's, an error's) is found
/// out here, whatever the server called it.
pub(crate) fn open_text(path: &Path, sink: &Sink<'_>) -> Result<(Text, Packing), ParseError> {
    let unreadable = |error| ParseError::Unreadable { path: path.to_owned(), error };
    let mut file = File::open(path).map_err(unreadable)?;
    let packing = packing_of(&mut file).map_err(unreadable)?;
    let inner: Box<dyn Read> = match packing {
        Packing::Plain => Box::new(file),
        Packing::Gzip => {
            sink.meter.decompresses(file.metadata().map_err(unreadable)?.len());
            Box::new(MultiGzDecoder::new(BufReader::new(file)))
        }
    };
    // `MultiGzDecoder` goes on until the file ends, so garbage behind a member is an error too.
    let mut text = BufReader::with_capacity(64 << 10, Metered::new(inner, &sink.meter));
    let start = text.fill_buf().map_err(|error| read_error(sink, Position::default(), &error))?;
    let mark = if start.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    if start.is_empty() {
        return Err(sink.broken(Position::default(), "nothing in it"));
    }
    if start[mark..].trim_ascii_start().starts_with(b"<") {
        return Err(sink.broken(Position::default(), "a web page or XML, not a feed"));
    }
    text.consume(mark);
    Ok((text, packing))
}

/// Whether a feed's file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
}

fn packing_of(file: &mut File) -> io::Result<Packing> {
    let mut magic = [0; 2];
    let length = file.read(&mut magic)?;
    file.rewind()?;
    Ok(if magic[..length] == [0x1f, 0x8b] { Packing::Gzip } else { Packing::Plain })
}

/// An error of the reader below a parser: one of our caps, or a file that does not decompress.
pub(crate) fn read_error(sink: &Sink<'_>, position: Position, error: &io::Error) -> ParseError {
    let position = Position { byte: Some(sink.meter.bytes()), ..position };
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Cap>()) {
        Some(cap) => ParseError::TooLarge { feed: sink.feed, position, cap: *cap },
        None => sink.broken(position, error),
    }
}
