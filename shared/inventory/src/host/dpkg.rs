//! dpkg's database: `status`, and `status.d` where images without dpkg keep one file for each package.
//!
//! The format is deb822 (`deb-status(5)`): paragraphs of `Field: value`, continued by lines that begin with a blank.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use domain::inventory::InstalledPackage;
use tracing::warn;

use super::{HostError, text_if_present};

pub(super) const DATABASES: &[&str] = &["var/lib/dpkg/status", "var/lib/dpkg/status.d"];

/// What dpkg says is on the disk; none when it has no database here.
pub(super) fn installed(root: &Path) -> Result<Option<Vec<InstalledPackage>>, HostError> {
    let [status, status_d] = [DATABASES[0], DATABASES[1]].map(|path| root.join(path));
    let mut found = None;
    if let Some(text) = text_if_present(&status)? {
        found.get_or_insert_with(Vec::new).extend(parse(&text, Unstated::NotInstalled));
    }
    for text in texts_in(&status_d)? {
        found.get_or_insert_with(Vec::new).extend(parse(&text, Unstated::Installed));
    }
    Ok(found)
}

/// The text of every file in a folder that describes packages, in order of name.
fn texts_in(folder: &Path) -> Result<Vec<String>, HostError> {
    let unreadable = |source| HostError::Unreadable { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(unreadable(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        // Beside each package lie its checksums: `<package>.md5sums`.
        if path.is_file() && path.extension().is_none_or(|extension| extension != "md5sums") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().filter_map(|path| text_if_present(path).transpose()).collect()
}

/// What a paragraph without `Status` means.
#[derive(Clone, Copy, PartialEq)]
enum Unstated {
    Installed,
    NotInstalled,
}

/// The installed packages of a database. A paragraph that is installed and lacks its name or version is dropped with a
/// warning: dpkg itself refuses to write one.
fn parse(text: &str, unstated: Unstated) -> Vec<InstalledPackage> {
    let mut packages = Vec::new();
    let mut paragraph = Paragraph::default();
    for line in text.lines().chain([""]) {
        if !line.trim().is_empty() {
            paragraph.read(line);
            continue;
        }
        let paragraph = std::mem::take(&mut paragraph);
        if paragraph.is_on_disk(unstated) {
            let name = paragraph.package.unwrap_or_default().to_owned();
            match paragraph.into_package() {
                Some(package) => packages.push(package),
                None => warn!(package = name, "dpkg lists a package without a name or a version, left out"),
            }
        }
    }
    packages
}

/// The fields of a paragraph that we need.
#[derive(Default)]
struct Paragraph<'a> {
    package: Option<&'a str>,
    status: Option<&'a str>,
    version: Option<&'a str>,
    architecture: Option<&'a str>,
    source: Option<&'a str>,
}

impl<'a> Paragraph<'a> {
    fn read(&mut self, line: &'a str) {
        if line.starts_with([' ', '\t']) {
            return;
        }
        let Some((name, value)) = line.split_once(':') else { return };
        let field = match name.to_ascii_lowercase().as_str() {
            "package" => &mut self.package,
            "status" => &mut self.status,
            "version" => &mut self.version,
            "architecture" => &mut self.architecture,
            "source" => &mut self.source,
            _ => return,
        };
        *field = Some(value.trim());
    }

    /// `Status` is "want flag state". The states in which a package's files are on the disk are these five
    /// (`dpkg(1)`, "Package states"); a package that is merely unpacked can be exploited just the same.
    fn is_on_disk(&self, unstated: Unstated) -> bool {
        match self.status {
            Some(status) => matches!(
                status.split_ascii_whitespace().nth(2),
                Some("installed" | "triggers-pending" | "triggers-awaited" | "half-configured" | "unpacked")
            ),
            None => unstated == Unstated::Installed && self.package.is_some(),
        }
    }

    fn into_package(self) -> Option<InstalledPackage> {
        let text = |value: Option<&str>| value.filter(|value| !value.is_empty()).map(str::to_owned);
        let (source_name, source_version) = self.source.map(source).unwrap_or_default();
        Some(InstalledPackage {
            name: text(self.package)?,
            version: text(self.version)?,
            architecture: text(self.architecture),
            source_name: text(source_name),
            source_version: text(source_version),
            ecosystem: None,
            purl: None,
        })
    }
}

/// `Source: name` or `Source: name (version)`; the version is there when it is not the binary's.
fn source(value: &str) -> (Option<&str>, Option<&str>) {
    match value.split_once('(') {
        Some((name, version)) => (Some(name.trim()), version.strip_suffix(')').map(str::trim)),
        None => (Some(value), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, unstated: Unstated) -> Vec<String> {
        parse(text, unstated).into_iter().map(|package| package.name).collect()
    }

    #[test]
    fn a_package_counts_when_its_files_are_on_the_disk() {
        let state = |state| format!("Package: {state}\nStatus: install ok {state}\nVersion: 1\n\n");
        let text: String =
            ["installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending"]
                .map(state)
                .concat();
        assert_eq!(names(&text, Unstated::NotInstalled).len(), 5);
        let text: String = ["config-files", "not-installed", "half-installed"].map(state).concat();
        assert_eq!(names(&text, Unstated::NotInstalled), [""; 0]);
    }

    #[test]
    fn what_the_administrator_wants_does_not_matter() {
        let text = "Package: kept\nStatus: hold ok installed\nVersion: 1\n\n\
                    Package: doomed\nStatus: deinstall reinstreq installed\nVersion: 1\n";
        assert_eq!(names(text, Unstated::NotInstalled), ["kept", "doomed"]);
    }

    #[test]
    fn only_status_d_may_leave_the_status_out() {
        let text = "Package: base-files\nVersion: 12.4\n";
        assert_eq!(names(text, Unstated::Installed), ["base-files"]);
        assert_eq!(names(text, Unstated::NotInstalled), [""; 0]);
    }

    #[test]
    fn continuation_lines_are_not_fields() {
        let text = "Package: real\nStatus: install ok installed\nVersion: 1\nDescription: x\n Package: fake\n\tVersion: 9\n";
        let packages = parse(text, Unstated::NotInstalled);
        assert_eq!((packages[0].name.as_str(), packages[0].version.as_str()), ("real", "1"));
    }

    #[test]
    fn a_source_may_carry_its_own_version() {
        assert_eq!(source("gcc-defaults (1.203)"), (Some("gcc-defaults"), Some("1.203")));
        assert_eq!(source("glibc"), (Some("glibc"), None));
        assert_eq!(source("broken (1"), (Some("broken"), None));
    }
}
