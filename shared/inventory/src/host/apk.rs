//! apk's database of installed packages: records of one-letter fields, parted by empty lines (Alpine wiki, "Apk spec").

use std::path::Path;

use domain::inventory::InstalledPackage;
use tracing::warn;

use super::{HostError, text_if_present};

/// The second place is where apk-tools 3 keeps it.
pub(super) const DATABASES: &[&str] = &["lib/apk/db/installed", "usr/lib/apk/db/installed"];

/// What apk says is installed; none when it has no database here.
pub(super) fn installed(root: &Path) -> Result<Option<Vec<InstalledPackage>>, HostError> {
    let mut found = None;
    for database in DATABASES {
        if let Some(text) = text_if_present(&root.join(database))? {
            found.get_or_insert_with(Vec::new).extend(parse(&text));
        }
    }
    Ok(found)
}

fn parse(text: &str) -> Vec<InstalledPackage> {
    let mut packages = Vec::new();
    let mut record = Record::default();
    for line in text.lines().chain([""]) {
        if !line.trim().is_empty() {
            record.read(line);
            continue;
        }
        let Record { name, version, architecture, origin } = std::mem::take(&mut record);
        let owned = |text: &str| Some(text.to_owned());
        match (name, version) {
            (Some(name), Some(version)) => packages.push(InstalledPackage {
                name: name.to_owned(),
                version: version.to_owned(),
                architecture: architecture.and_then(owned),
                source_name: origin.and_then(owned),
                source_version: None,
                ecosystem: None,
                purl: None,
            }),
            (None, None) => {}
            (name, _) => warn!(package = name, "apk lists a package without a name or a version, left out"),
        }
    }
    packages
}

/// The fields of a record that we need: `P` name, `V` version, `A` architecture, `o` origin (the source package, built
/// as a whole and therefore of the same version). Capitals and small letters are different fields.
#[derive(Default)]
struct Record<'a> {
    name: Option<&'a str>,
    version: Option<&'a str>,
    architecture: Option<&'a str>,
    origin: Option<&'a str>,
}

impl<'a> Record<'a> {
    fn read(&mut self, line: &'a str) {
        let Some((letter, value)) = line.split_once(':') else { return };
        let field = match letter {
            "P" => &mut self.name,
            "V" => &mut self.version,
            "A" => &mut self.architecture,
            "o" => &mut self.origin,
            _ => return,
        };
        *field = Some(value.trim()).filter(|value| !value.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_told_apart_by_case() {
        let packages =
            parse("P:libcrypto3\nV:3.3.2-r0\nA:x86_64\no:openssl\np:so:libcrypto.so.3=3\na:0:0:755\n");
        assert_eq!(packages.len(), 1);
        assert_eq!(packages[0].architecture.as_deref(), Some("x86_64"));
        assert_eq!(packages[0].source(), ("openssl".into(), "3.3.2-r0"));
    }

    #[test]
    fn a_record_without_a_version_is_left_out_and_the_next_is_read() {
        let packages = parse("P:broken\n\n\n\nP:musl\nV:1.2.5-r0\n");
        assert_eq!(packages.iter().map(|package| package.name.as_str()).collect::<Vec<_>>(), ["musl"]);
    }
}
