//! `plimsoll render --signed` with a key in a token, and `plimsoll verify` without it.

#[path = "../../shared/signing/tests/it/openssl.rs"]
#[expect(dead_code, reason = "more is asked of it elsewhere")]
mod openssl;
#[path = "../../shared/signing/tests/it/softhsm.rs"]
mod softhsm;

use std::{
    path::Path,
    process::{Command, Output},
};

use openssl::{OpenSsl, RSA};
use softhsm::{CONFIGURATION, PIN, SoftHsm};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
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
