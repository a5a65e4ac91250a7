//! FIRST's Exploit Prediction Scoring System: a gzipped CSV of some 350 thousand rows, one per CVE, new every day.
//!
//! <https://www.first.org/epss/data_stats>. A comment line names the model and the day, then comes `cve,epss,percentile`.

use std::{io::BufRead, path::Path};

use csv::{ByteRecord, ReaderBuilder};
use domain::advisory::{Epss, Record};

use crate::{
    input::{Packing, Text, open_text, read_error},
    outcome::{ParseError, Position},
    sink::{LeftOut, Reading, Sink},
    words::{is_cve, time},
};

const HEADER: [&str; 3] = ["cve", "epss", "percentile"];

pub(crate) fn read(path: &Path, sink: &mut Sink<'_>) -> Result<(), ParseError> {
    let (mut text, packing) = open_text(path, sink)?;
    read_comment(&mut text, sink)?;
    let mut rows = ReaderBuilder::new().comment(Some(b'#')).flexible(true).quoting(false).from_reader(text);

    let header = rows.byte_headers().map_err(|error| broken_row(sink, error))?;
    if header != HEADER.as_slice() {
        let header = String::from_utf8_lossy(header.as_slice()).into_owned();
        let reason = format_args!("its header does not read `cve,epss,percentile`: `{header}`");
        return Err(sink.broken(Position::default(), reason));
    }

    let mut row = ByteRecord::new();
    while rows.read_byte_record(&mut row).map_err(|error| broken_row(sink, error))? {
        let line = row.position().map(csv::Position::line);
        let position = || Position { line, ..Position::default() };
        if sink.take(position, score(&row)).is_err() {
            return Err(sink.explain().unwrap_or(ParseError::Stopped));
        }
    }
    // Only gzip can prove that nothing is missing at the end; of a plain file we ask that its last line is whole.
    if packing == Packing::Plain && !sink.meter.at_line_end() {
        let byte = Some(sink.meter.bytes());
        return Err(sink.broken(Position { byte, ..Position::default() }, "its last line is cut off"));
    }
    Ok(())
}

/// `#model_version:v2026.06.15,score_date:2026-09-29T12:00:22Z`, left in place for the CSV reader to skip.
fn read_comment(text: &mut Text, sink: &mut Sink<'_>) -> Result<(), ParseError> {
    let start = text.fill_buf().map_err(|error| read_error(sink, Position::default(), &error))?;
    let Some(line) = start.strip_prefix(b"#").and_then(|rest| rest.split(|byte| *byte == b'\n').next())
    else {
        return Ok(());
    };
    for field in String::from_utf8_lossy(line).trim().split(',') {
        match field.split_once(':') {
            Some(("model_version", version)) => sink.labelled(version.to_owned()),
            Some(("score_date", date)) => time(date).into_iter().for_each(|date| sink.dated(date)),
            _ => {}
        }
    }
    Ok(())
}

fn score(row: &ByteRecord) -> Reading {
    let Some(fields) = row.iter().map(|field| str::from_utf8(field).ok()).collect::<Option<Vec<&str>>>()
    else {
        return Err(LeftOut::Reject { id: None, reason: "not UTF-8".to_owned() });
    };
    let reject =
        |reason: String| Err(LeftOut::Reject { id: fields.first().map(|id| (*id).to_owned()), reason });
    let [cve, score, percentile] = fields[..] else {
        return reject(format!("{} fields, not 3", fields.len()));
    };
    if !is_cve(cve) {
        return reject("not a CVE id".to_owned());
    }
    let share = |text: &str| text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    match (share(score), share(percentile)) {
        (Some(score), Some(percentile)) => {
            Ok(Record::Epss(Epss { cve_id: cve.to_owned(), score, percentile }))
        }
        _ => reject(format!("`{score}` and `{percentile}` are not two shares of 1")),
    }
}

fn broken_row(sink: &Sink<'_>, error: csv::Error) -> ParseError {
    let position = Position { line: error.position().map(csv::Position::line), ..Position::default() };
    match error.into_kind() {
        csv::ErrorKind::Io(error) => read_error(sink, position, &error),
        other => sink.broken(position, format_args!("{other:?}")),
    }
}
