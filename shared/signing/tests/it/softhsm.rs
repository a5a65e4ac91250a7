//! Tokens in a folder: SoftHSM2, a PKCS#11 module without a device. Also used by the suites of others.
//!
//! The module reads where its tokens are from the environment, which a test cannot change for itself: whoever uses them
//! is a process of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

pub(crate) const PIN: &str = "482915";

/// What the module reads.
pub(crate) const CONFIGURATION: &str = "SOFTHSM2_CONF";

pub(crate) struct SoftHsm {
    pub(crate) module: PathBuf,
    folder: PathBuf,
    _temporary: tempfile::TempDir,
}

impl SoftHsm {
    /// No tokens yet. None, with a printed reason, where SoftHSM2 is not installed.
    #[expect(clippy::print_stdout, reason = "whoever runs the test should see what it did not look at")]
    pub(crate) fn new() -> Option<Self> {
        let places = [
            "/usr/lib",
            "/usr/lib64",
            "/usr/lib/x86_64-linux-gnu",
            "/usr/lib/aarch64-linux-gnu",
            "/opt/homebrew/lib",
        ];
        let modules = places.map(|place| Path::new(place).join("softhsm/libsofthsm2.so"));
        let tool = Command::new("softhsm2-util").arg("--version").output();
        let (Some(module), Ok(_)) = (modules.into_iter().find(|path| path.exists()), tool) else {
            println!("skipped: softhsm2 is not installed; scripts/setup installs it");
            return None;
        };
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_path_buf();
        let tokens = folder.join("tokens");
        fs::create_dir(&tokens).unwrap();
        let configuration = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
        fs::write(folder.join("softhsm2.conf"), configuration).unwrap();
        Some(Self { module, folder, _temporary: temporary })
    }

    /// For [`CONFIGURATION`].
    pub(crate) fn configuration(&self) -> PathBuf {
        self.folder.join("softhsm2.conf")
    }

    pub(crate) fn add_token(&self, label: &str) {
        self.run(&["--init-token", "--free", "--label", label, "--so-pin", "73519264", "--pin", PIN]);
    }

    /// Puts a key (PKCS#8, PEM) into a token.
    pub(crate) fn import(&self, token: &str, label: &str, key: &str) {
        let file = tempfile::NamedTempFile::new_in(&self.folder).unwrap();
        fs::write(file.path(), key).unwrap();
        // Labels find keys here; ids only have to differ.
        let id: String = label.bytes().map(|byte| format!("{byte:02x}")).collect();
        let path = file.path().to_str().unwrap();
        self.run(&["--import", path, "--token", token, "--label", label, "--id", &id, "--pin", PIN]);
    }

    fn run(&self, arguments: &[&str]) {
        let configuration = self.configuration();
        let output =
            Command::new("softhsm2-util").args(arguments).env(CONFIGURATION, configuration).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "softhsm2-util {arguments:?}: {}", String::from_utf8_lossy(&said));
    }
}
