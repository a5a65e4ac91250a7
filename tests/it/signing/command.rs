//! `plimsoll render --signed`: signed on the command line as a worker signs, with the same settings and without a database.

use std::{os::unix::process::CommandExt as _, path::Path, process::Command};

use ::signing::{Anchors, verify, verify::Level};
use chrono::Utc;

use super::{NOWHERE, openssl::EC, revocation::Office, text_of, timestamps};
use crate::authority::TimestampAuthority;

/// What the command said, how it ended, and the file if there is one.
struct Said {
    code: Option<i32>,
    errors: String,
    file: Option<Vec<u8>>,
}

/// The sample of `findings`, signed with `settings` and nothing else, written below `folder`.
fn render(folder: &Path, settings: &[(&str, &str)], arguments: &[&str]) -> Said {
    let output = folder.join("signed.pdf");
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker-under-test"));
    command.arg0("plimsoll").args(["render", "findings", "--sample", "--signed"]).args(arguments);
    command.arg("--output").arg(&output).env_clear().env("PLIMSOLL_HOME", folder.join("home"));
    command.envs(settings.iter().copied());
    let ended = tokio::task::block_in_place(|| command.output()).expect("it starts");
    let errors = String::from_utf8_lossy(&ended.stderr).into_owned();
    Said { code: ended.status.code(), errors, file: std::fs::read(output).ok() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_is_signed_for_the_long_term_where_a_worker_would() {
    let Some(office) = Office::open().await else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let seal = tokio::task::block_in_place(|| office.openssl.seal("seal", EC));
    let root = office.openssl.root();
    let certificates = [seal.certificate.as_str(), &office.openssl.issuing(), &root].concat();
    let authority = format!("{}tsa", office.address);
    let settings = [
        ("SEAL_KEY", seal.key.as_str()),
        ("SEAL_CERTIFICATE", &certificates),
        ("TSA_URL", &authority),
        ("TSA_ROOTS", &root),
        ("TSA_REQUIRED", "true"),
    ];
    let said = render(folder.path(), &settings, &[]);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    assert!(said.errors.contains("PAdES B-LT"), "{}", said.errors);
    let file = said.file.expect("a file");
    assert_eq!(office.proof(&file).level, Some(Level::LongTerm));
    let text = text_of(&file);
    assert!(text.contains("attested by Example Timestamping Unit"), "{text}");
    assert!(text.contains("not revoked when this was signed"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_thrown_away_get_a_timestamp_too() {
    let authority = TimestampAuthority::new("Example");
    let roots = authority.root_pem.clone();
    let url = timestamps(authority).await;
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root.pem");
    let arguments = ["--root", root.to_str().expect("UTF-8")];
    let said = render(folder.path(), &[("TSA_URL", &url), ("TSA_ROOTS", &roots)], &arguments);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    assert!(said.errors.contains("thrown away") && said.errors.contains("PAdES B-T"), "{}", said.errors);
    let pem = |text: &str| Anchors::read_pem(text).expect("a certificate");
    let root = std::fs::read_to_string(root).expect("the root");
    let anchors = Anchors { seals: pem(&root), timestamps: pem(&roots) };
    let proof = verify(&said.file.expect("a file"), &anchors, Utc::now()).finding.expect("a good signature");
    assert_eq!(proof.level, Some(Level::Timestamped));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_authority_the_command_says_how_to_name_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = render(folder.path(), &[], &[]);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    assert!(said.errors.contains("PAdES B-B") && said.errors.contains("TSA_URL"), "{}", said.errors);
    assert!(said.file.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_away_is_told_of_and_ends_the_command_where_it_is_required() {
    let roots = TimestampAuthority::new("Example").root_pem;
    let folder = tempfile::tempdir().expect("a folder");
    let away = [("TSA_URL", NOWHERE), ("TSA_ROOTS", roots.as_str())];
    let said = render(folder.path(), &[&away[..], &[("TSA_REQUIRED", "true")]].concat(), &[]);
    assert_eq!(said.code, Some(69), "{}", said.errors);
    assert!(said.errors.contains("TSA_REQUIRED") && said.file.is_none(), "{}", said.errors);

    let said = render(folder.path(), &away, &[]);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    assert!(said.errors.contains("PAdES B-B") && said.errors.contains("did not answer"), "{}", said.errors);
    assert!(text_of(&said.file.expect("a file")).contains("no timestamp authority was reached"));
}
