//! Executive summary: where we stand, what to mend first, and how sure we are. For people who decide.

use domain::document::{Block, Document, Section};
use store::{Result, TenantTx, reports::Report};

use super::{DOCUMENT, framework};
use crate::{
    FrameworkUse, ReportType, Spool,
    posture::{self, Posture, counted},
};

const ID: &str = "executive_summary";

pub(super) const REPORT: ReportType = ReportType {
    id: ID,
    name: "Executive summary",
    description: "Open findings by severity, what to mend first, the most exposed assets, and how old the data is.",
    category: "executive",
    formats: DOCUMENT,
    framework: FrameworkUse::Optional,
    load: |tx, report, spool| Box::pin(load(tx, report, spool)),
};

/// Rows that a reader is shown; files for programs hold all.
const TOP: u32 = 10;

async fn load(tx: &mut TenantTx, report: &Report, spool: &Spool<'_>) -> Result<Document> {
    let posture = Posture::load(tx, 0).await?;
    let mut overview = vec![Block::text(summary(&posture)), posture.severity_chart()];
    overview.extend(posture.package_chart());
    let mut assets = vec![posture::asset_table(tx, spool, Some(TOP)).await?];
    if posture::asked_for_diagram(report) == Some(true) {
        assets.extend(posture.architecture_diagram());
    }
    let controls = framework::at_a_glance(tx, report, &posture).await?;
    Ok(Document {
        cover: posture.cover(report, "Vulnerability posture and what to mend first"),
        key_figures: posture.key_figures(),
        sections: [
            section("overview", "Where we stand", overview),
            section(
                "top-findings",
                "What to mend first",
                vec![posture.exploited_note(), posture.problem_table(tx, spool, "top", TOP).await?],
            ),
            section("assets", "Most exposed assets", assets),
        ]
        .into_iter()
        .chain(controls)
        .chain([section("method", "Method and data", vec![posture.method(), posture.freshness()])])
        .collect(),
        primary_table: Some("top".into()),
        ..Document::new(ID, "", "", "", posture.at)
    })
}

fn summary(posture: &Posture) -> String {
    let totals = posture.totals;
    if totals.open == 0 {
        return format!(
            "No open finding was recorded for {} on {}. Read this together with the age of the data at the end.",
            posture.organization,
            counted(posture.asset_count(), "asset", "assets")
        );
    }
    let exploited = match totals.kev {
        0 => "none is known to be exploited in the wild".to_owned(),
        1 => "1 vulnerability is known to be exploited in the wild".to_owned(),
        many => format!("{many} vulnerabilities are known to be exploited in the wild"),
    };
    let accepted = match totals.accepted {
        0 => String::new(),
        many => format!(", and the risk of {many} was accepted"),
    };
    format!(
        "{} has {} of {} on {} of {}. A fixed version is published for {} of them{accepted}; {exploited}.",
        posture.organization,
        counted(totals.open, "open finding", "open findings"),
        counted(totals.vulnerabilities, "vulnerability", "distinct vulnerabilities"),
        totals.affected_assets,
        counted(posture.asset_count(), "asset", "assets"),
        if totals.fixable == totals.open && totals.open > 1 {
            "all".to_owned()
        } else {
            totals.fixable.to_string()
        },
    )
}

pub(super) fn section(id: &str, heading: &str, blocks: Vec<Block>) -> Section {
    Section { blocks, ..Section::new(id, heading) }
}
