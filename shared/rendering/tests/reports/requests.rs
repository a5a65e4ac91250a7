//! What is asked of a report, in every format that can.

use domain::document::Format;
use rendering::{Options, render};

use crate::{document, rendered, sample, text_of, words_of};

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
