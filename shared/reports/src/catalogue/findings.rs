//! Findings by a filter: what an export as PDF or HTML is. For people who were asked for a list.

use chrono::{DateTime, Utc};
use domain::{
    Severity,
    document::{
        Block, Cell, Chart, Column, ColumnKind, Document, Fact, KeyFigure, KeyValues, Number, Orientation,
        Plot, Quantity, Section, SeverityCount, Status, Table, Tone,
    },
};
use serde::Deserialize;
use store::{
    Result, TenantTx,
    exports::{self, Kind, Request, Selection, Value, What},
    reports::Report,
};

use super::{DOCUMENT, executive_summary::section};
use crate::{
    FrameworkUse, ReportType, Spool,
    posture::{one_decimal, severity_of, words},
};

const ID: &str = "findings";

pub(super) const REPORT: ReportType = ReportType {
    id: ID,
    name: "Findings",
    description: "The findings that a filter lets through, or the vulnerabilities or assets behind them, the worst first.",
    category: "security",
    formats: DOCUMENT,
    framework: FrameworkUse::None,
    load: |tx, report, spool| Box::pin(load(tx, report, spool)),
};

async fn load(tx: &mut TenantTx, report: &Report, spool: &Spool<'_>) -> Result<Document> {
    let request = match &report.options["export"] {
        serde_json::Value::Null => Request::default(),
        kept => Request::deserialize(kept).map_err(|error| sqlx::Error::Decode(error.into()))?,
    };
    let tenant = tx.tenant();
    let (organization, at): (String, DateTime<Utc>) =
        sqlx::query_as("select display_name, now() from tenants where id = $1")
            .bind(tenant.0)
            .fetch_one(&mut **tx)
            .await?;
    let by_severity = exports::count_by_severity(tx, &request).await?;
    let findings: i64 = by_severity.iter().map(|(_, count)| count).sum();
    let table = table(tx, spool, &request).await?;

    let number = format!("report_{}", report.id.simple());
    let mut document = Document::new(ID, &report.title, organization, number, at);
    document.cover.subtitle = Some(subtitle(request.what).to_owned());
    document.cover.prepared_by = Some("Plimsoll".to_owned());
    Ok(Document {
        key_figures: key_figures(findings, &by_severity),
        sections: vec![
            section(
                "overview",
                "What was asked for",
                vec![Block::KeyValues(KeyValues { entries: asked(&request) }), chart(findings, &by_severity)],
            ),
            Section {
                orientation: Orientation::Landscape,
                ..section("rows", subtitle(request.what), vec![table])
            },
        ],
        primary_table: Some("rows".into()),
        ..document
    })
}

async fn table(tx: &mut TenantTx, spool: &Spool<'_>, request: &Request) -> Result<Block> {
    let empty = Table { key_columns: 1, ..Table::new("rows", columns(request.what), Vec::new()) };
    let mut table = spool.fill(empty);
    let mut selection = Selection::begin(tx, request).await?;
    loop {
        let batch = selection.next().await?;
        if batch.is_empty() {
            return Ok(Block::Table(table.finish()?));
        }
        for row in &batch {
            let columns = request.what.columns().iter().zip(row.values());
            let told = columns.filter(|(column, _)| !column.title.is_empty());
            let cells = told.map(|(column, value)| value.map(|value| cell(column.kind, value)));
            table.push(cells.collect::<Result<_>>()?)?;
        }
    }
}

fn subtitle(what: What) -> &'static str {
    match what {
        What::Findings => "Findings, the worst first",
        What::Vulnerabilities => "Vulnerabilities, the worst first",
        What::Assets => "Assets with findings, the worst first",
    }
}

fn columns(what: What) -> Vec<Column> {
    let told = what.columns().iter().filter(|column| !column.title.is_empty());
    told.map(|column| {
        let (kind, width) = match column.kind {
            Kind::Id | Kind::Text => (ColumnKind::Identifier, 18),
            Kind::Word => (ColumnKind::Text, 10),
            Kind::Severity => (ColumnKind::Severity, 9),
            Kind::Score => (ColumnKind::Number { decimals: 1 }, 6),
            Kind::Count => (ColumnKind::Number { decimals: 0 }, 8),
            Kind::Flag => (ColumnKind::Status, 9),
            Kind::Time => (ColumnKind::Date, 11),
        };
        Column::new(column.title, kind).width(width)
    })
    .collect()
}

fn cell(kind: Kind, value: Value<'_>) -> Cell {
    match value {
        Value::Null | Value::Flag(false) => Cell::Empty,
        Value::Text(text) => match kind {
            Kind::Severity => Cell::Severity(severity_of(text)),
            Kind::Word => Cell::text(words(text)),
            _ => Cell::identifier(text),
        },
        Value::Id(id) => Cell::identifier(id.to_string()),
        Value::Score(score) => Cell::number(one_decimal(score)),
        Value::Count(count) => Cell::count(count.unsigned_abs()),
        Value::Flag(true) => Cell::Status(Status { label: "yes".into(), tone: Tone::Neutral }),
        Value::Time(time) => Cell::Date(time.date_naive()),
    }
}

/// The filter, in words.
fn asked(request: &Request) -> Vec<Fact> {
    let yes_or_no = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
    let score = |score: f32| format!("{score:.1}");
    let any_of = |words: Vec<String>| (!words.is_empty()).then(|| words.join(", "));
    let conditions = [
        ("Asset", request.asset_id.map(|id| id.to_string())),
        ("Vulnerability", request.cve_id.clone()),
        ("Status", any_of(request.status.iter().map(|status| words(status.as_str())).collect())),
        ("Severity", any_of(request.severity.iter().map(Severity::to_string).collect())),
        ("Known to be exploited", request.kev.map(yes_or_no)),
        ("Exploit known", request.has_exploit.map(yes_or_no)),
        ("Fix available", request.patch_available.map(yes_or_no)),
        ("Lowest score", request.min_score.map(score)),
        ("Highest score", request.max_score.map(score)),
    ];
    let facts: Vec<Fact> = conditions
        .into_iter()
        .filter_map(|(label, value)| value.map(|value| Fact::text(label, value)))
        .collect();
    if facts.is_empty() { vec![Fact::text("Filter", "none: all findings, resolved ones too")] } else { facts }
}

fn key_figures(findings: i64, by_severity: &[(String, i64)]) -> Vec<KeyFigure> {
    let worst: i64 = by_severity
        .iter()
        .filter(|(severity, _)| severity_of(severity) <= Severity::High)
        .map(|(_, count)| count)
        .sum();
    let figure = |label: &str, value: i64, tone| KeyFigure {
        label: label.to_owned(),
        value: Quantity::Number(Number::from(value)),
        unit: None,
        trend: None,
        tone,
        history: Vec::new(),
    };
    let tone = if worst > 0 { Tone::Bad } else { Tone::Good };
    vec![figure("Findings", findings, Tone::Neutral), figure("Critical or high", worst, tone)]
}

fn chart(findings: i64, by_severity: &[(String, i64)]) -> Block {
    let counts: Vec<SeverityCount> = Severity::ALL
        .into_iter()
        .filter_map(|severity| {
            let (_, count) = by_severity.iter().find(|(word, _)| word == severity.as_str())?;
            Some(SeverityCount { severity, count: count.unsigned_abs() })
        })
        .collect();
    let told: Vec<_> = counts.iter().map(|count| format!("{} {}", count.count, count.severity)).collect();
    Block::Chart(Chart {
        id: String::new(),
        title: "Findings by severity".into(),
        alt: format!("Of {findings} findings: {}.", told.join(", ")),
        unit: "findings".into(),
        plot: Plot::SeverityDonut { counts },
    })
}
