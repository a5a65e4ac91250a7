//! Every route, asked by those who may not: a stranger from another tenant with each kind of credential, nobody, and a
//! person who may only read. Made from the API's document, so that a new route is in it from its first day.

use axum::body::Body;
use harness::{
    Answer, Operation, TestApp,
    estate::{CANARY, Estate},
    operations,
};
use http::{Method, StatusCode};
use serde_json::{Value, json};

/// What anybody may ask for without being signed in: seed 000 where it says so, the probes, and what is of no use behind a
/// door (signing in, checking a signature).
const PUBLIC: &[&str] = &[
    "GET /health",
    "GET /livez",
    "GET /readyz",
    "GET /api/auth/providers",
    "GET /api/branding",
    "GET /api/branding/assets/{asset_type}",
    "GET /api/auth/oidc/authorize",
    "POST /api/auth/oidc/callback",
    "POST /api/auth/login",
    "POST /api/auth/refresh",
    "POST /api/auth/setup",
    "GET /api/branding",
    "GET /api/branding/assets/{asset_type}",
    "GET /api/reports/shared/{token}",
    "GET /api/v1/reports/verify",
    "POST /api/v1/reports/verify",
];

/// What somebody who may only read may change: what is their own, and what seed 000 asks no role for.
const FOR_READERS: &[&str] = &[
    "POST /api/auth/logout",
    "POST /api/auth/password",
    "POST /api/auth/session",
    "PATCH /api/auth/me",
    "POST /api/auth/tokens",
    "DELETE /api/auth/tokens/{key_id}",
    "POST /api/config/integrations/ceph/test",
    "POST /api/config/integrations/github/test",
    "POST /api/config/integrations/wazuh/test",
    "POST /api/config/vuln-sources/{config_id}/test",
    "POST /api/config/integrations/wazuh/test",
    "POST /api/config/vuln-sources/{config_id}/test",
    "POST /api/config/integrations/github/test",
    "POST /api/config/integrations/ceph/test",
    "POST /api/reports/generate",
    "POST /api/schedules/preview",
    "POST /api/v1/tenants/{tenant_id}/reports/generate",
    "POST /api/v1/tenants/{tenant_id}/reports/pdf",
];

/// What no key does, so that a leaked one makes no others: 403 whatever it is asked for.
const IN_PERSON: &[&str] = &["DELETE /api/auth/tokens/{key_id}", "POST /api/users/{user_id}/password"];

/// What somebody shows: a header.
#[derive(Debug, Clone)]
struct Credential {
    kind: &'static str,
    header: (&'static str, String),
}

/// Each kind of credential that whoever holds `token` may have.
async fn credentials(app: &mut TestApp, token: String) -> Vec<Credential> {
    let before = app.sign_in_as(Some(token.clone()));
    let key = async |path: &str| {
        let made = app.post(path, &json!({ "name": "everything", "role": "admin" })).await.expect(201).json();
        made["key"].as_str().expect("a key").to_owned()
    };
    let (organization, personal) = (key("/api/api-keys").await, key("/api/auth/tokens").await);
    let kept = app.post("/api/auth/session", &json!({})).await.expect(200);
    let cookie = kept.header("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie");
    let cookie = cookie.to_owned();
    app.sign_in_as(before);
    vec![
        Credential { kind: "access token", header: ("authorization", format!("Bearer {token}")) },
        Credential { kind: "hg_ak_", header: ("x-api-key", organization.clone()) },
        Credential { kind: "hg_ak_ as Bearer", header: ("authorization", format!("Bearer {organization}")) },
        Credential { kind: "hg_pat_", header: ("authorization", format!("Bearer {personal}")) },
        Credential { kind: "cookie", header: ("cookie", cookie) },
    ]
}

/// Asks for `operation` at `path` with a body as its document shows one, by whatever `credential` is.
async fn ask(app: &TestApp, operation: &Operation, path: &str, credential: Option<&Credential>) -> Answer {
    let body = operation.body.as_ref().map_or_else(|| json!({}), |body| body.example.clone());
    let mut request = http::Request::builder()
        .method(&operation.method)
        .uri(path)
        .header("host", "plimsoll.test")
        .header("sec-fetch-site", "same-origin");
    if let Some(Credential { header: (name, value), .. }) = credential {
        request = request.header(*name, value);
    }
    let body = if operation.is_read() {
        Body::empty()
    } else {
        request = request.header("content-type", "application/json");
        Body::from(body.to_string())
    };
    app.send(request.body(body).expect("a request")).await
}

fn said(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.bytes).into_owned()
}

/// What the owner sees of everything that is theirs alone.
async fn inspect(app: &TestApp, estate: &Estate) -> Vec<(String, u16, String)> {
    let mut seen = Vec::new();
    for operation in operations().iter().filter(|one| one.is_read()) {
        let things = operation.things();
        if things.is_empty()
            || operation.is_stream
            || !things.iter().all(|thing| estate.thing(thing).is_private)
        {
            continue;
        }
        let answer = app.get(&operation.at(|thing| estate.thing(thing).id.clone())).await;
        seen.push((operation.name(), answer.status.as_u16(), said(&answer)));
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_another_tenants_does_not_exist_whatever_is_asked_with_whatever_credential() {
    let mut app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let estate = Estate::build(&app).await;
    let before = inspect(&app, &estate).await;
    for (name, status, said) in &before {
        assert!((200..300).contains(status), "{name}, to its owner: {status} {said}");
    }
    let (_, stranger) = app.other_tenant("strangers", "admin").await;
    let mut asked = 0;
    for credential in credentials(&mut app, stranger).await {
        let is_key = credential.kind.starts_with("hg_");
        for operation in operations() {
            let things = operation.things();
            if things.is_empty() || operation.is_public {
                continue;
            }
            let name = format!("{} with {}", operation.name(), credential.kind);
            if !things.iter().all(|thing| estate.thing(thing).is_private) {
                continue;
            }
            let there = operation.at(|thing| estate.thing(thing).id.clone());
            let nowhere = operation.at(|thing| estate.thing(thing).nowhere.clone());
            let theirs = ask(&app, &operation, &there, Some(&credential)).await;
            let nobodys = ask(&app, &operation, &nowhere, Some(&credential)).await;
            let wanted = if is_key && IN_PERSON.contains(&operation.name().as_str()) { 403 } else { 404 };
            assert_eq!(theirs.status.as_u16(), wanted, "{name}: {}", said(&theirs));
            assert_eq!(nobodys.status, theirs.status, "{name}: {}", said(&nobodys));
            assert_eq!(said(&theirs), said(&nobodys), "{name}");
            if operation.is_read() {
                let head = Operation { method: Method::HEAD, ..operation };
                let head = ask(&app, &head, &there, Some(&credential)).await;
                assert_eq!((head.status.as_u16(), head.bytes.len()), (404, 0), "HEAD, {name}");
            }
            asked += 1;
        }
    }
    assert!(asked >= 100, "only {asked} questions were asked");
    assert_eq!(inspect(&app, &estate).await, before, "what the stranger asked for changed something");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_stranger_reads_tells_of_another_tenant() {
    let mut app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let estate = Estate::build(&app).await;
    let (_, stranger) = app.other_tenant("strangers", "admin").await;
    for credential in credentials(&mut app, stranger).await {
        for operation in operations().iter().filter(|one| one.is_read()) {
            let path = operation.at(|thing| estate.thing(thing).id.clone());
            let answer = ask(&app, operation, &path, Some(&credential)).await;
            let (name, said) = (operation.name(), said(&answer));
            assert!(answer.status.as_u16() < 500 || operation.is_public, "{name}: {said}");
            assert!(!said.contains(CANARY), "{name} with {}: {said}", credential.kind);
            for id in estate.private_ids() {
                assert!(!said.contains(id), "{name} with {}: {id} in {said}", credential.kind);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_credential_everything_but_the_public_is_a_401() {
    let app = TestApp::with(&[("DEBUG", "true")]).await;
    for operation in operations() {
        let name = operation.name();
        assert_eq!(operation.is_public, PUBLIC.contains(&name.as_str()), "{name} is public, or is not");
        if operation.is_public {
            continue;
        }
        let path = operation.at(|_| uuid::Uuid::now_v7().to_string());
        let answer = ask(&app, &operation, &path, None).await;
        assert_eq!(answer.status, 401, "{name}: {}", said(&answer));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{name}");
        for forged in ["Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.", "Bearer hg_ak_", "Basic YTpi"] {
            let forged = Credential { kind: "forged", header: ("authorization", forged.to_owned()) };
            assert_eq!(ask(&app, &operation, &path, Some(&forged)).await.status, 401, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_read_changes_nothing_but_what_is_their_own() {
    let mut app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let reader = app.account(app.tenant().await, "reader", "read_only").await;
    let key = app.post("/api/api-keys", &json!({ "name": "reader", "role": "read_only" })).await.expect(201);
    let key = key.json()["key"].as_str().expect("a key").to_owned();
    app.sign_in_as(None);
    let readers = [
        Credential { kind: "access token", header: ("authorization", format!("Bearer {reader}")) },
        Credential { kind: "hg_ak_", header: ("x-api-key", key) },
    ];
    for operation in operations() {
        let name = operation.name();
        if operation.is_public || operation.is_read() || FOR_READERS.contains(&name.as_str()) {
            continue;
        }
        let path = operation.at(|_| uuid::Uuid::now_v7().to_string());
        for credential in &readers {
            let answer = ask(&app, &operation, &path, Some(credential)).await;
            assert_eq!(answer.status, 403, "{name} with {}: {}", credential.kind, said(&answer));
        }
    }
}

/// `example` with `value` in the place of each thing that `schema` says is an id, or the name of a tenant, one at a time; with the
/// name of the field.
fn referring(schema: &Value, example: &Value, value: &str, slug: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let old = &example[name];
        let inside = |item: Value| {
            let mut changed = example.clone();
            changed[name] = item;
            (name.clone(), changed)
        };
        if member["format"] == "uuid" {
            found.push(inside(json!(value)));
        } else if name == "tenant" {
            found.push(inside(json!(slug)));
        } else if member["items"]["format"] == "uuid" {
            found.push(inside(json!([value])));
        } else if member["properties"].is_object() {
            found.extend(referring(member, old, value, slug).into_iter().map(|(_, changed)| inside(changed)));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_body_or_a_parameter_names_of_another_tenant_does_not_exist_either() {
    let mut app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let estate = Estate::build(&app).await;
    let before = inspect(&app, &estate).await;
    let (_, stranger) = app.other_tenant("strangers", "admin").await;
    let owner = app.sign_in_as(Some(stranger));
    let nobodys = uuid::Uuid::now_v7().to_string();
    let ids: Vec<&str> = estate.private_ids().filter(|id| uuid::Uuid::parse_str(id).is_ok()).collect();
    // The ids differ, and so may the jobs that were made of them.
    let masked = |answer: &Answer, id: &str| (answer.status, said(answer).replace(id, "ID"));
    let (mut in_bodies, mut in_parameters) = (0, 0);
    for operation in operations() {
        if let Some(body) = &operation.body {
            let path = operation.at(|thing| estate.thing(thing).nowhere.clone());
            let send = async |body: &Value| {
                let request = app.request(operation.method.clone(), &path);
                let request = request.header("content-type", "application/json");
                app.send(request.body(Body::from(body.to_string())).expect("a request")).await
            };
            for id in &ids {
                let theirs = referring(&body.schema, &body.example, id, "acme-corp");
                let nobodys_too = referring(&body.schema, &body.example, &nobodys, "nothing-of-this-name");
                for ((field, there), (_, nowhere)) in theirs.iter().zip(&nobodys_too) {
                    let (there, nowhere) = (send(there).await, send(nowhere).await);
                    let (there, nowhere) = (masked(&there, id), masked(&nowhere, &nobodys));
                    let (there, nowhere) = (
                        (there.0, there.1.replace("acme-corp", "SLUG")),
                        (nowhere.0, nowhere.1.replace("nothing-of-this-name", "SLUG")),
                    );
                    assert_eq!(there, nowhere, "{}, {field} = {id}", operation.name());
                    in_bodies += 1;
                }
            }
        }
        let is_id = |name: &str, schema: &Value| schema["format"] == "uuid" || name.ends_with("_id");
        for (name, _) in operation.query.iter().filter(|(name, schema)| is_id(name, schema)) {
            let path = operation.at(|thing| estate.thing(thing).id.clone());
            for id in &ids {
                let there = app.get(&format!("{path}?{name}={id}")).await;
                let nowhere = app.get(&format!("{path}?{name}={nobodys}")).await;
                let same = masked(&there, id) == masked(&nowhere, &nobodys);
                assert!(same, "{}, {name} = {id}: {} and {}", operation.name(), said(&there), said(&nowhere));
                assert!(!said(&there).contains(CANARY), "{}: {}", operation.name(), said(&there));
                in_parameters += 1;
            }
        }
    }
    assert!(in_bodies >= 30 && in_parameters >= 30, "{in_bodies} in bodies, {in_parameters} in parameters");
    app.sign_in_as(owner);
    assert_eq!(inspect(&app, &estate).await, before, "what the stranger named was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_shared_report_opens_that_report_and_nothing_else() {
    let mut app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let estate = Estate::build(&app).await;
    let report = &estate.thing("/api/reports/{report_id}").id;
    let share = app.post(&format!("/api/reports/{report}/share"), &json!({})).await.expect(200).json();
    let url = share["url"].as_str().or(share["share_url"].as_str()).expect("an address");
    let token = url.rsplit('/').next().expect("a token").to_owned();
    app.sign_in_as(None);
    app.get(&format!("/api/reports/shared/{token}")).await.expect(200);
    for header in [("authorization", format!("Bearer {token}")), ("x-api-key", token.clone())] {
        let shown = Credential { kind: "share token", header };
        for operation in operations().iter().filter(|one| !one.is_public) {
            let path = operation.at(|thing| estate.thing(thing).id.clone());
            let answer = ask(&app, operation, &path, Some(&shown)).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}: {}", operation.name(), said(&answer));
        }
    }
    for other in [report.as_str(), &token[1..], &format!("{token}x"), &token.to_uppercase()] {
        app.get(&format!("/api/reports/shared/{other}")).await.expect(404);
    }
}

#[test]
fn the_exceptions_are_operations_that_there_are() {
    let names: Vec<String> = operations().iter().map(Operation::name).collect();
    for exception in [PUBLIC, FOR_READERS, IN_PERSON].concat() {
        assert!(names.iter().any(|name| name == exception), "{exception} is not an operation any more");
    }
}
