//! The samples and a corpus of hostile strings through every format that exists now.

#![expect(clippy::print_stderr, reason = "a skipped check says why")]

use std::{path::Path, process::Command};

use chrono::{DateTime, Utc};
use domain::{
    Severity,
    document::{
        Block, Cell, Column, ColumnKind, Document, FindingCard, Fix, Format, Inline, Link, Paragraph,
        Section, Table,
    },
};
use rendering::{Options, RenderError, Rendered, render};

fn sample(report_type: &str) -> Document {
    rendering::samples::sample(report_type).unwrap()
}

fn rendered(document: &Document, format: Format) -> Rendered {
    render(document, format, &Options::default()).unwrap_or_else(|error| panic!("{format}: {error:#?}"))
}

fn text_of(rendered: &Rendered) -> String {
    String::from_utf8(rendered.bytes.clone()).unwrap()
}

/// Strings that have broken somebody's report before.
fn hostile() -> Vec<String> {
    let mut strings: Vec<String> = [
        "=cmd|'/c calc'!A0",
        "+1+1",
        "-2+3",
        "@SUM(1)",
        "\t=1",
        "\r=1",
        "a\0b",
        "\"\r\nBcc:x@y",
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "{{7*7}}",
        "${7*7}",
        "#eval(\"1\")",
        "#read(\"/etc/passwd\")",
        "]#panic()",
        "$ x $",
        "abc\u{202e}fdp.exe",
        "zero\u{200b}width\u{feff}",
        "\u{1f600} \u{1f9e8}",
        "日本語のパッケージ",
        "]]>",
        "&#0;",
        "%n%s",
        "\u{1b}[2J",
        "../../x",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "שלום-עולם",
        "\u{e000}\u{fffe}\u{10ffff}",
        "",
        "   ",
    ]
    .map(str::to_owned)
    .to_vec();
    strings.push("w".repeat(10_000));
    strings.push(format!("CVE-2024-{}", "1".repeat(300)));
    strings.push(format!("a{}", "\u{0301}".repeat(500)));
    strings.push("W".repeat(200));
    strings.push("line\n".repeat(2_000));
    strings
}

fn document(report_type: &str, sections: Vec<Section>) -> Document {
    Document {
        sections,
        ..Document::new(report_type, "Corpus", "Example", "R-1", DateTime::<Utc>::UNIX_EPOCH)
    }
}

fn section(heading: &str, blocks: Vec<Block>) -> Section {
    Section { blocks, ..Section::new(heading, heading) }
}

fn card(text: &str) -> FindingCard {
    FindingCard {
        title: text.to_owned(),
        severity: Severity::High,
        score: None,
        vulnerability_id: text.to_owned(),
        marks: vec![],
        package: Some(text.to_owned()),
        installed: Some(text.to_owned()),
        fix: Fix::Version(text.to_owned()),
        description: text.to_owned(),
        facts: vec![],
        affected: vec![],
        affected_total: 0,
        evidence: vec![text.to_owned()],
        remediation: Some(text.to_owned()),
        references: vec![Link { text: text.to_owned(), url: text.to_owned() }],
    }
}

/// Each hostile string as table cell, paragraph and heading, and in every field of a card.
fn hostile_document() -> Document {
    let table = Table {
        id: "names".to_owned(),
        caption: Some("#eval(\"caption\")".to_owned()),
        columns: vec![
            Column::new("=Name", ColumnKind::Identifier),
            Column::new("Narrow", ColumnKind::Identifier).width(4),
            Column::new("Number", ColumnKind::Number { decimals: 0 }),
        ],
        rows: hostile()
            .into_iter()
            .map(|text| vec![Cell::identifier(&text), Cell::identifier(text), Cell::number(-1.0)])
            .collect(),
        ..Table::new("", vec![], vec![])
    };
    let paragraph = |text: &String| {
        Block::Paragraph(Paragraph { content: vec![Inline::Text(text.clone()), Inline::Code(text.clone())] })
    };
    let mut sections = vec![section("Names", vec![Block::Table(table)])];
    sections.push(section("Prose", hostile().iter().map(paragraph).collect()));
    sections.push(section("Cards", hostile().iter().map(|text| Block::FindingCard(card(text))).collect()));
    sections.extend(hostile().iter().map(|text| section(text, vec![])));
    document("technical", sections)
}

/// Run a program on a file; none when it is not installed.
fn run(program: &str, arguments: &[&str], bytes: &[u8]) -> Option<(bool, String)> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let arguments = arguments
        .iter()
        .map(|argument| if *argument == "FILE" { file.path().as_os_str() } else { argument.as_ref() });
    match Command::new(program).args(arguments).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            Some((output.status.success(), text))
        }
        Err(_) => {
            eprintln!("skipped: `{program}` is not installed");
            None
        }
    }
}

/// The words of a PDF, without page layout and break opportunities.
fn words_of(pdf: &Rendered) -> Option<String> {
    let (_, text) = run("pdftotext", &["-raw", "FILE", "-"], &pdf.bytes)?;
    Some(text.replace('\u{200b}', "").split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Every report type that has a template and a sample.
const REPORT_TYPES: [&str; rendering::samples::TYPES.len()] = rendering::samples::TYPES;

#[test]
fn every_sample_becomes_a_pdf_file_that_qpdf_finds_sound() {
    for report_type in REPORT_TYPES {
        let pdf = rendered(&sample(report_type), Format::Pdf);
        assert!(pdf.bytes.starts_with(b"%PDF-1.7"));
        assert!(pdf.page_count >= Some(3), "{:?}", pdf.page_count);
        if let Some((sound, report)) = run("qpdf", &["--check", "FILE"], &pdf.bytes) {
            assert!(sound, "{report}");
        }
        if let Some(words) = words_of(&pdf) {
            assert!(words.contains("Northwind Water & Power"), "{words}");
            assert!(words.contains(&format!("Page 2 of {}", pdf.page_count.unwrap())), "{words}");
        }
    }
}

#[test]
fn the_same_document_gives_the_same_bytes_in_every_format() {
    for format in rendering::FORMATS {
        let document = sample("technical");
        assert!(rendered(&document, format) == rendered(&document, format), "{format}");
    }
}

#[test]
fn hostile_strings_stand_in_the_pdf_as_literal_text() {
    let pdf = rendered(&hostile_document(), Format::Pdf);
    if let Some((sound, report)) = run("qpdf", &["--check", "FILE"], &pdf.bytes) {
        assert!(sound, "{report}");
    }
    let Some(words) = words_of(&pdf) else { return };
    for text in [
        "=cmd|'/c calc'!A0",
        "@SUM(1)",
        "<script>alert(1)</script>",
        "{{7*7}}",
        "${7*7}",
        "#eval(\"1\")",
        "#read(\"/etc/passwd\")",
        "]#panic()",
        "$ x $",
        "abc⟨U+202E⟩fdp.exe",
        "zero⟨U+200B⟩width⟨U+FEFF⟩",
        "a⟨U+0000⟩b",
        "⟨U+001B⟩[2J",
        "日本語のパッケージ",
        "\u{1f9e8}",
        "&#0;",
        "%n%s",
        "#eval(\"caption\")",
        "[9760 more characters]",
    ] {
        assert!(words.contains(text), "{text:?} is not in the text of the PDF");
    }
}

#[test]
fn a_pdf_links_to_web_and_mail_only() {
    let link = |url: &str| Inline::Link(Link { text: "here".to_owned(), url: url.to_owned() });
    let urls = ["https://example.org/good", "javascript:alert(1)", "file:///etc/passwd", "//example.org/x"];
    let content = urls.map(link).to_vec();
    let pdf = rendered(
        &document("technical", vec![section("Links", vec![Block::Paragraph(Paragraph { content })])]),
        Format::Pdf,
    );
    let Some((_, objects)) = run("qpdf", &["--qdf", "--object-streams=disable", "FILE", "-"], &pdf.bytes)
    else {
        return;
    };
    let targets: Vec<&str> = objects.lines().filter(|line| line.contains("/URI (")).collect();
    assert_eq!(targets.len(), 1, "{targets:?}");
    assert!(targets[0].contains("https://example.org/good"));
    assert!(!objects.contains("/JavaScript") && !objects.contains("/Launch"));
}

#[test]
fn a_spreadsheet_finds_no_formula_in_the_csv() {
    let csv = text_of(&rendered(&hostile_document(), Format::Csv));
    let mut records = csv::ReaderBuilder::new().has_headers(false).from_reader(csv.as_bytes());
    let mut count = 0;
    for record in records.records() {
        for field in &record.unwrap() {
            let starts_like_a_formula =
                field.trim_start().starts_with(['=', '+', '-', '@']) || field.starts_with(['\t', '\r']);
            assert!(!starts_like_a_formula || field.parse::<f64>().is_ok(), "{field:?}");
            count += 1;
        }
    }
    assert_eq!(count, 3 * (hostile().len() + 1));
}

#[test]
fn csv_holds_the_main_table_and_begins_with_a_byte_order_mark_on_request() {
    let plain = text_of(&rendered(&sample("executive_summary"), Format::Csv));
    assert!(plain.starts_with("Severity,Vulnerability,What it is,"), "{plain}");
    assert_eq!(plain.lines().count(), 11);
    let marked =
        render(&sample("executive_summary"), Format::Csv, &Options { csv_bom: true, ..Options::default() })
            .unwrap();
    assert_eq!(text_of(&marked), format!("\u{feff}{plain}"));
}

#[test]
fn json_keeps_every_string_as_it_came() {
    let document = hostile_document();
    let json = text_of(&rendered(&document, Format::Json));
    assert!(json.contains("\"schema_version\": 1"));
    assert_eq!(serde_json::from_str::<Document>(&json).unwrap(), document);
}

#[test]
fn the_published_schema_is_that_of_the_types_and_every_document_keeps_to_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schemas/document-1.schema.json");
    let schema = Document::json_schema();
    let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "UPDATE_SCHEMA=1 writes it anew");

    let validator = jsonschema::validator_for(&schema).unwrap();
    let samples = REPORT_TYPES.iter().map(|report_type| sample(report_type)).chain([hostile_document()]);
    for document in samples {
        let json = serde_json::from_str(&text_of(&rendered(&document, Format::Json))).unwrap();
        let problems: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{}: {problems:?}", document.report_type);
    }
    let mut wrong = serde_json::to_value(sample("technical")).unwrap();
    wrong["cover"]["title"] = 7.into();
    assert!(!validator.is_valid(&wrong));
}

/// Name and attributes of every start tag, as a browser would see them in well-formed markup.
fn start_tags(html: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        rest = &rest[open + 1..];
        if rest.starts_with(['/', '!']) {
            continue;
        }
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
        rest = &rest[name.len()..];
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start();
            if rest.starts_with('>') || rest.starts_with("/>") {
                break;
            }
            let key: String = rest.chars().take_while(|c| !matches!(c, '=' | '>' | ' ' | '/')).collect();
            assert!(!key.is_empty(), "{}", rest.chars().take(80).collect::<String>());
            rest = &rest[key.len()..];
            let value = match rest.strip_prefix("=\"") {
                Some(quoted) => {
                    let end = quoted.find('"').unwrap();
                    rest = &quoted[end + 1..];
                    quoted[..end].to_owned()
                }
                None => String::new(),
            };
            attributes.push((key, value));
        }
        tags.push((name, attributes));
    }
    tags
}

#[test]
fn html_runs_nothing_loads_nothing_and_shows_hostile_strings_as_text() {
    const TAGS: &str = " html head meta title style body a p header h1 h2 h3 h4 h5 h6 dl div dt dd nav ol ul li main section span \
        small strong em code br note pre figure figcaption svg rect path text table caption thead tbody tr th td time article \
        footer img ";
    let mut documents: Vec<Document> = REPORT_TYPES.iter().map(|report_type| sample(report_type)).collect();
    let mut hostile = hostile_document();
    hostile.presentation.watermark = Some("</span><script>x".to_owned());
    hostile.cover.classification = Some("</style><script>x\"}".to_owned());
    hostile.cover.verify_url = Some("javascript:alert(1)".to_owned());
    documents.push(hostile);
    for document in documents {
        let html = text_of(&rendered(&document, Format::Html));
        for (name, attributes) in start_tags(&html) {
            assert!(TAGS.contains(&format!(" {name} ")), "<{name}>");
            for (key, value) in attributes {
                assert!(!key.starts_with("on") && key != "style", "<{name} {key}=\"{value}\">");
                let harmless = match key.as_str() {
                    "href" => ["#", "http://", "https://", "mailto:"]
                        .iter()
                        .any(|start| value.to_ascii_lowercase().starts_with(start)),
                    "src" => value.starts_with("data:image/"),
                    _ => true,
                };
                assert!(harmless, "<{name} {key}=\"{value}\">");
            }
        }
        assert!(!html.contains('\u{202e}') && !html.contains('\0'));
        assert!(html.contains("default-src 'none'"));
    }
    let html = text_of(&rendered(&hostile_document(), Format::Html));
    assert!(html.contains("&lt;img src=x onerror=alert(1)&gt;") && html.contains(&"w".repeat(10_000)));
}

/// What Chromium has in its document after scripts, had there been any, have run.
#[test]
fn a_browser_shows_the_hostile_report_to_its_end() {
    let html = rendered(&hostile_document(), Format::Html);
    let file = tempfile::Builder::new().suffix(".html").tempfile().unwrap();
    std::fs::write(file.path(), &html.bytes).unwrap();
    let address = format!("file://{}", file.path().display());
    let profile = tempfile::tempdir().unwrap();
    let folder = format!("--user-data-dir={}", profile.path().display());
    let arguments = ["--headless", "--no-sandbox", "--disable-gpu", &folder, "--dump-dom", &address];
    let Ok(output) = Command::new("chromium").args(arguments).output() else {
        eprintln!("skipped: `chromium` is not installed");
        return;
    };
    let dom = String::from_utf8_lossy(&output.stdout);
    assert!(dom.contains("</footer>") && !dom.contains("<script"), "{}", output.status);
}

#[test]
fn requests_are_obeyed_in_every_format_that_can() {
    let mut document = sample("technical");
    let options = serde_json::json!({
        "title": "Third quarter", "company_name": "Acme", "classification": "CUI//SP-PRVCY", "watermark": "DRAFT",
        "include_remediation": false, "include_evidence": false, "severity_filter": ["CRITICAL"], "cover_page": false,
    });
    document.apply(&serde_json::from_value(options).unwrap());
    for format in [Format::Pdf, Format::Html, Format::Markdown, Format::Json] {
        let file = rendered(&document, format);
        let text = if format == Format::Pdf {
            match words_of(&file) {
                Some(words) => words,
                None => continue,
            }
        } else {
            text_of(&file)
        };
        for wanted in ["Third quarter", "Acme", "CUI//SP-PRVCY", "on request"] {
            assert!(text.contains(wanted), "{format} has no {wanted:?}");
        }
        assert!(!text.contains("libwebp"), "{format} shows a finding that is not critical");
        assert!(!text.contains("Upgrade log4j-core to 2.17.1"), "{format} shows remediation");
    }
}

#[test]
fn data_is_attached_to_a_pdf_on_request_and_colours_stay_readable_whatever_they_are() {
    let branding = serde_json::json!({
        "colours": {"primary": "#ffff00", "secondary": "#ffffff", "accent": "#ffff00"},
        "contact": "security@example.org", "legal_statements": ["All rights reserved."],
    });
    let options = Options {
        attach_data: true,
        branding: serde_json::from_value(branding).unwrap(),
        ..Options::default()
    };
    let document = sample("executive_summary");
    let pdf = render(&document, Format::Pdf, &options).unwrap();
    let Some((_, listed)) = run("pdfdetach", &["-list", "FILE"], &pdf.bytes) else { return };
    assert!(listed.contains("report.json") && listed.contains("report.csv"), "{listed}");
    if let Some(words) = words_of(&pdf) {
        assert!(words.contains("security@example.org") && words.contains("All rights reserved."));
    }
}

#[test]
fn a_signed_report_ends_with_who_signed_it_and_where_to_verify_it() {
    let mut document = sample("executive_summary");
    document.cover.verify_url = Some("https://plimsoll.example/verify".to_owned());
    document.seal = Some(domain::document::Seal {
        signer: "ciso@example.org".to_owned(),
        organization: None,
        signed_at: DateTime::<Utc>::UNIX_EPOCH,
        reason: None,
        certificate: Some("CN=Northwind".to_owned()),
        timestamp: Some("No timestamp authority was reached.".to_owned()),
        content_sha256: "ab".repeat(32),
        verify_url: "https://plimsoll.example/verify".to_owned(),
    });
    let Some(words) = words_of(&rendered(&document, Format::Pdf)) else { return };
    for wanted in
        ["ciso@example.org", "1 January 1970, 00:00:00 UTC", "No timestamp authority", "Verify this report"]
    {
        assert!(words.contains(wanted), "{wanted:?}");
    }
    assert!(words.replace(' ', "").contains(&"ab".repeat(32)));
}

#[test]
fn main_figures_become_pictures() {
    let svg = text_of(&rendered(&sample("ssp"), Format::Svg));
    assert!(svg.starts_with("<svg ") && svg.contains("Pump scheduler"));
    assert!(rendered(&sample("ssp"), Format::Png).bytes.starts_with(b"\x89PNG"));
    let error = render(&document("technical", vec![]), Format::Svg, &Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "report type `technical` has no `svg` output");
}

#[test]
fn logos_of_any_size_are_shown_or_left_out_but_never_stop_a_report() {
    let svg = |side: u32| {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{side}\" height=\"{side}\"><rect width=\"1\" height=\"1\"/></svg>"
        )
    };
    for data in [svg(1), svg(20_000), "broken".to_owned()] {
        let mut document = sample("executive_summary");
        document.cover.logo = Some(domain::document::Image {
            format: domain::document::ImageFormat::Svg,
            data: data.into_bytes(),
            alt: "Logo".to_owned(),
        });
        rendered(&document, Format::Pdf);
        rendered(&document, Format::Html);
    }
}

#[test]
fn markdown_lets_no_markup_through() {
    let mut document = hostile_document();
    let whole = text_of(&rendered(&document, Format::Markdown));
    assert!(!whole.contains("(<javascript") && !whole.contains('\u{202e}'));
    // Prose and cards hold code, where markup is harmless; names and headings do not.
    document.sections.retain(|section| !["Prose", "Cards"].contains(&section.id.as_str()));
    let markdown = text_of(&rendered(&document, Format::Markdown));
    assert!(markdown.contains("| \\=cmd\\|'/c calc'\\!A0 |"));
    let unescaped = markdown.replace("\\<", "").replace("<br>", "");
    assert!(!unescaped.contains('<'));
}

#[test]
fn an_empty_document_still_has_a_cover_and_a_page() {
    for report_type in REPORT_TYPES {
        assert_eq!(rendered(&document(report_type, vec![]), Format::Pdf).page_count, Some(2));
    }
}

#[test]
fn a_table_of_two_thousand_rows_repeats_its_header_on_every_page() {
    let row = |number: u64| {
        vec![
            Cell::Severity(Severity::ALL[(number % 6) as usize]),
            Cell::identifier(format!("package-{number}")),
            Cell::text("Heap buffer overflow while decoding an image"),
            Cell::count(number),
        ]
    };
    let table = Table {
        id: "findings".to_owned(),
        caption: Some("All findings".to_owned()),
        columns: vec![
            Column::new("Severity", ColumnKind::Severity),
            Column::new("Component", ColumnKind::Identifier),
            Column::new("What it is", ColumnKind::Text),
            Column::new("Assets", ColumnKind::Number { decimals: 0 }),
        ],
        rows: (0..2_000).map(row).collect(),
        ..Table::new("", vec![], vec![])
    };
    let pdf = rendered(
        &document("executive_summary", vec![section("Findings", vec![Block::Table(table)])]),
        Format::Pdf,
    );
    let pages = pdf.page_count.unwrap();
    assert!(pages > 30, "{pages}");
    if let Some(words) = words_of(&pdf) {
        assert!(words.contains("package-1999"));
        let headers = words.matches("Severity Component What it is Assets").count();
        assert!(headers as u32 >= pages - 2, "{headers} headers on {pages} pages");
    }
}

#[test]
fn sections_a_hundred_levels_deep_come_out() {
    let deep = (1..=100).rev().fold(None, |inner: Option<Section>, depth| {
        Some(Section { sections: inner.into_iter().collect(), ..section(&format!("Level {depth}"), vec![]) })
    });
    let pdf = rendered(&document("technical", deep.into_iter().collect()), Format::Pdf);
    if let Some(words) = words_of(&pdf) {
        assert!(words.contains("Level 100"));
    }
}

#[test]
fn a_format_that_a_document_cannot_become_is_refused_by_name() {
    let error = render(&document("poetry", vec![]), Format::Pdf, &Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "report type `poetry` has no `pdf` output");
    let error = render(&document("technical", vec![]), Format::Csv, &Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "report type `technical` has no `csv` output");
}

#[test]
fn a_mistake_in_an_edited_template_is_reported_with_file_and_line() {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../templates");
    let folder = tempfile::tempdir().unwrap();
    for part in ["lib", "reports"] {
        std::fs::create_dir(folder.path().join(part)).unwrap();
        for file in std::fs::read_dir(templates.join(part)).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), folder.path().join(part).join(file.file_name())).unwrap();
        }
    }
    let options = Options { template_dir: Some(folder.path().to_owned()), ..Options::default() };
    assert!(render(&sample("technical"), Format::Pdf, &options).is_ok());

    std::fs::write(folder.path().join("reports/technical.typ"), "#let a = 1\n\n#missing(a)\n").unwrap();
    let error = render(&sample("technical"), Format::Pdf, &options).unwrap_err();
    let RenderError::Template { template, line, message, datum: _ } = &error else { panic!("{error:?}") };
    assert_eq!((template.as_str(), *line), ("reports/technical.typ", Some(3)));
    assert!(message.contains("missing"), "{message}");
}

#[test]
fn a_template_that_fails_on_one_block_names_it() {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../templates");
    let folder = tempfile::tempdir().unwrap();
    for part in ["lib", "reports"] {
        std::fs::create_dir(folder.path().join(part)).unwrap();
        for file in std::fs::read_dir(templates.join(part)).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), folder.path().join(part).join(file.file_name())).unwrap();
        }
    }
    let cards = folder.path().join("lib/cards.typ");
    let source = std::fs::read_to_string(&cards).unwrap();
    let trap = "#let finding-card(block-data, level) = {\n  assert(block-data.vulnerability_id != \"CVE-2023-45853\")\n";
    std::fs::write(&cards, source.replacen("#let finding-card(block-data, level) = {\n", trap, 1)).unwrap();
    let options = Options { template_dir: Some(folder.path().to_owned()), ..Options::default() };
    let error = render(&sample("technical"), Format::Pdf, &options).unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("template `lib/cards.typ`, line "), "{said}");
    assert!(said.ends_with("(in finding `CVE-2023-45853` of section `Findings in detail`)"), "{said}");
}

#[test]
fn a_template_sees_no_file_but_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../templates");
    for part in ["lib", "reports"] {
        std::fs::create_dir(folder.path().join(part)).unwrap();
        for file in std::fs::read_dir(templates.join(part)).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), folder.path().join(part).join(file.file_name())).unwrap();
        }
    }
    std::fs::write(folder.path().join("secret.txt"), "secret").unwrap();
    let options = Options { template_dir: Some(folder.path().to_owned()), ..Options::default() };
    for source in ["#read(\"/etc/passwd\")", "#read(\"/secret.txt\")", "#import \"@preview/cetz:0.3.4\": *"] {
        std::fs::write(folder.path().join("reports/technical.typ"), source).unwrap();
        assert!(
            matches!(render(&sample("technical"), Format::Pdf, &options), Err(RenderError::Template { .. })),
            "{source}"
        );
    }
}
