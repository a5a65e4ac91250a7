//! Strings that have broken somebody's report before, in every place of a document, through every format, each judged by a
//! program of somebody else: LibreOffice, Chromium, poppler, qpdf, python-docx, openpyxl, a CommonMark reader.
//!
//! `scripts/judges` installs those that come from PyPI. One that is missing is named, and what it would have said is skipped.

mod judges;

use std::{io::Write, net::TcpListener};

use chrono::{DateTime, Utc};
use domain::{
    Severity,
    document::{
        AffectedAsset, Attestation, Bar, Block, Branding, Cell, Chart, CodeBlock, Column, ColumnKind,
        Control, ControlPart, Cover, Diagram, Document, Edge, Fact, FindingCard, Fix, Flow, Format, Image,
        ImageFormat, Inline, KeyFigure, KeyValues, Link, List, ListItem, Method, Node, Note, Number,
        Paragraph, Plot, Quantity, Section, Shape, SignOff, Signatory, Status, Table, Timeline,
        TimelineEvent, Tone,
    },
};
use rendering::{Options, RenderError, render};
use serde_json::json;

use judges::{judge, on_disk, run, soffice};

/// Each with how it is to be read where text is shown.
fn corpus(canary: &str) -> Vec<(String, String)> {
    let same = [
        "=cmd|'/c calc'!A0".to_owned(),
        "+1+1".into(),
        "-2+3".into(),
        "@SUM(1)".into(),
        "=HYPERLINK(\"http://evil.example\",\"x\")".into(),
        "=WEBSERVICE(\"http://evil.example\")".into(),
        "<script>document.title='owned'</script>".into(),
        format!("<img src=\"{canary}img\" onerror=\"document.title='owned'\">"),
        format!("<link rel=stylesheet href={canary}css>"),
        format!("<iframe src={canary}frame></iframe>"),
        format!("\"><script src={canary}js></script>"),
        format!("</style><style>body{{background:url({canary}bg)}}"),
        format!("![x]({canary}md)"),
        "</title><h1>owned".into(),
        "{{7*7}}".into(),
        "${7*7}".into(),
        "#eval(\"1\")".into(),
        "#read(\"/etc/passwd\")".into(),
        "]#panic()".into(),
        "$ x $".into(),
        "]]>".into(),
        "&#0;".into(),
        "%n%s%p".into(),
        "../../x".into(),
        "file:///etc/passwd".into(),
        "javascript:alert(1)".into(),
        "<w:fldSimple w:instr=\"INCLUDETEXT\"/>".into(),
        "{=1+1}".into(),
        "_x0041_".into(),
        "\\ud800".into(),
        "日本語のパッケージ".into(),
        "Größe-Ωμέγα-Жук".into(),
        format!("CVE-2024-{}", "1".repeat(60)),
    ];
    let mut corpus: Vec<_> = same.into_iter().map(|text| (text.clone(), text)).collect();
    for (text, shown) in [
        ("a\0b", "a⟨U+0000⟩b"),
        ("\u{1b}[2Jansi", "⟨U+001B⟩[2Jansi"),
        ("abc\u{202e}fdp.exe", "abc⟨U+202E⟩fdp.exe"),
        ("zero\u{200b}width\u{feff}end", "zero⟨U+200B⟩width⟨U+FEFF⟩end"),
        ("end\u{fffe}\u{ffff}", "end⟨U+FFFE"),
    ] {
        corpus.push((text.into(), shown.into()));
    }
    corpus
}

/// What cannot be asked for word by word: too long, or set otherwise in each format.
fn unwieldy() -> Vec<String> {
    vec![
        "\t=1".into(),
        "\r=1".into(),
        "\"\r\nBcc:x@y".into(),
        "w".repeat(10_000),
        "שלום-עולם".into(),
        "مكتبة-libfoo".into(),
        "\u{1f600}\u{1f9e8}\u{10ffff}\u{e000}".into(),
        format!("a{}", "\u{0301}".repeat(500)),
        "line\n".repeat(2_000),
        String::from_utf8_lossy(b"caf\xe9 \xf0\x28\x8c\x28").into_owned(),
        String::new(),
        "   ".into(),
    ]
}

fn section(heading: &str, blocks: Vec<Block>) -> Section {
    Section { blocks, ..Section::new("", heading) }
}

fn document(sections: Vec<Section>) -> Document {
    let at = DateTime::<Utc>::UNIX_EPOCH + chrono::Duration::days(20_000);
    Document { sections, ..Document::new("technical", "Corpus", "Example", "R-1", at) }
}

fn hostile(canary: &str) -> Document {
    let texts: Vec<String> = corpus(canary).into_iter().map(|(text, _)| text).chain(unwieldy()).collect();
    let rows = texts.iter().map(|text| {
        let link = Link { text: text.clone(), url: text.clone() };
        vec![
            Cell::identifier(text),
            Cell::text(text),
            Cell::Status(Status { label: text.clone(), tone: Tone::Bad }),
            Cell::Link(link),
            Cell::number(-1.0),
        ]
    });
    let columns = vec![
        Column { note: Some(texts[0].clone()), ..Column::new("=Name", ColumnKind::Identifier) },
        Column::new(&texts[6], ColumnKind::Text).allowed(&["=1", "\"", "x,y"]),
        Column::new("", ColumnKind::Status),
        Column::new("'", ColumnKind::Link),
        Column::new("N", ColumnKind::Number { decimals: 0 }),
    ];
    let table = Table {
        caption: Some("[=1]/*?".to_owned()),
        key_columns: 1,
        ..Table::new("names", columns, rows.collect())
    };
    let mut sections = vec![section("Names", vec![Block::Table(table)])];
    sections.extend(texts.iter().map(|text| section(text, blocks_of(text))));
    let every: Vec<_> = texts.iter().map(|text| figure_of(text)).collect();
    let cover = Cover {
        title: texts[6].clone(),
        subtitle: Some(texts[7].clone()),
        classification: Some("</style><script>x\"}".into()),
        prepared_for: Some(texts[0].clone()),
        prepared_by: Some(texts[1].clone()),
        version: Some(texts[16].clone()),
        verify_url: Some("javascript:alert(1)".into()),
        ..document(vec![]).cover
    };
    let mut document = Document { cover, key_figures: every[..8].to_vec(), ..document(sections) };
    document.omissions = texts[..12].to_vec();
    document.presentation.watermark = Some("</span><script>x".into());
    document
}

fn figure_of(text: &str) -> KeyFigure {
    KeyFigure {
        label: text.to_owned(),
        value: Quantity::Text(text.to_owned()),
        unit: Some(text.to_owned()),
        trend: None,
        tone: Tone::Bad,
        history: vec![],
    }
}

/// The text in every kind of block.
fn blocks_of(text: &str) -> Vec<Block> {
    let own = || text.to_owned();
    let inline = || vec![Inline::Text(own()), Inline::Code(own()), Inline::Strong(own())];
    let fact = || Fact { label: own(), value: inline() };
    let status = || Status { label: own(), tone: Tone::Caution };
    let link = || Link { text: own(), url: own() };
    let item = || ListItem { content: inline(), items: vec![] };
    let day = chrono::NaiveDate::from_ymd_opt(2025, 10, 1).unwrap();
    let person = || Signatory { role: own(), name: Some(own()), organization: Some(own()), signed_on: None };
    let node = Node {
        id: own(),
        label: own(),
        detail: Some(own()),
        shape: Shape::Store,
        tone: Tone::Bad,
        group: None,
    };
    vec![
        Block::Paragraph(Paragraph { content: inline() }),
        Block::List(List { ordered: true, items: vec![item()] }),
        Block::Note(Note { tone: Tone::Bad, title: Some(own()), content: inline() }),
        Block::Code(CodeBlock { caption: Some(own()), text: own() }),
        Block::KeyValues(KeyValues { entries: vec![fact()] }),
        Block::Chart(Chart {
            id: own(),
            title: own(),
            alt: own(),
            unit: own(),
            plot: Plot::Bars { bars: vec![Bar { label: own(), value: Number::from(1), severity: None }] },
        }),
        Block::Diagram(Diagram {
            id: own(),
            title: own(),
            alt: own(),
            direction: Flow::Down,
            groups: vec![],
            edges: vec![Edge { from: own(), to: own(), label: Some(own()), dashed: true }],
            nodes: vec![node],
        }),
        Block::FindingCard(FindingCard {
            title: own(),
            severity: Severity::High,
            score: None,
            vulnerability_id: own(),
            marks: vec![status()],
            package: Some(own()),
            installed: Some(own()),
            fix: Fix::Version(own()),
            description: own(),
            facts: vec![fact()],
            affected: vec![AffectedAsset { name: own(), detail: Some(own()) }],
            affected_total: 2,
            evidence: vec![own()],
            remediation: Some(own()),
            references: vec![link()],
        }),
        Block::Control(Control {
            control_id: own(),
            title: own(),
            status: status(),
            facts: vec![fact()],
            choices: vec![],
            parameters: vec![fact()],
            statement: vec![item()],
            implementation: vec![ControlPart {
                label: Some(own()),
                status: Some(status()),
                content: inline(),
            }],
            evidence: vec![],
            gaps: inline(),
            remediation: Some(own()),
            references: vec![link()],
        }),
        Block::Timeline(Timeline {
            title: Some(own()),
            events: vec![TimelineEvent {
                on: day,
                until: None,
                title: own(),
                detail: inline(),
                status: Some(status()),
            }],
        }),
        Block::SignOff(SignOff { statement: inline(), signatories: vec![person()] }),
        Block::Attestation(Attestation {
            title: own(),
            statement: inline(),
            affirmations: vec![item()],
            facts: vec![fact()],
            official: person(),
            legal_notice: Some(own()),
        }),
        Block::Method(Method { summary: inline(), steps: vec![fact()], limitations: vec![inline()] }),
    ]
}

fn branding(text: &str) -> Branding {
    let colours = json!({ "primary": "#ffff00", "secondary": "#ffffff", "accent": "#000000" });
    serde_json::from_value(json!({ "contact": text, "legal_statements": [text], "colours": colours }))
        .unwrap()
}

fn rendered(document: &Document, format: Format) -> Vec<u8> {
    let options = Options { branding: branding("<b>=1+1</b>"), ..Options::default() };
    render(document, format, &options).unwrap_or_else(|error| panic!("{format}: {error:#?}")).bytes
}

/// Text without line ends and places to break, as it is compared.
fn squeezed(text: &str) -> String {
    text.chars().filter(|character| !character.is_whitespace() && *character != '\u{200b}').collect()
}

#[track_caller]
fn assert_shown(text: &str, what: &str) {
    let text = squeezed(text);
    for (_, shown) in corpus(NOWHERE) {
        assert!(text.contains(&squeezed(&shown)), "{what} does not show {shown:?}");
    }
}

const NOWHERE: &str = "http://127.0.0.1:9/";

#[test]
fn a_pdf_shows_everything_and_does_nothing() {
    let (_folder, path) = on_disk("report.pdf", &rendered(&hostile(NOWHERE), Format::Pdf));
    let path = path.to_str().unwrap();
    let _ = run("qpdf", &["--check", path]);
    if let Some(text) = run("pdftotext", &["-raw", path, "-"]) {
        assert_shown(&text, "the PDF");
    }
    if let Some(objects) = run("qpdf", &["--qdf", "--object-streams=disable", path, "-"]) {
        for action in ["/JavaScript", "/Launch", "/SubmitForm", "/ImportData", "/GoToR", "/EmbeddedFile"] {
            assert!(!objects.contains(action), "{action}");
        }
    }
    let _ = judge("profiles.py", &[path, "2a", "ua1"]);
}

#[test]
fn a_page_shows_everything_asks_for_nothing_and_runs_nothing() {
    // Whoever follows one of the addresses in the corpus comes here.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let canary = format!("http://{}/", listener.local_addr().unwrap());
    let document = hostile(&canary);
    for format in [Format::Html, Format::Svg] {
        let name = format!("report.{}", format.extension());
        let (folder, path) = on_disk(&name, &rendered(&document, format));
        let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
        let address = format!("file://{}", path.display());
        let quiet =
            ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom"];
        let Some(page) = run("chromium", &[&quiet[..], &[&profile, &address]].concat()) else { return };
        assert!(!page.contains("<script") && !page.contains("<iframe"), "{format}");
        assert!(!page.contains("<title>owned"), "a script has run");
        assert!(listener.accept().is_err(), "{format} asked for something");
    }
    // What a reader sees, entities resolved, is what somebody typed.
    let text = soffice(&on_disk("report.html", &rendered(&hostile(NOWHERE), Format::Html)).1, "txt");
    assert!(text.is_none_or(|text| text.contains("#read(\"/etc/passwd\")")));
}

#[test]
fn a_document_to_edit_shows_everything_and_refers_to_nothing_outside() {
    let (folder, path) = on_disk("report.docx", &rendered(&hostile(NOWHERE), Format::Docx));
    let copy = folder.path().join("copy.docx");
    if let Some(text) = judge("document.py", &[path.to_str().unwrap(), copy.to_str().unwrap()]) {
        assert_shown(&text, "the document");
    }
    if let Some(text) = soffice(&path, "txt") {
        assert!(text.contains("=cmd|'/c calc'!A0") && text.contains("abc⟨U+202E⟩fdp.exe"));
    }
}

#[test]
fn a_workbook_holds_everything_and_computes_nothing() {
    let (folder, path) = on_disk("report.xlsx", &rendered(&hostile(NOWHERE), Format::Xlsx));
    let copy = folder.path().join("copy.xlsx");
    if let Some(text) = judge("workbook.py", &[path.to_str().unwrap(), copy.to_str().unwrap()]) {
        assert_shown(&text, "the workbook");
    }
    if let Some(flat) = soffice(&path, "fods") {
        assert!(!flat.contains("table:formula"), "LibreOffice found a formula");
    }
}

#[test]
fn a_spreadsheet_computes_nothing_from_csv() {
    let (_folder, path) = on_disk("report.csv", &rendered(&hostile(NOWHERE), Format::Csv));
    let Some(flat) = soffice(&path, "fods") else { return };
    assert!(!flat.contains("table:formula"), "LibreOffice found a formula");
    assert!(flat.contains("=cmd|") && flat.contains("@SUM(1)") && flat.contains("#eval"));
}

#[test]
fn markdown_stays_text_for_a_reader_that_lets_markup_through() {
    let (_folder, path) = on_disk("report.md", &rendered(&hostile(NOWHERE), Format::Markdown));
    let Some(html) = judge("marked_up.py", &[path.to_str().unwrap()]) else { return };
    for tag in
        ["<script", "<img", "<iframe", "<link", "<style", "href=\"javascript", "href=\"file", "<h1>owned"]
    {
        assert!(!html.contains(tag), "{tag}");
    }
    for shown in ["&lt;script&gt;", "=cmd|", "{{7*7}}", "abc⟨U+202E⟩fdp.exe"] {
        assert!(html.contains(shown), "{shown}");
    }
}

#[test]
fn json_gives_back_every_string_as_it_came() {
    let document = hostile(NOWHERE);
    let json = rendered(&document, Format::Json);
    assert_eq!(serde_json::from_slice::<Document>(&json).unwrap(), document);
}

/// A change of direction, nothing of any width, and marks on marks.
const UNSEEN: &str =
    "abc\u{202e}fdp.exe zero\u{200b}\u{200d}\u{feff}width \u{2066}bidi\u{2069} שלום a\u{301}\u{302}\u{303}";

/// Nothing, little, much of one thing: whatever comes is a file, in every format that the document has something for.
#[test]
fn odd_documents_become_files_in_every_format() {
    let name = |length: usize| format!("host-{}.example.org", "x".repeat(length - 17));
    let column = || vec![Column::new("Host", ColumnKind::Identifier), Column::new("What", ColumnKind::Text)];
    let row = vec![Cell::identifier(name(200)), Cell::text("A description. ".repeat(667))];
    let table = |rows| Block::Table(Table::new("hosts", column(), rows));
    let nested = (1..=100).rev().fold(Vec::new(), |inner, depth| {
        vec![Section { sections: inner, ..section(&format!("Level {depth}"), vec![Block::text("Here.")]) }]
    });
    let deep_list = (1..=100).fold(vec![], |items, depth| {
        vec![ListItem { content: vec![Inline::Text(format!("Point {depth}"))], items }]
    });
    let list = Block::List(List { ordered: false, items: deep_list });
    let unseen = vec![Cell::identifier(UNSEEN), Cell::text(UNSEEN)];
    let bar = Bar { label: UNSEEN.into(), value: Number::from(1), severity: None };
    let chart = Block::Chart(Chart {
        id: "unseen".into(),
        title: UNSEEN.into(),
        alt: UNSEEN.into(),
        unit: "hosts".into(),
        plot: Plot::Bars { bars: vec![bar] },
    });
    for (what, sections) in [
        ("nothing", vec![]),
        ("a section without content", vec![section("", vec![])]),
        ("an empty table", vec![section("None", vec![table(vec![])])]),
        ("one row, long", vec![section("One", vec![table(vec![row])])]),
        ("a hundred levels", nested),
        ("points below points", vec![section("List", vec![list])]),
        ("what acts unseen", vec![section(UNSEEN, vec![Block::text(UNSEEN), table(vec![unseen]), chart])]),
    ] {
        let document = document(sections);
        for format in rendering::FORMATS {
            let has_one = match format {
                Format::Csv => document.main_table().is_some(),
                Format::Svg | Format::Png => document.main_figure().is_some(),
                _ => true,
            };
            match render(&document, format, &Options::default()) {
                Ok(file) => assert!(has_one && !file.bytes.is_empty(), "{what} as {format}"),
                Err(RenderError::UnsupportedFormat { .. }) => assert!(!has_one, "{what} as {format}"),
                Err(error) => panic!("{what} as {format}: {error:#?}"),
            }
        }
    }
}

fn png(side: u32) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let mut writer = encoder.write_header().unwrap();
    let mut stream = writer.stream_writer().unwrap();
    let row = vec![0x55; side.div_ceil(8) as usize];
    (0..side).for_each(|_| stream.write_all(&row).unwrap());
    stream.finish().unwrap();
    drop(writer);
    file
}

#[test]
fn a_logo_is_shown_or_its_absence_is_told_in_every_format_with_a_face() {
    for (data, is_shown) in
        [(png(1), true), (png(300), true), (png(20_000), false), (b"GIF89a".to_vec(), false)]
    {
        let mut document = document(vec![section("S", vec![Block::text("Text.")])]);
        document.cover.logo = Some(Image { format: ImageFormat::Png, data, alt: "Logo".into() });
        for format in rendering::FORMATS
            .into_iter()
            .filter(|format| !matches!(format, Format::Csv | Format::Svg | Format::Png))
        {
            let bytes = rendered(&document, format);
            if matches!(format, Format::Html | Format::Markdown) {
                let text = String::from_utf8(bytes).unwrap();
                assert_eq!(text.contains("The logo was left out"), !is_shown, "{format}");
                assert_eq!(text.contains("data:image/png"), is_shown && format == Format::Html, "{format}");
            }
        }
    }
}
