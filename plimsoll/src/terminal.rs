//! Writing to the person: results to standard output, remarks to standard error.
//!
//! A reader that has gone away (`plimsoll … | head`) is no failure of ours, so neither function reports one.

use std::fmt;
use std::io::{Write, stderr, stdout};

/// A line of the result.
pub(crate) fn result(line: impl fmt::Display) {
    let mut out = stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A line about how it goes.
pub(crate) fn remark(line: impl fmt::Display) {
    let _ = writeln!(stderr(), "{line}");
}
