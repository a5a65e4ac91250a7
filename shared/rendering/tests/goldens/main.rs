//! What each sample becomes in each format, told by its structure and its words: an unintended change is a visible difference.
//!
//! Not pixels, and not bytes: headings with their levels, tables with their columns, bookmarks, tags, pages, styles, sheets with
//! their filters and lists, and the first of the words, the rest by its digest. `UPDATE_GOLDENS=1 cargo test -p rendering --test goldens`
//! writes them anew.

mod data;
mod office;
mod pdf;
mod web;

use std::{fs, path::PathBuf};

use domain::document::Format;
use rendering::{Options, RenderError, render, samples};
use sha2::{Digest, Sha256};

/// Lines of a part that are kept as they are.
const KEPT: usize = 100;

/// A part of a golden: its name, and its lines as far as they are kept.
fn part(name: &str, lines: impl IntoIterator<Item = String>) -> String {
    let lines: Vec<String> = lines.into_iter().collect();
    let mut text = format!("== {name}\n");
    for line in lines.iter().take(KEPT) {
        let shown: String = line.chars().take(160).collect();
        text.push_str(&shown.replace('\t', " "));
        if shown.len() < line.len() {
            text.push_str(&format!(" … {}", digest(line)));
        }
        text.push('\n');
    }
    if let Some(rest) = lines.get(KEPT..).filter(|rest| !rest.is_empty()) {
        text.push_str(&format!("… and {} lines more, {}\n", rest.len(), digest(&rest.join("\n"))));
    }
    text
}

fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Equal neighbours as one with their number.
fn runs(items: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut runs: Vec<(String, usize)> = Vec::new();
    for item in items {
        match runs.last_mut() {
            Some((last, count)) if *last == item => *count += 1,
            _ => runs.push((item, 1)),
        }
    }
    runs.into_iter().map(|(item, count)| if count > 1 { format!("{count} × {item}") } else { item }).collect()
}

fn described(report_type: &str, format: Format) -> Option<String> {
    let document = samples::sample(report_type).unwrap();
    let file = match render(&document, format, &Options::default()) {
        Ok(file) => file,
        Err(RenderError::UnsupportedFormat { .. }) => return None,
        Err(error) => panic!("{report_type} as {format}: {error:#?}"),
    };
    let text = || String::from_utf8(file.bytes.clone()).unwrap();
    Some(match format {
        Format::Pdf => pdf::describe(&file),
        Format::Docx => office::describe_document(&file.bytes),
        Format::Xlsx => office::describe_workbook(&file.bytes),
        Format::Html | Format::Svg => web::describe(&text()),
        Format::Csv | Format::Markdown => part("lines", text().lines().map(str::to_owned)),
        Format::Json => data::describe(&text()),
        Format::Png => data::describe_picture(&file.bytes),
        Format::Zip => return None,
    })
}

/// Every format of a type is looked at before the first difference fails the test.
fn compare(report_type: &str) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/expected");
    let mut differences = Vec::new();
    for format in rendering::FORMATS {
        let path = folder.join(format!("{report_type}.{}.txt", format.extension()));
        let described = described(report_type, format);
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            match described {
                Some(described) => fs::write(&path, described).unwrap(),
                None => _ = fs::remove_file(&path),
            }
            continue;
        }
        let expected = fs::read_to_string(&path).ok();
        if expected != described {
            let [expected, described] = [expected, described].map(Option::unwrap_or_default);
            let line = expected
                .lines()
                .zip(described.lines())
                .position(|(expected, described)| expected != described);
            let line = line.unwrap_or_else(|| expected.lines().count().min(described.lines().count()));
            let at = |text: &str| text.lines().nth(line).unwrap_or("nothing").to_owned();
            differences.push(format!(
                "{}, line {}:\n  expected {}\n  became   {}",
                path.display(),
                line + 1,
                at(&expected),
                at(&described)
            ));
        }
    }
    assert!(
        differences.is_empty(),
        "{}\n\nIf that is meant: UPDATE_GOLDENS=1 cargo test -p rendering --test goldens, and look at the difference",
        differences.join("\n")
    );
}

macro_rules! goldens {
    ($($name:ident: $report_type:literal),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                compare($report_type);
            }
        )+

        #[test]
        fn every_report_type_has_goldens() {
            assert_eq!(samples::TYPES, [$($report_type),+]);
        }
    };
}

goldens! {
    executive_summary_is_as_it_was: "executive_summary",
    technical_is_as_it_was: "technical",
    asset_inventory_is_as_it_was: "asset_inventory",
    findings_is_as_it_was: "findings",
    framework_is_as_it_was: "framework",
    ssp_is_as_it_was: "ssp",
    poam_is_as_it_was: "poam",
}
