//! Whether certificates were revoked: what OpenSSL's responder and lists say, and what a file makes of it.

use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, Utc};
use signing::{
    Anchors, ChainError, Identity, Refusal, Statement,
    pdf::Seal,
    revocation::{Evidence, EvidenceError, Form, Standing, Subject, subjects},
    timestamp::TimestampError,
    verify,
    verify::{Level, Proof},
};

use crate::{
    openssl::{EC, Issued, OpenSsl, P384, RSA},
    support::{pdf, statement},
};

const ADDRESS: &str = "http://127.0.0.1:9/";

/// An authority that has revoked nothing. Tests that revoke make one of their own.
static AUTHORITY: LazyLock<Option<OpenSsl>> = LazyLock::new(|| OpenSsl::new(ADDRESS));

fn der(pem: &str) -> Vec<u8> {
    Anchors::read_pem(pem).unwrap().remove(0)
}

/// The seal of that name with its issuer, as its own authority sees it.
fn subject(authority: &OpenSsl, seal: &Issued) -> Subject {
    let mut found = subjects(&[der(&seal.certificate), der(&authority.issuing())], &[der(&authority.root())]);
    assert_eq!(found.len(), 2);
    found.remove(0)
}

fn identity(authority: &OpenSsl, seal: &Issued) -> Identity {
    let chain = [seal.certificate.clone(), authority.issuing(), authority.root()].concat();
    Identity::from_pem(&seal.key, &chain).unwrap()
}

/// All that can be had: an answer for the seal, lists for everybody else.
fn evidence(authority: &OpenSsl, seal: &Issued) -> Evidence {
    Evidence {
        certificates: vec![der(&authority.root())],
        responses: vec![authority.answer(&subject(authority, seal).query().unwrap())],
        lists: vec![authority.list("root"), authority.list("issuing")],
    }
}

fn anchors(authority: &OpenSsl) -> Anchors {
    let root = vec![der(&authority.root())];
    Anchors { seals: root.clone(), timestamps: root }
}

/// Signed with a timestamp of the same authority.
fn signed(authority: &OpenSsl, identity: &Identity) -> Vec<u8> {
    let now = Utc::now();
    let seal = Seal::new(&pdf(), identity, &Statement { timestamped: true, ..statement(now) }).unwrap();
    let query = seal.timestamp_query().unwrap();
    let reply = authority.timestamp(query.der());
    let token = query.accept(&reply, &anchors(authority).timestamps, now).unwrap();
    assert_eq!(token.certificates.len(), 2, "the unit's and its issuer's");
    seal.finish(Some(&token)).unwrap()
}

fn judged(authority: &OpenSsl, file: &[u8], now: DateTime<Utc>) -> Result<Proof, Refusal> {
    verify(file, &anchors(authority), now).finding
}

fn years(years: i64) -> DateTime<Utc> {
    Utc::now() + TimeDelta::days(365 * years)
}

#[test]
fn a_certificate_names_its_responder_first_and_its_list_then() {
    let Some(authority) = &*AUTHORITY else { return };
    let seal = authority.seal("named", EC);
    let sources = subject(authority, &seal).sources();
    let named: Vec<_> = sources.iter().map(|source| (source.form, source.address.as_str())).collect();
    let expected = ["http://127.0.0.1:9/ocsp", "http://127.0.0.1:9/issuing.crl"];
    assert_eq!(named, [(Form::Response, expected[0]), (Form::List, expected[1])]);
    assert!(subjects(&[der(&authority.root())], &[]).is_empty(), "nobody revokes a root");
}

#[test]
fn a_responder_and_a_list_say_good_until_it_is_revoked() {
    let Some(authority) = OpenSsl::new(ADDRESS) else { return };
    let seal = authority.seal("seal", EC);
    let subject = subject(&authority, &seal);
    let query = subject.query().unwrap();
    let now = Utc::now();
    let ask = || {
        [(Form::Response, authority.answer(&query)), (Form::List, authority.list("issuing"))]
            .map(|(form, answer)| subject.judge(form, &answer, now))
    };
    for (standing, days) in ask().into_iter().zip([1, 7]) {
        let Ok(Standing::Good { until }) = standing else { panic!("{standing:?}") };
        assert!((until - now - TimeDelta::days(days)).abs() < TimeDelta::hours(2), "{until}");
    }
    authority.revoke("seal");
    for standing in ask() {
        let Ok(Standing::Revoked { since, reason }) = standing else { panic!("{standing:?}") };
        assert!(
            (since - now).abs() < TimeDelta::minutes(5) && reason.contains("compromised"),
            "{since} {reason}"
        );
    }
}

#[test]
fn an_answer_counts_for_its_time_its_certificate_and_its_issuer_only() {
    let Some(authority) = &*AUTHORITY else { return };
    let Some(other) = OpenSsl::new(ADDRESS) else { return };
    let (seal, neighbour) = (authority.seal("one", EC), authority.seal("two", EC));
    let subject = subject(authority, &seal);
    let of_neighbour = self::subject(authority, &neighbour);
    let (answer, list) = (authority.answer(&subject.query().unwrap()), authority.list("issuing"));
    let now = Utc::now();
    for (form, der, days) in [(Form::Response, &answer, 2), (Form::List, &list, 8)] {
        for at in [now + TimeDelta::days(days), now - TimeDelta::hours(1)] {
            let judged = subject.judge(form, der, at);
            assert!(matches!(judged, Err(EvidenceError::Outdated { .. })), "{form:?}: {judged:?}");
        }
    }
    assert_eq!(of_neighbour.judge(Form::Response, &answer, now), Err(EvidenceError::Silent));
    // Same names, other keys.
    assert_eq!(subject.judge(Form::List, &other.list("issuing"), now), Err(EvidenceError::Signature));
    assert_eq!(subject.judge(Form::List, &authority.list("root"), now), Err(EvidenceError::Silent));
    let strangers = other.answer(&subject.query().unwrap());
    assert!(subject.judge(Form::Response, &strangers, now).is_err());
    let alone = subjects(&[der(&seal.certificate)], &[der(&other.issuing())]).remove(0);
    assert_eq!(alone.judge(Form::List, &list, now), Err(EvidenceError::NoIssuer));
    for junk in [&b""[..], b"<html>502</html>", &[0x30, 3, 0x0a, 1, 3]] {
        assert!(subject.judge(Form::Response, junk, now).is_err());
        assert!(subject.judge(Form::List, junk, now).is_err());
    }
}

#[test]
fn no_bit_of_an_answer_turns_a_revoked_certificate_good() {
    let Some(authority) = OpenSsl::new(ADDRESS) else { return };
    let subject = subject(&authority, &authority.seal("seal", EC));
    authority.revoke("seal");
    let answer = authority.answer(&subject.query().unwrap());
    for (form, answer) in [(Form::Response, answer), (Form::List, authority.list("issuing"))] {
        for at in 0..answer.len() {
            let mut changed = answer.clone();
            changed[at] ^= 1 << (at % 8);
            let judged = subject.judge(form, &changed, Utc::now());
            assert!(!matches!(judged, Ok(Standing::Good { .. })), "byte {at}");
        }
    }
}

#[test]
fn a_file_that_shows_all_certificates_good_is_signed_for_the_long_term() {
    let Some(authority) = &*AUTHORITY else { return };
    for (name, kind) in [("ec", EC), ("p384", P384), ("rsa", RSA)] {
        let seal = authority.seal(name, kind);
        let file = signed(authority, &identity(authority, &seal).with_evidence(evidence(authority, &seal)));
        // Long after everything in it has run out.
        for now in [Utc::now(), years(5)] {
            let proof = judged(authority, &file, now).unwrap();
            assert_eq!((proof.level, proof.revocation_checked), (Some(Level::LongTerm), true), "{name}");
        }
        let said = verify(&file, &anchors(authority), Utc::now()).answer().reason;
        assert!(said.contains("B-LT") && said.contains("Example Timestamping Unit"), "{said}");
    }
}

#[test]
fn what_leaves_one_certificate_out_is_not_for_the_long_term() {
    let Some(authority) = &*AUTHORITY else { return };
    let seal = authority.seal("partly", EC);
    let all = evidence(authority, &seal);
    // Without the list of the root nobody speaks for the issuing authority; without the issuing one's, for the timestamp's.
    let [without_root, without_issuing] = [1, 0].map(|kept| vec![all.lists[kept].clone()]);
    for (lists, of_seal) in [(without_root, false), (without_issuing, true)] {
        let evidence = Evidence { lists, ..all.clone() };
        let proof = judged(
            authority,
            &signed(authority, &identity(authority, &seal).with_evidence(evidence)),
            Utc::now(),
        );
        let proof = proof.unwrap();
        assert_eq!((proof.level, proof.revocation_checked), (Some(Level::Timestamped), of_seal));
    }
    let plain = signed(authority, &identity(authority, &seal));
    assert_eq!(judged(authority, &plain, Utc::now()).unwrap().level, Some(Level::Timestamped));
}

#[test]
fn a_file_that_shows_a_certificate_revoked_is_refused() {
    for name in ["seal", "issuing", "tsa"] {
        let Some(authority) = OpenSsl::new(ADDRESS) else { return };
        let seal = authority.seal("seal", EC);
        authority.revoke(name);
        let file =
            signed(&authority, &identity(&authority, &seal).with_evidence(evidence(&authority, &seal)));
        let refused = judged(&authority, &file, Utc::now()).unwrap_err();
        let expected = match name {
            "tsa" => Refusal::Timestamp(TimestampError::Chain(ChainError::Revoked)),
            _ => Refusal::Chain(ChainError::Revoked),
        };
        assert_eq!(refused, expected, "{name}");
        assert!(!refused.is_tampering());
    }
}

/// What came after the signature does not touch it.
#[test]
fn a_certificate_that_is_revoked_later_has_signed_well() {
    let Some(authority) = OpenSsl::new(ADDRESS) else { return };
    let seal = authority.seal("seal", EC);
    let evidence = evidence(&authority, &seal);
    let file = signed(&authority, &identity(&authority, &seal).with_evidence(evidence));
    authority.revoke("seal");
    assert_eq!(judged(&authority, &file, years(1)).unwrap().level, Some(Level::LongTerm));
}

/// Whoever trusts a certificate and not its issuer accepts those above it inside of what is signed.
#[test]
fn a_pinned_certificate_may_bring_those_above_it() {
    let Some(authority) = &*AUTHORITY else { return };
    let seal = authority.seal("pinned", EC);
    let pinned = Anchors { seals: vec![der(&seal.certificate)], ..anchors(authority) };
    let plain = identity(authority, &seal);
    let long = identity(authority, &seal).with_evidence(evidence(authority, &seal));
    for (identity, level) in [(plain, Level::Timestamped), (long, Level::LongTerm)] {
        let proof = verify(&signed(authority, &identity), &pinned, Utc::now()).finding.unwrap();
        assert_eq!(proof.level, Some(level));
    }
}
