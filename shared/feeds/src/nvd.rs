//! The National Vulnerability Database's CVE API 2.0: one page of it, or a directory of pages.
//!
//! <https://nvd.nist.gov/developers/vulnerabilities>. Some 360 thousand CVEs, at most 2,000 a page. Only what describes
//! the CVE is read: NVD's CPE configurations never judge a package here (a distribution's own word does).

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use domain::{
    advisory::{Cve, Record},
    source::FeedKind,
};
use serde::Deserialize;

use crate::{
    files, input, json,
    outcome::{Caps, ParseError, Position},
    sink::{LeftOut, Reading, Sink},
    words::{is_cve, time},
};

/// What a page says about itself.
#[derive(Default)]
struct PageHeader {
    start_index: Option<u64>,
    total_results: Option<u64>,
    timestamp: Option<DateTime<Utc>>,
}

impl PageHeader {
    fn take(&mut self, name: &str, value: &str) {
        match name {
            "startIndex" => self.start_index = serde_json::from_str(value).ok(),
            "totalResults" => self.total_results = serde_json::from_str(value).ok(),
            "timestamp" => {
                self.timestamp = serde_json::from_str::<String>(value).ok().as_deref().and_then(time);
            }
            _ => {}
        }
    }
}

pub(crate) fn read(path: &Path, sink: &mut Sink<'_>) -> Result<(), ParseError> {
    let pages: Vec<(Option<String>, PathBuf)> = if path.is_dir() {
        let files =
            files::below(path).map_err(|error| ParseError::Unreadable { path: path.to_owned(), error })?;
        let is_page = |name: &str| name.ends_with(".json") || name.ends_with(".json.gz");
        files.into_iter().filter(|(name, _)| is_page(name)).map(|(name, file)| (Some(name), file)).collect()
    } else {
        vec![(None, path.to_owned())]
    };
    if pages.is_empty() {
        return Err(sink.broken(Position::default(), "a directory without pages (`*.json`)"));
    }

    let (mut held, mut promised) = (0, None);
    for (entry, page) in pages {
        let (header, count) = read_page(&page, entry, sink, cve)?;
        held += count;
        // A query that runs while the NVD changes sees its total grow from page to page: the first one binds.
        if header.start_index == Some(0) {
            promised = Some(promised.unwrap_or(0) + header.total_results.unwrap_or(0));
        }
    }
    match promised {
        None => Err(sink.broken(Position::default(), "the page with `startIndex` 0 is missing")),
        Some(promised) if held < promised => {
            let reason = format_args!("pages are missing: `totalResults` is {promised}, they hold {held}");
            Err(sink.broken(Position::default(), reason))
        }
        Some(_) => Ok(()),
    }
}

/// Reads one page, each of its records by `read_record`; returns what it says of itself and how many it holds.
fn read_page(
    path: &Path,
    entry: Option<String>,
    sink: &mut Sink<'_>,
    read_record: impl Fn(&str, usize) -> Reading,
) -> Result<(PageHeader, u64), ParseError> {
    let (text, _) = input::open_text(path, sink)?;
    let (mut header, mut seen) = (PageHeader::default(), 0);
    let depth = sink.caps.depth;
    let found = json::read_catalogue(
        text,
        "vulnerabilities",
        |name, value| header.take(name, value.get()),
        |element| {
            seen += 1;
            let position =
                || Position { entry: entry.clone(), record: Some(seen - 1), ..Position::default() };
            sink.take(position, read_record(element.get(), depth))
        },
    )
    .map_err(|error| json::explain(sink, entry.clone(), seen, error))?;
    if !found || header.total_results.is_none() || header.start_index.is_none() {
        let position = Position { entry, ..Position::default() };
        let reason = "not an NVD page: `vulnerabilities`, `startIndex` or `totalResults` is missing";
        return Err(sink.broken(position, reason));
    }
    header.timestamp.into_iter().for_each(|timestamp| sink.dated(timestamp));
    Ok((header, seen))
}

/// Where a page stands among the others.
pub(crate) struct Outline {
    /// Index of its first record.
    pub(crate) start: u64,
    /// Records on it.
    pub(crate) held: u64,
    /// Records on all pages.
    pub(crate) total: u64,
}

/// Reads through the page without understanding its records.
pub(crate) fn outline(path: &Path) -> Result<Outline, ParseError> {
    let mut ignore = |_| ControlFlow::Continue(());
    let mut sink = Sink::new(FeedKind::Nvd, Caps::default(), &mut ignore);
    let (header, held) = read_page(path, None, &mut sink, |_, _| Err(LeftOut::Skip("only counted")))?;
    Ok(Outline { start: header.start_index.unwrap_or(0), held, total: header.total_results.unwrap_or(0) })
}

#[derive(Deserialize)]
struct Item {
    cve: RawCve,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawCve {
    id: String,
    #[serde(default, deserialize_with = "json::informative_time")]
    published: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "json::informative_time")]
    last_modified: Option<DateTime<Utc>>,
    vuln_status: Option<String>,
    #[serde(default, deserialize_with = "json::or_default")]
    descriptions: Vec<Text>,
    /// By `cvssMetricV31` and the like; other kinds of metric (SSVC) have another shape.
    #[serde(default, deserialize_with = "json::or_default")]
    metrics: BTreeMap<String, serde_json::Value>,
    #[serde(default, deserialize_with = "json::or_default")]
    weaknesses: Vec<Weakness>,
    #[serde(default, deserialize_with = "json::or_default")]
    references: Vec<Reference>,
}

#[derive(Deserialize)]
struct Text {
    lang: String,
    value: String,
}

#[derive(Deserialize)]
struct Weakness {
    #[serde(default, deserialize_with = "json::or_default")]
    description: Vec<Text>,
}

#[derive(Deserialize)]
struct Reference {
    url: String,
    #[serde(default, deserialize_with = "json::or_default")]
    tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    /// `Primary` is the NVD's own judgement, `Secondary` somebody else's.
    #[serde(rename = "type", default, deserialize_with = "json::or_default")]
    kind: String,
    cvss_data: CvssData,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CvssData {
    vector_string: Option<String>,
    base_score: f32,
}

fn cve(raw: &str, depth: usize) -> Reading {
    let Item { cve } = match json::record(raw, depth) {
        Ok(item) => item,
        Err(reason) => {
            let id = json::record::<serde_json::Value>(raw, depth)
                .ok()
                .and_then(|item| item.pointer("/cve/id")?.as_str().map(str::to_owned));
            return Err(LeftOut::Reject { id, reason });
        }
    };
    if !is_cve(&cve.id) {
        return Err(LeftOut::Reject { reason: "`cve.id` is not a CVE id".to_owned(), id: Some(cve.id) });
    }
    match scored(cve) {
        Ok(cve) => Ok(Record::Cve(cve)),
        Err((id, reason)) => Err(LeftOut::Reject { id: Some(id), reason }),
    }
}

fn scored(raw: RawCve) -> Result<Cve, (String, String)> {
    let best = |version: &str| best_metric(&raw.metrics, version).map_err(|reason| (raw.id.clone(), reason));
    let v4 = best("cvssMetricV40")?;
    let v3 = best("cvssMetricV31")?.or(best("cvssMetricV30")?);
    let v2 = best("cvssMetricV2")?;
    let score = |data: &Option<CvssData>| data.as_ref().map(|data| data.base_score);

    let mut cwes = Vec::new();
    for text in raw.weaknesses.into_iter().flat_map(|weakness| weakness.description) {
        // The NVD's own `NVD-CWE-noinfo` and `NVD-CWE-Other` say nothing.
        if text.value.starts_with("CWE-") && !cwes.contains(&text.value) {
            cwes.push(text.value);
        }
    }
    let has_exploit =
        raw.references.iter().any(|reference| reference.tags.iter().any(|tag| tag == "Exploit"));
    let mut references = Vec::new();
    for reference in raw.references {
        if !references.contains(&reference.url) {
            references.push(reference.url);
        }
    }
    Ok(Cve {
        cve_id: raw.id,
        description: raw.descriptions.into_iter().find(|text| text.lang == "en").map(|text| text.value),
        published: raw.published,
        modified: raw.last_modified,
        nvd_status: raw.vuln_status,
        cvss_v2_score: score(&v2),
        cvss_v31_score: score(&v3),
        cvss_v31_vector: v3.and_then(|data| data.vector_string),
        cvss_v4_score: score(&v4),
        cvss_v4_vector: v4.and_then(|data| data.vector_string),
        cwes,
        references,
        has_exploit,
    })
}

/// The primary metric of one CVSS version, or the first that there is.
fn best_metric(
    metrics: &BTreeMap<String, serde_json::Value>,
    version: &str,
) -> Result<Option<CvssData>, String> {
    let Some(list) = metrics.get(version) else { return Ok(None) };
    let list = Vec::<Metric>::deserialize(list).map_err(|error| format!("{version}: {error}"))?;
    let best = list.into_iter().min_by_key(|metric| metric.kind != "Primary").map(|metric| metric.cvss_data);
    match best {
        Some(data) if !(0.0..=10.0).contains(&data.base_score) => {
            Err(format!("{version}: base score {} is not within 0 and 10", data.base_score))
        }
        best => Ok(best),
    }
}
