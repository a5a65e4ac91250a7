//! Programs of others that judge our files. One that is missing is named, and what it would have said is skipped.

mod left_out;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use left_out::left_out;

/// A folder with the bytes as `name`.
pub(crate) fn on_disk(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// What a program says on its standard output, which has nothing to complain of; none when it is not installed.
pub(crate) fn run(program: impl AsRef<Path>, arguments: &[&str]) -> Option<String> {
    let program = program.as_ref();
    let (is_content, said) = outcome(program, arguments)?;
    assert!(is_content, "{}: {said}", program.display());
    Some(said)
}

fn outcome(program: &Path, arguments: &[&str]) -> Option<(bool, String)> {
    let Ok(output) = Command::new(program).args(arguments).output() else {
        left_out(&format!("`{}` cannot be run; scripts/setup installs it", program.display()));
        return None;
    };
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        said += &String::from_utf8_lossy(&output.stderr);
    }
    Some((output.status.success(), said))
}

/// What one of the programs in this folder says, on the Python that `scripts/judges` made, and whether it is content.
pub(crate) fn verdict(script: &str, arguments: &[&str]) -> Option<(bool, String)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = here.join("../../target/judges/bin/python");
    if !python.exists() {
        left_out(&format!("{script} cannot be asked: scripts/judges has not been run"));
        return None;
    }
    let script = here.join("tests/judges").join(script);
    outcome(&python, &[&[script.to_str().unwrap()], arguments].concat())
}

/// As [`verdict`], of one that is content.
pub(crate) fn judge(script: &str, arguments: &[&str]) -> Option<String> {
    let (is_content, said) = verdict(script, arguments)?;
    assert!(is_content, "{script}: {said}");
    Some(said)
}

/// What LibreOffice makes of a file.
pub(crate) fn soffice(path: &Path, to: &str) -> Option<String> {
    let folder = path.parent().unwrap();
    let profile = format!("-env:UserInstallation=file://{}", folder.join("profile").display());
    let output = folder.to_str().unwrap();
    run(
        "soffice",
        &[&profile, "--headless", "--convert-to", to, "--outdir", output, path.to_str().unwrap()],
    )?;
    Some(std::fs::read_to_string(path.with_extension(to)).unwrap())
}
