//! The shape of a refusal, which is that of the document that its path is from.
//!
//! | paths | document | body |
//! |---|---|---|
//! | `/api/v1/compliance` | seed 001 | `{detail, status, code}` |
//! | the rest of `/api/v1` | seeds 002 and 003 | `{error: {code, message, details}}` |
//! | `/api/reports` | seeds 000 and 004 | `{detail, error: {code, message, issues}}`, which is both |
//! | all others | seed 000 | `{detail}` |
//!
//! An [`super::ApiError`] leaves in the last of these and brings what it is along; [`reshape`] writes it anew where the path
//! asks for another. The documents' validation errors are `errors`, `details` and `issues`.

use axum::{
    Json,
    body::HttpBody,
    extract::Request,
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::FieldError;

/// What an answer refuses, apart from its shape.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) detail: String,
    pub(super) errors: Vec<FieldError>,
    pub(super) retry_after: Option<u64>,
}

/// What the path's document calls this refusal in particular, and what it says beside.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) code: &'static str,
    pub(super) details: Value,
}

/// How a document writes refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Seed 000.
    Detail,
    /// Seed 001.
    Status,
    /// Seeds 002 and 003.
    Code,
    /// Seeds 000 and 004, for the paths that both have.
    Both,
}

impl Shape {
    /// That of the document that `path` is from.
    pub(crate) fn of(path: &str) -> Self {
        let under = |prefix| {
            path.strip_prefix(prefix).is_some_and(|rest: &str| rest.is_empty() || rest.starts_with('/'))
        };
        match path {
            _ if under("/api/v1/compliance") => Self::Status,
            _ if under("/api/v1") => Self::Code,
            _ if under("/api/reports") => Self::Both,
            _ => Self::Detail,
        }
    }

    /// The name of its schema in the OpenAPI document; none for that of seed 000, which has several.
    pub(crate) fn schema(self) -> Option<&'static str> {
        match self {
            Self::Detail => None,
            Self::Status => Some("StatusError"),
            Self::Code => Some("CodedError"),
            Self::Both => Some("ReportError"),
        }
    }

    fn body(self, status: StatusCode, refusal: &Refusal) -> Value {
        let Refusal { detail, errors, retry_after } = refusal;
        let code = code_of(status);
        let mut body = match self {
            Self::Detail => json!({ "detail": detail }),
            Self::Status => json!({ "detail": detail, "status": "error", "code": code }),
            Self::Code => {
                let mut details = json!({});
                if !errors.is_empty() {
                    details["errors"] = json!(errors);
                }
                if let Some(seconds) = retry_after {
                    details["retry_after"] = json!(seconds);
                }
                return json!({ "error": { "code": code, "message": detail, "details": details } });
            }
            Self::Both => {
                let mut error = json!({ "code": code, "message": detail });
                if !errors.is_empty() {
                    let issue = |error: &FieldError| json!({ "path": path_of(&error.field), "message": error.message });
                    error["issues"] = errors.iter().map(issue).collect();
                }
                json!({ "detail": detail, "error": error })
            }
        };
        if !errors.is_empty() {
            body["errors"] = json!(errors);
        }
        if let Some(seconds) = retry_after {
            body["retry_after"] = json!(seconds);
        }
        body
    }
}

/// `recipients.0` of `body -> recipients -> 0`.
fn path_of(field: &str) -> String {
    field.split(" -> ").skip(1).collect::<Vec<_>>().join(".")
}

/// What a status is called where codes are words. Seed 002 names some of them.
fn code_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "BAD_REQUEST",
        401 => "UNAUTHENTICATED",
        403 => "INSUFFICIENT_PERMISSIONS",
        404 => "NOT_FOUND",
        405 => "METHOD_NOT_ALLOWED",
        408 => "REQUEST_TIMEOUT",
        409 => "CONFLICT",
        410 => "DOWNLOAD_EXPIRED",
        413 => "PAYLOAD_TOO_LARGE",
        415 => "UNSUPPORTED_MEDIA_TYPE",
        416 => "RANGE_NOT_SATISFIABLE",
        422 => "VALIDATION_ERROR",
        429 => "RATE_LIMITED",
        502 => "UPSTREAM_FAILED",
        503 => "UNAVAILABLE",
        _ => "INTERNAL_ERROR",
    }
}

/// Writes a refusal in the shape that its path asks for.
pub(crate) async fn reshape(request: Request, next: Next) -> Response {
    let shape = Shape::of(request.uri().path());
    let mut response = next.run(request).await;
    let Some(refusal) = response.extensions_mut().remove::<Refusal>() else { return response };
    if shape == Shape::Detail || response.body().size_hint().exact() == Some(0) {
        return response;
    }
    let mut body = shape.body(response.status(), &refusal);
    if let (Some(Named { code, details }), Some(error)) =
        (response.extensions_mut().remove(), body.get_mut("error"))
    {
        error["code"] = code.into();
        error["details"] = details;
    }
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Json(body).into_response().into_body())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> Refusal {
        let errors = vec![FieldError::value("body -> recipients -> 0", "`x` is not an e-mail address")];
        Refusal { detail: "Validation error".into(), errors, retry_after: None }
    }

    #[test]
    fn a_path_says_whose_shape_it_is() {
        assert_eq!(Shape::of("/api/v1/compliance/policies"), Shape::Status);
        assert_eq!(Shape::of("/api/v1/reports/generate"), Shape::Code);
        assert_eq!(Shape::of("/api/v1/tenants/acme-corp/reports"), Shape::Code);
        assert_eq!(Shape::of("/api/reports"), Shape::Both);
        assert_eq!(Shape::of("/api/reports/1/share"), Shape::Both);
        for path in ["/api/compliance-policies", "/api/reports-of-others", "/health", "/api/v10"] {
            assert_eq!(Shape::of(path), Shape::Detail, "{path}");
        }
    }

    #[test]
    fn each_shape_says_the_same() {
        let said = |shape: Shape| shape.body(StatusCode::UNPROCESSABLE_ENTITY, &refusal());
        let message = "`x` is not an e-mail address";
        let errors =
            json!([{ "field": "body -> recipients -> 0", "message": message, "type": "value_error" }]);
        assert_eq!(said(Shape::Detail), json!({ "detail": "Validation error", "errors": errors }));
        assert_eq!(
            said(Shape::Status),
            json!({ "detail": "Validation error", "status": "error", "code": "VALIDATION_ERROR", "errors": errors })
        );
        assert_eq!(
            said(Shape::Code),
            json!({ "error": { "code": "VALIDATION_ERROR", "message": "Validation error", "details": { "errors": errors } } })
        );
        assert_eq!(
            said(Shape::Both),
            json!({ "detail": "Validation error", "errors": errors,
                    "error": { "code": "VALIDATION_ERROR", "message": "Validation error",
                               "issues": [{ "path": "recipients.0", "message": message }] } })
        );
    }
}
