//! Known truths about version order: ours in `tests/fixtures`, and published ones beside the repository where they are
//! at hand.
//!
//! A line is `a < b`, `a = b` or `a > b`; in ours also `! a` for a version that must not be understood. `#` and `//` begin
//! a remark.

use std::{cmp::Ordering, fs, path::Path};

use correlation::version::{Scheme, key};

#[derive(Default)]
struct Tally {
    compared: usize,
    /// Lines with a version that is not understood.
    refused: usize,
    wrong: Vec<String>,
}

fn tally(scheme: Scheme, text: &str) -> Tally {
    let mut tally = Tally::default();
    for line in text.lines() {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["!", version] => {
                tally.compared += 1;
                if key(scheme, version).is_some() {
                    tally.wrong.push(line.to_owned());
                }
            }
            [left, operator @ ("<" | "=" | ">"), right] => {
                tally.compared += 1;
                match (key(scheme, left), key(scheme, right)) {
                    (Some(left), Some(right)) if symbol(left.cmp(&right)) != operator => {
                        tally.wrong.push(line.to_owned());
                    }
                    (Some(_), Some(_)) => {}
                    _ => tally.refused += 1,
                }
            }
            [] | ["#" | "//", ..] => {}
            _ if line.starts_with(['#', '/']) => {}
            _ => panic!("cannot read the line {line:?}"),
        }
    }
    tally
}

fn symbol(ordering: Ordering) -> &'static str {
    match ordering {
        Ordering::Less => "<",
        Ordering::Equal => "=",
        Ordering::Greater => ">",
    }
}

#[test]
fn every_scheme_orders_versions_as_its_rules_say() {
    let fixtures = [
        (Scheme::Dpkg, include_str!("fixtures/dpkg.txt")),
        (Scheme::Rpm, include_str!("fixtures/rpm.txt")),
        (Scheme::Apk, include_str!("fixtures/apk.txt")),
        (Scheme::SemVer, include_str!("fixtures/semver.txt")),
        (Scheme::Pep440, include_str!("fixtures/pep440.txt")),
        (Scheme::RubyGems, include_str!("fixtures/rubygems.txt")),
        (Scheme::NuGet, include_str!("fixtures/nuget.txt")),
        (Scheme::Packagist, include_str!("fixtures/packagist.txt")),
        (Scheme::Maven, include_str!("fixtures/maven.txt")),
    ];
    for (scheme, text) in fixtures {
        let tally = tally(scheme, text);
        assert!(tally.compared > 15, "{scheme:?}: only {} lines", tally.compared);
        assert_eq!((tally.wrong, tally.refused), (vec![], 0), "{scheme:?}");
    }
}

#[test]
fn no_published_comparison_comes_out_wrong() {
    // Lines that hold a version we refuse on purpose: apk's invalid ones, Python's from before PEP 440, PHP's `#`.
    let published = [
        (Scheme::Dpkg, "debian", 0),
        (Scheme::Rpm, "redhat", 0),
        (Scheme::Apk, "alpine", 32),
        (Scheme::SemVer, "semver", 1),
        (Scheme::Pep440, "pypi", 11),
        (Scheme::RubyGems, "rubygems", 0),
        (Scheme::NuGet, "nuget", 0),
        (Scheme::Packagist, "packagist", 6),
        (Scheme::Maven, "maven", 4),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/feeds/version-fixtures");
    if !folder.is_dir() {
        eprintln!("skipped: there are no published fixtures beside the repository");
        return;
    }
    for (scheme, name, refused) in published {
        let file = folder.join(format!("{name}-versions.txt"));
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let tally = tally(scheme, &text);
        assert!(tally.compared >= 20, "{scheme:?}: only {} lines", tally.compared);
        assert_eq!((tally.wrong, tally.refused), (vec![], refused), "{scheme:?}");
    }
}
