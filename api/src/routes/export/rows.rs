//! Rows on their way out: as CSV (RFC 4180) or as JSON.
//!
//! While one batch is written, the next is read. What is written waits for the reader in a queue of a few batches, so that
//! memory stays the same however many rows there are and however slow the reader is. When the reader goes, the query ends; when
//! the query breaks off, so does the connection, and what was read cannot be taken for all there is.

use std::io;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use csv::{QuoteStyle, Terminator, WriterBuilder};
use domain::spreadsheet::inert;
use futures::Stream;
use serde_json::json;
use store::exports::{Column, Export, Kind, Request, Row, Value};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::spawn_blocking,
};
use tokio_stream::wrappers::ReceiverStream;

/// Batches that wait for a slow reader.
const WAITING: usize = 2;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Csv,
    Json,
}

impl Layout {
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Json => "application/json",
        }
    }

    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }
}

/// The file, piece by piece. It holds its `turn` until it ends.
pub(super) fn stream(
    export: Export,
    layout: Layout,
    request: &Request,
    at: DateTime<Utc>,
    turn: OwnedSemaphorePermit,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (pieces, reader) = mpsc::channel(WAITING);
    let writer = Writer { layout, columns: request.what.columns(), count: 0 };
    let head = writer.head(request, at);
    tokio::spawn(async move {
        let _turn = turn;
        if let Err(error) = write(export, writer, head, &pieces).await {
            tracing::warn!(error = format!("{error:#}"), "an export broke off");
            // An error in place of the end: the connection is cut. A reader who has gone does not care.
            let _ = pieces.send(Err(io::Error::other("the export broke off"))).await;
        }
    });
    ReceiverStream::new(reader)
}

async fn write(
    mut export: Export,
    mut writer: Writer,
    head: Vec<u8>,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
) -> anyhow::Result<()> {
    let mut piece = head;
    let mut batch = next(&mut export, pieces).await?;
    loop {
        let Some(rows) = batch else { return Ok(()) };
        let is_last = rows.is_empty();
        let written = spawn_blocking(move || {
            writer.write(&rows, &mut piece)?;
            anyhow::Ok((writer, piece))
        });
        let (written, following) = if is_last {
            (written.await, None)
        } else {
            let (written, following) = tokio::join!(written, next(&mut export, pieces));
            (written, Some(following?))
        };
        (writer, piece) = written??;
        if pieces.send(Ok(std::mem::take(&mut piece).into())).await.is_err() {
            return Ok(());
        }
        let Some(following) = following else { break };
        batch = following;
    }
    export.end().await?;
    Ok(())
}

/// The next rows. None: nobody reads any more.
async fn next(
    export: &mut Export,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
) -> anyhow::Result<Option<Vec<Row>>> {
    tokio::select! {
        rows = export.next() => Ok(Some(rows?)),
        () = pieces.closed() => Ok(None),
    }
}

#[derive(Debug)]
struct Writer {
    layout: Layout,
    columns: &'static [Column],
    /// Rows written.
    count: u64,
}

impl Writer {
    /// What stands before the rows.
    fn head(&self, request: &Request, at: DateTime<Utc>) -> Vec<u8> {
        match self.layout {
            Layout::Csv => {
                let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
                format!("{}\r\n", names.join(",")).into_bytes()
            }
            // The rows are one more member, and how many there were is the last.
            Layout::Json => {
                let filters = json!(request);
                format!("{{\"generated_at\":{},\"request\":{filters},\"data\":[", json!(at)).into_bytes()
            }
        }
    }

    /// The rows; no rows are the end.
    fn write(&mut self, rows: &[Row], into: &mut Vec<u8>) -> anyhow::Result<()> {
        match (self.layout, rows) {
            (Layout::Csv, rows) => write_csv(self.columns, rows, into)?,
            (Layout::Json, []) => {
                into.extend_from_slice(format!("\n],\"total\":{}}}\n", self.count).as_bytes())
            }
            (Layout::Json, rows) => {
                for (row, number) in rows.iter().zip(self.count..) {
                    into.extend_from_slice(if number == 0 { b"\n{" } else { b",\n{" });
                    write_json(self.columns, row, into)?;
                    into.push(b'}');
                }
            }
        }
        self.count += rows.len() as u64;
        Ok(())
    }
}

fn write_csv(columns: &[Column], rows: &[Row], into: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .quote_style(QuoteStyle::Necessary)
        .from_writer(into);
    for row in rows {
        for (column, value) in columns.iter().zip(row.values()) {
            match value? {
                Value::Null => writer.write_field("")?,
                Value::Text(text) if column.kind == Kind::Text => writer.write_field(&*inert(text))?,
                Value::Text(word) => writer.write_field(word)?,
                Value::Score(score) => writer.write_field(score.to_string())?,
                Value::Count(count) => writer.write_field(count.to_string())?,
                Value::Flag(flag) => writer.write_field(if flag { "true" } else { "false" })?,
                Value::Time(time) => writer.write_field(written(time))?,
                Value::Id(id) => {
                    writer.write_field(&*id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()))?;
                }
            }
        }
        writer.write_record(None::<&[u8]>)?;
    }
    writer.flush()?;
    Ok(())
}

fn write_json(columns: &[Column], row: &Row, into: &mut Vec<u8>) -> anyhow::Result<()> {
    for (index, (column, value)) in columns.iter().zip(row.values()).enumerate() {
        if index > 0 {
            into.push(b',');
        }
        into.push(b'"');
        into.extend_from_slice(column.name.as_bytes());
        into.extend_from_slice(b"\":");
        match value? {
            Value::Null => into.extend_from_slice(b"null"),
            Value::Text(text) => serde_json::to_writer(&mut *into, text)?,
            Value::Score(score) => serde_json::to_writer(&mut *into, &score)?,
            Value::Count(count) => serde_json::to_writer(&mut *into, &count)?,
            Value::Flag(flag) => serde_json::to_writer(&mut *into, &flag)?,
            Value::Time(time) => serde_json::to_writer(&mut *into, &written(time))?,
            Value::Id(id) => serde_json::to_writer(&mut *into, &id)?,
        }
    }
    Ok(())
}

fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
