//! The operations that the API's document describes, for tests that ask all of them: whoever adds an endpoint is in
//! these tests without doing anything.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Map, Value, json};

/// A method on a path, as the document has it.
#[derive(Debug, Clone)]
pub struct Operation {
    pub method: Method,
    /// With its placeholders: `/api/jobs/{job_id}`.
    pub path: String,
    /// Nobody has to be signed in for it.
    pub is_public: bool,
    /// Its answer goes on until what it tells of has ended.
    pub is_stream: bool,
    /// The statuses that it may answer with.
    pub statuses: Vec<u16>,
    /// What is written behind the question mark: names, each with its schema.
    pub query: BTreeMap<String, Value>,
    /// The schema of its JSON body, and an example of one; none where it takes no JSON.
    pub body: Option<JsonBody>,
}

/// What is sent.
#[derive(Debug, Clone)]
pub struct JsonBody {
    /// Without references.
    pub schema: Value,
    pub example: Value,
}

impl Operation {
    /// `PATCH /api/users/{user_id}`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// True when it changes nothing.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.method == Method::GET
    }

    /// The path up to each of its placeholders: `/api/assets/{asset_id}` of `/api/assets/{asset_id}/vulns`.
    #[must_use]
    pub fn things(&self) -> Vec<&str> {
        self.path.match_indices('}').map(|(end, _)| &self.path[..=end]).collect()
    }

    /// The path with what `name` gives for each of [`Self::things`] in the place of its placeholder.
    #[must_use]
    pub fn at(&self, mut name: impl FnMut(&str) -> String) -> String {
        let mut path = self.path.clone();
        for thing in self.things() {
            let placeholder = &thing[thing.rfind('{').expect("a placeholder is opened")..];
            path = path.replacen(placeholder, &name(thing), 1);
        }
        path
    }
}

/// All of them, in the order of paths.
///
/// # Panics
/// When the document is not one.
#[must_use]
pub fn operations() -> Vec<Operation> {
    let document = serde_json::to_value(api::openapi()).expect("the document is JSON");
    let paths = document["paths"].as_object().expect("paths");
    let mut found = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("a path item") {
            let responses = operation["responses"].as_object().expect("responses");
            found.push(Operation {
                method: method.to_uppercase().parse().expect("a method"),
                path: path.clone(),
                is_public: operation["security"] == json!([{}]),
                is_stream: operation["responses"]["200"]["content"].get("text/event-stream").is_some(),
                statuses: responses.keys().filter_map(|status| status.parse().ok()).collect(),
                query: query(operation, &document),
                body: body(operation, &document),
            });
        }
    }
    found
}

fn query(operation: &Value, document: &Value) -> BTreeMap<String, Value> {
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    let in_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
    in_query
        .map(|parameter| {
            let name = parameter["name"].as_str().expect("a parameter has a name");
            (name.to_owned(), resolved(&parameter["schema"], document))
        })
        .collect()
}

fn body(operation: &Value, document: &Value) -> Option<JsonBody> {
    let content = operation["requestBody"]["content"].get("application/json")?;
    let schema = resolved(&content["schema"], document);
    let example = content.get("example").cloned().unwrap_or_else(|| example_of(&schema));
    Some(JsonBody { schema, example })
}

/// `schema` with what it refers to in its place, and without the alternative that it is null.
fn resolved(schema: &Value, document: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#')).expect("references lead somewhere");
        return resolved(target, document);
    }
    for word in ["oneOf", "anyOf"] {
        let other = schema[word].as_array().and_then(|all| all.iter().find(|one| one["type"] != "null"));
        if let Some(other) = other.filter(|_| schema[word].as_array().is_some_and(|all| all.len() == 2)) {
            return resolved(other, document);
        }
    }
    match schema {
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| match name.as_str() {
                "example" | "examples" | "default" | "enum" => (name.clone(), member.clone()),
                _ => (name.clone(), resolved(member, document)),
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(|item| resolved(item, document)).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

/// The schema's own example, or one made of those of its parts.
fn example_of(schema: &Value) -> Value {
    if let Some(example) = schema.get("example") {
        return example.clone();
    }
    if let Some(first) = schema["enum"].as_array().and_then(|words| words.first()) {
        return first.clone();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find(|kind| *kind != "null").unwrap_or(&Value::Null),
        kind => kind,
    };
    match kind.as_str().unwrap_or_default() {
        "object" => {
            let members = schema["properties"].as_object().cloned().unwrap_or_default();
            members
                .iter()
                .map(|(name, member)| (name.clone(), example_of(member)))
                .collect::<Map<_, _>>()
                .into()
        }
        "array" => json!([example_of(&schema["items"])]),
        "string" => json!("text"),
        "integer" | "number" => json!(1),
        "boolean" => json!(true),
        _ => Value::Null,
    }
}
