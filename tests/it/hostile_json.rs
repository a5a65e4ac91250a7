//! Bodies that are JSON and meant to do harm: nested without end, the same member twice, numbers that are none, texts without
//! end. After the API's document, so that a new operation is tried from its first day.

use axum::body::Body;
use futures::StreamExt;
use harness::{Answer, Operation, TestApp, estate::Estate, operations};
use http::header;
use serde_json::Value;

/// What is not tried: it would end the test's own session, or everybody's work.
const LEFT_OUT: &[&str] = &["PATCH /api/system/maintenance", "POST /api/auth/logout"];

/// What is kept as it came, and read by a job, which says what is wrong with it.
const READ_LATER: &[&str] = &["POST /api/inventory/reports", "POST /api/inventory/sboms"];

/// `example` with the text `literal`, which need not be JSON, in the place of each member, one at a time.
fn with_each_member(example: &Value, literal: &str) -> Vec<String> {
    const HERE: &str = "\u{1}here\u{1}";
    let here = serde_json::to_string(HERE).expect("text is JSON");
    let members = example.as_object().into_iter().flatten();
    members
        .map(|(name, _)| {
            let mut changed = example.clone();
            changed[name] = HERE.into();
            changed.to_string().replace(&here, literal)
        })
        .collect()
}

/// The bodies to try, each with whether it must be refused.
fn bodies(example: &Value) -> Vec<(&'static str, String, bool)> {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
    let mut all = vec![
        ("nothing but nesting", deep("[", "]"), true),
        ("an object without end", deep("{\"a\":", "}"), true),
        ("brackets that nobody closes", "[".repeat(500_000), true),
        ("a number as long as a book", format!("{{\"a\":{}}}", "9".repeat(500_000)), true),
        ("more than JSON", format!("{example} {example}"), true),
    ];
    for member in with_each_member(example, &deep("[", "]")) {
        all.push(("nesting in a member", member, true));
    }
    for literal in ["1e999", "-1e999", "NaN", "Infinity", "01", "0x10", "+1", ".5"] {
        all.extend(
            with_each_member(example, literal).into_iter().map(|body| ("a number that is none", body, true)),
        );
    }
    // The first and the last of two are read differently by different programs (RFC 8259, section 4).
    let text = example.to_string();
    for (name, member) in example.as_object().into_iter().flatten() {
        let again = format!("{{{}:{member},{}", Value::from(name.as_str()), &text[1..]);
        all.push(("a member that comes twice", again, true));
    }
    let long = serde_json::to_string(&"w".repeat(200_000)).expect("text is JSON");
    for member in with_each_member(example, &long) {
        all.push(("a text without end", member, false));
    }
    all
}

async fn send(app: &TestApp, operation: &Operation, path: &str, body: String) -> Answer {
    let request =
        app.request(operation.method.clone(), path).header(header::CONTENT_TYPE, "application/json");
    app.send(request.body(Body::from(body)).expect("a request")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_is_meant_to_do_harm_is_refused_with_words_everywhere() {
    let app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let estate = Estate::build(&app).await;
    let (mut tried, mut echoes) = (0, Vec::new());
    for operation in operations() {
        let name = operation.name();
        let Some(body) = operation.body.as_ref().filter(|_| !LEFT_OUT.contains(&name.as_str())) else {
            continue;
        };
        let is_read_later = READ_LATER.contains(&name.as_str());
        let path = operation.at(|thing| estate.thing(thing).id.clone());
        let tries = bodies(&body.example).into_iter().map(|(what, body, is_harm)| {
            let (app, operation, path, name) = (&app, &operation, &path, &name);
            async move {
                let answer = send(app, operation, path, body).await;
                let said = String::from_utf8_lossy(&answer.bytes).into_owned();
                let status = answer.status.as_u16();
                assert!(status < 500, "{name}, {what}: {status} {said}");
                assert!(
                    operation.statuses.contains(&status),
                    "{name}, {what}: {status} is not documented: {said}"
                );
                let is_refused = (400..500).contains(&status);
                assert!(is_refused || !is_harm || is_read_later, "{name}, {what}: {status} {said}");
                // What was sent is not sent back whole.
                (is_refused && said.len() > 20_000)
                    .then(|| format!("{name}, {what}: {}…", &said[..200.min(said.len())]))
            }
        });
        let told: Vec<Option<String>> = futures::stream::iter(tries).buffer_unordered(4).collect().await;
        tried += told.len();
        echoes.extend(told.into_iter().flatten());
    }
    assert!(echoes.is_empty(), "what was sent comes back whole:\n{}", echoes.join("\n"));
    assert!(tried > 500, "only {tried} bodies were tried");
    app.get("/health").await.expect(200);
}
