//! Where the assets stand: a frame for each zone, a box for each system in it.
//!
//! Drawn from what the inventory knows, which is no connections: there are no arrows.

use std::collections::BTreeMap;

use domain::document::{Block, Diagram, Flow, Group, Node, Shape, Tone};
use store::reports::Report;

use super::{Posture, SystemLine, counted};

/// Boxes of one zone. More would be too small to read.
const MOST_SYSTEMS: usize = 3;

/// Whether `report` was asked to have the diagram; none when nothing was said.
pub(crate) fn asked_for_diagram(report: &Report) -> Option<bool> {
    report.options.get("include_architecture_diagram")?.as_bool()
}

impl Posture {
    /// The zones and the systems in them; none where there is no asset.
    pub(crate) fn architecture_diagram(&self) -> Option<Block> {
        let mut zones: BTreeMap<&str, Vec<&SystemLine>> = BTreeMap::new();
        for system in &self.systems {
            zones.entry(&system.zone).or_default().push(system);
        }
        if zones.is_empty() {
            return None;
        }
        let mut nodes = Vec::new();
        for systems in zones.values_mut() {
            systems.sort_by(|left, right| right.assets.cmp(&left.assets).then(left.name.cmp(&right.name)));
            let (shown, rest) = systems.split_at(systems.len().min(MOST_SYSTEMS));
            nodes.extend(shown.iter().copied().map(node));
            if let Some(first) = rest.first() {
                nodes.push(node(&SystemLine {
                    zone: first.zone.clone(),
                    name: format!("{} further systems", rest.len()),
                    assets: rest.iter().map(|system| system.assets).sum(),
                    critical: rest.iter().map(|system| system.critical).sum(),
                    high: rest.iter().map(|system| system.high).sum(),
                }));
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

fn told_of(systems: &[&SystemLine]) -> String {
    counted(systems.iter().map(|system| system.assets).sum(), "asset", "assets")
}

fn node(system: &SystemLine) -> Node {
    let SystemLine { zone, name, assets, critical, high } = system;
    let mut detail = counted(*assets, "asset", "assets");
    let (tone, worst) = match (critical, high) {
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
        label: name.clone(),
        detail: Some(detail),
        shape: Shape::Box,
        tone,
        group: Some(zone.clone()),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::posture::Totals;

    fn system(zone: &str, name: &str, assets: i64, critical: i64) -> SystemLine {
        SystemLine { zone: zone.into(), name: name.into(), assets, critical, high: 0 }
    }

    #[test]
    fn each_zone_shows_its_largest_systems_and_counts_the_others() {
        let posture = |systems| Posture {
            organization: "Acme".into(),
            at: DateTime::UNIX_EPOCH,
            by_severity: vec![],
            totals: Totals::default(),
            problems: vec![],
            systems,
            packages: vec![],
            feeds: vec![],
        };
        let mut systems: Vec<_> = ["D", "C", "B", "A"].map(|name| system("dmz", name, 1, 1)).to_vec();
        systems.push(system("production", "Alpine", 1, 0));
        systems.push(system("dmz", "Debian 12", 3, 0));
        let Some(Block::Diagram(diagram)) = posture(systems).architecture_diagram() else { panic!("none") };
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
