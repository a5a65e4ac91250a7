//! Where the assets stand: a frame for each zone, a box for each system in it.
//!
//! Drawn from what the inventory knows, which is no connections: there are no arrows.

use std::collections::BTreeMap;

use domain::document::{Block, Diagram, Flow, Group, Node, Shape, Tone};
use store::reports::Report;

use super::Posture;

/// Boxes of one zone. More would be too small to read.
const MOST_SYSTEMS: usize = 3;

/// Whether `report` was asked to have the diagram; none when nothing was said.
pub(crate) fn asked_for_diagram(report: &Report) -> Option<bool> {
    report.options.get("include_architecture_diagram")?.as_bool()
}

/// Assets of one system in one zone.
#[derive(Default)]
struct System {
    assets: u64,
    critical: i64,
    high: i64,
}

impl Posture {
    /// The zones and the systems in them; none where there is no asset.
    pub(crate) fn architecture_diagram(&self) -> Option<Block> {
        let mut zones: BTreeMap<&str, BTreeMap<&str, System>> = BTreeMap::new();
        for asset in &self.assets {
            let name = asset.os_name.as_deref().unwrap_or("not stated");
            let system = zones.entry(&asset.risk_zone).or_default().entry(name).or_default();
            system.assets += 1;
            system.critical += asset.critical;
            system.high += asset.high;
        }
        if zones.is_empty() {
            return None;
        }
        let mut nodes = Vec::new();
        for (zone, systems) in &zones {
            let mut systems: Vec<_> = systems.iter().collect();
            systems.sort_by(|left, right| right.1.assets.cmp(&left.1.assets).then(left.0.cmp(right.0)));
            let shown = systems.len().min(MOST_SYSTEMS);
            nodes.extend(systems[..shown].iter().map(|(name, system)| node(zone, name, system)));
            if let Some(rest) = systems.get(shown..).filter(|rest| !rest.is_empty()) {
                let all = rest.iter().fold(System::default(), |all, (_, system)| System {
                    assets: all.assets + system.assets,
                    critical: all.critical + system.critical,
                    high: all.high + system.high,
                });
                nodes.push(node(zone, &format!("{} further systems", rest.len()), &all));
            }
        }
        let group = |zone: &&str| Group {
            id: (*zone).to_owned(),
            label: (*zone).to_owned(),
            parent: None,
            tone: Tone::Neutral,
        };
        let told: Vec<_> =
            zones.iter().map(|(zone, systems)| format!("{} in {zone}", told_of(systems))).collect();
        Some(Block::Diagram(Diagram {
            id: "architecture".into(),
            title: "Zones and the systems in them".into(),
            alt: format!("{}.", told.join("; ")),
            direction: Flow::Right,
            groups: zones.keys().map(group).collect(),
            nodes,
            edges: Vec::new(),
        }))
    }
}

fn told_of(systems: &BTreeMap<&str, System>) -> String {
    let assets: u64 = systems.values().map(|system| system.assets).sum();
    counted(assets, "asset")
}

fn node(zone: &str, name: &str, system: &System) -> Node {
    let mut detail = counted(system.assets, "asset");
    let (tone, worst) = match (system.critical, system.high) {
        (0, 0) => (Tone::Neutral, None),
        (0, high) => (Tone::Caution, Some(format!("{high} high"))),
        (critical, _) => (Tone::Bad, Some(format!("{critical} critical"))),
    };
    if let Some(worst) = worst {
        detail.push_str(", ");
        detail.push_str(&worst);
    }
    Node {
        id: format!("{zone}/{name}"),
        label: name.to_owned(),
        detail: Some(detail),
        shape: Shape::Box,
        tone,
        group: Some(zone.to_owned()),
    }
}

fn counted(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::posture::{AssetLine, Totals};

    fn asset(zone: &str, system: &str, critical: i64) -> AssetLine {
        AssetLine {
            hostname: "h".into(),
            os_name: Some(system.into()),
            risk_zone: zone.into(),
            package_count: 0,
            critical,
            high: 0,
            medium: 0,
            low: 0,
            unrated: 0,
            worst: None,
            correlated_at: None,
        }
    }

    #[test]
    fn each_zone_shows_its_largest_systems_and_counts_the_others() {
        let posture = |assets| Posture {
            organization: "Acme".into(),
            at: DateTime::UNIX_EPOCH,
            by_severity: vec![],
            totals: Totals::default(),
            problems: vec![],
            assets,
            findings: vec![],
            packages: vec![],
            feeds: vec![],
        };
        let mut assets = vec![asset("dmz", "Debian 12", 0); 3];
        assets.extend(["A", "B", "C", "D"].map(|system| asset("dmz", system, 1)));
        assets.push(asset("production", "Alpine", 0));
        let Some(Block::Diagram(diagram)) = posture(assets).architecture_diagram() else { panic!("none") };
        let boxes: Vec<_> = diagram
            .nodes
            .iter()
            .map(|node| (node.label.as_str(), node.detail.as_deref(), node.tone))
            .collect();
        assert_eq!(
            boxes,
            [
                ("Debian 12", Some("3 assets"), Tone::Neutral),
                ("A", Some("1 asset, 1 critical"), Tone::Bad),
                ("B", Some("1 asset, 1 critical"), Tone::Bad),
                ("2 further systems", Some("2 assets, 2 critical"), Tone::Bad),
                ("Alpine", Some("1 asset"), Tone::Neutral),
            ]
        );
        assert_eq!(diagram.alt, "7 assets in dmz; 1 asset in production.");
        assert!(posture(vec![]).architecture_diagram().is_none());
    }
}
