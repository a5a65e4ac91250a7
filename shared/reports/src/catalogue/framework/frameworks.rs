//! Which frameworks there are, and which of their controls the data of this system bears on.
//!
//! The table is `frameworks.json`: ids as the framework writes them, and our own words for what they ask, since the text of
//! most frameworks may not be passed on. How many controls a framework has is a fact about it, and stands beside those that
//! are looked at, so that a report can say what it does not see. To add a framework, add it there.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::rule::Rule;

/// A compliance framework.
#[derive(Debug)]
pub struct Framework {
    /// The word in requests and answers: `pci-dss`.
    pub id: String,
    /// For people: `PCI DSS`.
    pub name: String,
    /// Which edition of it: `Version 4.0.1`.
    pub edition: String,
    /// How many controls it has.
    pub total: u64,
    /// What it calls those: `requirements`.
    pub counted: String,
    /// Those that the data of this system bears on, in the framework's order.
    pub(super) controls: Vec<Control>,
}

/// A control of a framework that the data of this system bears on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Control {
    /// As the framework writes it.
    pub(super) id: String,
    pub(super) title: String,
    pub(super) rule: Rule,
    /// What it asks for, in our words.
    pub(super) asks: String,
    /// What of that the data does not show.
    pub(super) unseen: String,
}

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: String,
    catalogues: BTreeMap<String, Vec<Control>>,
    frameworks: Vec<WrittenFramework>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFramework {
    id: String,
    name: String,
    edition: String,
    total: u64,
    counted: String,
    /// Whose controls they are.
    catalogue: String,
    /// Which of them; all, when empty.
    only: Vec<String>,
}

/// The table, and what a report says of having been made with it.
pub(super) struct FrameworkTable {
    pub(super) version: String,
    /// Of the file, in lower-case hexadecimal.
    pub(super) sha256: String,
    frameworks: Vec<Framework>,
}

const FILE: &str = include_str!("frameworks.json");

pub(super) static TABLE: LazyLock<FrameworkTable> = LazyLock::new(|| {
    let written: Written = serde_json::from_str(FILE).expect("the tests read the table");
    let framework = |one: WrittenFramework| Framework {
        controls: written
            .catalogues
            .get(&one.catalogue)
            .into_iter()
            .flatten()
            .filter(|control| one.only.is_empty() || one.only.contains(&control.id))
            .cloned()
            .collect(),
        id: one.id,
        name: one.name,
        edition: one.edition,
        total: one.total,
        counted: one.counted,
    };
    FrameworkTable {
        version: written.version,
        sha256: format!("{:x}", Sha256::digest(FILE)),
        frameworks: written.frameworks.into_iter().map(framework).collect(),
    }
});

/// Every framework that a report can be on.
#[must_use]
pub fn frameworks() -> &'static [Framework] {
    &TABLE.frameworks
}

/// The framework that `word` means. Spelling is forgiven: `PCI_DSS` and `pcidss` are `pci-dss`, and `fedramp` alone is its
/// moderate baseline.
#[must_use]
pub fn find_framework(word: &str) -> Option<&'static Framework> {
    let bare = |text: &str| -> String {
        text.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
    };
    let wanted = match bare(word) {
        fedramp if fedramp == "fedramp" => bare("fedramp-moderate"),
        other => other,
    };
    frameworks().iter().find(|framework| bare(&framework.id) == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_framework_of_the_document_is_there_with_controls_of_its_own() {
        let ids: Vec<&str> = frameworks().iter().map(|framework| framework.id.as_str()).collect();
        assert_eq!(
            ids,
            ["nist-800-53", "nist-800-171", "pci-dss", "soc2", "fedramp-moderate", "fedramp-high"]
        );
        for framework in frameworks() {
            let controls = &framework.controls;
            assert!(controls.len() >= 5, "{} has {} controls", framework.id, controls.len());
            assert!((controls.len() as u64) < framework.total, "{} is not seen whole", framework.id);
            for (index, control) in controls.iter().enumerate() {
                assert!(controls[..index].iter().all(|before| before.id != control.id), "{}", control.id);
            }
        }
    }

    #[test]
    fn a_baseline_takes_controls_that_its_catalogue_has() {
        let written: Written = serde_json::from_str(FILE).expect("readable");
        for framework in &written.frameworks {
            let catalogue = &written.catalogues[&framework.catalogue];
            for id in &framework.only {
                assert!(catalogue.iter().any(|control| &control.id == id), "{}: {id}", framework.id);
            }
        }
    }

    #[test]
    fn spelling_is_forgiven_and_strangers_are_not_guessed() {
        for (word, id) in [
            ("pci-dss", "pci-dss"),
            ("PCI_DSS", "pci-dss"),
            ("SOC2", "soc2"),
            ("soc-2", "soc2"),
            ("nist_800_53", "nist-800-53"),
            ("FedRAMP", "fedramp-moderate"),
            ("fedramp-high", "fedramp-high"),
        ] {
            assert_eq!(find_framework(word).map(|framework| framework.id.as_str()), Some(id), "{word}");
        }
        for word in ["", "-", "iso27001", "nist", "pci"] {
            assert!(find_framework(word).is_none(), "{word}");
        }
    }
}
