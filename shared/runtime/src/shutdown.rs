//! Stopping on request: the first signal asks, the second one insists.

use std::{sync::LazyLock, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// How long the second signal waits for [`LastWords`]. A third one does not.
const LAST_WORDS: Duration = Duration::from_secs(1);

static INSISTED: LazyLock<CancellationToken> = LazyLock::new(CancellationToken::new);
static SPEAKING: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

/// A token that is cancelled by the first SIGINT or SIGTERM.
///
/// A second signal ends the process with the shell's code for it (130 or 143), at once or as soon as all [`LastWords`] are
/// spoken: what could not be handed back is taken over when its lease has run out.
///
/// # Errors
/// When the operating system refuses a signal handler.
pub fn on_signals() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let asked = token.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            }
        };
        next().await;
        tracing::info!("stopping: finishing what runs, press again to stop at once");
        asked.cancel();
        let code = next().await;
        tracing::warn!("stopping at once, unfinished work will be taken over");
        INSISTED.cancel();
        SPEAKING.close();
        tokio::select! {
            () = SPEAKING.wait() => {}
            () = tokio::time::sleep(LAST_WORDS) => {}
            _ = next() => {}
        }
        #[expect(clippy::exit, reason = "the second signal means: now")]
        std::process::exit(code);
    });
    Ok(token)
}

/// What must be said, within a second, before the process ends at once. It is said when this is dropped.
#[derive(Debug)]
pub struct LastWords {
    _token: TaskTrackerToken,
}

impl LastWords {
    /// Makes a second signal wait for the one who holds this.
    #[must_use]
    pub fn reserve() -> Self {
        Self { _token: SPEAKING.token() }
    }

    /// Returns with the second signal.
    pub async fn now(&self) {
        INSISTED.cancelled().await;
    }
}
