//! People: the first one, the others, what they may do, and how their sessions begin and end.

use axum::body::Body;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::future::join_all;
use harness::{PASSWORD, TestApp};
use http::{Method, Request};
use runtime::secrets::Keys;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A request of somebody with a token.
fn with(token: &str, method: Method, path: &str) -> Request<Body> {
    let request =
        Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
    request.body(Body::empty()).expect("a request")
}

async fn login(app: &TestApp, username: &str, password: &str) -> Value {
    app.post("/api/auth/login", &json!({ "username": username, "password": password }))
        .await
        .expect(200)
        .json()
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_set_ups_at_once_one_wins_and_it_is_closed_for_ever_after() {
    let app = TestApp::with(&[("SIGN_INS_PER_MINUTE", "1000")]).await;
    let attempts = (0..50).map(|n| {
        let (name, email) = (format!("admin{n}"), format!("admin{n}@example.com"));
        let account = json!({ "username": name, "email": email, "password": PASSWORD });
        let app = &app;
        async move { app.post("/api/auth/setup", &account).await.status.as_u16() }
    });
    let statuses = join_all(attempts).await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    // 503: on a slow machine its password was not hashed in time.
    assert!(statuses.iter().all(|status| matches!(status, 201 | 409 | 503)), "{statuses:?}");
    let made: (i64, i64) =
        sqlx::query_as("select (select count(*) from users), (select count(*) from tenants)")
            .fetch_one(app.db.pool())
            .await
            .expect("counted");
    assert_eq!(made, (1, 1));
    sqlx::query("delete from users").execute(app.db.pool()).await.expect("everybody is gone");
    let again = json!({ "username": "again", "email": "again@example.com", "password": PASSWORD });
    app.post("/api/auth/setup", &again).await.expect(409);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_another_machine_the_set_up_needs_the_one_time_token() {
    let app = TestApp::start().await;
    let mut owner = store::db::connect_once(&app.db.owner_url).await.expect("the owner connects");
    store::auth::replace_setup_token(&mut owner, &Sha256::digest("one-time")).await.expect("a token is set");
    let node = app.another_node();
    let attempt = async |token: Option<&str>| {
        let account = json!({ "username": "admin", "email": "admin@example.com", "password": PASSWORD });
        let mut request =
            app.request(Method::POST, "/api/auth/setup").header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("x-setup-token", token);
        }
        let request = request.body(Body::from(account.to_string())).expect("a request");
        TestApp::send_to(&node, [192, 0, 2, 1], request).await.status.as_u16()
    };
    assert_eq!(attempt(None).await, 403);
    assert_eq!(attempt(Some("guess")).await, 403);
    assert_eq!(attempt(Some("one-time")).await, 201);
    assert_eq!(attempt(Some("one-time")).await, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_made_found_changed_and_deactivated() {
    let app = TestApp::set_up().await;
    let analyst = json!({ "username": "analyst1", "email": "analyst1@example.com", "password": "securepassword",
                          "role": "developer" });
    let made = app.post("/api/users", &analyst).await.expect(201).json();
    assert_eq!((&made["role"], &made["auth_provider"]), (&json!("analyst"), &json!("internal")));
    assert!(!made.to_string().contains("securepassword") && made.get("password_hash").is_none());
    app.post("/api/users", &analyst).await.expect(409);
    let reader = json!({ "username": "reader", "email": "reader@example.com", "password": "securepassword" });
    assert_eq!(app.post("/api/users", &reader).await.expect(201).json()["role"], "read_only");

    let names = async |query: &str| -> Vec<String> {
        let page = app.get(&format!("/api/users?{query}")).await.expect(200).json();
        page["data"].as_array().expect("rows").iter().map(|user| text(&user["username"])).collect()
    };
    assert_eq!(names("").await, ["admin", "analyst1", "reader"]);
    assert_eq!(names("sort=role&sort_dir=asc").await, ["reader", "analyst1", "admin"]);
    assert_eq!(names("role=viewer").await, ["reader"]);
    assert_eq!(names("search=NALYST").await, ["analyst1"]);
    assert_eq!(names("page_size=1&page=2").await, ["analyst1"]);
    app.get("/api/users?rol=admin").await.expect(422);

    let path = format!("/api/users/{}", text(&made["id"]));
    let changed =
        app.patch(&path, &json!({ "email": "a@example.org", "role": "admin" })).await.expect(200).json();
    assert_eq!((&changed["email"], &changed["role"]), (&json!("a@example.org"), &json!("admin")));
    for wrong in [
        json!({ "email": null }),
        json!({ "tenant_id": Uuid::nil() }),
        json!({ "role": "owner" }),
        json!({ "email": "x" }),
    ] {
        app.patch(&path, &wrong).await.expect(422);
    }
    app.patch(&path, &json!({ "email": "reader@example.com" })).await.expect(409);

    for _ in 0..2 {
        assert_eq!(app.delete(&path).await.expect(200).json()["is_active"], false);
    }
    assert_eq!(app.get(&path).await.expect(200).json()["is_active"], false);
    assert_eq!(names("is_active=true").await, ["admin", "reader"]);
    let answer =
        app.post("/api/auth/login", &json!({ "username": "analyst1", "password": "securepassword" })).await;
    answer.expect(401);
    app.get(&format!("/api/users/{}", Uuid::new_v4())).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_another_organization_do_not_exist() {
    let mut app = TestApp::set_up().await;
    let stranger = app.get("/api/auth/me").await.expect(200).json()["id"].clone();
    let (_, token) = app.other_tenant("strangers", "admin").await;
    app.sign_in_as(Some(token));
    let path = format!("/api/users/{}", text(&stranger));
    let nowhere = app.get(&format!("/api/users/{}", Uuid::new_v4())).await.expect(404).json();
    assert_eq!(app.get(&path).await.expect(404).json(), nowhere);
    app.patch(&path, &json!({ "role": "read_only" })).await.expect(404);
    app.delete(&path).await.expect(404);
    app.post(&format!("{path}/password"), &json!({ "password": PASSWORD })).await.expect(404);
    assert_eq!(app.get("/api/users").await.expect(200).json()["total"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_role_and_a_deactivation_count_at_once_on_every_node() {
    let app = TestApp::set_up().await;
    let token = app.account(app.tenant().await, "ada", "admin").await;
    let ada = app.get("/api/users?search=ada").await.expect(200).json()["data"][0]["id"].clone();
    let (path, node) = (format!("/api/users/{}", text(&ada)), app.another_node());
    let ask =
        async |path: &str| TestApp::send_to(&node, [127, 0, 0, 1], with(&token, Method::GET, path)).await;
    ask("/api/users").await.expect(200);
    app.patch(&path, &json!({ "role": "analyst" })).await.expect(200);
    ask("/api/users").await.expect(403);
    app.delete(&path).await.expect(200);
    ask("/api/auth/me").await.expect(401);
    app.patch(&path, &json!({ "is_active": true })).await.expect(200);
    ask("/api/auth/me").await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_administrator_cannot_be_locked_out() {
    let app = TestApp::set_up().await;
    let me = text(&app.get("/api/auth/me").await.expect(200).json()["id"]);
    let path = format!("/api/users/{me}");
    app.delete(&path).await.expect(409);
    app.patch(&path, &json!({ "role": "analyst" })).await.expect(409);
    app.patch(&path, &json!({ "is_instance_admin": false })).await.expect(409);
    app.account(app.tenant().await, "second", "admin").await;
    let refused = app.delete(&path).await.expect(409).json();
    assert!(refused["detail"].as_str().expect("a reason").contains("the installation"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_administrators_who_remove_each_other_leave_one() {
    let app = TestApp::set_up().await;
    let (tenant, _) = app.other_tenant("acme", "read_only").await;
    let tokens = [app.account(tenant, "one", "admin").await, app.account(tenant, "two", "admin").await];
    let ids: Vec<Uuid> =
        sqlx::query_scalar("select id from users where username in ('one', 'two') order by username desc")
            .fetch_all(app.db.pool())
            .await
            .expect("read");
    let node = app.another_node();
    let removals = tokens.iter().zip(&ids).map(|(token, other)| {
        TestApp::send_to(&node, [127, 0, 0, 1], with(token, Method::DELETE, &format!("/api/users/{other}")))
    });
    join_all(removals).await;
    let left: i64 = sqlx::query_scalar(
        "select count(*) from users where tenant_id = $1 and role = 'admin' and is_active",
    )
    .bind(tenant.0)
    .fetch_one(app.db.pool())
    .await
    .expect("counted");
    assert_eq!(left, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_of_the_installation_change_their_like() {
    let mut app = TestApp::set_up().await;
    let instance_admin = text(&app.get("/api/auth/me").await.expect(200).json()["id"]);
    let token = app.account(app.tenant().await, "second", "admin").await;
    app.sign_in_as(Some(token));
    let second = text(&app.get("/api/auth/me").await.expect(200).json()["id"]);
    app.patch(&format!("/api/users/{second}"), &json!({ "is_instance_admin": true })).await.expect(403);
    app.delete(&format!("/api/users/{instance_admin}")).await.expect(403);
    app.post(&format!("/api/users/{instance_admin}/password"), &json!({ "password": PASSWORD }))
        .await
        .expect(403);
    app.post("/api/organizations", &json!({})).await.expect(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_has_to_be_thought_about() {
    let app = TestApp::set_up().await;
    for password in ["short", "Password123!", "12345678", "newperson1", &"x".repeat(129)] {
        let person = json!({ "username": "newperson", "email": "new@example.com", "password": password });
        let refused = app.post("/api/users", &person).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], "body -> password", "{refused}");
        assert!(!refused.to_string().contains(password), "a password is repeated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_from_a_refused_sign_in_who_exists() {
    let app = TestApp::set_up().await;
    app.account(app.tenant().await, "gone", "analyst").await;
    sqlx::query("update users set is_active = false where username = 'gone'")
        .execute(app.db.pool())
        .await
        .expect("gone");
    let mut answers = Vec::new();
    for (username, password) in
        [("admin", "wrong password"), ("nobody", "wrong password"), ("gone", PASSWORD), ("", "")]
    {
        let answer = app
            .post("/api/auth/login", &json!({ "username": username, "password": password }))
            .await
            .expect(401);
        answers.push(answer.json());
    }
    answers.dedup();
    assert_eq!(answers, [json!({ "detail": "Wrong username or password" })]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_ends_the_other_sessions() {
    let mut app = TestApp::set_up().await;
    let (first, second) = (login(&app, "admin", PASSWORD).await, login(&app, "admin", PASSWORD).await);
    app.sign_in_as(Some(text(&first["access_token"])));
    let new = "four words that nobody guesses";
    let change = |current: &str, new: &str| json!({ "current_password": current, "new_password": new });
    app.post("/api/auth/password", &change("wrong", new)).await.expect(422);
    app.post("/api/auth/password", &change(PASSWORD, "password1")).await.expect(422);
    app.post("/api/auth/password", &change(PASSWORD, new)).await.expect(200);
    app.get("/api/auth/me").await.expect(200);
    app.sign_in_as(Some(text(&second["access_token"])));
    app.get("/api/auth/me").await.expect(401);
    app.post("/api/auth/refresh", &json!({ "refresh_token": second["refresh_token"] })).await.expect(401);
    login(&app, "admin", new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_used_by_ten_at_once_serves_one_and_ends_the_session() {
    let mut app = TestApp::set_up().await;
    let session = login(&app, "admin", PASSWORD).await;
    let refresh = json!({ "refresh_token": session["refresh_token"] });
    let uses = join_all((0..10).map(|_| app.post("/api/auth/refresh", &refresh))).await;
    let served: Vec<_> = uses.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(served.len(), 1, "{:?}", uses.iter().map(|answer| answer.status).collect::<Vec<_>>());
    let next = served[0].json();
    app.post("/api/auth/refresh", &json!({ "refresh_token": next["refresh_token"] })).await.expect(401);
    for token in [&session["access_token"], &next["access_token"]] {
        app.sign_in_as(Some(text(token)));
        app.get("/api/auth/me").await.expect(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_on_its_day_however_often_it_was_refreshed() {
    let mut app = TestApp::set_up().await;
    let first = login(&app, "admin", PASSWORD).await;
    let renew = async |app: &TestApp, session: &Value| {
        app.post("/api/auth/refresh", &json!({ "refresh_token": session["refresh_token"] })).await
    };
    let second = renew(&app, &first).await.expect(200).json();
    sqlx::query("update sessions set expires_at = now()")
        .execute(app.db.pool())
        .await
        .expect("its day has come");
    renew(&app, &second).await.expect(401);
    app.sign_in_as(Some(text(&second["access_token"])));
    app.get("/api/auth/me").await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_everything_of_the_session_and_nothing_of_others() {
    let mut app = TestApp::set_up().await;
    let (first, second) = (login(&app, "admin", PASSWORD).await, login(&app, "admin", PASSWORD).await);
    app.sign_in_as(Some(text(&first["access_token"])));
    app.post("/api/auth/logout", &json!({})).await.expect(200);
    app.get("/api/auth/me").await.expect(401);
    app.post("/api/auth/refresh", &json!({ "refresh_token": first["refresh_token"] })).await.expect(401);
    app.sign_in_as(Some(text(&second["access_token"])));
    app.get("/api/auth/me").await.expect(200);
    app.post("/api/auth/refresh", &json!({ "refresh_token": second["refresh_token"] })).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_old_tokens_verify_and_new_ones_are_signed_anew() {
    let mut app = TestApp::set_up().await;
    let kid = |token: &str| jsonwebtoken::decode_header(token).expect("a JWT").kid.expect("a key id");
    let old = text(&login(&app, "admin", PASSWORD).await["access_token"]);
    let mut owner = store::db::connect_once(&app.db.owner_url).await.expect("the owner connects");
    let keys = Keys::load(&app.config.secrets_key).expect("the keys");
    let secret = "a secret of thirty-two characters".into();
    let left = store::auth::rotate_signing_key(&mut owner, &keys, Uuid::now_v7(), &secret, false)
        .await
        .expect("rotated");
    assert_eq!(left, 1);
    // A node that starts now signs with the new key, and the one that runs takes what it signed.
    let node = app.another_node();
    let request = app.request(Method::POST, "/api/auth/login").header("content-type", "application/json");
    let body = json!({ "username": "admin", "password": PASSWORD }).to_string();
    let answer =
        TestApp::send_to(&node, [127, 0, 0, 1], request.body(Body::from(body)).expect("a request")).await;
    let new = text(&answer.expect(200).json()["access_token"]);
    assert_ne!(kid(&old), kid(&new));
    TestApp::send_to(&node, [127, 0, 0, 1], with(&old, Method::GET, "/api/auth/me")).await.expect(200);
    app.sign_in_as(Some(new));
    app.get("/api/auth/me").await.expect(200);
    // A superseded key serves until its last token has ended, and no longer.
    sqlx::query("update signing_keys set created_at = created_at - interval '32 minutes'")
        .execute(app.db.pool())
        .await
        .expect("aged");
    TestApp::send_to(&app.another_node(), [127, 0, 0, 1], with(&old, Method::GET, "/api/auth/me"))
        .await
        .expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_access_tokens_are_refused() {
    let mut app = TestApp::set_up().await;
    let good = text(&login(&app, "admin", PASSWORD).await["access_token"]);
    let keys = Keys::load(&app.config.secrets_key).expect("the keys");
    let signing = store::auth::signing_keys(app.db.pool(), &keys).await.expect("the key").remove(0);
    let (id, secret) = (signing.id, signing.secret.expose_secret().as_bytes().to_vec());
    let claims: Value = {
        let body = good.split('.').nth(1).expect("a body");
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).expect("base64")).expect("JSON")
    };
    let sign = |algorithm, kid: Uuid, claims: &Value| {
        let mut header = jsonwebtoken::Header::new(algorithm);
        (header.kid, header.typ) = (Some(kid.to_string()), Some("at+jwt".into()));
        jsonwebtoken::encode(&header, claims, &jsonwebtoken::EncodingKey::from_secret(&secret))
            .expect("signed")
    };
    let altered = |name: &str, value: Value| {
        let mut altered = claims.clone();
        altered[name] = value;
        sign(jsonwebtoken::Algorithm::HS256, id, &altered)
    };
    let unsigned = {
        let header = json!({ "alg": "none", "typ": "at+jwt", "kid": id }).to_string();
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()))
    };
    let asymmetric = {
        let header = json!({ "alg": "RS256", "typ": "at+jwt", "kid": id }).to_string();
        good.replacen(good.split('.').next().expect("a header"), &URL_SAFE_NO_PAD.encode(header), 1)
    };
    let an_hour_ago = json!(claims["iat"].as_i64().expect("a time") - 3600);
    let forged = [
        ("none", unsigned),
        ("another algorithm", sign(jsonwebtoken::Algorithm::HS512, id, &claims)),
        ("a swapped algorithm", asymmetric),
        ("a foreign key", sign(jsonwebtoken::Algorithm::HS256, Uuid::now_v7(), &claims)),
        ("expired", altered("exp", an_hour_ago)),
        ("another audience", altered("aud", json!("somebody-else"))),
        ("another issuer", altered("iss", json!("somebody-else"))),
        ("another session", altered("sid", json!(Uuid::now_v7()))),
        ("another person", altered("sub", json!(Uuid::now_v7()))),
        ("another tenant", altered("tid", json!(Uuid::now_v7()))),
        ("not a token", "eyJ".into()),
    ];
    app.sign_in_as(Some(altered("jti", json!("harmless"))));
    app.get("/api/auth/me").await.expect(200);
    for (what, token) in forged {
        app.sign_in_as(Some(token));
        assert_eq!(app.get("/api/auth/me").await.status, 401, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_signs_in_and_no_other_site_can_use_it() {
    let mut app = TestApp::set_up().await;
    let answer = app.post("/api/auth/session", &json!({})).await.expect(200);
    let cookie = answer.header("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    app.sign_in_as(None);
    let ask = async |method: Method, path: &str, headers: &[(&str, &str)]| {
        let mut request =
            app.request(method, path).header("cookie", &cookie).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        app.send(request.body(Body::from("{}")).expect("a request")).await.status.as_u16()
    };
    assert_eq!(ask(Method::GET, "/api/auth/me", &[]).await, 200);
    for headers in [&[][..], &[("sec-fetch-site", "cross-site")], &[("origin", "https://evil.example")]] {
        assert_eq!(ask(Method::POST, "/api/auth/logout", headers).await, 403, "{headers:?}");
    }
    assert_eq!(ask(Method::GET, "/api/auth/me", &[("authorization", "Bearer nonsense")]).await, 401);
    assert_eq!(ask(Method::POST, "/api/auth/logout", &[("sec-fetch-site", "same-origin")]).await, 200);
    assert_eq!(ask(Method::GET, "/api/auth/me", &[]).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn organizations_are_made_by_the_installations_administrator_and_know_nothing_of_each_other() {
    let mut app = TestApp::set_up().await;
    let new = json!({ "slug": "beta", "display_name": "Beta GmbH", "administrator": {
        "username": "beta-admin", "email": "admin@beta.example", "password": "four words nobody guesses" }});
    let made = app.post("/api/organizations", &new).await.expect(201).json();
    assert_eq!((&made["slug"], &made["users"]), (&json!("beta"), &json!(1)));
    app.post("/api/organizations", &new).await.expect(409);
    assert_eq!(app.get("/api/organizations").await.expect(200).json()["total"], 2);
    let path = format!("/api/organizations/{}", text(&made["id"]));
    app.patch(&path, &json!({ "display_name": "Beta KG" })).await.expect(200);
    let first = app.get("/api/organizations").await.expect(200).json()["data"][0]["id"].clone();
    let token = text(&login(&app, "beta-admin", "four words nobody guesses").await["access_token"]);
    app.sign_in_as(Some(token));
    let own = app.get("/api/organizations").await.expect(200).json();
    assert_eq!((&own["total"], &own["data"][0]["slug"]), (&json!(1), &json!("beta")));
    assert_eq!(app.get("/api/users").await.expect(200).json()["total"], 1);
    let nowhere = app.get(&format!("/api/organizations/{}", Uuid::new_v4())).await.expect(404).json();
    assert_eq!(app.get(&format!("/api/organizations/{}", text(&first))).await.expect(404).json(), nowhere);
    app.patch(&format!("/api/organizations/{}", text(&first)), &json!({ "display_name": "B" }))
        .await
        .expect(404);
    let renamed = app.patch(&path, &json!({ "display_name": " Beta AG " })).await.expect(200).json();
    assert_eq!(renamed["display_name"], "Beta AG");
    app.post("/api/organizations", &new).await.expect(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_chooses_their_own_theme_and_nothing_else_of_themselves() {
    let app = TestApp::set_up().await;
    let me = app.patch("/api/auth/me", &json!({ "theme_preference": "dark" })).await.expect(200).json();
    assert_eq!(me["theme_preference"], "dark");
    app.patch("/api/auth/me", &json!({ "theme_preference": "pink" })).await.expect(422);
    app.patch("/api/auth/me", &json!({ "theme_preference": "dark", "role": "admin" })).await.expect(422);
}
