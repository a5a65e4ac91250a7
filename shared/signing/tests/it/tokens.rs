//! Keys in tokens. Each test is a process of its own, see [`softhsm`](crate::softhsm).

use std::{env, fs, path::PathBuf, process::Command};

use chrono::Utc;
use secrecy::SecretString;
use signing::{
    Anchors, Identity, SignError,
    pdf::Seal,
    token::{Place, TokenError, TokenKey},
    verify,
};

use crate::{
    openssl::{EC, Issued, OpenSsl, P384, RSA},
    softhsm::{CONFIGURATION, PIN, SoftHsm},
    support::{pdf, statement},
};

/// Where the process finds what was prepared for it.
const PREPARED: &str = "PREPARED_FOR_THIS_TEST";

/// Runs `test`, which calls this again, as a process that sees the tokens that `prepare` makes; there, it is true.
fn alone(test: &str, prepare: impl FnOnce(&SoftHsm) -> Option<Vec<Issued>>) -> Option<Vec<Issued>> {
    if let Some(folder) = env::var_os(PREPARED).map(PathBuf::from) {
        let read = |name: String| fs::read_to_string(folder.join(name)).ok();
        return (0..)
            .map_while(|n| {
                Some(Issued { key: read(format!("{n}.key"))?, certificate: read(format!("{n}.pem"))? })
            })
            .map(Some)
            .collect();
    }
    let tokens = SoftHsm::new()?;
    let folder = tempfile::tempdir().unwrap();
    for (n, issued) in prepare(&tokens)?.into_iter().enumerate() {
        fs::write(folder.path().join(format!("{n}.key")), issued.key).unwrap();
        fs::write(folder.path().join(format!("{n}.pem")), issued.certificate).unwrap();
    }
    fs::write(folder.path().join("module"), tokens.module.display().to_string()).unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("tokens::{test}"), "--nocapture"])
        .env(CONFIGURATION, tokens.configuration())
        .env(PREPARED, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    None
}

fn key(token: &str, label: &str, pin: &str) -> TokenKey {
    let module = fs::read_to_string(PathBuf::from(env::var_os(PREPARED).unwrap()).join("module")).unwrap();
    TokenKey {
        module: module.into(),
        place: Place::Label(token.into()),
        label: label.into(),
        pin: SecretString::from(pin),
    }
}

fn signs(identity: &Identity) -> bool {
    let now = Utc::now();
    let file = Seal::new(&pdf(), identity, &statement(now)).unwrap().finish(None).unwrap();
    let anchors = Anchors { seals: vec![identity.chain()[0].clone()], ..Anchors::default() };
    verify(&file, &anchors, now).finding.is_ok()
}

#[test]
fn a_key_in_a_token_signs_like_any_other() {
    let prepared = alone("a_key_in_a_token_signs_like_any_other", |tokens| {
        let authority = OpenSsl::new("http://127.0.0.1:9/")?;
        tokens.add_token("other");
        tokens.add_token("plimsoll");
        let kinds = [("p256", EC), ("p384", P384), ("rsa", RSA)];
        Some(
            kinds
                .map(|(label, kind)| {
                    let issued = authority.seal(label, kind);
                    tokens.import("plimsoll", label, &issued.key);
                    issued
                })
                .into(),
        )
    });
    for (issued, label) in prepared.into_iter().flatten().zip(["p256", "p384", "rsa"]) {
        let identity = Identity::in_token(key("plimsoll", label, PIN), &issued.certificate).unwrap();
        assert!(signs(&identity), "{label}");
        // Logged in is the process: a second key of it is at hand beside the first.
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| signs(&identity))).collect();
            assert!(threads.into_iter().all(|thread| thread.join().unwrap()), "{label}");
        });
        let slot = slot_of("plimsoll");
        let by_slot = TokenKey { place: Place::Slot(slot), ..key("plimsoll", label, PIN) };
        assert!(signs(&Identity::in_token(by_slot, &issued.certificate).unwrap()), "{label} in slot {slot}");
    }
}

/// As its tool tells an operator.
fn slot_of(token: &str) -> u64 {
    let output = Command::new("softhsm2-util").arg("--show-slots").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut slot = 0;
    for line in said.lines().map(str::trim) {
        if let Some(number) = line.strip_prefix("Slot ").and_then(|number| number.parse().ok()) {
            slot = number;
        }
        if line.strip_prefix("Label:").is_some_and(|label| label.trim() == token) {
            return slot;
        }
    }
    panic!("no token `{token}`: {said}");
}

#[test]
fn a_token_that_cannot_be_used_says_why_and_names_the_setting() {
    let prepared = alone("a_token_that_cannot_be_used_says_why_and_names_the_setting", |tokens| {
        let authority = OpenSsl::new("http://127.0.0.1:9/")?;
        tokens.add_token("plimsoll");
        tokens.add_token("twin");
        tokens.add_token("twin");
        let (one, two) = (authority.seal("one", EC), authority.seal("two", EC));
        tokens.import("plimsoll", "seal", &one.key);
        Some(vec![one, two])
    });
    let Some([one, two]) = prepared.as_deref() else { return };
    let good = key("plimsoll", "seal", PIN);
    let missing = TokenKey { module: "/nowhere/libnone.so".into(), ..good.clone() };
    let in_slot = TokenKey { place: Place::Slot(u64::from(u32::MAX)), ..good.clone() };
    for (key, setting) in [
        (missing, "SEAL_TOKEN_MODULE"),
        (key("elsewhere", "seal", PIN), "SEAL_TOKEN"),
        (in_slot, "SEAL_TOKEN"),
        (key("twin", "seal", PIN), "SEAL_TOKEN_SLOT"),
        (key("plimsoll", "none", PIN), "SEAL_TOKEN_KEY"),
    ] {
        let refused = Identity::in_token(key, &one.certificate).unwrap_err();
        assert!(matches!(refused, SignError::Token(_)), "{refused}");
        assert!(refused.to_string().contains(setting), "{refused}");
    }
    // Whose key it is shows with the first signature.
    let other = Identity::in_token(good.clone(), &two.certificate).unwrap();
    let refused = Seal::new(&pdf(), &other, &statement(Utc::now())).unwrap_err();
    assert!(matches!(refused, SignError::Token(TokenError::OtherKey { .. })), "{refused}");
    assert!(signs(&Identity::in_token(good, &one.certificate).unwrap()));
}

#[test]
fn a_wrong_pin_is_tried_once() {
    let prepared = alone("a_wrong_pin_is_tried_once", |tokens| {
        let authority = OpenSsl::new("http://127.0.0.1:9/")?;
        tokens.add_token("plimsoll");
        let issued = authority.seal("seal", EC);
        tokens.import("plimsoll", "seal", &issued.key);
        Some(vec![issued])
    });
    let Some([issued]) = prepared.as_deref() else { return };
    for _ in 0..20 {
        let refused = Identity::in_token(key("plimsoll", "seal", "000000"), &issued.certificate).unwrap_err();
        assert!(matches!(refused, SignError::Token(TokenError::Pin { .. })), "{refused}");
        assert!(refused.to_string().contains("SEAL_TOKEN_PIN") && !refused.to_string().contains("000000"));
    }
    assert!(signs(&Identity::in_token(key("plimsoll", "seal", PIN), &issued.certificate).unwrap()));
}

#[test]
fn a_token_that_comes_late_is_found() {
    let prepared = alone("a_token_that_comes_late_is_found", |tokens| {
        let authority = OpenSsl::new("http://127.0.0.1:9/")?;
        tokens.add_token("plimsoll");
        Some(vec![authority.seal("seal", EC)])
    });
    let Some([issued]) = prepared.as_deref() else { return };
    let late = || Identity::in_token(key("late", "seal", PIN), &issued.certificate);
    assert!(matches!(late(), Err(SignError::Token(TokenError::Absent { .. }))));
    let folder = PathBuf::from(env::var_os(PREPARED).unwrap());
    let run =
        |arguments: &[&str]| Command::new("softhsm2-util").args(arguments).output().unwrap().status.success();
    assert!(run(&["--init-token", "--free", "--label", "late", "--so-pin", "73519264", "--pin", PIN]));
    let file = folder.join("0.key");
    let path = file.to_str().unwrap();
    assert!(run(&["--import", path, "--token", "late", "--label", "seal", "--id", "01", "--pin", PIN]));
    assert!(signs(&late().unwrap()));
}
