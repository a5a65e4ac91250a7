//! Names that Excel accepts: of sheets, and of a table's columns.

use std::collections::HashSet;

use crate::office::literal;

/// Characters of a sheet's name.
const MAX_NAME: usize = 31;
/// Characters of a column's title that a table can hold.
const MAX_TITLE: usize = 255;

/// The names that are taken.
#[derive(Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// The nearest name to `wanted` that is legal and free. Excel takes capitals for the same.
    pub(super) fn take(&mut self, wanted: &str) -> String {
        let legal: String = literal(wanted)
            .chars()
            .map(|character| match character {
                ':' | '\\' | '/' | '?' | '*' | '[' | ']' | '\n' | '\t' => ' ',
                other => other,
            })
            .collect();
        let legal = legal.trim_matches([' ', '\'']);
        // `History` is Excel's own.
        let legal = if legal.is_empty() || legal.eq_ignore_ascii_case("history") { "Sheet" } else { legal };
        let name = cut_between_words(legal, MAX_NAME);
        let free = std::iter::once(name.clone()).chain((2..).map(|number: u32| {
            let suffix = format!(" ({number})");
            cut(&name, MAX_NAME - suffix.len()) + &suffix
        }));
        let mut free = free.filter(|name| self.0.insert(name.to_lowercase()));
        free.next().unwrap_or(name)
    }
}

/// The titles as a table's header may have them: on one line, none empty, none twice.
pub(super) fn titles<'a>(wanted: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut taken = HashSet::new();
    wanted
        .enumerate()
        .map(|(index, title)| {
            let title = literal(title).replace(['\n', '\t'], " ");
            let title = if title.trim().is_empty() { format!("Column {}", index + 1) } else { title };
            let title = cut(title.trim(), MAX_TITLE);
            let free = std::iter::once(title.clone()).chain((2..).map(|number: u32| {
                let suffix = format!(" ({number})");
                cut(&title, MAX_TITLE - suffix.len()) + &suffix
            }));
            let mut free = free.filter(|title| taken.insert(title.to_lowercase()));
            free.next().unwrap_or(title)
        })
        .collect()
}

/// At most so many UTF-16 code units, which is how Excel counts, without half a character at the end.
pub(super) fn cut(text: &str, units: usize) -> String {
    let mut left = units;
    let fits = text.chars().take_while(|character| {
        let needed = character.len_utf16();
        let fits = needed <= left;
        left = left.saturating_sub(needed);
        fits
    });
    fits.collect::<String>().trim_end_matches([' ', '\'']).to_owned()
}

/// As [`cut`], behind a word where that leaves most of it.
fn cut_between_words(text: &str, units: usize) -> String {
    let cut = cut(text, units);
    let ends_a_word = text.get(cut.len()..).is_none_or(|rest| rest.is_empty() || rest.starts_with(' '));
    match cut.rfind(' ') {
        Some(space) if !ends_a_word && 2 * space > cut.len() => {
            cut[..space].trim_end_matches([' ', ',', ';', '-', '–', '\'']).to_owned()
        }
        _ => cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sheets_become_legal_and_differ_whatever_their_case() {
        let mut names = Names::default();
        assert_eq!(names.take("Open [2025/10]: all?"), "Open  2025 10   all");
        assert_eq!(names.take("OPEN  2025 10   ALL"), "OPEN  2025 10   ALL (2)");
        assert_eq!(names.take("'"), "Sheet");
        assert_eq!(names.take("History"), "Sheet (2)");
        assert_eq!(names.take(&"x".repeat(40)).len(), 31);
        assert_eq!(names.take(&"X".repeat(40)), format!("{} (2)", "X".repeat(27)));
        assert!(names.take(&"😀".repeat(40)).encode_utf16().count() <= 31);
    }

    #[test]
    fn a_long_name_ends_behind_a_word() {
        let mut names = Names::default();
        assert_eq!(names.take("Open findings, most urgent first"), "Open findings, most urgent");
        assert_eq!(names.take("Open findings, most urgent ones"), "Open findings, most urgent ones");
        assert_eq!(names.take("a word-that-is-much-longer-than-the-rest"), "a word-that-is-much-longer-than");
    }

    #[test]
    fn titles_of_columns_differ_and_are_never_empty() {
        assert_eq!(titles(["Name", "name", "", "a\nb"].into_iter()), ["Name", "name (2)", "Column 3", "a b"]);
    }
}
