//! rpm's order: `rpmvercmp` for version and release, preceded by the epoch.
//!
//! A version is `[epoch:]version[-release]`. Both are read as segments of letters or of digits; whatever lies between them
//! only separates. Segments compare one by one: numbers as numbers, letters byte by byte, and a number is later than
//! letters. `~` sorts before the end of the version, `^` right after the end.

use super::encoder::{Cursor, Encoder};

const TILDE: u8 = 1;
const END: u8 = 2;
const CARET: u8 = 3;
const LETTERS: u8 = 4;
const NUMBER: u8 = 5;

const NO_RELEASE: u8 = 0;
const RELEASE: u8 = 1;

/// A missing epoch is 0; digits are an epoch only in front of the first colon. A version without release sorts before the same
/// version with any release, so a fix stated without release is met by each of its builds.
///
/// Refuses brackets, which rpm does not allow and which mean that a query's `(none)` was taken for an epoch.
pub(super) fn key(version: &str) -> Option<Vec<u8>> {
    if version.contains(['(', ')']) {
        return None;
    }
    let mut rest = Cursor::new(version);
    let digits = rest.digits();
    let (epoch, rest) = if rest.eat(":") { (digits, rest.rest) } else { ("0", version) };

    let mut key = Encoder::default();
    key.number(epoch);
    match rest.rsplit_once('-') {
        Some((version, release)) => {
            segments(&mut key, version);
            key.mark(RELEASE);
            segments(&mut key, release);
        }
        None => {
            segments(&mut key, rest);
            key.mark(NO_RELEASE);
        }
    }
    Some(key.finish())
}

fn segments(key: &mut Encoder, text: &str) {
    let mut text = Cursor::new(text);
    while let Some(next) = text.rest.chars().next() {
        if next.is_ascii_digit() {
            key.mark(NUMBER);
            key.number(text.digits());
        } else if next.is_ascii_alphabetic() {
            key.mark(LETTERS);
            key.text(text.take_while(|byte| byte.is_ascii_alphabetic()));
        } else {
            match next {
                '~' => key.mark(TILDE),
                '^' => key.mark(CARET),
                _separator => {}
            }
            text.rest = &text.rest[next.len_utf8()..];
        }
    }
    key.mark(END);
}
