//! Templates that somebody edits: mistakes are told by file, line and datum, and nothing else can be read.

use std::path::Path;

use domain::document::Format;
use rendering::{Options, RenderError, render};
use tempfile::TempDir;

use crate::sample;

/// A copy of the templates, to be spoiled.
fn edited_templates() -> TempDir {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../templates");
    let folder = tempfile::tempdir().unwrap();
    for part in ["lib", "reports"] {
        std::fs::create_dir(folder.path().join(part)).unwrap();
        for file in std::fs::read_dir(templates.join(part)).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), folder.path().join(part).join(file.file_name())).unwrap();
        }
    }
    folder
}

#[test]
fn a_mistake_in_an_edited_template_is_reported_with_file_and_line() {
    let folder = edited_templates();
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
    let folder = edited_templates();
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
    let folder = edited_templates();
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
