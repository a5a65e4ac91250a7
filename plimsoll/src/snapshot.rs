//! The demo's feed snapshot, carried in the program: genuine formats, true facts, some hundred vulnerabilities.
//! `data/README.md` says where each fact comes from.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::Deserialize;

/// Path below `data/snapshot`, and content.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/snapshot.rs"));

/// Write the snapshot to `folder`, in place of whatever was there. Each feed is as old as the manifest says its facts are, so that
/// a report does not take them for today's.
pub(crate) fn write_to(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    for (name, content) in FILES {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for (name, as_of) in ages()? {
        let path = folder.join(&name);
        if path.is_file() {
            let file = fs::File::options().write(true).open(&path);
            file.and_then(|file| file.set_modified(as_of.into()))
                .with_context(|| format!("cannot set the age of {}", path.display()))?;
        }
    }
    Ok(())
}

/// Each feed of the manifest and the day that its newest fact is from.
fn ages() -> anyhow::Result<Vec<(String, DateTime<Utc>)>> {
    #[derive(Deserialize)]
    struct Manifest {
        files: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        path: String,
        as_of: NaiveDate,
    }
    let (_, text) =
        FILES.iter().find(|(name, _)| *name == "manifest.json").context("the snapshot has no manifest")?;
    let manifest: Manifest =
        serde_json::from_slice(text).context("the snapshot's manifest cannot be read")?;
    let start_of = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    Ok(manifest.files.into_iter().map(|entry| (entry.path, start_of(entry.as_of))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_carries_every_feed_of_the_snapshot() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let snapshot = folder.path().join("snapshot");
        fs::create_dir(&snapshot).expect("a writable folder");
        fs::write(snapshot.join("stale"), "").expect("a writable folder");
        write_to(&snapshot).expect("a writable folder");
        for feed in ["kev.json", "epss.csv.gz", "debian.json", "osv", "nvd/page-1.json"] {
            assert!(snapshot.join(feed).exists(), "{feed}");
        }
        assert!(!snapshot.join("stale").exists());
    }
}
