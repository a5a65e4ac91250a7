//! A figure that leaves its document alone takes the document's markings along: the banner above and below, the designation of
//! controlled unclassified information, the watermark across.

use domain::document::Document;

use super::{
    canvas::{Canvas, Paint, Style, style},
    measure_of,
};
use crate::marking;

const BANNER: Style = style(10.0, Paint::Ink).bold().middle();
const SMALL: Style = style(7.5, Paint::Ink);
/// Height of the banner with the white around it.
const BAND: f64 = 24.0;
/// From one line of the designation to the next.
const LINE: f64 = 11.0;
const MARGIN: f64 = 12.0;
/// Room for a line of the designation.
const LEAST_WIDTH: f64 = 240.0;

/// The drawing of the document `page`, which is prepared for pages. One that nothing is to be said about stays as it is.
pub(super) fn marked(svg: String, page: &Document, contact: Option<&str>) -> String {
    let banner = marking::banner(page).map(|banner| whole(&banner));
    let watermark =
        page.presentation.watermark.as_deref().map(whole).filter(|words| !words.trim().is_empty());
    let (Some(own_width), Some(own_height)) = (measure_of(&svg, "width"), measure_of(&svg, "height")) else {
        return svg;
    };
    if banner.is_none() && watermark.is_none() {
        return svg;
    }
    let designation = marking::designation(page, contact)
        .map(|lines| lines.map(|(label, text)| format!("{label}: {}", whole(&text))));
    // A marking is never cut: a narrow drawing gets more white around it.
    let needed = banner.as_ref().map_or(0.0, |banner| BANNER.width(banner) + 2.0 * MARGIN);
    let least = if designation.is_some() { LEAST_WIDTH } else { 0.0 };
    let width = own_width.max(needed).max(least);
    let lines: Vec<String> = designation
        .iter()
        .flatten()
        .flat_map(|line| SMALL.wrap(line, width - 2.0 * MARGIN, usize::MAX))
        .collect();
    let band = if banner.is_some() { BAND } else { 0.0 };
    let box_height = if lines.is_empty() { 0.0 } else { LINE * lines.len() as f64 + MARGIN };
    let height = own_height + 2.0 * band + box_height;
    let mut canvas = Canvas::default();
    canvas.drawing((width - own_width) / 2.0, band, &svg);
    for (index, line) in lines.iter().enumerate() {
        canvas.text(MARGIN, band + own_height + MARGIN + LINE * index as f64, SMALL, line);
    }
    if let Some(banner) = &banner {
        for baseline in [16.0, height - 9.0] {
            canvas.text(width / 2.0, baseline, BANNER, banner);
        }
    }
    if let Some(words) = &watermark {
        let diagonal = width.hypot(own_height) * 0.8;
        let unit = style(1.0, Paint::Ink).bold();
        let size = (diagonal / unit.width(words).max(1.0)).min(width.min(own_height) * 0.6);
        canvas.across([width / 2.0, band + own_height / 2.0], size, words);
    }
    let alt = match &banner {
        Some(banner) => format!("{banner}: {}", page.cover.title),
        None => page.cover.title.clone(),
    };
    canvas.finish(width, height, &whole(&alt))
}

/// Without the places to break that pages need.
fn whole(text: &str) -> String {
    text.replace(crate::sanitise::BREAK, "")
}

#[cfg(test)]
mod tests {
    use domain::document::Document;

    use super::*;

    fn page(classification: &str, watermark: Option<&str>) -> Document {
        let mut page = Document::new("technical", "T", "Acme Corp", "R-1", chrono::DateTime::UNIX_EPOCH);
        page.cover.classification = Some(classification.to_owned());
        page.presentation.watermark = watermark.map(str::to_owned);
        page
    }

    fn drawing() -> String {
        Canvas::default().finish(60.0, 40.0, "A drawing")
    }

    #[test]
    fn a_drawing_carries_the_banner_twice_and_is_widened_rather_than_cut() {
        let svg = marked(
            drawing(),
            &page("CUI//SP-PRVCY/SP-CTI//NOFORN", Some("DRAFT")),
            Some("ciso@acme.example"),
        );
        assert_eq!(svg.matches(">CUI//SP-PRVCY/SP-CTI//NOFORN</text>").count(), 2, "{svg}");
        assert!(svg.contains(">DRAFT</text>") && svg.contains("Controlled by: Acme Corp"), "{svg}");
        assert!(svg.contains("POC: ciso@acme.example"));
        let width = measure_of(&svg, "width").unwrap();
        assert!(width >= BANNER.width("CUI//SP-PRVCY/SP-CTI//NOFORN"), "{width}");
        assert!(crate::figure::rasterise(&svg, 1.0).is_ok());
    }

    #[test]
    fn a_drawing_without_markings_stays_as_it_is() {
        assert_eq!(marked(drawing(), &page("", None), None), drawing());
    }

    #[test]
    fn a_marking_cannot_leave_its_element() {
        let svg = marked(drawing(), &page("</text><script>", Some("</text><script>")), None);
        assert!(!svg.contains("<script"), "{svg}");
    }
}
