//! From names to addresses, of which only the permitted ones are handed on: nothing else is connected to.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::{TcpStream, lookup_host};

use super::{Policy, error::Refused, name_server::NameServer};

/// Drops the addresses that the policy does not permit.
#[derive(Clone)]
pub(super) struct GuardedResolver {
    pub(super) policy: Arc<Policy>,
    pub(super) inner: Arc<dyn Resolve>,
}

impl fmt::Debug for GuardedResolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("GuardedResolver")
    }
}

impl GuardedResolver {
    /// Whether every address of `name` is permitted, for the case that somebody else chooses among them.
    pub(super) async fn permits_all(&self, name: &str) -> io::Result<bool> {
        let host = plain(name);
        let asked: Name = name.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let addresses: Vec<SocketAddr> = self.inner.resolve(asked).await.map_err(io::Error::other)?.collect();
        Ok(!addresses.is_empty() && addresses.iter().all(|address| self.policy.permits(&host, address.ip())))
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = plain(name.as_str());
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

/// As hosts are written in a policy.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// The resolver of the operating system. Port 0 stands for the port of the URL.
pub(super) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move { handed_on(system(name.as_str(), 0).await) })
    }
}

/// The installation's own name server for strangers' names, the operating system for those that an operator has listed.
pub(super) struct SplitResolver {
    pub(super) strangers: NameServer,
    /// In lower case.
    pub(super) listed: Vec<String>,
}

impl Resolve for SplitResolver {
    fn resolve(&self, name: Name) -> Resolving {
        if self.listed.contains(&plain(name.as_str())) {
            return SystemResolver.resolve(name);
        }
        let server = self.strangers;
        Box::pin(async move { handed_on(server.addresses(name.as_str()).await) })
    }
}

fn handed_on(answer: io::Result<Vec<SocketAddr>>) -> Result<Addrs, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Box::new(answer?.into_iter()))
}

async fn system(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(lookup_host((host, port)).await?.collect())
}

/// The addresses of a host that the operator has named in the settings, for what speaks another protocol than HTTP and
/// connects by itself: a private network is fine, a metadata service is not.
///
/// # Errors
/// When the name has no address, or none that may be connected to.
pub async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let (policy, mut found) = (Policy::administrator(), system(host, port).await?);
    found.retain(|address| policy.permits(&plain(host), address.ip()));
    match found.is_empty() {
        true => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("`{host}` has no address that may be connected to"),
        )),
        false => Ok(found),
    }
}

/// Connects to a host that the operator has named in the settings, at one of its [`addresses`].
///
/// # Errors
/// As [`addresses`], and when nobody listens there.
pub async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    TcpStream::connect(&*addresses(host, port).await?).await
}
