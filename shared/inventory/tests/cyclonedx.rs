//! SBOMs, good, odd and hostile.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use domain::inventory::{AssetKind, InstalledPackage, Inventory};
use inventory::{InventoryError, cyclonedx};
use proptest::prelude::*;
use serde_json::{Value, json};

const IMAGE: &[u8] = include_bytes!("fixtures/sbom/image.cdx.json");

fn find<'a>(inventory: &'a Inventory, name: &str) -> &'a InstalledPackage {
    inventory
        .packages
        .iter()
        .find(|package| package.name == name)
        .unwrap_or_else(|| panic!("no package `{name}`"))
}

fn parse(value: &Value) -> Result<Inventory, InventoryError> {
    cyclonedx::parse(value.to_string().as_bytes())
}

fn document(components: Value) -> Value {
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "metadata": { "component": { "type": "application", "group": "acme", "name": "shop", "version": "1.2" } },
        "components": components,
    })
}

#[test]
fn an_image_becomes_an_asset_with_its_packages() {
    let inventory = cyclonedx::parse(IMAGE).unwrap();
    let asset = &inventory.asset;
    assert_eq!(asset.kind, AssetKind::Software);
    assert_eq!(asset.hostname, "registry.example.net/shop/backend:2.7");
    assert_eq!(
        asset.external_id.as_deref(),
        Some("pkg:oci/backend?repository_url=registry.example.net%2Fshop%2Fbackend")
    );
    let os = asset.os.as_ref().unwrap();
    assert_eq!(os.platform().as_deref(), Some("Debian:12"));
    assert_eq!(os.codename.as_deref(), Some("bookworm"));

    assert_eq!(find(&inventory, "libssl3").source(), ("openssl".into(), "3.0.11-1~deb12u2"));
    assert_eq!(find(&inventory, "libssl3").ecosystem, None);
    assert_eq!(find(&inventory, "bsdutils").version, "1:2.38.1-5");
    assert_eq!(find(&inventory, "bsdutils").source(), ("util-linux".into(), "2.38.1-5"));
    let log4j = find(&inventory, "org.apache.logging.log4j:log4j-core");
    assert_eq!((log4j.ecosystem.as_deref(), log4j.version.as_str()), (Some("Maven"), "2.14.1"));
    assert_eq!(
        find(&inventory, "lodash").version,
        "4.17.20",
        "the component's version stands in for the purl's"
    );
    assert_eq!(inventory.packages.len(), 5);
}

#[test]
fn everything_that_is_left_out_is_named_with_its_place() {
    let skipped = cyclonedx::parse(IMAGE).unwrap().skipped;
    for reason in [
        "components[3] (`musl`): it belongs to alpine 3.20.3, the asset runs debian 12",
        "components[4].components[1] (`in-house-fork`): it has no purl",
        "components[5] (`unversioned`): it has no version",
        "components[7] (`Odd_Name`): its purl `not a purl` is not a package URL",
        "components[8]: invalid type: integer `7`, expected a string",
        "components of type `file` without purl, which name no package: 2",
    ] {
        assert!(skipped.iter().any(|line| line.starts_with(reason)), "{reason} is not in {skipped:#?}");
    }
    assert_eq!(skipped.len(), 6, "{skipped:#?}");
}

#[test]
fn the_next_release_is_the_same_asset_under_a_new_name() {
    let components = json!([{ "name": "rand", "purl": "pkg:cargo/rand@0.7.2" }]);
    let first = parse(&document(components.clone())).unwrap().asset;
    let mut next = document(components);
    next["metadata"]["component"]["version"] = json!("1.3");
    let next = parse(&next).unwrap().asset;
    assert_eq!((first.hostname.as_str(), next.hostname.as_str()), ("acme/shop 1.2", "acme/shop 1.3"));
    assert_eq!(first.external_id, next.external_id);
    assert_eq!(first.external_id.as_deref(), Some("cyclonedx:acme/shop"));
}

#[test]
fn a_subject_without_a_name_to_go_by_is_known_by_its_serial_number() {
    let serial = "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79";
    let mut folder = document(json!([{ "name": "rand", "purl": "pkg:cargo/rand@0.7.2" }]));
    folder["serialNumber"] = json!(serial);
    folder["metadata"]["component"] = json!({ "type": "application", "name": "." });
    let asset = parse(&folder).unwrap().asset;
    assert_eq!((asset.hostname.as_str(), asset.external_id.as_deref()), (".", Some(serial)));

    folder["metadata"] = json!({});
    let asset = parse(&folder).unwrap().asset;
    assert_eq!((asset.hostname.as_str(), asset.external_id.as_deref()), (serial, Some(serial)));

    folder.as_object_mut().unwrap().remove("serialNumber");
    let message = parse(&folder).unwrap_err().to_string();
    assert!(message.contains("neither `metadata.component.name` nor `serialNumber`"), "{message}");
}

#[test]
fn without_an_operating_system_component_the_purls_tell_the_system() {
    let debs = json!([
        { "name": "a", "purl": "pkg:deb/ubuntu/a@1?distro=ubuntu-22.04" },
        { "name": "b", "purl": "pkg:deb/ubuntu/b@1?distro=ubuntu-22.04" },
        { "name": "c", "purl": "pkg:deb/ubuntu/c@1" },
        { "name": "d", "purl": "pkg:deb/debian/d@1?distro=debian-12" },
    ]);
    let inventory = parse(&document(debs)).unwrap();
    assert_eq!(inventory.asset.os.unwrap().platform().as_deref(), Some("Ubuntu:22.04"));
    assert_eq!(inventory.packages.len(), 3);
    assert!(inventory.skipped[0].contains("(`d`): it belongs to debian 12"), "{:?}", inventory.skipped);

    let unreleased = parse(&document(json!([{ "name": "a", "purl": "pkg:deb/debian/a@1" }]))).unwrap();
    let os = unreleased.asset.os.unwrap();
    assert_eq!((os.distro.as_str(), os.version.as_str(), os.platform()), ("debian", "", None));

    let application = parse(&document(json!([{ "name": "rand", "purl": "pkg:cargo/rand@0.7.2" }]))).unwrap();
    assert_eq!(application.asset.os, None);
}

#[test]
fn a_component_listed_twice_is_one_package() {
    let twice = json!([
        { "bom-ref": "1", "name": "rand", "purl": "pkg:cargo/rand@0.7.2" },
        { "bom-ref": "2", "name": "rand", "purl": "pkg:cargo/rand@0.7.2" },
    ]);
    assert_eq!(parse(&document(twice)).unwrap().packages.len(), 1);
}

#[test]
fn every_version_from_1_2_to_1_7_is_read_and_no_other() {
    for version in ["1.2", "1.3", "1.4", "1.5", "1.6", "1.7"] {
        let mut bom = document(json!([{ "name": "rand", "purl": "pkg:cargo/rand@0.7.2" }]));
        bom["specVersion"] = json!(version);
        assert_eq!(parse(&bom).unwrap().packages.len(), 1, "{version}");
    }
    for version in [json!("1.1"), json!("2.0"), json!(1.5), json!(null)] {
        let mut bom = document(json!([]));
        bom["specVersion"] = version.clone();
        let message = parse(&bom).unwrap_err().to_string();
        assert!(message.contains("specVersion 1.2 to 1.7"), "{version}: {message}");
    }
}

#[test]
fn other_formats_are_told_apart_and_told_what_to_send() {
    let refused = |bytes: &[u8]| cyclonedx::parse(bytes).unwrap_err().to_string();
    let xml = "\u{feff}  <?xml version=\"1.0\"?><bom xmlns=\"http://cyclonedx.org/schema/bom/1.4\"/>";
    assert!(refused(xml.as_bytes()).starts_with("an XML document is not supported yet: send CycloneDX JSON"));
    assert!(refused(b"SPDXVersion: SPDX-2.2\n").starts_with("an SPDX document is not supported yet"));
    assert!(refused(br#"{"spdxVersion":"SPDX-2.3","packages":[]}"#).starts_with("an SPDX document"));
    assert!(
        refused(br#"{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld"}"#).starts_with("an SPDX")
    );
    assert!(refused(br#"{"bomFormat":"Other","specVersion":"1.5"}"#).contains("`bomFormat` `Other` must be"));
    assert!(refused(b"{}").contains("`bomFormat` `absent`"));
    assert!(refused(b"\xff\xfe{").contains("cannot be read"));
    assert!(refused(b"").contains("cannot be read"));
    assert!(refused(b"[]").contains("cannot be read"));
}

#[test]
fn an_sbom_without_any_usable_package_is_refused_and_not_clean() {
    let message = parse(&document(json!([]))).unwrap_err().to_string();
    assert!(message.contains("lists no components"), "{message}");
    let message = parse(&document(json!([{ "name": "x" }, { "name": "y" }]))).unwrap_err().to_string();
    assert!(
        message.contains("no usable package among 2 components") && message.contains("give each"),
        "{message}"
    );
}

#[test]
fn components_may_be_null_and_nested_deep_but_not_endlessly() {
    assert!(
        parse(&document(json!(null))).is_err_and(|error| error.to_string().contains("lists no components"))
    );
    let nested = |levels: usize| {
        let mut component = json!({ "name": "rand", "purl": "pkg:cargo/rand@0.7.2" });
        for _ in 0..levels {
            component = json!({ "name": "outer", "type": "file", "components": [component] });
        }
        parse(&document(json!([component])))
    };
    assert_eq!(nested(40).unwrap().packages.len(), 1);
    assert!(matches!(nested(60), Err(InventoryError::TooDeep { .. })));
    let brackets = format!("{{\"bomFormat\":{}", "[".repeat(1_000_000));
    assert!(matches!(cyclonedx::parse(brackets.as_bytes()), Err(InventoryError::TooDeep { .. })));
}

#[test]
fn a_package_that_breaks_a_rule_is_skipped() {
    let components = json!([
        { "name": "fine", "purl": "pkg:npm/fine@1" },
        { "name": "nul", "purl": "pkg:npm/n%00l@1" },
        { "name": "long", "purl": format!("pkg:npm/long@{}", "9".repeat(2_000)) },
    ]);
    let inventory = parse(&document(components)).unwrap();
    assert_eq!(inventory.packages.len(), 1);
    assert!(inventory.skipped[0].contains("U+0000") && inventory.skipped[1].contains("the limit is 1024"));
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { files(&path) } else { vec![path] }
        })
        .collect()
}

#[test]
fn real_sboms_are_read_almost_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/feeds/sbom");
    let samples = files(&folder);
    if samples.is_empty() {
        eprintln!("skipped: there are no sample SBOMs beside this project");
        return;
    }
    // How many components each CycloneDX file lists, counted with another JSON reader.
    let expected = BTreeMap::from([
        ("dtrack-apiserver-4.5.0.bom.json", 132),
        ("cern-lhc-vdm-editor-e564943/bom.json", 43),
        ("dropwizard-1.3.15/bom.json", 167),
        ("laravel-7.12.0/bom.1.2.json", 62),
        ("laravel-7.12.0/bom.1.3.json", 62),
        ("laravel-7.12.0/bom.1.4.json", 62),
        ("proton-bridge/proton-bridge-v1.6.3.bom.json", 201),
        ("proton-bridge/proton-bridge-v1.8.0.bom.json", 201),
    ]);
    let mut read = 0;
    for path in samples {
        let result = cyclonedx::parse(&fs::read(&path).unwrap());
        let name = path.display().to_string();
        match expected.iter().find(|(suffix, _)| name.ends_with(*suffix)) {
            Some((_, components)) => {
                let inventory = result.unwrap();
                eprintln!("{name}: {} packages, {:?}", inventory.packages.len(), inventory.skipped);
                assert_eq!(inventory.packages.len() + inventory.skipped.len(), *components, "{name}");
                assert!(inventory.packages.len() * 10 >= components * 9, "{name}");
                read += 1;
            }
            // XML, SPDX and VEX documents without components.
            None if !name.contains("cyclonedx-vex/bom.json") => assert!(result.is_err(), "{name}"),
            None => assert_eq!(result.unwrap().packages.len(), 3),
        }
    }
    assert_eq!(read, expected.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = cyclonedx::parse(&bytes);
    }

    #[test]
    fn a_damaged_sbom_never_panics(edits in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
        let mut bytes = IMAGE.to_vec();
        for (position, byte) in edits {
            let position = position % bytes.len();
            bytes[position] = byte;
        }
        let _ = cyclonedx::parse(&bytes);
    }

    #[test]
    fn any_value_in_any_place_never_panics(
        field in prop_oneof![
            Just("/metadata"), Just("/metadata/component"), Just("/metadata/component/purl"), Just("/components"),
            Just("/components/0"), Just("/components/1/purl"), Just("/components/1/version"),
            Just("/components/0/properties"), Just("/components/4/components"), Just("/serialNumber"),
        ],
        value in prop_oneof![
            Just(json!(null)), Just(json!(-1)), Just(json!([[]])), Just(json!({"a": {}})),
            any::<String>().prop_map(Value::from),
        ],
    ) {
        let mut bom: Value = serde_json::from_slice(IMAGE).unwrap();
        *bom.pointer_mut(field).unwrap() = value;
        let _ = parse(&bom);
    }

    #[test]
    fn any_purl_is_a_package_or_a_reason(purl in "pkg:[a-z]{1,6}/[ -~]{0,40}") {
        let bom = document(json!([{ "name": "good", "purl": "pkg:npm/good@1" }, { "name": "any", "purl": purl }]));
        let inventory = parse(&bom).unwrap();
        prop_assert_eq!(inventory.packages.len() + inventory.skipped.len(), 2);
    }
}
