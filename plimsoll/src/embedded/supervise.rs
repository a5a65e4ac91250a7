//! Keeping a server running: when it ends and nobody asked it to, it is started again.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::launch::{Launch, Process};
use super::leftovers;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A server that ran this long was well: the next pause is the first again.
const WELL_AFTER: Duration = Duration::from_secs(60);

/// Restart `launch` whenever it ends, pausing longer each time, until `stop`; then end it.
pub(super) async fn keep_running(launch: Launch, mut process: Process, stop: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        let outcome = tokio::select! {
            outcome = process.ended() => outcome,
            () = stop.cancelled() => return process.end().await,
        };
        let outcome = outcome.map_or_else(|error| error.to_string(), |status| status.to_string());
        pause = if started.elapsed() > WELL_AFTER { FIRST_PAUSE } else { pause };
        warn!(
            program = launch.name,
            outcome,
            pause_ms = pause.as_millis(),
            "server ended: starting it again"
        );
        let Some(again) = start_again(&launch, &mut pause, &stop).await else { return };
        process = again;
    }
}

/// Try until the program starts. `None` when `stop` comes first.
async fn start_again(launch: &Launch, pause: &mut Duration, stop: &CancellationToken) -> Option<Process> {
    loop {
        tokio::select! {
            () = sleep(*pause) => {}
            () = stop.cancelled() => return None,
        }
        *pause = (*pause * 2).min(LONGEST_PAUSE);
        // A killed Postgres leaves its worker processes for a moment, and a new one refuses to start beside them.
        leftovers::stop(&launch.directory, launch.process_names, launch.stop).await;
        match launch.spawn() {
            Ok(process) => {
                info!(program = launch.name, "server is running again");
                return Some(process);
            }
            Err(error) => {
                error!(
                    program = launch.name,
                    error = &error as &dyn std::error::Error,
                    "cannot start server"
                );
            }
        }
    }
}
