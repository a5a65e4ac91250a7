//! Tables that are longer than what readers are shown: their rows are frozen in a file, and every file for programs is made of it.

use harness::TestApp;
use serde_json::{Value, json};

use crate::documents::{make, plant_many};

/// More than are held in a document.
const MANY: usize = 15_500;

/// What the database says there is, in the order of the report.
async fn vulnerabilities(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar("select vulnerability from findings order by composite_score desc, id")
        .fetch_all(app.db.pool())
        .await
        .expect("findings")
}

/// The file of a report in `format`, made if there is none yet.
async fn file(app: &TestApp, id: &str, format: &str) -> Vec<u8> {
    let path = format!("/api/reports/{id}/download?format={format}");
    let answer = app.get(&path).await;
    if answer.status == 200 {
        return answer.bytes;
    }
    app.run_jobs().await;
    app.get(&path).await.expect(200).bytes
}

/// Every word of the file that looks like one of the vulnerabilities that were planted, in order.
fn named_in(text: &str) -> Vec<String> {
    let named = text.split("CVE-2024-").skip(1).map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        format!("CVE-2024-{digits}")
    });
    named.collect()
}

/// The XML of the sheets of a workbook, one after another.
fn sheets(workbook: &[u8]) -> String {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(workbook)).expect("a workbook");
    let sheet = |number: u32| {
        let part = archive.by_name(&format!("xl/worksheets/sheet{number}.xml")).ok()?;
        Some(std::io::read_to_string(part).expect("XML"))
    };
    (1..).map_while(sheet).collect()
}

async fn row_file(app: &TestApp) -> (String, i64) {
    sqlx::query_as("select storage_key, byte_count from frozen_rows")
        .fetch_one(app.db.pool())
        .await
        .expect("one table is long")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_for_programs_holds_what_the_database_said_when_the_report_was_frozen() {
    let app = TestApp::set_up().await;
    plant_many(&app, MANY as i32).await;
    let there = vulnerabilities(&app).await;
    let id = make(&app, "technical", "csv", &json!({})).await;
    assert_eq!(named_in(&String::from_utf8(file(&app, &id, "csv").await).expect("UTF-8")), there);

    // What is made later is made of what was frozen.
    sqlx::query("delete from findings").execute(app.db.pool()).await.expect("deleted");
    let workbook = named_in(&sheets(&file(&app, &id, "xlsx").await));
    // The cards of the worst are a sheet of their own, behind the tables.
    assert_eq!(workbook[..MANY], there);
    let document: Value = serde_json::from_slice(&file(&app, &id, "json").await).expect("JSON");
    let table = &document["sections"][2]["blocks"][0];
    assert_eq!((&table["id"], table.get("row_file")), (&json!("findings"), None));
    assert_eq!(named_in(&table["rows"].to_string()), there);

    let page = String::from_utf8(file(&app, &id, "markdown").await).expect("UTF-8").replace("\\-", "-");
    assert!(page.contains("of 15500 rows shown. The XLSX and JSON files of this report hold all"));
    let shown = named_in(&page).len();
    assert!(shown > 14_000 && shown < MANY, "{shown}");

    let detail = app.get(&format!("/api/reports/{id}")).await.expect(200).json();
    let hash = detail["document_sha256"].as_str().expect("a hash");
    let whole: domain::document::Document = serde_json::from_value(document).expect("a document");
    let computed = whole.content_sha256().expect("it holds its rows");
    assert_eq!(
        hash,
        computed.map(|byte| format!("{byte:02x}")).concat(),
        "anybody who has the JSON can compute it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn severities_that_are_left_out_are_left_out_of_the_rows_in_the_file_too() {
    let app = TestApp::set_up().await;
    plant_many(&app, MANY as i32 + 500).await;
    sqlx::query("update findings set severity = 'high' where right(vulnerability, 2) = '07'")
        .execute(app.db.pool())
        .await
        .expect("judged anew");
    let there = vulnerabilities(&app).await;
    let id = make(&app, "findings", "csv", &json!({ "severity_filter": ["low"] })).await;
    let named = named_in(&String::from_utf8(file(&app, &id, "csv").await).expect("UTF-8"));
    assert_eq!(named.len(), there.iter().filter(|name| !name.ends_with("07")).count());
    assert!(named.iter().all(|name| !name.ends_with("07")));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_altered_since_they_were_frozen_are_found_and_no_file_is_made_of_them() {
    let app = TestApp::set_up().await;
    plant_many(&app, MANY as i32).await;
    let id = make(&app, "executive_summary", "json", &json!({})).await;
    let (key, byte_count) = row_file(&app).await;
    let path = app.config.artifact_dir.join(key);
    let mut bytes = std::fs::read(&path).expect("the rows are kept");
    assert_eq!(i64::try_from(bytes.len()), Ok(byte_count));
    bytes[1_000] ^= 1;
    std::fs::write(&path, bytes).expect("altered");

    let download = format!("/api/reports/{id}/download?format=xlsx");
    let accepted = app.get(&download).await.expect(202).json();
    app.run_jobs().await;
    let job = app.job(&accepted["job_id"]).await;
    let why = job.to_string();
    assert_eq!(job["state"], "dead", "{why}");
    assert!(why.contains("altered") && why.contains("generate the report again"), "{why}");

    let mut tx = app.db.system.begin().await.expect("a transaction");
    let check = queue::jobs::VerifyArtifacts {};
    queue::enqueue(&mut tx, queue::enqueue::Origin::INSTALLATION, &check).await.expect("accepted");
    tx.commit().await.expect("committed");
    app.run_jobs().await;
    let damaged: bool = sqlx::query_scalar("select damaged_at is not null from frozen_rows")
        .fetch_one(app.db.pool())
        .await
        .expect("one file of rows");
    assert!(damaged);
    // What readers are shown is in the document itself.
    assert!(!file(&app, &id, "html").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_stay_as_long_as_their_report_and_go_with_it() {
    let app = TestApp::set_up().await;
    plant_many(&app, MANY as i32).await;
    let id = make(&app, "findings", "xlsx", &json!({})).await;
    let (key, _) = row_file(&app).await;
    let path = app.config.artifact_dir.join(&key);
    let purge = async || {
        sqlx::query("update orphaned_objects set since = since - interval '2 days'")
            .execute(app.db.pool())
            .await
            .expect("two days go by");
        let mut tx = app.db.system.begin().await.expect("a transaction");
        let job = queue::jobs::PurgeExpired {};
        queue::enqueue(&mut tx, queue::enqueue::Origin::INSTALLATION, &job).await.expect("accepted");
        tx.commit().await.expect("committed");
        app.run_jobs().await;
    };
    // An attempt that was broken off would have left such a word.
    sqlx::query("insert into orphaned_objects (storage_key) values ($1) on conflict do nothing")
        .bind(&key)
        .execute(app.db.pool())
        .await
        .expect("said");
    purge().await;
    assert!(path.exists(), "rows of a report that is there");
    app.delete(&format!("/api/reports/{id}")).await.expect(200);
    purge().await;
    assert!(!path.exists(), "rows of a report that is gone");
}
