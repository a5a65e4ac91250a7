//! What workbooks and word processor files have in common: text that their XML can carry, and words without their marks.

use std::borrow::Cow;

use domain::document::{Branding, Document, Inline, Link, ListItem};

use crate::{RenderError, figure, image, marking, prepare::is_safe_link, sanitise::reveal};

/// The text as it can be written: line feeds and tabs kept, everything that hides or that XML forbids spelled out
/// (XML 1.0, 2.2: U+FFFE and U+FFFF; programs call the whole file damaged for one of them).
pub(crate) fn literal(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')) {
        return Cow::Borrowed(text);
    }
    let text = reveal(&text.replace("\r\n", "\n").replace('\r', "\n"));
    Cow::Owned(text.replace('\u{fffe}', "⟨U+FFFE⟩").replace('\u{ffff}', "⟨U+FFFF⟩"))
}

/// The words of a run, with the addresses of its links, which plain text would lose.
pub(crate) fn plain(content: &[Inline]) -> String {
    content
        .iter()
        .map(|inline| match inline {
            Inline::Text(text) | Inline::Strong(text) | Inline::Emphasis(text) | Inline::Code(text) => {
                text.clone()
            }
            Inline::Link(link) => with_address(link),
            Inline::Reference(reference) => reference.text.clone(),
        })
        .collect()
}

/// `text (address)`, or one of them where there is no other.
pub(crate) fn with_address(Link { text, url }: &Link) -> String {
    match (text.trim().is_empty(), url.is_empty() || text == url) {
        (true, _) => url.clone(),
        (false, true) => text.clone(),
        (false, false) => format!("{text} ({url})"),
    }
}

/// What a reader clicks on, and the address if it may be clicked.
pub(crate) fn link_of(link: &Link) -> (String, Option<&str>) {
    if is_safe_link(&link.url) {
        let text = if link.text.trim().is_empty() { &link.url } else { &link.text };
        return (text.clone(), Some(&link.url));
    }
    (with_address(link), None)
}

/// Points and the points below them as lines, indented by their depth.
pub(crate) fn outline(items: &[ListItem], ordered: bool) -> String {
    fn write(items: &[ListItem], ordered: bool, depth: usize, lines: &mut Vec<String>) {
        for (index, item) in items.iter().enumerate() {
            let marker = if ordered { format!("{}.", index + 1) } else { "•".to_owned() };
            lines.push(format!("{}{marker} {}", "  ".repeat(depth.min(8)), plain(&item.content)));
            write(&item.items, ordered, depth + 1, lines);
        }
    }
    let mut lines = Vec::new();
    write(items, ordered, 0, &mut lines);
    lines.join("\n")
}

/// The words at the head and foot of every page.
pub(crate) fn banner(document: &Document) -> Option<String> {
    marking::banner(document).map(|banner| literal(&banner).into_owned())
}

/// A picture in pixels, which every program shows.
pub(crate) struct Pixels {
    pub(crate) png: Vec<u8>,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) alt: String,
}

impl Pixels {
    /// A drawing at twice its size, so that it stays sharp in print.
    pub(crate) fn of_drawing(svg: &str, alt: &str) -> Result<Self, RenderError> {
        Self::of_png(figure::rasterise(svg, 2.0)?, alt).map_err(|message| RenderError::Picture { message })
    }

    /// A stranger's picture; none when it cannot be shown.
    pub(crate) fn of_image(image: &domain::document::Image) -> Option<Self> {
        let image = image::usable(image)?;
        let png = match image.format {
            domain::document::ImageFormat::Png => image.data,
            domain::document::ImageFormat::Svg => {
                figure::rasterise(std::str::from_utf8(&image.data).ok()?, 2.0).ok()?
            }
        };
        Self::of_png(png, &image.alt).ok()
    }

    fn of_png(png: Vec<u8>, alt: &str) -> Result<Self, String> {
        let [width, height] = figure::check_png(&png)?;
        Ok(Self { png, width, height, alt: literal(alt).into_owned() })
    }

    /// The largest size within the bounds that keeps the proportions.
    pub(crate) fn within(&self, width: f64, height: f64) -> [f64; 2] {
        let [own_width, own_height] = [f64::from(self.width.max(1)), f64::from(self.height.max(1))];
        let factor = (width / own_width).min(height / own_height);
        [own_width * factor, own_height * factor]
    }
}

/// The mark on the first page.
pub(crate) fn logo(document: &Document, branding: &Branding) -> Option<Pixels> {
    document.cover.logo.as_ref().or(branding.logo.as_ref()).and_then(Pixels::of_image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_its_lines_and_spells_out_what_xml_forbids() {
        assert_eq!(literal("=1+1\n"), "=1+1\n");
        assert_eq!(literal("a\r\nb\rc\0\u{fffe}\u{202e}é"), "a\nb\nc⟨U+0000⟩⟨U+FFFE⟩⟨U+202E⟩é");
    }

    #[test]
    fn an_address_that_must_not_be_clicked_stays_in_the_text() {
        let link = |text: &str, url: &str| Link { text: text.into(), url: url.into() };
        assert_eq!(link_of(&link("x", "javascript:alert(1)")), ("x (javascript:alert(1))".to_owned(), None));
        assert_eq!(
            link_of(&link("", "https://e.example")),
            ("https://e.example".to_owned(), Some("https://e.example"))
        );
    }
}
