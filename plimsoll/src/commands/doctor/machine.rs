//! This machine: the artifact store, and room on its disks.

use std::path::Path;

use runtime::config::Config;
use store::blob::BlobStore;

use super::{Finding, failure, ok, warning};
use crate::exit;

const MIB: u64 = 1024 * 1024;
/// Below this Postgres stops before long.
const LEAST_FREE: u64 = 256 * MIB;
/// Below this somebody should look.
const COMFORTABLE: u64 = 2048 * MIB;

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let artifacts = match BlobStore::new(&config.artifact_dir).probe().await {
        Ok(()) => ok("artifacts", format!("written to {} and read back", config.artifact_dir.display())),
        Err(error) => failure(
            "artifacts",
            format!(
                "{:#}; make {} writable or set ARTIFACT_DIR",
                exit::chain(&error.into()),
                config.artifact_dir.display()
            ),
        ),
    };
    vec![artifacts, room(&config.artifact_dir)]
}

fn room(folder: &Path) -> Finding {
    let shown = folder.display();
    match rustix::fs::statvfs(folder) {
        Ok(disk) => match disk.f_bavail.saturating_mul(disk.f_frsize) {
            free if free < LEAST_FREE => {
                failure("disk", format!("{} MiB free at {shown}: free some space", free / MIB))
            }
            free if free < COMFORTABLE => warning("disk", format!("only {} MiB free at {shown}", free / MIB)),
            free => ok("disk", format!("{} MiB free at {shown}", free / MIB)),
        },
        Err(error) => warning("disk", format!("cannot be measured at {shown} ({error})")),
    }
}
