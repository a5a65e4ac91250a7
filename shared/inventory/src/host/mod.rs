//! What is installed on a machine, read from its own files.
//!
//! Reads only: `os-release`, a few files under `/proc` and the databases of dpkg, apk and rpm. Sending the report is the
//! agent's business, judging it the server's. Start at [`read`].

mod apk;
mod dpkg;
mod os_release;
mod rpm;

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::{fs, io};

use domain::inventory::{HostReport, InstalledPackage};
use sha2::{Digest, Sha256};

use crate::normal::tidy;

/// Put in front of the machine id before it is digested, so that our id of a machine is nobody else's
/// (`machine-id(5)` asks applications not to publish the id itself).
const MACHINE_ID_PREFIX: &str = "plimsoll.machine-id.v1:";

/// Why a machine could not be read.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("cannot tell {what}: under `{}` none of these says it: {looked_for}", root.display())]
    Missing { what: &'static str, root: PathBuf, looked_for: String },
    #[error("cannot read `{}`", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "`{}` is an rpm database, and the program `{program}` that reads it is not installed: install it \
         (package `rpm`) and run again",
        database.display()
    )]
    RpmMissing { database: PathBuf, program: String },
    #[error("`{program}` cannot list the rpm database `{}`: {reason}", database.display())]
    Rpm { database: PathBuf, program: String, reason: String },
}

/// Read the machine whose file system lies at `root` (`/` for the machine that this runs on).
///
/// # Errors
///
/// When the operating system, the host name or every package database is missing, or one of them cannot be read: half
/// an inventory would look like a clean machine.
pub fn read(root: &Path) -> Result<HostReport, HostError> {
    read_with(root, OsStr::new("rpm"))
}

/// [`read`] with another `rpm` program than the one on the search path.
///
/// # Errors
///
/// As [`read`].
pub fn read_with(root: &Path, rpm_program: &OsStr) -> Result<HostReport, HostError> {
    let os_release = required(root, "the operating system", &["etc/os-release", "usr/lib/os-release"])?;
    let hostname = required(root, "the host name", &["proc/sys/kernel/hostname", "etc/hostname"])?;
    Ok(HostReport {
        hostname: hostname.trim().to_owned(),
        machine_id: machine_id(root)?,
        agent_version: None,
        os: os_release::parse(&os_release),
        kernel: first_line(root, &["proc/sys/kernel/osrelease"])?,
        architecture: architecture(root)?,
        packages: packages(root, rpm_program)?,
    })
}

/// Every package of every database there is.
fn packages(root: &Path, rpm_program: &OsStr) -> Result<Vec<InstalledPackage>, HostError> {
    let databases = [dpkg::installed(root)?, apk::installed(root)?, rpm::installed(root, rpm_program)?];
    // A database that lists nothing is as good as none: no machine runs without a package.
    if databases.iter().flatten().all(Vec::is_empty) {
        return Err(HostError::Missing {
            what: "what is installed",
            root: root.to_owned(),
            looked_for: [dpkg::DATABASES, apk::DATABASES, rpm::DATABASES].concat().join(", "),
        });
    }
    let mut packages: Vec<_> = databases.into_iter().flatten().flatten().collect();
    tidy(&mut packages);
    Ok(packages)
}

/// A digest that stands for the machine id, in hexadecimal; none when the machine has no id of its own (an image that
/// was never booted).
fn machine_id(root: &Path) -> Result<Option<String>, HostError> {
    let id = first_line(root, &["etc/machine-id", "var/lib/dbus/machine-id"])?;
    let id = id.filter(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    Ok(id.map(|id| hex::encode(Sha256::digest(format!("{MACHINE_ID_PREFIX}{}", id.to_ascii_lowercase())))))
}

/// What the kernel calls the architecture, or else what the package manager does, or else what we were built for.
fn architecture(root: &Path) -> Result<Option<String>, HostError> {
    let named = first_line(root, &["proc/sys/kernel/arch", "etc/apk/arch", "var/lib/dpkg/arch"])?;
    let is_this_machine = root == Path::new("/");
    Ok(named.or_else(|| is_this_machine.then(|| std::env::consts::ARCH.to_owned())))
}

fn required(root: &Path, what: &'static str, paths: &[&str]) -> Result<String, HostError> {
    first_text(root, paths)?.ok_or_else(|| HostError::Missing {
        what,
        root: root.to_owned(),
        looked_for: paths.join(", "),
    })
}

fn first_line(root: &Path, paths: &[&str]) -> Result<Option<String>, HostError> {
    let text = first_text(root, paths)?;
    Ok(text.map(|text| text.lines().next().unwrap_or_default().trim().to_owned()))
}

/// The text of the first of `paths` that exists and says something.
fn first_text(root: &Path, paths: &[&str]) -> Result<Option<String>, HostError> {
    for path in paths {
        if let Some(text) = text_if_present(&root.join(path))?
            && !text.trim().is_empty()
        {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// A file's text, with bytes that are not UTF-8 replaced; none when there is no such file.
fn text_if_present(path: &Path) -> Result<Option<String>, HostError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(HostError::Unreadable { path: path.to_owned(), source }),
    }
}
