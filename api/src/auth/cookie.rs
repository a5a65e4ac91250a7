//! The console's cookie, and why no other site can make use of it.
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

/// The value of the cookie.
pub(crate) struct SessionCookie;

impl SessionCookie {
    /// The token in the request's cookies, if there is one.
    pub(super) fn sent(headers: &HeaderMap) -> Option<OpaqueToken> {
        let cookies = || {
            headers
                .get_all(header::COOKIE)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(';'))
                .filter_map(|pair| pair.trim().split_once('='))
        };
        [SECURE_NAME, NAME]
            .into_iter()
            .find_map(|wanted| cookies().find(|(name, _)| *name == wanted))
            .map(|(_, value)| OpaqueToken::received(value))
    }

    /// `Set-Cookie` that makes the browser keep `token` for `seconds`.
    pub(crate) fn set(config: &Config, token: OpaqueToken, seconds: u64) -> HeaderValue {
        let (name, secure) =
            if config.public_url().starts_with("https://") { (SECURE_NAME, "; Secure") } else { (NAME, "") };
        let value = token.reveal();
        let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        let mut value = HeaderValue::try_from(cookie).expect("names and base64 are header text");
        value.set_sensitive(true);
        value
    }

    /// `Set-Cookie` that makes the browser forget it.
    pub(crate) fn forget(config: &Config) -> HeaderValue {
        Self::set(config, OpaqueToken::received(""), 0)
    }
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
