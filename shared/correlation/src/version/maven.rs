//! Maven's order: `ComparableVersion`, as far as it is an order.
//!
//! A version is read as numbers and words. A hyphen, a word, or a change between digits and letters opens a group; dots
//! continue one. Zeros at the end of a group do not count, nor do words that say "released". A number sorts behind a
//! word, and behind a number that opens a group; a version sorts behind its words for "not yet released".
//!
//! Maven's own comparison goes in circles: 3.8 has `2.9.0.RC1` < `2.9.0` < `2.9.0-1` < `2.9.0.RC1`. No key can say that. Where
//! releases of Maven disagree about a word behind a dot, this is what Maven 4 does. Versions with nothing in the *middle*
//! (`1-0-x`, `1.ga.2`) are refused, for on those even its rule is no order.

use super::encoder::{Cursor, Encoder};

/// What may come next, earliest first. Words that mean nothing to Maven sort behind the release, among themselves as text.
mod next {
    pub(super) const KNOWN_WORD: u8 = 1;
    pub(super) const END: u8 = 2;
    pub(super) const SERVICE_PACK: u8 = 3;
    pub(super) const OTHER_WORD: u8 = 4;
    pub(super) const NUMBER_OF_NEW_GROUP: u8 = 5;
    pub(super) const NUMBER: u8 = 6;
}

/// What sorts before the release, earliest first.
const KNOWN_WORDS: [&str; 5] = ["alpha", "beta", "milestone", "rc", "snapshot"];
const RELEASED: [&str; 3] = ["final", "ga", "release"];

#[derive(Clone, Copy)]
enum Piece<'a> {
    Number(&'a str),
    Word(&'a str),
}

impl Piece<'_> {
    /// Whether a missing piece would be equal to it.
    fn is_null(self) -> bool {
        match self {
            Self::Number(digits) => digits.bytes().all(|digit| digit == b'0'),
            Self::Word(word) => RELEASED.contains(&word),
        }
    }
}

pub(super) fn key(version: &str) -> Option<Vec<u8>> {
    let version = version.to_ascii_lowercase();
    let groups = without_nothing(groups(&version)?)?;

    let mut key = Encoder::default();
    for (index, group) in groups.iter().enumerate() {
        for (place, piece) in group.iter().enumerate() {
            match *piece {
                Piece::Number(digits) => {
                    let opens_group = index > 0 && place == 0;
                    key.mark(if opens_group { next::NUMBER_OF_NEW_GROUP } else { next::NUMBER });
                    key.number(digits);
                }
                Piece::Word(word) => write_word(&mut key, word),
            }
        }
    }
    key.mark(next::END);
    Some(key.finish())
}

/// The groups without what does not count, or `None` when that would leave a hole which Maven fills in one way here and in
/// another there. A word for "released" between words, as in `4.2.0.Final-redhat-1`, leaves none.
fn without_nothing(groups: Vec<Vec<Piece<'_>>>) -> Option<Vec<Vec<Piece<'_>>>> {
    let mut kept = Vec::new();
    let mut skipped = None;
    for (index, mut group) in groups.into_iter().enumerate() {
        let last = group.last().copied();
        let length = group.iter().rposition(|piece| !piece.is_null()).map_or(0, |position| position + 1);
        group.truncate(length);
        match (skipped, group.first()) {
            (_, None) if index > 0 => {
                skipped = last;
                continue;
            }
            (Some(Piece::Number(_)), _) | (Some(Piece::Word(_)), Some(Piece::Number(_))) => return None,
            (_, Some(first @ Piece::Word(_))) if first.is_null() => return None,
            _ => {}
        }
        skipped = None;
        kept.push(group);
    }
    Some(kept)
}

fn write_word(key: &mut Encoder, word: &str) {
    if let Some(rank) = KNOWN_WORDS.iter().position(|known| *known == word) {
        key.mark(next::KNOWN_WORD);
        key.mark(u8::try_from(rank).expect("there are five known words"));
    } else if word == "sp" {
        key.mark(next::SERVICE_PACK);
    } else {
        key.mark(next::OTHER_WORD);
        key.text(word);
    }
}

/// The pieces of a lower-case version, group by group. A word opens a group even behind a dot, as Maven 4 has it.
fn groups(version: &str) -> Option<Vec<Vec<Piece<'_>>>> {
    let mut rest = Cursor::new(version);
    let mut groups = vec![Vec::new()];
    let mut opens_group = false;
    loop {
        let piece = match rest.number() {
            Some(digits) => Piece::Number(digits),
            None => word(&mut rest)?,
        };
        let is_word = matches!(piece, Piece::Word(_));
        let is_first = groups.len() == 1 && groups[0].is_empty();
        if (opens_group || is_word) && !is_first {
            groups.push(Vec::new());
        }
        groups.last_mut().expect("it begins with one group").push(piece);
        if rest.is_at_end() {
            return Some(groups);
        }
        opens_group = !rest.eat(".");
        if opens_group {
            rest.eat("-");
        }
    }
}

/// A run of letters, with Maven's short names spelt out: `a`, `b` and `m` only right before a digit, `cr` always.
fn word<'a>(rest: &mut Cursor<'a>) -> Option<Piece<'a>> {
    let word = rest.take_while(|byte| byte.is_ascii_alphabetic() || byte == b'_' || byte == b'+');
    let before_digit = rest.rest.starts_with(|next: char| next.is_ascii_digit());
    Some(Piece::Word(match word {
        "" => return None,
        "a" if before_digit => "alpha",
        "b" if before_digit => "beta",
        "m" if before_digit => "milestone",
        "cr" => "rc",
        word => word,
    }))
}
