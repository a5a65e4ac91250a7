//! Which operating system the packages of an SBOM run on.
//!
//! A component of type `operating-system` says it outright. Without one it is the system that most packages name in their
//! purl, or else the distribution in whose namespace most of them are, whose release then stays unknown.

use domain::inventory::OperatingSystem;

use super::model::Component;
use crate::purl::{Named, distro_id};
use crate::rules::{MAX_TEXT_BYTES, Skipped, text_problem};

#[derive(Default)]
pub(crate) struct Systems {
    stated: Vec<OperatingSystem>,
    hinted: Vec<(OperatingSystem, usize)>,
}

impl Systems {
    /// Note a component that is an operating system.
    pub(super) fn state(&mut self, component: &Component) {
        let name = component.property("syft:distro:id").or(component.name.as_deref()).map(distro_id);
        let version = component.property("syft:distro:versionID").or(component.version.as_deref());
        let system = OperatingSystem {
            distro: name.unwrap_or_default(),
            version: version.unwrap_or_default().trim().to_owned(),
            codename: component.property("syft:distro:versionCodename").map(str::to_owned),
            name: component.property("syft:distro:prettyName").map(str::to_owned),
        };
        if is_usable(&system) && !self.stated.iter().any(|known| same_platform(known, &system)) {
            self.stated.push(system);
        }
    }

    /// Note what a package's purl says.
    pub(crate) fn hint(&mut self, named: &Named) {
        let by_namespace =
            || Some(OperatingSystem { distro: named.distribution.clone()?, ..OperatingSystem::default() });
        let Some(system) = named.system.clone().or_else(by_namespace).filter(is_usable) else { return };
        match self.hinted.iter_mut().find(|(known, _)| *known == system) {
            Some((_, count)) => *count += 1,
            None => self.hinted.push((system, 1)),
        }
    }

    /// The system that the asset runs, if the SBOM says.
    pub(crate) fn decide(&mut self, skipped: &mut Skipped) -> Option<OperatingSystem> {
        let mut stated = std::mem::take(&mut self.stated).into_iter();
        if let Some(system) = stated.next() {
            for other in stated {
                skipped.push(|| {
                    let (kept, other) = (label(&system), label(&other));
                    format!("operating system {other}: an asset has one, and the document names {kept} first")
                });
            }
            return Some(system);
        }
        // A release that is known beats one that is not, then the majority decides, then the first named.
        let weight = |(system, count): &(OperatingSystem, usize)| (!system.version.is_empty(), *count);
        self.hinted.drain(..).rev().max_by_key(weight).map(|(system, _)| system)
    }
}

/// Why a package of `package`'s system cannot be judged as one of `asset`'s; `None` when it can.
pub(crate) fn conflict(asset: Option<&OperatingSystem>, package: Option<&OperatingSystem>) -> Option<String> {
    let (asset, package) = (asset?, package?);
    (!same_platform(asset, package))
        .then(|| format!("it belongs to {}, the asset runs {}", label(package), label(asset)))
}

/// Whether the same advisories judge both. A system of unknown release conflicts with no release of its distribution.
fn same_platform(one: &OperatingSystem, other: &OperatingSystem) -> bool {
    match (one.platform(), other.platform()) {
        (Some(one), Some(other)) => one == other,
        _ => one.distro == other.distro,
    }
}

fn is_usable(system: &OperatingSystem) -> bool {
    let texts = [Some(&system.version), system.codename.as_ref(), system.name.as_ref()];
    let stated = texts.into_iter().flatten().filter(|text| !text.is_empty());
    [&system.distro].into_iter().chain(stated).all(|text| text_problem(text, MAX_TEXT_BYTES).is_none())
}

fn label(system: &OperatingSystem) -> String {
    format!("{} {}", system.distro, system.version).trim_end().to_owned()
}
