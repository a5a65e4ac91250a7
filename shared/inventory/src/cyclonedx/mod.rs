//! CycloneDX JSON, versions 1.2 to 1.7 (ECMA-424).
//!
//! Reads what correlation needs (who the subject is, which packages it contains, which system they run on) and ignores the
//! rest of the document, so that producers' liberties elsewhere do no harm. The model is our own for that reason: the
//! crates that exist stop at version 1.5 and refuse a document for one field out of place. Start at [`parse`].

mod model;
pub(crate) mod system;

use std::collections::BTreeMap;

use domain::inventory::{AssetIdentity, Inventory};
use model::{Bom, Component};
use serde_json::Value;
use system::Systems;

use crate::InventoryError;
use crate::entries::Entries;
use crate::normal::tidy;
use crate::purl::{self, Named};
use crate::rules::{MAX_PACKAGES, Skipped, check_bounds, package_problem, shown, software};

const DOCUMENT: &str = "SBOM";
const VERSIONS: [&str; 6] = ["1.2", "1.3", "1.4", "1.5", "1.6", "1.7"];
const SUPPORTED: &str = "CycloneDX JSON, specVersion 1.2 to 1.7";

/// Read an SBOM into the inventory of its subject.
///
/// Components are flattened: where in the tree one stands does not matter to what is known about it. A component that names
/// no package or no version is skipped, and `skipped` says which.
///
/// # Errors
///
/// When the document is not CycloneDX JSON of a supported version, when it does not say what it describes, or when it lists
/// no package that could be judged.
pub fn parse(bytes: &[u8]) -> Result<Inventory, InventoryError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    refuse_other_syntax(bytes)?;
    check_bounds(DOCUMENT, bytes)?;
    let bom: Bom = serde_json::from_slice(bytes)
        .map_err(|error| InventoryError::Malformed { document: DOCUMENT, reason: error.to_string() })?;
    check_format(&bom)?;

    let metadata = bom.metadata.unwrap_or_default();
    let subject = metadata.component.as_ref();
    let identity = identity(subject, bom.serial_number.as_deref())?;

    let mut contents = Contents::default();
    if let Some(subject) = metadata.component {
        if subject.is_operating_system() {
            contents.systems.state(&subject);
        }
        contents.collect("metadata.component.components", subject.components);
    }
    contents.collect("components", bom.components);
    contents.into_inventory(identity)
}

/// Recognise what people upload by mistake, before a JSON reader complains about its first character.
fn refuse_other_syntax(bytes: &[u8]) -> Result<(), InventoryError> {
    let start = bytes.trim_ascii_start();
    let found = if start.starts_with(b"<") {
        "an XML document"
    } else if start.starts_with(b"SPDXVersion:") {
        "an SPDX document"
    } else {
        return Ok(());
    };
    Err(InventoryError::Unsupported { found: found.into(), supported: SUPPORTED })
}

fn check_format(bom: &Bom) -> Result<(), InventoryError> {
    let is_spdx = bom.spdx_version.is_some()
        || bom.context.as_ref().is_some_and(|context| context.to_string().contains("spdx.org"));
    if is_spdx {
        return Err(InventoryError::Unsupported { found: "an SPDX document".into(), supported: SUPPORTED });
    }
    if bom.bom_format != Some(Value::from("CycloneDX")) {
        return Err(InventoryError::Invalid {
            what: "`bomFormat`",
            value: shown_json(bom.bom_format.as_ref()),
            rule: "must be `CycloneDX`".into(),
            remedy: "send a CycloneDX JSON document",
        });
    }
    let version = bom.spec_version.as_ref().and_then(Value::as_str);
    if !version.is_some_and(|version| VERSIONS.contains(&version)) {
        return Err(InventoryError::Unsupported {
            found: format!("CycloneDX specVersion `{}`", shown_json(bom.spec_version.as_ref())),
            supported: SUPPORTED,
        });
    }
    Ok(())
}

fn shown_json(value: Option<&Value>) -> String {
    match value {
        None => "absent".into(),
        Some(Value::String(text)) => shown(text),
        Some(other) => shown(&other.to_string()),
    }
}

/// Who the SBOM is about. The name shown carries the version; the external id does not, so that the SBOM of the next
/// release replaces this one's packages instead of adding an asset that nobody updates any more.
fn identity(
    subject: Option<&Component>,
    serial_number: Option<&str>,
) -> Result<AssetIdentity, InventoryError> {
    const REMEDY: &str = "name the application or image in `metadata.component.name`";
    let named = subject.and_then(|subject| Some((subject, subject.full_name()?)));
    let (hostname, external_id) = match (named, serial_number) {
        (Some((subject, name)), serial_number) => {
            let purl = subject.purl.as_deref().or(subject.bom_ref.as_deref());
            // Several tools call whatever folder they looked at `.`: no name to go by.
            let by_name = name.contains(char::is_alphanumeric).then(|| format!("cyclonedx:{name}"));
            let external_id =
                purl.and_then(purl::without_version).or(by_name).or(serial_number.map(str::to_owned));
            (subject.name_and_version(&name), external_id)
        }
        (None, Some(serial_number)) => (serial_number.to_owned(), Some(serial_number.to_owned())),
        (None, None) => {
            let finding =
                "does not say what it describes: it has neither `metadata.component.name` nor `serialNumber`";
            return Err(InventoryError::Empty {
                document: DOCUMENT,
                finding: finding.into(),
                remedy: REMEDY,
            });
        }
    };
    software(hostname, external_id, REMEDY)
}

/// What a walk through the components gathers.
#[derive(Default)]
struct Contents {
    /// Each with the place where it stands.
    packages: Vec<(String, Named)>,
    systems: Systems,
    skipped: Skipped,
    /// How many components of the kinds that name no package by nature (files, data …) there were.
    not_packages: BTreeMap<String, usize>,
}

impl Contents {
    fn collect(&mut self, place: &str, components: Entries<Component>) {
        for (index, reason) in components.refused {
            self.skipped.push(|| format!("{place}[{index}]: {reason}"));
        }
        for (index, mut component) in components.read {
            let place = format!("{place}[{index}]");
            let parts = std::mem::take(&mut component.components);
            self.take(&place, &component);
            self.collect(&format!("{place}.components"), parts);
        }
    }

    fn take(&mut self, place: &str, component: &Component) {
        if component.is_operating_system() {
            self.systems.state(component);
            return;
        }
        let name = || shown(component.name.as_deref().unwrap_or_default());
        let Some(purl) = component.purl.as_deref().filter(|purl| !purl.trim().is_empty()) else {
            match component.kind_without_package() {
                Some(kind) => *self.not_packages.entry(kind.to_owned()).or_default() += 1,
                None => self.skipped.push(|| format!("{place} (`{}`): it has no purl", name())),
            }
            return;
        };
        match read_package(purl, component) {
            Ok(named) => {
                self.systems.hint(&named);
                self.packages.push((place.to_owned(), named));
            }
            Err(problem) => self.skipped.push(|| format!("{place} (`{}`): {problem}", name())),
        }
    }

    fn into_inventory(mut self, mut asset: AssetIdentity) -> Result<Inventory, InventoryError> {
        let found = self.packages.len();
        if found > MAX_PACKAGES {
            return Err(InventoryError::Invalid {
                what: "the number of packages",
                value: found.to_string(),
                rule: format!("must be at most {MAX_PACKAGES}"),
                remedy: "send one SBOM per application or image",
            });
        }
        for (kind, count) in std::mem::take(&mut self.not_packages) {
            self.skipped
                .push(|| format!("components of type `{kind}` without purl, which name no package: {count}"));
        }
        asset.os = self.systems.decide(&mut self.skipped);
        let mut packages = Vec::with_capacity(found);
        for (place, named) in self.packages {
            match system::conflict(asset.os.as_ref(), named.system.as_ref()) {
                Some(conflict) => {
                    self.skipped.push(|| format!("{place} (`{}`): {conflict}", shown(&named.package.name)));
                }
                None => packages.push(named.package),
            }
        }
        if packages.is_empty() {
            let finding = match self.skipped.first() {
                None => "lists no components".into(),
                Some(first) => {
                    format!("has no usable package among {} components; {first}", self.skipped.count())
                }
            };
            let remedy = "give each component a `purl` with a version";
            return Err(InventoryError::Empty { document: DOCUMENT, finding, remedy });
        }
        tidy(&mut packages);
        Ok(Inventory { asset, packages, skipped: self.skipped.into_lines() })
    }
}

/// The package that a component names, or what is wrong with it.
fn read_package(purl: &str, component: &Component) -> Result<Named, String> {
    let mut named = purl::read(purl)
        .map_err(|error| format!("its purl `{}` is not a package URL: {error}", shown(purl)))?;
    if named.package.version.is_empty() {
        let version = component.version.as_deref().unwrap_or_default().trim();
        if version.is_empty() {
            return Err("it has no version".into());
        }
        let is_go = named.package.ecosystem.as_deref() == Some("Go");
        named.package.version = if is_go { purl::osv_version("golang", version) } else { version }.to_owned();
    }
    if named.package.source_name.is_none() && named.package.ecosystem.is_none() {
        (named.package.source_name, named.package.source_version) = component.trivy_source();
    }
    match package_problem(&named.package) {
        Some(problem) => Err(problem),
        None => Ok(named),
    }
}
