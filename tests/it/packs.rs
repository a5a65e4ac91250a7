//! Packs: several files of a report, made by jobs of their own, under one signed list.

#[cfg(target_os = "linux")]
mod large;

use ::signing::{Anchors, keyring::Keyring, verify};
use harness::TestApp;
use serde_json::{Value, json};

use crate::signing::verdict;

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_holds_what_was_asked_for_and_anybody_can_verify_it() {
    let mut app = TestApp::set_up().await;
    let request = json!({ "title": "T", "report_type": "asset_inventory", "format": "zip",
                          "options": { "formats": ["PDF", "csv", "json"], "signed": true } });
    let accepted = app.post("/api/reports/generate", &request).await.expect(202).json();
    app.run_jobs().await;
    let id = accepted["id"].as_str().expect("an id");
    let pack = app.get(&format!("/api/reports/{id}/download")).await.expect(200);
    assert_eq!(pack.header("content-type"), Some("application/zip"));
    assert!(pack.header("content-disposition").expect("a name").contains(".zip\""));
    let signature =
        app.get(&format!("/api/reports/{id}")).await.expect(200).json()["artifact"]["signature"].clone();
    assert_eq!(signature["timestamp_authority"], Value::Null);
    assert!(signature["signed_by"].as_str().is_some_and(|who| who.contains('@')), "{signature}");

    let anchors =
        Anchors { seals: Keyring::new(&app.config.seal.key_dir).roots().expect("roots"), timestamps: vec![] };
    let proof = verify(&pack.bytes, &anchors, chrono::Utc::now()).finding.expect("as it was signed");
    assert_eq!((proof.files, proof.statement.report_id.as_str()), (Some(3), id));
    app.sign_in_as(None);
    assert_eq!(verdict(&app, &pack.bytes).await["valid"], true);
    let at = pack.bytes.len() / 2;
    let mut changed = pack.bytes.clone();
    changed[at] ^= 1;
    let answer = verdict(&app, &changed).await;
    assert_eq!((&answer["valid"], &answer["tampered"]), (&json!(false), &json!(true)), "{answer}");

    // Files are stored one after another, and the PDF in it is signed by itself.
    let begin = pack.bytes.windows(5).position(|window| window == b"%PDF-").expect("a PDF");
    let manifest = String::from_utf8_lossy(&pack.bytes[..begin]);
    for name in [".pdf", ".csv", ".json", "\"sha256\"", "\"inputs\""] {
        assert!(manifest.contains(name), "{name}");
    }
    let size = manifest
        .split("\"name\": ")
        .find(|file| file.contains(".pdf\""))
        .and_then(|file| file.split("\"size\": ").nth(1)?.split(',').next()?.trim().parse::<usize>().ok())
        .expect("its size");
    let pdf = &pack.bytes[begin..begin + size];
    assert_eq!(verdict(&app, pdf).await["valid"], true);
}

/// The jobs that `job` waits for or has waited for: kind and state.
async fn depends_on(app: &TestApp, job: &Value) -> Vec<(String, String)> {
    let word = |one: &Value, name: &str| one[name].as_str().expect("a word").to_owned();
    let job = app.job(job).await;
    let on = job["depends_on"].as_array().expect("a list");
    on.iter().map(|one| (word(one, "kind"), word(one, "state"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_of_a_pack_has_a_job_of_its_own_and_is_the_file_that_can_be_fetched_alone() {
    let app = TestApp::set_up().await;
    let request = json!({ "title": "T", "report_type": "asset_inventory", "format": "zip",
                          "options": { "formats": ["pdf", "csv"], "signed": true } });
    let accepted = app.post("/api/reports/generate", &request).await.expect(202).json();
    let waiting =
        [("render_format".to_owned(), "waiting".to_owned()), ("render_format".into(), "waiting".into())];
    assert_eq!(depends_on(&app, &accepted["job_id"]).await, waiting);
    // The data is frozen, two files are made of it, and they are sealed.
    assert_eq!(app.run_jobs().await, 4);
    let id = accepted["id"].as_str().expect("an id");
    assert_eq!(app.get(&format!("/api/reports/{id}")).await.expect(200).json()["status"], "completed");
    let pack = app.get(&format!("/api/reports/{id}/download")).await.expect(200);
    for format in ["pdf", "csv"] {
        let file = app.get(&format!("/api/reports/{id}/download?format={format}")).await.expect(200);
        assert!(pack.bytes.windows(file.bytes.len()).any(|part| part == file.bytes), "{format}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_made_fails_its_pack_until_it_is_tried_again() {
    let app = TestApp::set_up().await;
    let request = json!({ "title": "T", "report_type": "asset_inventory", "format": "zip",
                          "options": { "formats": ["html", "csv"] } });
    let accepted = app.post("/api/reports/generate", &request).await.expect(202).json();
    let id = accepted["id"].as_str().expect("an id");
    let part = app.job(&accepted["job_id"]).await["depends_on"][0]["job_id"].clone();
    let part = part.as_str().expect("the job of one file");
    app.post(&format!("/api/jobs/{part}/cancel"), &json!({})).await.expect(200);
    app.run_jobs().await;
    let report = app.get(&format!("/api/reports/{id}")).await.expect(200).json();
    assert_eq!(report["status"], "failed");
    assert!(report["error"].as_str().is_some_and(|why| why.contains(part)), "{report}");
    app.get(&format!("/api/reports/{id}/download")).await.expect(409);

    app.post(&format!("/api/jobs/{part}/retry"), &json!({})).await.expect(200);
    app.post(&format!("/api/jobs/{}/retry", accepted["job_id"].as_str().expect("an id")), &json!({})).await;
    app.run_jobs().await;
    let report = app.get(&format!("/api/reports/{id}")).await.expect(200).json();
    assert_eq!((&report["status"], &report["error"]), (&json!("completed"), &Value::Null));
    app.get(&format!("/api/reports/{id}/download")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_whose_files_are_more_than_it_may_hold_is_refused_with_the_setting() {
    let app = TestApp::set_up_with(&[("PACK_MAX_BYTES", "1024")]).await;
    let request = json!({ "title": "T", "report_type": "asset_inventory", "format": "zip",
                          "options": { "formats": ["csv", "pdf"] } });
    let accepted = app.post("/api/reports/generate", &request).await.expect(202).json();
    app.run_jobs().await;
    let id = accepted["id"].as_str().expect("an id");
    let report = app.get(&format!("/api/reports/{id}")).await.expect(200).json();
    assert_eq!(report["status"], "failed");
    assert!(report["error"].as_str().is_some_and(|why| why.contains("PACK_MAX_BYTES")), "{report}");
}
