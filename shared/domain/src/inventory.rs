//! What a host or an SBOM says is installed.
//!
//! [`HostReport`] is the body that the agent posts; [`Inventory`] is what any inventory source is read into.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// What the agent on a host found, as posted to `/api/inventory/reports`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostReport {
    pub hostname: String,
    /// A stable id of the machine that outlives a rename (a digest of its machine id), when it has one.
    #[serde(default)]
    pub machine_id: Option<String>,
    /// The version of the agent that wrote this.
    #[serde(default)]
    pub agent_version: Option<String>,
    pub os: OperatingSystem,
    #[serde(default)]
    pub kernel: Option<String>,
    #[serde(default)]
    pub architecture: Option<String>,
    pub packages: Vec<InstalledPackage>,
}

/// The parts of `os-release(5)` that identify a distribution's release.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatingSystem {
    /// `ID`: `debian`, `ubuntu`, `alpine`, `rocky` …
    pub distro: String,
    /// `VERSION_ID`: `12`, `22.04`, `3.20.3`.
    pub version: String,
    /// `VERSION_CODENAME`: `bookworm`.
    #[serde(default)]
    pub codename: Option<String>,
    /// `PRETTY_NAME`.
    #[serde(default)]
    pub name: Option<String>,
}

impl OperatingSystem {
    /// The platform whose advisories judge this system's packages, in OSV spelling (`Debian:12`,
    /// `Ubuntu:22.04`, `Alpine:v3.20`, `Rocky Linux:9`); `None` for systems we know no advisories of.
    #[must_use]
    pub fn platform(&self) -> Option<String> {
        let major = self.version.split('.').next().unwrap_or_default();
        if major.is_empty() {
            return None;
        }
        match self.distro.to_ascii_lowercase().as_str() {
            "debian" => Some(format!("Debian:{major}")),
            "ubuntu" => Some(format!("Ubuntu:{}", self.version)),
            "alpine" => {
                let mut parts = self.version.split('.');
                Some(format!("Alpine:v{}.{}", parts.next()?, parts.next()?))
            }
            "almalinux" => Some(format!("AlmaLinux:{major}")),
            "rocky" => Some(format!("Rocky Linux:{major}")),
            "rhel" | "centos" => Some(format!("Red Hat:{major}")),
            _ => None,
        }
    }
}

/// One installed package.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstalledPackage {
    pub name: String,
    pub version: String,
    #[serde(default)]
    pub architecture: Option<String>,
    /// The source package it was built from, where that has another name.
    #[serde(default)]
    pub source_name: Option<String>,
    /// The source package's version, where it differs from the binary's.
    #[serde(default)]
    pub source_version: Option<String>,
    /// The language ecosystem in OSV spelling (`crates.io`, `npm`, `PyPI` …); absent for packages of the operating system.
    #[serde(default)]
    pub ecosystem: Option<String>,
    /// Package URL, where the source of the inventory gives one.
    #[serde(default)]
    pub purl: Option<String>,
}

impl InstalledPackage {
    /// The package name and version that distribution advisories judge: the source package's (Debian, Ubuntu and Alpine publish
    /// advisories about source packages, and a binary's version need not be its source's).
    ///
    /// Kernels are built once and signed by another source package, which no advisory names: Debian's `linux-signed-amd64` wraps
    /// `linux`, and Ubuntu's `linux-signed-hwe-6.5` wraps `linux-hwe-6.5`, not `linux`. The binary has the kernel's own version.
    #[must_use]
    pub fn source(&self) -> (Cow<'_, str>, &str) {
        let signed = self.source_name.as_deref().and_then(|name| name.strip_prefix("linux-signed"));
        let Some(flavour) = signed else {
            let name = self.source_name.as_deref().unwrap_or(&self.name);
            return (name.into(), self.source_version.as_deref().unwrap_or(&self.version));
        };
        let architectures = ["-amd64", "-arm64", "-i386"];
        let flavour = architectures.iter().find_map(|end| flavour.strip_suffix(end)).unwrap_or(flavour);
        (format!("linux{flavour}").into(), &self.version)
    }
}

/// The name of a Python project as the index compares it: no difference between `-`, `_` and `.`, nor between cases (PyPA, "Names and
/// normalization", formerly PEP 503).
#[must_use]
pub fn python_project(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            other => normal.extend(other.to_lowercase()),
        }
    }
    normal
}

/// One asset with what is installed on it, whatever it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    pub asset: AssetIdentity,
    pub packages: Vec<InstalledPackage>,
    /// What could not be read, in plain words with its position; the rest is complete.
    pub skipped: Vec<String>,
}

/// Another system that knows what is installed, and is asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Integration {
    /// What is installed on hosts.
    Wazuh,
    /// What repositories depend on.
    Github,
}

impl Integration {
    /// Every one of them.
    pub const ALL: [Self; 2] = [Self::Wazuh, Self::Github];

    /// The word kept in the database, and in payloads of jobs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wazuh => "wazuh",
            Self::Github => "github",
        }
    }

    /// Its name, for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Wazuh => "Wazuh",
            Self::Github => "GitHub",
        }
    }
}

/// Who the packages belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetIdentity {
    pub kind: AssetKind,
    pub hostname: String,
    /// Stable over renames: a machine id, an image digest, an SBOM's subject purl.
    pub external_id: Option<String>,
    pub os: Option<OperatingSystem>,
    pub kernel: Option<String>,
    pub architecture: Option<String>,
}

/// What kind of thing an asset is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssetKind {
    Host,
    /// The subject of an SBOM: an application, a container image, a firmware.
    Software,
}

impl AssetKind {
    /// The word kept in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Software => "software",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(distro: &str, version: &str) -> OperatingSystem {
        OperatingSystem { distro: distro.into(), version: version.into(), ..OperatingSystem::default() }
    }

    #[test]
    fn a_release_names_the_platform_that_judges_it() {
        assert_eq!(system("debian", "12").platform().as_deref(), Some("Debian:12"));
        assert_eq!(system("ubuntu", "22.04").platform().as_deref(), Some("Ubuntu:22.04"));
        assert_eq!(system("alpine", "3.20.3").platform().as_deref(), Some("Alpine:v3.20"));
        assert_eq!(system("rocky", "9.4").platform().as_deref(), Some("Rocky Linux:9"));
    }

    #[test]
    fn a_signed_kernel_is_judged_as_the_kernel_it_is() {
        let kernel = InstalledPackage {
            name: "linux-image-6.1.0-37-amd64".into(),
            version: "6.1.140-1".into(),
            architecture: None,
            source_name: Some("linux-signed-amd64".into()),
            source_version: Some("6.1.140+1".into()),
            ecosystem: None,
            purl: None,
        };
        assert_eq!(kernel.source(), ("linux".into(), "6.1.140-1"));
        let flavoured = InstalledPackage { source_name: Some("linux-signed-hwe-6.5".into()), ..kernel };
        assert_eq!(flavoured.source(), ("linux-hwe-6.5".into(), "6.1.140-1"));
    }

    #[test]
    fn an_unknown_or_rolling_release_has_no_platform() {
        assert_eq!(system("arch", "").platform(), None);
        assert_eq!(system("plan9", "4").platform(), None);
    }
}
