//! What every request passes on its way in and out.

use std::{any::Any, time::Duration};

use axum::{
    body::{Body, HttpBody},
    extract::{Request, State},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use runtime::config::Config;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::{Instrument, Span, field::Empty};
use uuid::Uuid;

use crate::{
    auth::scopes::is_safe,
    error::ApiError,
    extract::{Pace, Paced},
    observe::Observed,
    state::AppState,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The digest of a file that is sent: RFC 9530, section 3.
pub(crate) const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// What the address of a shared file begins with. What follows opens the file, so no log has it.
pub(crate) const SHARED: &str = "/api/reports/shared/";

/// A path as logs and traces have it.
pub(crate) fn shown_path(path: &str) -> &str {
    if path.starts_with(SHARED) { SHARED } else { path }
}

/// The id of the request, for whoever records what it did.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// That of the request with these extensions.
    pub(crate) fn of(extensions: &Extensions) -> Option<String> {
        extensions.get::<Self>().map(|id| id.0.clone())
    }
}

/// Gives the request an id, which its log lines and its answer carry, and logs how it went.
pub(crate) async fn identify(mut request: Request, next: Next) -> Response {
    let id = sent_id(request.headers()).unwrap_or_else(|| Uuid::now_v7().to_string());
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = tracing::info_span!(
        "request",
        request_id = %id,
        method = %request.method(),
        path = shown_path(request.uri().path()),
        user = Empty,
        trace_id = Empty,
        otel.name = Empty,
        otel.kind = Empty,
    );
    let observed = Observed::begin(&request, &span);
    async move {
        let mut response = next.run(request).await;
        let took = observed.answered(response.status(), &Span::current());
        tracing::info!(
            status = response.status().as_u16(),
            milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "answered"
        );
        response.headers_mut().extend(HeaderValue::try_from(id).ok().map(|id| (REQUEST_ID, id)));
        response
    }
    .instrument(span)
    .await
}

/// The id that the client or a proxy gave the request, if it is a harmless one.
fn sent_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let harmless =
        (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    harmless.then(|| id.to_owned())
}

/// Answers 503 when a handler takes longer than `within`. The body has to keep its `pace`, which is the client's part.
pub(crate) async fn give_up(within: Duration, pace: Pace, request: Request, next: Next) -> Response {
    let late = || anyhow::anyhow!("no answer within {} seconds", within.as_secs());
    let request = request.map(|body| match body.is_end_stream() {
        true => body,
        false => Body::new(Paced::new(body, pace)),
    });
    tokio::time::timeout(within, next.run(request))
        .await
        .unwrap_or_else(|_| ApiError::Unavailable(late()).into_response())
}

/// What may be asked for during maintenance although it changes something: signing in and out, and the end of it.
const DURING_MAINTENANCE: &[&str] = &[
    "/api/auth/login",
    "/api/auth/logout",
    "/api/auth/oidc/callback",
    "/api/auth/refresh",
    "/api/auth/session",
    "/api/system/maintenance",
];

/// Refuses changes while the installation is being maintained, and when the database cannot tell: nothing could be changed then either.
pub(crate) async fn keep_still(State(app): State<AppState>, request: Request, next: Next) -> Response {
    if is_safe(request.method()) || DURING_MAINTENANCE.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    match app.maintenance.goes_on(&app.db).await {
        Ok(true) => ApiError::Maintenance.into_response(),
        Ok(false) => next.run(request).await,
        Err(error) => ApiError::from(error).into_response(),
    }
}

/// Turns a panic into the answer that any other fault of ours gets.
pub(crate) fn after_panic(panic: Box<dyn Any + Send>) -> Response {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("something that is not text");
    ApiError::Internal(anyhow::anyhow!("a handler panicked: {said}")).into_response()
}

/// Headers that keep browsers from guessing, keeping and framing, unless the answer has said otherwise.
pub(crate) async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Not what comes with a digest: that is of the bytes as they are sent (RFC 9530, section 3).
pub(crate) fn may_be_compressed(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    !headers.contains_key(&REPR_DIGEST)
}

/// No such path.
pub(crate) async fn not_found() -> ApiError {
    ApiError::NotFound
}

/// The path is there, but not for this method; axum adds `Allow`. That alone is asked for with OPTIONS.
pub(crate) async fn method_not_allowed(method: Method) -> Response {
    match method {
        Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        _ => ApiError::MethodNotAllowed.into_response(),
    }
}

/// Lets pages of other sites call the API, if there are such in `CORS_ORIGINS`. Not with the cookie: that is for our own pages.
pub(crate) fn other_sites(config: &Config) -> Option<CorsLayer> {
    if config.cors_origins.is_empty() {
        return None;
    }
    let origins = config.cors_origins.iter().filter_map(|origin| HeaderValue::try_from(origin.as_str()).ok());
    let sent = ["x-api-key", "idempotency-key", "x-request-id", "last-event-id"].map(HeaderName::from_static);
    let read = ["x-request-id", "repr-digest", "idempotent-replayed", "ratelimit", "ratelimit-policy"];
    let limits = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];
    Some(
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods([
                Method::GET,
                Method::HEAD,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
            ])
            .allow_headers(
                [header::AUTHORIZATION, header::CONTENT_TYPE, header::IF_NONE_MATCH]
                    .into_iter()
                    .chain(sent)
                    .collect::<Vec<_>>(),
            )
            .expose_headers(
                [header::LOCATION, header::RETRY_AFTER, header::ETAG, header::CONTENT_DISPOSITION]
                    .into_iter()
                    .chain(read.map(HeaderName::from_static))
                    .chain(limits.map(HeaderName::from_static))
                    .collect::<Vec<_>>(),
            )
            .max_age(Duration::from_secs(3600)),
    )
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::{Router, middleware, routing::get};
    use tower::ServiceExt;

    use super::*;
    use crate::patience::Patience;

    #[tokio::test]
    async fn a_handler_that_takes_too_long_is_our_fault() {
        let usual = Patience::default();
        let pace = Pace::of(&usual, usual.ordinary);
        let hurry = move |request: Request, next: Next| give_up(Duration::ZERO, pace, request, next);
        let app = Router::new().route("/", get(pending::<()>)).layer(middleware::from_fn(hurry));
        let answer = app.oneshot(Request::new(Body::empty())).await.expect("a router always answers");
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn a_sent_request_id_is_used_only_if_it_is_harmless() {
        let sent = |value: &'static str| {
            sent_id(&HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(value))]))
        };
        assert_eq!(sent("4bf92f35-77b3").as_deref(), Some("4bf92f35-77b3"));
        for value in ["", "a b", "a\"b", "1234567890123456789012345678901234567890123456789012345678901234x"]
        {
            assert_eq!(sent(value), None, "{value}");
        }
    }
}
