//! Where a request comes from.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, request::Parts},
};
use runtime::config::Network;

use store::audit::By;

use crate::{error::ApiError, layers::RequestId, limit, state::AppState};

/// Headers that a proxy adds: whoever sends one is not the one who asks.
const PROXY_HEADERS: [&str; 3] = ["forwarded", "x-forwarded-for", "via"];

/// The one who asks: the other end of the connection, or, when that is a proxy of `TRUSTED_PROXIES`, whom it speaks for.
/// What other proxies say is not believed, since anybody can say it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) address: Option<IpAddr>,
    is_behind_proxy: bool,
}

impl Client {
    fn of(headers: &HeaderMap, peer: Option<SocketAddr>, trusted: &[Network]) -> Self {
        let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(*address));
        let mut address = peer.map(|peer| peer.ip().to_canonical());
        // Each proxy adds at the end whom it heard it from, so the first from there that is not ours is the client.
        let mut said = headers
            .get_all("x-forwarded-for")
            .iter()
            .rev()
            .flat_map(|value| value.to_str().unwrap_or_default().split(',').rev())
            .map(|address| address.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical()));
        while address.as_ref().is_some_and(is_trusted) {
            let Some(before) = said.next() else { break };
            address = before;
        }
        let is_behind_proxy = PROXY_HEADERS.iter().any(|name| headers.contains_key(*name));
        Self { address, is_behind_proxy }
    }

    /// True for somebody who sits at this machine.
    pub(crate) fn is_local(self) -> bool {
        !self.is_behind_proxy && self.address.is_some_and(|address| address.is_loopback())
    }
}

impl FromRequestParts<AppState> for Client {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        Ok(Self::of(&parts.headers, peer, &app.config.trusted_proxies))
    }
}

/// Leave to try to sign in, so many times a minute for each address; and what the audit trail says of whoever tries.
#[derive(Debug, Clone)]
pub(crate) struct SignInAttempt(pub(crate) By);

impl FromRequestParts<AppState> for SignInAttempt {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        let client = Client::from_request_parts(parts, app).await?;
        limit::admit_sign_in(parts, app, client.address).await?;
        Ok(Self(By {
            request_id: RequestId::of(&parts.extensions),
            address: client.address.map(|address| address.to_string()),
            ..By::default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &'static str)], trusted: &[&str]) -> Client {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .collect();
        let trusted: Vec<Network> =
            trusted.iter().map(|network| network.parse().expect("a network")).collect();
        Client::of(&headers, peer.parse().ok(), &trusted)
    }

    #[test]
    fn only_somebody_at_this_machine_is_local() {
        let local = |peer, headers| client(peer, headers, &[]).is_local();
        assert!(local("127.0.0.1:5000", &[]));
        assert!(local("[::1]:5000", &[]));
        assert!(!local("192.0.2.1:5000", &[]));
        assert!(
            !local("127.0.0.1:5000", &[("x-forwarded-for", "127.0.0.1")]),
            "a proxy on this machine speaks for others"
        );
        assert!(!local("nowhere", &[]));
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let address = |headers: &[(&'static str, &'static str)], trusted: &[&str]| {
            client("10.0.0.7:5000", headers, trusted).address.map(|address| address.to_string())
        };
        let said = [("x-forwarded-for", "198.51.100.9, 192.0.2.1")];
        assert_eq!(address(&said, &[]).as_deref(), Some("10.0.0.7"));
        assert_eq!(address(&said, &["10.0.0.0/8"]).as_deref(), Some("192.0.2.1"), "the rest anybody can say");
        assert_eq!(address(&said, &["10.0.0.0/8", "192.0.2.1"]).as_deref(), Some("198.51.100.9"));
        assert_eq!(address(&[], &["10.0.0.0/8"]).as_deref(), Some("10.0.0.7"));
        assert_eq!(address(&[("x-forwarded-for", "unknown")], &["10.0.0.0/8"]), None);
    }
}
