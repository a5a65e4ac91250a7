//! What strangers type, into every field and parameter that takes text, after the API's document: it is kept to the letter or
//! refused with words, and never a fault of ours.

use axum::body::Body;
use futures::StreamExt;
use harness::{Answer, Operation, TestApp, estate::Estate, operations};
use http::{Method, header};
use serde_json::{Value, json};
use url::form_urlencoded;

/// Formulas, markup, template languages, paths, terminal sequences, and characters that do not look like what they are.
const HOSTILE: &[&str] = &[
    "=cmd|'/c calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\u{0}",
    "a\u{0}b",
    "x\"\r\nBcc:x@y.example",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "{{7*7}}",
    "${7*7}",
    "#eval(\"1\")",
    "#read(\"/etc/passwd\")",
    "]#panic()",
    "$ x $",
    "\u{202e}gnp.exe",
    "zero\u{200b}width",
    "אב\u{200f}-1.0",
    "emoji-🔥-👩‍👩‍👧",
    "]]>",
    "&#0;",
    "%n%s%x",
    "\u{1b}[2J",
    "../../etc/passwd",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "' or 1=1 --",
    "*)(uid=*",
    "CVE-99999999999999999999-99999999999999999999",
    "   ",
    "",
    "null",
    "\u{feff}",
    "\u{fffe}\u{ffff}",
];

/// JSON that is no text, though it looks like it (RFC 8259, section 8.2).
const NO_TEXT: &[&str] = &[r#""\ud800""#, r#""\udc00\ud800""#, r#""a\ud83d""#];

/// What is not tried, since it would stop the tests themselves. None of them stores a text: the first a switch, the others a hash.
const LEFT_OUT: &[&str] =
    &["PATCH /api/system/maintenance", "POST /api/auth/password", "POST /api/users/{user_id}/password"];

/// What takes no JSON, and what is tried of it elsewhere.
const NO_JSON: &[(&str, &str)] = &[
    ("POST /api/branding/assets/{asset_type}", "a picture, decoded and encoded anew: branding.rs"),
    ("POST /api/v1/reports/verify", "a file of which nothing is kept: signing.rs"),
];

/// What is kept as it came and read by a job, which says what it could not read.
const READ_LATER: &[&str] = &["POST /api/inventory/reports", "POST /api/inventory/sboms"];

/// Stands in a body for what is tried.
const HERE: &str = "\u{1}here\u{1}";

/// `body` with [`HERE`] in the place of each text in it, one at a time; and the names that lead there.
fn places(body: &Value) -> Vec<(Vec<String>, Value)> {
    match body {
        Value::String(_) => vec![(Vec::new(), json!(HERE))],
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, member)| {
                places(member).into_iter().map(move |(mut path, changed)| {
                    let mut members = members.clone();
                    members.insert(name.clone(), changed);
                    path.insert(0, name.clone());
                    (path, members.into())
                })
            })
            .collect(),
        Value::Array(items) => items.first().map_or_else(Vec::new, |first| {
            let inside = places(first).into_iter();
            inside
                .map(|(mut path, changed)| {
                    path.insert(0, "0".to_owned());
                    (path, json!([changed]))
                })
                .collect()
        }),
        _ => Vec::new(),
    }
}

fn said(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.bytes).into_owned()
}

/// What `value` has where `path` leads.
fn at<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| match value {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        value => value.get(name),
    })
}

/// Holds for every answer: it is none of ours to be ashamed of, and one that the document speaks of.
fn is_sound(operation: &Operation, answer: &Answer, what: &str) {
    let status = answer.status.as_u16();
    assert!(status < 500, "{what}: {status} {}", said(answer));
    assert!(operation.statuses.contains(&status), "{what}: {status} is not documented: {}", said(answer));
    if status >= 400 {
        let refusal = answer.json();
        let (detail, coded) = (&refusal["detail"], &refusal["error"]);
        let told = detail.as_str().or(coded["message"].as_str());
        assert!(told.is_some_and(|told| !told.is_empty()), "{what}: {refusal}");
        if status == 422 {
            let first = refusal["errors"].get(0).unwrap_or(&coded["details"]["errors"][0]);
            assert!(first["field"].is_string() && first["message"].is_string(), "{what}: {refusal}");
        }
    }
}

async fn send(app: &TestApp, operation: &Operation, path: &str, body: String) -> Answer {
    let request =
        app.request(operation.method.clone(), path).header(header::CONTENT_TYPE, "application/json");
    app.send(request.body(Body::from(body)).expect("a request")).await
}

/// Tries `text`, written as `literal`, at one place of one body. What was taken must be there when it is asked for.
async fn try_one(app: &TestApp, operation: &Operation, path: &str, place: &(Vec<String>, Value), text: &str) {
    let (names, body) = place;
    let what = format!("{}, {} = {text:?}", operation.name(), names.join(" -> "));
    let here = serde_json::to_string(HERE).expect("text is JSON");
    let literal = serde_json::to_string(text).expect("text is JSON");
    let answer = send(app, operation, path, body.to_string().replace(&here, &literal)).await;
    is_sound(operation, &answer, &what);
    if !answer.status.is_success() {
        return;
    }
    assert!(!text.contains('\0'), "{what}: Postgres has no text with a NUL in it: {}", said(&answer));
    let told = answer.json();
    if let Some(Value::String(kept)) = at(&told, names) {
        let is_kept = [text, text.trim(), "********"].contains(&kept.as_str());
        assert!(is_kept, "{what}: it came back as {kept:?}");
    }
    // And once more from where it is kept.
    let Some(id) = told["id"].as_str() else { return };
    let resource = format!("{}/{id}", operation.path.split("/{").next().unwrap_or_default());
    let again = app.get(&resource).await;
    if again.status.is_success()
        && let (Some(told), Some(kept)) = (at(&told, names), at(&again.json(), names))
    {
        assert_eq!(told, kept, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_in_every_field_of_every_body_is_kept_to_the_letter_or_refused_with_words() {
    let app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let estate = Estate::build(&app).await;
    let long = "w".repeat(10_000);
    let (mut tried, mut fields) = (0, 0);
    for operation in operations() {
        let Some(body) = operation.body.as_ref().filter(|_| !LEFT_OUT.contains(&operation.name().as_str()))
        else {
            continue;
        };
        let path = operation.at(|thing| estate.thing(thing).id.clone());
        for place in places(&body.example) {
            fields += 1;
            let texts = HOSTILE.iter().copied().chain([long.as_str()]);
            let tries = texts.map(|text| try_one(&app, &operation, &path, &place, text));
            // What is changed must be read again before somebody else changes it.
            let at_once = if operation.method == Method::POST { 4 } else { 1 };
            tried += futures::stream::iter(tries).buffer_unordered(at_once).collect::<Vec<()>>().await.len();
            for literal in NO_TEXT {
                let what = format!("{}, {} = {literal}", operation.name(), place.0.join(" -> "));
                let here = serde_json::to_string(HERE).expect("text is JSON");
                let answer = send(&app, &operation, &path, place.1.to_string().replace(&here, literal)).await;
                is_sound(&operation, &answer, &what);
                let is_kept = answer.status == 202 && READ_LATER.contains(&operation.name().as_str());
                assert!(answer.status == 422 || is_kept, "{what}: {}", said(&answer));
            }
        }
        let (head, tail) = (b"{\"name\":\"".to_vec(), b"\"}".to_vec());
        let bytes = [head, vec![0xff, 0xfe, 0x80], tail].concat();
        let request =
            app.request(operation.method.clone(), &path).header(header::CONTENT_TYPE, "application/json");
        let answer = app.send(request.body(Body::from(bytes)).expect("a request")).await;
        is_sound(&operation, &answer, &format!("{}, bytes that are not UTF-8", operation.name()));
    }
    assert!(fields > 40 && tried > 1_000, "only {tried} texts in {fields} fields");
}

#[test]
fn no_body_is_left_out_but_those_that_say_why() {
    let document = serde_json::to_value(api::openapi()).expect("the document is JSON");
    let mut without_json = Vec::new();
    for operation in operations() {
        let method = operation.method.as_str().to_lowercase();
        let body = &document["paths"][&operation.path][method]["requestBody"];
        if !body.is_null() && operation.body.is_none() {
            without_json.push(operation.name());
        }
    }
    assert_eq!(without_json, NO_JSON.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for name in LEFT_OUT.iter().chain(READ_LATER) {
        assert!(operations().iter().any(|one| one.name() == *name), "{name} is no operation any more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_in_every_parameter_and_path_is_looked_for_or_refused_with_words() {
    let app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let estate = Estate::build(&app).await;
    for operation in operations().iter().filter(|one| one.is_read() && !one.is_public) {
        let path = operation.at(|thing| estate.thing(thing).id.clone());
        for name in operation.query.keys() {
            for text in HOSTILE {
                let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
                let answer = app.get(&format!("{path}?{name}={encoded}")).await;
                is_sound(operation, &answer, &format!("{}, {name} = {text:?}", operation.name()));
            }
            for encoded in ["%ff%fe", "%00", "%", "%zz"] {
                let answer = app.get(&format!("{path}?{name}={encoded}")).await;
                is_sound(operation, &answer, &format!("{}, {name} = {encoded}", operation.name()));
            }
        }
    }
    for operation in operations().iter().filter(|one| !one.things().is_empty()) {
        if LEFT_OUT.contains(&operation.name().as_str()) {
            continue;
        }
        let body = operation.body.as_ref().map_or_else(|| json!({}), |body| body.example.clone()).to_string();
        for text in HOSTILE.iter().filter(|text| !text.trim().is_empty() && !text.contains('/')) {
            let encoded: String =
                form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
            let path = operation.at(|_| encoded.clone());
            let answer = send(&app, operation, &path, body.clone()).await;
            is_sound(operation, &answer, &format!("{} at {path}", operation.name()));
            assert_ne!(answer.status.as_u16() / 100, 2, "{} at {path}", operation.name());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hosts_say_of_themselves_is_shown_as_they_say_it() {
    let app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let names: Vec<&str> =
        HOSTILE.iter().copied().filter(|name| !name.trim().is_empty() && !name.contains('\0')).collect();
    let packages: Vec<Value> =
        names.iter().map(|name| json!({ "name": name, "version": format!("1.0{name}") })).collect();
    let hostname = "#panic()<b>=1+1\u{202e}</b>";
    let host =
        json!({ "hostname": hostname, "os": { "distro": "debian", "version": "12" }, "packages": packages });
    app.post("/api/inventory/reports", &host).await.expect(202);
    app.run_jobs().await;
    let asset = app.get("/api/assets").await.expect(200).json()["data"][0].clone();
    assert_eq!(asset["hostname"], hostname);
    let path = format!("/api/assets/{}/packages?page_size=500", asset["id"].as_str().expect("an id"));
    let listed = app.get(&path).await.expect(200).json();
    let rows = listed["data"].as_array().expect("rows");
    let shown: Vec<&str> = rows.iter().map(|row| row["name"].as_str().expect("a name")).collect();
    // A name with a control character in it is none, and the run says how many there were.
    let (no_names, names): (Vec<&str>, Vec<&str>) =
        names.into_iter().partition(|name| name.contains(|character: char| character.is_control()));
    for name in names {
        assert!(shown.contains(&name), "{name:?} is not in {shown:?}");
    }
    assert!(!shown.iter().any(|name| no_names.contains(name)), "{shown:?}");
    let runs = app.get("/api/scan-runs?run_type=inventory").await.expect(200).json();
    assert_eq!(runs["data"][0]["provenance"]["skipped"], no_names.len(), "{runs}");
}
