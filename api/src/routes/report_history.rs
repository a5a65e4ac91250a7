//! The history of reports in the words of seed 002: what was made, how it was sent out, and where to fetch it.
//!
//! They are the reports of `/api/reports`. What is this document's own is what it tells of each, and its links: an address with a token in it,
//! which is opened without an account for [`BREAKWATER_LINK_DAYS`] (`reports/download.rs`). A link is made when the history is first asked
//! for, and shown again whenever it is ([`store::report_links`]).

use std::collections::HashMap;

use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use domain::{
    document::Format,
    id::ReportId,
    report::{BREAKWATER_LINK_DAYS, ReportStatus},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    deliveries::{self, MailAbout},
    report_links::{self, Missing, Wanted},
    reports as stored,
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::reports::ReportStatus as StatusWord;
use crate::{
    error::{ApiError, ErrorBody},
    extract::{Actor, Listing, ReadOnly, day},
    openapi::{Invalid, Limited, SignedIn},
    reply::Page,
    state::AppState,
    words::ReportTypeWord,
};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct HistoryFilter {
    /// Only this type. One that there is not is refused with the code `INVALID_REPORT_TYPE` and those that there are.
    #[param(inline, value_type = Option<ReportTypeWord>)]
    report_type: Option<String>,
    /// Only reports that stand there.
    #[param(inline)]
    status: Option<StatusWord>,
    /// Completed, or failed, on this day or later (UTC); what is still being made, asked for.
    #[serde(default, deserialize_with = "day")]
    #[param(example = "2024-01-01")]
    start_date: Option<NaiveDate>,
    /// The same, on this day or earlier. A range that ends before it begins is refused with the code `INVALID_DATE_RANGE`.
    #[serde(default, deserialize_with = "day")]
    #[param(example = "2124-01-31")]
    end_date: Option<NaiveDate>,
}

impl HistoryFilter {
    fn checked(self) -> Result<stored::Filter, ApiError> {
        let refused = |code, message, details| ApiError::Coded {
            status: StatusCode::BAD_REQUEST,
            code,
            message,
            details,
        };
        if let (Some(start), Some(end)) = (self.start_date, self.end_date)
            && start > end
        {
            let message =
                format!("start_date is {start}, which is after end_date, {end}: nothing lies between");
            return Err(refused(
                "INVALID_DATE_RANGE",
                message,
                json!({ "start_date": start, "end_date": end }),
            ));
        }
        let report_type = match self.report_type {
            None => None,
            Some(word) => match reports::find(&word) {
                Some(known) => Some(known.id.to_owned()),
                None => {
                    let supported: Vec<&str> = reports::catalogue().iter().map(|known| known.id).collect();
                    let message = format!("Report type '{word}' is not supported");
                    let details = json!({ "report_type": word, "supported_types": supported });
                    return Err(refused("INVALID_REPORT_TYPE", message, details));
                }
            },
        };
        let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
        Ok(stored::Filter {
            report_type,
            status: self.status.map(|status| ReportStatus::from(status).as_str().to_owned()),
            from: self.start_date.map(midnight),
            before: self.end_date.and_then(|end| end.checked_add_days(Days::new(1))).map(midnight),
            ..stored::Filter::default()
        })
    }
}

/// A report in the history.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "report_id": "report_0199f8a26c1e7b629a535e1f0c2d4b7c", "report_type": "executive_summary", "status": "completed", "generated_at": "2024-01-21T11:15:00Z", "generation_time": "00:02:30",
    "file_size": "2.4 MB", "page_count": 4,
    "download_url": "https://plimsoll.example.com/api/v1/reports/download/report_0199f8a26c1e7b629a535e1f0c2d4b7c.pdf?token=3f0c…",
    "expires_at": "2024-02-21T11:15:00Z",
    "delivery": {"email_sent": true, "recipients": 2, "delivery_time": "2024-01-21T11:16:30Z"}}))]
struct PastReport {
    /// `report_` and the report's id without hyphens, which is understood in its place.
    report_id: String,
    #[schema(value_type = ReportTypeWord)]
    report_type: String,
    #[schema(value_type = StatusWord)]
    status: String,
    /// Null until it is completed.
    generated_at: Option<DateTime<Utc>>,
    /// Hours, minutes and seconds from when it was asked for until it was completed. Null until then.
    generation_time: Option<String>,
    /// Of the file, in units of a thousand bytes, a million and so on. Null until it is completed.
    file_size: Option<String>,
    /// Of a PDF. Null until it is completed, and for formats without pages.
    page_count: Option<i32>,
    /// Opens the file for whoever has it, without an account. Null until it is completed, from `expires_at` on, and when it was revoked
    /// (`DELETE /api/reports/{report_id}/shares/{share_id}`); and during maintenance, if nobody had asked for it before.
    download_url: Option<String>,
    /// Until when the file can be fetched there: thirty-one days after it was completed.
    expires_at: Option<DateTime<Utc>>,
    delivery: Delivery,
}

/// How a report was sent out.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ReportDelivery)]
struct Delivery {
    /// Every recipient was tried, and it went out to at least one.
    email_sent: bool,
    /// How many addresses the mail is for. 0: there is none, or none yet.
    recipients: i32,
    /// When it had gone out.
    delivery_time: Option<DateTime<Utc>>,
}

impl From<MailAbout> for Delivery {
    fn from(mail: MailAbout) -> Self {
        Self {
            email_sent: mail.sent_at.is_some(),
            recipients: mail.recipient_count,
            delivery_time: mail.sent_at,
        }
    }
}

impl PastReport {
    fn new(report: stored::Report, download_url: Option<String>, delivery: Delivery) -> Self {
        let generated_at = generated_at(&report);
        Self {
            report_id: public_id(ReportId(report.id)),
            report_type: report.report_type,
            status: report.status,
            generated_at,
            generation_time: generated_at.map(|at| clock(at - report.created_at)),
            file_size: report.byte_count.map(in_words),
            page_count: report.page_count,
            download_url,
            expires_at: generated_at.map(ends),
            delivery,
        }
    }
}

/// When the file was made, if there is one.
fn generated_at(report: &stored::Report) -> Option<DateTime<Utc>> {
    report.completed_at.filter(|_| report.status == ReportStatus::Completed.as_str())
}

fn ends(generated_at: DateTime<Utc>) -> DateTime<Utc> {
    generated_at + TimeDelta::days(BREAKWATER_LINK_DAYS)
}

fn public_id(id: ReportId) -> String {
    format!("report_{}", id.0.simple())
}

/// `00:02:30`
fn clock(took: TimeDelta) -> String {
    let seconds = took.num_seconds().max(0);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `2.4 MB`, with the prefixes of the SI.
fn in_words(bytes: i64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let tenths = |unit: i64| bytes.saturating_add(unit / 20) / (unit / 10);
    let (tenths, unit) = [(1_000, "KB"), (1_000_000, "MB"), (1_000_000_000, "GB")]
        .into_iter()
        .map(|(unit, word)| (tenths(unit), word))
        // Not `1000.0 KB`.
        .find(|(tenths, _)| *tenths < 10_000)
        .unwrap_or_else(|| (tenths(1_000_000_000_000), "TB"));
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// Show what was generated
///
/// The latest first; what is still being made, and what failed, among them. Each `download_url` opens its file without an account, for whoever
/// has it: it is among the report's links (`GET /api/reports/{report_id}/shares`), where it is counted, and can be revoked.
#[utoipa::path(get, path = "/api/v1/reports/history", tag = "reports", params(Listing<HistoryFilter, stored::Sort>),
    responses((status = 200, body = Page<PastReport>),
              (status = 400, description = "`INVALID_REPORT_TYPE` or `INVALID_DATE_RANGE`", body = ErrorBody),
              SignedIn, Invalid, Limited))]
async fn list_report_history(
    State(app): State<AppState>,
    actor: Actor<ReadOnly>,
    Listing { page, order, filter }: Listing<HistoryFilter, stored::Sort>,
) -> Result<Page<PastReport>, ApiError> {
    let filter = filter.checked()?;
    let missing = match app.maintenance.goes_on(&app.db).await? {
        true => Missing::Leave,
        false => Missing::Make(actor.as_member()),
    };
    let mut tx = actor.begin().await?;
    let found = stored::list(&mut tx, &filter, order, page).await?;
    let now = Utc::now();
    let wanted: Vec<Wanted> = found
        .items
        .iter()
        .filter_map(|report| {
            Some(Wanted { report: ReportId(report.id), expires_at: ends(generated_at(report)?) })
        })
        .filter(|link| link.expires_at > now)
        .collect();
    let tokens = report_links::tokens(&mut tx, &app.secrets, &wanted, missing).await?;
    let ids: Vec<Uuid> = found.items.iter().map(|report| report.id).collect();
    let mails = deliveries::mails_about(&mut tx, &ids).await?;
    tx.commit().await?;

    let mut deliveries: HashMap<Uuid, Delivery> =
        mails.into_iter().map(|mail| (mail.report_id, mail.into())).collect();
    let files = format!("{}/api/v1/reports/download", app.config.public_url());
    Ok(Page::of(found.map(|report| {
        let id = ReportId(report.id);
        let url = tokens.get(&id).map(|token| {
            let ending = report.format.parse().map_or("", Format::extension);
            format!("{files}/{}.{ending}?token={token}", public_id(id))
        });
        let delivery = deliveries.remove(&id.0).unwrap_or_default();
        PastReport::new(report, url, delivery)
    })))
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default().routes(routes!(list_report_history))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_with_one_decimal_of_the_largest_unit_that_fits() {
        for (bytes, told) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 KB"),
            (2_449, "2.4 KB"),
            (2_450, "2.5 KB"),
            (999_949, "999.9 KB"),
            (999_950, "1.0 MB"),
            (2_400_000, "2.4 MB"),
            (999_950_000, "1.0 GB"),
            (5_000_000_000_000, "5.0 TB"),
            (i64::MAX, "9223372.0 TB"),
        ] {
            assert_eq!(in_words(bytes), told, "{bytes}");
        }
    }

    #[test]
    fn a_time_is_told_as_on_a_clock() {
        for (seconds, told) in [(0, "00:00:00"), (150, "00:02:30"), (3_661, "01:01:01"), (-1, "00:00:00")] {
            assert_eq!(clock(TimeDelta::seconds(seconds)), told);
        }
        assert_eq!(clock(TimeDelta::hours(100)), "100:00:00");
    }

    #[test]
    fn a_link_holds_as_long_as_the_example_of_seed_002() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
        assert_eq!(ends(at("2024-01-21T11:15:00Z")), at("2024-02-21T11:15:00Z"));
    }
}
