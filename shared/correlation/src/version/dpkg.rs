//! Debian's order: `deb-version(7)`, Debian Policy section 5.6.12.
//!
//! A version is `[epoch:]upstream[-revision]`. Upstream and revision are each read as turns of a run of non-digits and a
//! run of digits. Digits compare as numbers; non-digits compare byte by byte, where `~` sorts before the end of the run, the
//! end before letters, and letters before everything else.

use super::encoder::{Cursor, Encoder};

const TILDE: u8 = 1;
const END: u8 = 2;
/// Letters stand for themselves, other characters for themselves plus this, which puts them behind the letters.
const OTHER: u8 = 0x80;

/// Refuses what dpkg refuses: an epoch that is not a number, an empty upstream version, a hyphen with no revision behind it.
pub(super) fn key(version: &str) -> Option<Vec<u8>> {
    if !version.is_ascii() {
        return None;
    }
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
    let epoch_is_number = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit());
    if !epoch_is_number || upstream.is_empty() || revision.is_empty() {
        return None;
    }
    let mut key = Encoder::default();
    key.number(epoch);
    part(&mut key, upstream);
    part(&mut key, revision);
    Some(key.finish())
}

fn part(key: &mut Encoder, text: &str) {
    let mut text = Cursor::new(text);
    while !text.is_at_end() {
        for byte in text.take_while(|byte| !byte.is_ascii_digit()).bytes() {
            key.mark(match byte {
                b'~' => TILDE,
                letter if letter.is_ascii_alphabetic() => letter,
                other => OTHER + other,
            });
        }
        key.mark(END);
        key.number(text.digits());
    }
    // The part ends where the next run of non-digits would begin: that run is empty.
    key.mark(END);
}
