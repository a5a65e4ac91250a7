//! Workbooks and word processor files, read back as the XML that they are; and by LibreOffice where it is installed.

#[path = "judges/left_out.rs"]
mod left_out;

use std::{
    collections::{BTreeMap, HashSet},
    io::{Cursor, Read},
    process::Command,
};

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Severity,
    document::{
        Block, Cell, Column, ColumnKind, Document, Fact, Format, Inline, Link, List, ListItem, Orientation,
        Paragraph, Section, Sheet, Status, Table, Tone,
    },
};
use left_out::left_out;
use rendering::{Options, render, samples};
use roxmltree::Node;

/// Names that have become formulas, markup, fields or damage elsewhere, and how they are to be read.
fn hostile() -> Vec<(String, String)> {
    let same = |text: &str| (text.to_owned(), text.to_owned());
    vec![
        same("=cmd|' /C calc'!A0"),
        same("+1+1"),
        same("-2+3"),
        same("@SUM(1)"),
        same("=HYPERLINK(\"http://evil.example\",\"x\")"),
        same("{=1+1}"),
        same("'quoted"),
        same("<w:fldSimple w:instr=\"INCLUDETEXT\"/>&amp;"),
        same("]]>"),
        same("_x0041_"),
        same("1E5"),
        same("007"),
        same("שלום-עולם"),
        same("日本語"),
        same("  both ends  "),
        same(&"w".repeat(10_000)),
        ("a\0b\u{1b}[2J".to_owned(), "a⟨U+0000⟩b⟨U+001B⟩[2J".to_owned()),
        ("abc\u{202e}fdp".to_owned(), "abc⟨U+202E⟩fdp".to_owned()),
        ("zero\u{200b}width\u{feff}".to_owned(), "zero⟨U+200B⟩width⟨U+FEFF⟩".to_owned()),
        ("end\u{fffe}\u{ffff}".to_owned(), "end⟨U+FFFE⟩⟨U+FFFF⟩".to_owned()),
    ]
}

fn document(sections: Vec<Section>) -> Document {
    let created = DateTime::<Utc>::UNIX_EPOCH + chrono::Duration::days(20_000);
    Document { sections, ..Document::new("technical", "Corpus", "Example & Sons", "R-1", created) }
}

fn section(heading: &str, blocks: Vec<Block>) -> Section {
    Section { blocks, ..Section::new(heading, heading) }
}

fn hostile_document() -> Document {
    let columns = vec![
        Column::new("=Name", ColumnKind::Identifier),
        Column::new("=name", ColumnKind::Status),
        Column::new("", ColumnKind::Link),
    ];
    let rows = hostile()
        .into_iter()
        .map(|(text, _)| {
            let status = Status { label: text.clone(), tone: Tone::Bad };
            let link = Link { text: text.clone(), url: "javascript:alert(1)".to_owned() };
            vec![Cell::identifier(text), Cell::Status(status), Cell::Link(link)]
        })
        .collect();
    let paragraph = |(text, _): &(String, String)| {
        Block::Paragraph(Paragraph { content: vec![Inline::Text(text.clone()), Inline::Code(text.clone())] })
    };
    let table = Table { caption: Some("[=1]/*?".to_owned()), ..Table::new("names", columns, rows) };
    let prose = section("=1+1", hostile().iter().map(paragraph).collect());
    document(vec![section("Names", vec![Block::Table(table)]), prose])
}

fn rendered(document: &Document, format: Format) -> Vec<u8> {
    render(document, format, &Options::default()).unwrap_or_else(|error| panic!("{format}: {error:#?}")).bytes
}

/// The XML parts of the file by name.
fn parts(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    let xml = names.into_iter().filter(|name| name.ends_with(".xml") || name.ends_with(".rels"));
    xml.map(|name| {
        let mut text = String::new();
        archive.by_name(&name).unwrap().read_to_string(&mut text).unwrap();
        roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, text)
    })
    .collect()
}

fn parsed(xml: &str) -> roxmltree::Document<'_> {
    roxmltree::Document::parse(xml).unwrap()
}

fn named<'a, 'input>(node: Node<'a, 'input>, name: &'static str) -> impl Iterator<Item = Node<'a, 'input>> {
    node.descendants().filter(move |node| node.is_named(name))
}

trait TagName {
    fn is_named(&self, name: &str) -> bool;
}

impl TagName for Node<'_, '_> {
    fn is_named(&self, name: &str) -> bool {
        self.is_element() && self.tag_name().name() == name
    }
}

fn text_of(node: Node<'_, '_>) -> String {
    named(node, "t").filter_map(|node| node.text()).collect()
}

/// Every string of a workbook as a reader has it: Excel's escapes resolved.
fn strings(parts: &BTreeMap<String, String>) -> HashSet<String> {
    let mut strings = HashSet::new();
    for (_, xml) in
        parts.iter().filter(|(name, _)| name.ends_with("sharedStrings.xml") || name.contains("worksheets/"))
    {
        let document = parsed(xml);
        for item in document.root().descendants().filter(|node| matches!(node.tag_name().name(), "si" | "is"))
        {
            strings.insert(text_of(item).replace("_x005F_", "_"));
        }
    }
    strings
}

/// One sheet by its name, with the text of each cell and its type.
fn cells(parts: &BTreeMap<String, String>, sheet: &str) -> BTreeMap<String, (String, String)> {
    let shared: Vec<String> = parts
        .get("xl/sharedStrings.xml")
        .map_or_else(Vec::new, |xml| named(parsed(xml).root(), "si").map(text_of).collect());
    let workbook = parsed(&parts["xl/workbook.xml"]);
    let place = named(workbook.root(), "sheet").position(|node| node.attribute("name") == Some(sheet));
    let place = place.unwrap_or_else(|| panic!("no sheet `{sheet}`")) + 1;
    let sheet = parsed(&parts[&format!("xl/worksheets/sheet{place}.xml")]);
    named(sheet.root(), "c")
        .map(|cell| {
            let kind = cell.attribute("t").unwrap_or("n").to_owned();
            let value = named(cell, "v").next().and_then(|node| node.text()).unwrap_or_default().to_owned();
            let value = match kind.as_str() {
                "s" => shared[value.parse::<usize>().unwrap()].clone(),
                "inlineStr" => text_of(cell),
                _ => value,
            };
            (cell.attribute("r").unwrap().to_owned(), (kind, value))
        })
        .collect()
}

fn soffice(bytes: &[u8], extension: &str, to: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(format!("file.{extension}"));
    std::fs::write(&file, bytes).unwrap();
    let profile = format!("-env:UserInstallation=file://{}", folder.path().join("profile").display());
    let outcome = Command::new("soffice")
        .args([&profile, "--headless", "--convert-to", to, "--outdir"])
        .args([folder.path(), file.as_path()])
        .output();
    if outcome.is_err() {
        left_out("`soffice` cannot be run; scripts/setup --tests installs it");
        return None;
    }
    Some(std::fs::read_to_string(folder.path().join(format!("file.{to}"))).unwrap())
}

#[test]
fn cells_of_a_workbook_have_types_and_the_sheet_has_what_an_editor_needs() {
    let columns = vec![
        Column::new("Id", ColumnKind::Identifier),
        Column::new("Score", ColumnKind::Number { decimals: 1 }),
        Column::new("Due", ColumnKind::Date),
        Column::new("Severity", ColumnKind::Severity),
        Column {
            note: Some("as the auditor has it".into()),
            ..Column::new("Risk", ColumnKind::Text).allowed(&["Low", "High, or so"])
        },
        Column::new("Advisory", ColumnKind::Link),
    ];
    let day = NaiveDate::from_ymd_opt(2025, 10, 1).unwrap();
    let row = vec![
        Cell::identifier("3.10"),
        Cell::number(9.8),
        Cell::Date(day),
        Cell::Severity(Severity::High),
        Cell::text("Low"),
        Cell::Link(Link { text: "DSA".into(), url: "https://e.example/1".into() }),
    ];
    let old = vec![
        Cell::Empty,
        Cell::Number(u64::MAX.into()),
        Cell::Date(NaiveDate::from_ymd_opt(1815, 12, 10).unwrap()),
        Cell::Empty,
        Cell::Empty,
        Cell::Empty,
    ];
    let table = Table {
        key_columns: 1,
        sheet: Some(Sheet { name: "Items".into(), preamble: vec![Fact::text("System", "=A1")] }),
        ..Table::new("items", columns, vec![row, old])
    };
    let mut document = document(vec![section("Items", vec![Block::Table(table)])]);
    document.cover.classification = Some("CUI//SP-CTI".into());
    let parts = parts(&rendered(&document, Format::Xlsx));
    let cells = cells(&parts, "Items");
    let cell = |place: &str| (cells[place].0.as_str(), cells[place].1.as_str());
    assert_eq!(cell("B1"), ("s", "=A1"));
    assert_eq!(cell("A3"), ("s", "Id"));
    assert_eq!(cell("A4"), ("s", "3.10"));
    assert_eq!(cell("B4"), ("n", "9.8"));
    // Days since 1899-12-30.
    assert_eq!(cell("C4"), ("n", "45931"));
    assert_eq!(cell("D4"), ("s", "High"));
    assert_eq!(cell("F4"), ("s", "DSA"));
    assert_eq!(cell("B5"), ("s", "18446744073709551615"), "more digits than a number holds");
    assert_eq!(cell("C5"), ("s", "1815-12-10"), "before the calendar of spreadsheets");
    let sheet = &parts["xl/worksheets/sheet2.xml"];
    assert!(sheet.contains("topLeftCell=\"B4\"") && sheet.contains("state=\"frozen\""), "{sheet}");
    assert!(sheet.contains("<dataValidation type=\"list\" errorStyle=\"warning\""), "{sheet}");
    assert!(sheet.contains("conditionalFormatting sqref=\"D4:D5\""), "{sheet}");
    assert!(sheet.contains("CUI//SP-CTI"), "{sheet}");
    assert!(parts["xl/tables/table1.xml"].contains("autoFilter ref=\"A3:F5\""));
    assert!(parts["docProps/core.xml"].contains("2024-10-04T00:00:00Z"), "{}", parts["docProps/core.xml"]);
    assert!(parts["docProps/app.xml"].contains("Example &amp; Sons"));
    assert!(parts["docProps/custom.xml"].contains("CUI//SP-CTI"));
}

#[test]
fn hostile_strings_stand_in_the_workbook_as_text_and_nothing_is_a_formula() {
    let bytes = rendered(&hostile_document(), Format::Xlsx);
    let parts = parts(&bytes);
    let strings = strings(&parts);
    for (_, shown) in hostile() {
        assert!(strings.contains(&shown), "{shown:?}");
    }
    for (name, xml) in parts.iter().filter(|(name, _)| name.contains("worksheets/sheet")) {
        assert_eq!(named(parsed(xml).root(), "f").count(), 0, "{name}");
    }
    assert!(parts.values().all(|xml| !xml.contains("TargetMode=\"External\"")));
    if let Some(flat) = soffice(&bytes, "xlsx", "fods") {
        assert!(!flat.contains("table:formula"), "LibreOffice found a formula");
        assert!(flat.contains("=cmd|") && flat.contains("@SUM(1)"));
    }
}

#[test]
fn a_long_table_is_written_as_a_stream_and_reads_the_same() {
    let columns =
        vec![Column::new("N", ColumnKind::Number { decimals: 0 }), Column::new("Name", ColumnKind::Text)];
    let rows = (0..6_000_u64).map(|row| vec![Cell::count(row), Cell::text(format!("=row {row}"))]).collect();
    let long = document(vec![section("Long", vec![Block::Table(Table::new("long", columns, rows))])]);
    let bytes = rendered(&long, Format::Xlsx);
    assert!(bytes == rendered(&long, Format::Xlsx), "not the same bytes");
    let cells = cells(&parts(&bytes), "Long");
    assert_eq!(cells["A6001"], ("n".to_owned(), "5999".to_owned()));
    assert_eq!(cells["B6001"], ("inlineStr".to_owned(), "=row 5999".to_owned()));
    assert!(!cells.contains_key("A6002"));
}

#[test]
fn a_workbook_loses_nothing_that_is_no_table() {
    let parts = parts(&rendered(&samples::sample("ssp").unwrap(), Format::Xlsx));
    let controls = cells(&parts, "Controls");
    assert_eq!(controls["A2"].1, "AC-1");
    assert!(controls.contains_key("A411"), "a row for each control");
    let technical = self::parts(&rendered(&samples::sample("technical").unwrap(), Format::Xlsx));
    assert!(cells(&technical, "Findings in detail").contains_key("A5"));
    assert!(cells(&technical, "Charts").contains_key("D2"));
}

#[test]
fn every_sample_and_an_empty_report_become_well_formed_office_files() {
    let empty = Table::new("none", vec![Column::new("A", ColumnKind::Text)], vec![]);
    let documents = samples::TYPES
        .iter()
        .map(|report_type| samples::sample(report_type).unwrap())
        .chain([document(vec![]), document(vec![section("", vec![Block::Table(empty)])])]);
    for document in documents {
        for format in [Format::Xlsx, Format::Docx] {
            let bytes = rendered(&document, format);
            assert!(!parts(&bytes).is_empty());
            assert!(
                bytes == rendered(&document, format),
                "{} as {format}: not the same bytes",
                document.report_type
            );
        }
    }
}

#[test]
fn a_document_has_styles_an_outline_and_contents_that_lead_to_its_headings() {
    let mut sample = samples::sample("technical").unwrap();
    sample.presentation.table_of_contents = Some(true);
    let parts = parts(&rendered(&sample, Format::Docx));
    let document = parsed(&parts["word/document.xml"]);
    let w = |node: Node<'_, '_>, name: &str| {
        node.attributes()
            .find(|attribute| attribute.name() == name)
            .map(|attribute| attribute.value().to_owned())
    };
    let styles: HashSet<String> = named(parsed(&parts["word/styles.xml"]).root(), "style")
        .filter_map(|style| w(style, "styleId"))
        .collect();
    for style in ["pStyle", "rStyle", "tblStyle"].into_iter().flat_map(|name| named(document.root(), name)) {
        let used = w(style, "val").unwrap();
        assert!(styles.contains(&used), "style `{used}` is used but not there");
    }
    let heading_of = |paragraph: Node<'_, '_>| {
        let bookmark = named(paragraph, "bookmarkStart").next()?;
        Some((w(bookmark, "name")?, text_of(paragraph)))
    };
    let headings: BTreeMap<String, String> = named(document.root(), "p").filter_map(heading_of).collect();
    let entries: Vec<(String, String)> = named(document.root(), "p")
        .filter(|paragraph| {
            named(*paragraph, "pStyle")
                .any(|style| w(style, "val").is_some_and(|style| style.starts_with("TOC")))
        })
        .filter_map(|paragraph| {
            Some((w(named(paragraph, "hyperlink").next()?, "anchor")?, text_of(paragraph)))
        })
        .collect();
    assert!(entries.len() > 4, "{entries:?}");
    for (anchor, text) in entries {
        assert_eq!(text, headings[&anchor]);
    }
    let instructions: String = named(document.root(), "instrText").filter_map(|node| node.text()).collect();
    // Pages are not known before a word processor has laid them out.
    assert!(instructions.contains("TOC \\o") && !instructions.contains("PAGEREF"), "{instructions}");
    assert!(parts["word/settings.xml"].contains("updateFields"));
    for picture in named(document.root(), "docPr") {
        assert!(picture.attribute("descr").is_some_and(|alt| !alt.is_empty()));
    }
    assert!(named(document.root(), "docPr").count() > 0);
    assert!(named(document.root(), "tblHeader").count() > 0);
}

#[test]
fn a_document_is_marked_on_every_page_and_turns_its_wide_tables() {
    let mut sample = samples::sample("poam").unwrap();
    sample.cover.classification = Some("CUI".into());
    sample.presentation.watermark = Some("DRAFT".into());
    let parts = parts(&rendered(&sample, Format::Docx));
    for part in ["word/header1.xml", "word/footer1.xml"] {
        assert!(parts[part].contains(">CUI</w:t>"), "{}", parts[part]);
    }
    assert!(parts["word/header1.xml"].contains("string=\"DRAFT\""));
    assert!(parts["word/footer1.xml"].contains("NUMPAGES"));
    let text = &parts["word/document.xml"];
    assert!(text.contains("w:orient=\"landscape\""));
    assert_eq!(
        text.matches("<w:sectPr>").count(),
        text.matches("rId4").count(),
        "each section has the head of page"
    );
    let turned = document(vec![Section { orientation: Orientation::Landscape, ..section("Turned", vec![]) }]);
    let text = self::parts(&rendered(&turned, Format::Docx)).remove("word/document.xml").unwrap();
    assert_eq!(text.matches("<w:sectPr>").count(), 2, "upright, turned");
}

#[test]
fn a_row_of_many_lines_may_go_over_the_end_of_a_page_and_a_short_one_may_not() {
    let columns =
        vec![Column::new("Host", ColumnKind::Identifier), Column::new("State", ColumnKind::Status).width(6)];
    let row = |name: String, label: &str| {
        vec![Cell::identifier(name), Cell::Status(Status { label: label.to_owned(), tone: Tone::Bad })]
    };
    let rows = vec![
        row("a".into(), "open"),
        row("x".repeat(200), "open"),
        row("d".repeat(10_000), "open"),
        row("b".into(), &"waiting ".repeat(400)),
    ];
    let table = Block::Table(Table::new("rows", columns, rows));
    let parts = parts(&rendered(&document(vec![section("Rows", vec![table])]), Format::Docx));
    let text = parsed(&parts["word/document.xml"]);
    let table = named(text.root(), "tbl").last().unwrap();
    let whole: Vec<bool> = named(table, "tr").map(|row| named(row, "cantSplit").count() > 0).collect();
    assert_eq!(whole, [true, true, true, false, false]);
}

#[test]
fn hostile_strings_stand_in_the_document_as_text_and_nothing_lies_outside() {
    let bytes = rendered(&hostile_document(), Format::Docx);
    let parts = parts(&bytes);
    assert!(parts.values().all(|xml| !xml.contains("TargetMode")));
    let document = parsed(&parts["word/document.xml"]);
    let texts: HashSet<String> = named(document.root(), "r").map(text_of).collect();
    for (_, shown) in hostile() {
        assert!(texts.contains(&shown), "{shown:?}");
    }
    assert_eq!(named(document.root(), "fldSimple").count(), 0);
    let instructions: Vec<&str> =
        named(document.root(), "instrText").filter_map(|node| node.text()).collect();
    assert!(instructions.iter().all(|text| !text.contains("javascript")), "{instructions:?}");
    if let Some(text) = soffice(&bytes, "docx", "txt") {
        assert!(text.contains("=cmd|' /C calc'!A0") && text.contains("abc⟨U+202E⟩fdp"));
    }
}

#[test]
fn an_address_cannot_leave_the_field_that_it_stands_in() {
    let link = Link { text: "x".into(), url: "https://e.example/\"\\o\"INCLUDETEXT".into() };
    let content = vec![Inline::Link(link)];
    let document = document(vec![section("S", vec![Block::Paragraph(Paragraph { content })])]);
    let parts = parts(&rendered(&document, Format::Docx));
    assert!(
        parts["word/document.xml"].contains("HYPERLINK &quot;https://e.example/%22%5Co%22INCLUDETEXT&quot; ")
    );
}

#[test]
fn each_ordered_list_begins_at_one() {
    let item = |text: &str| ListItem::from(vec![Inline::Text(text.into())]);
    let list = || Block::List(List { ordered: true, items: vec![item("a"), item("b")] });
    let parts = parts(&rendered(&document(vec![section("S", vec![list(), list()])]), Format::Docx));
    assert_eq!(parts["word/numbering.xml"].matches("startOverride").count(), 2);
    let text = &parts["word/document.xml"];
    assert_eq!(
        (text.matches("numId w:val=\"2\"").count(), text.matches("numId w:val=\"3\"").count()),
        (2, 2)
    );
}

#[test]
fn requests_are_obeyed_in_documents_and_workbooks() {
    let mut document = samples::sample("technical").unwrap();
    let options = serde_json::json!({
        "title": "Third quarter", "company_name": "Acme", "classification": "CUI//SP-PRVCY", "watermark": "DRAFT",
        "include_remediation": false, "include_evidence": false, "severity_filter": ["CRITICAL"], "cover_page": false,
        "sections": [{ "id": "scope", "heading": "What was looked at" }],
    });
    document.apply(&serde_json::from_value(options).unwrap());
    for format in [Format::Docx, Format::Xlsx] {
        let parts = parts(&rendered(&document, format));
        let texts = |xml: &String| -> String {
            parsed(xml).root().descendants().filter(Node::is_text).filter_map(|node| node.text()).collect()
        };
        let text: String = parts.values().map(texts).collect();
        for wanted in ["Third quarter", "Acme", "CUI//SP-PRVCY", "on request", "What was looked at"] {
            assert!(text.contains(wanted), "{format} has no {wanted:?}");
        }
        assert!(!text.contains("libwebp"), "{format} shows a finding that is not critical");
        assert!(!text.contains("Upgrade log4j-core to 2.17.1"), "{format} shows remediation");
        assert!(!text.contains("bookworm fixed"), "{format} shows evidence");
    }
}
