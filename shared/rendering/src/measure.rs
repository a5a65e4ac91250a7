//! How wide the text of a table's cell is at most, told without setting it.
//!
//! Sure of printable ASCII in the fonts that templates set first, which is what most cells of long tables hold: whoever asks for the
//! width of anything else is told that it is not known. All lengths are in points. Start at [`text_width`].

use std::sync::LazyLock;

use typst::{
    layout::Abs,
    text::{FontInstance, FontVariations},
};

use crate::{fonts::FONTS, sanitise::BREAK};

/// Sizes of a cell; the templates have them from here.
pub(crate) const TEXT: f64 = 8.0;
pub(crate) const TITLE: f64 = 7.4;
/// Between the edges of a cell and its text: at each side, above and below.
pub(crate) const SIDE: f64 = 5.0;
pub(crate) const ABOVE: f64 = 4.6;
/// A mark's letters are smaller than the text, and its ground is wider than its letters.
const MARK: f64 = 0.93 * TEXT;
const MARK_SIDES: f64 = 8.0;

/// Of a row whose cells take one line each: a line is as high as its capitals.
pub(crate) static ROW: LazyLock<f64> =
    LazyLock::new(|| instance(REGULAR).metrics().cap_height.get() * TEXT + 2.0 * ABOVE);

/// The first faces of the templates, by their place among the bundled files.
const REGULAR: usize = 0;
const SEMIBOLD: usize = 2;
/// What neighbours can add to one another in these faces, in em: letters by kerning, an underscore and a `j` more than others, and an `x`
/// between digits, which becomes a multiplication sign.
const KERNING: f64 = 0.025;
const UNDERSCORE: f64 = 0.1;
const MULTIPLICATION: f64 = 0.12;

/// The most that each printable ASCII character can advance, in em.
type Advances = [f64; 95];

static ADVANCES: LazyLock<Advances> = LazyLock::new(|| advances(REGULAR));
static SEMIBOLD_ADVANCES: LazyLock<Advances> = LazyLock::new(|| advances(SEMIBOLD));

fn instance(face: usize) -> FontInstance {
    let font = FONTS.fonts[face].clone();
    let variant = font.info().variant;
    font.instantiate(variant, Abs::pt(TEXT), &FontVariations::default())
}

fn advances(face: usize) -> Advances {
    let face = instance(face);
    let advance = |character| {
        let glyph = face.ttf().glyph_index(character).unwrap_or_default();
        face.x_advance(glyph.0).map_or(1.0, |advance| advance.get())
    };
    // Figures of tables are all as wide as the widest, and a little.
    let figure = ('0'..='9').map(advance).fold(0.0, f64::max) + KERNING;
    std::array::from_fn(|index| match char::from(b' ' + index as u8) {
        '0'..='9' => figure,
        '_' => advance('_') + UNDERSCORE,
        other @ ('x' | 'X') => advance(other) + MULTIPLICATION,
        other => advance(other) + KERNING,
    })
}

/// The most that a text takes on one line of a cell; none if that is not known.
pub(crate) fn text_width(text: &str) -> Option<f64> {
    widest(text, &ADVANCES).map(|width| width * TEXT)
}

/// The most that a word on a tinted ground takes, with its ground.
pub(crate) fn mark_width(label: &str) -> Option<f64> {
    widest(label, &SEMIBOLD_ADVANCES).map(|width| width * MARK + MARK_SIDES)
}

/// The most that the title of a column takes.
pub(crate) fn title_width(title: &str) -> Option<f64> {
    widest(title, &SEMIBOLD_ADVANCES).map(|width| width * TITLE)
}

fn widest(text: &str, advances: &Advances) -> Option<f64> {
    text.chars().try_fold(0.0, |width, character| {
        let character = match character {
            BREAK => return Some(width),
            '\u{a0}' => ' ',
            '\u{2212}' => '+',
            other => other,
        };
        let index = u32::from(character).checked_sub(u32::from(' '))?;
        advances.get(index as usize).map(|advance| width + advance)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_plain_has_no_width() {
        for text in ["日本", "a\nb", "é", "\u{301}", "\u{7f}"] {
            assert_eq!(text_width(text), None, "{text:?}");
        }
        assert_eq!(text_width(""), Some(0.0));
    }

    #[test]
    fn a_wider_text_is_wider_and_a_mark_is_wider_than_its_word() {
        assert!(text_width("iiii") < text_width("mmmm"));
        assert!(text_width("2\u{a0}Nov\u{a0}2025") < text_width("22\u{a0}Nov\u{a0}2025"));
        assert!(mark_width("Critical") > text_width("Critical"));
        // Figures of one width are 0.648 em wide in Inter.
        let figure = text_width("1").unwrap() / TEXT;
        assert!((0.648..0.69).contains(&figure), "{figure}");
    }
}
