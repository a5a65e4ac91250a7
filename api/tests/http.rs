//! How the API behaves towards any request, whatever is behind it: no database is needed here, and none is
//! there.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use runtime::config::Config;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// The API in front of a database that nobody listens for.
fn app(settings: &[(&str, &str)]) -> Router {
    let away =
        [("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"), ("REDIS_URL", "redis://127.0.0.1:1/")];
    let settings: BTreeMap<String, String> =
        away.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let config = Arc::new(Config::load(settings).expect("the settings are sound"));
    api::app(api::AppState::new(config, CancellationToken::new()).expect("the addresses can be parsed"))
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a readable header"))
    }
}

async fn send(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a whole body").to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}

async fn request(app: &Router, method: Method, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
    send(app, request).await
}

async fn get(app: &Router, path: &str) -> Answer {
    request(app, Method::GET, path).await
}

async fn login(app: &Router, content_type: &str, body: impl Into<Body>) -> Answer {
    let request =
        Request::post("/api/auth/login").header(header::CONTENT_TYPE, content_type).body(body.into());
    send(app, request.expect("a request")).await
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_a_404_in_json() {
    let answer = get(&app(&[]), "/api/nothing").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.json(), json!({"detail": "Resource not found"}));
}

#[tokio::test]
async fn a_method_that_is_not_allowed_is_answered_with_those_that_are() {
    let answer = get(&app(&[]), "/api/auth/login").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.header("allow"), "POST");
    assert_eq!(answer.json(), json!({"detail": "Method not allowed"}));
}

#[tokio::test]
async fn a_trailing_slash_changes_nothing_and_redirects_nobody() {
    let app = app(&[]);
    for path in ["/api/auth/providers", "/api/auth/providers/", "/api/docs", "/api/docs/"] {
        assert_eq!(get(&app, path).await.status, StatusCode::OK, "{path}");
    }
    assert_eq!(get(&app, "/api/cves/").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let app = app(&[]);
    let (head, whole) = (request(&app, Method::HEAD, "/livez").await, get(&app, "/livez").await);
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.header("content-length"), whole.body.len().to_string());
}

#[tokio::test]
async fn every_answer_names_its_request_and_guards_the_browser() {
    let app = app(&[]);
    let answer = get(&app, "/livez").await;
    assert_eq!(answer.header("x-request-id").len(), 36);
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.header("content-security-policy").contains("default-src 'none'"));
    let named = Request::get("/livez").header("x-request-id", "abc-123").body(Body::empty());
    assert_eq!(send(&app, named.expect("a request")).await.header("x-request-id"), "abc-123");
}

#[tokio::test]
async fn nobody_is_served_without_a_token() {
    let app = app(&[]);
    for path in ["/api/assets", "/api/jobs", "/api/reports", "/api/webhooks", "/api/auth/me"] {
        let answer = get(&app, path).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{path}");
        assert!(answer.json()["detail"].is_string(), "{path}");
    }
}

#[tokio::test]
async fn an_eleventh_sign_in_within_a_minute_is_refused() {
    let app = app(&[]);
    for _ in 0..10 {
        assert_eq!(login(&app, "application/json", "{").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let answer = login(&app, "application/json", "{").await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    let seconds: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(answer.json(), json!({"detail": "Rate limit exceeded", "retry_after": seconds}));
}

#[tokio::test]
async fn debug_turns_the_limit_off() {
    let app = app(&[("DEBUG", "true")]);
    for _ in 0..20 {
        assert_eq!(login(&app, "application/json", "{").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_body_is_told() {
    let app = app(&[("DEBUG", "true")]);
    let unknown =
        login(&app, "application/json", r#"{"username": "a", "password": "b", "tenant": "c"}"#).await;
    assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(unknown.json()["detail"], "Validation error");
    assert_eq!(unknown.json()["errors"][0]["field"], "body -> tenant");
    assert_eq!(unknown.json()["errors"][0]["type"], "extra_forbidden");

    let form = login(&app, "application/x-www-form-urlencoded", "username=a").await;
    assert_eq!(form.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);

    let huge = login(&app, "application/json", "x".repeat(2 << 20)).await;
    assert_eq!(huge.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(
        huge.json()["detail"].as_str().is_some_and(|detail| detail.contains("1048576")),
        "{:?}",
        huge.json()
    );
}

#[tokio::test]
async fn while_the_database_is_away_the_answer_is_503_and_says_when_to_come_back() {
    let app = app(&[]);
    let (answer, health, ready) = tokio::join!(
        login(&app, "application/json", r#"{"username": "a", "password": "b"}"#),
        get(&app, "/health"),
        get(&app, "/readyz")
    );
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), "5");
    assert_eq!(answer.json(), json!({"detail": "Internal server error"}));

    assert_eq!(health.status, StatusCode::OK);
    let health = health.json();
    assert_eq!((&health["status"], &health["database"]), (&json!("unhealthy"), &json!("disconnected")));
    assert_eq!(health["redis"], "disconnected");

    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_documentation_comes_with_the_program_and_loads_nothing_from_elsewhere() {
    let app = app(&[]);
    for page in ["/api/docs", "/api/redoc"] {
        let answer = get(&app, page).await;
        assert_eq!(answer.status, StatusCode::OK, "{page}");
        assert!(answer.header("content-type").starts_with("text/html"), "{page}");
        assert!(answer.header("content-security-policy").contains("script-src 'self';"), "{page}");
        let html = String::from_utf8(answer.body).expect("text");
        let sources = html.split(['"', '\'']).filter(|text| text.starts_with('/') && text.contains('.'));
        for source in sources {
            assert_eq!(get(&app, source).await.status, StatusCode::OK, "{page} loads {source}");
        }
        assert!(!html.contains("src=\"http") && !html.contains("href=\"http"), "{page}");
    }
    let document = get(&app, "/api/openapi.json").await;
    assert_eq!(document.json()["info"]["title"], "Plimsoll");
}

#[tokio::test]
async fn long_answers_are_compressed_for_those_who_can_read_it() {
    let request =
        Request::get("/api/openapi.json").header(header::ACCEPT_ENCODING, "gzip").body(Body::empty());
    let answer = send(&app(&[]), request.expect("a request")).await;
    assert_eq!(answer.header("content-encoding"), "gzip");
    assert!(answer.body.starts_with(&[0x1f, 0x8b]), "it is not gzip");
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_with_the_remedy() {
    let taken = api::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let address = taken.local_addr().expect("an address");
    let error = api::bind(address).await.expect_err("it is taken");
    let told = format!("{error:#}");
    assert!(told.contains(&format!("API_LISTEN={address}")), "{told}");
    assert!(told.contains("set API_LISTEN to a free port"), "{told}");
}

#[tokio::test]
async fn without_a_database_address_the_api_says_which_setting_is_missing() {
    let config = Arc::new(Config::load(BTreeMap::new()).expect("the defaults are sound"));
    let Err(error) = api::AppState::new(config, CancellationToken::new()) else { panic!("it started") };
    assert!(format!("{error:#}").contains("set API_DATABASE_URL"), "{error:#}");
}
