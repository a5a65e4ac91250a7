//! How keys are written: `hg_ak_` or `hg_pat_`, eight characters that name the key, `_`, thirty random ones, and six
//! of checksum.
//!
//! The prefix lets scanners of source code find a leaked key, and the checksum lets them tell it from a key of
//! somebody else without asking us; it also refuses a slip of the keyboard before the database is asked. As a
//! regular expression: `\bhg_(ak|pat)_[0-9A-Za-z]{8}_[0-9A-Za-z]{36}\b`.

use rand::Rng;
use sha2::{Digest, Sha256};
use store::api_keys::Kind;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PUBLIC_LENGTH: usize = 8;
/// 30 of 62 are 178 bits.
const SECRET_LENGTH: usize = 30;
/// 62 to the power of six is more than 2 to the power of 32.
const CHECKSUM_LENGTH: usize = 6;

/// What all keys of a kind begin with.
pub(crate) fn prefix(kind: Kind) -> &'static str {
    match kind {
        Kind::Organization => "hg_ak_",
        Kind::Personal => "hg_pat_",
    }
}

/// A new key: what is shown once, and what is kept.
pub(crate) struct NewKey {
    pub(crate) text: String,
    pub(crate) public_id: String,
    pub(crate) sha256: [u8; 32],
}

impl NewKey {
    pub(crate) fn generate(kind: Kind) -> Self {
        let public_id = random(PUBLIC_LENGTH);
        let named = format!("{}{public_id}_{}", prefix(kind), random(SECRET_LENGTH));
        let text = format!("{named}{}", checksum(&named));
        Self { sha256: Sha256::digest(&text).into(), text, public_id }
    }
}

/// A key that somebody sent, well written. Whether there is such a key is still to be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SentKey<'a> {
    pub(crate) kind: Kind,
    pub(crate) public_id: &'a str,
    pub(crate) sha256: [u8; 32],
}

/// Whether `text` means to be a key of ours, well written or not.
pub(crate) fn looks_like_one(text: &str) -> bool {
    // `rvk_` is what another of the documents calls its keys.
    ["hg_", "rvk_"].iter().any(|prefix| text.starts_with(prefix))
}

/// Reads a key, if it is one.
pub(crate) fn parse(text: &str) -> Option<SentKey<'_>> {
    let kind = Kind::ALL.into_iter().find(|kind| text.starts_with(prefix(*kind)))?;
    let (public_id, rest) = text[prefix(kind).len()..].split_once('_')?;
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let well_written = public_id.len() == PUBLIC_LENGTH
        && rest.len() == SECRET_LENGTH + CHECKSUM_LENGTH
        && plain(public_id)
        && plain(rest);
    let named = text.get(..text.len().checked_sub(CHECKSUM_LENGTH)?)?;
    (well_written && text.ends_with(&checksum(named))).then(|| SentKey {
        kind,
        public_id,
        sha256: Sha256::digest(text).into(),
    })
}

fn random(length: usize) -> String {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(length).map(char::from).collect()
}

/// CRC-32 in base 62, filled up with zeros.
fn checksum(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes()) as usize;
    let mut digits = [b'0'; CHECKSUM_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[rest % DIGITS.len()];
        rest /= DIGITS.len();
    }
    digits.map(char::from).iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_what_is_kept_of_it() {
        for kind in Kind::ALL {
            let key = NewKey::generate(kind);
            let sent = parse(&key.text).expect("well written");
            assert_eq!((sent.kind, sent.public_id, sent.sha256), (kind, key.public_id.as_str(), key.sha256));
            assert!(key.text.starts_with(prefix(kind)) && looks_like_one(&key.text));
        }
    }

    #[test]
    fn a_slip_of_the_keyboard_is_told_from_a_key() {
        let key = NewKey::generate(Kind::Organization).text;
        for at in [0, 7, 20, key.len() - 1] {
            let mut slipped = key.clone().into_bytes();
            slipped[at] = if slipped[at] == b'x' { b'y' } else { b'x' };
            assert_eq!(parse(&String::from_utf8(slipped).expect("ASCII")), None, "{at}");
        }
        for not_one in ["", "hg_ak_", "hg_pat_x", "hg_ak_ÄÖÜ", &key[..key.len() - 1], &format!("{key}0")] {
            assert_eq!(parse(not_one), None, "{not_one}");
        }
        assert_eq!(parse(&key.replacen("hg_ak_", "hg_pat_", 1)), None, "the kind is part of what is checked");
    }
}
