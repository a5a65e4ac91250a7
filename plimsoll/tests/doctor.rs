//! What `plimsoll doctor` says of a key that was brought: whether its file can be read, and of the dates of its certificate.

#[path = "../../shared/rendering/tests/judges/left_out.rs"]
mod left_out;

use std::{
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use left_out::left_out;
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use serde_json::Value;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A private key and its certificate, PEM.
struct Brought {
    key: String,
    certificate: String,
}

/// One whose dates are as `between` makes them.
fn brought(between: impl FnOnce(&mut CertificateParams)) -> Brought {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Example Seal");
    between(&mut params);
    let certificate = params.self_signed(&key).expect("a certificate");
    Brought { key: key.serialize_pem(), certificate: certificate.pem() }
}

/// State and sentence about the key of `settings`, with servers that do not answer.
fn diagnosed(settings: &[(&str, &str)]) -> (String, String) {
    let home = tempfile::tempdir().expect("a folder");
    let asked = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["doctor", "--json"])
        .env_clear()
        .env("PLIMSOLL_HOME", home.path())
        .env("DATABASE_URL", "postgres://someone:x@127.0.0.1:1/x")
        .env("REDIS_URL", "redis://127.0.0.1:1")
        .envs(settings.iter().copied())
        .output()
        .expect("plimsoll runs");
    let said = String::from_utf8(asked.stdout).expect("UTF-8");
    let findings = said.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    // The second is about the keys that packs are signed with.
    let of_keys = findings.filter(|finding| finding["subject"] == "signing keys").collect::<Vec<_>>();
    assert_eq!(of_keys.len(), 2, "{said}{}", String::from_utf8_lossy(&asked.stderr));
    let word = |name: &str| of_keys[0][name].as_str().expect("a word").to_owned();
    (word("state"), word("says"))
}

#[test]
fn what_is_said_of_a_certificate_follows_from_its_dates() {
    type Dates = fn(&mut CertificateParams);
    let cases: [(Dates, &str, &str); 5] = [
        (|params| params.not_before = (SystemTime::now() + DAY).into(), "failure", "is not valid before "),
        (|params| params.not_after = (SystemTime::now() - DAY).into(), "failure", "ended on "),
        (|params| params.not_after = (SystemTime::now() + 29 * DAY).into(), "warning", "renew it"),
        (|params| params.not_after = (SystemTime::now() + 31 * DAY).into(), "ok", "`Example Seal`, until "),
        // RFC 5280, section 4.1.2.5.
        (
            |params| params.not_after = date_time_ymd(9999, 12, 31) + (DAY - Duration::from_secs(1)),
            "ok",
            "has no end",
        ),
    ];
    for (dates, state, words) in cases {
        let Brought { key, certificate } = brought(dates);
        let said = diagnosed(&[("SEAL_KEY", &key), ("SEAL_CERTIFICATE", &certificate)]);
        assert!(said.0 == state && said.1.contains(words), "{words}: {said:?}");
        assert!(said.1.contains("SEAL_KEY"), "{said:?}");
    }
}

/// Has OpenSSL write `brought` to `file` as PKCS#12; false, with a printed reason, where there is none.
fn export(brought: &Brought, file: &Path, password: &str, arguments: &[&str]) -> bool {
    let pem = file.with_extension("pem");
    std::fs::write(&pem, [brought.key.as_str(), &brought.certificate].concat()).expect("written");
    let mut command = Command::new("openssl");
    command.args(["pkcs12", "-export", "-passout", &format!("pass:{password}"), "-in"]).arg(&pem);
    match command.arg("-out").arg(file).args(arguments).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(error) => {
            left_out(&format!("openssl cannot be run ({error}); scripts/setup installs it"));
            false
        }
    }
}

#[test]
fn a_key_in_a_pkcs12_file_signs_or_it_is_said_what_is_wrong_with_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (good, ending) =
        (brought(|_| ()), brought(|params| params.not_after = (SystemTime::now() + DAY).into()));
    for (brought, name, arguments) in [
        (&good, "seal.p12", &[][..]),
        (&ending, "ending.pfx", &[]),
        // As programs wrote them that nobody should use any more.
        (&good, "old.p12", &["-macalg", "sha1"]),
    ] {
        if !export(brought, &path(name), "hunter2", arguments) {
            return;
        }
    }
    let seal = std::fs::read(path("seal.p12")).expect("it is there");
    std::fs::write(path("half.p12"), &seal[..seal.len() / 2]).expect("written");
    for (name, password, state, words) in [
        ("seal.p12", "hunter2", "ok", "signs as `Example Seal`, until "),
        ("ending.pfx", "hunter2", "warning", "renew it"),
        ("seal.p12", "hunter3", "failure", "the password of the PKCS#12 file is wrong"),
        ("old.p12", "hunter2", "failure", "convert it with `openssl pkcs12"),
        ("half.p12", "hunter2", "failure", "is not PKCS#12"),
        ("nowhere.p12", "hunter2", "failure", "nowhere.p12"),
    ] {
        let file = path(name).display().to_string();
        let said = diagnosed(&[("SEAL_PKCS12", &file), ("SEAL_PKCS12_PASSWORD", password)]);
        assert!(said.0 == state && said.1.contains(words), "{name}: {said:?}");
        assert!(!said.1.contains(password), "{name}: {said:?}");
        assert!(state == "failure" || said.1.contains(&file), "{name}: {said:?}");
    }
}
