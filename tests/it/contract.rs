//! The cases that were made from the documents of this API, replayed against it: those of what is built, by their names. They lie beside the
//! repository, not in it; where they are missing, this says so and leaves it at that.

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use harness::TestApp;
use serde_json::Value;
use tokio::net::TcpListener;

/// Where the cases are, and the program that replays them.
const REPLAYER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/contract/examples/replay.py");
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/contract/examples/cases.json");

/// Exports and branding of seed 000.
const RIMAE: &[&str] = &[
    "export-csv",
    "export-json",
    "export-html",
    "export-pdf",
    "export-bad",
    "brand-get",
    "brand-patch",
    "brand-check",
    "brand-up",
    "brand-up-type",
    "brand-up-big",
    "brand-up-bad",
    "brand-serve",
];
/// Branding of seed 002.
const BREAKWATER: &[&str] = &["bw-brand-post", "bw-brand-get", "bw-brand-bad"];
/// Reports of seed 003, made, signed, fetched and verified. The other types of reports, its documents and its schedules are not built.
const INFRACAST: &[&str] = &[
    "ic-gen-nist",
    "ic-gen-pci",
    "ic-gen-signed",
    "ic-list",
    "ic-get",
    "ic-dl",
    "ic-dl-signed",
    "ic-verify",
    "ic-verify-tampered",
    "ic-verify-junk",
    "ic-pdf",
    "ic-gen-executive",
    "ic-gen-docx",
    "ic-dl-docx",
    "ic-gen-xlsx",
    "ic-dl-xlsx",
    "ic-gen-md",
    "ic-dl-md",
    "ic-gen-json",
    "ic-dl-json",
    "ic-gen-bad",
    "ic-hist",
    "ic-401",
];

/// Replays the cases that are named, and those without which none goes.
#[expect(clippy::print_stdout, reason = "whoever runs the test should see what it did not look at")]
async fn replay(wanted: &[&str]) {
    if !Path::new(REPLAYER).exists() || !Path::new(CASES).exists() {
        println!("skipped: there are no cases at {CASES}");
        return;
    }
    let text = std::fs::read_to_string(CASES).expect("the cases can be read");
    let mut cases: Vec<Value> = serde_json::from_str(&text).expect("a list of cases");
    for id in wanted {
        assert!(cases.iter().any(|case| case["id"] == *id), "there is no case `{id}` any more");
    }
    // One of those that always come asks for assets, of which there are none here.
    cases.retain(|case| {
        case["always"] == true && case["id"] != "assets" || wanted.iter().any(|id| case["id"] == *id)
    });
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), serde_json::to_vec(&cases).expect("JSON")).expect("written");

    let app = TestApp::with(&[("DEBUG", "true")]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let service = app.another_node().into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(async move { axum::serve(listener, service).await });
    let path = file.path().to_owned();
    let mut replayed = tokio::task::spawn_blocking(move || {
        Command::new("python3")
            .arg(REPLAYER)
            .arg(base)
            .arg("--cases")
            .arg(path)
            .args(["--wait", "60"])
            .output()
    });
    let output = loop {
        tokio::select! {
            output = &mut replayed => break output.expect("no panic").expect("python3 is installed by scripts/setup"),
            () = tokio::time::sleep(Duration::from_millis(50)) => drop(app.run_jobs().await),
        }
    };
    server.abort();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let passed = said.lines().filter(|line| line.starts_with("PASS")).count();
    assert!(passed >= wanted.len(), "{passed} of {} passed: {said}", wanted.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_and_branding_answer_as_their_documents_say() {
    replay(&[RIMAE, BREAKWATER].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_of_an_organization_answer_as_their_document_says() {
    replay(INFRACAST).await;
}
