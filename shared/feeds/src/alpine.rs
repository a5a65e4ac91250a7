//! Alpine's secdb: what one repository (`main`, `community`) of one release has fixed, by package and version.
//!
//! <https://secdb.alpinelinux.org/>, a file such as `v3.20/main.json` for each. Packages are source packages (`origin`).
//! It knows fixes only: a problem that nobody has fixed yet is not in it. Each (problem, package) pair becomes an
//! advisory of its own, `CVE-2024-1234:openssl`, so that a package is all that has to be held at a time. Maintainers write
//! the ids by hand, in comments of their build scripts: see [`entry`].

use std::{cell::OnceCell, collections::BTreeMap, path::Path};

use domain::advisory::{Advisory, Affected, Bound, Record, State};
use serde::Deserialize;

use crate::{
    input::open_text,
    json,
    outcome::{ParseError, Position},
    sink::{LeftOut, Reading, Sink},
    words::is_cve,
};

#[derive(Deserialize)]
struct Element {
    pkg: Package,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    /// What each version fixed.
    secfixes: BTreeMap<String, Vec<String>>,
}

/// As much of an element as it takes to name one that was not understood.
#[derive(Deserialize)]
struct NamedElement {
    pkg: Named,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

pub(crate) fn read(path: &Path, sink: &mut Sink<'_>) -> Result<(), ParseError> {
    let (text, _) = open_text(path, sink)?;
    let (depth, platform) = (sink.caps.depth, OnceCell::new());
    let (mut seen, mut is_placed) = (0, true);

    let found = json::read_catalogue(
        text,
        "packages",
        |name, value| {
            if name == "distroversion" {
                let release = json::record::<String>(value.get(), depth).ok();
                release.as_deref().and_then(platform_of).map(|found| platform.set(found));
            }
        },
        |element| {
            seen += 1;
            let at = || Position { record: Some(seen - 1), ..Position::default() };
            let Some(platform) = platform.get() else {
                is_placed = false;
                return sink.take(at, Err(LeftOut::Skip("package of no release")));
            };
            advisories(element.get(), platform, depth)
                .into_iter()
                .try_for_each(|reading| sink.take(at, reading))
        },
    )
    .map_err(|error| json::explain(sink, None, seen, error))?;

    if !found || !is_placed || platform.get().is_none() {
        let reason = "not a secdb: no list `packages`, or before it no `distroversion` such as `v3.20`";
        return Err(sink.broken(Position::default(), reason));
    }
    Ok(())
}

/// `Alpine:v3.20` of `v3.20`. What is no release, such as `edge`, has no platform that a host could be on.
fn platform_of(distroversion: &str) -> Option<String> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (major, minor) = distroversion.strip_prefix('v')?.split_once('.')?;
    (is_number(major) && is_number(minor)).then(|| format!("Alpine:{distroversion}"))
}

/// The advisories of one package, by problem; and what of it was not understood.
fn advisories(raw: &str, platform: &str, depth: usize) -> Vec<Reading> {
    let Package { name, secfixes } = match json::record::<Element>(raw, depth) {
        Ok(element) => element.pkg,
        Err(reason) => {
            let id = json::record::<NamedElement>(raw, depth).ok().map(|element| element.pkg.name);
            return vec![Err(LeftOut::Reject { id, reason })];
        }
    };

    let (mut problems, mut left_out) = (BTreeMap::<String, Advisory>::new(), Vec::new());
    for (version, texts) in &secfixes {
        for text in texts {
            let entry = match entry(text) {
                Ok(entry) => entry,
                Err(reason) => {
                    left_out.push(LeftOut::Reject { id: Some(format!("{text}:{name}")), reason });
                    continue;
                }
            };
            let affected = affected(platform, &name, version, entry.remark);
            for problem in entry.problems {
                let advisory = problems.entry(problem).or_insert_with_key(|problem| about(problem, &name));
                advisory.affected.push(affected.clone());
                for alias in &entry.aliases {
                    if !advisory.aliases.contains(alias) {
                        advisory.aliases.push(alias.clone());
                    }
                }
            }
        }
    }
    if problems.is_empty() && left_out.is_empty() {
        left_out.push(LeftOut::Skip("package without a fix"));
    }
    let advisories = problems.into_values().map(|advisory| Ok(Record::Advisory(advisory)));
    advisories.chain(left_out.into_iter().map(Err)).collect()
}

fn about(problem: &str, package: &str) -> Advisory {
    let external_id = format!("{problem}:{package}");
    if is_cve(problem) {
        let url = Some(format!("https://security.alpinelinux.org/vuln/{problem}"));
        Advisory { external_id, cves: vec![problem.to_owned()], url, ..Advisory::default() }
    } else {
        let title = Some(format!("{problem} in {package}"));
        Advisory { external_id, aliases: vec![problem.to_owned()], title, ..Advisory::default() }
    }
}

/// By convention, what version `0` fixed never was in the package.
fn affected(platform: &str, package: &str, version: &str, remark: Option<String>) -> Affected {
    let (state, bound) = match version {
        "0" => (State::NotAffected, Bound::Unbounded),
        fixed => (State::Affected, Bound::Fixed(fixed.to_owned())),
    };
    Affected {
        platform: platform.to_owned(),
        package: package.to_owned(),
        introduced: None,
        bound,
        state,
        note: remark,
        cves: Vec::new(),
    }
}

/// One thing that a version fixed.
#[derive(Debug, PartialEq)]
struct Entry {
    problems: Vec<String>,
    /// Other ids of the one problem.
    aliases: Vec<String>,
    remark: Option<String>,
}

/// Reads what a maintainer wrote: ids, usually one, and perhaps a remark in parentheses.
///
/// Beside a CVE, another id (`XSA-201`, `GHSA-…`) is a name of the same problem; beside several, of none of them in
/// particular. Without a CVE the other ids are problems. Words that stand in for an id (`CVE N/A`, `CVE-????-?????`) have
/// no digit. A malformed CVE id is never taken for anything else.
fn entry(text: &str) -> Result<Entry, String> {
    let (ids, remark) = match text.split_once('(') {
        Some((ids, remark)) => (ids, Some(remark.trim_end().trim_end_matches(')').to_owned())),
        None => (text, None),
    };
    let (mut cves, mut others) = (Vec::new(), Vec::new());
    for word in ids.split([' ', ',']).filter(|word| stands_for_itself(word)) {
        let id = word.replacen("CVE_", "CVE-", 1);
        if is_cve(&id) {
            cves.push(id);
        } else if is_other_id(&id) {
            others.push(id);
        } else {
            return Err(format!("`{word}` is not an id of a problem"));
        }
    }
    match cves.len() {
        0 if others.is_empty() => Err("names no problem".to_owned()),
        0 => Ok(Entry { problems: others, aliases: Vec::new(), remark }),
        1 => Ok(Entry { problems: cves, aliases: others, remark }),
        _ => Ok(Entry { problems: cves, aliases: Vec::new(), remark }),
    }
}

fn stands_for_itself(word: &str) -> bool {
    word.starts_with("GHSA-") || word.bytes().any(|byte| byte.is_ascii_digit())
}

/// Whether it could be somebody's id: `XSA-201`, `GNUTLS-SA-2020-03-31`, `VSV00010`.
fn is_other_id(word: &str) -> bool {
    !word.starts_with("CVE")
        && word.starts_with(|first: char| first.is_ascii_uppercase())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_and_aliases(text: &str) -> (Vec<String>, Vec<String>) {
        let entry = entry(text).expect(text);
        (entry.problems, entry.aliases)
    }

    #[test]
    fn ids_are_read_as_maintainers_write_them() {
        let written: [(&str, &[&str], &[&str]); 9] = [
            ("CVE-2023-5678", &["CVE-2023-5678"], &[]),
            ("CVE-2022-42332 XSA-427", &["CVE-2022-42332"], &["XSA-427"]),
            ("CVE-2022-42333 CVE-2022-43334 XSA-428", &["CVE-2022-42333", "CVE-2022-43334"], &[]),
            ("CVE-2022-45059 VSV00010", &["CVE-2022-45059"], &["VSV00010"]),
            ("XSA-207", &["XSA-207"], &[]),
            ("GHSA-cfgh-jmpq-rvwx", &["GHSA-cfgh-jmpq-rvwx"], &[]),
            ("CVE_2019-2426", &["CVE-2019-2426"], &[]),
            ("CVE N/A ZBX-11023", &["ZBX-11023"], &[]),
            ("CVE-????-????? TS-2024-005", &["TS-2024-005"], &[]),
        ];
        for (text, problems, aliases) in written {
            let (read, other_names) = problems_and_aliases(text);
            assert_eq!(
                (read.as_slice(), other_names.as_slice()),
                (&own(problems)[..], &own(aliases)[..]),
                "{text}"
            );
        }
    }

    #[test]
    fn a_remark_in_parentheses_is_kept_and_not_searched_for_ids() {
        let entry = entry("CVE-2018-16227 (802.11)").expect("a CVE");
        assert_eq!(entry.problems, ["CVE-2018-16227"]);
        assert_eq!(entry.remark.as_deref(), Some("802.11"));
    }

    #[test]
    fn what_names_no_problem_is_refused() {
        for text in
            ["", "CVE-46838", "CVE-2021-35940.patch", "fixed in 2021", "CVE-????-?????", "<CVE-2021-3594>"]
        {
            assert!(entry(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_a_numbered_release_is_a_platform() {
        assert_eq!(platform_of("v3.20").as_deref(), Some("Alpine:v3.20"));
        for other in ["edge", "3.20", "v3", "v3.", "v3.20.1", "v3.x", ""] {
            assert_eq!(platform_of(other), None, "{other}");
        }
    }

    fn own(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }
}
