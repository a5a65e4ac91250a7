//! The systems that an organization works with: secrets that go in and do not come out, and tests that really ask.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::Request, http::StatusCode, response::IntoResponse, routing::any};
use base64::{Engine, engine::general_purpose::STANDARD};
use harness::TestApp;
use serde_json::{Value, json};

const WAZUH: &str = "/api/config/integrations/wazuh";
const GITHUB: &str = "/api/config/integrations/github";
const CEPH: &str = "/api/config/integrations/ceph";

/// Some other system on a loopback port, which notes what it was asked.
struct Other {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Other {
    /// Answers as `answer` says, which is given method, path and `Authorization`.
    async fn start(answer: fn(&str, &str, &str) -> (u16, Value)) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = asked.clone();
        let handler = any(async move |request: Request| {
            let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
            let shown = header.unwrap_or_default().to_owned();
            let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
            notes.lock().expect("a list").push(format!("{method} {path} {shown}"));
            let (status, body) = answer(&method, &path, &shown);
            (StatusCode::from_u16(status).expect("a status"), Json(body)).into_response()
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback_service(handler);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("a list").clone()
    }
}

async fn test(app: &TestApp, path: &str) -> Value {
    app.post(&format!("{path}/test"), &json!({})).await.expect(200).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_go_in_and_do_not_come_out() {
    let app = TestApp::set_up().await;
    let fresh = app.get("/api/config/integrations").await.expect(200).json();
    assert_eq!(
        fresh["wazuh"],
        json!({ "url": null, "api_key": null, "poll_interval_minutes": 15, "staleness_threshold_hours": 24 })
    );
    assert_eq!(
        (&fresh["github"]["auth_type"], &fresh["github"]["url"]),
        (&json!("pat"), &json!("https://api.github.com"))
    );

    let canary = "canary-1234567890";
    for (path, request) in [
        (
            WAZUH,
            json!({ "url": "https://wazuh.example.com:55000", "api_key": canary, "poll_interval_minutes": 30 }),
        ),
        (GITHUB, json!({ "org": "example", "auth_type": "pat", "pat": canary })),
        (CEPH, json!({ "url": "https://ceph.example.com:8443", "username": "ceph", "password": canary })),
    ] {
        let answer = app.patch(path, &request).await.expect(200);
        assert!(!String::from_utf8_lossy(&answer.bytes).contains(canary), "{path}");
        assert!(String::from_utf8_lossy(&answer.bytes).contains("********"), "{path}");
    }
    let seen = app.get("/api/config/integrations").await.expect(200);
    assert!(!String::from_utf8_lossy(&seen.bytes).contains(canary));
    let seen = seen.json();
    assert_eq!(
        (&seen["wazuh"]["api_key"], &seen["wazuh"]["poll_interval_minutes"], &seen["github"]["private_key"]),
        (&json!("********"), &json!(30), &Value::Null)
    );
    let trail = app.get("/api/audit?page_size=500").await.expect(200);
    let text = String::from_utf8_lossy(&trail.bytes);
    assert!(
        text.contains("integration_secret.create")
            && text.contains("integration.create")
            && !text.contains(canary)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mask_sent_back_leaves_a_secret_as_it_is_and_null_takes_it_away() {
    let app = TestApp::set_up().await;
    let other = Other::start(|_, path, shown| match (path, shown) {
        ("/", "Bearer first") => {
            (200, json!({ "data": { "title": "Wazuh API REST", "api_version": "4.9.2" } }))
        }
        _ => (401, json!({})),
    })
    .await;
    app.patch(WAZUH, &json!({ "url": other.url, "api_key": "first" })).await.expect(200);
    // As the console does it: everything that was received is sent back.
    let mut received = app.get("/api/config/integrations").await.json()["wazuh"].clone();
    received["poll_interval_minutes"] = json!(5);
    app.patch(WAZUH, &received).await.expect(200);
    let tested = test(&app, WAZUH).await;
    assert_eq!(
        (&tested["success"], &tested["message"]),
        (&json!(true), &json!("Wazuh API REST 4.9.2 answers and takes the key."))
    );
    assert!(tested["response_time_ms"].is_u64());

    let answer = app.patch(WAZUH, &json!({ "api_key": null })).await.expect(200).json();
    assert_eq!((&answer["api_key"], &answer["poll_interval_minutes"]), (&Value::Null, &json!(5)));
    let tested = test(&app, WAZUH).await;
    assert_eq!((&tested["success"], &tested["response_time_ms"]), (&json!(false), &Value::Null));
    assert_eq!(other.asked().len(), 1, "without a key nobody is asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_secret_is_never_sent_to_a_new_address() {
    let app = TestApp::set_up().await;
    app.patch(
        CEPH,
        &json!({ "url": "https://ceph.example.com:8443", "username": "ceph", "password": "secret" }),
    )
    .await
    .expect(200);
    for password in [json!({}), json!({ "password": "********" })] {
        let mut request = password;
        request["url"] = json!("https://thief.example.com");
        let refused = app.patch(CEPH, &request).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], "body -> password", "{refused}");
    }
    // Another path of the same server is the same address.
    app.patch(CEPH, &json!({ "url": "https://ceph.example.com:8443/ceph" })).await.expect(200);
    app.patch(CEPH, &json!({ "url": "https://other.example.com", "password": "secret" })).await.expect(200);
    app.patch(CEPH, &json!({ "url": null })).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_change_and_organizations_are_kept_apart() {
    let mut app = TestApp::set_up().await;
    app.patch(GITHUB, &json!({ "org": "ours", "pat": "ours" })).await.expect(200);
    let reader = app.account(app.tenant().await, "reader", "read_only").await;
    app.sign_in_as(Some(reader));
    assert_eq!(app.get("/api/config/integrations").await.expect(200).json()["github"]["org"], "ours");
    app.patch(GITHUB, &json!({ "org": "theirs" })).await.expect(403);
    let (_, token) = app.other_tenant("theirs", "admin").await;
    app.sign_in_as(Some(token));
    let theirs = app.get("/api/config/integrations").await.expect(200).json();
    assert_eq!((&theirs["github"]["org"], &theirs["github"]["pat"]), (&Value::Null, &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_are_for_administrators_of_the_installation_and_hosts_they_have_listed() {
    let mut app = TestApp::set_up_with(&[("INTEGRATION_ALLOW_HOSTS", "10.99.0.1, Wazuh.Internal")]).await;
    let other = Other::start(|_, _, _| (401, json!({}))).await;
    app.patch(WAZUH, &json!({ "url": other.url, "api_key": "k" })).await.expect(200);
    assert_eq!(test(&app, WAZUH).await["message"], "Wazuh answers and refuses the credential (401).");

    let (_, token) = app.other_tenant("theirs", "admin").await;
    app.sign_in_as(Some(token));
    let refused = app.patch(WAZUH, &json!({ "url": other.url, "api_key": "k" })).await.expect(422).json();
    assert_eq!(refused["errors"][0]["field"], "body -> url", "{refused}");
    for url in
        ["https://127.0.0.1", "https://localhost", "http://wazuh.example.com", "https://169.254.169.254"]
    {
        app.patch(WAZUH, &json!({ "url": url })).await.expect(422);
    }
    app.patch(WAZUH, &json!({ "url": "https://10.99.0.1:55000" })).await.expect(200);
    assert_eq!(other.asked().len(), 1, "nobody else has asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_and_impossible_values_are_refused_by_name() {
    let app = TestApp::set_up().await;
    for (path, request, field) in [
        (WAZUH, json!({ "api_kye": "x" }), "body -> api_kye"),
        (WAZUH, json!({ "poll_interval_minutes": 0 }), "body -> poll_interval_minutes"),
        (WAZUH, json!({ "staleness_threshold_hours": 9000 }), "body -> staleness_threshold_hours"),
        (WAZUH, json!({ "url": "https://user:secret@wazuh.example.com" }), "body -> url"),
        (WAZUH, json!({ "api_key": "a\r\nb" }), "body -> api_key"),
        (GITHUB, json!({ "auth_type": "oauth" }), "body -> auth_type"),
        (GITHUB, json!({ "org": "../user" }), "body -> org"),
        (GITHUB, json!({ "private_key": "none" }), "body -> private_key"),
        (CEPH, json!({ "username": "" }), "body -> username"),
        (CEPH, json!({ "password": "" }), "body -> password"),
        (CEPH, json!({ "tenant_id": "x" }), "body -> tenant_id"),
    ] {
        let refused = app.patch(path, &request).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wazuh_is_signed_in_to_when_the_key_is_a_login() {
    let app = TestApp::set_up().await;
    let other = Other::start(|method, path, shown| match (method, path, shown) {
        ("POST", "/security/user/authenticate", shown) if shown.starts_with("Basic ") => {
            (200, json!({ "data": { "token": "fresh" } }))
        }
        ("GET", "/", "Bearer fresh") => {
            (200, json!({ "data": { "title": "Wazuh API REST", "api_version": "4.9.2" } }))
        }
        _ => (401, json!({})),
    })
    .await;
    app.patch(WAZUH, &json!({ "url": format!("{}/", other.url), "api_key": "api:pass:word" }))
        .await
        .expect(200);
    assert_eq!(test(&app, WAZUH).await["success"], true);
    let login = STANDARD.encode("api:pass:word");
    assert_eq!(
        other.asked(),
        [format!("POST /security/user/authenticate Basic {login}"), "GET / Bearer fresh".to_owned()]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn github_is_asked_for_the_organization_and_ceph_for_a_token() {
    let app = TestApp::set_up().await;
    let github = Other::start(|_, path, shown| match (path, shown) {
        ("/orgs/example", "Bearer pat") => (200, json!({ "login": "example" })),
        ("/orgs/other", "Bearer pat") => (404, json!({ "message": "Not Found" })),
        _ => (401, json!({ "message": "Bad credentials" })),
    })
    .await;
    app.patch(GITHUB, &json!({ "url": github.url, "org": "example", "pat": "pat" })).await.expect(200);
    let tested = test(&app, GITHUB).await;
    assert_eq!(tested["message"], "GitHub answers and takes the credential: it is about `example`.");
    app.patch(GITHUB, &json!({ "org": "other" })).await.expect(200);
    let tested = test(&app, GITHUB).await;
    assert!(tested["message"].as_str().is_some_and(|said| said.contains("no such organization")), "{tested}");
    app.patch(GITHUB, &json!({ "pat": "wrong" })).await.expect(200);
    assert_eq!(test(&app, GITHUB).await["message"], "GitHub answers and refuses the credential (401).");

    let ceph = Other::start(|method, path, _| match (method, path) {
        ("POST", "/api/auth") => (201, json!({ "token": "t", "username": "ceph" })),
        _ => (404, json!({})),
    })
    .await;
    app.patch(CEPH, &json!({ "url": ceph.url, "username": "ceph", "password": "p" })).await.expect(200);
    assert_eq!(test(&app, CEPH).await["message"], "Ceph Manager answers and takes the password of `ceph`.");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_answer_is_a_test_that_failed_and_tells_nothing_more() {
    let app = TestApp::set_up().await;
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address")
    };
    app.patch(CEPH, &json!({ "url": format!("http://{closed}"), "username": "c", "password": "p" }))
        .await
        .expect(200);
    let tested = test(&app, CEPH).await;
    assert_eq!(
        (&tested["success"], &tested["message"]),
        (&json!(false), &json!("`127.0.0.1` cannot be reached."))
    );
    let strange = Other::start(|_, _, _| (200, json!(["not", "ceph"]))).await;
    app.patch(CEPH, &json!({ "url": strange.url, "password": "p" })).await.expect(200);
    let tested = test(&app, CEPH).await;
    assert_eq!(tested["message"], "Something answers, but not as Ceph does: is this the address of its API?");
}
