//! The bundled fonts, parsed once per process, and the characters that they can show.

use std::sync::LazyLock;

use typst::{
    foundations::Bytes,
    layout::Abs,
    text::{Coverage, Font, FontBook, FontVariations},
    utils::LazyHash,
};

macro_rules! font {
    ($file:literal) => {
        include_bytes!(concat!("../../../templates/fonts/", $file))
    };
}

/// `templates/fonts/README.md` says what each is for, and under which licence.
const FILES: [&[u8]; 10] = [
    font!("Inter-Regular.otf"),
    font!("Inter-Italic.otf"),
    font!("Inter-SemiBold.otf"),
    font!("Inter-Bold.otf"),
    font!("DejaVuSans.ttf"),
    font!("DejaVuSans-Bold.ttf"),
    font!("DejaVuSansMono.ttf"),
    font!("DroidSansFallbackFull.ttf"),
    font!("NanumSquareR.ttf"),
    font!("NotoEmoji-Regular.ttf"),
];

/// The faces that a text in one style is tried with, by their index in [`FILES`]: regular, italic, semibold, bold.
/// The templates name all six families everywhere, code included.
const STYLES: [[usize; 6]; 4] =
    [[0, 4, 6, 7, 8, 9], [1, 4, 6, 7, 8, 9], [2, 5, 6, 7, 8, 9], [3, 5, 6, 7, 8, 9]];

/// The bundled files as they are.
pub(crate) fn files() -> impl Iterator<Item = &'static [u8]> {
    FILES.into_iter()
}

pub(crate) struct Fonts {
    pub(crate) book: LazyHash<FontBook>,
    pub(crate) fonts: Vec<Font>,
    /// For each code point, the faces that have a glyph for it, one bit each.
    faces: Vec<u16>,
}

pub(crate) static FONTS: LazyLock<Fonts> = LazyLock::new(|| {
    let fonts: Vec<Font> = FILES.into_iter().flat_map(|file| Font::iter(Bytes::new(file))).collect();
    let mut faces = vec![0_u16; char::MAX as usize + 1];
    let infos = fonts.iter().enumerate().map(|(index, font)| {
        // The coverage that Typst reads consists of ranges, and some have holes. Relying on it, Typst would fall back
        // to a face that lacks the glyph.
        let mut info = font.info().clone();
        let face = font.clone().instantiate(info.variant, Abs::pt(10.0), &FontVariations::default());
        let has_glyph = |character| face.ttf().glyph_index(character).is_some_and(|glyph| glyph.0 != 0);
        let covered: Vec<u32> = info
            .coverage
            .iter()
            .filter(|code_point| char::from_u32(*code_point).is_some_and(has_glyph))
            .collect();
        covered.iter().for_each(|code_point| faces[*code_point as usize] |= 1 << index);
        info.coverage = Coverage::from_vec(covered);
        info
    });
    let book = LazyHash::new(FontBook::from_infos(infos.collect::<Vec<_>>()));
    Fonts { book, fonts, faces }
});

impl Fonts {
    /// Whether some face has a glyph for it. A missing glyph is an error under PDF/A-2 (ISO 19005-2, 6.2.11.8).
    pub(crate) fn cover(&self, character: char) -> bool {
        self.faces[character as usize] != 0
    }

    /// Whether a letter and its combining marks can be shown in every style. They are shaped as one, so one face must
    /// have them all.
    pub(crate) fn cover_together(&self, cluster: &[char]) -> bool {
        let common =
            cluster.iter().fold(u16::MAX, |common, character| common & self.faces[*character as usize]);
        STYLES.iter().all(|faces| faces.iter().any(|face| common & (1 << face) != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bundled_file_is_a_font() {
        assert_eq!(FONTS.fonts.len(), FILES.len());
    }

    #[test]
    fn latin_greek_cyrillic_hebrew_arabic_chinese_japanese_korean_and_emoji_are_covered_and_hieroglyphs_are_not()
     {
        for character in
            ['A', 'é', 'Ω', 'Ж', 'ش', 'ש', '日', 'か', '한', '뷁', '😀', '🧨', '⟨', '⟩', '…', '↵', '⇥']
        {
            assert!(FONTS.cover(character), "{character}");
        }
        assert!(!FONTS.cover('𓀀'));
    }

    #[test]
    fn an_accent_fits_a_latin_letter_but_not_one_of_a_font_without_that_accent() {
        assert!(FONTS.cover_together(&['e', '\u{301}']));
        assert!(FONTS.cover('ش') && FONTS.cover('\u{363}'));
        assert!(!FONTS.cover_together(&['ش', '\u{363}']));
    }
}
