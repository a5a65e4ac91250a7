//! `plimsoll verify` and `plimsoll keys`: exit codes and words, without any server.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use chrono::Utc;
use signing::Statement;
use signing::keyring::Keyring;
use signing::pack::{File, PackIdentity, StoredFile, seal, seal_stream};

fn plimsoll(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(arguments).env_clear().env("PLIMSOLL_HOME", home).env("PATH", "/usr/bin:/bin");
    command.output().expect("plimsoll runs")
}

fn results(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A pack that the keys in `home` have signed.
fn pack(home: &Path) -> Vec<u8> {
    let files = [File { name: "a.csv", media_type: "text/csv", bytes: b"a,b\n" }];
    seal(&files, &[], &statement(), &key(home)).expect("a pack")
}

fn key(home: &Path) -> PackIdentity {
    let keys = Keyring::new(home.join("seal")).current("Acme Corp", Utc::now()).expect("keys");
    keys.pack().expect("a key for packs")
}

fn statement() -> Statement {
    let now = Utc::now();
    Statement {
        title: "November\u{1b}[2J posture".into(),
        tenant: "Acme Corp".into(),
        signed_by: "compliance@acme.com".into(),
        ..Statement::new("0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7c", now, now)
    }
}

#[test]
fn a_good_file_ends_with_0_and_says_who_signed_it() {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("pack.zip");
    fs::write(&file, pack(home.path())).expect("written");
    let output = plimsoll(home.path(), &["verify", file.to_str().expect("utf-8")]);
    let said = results(&output);
    assert_eq!(output.status.code(), Some(0), "{said}{}", errors(&output));
    assert!(said.starts_with("VALID") && said.contains("compliance@acme.com"), "{said}");
    assert!(!said.contains('\u{1b}'), "what a file says cannot move the cursor");
}

#[test]
fn a_pack_larger_than_any_pdf_is_verified_too() {
    let home = tempfile::tempdir().expect("a folder");
    let rows = tempfile::tempfile().expect("a file");
    rows.set_len(signing::verify::LARGEST as u64 + 1).expect("room");
    let path = home.path().join("pack.zip");
    let files = [StoredFile { name: "findings.csv", media_type: "text/csv", file: &rows }];
    let mut pack = fs::File::create_new(&path).expect("a file");
    seal_stream(&files, &[], &statement(), &key(home.path()), &mut pack).expect("a pack");
    let verified = plimsoll(home.path(), &["verify", path.to_str().expect("utf-8")]);
    assert_eq!(verified.status.code(), Some(0), "{}{}", results(&verified), errors(&verified));
    assert!(results(&verified).starts_with("VALID"), "{}", results(&verified));
}

#[test]
fn a_changed_file_ends_with_1_and_says_so_in_json_too() {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("pack.zip");
    let mut bytes = pack(home.path());
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&file, bytes).expect("written");
    let output = plimsoll(home.path(), &["verify", "--json", file.to_str().expect("utf-8")]);
    assert_eq!(output.status.code(), Some(1));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&answer["valid"], &answer["tampered"]), (&false.into(), &true.into()), "{answer}");
    assert!(errors(&output).contains("not to be relied on"), "{}", errors(&output));
}

#[test]
fn a_stranger_needs_the_root_and_nothing_else() {
    let (home, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (file, root) = (elsewhere.path().join("pack.zip"), elsewhere.path().join("root.pem"));
    let (file_name, root_name) = (file.to_str().expect("utf-8"), root.to_str().expect("utf-8"));
    fs::write(&file, pack(home.path())).expect("written");
    let exported = plimsoll(home.path(), &["keys", "export-root", "--out", root_name]);
    assert_eq!(exported.status.code(), Some(0), "{}", errors(&exported));

    let nobody = plimsoll(elsewhere.path(), &["verify", file_name]);
    assert_eq!(nobody.status.code(), Some(78));
    assert!(errors(&nobody).contains("--root"), "{}", errors(&nobody));
    let verified = plimsoll(elsewhere.path(), &["verify", file_name, "--root", root_name]);
    assert_eq!(verified.status.code(), Some(0), "{}", errors(&verified));

    // Somebody else's root does not do.
    let other = plimsoll(elsewhere.path(), &["keys", "export-root", "--out", root_name]);
    assert_eq!(other.status.code(), Some(0));
    let refused = plimsoll(elsewhere.path(), &["verify", file_name, "--root", root_name]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(results(&refused).contains("not one that is trusted here"), "{}", results(&refused));
}

#[test]
fn a_file_that_is_not_there_ends_with_69() {
    let home = tempfile::tempdir().expect("a folder");
    pack(home.path());
    assert_eq!(plimsoll(home.path(), &["verify", "nowhere.pdf"]).status.code(), Some(69));
}

#[test]
fn renewed_keys_are_listed_and_old_files_stay_good() {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("pack.zip");
    fs::write(&file, pack(home.path())).expect("written");
    for arguments in [&["keys", "rotate"][..], &["keys", "rotate", "--root"]] {
        let output = plimsoll(home.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    }
    let listed = results(&plimsoll(home.path(), &["keys", "list"]));
    assert_eq!(listed.lines().count(), 12, "three generations of four certificates: {listed}");
    assert_eq!(listed.lines().filter(|line| line.contains(" signs ")).count(), 4, "{listed}");
    let output = plimsoll(home.path(), &["verify", file.to_str().expect("utf-8")]);
    assert_eq!(output.status.code(), Some(0), "{}", results(&output));
}

#[test]
fn a_sample_is_packed_and_a_stranger_can_verify_it_and_the_pdf_in_it() {
    let (home, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let place = |name: &str| elsewhere.path().join(name).display().to_string();
    let (file, root, wishes) = (place("pack.zip"), place("root.pem"), place("wishes.json"));
    fs::write(&wishes, r#"{"formats": ["pdf", "csv"]}"#).expect("written");
    let render = ["render", "asset_inventory", "--sample", "-f", "zip", "--signed", "--root", &root];
    let rendered = plimsoll(home.path(), &[&render[..], &["--options", &wishes, "-o", &file]].concat());
    assert_eq!(rendered.status.code(), Some(0), "{}", errors(&rendered));
    assert!(errors(&rendered).contains("thrown away"), "{}", errors(&rendered));
    let verified = plimsoll(elsewhere.path(), &["verify", &file, "--root", &root]);
    let said = results(&verified);
    assert!(said.starts_with("VALID") && said.contains("All 2 files"), "{said}{}", errors(&verified));
    // Files are stored as they are, the PDF last.
    let pack = fs::read(&file).expect("the pack");
    let from = pack.windows(5).position(|window| window == b"%PDF-").expect("a PDF");
    let end = pack.windows(5).rposition(|window| window == b"%%EOF").expect("its end") + 5;
    let end = end + usize::from(pack.get(end) == Some(&b'\n'));
    fs::write(place("inner.pdf"), &pack[from..end]).expect("written");
    let inner = plimsoll(elsewhere.path(), &["verify", &place("inner.pdf"), "--root", &root]);
    assert_eq!(inner.status.code(), Some(0), "{}{}", results(&inner), errors(&inner));
}
