//! The Debian security tracker's `data/json`: `{ package: { problem: { releases: { codename: … } } } }`, some 70 MB.
//!
//! <https://security-tracker.debian.org/tracker/data/json>. Packages are source packages. A problem is a CVE, or has a
//! `TEMP-` id until it gets one. Each (problem, package) pair becomes an advisory of its own, `CVE-2024-1234:openssl`:
//! the tracker is ordered by package, and a problem of many packages could not be gathered without holding it all.

use std::{collections::BTreeMap, path::Path};

use domain::{
    Severity,
    advisory::{Advisory, Affected, Bound, Record, State},
};
use serde::Deserialize;

use crate::{
    input::open_text,
    json,
    outcome::{ParseError, Position},
    sink::{LeftOut, Reading, Sink},
    words::is_cve,
};

#[derive(Deserialize)]
struct Problem {
    description: Option<String>,
    releases: BTreeMap<String, Release>,
}

/// Of a package that no release has any more, the tracker says `"releases": []`.
#[derive(Deserialize)]
struct NoReleases {
    #[serde(rename = "releases")]
    _releases: [(); 0],
}

#[derive(Deserialize)]
struct Release {
    status: String,
    fixed_version: Option<String>,
    #[serde(default, deserialize_with = "json::or_default")]
    urgency: String,
    /// Why no security advisory will be made, in words.
    nodsa: Option<String>,
    /// The same in one word: `ignored`, `postponed` or nothing.
    nodsa_reason: Option<String>,
}

pub(crate) fn read(path: &Path, sink: &mut Sink<'_>) -> Result<(), ParseError> {
    let (text, _) = open_text(path, sink)?;
    let mut seen = 0;
    json::read_nested(text, |package, problem, raw| {
        seen += 1;
        let mut unknown_releases = 0;
        let reading = advisory(package, problem, raw.get(), sink.caps.depth, &mut unknown_releases);
        sink.skip("release we do not know", unknown_releases);
        sink.take(|| Position { record: Some(seen - 1), ..Position::default() }, reading)
    })
    .map_err(|error| json::explain(sink, None, seen, error))
}

fn advisory(package: &str, problem: &str, raw: &str, depth: usize, unknown_releases: &mut u64) -> Reading {
    let external_id = format!("{problem}:{package}");
    let reject = |reason| Err(LeftOut::Reject { id: Some(external_id.clone()), reason });
    let is_known = is_cve(problem);
    if !is_known && !problem.starts_with("TEMP-") {
        return reject("neither a CVE id nor a TEMP id".to_owned());
    }
    let Problem { description, releases } = match json::record(raw, depth) {
        Ok(problem) => problem,
        Err(_) if json::record::<NoReleases>(raw, depth).is_ok() => {
            return Err(LeftOut::Skip("no release we know"));
        }
        Err(reason) => return reject(reason),
    };

    let (mut affected, mut severity) = (Vec::new(), None::<Severity>);
    for (codename, release) in &releases {
        let Some(number) = release_number(codename) else {
            *unknown_releases += u64::from(codename != "sid");
            continue;
        };
        let (state, bound, note) = match verdict(release) {
            Ok(verdict) => verdict,
            Err(reason) => return reject(format!("{codename}: {reason}")),
        };
        if let Some(urgent) = severity_of(&release.urgency) {
            severity = Some(severity.map_or(urgent, |worst| worst.min(urgent)));
        }
        affected.push(Affected {
            platform: format!("Debian:{number}"),
            package: package.to_owned(),
            introduced: None,
            bound,
            state,
            note,
            cves: Vec::new(),
        });
    }
    if affected.is_empty() {
        return Err(LeftOut::Skip("no release we know"));
    }
    Ok(Record::Advisory(Advisory {
        external_id,
        cves: if is_known { vec![problem.to_owned()] } else { Vec::new() },
        title: (!is_known).then(|| format!("{problem} in {package}")),
        summary: description,
        severity,
        url: Some(format!("https://security-tracker.debian.org/tracker/{problem}")),
        affected,
        ..Advisory::default()
    }))
}

/// What the tracker says of one release. Its order matters: a fix outranks every remark on why there was none.
fn verdict(release: &Release) -> Result<(State, Bound, Option<String>), String> {
    let urgency = urgency_word(&release.urgency);
    let remark = (urgency == "unimportant").then(|| "unimportant".to_owned());
    match (release.status.as_str(), release.fixed_version.as_deref()) {
        ("resolved", Some("0")) => Ok((State::NotAffected, Bound::Unbounded, remark)),
        ("resolved", Some(version)) => Ok((State::Affected, Bound::Fixed(version.to_owned()), remark)),
        ("resolved", None) => Err("resolved, but no `fixed_version`".to_owned()),
        ("undetermined", _) => Ok((State::UnderInvestigation, Bound::Unbounded, remark)),
        ("open", _) if urgency == "end-of-life" => Ok((State::EndOfLife, Bound::Unbounded, None)),
        ("open", _) => match no_advisory(release) {
            Some(reason) => Ok((State::Deferred, Bound::Unbounded, Some(reason))),
            None => Ok((State::Affected, Bound::Unbounded, remark)),
        },
        (other, _) => Err(format!("status `{other}` is not resolved, open or undetermined")),
    }
}

/// Why there will be no advisory: the sentence, with the word behind it where there is one.
fn no_advisory(release: &Release) -> Option<String> {
    let sentence = release.nodsa.as_deref()?;
    Some(match release.nodsa_reason.as_deref() {
        Some(word) if !word.is_empty() => format!("{sentence} ({word})"),
        _ => sentence.to_owned(),
    })
}

/// The tracker marks an urgency that it took over from the NVD with two asterisks.
fn urgency_word(urgency: &str) -> &str {
    urgency.trim_end_matches('*')
}

fn severity_of(urgency: &str) -> Option<Severity> {
    match urgency_word(urgency) {
        "high" => Some(Severity::High),
        "medium" => Some(Severity::Medium),
        "low" | "unimportant" => Some(Severity::Low),
        _ => None, // "not yet assigned", "end-of-life"
    }
}

/// The release's number, as OSV platforms spell it. `sid` never gets one.
fn release_number(codename: &str) -> Option<u32> {
    match codename {
        "wheezy" => Some(7),
        "jessie" => Some(8),
        "stretch" => Some(9),
        "buster" => Some(10),
        "bullseye" => Some(11),
        "bookworm" => Some(12),
        "trixie" => Some(13),
        "forky" => Some(14),
        "duke" => Some(15),
        _ => None,
    }
}
