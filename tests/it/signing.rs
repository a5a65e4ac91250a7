//! Signed reports, from asking for one to somebody without an account who wants to know whether it is genuine.

mod command;
#[expect(dead_code, reason = "more is asked of it elsewhere")]
#[path = "../../shared/signing/tests/it/openssl.rs"]
mod openssl;
mod revocation;
#[path = "../../shared/signing/tests/it/softhsm.rs"]
mod softhsm;
mod tokens;

use ::signing::{
    Anchors, Statement,
    keyring::{Keyring, Renew},
    pack::{File, seal},
    pdf::Seal,
    verify,
    verify::LARGEST,
};
use axum::{Router, body::Body, body::Bytes, extract::State, routing::post};
use chrono::Utc;
use harness::{Answer, TestApp};
use http::{Method, Request};
use serde_json::{Value, json};
use store::signing_keys::Purpose;

use crate::authority::TimestampAuthority;

/// Asks for a signed report and lets it be made. Returns its id, and the job that made it.
async fn request(app: &TestApp, options: Value) -> (String, Value) {
    let body = json!({ "title": "Where we stand", "report_type": "executive_summary", "options": options });
    let accepted = app.post("/api/reports/generate", &body).await.expect(202).json();
    app.run_jobs().await;
    let job = app.job(&accepted["job_id"]).await;
    (accepted["id"].as_str().expect("an id").to_owned(), job)
}

/// A signed report's id and bytes.
async fn signed(app: &TestApp) -> (String, Vec<u8>) {
    let (id, job) = request(app, json!({ "signed": true })).await;
    assert_eq!(job["state"], "completed", "{job}");
    let file = app.get(&format!("/api/reports/{id}/download")).await.expect(200);
    (id, file.bytes)
}

pub(crate) const BOUNDARY: &str = "-----------------------------735323031399963166993862150";

pub(crate) fn form(name: &str, file: &[u8]) -> Vec<u8> {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"report.pdf\"\r\n\
         Content-Type: application/pdf\r\n\r\n"
    );
    [head.as_bytes(), file, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat()
}

/// Sends a body as somebody without an account.
async fn ask(app: &TestApp, content_type: &str, accept: &str, body: Vec<u8>) -> Answer {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/api/v1/reports/verify")
        .header("content-type", content_type)
        .header("accept", accept);
    app.send(request.body(Body::from(body)).expect("a request")).await
}

pub(crate) async fn verdict(app: &TestApp, file: &[u8]) -> Value {
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    ask(app, &content_type, "*/*", form("file", file)).await.expect(200).json()
}

/// What `pdftotext` reads.
fn text_of(pdf: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), pdf).expect("written");
    let text = std::process::Command::new("pdftotext").arg(file.path()).arg("-").output();
    let text = text.expect("pdftotext is installed by scripts/setup").stdout;
    String::from_utf8_lossy(&text).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_can_verify_a_signed_report_and_finds_out_a_changed_one() {
    let app = TestApp::set_up().await;
    let (id, file) = signed(&app).await;
    let answer = verdict(&app, &file).await;
    let fields: Vec<_> = answer.as_object().expect("an object").keys().cloned().collect();
    let expected =
        ["framework", "generated_at", "reason", "signed_at", "signed_by", "tampered", "tenant", "valid"];
    let mut sorted = fields.clone();
    sorted.sort();
    assert_eq!(sorted, expected);
    assert_eq!((&answer["valid"], &answer["tampered"]), (&json!(true), &json!(false)), "{answer}");
    assert_eq!(answer["signed_by"], "admin@example.com");
    assert_eq!(answer["tenant"], "Acme Corp");
    for moment in ["signed_at", "generated_at"] {
        let text = answer[moment].as_str().expect("a time");
        assert!(text.len() == 20 && text.ends_with('Z'), "as in 2024-03-16T10:00:45Z: {text}");
    }

    let mut flipped = file.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let appended = [file.as_slice(), b"\n% appended\n"].concat();
    for changed in [flipped, appended, file[..file.len() - 7].to_vec()] {
        let answer = verdict(&app, &changed).await;
        assert_eq!((&answer["valid"], &answer["tampered"]), (&json!(false), &json!(true)), "{answer}");
        assert_eq!(answer["tenant"], Value::Null, "nothing that a changed file says is repeated");
    }

    let detail = app.get(&format!("/api/reports/{id}")).await.expect(200).json();
    let signature = &detail["artifact"]["signature"];
    assert_eq!(signature["signed_by"], "admin@example.com");
    assert_eq!(signature["timestamp_authority"], Value::Null);
    // The hash on the signature page is the one that the API shows.
    let said: String = text_of(&file).chars().filter(char::is_ascii_alphanumeric).collect();
    assert!(said.contains(detail["document_sha256"].as_str().expect("a hash")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_stays_genuine_when_it_is_deleted_and_when_keys_are_renewed() {
    let app = TestApp::set_up().await;
    let (id, first) = signed(&app).await;
    let keyring = Keyring::new(&app.config.seal.key_dir);
    keyring.rotate("Acme Corp", Renew::WithRoot, Utc::now()).expect("new keys");
    let (_, second) = signed(&app).await;
    app.delete(&format!("/api/reports/{id}")).await.expect(200);
    for file in [first, second] {
        assert_eq!(verdict(&app, &file).await["valid"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_signature_is_not_enough_if_the_file_was_not_issued() {
    let app = TestApp::set_up().await;
    let (id, _) = signed(&app).await;
    let (plain, _) = request(&app, json!({})).await;
    let unsigned = app.get(&format!("/api/reports/{plain}/download")).await.expect(200).bytes;
    let answer = verdict(&app, &unsigned).await;
    assert_eq!((&answer["valid"], &answer["tampered"]), (&json!(false), &json!(false)), "{answer}");

    // Somebody got hold of the keys, and not of the database.
    let now = Utc::now();
    let identity =
        Keyring::new(&app.config.seal.key_dir).current("Acme Corp", now).and_then(|keys| keys.seal(now));
    let identity = identity.expect("the keys");
    for (report, tampered) in [(id.as_str(), true), ("0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7c", false)] {
        let statement = Statement { tenant: "Acme Corp".into(), ..Statement::new(report, now, now) };
        let forged =
            Seal::new(&unsigned, &identity, &statement).and_then(|seal| seal.finish(None)).expect("signed");
        let answer = verdict(&app, &forged).await;
        assert_eq!((&answer["valid"], &answer["tampered"]), (&json!(false), &json!(tampered)), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_is_whoever_asks_unless_an_analyst_names_somebody() {
    let mut app = TestApp::set_up().await;
    let (_, job) = request(&app, json!({ "signed": true, "signer": "compliance@acme.com" })).await;
    assert_eq!(job["result"]["signed_by"], "compliance@acme.com", "{job}");
    let reader = app.account(app.tenant().await, "reader", "read_only").await;
    app.sign_in_as(Some(reader));
    let body = |options: Value| json!({ "title": "T", "report_type": "technical", "options": options });
    let refused = body(json!({ "signed": true, "signer": "compliance@acme.com" }));
    app.post("/api/reports/generate", &refused).await.expect(403);
    let own = body(json!({ "signed": true, "signer": "reader@example.com" }));
    app.post("/api/reports/generate", &own).await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_signed_is_refused_when_it_is_asked_for() {
    let app = TestApp::set_up().await;
    for (format, options) in [
        ("csv", json!({ "signed": true })),
        ("pdf", json!({ "signer": "compliance@acme.com" })),
        ("pdf", json!({ "signed": true, "signer": "nobody" })),
    ] {
        let body = json!({ "title": "T", "report_type": "technical", "format": format, "options": options });
        app.post("/api/reports/generate", &body).await.expect(422);
    }
}

/// A timestamp authority on a port of its own.
pub(crate) async fn timestamps(authority: TimestampAuthority) -> String {
    async fn answer(State(authority): State<std::sync::Arc<TimestampAuthority>>, query: Bytes) -> Vec<u8> {
        authority.reply(&query, Utc::now())
    }
    let router = Router::new().route("/", post(answer)).with_state(std::sync::Arc::new(authority));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_is_attested_where_there_is_an_authority() {
    let authority = TimestampAuthority::new("Example");
    let roots = authority.root_pem.clone();
    let url = timestamps(authority).await;
    let app =
        TestApp::set_up_with(&[("TSA_URL", &url), ("TSA_ROOTS", &roots), ("TSA_REQUIRED", "true")]).await;
    let (id, file) = signed(&app).await;
    let answer = verdict(&app, &file).await;
    assert_eq!(answer["valid"], true, "{answer}");
    assert!(answer["reason"].as_str().expect("a reason").contains("Example Timestamping Unit"));
    let detail = app.get(&format!("/api/reports/{id}")).await.expect(200).json();
    assert_eq!(detail["artifact"]["signature"]["timestamp_authority"], "Example Timestamping Unit");
    assert!(text_of(&file).contains("attested by Example Timestamping Unit"), "{}", text_of(&file));
    // Whoever has root certificates and no server comes to the same.
    let anchors = Anchors {
        seals: Keyring::new(&app.config.seal.key_dir).roots().expect("the root"),
        timestamps: Anchors::read_pem(&roots).expect("the authority's"),
    };
    assert!(verify(&file, &anchors, Utc::now()).finding.is_ok());
}

/// Nothing listens there.
const NOWHERE: &str = "http://127.0.0.1:1/";

#[tokio::test(flavor = "multi_thread")]
async fn an_optional_authority_that_is_away_is_told_of_in_the_report() {
    let roots = TimestampAuthority::new("Example").root_pem;
    let app = TestApp::set_up_with(&[("TSA_URL", NOWHERE), ("TSA_ROOTS", &roots)]).await;
    let (_, file) = signed(&app).await;
    assert!(text_of(&file).contains("no timestamp authority was reached"), "{}", text_of(&file));
    let answer = verdict(&app, &file).await;
    assert_eq!(answer["valid"], true);
    assert!(answer["reason"].as_str().expect("a reason").contains("no timestamp"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_authority_that_is_away_is_waited_for() {
    let roots = TimestampAuthority::new("Example").root_pem;
    let app =
        TestApp::set_up_with(&[("TSA_URL", NOWHERE), ("TSA_ROOTS", &roots), ("TSA_REQUIRED", "true")]).await;
    let (id, job) = request(&app, json!({ "signed": true })).await;
    assert_eq!(job["state"], "retryable", "{job}");
    assert!(job["last_error"].as_str().expect("a reason").contains("TSA_REQUIRED"), "{job}");
    assert_eq!(app.get(&format!("/api/reports/{id}")).await.expect(200).json()["status"], "generating");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_sent_there_is_an_answer() {
    let app = TestApp::set_up().await;
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    for (content_type, body, status) in [
        ("application/json", b"{}".to_vec(), 415),
        ("multipart/form-data", form("file", b"%PDF-1.4 nothing"), 400),
        (content_type.as_str(), b"--".to_vec(), 400),
        (content_type.as_str(), form("report", b"%PDF-1.4 nothing"), 422),
        (content_type.as_str(), form("file", b""), 200),
        (content_type.as_str(), form("file", b"%PDF-1.4 nothing"), 200),
        (content_type.as_str(), form("file", b"PK\x03\x04"), 200),
        (content_type.as_str(), form("file", &vec![0; (64 << 20) + (32 << 10)]), 413),
    ] {
        let answer = ask(&app, content_type, "*/*", body).await;
        assert_eq!(answer.status.as_u16(), status, "{}", String::from_utf8_lossy(&answer.bytes));
        if status == 200 {
            assert_eq!(answer.json()["valid"], false);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_larger_than_any_pdf_is_looked_at_while_it_comes() {
    let app = TestApp::set_up_with(&[("PACK_MAX_BYTES", "100000000")]).await;
    let now = Utc::now();
    let keyring = Keyring::new(&app.config.seal.key_dir);
    let keys = keyring.current("Acme Corp", now).expect("keys").pack().expect("a key for packs");
    store::signing_keys::trust(app.db.pool(), Purpose::Seal, &keyring.roots().expect("roots"))
        .await
        .expect("trusted");
    let rows = vec![b'x'; LARGEST + 1];
    let files = [File { name: "findings.csv", media_type: "text/csv", bytes: &rows }];
    let statement = Statement::new("0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7c", now, now);
    let mut pack = seal(&files, &[], &statement, &keys).expect("a pack");
    // All that it lacks is to have been issued here.
    let answer = verdict(&app, &pack).await;
    assert!(answer["reason"].as_str().is_some_and(|why| why.contains("no record")), "{answer}");
    pack[LARGEST] ^= 1;
    assert_eq!(verdict(&app, &pack).await["tampered"], true);

    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    pack.resize(100_000_001 + (16 << 10), 0);
    ask(&app, &content_type, "*/*", form("file", &pack)).await.expect(413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_a_page_to_verify_on() {
    let app = TestApp::set_up().await;
    let page = app.get("/api/v1/reports/verify").await.expect(200);
    assert!(page.header("content-type").is_some_and(|found| found.starts_with("text/html")));
    assert!(String::from_utf8_lossy(&page.bytes).contains("name=\"file\""));
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let told = ask(&app, &content_type, "text/html,*/*", form("file", b"%PDF-1.4")).await.expect(200);
    assert!(String::from_utf8_lossy(&told.bytes).contains("cannot be relied on"));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_served_so_many_times_a_minute() {
    let app = TestApp::set_up().await;
    for _ in 0..10 {
        assert_eq!(verdict(&app, b"%PDF-1.4").await["valid"], false);
    }
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let refused = ask(&app, &content_type, "*/*", form("file", b"%PDF-1.4")).await.expect(429);
    assert!(refused.header("retry-after").is_some());
}
