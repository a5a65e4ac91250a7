//! The one way out: every request to an address that somebody typed in goes through [`Client`].
//!
//! A URL may come from a stranger (a webhook, a logo, a feed), so the client resolves names itself, checks every
//! address and connects only to what it checked: a name that answers differently the second time gains nothing.
//! Addresses written as numbers never meet a resolver and are checked apart. Redirects are off unless the policy says
//! so, and then each hop is checked like the first. What may be reached is a [`Policy`]; which addresses are private or
//! forbidden is [`address`]'s to say. Start at [`Client::send`]. What speaks another protocol than HTTP (mail, a directory)
//! connects by [`connect`].
//!
//! With a proxy (`EGRESS_PROXY`) it is the proxy that connects, and it is told the name, which is what proxies judge by. What a
//! stranger typed in is looked up here nevertheless, and refused if any of its addresses is not permitted; what an operator has
//! configured is left to the proxy, since the machine may know no names of the outside. Between our look and the proxy's a name
//! can change: a proxy has to refuse the addresses of its own network by itself.

pub mod address;
mod error;
mod name_server;
mod resolver;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
pub use reqwest::{
    Method, StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use reqwest::{dns::Resolve, redirect};
use secrecy::ExposeSecret;
use tokio::time::{Instant, timeout};
use tracing::{Instrument, field::Empty};
use url::Host;
pub use url::Url;

use crate::{
    config::{EgressSettings, Network, Proxy},
    trace::{self, Part},
};

use self::{
    address::{Reach, reach},
    name_server::NameServer,
    resolver::{GuardedResolver, SplitResolver, SystemResolver},
};
pub use self::{
    error::{EgressError, Obstacle},
    resolver::{addresses, connect},
};

/// The way out of this machine, as the settings of the process say.
static SETTINGS: OnceLock<EgressSettings> = OnceLock::new();

/// Says, once for the whole process and before its first [`Policy`] is made, which way requests leave. So nobody who makes a
/// client can forget the proxy.
pub fn leave_by(settings: &EgressSettings) {
    // The second part of a program that runs several has the same settings.
    let _ = SETTINGS.set(settings.clone());
}

/// Makes rustls use ring, for the whole process. Calling it again changes nothing.
pub fn install_crypto() {
    // An error means that a provider is installed already, which is all we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What a client may reach, and how much of it.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Whether loopback and private networks may be reached, all of them: only for addresses that the administrator of the
    /// instance set. Metadata services and reserved addresses stay out of reach even so.
    pub allow_private: bool,
    /// Whether an operator named the addresses: names are for the machine's resolver, and one that it does not know is left to the
    /// proxy.
    pub by_operator: bool,
    /// Hosts, in lower case, that may be private although `allow_private` is false.
    pub allow_hosts: Vec<String>,
    /// Private networks that may be reached although `allow_private` is false.
    pub allow_networks: Vec<Network>,
    /// Reached is this address alone, whatever else stands here: see [`Self::metadata`].
    pub only: Option<IpAddr>,
    /// Ports that may be asked; empty means any.
    pub allow_ports: Vec<u16>,
    /// Redirects followed for GET and HEAD, at most three. With 0 the redirecting answer itself is returned.
    pub max_redirects: u8,
    /// Until the connection stands, TLS included.
    pub connect_timeout: Duration,
    /// Between two pieces of an answer, the first included.
    pub idle_timeout: Duration,
    /// For the whole request: redirects, headers and body.
    pub total_timeout: Duration,
    /// Size of the answer's body, in bytes.
    pub max_bytes: u64,
    /// What connects instead of us.
    pub proxy: Option<Proxy>,
}

impl Policy {
    /// For addresses that a tenant typed in: the internet only, no redirects, short answers.
    #[must_use]
    pub fn tenant() -> Self {
        Self {
            allow_private: false,
            by_operator: false,
            allow_hosts: Vec::new(),
            allow_networks: Vec::new(),
            only: None,
            allow_ports: Vec::new(),
            max_redirects: 0,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(30),
            max_bytes: 64 << 10,
            proxy: SETTINGS.get().and_then(|settings| settings.proxy.clone()),
        }
    }

    /// For addresses that the instance's administrator set: private networks too, three redirects, long downloads.
    #[must_use]
    pub fn administrator() -> Self {
        Self {
            allow_private: true,
            by_operator: true,
            max_redirects: 3,
            total_timeout: Duration::from_secs(20 * 60),
            max_bytes: 2 << 30,
            ..Self::tenant()
        }
    }

    /// As [`Self::administrator`], with no private networks but `networks`: for sources, whose answers may send on to anywhere.
    #[must_use]
    pub fn administrator_within(networks: &[Network]) -> Self {
        Self { allow_private: false, allow_networks: networks.to_vec(), ..Self::administrator() }
    }

    /// For this machine's own metadata service at `address`, which no other policy lets anybody reach: nothing else, no proxy in between,
    /// short answers within seconds.
    #[must_use]
    pub fn metadata(address: IpAddr) -> Self {
        let seconds = Duration::from_secs;
        Self {
            only: Some(address),
            connect_timeout: seconds(2),
            idle_timeout: seconds(5),
            total_timeout: seconds(10),
            proxy: None,
            ..Self::tenant()
        }
    }

    /// Whether this machine is among what may be reached.
    #[must_use]
    pub fn permits_this_machine(&self) -> bool {
        self.permits_loopback("localhost")
    }

    /// Reads `url` and refuses what can be refused without a look-up: to be called when an address is stored, and
    /// called again by [`Client::send`].
    pub fn check(&self, url: &str) -> Result<Url, EgressError> {
        let url = Url::parse(url).map_err(EgressError::Malformed)?;
        self.check_parsed(&url)?;
        Ok(url)
    }

    fn check_parsed(&self, url: &Url) -> Result<(), EgressError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(EgressError::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EgressError::Userinfo);
        }
        let port = url.port_or_known_default().unwrap_or_default();
        if !self.allow_ports.is_empty() && !self.allow_ports.contains(&port) {
            return Err(EgressError::Port(port));
        }
        let (name, permitted) = match url.host() {
            Some(Host::Ipv4(address)) => {
                (address.to_string(), self.permits(&address.to_string(), address.into()))
            }
            Some(Host::Ipv6(address)) => {
                (address.to_string(), self.permits(&address.to_string(), address.into()))
            }
            Some(Host::Domain(name)) => (name.to_owned(), !is_localhost(name) || self.permits_loopback(name)),
            None => return Err(EgressError::Malformed(url::ParseError::EmptyHost)),
        };
        if permitted { Ok(()) } else { Err(EgressError::unreachable(&name, Obstacle::Forbidden)) }
    }

    fn permits(&self, host: &str, address: IpAddr) -> bool {
        if let Some(only) = self.only {
            return address == only;
        }
        match reach(address) {
            Reach::Public => true,
            Reach::Private => {
                self.allow_private
                    || self.allow_hosts.iter().any(|allowed| allowed == host)
                    || self.allow_networks.iter().any(|network| network.contains(address))
            }
            Reach::Never => false,
        }
    }

    fn permits_loopback(&self, name: &str) -> bool {
        self.permits(name, Ipv4Addr::LOCALHOST.into()) || self.permits(name, Ipv6Addr::LOCALHOST.into())
    }
}

/// RFC 6761, section 6.3: these names are this machine, whatever a resolver says.
fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

/// A request to send.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    pub url: String,
    /// Values marked sensitive are not sent on to another host.
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Request {
    /// A GET without headers of its own.
    pub fn get(url: impl Into<String>) -> Self {
        Self { method: Method::GET, url: url.into(), headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// A POST of `body`.
    pub fn post(url: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, url: url.into(), headers: HeaderMap::new(), body: body.into() }
    }

    /// Adds a header, replacing one of the same name.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

/// The guarded client. Cheap to clone; keeps its connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// What leaves through the policy's proxy.
    proxied: Option<reqwest::Client>,
    resolver: GuardedResolver,
    policy: Arc<Policy>,
}

impl Client {
    /// A client that asks the system's resolver; for strangers' names the installation's name server, if it has one.
    pub fn new(policy: Policy) -> Result<Self, EgressError> {
        let server = SETTINGS.get().and_then(|settings| settings.name_server).map(NameServer);
        let resolver: Arc<dyn Resolve> = match server {
            Some(strangers) if !policy.allow_private && !policy.by_operator => {
                Arc::new(SplitResolver { strangers, listed: policy.allow_hosts.clone() })
            }
            _ => Arc::new(SystemResolver),
        };
        Self::with_resolver(policy, resolver)
    }

    /// A client that asks `resolver`, whose answers are checked like anybody's.
    pub fn with_resolver(policy: Policy, resolver: Arc<dyn Resolve>) -> Result<Self, EgressError> {
        Self::build(policy, resolver, |http| http)
    }

    fn build(
        policy: Policy,
        inner: Arc<dyn Resolve>,
        amend: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Result<Self, EgressError> {
        install_crypto();
        let policy = Arc::new(policy);
        let resolver = GuardedResolver { policy: Arc::clone(&policy), inner };
        let usual = || {
            let http = reqwest::Client::builder()
                .redirect(redirect::Policy::none())
                .referer(false)
                .user_agent(concat!("plimsoll/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(policy.connect_timeout)
                .read_timeout(policy.idle_timeout);
            amend(http)
        };
        let direct = || usual().no_proxy().dns_resolver(Arc::new(resolver.clone()));
        let proxied = match &policy.proxy {
            None => None,
            Some(proxy) => {
                // The only name that it looks up is the proxy's, which an operator has configured.
                let through = reqwest_proxy(proxy).map_err(EgressError::Setup)?;
                Some(built(|| usual().proxy(through.clone()))?)
            }
        };
        Ok(Self { http: built(direct)?, proxied, resolver, policy })
    }

    /// What this client may reach.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Sends `request` and returns the answer's head, whatever its status; its body is read piece by piece.
    ///
    /// Where the work is traced it is a span of its own, and the other side learns of it by `traceparent`.
    pub async fn send(&self, mut request: Request) -> Result<Response, EgressError> {
        // What is part of no trace begins none: the traces themselves leave by this way.
        if trace::current().is_none() {
            return self.carry(request).await;
        }
        let span = tracing::info_span!("http", trace_id = Empty, otel.name = Empty, otel.kind = Empty);
        let host = Url::parse(&request.url).ok().and_then(|url| url.host_str().map(str::to_owned));
        Part {
            kind: "client",
            name: request.method.as_str(),
            from: None,
            attributes: &[
                ("http.request.method", request.method.as_str()),
                ("server.address", host.as_deref().unwrap_or_default()),
            ],
        }
        .describe(&span);
        async {
            if let Some(Ok(value)) = trace::current().map(HeaderValue::try_from) {
                request.headers.insert(trace::TRACEPARENT, value);
            }
            let answer = self.carry(request).await;
            if let Ok(answer) = &answer {
                trace::answered(&tracing::Span::current(), answer.status.as_u16());
            }
            answer
        }
        .instrument(span)
        .await
    }

    async fn carry(&self, request: Request) -> Result<Response, EgressError> {
        let Request { method, url, mut headers, body } = request;
        let deadline = Instant::now() + self.policy.total_timeout;
        let mut url = self.policy.check(&url)?;
        let mut redirects_left = self.policy.max_redirects.min(3);
        loop {
            let answer = self
                .way_to(&url)
                .await?
                .request(method.clone(), url.clone())
                .headers(headers.clone())
                .body(body.clone())
                .timeout(deadline.saturating_duration_since(Instant::now()))
                .send()
                .await
                .map_err(|error| EgressError::of(error, &url))?;

            let follows = self.policy.max_redirects > 0 && matches!(method, Method::GET | Method::HEAD);
            let Some(target) = follows.then(|| redirect_target(&answer, &url)).flatten() else {
                return Response::new(answer, url, self.policy.max_bytes);
            };
            redirects_left = redirects_left.checked_sub(1).ok_or(EgressError::TooManyRedirects)?;
            let target = target.map_err(EgressError::Malformed)?;
            self.policy.check_parsed(&target)?;
            if url.scheme() == "https" && target.scheme() == "http" {
                return Err(EgressError::Downgrade);
            }
            if target.origin() != url.origin() {
                headers = without_credentials(headers);
            }
            url = target;
        }
    }

    /// Who carries a request to `url`, which has passed the policy's check.
    async fn way_to(&self, url: &Url) -> Result<&reqwest::Client, EgressError> {
        let (Some(proxied), Some(proxy), Some(host)) = (&self.proxied, &self.policy.proxy, url.host()) else {
            return Ok(&self.http);
        };
        if !proxy.carries(&host) {
            return Ok(&self.http);
        }
        if let Host::Domain(name) = host
            && !self.policy.allow_private
        {
            let obstacle = match timeout(self.policy.connect_timeout, self.resolver.permits_all(name)).await {
                Ok(Ok(true)) => return Ok(proxied),
                Ok(Ok(false)) => Obstacle::Forbidden,
                _ if self.policy.by_operator => return Ok(proxied),
                Ok(Err(error)) => Obstacle::Unknown(error),
                Err(late) => Obstacle::Unknown(late.into()),
            };
            return Err(EgressError::unreachable(name, obstacle));
        }
        Ok(proxied)
    }
}

fn reqwest_proxy(proxy: &Proxy) -> reqwest::Result<reqwest::Proxy> {
    let through = reqwest::Proxy::all(proxy.url.clone())?;
    Ok(match &proxy.credentials {
        Some((user, password)) => through.basic_auth(user, password.expose_secret()),
        None => through,
    })
}

fn built(http: impl Fn() -> reqwest::ClientBuilder) -> Result<reqwest::Client, EgressError> {
    http().build().or_else(|error| {
        tracing::warn!(%error, "no CA certificates on this machine: https addresses cannot be reached");
        http().tls_certs_only([]).build().map_err(EgressError::Setup)
    })
}

/// Where the answer sends us, if it does.
fn redirect_target(answer: &reqwest::Response, from: &Url) -> Option<Result<Url, url::ParseError>> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.headers().get(header::LOCATION)?.to_str().ok()?;
    Some(from.join(location))
}

fn without_credentials(headers: HeaderMap) -> HeaderMap {
    const CREDENTIALS: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];
    let mut kept = HeaderMap::new();
    for (name, value) in &headers {
        if !value.is_sensitive() && !CREDENTIALS.contains(name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

/// An answer, whose body is read as it comes and never beyond the policy's size.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Where the answer came from, after redirects.
    pub url: Url,
    inner: reqwest::Response,
    limit: u64,
    left: u64,
}

impl Response {
    fn new(inner: reqwest::Response, url: Url, limit: u64) -> Result<Self, EgressError> {
        if inner.content_length().is_some_and(|length| length > limit) {
            return Err(EgressError::TooLarge { limit });
        }
        Ok(Self { status: inner.status(), headers: inner.headers().clone(), url, inner, limit, left: limit })
    }

    /// The next piece of the body, `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, EgressError> {
        let Some(chunk) = self.inner.chunk().await.map_err(|error| EgressError::of(error, &self.url))? else {
            return Ok(None);
        };
        self.left =
            self.left.checked_sub(chunk.len() as u64).ok_or(EgressError::TooLarge { limit: self.limit })?;
        Ok(Some(chunk))
    }

    /// The whole body, for answers that are known to be short.
    pub async fn bytes(mut self) -> Result<Bytes, EgressError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    /// A header's value, if it is there and is plain text.
    #[must_use]
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[cfg(test)]
mod tests;
