//! The first page, the figures, the charts, and how far all of it can be trusted.

use domain::{
    Severity,
    document::{
        Bar, Block, Chart, Cover, DataFreshness, Document, Fact, FeedFreshness, Inline, KeyFigure, Method,
        Note, Number, Plot, Quantity, SeverityCount, Status, Tone,
    },
};
use store::reports::Report;

use super::{CURRENT, Posture, counted, severity_of};

impl Posture {
    /// The first page, for `report`.
    pub(crate) fn cover(&self, report: &Report, subtitle: &str) -> Cover {
        let number = format!("report_{}", report.id.simple());
        // The sentences of a report name the organization, too.
        let organization = report.options["company_name"].as_str().unwrap_or(&self.organization);
        Cover {
            subtitle: Some(subtitle.to_owned()),
            prepared_by: Some("Plimsoll".to_owned()),
            ..Document::new("", &report.title, organization, number, self.at).cover
        }
    }

    /// The numbers a hurried reader takes away.
    pub(crate) fn key_figures(&self) -> Vec<KeyFigure> {
        let figure = |label: &str, value: i64, tone: Tone| KeyFigure {
            label: label.to_owned(),
            value: Quantity::Number(Number::from(value)),
            unit: None,
            trend: None,
            tone,
            history: Vec::new(),
        };
        let bad_if_any = |count: i64| if count > 0 { Tone::Bad } else { Tone::Good };
        let worst: i64 = self
            .by_severity
            .iter()
            .filter(|(severity, _)| *severity <= Severity::High)
            .map(|(_, count)| i64::try_from(*count).unwrap_or(i64::MAX))
            .sum();
        let mut figures = vec![
            figure("Open findings", self.totals.open, Tone::Neutral),
            figure("Critical or high", worst, bad_if_any(worst)),
            figure(
                "Known exploited",
                self.totals.kev,
                // Nothing found in a catalogue that is old or missing is no good news.
                if self.totals.kev == 0 && !self.kev_is_current() {
                    Tone::Caution
                } else {
                    bad_if_any(self.totals.kev)
                },
            ),
            figure("A fix is available", self.totals.fixable, Tone::Neutral),
            figure("Affected assets", self.totals.affected_assets, Tone::Neutral),
            figure("Assets in scope", self.asset_count(), Tone::Neutral),
        ];
        if self.totals.undecided > 0 {
            figures.push(figure("Could not be decided", self.totals.undecided, Tone::Caution));
        }
        if self.totals.unrated > 0 {
            figures.push(figure("Not rated by any source", self.totals.unrated, Tone::Caution));
        }
        figures
    }

    /// Open findings by severity.
    pub(crate) fn severity_chart(&self) -> Block {
        let words: Vec<_> =
            self.by_severity.iter().map(|(severity, count)| format!("{count} {severity}")).collect();
        Block::Chart(Chart {
            id: String::new(),
            title: "Open findings by severity".into(),
            alt: format!("Of {} open findings: {}.", self.totals.open, words.join(", ")),
            unit: "findings".into(),
            plot: Plot::SeverityDonut {
                counts: self
                    .by_severity
                    .iter()
                    .map(|(severity, count)| SeverityCount { severity: *severity, count: *count })
                    .collect(),
            },
        })
    }

    /// The packages behind most findings.
    pub(crate) fn package_chart(&self) -> Option<Block> {
        let first = self.packages.first()?;
        Some(Block::Chart(Chart {
            id: String::new(),
            title: "Packages with the most findings".into(),
            alt: format!("{} leads with {} open findings.", first.name, first.findings),
            unit: "findings".into(),
            plot: Plot::Bars {
                bars: self
                    .packages
                    .iter()
                    .map(|package| Bar {
                        label: package.name.clone(),
                        value: Number::from(package.findings),
                        severity: package.severities.iter().map(|word| severity_of(word)).min(),
                    })
                    .collect(),
            },
        }))
    }

    /// The known exploited ones, named.
    pub(crate) fn exploited_note(&self) -> Block {
        let exploited: Vec<_> = self.problems.iter().filter(|problem| problem.is_kev).collect();
        if exploited.is_empty() {
            let (tone, title) = if self.kev_is_current() {
                (Tone::Good, "No known exploited vulnerability was found")
            } else {
                (
                    Tone::Caution,
                    "No known exploited vulnerability was found, but the catalogue is not current",
                )
            };
            let catalogue = match self.kev_as_of() {
                Some(as_of) => format!(
                    "the catalogue of known exploited vulnerabilities of {}",
                    as_of.format("%-d %B %Y")
                ),
                None => "the catalogue of known exploited vulnerabilities, which has never been crawled"
                    .to_owned(),
            };
            return Block::Note(Note {
                tone,
                title: Some(title.into()),
                content: vec![Inline::Text(format!(
                    "None of the open findings is in {catalogue}. What was added to it later is not known here."
                ))],
            });
        }
        let names: Vec<_> = exploited
            .iter()
            .map(|problem| {
                let due = problem.kev_due_date.map_or(String::new(), |date| format!(", due {date}"));
                format!(
                    "{} in {} ({} assets{due})",
                    problem.vulnerability, problem.package_name, problem.asset_count
                )
            })
            .collect();
        Block::Note(Note {
            tone: Tone::Bad,
            title: Some("Exploited in the wild: mend these first".into()),
            content: vec![Inline::Text(format!("{}.", names.join("; ")))],
        })
    }

    /// How old the knowledge is.
    pub(crate) fn freshness(&self) -> Block {
        let feeds = self
            .feeds
            .iter()
            .map(|feed| {
                let as_of = feed.as_of.or(feed.last_success_at);
                let age = as_of.map(|as_of| (self.at - as_of).num_seconds().max(0).unsigned_abs());
                let (label, tone) = match (feed.status.as_deref(), age) {
                    (Some("failed"), _) => ("last crawl failed", Tone::Bad),
                    (Some("quarantined"), _) => ("quarantined", Tone::Bad),
                    (_, None) => ("never crawled", Tone::Bad),
                    (_, Some(age)) if age > CURRENT.num_seconds().unsigned_abs() => {
                        ("older than a week", Tone::Caution)
                    }
                    _ => ("current", Tone::Good),
                };
                let name = feed
                    .label
                    .as_ref()
                    .map_or_else(|| feed.name.clone(), |label| format!("{} ({label})", feed.name));
                FeedFreshness {
                    feed: name,
                    as_of,
                    age_seconds: age,
                    records: (feed.records > 0).then_some(feed.records.unsigned_abs()),
                    status: Status { label: label.to_owned(), tone },
                }
            })
            .collect();
        Block::DataFreshness(DataFreshness { feeds })
    }

    /// How the result came about, and what it does not show.
    pub(crate) fn method(&self) -> Block {
        let step =
            |label: &str, text: &str| Fact { label: label.into(), value: vec![Inline::Text(text.into())] };
        let mut limitations = vec![
            vec![Inline::Text(
                "Only packages in the package databases and bills of materials that were handed in are judged; software installed by other means is not seen.".into(),
            )],
            vec![Inline::Text(
                "A vulnerability that none of the sources below had published at their date is not in this report.".into(),
            )],
        ];
        if self.totals.undecided > 0 {
            limitations.push(vec![Inline::Text(format!(
                "{} could not be decided because a version was not understood. Such findings are listed as undecided and never counted as clean.",
                counted(self.totals.undecided, "finding", "findings")
            ))]);
        }
        Block::Method(Method {
            summary: vec![Inline::Text(
                "Installed packages were compared with the advisories of their distribution or language ecosystem.".into(),
            )],
            steps: vec![
                step("Inventory", "Package databases of hosts and bills of materials, reduced to distinct package versions."),
                step("Matching", "Distribution packages are judged by their source package's version in the order of the distribution's own tool; the distribution's verdict outranks all others."),
                step("Scoring", "CVSS base score, EPSS probability and known exploitation are weighed into one score from 0 to 10. What no source rates counts as not rated, never as low."),
            ],
            limitations,
        })
    }
}
