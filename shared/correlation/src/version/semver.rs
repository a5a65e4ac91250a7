//! Semantic Versioning 2.0.0, section 11: crates.io, npm, Go.
//!
//! Read generously, as those ecosystems are written: a leading `v` does not count, and missing numbers are zero (`1.2` is
//! `1.2.0`). A fourth number, or an empty identifier, is refused. Build metadata does not count.

use super::encoder::{Cursor, Encoder};

const END: u8 = 1;
const NUMERIC: u8 = 2;
const TEXT: u8 = 3;

const PRE_RELEASE: u8 = 1;
const RELEASE: u8 = 2;

pub(super) fn key(version: &str) -> Option<Vec<u8>> {
    let mut rest = Cursor::new(version.strip_prefix(['v', 'V']).unwrap_or(version));
    let mut key = Encoder::default();
    numbers(&mut rest, &mut key, 3)?;
    pre_release(rest.rest, &mut key)?;
    Some(key.finish())
}

/// One to `count` numbers between dots, padded with zeros.
pub(super) fn numbers(rest: &mut Cursor<'_>, key: &mut Encoder, count: usize) -> Option<()> {
    key.number(rest.number()?);
    for _ in 1..count {
        key.number(if rest.eat(".") { rest.number()? } else { "0" });
    }
    Some(())
}

/// `[-identifiers][+metadata]`: identifiers of digits compare as numbers and sort before others, which compare as ASCII; more
/// identifiers sort behind fewer; a version without any sorts behind all of them.
pub(super) fn pre_release(rest: &str, key: &mut Encoder) -> Option<()> {
    let (rest, metadata) =
        rest.split_once('+').map_or((rest, None), |(rest, metadata)| (rest, Some(metadata)));
    if !metadata.is_none_or(|metadata| metadata.split('.').all(is_identifier)) {
        return None;
    }
    if rest.is_empty() {
        key.mark(RELEASE);
        return Some(());
    }
    key.mark(PRE_RELEASE);
    for identifier in rest.strip_prefix('-')?.split('.') {
        if !is_identifier(identifier) {
            return None;
        }
        if identifier.bytes().all(|byte| byte.is_ascii_digit()) {
            key.mark(NUMERIC);
            key.number(identifier);
        } else {
            key.mark(TEXT);
            key.text(identifier);
        }
    }
    key.mark(END);
    Some(())
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
