//! The report that the agent posts, read with suspicion.
//!
//! A package that breaks a rule is skipped and named; a report that does not say whose packages they are, or of which
//! no package is left, is refused as a whole. Start at [`parse`].

use domain::inventory::{AssetIdentity, AssetKind, InstalledPackage, Inventory, OperatingSystem};
use serde::Deserialize;

use crate::InventoryError;
use crate::entries::Entries;
use crate::normal::tidy;
use crate::rules::{Skipped, check_bounds, package_problem, shown, text_problem};

const DOCUMENT: &str = "host report";
/// The longest name that DNS allows (RFC 1035, section 2.3.4).
const MAX_HOSTNAME_BYTES: usize = 253;
const MAX_IDENTITY_BYTES: usize = 256;

/// `domain::inventory::HostReport`, of which every package is allowed to be wrong.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    hostname: String,
    #[serde(default)]
    machine_id: Option<String>,
    #[serde(default, rename = "agent_version")]
    _agent_version: Option<String>,
    os: OperatingSystem,
    #[serde(default)]
    kernel: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    packages: Entries<InstalledPackage>,
}

/// Read the JSON body of a host report.
///
/// # Errors
///
/// When the body is not the JSON that was agreed, when who sent it is missing or unusable, or when no package is left.
pub fn parse(bytes: &[u8]) -> Result<Inventory, InventoryError> {
    check_bounds(DOCUMENT, bytes)?;
    let report: Report = serde_json::from_slice(bytes)
        .map_err(|error| InventoryError::Malformed { document: DOCUMENT, reason: error.to_string() })?;
    let asset = identity(&report)?;

    let listed = report.packages.len();
    let mut skipped = Skipped::default();
    let mut packages = Vec::with_capacity(report.packages.read.len());
    for (index, reason) in report.packages.refused {
        skipped.push(|| format!("packages[{index}]: {reason}"));
    }
    for (index, package) in report.packages.read {
        match package_problem(&package) {
            Some(problem) => {
                skipped.push(|| format!("packages[{index}] (`{}`): {problem}", shown(&package.name)))
            }
            None => packages.push(package),
        }
    }
    if packages.is_empty() {
        return Err(InventoryError::Empty {
            document: DOCUMENT,
            finding: match skipped.first() {
                None => "lists no packages".into(),
                Some(first) => format!("has no usable package among {listed}; {first}"),
            },
            remedy: "see that the agent may read the host's package database, and that agent and server are of one release",
        });
    }
    tidy(&mut packages);
    Ok(Inventory { asset, packages, skipped: skipped.into_lines() })
}

fn identity(report: &Report) -> Result<AssetIdentity, InventoryError> {
    let hostname = report.hostname.trim();
    require(
        "`hostname`",
        hostname,
        MAX_HOSTNAME_BYTES,
        "give the host a name and let the agent report again",
    )?;
    let remedy = "let an agent of this server's release report again";
    require("`os.distro`", &report.os.distro, MAX_IDENTITY_BYTES, remedy)?;
    let optional = [
        ("`os.version`", Some(&report.os.version)),
        ("`os.codename`", report.os.codename.as_ref()),
        ("`os.name`", report.os.name.as_ref()),
        ("`machine_id`", report.machine_id.as_ref()),
        ("`kernel`", report.kernel.as_ref()),
        ("`architecture`", report.architecture.as_ref()),
    ];
    for (what, text) in optional {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            require(what, text, MAX_IDENTITY_BYTES, remedy)?;
        }
    }
    let present = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Ok(AssetIdentity {
        kind: AssetKind::Host,
        hostname: hostname.to_owned(),
        external_id: present(&report.machine_id),
        os: Some(report.os.clone()),
        kernel: present(&report.kernel),
        architecture: present(&report.architecture),
    })
}

fn require(what: &'static str, text: &str, limit: usize, remedy: &'static str) -> Result<(), InventoryError> {
    match text_problem(text, limit) {
        None => Ok(()),
        Some(rule) => Err(InventoryError::Invalid { what, value: shown(text), rule, remedy }),
    }
}
