//! One attempt to deliver an event.

use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use runtime::egress::{
    Client, EgressError, HeaderName, HeaderValue, Obstacle, Policy, Request, Response, header,
};
use tokio::time::{Instant as Deadline, timeout_at};

use super::secret::{WebhookSecret, signatures};

/// For connecting, sending and the answer together.
pub const TIMEOUT: Duration = Duration::from_secs(15);
/// A receiver cannot put us off for longer.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// Thin events only.
const MAX_BODY_BYTES: usize = 20 * 1024;
/// How much of an answer is read, and how much of it is kept for the endpoint's owner to look at.
const MAX_READ_BYTES: usize = 64 * 1024;
const MAX_EXCERPT_BYTES: usize = 4 * 1024;

/// What to deliver where.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Of the event, the same in every attempt; 1 to 100 letters, digits, `-` and `_`.
    pub id: String,
    pub url: String,
    /// JSON; at most 20 KiB.
    pub body: Bytes,
    /// The endpoint's secrets, the newest first: at least one.
    pub secrets: Vec<WebhookSecret>,
    /// When this attempt is made; signed, so that a receiver can refuse what is replayed later.
    pub attempt_at: DateTime<Utc>,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The HTTP status, when there was an answer.
    pub status: Option<u16>,
    pub latency_ms: u64,
    /// The first 4 KiB of the answer.
    pub response_excerpt: String,
    pub outcome: Outcome,
    /// Why it was not delivered, in words that the endpoint's owner may read.
    pub error: Option<String>,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// Try again, when [`super::schedule`] says or when the receiver asked for, whichever is later.
    Retry {
        class: FailureClass,
        after: Option<Duration>,
    },
    /// The receiver is gone for good (410): disable the endpoint.
    Disable,
    /// Trying again could never help: the address or the event is at fault.
    Failed {
        class: FailureClass,
    },
}

/// Why an attempt failed, in few words for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// The event or the endpoint's settings break a rule; nothing was sent.
    Invalid,
    /// The address may not be reached from here.
    Forbidden,
    Connect,
    Timeout,
    /// The connection broke before the answer was there.
    Broken,
    /// 3xx, which is never followed: a signed event goes where its owner said.
    Redirect,
    /// 429 and 5xx.
    Unavailable,
    /// Any other status.
    Rejected,
}

impl FailureClass {
    /// The word used in metrics and stored with the attempt.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Forbidden => "forbidden",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Redirect => "redirect",
            Self::Unavailable => "unavailable",
            Self::Rejected => "rejected",
        }
    }
}

/// What a client for webhooks may do: reach the internet, within [`TIMEOUT`], without following redirects.
///
/// The size of answers is not the policy's to limit, since a long answer of status 200 is a success: [`deliver`] stops
/// reading instead.
#[must_use]
pub fn policy() -> Policy {
    Policy { total_timeout: TIMEOUT, max_bytes: u64::MAX, max_redirects: 0, ..Policy::tenant() }
}

/// Post a signed event once. `client` is made with [`policy`].
pub async fn deliver(client: &Client, delivery: &Delivery) -> Attempt {
    let started = Instant::now();
    let deadline = Deadline::now() + TIMEOUT;
    let mut attempt = Attempt {
        status: None,
        latency_ms: 0,
        response_excerpt: String::new(),
        outcome: Outcome::Delivered,
        error: None,
    };
    match signed(delivery) {
        Err(problem) => {
            attempt.outcome = Outcome::Failed { class: FailureClass::Invalid };
            attempt.error = Some(problem);
        }
        Ok(request) => match timeout_at(deadline, client.send(request)).await {
            Ok(Ok(mut answer)) => {
                attempt.status = Some(answer.status.as_u16());
                attempt.outcome = judge(&answer, delivery.attempt_at);
                attempt.error =
                    (attempt.outcome != Outcome::Delivered).then(|| format!("answered {}", answer.status));
                // The status is the answer; what follows it is for people, and may break off.
                let _ = timeout_at(deadline, read_excerpt(&mut answer, &mut attempt.response_excerpt)).await;
            }
            Ok(Err(error)) => {
                attempt.outcome = unanswered(&error);
                attempt.error = Some(error.to_string());
            }
            Err(_) => {
                attempt.outcome = Outcome::Retry { class: FailureClass::Timeout, after: None };
                attempt.error = Some(format!("no answer within {} s", TIMEOUT.as_secs()));
            }
        },
    }
    attempt.latency_ms = started.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
    attempt
}

/// The request with its three headers (Standard Webhooks 1.0.0, "Webhook headers"), or why there is none.
fn signed(delivery: &Delivery) -> Result<Request, String> {
    let id = &delivery.id;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if id.is_empty() || id.len() > 100 || !id.bytes().all(is_plain) {
        return Err(format!(
            "the event id `{}` must be 1 to 100 letters, digits, `-` and `_`",
            id.escape_debug()
        ));
    }
    if delivery.secrets.is_empty() {
        return Err("the endpoint has no secret to sign with".into());
    }
    if delivery.body.len() > MAX_BODY_BYTES {
        return Err(format!("the event has {} bytes, the limit is {MAX_BODY_BYTES}", delivery.body.len()));
    }
    let value = |text: String| HeaderValue::try_from(text).map_err(|error| error.to_string());
    let signature = signatures(&delivery.secrets, id, delivery.attempt_at, &delivery.body);
    Ok(Request::post(delivery.url.clone(), delivery.body.clone())
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(HeaderName::from_static("webhook-id"), value(id.clone())?)
        .header(
            HeaderName::from_static("webhook-timestamp"),
            value(delivery.attempt_at.timestamp().to_string())?,
        )
        .header(HeaderName::from_static("webhook-signature"), value(signature)?))
}

fn judge(answer: &Response, now: DateTime<Utc>) -> Outcome {
    let class = match answer.status.as_u16() {
        200..=299 => return Outcome::Delivered,
        410 => return Outcome::Disable,
        300..=399 => FailureClass::Redirect,
        429 | 500..=599 => FailureClass::Unavailable,
        _ => FailureClass::Rejected,
    };
    let after = answer.header(header::RETRY_AFTER).and_then(|value| retry_after(value, now));
    Outcome::Retry { class, after }
}

/// `Retry-After`, in seconds or as a date (RFC 9110, section 10.2.3), cut at a day; `None` for anything else.
fn retry_after(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    let delay = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date: DateTime<Utc> = httpdate::parse_http_date(value).ok()?.into();
        (date - now).to_std().unwrap_or_default()
    };
    Some(delay.min(MAX_RETRY_AFTER))
}

fn unanswered(error: &EgressError) -> Outcome {
    let class = match error {
        EgressError::Unreachable { obstacle: Obstacle::Forbidden, .. } => FailureClass::Forbidden,
        EgressError::Unreachable { .. } => FailureClass::Connect,
        EgressError::Timeout { .. } => FailureClass::Timeout,
        EgressError::TooManyRedirects | EgressError::Downgrade => FailureClass::Redirect,
        EgressError::Broken { .. } | EgressError::Setup(_) => FailureClass::Broken,
        // Only a client made with another policy than ours refuses a long answer.
        EgressError::TooLarge { .. } => return Outcome::Retry { class: FailureClass::Broken, after: None },
        _ => FailureClass::Invalid,
    };
    if error.is_permanent() { Outcome::Failed { class } } else { Outcome::Retry { class, after: None } }
}

/// Read the beginning of an answer, as text that a database and a page can take.
async fn read_excerpt(answer: &mut Response, excerpt: &mut String) {
    let mut kept = Vec::new();
    let mut read = 0;
    while read < MAX_READ_BYTES
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        read += chunk.len();
        kept.extend_from_slice(&chunk[..chunk.len().min(MAX_EXCERPT_BYTES - kept.len())]);
        *excerpt = String::from_utf8_lossy(&kept).replace('\0', "\u{fffd}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms_and_cut_at_a_day() {
        let now: DateTime<Utc> = "1994-11-06T08:49:00Z".parse().unwrap();
        let seconds = |value| retry_after(value, now).map(|delay| delay.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(37));
        assert_eq!(seconds("Sunday, 06-Nov-94 08:49:37 GMT"), Some(37));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(seconds("99999999999999999999999"), Some(86_400));
        assert_eq!(seconds("Fri, 31 Dec 1999 23:59:59 GMT"), Some(86_400));
        for nonsense in ["", "soon", "-1", "1.5", "+3"] {
            assert_eq!(seconds(nonsense), None, "{nonsense}");
        }
    }
}
