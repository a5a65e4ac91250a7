//! Webhooks, against the reference library and real HTTP servers on the loopback.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use chrono::{DateTime, Utc};
use delivery::webhook::{
    Attempt, Delivery, FailureClass, Outcome, TIMEOUT, WebhookSecret, deliver, policy, sign, signatures,
};
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;
use runtime::egress::{Client, Policy};
use standardwebhooks::Webhook;

/// The example of the specification and of its libraries' tests.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const TIMESTAMP: i64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn secret() -> WebhookSecret {
    SECRET.parse().unwrap()
}

fn at(timestamp: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(timestamp, 0).unwrap()
}

#[test]
fn the_published_example_is_signed_as_published() {
    assert_eq!(sign(&secret(), ID, at(TIMESTAMP), BODY), SIGNATURE);
}

#[test]
fn two_secrets_give_two_signatures() {
    let other = WebhookSecret::generate();
    let both = signatures(&[other.clone(), secret()], ID, at(TIMESTAMP), BODY);
    assert_eq!(both, format!("{} {SIGNATURE}", sign(&other, ID, at(TIMESTAMP), BODY)));
}

proptest! {
    #[test]
    fn every_signature_is_the_reference_librarys(
        key in proptest::collection::vec(any::<u8>(), 24..=64),
        id in "[A-Za-z0-9_-]{1,100}",
        timestamp in 0_i64..4_000_000_000,
        body in ".{0,200}",
    ) {
        let theirs = Webhook::from_bytes(key.clone()).unwrap();
        let written = format!("whsec_{}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &key));
        let ours: WebhookSecret = written.parse().unwrap();
        prop_assert_eq!(
            sign(&ours, &id, at(timestamp), body.as_bytes()),
            theirs.sign(&id, timestamp, body.as_bytes()).unwrap()
        );
    }
}

type Calls = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// A receiver that remembers what it gets and answers with what `answer` makes.
struct Receiver {
    url: String,
    calls: Calls,
}

impl Receiver {
    async fn start(answer: fn() -> Response) -> Self {
        let calls = Calls::default();
        let receive = move |State(calls): State<Calls>, headers: HeaderMap, body: Bytes| async move {
            calls.lock().unwrap().push((headers, body));
            answer()
        };
        let app = Router::new().route("/hook", routing::any(receive)).with_state(Arc::clone(&calls));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, calls }
    }

    fn calls(&self) -> Vec<(HeaderMap, Bytes)> {
        self.calls.lock().unwrap().clone()
    }
}

fn client(policy: Policy) -> Client {
    Client::new(Policy { allow_hosts: vec!["127.0.0.1".into()], ..policy }).unwrap()
}

fn event(url: &str) -> Delivery {
    Delivery {
        id: ID.into(),
        url: url.into(),
        body: Bytes::from_static(BODY),
        secrets: vec![secret()],
        attempt_at: Utc::now(),
    }
}

async fn attempt_answered(answer: fn() -> Response) -> Attempt {
    let receiver = Receiver::start(answer).await;
    deliver(&client(policy()), &event(&receiver.url)).await
}

#[tokio::test]
async fn an_event_arrives_signed_and_the_reference_library_accepts_it() {
    let receiver = Receiver::start(|| "thanks".into_response()).await;
    let rotated = WebhookSecret::generate();
    let mut event = event(&receiver.url);
    event.secrets.insert(0, rotated.clone());
    let attempt = deliver(&client(policy()), &event).await;

    assert_eq!((attempt.status, attempt.outcome, attempt.error), (Some(200), Outcome::Delivered, None));
    assert_eq!(attempt.response_excerpt, "thanks");
    let [(headers, body)] = &receiver.calls()[..] else { panic!("one call was made") };
    assert_eq!(body, BODY);
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["webhook-id"], ID);
    assert_eq!(headers["webhook-timestamp"], event.attempt_at.timestamp().to_string().as_str());
    for known in [SECRET.to_owned(), rotated.reveal()] {
        Webhook::new(&known).unwrap().verify(body, headers).unwrap();
    }
    assert!(Webhook::new(&WebhookSecret::generate().reveal()).unwrap().verify(body, headers).is_err());
    assert!(Webhook::new(SECRET).unwrap().verify(b"{}", headers).is_err());
}

#[tokio::test]
async fn a_status_decides_what_comes_next() {
    use FailureClass::{Redirect, Rejected, Unavailable};
    let retry = |class| Outcome::Retry { class, after: None };
    let cases: [(fn() -> Response, Outcome); 9] = [
        (|| StatusCode::NO_CONTENT.into_response(), Outcome::Delivered),
        (|| StatusCode::GONE.into_response(), Outcome::Disable),
        (|| StatusCode::BAD_REQUEST.into_response(), retry(Rejected)),
        (|| StatusCode::NOT_FOUND.into_response(), retry(Rejected)),
        (|| StatusCode::TOO_MANY_REQUESTS.into_response(), retry(Unavailable)),
        (|| StatusCode::BAD_GATEWAY.into_response(), retry(Unavailable)),
        (|| StatusCode::NOT_MODIFIED.into_response(), retry(Redirect)),
        (
            || (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "120")]).into_response(),
            Outcome::Retry { class: Unavailable, after: Some(Duration::from_secs(120)) },
        ),
        (
            || {
                (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")])
                    .into_response()
            },
            Outcome::Retry { class: Unavailable, after: Some(Duration::from_secs(86_400)) },
        ),
    ];
    for (answer, outcome) in cases {
        assert_eq!(attempt_answered(answer).await.outcome, outcome);
    }
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_not_followed() {
    let receiver =
        Receiver::start(|| (StatusCode::TEMPORARY_REDIRECT, [("location", "/hook")]).into_response()).await;
    let attempt = deliver(&client(policy()), &event(&receiver.url)).await;
    assert_eq!(attempt.outcome, Outcome::Retry { class: FailureClass::Redirect, after: None });
    assert_eq!(attempt.error.as_deref(), Some("answered 307 Temporary Redirect"));
    assert_eq!(receiver.calls().len(), 1);
}

#[tokio::test]
async fn a_long_answer_is_a_success_of_which_the_beginning_is_kept() {
    let attempt = attempt_answered(|| format!("{}\0", "é".repeat(500_000)).into_response()).await;
    assert_eq!(attempt.outcome, Outcome::Delivered);
    assert!(attempt.response_excerpt.starts_with("éé") && attempt.response_excerpt.len() <= 4_096 + 3);
    let binary = attempt_answered(|| b"a\0b\xff".as_slice().into_response()).await;
    assert_eq!(binary.response_excerpt, "a\u{fffd}b\u{fffd}");
}

#[tokio::test]
async fn an_answer_whose_body_never_ends_counts_by_its_status() {
    let impatient = client(Policy { total_timeout: Duration::from_secs(3), ..policy() });
    let receiver = Receiver::start(|| {
        Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>()).into_response()
    })
    .await;
    let attempt = deliver(&impatient, &event(&receiver.url)).await;
    assert_eq!((attempt.status, attempt.outcome), (Some(200), Outcome::Delivered));
}

#[tokio::test]
async fn a_receiver_that_says_nothing_is_tried_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let impatient = client(Policy { total_timeout: Duration::from_millis(300), ..policy() });
    let attempt = deliver(&impatient, &event(&url)).await;
    assert_eq!(attempt.outcome, Outcome::Retry { class: FailureClass::Timeout, after: None });
    let latency = Duration::from_millis(attempt.latency_ms);
    assert!(
        attempt.status.is_none() && latency >= Duration::from_millis(300) && latency < TIMEOUT,
        "{latency:?}"
    );
}

#[tokio::test]
async fn a_receiver_that_is_down_is_tried_again() {
    // Nobody else can listen there meanwhile.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = held.local_addr().unwrap().port();
    let attempt = deliver(&client(policy()), &event(&format!("http://127.0.0.1:{port}/"))).await;
    assert_eq!(attempt.outcome, Outcome::Retry { class: FailureClass::Connect, after: None });
}

#[tokio::test]
async fn an_address_inside_our_network_is_never_called() {
    let receiver = Receiver::start(|| "ok".into_response()).await;
    let guarded = Client::new(policy()).unwrap();
    let attempt = deliver(&guarded, &event(&receiver.url)).await;
    assert_eq!(attempt.outcome, Outcome::Failed { class: FailureClass::Forbidden });
    assert_eq!(receiver.calls().len(), 0);
    for url in ["ftp://127.0.0.1/", "not a url", "http://user:pass@127.0.0.1/"] {
        let attempt = deliver(&guarded, &event(url)).await;
        assert_eq!(attempt.outcome, Outcome::Failed { class: FailureClass::Invalid }, "{url}");
    }
}

#[tokio::test]
async fn an_event_that_breaks_a_rule_is_not_sent() {
    let receiver = Receiver::start(|| "ok".into_response()).await;
    let event = event(&receiver.url);
    for broken in [
        Delivery { id: "has.dot".into(), ..event.clone() },
        Delivery { id: "a\r\nb".into(), ..event.clone() },
        Delivery { secrets: vec![], ..event.clone() },
        Delivery { body: vec![b' '; 20 * 1024 + 1].into(), ..event.clone() },
    ] {
        let attempt = deliver(&client(policy()), &broken).await;
        assert_eq!(attempt.outcome, Outcome::Failed { class: FailureClass::Invalid });
        assert!(attempt.error.is_some());
    }
    assert_eq!(receiver.calls().len(), 0);
}
