//! The one way out: every request to an address that somebody typed in goes through [`Client`].
//!
//! A URL may come from a stranger (a webhook, a logo, a feed), so the client resolves names itself, checks every
//! address and connects only to what it checked: a name that answers differently the second time gains nothing.
//! Addresses written as numbers never meet a resolver and are checked apart. Redirects are off unless the policy says
//! so, and then each hop is checked like the first. What may be reached is a [`Policy`]; which addresses are private or
//! forbidden is [`address`]'s to say. Start at [`Client::send`].

pub mod address;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
pub use reqwest::{
    Method, StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use reqwest::{
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use tokio::time::Instant;
use tracing::{Instrument, field::Empty};
use url::Host;
pub use url::Url;

use crate::trace::{self, Part};

use self::address::{Reach, reach};

/// Makes rustls use ring, for the whole process. Calling it again changes nothing.
pub fn install_crypto() {
    // An error means that a provider is installed already, which is all we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What a client may reach, and how much of it.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Whether loopback and private networks may be reached: only for addresses that the administrator of the
    /// instance set. Metadata services and reserved addresses stay out of reach even so.
    pub allow_private: bool,
    /// Hosts, in lower case, that may be private although `allow_private` is false.
    pub allow_hosts: Vec<String>,
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
}

impl Policy {
    /// For addresses that a tenant typed in: the internet only, no redirects, short answers.
    #[must_use]
    pub fn tenant() -> Self {
        Self {
            allow_private: false,
            allow_hosts: Vec::new(),
            allow_ports: Vec::new(),
            max_redirects: 0,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(30),
            max_bytes: 64 << 10,
        }
    }

    /// For addresses that the instance's administrator set: private networks too, three redirects, long downloads.
    #[must_use]
    pub fn administrator() -> Self {
        Self {
            allow_private: true,
            max_redirects: 3,
            total_timeout: Duration::from_secs(20 * 60),
            max_bytes: 2 << 30,
            ..Self::tenant()
        }
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
            Some(Host::Domain(name)) => (name.to_owned(), self.allow_private || !is_localhost(name)),
            None => return Err(EgressError::Malformed(url::ParseError::EmptyHost)),
        };
        if permitted { Ok(()) } else { Err(EgressError::unreachable(&name, Obstacle::Forbidden)) }
    }

    fn permits(&self, host: &str, address: IpAddr) -> bool {
        match reach(address) {
            Reach::Public => true,
            Reach::Private => self.allow_private || self.allow_hosts.iter().any(|allowed| allowed == host),
            Reach::Never => false,
        }
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
    policy: Arc<Policy>,
}

impl Client {
    /// A client that asks the system's resolver.
    pub fn new(policy: Policy) -> Result<Self, EgressError> {
        Self::with_resolver(policy, Arc::new(SystemResolver))
    }

    /// A client that asks `resolver`, whose answers are checked like anybody's.
    pub fn with_resolver(policy: Policy, resolver: Arc<dyn Resolve>) -> Result<Self, EgressError> {
        install_crypto();
        let policy = Arc::new(policy);
        let builder = || {
            reqwest::Client::builder()
                .dns_resolver(Arc::new(GuardedResolver {
                    policy: Arc::clone(&policy),
                    inner: Arc::clone(&resolver),
                }))
                .no_proxy()
                .redirect(redirect::Policy::none())
                .referer(false)
                .user_agent(concat!("plimsoll/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(policy.connect_timeout)
                .read_timeout(policy.idle_timeout)
        };
        let http = builder().build().or_else(|error| {
            tracing::warn!(%error, "no CA certificates on this machine: https addresses cannot be reached");
            builder().tls_certs_only([]).build().map_err(EgressError::Setup)
        })?;
        Ok(Self { http, policy })
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
                .http
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

/// Why a request failed. The text may be shown to the person who gave the address: it is the same whether an address
/// is forbidden, unknown, closed or silent. The reason is in the source, for our own log.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    #[error("not a valid web address")]
    Malformed(#[source] url::ParseError),
    #[error("scheme `{0}` is neither http nor https")]
    Scheme(String),
    #[error("the address must not carry a user name or a password")]
    Userinfo,
    #[error("port {0} is not among the allowed ports")]
    Port(u16),
    #[error("`{host}` cannot be reached")]
    Unreachable {
        host: String,
        #[source]
        obstacle: Obstacle,
    },
    #[error("`{host}` did not answer in time")]
    Timeout { host: String },
    #[error("the answer of `{host}` broke off")]
    Broken {
        host: String,
        #[source]
        error: reqwest::Error,
    },
    #[error("the answer is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("redirected too often")]
    TooManyRedirects,
    #[error("redirected from https to http")]
    Downgrade,
    #[error("the HTTP client cannot be set up")]
    Setup(#[source] reqwest::Error),
}

/// What stood between us and a host. Not for tenants' eyes.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    #[error("no address of the host is permitted by the policy")]
    Forbidden,
    #[error("connecting failed")]
    Connect(#[source] reqwest::Error),
}

impl EgressError {
    /// True when trying again could never help: the address itself is at fault, or the answer's size.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Malformed(_) | Self::Scheme(_) | Self::Userinfo | Self::Port(_) | Self::TooLarge { .. } => {
                true
            }
            Self::Unreachable { obstacle, .. } => matches!(obstacle, Obstacle::Forbidden),
            Self::Timeout { .. } | Self::Broken { .. } => false,
            Self::TooManyRedirects | Self::Downgrade | Self::Setup(_) => false,
        }
    }

    fn unreachable(host: &str, obstacle: Obstacle) -> Self {
        Self::Unreachable { host: host.to_owned(), obstacle }
    }

    fn of(error: reqwest::Error, url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let error = error.without_url();
        if was_refused_by_us(&error) {
            Self::unreachable(host, Obstacle::Forbidden)
        } else if error.is_connect() {
            Self::unreachable(host, Obstacle::Connect(error))
        } else if error.is_timeout() {
            Self::Timeout { host: host.to_owned() }
        } else {
            Self::Broken { host: host.to_owned(), error }
        }
    }
}

fn was_refused_by_us(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<Refused>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// How [`GuardedResolver`] tells [`EgressError::of`], through reqwest, that it dropped every address.
#[derive(Debug, thiserror::Error)]
#[error("no address of the host is permitted by the policy")]
struct Refused;

/// Drops the addresses that the policy does not permit: reqwest connects to nothing else.
struct GuardedResolver {
    policy: Arc<Policy>,
    inner: Arc<dyn Resolve>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().trim_end_matches('.').to_ascii_lowercase();
        let policy = Arc::clone(&self.policy);
        let answer = self.inner.resolve(name);
        Box::pin(async move {
            let permitted: Vec<SocketAddr> =
                answer.await?.filter(|address| policy.permits(&host, address.ip())).collect();
            if permitted.is_empty() {
                return Err(Refused.into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

/// The resolver of the operating system. Port 0 stands for the port of the URL.
struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
