//! Ruby's order: `Gem::Version`.
//!
//! A version is read as segments of digits or of letters. Numbers compare as numbers, letters as text, and letters sort
//! before numbers. A version goes on with zeros for ever, so `1.0` is `1`, and `1.0.a` (a pre-release) comes before both.

use super::encoder::{Cursor, Encoder};

/// A version's end stands for endless zeros. So each segment is written with the count of zeros before it: a segment that
/// sorts before zero comes before the end, and the fewer zeros precede it the earlier; one that sorts after zero the other
/// way round.
mod segment {
    pub(super) const LETTERS: u8 = 1;
    pub(super) const END: u8 = 2;
    pub(super) const NUMBER: u8 = 3;
}

/// A hyphen means a pre-release: `1.0-1` is `1.0.pre.1`. Empty segments and other characters are refused.
pub(super) fn key(version: &str) -> Option<Vec<u8>> {
    if !version.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let mut key = Encoder::default();
    let mut zeros = 0_u8;
    let mut is_pre_release = false;
    for part in version.replace('-', ".pre.").split('.') {
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let mut part = Cursor::new(part);
        while !part.is_at_end() {
            if let Some(number) = part.number() {
                if number.bytes().all(|digit| digit == b'0') {
                    zeros += 1;
                    continue;
                }
                key.mark(segment::NUMBER);
                key.mark(u8::MAX - zeros);
                key.number(number);
            } else {
                // Zeros between the release's numbers and the first letters do not count: `1.0.a` is `1.a`.
                key.mark(segment::LETTERS);
                key.mark(if is_pre_release { zeros } else { 0 });
                key.text(part.take_while(|byte| byte.is_ascii_alphabetic()));
                is_pre_release = true;
            }
            zeros = 0;
        }
    }
    key.mark(segment::END);
    Some(key.finish())
}
