//! What reading a feed comes to: counts and rejections, or the reason why none of it may be trusted.

use std::{collections::BTreeMap, fmt, io, path::PathBuf};

use chrono::{DateTime, Utc};
use domain::source::FeedKind;

/// A feed that was read to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Records handed over.
    pub records: u64,
    /// Records that could not be understood and were left out.
    pub rejected_total: u64,
    /// The first of those, at most [`Caps::rejections_kept`].
    pub rejected: Vec<Rejection>,
    /// What was left out on purpose, by reason: `Ubuntu Pro entry` → 17.
    pub skipped: BTreeMap<&'static str, u64>,
    /// How old the source says its content is.
    pub as_of: Option<DateTime<Utc>>,
    /// The source's own name for this edition: KEV's catalogue version, EPSS's model version.
    pub label: Option<String>,
}

/// One record left out of a sound feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub position: Position,
    /// The record's id, if that much could be read.
    pub id: Option<String>,
    pub reason: String,
}

/// A place in a feed, as exactly as its format allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// The file within the archive or directory.
    pub entry: Option<String>,
    /// Records before this one, within the entry.
    pub record: Option<u64>,
    /// Line, from 1.
    pub line: Option<u64>,
    /// Column on that line, from 1.
    pub column: Option<u64>,
    /// Bytes before this place, after decompression.
    pub byte: Option<u64>,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.entry.as_ref().map(|entry| format!("entry `{entry}`"));
        let numbered =
            [("record", self.record), ("line", self.line), ("column", self.column), ("byte", self.byte)]
                .into_iter()
                .filter_map(|(what, number)| number.map(|number| format!("{what} {number}")));
        let parts: Vec<String> = entry.into_iter().chain(numbered).collect();
        if parts.is_empty() {
            formatter.write_str("its start")
        } else {
            formatter.write_str(&parts.join(", "))
        }
    }
}

/// How much a feed may ask of us before it counts as an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Bytes of one record.
    pub record_bytes: u64,
    /// Bytes of the whole feed, after decompression.
    pub total_bytes: u64,
    /// Bytes after decompression for each byte before.
    pub ratio: u64,
    /// Records and rejections of one feed.
    pub records: u64,
    /// Arrays and objects within each other, in one record.
    pub depth: usize,
    /// Rejections told in full; the rest is only counted.
    pub rejections_kept: usize,
}

impl Default for Caps {
    /// Several times what the largest feeds of 2026 need: the NVD has 360 thousand records and some 1.5 GB, the longest
    /// OSV record some 3 MB, and JSON packs to a tenth or a twentieth.
    fn default() -> Self {
        Self {
            record_bytes: 16 << 20,
            total_bytes: 6 << 30,
            ratio: 200,
            records: 2_000_000,
            depth: 64,
            rejections_kept: 100,
        }
    }
}

/// Which of the [`Caps`] a feed ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cap {
    #[error("one record has more than {0} bytes")]
    RecordBytes(u64),
    #[error("more than {0} bytes after decompression")]
    TotalBytes(u64),
    #[error("decompresses to more than {0} times its size")]
    Ratio(u64),
    #[error("more than {0} records")]
    Records(u64),
}

/// Why a feed was not read to its end. Everything emitted before must be thrown away.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    #[error("`{path}` cannot be read")]
    Unreadable {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    /// Cut off, damaged, or another format altogether.
    #[error("{feed} feed is broken at {position}: {reason}")]
    Broken { feed: FeedKind, position: Position, reason: String },
    /// Reading it again will not help.
    #[error("{feed} feed is too large at {position}: {cap}")]
    TooLarge { feed: FeedKind, position: Position, cap: Cap },
    /// No record at all: nothing that could replace what we have.
    #[error("{feed} feed holds no usable record ({rejected} rejected)")]
    Empty { feed: FeedKind, rejected: u64 },
    #[error("reading was stopped by its caller")]
    Stopped,
}
