//! Paragraphs and runs: what everything in the text is made of.

use std::{collections::HashMap, fmt::Write, io};

use domain::document::{Document, Inline, Link, Reference};

use super::{
    Heading, MAX_LEVEL, outline,
    package::{self, NAMESPACES, Package},
    styles::{self, hex},
};
use crate::{
    Options, RenderError, figure,
    office::{Pixels, link_of, literal},
    prepare::anchor,
    theme::{Palette, Shades},
};

/// The text so far. A part of it waits in `out`, the rest is in the package already.
pub(super) struct Body {
    out: String,
    package: Package,
    /// The first error of writing; the rest is not worth writing then.
    broken: Option<io::Error>,
    pub(super) palette: Palette,
    pub(super) landscape: bool,
    /// Paragraphs stay on the page of the one after them.
    pub(super) with_next: bool,
    /// The outline, of which so many headings are written.
    pub(super) headings: Vec<Heading>,
    written: usize,
    /// The bookmark of a section, by its anchor.
    places: HashMap<String, usize>,
    ordered_lists: u32,
    pictures: Vec<Pixels>,
}

/// What is waited for before the package is troubled.
const CHUNK: usize = 64 << 10;
/// The paragraph stays on the page of the one after it.
pub(super) const KEEP_NEXT: &str = "<w:keepNext/>";
/// Units of DrawingML in a point.
const EMU: f64 = 12_700.0;

/// How letters look.
#[derive(Clone, Copy, Default)]
pub(super) struct Letters<'a> {
    pub(super) style: Option<&'a str>,
    pub(super) strong: bool,
    pub(super) emphasis: bool,
    pub(super) shades: Option<Shades>,
}

pub(super) const STRONG: Letters<'static> =
    Letters { style: None, strong: true, emphasis: false, shades: None };
pub(super) const PLAIN: Letters<'static> =
    Letters { style: None, strong: false, emphasis: false, shades: None };

/// Text as element content and in attributes.
pub(super) fn escaped(text: &str) -> String {
    figure::escape(&literal(text))
}

pub(super) fn escape_into(xml: &mut String, text: &str) {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\'');
    if text.bytes().all(plain) {
        xml.push_str(text);
    } else {
        xml.push_str(&escaped(text));
    }
}

/// The name of the heading's bookmark. Names of this form are taken for headings by word processors too.
pub(super) fn bookmark(index: usize) -> String {
    format!("_Toc{:08}", index + 1)
}

impl Body {
    pub(super) fn new(document: &Document, options: &Options, package: Package) -> Self {
        let headings = outline(document);
        let mut places = HashMap::new();
        for (index, heading) in headings.iter().enumerate() {
            if let Some(id) = heading.section.as_deref().map(anchor).filter(|id| !id.is_empty()) {
                places.entry(id).or_insert(index);
            }
        }
        let mut body = Self {
            out: String::with_capacity(2 * CHUNK),
            package,
            broken: None,
            palette: Palette::of(&options.branding),
            landscape: false,
            with_next: false,
            headings,
            written: 0,
            places,
            ordered_lists: 0,
            pictures: Vec::new(),
        };
        let _ = write!(
            body.out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<w:document {NAMESPACES}><w:body>"
        );
        body
    }

    pub(super) fn finish(mut self, document: &Document) -> Result<Vec<u8>, RenderError> {
        debug_assert_eq!(self.written, self.headings.len(), "the outline of `{}`", document.report_type);
        let section = self.section_properties();
        self.raw(&section);
        self.raw("</w:body></w:document>");
        self.flush();
        if let Some(error) = self.broken {
            return Err(RenderError::Package(error.into()));
        }
        self.package.finish(self.ordered_lists, &self.pictures)
    }

    pub(super) fn raw(&mut self, xml: &str) {
        self.out.push_str(xml);
        if self.out.len() > CHUNK {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.broken.is_none() {
            self.broken = self.package.write(&self.out).err();
        }
        self.out.clear();
    }

    /// A paragraph in a style, with what `content` writes into it.
    pub(super) fn paragraph(&mut self, style: &str, content: impl FnOnce(&mut Self)) {
        self.paragraph_with(style, "", content);
    }

    /// `properties` are those that stand behind the style in the schema's order.
    pub(super) fn paragraph_with(&mut self, style: &str, properties: &str, content: impl FnOnce(&mut Self)) {
        let with_next = if self.with_next { KEEP_NEXT } else { "" };
        let _ = write!(self.out, "<w:p><w:pPr><w:pStyle w:val=\"{style}\"/>{with_next}{properties}</w:pPr>");
        content(self);
        self.raw("</w:p>");
    }

    /// A paragraph of one text.
    pub(super) fn line(&mut self, style: &str, text: &str) {
        self.paragraph(style, |body| body.run(text, PLAIN));
    }

    /// The next heading of the outline.
    pub(super) fn heading(&mut self, properties: &str) {
        let index = self.written;
        self.written += 1;
        let Some(heading) = self.headings.get(index) else { return };
        let (style, text) = (format!("Heading{}", heading.level.min(MAX_LEVEL)), heading.text.clone());
        let text = if text.trim().is_empty() { "Untitled".to_owned() } else { text };
        self.paragraph_with(&style, properties, |body| {
            let _ = write!(body.out, "<w:bookmarkStart w:id=\"{index}\" w:name=\"{}\"/>", bookmark(index));
            // A line feed would end the entry in the contents.
            body.run(&text.replace(['\r', '\n'], " "), PLAIN);
            let _ = write!(body.out, "<w:bookmarkEnd w:id=\"{index}\"/>");
        });
    }

    /// Letters of one look. Line feeds become line breaks, tabs tabs.
    pub(super) fn run(&mut self, text: &str, letters: Letters<'_>) {
        if text.is_empty() {
            return;
        }
        self.out.push_str("<w:r>");
        self.letters(letters);
        let text = literal(text);
        for (index, line) in text.split('\n').enumerate() {
            self.out.push_str(if index > 0 { "<w:br/>" } else { "" });
            for (index, piece) in line.split('\t').enumerate() {
                self.out.push_str(if index > 0 { "<w:tab/>" } else { "" });
                if !piece.is_empty() {
                    self.out.push_str("<w:t xml:space=\"preserve\">");
                    escape_into(&mut self.out, piece);
                    self.out.push_str("</w:t>");
                }
            }
        }
        self.raw("</w:r>");
    }

    fn letters(&mut self, Letters { style, strong, emphasis, shades }: Letters<'_>) {
        if style.is_none() && !strong && !emphasis && shades.is_none() {
            return;
        }
        self.out.push_str("<w:rPr>");
        if let Some(style) = style {
            let _ = write!(self.out, "<w:rStyle w:val=\"{style}\"/>");
        }
        self.out.push_str(if strong || shades.is_some() { "<w:b/>" } else { "" });
        self.out.push_str(if emphasis { "<w:i/>" } else { "" });
        if let Some(shades) = shades {
            let _ = write!(
                self.out,
                "<w:color w:val=\"{}\"/><w:shd w:val=\"clear\" w:color=\"auto\" w:fill=\"{}\"/>",
                hex(shades.dark),
                hex(shades.tint)
            );
        }
        self.out.push_str("</w:rPr>");
    }

    /// A word on coloured ground.
    pub(super) fn pill(&mut self, text: &str, shades: Shades) {
        // Spaces that do not break are the ground at both ends.
        self.run(&format!("\u{a0}{text}\u{a0}"), Letters { shades: Some(shades), ..PLAIN });
    }

    pub(super) fn inlines(&mut self, content: &[Inline]) {
        for inline in content {
            match inline {
                Inline::Text(text) => self.run(text, PLAIN),
                Inline::Strong(text) => self.run(text, STRONG),
                Inline::Emphasis(text) => self.run(text, Letters { emphasis: true, ..PLAIN }),
                Inline::Code(text) => self.run(text, Letters { style: Some("CodeText"), ..PLAIN }),
                Inline::Link(link) => self.link(link),
                Inline::Reference(reference) => self.reference(reference),
            }
        }
    }

    fn reference(&mut self, Reference { text, section }: &Reference) {
        let id = anchor(section);
        let text = if text.trim().is_empty() { section } else { text };
        match self.places.get(&id) {
            Some(&index) => {
                let _ = write!(self.out, "<w:hyperlink w:anchor=\"{}\" w:history=\"1\">", bookmark(index));
                self.run(text, Letters { style: Some("Hyperlink"), ..PLAIN });
                self.raw("</w:hyperlink>");
            }
            None => self.run(text, PLAIN),
        }
    }

    pub(super) fn link(&mut self, link: &Link) {
        let (text, url) = link_of(link);
        let Some(url) = url else { return self.run(&text, PLAIN) };
        // A quotation mark would end the address within the field, a backslash begin a switch.
        let url = url.replace('\\', "%5C").replace('"', "%22");
        self.field(&format!(" HYPERLINK \"{url}\" "), |body| {
            body.run(&text, Letters { style: Some("Hyperlink"), ..PLAIN });
        });
    }

    /// A field with the result that stands there until it is brought up to date.
    pub(super) fn field(&mut self, instruction: &str, result: impl FnOnce(&mut Self)) {
        self.field_begins(instruction);
        result(self);
        self.field_ends();
    }

    pub(super) fn field_begins(&mut self, instruction: &str) {
        self.out.push_str(
            "<w:r><w:fldChar w:fldCharType=\"begin\"/></w:r><w:r><w:instrText xml:space=\"preserve\">",
        );
        escape_into(&mut self.out, instruction);
        self.out.push_str("</w:instrText></w:r><w:r><w:fldChar w:fldCharType=\"separate\"/></w:r>");
    }

    pub(super) fn field_ends(&mut self) {
        self.raw("<w:r><w:fldChar w:fldCharType=\"end\"/></w:r>");
    }

    /// The number of a new ordered list, which begins at 1.
    pub(super) fn ordered_list(&mut self) -> u32 {
        self.ordered_lists += 1;
        styles::BULLETS + self.ordered_lists
    }

    /// A picture in a line of text, as large as the bounds in points allow.
    pub(super) fn picture(&mut self, picture: Pixels, [width, height]: [f64; 2]) {
        let [across, down] = picture.within(width, height).map(|points| (points * EMU).round().max(1.0));
        let alt = escaped(&picture.alt);
        self.pictures.push(picture);
        let number = self.pictures.len();
        let relation = package::picture_relation(number);
        let _ = write!(
            self.out,
            "<w:r><w:drawing><wp:inline distT=\"0\" distB=\"0\" distL=\"0\" distR=\"0\">\
             <wp:extent cx=\"{across}\" cy=\"{down}\"/><wp:docPr id=\"{number}\" name=\"Picture {number}\" descr=\"{alt}\"/>\
             <a:graphic><a:graphicData uri=\"http://schemas.openxmlformats.org/drawingml/2006/picture\"><pic:pic>\
             <pic:nvPicPr><pic:cNvPr id=\"{number}\" name=\"image{number}.png\" descr=\"{alt}\"/><pic:cNvPicPr/></pic:nvPicPr>\
             <pic:blipFill><a:blip r:embed=\"{relation}\"/><a:stretch><a:fillRect/></a:stretch></pic:blipFill>\
             <pic:spPr><a:xfrm><a:off x=\"0\" y=\"0\"/><a:ext cx=\"{across}\" cy=\"{down}\"/></a:xfrm>\
             <a:prstGeom prst=\"rect\"><a:avLst/></a:prstGeom></pic:spPr></pic:pic></a:graphicData></a:graphic>\
             </wp:inline></w:drawing></w:r>"
        );
    }

    /// Width of the text in twentieths of a point: A4 with margins of two centimetres.
    pub(super) fn text_width(&self) -> u32 {
        if self.landscape { 16_838 - 2 * MARGIN } else { 11_906 - 2 * MARGIN }
    }

    /// How the pages up to here lie.
    fn section_properties(&self) -> String {
        let size = if self.landscape {
            "<w:pgSz w:w=\"16838\" w:h=\"11906\" w:orient=\"landscape\"/>"
        } else {
            "<w:pgSz w:w=\"11906\" w:h=\"16838\"/>"
        };
        format!(
            "<w:sectPr>{}{size}<w:pgMar w:top=\"1300\" w:right=\"{MARGIN}\" w:bottom=\"1300\" w:left=\"{MARGIN}\" \
             w:header=\"560\" w:footer=\"560\" w:gutter=\"0\"/></w:sectPr>",
            package::header_and_footer()
        )
    }

    /// Turn the pages from here on, if they lie otherwise.
    pub(super) fn turn(&mut self, landscape: bool) {
        if landscape != self.landscape {
            let properties = self.section_properties();
            let _ = write!(self.out, "<w:p><w:pPr><w:pStyle w:val=\"Small\"/>{properties}</w:pPr></w:p>");
            self.landscape = landscape;
        }
    }
}

const MARGIN: u32 = 1_134;
