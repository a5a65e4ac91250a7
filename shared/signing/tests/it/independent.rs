//! What others think of our files: pyHanko, poppler's `pdfsig` and `qpdf`, where they are installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::Site;

/// What a program says, or `None` if it is not installed.
#[expect(clippy::print_stdout, reason = "whoever runs the test should see what it did not look at")]
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            Some(format!("{}\n{}", output.status, String::from_utf8_lossy(&said)))
        }
        Err(error) => {
            println!("skipped: {program} cannot be run ({error})");
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
        file("root.pem", site.generation.authority.root.certificate.as_bytes());
        file("timestamps.pem", site.timestamps.root_pem.as_bytes());
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

    fn pyhanko(&self, name: &str) -> Option<String> {
        let (root, timestamps) = (self.path("root.pem"), self.path("timestamps.pem"));
        run(
            "pyhanko",
            &[
                "sign",
                "validate",
                "--pretty-print",
                "--trust",
                &root,
                "--trust",
                &timestamps,
                &self.path(name),
            ],
        )
    }
}

#[test]
fn pyhanko_finds_the_signature_valid_trusted_and_the_file_untouched() {
    let files = Files::new(&Site::new());
    let Some(said) = files.pyhanko("signed.pdf") else { return };
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
    let said = files.pyhanko("flipped.pdf").unwrap();
    assert!(said.contains("judged INVALID"), "{said}");
}

/// Where we are stricter: bytes behind the end change nothing that is shown, and are refused all the same.
#[test]
fn pyhanko_tolerates_appended_bytes_that_we_refuse() {
    let site = Site::new();
    let files = Files::new(&site);
    let Some(said) = files.pyhanko("appended.pdf") else { return };
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
