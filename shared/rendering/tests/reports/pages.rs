//! PDF: sound, with its text as text, however long and however deep.

use chrono::{DateTime, Utc};
use domain::{
    Severity,
    document::{Block, Cell, Column, ColumnKind, Format, Inline, Link, Paragraph, Section, Table},
};
use rendering::{Options, render};

use crate::{REPORT_TYPES, corpus::hostile_document, document, rendered, run, sample, section, words_of};

#[test]
fn every_sample_becomes_a_pdf_file_that_qpdf_finds_sound() {
    for report_type in REPORT_TYPES {
        let document = sample(report_type);
        let pdf = rendered(&document, Format::Pdf);
        assert!(pdf.bytes.starts_with(b"%PDF-1.7"));
        assert!(pdf.page_count >= Some(3), "{:?}", pdf.page_count);
        if let Some((sound, report)) = run("qpdf", &["--check", "FILE"], &pdf.bytes) {
            assert!(sound, "{report}");
        }
        if let Some(words) = words_of(&pdf) {
            assert!(words.contains(&document.cover.organization), "{words}");
            assert!(words.contains(&format!("Page 2 of {}", pdf.page_count.unwrap())), "{words}");
        }
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
