//! How much is allowed, across nodes, with Redis and without it.

use std::time::Duration;

use axum::{Router, body::Body};
use futures::{StreamExt, stream};
use harness::{Answer, TestApp, eventually};
use http::{Method, Request};
use serde_json::json;

/// A sign-in that is refused for its body before a password is looked at.
fn attempt(forwarded_for: Option<&str>) -> Request<Body> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri("/api/auth/login")
        .header("content-type", "application/json");
    if let Some(address) = forwarded_for {
        request = request.header("x-forwarded-for", address);
    }
    request.body(Body::from("{}")).expect("a request")
}

fn number(answer: &Answer, header: &str) -> i64 {
    answer.header(header).and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {header}"))
}

/// Waits until `nodes` count together. A node connects to Redis with its first request; if that takes too long it counts for itself, and leaves
/// Redis alone for some seconds.
async fn until_they_count_together(nodes: &[Router], limit: i64) {
    let mut visitor = 0_u16;
    eventually("a count of all nodes", Duration::from_secs(60), || {
        visitor += 1;
        let [high, low] = visitor.to_be_bytes();
        async move {
            let mut left = limit;
            for node in nodes {
                left -= 1;
                let answer = TestApp::send_to(node, [198, 51, high, low], attempt(None)).await;
                if number(&answer, "x-ratelimit-remaining") != left {
                    return None;
                }
            }
            Some(())
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_let_exactly_as_many_through_as_one() {
    let app = TestApp::with(&[("SIGN_INS_PER_MINUTE", "20")]).await;
    let nodes = [app.another_node(), app.another_node(), app.another_node()];
    until_they_count_together(&nodes, 20).await;
    let attempts = (0..300).map(|n| TestApp::send_to(&nodes[n % 3], [192, 0, 2, 1], attempt(None)));
    // All at once they would wait for one another for longer than a node waits for Redis.
    let answers: Vec<Answer> = stream::iter(attempts).buffer_unordered(30).collect().await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 422).count(), 20);
    assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 280);
    TestApp::send_to(&nodes[0], [192, 0, 2, 2], attempt(None)).await.expect(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_node_counts_for_itself() {
    let app = TestApp::with(&[("REDIS_URL", "redis://127.0.0.1:1/"), ("SIGN_INS_PER_MINUTE", "5")]).await;
    let node = app.another_node();
    let mut statuses = Vec::new();
    for _ in 0..7 {
        statuses.push(TestApp::send_to(&node, [192, 0, 2, 1], attempt(None)).await.status.as_u16());
    }
    assert_eq!(statuses, [422, 422, 422, 422, 422, 429, 429]);
    TestApp::send_to(&app.another_node(), [192, 0, 2, 1], attempt(None)).await.expect(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_how_much_is_left_and_all_headers_agree() {
    let app = TestApp::set_up_with(&[("WRITES_PER_MINUTE", "2")]).await;
    for left in [1, 0] {
        let answer = app.patch("/api/auth/me", &json!({ "theme_preference": "dark" })).await.expect(200);
        assert_eq!(
            (number(&answer, "x-ratelimit-limit"), number(&answer, "x-ratelimit-remaining")),
            (2, left)
        );
        assert_eq!(answer.header("ratelimit-policy"), Some("\"writes\";q=2;w=60"));
        let wait = number(&answer, "x-ratelimit-reset") - chrono::Utc::now().timestamp();
        let told = answer.header("ratelimit").and_then(|value| value.rsplit_once("t=")).expect("a time").1;
        assert!((wait - told.parse::<i64>().expect("seconds")).abs() <= 1, "{wait} and {told}");
    }
    let refused = app.patch("/api/auth/me", &json!({ "theme_preference": "dark" })).await.expect(429);
    let wait = number(&refused, "retry-after");
    assert!((1..=60).contains(&wait));
    assert_eq!(refused.json(), json!({ "detail": "Rate limit exceeded", "retry_after": wait }));
    assert_eq!(refused.header("ratelimit"), Some(format!("\"writes\";r=0;t={wait}").as_str()));
    let read = app.get("/api/auth/me").await.expect(200);
    assert_eq!(read.header("x-ratelimit-limit"), None, "reads are free");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_behind_a_trusted_proxy_are_counted_apart() {
    let app = TestApp::with(&[("SIGN_INS_PER_MINUTE", "1"), ("TRUSTED_PROXIES", "10.0.0.0/8")]).await;
    let node = app.another_node();
    let from = async |proxy: [u8; 4], client: &str| {
        TestApp::send_to(&node, proxy, attempt(Some(client))).await.status.as_u16()
    };
    assert_eq!(from([10, 0, 0, 7], "192.0.2.1").await, 422);
    assert_eq!(from([10, 0, 0, 7], "192.0.2.2").await, 422);
    assert_eq!(from([10, 0, 0, 8], "192.0.2.1").await, 429);
    // What anybody else says of whom they speak for changes nothing.
    assert_eq!(from([198, 51, 100, 1], "192.0.2.3").await, 422);
    assert_eq!(from([198, 51, 100, 1], "192.0.2.4").await, 429);
}
