//! Reports signed by a key that never leaves its token.

use harness::eventually;
use runtime::{
    config::{BroughtKey, Config, TokenPlace},
    egress::Method,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    openssl::{EC, OpenSsl},
    softhsm::{CONFIGURATION, PIN, SoftHsm},
};
use crate::programs::{Programs, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn a_report_waits_for_the_token_that_signs_it() {
    let Some(tokens) = SoftHsm::new() else { return };
    let Some(authority) = OpenSsl::new("http://127.0.0.1:9/") else { return };
    let seal = authority.seal("seal", EC);
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let programs = Programs::start(&[
        (CONFIGURATION, &tokens.configuration().display().to_string()),
        ("SEAL_TOKEN_MODULE", &tokens.module.display().to_string()),
        ("SEAL_TOKEN", "plimsoll"),
        ("SEAL_TOKEN_KEY", "seal"),
        ("SEAL_TOKEN_PIN_FILE", &file("pin", PIN)),
        ("SEAL_CERTIFICATE_FILE", &file("certificate", &seal.certificate)),
    ])
    .await;
    let body = json!({ "title": "Where we stand", "report_type": "executive_summary", "options": { "signed": true } });
    let (status, accepted) = programs.send(Method::POST, "/api/reports/generate", &[], &body).await;
    assert_eq!(status, 202, "{accepted}");
    let job: Uuid = accepted["job_id"].as_str().and_then(|id| id.parse().ok()).expect("a job");
    let why = eventually("word on the token", SOON, || async {
        let query = "select last_error from jobs where id = $1 and state = 'retryable'";
        sqlx::query_scalar::<_, String>(query).bind(job).fetch_one(programs.db.pool()).await.ok()
    })
    .await;
    assert!(why.contains("SEAL_TOKEN") && why.contains("token `plimsoll`"), "{why}");

    tokens.add_token("plimsoll");
    tokens.import("plimsoll", "seal", &seal.key);
    programs.until_completed(&accepted["job_id"]).await;
    let path = format!("/api/reports/{}", accepted["id"].as_str().expect("an id"));
    let (_, report) = programs.send(Method::GET, &path, &[], &Value::Null).await;
    assert_eq!(report["artifact"]["signature"]["signed_by"], "admin@example.com", "{report}");
}

/// Otherwise reports would be signed by another key than the one that was meant.
#[test]
fn a_token_that_is_half_named_keeps_everything_from_starting() {
    let all = [
        ("SEAL_TOKEN_MODULE", "/usr/lib/softhsm/libsofthsm2.so"),
        ("SEAL_TOKEN", "plimsoll"),
        ("SEAL_TOKEN_KEY", "seal"),
        ("SEAL_TOKEN_PIN", PIN),
        ("SEAL_CERTIFICATE", "-----BEGIN CERTIFICATE-----"),
    ];
    let load = |settings: &[(&str, &str)]| {
        Config::load(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    };
    let config = load(&all).expect("enough to find the key");
    let Some(BroughtKey::Token { place, .. }) = &config.seal.brought else { panic!("{:?}", config.seal) };
    assert_eq!(*place, TokenPlace::Label("plimsoll".into()));
    assert!(!format!("{config:?}").contains(PIN));
    for (left_out, _) in all {
        let some: Vec<_> = all.into_iter().filter(|(name, _)| *name != left_out).collect();
        let said = load(&some).expect_err(left_out).to_string();
        assert!(said.contains(left_out) && !said.contains(PIN), "{left_out}: {said}");
    }
    let twice = [&all[..], &[("SEAL_TOKEN_SLOT", "1")]].concat();
    assert!(load(&twice).expect_err("one of them").to_string().contains("SEAL_TOKEN_SLOT"));
}
