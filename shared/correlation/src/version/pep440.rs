//! Python's order: PEP 440, appendix B for what is read, "Summary of permitted suffixes and relative ordering" for the order.
//!
//! `[epoch!]release[pre][post][dev][+local]`. Trailing zeros of the release do not count. Within one release, development
//! builds come first, then alpha, beta and candidate, the release itself, and its post-releases; within each of those, its own
//! development builds come first.
//!
//! Versions from before PEP 440 (`0.9-ivysaur`) are refused: they once sorted before everything else, which says nothing
//! about whether a fix is in them.

use super::encoder::{Cursor, Encoder};

const RELEASE_END: u8 = 1;
const RELEASE_NUMBER: u8 = 2;

/// Where a release stands among those with the same numbers.
mod pre {
    pub(super) const NONE_BUT_DEV: u8 = 0;
    pub(super) const ALPHA: u8 = 1;
    pub(super) const BETA: u8 = 2;
    pub(super) const CANDIDATE: u8 = 3;
    pub(super) const NONE: u8 = 4;
}

const NO_POST: u8 = 0;
const POST: u8 = 1;

const DEV: u8 = 0;
const NO_DEV: u8 = 1;

mod local {
    pub(super) const END: u8 = 0;
    pub(super) const TEXT: u8 = 1;
    pub(super) const NUMBER: u8 = 2;
}

/// Spellings of the pre-release phases; a spelling comes before its own beginnings.
const PHASES: [(&str, u8); 8] = [
    ("alpha", pre::ALPHA),
    ("a", pre::ALPHA),
    ("beta", pre::BETA),
    ("b", pre::BETA),
    ("preview", pre::CANDIDATE),
    ("pre", pre::CANDIDATE),
    ("c", pre::CANDIDATE),
    ("rc", pre::CANDIDATE),
];

pub(super) fn key(version: &str) -> Option<Vec<u8>> {
    let version = version.to_ascii_lowercase();
    let mut rest = Cursor::new(version.strip_prefix('v').unwrap_or(&version));
    let mut key = Encoder::default();

    release(&mut rest, &mut key)?;
    let phase = word(&mut rest, &PHASES);
    let post = post_number(&mut rest)
        .or_else(|| word(&mut rest, &[("post", ()), ("rev", ()), ("r", ())]).map(|(_, n)| n));
    let dev = word(&mut rest, &[("dev", ())]).map(|(_, number)| number);

    match (phase, post, dev) {
        (Some((phase, number)), _, _) => {
            key.mark(phase);
            key.number(number);
        }
        (None, None, Some(_)) => key.mark(pre::NONE_BUT_DEV),
        (None, _, _) => key.mark(pre::NONE),
    }
    optional(&mut key, post, POST, NO_POST);
    optional(&mut key, dev, DEV, NO_DEV);
    local_label(&mut rest, &mut key)?;
    rest.is_at_end().then(|| key.finish())
}

fn optional(key: &mut Encoder, number: Option<&str>, present: u8, absent: u8) {
    match number {
        Some(number) => {
            key.mark(present);
            key.number(number);
        }
        None => key.mark(absent),
    }
}

/// `[epoch!]number{.number}…`
fn release(rest: &mut Cursor<'_>, key: &mut Encoder) -> Option<()> {
    let mut first = rest.number()?;
    let mut epoch = "0";
    if rest.eat("!") {
        epoch = first;
        first = rest.number()?;
    }
    let mut numbers = vec![first];
    while rest
        .rest
        .strip_prefix('.')
        .is_some_and(|behind| behind.starts_with(|next: char| next.is_ascii_digit()))
    {
        rest.eat(".");
        numbers.push(rest.digits());
    }
    while numbers.last().is_some_and(|number| number.bytes().all(|digit| digit == b'0')) {
        numbers.pop();
    }
    key.number(epoch);
    for number in numbers {
        key.mark(RELEASE_NUMBER);
        key.number(number);
    }
    key.mark(RELEASE_END);
    Some(())
}

/// `-number`, the short spelling of a post-release.
fn post_number<'a>(rest: &mut Cursor<'a>) -> Option<&'a str> {
    let mut ahead = Cursor::new(rest.rest.strip_prefix('-')?);
    let number = ahead.number()?;
    *rest = ahead;
    Some(number)
}

/// `[separator]word[separator][number]`: which of `words` came, and its number (none: no digits).
fn word<'a, T: Copy>(rest: &mut Cursor<'a>, words: &[(&str, T)]) -> Option<(T, &'a str)> {
    let mut ahead = Cursor::new(rest.rest.strip_prefix(['-', '_', '.']).unwrap_or(rest.rest));
    let (_, meaning) = words.iter().find(|(word, _)| ahead.eat(word))?;
    ahead.rest = ahead.rest.strip_prefix(['-', '_', '.']).unwrap_or(ahead.rest);
    let number = ahead.digits();
    *rest = ahead;
    Some((*meaning, number))
}

/// `[+label{separator label}…]`: labels of digits compare as numbers and sort behind others; more labels sort behind fewer.
fn local_label(rest: &mut Cursor<'_>, key: &mut Encoder) -> Option<()> {
    if rest.eat("+") {
        loop {
            let label = rest.take_while(|byte| byte.is_ascii_alphanumeric());
            if label.is_empty() {
                return None;
            } else if label.bytes().all(|byte| byte.is_ascii_digit()) {
                key.mark(local::NUMBER);
                key.number(label);
            } else {
                key.mark(local::TEXT);
                key.text(label);
            }
            if !["-", "_", "."].into_iter().any(|separator| rest.eat(separator)) {
                break;
            }
        }
    }
    key.mark(local::END);
    Some(())
}
