//! Reading huge JSON documents one element at a time.
//!
//! An element is taken as raw text first, which shows whether the *feed* is sound JSON, and only then as what it ought
//! to be, which shows whether the *record* is. So a bad record is left out, and a broken feed is an error.

use std::{borrow::Cow, fmt, io::Read};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    input::read_error,
    outcome::{ParseError, Position},
    sink::{Halt, Sink},
    words,
};

/// Reads `{ …, "<list>": [ … ], … }`: every element of the list goes to `element`, every other member to `header`. Says
/// whether the list was there.
pub(crate) fn read_catalogue(
    text: impl Read,
    list: &'static str,
    header: impl FnMut(&str, &RawValue),
    element: impl FnMut(&RawValue) -> Result<(), Halt>,
) -> serde_json::Result<bool> {
    read_all(text, Catalogue { list, header, element })
}

/// Reads `{ "<outer>": { "<inner>": …, … }, … }` and hands over each innermost value with its two names.
pub(crate) fn read_nested(
    text: impl Read,
    member: impl FnMut(&str, &str, &RawValue) -> Result<(), Halt>,
) -> serde_json::Result<()> {
    read_all(text, Nested(member))
}

/// What the reading came to: `sink` knows whether it stopped it, `error` says where the JSON ends to be JSON.
pub(crate) fn explain(
    sink: &mut Sink<'_>,
    entry: Option<String>,
    record: u64,
    error: serde_json::Error,
) -> ParseError {
    if let Some(why) = sink.explain() {
        return why;
    }
    let position = Position { entry, record: Some(record), ..Position::default() };
    if error.is_io() {
        return read_error(sink, position, &error.into());
    }
    let (line, column) = (error.line() as u64, error.column() as u64);
    let text = error.to_string();
    let reason = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
    sink.broken(Position { line: Some(line), column: Some(column), ..position }, reason)
}

/// Reads one record. NUL characters, which no database text may hold, become U+FFFD; anything nested deeper than `depth`
/// is refused.
pub(crate) fn record<T: DeserializeOwned>(raw: &str, depth: usize) -> Result<T, String> {
    serde_json::from_str(&sane(raw, depth)?).map_err(|error| error.to_string())
}

/// The value of the member `name`, if `raw` is an object that has it as text: to name a record that was not understood.
pub(crate) fn text_member(raw: &str, name: &str, depth: usize) -> Option<String> {
    let members: serde_json::Map<String, serde_json::Value> = record(raw, depth).ok()?;
    members.get(name)?.as_str().map(str::to_owned)
}

fn sane(raw: &str, depth: usize) -> Result<Cow<'_, str>, String> {
    const NUL: &str = "\\u0000";
    let (mut open, mut in_string, mut nuls) = (0_usize, false, Vec::new());
    let mut bytes = raw.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                if raw.as_bytes()[at..].starts_with(NUL.as_bytes()) {
                    nuls.push(at);
                }
                bytes.next();
            }
            b'{' | b'[' if !in_string => {
                open += 1;
                if open > depth {
                    return Err(format!("nested more than {depth} deep"));
                }
            }
            b'}' | b']' if !in_string => open = open.saturating_sub(1),
            _ => {}
        }
    }
    if nuls.is_empty() {
        return Ok(raw.into());
    }
    let mut clean = raw.to_owned();
    for at in nuls {
        clean.replace_range(at..at + NUL.len(), "\\ufffd"); // as long as what it replaces
    }
    Ok(clean.into())
}

/// For members that may be missing or null: both mean the default.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// For times that only inform: what cannot be read (the NVD has had a month 14) is unknown, and no reason to lose the record.
pub(crate) fn informative_time<'de, D>(
    deserializer: D,
) -> Result<Option<chrono::DateTime<chrono::Utc>>, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(Option::<String>::deserialize(deserializer)?.as_deref().and_then(words::time))
}

/// For times that decide something: missing is fine, unreadable is not.
pub(crate) fn optional_time<'de, D>(
    deserializer: D,
) -> Result<Option<chrono::DateTime<chrono::Utc>>, D::Error>
where
    D: Deserializer<'de>,
{
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    words::time(&text).map(Some).ok_or_else(|| D::Error::custom(format_args!("`{text}` is not a time")))
}

/// One JSON document and nothing behind it.
fn read_all<S: for<'de> DeserializeSeed<'de, Value = T>, T>(
    text: impl Read,
    seed: S,
) -> serde_json::Result<T> {
    let mut deserializer = serde_json::Deserializer::from_reader(text);
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

struct Catalogue<H, E> {
    list: &'static str,
    header: H,
    element: E,
}

impl<'de, H, E> DeserializeSeed<'de> for Catalogue<H, E>
where
    H: FnMut(&str, &RawValue),
    E: FnMut(&RawValue) -> Result<(), Halt>,
{
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, H, E> Visitor<'de> for Catalogue<H, E>
where
    H: FnMut(&str, &RawValue),
    E: FnMut(&RawValue) -> Result<(), Halt>,
{
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object with a list `{}`", self.list)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<bool, A::Error> {
        let mut found = false;
        while let Some(name) = map.next_key::<String>()? {
            if name == self.list {
                map.next_value_seed(Elements(&mut self.element))?;
                found = true;
            } else {
                (self.header)(&name, &map.next_value::<Box<RawValue>>()?);
            }
        }
        Ok(found)
    }
}

struct Elements<'a, E>(&'a mut E);

impl<'de, E: FnMut(&RawValue) -> Result<(), Halt>> DeserializeSeed<'de> for Elements<'_, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, E: FnMut(&RawValue) -> Result<(), Halt>> Visitor<'de> for Elements<'_, E> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(raw) = elements.next_element::<Box<RawValue>>()? {
            (self.0)(&raw).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

struct Nested<M>(M);

impl<'de, M: FnMut(&str, &str, &RawValue) -> Result<(), Halt>> DeserializeSeed<'de> for Nested<M> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, M: FnMut(&str, &str, &RawValue) -> Result<(), Halt>> Visitor<'de> for Nested<M> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of objects")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(outer) = map.next_key::<String>()? {
            map.next_value_seed(Members(|inner: &str, raw: &RawValue| (self.0)(&outer, inner, raw)))?;
        }
        Ok(())
    }
}

struct Members<M>(M);

impl<'de, M: FnMut(&str, &RawValue) -> Result<(), Halt>> DeserializeSeed<'de> for Members<M> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, M: FnMut(&str, &RawValue) -> Result<(), Halt>> Visitor<'de> for Members<M> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of records")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let raw = map.next_value::<Box<RawValue>>()?;
            (self.0)(&name, &raw).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;

    use super::*;

    #[test]
    fn escaped_nul_characters_are_replaced_and_escaped_backslashes_are_not() {
        let text: Vec<String> = record(r#"["a\u0000b", "a\\u0000b", "\\\u0000"]"#, 8).expect("strings");
        assert_eq!(text, ["a\u{fffd}b", r"a\u0000b", "\\\u{fffd}"]);
    }

    #[test]
    fn depth_is_counted_outside_of_strings_only() {
        assert!(record::<IgnoredAny>(r#"["[[[[[[", "\"[[[[[["]"#, 2).is_ok());
        assert!(record::<IgnoredAny>("[[[]], [[]]]", 3).is_ok());
        let refused = record::<IgnoredAny>("[[[[]]]]", 3).expect_err("too deep");
        assert_eq!(refused, "nested more than 3 deep");
    }
}
