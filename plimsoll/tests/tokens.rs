//! `plimsoll render --signed` and `plimsoll doctor` with a key in a token, and `plimsoll verify` without it.

#[path = "../../shared/signing/tests/it/openssl.rs"]
#[expect(dead_code, reason = "more is asked of it elsewhere")]
mod openssl;
#[path = "../../shared/signing/tests/it/softhsm.rs"]
mod softhsm;

use std::{
    path::Path,
    process::{Command, Output},
};

use openssl::{EC, OpenSsl, RSA};
use softhsm::{CONFIGURATION, PIN, SoftHsm};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// What `plimsoll doctor` says of the keys, with servers that do not answer.
fn diagnosed(plimsoll: &mut Command) -> String {
    let asked = plimsoll
        .arg("doctor")
        .env("DATABASE_URL", "postgres://someone:x@127.0.0.1:1/x")
        .env("REDIS_URL", "redis://127.0.0.1:1")
        .output()
        .expect("plimsoll runs");
    let said = said(&asked);
    let of_keys: Vec<&str> = said.lines().filter(|line| line.contains("signing keys")).collect();
    assert!(!of_keys.is_empty(), "{said}");
    of_keys.join("\n")
}

#[test]
fn doctor_has_the_token_sign_and_says_what_keeps_it_from_signing() {
    let Some(tokens) = SoftHsm::new() else { return };
    let Some(authority) = OpenSsl::new("http://127.0.0.1:9/") else { return };
    let (seal, other) = (authority.seal("seal", EC), authority.seal("other", EC));
    tokens.add_token("plimsoll");
    tokens.import("plimsoll", "seal", &seal.key);
    tokens.import("plimsoll", "other", &other.key);
    let home = tempfile::tempdir().expect("a folder");
    let with = |token: &str, key: &str, pin: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.env_clear().env("PLIMSOLL_HOME", home.path()).env("PATH", "/usr/bin:/bin");
        command.env(CONFIGURATION, tokens.configuration()).env("SEAL_TOKEN_MODULE", &tokens.module);
        command.env("SEAL_TOKEN", token).env("SEAL_TOKEN_KEY", key).env("SEAL_TOKEN_PIN", pin);
        diagnosed(command.env("SEAL_CERTIFICATE", &seal.certificate))
    };
    let good = with("plimsoll", "seal", PIN);
    assert!(good.contains("ok") && good.contains("signs as `Example Seal`"), "{good}");
    for (token, key, pin, why) in [
        ("elsewhere", "seal", PIN, "there is no token `elsewhere`"),
        ("plimsoll", "missing", PIN, "has 0 private keys of the label `missing`"),
        // The token has it and would sign; only a signature shows that it is another one.
        ("plimsoll", "other", PIN, "is not that of SEAL_CERTIFICATE"),
        ("plimsoll", "seal", "0000", "refused the PIN"),
    ] {
        let bad = with(token, key, pin);
        assert!(bad.contains("FAILURE") && bad.contains(why) && !bad.contains(pin), "{key}: {bad}");
    }
}

#[test]
fn doctor_has_keys_in_files_sign_too_and_makes_none() {
    let Some(authority) = OpenSsl::new("http://127.0.0.1:9/") else { return };
    let (seal, other) = (authority.seal("seal", RSA), authority.seal("other", RSA));
    let home = tempfile::tempdir().expect("a folder");
    let plimsoll = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.env_clear().env("PLIMSOLL_HOME", home.path()).env("PATH", "/usr/bin:/bin");
        command
    };
    let none = diagnosed(&mut plimsoll());
    assert!(none.contains("none yet") && !home.path().join("seal").exists(), "{none}");
    let good = diagnosed(plimsoll().env("SEAL_KEY", &seal.key).env("SEAL_CERTIFICATE", &seal.certificate));
    assert!(
        good.contains("the key of SEAL_KEY signs as `Example Seal`") && good.contains("none yet"),
        "{good}"
    );
    let mixed = diagnosed(plimsoll().env("SEAL_KEY", &other.key).env("SEAL_CERTIFICATE", &seal.certificate));
    assert!(mixed.contains("FAILURE") && mixed.contains("not that of the key"), "{mixed}");

    let made = plimsoll().args(["keys", "export-root"]).output().expect("plimsoll runs");
    assert!(made.status.success(), "{}", said(&made));
    let own = diagnosed(&mut plimsoll());
    assert!(own.contains("ok") && own.contains("signs as"), "{own}");
}

#[test]
fn a_sample_is_signed_by_a_token_and_verified_without_it() {
    let Some(tokens) = SoftHsm::new() else { return };
    let Some(authority) = OpenSsl::new("http://127.0.0.1:9/") else { return };
    let seal = authority.seal("seal", RSA);
    tokens.add_token("plimsoll");
    tokens.import("plimsoll", "seal", &seal.key);
    let home = tempfile::tempdir().expect("a folder");
    let chain = [seal.certificate, authority.issuing()].concat();
    let plimsoll = |token: &str, configuration: &Path, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.args(arguments).env_clear().env("PLIMSOLL_HOME", home.path()).env("PATH", "/usr/bin:/bin");
        command.env(CONFIGURATION, configuration).env("SEAL_TOKEN_MODULE", &tokens.module);
        command.env("SEAL_TOKEN", token).env("SEAL_TOKEN_KEY", "seal").env("SEAL_TOKEN_PIN", PIN);
        command.env("SEAL_CERTIFICATE", &chain).output().expect("plimsoll runs")
    };
    let file = home.path().join("signed.pdf");
    let path = file.to_str().expect("utf-8");
    let render = ["render", "executive_summary", "--sample", "--signed", "-o", path];

    let away = plimsoll("elsewhere", &tokens.configuration(), &render);
    assert!(!away.status.success() && said(&away).contains("SEAL_TOKEN"), "{}", said(&away));

    let signed = plimsoll("plimsoll", &tokens.configuration(), &render);
    assert!(signed.status.success(), "{}", said(&signed));
    // Whoever verifies needs the certificate, and neither token nor PIN.
    let verified = plimsoll("plimsoll", Path::new("/nowhere/softhsm2.conf"), &["verify", path]);
    assert!(verified.status.success(), "{}", said(&verified));
    assert!(
        said(&verified).contains("Example Seal") && said(&verified).contains("B-B"),
        "{}",
        said(&verified)
    );
}
