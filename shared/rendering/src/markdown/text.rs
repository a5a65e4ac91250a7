//! Words as Markdown: everything that would be markup is escaped, so that it reads as itself.

use domain::document::{Inline, Link};

use crate::{prepare::is_safe_link, sanitise::reveal};

pub(super) fn inlines(content: &[Inline]) -> String {
    content
        .iter()
        .map(|inline| match inline {
            Inline::Text(text) => escape(text),
            Inline::Strong(text) => wrap("**", text),
            Inline::Emphasis(text) => wrap("*", text),
            Inline::Code(text) => code(text),
            Inline::Link(target) => link(target),
            Inline::Reference(reference) => wrap("*", &reference.text),
        })
        .collect()
}

/// Blanks inside the markers would keep Markdown from seeing them.
pub(super) fn wrap(marker: &str, text: &str) -> String {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return escape(text);
    }
    let (before, after) = text.split_once(trimmed).unwrap_or_default();
    format!("{before}{marker}{}{marker}{after}", escape(trimmed))
}

pub(super) fn link(link: &Link) -> String {
    let text = if link.text.trim().is_empty() { &link.url } else { &link.text };
    if is_safe_link(&link.url) {
        let url = link.url.replace('<', "%3C").replace('>', "%3E").replace('\\', "%5C").replace('|', "%7C");
        format!("[{}](<{url}>)", escape(text))
    } else if *text == link.url {
        escape(text)
    } else {
        format!("{} ({})", escape(text), escape(&link.url))
    }
}

/// A code span, fenced by one backtick more than it contains in a row, and padded where it touches the fence.
pub(super) fn code(text: &str) -> String {
    let text = reveal(text).replace(['\n', '\r'], " ").replace('|', "\\|");
    if text.trim().is_empty() {
        return text;
    }
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let padding = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{padding}{text}{padding}{fence}")
}

/// Text that reads as itself in a paragraph, a heading and a table cell.
pub(super) fn escape(text: &str) -> String {
    let text = reveal(&text.replace("\r\n", "\n"));
    let mut escaped = String::with_capacity(text.len() + 8);
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let mut characters = text.chars().enumerate().peekable();
    while let Some((index, character)) = characters.next() {
        let ends_word = characters.peek().is_none_or(|(_, next)| next.is_whitespace());
        match character {
            '\n' | '\r' => escaped.push_str("<br>"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '~' | '&' | '$' | '!' | '{'
            | '}' => {
                escaped.extend(['\\', character]);
            }
            // At the start these would begin a list, a heading or a rule.
            '-' | '+' | '=' | ':' if index == 0 => escaped.extend(['\\', character]),
            '.' | ')' if digits > 0 && index == digits && ends_word => escaped.extend(['\\', character]),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_html_read_as_text() {
        assert_eq!(escape("<img src=x> [a](b) *c* | d"), "\\<img src=x\\> \\[a\\](b) \\*c\\* \\| d");
        assert_eq!(escape("- a"), "\\- a");
        assert_eq!(escape("1. a"), "1\\. a");
        assert_eq!(escape("2.36-9+deb12u1"), "2.36-9+deb12u1");
        assert_eq!(escape("a\r\nb\u{202e}"), "a<br>b⟨U+202E⟩");
    }

    #[test]
    fn code_may_contain_backticks() {
        assert_eq!(code("a ``b`` | c"), "```a ``b`` \\| c```");
        assert_eq!(code("`a"), "`` `a ``");
    }

    #[test]
    fn only_harmless_addresses_are_linked() {
        let to = |url: &str| link(&Link { text: "x".into(), url: url.into() });
        assert_eq!(to("https://e.example/>)a"), "[x](<https://e.example/%3E)a>)");
        assert_eq!(to("javascript:alert(1)"), "x (javascript:alert(1))");
    }

    #[test]
    fn strong_text_keeps_its_outer_blanks_outside() {
        assert_eq!(wrap("**", " a "), " **a** ");
    }
}
