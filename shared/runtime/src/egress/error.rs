//! Why a request failed.

use std::io;

use url::Url;

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
    #[error("the name cannot be looked up")]
    Unknown(#[source] io::Error),
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

    pub(super) fn unreachable(host: &str, obstacle: Obstacle) -> Self {
        Self::Unreachable { host: host.to_owned(), obstacle }
    }

    pub(super) fn of(error: reqwest::Error, url: &Url) -> Self {
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

/// How the resolver tells [`EgressError::of`], through reqwest, that it dropped every address.
#[derive(Debug, thiserror::Error)]
#[error("no address of the host is permitted by the policy")]
pub(super) struct Refused;
