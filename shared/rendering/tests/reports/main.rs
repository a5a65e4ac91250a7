//! The samples and a corpus of hostile strings through every format, by what is judged of them.

mod corpus;
mod data;
#[path = "../judges/left_out.rs"]
mod left_out;
mod pages;
mod requests;
mod templates;
mod web;

use std::process::Command;

use chrono::{DateTime, Utc};
use domain::document::{Block, Document, Format, Section};
use left_out::left_out;
use rendering::{Options, Rendered, render};

/// Every report type that has a template and a sample.
const REPORT_TYPES: [&str; rendering::samples::TYPES.len()] = rendering::samples::TYPES;

fn sample(report_type: &str) -> Document {
    rendering::samples::sample(report_type).unwrap()
}

fn rendered(document: &Document, format: Format) -> Rendered {
    render(document, format, &Options::default()).unwrap_or_else(|error| panic!("{format}: {error:#?}"))
}

fn text_of(rendered: &Rendered) -> String {
    String::from_utf8(rendered.bytes.clone()).unwrap()
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
            left_out(&format!("`{program}` cannot be run; scripts/setup installs it"));
            None
        }
    }
}

/// The words of a PDF, without page layout and break opportunities.
fn words_of(pdf: &Rendered) -> Option<String> {
    let (_, text) = run("pdftotext", &["-raw", "FILE", "-"], &pdf.bytes)?;
    Some(text.replace('\u{200b}', "").split_whitespace().collect::<Vec<_>>().join(" "))
}
