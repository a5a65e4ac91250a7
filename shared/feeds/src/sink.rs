//! Where every parser drops its records: counting, caps, duplicates and quarantine in one place.

use std::{
    collections::HashSet,
    fmt,
    hash::{BuildHasher, RandomState},
    ops::ControlFlow,
    rc::Rc,
};

use chrono::{DateTime, Utc};
use domain::{advisory::Record, source::FeedKind};

use crate::{
    input::Meter,
    outcome::{Cap, Caps, ParseError, Parsed, Position, Rejection},
    words::shortened,
};

/// Reading must end; [`Sink::explain`] knows why.
#[derive(Debug)]
pub(crate) struct Halt;

impl fmt::Display for Halt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("reading ended early")
    }
}

/// What a parser makes of one piece of a sound feed.
pub(crate) type Reading = Result<Record, LeftOut>;

/// Why a piece is no record of ours.
pub(crate) enum LeftOut {
    /// Nothing for us, on purpose and for this reason.
    Skip(&'static str),
    /// Not understood.
    Reject { id: Option<String>, reason: String },
}

/// Collects what one feed yields.
pub(crate) struct Sink<'a> {
    pub(crate) feed: FeedKind,
    pub(crate) caps: Caps,
    pub(crate) meter: Rc<Meter>,
    emit: &'a mut dyn FnMut(Record) -> ControlFlow<()>,
    parsed: Parsed,
    /// Keyed hashes of the ids so far: 8 bytes an id rather than the ids themselves.
    seen: HashSet<u64>,
    hasher: RandomState,
    halted: Option<ParseError>,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(
        feed: FeedKind,
        caps: Caps,
        emit: &'a mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Self {
        Self {
            feed,
            caps,
            meter: Rc::new(Meter::new(caps)),
            emit,
            parsed: Parsed::default(),
            seen: HashSet::new(),
            hasher: RandomState::new(),
            halted: None,
        }
    }

    /// Takes one piece, and sets the meter to zero for the next one.
    pub(crate) fn take(&mut self, position: impl FnOnce() -> Position, reading: Reading) -> Result<(), Halt> {
        self.meter.start_record();
        match reading {
            Ok(record) => self.keep(position, record)?,
            Err(LeftOut::Skip(reason)) => self.skip(reason, 1),
            Err(LeftOut::Reject { id, reason }) => self.reject(position(), id, &reason),
        }
        if self.parsed.records + self.parsed.rejected_total > self.caps.records {
            let cap = Cap::Records(self.caps.records);
            return Err(self.halt(ParseError::TooLarge {
                feed: self.feed,
                position: Position::default(),
                cap,
            }));
        }
        Ok(())
    }

    /// Counts what was left out on purpose.
    pub(crate) fn skip(&mut self, reason: &'static str, count: u64) {
        if count > 0 {
            *self.parsed.skipped.entry(reason).or_default() += count;
        }
    }

    /// Notes how old the content is; of several dates, the oldest counts.
    pub(crate) fn dated(&mut self, as_of: DateTime<Utc>) {
        self.parsed.as_of = Some(self.parsed.as_of.map_or(as_of, |known| known.min(as_of)));
    }

    /// Notes when a record was changed last: the newest of them tells how old a feed without a date of its own is.
    pub(crate) fn modified(&mut self, at: DateTime<Utc>) {
        self.parsed.as_of = self.parsed.as_of.max(Some(at));
    }

    pub(crate) fn labelled(&mut self, label: String) {
        self.parsed.label = Some(shortened(&label));
    }

    /// The feed is broken here.
    pub(crate) fn broken(&self, position: Position, reason: impl fmt::Display) -> ParseError {
        ParseError::Broken { feed: self.feed, position, reason: shortened(&reason.to_string()) }
    }

    /// Why a parser that saw a [`Halt`] had to stop, if it was one.
    pub(crate) fn explain(&mut self) -> Option<ParseError> {
        self.halted.take()
    }

    pub(crate) fn finish(self) -> Result<Parsed, ParseError> {
        // An NVD query for what changed lately may rightly find nothing.
        if self.parsed.records == 0 && (self.feed != FeedKind::Nvd || self.parsed.rejected_total > 0) {
            return Err(ParseError::Empty { feed: self.feed, rejected: self.parsed.rejected_total });
        }
        Ok(self.parsed)
    }

    fn keep(&mut self, position: impl FnOnce() -> Position, record: Record) -> Result<(), Halt> {
        let id = id_of(&record);
        if !self.seen.insert(self.hasher.hash_one(id)) {
            let id = Some(id.to_owned());
            self.reject(position(), id, "a record of this id came before");
            return Ok(());
        }
        self.parsed.records += 1;
        match (self.emit)(record) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(self.halt(ParseError::Stopped)),
        }
    }

    fn reject(&mut self, position: Position, id: Option<String>, reason: &str) {
        self.parsed.rejected_total += 1;
        if self.parsed.rejected.len() < self.caps.rejections_kept {
            let id = id.as_deref().map(shortened);
            self.parsed.rejected.push(Rejection { position, id, reason: shortened(reason) });
        }
    }

    fn halt(&mut self, why: ParseError) -> Halt {
        self.halted = Some(why);
        Halt
    }
}

fn id_of(record: &Record) -> &str {
    match record {
        Record::Advisory(advisory) => &advisory.external_id,
        Record::Cve(cve) => &cve.cve_id,
        Record::Epss(epss) => &epss.cve_id,
        Record::Kev(kev) => &kev.cve_id,
    }
}
