//! This machine: the artifact store, and room on its disks.

use std::path::Path;

use runtime::config::{BucketCredentials, Config};
use store::blob::BlobStore;

use super::{Finding, failure, ok, warning};
use crate::exit;

const MIB: u64 = 1024 * 1024;
/// Below this Postgres stops before long.
const LEAST_FREE: u64 = 256 * MIB;
/// Below this somebody should look.
const COMFORTABLE: u64 = 2048 * MIB;

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let artifacts = artifacts(config).await;
    vec![artifacts, room(if config.bucket.is_some() { &config.home } else { &config.artifact_dir })]
}

async fn artifacts(config: &Config) -> Finding {
    let tried = async {
        let store = BlobStore::of(config)?;
        store.probe().await.map(|()| store.whereabouts())
    };
    let remedy = || match &config.bucket {
        Some(bucket) => format!(
            "see to it that the bucket {} is there, that S3_ENDPOINT is right, and that {} may read, write and delete in it",
            bucket.name,
            match &bucket.credentials {
                BucketCredentials::Keys { .. } => "the key of S3_ACCESS_KEY_ID",
                BucketCredentials::Instance { .. } => "the role of this machine",
            }
        ),
        None => format!("make {} writable or set ARTIFACT_DIR", config.artifact_dir.display()),
    };
    match tried.await {
        Ok(whereabouts) => ok("artifacts", format!("written to {whereabouts} and read back")),
        Err(error) => failure("artifacts", format!("{:#}; {}", exit::chain(&error.into()), remedy())),
    }
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
