//! The style sheet with this report's colours, light and dark, and the digest by which the page allows it.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    Severity,
    document::{Colour, Tone},
};
use sha2::{Digest, Sha256};

use super::tone_class;
use crate::theme::{self, Palette, Shades};

const RULES: &str = include_str!("../../../../templates/html/report.css");
/// Paper, ink, muted, hairline and panel of the dark mode.
const DARK: [Colour; 5] = [
    Colour::new(0x10, 0x16, 0x1e),
    Colour::new(0xe7, 0xec, 0xf2),
    Colour::new(0xa3, 0xb0, 0xbf),
    Colour::new(0x33, 0x3f, 0x4d),
    Colour::new(0x19, 0x22, 0x2d),
];

pub(super) fn severity_class(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "s-critical",
        Severity::High => "s-high",
        Severity::Medium => "s-medium",
        Severity::Low => "s-low",
        Severity::None => "s-none",
        Severity::Unknown => "s-unknown",
    }
}

/// `banner` stands at the head and foot of every printed page.
pub(super) fn sheet(palette: &Palette, banner: Option<&str>) -> String {
    let light = [theme::WHITE, theme::INK, theme::MUTED, theme::HAIRLINE, theme::PANEL];
    let mut sheet = String::with_capacity(RULES.len() + 4096);
    colours(&mut sheet, light, palette);
    sheet.push_str("@media screen and (prefers-color-scheme: dark) {");
    colours(&mut sheet, DARK, palette);
    sheet.push('}');
    sheet.push_str(RULES);
    if let Some(banner) = banner {
        let content = css_string(banner);
        let font = "font: 700 8pt Inter, sans-serif";
        let _ = write!(
            sheet,
            "@page{{@top-center{{content:{content};{font}}}@bottom-center{{content:{content};{font}}}}}"
        );
    }
    sheet
}

/// A string in which nothing means anything to CSS (CSS Syntax Level 3, 4.3.7).
fn css_string(text: &str) -> String {
    let mut out = "\"".to_owned();
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || character == ' ' {
            out.push(character);
        } else {
            let _ = write!(out, "\\{:x} ", u32::from(character).max(1));
        }
    }
    out.push('"');
    out
}

/// The source expression that allows exactly this style (CSP Level 3, 2.3.1).
pub(super) fn digest(sheet: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(sheet.as_bytes())))
}

fn colours(sheet: &mut String, [paper, ink, muted, hairline, panel]: [Colour; 5], palette: &Palette) {
    let _ = write!(
        sheet,
        ":root{{--paper:{paper};--ink:{ink};--muted:{muted};--hairline:{hairline};--panel:{panel};--ground:{};--accent:{};\
         --pale:{};--primary:{};--secondary:{}}}",
        palette.primary,
        palette.accent,
        palette.pale,
        palette.primary.readable_on(paper, if paper == theme::WHITE { 4.5 } else { 8.0 }),
        // Links stand on every second row of a table and in notes too.
        palette.secondary.readable_on(panel, if paper == theme::WHITE { 4.5 } else { 6.5 }),
    );
    let tones = [Tone::Neutral, Tone::Good, Tone::Caution, Tone::Bad];
    let classes = tones
        .map(|tone| (tone_class(tone), theme::tone(tone)))
        .into_iter()
        .chain(Severity::ALL.map(|severity| (severity_class(severity), theme::severity(severity))));
    for (class, Shades { word: _, fill, tint, dark }) in classes {
        let tint = if paper == theme::WHITE { tint } else { paper.mix(fill, 0.28) };
        let letters = if paper == theme::WHITE { dark } else { tint.mix(theme::WHITE, 0.75) };
        let _ = write!(
            sheet,
            ".{class}{{--tone:{fill};--tone-tint:{tint};--tone-ink:{}}}",
            letters.readable_on(tint, 4.5)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_sheet_cannot_end_its_element() {
        assert!(!sheet(&Palette::default(), Some("</style><script>\"}")).contains('<'));
    }
}
