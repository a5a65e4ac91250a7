//! CISA's Known Exploited Vulnerabilities catalogue: one JSON object with a list of some 1,500 entries.
//!
//! <https://www.cisa.gov/known-exploited-vulnerabilities-catalog>. Entries may disappear from one edition to the next.

use std::path::Path;

use chrono::NaiveDate;
use domain::advisory::{Kev, Record};
use serde::Deserialize;

use crate::{
    input::open_text,
    json,
    outcome::{ParseError, Position},
    sink::{LeftOut, Reading, Sink},
    words::{is_cve, time},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(rename = "cveID")]
    cve_id: String,
    vendor_project: String,
    product: String,
    vulnerability_name: String,
    date_added: NaiveDate,
    short_description: String,
    required_action: String,
    due_date: Option<NaiveDate>,
    #[serde(default, deserialize_with = "json::or_default")]
    known_ransomware_campaign_use: String,
    #[serde(default, deserialize_with = "json::or_default")]
    notes: String,
}

pub(crate) fn read(path: &Path, sink: &mut Sink<'_>) -> Result<(), ParseError> {
    let (text, _) = open_text(path, sink)?;
    let (mut count, mut label, mut released, mut seen) = (None, None, None, 0);
    let depth = sink.caps.depth;

    let found = json::read_catalogue(
        text,
        "vulnerabilities",
        |name, value| match name {
            "count" => count = serde_json::from_str::<u64>(value.get()).ok(),
            "catalogVersion" => label = json::record::<String>(value.get(), depth).ok(),
            "dateReleased" => {
                released = json::record::<String>(value.get(), depth).ok().as_deref().and_then(time);
            }
            _ => {}
        },
        |element| {
            seen += 1;
            sink.take(|| at(seen - 1), entry(element.get(), depth))
        },
    )
    .map_err(|error| json::explain(sink, None, seen, error))?;

    if !found {
        return Err(sink.broken(Position::default(), "no list `vulnerabilities`: not a KEV catalogue"));
    }
    if let Some(count) = count.filter(|count| *count != seen) {
        return Err(sink.broken(at(seen), format_args!("its `count` is {count}, its list holds {seen}")));
    }
    label.into_iter().for_each(|label| sink.labelled(label));
    released.into_iter().for_each(|released| sink.dated(released));
    Ok(())
}

fn at(record: u64) -> Position {
    Position { record: Some(record), ..Position::default() }
}

fn entry(raw: &str, depth: usize) -> Reading {
    match json::record::<Entry>(raw, depth) {
        Ok(entry) if is_cve(&entry.cve_id) => Ok(Record::Kev(Kev {
            cve_id: entry.cve_id,
            vendor: entry.vendor_project,
            product: entry.product,
            name: entry.vulnerability_name,
            description: entry.short_description,
            required_action: entry.required_action,
            date_added: entry.date_added,
            due_date: entry.due_date,
            ransomware: entry.known_ransomware_campaign_use.eq_ignore_ascii_case("known"),
            notes: entry.notes,
        })),
        Ok(entry) => {
            Err(LeftOut::Reject { reason: "`cveID` is not a CVE id".to_owned(), id: Some(entry.cve_id) })
        }
        Err(reason) => Err(LeftOut::Reject { id: json::text_member(raw, "cveID", depth), reason }),
    }
}
