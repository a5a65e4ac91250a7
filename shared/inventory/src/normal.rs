//! One spelling for one fact, whichever source it came from.

use domain::inventory::InstalledPackage;

/// Bring packages to the one form in which they are compared: a source that only repeats the package is dropped, so is an
/// optional text that is blank; order is by name, and no package is listed twice.
pub(crate) fn tidy(packages: &mut Vec<InstalledPackage>) {
    for package in packages.iter_mut() {
        let InstalledPackage { name, version, architecture, source_name, source_version, ecosystem, purl } =
            package;
        for optional in [&mut *architecture, source_name, source_version, ecosystem, purl] {
            if optional.as_deref().is_some_and(|text| text.trim().is_empty()) {
                *optional = None;
            }
        }
        if source_name.as_ref() == Some(name) {
            *source_name = None;
        }
        if source_version.as_ref() == Some(version) {
            *source_version = None;
        }
    }
    packages.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
    packages.dedup();
}

fn sort_key(package: &InstalledPackage) -> [Option<&str>; 7] {
    [
        Some(&package.name),
        package.ecosystem.as_deref(),
        Some(&package.version),
        package.architecture.as_deref(),
        package.source_name.as_deref(),
        package.source_version.as_deref(),
        package.purl.as_deref(),
    ]
}

/// Name and version of the source package from the file name of a source rpm: `bash-5.1.8-6.el9_1.src.rpm` was built from
/// `bash` `5.1.8-6.el9_1`. The file name has no epoch.
pub(crate) fn source_rpm(file_name: &str) -> Option<(String, String)> {
    let stem = file_name.strip_suffix(".src.rpm").or_else(|| file_name.strip_suffix(".nosrc.rpm"))?;
    let (rest, release) = stem.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    let complete = !name.is_empty() && !version.is_empty() && !release.is_empty();
    complete.then(|| (name.to_owned(), format!("{version}-{release}")))
}

/// The version of a package with its epoch in front, unless it has one already or the epoch is the zero that
/// everybody leaves out.
pub(crate) fn with_epoch(epoch: Option<&str>, version: &str) -> String {
    match epoch {
        Some(epoch) if !matches!(epoch, "" | "0" | "(none)") && !version.contains(':') => {
            format!("{epoch}:{version}")
        }
        _ => version.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> InstalledPackage {
        InstalledPackage {
            name: name.into(),
            version: version.into(),
            architecture: None,
            source_name: None,
            source_version: None,
            ecosystem: None,
            purl: None,
        }
    }

    #[test]
    fn a_source_that_repeats_the_package_is_dropped() {
        let mut packages = vec![InstalledPackage {
            source_name: Some("bash".into()),
            source_version: Some("5.2-2".into()),
            architecture: Some(" ".into()),
            ..package("bash", "5.2-2")
        }];
        tidy(&mut packages);
        assert_eq!(packages, [package("bash", "5.2-2")]);
    }

    #[test]
    fn the_same_package_is_listed_once_and_in_order() {
        let mut packages = vec![package("zlib", "1"), package("bash", "5"), package("zlib", "1")];
        tidy(&mut packages);
        assert_eq!(packages, [package("bash", "5"), package("zlib", "1")]);
    }

    #[test]
    fn a_source_rpm_names_the_source_package() {
        assert_eq!(
            source_rpm("java-11-openjdk-11.0.20.0.8-2.el9.src.rpm"),
            Some(("java-11-openjdk".into(), "11.0.20.0.8-2.el9".into()))
        );
        for nonsense in ["(none)", "", "bash.src.rpm", "bash-5.src.rpm", "--.src.rpm"] {
            assert_eq!(source_rpm(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn an_epoch_goes_in_front_unless_it_is_zero_or_already_there() {
        assert_eq!(with_epoch(Some("2"), "8.2-1"), "2:8.2-1");
        assert_eq!(with_epoch(Some("0"), "8.2-1"), "8.2-1");
        assert_eq!(with_epoch(Some("2"), "2:8.2-1"), "2:8.2-1");
        assert_eq!(with_epoch(None, "8.2-1"), "8.2-1");
    }
}
