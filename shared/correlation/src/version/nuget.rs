//! NuGet's order: Semantic Versioning with a fourth number, one to four of them given, regardless of case.

use super::{
    encoder::{Cursor, Encoder},
    semver,
};

pub(super) fn key(version: &str) -> Option<Vec<u8>> {
    let version = version.to_ascii_lowercase();
    let mut rest = Cursor::new(version.strip_prefix('v').unwrap_or(&version));
    let mut key = Encoder::default();
    semver::numbers(&mut rest, &mut key, 4)?;
    semver::pre_release(rest.rest, &mut key)?;
    Some(key.finish())
}
