//! Every sample before judges that know nothing of us: accessible and fit for archives, opened without repair, saved and read again.

mod judges;

use std::path::Path;

use domain::document::Format;
use rendering::{Options, render, samples};

use judges::{judge, on_disk, run, soffice, verdict};

fn each_as(format: Format, look: impl Fn(&str, &Path)) {
    for report_type in samples::TYPES {
        let document = samples::sample(report_type).unwrap();
        let file = render(&document, format, &Options::default()).unwrap();
        let (_folder, path) = on_disk(&format!("{report_type}.{}", file.extension), &file.bytes);
        look(report_type, &path);
    }
}

/// A sheet's or a document's first words.
fn title_of(report_type: &str) -> String {
    samples::sample(report_type).unwrap().cover.title
}

#[test]
fn every_pdf_is_accessible_and_fit_for_archives() {
    each_as(Format::Pdf, |report_type, path| {
        let path = path.to_str().unwrap();
        let _ = run("qpdf", &["--check", path]);
        if let Some(said) = judge("profiles.py", &[path, "2a", "ua1"]) {
            assert!(said.lines().all(|line| line.ends_with(" 0 broken")), "{report_type}: {said}");
        }
    });
}

#[test]
fn the_judge_of_accessibility_misses_a_language_and_tags_that_are_taken_away() {
    let document = samples::sample("findings").unwrap();
    let mut bytes = render(&document, Format::Pdf, &Options::default()).unwrap().bytes;
    for (from, to) in [(&b"/Marked true"[..], &b"/Marked null"[..]), (b"/Lang(en)", b"/Gone(en)")] {
        let at = bytes.windows(from.len()).position(|window| window == from).expect("it is there");
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    let (_folder, path) = on_disk("spoiled.pdf", &bytes);
    let Some((is_content, said)) = verdict("profiles.py", &[path.to_str().unwrap(), "2a", "ua1"]) else {
        return;
    };
    assert!(!is_content && said.contains("TAGGED-DOCUMENT") && said.contains("LANGUAGE"), "{said}");
}

#[test]
fn every_document_is_opened_without_repair_and_is_the_same_when_it_was_saved() {
    each_as(Format::Docx, |report_type, path| {
        let copy = path.with_extension("copy.docx");
        for text in
            [judge("document.py", &[path.to_str().unwrap(), copy.to_str().unwrap()]), soffice(path, "txt")]
        {
            assert!(text.is_none_or(|text| text.contains(&title_of(report_type))), "{report_type}");
        }
    });
}

#[test]
fn every_workbook_is_opened_without_repair_and_is_the_same_when_it_was_saved() {
    each_as(Format::Xlsx, |report_type, path| {
        let copy = path.with_extension("copy.xlsx");
        if let Some(text) = judge("workbook.py", &[path.to_str().unwrap(), copy.to_str().unwrap()]) {
            assert!(text.contains(&title_of(report_type)), "{report_type}");
        }
        if let Some(flat) = soffice(path, "fods") {
            assert!(!flat.contains("table:formula"), "{report_type}: LibreOffice found a formula");
            assert!(flat.matches("<table:table ").count() > 1, "{report_type}");
        }
    });
}
