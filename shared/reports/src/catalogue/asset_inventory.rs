//! Asset inventory: what there is, what runs on it, and when it was last heard of. For people who answer "what do we have?".

use chrono::{DateTime, Duration, Utc};
use domain::document::{
    Bar, Block, Cell, Chart, Column, ColumnKind, Document, Format, KeyFigure, Number, Orientation, Plot,
    Quantity, Section, Status, Table, Tone,
};
use sqlx::FromRow;
use store::{Result, TenantTx, cursor::Cursor, reports::Report};

use super::executive_summary::section;
use crate::{
    FrameworkUse, ReportType, Spool,
    posture::{self, Posture},
};

const ID: &str = "asset_inventory";

pub(super) const REPORT: ReportType = ReportType {
    id: ID,
    name: "Asset inventory",
    description: "Every asset with its system, packages, zone and the time it was last heard of.",
    category: "operational",
    formats: &[
        Format::Pdf,
        Format::Html,
        Format::Docx,
        Format::Xlsx,
        Format::Csv,
        Format::Json,
        Format::Markdown,
        Format::Svg,
        Format::Png,
        Format::Zip,
    ],
    framework: FrameworkUse::None,
    load: |tx, report, spool| Box::pin(load(tx, report, spool)),
};

/// Silence after which an asset counts as stale, as seed 000 has it.
pub(super) const STALE_AFTER: Duration = Duration::hours(24);

#[derive(Debug, FromRow)]
struct AssetLine {
    hostname: String,
    kind: String,
    system: String,
    kernel: Option<String>,
    architecture: Option<String>,
    risk_zone: String,
    tags: Vec<String>,
    packages: i64,
    first_seen_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
}

async fn load(tx: &mut TenantTx, report: &Report, spool: &Spool<'_>) -> Result<Document> {
    let posture = Posture::load(tx, 0).await?;
    let (total, stale): (i64, i64) = sqlx::query_as(
        "select count(*), count(*) filter (where last_seen_at < $2) from assets where tenant_id = $1",
    )
    .bind(tx.tenant().0)
    .bind(posture.at - STALE_AFTER)
    .fetch_one(&mut **tx)
    .await?;
    let systems: Vec<(String, i64)> = sqlx::query_as(
        "select coalesce(os_name, os_distro, 'not stated') as system, count(*) as assets
           from assets where tenant_id = $1 group by 1 order by 2 desc, 1 limit 12",
    )
    .bind(tx.tenant().0)
    .fetch_all(&mut **tx)
    .await?;
    let assets = table(tx, spool, posture.at).await?;
    let distinct: i64 = sqlx::query_scalar(
        "select count(distinct package_version_id) from asset_packages where tenant_id = $1",
    )
    .bind(tx.tenant().0)
    .fetch_one(&mut **tx)
    .await?;

    let mut overview = vec![Block::text(format!(
        "{} has {total} assets. {stale} of them have not been heard of for a day.",
        posture.organization
    ))];
    overview.extend(systems_chart(&systems));
    if posture::asked_for_diagram(report) != Some(false) {
        overview.extend(posture.architecture_diagram());
    }
    Ok(Document {
        cover: posture.cover(report, "What there is and what runs on it"),
        key_figures: vec![
            figure("Assets", total, Tone::Neutral),
            figure("Not heard of for a day", stale, if stale > 0 { Tone::Caution } else { Tone::Good }),
            figure("Distinct package versions", distinct, Tone::Neutral),
            figure("Systems", i64::try_from(systems.len()).unwrap_or(i64::MAX), Tone::Neutral),
        ],
        sections: vec![
            section("overview", "Overview", overview),
            Section { orientation: Orientation::Landscape, ..section("assets", "All assets", vec![assets]) },
        ],
        primary_table: Some("assets".into()),
        ..Document::new(ID, "", "", "", posture.at)
    })
}

fn systems_chart(systems: &[(String, i64)]) -> Option<Block> {
    let (first, count) = systems.first()?;
    Some(Block::Chart(Chart {
        id: String::new(),
        title: "Assets by system".into(),
        alt: format!("{first} leads with {count} assets."),
        unit: "assets".into(),
        plot: Plot::Bars {
            bars: systems
                .iter()
                .map(|(system, count)| Bar {
                    label: system.clone(),
                    value: Number::from(*count),
                    severity: None,
                })
                .collect(),
        },
    }))
}

async fn table(tx: &mut TenantTx, spool: &Spool<'_>, now: DateTime<Utc>) -> Result<Block> {
    let columns = vec![
        Column::new("Asset", ColumnKind::Identifier).width(20),
        Column::new("Kind", ColumnKind::Text).width(8),
        Column::new("System", ColumnKind::Text).width(22),
        Column::new("Kernel", ColumnKind::Identifier).width(16),
        Column::new("Arch", ColumnKind::Identifier).width(7),
        Column::new("Zone", ColumnKind::Text).width(9),
        Column::new("Tags", ColumnKind::Text).width(12),
        Column::new("Packages", ColumnKind::Number { decimals: 0 }).width(8),
        Column::new("First seen", ColumnKind::Date).width(11),
        Column::new("Last seen", ColumnKind::Date).width(11),
        Column::new("State", ColumnKind::Status).width(9),
    ];
    let mut table = spool.fill(Table { key_columns: 1, ..Table::new("assets", columns, Vec::new()) });
    let mut assets = Cursor::open(
        tx,
        "with installed as (
             select asset_id, count(*) as packages from asset_packages where tenant_id = $1 group by asset_id
         )
         select a.hostname, a.kind, coalesce(a.os_name, a.os_distro, 'not stated') as system, a.kernel, a.architecture,
                a.risk_zone, a.tags, coalesce(i.packages, 0) as packages, a.first_seen_at, a.last_seen_at
           from assets a left join installed i on i.asset_id = a.id
          where a.tenant_id = $1
          order by lower(a.hostname), a.id",
    )
    .await?;
    loop {
        let batch: Vec<AssetLine> = assets.next().await?;
        if batch.is_empty() {
            return Ok(Block::Table(table.finish()?));
        }
        batch.iter().try_for_each(|asset| table.push(row(asset, now)))?;
    }
}

fn row(asset: &AssetLine, now: DateTime<Utc>) -> Vec<Cell> {
    let optional = |text: &Option<String>| text.as_ref().map_or(Cell::Empty, Cell::identifier);
    let heard = if now - asset.last_seen_at > STALE_AFTER {
        Status { label: "stale".into(), tone: Tone::Caution }
    } else {
        Status { label: "current".into(), tone: Tone::Good }
    };
    vec![
        Cell::identifier(&asset.hostname),
        Cell::text(posture::words(&asset.kind)),
        Cell::text(&asset.system),
        optional(&asset.kernel),
        optional(&asset.architecture),
        Cell::text(&asset.risk_zone),
        if asset.tags.is_empty() { Cell::Empty } else { Cell::text(asset.tags.join(", ")) },
        Cell::count(asset.packages.unsigned_abs()),
        Cell::Date(asset.first_seen_at.date_naive()),
        Cell::Date(asset.last_seen_at.date_naive()),
        Cell::Status(heard),
    ]
}

fn figure(label: &str, value: i64, tone: Tone) -> KeyFigure {
    KeyFigure {
        label: label.into(),
        value: Quantity::Number(Number::from(value)),
        unit: None,
        trend: None,
        tone,
        history: Vec::new(),
    }
}
