//! All report types, one file each.

mod asset_inventory;
mod executive_summary;
mod findings;
mod framework;
mod technical;

use domain::document::Format;

pub use framework::{Framework, find_framework, frameworks};

use crate::ReportType;

/// What a report that is read can be: all but its main figure alone.
const DOCUMENT: &[Format] = &[
    Format::Pdf,
    Format::Html,
    Format::Docx,
    Format::Xlsx,
    Format::Csv,
    Format::Json,
    Format::Markdown,
    Format::Zip,
];

/// Every report type that this build can make.
#[must_use]
pub fn catalogue() -> &'static [ReportType] {
    const CATALOGUE: &[ReportType] = &[
        executive_summary::REPORT,
        technical::REPORT,
        asset_inventory::REPORT,
        findings::REPORT,
        framework::REPORT,
    ];
    CATALOGUE
}

/// The type called `id`. Spelling is forgiven: `Executive-Summary` and the other documents' short name `executive` are understood.
#[must_use]
pub fn find(id: &str) -> Option<&'static ReportType> {
    let wanted = id.to_ascii_lowercase().replace('-', "_");
    let wanted = if wanted == "executive" { "executive_summary" } else { &wanted };
    catalogue().iter().find(|report| report.id == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_an_id_of_its_own_and_is_found_by_it() {
        for report in catalogue() {
            assert_eq!(find(report.id).map(|found| found.name), Some(report.name));
            assert!(!report.formats.is_empty(), "{} has no format", report.id);
        }
    }

    #[test]
    fn spellings_of_the_other_documents_are_understood() {
        assert_eq!(find("Executive").map(|report| report.id), Some("executive_summary"));
        assert!(find("full_assessment").is_none());
    }
}
