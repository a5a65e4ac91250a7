//! The limits that every inventory is held to, and the words for what breaks them.

use std::fmt::Write as _;

use domain::inventory::{AssetIdentity, AssetKind, InstalledPackage};

use crate::InventoryError;

/// The most bytes that a report or an SBOM may have.
pub const MAX_DOCUMENT_BYTES: usize = 100 * 1024 * 1024;
/// The most packages on one asset.
pub const MAX_PACKAGES: usize = 500_000;
/// The most bytes in a name, a version or any other text of a package.
pub const MAX_TEXT_BYTES: usize = 1_024;
/// How deep objects and lists may nest. Less than what the JSON reader allows, so that ours is the error that is seen.
pub const MAX_DEPTH: usize = 100;
/// How many skipped entries are described one by one; the rest are counted.
pub const MAX_SKIPPED_LINES: usize = 1_000;

/// Refuse a document that is too large or nested too deep, before anything is allocated for it.
pub(crate) fn check_bounds(document: &'static str, bytes: &[u8]) -> Result<(), InventoryError> {
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(InventoryError::TooLarge { document, bytes: bytes.len(), limit: MAX_DOCUMENT_BYTES });
    }
    if nesting_depth(bytes) > MAX_DEPTH {
        return Err(InventoryError::TooDeep { document, limit: MAX_DEPTH });
    }
    Ok(())
}

/// How deep `{` and `[` nest outside of strings.
fn nesting_depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// What is wrong with a text of at most `limit` bytes, in words that continue "`name` …"; `None` when nothing is.
///
/// Control characters are refused because no package manager allows them and because databases and terminals choke on
/// them; every other character is somebody's data, however odd it looks.
pub(crate) fn text_problem(text: &str, limit: usize) -> Option<String> {
    if text.trim().is_empty() {
        return Some("is empty".into());
    }
    if text.len() > limit {
        return Some(format!("is {} bytes long, the limit is {limit}", text.len()));
    }
    let control = text.chars().find(|character| character.is_control())?;
    Some(format!("contains the control character U+{:04X}", u32::from(control)))
}

/// What is wrong with a package, in words; `None` when nothing is. An optional text may be blank: that is none.
pub(crate) fn package_problem(package: &InstalledPackage) -> Option<String> {
    let required = [("name", &package.name), ("version", &package.version)];
    let optional = [
        ("architecture", &package.architecture),
        ("source_name", &package.source_name),
        ("source_version", &package.source_version),
        ("ecosystem", &package.ecosystem),
        ("purl", &package.purl),
    ];
    let stated = optional.into_iter().filter_map(|(field, text)| Some((field, text.as_ref()?)));
    let stated = stated.filter(|(_, text)| !text.trim().is_empty());
    required.into_iter().chain(stated).find_map(|(field, text)| {
        let problem = text_problem(text, MAX_TEXT_BYTES)?;
        Some(format!("its `{field}` {problem}"))
    })
}

/// The asset that an SBOM is about. `remedy` is for a name that cannot be kept.
pub(crate) fn software(
    hostname: String,
    external_id: Option<String>,
    remedy: &'static str,
) -> Result<AssetIdentity, InventoryError> {
    for text in [Some(&hostname), external_id.as_ref()].into_iter().flatten() {
        if let Some(rule) = text_problem(text, MAX_TEXT_BYTES) {
            let what = "the name of the SBOM's subject";
            return Err(InventoryError::Invalid { what, value: shown(text), rule, remedy });
        }
    }
    Ok(AssetIdentity {
        kind: AssetKind::Software,
        hostname,
        external_id,
        os: None,
        kernel: None,
        architecture: None,
    })
}

/// A value as it may appear in a message: shortened, and with control characters made visible.
pub(crate) fn shown(value: &str) -> String {
    const MAX_CHARACTERS: usize = 80;
    let mut shown = String::new();
    for character in value.chars().take(MAX_CHARACTERS) {
        if character.is_control() {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    if value.chars().nth(MAX_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

/// What was left out of an inventory: the first [`MAX_SKIPPED_LINES`] described, the others counted.
#[derive(Debug, Default)]
pub(crate) struct Skipped {
    lines: Vec<String>,
    beyond: usize,
}

impl Skipped {
    pub(crate) fn push(&mut self, line: impl FnOnce() -> String) {
        if self.lines.len() < MAX_SKIPPED_LINES {
            self.lines.push(line());
        } else {
            self.beyond += 1;
        }
    }

    /// How many entries were left out.
    pub(crate) fn count(&self) -> usize {
        self.lines.len() + self.beyond
    }

    /// The first reason given.
    pub(crate) fn first(&self) -> Option<&str> {
        self.lines.first().map(String::as_str)
    }

    pub(crate) fn into_lines(mut self) -> Vec<String> {
        if self.beyond > 0 {
            self.lines.push(format!("{} more entries were skipped", self.beyond));
        }
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_but_not_those_in_strings() {
        assert_eq!(nesting_depth(br#"{"a":[{"b":1}]}"#), 3);
        assert_eq!(nesting_depth(br#"{"a":"[[[[\"[[[["}"#), 1);
        assert_eq!(nesting_depth(b"]]]]["), 1);
    }

    #[test]
    fn odd_but_legal_text_is_data() {
        for text in ["=cmd|' /C calc'!A0", "<b>x</b>", "\u{202e}gnp.exe", "zero\u{200b}width", "名前"] {
            assert_eq!(text_problem(text, MAX_TEXT_BYTES), None, "{text:?}");
        }
    }

    #[test]
    fn a_text_that_breaks_a_rule_is_told_which() {
        assert_eq!(text_problem(" ", 10).as_deref(), Some("is empty"));
        assert_eq!(text_problem("abcdef", 5).as_deref(), Some("is 6 bytes long, the limit is 5"));
        assert_eq!(text_problem("a\0b", 5).as_deref(), Some("contains the control character U+0000"));
    }

    #[test]
    fn endless_skipped_entries_are_counted_beyond_a_thousand() {
        let mut skipped = Skipped::default();
        (0..1_500).for_each(|index| skipped.push(|| format!("entry {index}")));
        assert_eq!(skipped.count(), 1_500);
        let lines = skipped.into_lines();
        assert_eq!(lines.len(), 1_001);
        assert_eq!(lines[1_000], "500 more entries were skipped");
    }
}
