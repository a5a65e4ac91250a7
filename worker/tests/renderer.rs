//! Rendering in a process beside the worker: done, limited, killed.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use domain::document::{Cell, Column, ColumnKind, Document, Format, Section, Table};
use rendering::{Options, Stage, samples};
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
    let narrow = renderer(Limits { memory_mib: 400, ..ROOMY });
    let died = narrow.render(long_document(), Format::Pdf, Options::default(), |_| ()).await;
    assert!(matches!(died, Err(RenderFailure::Died { memory_mib: 400 })), "{died:?}");
}
