//! The OpenAPI document is part of the contract: it is kept beside the code, and a change of it is seen in
//! review.
//!
//! `UPDATE_OPENAPI=1 cargo test -p api --test openapi` writes it anew.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

fn document() -> Value {
    serde_json::to_value(api::openapi()).expect("the document serialises")
}

/// Every operation: `GET /health`, and what the document says of it.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    paths
        .iter()
        .flat_map(|(path, item)| {
            let item = item.as_object().expect("a path item");
            item.iter()
                .map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
        })
        .collect()
}

#[test]
fn the_kept_document_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let mut served = serde_json::to_string_pretty(&document()).expect("JSON");
    served.push('\n');
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        fs::write(&path, &served).expect("openapi.json is written");
    }
    let kept = fs::read_to_string(&path).expect("openapi.json is there");
    assert!(
        kept == served,
        "openapi.json is out of date: run UPDATE_OPENAPI=1 cargo test -p api --test openapi"
    );
}

#[test]
fn every_operation_has_an_id_of_its_own_a_summary_a_tag_and_what_can_go_wrong() {
    let document = document();
    let tags: Vec<_> = document["tags"].as_array().expect("tags").iter().map(|tag| &tag["name"]).collect();
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        assert!(ids.insert(operation["operationId"].as_str().expect(&name)), "{name} shares its id");
        assert!(
            operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()),
            "{name} has no summary"
        );
        assert!(tags.contains(&&operation["tags"][0]), "{name} has no tag that is described");
        let responses = operation["responses"].as_object().expect(&name);
        for (status, response) in responses {
            let is_described = response.get("$ref").is_some() || response["description"].is_string();
            assert!(is_described, "{name} does not say what {status} means");
        }
        assert!(responses.keys().any(|status| status.starts_with('2')), "{name} cannot succeed");
        assert!(name.ends_with("/livez") || responses.contains_key("500"), "{name} never fails");
    }
}

/// `node` itself, or what it refers to.
fn resolved<'a>(node: &'a Value, document: &'a Value) -> &'a Value {
    match node["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).expect(reference),
        None => node,
    }
}

/// What a request or an answer of this media type looks like: its own example, or that of its schema.
fn example<'a>(content: &'a Value, document: &'a Value) -> Option<&'a Value> {
    content.get("example").or_else(|| resolved(&content["schema"], document).get("example"))
}

/// The parts of `contents`, by their media types.
fn media_types(contents: &Value) -> impl Iterator<Item = (&String, &Value)> {
    contents.as_object().into_iter().flatten()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn every_operation_and_every_parameter_is_described() {
    let document = document();
    let is_described =
        |node: &Value| node["description"].as_str().is_some_and(|text| !text.trim().is_empty());
    for (name, operation) in operations(&document) {
        assert!(is_described(operation), "{name} has no description");
        for parameter in list(&operation["parameters"]) {
            assert!(is_described(parameter), "{name} does not describe {}", parameter["name"]);
        }
    }
}

#[test]
fn every_body_has_an_example_and_what_can_be_wrong_with_it() {
    let document = document();
    let mut bodies = 0;
    for (name, operation) in operations(&document) {
        for (media_type, content) in media_types(&operation["requestBody"]["content"]) {
            bodies += 1;
            assert!(example(content, &document).is_some(), "{name} shows no body of {media_type}");
            for status in ["400", "408", "413", "415", "422"] {
                assert!(
                    operation["responses"].get(status).is_some(),
                    "{name} takes a body and has no {status}"
                );
            }
        }
    }
    assert!(bodies > 40, "only {bodies} bodies were looked at");
}

#[test]
fn every_json_answer_has_an_example() {
    let document = document();
    let mut missing = Vec::new();
    for (name, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().expect(&name) {
            let content = resolved(response, &document)["content"].get("application/json");
            if content.is_some_and(|content| example(content, &document).is_none()) {
                missing.push(format!("{name} {status}"));
            }
        }
    }
    assert!(missing.is_empty(), "give the schema, or each of its members, an example: {missing:#?}");
}

#[test]
fn whoever_must_be_signed_in_is_told_so() {
    let document = document();
    for (name, operation) in operations(&document) {
        let is_public = operation["security"] == serde_json::json!([{}]);
        let may_be_401 = operation["responses"].get("401").is_some();
        let signs_in = ["/login", "/refresh", "/callback"].iter().any(|end| name.ends_with(end));
        assert_eq!(may_be_401, !is_public || signs_in, "{name}");
        // A role may be too low, and a key's scopes may be too narrow for anything.
        assert!(is_public || operation["responses"].get("403").is_some(), "{name} has no 403");
    }
}

#[test]
fn accepted_work_names_its_job_and_can_be_sent_again() {
    let document = document();
    let mut accepting = 0;
    for (name, operation) in operations(&document) {
        let Some(accepted) = operation["responses"].get("202") else { continue };
        accepting += 1;
        assert!(accepted["headers"].get("Location").is_some(), "{name} has no Location");
        // A GET can be sent again as it is.
        if name.starts_with("GET ") {
            continue;
        }
        let parameters = operation["parameters"].as_array().expect(&name);
        assert!(parameters.iter().any(|one| one["name"] == "Idempotency-Key"), "{name} takes no key");
        assert!(operation["responses"].get("409").is_some(), "{name} has no 409");
    }
    assert!(accepting >= 7, "only {accepting} operations accept work");
}

#[test]
fn every_reference_leads_somewhere() {
    fn follow(node: &Value, document: &Value) {
        match node {
            Value::Object(members) => {
                if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                    let pointer = reference.trim_start_matches('#');
                    assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
                }
                members.values().for_each(|member| follow(member, document));
            }
            Value::Array(items) => items.iter().for_each(|item| follow(item, document)),
            _ => {}
        }
    }
    let document = document();
    follow(&document, &document);
}
