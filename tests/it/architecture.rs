//! Who may import whom: the drawing in `docs/ARCHITECTURE.md`, checked against what cargo would link.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

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

/// Who may open connections and look names up, other than `runtime::egress`: nobody, and why some do nevertheless.
const CONNECTS: &[(&str, &str)] = &[
    ("shared/runtime/src/egress.rs", "the guarded way out itself"),
    ("shared/runtime/src/egress/", "the guarded way out itself"),
    (
        "shared/runtime/src/admin.rs",
        "`--probe` asks the admin port of its own machine, which a setting names",
    ),
];

/// Libraries that can connect by themselves, and who may name them. All of them go where an operator's settings say: no
/// address that an organization typed in gets to any but `reqwest`.
const NETWORK_LIBRARIES: &[(&str, &[&str])] = &[
    ("reqwest", &["runtime"]),
    // Both are handed a connection, or addresses, by `runtime::egress`.
    ("lettre", &["delivery"]),
    ("ldap3", &["api"]),
    // Sends by `runtime::egress`: its own client is not compiled in.
    ("object_store", &["store"]),
    // Both keep pools that connect anew by themselves, with TLS of their own, and take no connection from outside.
    ("redis", &["api", "queue"]),
    ("sqlx", &["api", "queue", "reports", "store"]),
];

/// What opens a connection or looks a name up in Rust's and tokio's own words.
const CONNECTING: &[&str] =
    &["reqwest::", "TcpStream::connect", "TcpSocket::", "UdpSocket::", "lookup_host", "to_socket_addrs"];

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

/// All files of Rust below `folder` that are part of a program.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// All that our programs are made of: each file's path below the root, and its text.
pub(crate) fn program_sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for (name, _) in members() {
        let folder = ["", "shared"].map(|parent| root.join(parent).join(&name).join("src"));
        for folder in folder.iter().filter(|folder| folder.is_dir()) {
            sources(folder, &mut files);
        }
    }
    assert!(files.len() > 300, "only {} files were read", files.len());
    let shown = |file: &Path| file.strip_prefix(&root).expect("below the root").display().to_string();
    files.iter().map(|file| (shown(file), fs::read_to_string(file).expect("a file"))).collect()
}

#[test]
fn nothing_leaves_but_by_the_guarded_way_out() {
    let mut used = vec![false; CONNECTS.len()];
    for (shown, text) in program_sources() {
        let Some(word) = CONNECTING.iter().find(|word| text.contains(*word)) else { continue };
        let exception = CONNECTS.iter().position(|(path, _)| shown.starts_with(path));
        let exception = exception.unwrap_or_else(|| {
            panic!("{shown} says `{word}`: send by `runtime::egress::Client`, or connect by `runtime::egress::connect`")
        });
        used[exception] = true;
    }
    assert!(used.iter().all(|used| *used), "an exception is of no use any more: {used:?}");
    for (name, dependencies) in members() {
        for (library, allowed) in NETWORK_LIBRARIES {
            let names = dependencies.iter().any(|dependency| dependency == library);
            let may = ANYTHING.contains(&name.as_str()) && *library != "reqwest" || name == "benches";
            assert!(!names || may || allowed.contains(&name.as_str()), "`{name}` names `{library}`");
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
