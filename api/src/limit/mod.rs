//! How much is allowed, of what and to whom, and telling so.
//!
//! [`Rule`]s say what counts: sign-ins by address (seed 000) and by account ([`guesses`]), writes and exports by person or key (seed 000), and on seed
//! 002's paths requests by token and reports by organization. Reads are free otherwise. How it is counted is [`count`]'s
//! business. What a request's standing is goes into its answer, whatever that is: `X-RateLimit-*` with the time of the
//! reset in Unix seconds (seed 002), and `RateLimit-Policy` and `RateLimit` with the seconds until then
//! (draft-ietf-httpapi-ratelimit-headers-10). `DEBUG` turns all of it off.

mod backend;
mod count;
mod guesses;

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, request::Parts},
    middleware::Next,
    response::Response,
};
use chrono::Utc;
use domain::id::TenantId;
use runtime::config::Config;
use uuid::Uuid;

pub(crate) use self::{backend::Backend, count::Counter, guesses::Guesses};
use self::{
    count::{Quota, Standing},
    guesses::Guess,
};
use crate::{
    auth::{Credential, scopes::is_safe},
    error::ApiError,
    state::AppState,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Seed 002, "Rate Limiting".
const TOKEN_REQUESTS: Quota = Quota { name: "token-requests", limit: 1000, window: HOUR };
const GENERATED_REPORTS: Quota = Quota { name: "generated-reports", limit: 10, window: HOUR };

/// Each costs reading a file, which may be as large as `PACK_MAX_BYTES`.
const VERIFICATIONS: Quota = Quota { name: "verifications", limit: 10, window: MINUTE };

/// Each may cost reading a large file; viewers ask for a PDF in parts.
const VISITS: Quota = Quota { name: "visits", limit: 120, window: MINUTE };

/// A limit on the requests of somebody who is known.
struct Rule {
    quota: fn(&Config) -> Quota,
    applies: fn(&Method, &str) -> bool,
    counts: Counts,
    /// Only what succeeds counts.
    only_success: bool,
}

/// Whose requests are counted together.
enum Counts {
    /// A person's, by whatever credential of theirs, or those of an organization's key.
    Person,
    /// Those of one key, or of a person who signed in.
    Token,
    Tenant,
}

/// All of them, the one that `X-RateLimit-*` tell of last.
const RULES: &[Rule] = &[
    Rule {
        quota: |config| Quota { name: "writes", limit: config.quotas.writes, window: MINUTE },
        applies: |method, _| !is_safe(method),
        counts: Counts::Person,
        only_success: false,
    },
    Rule {
        quota: |config| Quota { name: "exports", limit: config.quotas.exports, window: MINUTE },
        applies: |method, path| is_safe(method) && path.starts_with("/api/export/"),
        counts: Counts::Person,
        only_success: false,
    },
    Rule {
        quota: |_| GENERATED_REPORTS,
        applies: |method, path| method == Method::POST && path == "/api/v1/reports/generate",
        counts: Counts::Tenant,
        only_success: true,
    },
    Rule {
        quota: |_| TOKEN_REQUESTS,
        applies: |_, path| path.starts_with("/api/v1/reports/"),
        counts: Counts::Token,
        only_success: false,
    },
];

/// What the requests so far leave of each quota that this request was counted against.
#[derive(Debug, Clone, Default)]
struct Notes(Arc<Mutex<Vec<Note>>>);

#[derive(Debug, Clone)]
struct Note {
    standing: Standing,
    only_success: bool,
}

/// Counts a request against every rule that applies to it.
pub(crate) async fn admit(
    parts: &Parts,
    app: &AppState,
    tenant: TenantId,
    user: Uuid,
    credential: Credential,
) -> Result<(), ApiError> {
    for rule in RULES {
        if !(rule.applies)(&parts.method, parts.uri.path()) {
            continue;
        }
        let subject = match (&rule.counts, credential) {
            (Counts::Tenant, _) => tenant.to_string(),
            (Counts::Person | Counts::Token, Credential::OrganizationKey(key))
            | (Counts::Token, Credential::PersonalToken(key)) => key.to_string(),
            (Counts::Person, Credential::Session(_) | Credential::PersonalToken(_))
            | (Counts::Token, Credential::Session(_)) => user.to_string(),
        };
        take(parts, app, (rule.quota)(&app.config), &subject, rule.only_success).await?;
    }
    Ok(())
}

/// Counts an attempt to sign in, or to set up.
pub(crate) async fn admit_sign_in(
    parts: &Parts,
    app: &AppState,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    // Connections without an address are those of tests, and share one count.
    let address = neighbourhood(address.unwrap_or(IpAddr::from([0, 0, 0, 0])));
    let quota = Quota { name: "sign-ins", limit: app.config.quotas.sign_ins, window: MINUTE };
    take(parts, app, quota, &address.to_string(), false).await
}

/// Counts a file that somebody wants verified, who need not be known.
pub(crate) async fn admit_verification(
    parts: &Parts,
    app: &AppState,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let address = neighbourhood(address.unwrap_or(IpAddr::from([0, 0, 0, 0])));
    take(parts, app, VERIFICATIONS, &address.to_string(), false).await
}

/// Counts a request by whoever follows a link to a file.
pub(crate) async fn admit_visitor(
    parts: &Parts,
    app: &AppState,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let address = neighbourhood(address.unwrap_or(IpAddr::from([0, 0, 0, 0])));
    take(parts, app, VISITS, &address.to_string(), false).await
}

/// Leave to try a password of the account called `username`, or the seconds to wait. Unknown names are treated alike.
pub(crate) async fn admit_guess(
    app: &AppState,
    username: &str,
    address: Option<&str>,
) -> Result<Guess, ApiError> {
    let guess = Guess::of(username, address);
    if app.config.debug {
        return Ok(guess);
    }
    match app.guesses.begin(&guess).await {
        None => Ok(guess),
        Some(wait) => Err(ApiError::RateLimited((wait.as_millis().div_ceil(1000) as u64).max(1))),
    }
}

async fn take(
    parts: &Parts,
    app: &AppState,
    quota: Quota,
    subject: &str,
    only_success: bool,
) -> Result<(), ApiError> {
    if app.config.debug {
        return Ok(());
    }
    let standing = app.limits.take(quota, subject).await;
    let (is_let_through, seconds) = (standing.is_let_through, standing.seconds());
    if let Some(Notes(notes)) = parts.extensions.get() {
        notes.lock().unwrap_or_else(PoisonError::into_inner).push(Note { standing, only_success });
    }
    if is_let_through { Ok(()) } else { Err(ApiError::RateLimited(seconds)) }
}

/// Writes into every answer how its request stands with the limits, and gives back what did not count after all.
pub(crate) async fn announce(State(app): State<AppState>, mut request: Request, next: Next) -> Response {
    let notes = Notes::default();
    request.extensions_mut().insert(notes.clone());
    let mut response = next.run(request).await;
    let notes = std::mem::take(&mut *notes.0.lock().unwrap_or_else(PoisonError::into_inner));
    let mut told = Vec::with_capacity(notes.len());
    for Note { mut standing, only_success } in notes {
        if only_success && standing.is_let_through && !response.status().is_success() {
            app.limits.give_back(&standing.receipt).await;
            standing.remaining += 1;
        }
        told.push(standing);
    }
    tell(response.headers_mut(), &told, Utc::now().timestamp());
    response
}

/// The headers. `X-RateLimit-*` have room for one quota: the one that refused, otherwise the last.
fn tell(headers: &mut HeaderMap, standings: &[Standing], now: i64) {
    let refused = standings.iter().find(|standing| !standing.is_let_through);
    let Some(told) = refused.or(standings.last()) else { return };
    let mut set = |name: &'static str, value: HeaderValue| {
        headers.insert(HeaderName::from_static(name), value);
    };
    set("x-ratelimit-limit", told.quota.limit.into());
    set("x-ratelimit-remaining", told.remaining.into());
    set("x-ratelimit-reset", now.saturating_add_unsigned(told.seconds()).into());
    let list = |item: fn(&Standing) -> String| {
        let text = standings.iter().map(item).collect::<Vec<_>>().join(", ");
        HeaderValue::try_from(text).expect("names and numbers are header text")
    };
    set(
        "ratelimit-policy",
        list(|one| format!("\"{}\";q={};w={}", one.quota.name, one.quota.limit, one.quota.window.as_secs())),
    );
    set("ratelimit", list(|one| format!("\"{}\";r={};t={}", one.quota.name, one.remaining, one.seconds())));
}

/// What one subscriber is given: an IPv4 address, or a /64 of IPv6 addresses.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applying(method: Method, path: &str) -> Vec<&'static str> {
        let config = Config::load([].into()).expect("the defaults are sound");
        let rules = RULES.iter().filter(|rule| (rule.applies)(&method, path));
        rules.map(|rule| (rule.quota)(&config).name).collect()
    }

    #[test]
    fn reads_are_free_but_for_exports_and_the_second_documents_paths() {
        assert!(applying(Method::GET, "/api/assets").is_empty());
        assert!(applying(Method::HEAD, "/api/reports/1/download").is_empty());
        assert_eq!(applying(Method::PATCH, "/api/assets/1"), ["writes"]);
        assert_eq!(applying(Method::GET, "/api/export/cves"), ["exports"]);
        assert_eq!(applying(Method::GET, "/api/v1/reports/types"), ["token-requests"]);
        assert_eq!(
            applying(Method::POST, "/api/v1/reports/generate"),
            ["writes", "generated-reports", "token-requests"]
        );
    }

    #[tokio::test]
    async fn both_kinds_of_headers_say_the_same() {
        let counter = Counter::new(Arc::new(Backend::new(None, "test")));
        let quota = Quota { name: "writes", limit: 2, window: MINUTE };
        let standing = counter.take(quota, "a").await;
        let mut headers = HeaderMap::new();
        tell(&mut headers, &[standing], 1_642_770_000);
        let header = |name: &str| headers[name].to_str().expect("text").to_owned();
        assert_eq!((header("x-ratelimit-limit"), header("x-ratelimit-remaining")), ("2".into(), "1".into()));
        assert_eq!(header("x-ratelimit-reset"), "1642770060");
        assert_eq!(header("ratelimit-policy"), "\"writes\";q=2;w=60");
        assert_eq!(header("ratelimit"), "\"writes\";r=1;t=60");
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_count_together() {
        let same = |one: &str, two: &str| {
            neighbourhood(one.parse().expect("an address")) == neighbourhood(two.parse().expect("an address"))
        };
        assert!(same("2001:db8::1", "2001:db8::2") && !same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1") && !same("192.0.2.1", "192.0.2.2"));
    }
}
