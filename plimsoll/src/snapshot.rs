//! The demo's feed snapshot, carried in the program: genuine formats, true facts, some hundred vulnerabilities.
//! `data/README.md` says where each fact comes from.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// Path below `data/snapshot`, and content.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/snapshot.rs"));

/// Write the snapshot to `folder`, in place of whatever was there.
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
    Ok(())
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
