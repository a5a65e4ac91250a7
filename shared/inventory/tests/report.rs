//! The agent's report, as it arrives.

use domain::inventory::{AssetKind, HostReport, InstalledPackage, OperatingSystem};
use inventory::{InventoryError, MAX_DOCUMENT_BYTES, report};
use proptest::prelude::*;
use serde_json::{Value, json};

fn parse(value: &Value) -> Result<domain::inventory::Inventory, InventoryError> {
    report::parse(value.to_string().as_bytes())
}

fn valid() -> Value {
    json!({
        "hostname": "web-01",
        "machine_id": "ab12",
        "os": { "distro": "debian", "version": "12" },
        "kernel": "6.1.0-28-amd64",
        "packages": [
            { "name": "openssl", "version": "3.0.15-1~deb12u1", "architecture": "amd64" },
            { "name": "gcc", "version": "4:12.2.0-3", "source_name": "gcc-defaults", "source_version": "1.203" },
        ],
    })
}

#[test]
fn what_the_agent_writes_is_what_the_server_reads() {
    // Every field is named, so that a new one breaks the build here and is not forgotten there.
    let report = HostReport {
        hostname: "web-01".into(),
        machine_id: Some("ab12".into()),
        agent_version: Some("0.1.0".into()),
        os: OperatingSystem {
            distro: "debian".into(),
            version: "12".into(),
            codename: Some("bookworm".into()),
            name: Some("Debian GNU/Linux 12".into()),
        },
        kernel: Some("6.1".into()),
        architecture: Some("amd64".into()),
        packages: vec![InstalledPackage {
            name: "libssl3".into(),
            version: "3.0.15-1".into(),
            architecture: Some("amd64".into()),
            source_name: Some("openssl".into()),
            source_version: None,
            ecosystem: None,
            purl: None,
        }],
    };
    let inventory = report::parse(&serde_json::to_vec(&report).unwrap()).unwrap();
    assert_eq!(inventory.asset.kind, AssetKind::Host);
    assert_eq!(inventory.asset.hostname, "web-01");
    assert_eq!(inventory.asset.external_id, report.machine_id);
    assert_eq!(inventory.asset.os.as_ref(), Some(&report.os));
    assert_eq!(inventory.asset.kernel, report.kernel);
    assert_eq!(inventory.asset.architecture, report.architecture);
    assert_eq!(inventory.packages, report.packages);
    assert_eq!(inventory.skipped, [""; 0]);
}

#[test]
fn a_bad_package_is_skipped_and_named_and_the_others_are_kept() {
    let mut report = valid();
    let packages = report["packages"].as_array_mut().unwrap();
    packages.push(json!({ "name": "", "version": "1" }));
    packages.push(json!({ "name": "nul\0", "version": "1" }));
    packages.push(json!({ "name": "long", "version": "9".repeat(1_025) }));
    packages.push(json!({ "name": "typed", "version": 7 }));
    packages.push(json!({ "name": "extra", "version": "1", "colour": "red" }));
    packages.push(json!("bash 5.2"));
    let inventory = parse(&report).unwrap();
    assert_eq!(inventory.packages.len(), 2);
    let skipped = inventory.skipped.join("\n");
    for reason in [
        "packages[2] (``): its `name` is empty",
        "packages[3] (`nul\\u{0}`): its `name` contains the control character U+0000",
        "packages[4] (`long`): its `version` is 1025 bytes long, the limit is 1024",
        "packages[5]: invalid type: integer `7`, expected a string",
        "packages[6]: unknown field `colour`",
        "packages[7]: invalid type",
    ] {
        assert!(skipped.contains(reason), "{reason} is not in\n{skipped}");
    }
    assert_eq!(inventory.skipped.len(), 6);
}

#[test]
fn hostile_names_are_data() {
    let mut report = valid();
    for name in
        ["=cmd|' /C calc'!A0", "#let x = 1", "<script>alert(1)</script>", "\u{202e}txt.exe", "a\u{200b}b"]
    {
        report["packages"].as_array_mut().unwrap().push(json!({ "name": name, "version": "1" }));
    }
    let inventory = parse(&report).unwrap();
    assert_eq!(inventory.packages.len(), 7);
    assert_eq!(inventory.skipped, [""; 0]);
}

#[test]
fn a_blank_source_is_no_source() {
    let report = json!({
        "hostname": "h", "os": { "distro": "rocky", "version": "9.4" },
        "packages": [{ "name": "bash", "version": "5.1.8-9.el9", "source_name": " ", "purl": "" }],
    });
    let inventory = parse(&report).unwrap();
    assert_eq!(inventory.packages[0].source(), ("bash".into(), "5.1.8-9.el9"));
    assert_eq!(inventory.packages[0].purl, None);
}

/// The message for the valid report with one field replaced.
fn message_with(field: &str, value: Value) -> String {
    let mut report = valid();
    report[field] = value;
    parse(&report).unwrap_err().to_string()
}

#[test]
fn an_unusable_report_is_refused_with_value_rule_and_remedy() {
    let message = message_with("hostname", json!("  "));
    assert!(
        message.contains("`hostname`")
            && message.contains("is empty")
            && message.contains("give the host a name")
    );
    let message = message_with("hostname", json!("h".repeat(300)));
    assert!(message.contains("the limit is 253") && message.len() < 250, "{message}");
    assert!(message_with("hostname", json!("a\nb")).contains("U+000A"));
    assert!(message_with("os", json!({ "distro": "", "version": "12" })).contains("`os.distro`"));
    assert!(message_with("packages", json!([])).contains("lists no packages"));
    assert!(message_with("packages", json!({})).contains("expected a list"));
    assert!(message_with("packages", json!([{ "name": 1 }])).contains("no usable package among 1"));
    assert!(message_with("surprise", json!(1)).contains("unknown field `surprise`"));
}

#[test]
fn what_is_not_json_is_refused_with_its_position() {
    let message = report::parse(b"{\"hostname\": \"a\",\n oops").unwrap_err().to_string();
    assert!(message.contains("line 2"), "{message}");
    assert!(report::parse(b"").unwrap_err().to_string().contains("EOF"));
}

#[test]
fn depth_and_size_are_bounded() {
    let deep = "[".repeat(10_000);
    assert!(matches!(report::parse(deep.as_bytes()), Err(InventoryError::TooDeep { limit: 100, .. })));
    let huge = vec![b' '; MAX_DOCUMENT_BYTES + 1];
    assert!(matches!(report::parse(&huge), Err(InventoryError::TooLarge { .. })));
}

#[test]
fn more_packages_than_any_machine_has_are_refused() {
    let entry = r#"{"name":"a","version":"1"},"#;
    let body = format!(
        r#"{{"hostname":"h","os":{{"distro":"debian","version":"12"}},"packages":[{}{{}}]}}"#,
        entry.repeat(500_000)
    );
    let message = report::parse(body.as_bytes()).unwrap_err().to_string();
    assert!(message.contains("more than 500000 entries"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = report::parse(&bytes);
    }

    #[test]
    fn a_damaged_report_never_panics(position in 0_usize..400, byte in any::<u8>()) {
        let mut bytes = valid().to_string().into_bytes();
        let position = position % bytes.len();
        bytes[position] = byte;
        let _ = report::parse(&bytes);
        let _ = report::parse(&bytes[..position]);
    }
}
