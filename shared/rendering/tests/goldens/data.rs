//! JSON by its shape, and pictures by their size.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::part;

pub(crate) fn describe(json: &str) -> String {
    let document: Value = serde_json::from_str(json).unwrap();
    let mut paths = BTreeMap::new();
    gather(&document, String::new(), &mut paths);
    let lines = paths.iter().map(|(path, (kind, count))| format!("{path} {kind} × {count}"));
    part("paths", lines.collect::<Vec<_>>()) + &part("whole", [crate::digest(json)])
}

/// How often there is what, lists told by what is in them.
fn gather(value: &Value, path: String, into: &mut BTreeMap<String, (&'static str, usize)>) {
    let kind = match value {
        Value::Null => return,
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(items) => return items.iter().for_each(|item| gather(item, format!("{path}[]"), into)),
        Value::Object(fields) => {
            let inner =
                fields.iter().filter(|(name, _)| *name != "sections" || !path.ends_with("sections[]"));
            return inner.for_each(|(name, field)| gather(field, format!("{path}.{name}"), into));
        }
    };
    into.entry(path).or_insert((kind, 0)).1 += 1;
}

/// Width and height stand in the first chunk (PNG, 11.2.2).
pub(crate) fn describe_picture(png: &[u8]) -> String {
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
    let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    part("picture", [format!("{} by {} pixels", side(16), side(20))])
}
