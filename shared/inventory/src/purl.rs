//! Package URLs (ECMA-427) turned into packages.
//!
//! The grammar is the `packageurl` crate's. Two things are ours: names keep the case in which they were written where
//! the ecosystem tells cases apart (the crate follows the purl type definitions, which fold Go module paths and npm names
//! that OSV does not), and each type gets the name and the version that OSV and the distributions give it.

use domain::inventory::{InstalledPackage, OperatingSystem, python_project};
use packageurl::PackageUrl;
use percent_encoding::percent_decode_str;

use crate::normal::{source_rpm, with_epoch};

/// What a package URL says. `package.version` is empty when the URL has none.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) package: InstalledPackage,
    /// The system that a `distro` qualifier puts the package on.
    pub(crate) system: Option<OperatingSystem>,
    /// The distribution in the namespace of a deb, rpm or apk, whose release the URL does not say.
    pub(crate) distribution: Option<String>,
}

/// Read a package URL, or say why it is none.
pub(crate) fn read(text: &str) -> Result<Named, packageurl::Error> {
    // Many tools leave the `@` of an npm scope as it is; encoded, it cannot be taken for the start of a version.
    let encoded = text.replace("/@", "/%40");
    let url: PackageUrl<'_> = encoded.parse()?;
    let mut named = match url.ty() {
        "deb" | "rpm" | "apk" => of_a_system(&url),
        _ => of_a_language(&url, &encoded),
    };
    named.package.purl = Some(text.to_owned());
    Ok(named)
}

/// The URL without version, qualifiers and subpath: what stays the same from one release to the next.
pub(crate) fn without_version(text: &str) -> Option<String> {
    let url: PackageUrl<'_> = text.replace("/@", "/%40").parse().ok()?;
    let mut lasting = PackageUrl::new(url.ty(), url.name()).ok()?;
    if let Some(namespace) = url.namespace() {
        lasting.with_namespace(namespace).ok()?;
    }
    // Which of the images of that name is meant is told by the repository alone.
    if let Some(repository) = url.qualifiers().get("repository_url") {
        lasting.add_qualifier("repository_url", repository.as_ref()).ok()?;
    }
    Some(lasting.to_string())
}

fn of_a_system(url: &PackageUrl<'_>) -> Named {
    let qualifier = |key: &str| url.qualifiers().get(key).map(AsRef::as_ref);
    let epoch = qualifier("epoch");
    let (source_name, source_version) = qualifier("upstream").map(upstream).unwrap_or_default();
    let distribution = url.namespace().map(distro_id);
    Named {
        package: InstalledPackage {
            name: url.name().to_owned(),
            version: with_epoch(epoch, url.version().unwrap_or_default()),
            architecture: qualifier("arch").map(str::to_owned),
            // The name of a source rpm has no epoch: alike but for it is the same version.
            source_version: source_version.filter(|version| Some(version.as_str()) != url.version()),
            source_name,
            ecosystem: None,
            purl: None,
        },
        system: qualifier("distro").and_then(|distro| system(distro, distribution.as_deref())),
        distribution,
    }
}

/// The `upstream` qualifier as Syft writes it: `openssl@3.0.11-1`, `busybox`, or the file name of a source rpm.
fn upstream(value: &str) -> (Option<String>, Option<String>) {
    let first = value.split(',').next().unwrap_or_default().trim();
    if let Some((name, version)) = source_rpm(first) {
        return (Some(name), Some(version));
    }
    match first.split_once('@') {
        Some((name, version)) => (Some(name.to_owned()), Some(version.to_owned())),
        None => (Some(first.to_owned()), None),
    }
}

/// The system that a `distro` qualifier names: `debian-12`, `alpine-3.20.3`, a code name such as `bookworm`, or just a
/// version, which is then one of the namespace's distribution.
fn system(qualifier: &str, namespace: Option<&str>) -> Option<OperatingSystem> {
    let of = |distro: &str, version: &str| {
        Some(OperatingSystem { distro: distro_id(distro), version: version.to_owned(), ..Default::default() })
    };
    if let Some((distro, version)) =
        CODENAMES.iter().find_map(|(code, system)| (*code == qualifier).then_some(system))
    {
        return of(distro, version);
    }
    let starts_with_digit = |text: &str| text.starts_with(|character: char| character.is_ascii_digit());
    match qualifier.rsplit_once('-') {
        Some((distro, version)) if starts_with_digit(version) => of(distro, version),
        _ if starts_with_digit(qualifier) => of(namespace?, qualifier),
        _ => of(qualifier, ""),
    }
}

/// Releases that purls name by code name alone (the specification's own examples do), with the numbers of
/// Debian's and Ubuntu's release lists.
const CODENAMES: &[(&str, (&str, &str))] = &[
    ("buster", ("debian", "10")),
    ("bullseye", ("debian", "11")),
    ("bookworm", ("debian", "12")),
    ("trixie", ("debian", "13")),
    ("bionic", ("ubuntu", "18.04")),
    ("focal", ("ubuntu", "20.04")),
    ("jammy", ("ubuntu", "22.04")),
    ("noble", ("ubuntu", "24.04")),
];

/// The `ID` of `os-release(5)` for the names that SBOM tools give to distributions.
pub(crate) fn distro_id(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase();
    match name.as_str() {
        "redhat" | "red hat" | "red hat enterprise linux" => "rhel".into(),
        "alma" | "alma linux" => "almalinux".into(),
        "rocky linux" | "rockylinux" => "rocky".into(),
        "amazon" | "amazon linux" => "amzn".into(),
        "oracle" | "oracle linux" | "oraclelinux" => "ol".into(),
        "debian gnu/linux" => "debian".into(),
        "alpine linux" => "alpine".into(),
        _ => name,
    }
}

fn of_a_language(url: &PackageUrl<'_>, text: &str) -> Named {
    let written = path_as_written(text);
    let (ecosystem, name) = match url.ty() {
        "cargo" => ("crates.io", url.name().to_owned()),
        "npm" => ("npm", written),
        "pypi" => ("PyPI", python_project(url.name())),
        "golang" => ("Go", written),
        "maven" => ("Maven", joined(url, ':')),
        "nuget" => ("NuGet", url.name().to_owned()),
        "gem" => ("RubyGems", url.name().to_owned()),
        "composer" => ("Packagist", joined(url, '/')),
        "hex" => ("Hex", joined(url, '/')),
        "pub" => ("Pub", url.name().to_owned()),
        "swift" => ("SwiftURL", written),
        "conan" => ("ConanCenter", url.name().to_owned()),
        "cran" => ("CRAN", url.name().to_owned()),
        "hackage" => ("Hackage", url.name().to_owned()),
        "julia" => ("Julia", url.name().to_owned()),
        "bitnami" => ("Bitnami", url.name().to_owned()),
        "githubactions" => ("GitHub Actions", written),
        "vscode-extension" => ("VSCode", joined(url, '/')),
        // OSV has no name for it: kept under its purl type, so that it is seen, and judged by nobody.
        other => (other, joined(url, '/')),
    };
    let version = url.version().unwrap_or_default();
    Named {
        package: InstalledPackage {
            name,
            version: osv_version(url.ty(), version).to_owned(),
            architecture: None,
            source_name: None,
            source_version: None,
            ecosystem: Some(ecosystem.to_owned()),
            purl: None,
        },
        system: None,
        distribution: None,
    }
}

/// The version in OSV's spelling: Go's without the leading `v`, any other as it is.
pub(crate) fn osv_version<'a>(purl_type: &str, version: &'a str) -> &'a str {
    match (purl_type, version.strip_prefix('v')) {
        ("golang", Some(bare)) if bare.starts_with(|character: char| character.is_ascii_digit()) => bare,
        _ => version,
    }
}

/// Namespace and name, in the case they were written in: everything between the type and the version.
fn path_as_written(text: &str) -> String {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let path = path.strip_prefix("pkg:").unwrap_or(path).trim_matches('/');
    let path = path.split_once('/').map_or(path, |(_type, rest)| rest);
    let path = path.rsplit_once('@').map_or(path, |(path, _version)| path).trim_matches('/');
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

fn joined(url: &PackageUrl<'_>, separator: char) -> String {
    match url.namespace() {
        Some(namespace) => format!("{namespace}{separator}{}", url.name()),
        None => url.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(purl: &str) -> InstalledPackage {
        read(purl).unwrap().package
    }

    /// Ecosystem, name and version.
    fn triple(purl: &str) -> (String, String, String) {
        let package = package(purl);
        (package.ecosystem.unwrap_or_default(), package.name, package.version)
    }

    fn expect(purl: &str, ecosystem: &str, name: &str, version: &str) {
        assert_eq!(triple(purl), (ecosystem.into(), name.into(), version.into()), "{purl}");
    }

    #[test]
    fn a_debian_package_has_its_source_and_its_system() {
        let named = read(
            "pkg:deb/debian/libssl3@3.0.11-1~deb12u2?arch=amd64&upstream=openssl%403.0.11&distro=debian-12",
        )
        .unwrap();
        let package = named.package;
        assert_eq!((package.name.as_str(), package.version.as_str()), ("libssl3", "3.0.11-1~deb12u2"));
        assert_eq!(package.source(), ("openssl".into(), "3.0.11"));
        assert_eq!(package.architecture.as_deref(), Some("amd64"));
        assert_eq!(package.ecosystem, None);
        assert_eq!(named.system.unwrap().platform().as_deref(), Some("Debian:12"));
    }

    #[test]
    fn an_epoch_qualifier_belongs_to_the_version() {
        assert_eq!(package("pkg:rpm/redhat/openssl-libs@3.0.7-27.el9?epoch=1").version, "1:3.0.7-27.el9");
        assert_eq!(package("pkg:deb/debian/bsdutils@2.38.1-5?epoch=1").version, "1:2.38.1-5");
        assert_eq!(package("pkg:deb/debian/bsdutils@1:2.38.1-5").version, "1:2.38.1-5");
    }

    #[test]
    fn a_source_rpm_or_an_alpine_origin_is_an_upstream() {
        let rpm = package("pkg:rpm/rocky/perl-Errno@1.30-481.el9?upstream=perl-5.32.1-481.el9.src.rpm");
        assert_eq!(rpm.source(), ("perl".into(), "5.32.1-481.el9"));
        let apk = package("pkg:apk/alpine/ssl_client@1.36.1-r5?arch=x86_64&upstream=busybox");
        assert_eq!(apk.source(), ("busybox".into(), "1.36.1-r5"));
    }

    #[test]
    fn language_packages_have_the_names_that_osv_gives_them() {
        expect("pkg:cargo/rand@0.7.2", "crates.io", "rand", "0.7.2");
        expect("pkg:npm/%40babel/core@7.0.0", "npm", "@babel/core", "7.0.0");
        expect("pkg:npm/@babel/core@7.0.0", "npm", "@babel/core", "7.0.0");
        expect("pkg:npm/@babel/core", "npm", "@babel/core", "");
        expect("pkg:pypi/Zope.Interface__x@5.0", "PyPI", "zope-interface-x", "5.0");
        expect(
            "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1?type=jar",
            "Maven",
            "org.apache.logging.log4j:log4j-core",
            "2.14.1",
        );
        expect("pkg:nuget/Newtonsoft.Json@12.0.1", "NuGet", "Newtonsoft.Json", "12.0.1");
        expect("pkg:gem/rails@6.1.0?platform=ruby", "RubyGems", "rails", "6.1.0");
        expect("pkg:composer/Laravel/Framework@v7.12.0", "Packagist", "laravel/framework", "v7.12.0");
        expect(
            "pkg:swift/github.com/Alamofire/Alamofire@5.4.3",
            "SwiftURL",
            "github.com/Alamofire/Alamofire",
            "5.4.3",
        );
    }

    #[test]
    fn go_modules_and_npm_names_keep_their_case() {
        expect("pkg:golang/github.com/BurntSushi/toml@v1.2.0", "Go", "github.com/BurntSushi/toml", "1.2.0");
        expect("pkg:golang/stdlib@1.21.5", "Go", "stdlib", "1.21.5");
        expect("pkg:golang/gopkg.in/yaml.v2@v2.2.1#sub/dir", "Go", "gopkg.in/yaml.v2", "2.2.1");
        expect("pkg:npm/JSONStream@1.3.5", "npm", "JSONStream", "1.3.5");
    }

    #[test]
    fn a_type_that_osv_does_not_know_is_kept_under_its_own_name() {
        expect("pkg:generic/acme/firmware@1.0", "generic", "acme/firmware", "1.0");
    }

    #[test]
    fn a_distro_qualifier_is_read_in_every_spelling() {
        let platform = |qualifier, namespace| system(qualifier, namespace)?.platform();
        assert_eq!(platform("ubuntu-22.04", None).as_deref(), Some("Ubuntu:22.04"));
        assert_eq!(platform("alpine-3.20.3", None).as_deref(), Some("Alpine:v3.20"));
        assert_eq!(platform("bookworm", Some("debian")).as_deref(), Some("Debian:12"));
        assert_eq!(platform("3.20.3", Some("alpine")).as_deref(), Some("Alpine:v3.20"));
        assert_eq!(platform("redhat-9.4", None).as_deref(), Some("Red Hat:9"));
        assert_eq!(platform("alma-9.2", None).as_deref(), Some("AlmaLinux:9"));
        assert_eq!(platform("sid", Some("debian")), None);
    }

    #[test]
    fn what_lasts_of_a_purl_is_its_name() {
        assert_eq!(
            without_version("pkg:maven/com.acme/shop@1.2?type=jar").as_deref(),
            Some("pkg:maven/com.acme/shop")
        );
        let image = "pkg:oci/shop@sha256%3Aabc?arch=amd64&repository_url=ghcr.io%2Facme%2Fshop";
        assert!(without_version(image).unwrap().starts_with("pkg:oci/shop?repository_url=ghcr.io"));
        assert_eq!(without_version("shop"), None);
    }

    #[test]
    fn nonsense_is_refused_and_not_guessed_at() {
        for nonsense in ["", "pkg:", "pkg:npm", "pkg:npm/", "http://x/y", "cpe:2.3:a:x:y:1", "pkg:npm/%80@1"]
        {
            assert!(read(nonsense).is_err(), "{nonsense}");
        }
    }
}
