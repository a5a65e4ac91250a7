//! Who may import whom: the drawing in `docs/ARCHITECTURE.md`, checked against what cargo would link.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

/// Our crates and those of ours they may name. What is not listed may be imported by nobody.
const ALLOWED: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("runtime", &[]),
    ("correlation", &["domain"]),
    ("inventory", &["domain", "runtime"]),
    ("feeds", &["domain", "runtime"]),
    ("rendering", &["domain"]),
    ("signing", &["domain"]),
    ("delivery", &["domain", "runtime"]),
    ("store", &["domain", "runtime"]),
    ("queue", &["domain", "runtime", "store"]),
    ("reports", &["domain", "runtime", "store"]),
    ("api", &["domain", "runtime", "inventory", "signing", "store", "queue", "reports"]),
    ("scheduler", &["domain", "runtime", "store", "queue"]),
];

/// These tie everything together.
const ANYTHING: &[&str] = &["worker", "plimsoll", "tests", "benches"];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

/// Name of each member, with the names of what it depends on in a build (not in tests).
fn members() -> BTreeMap<String, Vec<String>> {
    metadata()["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let names = dependencies
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| dependency["name"].as_str().expect("a name").to_owned())
                .collect();
            (package["name"].as_str().expect("a name").to_owned(), names)
        })
        .collect()
}

#[test]
fn each_crate_imports_only_what_the_architecture_allows() {
    let members = members();
    for (name, dependencies) in &members {
        if ANYTHING.contains(&name.as_str()) {
            continue;
        }
        let (_, allowed) = ALLOWED.iter().find(|(known, _)| known == name).unwrap_or_else(|| {
            panic!("crate `{name}` is not in the drawing: add it to docs/ARCHITECTURE.md and here")
        });
        for dependency in dependencies.iter().filter(|dependency| members.contains_key(*dependency)) {
            assert!(allowed.contains(&dependency.as_str()), "`{name}` may not import `{dependency}`");
        }
    }
}

#[test]
fn only_rendering_names_typst_and_only_those_who_draw_name_rendering() {
    for (name, dependencies) in members() {
        let names = |wanted: &str| dependencies.iter().any(|dependency| dependency == wanted);
        assert!(
            name == "rendering" || !dependencies.iter().any(|d| d.starts_with("typst")),
            "`{name}` names typst"
        );
        assert!(ANYTHING.contains(&name.as_str()) || !names("rendering"), "`{name}` names rendering");
    }
}
