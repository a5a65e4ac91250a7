//! The QR code of an address, as SVG.

use std::fmt::Write;

use qrcode::{Color, EcLevel, QrCode};

/// Modules of white around the code (ISO/IEC 18004, 9.1).
const QUIET: usize = 4;

/// None when the text is longer than a code holds.
pub(crate) fn code(text: &str, alt: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let width = code.width();
    let size = width + 2 * QUIET;
    let mut path = String::new();
    for (row, modules) in code.to_colors().chunks(width).enumerate() {
        let mut from = 0;
        // Neighbours become one bar: separate squares show seams.
        for run in modules.chunk_by(|left, right| left == right) {
            if run.first() == Some(&Color::Dark) {
                let _ = write!(path, "M{} {}h{}v1h-{}z", from + QUIET, row + QUIET, run.len(), run.len());
            }
            from += run.len();
        }
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {size} {size}\" width=\"{size}\" height=\"{size}\" \
         shape-rendering=\"crispEdges\" role=\"img\" aria-label=\"{}\"><rect width=\"{size}\" height=\"{size}\" \
         fill=\"#ffffff\"/><path d=\"{path}\" fill=\"#000000\"/></svg>",
        super::escape(alt)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_a_code_with_its_quiet_zone() {
        let svg = code("https://plimsoll.example/verify/R-1", "QR code").unwrap();
        assert!(svg.contains("M4 4h7v1h-7z"), "the finder pattern begins behind the quiet zone: {svg}");
        assert!(code(&"x".repeat(5_000), "QR code").is_none());
    }
}
