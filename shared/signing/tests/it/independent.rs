//! What others think of our files: pyHanko, poppler's `pdfsig` and `qpdf`, where they are installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{left_out::left_out, support::Site};

/// What a program says, or `None` if it is not installed: by `scripts/judges`, or in the system.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/judges/bin").join(program);
    let program = if installed.exists() { installed } else { PathBuf::from(program) };
    match Command::new(&program).args(arguments).output() {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            Some(format!("{}\n{}", output.status, String::from_utf8_lossy(&said)))
        }
        Err(error) => {
            left_out(&format!(
                "{} cannot be run ({error}); scripts/judges may install it",
                program.display()
            ));
            None
        }
    }
}

/// OpenSSL exports a key as most authorities do.
#[test]
fn a_key_that_openssl_exported_can_sign() {
    let site = Site::new();
    let files = Files::new(&site);
    let authority = &site.generation.authority;
    fs::write(files.path("key.pem"), &authority.seal.key).unwrap();
    // The own certificate is not the first one, as it happens.
    let chain = format!("{}{}", authority.issuing.certificate, authority.seal.certificate);
    fs::write(files.path("own.pem"), &authority.seal.certificate).unwrap();
    fs::write(files.path("chain.pem"), chain).unwrap();
    for extra in
        [&[][..], &["-keypbe", "AES-128-CBC", "-iter", "1"], &["-keypbe", "NONE", "-certpbe", "NONE"]]
    {
        let (key, own, chain, out) =
            (files.path("key.pem"), files.path("own.pem"), files.path("chain.pem"), files.path("key.p12"));
        let mut arguments =
            vec!["pkcs12", "-export", "-inkey", &key, "-in", &own, "-certfile", &chain, "-out", &out];
        arguments.extend(["-passout", "pass:hunter2"]);
        arguments.extend(extra);
        let Some(said) = run("openssl", &arguments) else { return };
        assert!(said.starts_with("exit status: 0"), "{said}");
        let file = fs::read(&out).unwrap();
        let identity = signing::pkcs12::read(&file, "hunter2").unwrap();
        assert_eq!(identity.fingerprint(), site.identity().fingerprint());
        assert!(site.accepts(&site.sign(&identity, &crate::support::statement(site.now))));
        let refused = signing::pkcs12::read(&file, "wrong").unwrap_err().to_string();
        assert!(refused.contains("password"), "{refused}");
        for at in (0..file.len()).step_by(7) {
            let mut changed = file.clone();
            changed[at] ^= 0x10;
            // Whatever comes of it: no panic.
            let _ = signing::pkcs12::read(&changed, "hunter2");
        }
    }
}

struct Files {
    folder: PathBuf,
    _temporary: tempfile::TempDir,
}

impl Files {
    fn new(site: &Site) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_path_buf();
        let file = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
        let signed = site.signed();
        let mut flipped = signed.clone();
        flipped[300] ^= 1;
        file("flipped.pdf", &flipped);
        file("appended.pdf", &[&signed[..], b"\n% appended\n"].concat());
        file("signed.pdf", &signed);
        Self { folder, _temporary: temporary }
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

impl Site {
    /// What pyHanko, which trusts whom we trust, says of a file.
    pub(crate) fn pyhanko(&self, folder: &Path, file: &str) -> Option<String> {
        let [root, timestamps] = ["root.pem", "timestamps.pem"].map(|name| folder.join(name));
        fs::write(&root, &self.generation.authority.root.certificate).unwrap();
        fs::write(&timestamps, &self.timestamps.root_pem).unwrap();
        let [root, timestamps] = [&root, &timestamps].map(|path| path.to_str().unwrap());
        let trusted = ["--trust", root, "--trust", timestamps];
        run("pyhanko", &[&["sign", "validate", "--pretty-print"], &trusted[..], &[file]].concat())
    }
}

#[test]
fn pyhanko_finds_the_signature_valid_trusted_and_the_file_untouched() {
    let site = Site::new();
    let files = Files::new(&site);
    let Some(said) = site.pyhanko(&files.folder, &files.path("signed.pdf")) else { return };
    for expected in [
        "The signature is cryptographically sound.",
        "The signer's certificate is trusted.",
        "The signature covers the entire file.",
        "The timestamp token is cryptographically sound.",
        "The TSA certificate is trusted.",
        "The signature is judged VALID.",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    let said = site.pyhanko(&files.folder, &files.path("flipped.pdf")).unwrap();
    assert!(said.contains("judged INVALID"), "{said}");
}

/// Where we are stricter: bytes behind the end change nothing that is shown, and are refused all the same.
#[test]
fn pyhanko_tolerates_appended_bytes_that_we_refuse() {
    let site = Site::new();
    let files = Files::new(&site);
    let Some(said) = site.pyhanko(&files.folder, &files.path("appended.pdf")) else { return };
    assert!(!said.contains("The signature covers the entire file."), "{said}");
    assert!(site.refusal(&fs::read(Path::new(&files.path("appended.pdf"))).unwrap()).is_tampering());
}

#[test]
fn poppler_finds_the_whole_document_signed() {
    let files = Files::new(&Site::new());
    let Some(said) = run("pdfsig", &["-nocert", &files.path("signed.pdf")]) else { return };
    assert!(said.contains("Signature is Valid."), "{said}");
    assert!(said.contains("Total document signed"), "{said}");
    let said = run("pdfsig", &["-nocert", &files.path("flipped.pdf")]).unwrap();
    assert!(said.contains("Digest Mismatch."), "{said}");
}

#[test]
fn qpdf_finds_nothing_to_complain_of() {
    let files = Files::new(&Site::new());
    let Some(said) = run("qpdf", &["--check", &files.path("signed.pdf")]) else { return };
    assert!(said.contains("No syntax or stream encoding errors found"), "{said}");
}
