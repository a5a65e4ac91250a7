//! Packs.

use std::sync::LazyLock;

use signing::{
    ChainError, Refusal, SignError, Statement,
    authority::Authority,
    keyring::Generation,
    pack::{File, Input, seal},
    verify,
};

use crate::support::{Site, statement};

static SITE: LazyLock<Site> = LazyLock::new(Site::new);
static PACK: LazyLock<Vec<u8>> = LazyLock::new(|| pack(&SITE.generation));

fn pack(generation: &Generation) -> Vec<u8> {
    let files = [
        File { name: "report.pdf", media_type: "application/pdf", bytes: b"%PDF-1.7" },
        File { name: "findings.csv", media_type: "text/csv", bytes: b"id,severity\n1,high\n" },
        File { name: "empty.json", media_type: "application/json", bytes: b"" },
    ];
    let inputs = [Input { name: "nvd".into(), version: Some("2026-11".into()), sha256: "00".repeat(32) }];
    seal(&files, &inputs, &statement(SITE.now), &generation.pack().unwrap()).unwrap()
}

#[test]
fn a_pack_is_accepted_with_its_files_counted() {
    let proof = verify(&PACK, &SITE.anchors, SITE.now).finding.unwrap();
    assert_eq!(proof.files, Some(3));
    assert_eq!(proof.statement, Statement { timestamped: false, ..statement(SITE.now) });
    assert_eq!(proof.certificate_name, "Acme Corp Report Pack Seal");
}

#[test]
fn the_same_content_gives_the_same_pack() {
    assert_eq!(*PACK, pack(&SITE.generation));
}

#[test]
fn no_byte_of_a_pack_can_be_changed() {
    let mut file = PACK.clone();
    for at in 0..file.len() {
        for bit in [1, 0x20, 0x80] {
            file[at] ^= bit;
            assert!(!SITE.accepts(&file), "byte {at}");
            file[at] ^= bit;
        }
    }
    assert!(SITE.accepts(&file), "put back as it was");
}

#[test]
fn a_pack_cannot_grow_or_shrink() {
    for length in 0..PACK.len() {
        assert!(!SITE.accepts(&PACK[..length]), "{length} bytes");
    }
    for junk in [&b"\0"[..], b"PK\x05\x06", b"comment"] {
        assert!(!SITE.accepts(&[PACK.as_slice(), junk].concat()));
        assert!(!SITE.accepts(&[junk, PACK.as_slice()].concat()));
    }
}

#[test]
fn somebody_elses_pack_is_not_trusted() {
    let other = Generation { number: 1, authority: Authority::generate("Acme Corp", SITE.now).unwrap() };
    assert_eq!(SITE.refusal(&pack(&other)), Refusal::Chain(ChainError::Untrusted));
}

#[test]
fn the_packs_certificate_does_not_outlive_its_time() {
    assert_eq!(SITE.refusal_at(&PACK, SITE.years(4)), Refusal::Chain(ChainError::Expired));
}

#[test]
fn names_that_could_leave_a_folder_are_refused() {
    let identity = SITE.generation.pack().unwrap();
    for name in
        ["../x", "/etc/passwd", "a/b", ".hidden", "", "manifest.json", "a\\b", "a\n", &"a".repeat(151)]
    {
        let file = File { name, media_type: "text/plain", bytes: b"x" };
        let refused = seal(&[file], &[], &statement(SITE.now), &identity).unwrap_err();
        assert!(matches!(refused, SignError::Pack { .. }), "{name:?}");
    }
    let file = File { name: "a.txt", media_type: "text/plain", bytes: b"x" };
    assert!(seal(&[file.clone(), file], &[], &statement(SITE.now), &identity).is_err(), "twice");
}
