//! What the API's document shows is true: the requests are done when they are sent, each to its operation, about something that is there; and
//! every example is of its schema.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use harness::{Answer, Operation, TestApp, estate::Estate, operations};
use http::Method;
use serde_json::{Value, json};

/// What cannot be done as it is shown, each with the reason and the test that does it.
const NOT_SENT: &[(&str, &str)] = &[
    (
        "POST /api/v1/tenants/{tenant_id}/reports/pdf",
        "waits for a worker, of which there is none: tests/it/tenant_reports.rs",
    ),
    ("POST /api/auth/oidc/callback", "needs what a provider has just sent: tests/it/openid.rs"),
    ("POST /api/auth/refresh", "needs a token of one use: tests/it/identity.rs"),
    ("POST /api/auth/setup", "is done once, by the test below"),
    ("POST /api/branding/assets/{asset_type}", "takes a PNG, which no JSON can hold: tests/it/branding.rs"),
];

/// What is sent last, since the others could not be after it: it changes the password, or stops all changes.
const LAST: &[&str] = &["POST /api/auth/password", "PATCH /api/system/maintenance"];

/// Documents of other standards, of which the API describes only what it needs.
const OF_OTHERS: &[&str] = &["CycloneDx", "Spdx"];

/// The examples of an operation's body in the document, by media type.
fn bodies(operation: &Operation, document: &Value) -> Vec<(String, Value)> {
    let content = described(operation, document)["requestBody"]["content"].as_object();
    let example = |content: &Value| {
        let schema = &content["schema"];
        let target = schema["$ref"].as_str().and_then(|to| document.pointer(to.trim_start_matches('#')));
        let example = content.get("example").or_else(|| target.unwrap_or(schema).get("example"));
        example.unwrap_or_else(|| panic!("{} shows no body", operation.name())).clone()
    };
    content
        .into_iter()
        .flatten()
        .map(|(media_type, content)| (media_type.clone(), example(content)))
        .collect()
}

/// The examples of an operation's parameters in the query, as they stand in an address.
fn queries(operation: &Operation, document: &Value) -> Vec<String> {
    let parameters = items(&described(operation, document)["parameters"]);
    let in_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
    let query = |parameter: &Value| {
        let example = parameter.get("example")?;
        let text = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
        let name = parameter["name"].as_str().expect("a name");
        Some(url::form_urlencoded::Serializer::new(String::new()).append_pair(name, &text).finish())
    };
    in_query.filter_map(query).collect()
}

fn described<'a>(operation: &Operation, document: &'a Value) -> &'a Value {
    &document["paths"][&operation.path][operation.method.as_str().to_lowercase()]
}

/// What `node` refers to; itself, if it refers to nothing.
fn resolved<'a>(node: &'a Value, document: &'a Value) -> &'a Value {
    match node["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).expect(reference),
        None => node,
    }
}

fn members(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten()
}

fn items(array: &Value) -> &[Value] {
    array.as_array().map_or(&[], Vec::as_slice)
}

fn document() -> Value {
    serde_json::to_value(api::openapi()).expect("the document is JSON")
}

/// Sends `body` as `media_type` has it.
async fn send(app: &TestApp, method: &Method, path: &str, media_type: &str, body: &Value) -> Answer {
    let (media_type, bytes) = match media_type {
        "multipart/form-data" => {
            let file = body["file"].as_str().expect("a part called file");
            let part = "content-disposition: form-data; name=\"file\"; filename=\"file\"";
            ("multipart/form-data; boundary=cut", format!("--cut\r\n{part}\r\n\r\n{file}\r\n--cut--\r\n"))
        }
        other => (other, body.to_string()),
    };
    let request = app.request(method.clone(), path).header("content-type", media_type);
    app.send(request.body(Body::from(bytes)).expect("a request")).await
}

fn failure(what: &str, answer: &Answer) -> Option<String> {
    let said = String::from_utf8_lossy(&answer.bytes);
    (!answer.status.is_success()).then(|| format!("{what}: {} {said}", answer.status))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_of_the_document_is_done_as_it_is_shown() {
    let app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let estate = Estate::build(&app).await;
    let document = document();
    let mut asked = operations();
    asked.retain(|operation| !NOT_SENT.iter().any(|(name, _)| *name == operation.name()));
    asked.sort_by_key(|operation| LAST.iter().position(|name| *name == operation.name()));
    // What an example makes is what the examples of the paths beneath are about.
    let mut made: BTreeMap<String, String> = BTreeMap::new();
    let (mut sent, mut failures) = (0, Vec::new());
    for operation in &asked {
        for (media_type, body) in bodies(operation, &document) {
            let path = operation.at(|thing| made.get(thing).unwrap_or(&estate.thing(thing).id).clone());
            let answer = send(&app, &operation.method, &path, &media_type, &body).await;
            failures.extend(failure(&format!("{} with {media_type} {body}", operation.name()), &answer));
            sent += 1;
            if answer.status == 201 {
                let id = answer.json()["id"].as_str().expect("what was made has an id").to_owned();
                let beneath = format!("{}/{{", operation.path);
                let things = asked.iter().flat_map(Operation::things);
                made.extend(
                    things
                        .filter(|thing| thing.starts_with(&beneath))
                        .map(|thing| (thing.to_owned(), id.clone())),
                );
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(sent >= 35, "only {sent} examples were sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_can_be_filtered_as_it_is_shown() {
    let app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let estate = Estate::build(&app).await;
    let document = document();
    let (mut sent, mut failures) = (0, Vec::new());
    for operation in operations().iter().filter(|one| one.is_read() && !one.is_stream) {
        // A picture is there once one was uploaded, and its address has its version.
        if operation.path.starts_with("/api/branding/assets/") {
            continue;
        }
        for query in queries(operation, &document) {
            let path = operation.at(|thing| estate.thing(thing).id.clone());
            let answer = app.get(&format!("{path}?{query}")).await;
            failures.extend(failure(&format!("{}?{query}", operation.name()), &answer));
            sent += 1;
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(sent >= 40, "only {sent} examples were sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_is_set_up_as_it_is_shown() {
    let app = TestApp::start().await;
    let setup = operations().into_iter().find(|operation| operation.path == "/api/auth/setup");
    let setup = setup.expect("it can be set up");
    for (media_type, body) in bodies(&setup, &document()) {
        send(&app, &setup.method, &setup.path, &media_type, &body).await.expect(201);
    }
}

#[test]
fn what_is_not_sent_or_sent_last_is_there() {
    let names: Vec<String> = operations().iter().map(Operation::name).collect();
    for name in NOT_SENT.iter().map(|(name, _)| name).chain(LAST) {
        assert!(names.iter().any(|known| known == name), "{name} is not an operation any more");
    }
}

/// Every example beside a schema: where it stands, the schema, and the example.
fn shown(document: &Value) -> Vec<(String, &Value, &Value)> {
    let mut places: Vec<(String, &Value, &Value)> = Vec::new();
    for operation in operations() {
        let name = operation.name();
        let operation = described(&operation, document);
        let request = ("body".to_owned(), &operation["requestBody"]);
        let answers =
            members(&operation["responses"]).map(|(status, one)| (status.clone(), resolved(one, document)));
        for (what, described) in answers.chain([request]) {
            let contents = members(&described["content"]);
            places.extend(
                contents
                    .map(|(media_type, one)| (format!("{name} {what} {media_type}"), &one["schema"], one)),
            );
        }
        let parameters = items(&operation["parameters"]).iter();
        places.extend(parameters.map(|one| (format!("{name} {}", one["name"]), &one["schema"], one)));
    }
    for (name, schema) in members(&document["components"]["schemas"]) {
        places.push((name.clone(), schema, schema));
        let parts = items(&schema["allOf"]).iter().chain([schema]);
        let properties = parts.flat_map(|part| members(&part["properties"]));
        places.extend(properties.map(|(member, one)| (format!("{name}.{member}"), one, one)));
    }
    places.retain(|(_, schema, _)| schema.is_object());
    places.into_iter().filter_map(|(place, schema, one)| Some((place, schema, one.get("example")?))).collect()
}

#[test]
fn every_example_is_of_its_schema() {
    let document = document();
    let (mut judged, mut wrong) = (BTreeSet::new(), Vec::new());
    for (place, schema, example) in shown(&document) {
        if !judged.insert(format!("{schema} {example}")) {
            continue;
        }
        let mut whole = json!({ "allOf": [schema], "components": document["components"] });
        // A member that the schema does not have is one that the server refuses, or never sends.
        let target = resolved(schema, &document);
        let has_members = target.get("properties").is_some() || target.get("allOf").is_some();
        if has_members && !OF_OTHERS.contains(&place.as_str()) {
            whole["unevaluatedProperties"] = false.into();
        }
        let options = jsonschema::draft202012::options().should_validate_formats(true);
        let judge = options.build(&whole).unwrap_or_else(|error| panic!("{place}: {error}"));
        wrong.extend(judge.iter_errors(example).map(|error| format!("{place}: {error}, in {example}")));
    }
    assert!(judged.len() > 200, "only {} examples were looked at", judged.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}
