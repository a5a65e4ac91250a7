//! SBOMs in SPDX, good, odd and hostile.

use domain::inventory::{AssetKind, Inventory};
use inventory::{InventoryError, spdx};
use serde_json::{Value, json};

fn parse(document: &Value) -> Result<Inventory, InventoryError> {
    spdx::parse(document.to_string().as_bytes())
}

fn package(id: &str, purl: &str, version: &str) -> Value {
    json!({ "SPDXID": id, "name": "as the tool calls it", "versionInfo": version,
            "externalRefs": [{ "referenceCategory": "SECURITY", "referenceType": "cpe23Type", "referenceLocator": "cpe:2.3:a" },
                             { "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl }] })
}

fn document(packages: Vec<Value>) -> Value {
    let mut subject = package("SPDXRef-shop", "pkg:npm/%40acme/shop@2.1.0", "2.1.0");
    subject["name"] = json!("@acme/shop");
    let packages = [vec![subject], packages].concat();
    json!({
        "spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "a scan", "packages": packages,
        "relationships": [{ "spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
                            "relatedSpdxElement": "SPDXRef-shop" }],
    })
}

#[test]
fn what_the_document_describes_is_the_asset_and_none_of_its_packages() {
    let inventory = parse(&document(vec![
        package("SPDXRef-1", "pkg:npm/lodash@4.17.20", "4.17.20"),
        package("SPDXRef-2", "pkg:golang/github.com/BurntSushi/toml", "v1.2.0"),
    ]))
    .unwrap();
    assert_eq!(inventory.asset.kind, AssetKind::Software);
    assert_eq!(inventory.asset.hostname, "@acme/shop");
    assert_eq!(inventory.asset.external_id.as_deref(), Some("pkg:npm/%40acme/shop"));
    let packages: Vec<_> = inventory.packages.iter().map(|p| (p.name.as_str(), p.version.as_str())).collect();
    assert_eq!(packages, [("github.com/BurntSushi/toml", "1.2.0"), ("lodash", "4.17.20")]);
    assert_eq!(inventory.skipped, [""; 0]);
}

#[test]
fn packages_of_a_system_say_which_it_is() {
    let purl = "pkg:deb/debian/libssl3@3.0.15-1~deb12u1?arch=amd64&upstream=openssl&distro=debian-12";
    let inventory = parse(&document(vec![package("SPDXRef-1", purl, "3.0.15-1~deb12u1")])).unwrap();
    let system = inventory.asset.os.unwrap();
    assert_eq!(system.platform().as_deref(), Some("Debian:12"));
    assert_eq!(inventory.packages[0].source().0, "openssl");
}

#[test]
fn a_range_is_no_version_and_what_is_left_out_is_named() {
    let packages = vec![
        package("SPDXRef-1", "pkg:npm/lodash@4.17.20", "4.17.20"),
        package("SPDXRef-2", "pkg:npm/express", "^4.0.0"),
        package("SPDXRef-3", "pkg:pypi/django", ">= 3.2, < 5"),
        package("SPDXRef-4", "pkg:npm/react", "NOASSERTION"),
        package("SPDXRef-5", "not a purl", "1"),
        json!({ "SPDXID": "SPDXRef-6", "name": "a file", "versionInfo": "1" }),
        json!("a package"),
        package("SPDXRef-7", "pkg:npm/evil@1", "1\u{0}"),
    ];
    let inventory = parse(&document(packages)).unwrap();
    let names: Vec<_> = inventory.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["evil", "lodash"], "a purl's version is its version");
    let skipped = inventory.skipped.join("\n");
    for told in
        ["`^4.0.0` is a range", "is a range", "it has no version", "is not a package URL", "it has no purl"]
    {
        assert!(skipped.contains(told), "{told}: {skipped}");
    }
    assert_eq!(inventory.skipped.len(), 6, "{skipped}");
}

#[test]
fn a_document_that_is_none_or_says_nothing_is_refused() {
    for (document, told) in [
        (json!({ "spdxVersion": "SPDX-1.2", "packages": [] }), "spdxVersion `SPDX-1.2`"),
        (json!({ "packages": [] }), "spdxVersion `absent`"),
        (json!({ "spdxVersion": "SPDX-2.3", "packages": [] }), "does not say what it describes"),
        (json!({ "spdxVersion": "SPDX-2.3", "name": "x", "packages": [] }), "lists no packages"),
        (json!({ "spdxVersion": "SPDX-2.3", "name": "x", "packages": {} }), "cannot be read"),
        (document(vec![json!({ "SPDXID": "SPDXRef-1", "name": "x" })]), "no usable package among 2"),
    ] {
        let refused = parse(&document).unwrap_err().to_string();
        assert!(refused.contains(told), "{refused}");
    }
    assert!(spdx::parse(b"").is_err());
    let deep = format!("{{\"spdxVersion\":{}{}}}", "[".repeat(500), "]".repeat(500));
    assert!(matches!(spdx::parse(deep.as_bytes()), Err(InventoryError::TooDeep { .. })));
}
