//! The known ways to make a changed PDF look signed (Mladenov et al., "1 Trillion Dollar Refund", CCS 2019; "Shadow
//! Attacks", NDSS 2021), and some of our own.

use std::{fmt::Write as _, sync::LazyLock};

use chrono::TimeDelta;
use signing::{
    ChainError, Refusal, Statement,
    authority::Authority,
    keyring::Generation,
    pdf::{LayoutError, Seal},
    timestamp::TimestampError,
    verify,
};

use crate::{
    authority::TimestampAuthority,
    support::{Site, last, pdf, replaced, statement},
};

static SITE: LazyLock<Site> = LazyLock::new(Site::new);
static SIGNED: LazyLock<Vec<u8>> = LazyLock::new(|| SITE.signed());

#[test]
fn a_signed_report_is_accepted_with_what_it_states() {
    let proof = verify(&SIGNED, &SITE.anchors, SITE.now).finding.unwrap();
    assert_eq!(proof.statement.signed_by, "compliance@acme.com");
    assert_eq!(proof.statement.framework.as_deref(), Some("soc2"));
    assert_eq!(proof.certificate_name, "Acme Corp Report Seal");
    assert_eq!(proof.timestamp.unwrap().authority, "Example Timestamping Unit");
    assert!(proof.revocation_checked);
}

#[test]
fn a_report_without_a_timestamp_is_accepted_while_its_certificate_is_good() {
    let file = SITE.unstamped();
    assert!(SITE.accepts(&file));
    assert_eq!(SITE.refusal_at(&file, SITE.years(4)), Refusal::Chain(ChainError::Expired));
    assert!(!SITE.refusal_at(&file, SITE.years(4)).is_tampering());
}

#[test]
fn a_timestamp_keeps_a_signature_good_when_its_certificate_has_expired() {
    assert!(verify(&SIGNED, &SITE.anchors, SITE.years(4)).finding.is_ok());
}

/// Every single byte, judged without the digest that a server has.
#[test]
fn no_byte_can_be_changed() {
    let digits = last(&SIGNED, "/Contents<") + 10;
    let end = digits + 2 * 16 * 1024;
    // The zeros behind the signature are all alike: a few of them stand for the rest.
    let zeros = end - 24_000..end - 16;
    let mut file = SIGNED.clone();
    for at in (0..file.len()).filter(|at| !zeros.contains(at)) {
        let bit = if at % 2 == 0 { 1 } else { 0x20 };
        file[at] ^= bit;
        assert!(!SITE.accepts(&file), "byte {at} ({:?})", char::from(SIGNED[at]));
        file[at] ^= bit;
    }
    assert!(SITE.accepts(&file), "put back as it was");
}

#[test]
fn nothing_can_be_appended() {
    for junk in [&b"\n"[..], b" ", b"% comment\n", b"\0", b"\n%%EOF\n"] {
        let file = [SIGNED.as_slice(), junk].concat();
        assert!(SITE.refusal(&file).is_tampering(), "{junk:?}");
    }
}

#[test]
fn nothing_can_be_put_before() {
    for junk in [&b"\n"[..], b"%PDF-1.7\n"] {
        assert!(!SITE.accepts(&[junk, SIGNED.as_slice()].concat()), "{junk:?}");
    }
}

#[test]
fn a_file_cut_short_is_not_accepted() {
    for length in (0..SIGNED.len()).step_by(997).chain(SIGNED.len() - 9..SIGNED.len()) {
        assert!(!SITE.accepts(&SIGNED[..length]), "{length} bytes");
    }
}

/// An incremental update with a valid table, as a PDF editor writes it.
pub(crate) fn update(file: &[u8], objects: &[(u32, String)]) -> Vec<u8> {
    let text = String::from_utf8_lossy(&file[last(file, "startxref")..]).into_owned();
    let previous = text.lines().nth(1).unwrap().to_owned();
    let mut updated = file.to_vec();
    let mut table = "xref\n".to_owned();
    for (number, body) in objects {
        write!(table, "{number} 1\n{:010} 00000 n \n", updated.len()).unwrap();
        updated.extend(format!("{number} 0 obj\n{body}\nendobj\n").bytes());
    }
    let start = updated.len();
    let size = objects.iter().map(|(number, _)| number + 1).max().unwrap().max(40);
    write!(table, "trailer\n<</Size {size}/Root 1 0 R/Prev {previous}>>\nstartxref\n{start}\n%%EOF\n")
        .unwrap();
    updated.extend(table.bytes());
    updated
}

/// The text of an object as it stands in the file for the last time.
pub(crate) fn object(file: &[u8], number: u32) -> String {
    let head = format!("\n{number} 0 obj\n");
    let from = last(file, &head) + head.len();
    let text = String::from_utf8_lossy(&file[from..]).into_owned();
    text[..text.find("\nendobj").unwrap()].to_owned()
}

#[test]
fn an_update_that_repaints_a_page_is_refused() {
    let painted = "<</Length 36>>\nstream\n1 0 0 rg 60 60 400 200 re f          \nendstream".to_owned();
    let file = update(&SIGNED, &[(5, painted)]);
    assert!(SITE.refusal(&file).is_tampering());
}

#[test]
fn an_update_that_brings_catalog_field_and_signature_along_is_refused() {
    let copies: Vec<_> = [1, 3, 7, 8].map(|number| (number, object(&SIGNED, number))).into();
    let file = update(&SIGNED, &copies);
    assert!(SITE.refusal(&file).is_tampering());
}

#[test]
fn a_signature_that_was_removed_leaves_an_unsigned_file() {
    let stripped = pdf();
    assert_eq!(SITE.refusal(&stripped), Refusal::NotSigned);
    let emptied = replaced(&SIGNED, "/SigFlags 3", "/SigFlags 0");
    assert!(SITE.refusal(&emptied).is_tampering());
    // By an update that drops the form.
    let file = update(&SIGNED, &[(1, "<</Type/Catalog/Pages 2 0 R>>".into())]);
    assert!(!SITE.accepts(&file));
}

#[test]
fn a_byte_range_that_leaves_something_out_is_refused() {
    let from = last(&SIGNED, "/ByteRange[0 ");
    let text = String::from_utf8_lossy(&SIGNED[from + 12..from + 50]).into_owned();
    let numbers: Vec<usize> =
        text.split_whitespace().take(3).map(|number| number.trim_end_matches(']').parse().unwrap()).collect();
    for other in [
        [numbers[0] - 1, numbers[1], numbers[2]],
        [numbers[0], numbers[1] + 1, numbers[2] - 1],
        [numbers[0], numbers[1], numbers[2] - 1],
        [numbers[0], numbers[1], 0],
        [0, numbers[1], numbers[2]],
        [numbers[0], 9_999_999_999, 9_999_999_999],
    ] {
        let range = format!("/ByteRange[0 {:<10} {:<10} {:<10}", other[0], other[1], other[2]);
        let mut file = SIGNED.clone();
        file[from..from + range.len()].copy_from_slice(range.as_bytes());
        assert_eq!(SITE.refusal(&file), Refusal::NotWhole, "{range}");
    }
}

/// Wrapping: the signed part is kept where the range says, and something else is put where readers look.
#[test]
fn a_signature_wrapped_around_other_content_is_refused() {
    let hole = last(&SIGNED, "/Contents<") + 9;
    let close = hole + 2 + 2 * 16 * 1024;
    let shadow = b"1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n";
    let inserted = [&SIGNED[..close], shadow, &SIGNED[close..]].concat();
    assert!(!SITE.accepts(&inserted));
    let within = [&SIGNED[..close - 1], b">", &shadow[..], &SIGNED[close..]].concat();
    assert!(!SITE.accepts(&within));
}

#[test]
fn data_hidden_behind_the_signature_is_refused() {
    let close = last(&SIGNED, "/Contents<") + 10 + 2 * 16 * 1024;
    let mut file = SIGNED.clone();
    file[close - 16..close].copy_from_slice(b"deadbeefdeadbeef");
    assert_eq!(SITE.refusal(&file), Refusal::Form);
}

#[test]
fn a_signature_in_capitals_is_not_the_one_that_was_issued() {
    let from = last(&SIGNED, "/Contents<") + 10;
    let mut file = SIGNED.clone();
    file[from..from + 4000].make_ascii_uppercase();
    assert_eq!(SITE.refusal(&file), Refusal::Form);
}

/// Shadow attacks hide content before the signature. What is signed here comes from the renderer alone, and whatever
/// has been edited in between is not signed.
#[test]
fn a_prepared_file_is_not_signed() {
    let edited = update(&pdf(), &[(5, "<</Length 0>>\nstream\n\nendstream".into())]);
    let refused = Seal::new(&edited, &SITE.identity(), &statement(SITE.now)).unwrap_err();
    assert!(matches!(refused, signing::SignError::Layout(LayoutError::Revised)), "{refused}");
    let twice = Seal::new(&SIGNED, &SITE.identity(), &statement(SITE.now)).unwrap_err();
    assert!(matches!(twice, signing::SignError::Layout(LayoutError::Revised)), "{twice}");
}

#[test]
fn a_second_signature_on_top_is_refused() {
    // As a stranger's tool would: a further revision with a form of two fields.
    let file = update(
        &SIGNED,
        &[
            (1, object(&SIGNED, 1).replace("/Fields[8 0 R]", "/Fields[8 0 R 41 0 R]")),
            (41, "<</Type/Annot/Subtype/Widget/FT/Sig/T(Other)/V 42 0 R>>".into()),
            (42, object(&SIGNED, 7)),
        ],
    );
    assert!(!SITE.accepts(&file));
}

#[test]
fn somebody_elses_certificate_is_not_trusted() {
    // Same names, other keys.
    let other = Generation { number: 1, authority: Authority::generate("Acme Corp", SITE.now).unwrap() };
    let file = SITE.sign(&other.seal(SITE.now).unwrap(), &statement(SITE.now));
    let refused = SITE.refusal(&file);
    assert_eq!(refused, Refusal::Chain(ChainError::Untrusted));
    assert!(!refused.is_tampering(), "the file may be whole; only nobody vouches for it");
}

#[test]
fn a_certificate_for_something_else_is_not_accepted() {
    // The authority's own timestamping certificate, issued under a root that is trusted here.
    let anchors = signing::Anchors { timestamps: SITE.anchors.seals.clone(), ..SITE.anchors.clone() };
    let refused = verify(&SIGNED, &anchors, SITE.now).finding.unwrap_err();
    assert_eq!(refused, Refusal::Timestamp(TimestampError::Chain(ChainError::Untrusted)));
    let loose = TimestampAuthority::with_uses("Loose", false);
    let seal =
        Seal::new(&pdf(), &SITE.identity(), &Statement { timestamped: true, ..statement(SITE.now) }).unwrap();
    let query = seal.timestamp_query().unwrap();
    let roots = signing::Anchors::read_pem(&loose.root_pem).unwrap();
    let refused = query.accept(&loose.reply(query.der(), SITE.now), &roots, SITE.now).unwrap_err();
    assert_eq!(refused, TimestampError::Chain(ChainError::WrongUse));
}

#[test]
fn a_certificate_that_is_not_good_yet_is_refused() {
    let file = SITE.unstamped();
    let refused = SITE.refusal_at(&file, SITE.now - TimeDelta::days(30));
    assert_eq!(refused, Refusal::Chain(ChainError::NotYetValid));
}

#[test]
fn a_pinned_certificate_needs_no_authority_above_it() {
    let own = SITE.identity().chain()[0].clone();
    let brought = signing::Identity::from_pem(
        &SITE.generation.authority.seal.key,
        &SITE.generation.authority.seal.certificate,
    )
    .unwrap();
    let file = SITE.sign(&brought, &statement(SITE.now));
    let anchors = signing::Anchors { seals: vec![own], ..Default::default() };
    assert!(verify(&file, &anchors, SITE.now).finding.is_ok());
    assert_eq!(
        verify(&file, &signing::Anchors::default(), SITE.now).finding.unwrap_err(),
        Refusal::Chain(ChainError::Untrusted)
    );
}

#[test]
fn whatever_is_no_signed_report_is_told_apart() {
    for (file, expected) in [
        (&b""[..], Refusal::UnknownKind),
        (b"hello", Refusal::UnknownKind),
        (b"%PDF-1.4 nothing", Refusal::NotSigned),
        (b"PK\x03\x04", Refusal::NotSigned),
    ] {
        assert_eq!(SITE.refusal(file), expected);
        assert!(!expected.is_tampering());
    }
    let large = [&b"%PDF-1.7\n"[..], &vec![0; signing::verify::LARGEST]].concat();
    assert!(matches!(SITE.refusal(&large), Refusal::TooLarge(_)));
}

#[test]
fn two_signatures_differ_in_their_value_only() {
    let identity = SITE.identity();
    let [one, two] = [(); 2].map(|()| SITE.sign(&identity, &statement(SITE.now)));
    let digits = last(&one, "/Contents<") + 10;
    let end = digits + 2 * 16 * 1024;
    assert_eq!((&one[..digits], &one[end..]), (&two[..digits], &two[end..]));
    assert_ne!(one, two);
}
