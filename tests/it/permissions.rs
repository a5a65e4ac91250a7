//! Who may call what, as `docs/permissions.md` has it: each operation of the API's document, asked by nobody, by each role and with
//! each scope. A permission that changed is a line that changed there.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use axum::body::Body;
use harness::{Operation, TestApp, operations};
use http::StatusCode;
use serde_json::json;

const FILE: &str = "docs/permissions.md";

const HEAD: &str = "\
# Who may call what

Written and compared by a test, which asks every operation of the API's document; after a change that is meant:
`UPDATE_PERMISSIONS=1 cargo test -p tests --test it permissions`.

*Nobody* shows no credential. *Instance* is an administrator of the installation. *Key* is a key of the organization with the role
admin and without scopes; what it may not call asks for a person who signed in, or changes what all organizations share. *Scopes*: one
of these is enough for such a key that has any; `write` includes `read`. What belongs to another organization is 404 for everybody.
The token of a link to a report's file is no credential and stands in no column: `GET /api/v1/reports/download/{file}` with it is for nobody too.

| operation | nobody | read_only | analyst | admin | instance | key | scopes |
|---|---|---|---|---|---|---|---|
";

/// Ends the session that it is asked with.
const ENDS_THE_SESSION: &str = "POST /api/auth/logout";

/// Whether `operation` is let through. The path names nothing and the body is none, so that nothing is done: who may ask is decided
/// before both are looked at.
async fn may(app: &TestApp, operation: &Operation, header: Option<(&'static str, &str)>) -> bool {
    let path = operation.at(|_| uuid::Uuid::now_v7().to_string());
    let mut request =
        http::Request::builder().method(&operation.method).uri(&path).header("host", "plimsoll.test");
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    let body = match operation.is_read() {
        true => Body::empty(),
        false => {
            request = request.header("content-type", "application/json");
            Body::from("{")
        }
    };
    let answer = app.send(request.body(body).expect("a request")).await;
    assert!(answer.status.as_u16() < 500, "{}: {}", operation.name(), answer.status);
    !matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_call_what_is_as_the_committed_table_says() {
    let mut app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let tenant = app.tenant().await;
    let bearer = |token: String| format!("Bearer {token}");
    let mut people = Vec::new();
    for role in ["read_only", "analyst", "admin"] {
        people.push(bearer(app.account(tenant, &format!("a-{role}"), role).await));
    }
    people.push(bearer(app.access_token().expect("the first administrator is signed in")));

    let documented = serde_json::to_value(api::openapi()).expect("the document is JSON");
    let scopes = documented["components"]["schemas"]["ScopeWord"]["enum"].as_array().expect("words").clone();
    let scopes: Vec<&str> = scopes.iter().map(|word| word.as_str().expect("a word")).collect();
    let made = async |body: &serde_json::Value| {
        let key = app.post("/api/api-keys", body).await.expect(201).json();
        key["key"].as_str().expect("a key").to_owned()
    };
    let key = made(&json!({ "name": "everything", "role": "admin" })).await;
    let mut scoped = BTreeMap::new();
    for scope in scopes {
        scoped.insert(scope, made(&json!({ "name": scope, "role": "admin", "scopes": [scope] })).await);
    }
    let spare = bearer(app.account(tenant, "who-signs-out", "read_only").await);
    app.sign_in_as(None);

    let mut table = HEAD.to_owned();
    for operation in operations() {
        let word = |may: bool| if may { "yes" } else { "-" };
        let mut row = vec![word(may(&app, &operation, None).await)];
        for person in &people {
            let ends = operation.name() == ENDS_THE_SESSION;
            let shown = if ends { &spare } else { person };
            // Once it has ended it is nobody's any more; every role may end its own.
            row.push(match ends && row.len() > 1 {
                true => row[1],
                false => word(may(&app, &operation, Some(("authorization", shown))).await),
            });
        }
        row.push(word(may(&app, &operation, Some(("x-api-key", &key))).await));
        let mut open = Vec::new();
        for (scope, key) in &scoped {
            if may(&app, &operation, Some(("x-api-key", key))).await {
                open.push(*scope);
            }
        }
        let open = match operation.is_public {
            true => "any".to_owned(),
            // Whoever may write may read.
            false => {
                open.iter().filter(|scope| !has_weaker(&open, scope)).copied().collect::<Vec<_>>().join(", ")
            }
        };
        let open = if open.is_empty() { "-".to_owned() } else { open };
        writeln!(table, "| `{}` | {} | {open} |", operation.name(), row.join(" | "))
            .expect("a string takes all");
    }

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FILE);
    let is_meant = std::env::var_os("UPDATE_PERMISSIONS").is_some();
    if is_meant {
        std::fs::write(&path, &table).expect("the table is written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let changed: Vec<&str> =
        table.lines().filter(|line| !committed.lines().any(|old| old == *line)).collect();
    assert_eq!(table, committed, "{FILE} says otherwise about:\n{}", changed.join("\n"));
}

/// Whether the area's `read` opens it as well.
fn has_weaker(open: &[&str], scope: &str) -> bool {
    scope.strip_suffix("write").is_some_and(|area| open.contains(&format!("{area}read").as_str()))
}
