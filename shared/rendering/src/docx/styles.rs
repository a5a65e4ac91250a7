//! The styles and lists that the text uses. Whoever edits the document restyles it here, once.

use std::fmt::Write;

use domain::document::{Colour, Document};

use super::{MAX_LEVEL, package::NAMESPACES};
use crate::theme::{self, Palette};

const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";

/// Abstract numberings, and the instance of the first; ordered lists have an instance each, so that each begins at 1.
pub(super) const BULLETS: u32 = 1;
/// Levels of lists.
pub(super) const MAX_LIST_LEVEL: usize = 8;

/// Six digits without the sign.
pub(super) fn hex(colour: Colour) -> String {
    colour.to_string().trim_start_matches('#').to_owned()
}

/// The language of the texts; English when it is no such code.
pub(super) fn language(document: &Document) -> &str {
    let code = document.language.as_str();
    if (2..=3).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        code
    } else {
        "en"
    }
}

/// A paragraph style by its name in the program, what it is based on, and the properties of paragraph and letters.
fn paragraph(xml: &mut String, id: &str, name: &str, paragraph: &str, letters: &str) {
    let _ = write!(
        xml,
        "<w:style w:type=\"paragraph\" w:styleId=\"{id}\"><w:name w:val=\"{name}\"/><w:basedOn w:val=\"Normal\"/>\
         <w:qFormat/><w:pPr>{paragraph}</w:pPr><w:rPr>{letters}</w:rPr></w:style>"
    );
}

pub(super) fn sheet(document: &Document, palette: &Palette) -> String {
    let [primary, secondary] = [palette.primary, palette.secondary].map(hex);
    let [muted, hairline, panel] = [theme::MUTED, theme::HAIRLINE, theme::PANEL].map(hex);
    let mut xml = format!(
        "{XML}<w:styles {NAMESPACES}><w:docDefaults><w:rPrDefault><w:rPr>\
         <w:rFonts w:ascii=\"Calibri\" w:hAnsi=\"Calibri\" w:eastAsia=\"Calibri\" w:cs=\"Calibri\"/>\
         <w:sz w:val=\"21\"/><w:szCs w:val=\"21\"/><w:lang w:val=\"{}\"/></w:rPr></w:rPrDefault>\
         <w:pPrDefault><w:pPr><w:spacing w:after=\"120\" w:line=\"264\" w:lineRule=\"auto\"/></w:pPr></w:pPrDefault>\
         </w:docDefaults><w:style w:type=\"paragraph\" w:default=\"1\" w:styleId=\"Normal\"><w:name w:val=\"Normal\"/>\
         <w:qFormat/></w:style><w:style w:type=\"character\" w:default=\"1\" w:styleId=\"DefaultParagraphFont\">\
         <w:name w:val=\"Default Paragraph Font\"/><w:uiPriority w:val=\"1\"/></w:style>\
         <w:style w:type=\"table\" w:default=\"1\" w:styleId=\"TableNormal\"><w:name w:val=\"Normal Table\"/><w:tblPr>\
         <w:tblCellMar><w:left w:w=\"108\" w:type=\"dxa\"/><w:right w:w=\"108\" w:type=\"dxa\"/></w:tblCellMar></w:tblPr></w:style>",
        language(document)
    );
    for level in 1..=MAX_LEVEL {
        let size = [34, 27, 24, 22, 21, 21][level - 1];
        let before = [360, 300, 240, 200, 180, 180][level - 1];
        paragraph(
            &mut xml,
            &format!("Heading{level}"),
            &format!("heading {level}"),
            &format!(
                "<w:keepNext/><w:keepLines/><w:spacing w:before=\"{before}\" w:after=\"100\"/><w:outlineLvl w:val=\"{}\"/>",
                level - 1
            ),
            &format!(
                "<w:b/><w:color w:val=\"{primary}\"/><w:sz w:val=\"{size}\"/><w:szCs w:val=\"{size}\"/>"
            ),
        );
    }
    for (id, name, properties, letters) in [
        (
            "Title",
            "Title",
            "<w:spacing w:before=\"1200\" w:after=\"120\"/>",
            format!("<w:b/><w:color w:val=\"{primary}\"/><w:sz w:val=\"60\"/><w:szCs w:val=\"60\"/>"),
        ),
        (
            "Subtitle",
            "Subtitle",
            "<w:spacing w:after=\"480\"/>",
            format!("<w:color w:val=\"{muted}\"/><w:sz w:val=\"30\"/><w:szCs w:val=\"30\"/>"),
        ),
        (
            "Organization",
            "Organization",
            "<w:spacing w:before=\"600\" w:after=\"0\"/>",
            format!("<w:color w:val=\"{muted}\"/><w:sz w:val=\"26\"/><w:szCs w:val=\"26\"/>"),
        ),
        (
            "TOCHeading",
            "TOC Heading",
            "<w:keepNext/><w:spacing w:before=\"240\"/>",
            format!("<w:b/><w:color w:val=\"{primary}\"/><w:sz w:val=\"34\"/><w:szCs w:val=\"34\"/>"),
        ),
        (
            "Caption",
            "caption",
            "<w:keepNext/><w:spacing w:before=\"160\" w:after=\"80\"/>",
            format!("<w:b/><w:color w:val=\"{primary}\"/>"),
        ),
        (
            "FigureCaption",
            "Figure Caption",
            "<w:spacing w:before=\"60\" w:after=\"240\"/>",
            format!("<w:b/><w:color w:val=\"{primary}\"/>"),
        ),
        (
            "Label",
            "Label",
            "<w:keepNext/><w:spacing w:before=\"120\" w:after=\"40\"/>",
            format!("<w:b/><w:color w:val=\"{muted}\"/><w:sz w:val=\"19\"/><w:szCs w:val=\"19\"/>"),
        ),
        (
            "Small",
            "Small",
            "",
            format!("<w:color w:val=\"{muted}\"/><w:sz w:val=\"18\"/><w:szCs w:val=\"18\"/>"),
        ),
        (
            "TableTitle",
            "Table Title",
            "<w:keepNext/><w:spacing w:before=\"30\" w:after=\"30\" w:line=\"240\" w:lineRule=\"auto\"/>",
            "<w:b/><w:sz w:val=\"15\"/><w:szCs w:val=\"15\"/>".to_owned(),
        ),
        (
            "TableText",
            "Table Text",
            "<w:spacing w:before=\"30\" w:after=\"30\" w:line=\"240\" w:lineRule=\"auto\"/>",
            "<w:sz w:val=\"17\"/><w:szCs w:val=\"17\"/>".to_owned(),
        ),
        (
            "TableNumber",
            "Table Number",
            "<w:spacing w:before=\"30\" w:after=\"30\" w:line=\"240\" w:lineRule=\"auto\"/><w:jc w:val=\"right\"/>",
            "<w:sz w:val=\"17\"/><w:szCs w:val=\"17\"/>".to_owned(),
        ),
        ("ListParagraph", "List Paragraph", "<w:spacing w:after=\"60\"/>", String::new()),
        ("Picture", "Picture", "<w:keepLines/><w:spacing w:before=\"80\" w:after=\"80\"/>", String::new()),
        (
            "Banner",
            "Banner",
            "<w:spacing w:after=\"40\"/><w:jc w:val=\"center\"/>",
            "<w:b/><w:sz w:val=\"22\"/><w:szCs w:val=\"22\"/>".to_owned(),
        ),
        (
            "Header",
            "header",
            "<w:spacing w:after=\"0\"/><w:jc w:val=\"right\"/>",
            format!("<w:color w:val=\"{muted}\"/><w:sz w:val=\"17\"/><w:szCs w:val=\"17\"/>"),
        ),
        (
            "Footer",
            "footer",
            "<w:spacing w:after=\"40\"/><w:jc w:val=\"center\"/>",
            format!("<w:color w:val=\"{muted}\"/><w:sz w:val=\"17\"/><w:szCs w:val=\"17\"/>"),
        ),
    ] {
        paragraph(&mut xml, id, name, properties, &letters);
    }
    paragraph(
        &mut xml,
        "Code",
        "Code",
        &format!(
            "<w:shd w:val=\"clear\" w:color=\"auto\" w:fill=\"{panel}\"/><w:spacing w:after=\"120\" w:line=\"240\" w:lineRule=\"auto\"/>"
        ),
        "<w:rFonts w:ascii=\"Consolas\" w:hAnsi=\"Consolas\" w:cs=\"Consolas\"/><w:sz w:val=\"18\"/><w:szCs w:val=\"18\"/>",
    );
    for level in 1..=3_usize {
        paragraph(
            &mut xml,
            &format!("TOC{level}"),
            &format!("toc {level}"),
            &format!(
                "<w:tabs><w:tab w:val=\"right\" w:leader=\"dot\" w:pos=\"9628\"/></w:tabs><w:spacing w:after=\"40\"/><w:ind w:left=\"{}\"/>",
                (level - 1) * 220
            ),
            "",
        );
    }
    let _ = write!(
        xml,
        "<w:style w:type=\"character\" w:styleId=\"Hyperlink\"><w:name w:val=\"Hyperlink\"/><w:rPr>\
         <w:color w:val=\"{secondary}\"/><w:u w:val=\"single\"/></w:rPr></w:style>\
         <w:style w:type=\"character\" w:styleId=\"CodeText\"><w:name w:val=\"Code Text\"/><w:rPr>\
         <w:rFonts w:ascii=\"Consolas\" w:hAnsi=\"Consolas\" w:cs=\"Consolas\"/></w:rPr></w:style>\
         <w:style w:type=\"table\" w:styleId=\"Report\"><w:name w:val=\"Report\"/><w:basedOn w:val=\"TableNormal\"/><w:tblPr>\
         <w:tblBorders><w:top w:val=\"single\" w:sz=\"8\" w:space=\"0\" w:color=\"{primary}\"/>\
         <w:bottom w:val=\"single\" w:sz=\"4\" w:space=\"0\" w:color=\"{primary}\"/>\
         <w:insideH w:val=\"single\" w:sz=\"4\" w:space=\"0\" w:color=\"{hairline}\"/></w:tblBorders>\
         <w:tblCellMar><w:left w:w=\"70\" w:type=\"dxa\"/><w:right w:w=\"70\" w:type=\"dxa\"/></w:tblCellMar></w:tblPr>\
         <w:tblStylePr w:type=\"firstRow\"><w:rPr><w:b/><w:color w:val=\"FFFFFF\"/></w:rPr><w:tcPr>\
         <w:shd w:val=\"clear\" w:color=\"auto\" w:fill=\"{primary}\"/></w:tcPr></w:tblStylePr></w:style>\
         <w:style w:type=\"table\" w:styleId=\"Facts\"><w:name w:val=\"Facts\"/><w:basedOn w:val=\"TableNormal\"/><w:tblPr>\
         <w:tblBorders><w:insideH w:val=\"single\" w:sz=\"4\" w:space=\"0\" w:color=\"{hairline}\"/></w:tblBorders>\
         <w:tblCellMar><w:left w:w=\"70\" w:type=\"dxa\"/><w:right w:w=\"70\" w:type=\"dxa\"/></w:tblCellMar></w:tblPr></w:style>\
         </w:styles>"
    );
    xml
}

/// Lists with points, and as many with numbers as the text has.
pub(super) fn numbering(ordered_lists: u32) -> String {
    let mut xml = format!("{XML}<w:numbering {NAMESPACES}>");
    for (id, format) in [(1, "bullet"), (2, "decimal")] {
        let _ =
            write!(xml, "<w:abstractNum w:abstractNumId=\"{id}\"><w:multiLevelType w:val=\"multilevel\"/>");
        for level in 0..=MAX_LIST_LEVEL {
            let text = if format == "bullet" { "•".to_owned() } else { format!("%{}.", level + 1) };
            let _ = write!(
                xml,
                "<w:lvl w:ilvl=\"{level}\"><w:start w:val=\"1\"/><w:numFmt w:val=\"{format}\"/><w:lvlText w:val=\"{text}\"/>\
                 <w:lvlJc w:val=\"left\"/><w:pPr><w:ind w:left=\"{}\" w:hanging=\"360\"/></w:pPr></w:lvl>",
                (level + 1) * 400
            );
        }
        xml.push_str("</w:abstractNum>");
    }
    let _ = write!(xml, "<w:num w:numId=\"{BULLETS}\"><w:abstractNumId w:val=\"1\"/></w:num>");
    for list in 1..=ordered_lists {
        let _ = write!(
            xml,
            "<w:num w:numId=\"{}\"><w:abstractNumId w:val=\"2\"/>\
             <w:lvlOverride w:ilvl=\"0\"><w:startOverride w:val=\"1\"/></w:lvlOverride></w:num>",
            BULLETS + list
        );
    }
    xml + "</w:numbering>"
}
