//! Guessing passwords: it is slowed down for each account, on all nodes together, and tells nothing about who there is.

use axum::body::Body;
use harness::{Answer, PASSWORD, TestApp};
use http::{Method, Request};
use runtime::egress;
use serde_json::json;

use crate::programs::Programs;

/// A sign-in as `username` from an address of its own.
async fn sign_in(node: &axum::Router, address: [u8; 4], username: &str, password: &str) -> Answer {
    let body = json!({ "username": username, "password": password });
    let request = Request::builder()
        .method(Method::POST)
        .uri("/api/auth/login")
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()));
    TestApp::send_to(node, address, request.expect("a request")).await
}

/// Guesses from another address each time until there is a wait. How many were looked at before.
async fn guess_until_told_to_wait(nodes: &[axum::Router], username: &str) -> u8 {
    for number in 0..30_u8 {
        let node = &nodes[usize::from(number) % nodes.len()];
        let answer = sign_in(node, [192, 0, 2, number], username, "wrong").await;
        if answer.status == 429 {
            let seconds: u64 = answer.header("retry-after").expect("a time").parse().expect("seconds");
            assert!((1..=60).contains(&seconds), "{seconds}");
            return number;
        }
        answer.expect(401);
    }
    panic!("thirty guesses and no wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_guessed_at_makes_strangers_wait_and_not_its_owner() {
    let app = TestApp::set_up().await;
    let nodes = [app.another_node(), app.another_node()];
    let home = [198, 51, 100, 7];
    sign_in(&nodes[0], home, "admin", PASSWORD).await.expect(200);
    assert!(guess_until_told_to_wait(&nodes, "admin").await >= 5, "five are free");
    // The right one is not looked at either, from wherever nobody has signed in.
    sign_in(&nodes[0], [203, 0, 113, 9], "ADMIN", PASSWORD).await.expect(429);
    sign_in(&nodes[1], home, "admin", PASSWORD).await.expect(200);
    sign_in(&nodes[0], [203, 0, 113, 9], "somebody-else", "wrong").await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nobody_has_waits_like_one_that_somebody_has() {
    let app = TestApp::set_up().await;
    let nodes = [app.another_node()];
    let known = guess_until_told_to_wait(&nodes, "admin").await;
    let unknown = guess_until_told_to_wait(&nodes, "nobody-of-this-name").await;
    assert!(known >= 5 && unknown >= 5, "{known} and {unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_node_makes_strangers_wait_by_itself() {
    let app = TestApp::with(&[("REDIS_URL", "redis://127.0.0.1:1/")]).await;
    let account = json!({ "username": "admin", "email": "admin@example.com", "password": PASSWORD });
    app.post("/api/auth/setup", &account).await.expect(201);
    let node = app.another_node();
    guess_until_told_to_wait(std::slice::from_ref(&node), "admin").await;
    sign_in(&app.another_node(), [203, 0, 113, 9], "admin", PASSWORD).await.expect(200);
}

/// Of a process of its own: passwords hashed so far.
async fn hashed(programs: &Programs) -> f64 {
    let client = egress::Client::new(egress::Policy::administrator()).expect("a client");
    let url = format!("http://{}/metrics", programs.api.admin);
    let answer = client.send(egress::Request::get(url)).await.expect("an answer");
    let text = String::from_utf8(answer.bytes().await.expect("the body arrives").to_vec()).expect("utf-8");
    let line = text.lines().find(|line| line.starts_with("plimsoll_password_hashes_total"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_there_is_or_is_not_a_sign_in_is_as_much_work() {
    let programs = Programs::start(&[("DEBUG", "true")]).await;
    let gone = json!({ "username": "gone", "email": "gone@example.com", "password": PASSWORD });
    let (status, made) = programs.send(Method::POST, "/api/users", &[], &gone).await;
    assert_eq!(status, 201, "{made}");
    let path = format!("/api/users/{}", made["id"].as_str().expect("an id"));
    assert_eq!(programs.send(Method::DELETE, &path, &[], &json!({})).await.0, 200);
    // Who signs in elsewhere has no password here.
    sqlx::query(
        "insert into users (tenant_id, id, username, email, role, auth_provider, issuer, subject)
         select tenant_id, gen_random_uuid(), 'elsewhere', 'e@example.com', 'admin', 'oidc', 'https://id.example', '1'
           from users where username = 'admin'",
    )
    .execute(programs.db.pool())
    .await
    .expect("an account is made");
    let mut refusals = Vec::new();
    for username in ["admin", "gone", "elsewhere", "nobody-of-this-name", ""] {
        let before = hashed(&programs).await;
        let guess = json!({ "username": username, "password": "wrong" });
        let (status, refusal) = programs.send(Method::POST, "/api/auth/login", &[], &guess).await;
        assert_eq!(status, 401, "{username}: {refusal}");
        refusals.push(refusal);
        let work = hashed(&programs).await - before;
        assert!((work - 1.0).abs() < f64::EPSILON, "{username}: {work} passwords were hashed");
    }
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0]), "{refusals:?}");
}
