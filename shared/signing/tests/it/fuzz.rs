//! Mutations: the verifier says no, and never falls over. `SIGNING_FUZZ_CASES` sets how many (a long run by hand).

use std::sync::LazyLock;

use proptest::{prelude::*, test_runner::Config};

use crate::support::Site;

static SITE: LazyLock<Site> = LazyLock::new(Site::new);
static SIGNED: LazyLock<Vec<u8>> = LazyLock::new(|| SITE.signed());

fn cases() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "a knob of this test, not a setting")]
    std::env::var("SIGNING_FUZZ_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(600)
}

/// One change somewhere in a file.
#[derive(Debug, Clone)]
enum Change {
    Replace(prop::sample::Index, u8),
    Remove(prop::sample::Index, usize),
    Insert(prop::sample::Index, Vec<u8>),
    /// Copies a piece to another place: objects twice, tables twice.
    Repeat(prop::sample::Index, usize, prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<prop::sample::Index>;
    let pieces = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..12),
        prop::sample::select(vec![
            "%%EOF\n",
            "xref\n0 1\n",
            "trailer\n<<",
            "startxref\n0\n%%EOF\n",
            "<<",
            ">>",
            "[",
            "endobj\n",
            "1 0 obj\n",
            "/ByteRange[0 1 2 3]",
            "/Contents<00>",
            "stream\n",
            " 0 R",
            "(",
            ")",
            "/",
            "99999999999999999999",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop_oneof![
        (index(), any::<u8>()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        (index(), 1_usize..400).prop_map(|(at, length)| Change::Remove(at, length)),
        (index(), pieces).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (index(), 1_usize..3000, index()).prop_map(|(from, length, to)| Change::Repeat(from, length, to)),
    ]
}

fn apply(file: &mut Vec<u8>, change: &Change) {
    if file.is_empty() {
        return;
    }
    match change {
        Change::Replace(at, byte) => {
            let at = at.index(file.len());
            file[at] = *byte;
        }
        Change::Remove(at, length) => {
            let at = at.index(file.len());
            file.drain(at..(at + length).min(file.len()));
        }
        Change::Insert(at, bytes) => {
            let at = at.index(file.len());
            file.splice(at..at, bytes.iter().copied());
        }
        Change::Repeat(from, length, to) => {
            let from = from.index(file.len());
            let piece = file[from..(from + length).min(file.len())].to_vec();
            let to = to.index(file.len());
            file.splice(to..to, piece);
        }
    }
}

/// Most of a file is content that only the digest looks at: half of the changes go where the structure is.
fn structure() -> usize {
    SIGNED.len() - crate::support::pdf().len()
}

proptest! {
    #![proptest_config(Config { cases: cases(), failure_persistence: None, max_shrink_iters: 200, ..Config::default() })]

    #[test]
    fn a_mutated_file_is_never_accepted(changes in prop::collection::vec(change(), 1..4), anywhere in any::<bool>()) {
        let mut file = SIGNED.clone();
        let from = if anywhere { 0 } else { file.len() - structure() };
        let mut tail = file.split_off(from);
        for change in &changes {
            apply(&mut tail, change);
        }
        file.extend_from_slice(&tail);
        prop_assert!(file == *SIGNED || !SITE.accepts(&file));
    }

    #[test]
    fn a_mutated_signature_value_is_never_accepted(changes in prop::collection::vec((0_usize..4500, any::<u8>()), 1..6)) {
        let mut file = SIGNED.clone();
        let hole = crate::support::last(&file, "/Contents<") + 10;
        for (at, byte) in changes {
            let digits = format!("{byte:02x}");
            file[hole + 2 * at..hole + 2 * at + 2].copy_from_slice(digits.as_bytes());
        }
        prop_assert!(file == *SIGNED || !SITE.accepts(&file));
    }

    #[test]
    fn noise_is_never_accepted(kind in prop::sample::select(vec!["%PDF-1.7\n", "PK\x03\x04manifest.json.sig", ""]), noise in prop::collection::vec(any::<u8>(), 0..2000)) {
        let file = [kind.as_bytes(), &noise].concat();
        prop_assert!(!SITE.accepts(&file));
    }
}
