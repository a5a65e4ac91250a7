//! What HTTP promises of every route, whatever is behind it: HEAD, OPTIONS, 405, trailing slashes, repeated DELETEs, entity
//! tags, and that a body with a typo in it is refused. Made from the API's document.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use harness::{Answer, Operation, TestApp, estate::Estate, operations};
use http::{Method, header};
use serde_json::{Value, json};

/// What others define and extend as they please: unknown members are part of the format.
const OPEN_BODIES: &[&str] = &["POST /api/inventory/sboms"];

/// What one does not do to oneself.
const NOT_TO_ONESELF: &str = "DELETE /api/users/{user_id}";

async fn send(app: &TestApp, method: Method, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let mut request = app.request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    app.send(request.header(header::CONTENT_TYPE, "application/json").body(body).expect("a request")).await
}

fn said(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_the_body_and_a_trailing_slash_changes_nothing() {
    let app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let estate = Estate::build(&app).await;
    for operation in operations().iter().filter(|one| one.is_read() && !one.is_stream) {
        let (name, path) = (operation.name(), operation.at(|thing| estate.thing(thing).id.clone()));
        let whole = app.get(&path).await;
        let head = send(&app, Method::HEAD, &path, &[], &Value::Null).await;
        assert_eq!((head.status, head.bytes.len()), (whole.status, 0), "{name}");
        for header in ["content-type", "etag", "location", "content-disposition"] {
            assert_eq!(head.header(header), whole.header(header), "{header} of {name}");
        }
        let slashed = app.get(&format!("{path}/")).await;
        assert_eq!(slashed.status, whole.status, "{name} with a slash: {}", said(&slashed));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_a_path_does_not_have_is_a_405_with_those_that_it_has() {
    let app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let mut paths: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for operation in operations() {
        let methods = paths.entry(operation.at(|_| "x".to_owned())).or_default();
        methods.insert(operation.method.to_string());
        if operation.is_read() {
            methods.insert("HEAD".to_owned());
        }
    }
    for (path, methods) in paths {
        let allowed = |answer: &Answer| -> BTreeSet<String> {
            answer.header("allow").unwrap_or_default().split(',').map(|one| one.trim().to_owned()).collect()
        };
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
            if methods.contains(method) {
                continue;
            }
            let answer = send(&app, method.parse().expect("a method"), &path, &[], &json!({})).await;
            assert_eq!(answer.status, 405, "{method} {path}: {}", said(&answer));
            assert_eq!(allowed(&answer), methods, "{method} {path}");
            assert!(said(&answer).contains("Method not allowed"), "{method} {path}");
        }
        let options = send(&app, Method::OPTIONS, &path, &[], &Value::Null).await;
        assert_eq!((options.status.as_u16(), allowed(&options)), (204, methods), "OPTIONS {path}");
    }
}

/// `value` with one more member in each of its objects that the schema closes: one variant for each, with its place.
fn with_typos(schema: &Value, value: &Value, place: &str) -> Vec<(String, Value)> {
    let mut variants = Vec::new();
    match value {
        Value::Object(members) => {
            if schema["additionalProperties"] == json!(false) {
                let mut more = members.clone();
                more.insert("unknwon_field".to_owned(), json!("typo"));
                variants.push((place.to_owned(), more.into()));
            }
            for (name, member) in members {
                for (place, variant) in
                    with_typos(&schema["properties"][name], member, &format!("{place} -> {name}"))
                {
                    let mut changed = members.clone();
                    changed.insert(name.clone(), variant);
                    variants.push((place, changed.into()));
                }
            }
        }
        Value::Array(items) => {
            let first = items.first().into_iter();
            for (place, variant) in
                first.flat_map(|item| with_typos(&schema["items"], item, &format!("{place} -> 0")))
            {
                variants.push((place, json!([variant])));
            }
        }
        _ => {}
    }
    variants
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_with_a_field_that_nobody_knows_is_refused_by_its_name() {
    let app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let estate = Estate::build(&app).await;
    for operation in operations() {
        let name = operation.name();
        let Some(body) = &operation.body else { continue };
        if OPEN_BODIES.contains(&name.as_str()) {
            continue;
        }
        let typos = with_typos(&body.schema, &body.example, "body");
        assert!(typos.iter().any(|(place, _)| place == "body"), "{name} takes any field there is");
        let path = operation.at(|thing| estate.thing(thing).id.clone());
        for (place, typo) in typos {
            let answer = send(&app, operation.method.clone(), &path, &[], &typo).await;
            assert!(matches!(answer.status.as_u16(), 400 | 422), "{name}, {place}: {}", said(&answer));
            assert!(said(&answer).contains("unknwon_field"), "{name}, {place}: {}", said(&answer));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_nobody_knows_is_refused_by_every_list() {
    let app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let estate = Estate::build(&app).await;
    for operation in operations().iter().filter(|one| one.is_read() && !one.query.is_empty()) {
        let path = operation.at(|thing| estate.thing(thing).id.clone());
        let answer = app.get(&format!("{path}?serverity=high")).await.expect(422);
        assert!(said(&answer).contains("serverity"), "{}: {}", operation.name(), said(&answer));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_twice_is_deleting_once() {
    let app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let estate = Estate::build(&app).await;
    let mut deletions: Vec<Operation> =
        operations().into_iter().filter(|one| one.method == Method::DELETE).collect();
    // What hangs on something else goes first.
    deletions.sort_by_key(|one| std::cmp::Reverse(one.path.len()));
    for operation in &deletions {
        let (name, path) = (operation.name(), operation.at(|thing| estate.thing(thing).id.clone()));
        let first = app.delete(&path).await;
        if name == NOT_TO_ONESELF {
            first.expect(409);
            continue;
        }
        let was_there = operation.things().iter().all(|thing| estate.thing(thing).is_private);
        assert!(first.status.is_success() || (!was_there && first.status == 404), "{name}: {}", said(&first));
        let second = app.delete(&path).await;
        if second.status == first.status {
            assert_eq!(said(&second), said(&first), "{name}");
        } else {
            assert_eq!(second.status, 404, "{name}: {}", said(&second));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_of_nothing_changes_nothing() {
    let app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let estate = Estate::build(&app).await;
    let all = operations();
    for operation in all.iter().filter(|one| one.method == Method::PATCH && one.body.is_some()) {
        // Without anything it switches: that is what its document says.
        if operation.path == "/api/system/maintenance" {
            continue;
        }
        let (name, path) = (operation.name(), operation.at(|thing| estate.thing(thing).id.clone()));
        let is_read = |one: &&Operation| one.is_read() && one.path == operation.path;
        let seen = async || match all.iter().find(is_read) {
            Some(_) => said(&app.get(&path).await),
            None => String::new(),
        };
        let before = seen().await;
        let answer = send(&app, Method::PATCH, &path, &[], &json!({})).await;
        assert!(matches!(answer.status.as_u16(), 200 | 400 | 422), "{name}: {}", said(&answer));
        assert_eq!(seen().await, before, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn catalogues_and_files_are_not_sent_again_to_who_has_them() {
    let app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let estate = Estate::build(&app).await;
    let report = &estate.thing("/api/reports/{report_id}").id;
    for path in ["/api/openapi.json", "/api/reports/report-types", &format!("/api/reports/{report}/download")]
    {
        let whole = app.get(path).await.expect(200);
        let tag = whole.header("etag").unwrap_or_else(|| panic!("{path} has no tag")).to_owned();
        assert_eq!(whole.header("cache-control"), Some("private, no-cache"), "{path}");
        for known in [tag.clone(), format!("\"other\", {tag}"), "*".to_owned()] {
            let again = send(&app, Method::GET, path, &[("if-none-match", &known)], &Value::Null).await;
            assert_eq!((again.status.as_u16(), again.bytes.len()), (304, 0), "{path} {known}");
            assert_eq!(again.header("etag"), Some(tag.as_str()), "{path}");
            assert_eq!(again.header("cache-control"), Some("private, no-cache"), "{path}");
        }
        let other = send(&app, Method::GET, path, &[("if-none-match", "\"other\"")], &Value::Null).await;
        assert_eq!((other.status.as_u16(), other.bytes), (200, whole.bytes), "{path}");
    }
    // What changes is kept by nobody.
    let list = app.get("/api/assets").await.expect(200);
    assert_eq!((list.header("etag"), list.header("cache-control")), (None, Some("no-store")));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_answers_are_compressed_as_the_client_likes_it() {
    let app = TestApp::set_up().await;
    for (accepted, used) in [("gzip", Some("gzip")), ("br", Some("br")), ("identity", None)] {
        let path = "/api/reports/report-types";
        let answer = send(&app, Method::GET, path, &[("accept-encoding", accepted)], &Value::Null).await;
        assert_eq!(answer.header("content-encoding"), used, "{accepted}");
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sites_may_call_when_the_operator_names_them() {
    let app = TestApp::with(&[("CORS_ORIGINS", "https://portal.example.org, http://localhost:3000")]).await;
    let ask = async |origin: &'static str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "PATCH"),
            ("access-control-request-headers", "authorization"),
        ];
        send(&app, Method::OPTIONS, "/api/assets/bulk", &headers, &Value::Null).await
    };
    let allowed = ask("https://portal.example.org").await;
    assert!(allowed.status.is_success(), "{}", allowed.status);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://portal.example.org"));
    assert!(allowed.header("access-control-allow-methods").is_some_and(|all| all.contains("PATCH")));
    assert!(allowed.header("access-control-allow-headers").is_some_and(|all| all.contains("authorization")));
    assert_eq!(allowed.header("access-control-allow-credentials"), None, "cookies are for our own pages");
    let stranger = ask("https://evil.example").await;
    assert_eq!(stranger.header("access-control-allow-origin"), None);
    let answer =
        send(&app, Method::GET, "/livez", &[("origin", "http://localhost:3000")], &Value::Null).await;
    assert_eq!(answer.expect(200).header("access-control-allow-origin"), Some("http://localhost:3000"));

    let closed = TestApp::start().await;
    let headers = [("origin", "https://portal.example.org")];
    let answer = send(&closed, Method::GET, "/livez", &headers, &Value::Null).await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), None, "without the setting nobody may");
}
