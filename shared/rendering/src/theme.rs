//! Colours and words that every format with a face shares.
//!
//! The look is the product's own unless a branding says otherwise; whatever colours come, text keeps a contrast of 4.5 to
//! 1 and graphics of 3 to 1 (WCAG 2.2, 1.4.3 and 1.4.11). Start at [`Palette::of`].

use domain::{
    Severity,
    document::{Branding, Colour, Tone},
};
use serde::Serialize;

pub(crate) const WHITE: Colour = Colour::new(0xff, 0xff, 0xff);
pub(crate) const INK: Colour = Colour::new(0x18, 0x22, 0x2f);
pub(crate) const MUTED: Colour = Colour::new(0x56, 0x62, 0x74);
pub(crate) const HAIRLINE: Colour = Colour::new(0xd5, 0xdb, 0xe3);
pub(crate) const PANEL: Colour = Colour::new(0xf4, 0xf6, 0xf9);

/// The three colours that an organization chooses, made readable where they are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Palette {
    /// The cover's ground, headings, rules of tables: dark enough for white text.
    pub(crate) primary: Colour,
    /// Links and the first series of charts: readable on white.
    pub(crate) secondary: Colour,
    /// The rule on the cover, readable on the primary colour.
    pub(crate) accent: Colour,
    /// The subtitle on the cover.
    pub(crate) pale: Colour,
}

impl Palette {
    pub(crate) fn of(branding: &Branding) -> Self {
        let colours = branding.colours;
        let own = colours.primary.unwrap_or(Colour::new(0x17, 0x32, 0x4d));
        let primary = own.readable_on(WHITE, 4.5);
        Self {
            primary,
            secondary: colours.secondary.unwrap_or(Colour::new(0x1f, 0x5f, 0x99)).readable_on(WHITE, 4.5),
            accent: colours.accent.unwrap_or(Colour::new(0xe8, 0xb2, 0x3a)).readable_on(primary, 3.0),
            pale: primary.mix(WHITE, 0.82).readable_on(primary, 4.5),
        }
    }

    /// Series without a severity take these in turn.
    pub(crate) fn series(&self, index: usize) -> Colour {
        let six = [
            self.primary,
            Colour::new(0x4f, 0x8f, 0xbf),
            tone(Tone::Good).fill,
            severity(Severity::Medium).fill,
            severity(Severity::Critical).fill,
            severity(Severity::Unknown).fill,
        ];
        six[index % six.len()]
    }
}

impl Default for Palette {
    fn default() -> Self {
        Self::of(&Branding::default())
    }
}

/// `fill` is for areas, `dark` for text on `tint`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shades {
    pub(crate) word: &'static str,
    pub(crate) fill: Colour,
    pub(crate) tint: Colour,
    pub(crate) dark: Colour,
}

const fn shades(word: &'static str, fill: u32, tint: u32, dark: u32) -> Shades {
    const fn colour(rgb: u32) -> Colour {
        Colour::new((rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8)
    }
    Shades { word, fill: colour(fill), tint: colour(tint), dark: colour(dark) }
}

/// The same as `severities` in `templates/lib/theme.typ`.
pub(crate) const fn severity(severity: Severity) -> Shades {
    match severity {
        Severity::Critical => shades("Critical", 0x8c1d33, 0xf7e3e7, 0x7a1429),
        Severity::High => shades("High", 0xd4552a, 0xfbe8df, 0x8f3210),
        Severity::Medium => shades("Medium", 0xe8b23a, 0xfcf3da, 0x6b4c00),
        Severity::Low => shades("Low", 0x4f8fbf, 0xe3eef7, 0x1d4f7a),
        Severity::None => shades("None", 0xa9b4c0, 0xeef1f4, 0x48535f),
        Severity::Unknown => shades("Unrated", 0x6f7b89, 0xe6e9ed, 0x37414c),
    }
}

/// The same as `tones` in `templates/lib/theme.typ`.
pub(crate) const fn tone(tone: Tone) -> Shades {
    match tone {
        Tone::Neutral => shades("Note", 0x8793a3, 0xf4f6f9, 0x18222f),
        Tone::Good => shades("Good", 0x2f855a, 0xe4f3ea, 0x1d5c3b),
        Tone::Caution => shades("Caution", 0xd69a1e, 0xfcf3da, 0x6b4c00),
        Tone::Bad => shades("Attention", 0xb3302f, 0xfbeae9, 0x8a1f1e),
    }
}

#[cfg(test)]
mod tests {
    use domain::document::Colours;

    use super::*;

    #[test]
    fn any_branding_leaves_the_cover_readable() {
        for [primary, secondary, accent] in
            [["#ffff00", "#fff", "#ff0"], ["#000", "#000", "#000"], ["#ff69b4"; 3]]
        {
            let colour = |text: &str| text.parse().ok();
            let colours =
                Colours { primary: colour(primary), secondary: colour(secondary), accent: colour(accent) };
            let palette = Palette::of(&Branding { colours, ..Branding::default() });
            assert!(palette.primary.contrast(WHITE) >= 4.5, "{primary}");
            assert!(palette.secondary.contrast(WHITE) >= 4.5, "{secondary}");
            assert!(palette.accent.contrast(palette.primary) >= 3.0, "{accent}");
            assert!(palette.pale.contrast(palette.primary) >= 4.5, "{primary}");
        }
    }

    #[test]
    fn words_on_their_tints_are_readable() {
        let severities = Severity::ALL.map(severity);
        let tones = [Tone::Neutral, Tone::Good, Tone::Caution, Tone::Bad].map(tone);
        for shades in severities.into_iter().chain(tones) {
            assert!(shades.dark.contrast(shades.tint) >= 4.5, "{}", shades.word);
        }
    }
}
