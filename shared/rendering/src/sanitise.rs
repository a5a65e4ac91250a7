//! Make a stranger's text safe to set on a page: everything visible, nothing too long, no word wider than its line.
//!
//! Typst needs no escaping, since data never becomes source. What remains is what a page alone suffers from: code
//! points without a glyph (an error under PDF/A), code points without a shape (spoofing: bidi overrides, zero-width
//! and control characters), and strings that would overflow. Start at [`printable`].

use std::fmt::Write;

use typst::text::is_default_ignorable;
use unicode_normalization::UnicodeNormalization;

use crate::fonts::FONTS;

/// Where a text will stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Line feeds break the line; otherwise they are shown as `↵`.
    pub(crate) multiline: bool,
    /// Longer texts end in a note that says how much is missing.
    pub(crate) max_characters: usize,
    /// Characters that surely fit on one line. Words that may be wider get places to break.
    pub(crate) line: usize,
}

/// Where a line may be broken without leaving a trace.
pub(crate) const BREAK: char = '\u{200b}';
/// Names this long exist; a longer unbroken word is noise or an attack.
const MAX_WORD: usize = 240;
/// A line feed uses up as much of the limit as a line of text would, which is this at most.
const MAX_LINE_FEED_COST: usize = 80;
/// Real scripts stack two or three marks on a letter.
const MAX_MARKS: usize = 4;
/// Code points spelled out in one marker.
const MAX_SPELLED: usize = 8;

/// The text as it can be printed at the given place.
pub(crate) fn printable(text: &str, place: Place) -> String {
    with_breaks(&visible(text, place), place.line)
}

/// As [`printable`], for text whose words are known to fit on a line.
pub(crate) fn unbroken(text: &str, place: Place) -> String {
    visible(text, place)
}

/// As [`printable`], for text in a drawing, where a mark that does not melt into its letter would become a glyph without a
/// code point. PDF/A-2a forbids those (ISO 19005-2, 6.2.11.7.2), so such marks are spelled out.
pub(crate) fn drawable(text: &str, place: Place) -> String {
    let composed: String = text.nfc().collect();
    let mut drawn = String::with_capacity(composed.len());
    for character in printable(&composed, place).chars() {
        if is_mark(character) {
            let _ = write!(drawn, "⟨U+{:04X}⟩", u32::from(character));
        } else {
            drawn.push(character);
        }
    }
    drawn
}

/// Replace what cannot be shown by markers such as `⟨U+202E⟩` and cut what is too long.
fn visible(text: &str, place: Place) -> String {
    let mut page = Page { line: place.line.min(MAX_LINE_FEED_COST), ..Page::default() };
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if page.used >= place.max_characters {
            let missing = characters.count() + 1;
            page.flush_hidden();
            let _ = write!(page.text, "… [{missing} more characters]");
            return page.text;
        }
        match character {
            '\r' if characters.peek() == Some(&'\n') => {}
            // Asks for a symbol in colour or without; there is one look here.
            '\u{fe0e}' | '\u{fe0f}' if page.ends_in_symbol() => {}
            '\n' | '\r' if place.multiline => page.line_feed(),
            '\n' | '\r' => page.show('↵'),
            '\t' if place.multiline => page.show_all("    "),
            '\t' => page.show('⇥'),
            other if other.is_whitespace() && !is_separator(other) && !other.is_control() => page.show(' '),
            other if !is_showable(other) || (is_mark(other) && !page.takes(other)) => page.hide(other),
            _ if page.word >= MAX_WORD => {
                let rest = characters.clone().take_while(|next| !next.is_whitespace()).count();
                page.flush_hidden();
                let _ = write!(page.text, "… [{} more characters]", rest + 1);
                page.used += 24;
                page.word = 0;
                for _ in 0..rest {
                    characters.next();
                }
            }
            other => page.show(other),
        }
    }
    page.flush_hidden();
    page.text
}

/// What has been written so far.
#[derive(Default)]
struct Page {
    text: String,
    /// Characters of a line.
    line: usize,
    /// Characters against the limit.
    used: usize,
    /// Length of the word at the end.
    word: usize,
    /// The last letter with its combining marks.
    cluster: Vec<char>,
    /// Line feeds at the end.
    feeds: usize,
    /// Code points waiting for their common marker.
    hidden: Vec<char>,
}

impl Page {
    fn show(&mut self, character: char) {
        self.flush_hidden();
        self.text.push(character);
        self.used += 1;
        self.feeds = 0;
        self.word = if character == ' ' { 0 } else { self.word + 1 };
        if !is_mark(character) {
            self.cluster.clear();
        }
        self.cluster.push(character);
    }

    /// Whether the last thing shown is a pictograph or an arrow.
    fn ends_in_symbol(&self) -> bool {
        let is_symbol =
            |character: &char| matches!(character, '\u{2190}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}');
        self.hidden.is_empty() && self.cluster.last().is_some_and(is_symbol)
    }

    /// Whether a mark can join the last letter. Alone it would join whatever stands before this text.
    fn takes(&self, mark: char) -> bool {
        let together = [self.cluster.as_slice(), &[mark]].concat();
        self.hidden.is_empty()
            && (2..=MAX_MARKS + 1).contains(&together.len())
            && FONTS.cover_together(&together)
    }

    fn show_all(&mut self, characters: &str) {
        characters.chars().for_each(|character| self.show(character));
    }

    /// At most one empty line in a row.
    fn line_feed(&mut self) {
        self.flush_hidden();
        if self.feeds < 2 {
            self.text.push('\n');
            self.used += self.line;
        }
        self.feeds += 1;
        self.word = 0;
        self.cluster.clear();
    }

    fn hide(&mut self, character: char) {
        self.used += if self.hidden.len() < MAX_SPELLED { 7 } else { 0 };
        self.feeds = 0;
        self.hidden.push(character);
    }

    fn flush_hidden(&mut self) {
        if self.hidden.is_empty() {
            return;
        }
        let spelled: Vec<String> = self
            .hidden
            .iter()
            .take(MAX_SPELLED)
            .map(|&character| format!("U+{:04X}", u32::from(character)))
            .collect();
        self.text.push('⟨');
        self.text.push_str(&spelled.join(" "));
        if self.hidden.len() > MAX_SPELLED {
            let _ = write!(self.text, " and {} more", self.hidden.len() - MAX_SPELLED);
        }
        self.text.push('⟩');
        self.hidden.clear();
        self.cluster.clear();
    }
}

fn is_showable(character: char) -> bool {
    FONTS.cover(character) && !is_hidden(character) && !is_private(character)
}

/// Control characters, bidi controls, zero-width characters: whatever acts without being seen.
fn is_hidden(character: char) -> bool {
    character.is_control() || is_default_ignorable(character) || is_separator(character)
}

/// Characters that would hide or reorder text, spelled out.
pub(crate) fn reveal(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\n' | '\r' | '\t') || !is_hidden(character) {
            shown.push(character);
        } else {
            let _ = write!(shown, "⟨U+{:04X}⟩", u32::from(character));
        }
    }
    shown
}

/// Line and paragraph separators and interlinear annotation: they steer layout and have no shape.
fn is_separator(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}')
}

/// Private use means nothing to another reader; PDF/A-2a forbids it (ISO 19005-2, 6.2.11.7.3).
fn is_private(character: char) -> bool {
    matches!(character, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..)
}

/// Combining marks of the scripts that the bundled fonts cover.
fn is_mark(character: char) -> bool {
    matches!(character,
        '\u{0300}'..='\u{036f}' | '\u{0483}'..='\u{0489}' | '\u{0591}'..='\u{05c7}' | '\u{0610}'..='\u{061a}'
        | '\u{064b}'..='\u{065f}' | '\u{0670}' | '\u{06d6}'..='\u{06ed}' | '\u{07eb}'..='\u{07f3}' | '\u{0eb1}'
        | '\u{0eb4}'..='\u{0ebc}' | '\u{0ec8}'..='\u{0ecd}' | '\u{2de0}'..='\u{2dff}' | '\u{a66f}'..='\u{a69f}'
        | '\u{fb1e}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}'
        | '\u{fe20}'..='\u{fe2f}')
}

/// Put invisible break opportunities into words that may be wider than the line: after punctuation where there is
/// some, and by force where there is none. Words that fit stay whole and can be searched for.
fn with_breaks(text: &str, line: usize) -> String {
    let mut broken = String::with_capacity(text.len());
    for word in text.split_inclusive([' ', '\n']) {
        if width(word) <= line {
            broken.push_str(word);
            continue;
        }
        for run in word.split_inclusive(is_break_opportunity) {
            if !run.starts_with(is_mark) && broken.ends_with(is_break_opportunity) {
                broken.push(BREAK);
            }
            push_run(&mut broken, run, line);
        }
    }
    broken
}

/// Write letters without punctuation, with breaks at fixed distances if they are wider than the line.
fn push_run(broken: &mut String, run: &str, line: usize) {
    let step = if width(run) > line { (line / 2).max(1) } else { usize::MAX };
    let mut since_break = 0;
    for character in run.chars() {
        if since_break >= step && !is_mark(character) {
            broken.push(BREAK);
            since_break = 0;
        }
        broken.push(character);
        since_break += 1;
    }
}

fn is_break_opportunity(character: char) -> bool {
    matches!(
        character,
        '/' | '\\' | '.' | ',' | ';' | ':' | '-' | '_' | '=' | '&' | '?' | '@' | '+' | '|' | ')' | '⟩'
    )
}

/// Width in average lower-case letters, rounded up: capitals and a few others are half as wide again, ideographs twice.
pub(crate) fn width(text: &str) -> usize {
    let halves: usize = text
        .chars()
        .map(|character| match character {
            ' ' | '\n' => 0,
            '\u{1100}'..='\u{11ff}'
            | '\u{2e80}'..='\u{d7ff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{ff00}'..='\u{ff60}' => 4,
            'm' | 'w' | '@' | '%' | '—' | '…' | '⟨' | '⟩' => 3,
            other if other.is_ascii_uppercase() || !other.is_ascii() => 3,
            _ => 2,
        })
        .sum();
    halves.div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELL: Place = Place { multiline: false, max_characters: 400, line: 20 };
    const PROSE: Place = Place { multiline: true, max_characters: 12_000, line: 60 };

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in
            ["openssl 3.0.11-1~deb12u2", "#eval(\"1\") $x$ *b* <script>", "Größe, Ωμέγα, Жук, שלום", "a\n\nb"]
        {
            assert_eq!(printable(text, PROSE), text);
        }
    }

    #[test]
    fn characters_that_hide_or_reorder_text_are_spelled_out() {
        assert_eq!(printable("abc\u{202e}fdp", PROSE), "abc⟨U+202E⟩fdp");
        assert_eq!(printable("pay\u{200b}pal\u{feff}", PROSE), "pay⟨U+200B⟩pal⟨U+FEFF⟩");
        assert_eq!(printable("\0\u{1b}[2J\u{85}", PROSE), "⟨U+0000 U+001B⟩[2J⟨U+0085⟩");
        for character in ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}') {
            assert_eq!(printable(&character.to_string(), PROSE), format!("⟨U+{:04X}⟩", u32::from(character)));
        }
    }

    #[test]
    fn code_points_without_a_glyph_are_spelled_out_together_and_counted() {
        assert_eq!(printable("𓀀𓀁 ok", PROSE), "⟨U+13000 U+13001⟩ ok");
        assert_eq!(
            printable(&"𓀀".repeat(100), PROSE),
            "⟨U+13000 U+13000 U+13000 U+13000 U+13000 U+13000 U+13000 U+13000 and 92 more⟩"
        );
    }

    #[test]
    fn a_wish_for_a_symbol_in_colour_is_passed_over_and_elsewhere_spelled_out() {
        assert_eq!(printable("⚠\u{fe0f} 📦\u{fe0f}", PROSE), "⚠ 📦");
        assert_eq!(printable("a\u{fe0f}b", PROSE), "a⟨U+FE0F⟩b");
    }

    #[test]
    fn line_feeds_break_prose_and_are_visible_in_a_cell() {
        assert_eq!(printable("a\r\nb\rc\n\n\n\nd", PROSE), "a\nb\nc\n\nd");
        assert_eq!(printable("a\r\nb\t=1", CELL), "a↵b⇥=1");
    }

    #[test]
    fn a_word_of_ten_thousand_characters_is_cut_with_a_note_and_can_be_broken() {
        let shown = printable(&format!("{} end", "a".repeat(10_000)), PROSE);
        assert!(shown.ends_with("… [9760 more characters] end"), "{shown}");
        let longest = shown.split([' ', BREAK]).map(|piece| piece.chars().count()).max();
        assert!(longest <= Some(60), "{longest:?}");
    }

    #[test]
    fn a_text_over_the_limit_says_how_much_is_missing() {
        let shown = printable(&"word ".repeat(200), CELL);
        assert!(shown.ends_with("… [600 more characters]"), "{shown}");
    }

    #[test]
    fn many_short_lines_count_as_lines() {
        let shown = printable(&"a\n".repeat(10_000), PROSE);
        assert!(shown.lines().count() < 200, "{}", shown.lines().count());
    }

    #[test]
    fn a_long_name_may_break_after_its_punctuation_only() {
        assert_eq!(
            printable("org.apache.logging.log4j:log4j-core", CELL).replace(BREAK, "|"),
            "org.|apache.|logging.|log4j:|log4j-|core"
        );
    }

    #[test]
    fn a_mark_without_a_letter_of_its_own_is_spelled_out() {
        assert_eq!(printable("\u{301}a", PROSE), "⟨U+0301⟩a");
        assert_eq!(printable("𓀀\u{301}a", PROSE), "⟨U+13000 U+0301⟩a");
        assert_eq!(printable("e\u{301}", PROSE), "e\u{301}");
    }

    #[test]
    fn a_drawing_keeps_the_marks_that_melt_into_their_letter_and_spells_out_the_others() {
        let place = Place { line: usize::MAX, ..CELL };
        assert_eq!(drawable("cafe\u{301} и\u{306}", place), "café й");
        assert_eq!(drawable("q\u{303} e\u{301}\u{301}", place), "q⟨U+0303⟩ é⟨U+0301⟩");
    }

    #[test]
    fn marks_stacked_without_end_are_spelled_out() {
        let shown = printable(&format!("a{}", "\u{0301}".repeat(20)), PROSE);
        assert!(shown.starts_with("a\u{0301}\u{0301}\u{0301}\u{0301}⟨U+0301"), "{shown}");
    }
}
