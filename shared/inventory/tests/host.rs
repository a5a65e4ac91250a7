//! Reading machines, as fixture trees, and the one that the tests run on.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use domain::inventory::{HostReport, InstalledPackage};
use inventory::host::{self, HostError};

fn tree(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hosts").join(name)
}

fn find<'a>(report: &'a HostReport, name: &str) -> &'a InstalledPackage {
    report
        .packages
        .iter()
        .find(|package| package.name == name)
        .unwrap_or_else(|| panic!("no package `{name}`"))
}

#[test]
fn a_debian_host_tells_what_is_installed_and_from_which_source() {
    let report = host::read(&tree("debian12")).unwrap();
    assert_eq!(report.hostname, "web-01.example.net", "the kernel's name comes before the file's");
    assert_eq!(report.kernel.as_deref(), Some("6.1.0-28-amd64"));
    assert_eq!(report.architecture.as_deref(), Some("amd64"));
    assert_eq!(report.os.platform().as_deref(), Some("Debian:12"));
    assert_eq!(report.os.codename.as_deref(), Some("bookworm"));
    assert_eq!(report.os.name.as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));

    let names: Vec<_> = report.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["bash", "bsdutils", "gcc", "libssl3", "openssl", "tzdata"]);
    assert_eq!(find(&report, "gcc").source(), ("gcc-defaults".into(), "1.203"));
    assert_eq!(find(&report, "gcc").version, "4:12.2.0-3");
    assert_eq!(find(&report, "bash").source(), ("bash".into(), "5.2.15-2"));
    assert_eq!(find(&report, "bsdutils").source(), ("util-linux".into(), "2.38.1-5+deb12u3"));
    assert_eq!(find(&report, "libssl3").source(), ("openssl".into(), "3.0.15-1~deb12u1"));
}

#[test]
fn the_machine_id_is_published_as_a_digest_only() {
    let report = host::read(&tree("debian12")).unwrap();
    let id = report.machine_id.unwrap();
    assert_eq!(id, "224b0a4095f52d0c886d4b94cbed703fb8100313be218dbc3d1171ce20807843");
    assert!(!id.contains("0123456789abcdef"));
}

#[test]
fn a_machine_that_was_never_booted_has_no_id() {
    assert_eq!(host::read(&tree("ubuntu2204")).unwrap().machine_id, None);
}

#[test]
fn os_release_may_lie_in_either_place() {
    let report = host::read(&tree("ubuntu2204")).unwrap();
    assert_eq!(report.os.platform().as_deref(), Some("Ubuntu:22.04"));
    assert_eq!(report.hostname, "build-7");
    assert_eq!(find(&report, "libc6").source(), ("glibc".into(), "2.35-0ubuntu3.8"));
}

#[test]
fn an_alpine_package_has_its_origin() {
    let report = host::read(&tree("alpine320")).unwrap();
    assert_eq!(report.os.platform().as_deref(), Some("Alpine:v3.20"));
    assert_eq!(report.architecture.as_deref(), Some("x86_64"));
    assert_eq!(report.packages.len(), 3);
    assert_eq!(find(&report, "libcrypto3").source(), ("openssl".into(), "3.3.2-r0"));
    assert_eq!(find(&report, "ssl_client").source(), ("busybox".into(), "1.36.1-r29"));
    assert_eq!(find(&report, "busybox").source_name, None);
}

#[test]
fn an_image_without_dpkg_is_read_from_status_d() {
    let report = host::read(&tree("distroless")).unwrap();
    let names: Vec<_> = report.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["base-files", "libssl3"]);
}

/// An `rpm` that prints `listing` and ends with `code`; it also writes down what it was asked.
fn fake_rpm(folder: &Path, listing: &str, code: i32) -> PathBuf {
    let (text, program) = (folder.join("script"), folder.join("rpm"));
    fs::write(folder.join("listing"), listing).unwrap();
    let script =
        format!("#!/bin/sh\necho \"$@\" > {0}/asked\ncat {0}/listing\nexit {code}\n", folder.display());
    fs::write(&text, script).unwrap();
    // Not by us: another test's child may be born with our descriptor, and what somebody may still write to cannot be run.
    let copied = Command::new("install").args(["-m", "755"]).arg(&text).arg(&program).status();
    assert!(copied.unwrap().success());
    program
}

#[test]
fn an_rpm_host_is_read_through_rpm() {
    let folder = tempfile::tempdir().unwrap();
    let listing = "bash\t(none)\t5.1.8\t9.el9\tx86_64\tbash-5.1.8-9.el9.src.rpm\n\
                   openssl-libs\t1\t3.0.7\t27.el9\tx86_64\topenssl-3.0.7-27.el9.src.rpm\n";
    let rpm = fake_rpm(folder.path(), listing, 0);
    let report = host::read_with(&tree("rocky9"), rpm.as_os_str()).unwrap();
    assert_eq!(report.os.platform().as_deref(), Some("Rocky Linux:9"));
    assert_eq!(find(&report, "openssl-libs").version, "1:3.0.7-27.el9");
    assert_eq!(find(&report, "openssl-libs").source_name.as_deref(), Some("openssl"));
    let asked = fs::read_to_string(folder.path().join("asked")).unwrap();
    assert!(
        asked.starts_with(&format!("--dbpath {} -qa", tree("rocky9").join("var/lib/rpm").display())),
        "{asked}"
    );
}

#[test]
fn a_missing_or_failing_rpm_is_an_error_that_says_so() {
    let missing = host::read_with(&tree("rocky9"), OsStr::new("/nonexistent/rpm")).unwrap_err();
    assert!(matches!(missing, HostError::RpmMissing { .. }), "{missing}");
    let text = missing.to_string();
    assert!(text.contains("rpmdb.sqlite") && text.contains("install it"), "{text}");

    let folder = tempfile::tempdir().unwrap();
    let failing = host::read_with(&tree("rocky9"), fake_rpm(folder.path(), "", 1).as_os_str()).unwrap_err();
    assert!(matches!(failing, HostError::Rpm { .. }), "{failing}");
}

#[test]
fn a_machine_without_any_package_database_is_an_error_that_names_what_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("etc")).unwrap();
    let text = |error: HostError| error.to_string();

    let message = text(host::read(folder.path()).unwrap_err());
    assert!(message.contains("the operating system") && message.contains("etc/os-release"), "{message}");

    fs::write(folder.path().join("etc/os-release"), "ID=debian\n").unwrap();
    let message = text(host::read(folder.path()).unwrap_err());
    assert!(message.contains("the host name") && message.contains("etc/hostname"), "{message}");

    fs::write(folder.path().join("etc/hostname"), "h\n").unwrap();
    let message = text(host::read(folder.path()).unwrap_err());
    for database in ["var/lib/dpkg/status", "lib/apk/db/installed", "var/lib/rpm/rpmdb.sqlite"] {
        assert!(message.contains(database), "{message}");
    }
}

#[test]
fn a_database_that_lists_nothing_is_no_inventory() {
    let folder = tempfile::tempdir().unwrap();
    let empty = fake_rpm(folder.path(), "", 0);
    let error = host::read_with(&tree("rocky9"), empty.as_os_str()).unwrap_err();
    assert!(error.to_string().starts_with("cannot tell what is installed"), "{error}");
}

#[test]
fn sample_databases_of_others_are_read() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/feeds/os-packages");
    if !samples.is_dir() {
        eprintln!("skipped: there are no sample package databases beside this project");
        return;
    }
    let names = |sample: &str, database: &str| -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let database = root.path().join(database);
        fs::create_dir_all(database.parent().unwrap()).unwrap();
        fs::write(&database, fs::read(samples.join(sample)).unwrap()).unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/os-release"), "ID=any\n").unwrap();
        fs::write(root.path().join("etc/hostname"), "any\n").unwrap();
        host::read(root.path()).unwrap().packages.into_iter().map(|package| package.name).collect()
    };
    assert_eq!(names("apk/testdata/installed", "lib/apk/db/installed").len(), 15);
    assert_eq!(names("dpkg/testdata/dpkg/valid", "var/lib/dpkg/status").len(), 7);
    assert_eq!(
        names("dpkg/testdata/dpkg/statusfield", "var/lib/dpkg/status"),
        ["wantdeinstall_installed", "wantinstall_installed", "wantinstall_unpacked", "wantpurge_installed"]
    );
}

#[test]
fn on_this_machine_we_and_dpkg_query_say_the_same() {
    const FORMAT: &str = "${binary:Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\t${db:Status-Status}\n";
    let Ok(output) = Command::new("dpkg-query").args(["-W", "-f", FORMAT]).output() else {
        eprintln!("skipped: this machine has no dpkg-query");
        return;
    };
    let listing = String::from_utf8(output.stdout).unwrap();
    let mut theirs: Vec<Vec<String>> = Vec::new();
    for line in listing.lines() {
        let fields: Vec<_> = line.split('\t').collect();
        if fields[5] == "installed" {
            // `binary:Package` is `name` or, where several architectures may be installed, `name:architecture`.
            let name = fields[0].split(':').next().unwrap();
            theirs.push([&[name], &fields[1..5]].concat().into_iter().map(str::to_owned).collect());
        }
    }
    let report = host::read(Path::new("/")).unwrap();
    let mut ours: Vec<Vec<String>> = Vec::new();
    for package in report.packages {
        let (source_name, source_version) = package.source();
        let architecture = package.architecture.as_deref().unwrap_or_default();
        let fields = [&package.name, &package.version, architecture, &source_name, source_version];
        ours.push(fields.map(str::to_owned).to_vec());
    }
    theirs.sort();
    ours.sort();
    assert!(!theirs.is_empty());
    assert_eq!(ours, theirs);
    eprintln!("{} packages compared", ours.len());
}
