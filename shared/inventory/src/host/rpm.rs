//! rpm's database, read by the `rpm` program: its three file formats are rpm's own affair.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use domain::inventory::InstalledPackage;

use super::HostError;
use crate::normal::{source_rpm, with_epoch};

/// Current and former places and formats: SQLite, ndb, Berkeley DB.
pub(super) const DATABASES: &[&str] = &[
    "usr/lib/sysimage/rpm/rpmdb.sqlite",
    "usr/lib/sysimage/rpm/Packages.db",
    "usr/lib/sysimage/rpm/Packages",
    "var/lib/rpm/rpmdb.sqlite",
    "var/lib/rpm/Packages.db",
    "var/lib/rpm/Packages",
];

const QUERY: &str = "%{NAME}\\t%{EPOCH}\\t%{VERSION}\\t%{RELEASE}\\t%{ARCH}\\t%{SOURCERPM}\\n";

/// What rpm says is installed; none when it has no database here.
pub(super) fn installed(root: &Path, program: &OsStr) -> Result<Option<Vec<InstalledPackage>>, HostError> {
    let Some(database) = DATABASES.iter().map(|path| root.join(path)).find(|path| path.is_file()) else {
        return Ok(None);
    };
    let program_name = || program.to_string_lossy().into_owned();
    let failed =
        |reason: String| HostError::Rpm { database: database.clone(), program: program_name(), reason };
    let output = Command::new(program)
        .env("LC_ALL", "C")
        .arg("--dbpath")
        .arg(folder_of(&database))
        .args(["-qa", "--qf", QUERY])
        .output()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                HostError::RpmMissing { database: database.clone(), program: program_name() }
            }
            _ => failed(error.to_string()),
        })?;
    if !output.status.success() {
        return Err(failed(format!("{}, {}", output.status, String::from_utf8_lossy(&output.stderr).trim())));
    }
    parse(&String::from_utf8_lossy(&output.stdout)).map(Some).map_err(failed)
}

/// The folder that holds a database, as rpm wants it: absolute.
fn folder_of(database: &Path) -> PathBuf {
    let folder = database.parent().unwrap_or(database);
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

/// One line for each package, as [`QUERY`] lays it out.
fn parse(listing: &str) -> Result<Vec<InstalledPackage>, String> {
    let mut packages = Vec::new();
    for line in listing.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, epoch, version, release, architecture, source] = fields[..] else {
            return Err(format!("the line `{line}` has {} fields, 6 were asked for", fields.len()));
        };
        // A trusted key is kept as a package that has no source.
        if name == "gpg-pubkey" {
            continue;
        }
        let version_release = format!("{version}-{release}");
        let (source_name, source_version) = source_rpm(source).unzip();
        packages.push(InstalledPackage {
            name: name.to_owned(),
            version: with_epoch(Some(epoch), &version_release),
            architecture: Some(architecture.to_owned()).filter(|name| name != "(none)"),
            source_name,
            // A source rpm's name has no epoch: alike but for it is the same version.
            source_version: source_version.filter(|source_version| *source_version != version_release),
            ecosystem: None,
            purl: None,
        });
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoch_and_source_are_read() {
        let packages = parse(
            "openssl-libs\t1\t3.0.7\t27.el9\tx86_64\topenssl-3.0.7-27.el9.src.rpm\n\
             bash\t(none)\t5.1.8\t9.el9\tx86_64\tbash-5.1.8-9.el9.src.rpm\n\
             gpg-pubkey\t(none)\t350d275d\t6279464b\t(none)\t(none)\n",
        )
        .unwrap();
        assert_eq!(packages.len(), 2);
        assert_eq!(packages[0].version, "1:3.0.7-27.el9");
        assert_eq!(packages[0].source(), ("openssl".into(), "1:3.0.7-27.el9"));
        assert_eq!(packages[1].version, "5.1.8-9.el9");
    }

    #[test]
    fn a_source_of_another_version_keeps_it() {
        let listing = "perl-Errno\t(none)\t1.30\t481.el9\tx86_64\tperl-5.32.1-481.el9.src.rpm\n";
        assert_eq!(parse(listing).unwrap()[0].source(), ("perl".into(), "5.32.1-481.el9"));
    }

    #[test]
    fn a_line_of_another_layout_is_an_error_and_not_a_package() {
        assert!(parse("error: cannot open Packages database\n").unwrap_err().contains("1 fields"));
    }
}
