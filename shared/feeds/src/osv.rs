//! OSV records, one JSON file each, in a zip (`all.zip` of an ecosystem) or a directory.
//!
//! <https://ossf.github.io/osv-schema/>. What a record says is carried over; how its versions are ordered is not known
//! here, so events must come in the order of their versions, as every database we know of writes them.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{self, BufReader, Read},
    path::Path,
};

use chrono::{DateTime, Utc};
use domain::{
    Severity,
    advisory::{Advisory, Affected, Bound, Record, State},
};
use serde::Deserialize;
use serde_json::Value;
use zip::ZipArchive;

use crate::{
    files,
    input::{Metered, read_error},
    json,
    outcome::{ParseError, Position},
    sink::{LeftOut, Reading, Sink},
    words::{base_score, is_cve, shortened},
};

/// Reasons for leaving something out, with how often.
type Skips = BTreeMap<&'static str, u64>;

/// Keyed hashes of the entries so far: AlmaLinux files one erratum under each of its releases.
#[derive(Default)]
struct Seen {
    hashes: HashSet<u64>,
    hasher: RandomState,
}

impl Seen {
    fn is_new(&mut self, content: &[u8]) -> bool {
        self.hashes.insert(self.hasher.hash_one(content))
    }
}

pub(crate) fn read(path: &Path, sink: &mut Sink<'_>) -> Result<(), ParseError> {
    if path.is_dir() { read_directory(path, sink) } else { read_zip(path, sink) }
}

fn read_directory(directory: &Path, sink: &mut Sink<'_>) -> Result<(), ParseError> {
    let unreadable = |path: &Path, error| ParseError::Unreadable { path: path.to_owned(), error };
    let mut seen = Seen::default();
    for (name, path) in files::below(directory).map_err(|error| unreadable(directory, error))? {
        if !name.ends_with(".json") {
            sink.skip("file that is no JSON record", 1);
            continue;
        }
        let file = File::open(&path).map_err(|error| unreadable(&path, error))?;
        read_entry(&name, file, &mut seen, sink)?;
    }
    Ok(())
}

fn read_zip(path: &Path, sink: &mut Sink<'_>) -> Result<(), ParseError> {
    let unreadable = |error| ParseError::Unreadable { path: path.to_owned(), error };
    let file = File::open(path).map_err(unreadable)?;
    sink.meter.decompresses(file.metadata().map_err(unreadable)?.len());
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| {
        sink.broken(Position::default(), format_args!("not a whole zip archive: {error}"))
    })?;

    let mut names: Vec<(String, usize)> = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        if let Some(name) = archive.name_for_index(index) {
            let name = name.map_err(|error| {
                sink.broken(
                    Position::default(),
                    format_args!("file {index} of the archive has no readable name: {error}"),
                )
            })?;
            names.push((name.into_owned(), index));
        }
    }
    names.sort_unstable();
    let mut seen = Seen::default();
    for (name, index) in names {
        if !name.ends_with(".json") {
            sink.skip("file that is no JSON record", u64::from(!name.ends_with('/')));
            continue;
        }
        let entry = archive.by_index(index).map_err(|error| {
            sink.broken(Position { entry: Some(shortened(&name)), ..Position::default() }, error)
        })?;
        read_entry(&name, entry, &mut seen, sink)?;
    }
    Ok(())
}

/// Reads one file of the feed. What does not decompress breaks the feed; what is no OSV record is only left out.
fn read_entry(
    name: &str,
    content: impl Read,
    seen: &mut Seen,
    sink: &mut Sink<'_>,
) -> Result<(), ParseError> {
    let position = || Position { entry: Some(shortened(name)), ..Position::default() };
    sink.meter.start_record();
    let mut bytes = Vec::new();
    Metered::new(content, &sink.meter)
        .read_to_end(&mut bytes)
        .map_err(|error: io::Error| read_error(sink, position(), &error))?;
    if !seen.is_new(&bytes) {
        sink.skip("the same record again", 1);
        return Ok(());
    }

    let mut skips = Skips::new();
    let reading = match str::from_utf8(&bytes) {
        Ok(text) => {
            let reading = advisory(text, sink.caps.depth, &mut skips);
            if let Ok(Record::Advisory(Advisory { modified: Some(modified), .. })) = &reading {
                sink.modified(*modified);
            }
            reading
        }
        Err(error) => Err(LeftOut::Reject { id: None, reason: error.to_string() }),
    };
    skips.into_iter().for_each(|(reason, count)| sink.skip(reason, count));
    sink.take(position, reading).map_err(|_| sink.explain().unwrap_or(ParseError::Stopped))
}

#[derive(Deserialize)]
struct Osv {
    id: String,
    #[serde(default, deserialize_with = "json::informative_time")]
    modified: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "json::informative_time")]
    published: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "json::optional_time")]
    withdrawn: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "json::or_default")]
    aliases: Vec<String>,
    #[serde(default, deserialize_with = "json::or_default")]
    upstream: Vec<String>,
    #[serde(default, deserialize_with = "json::or_default")]
    related: Vec<String>,
    summary: Option<String>,
    details: Option<String>,
    #[serde(default, deserialize_with = "json::or_default")]
    severity: Vec<Rating>,
    #[serde(default, deserialize_with = "json::or_default")]
    affected: Vec<OsvAffected>,
    #[serde(default, deserialize_with = "json::or_default")]
    references: Vec<Reference>,
    #[serde(default, deserialize_with = "json::or_default")]
    database_specific: Value,
}

#[derive(Deserialize, Clone)]
struct Rating {
    #[serde(rename = "type")]
    kind: String,
    score: String,
}

#[derive(Deserialize)]
struct Reference {
    url: String,
}

#[derive(Deserialize)]
struct OsvAffected {
    package: Option<Package>,
    #[serde(default, deserialize_with = "json::or_default")]
    severity: Vec<Rating>,
    #[serde(default, deserialize_with = "json::or_default")]
    ranges: Vec<Range>,
    #[serde(default, deserialize_with = "json::or_default")]
    versions: Vec<String>,
    #[serde(default, deserialize_with = "json::or_default")]
    database_specific: Value,
}

#[derive(Deserialize)]
struct Package {
    ecosystem: String,
    name: String,
}

#[derive(Deserialize)]
struct Range {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "json::or_default")]
    events: Vec<Event>,
}

#[derive(Deserialize, Default)]
struct Event {
    introduced: Option<String>,
    fixed: Option<String>,
    last_affected: Option<String>,
    // `limit` bounds commits, not versions: not read.
}

fn advisory(text: &str, depth: usize, skips: &mut Skips) -> Reading {
    let osv: Osv = match json::record(text, depth) {
        Ok(osv) => osv,
        Err(reason) => return Err(LeftOut::Reject { id: json::text_member(text, "id", depth), reason }),
    };
    if osv.id.is_empty() {
        return Err(LeftOut::Reject { id: None, reason: "its `id` is empty".to_owned() });
    }
    let cves = cves(&osv);
    let mut affected = Vec::new();
    for entry in &osv.affected {
        if let Err(reason) = read_affected(entry, &cves, &mut affected, skips) {
            return Err(LeftOut::Reject { id: Some(osv.id), reason });
        }
    }
    let (cvss_vector, cvss_score) = cvss(&osv).unzip();
    Ok(Record::Advisory(Advisory {
        severity: stated_severity(&osv).or(cvss_score.map(Severity::of_score)),
        cvss_score,
        cvss_vector,
        informational: is_informational(&osv),
        url: Some(format!("https://osv.dev/vulnerability/{}", osv.id)),
        aliases: aliases(&osv, &affected),
        external_id: external_id(&osv.id, &affected),
        cves,
        title: osv.summary,
        summary: osv.details,
        published: osv.published,
        modified: osv.modified,
        withdrawn: osv.withdrawn,
        references: osv.references.into_iter().map(|reference| reference.url).collect(),
        affected,
    }))
}

/// AlmaLinux may use one id for the errata of several major releases, with other packages in each: there the releases belong
/// to the id, `ALSA-2025:18824/10+8+9`.
fn external_id(id: &str, affected: &[Affected]) -> String {
    let releases: Option<BTreeSet<&str>> =
        affected.iter().map(|entry| entry.platform.strip_prefix("AlmaLinux:")).collect();
    match releases {
        Some(releases) if !releases.is_empty() => {
            format!("{id}/{}", releases.into_iter().collect::<Vec<_>>().join("+"))
        }
        _ => id.to_owned(),
    }
}

/// Other names of the very same problem: `aliases` and nothing else, since `related` and `upstream` name other problems.
fn aliases(osv: &Osv, affected: &[Affected]) -> Vec<String> {
    let own = external_id(&osv.id, affected);
    let original = (own != osv.id).then(|| osv.id.clone());
    original.into_iter().chain(osv.aliases.iter().filter(|alias| **alias != osv.id).cloned()).collect()
}

/// The CVEs that a record is about: its own id and its aliases. A distribution's notice, which has no CVE for an alias
/// because it mends several, is about those upstream of it; the errata of AlmaLinux and Rocky Linux list them as `related`.
fn cves(osv: &Osv) -> Vec<String> {
    let same = std::iter::once(&osv.id).chain(&osv.aliases);
    let mut cves = distinct(same.filter_map(|id| cve_within(id)));
    if cves.is_empty() {
        cves = distinct(osv.upstream.iter().filter_map(|id| cve_within(id)));
    }
    if cves.is_empty() && erratum(&osv.id).is_some() {
        cves = distinct(osv.related.iter().filter_map(|id| cve_within(id)));
    }
    cves
}

/// The CVE that an id is, or is a distribution's view of: `CVE-2024-1234`, `UBUNTU-CVE-2024-1234`.
fn cve_within(id: &str) -> Option<&str> {
    let cve = id
        .strip_prefix("UBUNTU-")
        .or_else(|| id.strip_prefix("DEBIAN-"))
        .or_else(|| id.strip_prefix("ALPINE-"));
    Some(cve.unwrap_or(id)).filter(|cve| is_cve(cve))
}

fn distinct<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for word in words {
        if !kept.iter().any(|known| known == word) {
            kept.push(word.to_owned());
        }
    }
    kept
}

/// What an erratum of a rebuild of Red Hat Enterprise Linux is about.
#[derive(PartialEq, Eq)]
enum Erratum {
    Security,
    /// Bug fixes and enhancements.
    Other,
}

/// Reads `ALSA-2025:11797`: two letters of the distribution, then `SA`, `BA` or `EA`.
fn erratum(id: &str) -> Option<Erratum> {
    let (letters, _) = id.split_once('-')?;
    match letters
        .strip_prefix("AL")
        .or_else(|| letters.strip_prefix("RL"))
        .or_else(|| letters.strip_prefix("RH"))?
    {
        "SA" => Some(Erratum::Security),
        "BA" | "EA" => Some(Erratum::Other),
        _ => None,
    }
}

/// RustSec says so of unmaintained and unsound crates; errata that mend mere bugs say so by their id.
fn is_informational(osv: &Osv) -> bool {
    let said = osv.affected.iter().any(|entry| entry.database_specific["informational"].is_string());
    said || erratum(&osv.id) == Some(Erratum::Other)
}

fn ratings(osv: &Osv) -> impl Iterator<Item = &Rating> {
    osv.severity.iter().chain(osv.affected.iter().flat_map(|entry| &entry.severity))
}

/// The vector of the newest CVSS version that can be scored, with its base score.
fn cvss(osv: &Osv) -> Option<(String, f32)> {
    ["CVSS_V4", "CVSS_V3", "CVSS_V2"].iter().find_map(|version| {
        ratings(osv)
            .filter(|rating| rating.kind == *version)
            .find_map(|rating| Some((rating.score.clone(), base_score(&rating.score)?)))
    })
}

/// The source's own word for how bad it is, which outranks a score: GitHub's and Bitnami's `database_specific.severity`,
/// Ubuntu's priority, the first word of an erratum's summary (`Important: …`).
fn stated_severity(osv: &Osv) -> Option<Severity> {
    let database = osv.database_specific["severity"].as_str();
    let ubuntu = ratings(osv).find(|rating| rating.kind == "Ubuntu").map(|rating| rating.score.as_str());
    let summary =
        erratum(&osv.id).and_then(|_| osv.summary.as_deref()?.split_once(':')).map(|(word, _)| word);
    [database, ubuntu, summary]
        .into_iter()
        .flatten()
        .find_map(|word| word.parse().ok())
        .filter(|severity| *severity != Severity::Unknown)
}

/// Adds what one entry of `affected` says. Ranges of versions come first; the list of versions is used only where no range
/// can be (GIT ranges speak of commits), because a version that a range covers already would be listed twice.
fn read_affected(
    entry: &OsvAffected,
    cves: &[String],
    affected: &mut Vec<Affected>,
    skips: &mut Skips,
) -> Result<(), String> {
    let mut skip = |reason| *skips.entry(reason).or_default() += 1;
    let Some(package) = &entry.package else {
        skip("entry without a package");
        return Ok(());
    };
    let platform = match platform(&package.ecosystem) {
        Ok(platform) => platform,
        Err(reason) => {
            skip(reason);
            return Ok(());
        }
    };
    let mut stretches = Vec::new();
    for range in &entry.ranges {
        match range.kind.as_str() {
            "SEMVER" | "ECOSYSTEM" => {
                stretches
                    .extend(pair(&range.events).map_err(|reason| format!("{}: {reason}", package.name))?);
            }
            "GIT" => skip("GIT range"),
            _ => skip("range of an unknown type"),
        }
    }
    if stretches.is_empty() {
        stretches.extend(entry.versions.iter().map(|version| (None, Bound::Exactly(version.clone()))));
    }
    if stretches.is_empty() {
        skip("entry without versions");
    }
    let own_cves = cves_of_entry(entry, cves);
    affected.extend(stretches.into_iter().map(|(introduced, bound)| Affected {
        platform: platform.clone(),
        package: package.name.clone(),
        introduced,
        bound,
        state: State::Affected,
        note: None,
        cves: own_cves.clone(),
    }));
    Ok(())
}

/// Our spelling of an ecosystem: OSV's, but `Ubuntu:22.04` for `Ubuntu:22.04:LTS`. What only subscribers of Ubuntu Pro get,
/// and Ubuntu's special builds, are not for an ordinary host to be judged by.
fn platform(ecosystem: &str) -> Result<String, &'static str> {
    let Some(release) = ecosystem.strip_prefix("Ubuntu:") else { return Ok(ecosystem.to_owned()) };
    if release.starts_with("Pro:") {
        return Err("Ubuntu Pro entry");
    }
    let number = release.strip_suffix(":LTS").unwrap_or(release);
    if number.contains(':') { Err("special Ubuntu build") } else { Ok(format!("Ubuntu:{number}")) }
}

/// Ubuntu's notices say for each release which of their CVEs it is about.
fn cves_of_entry(entry: &OsvAffected, of_record: &[String]) -> Vec<String> {
    let listed = entry.database_specific["cves_map"]["cves"].as_array();
    let ids = listed.into_iter().flatten().filter_map(|cve| cve["id"].as_str());
    let own = distinct(ids.filter(|id| is_cve(id)));
    let same = own.len() == of_record.len() && own.iter().all(|cve| of_record.contains(cve));
    if same { Vec::new() } else { own }
}

/// The stretches of affected versions that the events of a range mark. `introduced` `0` means from the beginning, `fixed`
/// is not affected any more, `last_affected` still is. Without knowing the ecosystem's order we can pair events only as they
/// stand: each `introduced` with the end behind it, or a single pair either way round.
fn pair(events: &[Event]) -> Result<Vec<(Option<String>, Bound)>, String> {
    let mut stretches = Vec::new();
    let mut open: Option<Option<String>> = None;
    let mut early_end = None;
    for event in events {
        if let Some(version) = &event.introduced {
            let start = (version != "0").then(|| version.clone());
            match early_end.take() {
                Some(end) if events.len() == 2 => stretches.push((start, end)),
                None if open.is_none() => open = Some(start),
                _ => return Err(format!("`introduced` {version} comes before the end of the version range")),
            }
        }
        let end =
            event.fixed.clone().map(Bound::Fixed).or(event.last_affected.clone().map(Bound::LastAffected));
        if let Some(end) = end {
            match open.take() {
                Some(start) => stretches.push((start, end)),
                None if stretches.is_empty() && early_end.is_none() => early_end = Some(end),
                None => return Err("two ends of one version range".to_owned()),
            }
        }
    }
    if early_end.is_some() {
        return Err("a version range ends but never begins".to_owned());
    }
    stretches.extend(open.map(|start| (start, Bound::Unbounded)));
    Ok(stretches)
}
