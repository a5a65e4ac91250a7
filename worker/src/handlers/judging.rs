//! How packages and versions are spoken of, on both sides of a comparison: what feeds say and what hosts run.

use correlation::version::{self, Scheme};
use domain::inventory::python_project;
use store::knowledge::Rules;

/// The rules by which a feed's ranges are stored.
pub(super) const RULES: Rules = Rules { key, name, tier };

/// A version as bytes that sort as its platform sorts versions; `None` where it is not understood.
pub(super) fn key(platform: &str, version: &str) -> Option<Vec<u8>> {
    Some(version::key(Scheme::of_platform(platform)?, version)?.into_bytes())
}

/// A package's name as its platform compares names: Python's index sees no difference between `-`, `_` and `.` or between cases
/// (PyPA, "Names and normalization"), NuGet and Packagist none between cases.
pub(super) fn name(platform: &str, name: &str) -> String {
    match platform.split(':').next() {
        Some("PyPI") => python_project(name),
        Some("NuGet" | "Packagist") => name.to_lowercase(),
        _ => name.to_owned(),
    }
}

/// A distribution speaks for its own packages (1), a database of a language's packages for those (2).
fn tier(platform: &str) -> i16 {
    if is_distribution(platform) { 1 } else { 2 }
}

/// Whether the packages of `platform` are built by a distribution.
fn is_distribution(platform: &str) -> bool {
    matches!(Scheme::of_platform(platform), Some(Scheme::Dpkg | Scheme::Rpm | Scheme::Apk))
}

/// Whether advisories about `platform` name the source package, as those of Debian, Ubuntu and Alpine do. The others name what is
/// installed.
pub(super) fn judges_sources(platform: &str) -> bool {
    matches!(Scheme::of_platform(platform), Some(Scheme::Dpkg | Scheme::Apk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_an_ecosystem_takes_for_one_are_one() {
        assert_eq!(name("PyPI", "Zope.Interface__x"), "zope-interface-x");
        assert_eq!(name("NuGet", "Newtonsoft.Json"), "newtonsoft.json");
        assert_eq!(name("npm", "JSONStream"), "JSONStream");
        assert_eq!(name("Debian:12", "libX11"), "libX11");
    }

    #[test]
    fn a_distribution_outranks_a_language() {
        assert_eq!(["Debian:12", "Alpine:v3.20", "Rocky Linux:9", "npm", "GIT"].map(tier), [1, 1, 1, 2, 2]);
    }

    #[test]
    fn source_packages_are_judged_where_advisories_name_them() {
        assert!(judges_sources("Ubuntu:22.04") && judges_sources("Alpine:v3.20"));
        assert!(!judges_sources("AlmaLinux:9") && !judges_sources("PyPI"));
    }
}
