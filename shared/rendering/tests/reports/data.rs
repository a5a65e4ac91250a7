//! What programs get: CSV and JSON, every row and every string as it came.

use std::path::Path;

use domain::document::{
    Block, Cell, Column, ColumnKind, Document, Format, RowWriter, Status, Table, Tone, Truncated,
};
use rendering::{Options, RenderError, render, render_into};

use crate::{
    REPORT_TYPES,
    corpus::{hostile, hostile_document},
    document, rendered, run, sample, section, text_of, words_of,
};

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
fn a_table_that_is_a_part_becomes_no_csv_and_is_not_attached_as_one() {
    let column = Column::new("Package", ColumnKind::Identifier);
    let truncated = Some(Truncated { total_rows: 9, rest: "The export holds all of them.".into() });
    let part =
        Table { truncated, ..Table::new("findings", vec![column], vec![vec![Cell::identifier("xz")]]) };
    let document = document("technical", vec![section("Findings", vec![Block::Table(part)])]);
    let error = render(&document, Format::Csv, &Options::default()).unwrap_err();
    assert!(error.to_string().starts_with("table `findings` holds 1 of 9 rows"), "{error}");
    let options = Options { attach_data: true, ..Options::default() };
    let pdf = render(&document, Format::Pdf, &options).unwrap();
    let Some((_, listed)) = run("pdfdetach", &["-list", "FILE"], &pdf.bytes) else { return };
    assert!(listed.contains("report.json") && !listed.contains("report.csv"), "{listed}");
}

#[test]
fn readers_are_shown_what_is_enough_and_programs_get_every_row() {
    let rows = (0..40_u64).map(|row| vec![Cell::identifier(format!("package-{row}"))]).collect();
    let column = Column::new("Package", ColumnKind::Identifier);
    let table = Table { shown_rows: Some(10), ..Table::new("findings", vec![column], rows) };
    let document = document("technical", vec![section("Findings", vec![Block::Table(table)])]);
    for format in [Format::Csv, Format::Json] {
        assert_eq!(text_of(&rendered(&document, format)).matches("package-").count(), 40, "{format}");
    }
    for format in [Format::Html, Format::Markdown] {
        let text = text_of(&rendered(&document, format)).replace("\\-", "-");
        assert_eq!(text.matches("package-").count(), 10, "{format}");
        assert!(
            text.contains("10 of 40 rows shown. The XLSX and JSON files of this report hold all"),
            "{text}"
        );
    }
    let Some(words) = words_of(&rendered(&document, Format::Pdf)) else { return };
    assert_eq!(words.matches("package-").count(), 10);
    assert!(words.contains("10 of 40 rows shown."));
}

/// A document of so many rows that holds them, and the same with ten of them and all in a file of `folder`.
fn held_and_filed(rows: u64, folder: &Path) -> (Document, Document) {
    let columns = vec![
        Column::new("Package", ColumnKind::Identifier),
        Column::new("Status", ColumnKind::Status),
        Column::new("Findings", ColumnKind::Number { decimals: 0 }),
    ];
    let row = |number: u64| {
        let status = Status { label: format!("state {}", number % 3), tone: Tone::Caution };
        vec![Cell::identifier(format!("=package-{number}")), Cell::Status(status), Cell::count(number)]
    };
    let mut writer = RowWriter::create(folder.join("rows.part")).unwrap();
    (0..rows).for_each(|number| writer.push(&row(number)).unwrap());
    let table = |rows: u64| Table::new("findings", columns.clone(), (0..rows).map(row).collect());
    let filed = Table { row_file: Some(writer.finish().unwrap()), ..table(10) };
    let of = |table| document("technical", vec![section("Findings", vec![Block::Table(table)])]);
    (of(table(rows)), of(filed))
}

#[test]
fn files_for_programs_are_the_same_whether_the_document_holds_its_rows_or_a_file_does() {
    let folder = tempfile::tempdir().unwrap();
    // On one sheet that is kept in memory, and on one that is not.
    for rows in [100, 6_000] {
        let (held, filed) = held_and_filed(rows, folder.path());
        for format in [Format::Csv, Format::Json, Format::Xlsx] {
            let mut written = Vec::new();
            render_into(&filed, format, &Options::default(), &mut written, |_| ()).unwrap();
            assert!(written == rendered(&held, format).bytes, "{format} of {rows} rows");
        }
    }
}

#[test]
fn formats_for_readers_show_the_rows_that_the_document_holds_and_count_all() {
    let folder = tempfile::tempdir().unwrap();
    let (_, filed) = held_and_filed(500, folder.path());
    for format in [Format::Html, Format::Markdown] {
        let text = text_of(&rendered(&filed, format)).replace("\\-", "-");
        assert_eq!(text.matches("package-").count(), 10, "{format}");
        assert!(
            text.contains("10 of 500 rows shown. The XLSX and JSON files of this report hold all"),
            "{text}"
        );
    }
}

#[test]
fn more_rows_than_a_pdf_can_carry_are_not_attached_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_, filed) = held_and_filed(100_001, folder.path());
    let options = Options { attach_data: true, ..Options::default() };
    let error = render(&filed, Format::Pdf, &options).unwrap_err().to_string();
    assert!(error.contains("100001 rows") && error.contains("leave attach_data out"), "{error}");
}

#[test]
fn a_file_is_not_made_without_the_rows_that_belong_into_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut filed) = held_and_filed(500, folder.path());
    filed.detach_rows();
    for format in [Format::Csv, Format::Json, Format::Xlsx] {
        assert!(
            matches!(render(&filed, format, &Options::default()), Err(RenderError::Stream(_))),
            "{format}"
        );
    }
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
