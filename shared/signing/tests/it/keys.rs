//! The key folder: made once, renewed, and never readable by others.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use chrono::{DateTime, Utc};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use signing::{
    Anchors, Identity, SignError, Statement,
    authority::Authority,
    keyring::{Keyring, Renew},
    pdf::Seal,
    verify,
};

use time::OffsetDateTime;

use crate::support::{pdf, statement};

fn signed(keyring: &Keyring) -> Vec<u8> {
    let now = Utc::now();
    let identity = keyring.current("Acme Corp", now).unwrap().seal(now).unwrap();
    Seal::new(&pdf(), &identity, &statement(now)).unwrap().finish(None).unwrap()
}

fn accepted(file: &[u8], keyring: &Keyring) -> bool {
    let anchors = Anchors { seals: keyring.roots().unwrap(), timestamps: Vec::new() };
    verify(file, &anchors, Utc::now()).finding.is_ok()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn keys_are_made_once_and_only_for_their_owner() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("signing");
    let keyring = Keyring::new(&folder);
    assert!(keyring.roots().unwrap().is_empty());
    let first = keyring.current("Acme Corp", Utc::now()).unwrap();
    let again = Keyring::new(&folder).current("Renamed Corp", Utc::now()).unwrap();
    assert_eq!(first.authority.root.certificate, again.authority.root.certificate);
    assert_eq!((mode(&folder), mode(&folder.join("1"))), (0o700, 0o700));
    for file in fs::read_dir(folder.join("1")).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

#[test]
fn processes_that_start_together_agree_on_one_key() {
    let home = tempfile::tempdir().unwrap();
    let keyring = Keyring::new(home.path().join("signing"));
    let roots: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| keyring.current("Acme Corp", Utc::now()))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().unwrap().authority.root.certificate).collect()
    });
    assert!(roots.iter().all(|root| *root == keyring.current("Acme Corp", Utc::now()).unwrap().authority.root.certificate));
}

#[test]
fn what_was_signed_before_a_renewal_is_verified_after_it() {
    let home = tempfile::tempdir().unwrap();
    let keyring = Keyring::new(home.path());
    let mut files = vec![signed(&keyring)];
    for (renew, roots) in [(Renew::BelowRoot, 1), (Renew::WithRoot, 2), (Renew::BelowRoot, 2)] {
        keyring.rotate("Acme Corp", renew, Utc::now()).unwrap();
        files.push(signed(&keyring));
        assert_eq!(keyring.roots().unwrap().len(), roots);
        assert!(files.iter().all(|file| accepted(file, &keyring)));
    }
    assert!(!home.path().join("1/seal.key.pem").exists(), "a key that signs no more is gone");
    assert!(home.path().join("1/root.pem").exists());
}

#[test]
fn keys_that_do_not_belong_together_are_refused() {
    let now = Utc::now();
    let (one, two) = (Authority::generate("A", now).unwrap(), Authority::generate("A", now).unwrap());
    for (key, certificates) in [
        (&one.seal.key, &two.seal.certificate),
        (&one.seal.key, &one.issuing.certificate),
        (&one.pack.key, &one.pack.certificate),
        (&one.seal.certificate, &one.seal.certificate),
        (&one.seal.key, &one.seal.key),
    ] {
        let refused = Identity::from_pem(key, certificates).unwrap_err();
        assert!(matches!(refused, SignError::Key(_) | SignError::Certificate(_)), "{refused}");
    }
}

#[test]
fn no_key_is_ever_printed() {
    let now = Utc::now();
    let authority = Authority::generate("A", now).unwrap();
    let identity = Identity::from_pem(&authority.seal.key, &authority.seal.certificate).unwrap();
    let printed = format!("{authority:?} {identity:?}");
    assert!(!printed.contains("PRIVATE") && !printed.contains("KeyPair"), "{printed}");
}

#[test]
fn a_statement_survives_the_way_into_a_file_and_out() {
    let home = tempfile::tempdir().unwrap();
    let keyring = Keyring::new(home.path());
    let now = Utc::now();
    let said = Statement { title: "Ünïcode (\\) <>\u{202e}".into(), framework: None, ..statement(now) };
    let identity = keyring.current("Acme (Corp) \\ <>", now).unwrap().seal(now).unwrap();
    let file = Seal::new(&pdf(), &identity, &said).unwrap().finish(None).unwrap();
    let anchors = Anchors { seals: keyring.roots().unwrap(), timestamps: Vec::new() };
    assert_eq!(verify(&file, &anchors, now).finding.unwrap().statement, said);
}

/// A key with a certificate that ends then.
fn ending_at(end: OffsetDateTime) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Example Seal");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    params.not_before = OffsetDateTime::UNIX_EPOCH;
    params.not_after = end;
    let certificate = params.self_signed(&key).unwrap();
    Identity::from_pem(&key.serialize_pem(), &certificate.pem()).unwrap()
}

/// RFC 5280, section 4.1.2.5.
#[test]
fn a_certificate_of_which_no_end_is_known_has_none_and_signs() {
    let last_moment = rcgen::date_time_ymd(9999, 12, 31) + std::time::Duration::from_secs(86_399);
    let endless = ending_at(last_moment);
    assert_eq!((endless.since(), endless.until()), (DateTime::UNIX_EPOCH, None));
    let a_second_less = ending_at(last_moment - std::time::Duration::from_secs(1)).until();
    assert_eq!(a_second_less.map(|end| end.to_rfc3339()).as_deref(), Some("9999-12-31T23:59:58+00:00"));

    let now = Utc::now();
    let file = Seal::new(&pdf(), &endless, &statement(now)).unwrap().finish(None).unwrap();
    let anchors = Anchors { seals: endless.chain().to_vec(), timestamps: Vec::new() };
    verify(&file, &anchors, now).finding.unwrap();
}
