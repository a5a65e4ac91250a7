//! A certificate authority made with the `openssl` program: a root, an issuing authority below it, and whatever it issues.
//! Its certificates name a responder and lists under one address; what is to be answered there, OpenSSL answers too. Also
//! used by the suite in `tests/`.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

pub(crate) struct OpenSsl {
    folder: PathBuf,
    /// Its register and its serial numbers are files, which one call at a time may write.
    turn: Mutex<()>,
    _temporary: tempfile::TempDir,
}

/// A private key and its certificate, PEM.
pub(crate) struct Issued {
    pub(crate) key: String,
    pub(crate) certificate: String,
}

impl OpenSsl {
    /// An authority whose responder and lists are under `address`. None, with a printed reason, where there is no OpenSSL.
    #[expect(clippy::print_stdout, reason = "whoever runs the test should see what it did not look at")]
    pub(crate) fn new(address: &str) -> Option<Self> {
        let found =
            Command::new("openssl").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            println!("skipped: openssl cannot be run; scripts/setup installs it");
            return None;
        }
        let temporary = tempfile::tempdir().unwrap();
        let authority =
            Self { folder: temporary.path().to_path_buf(), turn: Mutex::new(()), _temporary: temporary };
        fs::write(authority.path("openssl.cnf"), authority.configuration(address)).unwrap();
        for name in ["root", "issuing"] {
            fs::create_dir(authority.path(&format!("{name}.certs"))).unwrap();
            fs::write(authority.path(&format!("{name}.index")), "").unwrap();
            fs::write(authority.path(&format!("{name}.serial")), "1000\n").unwrap();
        }
        fs::write(authority.path("tsa.serial"), "01\n").unwrap();
        let request =
            ["req", "-x509", "-config", "openssl.cnf", "-extensions", "root", "-days", "3650", "-newkey"];
        let of_root =
            ["-keyout", "root.key", "-out", "root.pem", "-subj", "/O=Example/CN=Example Root", "-nodes"];
        authority.run(&[&request[..], EC, &of_root].concat());
        authority.issue_by("root", "issuing", "Example Issuing Authority", EC);
        authority.issue("responder", "Example Responder", EC);
        authority.issue("tsa", "Example Timestamping Unit", EC);
        Some(authority)
    }

    fn configuration(&self, address: &str) -> String {
        let authority = |name: &str| {
            format!(
                "[{name}_ca]\ndatabase = {name}.index\nserial = {name}.serial\nnew_certs_dir = {name}.certs\n\
                 certificate = {name}.pem\nprivate_key = {name}.key\ndefault_md = sha256\npolicy = any\n\
                 unique_subject = no\ndefault_days = 365\ndefault_crl_days = 7\ncopy_extensions = none\n\
                 crl_extensions = list\n"
            )
        };
        let identifiers = "subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n";
        let own = "basicConstraints = critical,CA:false\n";
        let list = |name: &str| format!("crlDistributionPoints = URI:{address}{name}.crl\n");
        [
            authority("root"),
            authority("issuing"),
            "[any]\norganizationName = optional\ncommonName = supplied\n".into(),
            // Lists of version 2, as RFC 5280 demands.
            "[list]\nauthorityKeyIdentifier = keyid\n".into(),
            "[req]\ndistinguished_name = name\n[name]\n".into(),
            "[root]\nbasicConstraints = critical,CA:true\nkeyUsage = critical,keyCertSign,cRLSign\n\
             subjectKeyIdentifier = hash\n"
                .into(),
            format!(
                "[issuing]\nbasicConstraints = critical,CA:true,pathlen:0\nkeyUsage = critical,keyCertSign,cRLSign\n\
                 {identifiers}{}",
                list("root")
            ),
            format!(
                "[seal]\n{own}keyUsage = critical,digitalSignature,nonRepudiation\n\
                 extendedKeyUsage = emailProtection,1.3.6.1.5.5.7.3.36\n{identifiers}\
                 authorityInfoAccess = OCSP;URI:{address}ocsp\n{}",
                list("issuing")
            ),
            format!(
                "[responder]\n{own}keyUsage = critical,digitalSignature\nextendedKeyUsage = OCSPSigning\n\
                 noCheck = ignored\n{identifiers}"
            ),
            format!(
                "[tsa]\n{own}keyUsage = critical,digitalSignature\nextendedKeyUsage = critical,timeStamping\n\
                 {identifiers}{}",
                list("issuing")
            ),
            "[stamps]\nserial = tsa.serial\nsigner_cert = tsa.pem\ncerts = issuing.pem\nsigner_key = tsa.key\n\
             signer_digest = sha256\ndefault_policy = 1.3.6.1.4.1.99999.1\ndigests = sha256\naccuracy = secs:1\n\
             ess_cert_id_chain = no\ness_cert_id_alg = sha256\n"
                .into(),
        ]
        .concat()
    }

    /// A key with a certificate that may seal, of `openssl req -newkey`'s `kind`.
    pub(crate) fn seal(&self, name: &str, kind: &[&str]) -> Issued {
        self.issue_as("issuing", name, "seal", "Example Seal", kind);
        Issued { key: self.text(&format!("{name}.key")), certificate: self.text(&format!("{name}.pem")) }
    }

    fn issue(&self, name: &str, subject: &str, kind: &[&str]) {
        self.issue_as("issuing", name, name, subject, kind);
    }

    fn issue_by(&self, authority: &str, name: &str, subject: &str, kind: &[&str]) {
        self.issue_as(authority, name, name, subject, kind);
    }

    fn issue_as(&self, authority: &str, name: &str, extensions: &str, subject: &str, kind: &[&str]) {
        let (key, request) = (format!("{name}.key"), format!("{name}.csr"));
        let (subject, out) = (format!("/O=Example/CN={subject}"), format!("{name}.pem"));
        let ask = ["req", "-new", "-config", "openssl.cnf", "-nodes", "-newkey"];
        self.run(&[&ask[..], kind, &["-keyout", &key, "-out", &request, "-subj", &subject]].concat());
        let by = format!("{authority}_ca");
        let grant = ["ca", "-config", "openssl.cnf", "-batch", "-notext", "-rand_serial", "-name", &by];
        self.run(&[&grant[..], &["-in", &request, "-out", &out, "-extensions", extensions]].concat());
    }

    pub(crate) fn root(&self) -> String {
        self.text("root.pem")
    }

    pub(crate) fn issuing(&self) -> String {
        self.text("issuing.pem")
    }

    /// Takes back what [`Self::seal`] issued, or `issuing`, or `tsa`.
    pub(crate) fn revoke(&self, name: &str) {
        let by = if name == "issuing" { "root_ca" } else { "issuing_ca" };
        let certificate = format!("{name}.pem");
        let revoke = ["ca", "-config", "openssl.cnf", "-name", by, "-revoke", &certificate];
        self.run(&[&revoke[..], &["-crl_reason", "keyCompromise"]].concat());
    }

    /// The responder's answer to a question, DER.
    pub(crate) fn answer(&self, query: &[u8]) -> Vec<u8> {
        let (question, answer) = (self.unused("question"), self.unused("answer"));
        fs::write(self.path(&question), query).unwrap();
        let from = ["ocsp", "-index", "issuing.index", "-CA", "issuing.pem", "-ndays", "1"];
        let by =
            ["-rsigner", "responder.pem", "-rkey", "responder.key", "-reqin", &question, "-respout", &answer];
        self.run(&[&from[..], &by].concat());
        fs::read(self.path(&answer)).unwrap()
    }

    /// What `root` or `issuing` has revoked, DER.
    pub(crate) fn list(&self, name: &str) -> Vec<u8> {
        let (by, pem, der) = (format!("{name}_ca"), self.unused("list"), self.unused("list"));
        self.run(&["ca", "-config", "openssl.cnf", "-name", &by, "-gencrl", "-out", &pem]);
        self.run(&["crl", "-in", &pem, "-outform", "DER", "-out", &der]);
        fs::read(self.path(&der)).unwrap()
    }

    /// The timestamp authority's answer to a query, DER.
    pub(crate) fn timestamp(&self, query: &[u8]) -> Vec<u8> {
        let (question, answer) = (self.unused("question"), self.unused("answer"));
        fs::write(self.path(&question), query).unwrap();
        let reply = ["ts", "-reply", "-config", "openssl.cnf", "-section", "stamps"];
        self.run(&[&reply[..], &["-queryfile", &question, "-out", &answer]].concat());
        fs::read(self.path(&answer)).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// A name for a file that no other thread uses.
    fn unused(&self, what: &str) -> String {
        let file = tempfile::Builder::new().prefix(what).tempfile_in(&self.folder).unwrap();
        let path = file.into_temp_path().keep().unwrap();
        path.file_name().and_then(|name| name.to_str()).unwrap().to_owned()
    }

    fn run(&self, arguments: &[&str]) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let output = Command::new("openssl").args(arguments).current_dir(&self.folder).output().unwrap();
        assert!(
            output.status.success(),
            "openssl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// ECDSA on P-256, as arguments of `-newkey`.
pub(crate) const EC: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
/// ECDSA on P-384.
pub(crate) const P384: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"];
pub(crate) const RSA: &[&str] = &["rsa:2048"];
