//! Other people's programs that do the same work, installed under `target/bench/peers` when their registries can be reached.
//!
//! A peer that cannot be had is left out with a printed reason; the figures of ours stand either way.

#![expect(clippy::print_stderr, reason = "a bench says what it leaves out")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

/// Where the scripts are that have the peers do something.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

/// A Python that has `packages` (`name==version`), in an environment `name` of its own. `None` when that cannot be made here.
#[must_use]
pub fn python(name: &str, packages: &[&str]) -> Option<PathBuf> {
    let folder = folder(name);
    let python = folder.join("bin/python");
    or_say(name, || {
        if !python.exists() {
            run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        }
        // Says at once that all is there when it is.
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(packages))
    })?;
    Some(python)
}

/// A folder in which Node finds `packages` (`name@version`). `None` when that cannot be made here.
#[must_use]
pub fn node(name: &str, packages: &[&str]) -> Option<PathBuf> {
    let folder = folder(name);
    or_say(name, || {
        std::fs::create_dir_all(&folder)?;
        if !folder.join("node_modules").exists() {
            run(Command::new("npm")
                .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
                .arg(&folder)
                .args(packages))?;
        }
        Ok(())
    })?;
    Some(folder)
}

/// The number that `command` prints, or `None` and the reason on the screen.
pub fn figure(name: &str, command: &mut Command) -> Option<f64> {
    or_say(name, || {
        let output = command.output().with_context(|| format!("{command:?}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let last = said.lines().last().unwrap_or_default().trim();
        last.parse().with_context(|| format!("{last:?} {}", String::from_utf8_lossy(&output.stderr)))
    })
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/peers").join(name)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn or_say<T>(name: &str, work: impl FnOnce() -> anyhow::Result<T>) -> Option<T> {
    work().inspect_err(|error| eprintln!("without {name}: {error:#}")).ok()
}
