//! What is asked of a report, in every format that can.

use domain::document::{Block, Cell, Column, ColumnKind, Format, Status, Table, Tone};
use rendering::{Options, render};

use crate::{document, rendered, sample, section, text_of, words_of};

#[test]
fn the_same_document_gives_the_same_bytes_in_every_format() {
    for format in rendering::FORMATS {
        let document = sample("technical");
        assert!(rendered(&document, format) == rendered(&document, format), "{format}");
    }
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
fn markings_stand_in_every_format_that_readers_see() {
    let mut document = sample("technical");
    let options = serde_json::json!({ "classification": "CUI//SP-PRVCY//NOFORN", "watermark": "DRAFT" });
    document.apply(&serde_json::from_value(options).unwrap());
    let contact = serde_json::json!({ "contact": "ciso@northwind.example", "legal_statements": ["All rights reserved."] });
    let options = Options { branding: serde_json::from_value(contact).unwrap(), ..Options::default() };
    for format in [Format::Pdf, Format::Html, Format::Markdown, Format::Svg] {
        let file = render(&document, format, &options).unwrap();
        let text = if format == Format::Pdf {
            match words_of(&file) {
                Some(words) => words,
                None => continue,
            }
        } else {
            text_of(&file)
        };
        assert!(text.matches("CUI//SP-PRVCY//NOFORN").count() >= 2, "{format}: head and foot");
        for wanted in ["Controlled by", "SP-PRVCY", "NOFORN", "ciso@northwind.example"] {
            assert!(text.contains(wanted), "{format} has no {wanted:?}");
        }
        assert!(format == Format::Svg || text.contains("All rights reserved."), "{format}");
        // Poppler passes over slanted text.
        assert!(format == Format::Pdf || text.contains("DRAFT"), "{format} has no watermark");
    }
    let [plain, marked] = [&Options::default(), &options].map(|options| {
        let document =
            if options.branding.contact.is_some() { document.clone() } else { sample("technical") };
        render(&document, Format::Png, options).unwrap().bytes
    });
    assert_ne!(plain, marked, "PNG");
}

#[test]
fn contents_of_markdown_lead_to_the_headings_of_sections() {
    let mut document = sample("technical");
    document.presentation.table_of_contents = Some(true);
    let text = text_of(&rendered(&document, Format::Markdown));
    let (contents, rest) =
        text.split_once("## Contents\n\n").and_then(|(_, rest)| rest.split_once("\n\n")).unwrap();
    for entry in contents.lines() {
        let (title, name) =
            entry.trim_start_matches([' ', '-']).trim_start_matches('[').split_once("](#").unwrap();
        assert!(rest.contains(&format!("# {title}\n")), "{entry}");
        assert_eq!(name, format!("{})", title.to_lowercase().replace(' ', "-")), "{entry}");
    }
    assert!(contents.lines().count() >= document.sections.len(), "{contents}");
    document.presentation.table_of_contents = Some(false);
    assert!(!text_of(&rendered(&document, Format::Markdown)).contains("## Contents"));
}

#[test]
fn numbers_keep_their_digits_however_many_there_are() {
    let columns = vec![Column::new("Count", ColumnKind::Number { decimals: 0 })];
    let table = Table::new("counts", columns, vec![vec![Cell::Number(u64::MAX.into())]]);
    let document = document("technical", vec![section("Counts", vec![Block::Table(table)])]);
    for format in [Format::Pdf, Format::Html, Format::Markdown, Format::Csv, Format::Json] {
        let file = rendered(&document, format);
        let text = if format == Format::Pdf { words_of(&file) } else { Some(text_of(&file)) };
        assert!(
            text.is_none_or(|text| text.replace(',', "").contains("18446744073709551615")),
            "{format} has rounded a number"
        );
    }
}

#[test]
fn a_long_status_is_broken_into_lines_on_a_web_page() {
    let label = "Waiting for the vendor, who has announced a correction for the second quarter";
    let status = |label: &str| Cell::Status(Status { label: label.to_owned(), tone: Tone::Caution });
    let table = Table::new(
        "states",
        vec![Column::new("State", ColumnKind::Status)],
        vec![vec![status(label)], vec![status("Open")]],
    );
    let html = text_of(&rendered(
        &document("technical", vec![section("States", vec![Block::Table(table)])]),
        Format::Html,
    ));
    assert!(html.contains(&format!("<span class=\"pill t-caution long\">{label}</span>")));
    assert!(html.contains("<span class=\"pill t-caution\">Open</span>"));
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
fn a_format_that_a_document_cannot_become_is_refused_by_name() {
    let error = render(&document("poetry", vec![]), Format::Pdf, &Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "report type `poetry` has no `pdf` output");
    let error = render(&document("technical", vec![]), Format::Csv, &Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "report type `technical` has no `csv` output");
}
