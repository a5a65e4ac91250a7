//! Answers that carry their status, and pages of lists ([`page`]).

pub(crate) mod page;

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::id::{JobId, ReportId};
use serde::Serialize;
use store::idempotency::Answer;
use utoipa::ToSchema;
use uuid::Uuid;

pub(crate) use page::{Listed, Page};

/// On answers that were given before and are repeated for the same `Idempotency-Key`.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// 201, with what was made.
#[derive(Debug)]
pub(crate) struct Created<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Json(self.0)).into_response()
    }
}

/// What was deleted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Deleted {
    /// Of what is gone.
    #[schema(example = "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a")]
    id: Uuid,
    /// Always true: what did not exist is a 404.
    #[schema(example = true)]
    deleted: bool,
}

impl Deleted {
    pub(crate) fn new(id: Uuid) -> Self {
        Self { id, deleted: true }
    }
}

impl IntoResponse for Deleted {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

/// 202: the work is recorded and will be done. `Location` is where to ask about it.
#[derive(Debug)]
pub(crate) enum Accepted<T> {
    Now {
        job: JobId,
        body: T,
    },
    /// The answer that the same request got before.
    Before(Answer),
}

/// Where a job can be asked about.
pub(crate) fn job_location(job: JobId) -> String {
    format!("/api/jobs/{job}")
}

impl<T: Serialize> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        match self {
            Self::Now { job, body } => {
                (StatusCode::ACCEPTED, [(header::LOCATION, job_location(job))], Json(body)).into_response()
            }
            Self::Before(answer) => {
                let status =
                    u16::try_from(answer.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
                let mut response =
                    (status.unwrap_or(StatusCode::ACCEPTED), Json(answer.body)).into_response();
                let location = answer.location.and_then(|location| HeaderValue::try_from(location).ok());
                response.headers_mut().extend(location.map(|location| (header::LOCATION, location)));
                response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
                response
            }
        }
    }
}

/// The least that every 202 says.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobAccepted {
    /// Ask `GET /api/jobs/{job_id}`, or listen to `GET /api/jobs/{job_id}/events`.
    #[schema(example = "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a")]
    pub(crate) job_id: Uuid,
    /// `queued`.
    #[schema(example = "queued")]
    pub(crate) status: &'static str,
}

impl JobAccepted {
    pub(crate) fn new(job: JobId) -> Self {
        Self { job_id: job.0, status: "queued" }
    }
}

/// A file that a worker will make.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileAccepted {
    #[serde(flatten)]
    job: JobAccepted,
    /// The report that the file is of; of an export, the one that it was made as.
    #[schema(example = "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7c")]
    report_id: Uuid,
    /// Where the file will be.
    #[schema(
        example = "https://plimsoll.example.com/api/reports/0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7c/download?format=pdf"
    )]
    download_url: String,
}

impl FileAccepted {
    pub(crate) fn new(job: JobId, report: ReportId, download_url: String) -> Self {
        Self { job: JobAccepted::new(job), report_id: report.0, download_url }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_work_says_where_to_ask_about_it() {
        let job = JobId::new();
        let response = Accepted::Now { job, body: JobAccepted::new(job) }.into_response();
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        assert_eq!(response.headers()[header::LOCATION], format!("/api/jobs/{job}").as_str());
    }

    #[test]
    fn a_repeated_answer_is_the_same_and_says_so() {
        let answer = Answer {
            status: 202,
            location: Some("/api/jobs/1".into()),
            body: serde_json::json!({"job_id": "1"}),
        };
        let response = Accepted::<()>::Before(answer).into_response();
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        assert_eq!(response.headers()[header::LOCATION], "/api/jobs/1");
        assert_eq!(response.headers()[REPLAYED], "true");
    }
}
