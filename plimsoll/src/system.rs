//! API, worker and scheduler together in this process, the same that run apart elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use runtime::config::Config;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;

/// The port of the API, taken before anything else is started: a second copy is told at once that it is one.
#[derive(Debug)]
pub(crate) struct Port(TcpListener);

impl Port {
    /// Take the port that `config` names; with port 0 `config` then has the one that was found.
    pub(crate) async fn take(config: &mut Config) -> Result<Self, Failure> {
        let listener = api::bind(config.api_listen).await.map_err(Failure::unavailable)?;
        config.api_listen = listener.local_addr()?;
        Ok(Self(listener))
    }

    /// Where programs on this machine reach the API.
    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        let mut address = self.0.local_addr()?;
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        Ok(address)
    }
}

/// Run all three, and one port for probes, until `stop`, or until one of them ends, which stops the others.
pub(crate) async fn run(port: Port, config: Arc<Config>, stop: &CancellationToken) -> anyhow::Result<()> {
    let _admin = runtime::admin::start(&config, stop)?;
    let (api, worker, scheduler) = tokio::join!(
        part("API", stop, api::serve_on(port.0, config.clone(), stop.clone())),
        part("worker", stop, worker::run(config.clone(), stop.clone())),
        part("scheduler", stop, scheduler::run(config, stop.clone())),
    );
    api.and(worker).and(scheduler)
}

async fn part(
    name: &str,
    stop: &CancellationToken,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let ended = work.await.with_context(|| format!("the {name} ended"));
    stop.cancel();
    ended
}
