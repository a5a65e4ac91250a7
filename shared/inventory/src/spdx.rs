//! SPDX JSON, versions 2.2 and 2.3 (ISO/IEC 5962:2021 and its successor).
//!
//! Reads who the document describes and which packages it lists, by their package URLs, and ignores the rest: files, licences,
//! relationships of packages among each other. GitHub hands out what repositories depend on in this form, with one liberty: where a
//! manifest allows several versions, what it says of the version is a range, and a range is no version. Start at [`parse`].

use std::collections::BTreeSet;

use domain::inventory::{AssetIdentity, Inventory};
use serde::Deserialize;

use crate::InventoryError;
use crate::cyclonedx::system::{Systems, conflict};
use crate::entries::{Entries, list_or_null};
use crate::normal::tidy;
use crate::purl::{self, Named};
use crate::rules::{MAX_PACKAGES, Skipped, check_bounds, package_problem, shown, software};

const DOCUMENT: &str = "SBOM";
const VERSIONS: [&str; 2] = ["SPDX-2.2", "SPDX-2.3"];
const SUPPORTED: &str = "SPDX JSON, spdxVersion SPDX-2.2 or SPDX-2.3";

/// The part of a document that is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spdx {
    spdx_version: Option<String>,
    name: Option<String>,
    #[serde(default, deserialize_with = "list_or_null")]
    document_describes: Entries<String>,
    #[serde(default, deserialize_with = "list_or_null")]
    packages: Entries<Package>,
    #[serde(default, deserialize_with = "list_or_null")]
    relationships: Entries<Relationship>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    #[serde(rename = "SPDXID")]
    id: String,
    name: Option<String>,
    version_info: Option<String>,
    #[serde(default, deserialize_with = "list_or_null")]
    external_refs: Entries<Reference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    reference_type: String,
    reference_locator: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: String,
    related_spdx_element: String,
}

/// What GitHub answers with.
#[derive(Deserialize)]
struct OfGithub {
    sbom: Spdx,
}

/// Read an SBOM into the inventory of what it describes.
///
/// # Errors
///
/// When the document is not SPDX JSON of a supported version, when it does not say what it describes, or when it lists no package that
/// could be judged.
pub fn parse(bytes: &[u8]) -> Result<Inventory, InventoryError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    check_bounds(DOCUMENT, bytes)?;
    let spdx: Spdx = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    check_version(&spdx)?;
    let asset = identity(&spdx)?;
    let listed = spdx.packages.len();
    let inventory = read(spdx, asset)?;
    if inventory.packages.is_empty() {
        let finding = match inventory.skipped.first() {
            None => "lists no packages".into(),
            Some(first) => format!("has no usable package among {listed}; {first}"),
        };
        let remedy = "give each package an external reference of the type `purl` with a version";
        return Err(InventoryError::Empty { document: DOCUMENT, finding, remedy });
    }
    Ok(inventory)
}

/// Read what GitHub says that the repository `asset` depends on. There may be nothing.
pub(crate) fn of_github(bytes: &[u8], asset: AssetIdentity) -> Result<Inventory, InventoryError> {
    check_bounds(DOCUMENT, bytes)?;
    let OfGithub { sbom } = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    check_version(&sbom)?;
    read(sbom, asset)
}

fn malformed(error: &serde_json::Error) -> InventoryError {
    InventoryError::Malformed { document: DOCUMENT, reason: error.to_string() }
}

fn check_version(spdx: &Spdx) -> Result<(), InventoryError> {
    match spdx.spdx_version.as_deref() {
        Some(version) if VERSIONS.contains(&version) => Ok(()),
        version => Err(InventoryError::Unsupported {
            found: format!("spdxVersion `{}`", shown(version.unwrap_or("absent"))),
            supported: SUPPORTED,
        }),
    }
}

impl Spdx {
    /// The ids of what the document is about.
    fn described(&self) -> BTreeSet<&str> {
        let listed = self.document_describes.read.iter().map(|(_, id)| id.as_str());
        let related = self.relationships.read.iter().map(|(_, relationship)| relationship);
        let related = related.filter(|related| {
            related.relationship_type == "DESCRIBES" && related.spdx_element_id == "SPDXRef-DOCUMENT"
        });
        listed.chain(related.map(|related| related.related_spdx_element.as_str())).collect()
    }
}

impl Package {
    fn purl(&self) -> Option<&str> {
        let mut references = self.external_refs.read.iter().map(|(_, reference)| reference);
        references
            .find(|reference| reference.reference_type == "purl")
            .map(|reference| reference.reference_locator.trim())
    }
}

/// Who the SBOM is about: the one thing that it describes, or its own name. As in CycloneDX the external id has no version, so that the
/// SBOM of the next release replaces this one's packages.
fn identity(spdx: &Spdx) -> Result<AssetIdentity, InventoryError> {
    const REMEDY: &str =
        "name the application or image in `name`, and in the package that the document describes";
    let described = spdx.described();
    let mut subjects = spdx.packages.read.iter().map(|(_, package)| package);
    let subject =
        subjects.find(|package| described.contains(package.id.as_str())).filter(|_| described.len() == 1);
    let name =
        |text: Option<&String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let hostname =
        name(subject.and_then(|subject| subject.name.as_ref())).or_else(|| name(spdx.name.as_ref()));
    let Some(hostname) = hostname else {
        return Err(InventoryError::Empty {
            document: DOCUMENT,
            finding: "does not say what it describes: it has no `name`".into(),
            remedy: REMEDY,
        });
    };
    let by_purl = subject.and_then(Package::purl).and_then(purl::without_version);
    let external_id = by_purl.unwrap_or_else(|| format!("spdx:{hostname}"));
    software(hostname, Some(external_id), REMEDY)
}

/// The packages, but for those that the document describes: a subject is not a part of itself.
fn read(spdx: Spdx, mut asset: AssetIdentity) -> Result<Inventory, InventoryError> {
    if spdx.packages.len() > MAX_PACKAGES {
        return Err(InventoryError::Invalid {
            what: "the number of packages",
            value: spdx.packages.len().to_string(),
            rule: format!("must be at most {MAX_PACKAGES}"),
            remedy: "send one SBOM per application or image",
        });
    }
    let described = spdx.described();
    let (mut systems, mut skipped, mut found) = (Systems::default(), Skipped::default(), Vec::new());
    for (index, reason) in &spdx.packages.refused {
        skipped.push(|| format!("packages[{index}]: {}", shown(reason)));
    }
    for (index, package) in &spdx.packages.read {
        if described.contains(package.id.as_str()) {
            continue;
        }
        match named(package) {
            Ok(named) => {
                systems.hint(&named);
                found.push((*index, named));
            }
            Err(problem) => {
                let name = shown(package.name.as_deref().unwrap_or_default());
                skipped.push(|| format!("packages[{index}] (`{name}`): {problem}"));
            }
        }
    }
    asset.os = systems.decide(&mut skipped);
    let mut packages = Vec::with_capacity(found.len());
    for (index, named) in found {
        match conflict(asset.os.as_ref(), named.system.as_ref()) {
            Some(why) => {
                skipped.push(|| format!("packages[{index}] (`{}`): {why}", shown(&named.package.name)))
            }
            None => packages.push(named.package),
        }
    }
    tidy(&mut packages);
    Ok(Inventory { asset, packages, skipped: skipped.into_lines() })
}

/// The package, or what is wrong with it.
fn named(package: &Package) -> Result<Named, String> {
    let text = package.purl().ok_or("it has no purl")?;
    let mut named = purl::read(text)
        .map_err(|error| format!("its purl `{}` is not a package URL: {error}", shown(text)))?;
    let installed = &mut named.package;
    if installed.version.is_empty() {
        let stated = package.version_info.as_deref().unwrap_or_default().trim();
        let is_go = installed.ecosystem.as_deref() == Some("Go");
        installed.version = if is_go { purl::osv_version("golang", stated) } else { stated }.to_owned();
    }
    match installed.version.as_str() {
        "" | "NOASSERTION" => Err("it has no version".into()),
        range if installed.ecosystem.is_some() && is_range(range) => {
            Err(format!("its version `{}` is a range: a lock file would say which is meant", shown(range)))
        }
        _ => package_problem(installed).map_or(Ok(named), Err),
    }
}

/// What manifests write where several versions will do, and no version has in it.
fn is_range(version: &str) -> bool {
    version.contains(|c: char| "^<>=*|, ".contains(c)) || version.starts_with('~')
}
