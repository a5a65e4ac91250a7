//! What a request may ask of any report, and how a finished document answers it.
//!
//! Applied once, when the document is frozen: what is left out is left out of every format, and the document says so.
//! Start at [`Document::apply`].

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Block, Cell, Chart, Document, Format, Image, Inline, Plot, Section, Table};
use crate::Severity;

/// The options that every report type understands, as seed 003 names them. Others are left to the type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ReportOptions {
    pub title: Option<String>,
    pub company_name: Option<String>,
    /// A `data:` URL of a PNG or SVG. Addresses are fetched by the caller, who sets [`Cover::logo`](super::Cover::logo).
    #[serde(alias = "logo_url")]
    pub organization_logo: Option<String>,
    pub cover_page: Option<bool>,
    pub table_of_contents: Option<bool>,
    pub include_architecture_diagram: Option<bool>,
    pub include_remediation: Option<bool>,
    pub include_evidence: Option<bool>,
    /// Findings of other severities are left out. Empty keeps all.
    #[serde(deserialize_with = "severities")]
    pub severity_filter: Vec<Severity>,
    pub watermark: Option<String>,
    pub classification: Option<String>,
    pub prepared_for: Option<String>,
    pub prepared_by: Option<String>,
    /// Sign a PDF.
    pub signed: bool,
    /// Attach the report's JSON and CSV to a PDF.
    pub attach_data: bool,
    /// Begin CSV with a byte order mark.
    pub csv_bom: bool,
    /// What a pack holds. Empty: [`Format::PACKED`].
    pub formats: Vec<Format>,
    /// Order and wording of the sections, where a tenant wants them otherwise.
    pub sections: Vec<SectionWish>,
}

impl ReportOptions {
    /// The files of a pack, of those that the type `offers`.
    #[must_use]
    pub fn packed(&self, offers: &[Format]) -> Vec<Format> {
        let wanted = if self.formats.is_empty() { &Format::PACKED[..] } else { &self.formats };
        wanted.iter().copied().filter(|format| *format != Format::Zip && offers.contains(format)).collect()
    }

    /// Whether a row of a table stays: nothing in it is of a severity that is left out.
    #[must_use]
    pub fn keeps(&self, row: &[Cell]) -> bool {
        keeps(&self.severity_filter, row)
    }

    /// Where the logo is to be fetched, unless it came with the request.
    #[must_use]
    pub fn logo_address(&self) -> Option<&str> {
        self.organization_logo.as_deref().filter(|logo| !logo.starts_with("data:"))
    }
}

/// A wish about one section. Sections that are named come first, in the order in which they are named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SectionWish {
    /// [`Section::id`].
    pub id: String,
    pub heading: Option<String>,
    /// A paragraph before everything else in the section.
    pub introduction: Option<String>,
    pub hidden: bool,
}

/// How the reader finds the way through a document that has pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Presentation {
    pub cover_page: bool,
    /// Without a wish the template decides.
    pub table_of_contents: Option<bool>,
    /// Large and pale across every page: `DRAFT`.
    pub watermark: Option<String>,
}

impl Default for Presentation {
    fn default() -> Self {
        Self { cover_page: true, table_of_contents: None, watermark: None }
    }
}

fn severities<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Severity>, D::Error> {
    let words = Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default();
    words.iter().map(|word| word.parse().map_err(serde::de::Error::custom)).collect()
}

impl Document {
    /// Do what was asked for: retitle, leave out, reorder, and say in [`Document::omissions`] what was left out.
    pub fn apply(&mut self, options: &ReportOptions) {
        let cover = &mut self.cover;
        let set = |text: &Option<String>, field: &mut String| {
            if let Some(text) = text.as_ref().filter(|text| !text.trim().is_empty()) {
                field.clone_from(text);
            }
        };
        set(&options.title, &mut cover.title);
        set(&options.company_name, &mut cover.organization);
        for (wish, field) in [
            (&options.classification, &mut cover.classification),
            (&options.prepared_for, &mut cover.prepared_for),
            (&options.prepared_by, &mut cover.prepared_by),
        ] {
            *field = wish.clone().or_else(|| field.take());
        }
        if let Some(logo) = &options.organization_logo
            && let Ok(image) = Image::from_data_url(logo, format!("Logo of {}", cover.organization))
        {
            cover.logo = Some(image);
        }
        self.presentation.cover_page = options.cover_page.unwrap_or(self.presentation.cover_page);
        self.presentation.table_of_contents =
            options.table_of_contents.or(self.presentation.table_of_contents);
        if let Some(watermark) = options.watermark.as_ref().filter(|text| !text.trim().is_empty()) {
            self.presentation.watermark = Some(watermark.clone());
        }
        self.leave_out(options);
        for hidden in rearrange(&mut self.sections, &options.sections) {
            self.omissions.push(format!("The section \u{201c}{hidden}\u{201d} was left out on request."));
        }
    }

    fn leave_out(&mut self, options: &ReportOptions) {
        let mut omit = |wish: Option<bool>, what: &str| {
            let out = wish == Some(false);
            if out {
                self.omissions.push(format!("{what} was left out on request."));
            }
            out
        };
        let without = Without {
            diagrams: omit(options.include_architecture_diagram, "The architecture diagram"),
            remediation: omit(options.include_remediation, "Remediation"),
            evidence: omit(options.include_evidence, "Evidence"),
            severities_but: &options.severity_filter,
        };
        if !options.severity_filter.is_empty() {
            let mut kept = options.severity_filter.clone();
            kept.sort_unstable();
            kept.dedup();
            let words: Vec<&str> = kept.into_iter().map(Severity::as_str).collect();
            self.omissions.push(format!(
                "Lists and charts hold findings of these severities only, on request: {}. Key figures count all.",
                words.join(", ")
            ));
        }
        self.sections.iter_mut().chain(&mut self.appendices).for_each(|section| without.section(section));
    }
}

struct Without<'a> {
    diagrams: bool,
    remediation: bool,
    evidence: bool,
    /// Empty keeps all.
    severities_but: &'a [Severity],
}

impl Without<'_> {
    fn keeps(&self, severity: Severity) -> bool {
        self.severities_but.is_empty() || self.severities_but.contains(&severity)
    }

    fn section(&self, section: &mut Section) {
        section.blocks.retain_mut(|block| self.block(block));
        section.sections.iter_mut().for_each(|inner| self.section(inner));
    }

    /// Whether the block stays.
    fn block(&self, block: &mut Block) -> bool {
        match block {
            Block::Diagram(_) => return !self.diagrams,
            Block::FindingCard(card) => {
                if self.remediation {
                    card.remediation = None;
                }
                if self.evidence {
                    card.evidence.clear();
                }
                return self.keeps(card.severity);
            }
            Block::Control(control) => {
                if self.remediation {
                    control.remediation = None;
                }
                if self.evidence {
                    control.evidence.clear();
                }
            }
            Block::Table(table) => self.table(table),
            Block::Chart(chart) => self.chart(chart),
            _ => {}
        }
        true
    }

    /// Parts that stand for a severity go with it; the rest of a chart stays.
    fn chart(&self, chart: &mut Chart) {
        let keeps = |severity: Option<Severity>| severity.is_none_or(|severity| self.keeps(severity));
        let lost = match &mut chart.plot {
            Plot::SeverityDonut { counts } => {
                let before: u64 = counts.iter().map(|entry| entry.count).sum();
                counts.retain(|entry| self.keeps(entry.severity));
                before > counts.iter().map(|entry| entry.count).sum()
            }
            Plot::Bars { bars } => without(bars, |bar| keeps(bar.severity)),
            Plot::Lines { lines, .. } => without(lines, |line| keeps(line.severity)),
            Plot::StackedBars { series, columns } => {
                let kept: Vec<bool> = series.iter().map(|series| keeps(series.severity)).collect();
                for column in columns {
                    let mut at = kept.iter();
                    column.values.retain(|_| at.next().is_none_or(|kept| *kept));
                }
                without(series, |series| keeps(series.severity))
            }
            Plot::Gauges { .. } | Plot::HeatMap { .. } | Plot::Sparklines { .. } => false,
        };
        // The sentence was written about all of them.
        if lost {
            chart.alt = format!("{}, of the chosen severities only.", chart.title);
        }
    }

    fn table(&self, table: &mut Table) {
        let before = table.rows.len();
        table.rows.retain(|row| keeps(self.severities_but, row));
        // What was cut off may hold rows of the severities that are meant: the table stays a part, and says what its total counts.
        if table.rows.len() < before
            && let Some(truncated) = &mut table.truncated
        {
            truncated.rest.push_str(" The total counts every severity.");
        }
    }
}

fn keeps(severities: &[Severity], row: &[Cell]) -> bool {
    severities.is_empty()
        || row.iter().all(|cell| match cell {
            Cell::Severity(severity) => severities.contains(severity),
            _ => true,
        })
}

/// Whether something was taken out.
fn without<T>(parts: &mut Vec<T>, keeps: impl FnMut(&T) -> bool) -> bool {
    let before = parts.len();
    parts.retain(keeps);
    parts.len() < before
}

/// Returns the headings of what was taken out.
fn rearrange(sections: &mut Vec<Section>, wishes: &[SectionWish]) -> Vec<String> {
    let mut hidden = Vec::new();
    for (place, wish) in wishes.iter().enumerate().rev() {
        let Some(index) = sections.iter().position(|section| section.id == wish.id) else { continue };
        let mut section = sections.remove(index);
        // A second wish about the same section would only move it again.
        if wish.hidden || wishes[..place].iter().any(|earlier| earlier.id == wish.id) {
            if wish.hidden {
                hidden.push(section.heading);
            } else {
                sections.insert(index, section);
            }
            continue;
        }
        if let Some(heading) = &wish.heading {
            section.heading.clone_from(heading);
        }
        if let Some(introduction) = &wish.introduction {
            let content = vec![Inline::Text(introduction.clone())];
            section.blocks.insert(0, Block::Paragraph(super::Paragraph { content }));
        }
        sections.insert(0, section);
    }
    hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(json: &str) -> ReportOptions {
        serde_json::from_str(json).unwrap()
    }

    fn section(id: &str, blocks: Vec<Block>) -> Section {
        Section { blocks, ..Section::new(id, id) }
    }

    #[test]
    fn options_of_the_seed_are_read_with_their_spelling() {
        let options = options(
            r#"{"severity_filter": ["CRITICAL", "High"], "logo_url": "x", "signed": true, "cover_page": false}"#,
        );
        assert_eq!(options.severity_filter, [Severity::Critical, Severity::High]);
        assert_eq!((options.organization_logo.as_deref(), options.cover_page), (Some("x"), Some(false)));
        assert!(serde_json::from_str::<ReportOptions>(r#"{"severity_filter": ["awful"]}"#).is_err());
    }

    #[test]
    fn rows_of_other_severities_are_left_out_and_the_document_says_so() {
        let mut document = Document::new("technical", "T", "O", "R-1", chrono::DateTime::UNIX_EPOCH);
        let column = super::super::Column::new("Severity", super::super::ColumnKind::Severity);
        let rows = vec![vec![Cell::Severity(Severity::High)], vec![Cell::Severity(Severity::Low)]];
        document.sections = vec![section("a", vec![Block::Table(Table::new("t", vec![column], rows))])];
        document.apply(&options(r#"{"severity_filter": ["high"]}"#));
        assert_eq!(document.main_table().map(|table| table.rows.len()), Some(1));
        assert_eq!(document.omissions.len(), 1);
    }

    #[test]
    fn a_table_that_was_cut_off_stays_a_part_when_severities_are_left_out() {
        let column = super::super::Column::new("Severity", super::super::ColumnKind::Severity);
        let rows = vec![vec![Cell::Severity(Severity::High)], vec![Cell::Severity(Severity::Low)]];
        let mut table = Table::new("t", vec![column], rows);
        table.truncated = Some(super::super::Truncated { total_rows: 9, rest: "See the CSV.".into() });
        let mut document = Document::new("technical", "T", "O", "R-1", chrono::DateTime::UNIX_EPOCH);
        document.sections = vec![section("a", vec![Block::Table(table)])];
        document.apply(&options(r#"{"severity_filter": ["high"]}"#));
        let truncated = document.main_table().and_then(|table| table.truncated.as_ref()).unwrap();
        assert_eq!(
            (truncated.total_rows, truncated.rest.as_str()),
            (9, "See the CSV. The total counts every severity.")
        );
    }

    #[test]
    fn columns_lose_the_values_of_severities_that_are_left_out() {
        let series = |severity| super::super::Series { name: "s".into(), severity: Some(severity) };
        let plot = Plot::StackedBars {
            series: vec![series(Severity::Low), series(Severity::High)],
            columns: vec![super::super::StackedColumn { label: "Sep".into(), values: vec![7, 3] }],
        };
        let chart = Chart {
            id: String::new(),
            title: "Open".into(),
            alt: "10".into(),
            unit: "findings".into(),
            plot,
        };
        let mut document = Document::new("technical", "T", "O", "R-1", chrono::DateTime::UNIX_EPOCH);
        document.sections = vec![section("a", vec![Block::Chart(chart)])];
        document.apply(&options(r#"{"severity_filter": ["high"]}"#));
        document.check().unwrap();
        let Block::Chart(chart) = &document.sections[0].blocks[0] else { unreachable!() };
        assert!(matches!(&chart.plot, Plot::StackedBars { columns, .. } if columns[0].values == [3]));
        assert_eq!(chart.alt, "Open, of the chosen severities only.");
    }

    #[test]
    fn sections_come_in_the_order_of_the_wishes_and_hidden_ones_not_at_all() {
        let mut sections: Vec<Section> = ["a", "b", "c", "d"].map(|id| section(id, vec![])).to_vec();
        let wishes = options(
            r#"{"sections": [{"id": "c", "heading": "Sea", "introduction": "Hello."}, {"id": "b", "hidden": true}, {"id": "x"},
                {"id": "d"}]}"#,
        );
        assert_eq!(rearrange(&mut sections, &wishes.sections), ["b"], "and the reader is told");
        let ids: Vec<&str> = sections.iter().map(|section| section.id.as_str()).collect();
        assert_eq!(ids, ["c", "d", "a"]);
        assert_eq!((sections[0].heading.as_str(), sections[0].blocks.len()), ("Sea", 1));
    }
}
