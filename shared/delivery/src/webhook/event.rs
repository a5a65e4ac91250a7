//! What webhooks say: thin bodies with ids and addresses, no findings.
//!
//! The field names and their order are those that the documented reports API prints; receivers have written code for them.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

/// A report was generated.
#[derive(Debug, Clone, Serialize)]
pub struct ReportGenerated<'a> {
    pub report_id: &'a str,
    pub report_type: &'a str,
    /// `completed`.
    pub status: &'a str,
    pub download_url: Option<&'a str>,
    pub organization_id: &'a str,
}

/// The last job of a batch has ended.
#[derive(Debug, Clone, Serialize)]
pub struct BatchFinished<'a> {
    pub batch_id: &'a str,
    pub name: &'a str,
    /// `completed` when every job was, otherwise `failed`.
    pub status: &'a str,
    pub jobs: i64,
    pub completed: i64,
    pub failed: i64,
    pub cancelled: i64,
    pub organization_id: &'a str,
}

#[derive(Serialize)]
struct Event<T> {
    event: &'static str,
    timestamp: String,
    data: T,
}

/// The body of a `report.generated` event. `at` is when it happened: it stays the same in every attempt.
#[must_use]
pub fn report_generated(at: DateTime<Utc>, report: &ReportGenerated<'_>) -> Bytes {
    body("report.generated", at, report)
}

/// The body of a `batch.finished` event.
#[must_use]
pub fn batch_finished(at: DateTime<Utc>, batch: &BatchFinished<'_>) -> Bytes {
    body("batch.finished", at, batch)
}

fn body(event: &'static str, at: DateTime<Utc>, data: impl Serialize) -> Bytes {
    let event = Event { event, timestamp: at.to_rfc3339_opts(SecondsFormat::Secs, true), data };
    serde_json::to_vec(&event).expect("structs of strings serialise").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_report_is_told_in_the_documented_words() {
        let report = ReportGenerated {
            report_id: "report_abc123",
            report_type: "executive_summary",
            status: "completed",
            download_url: Some("https://reports.example.org/download/report_abc123.pdf"),
            organization_id: "org_123",
        };
        let body = report_generated("2024-01-21T11:15:00.789Z".parse().unwrap(), &report);
        let expected = concat!(
            r#"{"event":"report.generated","timestamp":"2024-01-21T11:15:00Z","data":{"#,
            r#""report_id":"report_abc123","report_type":"executive_summary","status":"completed","#,
            r#""download_url":"https://reports.example.org/download/report_abc123.pdf","#,
            r#""organization_id":"org_123"}}"#
        );
        assert_eq!(body, expected);
    }
}
