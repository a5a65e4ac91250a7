//! Servers that outlived the process that started them (it was killed), found and ended.
//!
//! A server is ours when its program has the right name and its working directory is our data directory:
//! both servers are started there and stay there. That needs no file written at the right moment and
//! cannot mistake a stranger who was given the process id of one of ours. It reads `/proc`; on a
//! system without one nothing is found, and Postgres's own lock file is what keeps two servers apart.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::time::{Instant, sleep};
use tracing::warn;

/// After this a leftover is killed: what it holds is safe in its log.
const PATIENCE: Duration = Duration::from_secs(30);

/// The processes whose program is one of `names` and whose working directory is `directory`.
pub(super) fn find(directory: &Path, names: &[&str]) -> Vec<Pid> {
    let ours = |entry: fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        let program = fs::read_to_string(entry.path().join("comm")).ok()?;
        let at = fs::read_link(entry.path().join("cwd")).ok()?;
        (names.contains(&program.trim_end()) && at == directory).then_some(id)
    };
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(ours).collect()
}

/// End every server found in `directory` with `signal`, by force when that does not help. Returns when
/// none is left. To be called under the folder's lock, which means that nobody supervises them.
pub(super) async fn stop(directory: &Path, names: &[&str], signal: Signal) {
    let mut found = find(directory, names);
    if found.is_empty() {
        return;
    }
    warn!(directory = %directory.display(), processes = found.len(), "ending a server that an earlier run left behind");
    for id in without_children(&found) {
        tell(id, signal);
    }
    let deadline = Instant::now() + PATIENCE;
    while !found.is_empty() {
        sleep(Duration::from_millis(20)).await;
        found = find(directory, names);
        if Instant::now() > deadline {
            found.iter().for_each(|id| tell(*id, Signal::KILL));
        }
    }
}

/// The servers without their own worker processes, which end with them, and without those that have just ended.
fn without_children(found: &[Pid]) -> Vec<Pid> {
    let top = |id: &&Pid| parent(**id).is_some_and(|parent| !found.contains(&parent));
    found.iter().filter(top).copied().collect()
}

fn parent(id: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero())).ok()?;
    // `pid (name) state ppid …`: the name may itself contain parentheses.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok().and_then(Pid::from_raw)
}

fn tell(id: Pid, signal: Signal) {
    if let Err(error) = rustix::process::kill_process(id, signal) {
        warn!(pid = id.as_raw_nonzero(), %error, "cannot signal a server that was left behind");
    }
}
