//! How an organization wants its reports of one type: chosen once, obeyed by every report that says nothing else.

use harness::TestApp;
use serde_json::{Value, json};

const STYLE: &str = "/api/reports/report-types/executive_summary/style";

/// The document of a new executive summary.
async fn document(app: &TestApp, options: Value) -> Value {
    let request =
        json!({ "title": "T", "report_type": "executive_summary", "format": "json", "options": options });
    let accepted = app.post("/api/reports/generate", &request).await.expect(202).json();
    app.run_jobs().await;
    let id = accepted["id"].as_str().expect("an id");
    app.get(&format!("/api/reports/{id}/download")).await.expect(200).json()
}

fn headings(document: &Value) -> Vec<&str> {
    let sections = document["sections"].as_array().expect("sections");
    sections.iter().map(|section| section["heading"].as_str().expect("a heading")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn words_and_order_that_an_organization_has_chosen_hold_for_every_report_that_says_nothing_else() {
    let app = TestApp::set_up().await;
    let nothing = app.get(STYLE).await.expect(200).json();
    assert_eq!((&nothing["options"], &nothing["updated_at"]), (&json!({}), &Value::Null));
    let plain = document(&app, json!({})).await;
    assert_eq!(headings(&plain)[0], "Where we stand");

    let chosen = json!({ "options": { "classification": "Internal", "watermark": "DRAFT", "sections": [
        { "id": "top-findings", "heading": "Was zuerst zu tun ist", "introduction": "As agreed in October." },
        { "id": "assets", "hidden": true }] } });
    let kept = app.put(STYLE, &chosen).await.expect(200).json();
    assert_eq!(kept["options"], chosen["options"]);
    let styled = document(&app, json!({})).await;
    assert_eq!(headings(&styled), ["Was zuerst zu tun ist", "Where we stand", "Method and data"]);
    assert_eq!(styled["cover"]["classification"], "Internal");
    let omissions = styled["omissions"].to_string();
    assert!(omissions.contains("Most exposed assets"), "what is hidden is said: {omissions}");

    let of_its_own = document(&app, json!({ "classification": "Public", "sections": [] })).await;
    assert_eq!(of_its_own["cover"]["classification"], "Public");
    assert_eq!(of_its_own["presentation"]["watermark"], "DRAFT", "option by option");

    app.delete(STYLE).await.expect(204);
    assert_eq!(headings(&document(&app, json!({})).await), headings(&plain));
    let told = app.get("/api/audit?target_type=report_style").await.expect(200).json();
    assert_eq!(told["total"], 2, "chosen, and taken back: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_decided_for_each_report_cannot_be_chosen_for_all_of_them() {
    let app = TestApp::set_up().await;
    let request = json!({ "options": { "signed": true, "title": "Ours", "watermark": "w".repeat(41) } });
    let refused = app.put(STYLE, &request).await.expect(422).json().to_string();
    for told in ["signed", "title", "is decided for each report", "at most 40 fit"] {
        assert!(refused.contains(told), "{told}: {refused}");
    }
    app.put(STYLE, &json!({ "options": { "watermrak": "DRAFT" } })).await.expect(422);
    app.get("/api/reports/report-types/poetry/style").await.expect(404);
}
