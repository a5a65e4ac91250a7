//! Technical report: every open finding with what proves it and what mends it. For people who do the work.

use domain::document::{Block, Document, Orientation, Section};
use store::{Result, TenantTx, reports::Report};

use super::{DOCUMENT, executive_summary::section};
use crate::{
    FrameworkUse, ReportType, Spool,
    posture::{self, Posture},
};

const ID: &str = "technical";

pub(super) const REPORT: ReportType = ReportType {
    id: ID,
    name: "Technical report",
    description: "Every open finding with its evidence, fixed version and affected assets.",
    category: "security",
    formats: DOCUMENT,
    framework: FrameworkUse::None,
    load: |tx, report, spool| Box::pin(load(tx, report, spool)),
};

/// Findings described at length; the rest stands in the table.
const CARDS: usize = 25;

async fn load(tx: &mut TenantTx, report: &Report, spool: &Spool<'_>) -> Result<Document> {
    let posture = Posture::load(tx, CARDS).await?;
    let mut overview = vec![posture.severity_chart()];
    overview.extend(posture.package_chart());
    if posture::asked_for_diagram(report) == Some(true) {
        overview.extend(posture.architecture_diagram());
    }
    let mut details = vec![posture.exploited_note()];
    if posture.problems.is_empty() {
        details.push(Block::text("There is no open finding to describe."));
    }
    details.extend(posture.cards(CARDS));
    let wide = |id: &str, heading: &str, blocks| Section {
        orientation: Orientation::Landscape,
        ..section(id, heading, blocks)
    };
    Ok(Document {
        cover: posture.cover(report, "Findings, evidence and remedies"),
        key_figures: posture.key_figures(),
        sections: vec![
            section("overview", "Overview", overview),
            section("details", "The most serious findings", details),
            wide("findings", "All open findings", vec![posture::findings_table(tx, spool).await?]),
            wide("assets", "Assets", vec![posture::asset_table(tx, spool, None).await?]),
            section("method", "Method and data", vec![posture.method(), posture.freshness()]),
        ],
        primary_table: Some("findings".into()),
        ..Document::new(ID, "", "", "", posture.at)
    })
}
