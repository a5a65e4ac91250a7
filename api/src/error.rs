//! Everything that a request can be refused with, in one type, and the shape it leaves in.
//!
//! The shape is `{"detail": …}`, for invalid input `{"detail": "Validation error", "errors": [{field,
//! message, type}]}`; paths of other documents have theirs ([`crate::dialect`]). What went wrong on our side is logged here, once, and
//! never told: its detail is a constant.

pub(crate) mod shape;

use axum::{
    Extension, Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use shape::Refusal;

/// How long a client should wait when the database is away, seconds.
const RETRY_AFTER_OUTAGE: u64 = 5;
/// And during maintenance.
const RETRY_AFTER_MAINTENANCE: u64 = 60;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("not signed in: {0}")]
    Unauthenticated(&'static str),
    #[error("forbidden: {0}")]
    Forbidden(String),
    #[error("not found")]
    NotFound,
    #[error("no such method on this path")]
    MethodNotAllowed,
    #[error("conflict: {0}")]
    Conflict(String),
    /// The address of a file has run out.
    #[error("expired")]
    Expired,
    #[error("bad request: {0}")]
    BadRequest(String),
    #[error("invalid input")]
    Invalid(Vec<FieldError>),
    /// What a document has a code of its own for.
    #[error("{code}: {message}")]
    Coded { status: StatusCode, code: &'static str, message: String, details: serde_json::Value },
    /// The body is longer than this many bytes.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// A client's fault: not logged as one of ours.
    #[error("the body does not come, or too slowly")]
    TooSlow,
    #[error("media type: {0}")]
    UnsupportedMediaType(String),
    /// Too many of these; again after so many seconds.
    #[error("too many requests")]
    RateLimited(u64),
    /// For now; the caller may try again.
    #[error("unavailable")]
    Unavailable(#[source] anyhow::Error),
    /// Somebody else's service, which we need for this, did not do its part.
    #[error("an upstream service failed")]
    Upstream(#[source] anyhow::Error),
    /// Nothing may be changed while the installation is being maintained.
    #[error("maintenance")]
    Maintenance,
    #[error("internal error")]
    Internal(#[source] anyhow::Error),
}

/// One thing that is wrong with the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"field": "body -> email", "message": "`alice` is not an e-mail address", "type": "value_error"}))]
pub(crate) struct FieldError {
    /// Where: `body -> email`, `query -> page_size`, `header -> Idempotency-Key`.
    pub(crate) field: String,
    /// What is wrong, what the rule is, and what to do.
    pub(crate) message: String,
    /// `missing`, `type_error`, `value_error`, `extra_forbidden`, `duplicate` or `json_invalid`.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
}

impl FieldError {
    /// A value that breaks a rule.
    pub(crate) fn value(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), kind: "value_error" }
    }

    fn brief(self) -> Self {
        Self { field: brief(self.field), message: brief(self.message), kind: self.kind }
    }
}

/// `text` without its middle, if it is so long that it repeats what was sent: the rule and the remedy are at its end.
fn brief(text: String) -> String {
    const BEGINNING: usize = 3_000;
    const END: usize = 1_000;
    if text.len() <= BEGINNING + END {
        return text;
    }
    let (beginning, end) = (text.floor_char_boundary(BEGINNING), text.ceil_char_boundary(text.len() - END));
    format!("{}…{}", &text[..beginning], &text[end..])
}

/// Collects what is wrong with an input, so that all of it is told at once.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<FieldError>);

impl Problems {
    /// Notes a problem with the body's `field` unless `holds`.
    pub(crate) fn require(&mut self, holds: bool, field: &str, message: impl FnOnce() -> String) {
        if !holds {
            self.0.push(FieldError::value(format!("body -> {field}"), message()));
        }
    }

    /// Notes a problem.
    pub(crate) fn add(&mut self, problem: FieldError) {
        self.0.push(problem);
    }

    /// Nothing, if nothing was wrong.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        if self.0.is_empty() { Ok(()) } else { Err(ApiError::Invalid(self.0)) }
    }
}

impl From<store::Error> for ApiError {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::NotFound => Self::NotFound,
            unavailable if unavailable.is_transient() => Self::Unavailable(unavailable.into()),
            other => Self::Internal(other.into()),
        }
    }
}

impl From<anyhow::Error> for ApiError {
    fn from(error: anyhow::Error) -> Self {
        Self::Internal(error)
    }
}

/// The body of every refusal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"detail": "Resource not found"}))]
pub(crate) struct ErrorBody {
    /// What is wrong, in a sentence. For all 5xx answers but that of maintenance: `Internal server error`.
    pub(crate) detail: String,
}

/// The body of a 422.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "detail": "Validation error",
    "errors": [{"field": "body -> email", "message": "`alice` is not an e-mail address", "type": "value_error"}]
}))]
pub(crate) struct ValidationErrorBody {
    /// `Validation error`.
    detail: &'static str,
    /// Everything that is wrong, each with its field, the value, the rule and the remedy.
    errors: Vec<FieldError>,
}

/// The body of a 429.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"detail": "Rate limit exceeded", "retry_after": 42}))]
pub(crate) struct RateLimitedBody {
    /// `Rate limit exceeded`.
    detail: &'static str,
    /// Seconds to wait, as in the `Retry-After` header.
    retry_after: u64,
}

/// The detail of every 5xx, whatever happened, except that of maintenance.
pub(crate) const INTERNAL: &str = "Internal server error";
const VALIDATION: &str = "Validation error";
const LIMITED: &str = "Rate limit exceeded";
const MAINTENANCE: &str =
    "The installation is being maintained: nothing can be changed for now, try again later";

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        use StatusCode as S;
        // What is left of the body is not waited for.
        let close = (header::CONNECTION, HeaderValue::from_static("close"));
        let retry_after = |seconds: u64| (header::RETRY_AFTER, HeaderValue::from(seconds));
        match self {
            Self::Unauthenticated(why) => {
                let challenge = (header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                refuse(S::UNAUTHORIZED, why, Some(challenge))
            }
            Self::Forbidden(why) => refuse(S::FORBIDDEN, why, None),
            Self::NotFound => refuse(S::NOT_FOUND, "Resource not found", None),
            Self::MethodNotAllowed => refuse(S::METHOD_NOT_ALLOWED, "Method not allowed", None),
            Self::Conflict(why) => refuse(S::CONFLICT, why, None),
            Self::Expired => refuse(S::GONE, "Report download link has expired", None),
            Self::BadRequest(why) => refuse(S::BAD_REQUEST, why, None),
            Self::Invalid(errors) => {
                let errors: Vec<FieldError> = errors.into_iter().map(FieldError::brief).collect();
                let mut told = told(VALIDATION);
                told.errors.clone_from(&errors);
                let body = ValidationErrorBody { detail: VALIDATION, errors };
                (S::UNPROCESSABLE_ENTITY, Extension(told), Json(body)).into_response()
            }
            Self::Coded { status, code, message, details } => {
                let message = brief(message);
                let mut told = told(&message);
                told.named = Some((code, details));
                (status, Extension(told), Json(ErrorBody { detail: message })).into_response()
            }
            Self::TooLarge(limit) => refuse(
                S::PAYLOAD_TOO_LARGE,
                format!("Request entity too large: at most {limit} bytes"),
                Some(close),
            ),
            Self::TooSlow => refuse(S::REQUEST_TIMEOUT, "The body was not sent in time", Some(close)),
            Self::UnsupportedMediaType(why) => refuse(S::UNSUPPORTED_MEDIA_TYPE, why, None),
            Self::RateLimited(seconds) => {
                let mut told = told(LIMITED);
                told.retry_after = Some(seconds);
                let body = RateLimitedBody { detail: LIMITED, retry_after: seconds };
                (S::TOO_MANY_REQUESTS, [retry_after(seconds)], Extension(told), Json(body)).into_response()
            }
            Self::Unavailable(error) => {
                tracing::warn!(error = format!("{error:#}"), "a request could not be served for now");
                refuse(S::SERVICE_UNAVAILABLE, INTERNAL, Some(retry_after(RETRY_AFTER_OUTAGE)))
            }
            Self::Maintenance => {
                refuse(S::SERVICE_UNAVAILABLE, MAINTENANCE, Some(retry_after(RETRY_AFTER_MAINTENANCE)))
            }
            Self::Upstream(error) => {
                tracing::warn!(error = format!("{error:#}"), "a service that a request needs failed");
                refuse(S::BAD_GATEWAY, INTERNAL, None)
            }
            Self::Internal(error) => {
                tracing::error!(error = format!("{error:#}"), "a request failed");
                refuse(S::INTERNAL_SERVER_ERROR, INTERNAL, None)
            }
        }
    }
}

fn refuse(
    status: StatusCode,
    detail: impl Into<String>,
    extra: Option<(HeaderName, HeaderValue)>,
) -> Response {
    let detail = brief(detail.into());
    let mut response = (status, Extension(told(&detail)), Json(ErrorBody { detail })).into_response();
    response.headers_mut().extend(extra);
    response
}

/// What an answer with this detail brings along for other shapes.
fn told(detail: &str) -> Refusal {
    Refusal { detail: detail.to_owned(), errors: Vec::new(), retry_after: None, named: None }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    async fn sent(error: ApiError) -> (StatusCode, serde_json::Value) {
        let response = error.into_response();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    #[tokio::test]
    async fn what_went_wrong_inside_is_never_told() {
        for error in [
            ApiError::Internal(anyhow::anyhow!("relation users does not exist")),
            ApiError::Unavailable(anyhow::anyhow!("10.0.0.7 refused the connection")),
        ] {
            let (status, body) = sent(error).await;
            assert!(status.is_server_error());
            assert_eq!(body, serde_json::json!({"detail": "Internal server error"}));
        }
    }

    #[tokio::test]
    async fn what_was_sent_is_not_sent_back_whole() {
        let long = "é".repeat(100_000);
        let rule = "must have 1 to 200 characters";
        let invalid = FieldError::value(format!("body -> {long}"), format!("`{long}` {rule}"));
        for error in [ApiError::Invalid(vec![invalid]), ApiError::BadRequest(format!("`{long}` {rule}"))] {
            let (_, body) = sent(error).await;
            let body = body.to_string();
            assert!(body.len() < 10_000 && body.contains(rule), "{} bytes", body.len());
        }
    }

    #[tokio::test]
    async fn invalid_input_names_each_field() {
        let mut problems = Problems::default();
        problems.require(false, "email", || "`alice` is not an e-mail address".into());
        problems.require(true, "username", || unreachable!());
        let (status, body) = sent(problems.finish().expect_err("one problem")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(
            body,
            serde_json::json!({"detail": "Validation error", "errors": [{
                "field": "body -> email", "message": "`alice` is not an e-mail address", "type": "value_error"}]})
        );
    }
}
