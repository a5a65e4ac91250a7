//! The settings about requests that leave: the proxy on their way, and who is asked where strangers' names lead.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::{Network, Reader};

/// The way out of this machine.
#[derive(Debug, Clone, Default)]
pub struct EgressSettings {
    pub proxy: Option<Proxy>,
    /// Asked for the names that organizations type in, instead of the machine's resolver.
    pub name_server: Option<SocketAddr>,
}

/// A proxy, and what is reached without it.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Without user name and password.
    pub url: Url,
    pub credentials: Option<(String, SecretString)>,
    pub direct: Vec<Destination>,
}

/// What is reached without the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Addresses that are written as such; names are not looked up for it.
    Network(Network),
    /// A host and all below it, in lower case.
    Domain(String),
}

impl Proxy {
    /// Whether a request to `host` goes through it. One to this machine never does.
    #[must_use]
    pub fn carries(&self, host: &Host<&str>) -> bool {
        match host {
            Host::Ipv4(address) => self.carries_address((*address).into()),
            Host::Ipv6(address) => self.carries_address((*address).into()),
            Host::Domain(name) => {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                let is_below = |domain: &str| {
                    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                };
                let is_direct =
                    |one: &Destination| matches!(one, Destination::Domain(domain) if is_below(domain));
                !is_below("localhost") && !self.direct.iter().any(is_direct)
            }
        }
    }

    fn carries_address(&self, address: IpAddr) -> bool {
        let is_direct =
            |one: &Destination| matches!(one, Destination::Network(network) if network.contains(address));
        !address.to_canonical().is_loopback() && !self.direct.iter().any(is_direct)
    }
}

impl FromStr for Destination {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(network) = text.parse() {
            return Ok(Self::Network(network));
        }
        let name = text.trim_start_matches("*.").trim_matches('.').to_ascii_lowercase();
        let is_name = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        match name.split('.').all(is_name) {
            true => Ok(Self::Domain(name)),
            false => Err("must be a host or domain such as example.org, or a network such as 10.0.0.0/8"),
        }
    }
}

impl EgressSettings {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let direct = reader.parsed_list("EGRESS_NO_PROXY");
        let proxy = reader.secret("EGRESS_PROXY").and_then(|text| {
            let proxy = Proxy::parse(text.expose_secret(), direct);
            if proxy.is_none() {
                // Not shown: a password may be in it.
                reader.problems.push(
                    "EGRESS_PROXY=*** is not the address of a proxy: write http://host:port, with user:password@ before the host if it asks for them"
                        .into(),
                );
            }
            proxy
        });
        let name_server = reader.optional("EGRESS_NAME_SERVER").map(|NameServer(address)| address);
        Self { proxy, name_server }
    }
}

impl Proxy {
    fn parse(text: &str, direct: Vec<Destination>) -> Option<Self> {
        let mut url = Url::parse(text).ok()?;
        let is_plain = matches!(url.scheme(), "http" | "https") && url.path() == "/" && url.query().is_none();
        if !is_plain {
            return None;
        }
        let decoded =
            |text: &str| Some(percent_encoding::percent_decode_str(text).decode_utf8().ok()?.into_owned());
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => Some((decoded(user)?, decoded(password.unwrap_or_default())?.into())),
        };
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
        Some(Self { url, credentials, direct })
    }
}

/// An address, with port 53 unless it names another.
struct NameServer(SocketAddr);

impl FromStr for NameServer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let with_port = || text.parse().ok();
        let without = || text.parse().ok().map(|address: IpAddr| SocketAddr::new(address, 53));
        with_port()
            .or_else(without)
            .map(Self)
            .ok_or("must be an address such as 10.0.0.53 or [fd12::53]:5353")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Problems};
    use super::*;

    fn load(pairs: &[(&str, &str)]) -> Result<Config, Problems> {
        Config::load(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    fn carries(proxy: &Proxy, url: &str) -> bool {
        proxy.carries(&Url::parse(url).expect("an address").host().expect("a host"))
    }

    #[test]
    fn all_but_the_exceptions_and_this_machine_goes_through_the_proxy() {
        let config = load(&[
            ("EGRESS_PROXY", "http://proxy.example:3128"),
            ("EGRESS_NO_PROXY", "wazuh.example, .Corp.example,10.0.0.0/8"),
        ]);
        let proxy = config.expect("sound").egress.proxy.expect("a proxy");
        for url in
            ["https://example.org/", "http://notwazuh.example/", "http://8.8.8.8/", "http://[2001:4860::8]/"]
        {
            assert!(carries(&proxy, url), "{url}");
        }
        for url in [
            "http://wazuh.example:55000/",
            "http://WAZUH.example./",
            "https://git.corp.example/",
            "http://10.1.2.3/",
            "http://127.0.0.1:9000/",
            "http://localhost/",
            "http://[::1]/",
        ] {
            assert!(!carries(&proxy, url), "{url}");
        }
    }

    #[test]
    fn the_proxys_password_is_never_shown() {
        let config = load(&[("EGRESS_PROXY", "http://ann:hunter%402@proxy.example:3128")]).expect("sound");
        let proxy = config.egress.proxy.as_ref().expect("a proxy");
        assert_eq!(proxy.url.as_str(), "http://proxy.example:3128/");
        let (user, password) = proxy.credentials.as_ref().expect("credentials");
        assert_eq!((user.as_str(), password.expose_secret()), ("ann", "hunter@2"));
        assert!(!format!("{config:?}").contains("hunter"));
        let problems =
            load(&[("EGRESS_PROXY", "socks5://ann:hunter2@proxy.example:1080")]).expect_err("no such");
        assert!(
            problems.to_string().contains("EGRESS_PROXY=***") && !problems.to_string().contains("hunter2")
        );
    }

    #[test]
    fn a_name_server_is_an_address_with_or_without_a_port() {
        let server = |text| load(&[("EGRESS_NAME_SERVER", text)]).map(|config| config.egress.name_server);
        assert_eq!(server("10.0.0.53"), Ok(Some("10.0.0.53:53".parse().expect("an address"))));
        assert_eq!(server("[::1]:5353"), Ok(Some("[::1]:5353".parse().expect("an address"))));
        assert!(server("dns.example").is_err());
    }
}
