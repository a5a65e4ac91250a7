//! The console's cookie, and why no other site can make use of it; and the cookie of a browser that is away at the OpenID provider.
//!
//! The documents call it `next-auth.session-token`. Behind https it has the prefix `__Host-`, so that no other host
//! of the same domain can plant one (RFC 6265bis, section 4.1.3.2). It is HttpOnly and `SameSite=Lax`; and a request
//! that changes something is taken from it only if the browser says that it comes from our own pages.

use axum::http::{HeaderMap, HeaderValue, Method, header};
use runtime::config::Config;
use url::Url;

use super::scopes::is_safe;
use crate::{auth::OpaqueToken, error::ApiError};

const NAME: &str = "next-auth.session-token";
const SECURE_NAME: &str = "__Host-next-auth.session-token";
const DEPARTURE: &str = "plimsoll.departure";
const SECURE_DEPARTURE: &str = "__Host-plimsoll.departure";

/// The value of the cookie.
pub(crate) struct SessionCookie;

impl SessionCookie {
    /// The token in the request's cookies, if there is one.
    pub(super) fn sent(headers: &HeaderMap) -> Option<OpaqueToken> {
        [SECURE_NAME, NAME].into_iter().find_map(|name| named(headers, name)).map(OpaqueToken::received)
    }

    /// `Set-Cookie` that makes the browser keep `token` for `seconds`.
    pub(crate) fn set(config: &Config, token: OpaqueToken, seconds: u64) -> HeaderValue {
        let name = if is_secure(config) { SECURE_NAME } else { NAME };
        kept(config, name, &token.reveal(), seconds)
    }

    /// `Set-Cookie` that makes the browser forget it.
    pub(crate) fn forget(config: &Config) -> HeaderValue {
        Self::set(config, OpaqueToken::received(""), 0)
    }
}

/// Binds a sign-in at the OpenID provider to the browser that began it: it holds the `state`. Without it somebody could begin a
/// sign-in of their own and have another's browser end it, which then would be signed in as them (RFC 9700, section 4.7).
pub(crate) struct DepartureCookie;

impl DepartureCookie {
    /// `Set-Cookie` of a browser that departs with `state` and has `seconds` to come back.
    pub(crate) fn set(config: &Config, state: &str, seconds: u64) -> HeaderValue {
        kept(config, Self::name(config), state, seconds)
    }

    /// Whether whoever sends `headers` departed with `state`.
    ///
    /// A browser shows that by the cookie. What is none (a front end's own server, a command) has nobody's cookies, and nobody's
    /// page could make it ask. A page of a site in `CORS_ORIGINS` is not sent our cookies, and has to compare `state` itself, as
    /// the API's document says.
    pub(crate) fn shows(config: &Config, headers: &HeaderMap, state: &str) -> bool {
        if let Some(kept) = named(headers, Self::name(config)) {
            return kept == state;
        }
        let is_listed = |site: &HeaderValue| {
            config.cors_origins.iter().any(|origin| origin.as_str().as_bytes() == site.as_bytes())
        };
        match headers.get(header::ORIGIN) {
            Some(origin) => is_listed(origin),
            None => !headers.contains_key("sec-fetch-site"),
        }
    }

    /// Behind https no other name counts: another host of the domain could plant it.
    fn name(config: &Config) -> &'static str {
        if is_secure(config) { SECURE_DEPARTURE } else { DEPARTURE }
    }
}

fn is_secure(config: &Config) -> bool {
    config.public_url().starts_with("https://")
}

/// The value of the cookie `wanted` among those that are sent.
fn named<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let pairs = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

fn kept(config: &Config, name: &str, value: &str, seconds: u64) -> HeaderValue {
    let secure = if is_secure(config) { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    let mut value = HeaderValue::try_from(cookie).expect("names and base64 are header text");
    value.set_sensitive(true);
    value
}

/// Refuses a change that another site's page asks for with our cookie (Fetch Metadata, section 2.1; where a browser does
/// not send that, `Origin`).
pub(super) fn refuse_other_sites(
    method: &Method,
    headers: &HeaderMap,
    config: &Config,
) -> Result<(), ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_ours = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => is_own_origin(origin, text("host"), &config.public_url()),
        (None, None) => false,
    };
    if is_safe(method) || is_ours {
        return Ok(());
    }
    Err(ApiError::Forbidden(
        "With the session cookie, changes are taken from this site's own pages only: send an access token or a key instead"
            .into(),
    ))
}

fn is_own_origin(origin: &str, host: Option<&str>, public_url: &str) -> bool {
    let Ok(origin) = Url::parse(origin) else { return false };
    let public = Url::parse(public_url).is_ok_and(|public| public.origin() == origin.origin());
    let here = host.is_some_and(|host| {
        Url::parse(&format!("{}://{host}", origin.scheme()))
            .is_ok_and(|here| here.origin() == origin.origin())
    });
    public || here
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value)))
            .collect()
    }

    fn config(public_url: &str) -> Config {
        Config::load([("PUBLIC_URL".to_owned(), public_url.to_owned())].into()).expect("sound")
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let sent = |cookie| SessionCookie::sent(&headers(&[("cookie", cookie)])).map(OpaqueToken::reveal);
        assert_eq!(sent("a=b; next-auth.session-token=abc; c=d").as_deref(), Some("abc"));
        let both = "next-auth.session-token=planted; __Host-next-auth.session-token=ours";
        assert_eq!(sent(both).as_deref(), Some("ours"));
        assert_eq!(sent("x-next-auth.session-token=abc"), None);
    }

    #[test]
    fn behind_https_the_cookie_is_bound_to_the_host() {
        let set = |url: &str| {
            let value = SessionCookie::set(&config(url), OpaqueToken::received("abc"), 60);
            value.to_str().expect("text").to_owned()
        };
        let cookie = set("https://plimsoll.example.org");
        assert!(cookie.starts_with("__Host-next-auth.session-token=abc; Path=/;"), "{cookie}");
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.ends_with("Secure"));
        assert!(!set("http://127.0.0.1:8080").contains("Secure"));
    }

    #[test]
    fn a_browser_ends_only_the_sign_in_that_it_began() {
        let config = Config::load(
            [("PUBLIC_URL", "https://plimsoll.example.org"), ("CORS_ORIGINS", "https://portal.example.org")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        )
        .expect("sound");
        let set = DepartureCookie::set(&config, "state", 600);
        let set = set.to_str().expect("text");
        assert!(set.starts_with("__Host-plimsoll.departure=state; Path=/; Max-Age=600; HttpOnly"), "{set}");
        let shows = |pairs: &[(&'static str, &'static str)]| {
            DepartureCookie::shows(&config, &headers(pairs), "state")
        };
        assert!(shows(&[
            ("cookie", "a=b; __Host-plimsoll.departure=state"),
            ("sec-fetch-site", "same-origin")
        ]));
        assert!(shows(&[]), "no browser");
        assert!(shows(&[("origin", "https://portal.example.org"), ("sec-fetch-site", "cross-site")]));
        for refused in [
            &[("cookie", "__Host-plimsoll.departure=another")][..],
            &[("cookie", "__Host-plimsoll.departure=another"), ("origin", "https://portal.example.org")],
            &[("cookie", "plimsoll.departure=state"), ("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "same-origin")],
            &[("origin", "https://plimsoll.example.org")],
            &[("origin", "null")],
        ] {
            assert!(!shows(refused), "{refused:?}");
        }
    }

    #[test]
    fn only_our_own_pages_change_something_by_cookie() {
        let config = config("https://plimsoll.example.org");
        let may = |method: Method, pairs: &[(&'static str, &'static str)]| {
            refuse_other_sites(&method, &headers(pairs), &config).is_ok()
        };
        assert!(may(Method::GET, &[("sec-fetch-site", "cross-site")]), "reading is harmless");
        assert!(may(Method::POST, &[("sec-fetch-site", "same-origin")]));
        assert!(may(Method::POST, &[("origin", "https://plimsoll.example.org")]));
        assert!(may(Method::POST, &[("origin", "http://127.0.0.1:8080"), ("host", "127.0.0.1:8080")]));
        for refused in [
            &[][..],
            &[("sec-fetch-site", "same-site"), ("origin", "https://plimsoll.example.org")],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://evil.example"), ("host", "plimsoll.example.org")],
            &[("origin", "null")],
            &[("host", "plimsoll.example.org")],
        ] {
            assert!(!may(Method::DELETE, refused), "{refused:?}");
        }
    }
}
