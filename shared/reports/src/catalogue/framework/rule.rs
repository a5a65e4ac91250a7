//! By what controls are judged: the rules by name, and as the report prints them.

use serde::Deserialize;

/// By what a control is judged. The word is that of `frameworks.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Rule {
    /// Is there an inventory, and is it kept up?
    Inventory,
    /// Is it known what software is installed?
    Software,
    /// Is every asset within the reach of advisories, and compared with them?
    Coverage,
    /// The same, with sources that are current.
    Scanning,
    /// Are the sources of advisories current?
    Advisories,
    /// Is every finding rated?
    Ranking,
    /// Is everything mended in its time?
    Flaws,
    /// Only what is pressing: critical, high, not rated, or known to be exploited.
    UrgentFlaws,
    /// Only what is not.
    LesserFlaws,
    /// Is the acceptance of risks reasoned?
    Exceptions,
    /// Is something installed that nobody mends any more?
    Unsupported,
}

impl Rule {
    /// In the order of the method's description.
    pub(super) const ALL: [Self; 11] = [
        Self::Inventory,
        Self::Software,
        Self::Coverage,
        Self::Scanning,
        Self::Advisories,
        Self::Ranking,
        Self::Flaws,
        Self::UrgentFlaws,
        Self::LesserFlaws,
        Self::Exceptions,
        Self::Unsupported,
    ];

    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Inventory => "Inventory",
            Self::Software => "Installed software",
            Self::Coverage => "Coverage",
            Self::Scanning => "Search for vulnerabilities",
            Self::Advisories => "Sources of advisories",
            Self::Ranking => "Rating",
            Self::Flaws => "Findings in time",
            Self::UrgentFlaws => "Pressing findings in time",
            Self::LesserFlaws => "Lesser findings in time",
            Self::Exceptions => "Accepted risks",
            Self::Unsupported => "Support",
        }
    }

    /// The rule as the report prints it. [`super::judge::judge`] is the same in code.
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Inventory => {
                "Met when every asset sent an inventory within a day, partly when some did, not met when none did. Not assessed without assets."
            }
            Self::Software => {
                "Met when the packages of every asset are known and every inventory is younger than a day, partly when some are. Not assessed when no asset's packages are known."
            }
            Self::Coverage => {
                "Met when every asset has packages that a source of advisories speaks of and was compared with it within a week, by an inventory no older than that; partly when some were, not met when none was. Not assessed when no asset was ever compared."
            }
            Self::Scanning => {
                "Met when every asset has packages that a source of advisories speaks of and was compared with it within a week, by an inventory no older than that, and every source in use is younger than a week; partly when some were or a source is not, not met when no asset was. Not assessed when no asset was ever compared."
            }
            Self::Advisories => {
                "Met when every source in use is younger than a week and its last crawl went well, partly when some are, not met when none is. Not assessed when none ever arrived, or there is no asset to which they could apply."
            }
            Self::Ranking => {
                "Met when every open finding has a severity, partly when some have, not met when none has. Not assessed when there is no open finding to rate."
            }
            Self::Flaws => {
                "Not met when a pressing finding (critical, high, not rated by anybody, or known to be exploited) is past its time, partly when only lesser ones are, when versions could not be compared, not every asset was observed, or a source is older than a week; met otherwise. Not assessed when no asset was ever compared."
            }
            Self::UrgentFlaws => {
                "Of pressing findings only, those that are critical, high, not rated by anybody or known to be exploited: not met when one is past its time, partly when versions could not be compared, not every asset was observed, or a source is older than a week; met otherwise. Not assessed when no asset was ever compared."
            }
            Self::LesserFlaws => {
                "Of findings that are not pressing only: not met when one is past its time, partly when versions could not be compared, not every asset was observed, or a source is older than a week; met otherwise. Not assessed when no asset was ever compared."
            }
            Self::Exceptions => {
                "Met when every accepted risk has its reason, which this system demands; partly when one of them is known to be exploited. Not assessed when no risk was accepted."
            }
            Self::Unsupported => {
                "Not met when an advisory calls an installed package out of support; not assessed otherwise, since no source lists all that is."
            }
        }
    }
}
