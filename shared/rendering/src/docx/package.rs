//! The parts around the text: what the file consists of, its properties, its head and foot, its pictures.

use std::{
    fmt::Write as _,
    io::{Cursor, Write},
};

use domain::document::Document;
use zip::{CompressionMethod, DateTime, ZipWriter, result::ZipError, write::SimpleFileOptions};

use super::{
    body::{escape_into, escaped},
    styles,
};
use crate::{
    Options, RenderError,
    office::{self, Pixels},
    theme::Palette,
};

const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";
pub(super) const NAMESPACES: &str = "xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\" \
     xmlns:r=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships\" \
     xmlns:wp=\"http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing\" \
     xmlns:a=\"http://schemas.openxmlformats.org/drawingml/2006/main\" \
     xmlns:pic=\"http://schemas.openxmlformats.org/drawingml/2006/picture\" \
     xmlns:v=\"urn:schemas-microsoft-com:vml\" xmlns:o=\"urn:schemas-microsoft-com:office:office\"";
const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const TYPES: &str = "application/vnd.openxmlformats-officedocument";

/// The ZIP so far. Its times are all the same, so that the same document gives the same bytes.
pub(super) struct Package {
    zip: ZipWriter<Cursor<Vec<u8>>>,
}

impl Package {
    /// Everything that comes before the text; what is written next is the text.
    pub(super) fn begin(document: &Document, options: &Options) -> Result<Self, RenderError> {
        let mut package = Self { zip: ZipWriter::new(Cursor::new(Vec::new())) };
        package.part("[Content_Types].xml", &content_types())?;
        package.part("_rels/.rels", &relations())?;
        package.part("docProps/core.xml", &core_properties(document))?;
        package.part("docProps/app.xml", &application_properties(document))?;
        package.part("docProps/custom.xml", &custom_properties(document))?;
        package.part("word/styles.xml", &styles::sheet(document, &Palette::of(&options.branding)))?;
        package.part("word/settings.xml", &settings())?;
        package.part("word/header1.xml", &header(document))?;
        package.part("word/footer1.xml", &footer(document))?;
        package.start("word/document.xml", CompressionMethod::Deflated)?;
        Ok(package)
    }

    fn start(&mut self, name: &str, method: CompressionMethod) -> Result<(), ZipError> {
        let options =
            SimpleFileOptions::default().compression_method(method).last_modified_time(DateTime::DEFAULT);
        self.zip.start_file(name, options)
    }

    fn part(&mut self, name: &str, xml: &str) -> Result<(), ZipError> {
        self.start(name, CompressionMethod::Deflated)?;
        Ok(self.zip.write_all(xml.as_bytes())?)
    }

    /// Goes on with the text.
    pub(super) fn write(&mut self, xml: &str) -> std::io::Result<()> {
        self.zip.write_all(xml.as_bytes())
    }

    /// Everything that comes after the text.
    pub(super) fn finish(mut self, ordered_lists: u32, pictures: &[Pixels]) -> Result<Vec<u8>, RenderError> {
        self.part("word/numbering.xml", &styles::numbering(ordered_lists))?;
        self.part("word/_rels/document.xml.rels", &document_relations(pictures.len()))?;
        for (index, picture) in pictures.iter().enumerate() {
            // Already compressed.
            self.start(&format!("word/media/image{}.png", index + 1), CompressionMethod::Stored)?;
            self.zip.write_all(&picture.png).map_err(ZipError::from)?;
        }
        Ok(self.zip.finish()?.into_inner())
    }
}

fn content_types() -> String {
    let mut xml = format!(
        "{XML}<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\">\
         <Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/>\
         <Default Extension=\"xml\" ContentType=\"application/xml\"/><Default Extension=\"png\" ContentType=\"image/png\"/>\
         <Override PartName=\"/docProps/core.xml\" ContentType=\"application/vnd.openxmlformats-package.core-properties+xml\"/>\
         <Override PartName=\"/docProps/app.xml\" ContentType=\"{TYPES}.extended-properties+xml\"/>\
         <Override PartName=\"/docProps/custom.xml\" ContentType=\"{TYPES}.custom-properties+xml\"/>"
    );
    for (part, kind) in [
        ("document", "document.main"),
        ("styles", "styles"),
        ("settings", "settings"),
        ("numbering", "numbering"),
        ("header1", "header"),
        ("footer1", "footer"),
    ] {
        let _ = write!(
            xml,
            "<Override PartName=\"/word/{part}.xml\" ContentType=\"{TYPES}.wordprocessingml.{kind}+xml\"/>"
        );
    }
    xml + "</Types>"
}

fn relationships(list: impl Iterator<Item = (String, String)>) -> String {
    let mut xml = format!(
        "{XML}<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">"
    );
    for (index, (kind, target)) in list.enumerate() {
        let _ = write!(xml, "<Relationship Id=\"rId{}\" Type=\"{kind}\" Target=\"{target}\"/>", index + 1);
    }
    xml + "</Relationships>"
}

fn relations() -> String {
    let core =
        "http://schemas.openxmlformats.org/package/2006/relationships/metadata/core-properties".to_owned();
    relationships(
        [
            (format!("{OFFICE}/officeDocument"), "word/document.xml".to_owned()),
            (core, "docProps/core.xml".to_owned()),
            (format!("{OFFICE}/extended-properties"), "docProps/app.xml".to_owned()),
            (format!("{OFFICE}/custom-properties"), "docProps/custom.xml".to_owned()),
        ]
        .into_iter(),
    )
}

/// Relations of the text before its pictures; their order gives the numbers by which the text knows them.
const PARTS: [&str; 5] = ["styles", "settings", "numbering", "header", "footer"];

fn document_relations(pictures: usize) -> String {
    let parts = PARTS.iter().map(|kind| {
        let number = if matches!(*kind, "header" | "footer") { "1" } else { "" };
        (format!("{OFFICE}/{kind}"), format!("{kind}{number}.xml"))
    });
    let pictures = (1..=pictures).map(|index| (format!("{OFFICE}/image"), format!("media/image{index}.png")));
    relationships(parts.chain(pictures))
}

/// The relation of the picture with that number, from 1.
pub(super) fn picture_relation(number: usize) -> String {
    format!("rId{}", PARTS.len() + number)
}

/// For the properties of a section.
pub(super) fn header_and_footer() -> &'static str {
    "<w:headerReference w:type=\"default\" r:id=\"rId4\"/><w:footerReference w:type=\"default\" r:id=\"rId5\"/>"
}

fn core_properties(document: &Document) -> String {
    let cover = &document.cover;
    let mut xml = format!(
        "{XML}<cp:coreProperties xmlns:cp=\"http://schemas.openxmlformats.org/package/2006/metadata/core-properties\" \
         xmlns:dc=\"http://purl.org/dc/elements/1.1/\" xmlns:dcterms=\"http://purl.org/dc/terms/\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">"
    );
    let category = office::banner(document);
    for (element, value) in [
        ("dc:title", Some(&cover.title)),
        ("dc:subject", cover.subtitle.as_ref()),
        ("dc:creator", cover.prepared_by.as_ref().or(Some(&cover.organization))),
        ("cp:keywords", Some(&cover.document_number)),
        ("cp:category", category.as_ref()),
        ("cp:contentStatus", cover.version.as_ref()),
    ] {
        if let Some(value) = value {
            let value: String = value.chars().take(250).collect();
            let _ = write!(xml, "<{element}>{}</{element}>", escaped(&value));
        }
    }
    let _ = write!(xml, "<dc:language>{}</dc:language>", styles::language(document));
    let time = cover.generated_at.format("%Y-%m-%dT%H:%M:%SZ");
    for element in ["dcterms:created", "dcterms:modified"] {
        let _ = write!(xml, "<{element} xsi:type=\"dcterms:W3CDTF\">{time}</{element}>");
    }
    xml + "</cp:coreProperties>"
}

fn application_properties(document: &Document) -> String {
    let company: String = document.cover.organization.chars().take(250).collect();
    format!(
        "{XML}<Properties xmlns=\"http://schemas.openxmlformats.org/officeDocument/2006/extended-properties\">\
         <Application>Plimsoll</Application><Company>{}</Company></Properties>",
        escaped(&company)
    )
}

fn custom_properties(document: &Document) -> String {
    let mut xml = format!(
        "{XML}<Properties xmlns=\"http://schemas.openxmlformats.org/officeDocument/2006/custom-properties\" \
         xmlns:vt=\"http://schemas.openxmlformats.org/officeDocument/2006/docPropsVTypes\">"
    );
    let number = Some(document.cover.document_number.clone());
    // The identifiers begin at 2 (ISO/IEC 29500-1, 22.3.2.2).
    for (id, (name, value)) in
        (2..).zip([("Document number", number), ("Classification", office::banner(document))])
    {
        if let Some(value) = value {
            let _ = write!(
                xml,
                "<property fmtid=\"{{D5CDD505-2E9C-101B-9397-08002B2CF9AE}}\" pid=\"{id}\" name=\"{name}\">\
                 <vt:lpwstr>{}</vt:lpwstr></property>",
                escaped(&value)
            );
        }
    }
    xml + "</Properties>"
}

/// Fields are brought up to date when the document is opened: the contents know no page numbers before.
fn settings() -> String {
    format!(
        "{XML}<w:settings {NAMESPACES}><w:defaultTabStop w:val=\"720\"/><w:updateFields w:val=\"true\"/>\
         <w:compat><w:compatSetting w:name=\"compatibilityMode\" w:uri=\"http://schemas.microsoft.com/office/word\" \
         w:val=\"15\"/></w:compat></w:settings>"
    )
}

fn header(document: &Document) -> String {
    let mut xml = format!("{XML}<w:hdr {NAMESPACES}>");
    banner(&mut xml, document);
    let _ = write!(xml, "<w:p><w:pPr><w:pStyle w:val=\"Header\"/></w:pPr>");
    if let Some(words) = &document.presentation.watermark {
        watermark(&mut xml, words);
    }
    let title: String = document.cover.title.chars().take(120).collect();
    let _ = write!(xml, "<w:r><w:t xml:space=\"preserve\">{}</w:t></w:r></w:p></w:hdr>", escaped(&title));
    xml
}

fn footer(document: &Document) -> String {
    let mut xml = format!(
        "{XML}<w:ftr {NAMESPACES}><w:p><w:pPr><w:pStyle w:val=\"Footer\"/></w:pPr><w:r><w:t xml:space=\"preserve\">"
    );
    let number: String = document.cover.document_number.chars().take(80).collect();
    escape_into(&mut xml, &number);
    xml.push_str(" · Page </w:t></w:r>");
    for (field, between) in [("PAGE", " of "), ("NUMPAGES", "")] {
        let _ = write!(
            xml,
            "<w:fldSimple w:instr=\" {field} \"><w:r><w:t>1</w:t></w:r></w:fldSimple>\
             <w:r><w:t xml:space=\"preserve\">{between}</w:t></w:r>"
        );
    }
    xml.push_str("</w:p>");
    banner(&mut xml, document);
    xml + "</w:ftr>"
}

fn banner(xml: &mut String, document: &Document) {
    if let Some(words) = office::banner(document) {
        xml.push_str("<w:p><w:pPr><w:pStyle w:val=\"Banner\"/></w:pPr><w:r><w:t>");
        escape_into(xml, &words);
        xml.push_str("</w:t></w:r></w:p>");
    }
}

/// Large and pale behind the text, as Word's own watermarks are made: a drawing in the head of the page.
fn watermark(xml: &mut String, words: &str) {
    let words: String = words.chars().take(40).collect();
    let width = (words.chars().count() * 52).clamp(160, 470);
    let _ = write!(
        xml,
        "<w:r><w:rPr><w:noProof/></w:rPr><w:pict><v:shapetype id=\"_x0000_t136\" coordsize=\"21600,21600\" o:spt=\"136\" \
         adj=\"10800\" path=\"m@7,l@8,m@5,21600l@6,21600e\"><v:formulas><v:f eqn=\"sum #0 0 10800\"/><v:f eqn=\"prod #0 2 1\"/>\
         <v:f eqn=\"sum 21600 0 @1\"/><v:f eqn=\"sum 0 0 @2\"/><v:f eqn=\"sum 21600 0 @3\"/><v:f eqn=\"if @0 @3 0\"/>\
         <v:f eqn=\"if @0 21600 @1\"/><v:f eqn=\"if @0 0 @2\"/><v:f eqn=\"if @0 @4 21600\"/></v:formulas>\
         <v:path textpathok=\"t\" o:connecttype=\"rect\"/><v:textpath on=\"t\" fitshape=\"t\"/></v:shapetype>\
         <v:shape id=\"PowerPlusWaterMarkObject1\" o:spid=\"_x0000_s2049\" type=\"#_x0000_t136\" alt=\"\" \
         style=\"position:absolute;margin-left:0;margin-top:0;width:{width}pt;height:100pt;rotation:315;z-index:-251658752;\
         mso-position-horizontal:center;mso-position-horizontal-relative:margin;mso-position-vertical:center;\
         mso-position-vertical-relative:margin\" o:allowincell=\"f\" fillcolor=\"#d5dbe3\" stroked=\"f\">\
         <v:fill opacity=\".5\"/><v:textpath style=\"font-family:&quot;Calibri&quot;;font-size:1pt\" string=\"{}\"/></v:shape></w:pict></w:r>",
        escaped(&words)
    );
}
