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

/// Run all three, and one port for probes, until `stop`, or until one of them ends, which stops the others. A worker that has been drained
/// has ended in order, and the others go on without it.
pub(crate) async fn run(port: Port, config: Arc<Config>, stop: &CancellationToken) -> anyhow::Result<()> {
    let _admin = runtime::admin::start(&config, stop)?;
    let (api, worker, scheduler) = tokio::join!(
        part("API", End::OfAll, stop, api::serve_on(port.0, config.clone(), stop.clone())),
        part("worker", End::OfItself, stop, worker::run(config.clone(), stop.clone())),
        part("scheduler", End::OfAll, stop, scheduler::run(config, stop.clone())),
    );
    api.and(worker).and(scheduler)
}

/// What a part that ends without an error, and without having been asked to, is the end of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    OfAll,
    OfItself,
}

async fn part(
    name: &str,
    end: End,
    stop: &CancellationToken,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let ended = work.await.with_context(|| format!("the {name} ended"));
    if ended.is_ok() && end == End::OfItself && !stop.is_cancelled() {
        tracing::warn!(
            "the {name} of this process has ended, everything else goes on; a restart brings it back"
        );
        return ended;
    }
    stop.cancel();
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_was_drained_leaves_the_others_running_and_one_that_failed_does_not() {
        let stop = CancellationToken::new();
        part("worker", End::OfItself, &stop, async { Ok(()) }).await.expect("in order");
        assert!(!stop.is_cancelled());
        let failed = part("worker", End::OfItself, &stop, async { anyhow::bail!("no database") }).await;
        assert!(failed.is_err() && stop.is_cancelled());
    }

    #[tokio::test]
    async fn without_its_api_an_installation_ends() {
        let stop = CancellationToken::new();
        part("API", End::OfAll, &stop, async { Ok(()) }).await.expect("in order");
        assert!(stop.is_cancelled());
    }
}
