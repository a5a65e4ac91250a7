//! Numbers in sentences.

/// `1 asset`, `1,014 assets`, `no asset`.
pub(super) fn counted(count: i64, one: &str, many: &str) -> String {
    match count {
        0 => format!("no {one}"),
        1 => format!("1 {one}"),
        more => format!("{} {many}", grouped(more.unsigned_abs())),
    }
}

/// `3 of 5 assets are`, `1 of 5 assets is`, `All 5 assets are`, `None of 5 assets is`: the beginning of a sentence. What is counted
/// agrees with the whole, what is said of it with the part.
pub(super) fn of_all(part: i64, whole: i64, noun: (&str, &str), verb: (&str, &str)) -> String {
    let noun = if whole == 1 { noun.0 } else { noun.1 };
    let verb = if part < 2 { verb.0 } else { verb.1 };
    let whole_told = grouped(whole.unsigned_abs());
    match part {
        0 => format!("None of {whole_told} {noun} {verb}"),
        part if part == whole && whole > 1 => format!("All {whole_told} {noun} {verb}"),
        part => format!("{} of {whole_told} {noun} {verb}", grouped(part.unsigned_abs())),
    }
}

/// The first of `list` and how many more there are of `total`.
pub(super) fn these(list: &[String], total: usize) -> String {
    const SHOWN: usize = 12;
    let shown = list.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
    match total.saturating_sub(list.len().min(SHOWN)) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

/// The beginning of a sentence.
pub(super) fn capital(text: String) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// `1,014`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).expect("digits are ASCII"))
        .collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_as_people_write_them() {
        assert_eq!(
            [grouped(0), grouped(999), grouped(1_014), grouped(1_000_000)],
            ["0", "999", "1,014", "1,000,000"]
        );
        assert_eq!(counted(0, "asset is", "assets are"), "no asset is");
        assert_eq!(counted(1, "asset is", "assets are"), "1 asset is");
        assert_eq!(counted(1_200, "asset is", "assets are"), "1,200 assets are");
        let of_all = |part, whole| of_all(part, whole, ("asset", "assets"), ("is", "are"));
        assert_eq!(of_all(0, 5), "None of 5 assets is");
        assert_eq!(of_all(1, 5), "1 of 5 assets is");
        assert_eq!(of_all(5, 5), "All 5 assets are");
        assert_eq!(of_all(1, 1), "1 of 1 asset is");
        assert_eq!(capital("no asset".into()), "No asset");
    }

    #[test]
    fn a_long_list_says_how_much_it_leaves_out() {
        let list: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        assert!(these(&list, 20).ends_with("11; and 8 more"));
        assert_eq!(these(&list[..2], 2), "0; 1");
    }
}
