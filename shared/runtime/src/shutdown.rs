//! Stopping on request: the first signal asks, the second one insists.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first SIGINT or SIGTERM. A second signal ends the process at once with the shell's code
/// for it (130 or 143): leases then run out and other workers take over.
///
/// # Errors
/// When the operating system refuses a signal handler.
pub fn on_signals() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let asked = token.clone();
    tokio::spawn(async move {
        loop {
            let code = tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            };
            if asked.is_cancelled() {
                tracing::warn!("stopping at once, unfinished work will be taken over");
                #[expect(clippy::exit, reason = "the second signal means: now")]
                std::process::exit(code);
            }
            tracing::info!("stopping: finishing what runs, press again to stop at once");
            asked.cancel();
        }
    });
    Ok(token)
}
