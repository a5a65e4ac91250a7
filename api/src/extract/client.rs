//! Where a request comes from.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, request::Parts},
};

use crate::{error::ApiError, state::AppState};

/// Headers that a proxy adds: whoever sends one is not the one who asks.
const PROXY_HEADERS: [&str; 3] = ["forwarded", "x-forwarded-for", "via"];

/// The other end of the connection. What proxies say of whom they speak for is not believed, since anybody
/// can say it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    address: Option<IpAddr>,
    is_proxy: bool,
}

impl Caller {
    fn of(headers: &HeaderMap, peer: Option<SocketAddr>) -> Self {
        Self {
            address: peer.map(|peer| peer.ip().to_canonical()),
            is_proxy: PROXY_HEADERS.iter().any(|name| headers.contains_key(*name)),
        }
    }

    /// True for somebody who sits at this machine.
    pub(crate) fn is_local(self) -> bool {
        !self.is_proxy && self.address.is_some_and(|address| address.is_loopback())
    }
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        Ok(Self::of(&parts.headers, peer))
    }
}

/// Leave to try to sign in: ten times a minute for each address, unless `DEBUG` is on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignInAttempt;

impl FromRequestParts<AppState> for SignInAttempt {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, app).await?;
        // Connections without an address are those of tests, and share one bucket.
        let address = caller.address.unwrap_or(IpAddr::from([0, 0, 0, 0]));
        if !app.config.debug {
            app.sign_ins.take(address, Instant::now()).map_err(ApiError::RateLimited)?;
        }
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_somebody_at_this_machine_is_local() {
        let local = |peer: &str, header: Option<&'static str>| {
            let headers = header.map(|name| (name.parse().expect("a name"), "1".parse().expect("a value")));
            Caller::of(&headers.into_iter().collect(), peer.parse().ok()).is_local()
        };
        assert!(local("127.0.0.1:5000", None));
        assert!(local("[::1]:5000", None));
        assert!(!local("192.0.2.1:5000", None));
        assert!(
            !local("127.0.0.1:5000", Some("x-forwarded-for")),
            "a proxy on this machine speaks for others"
        );
        assert!(!local("nowhere", None));
    }
}
