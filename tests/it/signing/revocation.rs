//! Signed with a certificate whose issuer can be asked whether it was revoked: for the long term where it answers, and not
//! at all where it says so.

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use ::signing::{
    Anchors, verify,
    verify::{Level, Proof},
};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use chrono::Utc;
use harness::{TestApp, left_out};
use serde_json::{Value, json};

use super::{
    openssl::{EC, Issued, OpenSsl},
    verdict,
};

/// An authority with a responder, lists and timestamps on a port of its own.
pub(super) struct Office {
    pub(super) openssl: OpenSsl,
    pub(super) address: String,
    /// Answers 503 to whoever asks about certificates.
    closed: AtomicBool,
    asked: AtomicUsize,
}

impl Office {
    /// None where there is no OpenSSL.
    pub(super) async fn open() -> Option<Arc<Self>> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}/", listener.local_addr().expect("an address"));
        let openssl = tokio::task::block_in_place(|| OpenSsl::new(&address))?;
        let office = Self { openssl, address, closed: AtomicBool::new(false), asked: AtomicUsize::new(0) };
        let office = Arc::new(office);
        let router =
            Router::new()
                .route(
                    "/ocsp",
                    post(|State(office): State<Arc<Self>>, query: Bytes| async move {
                        office.told(|openssl| openssl.answer(&query))
                    }),
                )
                .route(
                    "/issuing.crl",
                    get(|State(office): State<Arc<Self>>| async move {
                        office.told(|openssl| openssl.list("issuing"))
                    }),
                )
                .route(
                    "/root.crl",
                    get(|State(office): State<Arc<Self>>| async move {
                        office.told(|openssl| openssl.list("root"))
                    }),
                )
                .route(
                    "/tsa",
                    post(|State(office): State<Arc<Self>>, query: Bytes| async move {
                        tokio::task::block_in_place(|| office.openssl.timestamp(&query))
                    }),
                )
                .with_state(Arc::clone(&office));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Some(office)
    }

    fn told(&self, answer: impl FnOnce(&OpenSsl) -> Vec<u8>) -> Result<Vec<u8>, StatusCode> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.closed.load(Ordering::SeqCst) {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        Ok(tokio::task::block_in_place(|| answer(&self.openssl)))
    }

    /// An installation that signs with a certificate of this authority, and has its time attested by it.
    async fn installation(&self) -> TestApp {
        let Issued { key, certificate } = self.openssl.seal("seal", EC);
        let certificates = [certificate, self.openssl.issuing(), self.openssl.root()].concat();
        TestApp::set_up_with(&[
            ("SEAL_KEY", &key),
            ("SEAL_CERTIFICATE", &certificates),
            ("TSA_URL", &format!("{}tsa", self.address)),
            ("TSA_ROOTS", &self.openssl.root()),
            ("TSA_REQUIRED", "true"),
        ])
        .await
    }

    /// What somebody finds who trusts the root and has no server.
    pub(super) fn proof(&self, file: &[u8]) -> Proof {
        let root = Anchors::read_pem(&self.openssl.root()).expect("a root");
        let anchors = Anchors { seals: root.clone(), timestamps: root };
        verify(file, &anchors, Utc::now()).finding.expect("a good signature")
    }
}

/// Asks for a signed report and lets it be made. Returns its id, and the job that made it.
async fn request(app: &TestApp) -> (String, Value) {
    let body = json!({ "title": "Where we stand", "report_type": "executive_summary", "options": { "signed": true } });
    let accepted = app.post("/api/reports/generate", &body).await.expect(202).json();
    app.run_jobs().await;
    (accepted["id"].as_str().expect("an id").to_owned(), app.job(&accepted["job_id"]).await)
}

async fn signed(app: &TestApp) -> Vec<u8> {
    let (id, job) = request(app).await;
    assert_eq!(job["state"], "completed", "{job}");
    app.get(&format!("/api/reports/{id}/download")).await.expect(200).bytes
}

/// What a program says of a file; none when it cannot be run. Those that `scripts/judges` installs come first.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/judges/bin").join(program);
    let program = if installed.exists() { installed } else { program.into() };
    match Command::new(&program).args(arguments).output() {
        Ok(output) => Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()),
        Err(error) => {
            left_out(&format!(
                "{} cannot be run ({error}); scripts/setup --tests installs it",
                program.display()
            ));
            None
        }
    }
}

/// What people read in it.
fn text_of(pdf: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), pdf).expect("written");
    let text = run("pdftotext", &[file.path().to_str().expect("utf-8"), "-"]);
    text.expect("scripts/setup installs it").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn reason(verdict: &Value) -> &str {
    assert_eq!(verdict["valid"], true, "{verdict}");
    verdict["reason"].as_str().expect("a reason")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_issuers_say_is_embedded_and_kept_until_they_say_it_anew() {
    let Some(office) = Office::open().await else { return };
    let app = office.installation().await;
    let file = signed(&app).await;
    assert_eq!(office.proof(&file).level, Some(Level::LongTerm));
    let answer = verdict(&app, &file).await;
    assert!(reason(&answer).contains("PAdES B-LT"), "{answer}");
    let text = text_of(&file);
    assert!(text.contains("not revoked when this was signed"), "{text}");
    // The responder about the seal, the root about the issuing authority, and that one about the timestamp's.
    assert_eq!(office.asked.load(Ordering::SeqCst), 3);
    let again = signed(&app).await;
    assert_eq!(office.proof(&again).level, Some(Level::LongTerm));
    assert_eq!(office.asked.load(Ordering::SeqCst), 3, "answers are good until the next ones");

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("signed.pdf");
    std::fs::write(&path, &file).expect("written");
    let (path, root) = (path.display().to_string(), office.openssl.path("root.pem").display().to_string());
    if let Some(said) = run("qpdf", &["--check", &path]) {
        assert!(said.contains("No syntax or stream encoding errors found"), "{said}");
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/judges/long_term.py");
    if Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/judges/bin/pyhanko")).exists()
        && let Some(said) = run("python", &[script, &path, &root])
    {
        for expected in [
            "4 certificates, 1 responses, 2 lists",
            "The signer's certificate is trusted.",
            "The signature covers the entire file.",
            "The TSA certificate is trusted.",
            "The signature is judged VALID.",
        ] {
            assert!(said.contains(expected), "{expected}\n{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_answers_the_report_is_signed_and_says_so() {
    let Some(office) = Office::open().await else { return };
    office.closed.store(true, Ordering::SeqCst);
    let app = office.installation().await;
    let file = signed(&app).await;
    assert_eq!(office.proof(&file).level, Some(Level::Timestamped));
    assert!(reason(&verdict(&app, &file).await).contains("PAdES B-T)"));
    let text = text_of(&file);
    assert!(text.contains("could not be found out when this was signed"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_signed_with_a_certificate_that_was_revoked() {
    let Some(office) = Office::open().await else { return };
    let app = office.installation().await;
    tokio::task::block_in_place(|| office.openssl.revoke("seal"));
    let (id, job) = request(&app).await;
    let error = job["last_error"].as_str().unwrap_or_default();
    for expected in ["Example Seal", "was revoked on", "its key was compromised", "SEAL_CERTIFICATE"] {
        assert!(error.contains(expected), "{expected}: {job}");
    }
    assert_eq!(app.get(&format!("/api/reports/{id}")).await.expect(200).json()["status"], "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timestamp_authority_that_was_revoked_attests_nothing() {
    let Some(office) = Office::open().await else { return };
    let app = office.installation().await;
    tokio::task::block_in_place(|| office.openssl.revoke("tsa"));
    let (_, job) = request(&app).await;
    assert_eq!(job["state"], "retryable", "{job}");
    let error = job["last_error"].as_str().unwrap_or_default();
    assert!(error.contains("TSA_REQUIRED") && error.contains("Example Timestamping Unit"), "{job}");
}
