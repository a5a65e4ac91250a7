//! What a spreadsheet does to text that it finds in a CSV file.

use std::borrow::Cow;

/// `text` so that no spreadsheet takes it for a formula (ASVS 1.2.10).
///
/// A cell that begins like a formula is run when the file is opened, even after blanks; a leading apostrophe makes it text. The
/// full-width signs count too: some input methods and locales treat them alike. A NUL, which ends a text for some readers, is
/// replaced by its picture.
#[must_use]
pub fn inert(text: &str) -> Cow<'_, str> {
    let text: Cow<'_, str> =
        if text.contains('\0') { text.replace('\0', "\u{2400}").into() } else { text.into() };
    let first = text.trim_start_matches([' ', '\u{a0}', '\u{feff}', '\u{200b}']).chars().next();
    let dangerous = matches!(
        first,
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '\u{2400}' | '＝' | '＋' | '－' | '＠')
    );
    if dangerous { format!("'{text}").into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_begins_like_a_formula_is_defused() {
        for text in [
            "=cmd|'/c calc'!A0",
            "+1+1",
            "-2+3",
            "@SUM(1)",
            "\t=1",
            "\r=1",
            "\0=1",
            " =1",
            "\u{feff}=1",
            "＝1",
        ] {
            assert!(inert(text).starts_with('\''), "{text:?}");
        }
    }

    #[test]
    fn ordinary_text_is_left_as_it_is() {
        for text in ["openssl", "a=b", "1.0-2", ""] {
            assert!(matches!(inert(text), Cow::Borrowed(same) if same == text), "{text:?}");
        }
    }
}
