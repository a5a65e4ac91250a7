//! PHP's order: `version_compare`, by which OSV orders Packagist versions.
//!
//! A version is read as pieces of digits or of letters, between dots, hyphens, underscores, plus signs or nothing. Numbers
//! compare as numbers. Words compare by their meaning only: unknown words, then `dev`, alpha, beta, candidate, the release
//! itself, and patch level. Unlike Composer, PHP tells `1.0` from `1.0.0` and puts it first.

use super::encoder::{Cursor, Encoder};

const UNKNOWN_WORD: u8 = 1;
const END: u8 = 6;
const NUMBER: u8 = 7;

/// Words by how they begin, for PHP looks no further: `beta`, `b` and `build` are all beta.
const WORDS: [(&str, u8); 6] = [("dev", 2), ("a", 3), ("b", 4), ("RC", 5), ("rc", 5), ("p", 8)];

/// A leading `v` does not count, as Composer has it. Refuses other characters (by `#` PHP's comparison is not even an order)
/// and separators at either end.
pub(super) fn key(version: &str) -> Option<Vec<u8>> {
    let is_separator = |byte: u8| matches!(byte, b'.' | b'-' | b'_' | b'+');
    let mut rest = Cursor::new(version.strip_prefix(['v', 'V']).unwrap_or(version));
    let mut key = Encoder::default();
    loop {
        if let Some(number) = rest.number() {
            key.mark(NUMBER);
            key.number(number);
        } else {
            let word = rest.take_while(|byte| byte.is_ascii_alphabetic());
            if word.is_empty() {
                return None;
            }
            let known = WORDS.iter().find(|(beginning, _)| word.starts_with(beginning));
            key.mark(known.map_or(UNKNOWN_WORD, |(_, rank)| *rank));
        }
        if rest.is_at_end() {
            key.mark(END);
            return Some(key.finish());
        }
        rest.take_while(is_separator);
    }
}
