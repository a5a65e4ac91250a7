//! Versions as sort keys.
//!
//! Every ecosystem has its own rule for which of two versions is the later one. [`key`] writes a version down as bytes whose
//! plain byte order *is* that rule, so that `key >= introduced and key < fixed` is one comparison of memory, in Rust and in SQL
//! alike, and no version is parsed twice. Start at [`Scheme::of_platform`], then [`key`].
//!
//! Keys are stored. To change what a scheme writes is to change stored data: the keys of that scheme must be computed anew by
//! a migration. A test pins some of them.

mod apk;
mod dpkg;
mod encoder;
mod maven;
mod nuget;
mod packagist;
mod pep440;
mod rpm;
mod rubygems;
mod semver;

/// A rule for ordering versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Debian and its kin: `deb-version(7)`.
    Dpkg,
    /// Red Hat, SUSE and their kin: epoch, version and release as `rpm` compares them.
    Rpm,
    /// Alpine and its kin: `apk-package(5)`, as apk-tools 3 compares them.
    Apk,
    /// Semantic Versioning 2.0.0, section 11.
    SemVer,
    /// Python: PEP 440.
    Pep440,
    /// Ruby: `Gem::Version`.
    RubyGems,
    /// .NET: Semantic Versioning with four numbers, regardless of case.
    NuGet,
    /// PHP: `version_compare`.
    Packagist,
    /// Java: `ComparableVersion`, the part of it that is an order.
    Maven,
}

impl Scheme {
    /// The scheme of a platform in OSV's spelling, such as `Debian:12` or `crates.io`. `None` when we do not know it.
    #[must_use]
    pub fn of_platform(platform: &str) -> Option<Self> {
        let ecosystem = platform.split_once(':').map_or(platform, |(ecosystem, _release)| ecosystem);
        Some(match ecosystem {
            "Debian" | "Ubuntu" | "Echo" => Self::Dpkg,
            "AlmaLinux" | "Amazon Linux" | "Azure Linux" | "CentOS" | "Fedora" | "Mageia"
            | "Oracle Linux" | "Photon OS" | "Red Hat" | "Rocky Linux" | "SUSE" | "openEuler"
            | "openSUSE" => Self::Rpm,
            "Alpine" | "Alpaquita" | "Chainguard" | "MinimOS" | "Wolfi" => Self::Apk,
            "Bitnami" | "Go" | "Hex" | "Pub" | "SwiftURL" | "crates.io" | "npm" => Self::SemVer,
            "PyPI" => Self::Pep440,
            "RubyGems" => Self::RubyGems,
            "NuGet" => Self::NuGet,
            "Packagist" => Self::Packagist,
            "Maven" => Self::Maven,
            _ => return None,
        })
    }
}

/// A version as bytes; byte order is version order within one [`Scheme`], and equal bytes mean equal versions.
///
/// Keys of different schemes must not be compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionKey(Vec<u8>);

impl VersionKey {
    /// The bytes, as they are stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, as they are stored.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// The longest version that is understood, in bytes.
///
/// No package can have a longer one, for its file is named after it, and 255 is where file names end. So hostile
/// input cannot grow keys past what a database index takes.
pub const LONGEST: usize = 255;

/// The key of `version`, or `None` when the scheme does not understand it.
///
/// `None` is an answer to be shown (as undecided), never to be taken for "not affected".
#[must_use]
pub fn key(scheme: Scheme, version: &str) -> Option<VersionKey> {
    let blank = |character: char| character.is_whitespace() || character.is_control();
    if version.is_empty() || version.len() > LONGEST || version.contains(blank) {
        return None;
    }
    let bytes = match scheme {
        Scheme::Dpkg => dpkg::key(version),
        Scheme::Rpm => rpm::key(version),
        Scheme::Apk => apk::key(version),
        Scheme::SemVer => semver::key(version),
        Scheme::Pep440 => pep440::key(version),
        Scheme::RubyGems => rubygems::key(version),
        Scheme::NuGet => nuget::key(version),
        Scheme::Packagist => packagist::key(version),
        Scheme::Maven => maven::key(version),
    };
    bytes.map(VersionKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_behind_the_colon_does_not_change_the_scheme() {
        assert_eq!(Scheme::of_platform("Debian:12"), Some(Scheme::Dpkg));
        assert_eq!(Scheme::of_platform("Ubuntu:Pro:18.04:LTS"), Some(Scheme::Dpkg));
        assert_eq!(Scheme::of_platform("Alpine:v3.20"), Some(Scheme::Apk));
        assert_eq!(Scheme::of_platform("Rocky Linux:9"), Some(Scheme::Rpm));
        assert_eq!(Scheme::of_platform("PyPI"), Some(Scheme::Pep440));
    }

    #[test]
    fn an_unknown_platform_has_no_scheme() {
        assert_eq!(Scheme::of_platform("GIT"), None);
        assert_eq!(Scheme::of_platform("pypi"), None);
        assert_eq!(Scheme::of_platform(""), None);
    }

    #[test]
    fn stored_keys_keep_their_bytes() {
        let hex = |scheme, version| -> String {
            key(scheme, version).map_or_else(String::new, |key| {
                key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
            })
        };
        let pinned = [
            (Scheme::Dpkg, "1:2.0~rc1-3", "0131020132ae02000172630201310202013302"),
            (Scheme::Rpm, "1:2.0~rc1-3.el9", "013105013205000104726300050131020105013304656c0005013902"),
            (Scheme::Apk, "1.2.3_rc1-r4", "0131080132080133010305013103013402"),
            (Scheme::SemVer, "1.2.3-rc.1", "013101320133010372630002013101"),
            (Scheme::Pep440, "1!2.0rc1.post2.dev3+deb.4", "013102013201030131010132000133016465620002013400"),
            (Scheme::RubyGems, "1.0.2.rc1", "03ff013103fe0132010072630003ff013102"),
            (Scheme::NuGet, "1.2.3.4-rc.1", "0131013201330134010372630002013101"),
            (Scheme::Packagist, "1.2.0-RC1", "07013107013207000507013106"),
            (Scheme::Maven, "1.2.0-rc1", "060131060132010305013102"),
        ];
        let got = pinned.map(|(scheme, version, _)| (scheme, version, hex(scheme, version)));
        assert_eq!(got, pinned.map(|(scheme, version, bytes)| (scheme, version, bytes.to_owned())));
    }

    #[test]
    fn no_scheme_understands_nothing_or_blanks_or_a_version_of_a_thousand_digits() {
        let long = "1".repeat(1000);
        for scheme in ALL {
            for version in ["", " ", "1.0 ", "1.0\n", "1\u{0}", "\u{2003}1", &long] {
                assert_eq!(key(scheme, version), None, "{scheme:?} {version:?}");
            }
        }
    }

    #[test]
    fn a_number_may_be_as_long_as_the_longest_version() {
        let (nines, eights) = ("9".repeat(LONGEST), "8".repeat(LONGEST));
        for scheme in ALL {
            let (less, greater) = (key(scheme, &eights), key(scheme, &nines));
            assert!(less.is_some() && less < greater, "{scheme:?}");
        }
    }

    const ALL: [Scheme; 9] = [
        Scheme::Dpkg,
        Scheme::Rpm,
        Scheme::Apk,
        Scheme::SemVer,
        Scheme::Pep440,
        Scheme::RubyGems,
        Scheme::NuGet,
        Scheme::Packagist,
        Scheme::Maven,
    ];
}
