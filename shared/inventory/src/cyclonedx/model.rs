//! The part of a CycloneDX document that is read. Fields that are not named here are ignored, whatever they hold.

use serde::Deserialize;
use serde_json::Value;

use crate::entries::{Entries, list_or_null};
use crate::normal::with_epoch;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bom {
    /// Any value: what it should have been is told better than by a type error.
    pub(super) bom_format: Option<Value>,
    pub(super) spec_version: Option<Value>,
    pub(super) serial_number: Option<String>,
    pub(super) metadata: Option<Metadata>,
    #[serde(default, deserialize_with = "list_or_null")]
    pub(super) components: Entries<Component>,
    /// Only an SPDX 2 document has it.
    pub(super) spdx_version: Option<Value>,
    /// An SPDX 3 document names its context here.
    #[serde(rename = "@context")]
    pub(super) context: Option<Value>,
}

#[derive(Default, Deserialize)]
pub(super) struct Metadata {
    pub(super) component: Option<Component>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Component {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(rename = "bom-ref")]
    pub(super) bom_ref: Option<String>,
    pub(super) group: Option<String>,
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) purl: Option<String>,
    #[serde(default, deserialize_with = "list_or_null")]
    pub(super) properties: Entries<Property>,
    #[serde(default, deserialize_with = "list_or_null")]
    pub(super) components: Entries<Self>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Property {
    name: String,
    value: Option<String>,
}

impl Component {
    pub(super) fn is_operating_system(&self) -> bool {
        self.kind.as_deref() == Some("operating-system")
    }

    /// The type, when components of it are no packages by nature.
    pub(super) fn kind_without_package(&self) -> Option<&str> {
        let kinds = ["file", "data", "device", "machine-learning-model", "cryptographic-asset"];
        self.kind.as_deref().filter(|kind| kinds.contains(kind))
    }

    /// The name with its group in front; none when it is blank.
    pub(super) fn full_name(&self) -> Option<String> {
        let stated = |text: &Option<String>| {
            text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let name = stated(&self.name)?;
        Some(match stated(&self.group) {
            Some(group) => format!("{group}/{name}"),
            None => name,
        })
    }

    /// What people call the component: its name and its version, unless that is a digest.
    pub(super) fn name_and_version(&self, name: &str) -> String {
        match self.version.as_deref().map(str::trim) {
            None | Some("") => name.to_owned(),
            Some(version) if version.starts_with("sha256:") => name.to_owned(),
            Some(version) => format!("{name} {version}"),
        }
    }

    /// The value of a property.
    pub(super) fn property(&self, name: &str) -> Option<&str> {
        let property = self
            .properties
            .read
            .iter()
            .map(|(_, property)| property)
            .find(|property| property.name == name)?;
        property.value.as_deref().filter(|value| !value.is_empty())
    }

    /// Name and version of the source package, which Trivy writes into properties and not into the purl.
    pub(super) fn trivy_source(&self) -> (Option<String>, Option<String>) {
        let property = |name: &str| self.property(&format!("aquasecurity:trivy:{name}"));
        let Some(name) = property("SrcName") else { return (None, None) };
        let version = property("SrcVersion").map(|version| {
            let release = property("SrcRelease").map(|release| format!("-{release}")).unwrap_or_default();
            with_epoch(property("SrcEpoch"), &format!("{version}{release}"))
        });
        (Some(name.to_owned()), version)
    }
}
