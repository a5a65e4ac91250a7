//! Rendering in a process beside the worker: done, limited, killed.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use domain::document::{Cell, Column, ColumnKind, Document, Format, RowWriter, Section, Table};
use rendering::{
    Options, Stage,
    child::{Answer, Job, OUTPUT, read_answer, read_frame, write_frame},
    samples,
};
use worker::renderer::{Limits, RenderFailure, Renderer};

const ROOMY: Limits = Limits { memory_mib: 4096, time: Duration::from_secs(300) };

fn renderer(limits: Limits) -> Renderer {
    Renderer::of(PathBuf::from(env!("CARGO_BIN_EXE_plimsoll-worker")), limits)
}

/// More rows than can be set in the time or memory that the tests allow.
fn long_document() -> Document {
    let columns = vec![Column::new("Package", ColumnKind::Identifier), Column::new("What", ColumnKind::Text)];
    let rows = (0..12_000)
        .map(|row| vec![Cell::identifier(format!("package-{row}")), Cell::text("Overflow")])
        .collect();
    let mut document = samples::sample("technical").expect("a sample");
    document.sections = vec![Section {
        blocks: vec![domain::document::Block::Table(Table::new("all", columns, rows))],
        ..Section::new("all", "All")
    }];
    document
}

#[tokio::test]
async fn a_document_rendered_in_another_process_is_the_same_as_in_this_one() {
    let document = samples::sample("executive_summary").expect("a sample");
    let here = rendering::render(&document, Format::Pdf, &Options::default()).expect("it can be rendered");
    let renderer = renderer(ROOMY);
    let stages = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..2 {
        let heard = stages.clone();
        let hear = move |stage| heard.lock().expect("nobody panicked").push(stage);
        let there = renderer.render(document.clone(), Format::Pdf, Options::default(), hear).await;
        assert!(there.expect("it can be rendered") == here);
    }
    let stages = stages.lock().expect("nobody panicked");
    assert_eq!(stages[..3], [Stage::Preparing, Stage::Typesetting, Stage::Writing]);
}

#[tokio::test]
async fn a_document_that_cannot_be_rendered_is_refused_with_the_reason() {
    let mut document = samples::sample("executive_summary").expect("a sample");
    document.report_type = "poetry".into();
    let refused = renderer(ROOMY).render(document, Format::Pdf, Options::default(), |_| ()).await;
    assert!(matches!(refused, Err(RenderFailure::Refused(why)) if why.contains("poetry")));
}

#[tokio::test]
async fn a_rendering_that_takes_too_long_is_killed_and_the_next_one_is_done() {
    let hasty = renderer(Limits { time: Duration::from_millis(300), ..ROOMY });
    let late = hasty.render(long_document(), Format::Pdf, Options::default(), |_| ()).await;
    assert!(matches!(late, Err(RenderFailure::TooLong(_))), "{late:?}");
    let document = samples::sample("executive_summary").expect("a sample");
    let next = renderer(ROOMY).render(document, Format::Json, Options::default(), |_| ()).await;
    assert!(next.is_ok());
}

#[tokio::test]
async fn a_rendering_that_needs_too_much_memory_takes_only_its_own_process_with_it() {
    let narrow = renderer(Limits { memory_mib: 256, ..ROOMY });
    let died = narrow.render(long_document(), Format::Pdf, Options::default(), |_| ()).await;
    assert!(matches!(died, Err(RenderFailure::Died { memory_mib: 256 })), "{died:?}");
}

/// Asks a rendering process for the document of so many rows in `format`; its highest memory so far, in kibibytes.
#[cfg(target_os = "linux")]
fn peak_of(rows: u64, format: Format) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let columns = ["Package", "Installed", "Vulnerability", "Asset"];
    let columns: Vec<Column> =
        columns.iter().map(|title| Column::new(*title, ColumnKind::Identifier)).collect();
    let mut writer = RowWriter::create(folder.path().join("rows.part")).expect("a row file");
    for row in 0..rows {
        let cells = ["package", "1.0", "CVE-2024", "host"];
        let cells = cells.map(|text| Cell::identifier(format!("{text}-{row}")));
        writer.push(&cells).expect("written");
    }
    let row_file = Some(writer.finish().expect("written"));
    let mut document = samples::sample("technical").expect("a sample");
    document.primary_table = None;
    document.sections = vec![Section {
        blocks: vec![domain::document::Block::Table(Table {
            row_file,
            ..Table::new("all", columns, vec![])
        })],
        ..Section::new("all", "All")
    }];
    document.detach_rows();
    let job = Job { document, format, options: Options::default(), folder: Some(folder.path().to_owned()) };

    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_plimsoll-worker"))
        .arg(worker::renderer::ROLE)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut answers = std::io::BufReader::new(child.stdout.take().expect("its answers"));
    let input = child.stdin.as_mut().expect("its ear");
    write_frame(input, &serde_json::to_vec(&job).expect("a job")).expect("it listens");
    loop {
        let frame = read_frame(&mut answers).expect("it answers").expect("it lives");
        match read_answer(&frame).expect("an answer") {
            Answer::Progress(_) => {}
            Answer::Done { .. } => break,
            Answer::Failed(why) => panic!("{why}"),
        }
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it lives");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok());
    let written = folder.path().join(OUTPUT).metadata().expect("a file").len();
    assert!(written > 20 * rows, "{format} of {rows} rows has {written} bytes");
    drop(child.stdin.take());
    child.wait().expect("it ends");
    peak.expect("Linux tells")
}

#[cfg(target_os = "linux")]
#[test]
fn ten_times_the_rows_need_no_more_memory_in_a_file_for_programs() {
    const ROOM: u64 = 24 << 10;
    for format in [Format::Xlsx, Format::Csv, Format::Json] {
        let (few, many) = (peak_of(15_000, format), peak_of(150_000, format));
        assert!(many < few + ROOM, "{format}: {many} KiB for 150,000 rows, {few} KiB for 15,000");
    }
}
