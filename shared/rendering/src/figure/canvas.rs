//! An SVG in the making: shapes, and text that knows how wide it will be.
//!
//! Colours of paper and ink carry a class beside their value, so that a page with a dark mode can turn them over.

use std::{fmt::Write, sync::LazyLock};

use domain::document::Colour;
use typst::{layout::Abs, text::FontVariations};

use crate::{fonts::FONTS, theme};

/// What an area, a line or a letter is coloured with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Paint {
    Ink,
    Muted,
    Hairline,
    Panel,
    Paper,
    /// The organization's first colour, which a dark page shows lighter.
    Primary(Colour),
    /// Its second.
    Secondary(Colour),
    Exactly(Colour),
}

impl From<Colour> for Paint {
    fn from(colour: Colour) -> Self {
        Self::Exactly(colour)
    }
}

impl Paint {
    fn attributes(self, property: &str) -> String {
        let (name, colour) = match self {
            Self::Ink => ("ink", theme::INK),
            Self::Muted => ("muted", theme::MUTED),
            Self::Hairline => ("hairline", theme::HAIRLINE),
            Self::Panel => ("panel", theme::PANEL),
            Self::Paper => ("paper", theme::WHITE),
            Self::Primary(colour) => ("primary", colour),
            Self::Secondary(colour) => ("secondary", colour),
            Self::Exactly(colour) => return format!("{property}=\"{colour}\""),
        };
        format!("class=\"{property}-{name}\" {property}=\"{colour}\"")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// Size in points, weight, and where the given place is on the text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) size: f64,
    pub(crate) bold: bool,
    pub(crate) anchor: Anchor,
    pub(crate) paint: Paint,
}

pub(crate) const fn style(size: f64, paint: Paint) -> Style {
    Style { size, bold: false, anchor: Anchor::Start, paint }
}

impl Style {
    pub(crate) const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub(crate) const fn middle(self) -> Self {
        Self { anchor: Anchor::Middle, ..self }
    }

    pub(crate) const fn end(self) -> Self {
        Self { anchor: Anchor::End, ..self }
    }

    /// Width of a text in points.
    pub(crate) fn width(self, text: &str) -> f64 {
        text.chars().map(|character| advance(character, self.bold)).sum::<f64>() * self.size
    }

    /// The text, shortened to what fits.
    pub(crate) fn fit(self, text: &str, width: f64) -> String {
        if self.width(text) <= width {
            return text.to_owned();
        }
        let mut left = width - advance('…', self.bold) * self.size;
        let kept: String = text
            .chars()
            .take_while(|character| {
                left -= advance(*character, self.bold) * self.size;
                left >= 0.0
            })
            .collect();
        format!("{}…", kept.trim_end())
    }

    /// The text on at most so many lines; what is too long for them is shortened.
    pub(crate) fn wrap(self, text: &str, width: f64, most: usize) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let mut words = text.split_whitespace().peekable();
        while let Some(word) = words.peek() {
            let room = lines.last().map_or(0.0, |line| width - self.width(line) - self.width(" "));
            if let Some(line) = lines.last_mut().filter(|_| self.width(word) <= room) {
                line.push(' ');
                line.push_str(word);
                words.next();
            } else if lines.len() + 1 < most {
                lines.push(self.fit(word, width));
                words.next();
            } else {
                let rest: Vec<&str> = words.collect();
                lines.push(self.fit(&rest.join(" "), width));
                break;
            }
        }
        lines
    }
}

/// Advance widths of Latin letters in ems, regular and bold.
static ADVANCES: LazyLock<[Vec<f64>; 2]> = LazyLock::new(|| {
    [0, 2].map(|index| {
        let font = &FONTS.fonts[index];
        let face = font.clone().instantiate(font.info().variant, Abs::pt(10.0), &FontVariations::default());
        let units = f64::from(face.ttf().units_per_em());
        ('\0'..'\u{250}')
            .map(|character| {
                let glyph = face.ttf().glyph_index(character);
                let advance = glyph.and_then(|glyph| face.ttf().glyph_hor_advance(glyph));
                advance.map_or(0.65, |advance| f64::from(advance) / units)
            })
            .collect()
    })
});

fn advance(character: char, bold: bool) -> f64 {
    let widths = &ADVANCES[usize::from(bold)];
    widths.get(character as usize).copied().unwrap_or(match character {
        '\u{2000}'..='\u{2fff}' => 0.75,
        '\u{1100}'..='\u{11ff}' | '\u{3000}'..='\u{ffff}' | '\u{1f000}'.. => 1.05,
        _ => 0.68,
    })
}

/// Shapes so far, in points from the upper left corner.
#[derive(Debug, Default)]
pub(crate) struct Canvas {
    body: String,
}

impl Canvas {
    pub(crate) fn rect(&mut self, [x, y, width, height]: [f64; 4], radius: f64, fill: impl Into<Paint>) {
        let _ = write!(
            self.body,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{}\" {}/>",
            short(x),
            short(y),
            short(width.max(0.0)),
            short(height.max(0.0)),
            short(radius),
            fill.into().attributes("fill")
        );
    }

    pub(crate) fn line(&mut self, from: [f64; 2], to: [f64; 2], width: f64, stroke: impl Into<Paint>) {
        let _ = write!(
            self.body,
            "<path d=\"M{} {}L{} {}\" stroke-width=\"{}\" {}/>",
            short(from[0]),
            short(from[1]),
            short(to[0]),
            short(to[1]),
            short(width),
            stroke.into().attributes("stroke")
        );
    }

    pub(crate) fn dashed(&mut self, path: &str, width: f64, stroke: impl Into<Paint>) {
        let _ = write!(
            self.body,
            "<path d=\"{path}\" fill=\"none\" stroke-dasharray=\"4 3\" stroke-width=\"{}\" {}/>",
            short(width),
            stroke.into().attributes("stroke")
        );
    }

    /// A path that is filled.
    pub(crate) fn area(&mut self, path: &str, fill: impl Into<Paint>) {
        let _ = write!(self.body, "<path d=\"{path}\" {}/>", fill.into().attributes("fill"));
    }

    /// A path that is drawn along.
    pub(crate) fn stroke(&mut self, path: &str, width: f64, stroke: impl Into<Paint>) {
        let _ = write!(
            self.body,
            "<path d=\"{path}\" fill=\"none\" stroke-linejoin=\"round\" stroke-width=\"{}\" {}/>",
            short(width),
            stroke.into().attributes("stroke")
        );
    }

    /// A path that is filled and drawn along.
    pub(crate) fn shape(&mut self, path: &str, fill: impl Into<Paint>, width: f64, stroke: Colour) {
        let _ = write!(
            self.body,
            "<path d=\"{path}\" stroke=\"{stroke}\" stroke-width=\"{}\" {}/>",
            short(width),
            fill.into().attributes("fill")
        );
    }

    /// One line of text with its baseline at `y`.
    pub(crate) fn text(&mut self, x: f64, y: f64, style: Style, text: &str) {
        if text.is_empty() {
            return;
        }
        let anchor = match style.anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let weight = if style.bold { " font-weight=\"600\"" } else { "" };
        let _ = write!(
            self.body,
            "<text x=\"{}\" y=\"{}\" font-size=\"{}\"{weight}{anchor} {}>{}</text>",
            short(x),
            short(y),
            short(style.size),
            style.paint.attributes("fill"),
            escape(text)
        );
    }

    /// Large and pale words across the middle, in front of everything: areas would hide them.
    pub(crate) fn across(&mut self, [x, y]: [f64; 2], size: f64, words: &str) {
        let _ = write!(
            self.body,
            "<text transform=\"translate({} {}) rotate(-30)\" y=\"{}\" font-size=\"{}\" font-weight=\"700\" text-anchor=\"middle\" \
             opacity=\"0.1\" {}>{}</text>",
            short(x),
            short(y),
            short(size * 0.35),
            short(size),
            Paint::Ink.attributes("fill"),
            escape(words)
        );
    }

    /// A finished picture within this one.
    pub(crate) fn drawing(&mut self, x: f64, y: f64, svg: &str) {
        let inner = svg.strip_prefix("<svg ").unwrap_or(svg);
        let _ = write!(self.body, "<svg x=\"{}\" y=\"{}\" {inner}", short(x), short(y));
    }

    /// The finished picture. `alt` is read to people who cannot see it.
    pub(crate) fn finish(self, width: f64, height: f64, alt: &str) -> String {
        let (width, height) = (short(width), short(height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"Inter, 'DejaVu Sans', 'Droid Sans Fallback', NanumSquare, 'Noto Emoji', sans-serif\" role=\"img\" aria-label=\"{}\">{}</svg>",
            escape(alt),
            self.body
        )
    }
}

/// A number with two decimals at most: the same bytes for the same drawing.
pub(crate) fn short(value: f64) -> String {
    let rounded = (value * 100.0).round() / 100.0;
    if rounded == 0.0 { "0".to_owned() } else { rounded.to_string() }
}

/// Text as it may stand in XML, in an attribute too. Characters that XML 1.0 forbids become spaces (section 2.2).
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'.. => out.push(character),
            _ => out.push(' '),
        }
    }
    out
}

/// `M x y L x y …` through the points.
pub(crate) fn polyline(points: impl IntoIterator<Item = [f64; 2]>) -> String {
    let mut path = String::new();
    for (index, [x, y]) in points.into_iter().enumerate() {
        let _ = write!(path, "{}{} {}", if index == 0 { 'M' } else { 'L' }, short(x), short(y));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_too_wide_ends_in_an_ellipsis_and_fits() {
        let style = style(8.0, Paint::Ink);
        let shown = style.fit("a host name that goes on and on", 60.0);
        assert!(shown.ends_with('…') && style.width(&shown) <= 60.0, "{shown}");
        assert_eq!(style.fit("short", 60.0), "short");
    }

    #[test]
    fn wrapped_text_keeps_every_word_until_the_last_line() {
        let style = style(8.0, Paint::Ink);
        assert_eq!(style.wrap("one two three", 1000.0, 2), ["one two three"]);
        let lines = style.wrap("alpha beta gamma delta epsilon zeta", 40.0, 3);
        assert_eq!(lines.len(), 3);
        assert!(lines[2].ends_with('…'), "{lines:?}");
    }

    #[test]
    fn a_label_cannot_leave_its_element() {
        let mut canvas = Canvas::default();
        canvas.text(0.0, 0.0, style(8.0, Paint::Ink), "</text><script>\u{0}");
        let svg = canvas.finish(10.0, 10.0, "\"><x>");
        assert!(!svg.contains("<script>") && !svg.contains("<x>") && !svg.contains('\0'), "{svg}");
    }
}
