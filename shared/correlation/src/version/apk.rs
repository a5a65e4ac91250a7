//! Alpine's order, as apk-tools 3 compares.
//!
//! A version is `number{.number}…{letter}{_suffix{number}}…{~hash}{-r number}`. Two versions are read side by side until
//! they differ; when one of them has a piece of another kind than the other, the kinds decide.

use super::encoder::{Cursor, Encoder};

/// What may come next, earliest first: a pre-release suffix sorts before the end of the version, all else behind it.
mod next {
    pub(super) const EARLY_SUFFIX: u8 = 1;
    pub(super) const END: u8 = 2;
    pub(super) const REVISION: u8 = 3;
    pub(super) const HASH: u8 = 4;
    pub(super) const SUFFIX_NUMBER: u8 = 5;
    pub(super) const LATE_SUFFIX: u8 = 6;
    pub(super) const LETTER: u8 = 7;
    pub(super) const NUMBER: u8 = 8;
}

const EARLY_SUFFIXES: [&str; 4] = ["alpha", "beta", "pre", "rc"];
const LATE_SUFFIXES: [&str; 5] = ["cvs", "svn", "git", "hg", "p"];

/// A number after the first that begins with a zero compares as text: `1.05` is earlier than `1.5`, `1.0` than `1.00`.
const AS_TEXT: u8 = 0;

/// Refuses what apk 3 calls invalid, but for two things that apk 2 allowed and old packages have: a number behind the letter
/// (`1.9.5p2`), and `-r` for `-r0`.
pub(super) fn key(version: &str) -> Option<Vec<u8>> {
    let mut rest = Cursor::new(version);
    let mut key = Encoder::default();

    key.number(rest.number()?);
    while rest.eat(".") {
        let number = rest.number()?;
        key.mark(next::NUMBER);
        if number.starts_with('0') {
            key.mark(AS_TEXT);
            key.text(number);
        } else {
            key.number(number);
        }
    }
    if rest.rest.starts_with(|first: char| first.is_ascii_lowercase()) {
        let (letter, behind) = rest.rest.split_at(1);
        key.mark(next::LETTER);
        key.text(letter);
        rest.rest = behind;
        if let Some(number) = rest.number() {
            key.mark(next::NUMBER);
            key.number(number);
        }
    }
    while rest.eat("_") {
        suffix(&mut key, rest.take_while(|byte| byte.is_ascii_lowercase()))?;
        if let Some(number) = rest.number() {
            key.mark(next::SUFFIX_NUMBER);
            key.number(number);
        }
    }
    if rest.eat("~") {
        let hash = rest.take_while(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hash.is_empty() {
            return None;
        }
        key.mark(next::HASH);
        key.text(hash);
    }
    if rest.eat("-r") {
        key.mark(next::REVISION);
        key.number(rest.digits());
    }
    key.mark(next::END);
    rest.is_at_end().then(|| key.finish())
}

fn suffix(key: &mut Encoder, name: &str) -> Option<()> {
    for (mark, names) in [(next::EARLY_SUFFIX, &EARLY_SUFFIXES[..]), (next::LATE_SUFFIX, &LATE_SUFFIXES[..])]
    {
        if let Some(rank) = names.iter().position(|known| *known == name) {
            key.mark(mark);
            key.mark(u8::try_from(rank).expect("there are nine suffixes"));
            return Some(());
        }
    }
    None
}
