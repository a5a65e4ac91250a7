//! Asset inventory: what there is, what runs on it, and when it was last heard of. For people who answer "what do we have?".

use chrono::{DateTime, Duration, Utc};
use domain::document::{
    Bar, Block, Cell, Chart, Column, ColumnKind, Document, Format, KeyFigure, Number, Orientation, Plot,
    Quantity, Section, Status, Table, Tone, Truncated,
};
use sqlx::FromRow;
use store::{Result, TenantTx, reports::Report};

use super::executive_summary::section;
use crate::{
    MOST_ROWS, ReportType,
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
    load: |tx, report| Box::pin(load(tx, report)),
};

/// Silence after which an asset counts as stale, as seed 000 has it.
const STALE_AFTER: Duration = Duration::hours(24);

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

async fn load(tx: &mut TenantTx, report: &Report) -> Result<Document> {
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
    let assets = assets(tx).await?;
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
            Section {
                orientation: Orientation::Landscape,
                ..section("assets", "All assets", vec![table(&assets, total, posture.at)])
            },
        ],
        primary_table: Some("assets".into()),
        ..Document::new(ID, "", "", "", posture.at)
    })
}

async fn assets(tx: &mut TenantTx) -> Result<Vec<AssetLine>> {
    let tenant = tx.tenant();
    let assets = sqlx::query_as(
        "with installed as (
             select asset_id, count(*) as packages from asset_packages where tenant_id = $1 group by asset_id
         )
         select a.hostname, a.kind, coalesce(a.os_name, a.os_distro, 'not stated') as system, a.kernel, a.architecture,
                a.risk_zone, a.tags, coalesce(i.packages, 0) as packages, a.first_seen_at, a.last_seen_at
           from assets a left join installed i on i.asset_id = a.id
          where a.tenant_id = $1
          order by lower(a.hostname), a.id limit $2",
    )
    .bind(tenant.0)
    .bind(i64::try_from(MOST_ROWS).unwrap_or(i64::MAX))
    .fetch_all(&mut **tx)
    .await?;
    Ok(assets)
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

fn table(assets: &[AssetLine], total: i64, now: DateTime<Utc>) -> Block {
    let optional = |text: &Option<String>| text.as_ref().map_or(Cell::Empty, Cell::identifier);
    let rows: Vec<_> = assets
        .iter()
        .map(|asset| {
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
        })
        .collect();
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
    Block::Table(Table {
        key_columns: 1,
        truncated: (total.unsigned_abs() > rows.len() as u64).then(|| Truncated {
            total_rows: total.unsigned_abs(),
            rest: "The list of assets in the API holds all of them.".into(),
        }),
        ..Table::new("assets", columns, rows)
    })
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
