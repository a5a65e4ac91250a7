//! A document of each report type with made-up data: what `plimsoll render --sample` shows and the tests render.
//!
//! The vulnerability reports are written out in `templates/samples/`. The security plan and the POA&M workbook are built
//! from short descriptions, because nobody would keep 400 controls in step by hand.

mod poam;
mod ssp;

use domain::document::Document;

macro_rules! written {
    ($type:literal) => {
        ($type, include_str!(concat!("../../../templates/samples/", $type, ".json")))
    };
}

const WRITTEN: [(&str, &str); 5] = [
    written!("executive_summary"),
    written!("technical"),
    written!("asset_inventory"),
    written!("findings"),
    written!("framework"),
];

/// The report types that have a sample.
pub const TYPES: [&str; 7] =
    ["executive_summary", "technical", "asset_inventory", "findings", "framework", "ssp", "poam"];

/// The sample of a report type; none when it has none.
///
/// # Panics
/// Never: the tests read every sample.
#[must_use]
pub fn sample(report_type: &str) -> Option<Document> {
    match report_type {
        "ssp" => Some(ssp::document()),
        "poam" => Some(poam::document()),
        other => {
            let (_, json) = WRITTEN.iter().find(|(written, _)| *written == other)?;
            Some(serde_json::from_str(json).expect("the samples are checked by the tests"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_sample_without_contradictions() {
        for report_type in TYPES {
            let document = sample(report_type).unwrap();
            assert_eq!(document.report_type, report_type);
            document.check().unwrap();
        }
        assert!(sample("poetry").is_none());
    }

    #[test]
    fn the_security_plan_has_four_hundred_controls_and_the_poam_three_tabs_of_thirty_one_columns() {
        let controls = sample("ssp").unwrap();
        let count = controls
            .blocks()
            .iter()
            .filter(|block| matches!(block, domain::document::Block::Control(_)))
            .count();
        assert!(count >= 400, "{count}");
        let poam = sample("poam").unwrap();
        let widths: Vec<usize> = poam.tables().map(|table| table.columns.len()).collect();
        assert_eq!(widths, [31, 31, 31]);
    }
}
