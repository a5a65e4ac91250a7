//! What other systems know is installed, asked over the network.
//!
//! [`wazuh`] asks a manager for its agents, [`github`] asks for an organization's repositories. Both ask one thing at a time and
//! give it back as it came, so that whoever calls decides what to keep, when to stop and what to do about an answer that is none.
//! Every request goes through the guarded client, and every answer is hostile data: bounded, and never part of an address unless
//! it was checked. Where secrets and settings come from is others' business.

pub mod github;
pub mod wazuh;

use std::time::Duration;

use runtime::egress::{
    Client, EgressError, HeaderMap, HeaderName, HeaderValue, Policy, Response, StatusCode, header,
};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;

/// Who asks to wait without saying for how long is left alone for this long: both limit requests by the minute.
const USUAL_PAUSE: Duration = Duration::from_secs(60);
/// Nobody is believed who asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(2 * 60 * 60);

/// Why another system did not say what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("{who} answers and refuses the credential ({status})")]
    Refused { who: &'static str, status: u16 },
    #[error("{who} answers with {status}: is this the address of its API?")]
    Status { who: &'static str, status: u16 },
    #[error("something answers, but not as {who} does: is this the address of its API?")]
    Strange { who: &'static str },
    #[error("{who} wants to be left alone for {} s", pause.as_secs())]
    Wait { who: &'static str, pause: Duration },
    #[error("the secret has characters that no header can carry")]
    Unsendable,
    #[error("the private key cannot be used: it must be an RSA key in PEM")]
    Key,
    #[error(transparent)]
    Egress(#[from] EgressError),
}

/// The way to the systems that an organization has named: a private network only where an administrator of the installation set the
/// address, or listed the host.
///
/// # Errors
/// When the client cannot be set up.
pub fn client(
    may_be_private: bool,
    hosts: &[String],
    patience: Duration,
    longest_answer: u64,
) -> Result<Client, EgressError> {
    Client::new(Policy {
        allow_private: may_be_private,
        allow_hosts: hosts.to_vec(),
        total_timeout: patience,
        max_bytes: longest_answer,
        ..Policy::tenant()
    })
}

/// `path` below `url`, whether or not that ends in a slash.
#[must_use]
pub fn under(url: &str, path: &str) -> String {
    format!("{}{path}", url.trim_end_matches('/'))
}

/// The body of a good answer.
///
/// # Errors
/// When the answer is none, or is not what `who` answers with.
pub async fn json_of<T: DeserializeOwned>(who: &'static str, answer: Response) -> Result<T, RemoteError> {
    let body = good(who, answer)?.bytes().await?;
    serde_json::from_slice(&body).map_err(|_| RemoteError::Strange { who })
}

/// The answer, if it is one.
fn good(who: &'static str, answer: Response) -> Result<Response, RemoteError> {
    if let Some(pause) = pause_of(answer.status, &answer.headers, chrono::Utc::now().timestamp()) {
        return Err(RemoteError::Wait { who, pause });
    }
    let status = answer.status.as_u16();
    match answer.status {
        good if good.is_success() => Ok(answer),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(RemoteError::Refused { who, status }),
        _ => Err(RemoteError::Status { who, status }),
    }
}

/// How long we are asked to wait, if that is what a refusal says: by `Retry-After` in seconds (RFC 9110, section 10.2.3), or by when
/// there are requests left again (GitHub REST API, "Rate limits": a 403 can say either). `now` is in seconds of the epoch.
fn pause_of(status: StatusCode, headers: &HeaderMap, now: i64) -> Option<Duration> {
    let number = |name: HeaderName| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let named = |name: &'static str| number(HeaderName::from_static(name));
    let retry_after = number(header::RETRY_AFTER);
    let used_up = named("x-ratelimit-remaining") == Some(0);
    let is_asked = match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::FORBIDDEN => retry_after.is_some() || used_up,
        StatusCode::SERVICE_UNAVAILABLE => retry_after.is_some(),
        _ => false,
    };
    if !is_asked {
        return None;
    }
    let until_reset = || {
        let reset = named("x-ratelimit-reset").filter(|_| used_up)?;
        // A second more: the clocks need not agree.
        Some(reset.saturating_sub(u64::try_from(now).unwrap_or(0)).saturating_add(1))
    };
    let pause = retry_after.or_else(until_reset).map_or(USUAL_PAUSE, Duration::from_secs);
    Some(pause.clamp(Duration::from_secs(1), LONGEST_PAUSE))
}

fn bearer(token: &SecretString) -> Result<HeaderValue, RemoteError> {
    secret_value(&format!("Bearer {}", token.expose_secret()))
}

/// A header that no log shows and no redirect carries to another host.
fn secret_value(text: &str) -> Result<HeaderValue, RemoteError> {
    let mut value = HeaderValue::try_from(text).map_err(|_| RemoteError::Unsendable)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(status: u16, headers: &[(&'static str, &'static str)]) -> Option<u64> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let status = StatusCode::from_u16(status).unwrap();
        pause_of(status, &headers, 1_000_000).map(|pause| pause.as_secs())
    }

    #[test]
    fn whoever_asks_for_a_pause_gets_it_within_reason() {
        assert_eq!(pause(429, &[]), Some(60));
        assert_eq!(pause(429, &[("retry-after", "30")]), Some(30));
        assert_eq!(pause(403, &[("retry-after", "0")]), Some(1));
        assert_eq!(pause(403, &[("retry-after", "99999999")]), Some(7200));
        assert_eq!(pause(503, &[("retry-after", "5")]), Some(5));
        let used_up = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1000090")];
        assert_eq!(pause(403, &used_up), Some(91));
        assert_eq!(pause(429, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "7")]), Some(1));
        assert_eq!(pause(429, &[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")]), Some(60));
    }

    #[test]
    fn a_refusal_that_asks_for_no_pause_is_a_refusal() {
        assert_eq!(pause(403, &[]), None);
        assert_eq!(pause(403, &[("x-ratelimit-remaining", "17")]), None);
        assert_eq!(pause(401, &[("retry-after", "5")]), None);
        assert_eq!(pause(503, &[]), None);
        assert_eq!(pause(200, &[("x-ratelimit-remaining", "0")]), None);
    }
}
