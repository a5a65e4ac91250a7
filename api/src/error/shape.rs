//! The shape of a refusal, which is that of the document that its path is from: [`Dialect`] has the table.
//!
//! The documents' validation errors are `errors`, `details` and `issues`.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::FieldError;
use crate::dialect::Dialect;

/// What an answer refuses, apart from its shape.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(super) detail: String,
    pub(super) errors: Vec<FieldError>,
    pub(super) retry_after: Option<u64>,
    /// What the path's document calls it in particular, and what it says beside.
    pub(super) named: Option<(&'static str, Value)>,
}

impl Refusal {
    /// As `dialect` writes it.
    pub(crate) fn body(&self, dialect: Dialect, status: StatusCode) -> Vec<u8> {
        let mut body = self.value(dialect, status);
        if let (Some((code, details)), Some(error)) = (&self.named, body.get_mut("error")) {
            error["code"] = (*code).into();
            error["details"] = details.clone();
        }
        body.to_string().into_bytes()
    }

    fn value(&self, dialect: Dialect, status: StatusCode) -> Value {
        let Self { detail, errors, retry_after, .. } = self;
        let code = code_of(status);
        let mut body = match dialect {
            Dialect::Rimae => json!({ "detail": detail }),
            Dialect::Cis => json!({ "detail": detail, "status": "error", "code": code }),
            Dialect::Breakwater | Dialect::Infracast => {
                let mut details = json!({});
                if !errors.is_empty() {
                    details["errors"] = json!(errors);
                }
                if let Some(seconds) = retry_after {
                    details["retry_after"] = json!(seconds);
                }
                return json!({ "error": { "code": code, "message": detail, "details": details } });
            }
            Dialect::RimaeAndHarborguard => {
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

/// The name of the schema in which the OpenAPI document has a dialect's refusals; none for that of seed 000, which has several.
pub(crate) fn schema_of(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::Rimae => None,
        Dialect::Cis => Some("StatusError"),
        Dialect::Breakwater | Dialect::Infracast => Some("CodedError"),
        Dialect::RimaeAndHarborguard => Some("ReportError"),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(named: Option<(&'static str, Value)>) -> Refusal {
        let errors = vec![FieldError::value("body -> recipients -> 0", "`x` is not an e-mail address")];
        Refusal { detail: "Validation error".into(), errors, retry_after: None, named }
    }

    #[test]
    fn each_shape_says_the_same() {
        let said = |dialect| refusal(None).value(dialect, StatusCode::UNPROCESSABLE_ENTITY);
        let message = "`x` is not an e-mail address";
        let errors =
            json!([{ "field": "body -> recipients -> 0", "message": message, "type": "value_error" }]);
        assert_eq!(said(Dialect::Rimae), json!({ "detail": "Validation error", "errors": errors }));
        assert_eq!(
            said(Dialect::Cis),
            json!({ "detail": "Validation error", "status": "error", "code": "VALIDATION_ERROR", "errors": errors })
        );
        for dialect in [Dialect::Breakwater, Dialect::Infracast] {
            assert_eq!(
                said(dialect),
                json!({ "error": { "code": "VALIDATION_ERROR", "message": "Validation error", "details": { "errors": errors } } })
            );
        }
        assert_eq!(
            said(Dialect::RimaeAndHarborguard),
            json!({ "detail": "Validation error", "errors": errors,
                    "error": { "code": "VALIDATION_ERROR", "message": "Validation error",
                               "issues": [{ "path": "recipients.0", "message": message }] } })
        );
    }

    #[test]
    fn a_code_of_the_documents_own_takes_the_place_of_the_statuss() {
        let named = Some(("INVALID_REPORT_TYPE", json!({ "report_type": "x" })));
        let body = refusal(named).body(Dialect::Breakwater, StatusCode::BAD_REQUEST);
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["error"]["code"], "INVALID_REPORT_TYPE");
        assert_eq!(body["error"]["details"], json!({ "report_type": "x" }));
    }
}
