//! A framework's controls, as far as the data of this system bears on them. For auditors and those who answer them.
//!
//! The system knows what is installed, what is wrong with it, since when, and how old that knowledge is. Of each framework it
//! looks at the few controls that this supports ([`frameworks`]), judges them by written rules (`rule.rs`, `judge.rs`) from what was
//! measured ([`measure`]), and says of all others that they were not assessed. There is no percentage: it would count what
//! nobody looked at. Start at [`load`].

mod frameworks;
mod judge;
mod measure;
mod rule;
mod words;

use domain::document::{
    Block, Cell, Column, ColumnKind, Control as ControlBlock, CoverFact, Document, Fact, FrozenInput, Inline,
    KeyFigure, Method, Note, Number, Orientation, Quantity, Reference, Section, Table, Tone,
};
use store::{Result, TenantTx, reports::Report};

pub use self::frameworks::{Framework, find_framework, frameworks};
use self::{
    frameworks::{Control, TABLE},
    judge::{Judgement, Verdict, judge},
    measure::{DEADLINES, Measured},
    rule::Rule,
    words::{capital, counted, grouped},
};
use super::{DOCUMENT, executive_summary::section};
use crate::{FrameworkUse, ReportType, Spool, posture::Posture};

const ID: &str = "framework";

pub(super) const REPORT: ReportType = ReportType {
    id: ID,
    name: "Framework report",
    description: "What vulnerability and inventory data shows of the controls of a framework, control by control, and what it does not.",
    category: "risk",
    formats: DOCUMENT,
    framework: FrameworkUse::Required,
    load: |tx, report, spool| Box::pin(load(tx, report, spool)),
};

/// Findings that readers are shown; files for programs hold all.
const SHOWN: u32 = 500;

async fn load(tx: &mut TenantTx, report: &Report, spool: &Spool<'_>) -> Result<Document> {
    let framework = framework_of(report)?
        .ok_or_else(|| sqlx::Error::Decode("a framework report names no framework".into()))?;
    let posture = Posture::load(tx, 0).await?;
    let measured = Measured::load(tx, &posture).await?;
    let wants = |option: &str| report.options[option] != false;
    let evidence = if wants("include_evidence") {
        Some(measure::evidence(tx, spool, posture.at, wants("include_remediation")).await?)
    } else {
        None
    };
    Ok(write(report, framework, &posture, &measured, evidence))
}

/// The framework that a report is on.
fn framework_of(report: &Report) -> Result<Option<&'static Framework>> {
    let Some(id) = &report.framework else { return Ok(None) };
    let unknown = || sqlx::Error::Decode(format!("there is no framework `{id}`").into());
    Ok(Some(find_framework(id).ok_or_else(unknown)?))
}

/// The section on a framework in a report that is about something else.
pub(super) async fn at_a_glance(
    tx: &mut TenantTx,
    report: &Report,
    posture: &Posture,
) -> Result<Option<Section>> {
    let Some(framework) = framework_of(report)? else { return Ok(None) };
    let measured = Measured::load(tx, posture).await?;
    let judged = Judged::new(framework, &measured);
    let heading = format!("Controls of {}", framework.name);
    Ok(Some(section("controls", &heading, vec![judged.caveat(), judged.table()])))
}

/// A framework with a judgement for each control that is looked at.
struct Judged {
    framework: &'static Framework,
    controls: Vec<(&'static Control, Judgement)>,
}

impl Judged {
    fn new(framework: &'static Framework, measured: &Measured) -> Self {
        let controls = framework.controls.iter();
        let controls = controls.map(|control| (control, judge(control.rule, measured))).collect();
        Self { framework, controls }
    }

    /// How many were judged so; of all controls, what was not looked at is not assessed.
    fn count(&self, verdict: Verdict) -> u64 {
        let of_these =
            self.controls.iter().filter(|(_, judgement)| judgement.verdict == verdict).count() as u64;
        match verdict {
            Verdict::NotAssessed => self.framework.total - self.assessed(),
            _ => of_these,
        }
    }

    fn looked_at(&self) -> u64 {
        self.controls.len() as u64
    }

    fn assessed(&self) -> u64 {
        let assessed =
            self.controls.iter().filter(|(_, judgement)| judgement.verdict != Verdict::NotAssessed);
        assessed.count() as u64
    }

    /// What must not be overlooked.
    fn caveat(&self) -> Block {
        let Framework { name, edition, total, counted, .. } = self.framework;
        Block::Note(Note {
            tone: Tone::Caution,
            title: Some(format!("This is not an assessment of {name} as a whole")),
            content: vec![Inline::Text(format!(
                "{name} ({edition}) has {} {counted}. The data of this system bears on {} of them; {} could be judged, and \
                 the other {} were not assessed. Nothing unknown counts as a pass, so no percentage is given. “{}” means \
                 that all that this system observes of a control is in order, and no more than that.",
                grouped(*total),
                self.looked_at(),
                self.assessed(),
                grouped(self.count(Verdict::NotAssessed)),
                Verdict::Met.label(),
            ))],
        })
    }

    fn key_figures(&self) -> Vec<KeyFigure> {
        let figure = |label: &str, value: u64, unit: Option<String>, tone: Tone| KeyFigure {
            label: label.to_owned(),
            value: Quantity::Number(Number::from(value)),
            unit,
            trend: None,
            tone,
            history: Vec::new(),
        };
        let of_all = Some(format!("of {}", grouped(self.framework.total)));
        let verdicts = Verdict::ALL.into_iter().map(|verdict| {
            let count = self.count(verdict);
            // None of them is neither good nor bad news: it may be that nothing was looked at.
            let tone = if count == 0 { Tone::Neutral } else { verdict.tone() };
            figure(verdict.label(), count, None, tone)
        });
        let judged = figure("Controls judged", self.assessed(), of_all, Tone::Neutral);
        std::iter::once(judged).chain(verdicts).collect()
    }

    /// A row for each control that is looked at.
    fn table(&self) -> Block {
        let columns = vec![
            Column::new("Control", ColumnKind::Identifier).width(9),
            Column::new("Title", ColumnKind::Text).width(26),
            Column::new("Status", ColumnKind::Status).width(17),
            Column::new("What was found", ColumnKind::Text).width(40),
        ];
        let rows = self.controls.iter().map(|(control, judgement)| {
            vec![
                Cell::identifier(&control.id),
                Cell::text(&control.title),
                Cell::Status(judgement.verdict.status()),
                Cell::text(&judgement.found),
            ]
        });
        Block::Table(Table { key_columns: 1, ..Table::new("controls", columns, rows.collect()) })
    }

    fn summary(&self, organization: &str) -> String {
        let Framework { name, .. } = self.framework;
        if self.assessed() == 0 {
            return format!(
                "None of the {} controls of {name} that this system can say something about could be judged for {organization}: \
                 there is no data to judge them by.",
                self.looked_at()
            );
        }
        let told: Vec<String> = Verdict::ALL
            .into_iter()
            .filter(|verdict| *verdict != Verdict::NotAssessed)
            .map(|verdict| format!("{} {}", self.count(verdict), verdict.label().to_lowercase()))
            .collect();
        format!(
            "{} of {name} could be judged for {organization} by its inventories and findings: {}.",
            capital(counted(i64::try_from(self.assessed()).unwrap_or(i64::MAX), "control", "controls")),
            told.join(", ")
        )
    }
}

fn write(
    report: &Report,
    framework: &'static Framework,
    posture: &Posture,
    measured: &Measured,
    evidence: Option<Block>,
) -> Document {
    let judged = Judged::new(framework, measured);
    let subtitle = format!("{}: what vulnerability and inventory data shows", framework.name);
    let mut cover = posture.cover(report, &subtitle);
    let fact = |label: &str, value: String| CoverFact { label: label.into(), value };
    cover.facts.extend([
        fact("Framework", format!("{}, {}", framework.name, framework.edition)),
        fact(
            "Judged",
            format!(
                "{} of {} {}; {} not assessed",
                judged.assessed(),
                grouped(framework.total),
                framework.counted,
                grouped(judged.count(Verdict::NotAssessed))
            ),
        ),
    ]);
    let details = judged.controls.iter().map(|(control, judgement)| block(control, judgement)).collect();
    let mut sections = vec![
        section(
            "summary",
            "Summary",
            vec![Block::text(judged.summary(&cover.organization)), judged.caveat()],
        ),
        section("controls", "Controls at a glance", vec![judged.table()]),
        section("details", "Control by control", details),
    ];
    sections.extend(evidence.map(|table| Section {
        orientation: Orientation::Landscape,
        ..section("findings", "Open findings and their times", vec![shown(table)])
    }));
    sections.push(section(
        "method",
        "How it was judged",
        vec![method(&judged), deadlines(), posture.freshness()],
    ));
    Document {
        cover,
        key_figures: judged.key_figures(),
        sections,
        inputs: vec![FrozenInput {
            name: "Table of frameworks and controls".into(),
            version: Some(TABLE.version.clone()),
            as_of: None,
            records: Some(judged.looked_at()),
            sha256: TABLE.sha256.clone(),
        }],
        primary_table: Some("controls".into()),
        ..Document::new(ID, "", "", "", posture.at)
    }
}

fn shown(table: Block) -> Block {
    match table {
        Block::Table(table) => Block::Table(Table { shown_rows: Some(SHOWN), ..table }),
        other => other,
    }
}

/// Everything about one control.
fn block(control: &Control, judgement: &Judgement) -> Block {
    let rule = Reference { text: control.rule.name().into(), section: "method".into() };
    let mut facts = vec![
        Fact::text("Asks, in our words", &control.asks),
        Fact::text("Was found", &judgement.found),
        Fact::text("Beyond this data", &control.unseen),
        Fact { label: "Judged by".into(), value: vec![Inline::Reference(rule)] },
    ];
    facts.extend(judgement.facts.iter().cloned());
    Block::Control(ControlBlock {
        control_id: control.id.clone(),
        title: control.title.clone(),
        status: judgement.verdict.status(),
        facts,
        choices: Vec::new(),
        parameters: Vec::new(),
        statement: Vec::new(),
        implementation: Vec::new(),
        evidence: judgement.evidence.clone(),
        gaps: if judgement.gaps.is_empty() {
            Vec::new()
        } else {
            vec![Inline::Text(judgement.gaps.join("\n\n"))]
        },
        remediation: judgement.remediation.clone(),
        references: Vec::new(),
    })
}

/// The rules that were used, as they stand in the code.
fn method(judged: &Judged) -> Block {
    let is_used = |rule: &Rule| judged.controls.iter().any(|(control, _)| control.rule == *rule);
    let limitation = |text: &str| vec![Inline::Text(text.to_owned())];
    Block::Method(Method {
        summary: vec![Inline::Text(
            "Each control is judged by one of these rules, from inventories, findings and the sources of advisories as they were \
             when the data was frozen."
                .into(),
        )],
        steps: Rule::ALL.into_iter().filter(is_used).map(|rule| Fact::text(rule.name(), rule.told())).collect(),
        limitations: vec![
            limitation(
                "Controls about people, places, contracts, access, configuration and all else that this system does not observe are not assessed.",
            ),
            limitation(
                "What a control asks for is told in our words. What holds is the framework's own text.",
            ),
            limitation(
                "Only packages in the package databases and bills of materials that were handed in are judged; software installed by other means is not seen.",
            ),
            limitation("The report is not an auditor's opinion, and takes none's place."),
        ],
    })
}

fn deadlines() -> Block {
    let columns = vec![
        Column::new("Severity", ColumnKind::Severity).width(12),
        Column::new("Days", ColumnKind::Number { decimals: 0 }).width(8),
    ];
    let rows = DEADLINES
        .iter()
        .map(|(severity, days)| vec![Cell::Severity(*severity), Cell::count(days.unsigned_abs())])
        .collect();
    Block::Table(Table {
        caption: Some(
            "Time for a finding, in days from the one on which it was first seen. What is known to be exploited is due by the catalogue's own date, if that is earlier, but not before it was seen."
                .into(),
        ),
        ..Table::new("times", columns, rows)
    })
}

#[cfg(test)]
mod tests;
