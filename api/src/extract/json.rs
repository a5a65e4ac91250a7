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

use super::body;
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
        let message = "invalid type: sequence, expected an object".into();
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
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| invalid(field_of(error.path()), error.inner()))?;
    reader.end().map_err(|error| invalid("body".into(), &error))?;
    Ok(value)
}

fn invalid(field: String, error: &serde_json::Error) -> ApiError {
    use serde_json::error::Category;
    let text = error.to_string();
    let (said, place) = text.split_once(" at line ").unwrap_or((&text, ""));
    let kind = match error.classify() {
        Category::Syntax | Category::Eof | Category::Io => {
            let message = match (said, place) {
                ("EOF while parsing a value", "1 column 0") => "the body is empty: send a JSON object".into(),
                (_, "") => said.to_owned(),
                _ => format!("not JSON: {said} at line {place}"),
            };
            return ApiError::Invalid(vec![FieldError { field, message, kind: "json_invalid" }]);
        }
        Category::Data => kind_of(said),
    };
    // serde says these of the object, we say them of the field.
    let field = match (kind, between_backticks(said)) {
        ("missing" | "duplicate", Some(name)) => format!("{field} -> {name}"),
        _ => field,
    };
    ApiError::Invalid(vec![FieldError { field, message: said.to_owned(), kind }])
}

fn kind_of(said: &str) -> &'static str {
    match said {
        said if said.starts_with("missing field") => "missing",
        said if said.starts_with("unknown field") => "extra_forbidden",
        said if said.starts_with("duplicate field") => "duplicate",
        said if said.starts_with("invalid type") => "type_error",
        _ => "value_error",
    }
}

fn between_backticks(text: &str) -> Option<&str> {
    text.split('`').nth(1)
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
    if !find_nul(&value, &mut field) {
        return Ok(());
    }
    Err(ApiError::Invalid(vec![FieldError::value(field, "must not contain the character U+0000: remove it")]))
}

fn find_nul(value: &Value, field: &mut String) -> bool {
    let length = field.len();
    let mut inside = |name: &str, value: &Value| {
        field.truncate(length);
        let _ = write!(field, " -> {name}");
        find_nul(value, field)
    };
    let found = match value {
        Value::String(text) => return text.contains('\0'),
        Value::Array(items) => items.iter().enumerate().any(|(index, item)| inside(&index.to_string(), item)),
        Value::Object(members) => members.iter().any(|(name, value)| {
            let found = inside(&name.replace('\0', "\u{fffd}"), value);
            found || name.contains('\0')
        }),
        _ => false,
    };
    if !found {
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
