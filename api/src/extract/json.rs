//! JSON bodies, and everything that can be wrong with one.

use std::fmt::Write;

use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::{body, plain};
use crate::{
    error::{ApiError, FieldError},
    state::AppState,
};

/// The longest body of an ordinary request, bytes.
pub(crate) const LIMIT: usize = 1 << 20;

/// A JSON body, of at most a mebibyte. As an answer: JSON with status 200.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<AppState> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &AppState) -> Result<Self, ApiError> {
        read(request, LIMIT).await.map(Self)
    }
}

/// As [`Json`], for a body that may have `BYTES` bytes.
#[derive(Debug)]
pub(crate) struct LongJson<T, const BYTES: usize>(pub(crate) T);

impl<T: DeserializeOwned, const BYTES: usize> FromRequest<AppState> for LongJson<T, BYTES> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &AppState) -> Result<Self, ApiError> {
        read(request, BYTES).await.map(Self)
    }
}

async fn read<T: DeserializeOwned>(request: Request, limit: usize) -> Result<T, ApiError> {
    let (parts, body) = request.into_parts();
    expect_json(&parts.headers)?;
    parse(&body::read(&parts.headers, body, limit).await?)
}

/// Tells a null from a field that is not there, for fields that are `Option<Option<T>>` and have a default.
pub(crate) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// As [`given`], for a text that is not to be shown by accident.
pub(crate) fn given_secret<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<SecretString>>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    Ok(Some(text.map(SecretString::from)))
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// Refuses bodies that do not claim to be JSON: `application/json`, or anything that ends in `+json`.
pub(crate) fn expect_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let claimed = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = claimed.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json") {
        return Ok(());
    }
    let sent = if claimed.is_empty() { "there was none".into() } else { format!("it was `{claimed}`") };
    Err(ApiError::UnsupportedMediaType(format!("Content-Type must be application/json, {sent}")))
}

/// Reads `bytes` as a `T`, which is an object, with the place of whatever is wrong.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // serde would also take an array of the members' values.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        let message = "a list was sent, it must be an object".into();
        return Err(ApiError::Invalid(vec![FieldError {
            field: "body".into(),
            message,
            kind: "type_error",
        }]));
    }
    if may_hold_nul(bytes) {
        refuse_nul(bytes)?;
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let sent = serde_json::from_slice(bytes).ok();
        invalid(field_of(error.path()), error.inner(), sent.as_ref().map(|sent| at(sent, error.path())))
    })?;
    reader.end().map_err(|error| invalid("body".into(), &error, None))?;
    Ok(value)
}

/// What is wrong at `field`, where `sent` is. Without it, what was sent is no JSON.
fn invalid(field: String, error: &serde_json::Error, sent: Option<&Value>) -> ApiError {
    let text = error.to_string();
    let (said, place) = text.split_once(" at line ").unwrap_or((&text, ""));
    let Some(sent) = sent else {
        let message = match (said, place) {
            ("EOF while parsing a value", "1 column 0") => "the body is empty: send a JSON object".into(),
            (_, "") => said.to_owned(),
            _ => format!("not JSON: {said} at line {place}"),
        };
        return ApiError::Invalid(vec![FieldError { field, message, kind: "json_invalid" }]);
    };
    let kind = plain::kind_of(said);
    // serde says these of the object, we say them of the field.
    let field = match (kind, said.split('`').nth(1)) {
        ("missing" | "duplicate", Some(name)) => format!("{field} -> {name}"),
        _ => field,
    };
    let shown = match sent {
        _ if plain::is_secret(&field) => "the value".to_owned(),
        Value::String(text) => plain::shown(text),
        Value::Array(_) => "a list".to_owned(),
        // Of members that stand in several structs serde does not say which it was.
        Value::Object(_) => plain::found_in(said).map_or_else(|| "an object".to_owned(), plain::shown),
        scalar => plain::shown(&scalar.to_string()),
    };
    let message = plain::told(said, &shown);
    ApiError::Invalid(vec![FieldError { field, message, kind }])
}

/// What `value` has where `path` leads, as far as it can be followed.
fn at<'a>(value: &'a Value, path: &Path) -> &'a Value {
    let mut here = value;
    for segment in path {
        let next = match segment {
            Segment::Seq { index } => here.get(index),
            Segment::Map { key } => here.get(key),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        match next {
            Some(next) => here = next,
            None => break,
        }
    }
    here
}

/// `body -> packages -> 3 -> name`.
fn field_of(path: &Path) -> String {
    let mut field = String::from("body");
    for segment in path {
        // Writing to a string cannot fail.
        let _ = match segment {
            Segment::Seq { index } => write!(field, " -> {index}"),
            Segment::Map { key } => write!(field, " -> {key}"),
            Segment::Enum { variant } => write!(field, " -> {variant}"),
            Segment::Unknown => Ok(()),
        };
    }
    field
}

/// True when a string in this JSON may hold a NUL, which only its escape can put there. Cheap, and seldom
/// true.
fn may_hold_nul(bytes: &[u8]) -> bool {
    bytes.windows(6).any(|window| window == br"\u0000")
}

/// Refuses strings with a NUL: Postgres has no text with one.
fn refuse_nul(bytes: &[u8]) -> Result<(), ApiError> {
    // What is not JSON is refused by the caller, with a better message.
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return Ok(()) };
    let mut field = String::from("body");
    let Some(text) = with_nul(&value, &mut field) else { return Ok(()) };
    let shown = if plain::is_secret(&field) { "the value".to_owned() } else { plain::shown(text) };
    let message = format!("{shown} has the character U+0000 in it: remove it");
    Err(ApiError::Invalid(vec![FieldError::value(field, message)]))
}

/// The first text with a NUL in it; `field` is then where it stands.
fn with_nul<'a>(value: &'a Value, field: &mut String) -> Option<&'a str> {
    let length = field.len();
    let mut inside = |name: &str, value: &'a Value| {
        field.truncate(length);
        let _ = write!(field, " -> {}", name.replace('\0', "\u{fffd}"));
        with_nul(value, field)
    };
    let found = match value {
        Value::String(text) => return text.contains('\0').then_some(text),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| inside(&index.to_string(), item))
        }
        Value::Object(members) => members
            .iter()
            .find_map(|(name, value)| inside(name, value).or_else(|| name.contains('\0').then_some(name))),
        _ => None,
    };
    if found.is_none() {
        field.truncate(length);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Person {
        name: String,
        #[serde(default)]
        pets: Vec<Pet>,
        kind: Option<Kind>,
        secret: Option<String>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Cat,
        Dog,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Pet {
        legs: u8,
    }

    /// What is wrong with `text`: field, type, message.
    fn wrong(text: &str) -> (String, &'static str, String) {
        match parse::<Person>(text.as_bytes()) {
            Err(ApiError::Invalid(mut errors)) => {
                let error = errors.remove(0);
                (error.field, error.kind, error.message)
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_fault_is_told_with_its_place() {
        for (text, field, kind) in [
            (r#"{}"#, "body -> name", "missing"),
            (r#"{"name": 7}"#, "body -> name", "type_error"),
            (r#"{"name": "a", "age": 7}"#, "body -> age", "extra_forbidden"),
            (r#"{"name": "a", "name": "b"}"#, "body -> name", "duplicate"),
            (
                r#"{"name": "a", "pets": [{"legs": 4}, {"legs": 400}]}"#,
                "body -> pets -> 1 -> legs",
                "value_error",
            ),
            (r#"{"name": "a", "pets": [{}]}"#, "body -> pets -> 0 -> legs", "missing"),
            (r#"{"name": "a"} {}"#, "body", "json_invalid"),
            (r#"{"name": "#, "body -> name", "json_invalid"),
            (r#" ["name"]"#, "body", "type_error"),
            ("", "body", "json_invalid"),
            ("null", "body", "type_error"),
            (r#"{"name": "\ud800"}"#, "body -> name", "json_invalid"),
            (r#"{"name": "a\u0000b"}"#, "body -> name", "value_error"),
            (
                r#"{"name": "a", "pets": [{"legs": 1, "\u0000": 1}]}"#,
                "body -> pets -> 0 -> \u{fffd}",
                "value_error",
            ),
        ] {
            let (found, type_found, message) = wrong(text);
            assert_eq!((found.as_str(), type_found), (field, kind), "{text}: {message}");
        }
    }

    #[test]
    fn a_fault_is_told_with_the_value_and_the_rule() {
        for (text, told) in [
            (r#"{"name": 7}"#, "`7` cannot be used: it must be a text"),
            (r#"{"name": null}"#, "`null` cannot be used: it must be a text"),
            (r#"{"name": {"a": 1}}"#, "an object cannot be used: it must be a text"),
            (r#"{"name": "a", "pets": 1}"#, "`1` cannot be used: it must be a list"),
            (
                r#"{"name": "a", "pets": [{"legs": 400}]}"#,
                "`400` cannot be used: it must be a whole number from 0 to 255",
            ),
            (
                r#"{"name": "a", "pets": [{"legs": "four"}]}"#,
                "`four` cannot be used: it must be a whole number",
            ),
            (r#"{"name": "a", "kind": "fish"}"#, "`fish` is not one of cat, dog"),
            (
                r#"{"name": "a", "kind": 3}"#,
                "`3` cannot be used: it must be one of the words that are documented",
            ),
            (r#"{"name": "a", "secret": 31337}"#, "the value cannot be used: it must be a text"),
            (r#"{"name": "a", "age": 7}"#, "there is no field `age` here: there is name, pets, kind, secret"),
            (r#"{}"#, "`name` is missing: send it"),
            (r#"{"name": "a\u0000b"}"#, "`a\\u0000b` has the character U+0000 in it"),
            (r#"["name"]"#, "a list was sent, it must be an object"),
            ("", "the body is empty"),
            (r#"{"name": "#, "not JSON: EOF while parsing a value at line 1"),
        ] {
            let (_, _, message) = wrong(text);
            assert!(message.starts_with(told), "{text}: {message}");
        }
    }

    #[test]
    fn a_backslash_before_u0000_is_just_text() {
        let person: Person = parse(br#"{"name": "\\u0000"}"#).expect("valid");
        assert_eq!(person.name, r"\u0000");
    }

    #[test]
    fn nesting_beyond_all_reason_is_refused() {
        let nested = r#"{"a":"#.repeat(100_000);
        assert!(matches!(parse::<Value>(nested.as_bytes()), Err(ApiError::Invalid(_))));
    }

    #[test]
    fn a_body_must_say_that_it_is_json() {
        let says = |value: &'static str| {
            expect_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, value.parse().expect("a value"))]))
                .is_ok()
        };
        assert!(says("application/json"));
        assert!(says("Application/JSON; charset=utf-8"));
        assert!(says("application/vnd.cyclonedx+json; version=1.5"));
        assert!(!says("text/plain"));
        assert!(expect_json(&HeaderMap::new()).is_err());
    }
}
