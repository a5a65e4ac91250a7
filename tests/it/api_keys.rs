//! Keys of organizations and personal tokens: made, shown once, used, limited, revoked.

use axum::body::Body;
use harness::{Answer, TestApp};
use http::Method;
use serde_json::{Value, json};

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

async fn make(app: &TestApp, path: &str, request: Value) -> Value {
    app.post(path, &request).await.expect(201).json()
}

/// A request that shows `key` in a header, and nothing else.
async fn ask(app: &mut TestApp, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let before = app.sign_in_as(None);
    let mut request = app.request(method, path).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = app.send(request.body(Body::from("{}")).expect("a request")).await;
    app.sign_in_as(before);
    answer
}

async fn get(app: &mut TestApp, path: &str, key: &str) -> u16 {
    ask(app, Method::GET, path, &[("x-api-key", key)]).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_once_kept_hashed_and_works_in_either_header() {
    let mut app = TestApp::set_up().await;
    let made = make(&app, "/api/api-keys", json!({ "name": "pipeline" })).await;
    let key = text(&made["key"]);
    assert!(key.starts_with("hg_ak_") && key.starts_with(&text(&made["prefix"])), "{key}");
    assert_eq!((&made["role"], &made["status"]), (&json!("read_only"), &json!("active")));
    let listed = app.get("/api/api-keys").await.expect(200).json();
    assert_eq!(listed["total"], 1);
    assert!(!listed.to_string().contains(&key));
    let kept: Vec<u8> =
        sqlx::query_scalar("select secret_hash from api_keys").fetch_one(app.db.pool()).await.expect("read");
    assert_eq!(kept.len(), 32);

    let bearer = format!("Bearer {key}");
    for header in [("x-api-key", key.as_str()), ("authorization", bearer.as_str())] {
        ask(&mut app, Method::GET, "/api/assets", &[header]).await.expect(200);
        ask(&mut app, Method::GET, "/api/users", &[header]).await.expect(403);
        ask(&mut app, Method::GET, "/api/auth/me", &[header]).await.expect(403);
    }
    let path = format!("/api/api-keys/{}", text(&made["id"]));
    assert!(app.get(&path).await.expect(200).json()["last_used_at"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn bearer_decides_when_it_is_there() {
    let mut app = TestApp::set_up().await;
    let key = text(&make(&app, "/api/api-keys", json!({ "name": "pipeline" })).await["key"]);
    let token = app.sign_in_as(None).expect("a token");
    let bearer = format!("Bearer {token}");
    let both = [("authorization", bearer.as_str()), ("x-api-key", "rvk_nonsense")];
    ask(&mut app, Method::GET, "/api/auth/me", &both).await.expect(200);
    let wrong_first = [("authorization", "Bearer eyJhbGciOiJub25lIn0.e30."), ("x-api-key", key.as_str())];
    ask(&mut app, Method::GET, "/api/assets", &wrong_first).await.expect(401);
    ask(&mut app, Method::GET, "/api/assets", &[("x-api-key", "rvk_nonsense")]).await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_expired_and_misspelt_keys_are_refused_at_once() {
    let mut app = TestApp::set_up().await;
    let made = make(&app, "/api/api-keys", json!({ "name": "one" })).await;
    let other = make(&app, "/api/api-keys", json!({ "name": "two", "expires_in_days": 1 })).await;
    let (key, other_key) = (text(&made["key"]), text(&other["key"]));
    assert_eq!(get(&mut app, "/api/assets", &key).await, 200);
    let path = format!("/api/api-keys/{}", text(&made["id"]));
    for _ in 0..2 {
        assert_eq!(app.delete(&path).await.expect(200).json()["status"], "revoked");
    }
    assert_eq!(get(&mut app, "/api/assets", &key).await, 401);
    assert_eq!(get(&mut app, "/api/assets", &other_key).await, 200);
    sqlx::query("update api_keys set expires_at = now() - interval '1 second' where name = 'two'")
        .execute(app.db.pool())
        .await
        .expect("expired");
    assert_eq!(get(&mut app, "/api/assets", &other_key).await, 401);
    // The secret of one key with the name of another.
    let mixed = format!("{}{}", &other_key[..15], &key[15..]);
    assert_eq!(get(&mut app, "/api/assets", &mixed).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_limit_a_key_to_areas() {
    let mut app = TestApp::set_up().await;
    let request = json!({ "name": "agent", "role": "analyst", "scopes": ["inventory:write", "assets:read"] });
    let key = text(&make(&app, "/api/api-keys", request).await["key"]);
    assert_eq!(get(&mut app, "/api/assets", &key).await, 200);
    let refused = ask(&mut app, Method::GET, "/api/reports", &[("x-api-key", &key)]).await.expect(403).json();
    assert!(text(&refused["detail"]).contains("reports:read"), "{refused}");
    let sent = ask(&mut app, Method::POST, "/api/inventory/reports", &[("x-api-key", &key)]).await;
    assert_eq!(sent.status, 422, "it is let in, and its body is not a report");
    ask(&mut app, Method::POST, "/api/reports/generate", &[("x-api-key", &key)]).await.expect(403);
    app.post("/api/api-keys", &json!({ "name": "x", "scopes": ["everything"] })).await.expect(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_no_keys_and_changes_no_passwords() {
    let mut app = TestApp::set_up().await;
    let key = text(&make(&app, "/api/api-keys", json!({ "name": "root", "role": "admin" })).await["key"]);
    assert_eq!(get(&mut app, "/api/users", &key).await, 200);
    for path in
        ["/api/api-keys", "/api/auth/tokens", "/api/auth/session", "/api/auth/password", "/api/organizations"]
    {
        ask(&mut app, Method::POST, path, &[("x-api-key", &key)]).await.expect(403);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_no_administrators_who_could_make_further_keys() {
    let mut app = TestApp::set_up().await;
    let key = make(&app, "/api/api-keys", json!({ "name": "onboarding", "role": "admin" })).await;
    let person = app.sign_in_as(Some(text(&key["key"])));
    let new = |username: &str, role: &str| {
        json!({ "username": username, "email": format!("{username}@example.com"), "password": "nine brown owls",
                "role": role })
    };
    app.post("/api/users", &new("boss", "admin")).await.expect(403);
    let analyst = app.post("/api/users", &new("ana", "analyst")).await.expect(201).json();
    let path = format!("/api/users/{}", text(&analyst["id"]));
    app.patch(&path, &json!({ "role": "admin" })).await.expect(403);
    app.patch(&path, &json!({ "role": "read_only" })).await.expect(200);
    app.sign_in_as(person);
    app.patch(&path, &json!({ "role": "admin" })).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_personal_token_never_does_more_than_its_person() {
    let mut app = TestApp::set_up().await;
    let admin = app.sign_in_as(None);
    let ada = app.account(app.tenant().await, "ada", "analyst").await;
    app.sign_in_as(Some(ada));
    app.post("/api/auth/tokens", &json!({ "name": "laptop", "role": "admin" })).await.expect(422);
    app.post("/api/api-keys", &json!({ "name": "pipeline" })).await.expect(403);
    let made = make(&app, "/api/auth/tokens", json!({ "name": "laptop" })).await;
    let key = text(&made["key"]);
    assert!(key.starts_with("hg_pat_"), "{key}");
    assert_eq!(app.get("/api/auth/tokens").await.expect(200).json()["total"], 1);
    let me = ask(&mut app, Method::GET, "/api/auth/me", &[("x-api-key", &key)]).await.expect(200).json();
    assert_eq!((&me["username"], &me["role"]), (&json!("ada"), &json!("analyst")));

    app.sign_in_as(admin);
    app.account(app.tenant().await, "eve", "admin").await;
    assert_eq!(app.get("/api/auth/tokens").await.expect(200).json()["total"], 0, "only one's own");
    app.delete(&format!("/api/auth/tokens/{}", text(&made["id"]))).await.expect(404);
    let path = format!("/api/users/{}", text(&me["id"]));
    app.patch(&path, &json!({ "role": "read_only" })).await.expect(200);
    ask(&mut app, Method::PATCH, "/api/assets/bulk", &[("x-api-key", &key)]).await.expect(403);
    app.delete(&path).await.expect(200);
    assert_eq!(get(&mut app, "/api/assets", &key).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_organization_outlives_its_maker_and_sees_no_other_organization() {
    let mut app = TestApp::set_up().await;
    app.post(
        "/api/inventory/reports",
        &json!({ "hostname": "web-1", "os": { "distro": "debian", "version": "12" },
                                                "packages": [] }),
    )
    .await;
    let (tenant, token) = app.other_tenant("strangers", "admin").await;
    let admin = app.sign_in_as(Some(token));
    let made = make(&app, "/api/api-keys", json!({ "name": "theirs", "role": "admin" })).await;
    let key = text(&made["key"]);
    sqlx::query("update users set is_active = false where tenant_id = $1")
        .bind(tenant.0)
        .execute(app.db.pool())
        .await
        .expect("gone");
    let users = ask(&mut app, Method::GET, "/api/users", &[("x-api-key", &key)]).await.expect(200).json();
    assert_eq!(users["total"], 1, "of its own organization");
    app.sign_in_as(admin);
    app.get(&format!("/api/api-keys/{}", text(&made["id"]))).await.expect(404);
    app.delete(&format!("/api/api-keys/{}", text(&made["id"]))).await.expect(404);
}
