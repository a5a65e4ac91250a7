//! Packs.

use std::{
    io::{BufWriter, Seek as _, Write as _},
    sync::LazyLock,
};

use signing::{
    ChainError, Refusal, SignError, Statement,
    authority::Authority,
    keyring::Generation,
    pack::{File, Input, PackIdentity, StoredFile, seal, seal_stream},
    verify,
    verify::{LARGEST, verify_stream},
};

use crate::support::{Site, statement};

static SITE: LazyLock<Site> = LazyLock::new(Site::new);
static PACK: LazyLock<Vec<u8>> = LazyLock::new(|| pack(&SITE.generation));

fn pack(generation: &Generation) -> Vec<u8> {
    let files = [
        held("report.pdf", "application/pdf", b"%PDF-1.7"),
        held("findings.csv", "text/csv", b"id,severity\n1,high\n"),
        held("empty.json", "application/json", b""),
    ];
    let inputs = [Input { name: "nvd".into(), version: Some("2026-11".into()), sha256: "00".repeat(32) }];
    sealed(&files, &inputs, &generation.pack().unwrap()).unwrap()
}

fn held<'a>(name: &'a str, media_type: &'a str, bytes: &'a [u8]) -> File<'a> {
    File { name, media_type, bytes }
}

fn sealed(files: &[File<'_>], inputs: &[Input], identity: &PackIdentity) -> Result<Vec<u8>, SignError> {
    seal(files, inputs, &statement(SITE.now), identity)
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
        let file = held(name, "text/plain", b"x");
        let refused = sealed(&[file], &[], &identity).unwrap_err();
        assert!(matches!(refused, SignError::Pack { .. }), "{name:?}");
    }
    let file = held("a.txt", "text/plain", b"x");
    assert!(sealed(&[file.clone(), file], &[], &identity).is_err(), "twice");
}

#[test]
fn files_are_packed_from_where_they_are_as_if_they_were_in_memory() {
    let bytes = b"id,severity\n1,high\n".repeat(50_000);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let identity = SITE.generation.pack().unwrap();
    let stored = StoredFile { name: "findings.csv", media_type: "text/csv", file: &file };
    let mut from_file = Vec::new();
    seal_stream(&[stored], &[], &statement(SITE.now), &identity, &mut from_file).unwrap();
    assert!(SITE.accepts(&from_file));
    assert_eq!(from_file, sealed(&[held("findings.csv", "text/csv", &bytes)], &[], &identity).unwrap());
}

#[test]
fn a_pack_may_be_larger_than_what_is_held_in_memory() {
    let size = LARGEST as u64 + 1;
    let [large, small] = [size, 9].map(|size| {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        file
    });
    let files = [
        StoredFile { name: "findings.csv", media_type: "text/csv", file: &large },
        StoredFile { name: "assets.csv", media_type: "text/csv", file: &small },
    ];
    let mut pack = tempfile::tempfile().unwrap();
    let mut out = BufWriter::new(&pack);
    seal_stream(&files, &[], &statement(SITE.now), &SITE.generation.pack().unwrap(), &mut out).unwrap();
    out.into_inner().unwrap();
    let verdict = |mut pack: &std::fs::File| {
        pack.rewind().unwrap();
        verify_stream(pack, &SITE.anchors, SITE.now).unwrap()
    };
    assert_eq!(verdict(&pack).finding.unwrap().files, Some(2));

    pack.seek(std::io::SeekFrom::Start(size / 2)).unwrap();
    pack.write_all(b"x").unwrap();
    assert!(verdict(&pack).finding.unwrap_err().is_tampering());
    pack.seek(std::io::SeekFrom::Start(size / 2)).unwrap();
    pack.write_all(b"\0").unwrap();
    assert!(verdict(&pack).finding.is_ok(), "put back as it was");
    pack.seek(std::io::SeekFrom::End(0)).unwrap();
    pack.write_all(b"\0").unwrap();
    assert_eq!(verdict(&pack).finding, Err(Refusal::Changed));
}

#[test]
fn a_file_that_changes_while_it_is_packed_is_not_packed() {
    /// Adds to the file as soon as the first byte of the pack comes.
    struct Meddler<'a>(&'a std::fs::File);
    impl std::io::Write for Meddler<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.set_len(9)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let file = tempfile::tempfile().unwrap();
    file.set_len(4).unwrap();
    let stored = StoredFile { name: "a.csv", media_type: "text/csv", file: &file };
    let identity = SITE.generation.pack().unwrap();
    let refused = seal_stream(&[stored], &[], &statement(SITE.now), &identity, &mut Meddler(&file));
    let refused = refused.unwrap_err();
    assert!(matches!(refused, SignError::Pack { name, .. } if name == "a.csv"));
}
