//! Vulnerability feeds: fetch what a source publishes and turn it into the domain's records.
//!
//! Two halves that meet in a file on disk. [`fetch`] brings a source's content to this machine through the guarded
//! client, or says that nothing changed. [`parse`] reads that content as a stream, one record at a time, and hands each
//! to its caller; it neither knows a database nor orders versions (that is `correlation`'s). Storing records, and
//! throwing away a half-read feed, is the worker's business. One module per format: `kev`, `epss`, `debian`,
//! `alpine`, `osv`, `nvd`. Start at [`parse`].

mod alpine;
mod content;
mod debian;
mod epss;
pub mod fetch;
mod files;
mod input;
mod json;
mod kev;
mod nvd;
mod osv;
mod outcome;
mod sink;
mod words;

use std::{ops::ControlFlow, path::Path};

use domain::{advisory::Record, source::FeedKind};

pub use content::{Content, Validators};
pub use fetch::{FetchError, Fetched, Limits, Source, fetch};
pub use outcome::{Cap, Caps, ParseError, Parsed, Position, Rejection};

use sink::Sink;

/// Reads the feed at `path` (a file, or a directory where the format allows one) and hands every record to `emit`.
///
/// Blocking: call it off the async threads. Holds one record at a time, whatever the size of the feed. A record that
/// cannot be understood is left out and listed in [`Parsed::rejected`]. A feed that is broken, cut off, empty or beyond the
/// [`Caps`] is an error, and then nothing that was emitted may be kept. `emit` ends the reading by returning
/// [`ControlFlow::Break`], which is [`ParseError::Stopped`].
pub fn parse(
    kind: FeedKind,
    path: &Path,
    emit: &mut dyn FnMut(Record) -> ControlFlow<()>,
) -> Result<Parsed, ParseError> {
    parse_within(Caps::default(), kind, path, emit)
}

/// [`parse`] with caps of the caller's own.
pub fn parse_within(
    caps: Caps,
    kind: FeedKind,
    path: &Path,
    emit: &mut dyn FnMut(Record) -> ControlFlow<()>,
) -> Result<Parsed, ParseError> {
    let mut sink = Sink::new(kind, caps, emit);
    match kind {
        FeedKind::CisaKev => kev::read(path, &mut sink),
        FeedKind::Epss => epss::read(path, &mut sink),
        FeedKind::DebianTracker => debian::read(path, &mut sink),
        FeedKind::AlpineSecdb => alpine::read(path, &mut sink),
        FeedKind::Osv => osv::read(path, &mut sink),
        FeedKind::Nvd => nvd::read(path, &mut sink),
    }?;
    sink.finish()
}
