//! Examples of answers that are made of parts.
//!
//! Whoever writes a schema gives it an example, or gives one to each of its members. An answer whose schema has none of its own is shown
//! with those of its parts: a page of alerts as a page with the example of an alert. Nothing is invented: where a part has no example, the
//! answer has none, and `tests/openapi.rs` names it. Start at [`show`].

use serde_json::{Map, Value};
use utoipa::openapi::{Components, OpenApi, RefOr};

use super::responses;

/// Gives every successful JSON answer an example, where its schema has none and its parts have.
pub(super) fn show(document: &mut OpenApi) {
    let schemas = document.components.as_ref().map(schemas).unwrap_or_default();
    for (status, response) in responses(document) {
        let Some(RefOr::T(content)) = response.content.get_mut("application/json") else { continue };
        if !status.starts_with('2') || content.example.is_some() {
            continue;
        }
        let Some(schema) = content.schema.as_ref().map(serialised) else { continue };
        if target(&schema, &schemas).get("example").is_none() {
            content.example = example_of(&schema, &schemas);
        }
    }
}

fn schemas(components: &Components) -> Map<String, Value> {
    components.schemas.iter().map(|(name, schema)| (name.clone(), serialised(schema))).collect()
}

fn serialised(part: &impl serde::Serialize) -> Value {
    serde_json::to_value(part).expect("a part of the document is JSON")
}

/// What `schema` refers to; itself, if it refers to nothing.
fn target<'a>(schema: &'a Value, schemas: &'a Map<String, Value>) -> &'a Value {
    let name = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
    name.and_then(|name| schemas.get(name)).unwrap_or(schema)
}

/// The schema's own example, or one of those of its parts; none where one of them has none.
fn example_of(schema: &Value, schemas: &Map<String, Value>) -> Option<Value> {
    let schema = target(schema, schemas);
    if let Some(example) = schema.get("example") {
        return Some(example.clone());
    }
    if let Some(first) = schema["enum"].as_array().and_then(|words| words.first()) {
        return Some(first.clone());
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let members = parts.iter().map(|part| match example_of(part, schemas)? {
            Value::Object(members) => Some(members),
            _ => None,
        });
        let members: Option<Vec<_>> = members.collect();
        return members.map(|members| members.into_iter().flatten().collect());
    }
    // What may be null as well: the other one.
    if let Some(either) = schema["oneOf"].as_array() {
        return either.iter().find_map(|one| example_of(one, schemas));
    }
    match schema["type"].as_str()? {
        "array" => Some(Value::Array(vec![example_of(&schema["items"], schemas)?])),
        "object" => {
            let members = schema["properties"].as_object()?.iter();
            members.map(|(name, member)| Some((name.clone(), example_of(member, schemas)?))).collect()
        }
        _ => None,
    }
}
