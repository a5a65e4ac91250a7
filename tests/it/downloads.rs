//! Fetching files: conditions, ranges, names, and what a browser may do with them.

use std::path::{Path, PathBuf};

use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use harness::{Answer, TestApp};
use http::Method;
use queue::{enqueue::Origin, jobs::PurgeExpired};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{Connection as _, Executor as _, PgConnection};
use store::branding;

use crate::{documents::PIXEL, exports::with_a_worker};

/// A finished report.
async fn report(app: &TestApp, report_type: &str, format: &str) -> String {
    let request = json!({ "title": "T", "report_type": report_type, "format": format });
    let accepted = app.post("/api/reports/generate", &request).await.expect(202).json();
    app.run_jobs().await;
    accepted["id"].as_str().expect("an id").to_owned()
}

async fn ask(app: &TestApp, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = headers
        .iter()
        .fold(app.request(method, path), |request, (name, value)| request.header(*name, *value));
    app.send(request.body(Body::empty()).expect("a request")).await
}

async fn count(app: &TestApp, action: &str) -> i64 {
    sqlx::query_scalar("select count(*) from audit_entries where action = $1")
        .bind(action)
        .fetch_one(app.db.pool())
        .await
        .expect("counted")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_fetched_whole_in_parts_or_not_again() {
    let app = TestApp::set_up().await;
    let path = format!("/api/reports/{}/download", report(&app, "asset_inventory", "html").await);
    let whole = app.get(&path).await.expect(200);
    let digest = Sha256::digest(&whole.bytes);
    let tag = format!("\"{digest:x}\"");
    assert_eq!(whole.header("etag"), Some(tag.as_str()));
    assert_eq!(whole.header("repr-digest"), Some(format!("sha-256=:{}:", STANDARD.encode(digest)).as_str()));
    assert_eq!(whole.header("content-length"), Some(whole.bytes.len().to_string().as_str()));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert_eq!(whole.header("cache-control"), Some("private, no-cache"));

    let head = ask(&app, Method::HEAD, &path, &[("range", "bytes=0-1")]).await.expect(200);
    assert!(head.bytes.is_empty());
    assert_eq!(head.header("content-length"), whole.header("content-length"));
    assert_eq!(head.header("etag"), Some(tag.as_str()));

    let part = ask(&app, Method::GET, &path, &[("range", "bytes=10-19")]).await.expect(206);
    assert_eq!(part.bytes, whole.bytes[10..20]);
    assert_eq!(part.header("content-range"), Some(format!("bytes 10-19/{}", whole.bytes.len()).as_str()));
    assert_eq!(part.header("content-length"), Some("10"));
    let end = ask(&app, Method::GET, &path, &[("range", "bytes=-5"), ("if-range", &tag)]).await.expect(206);
    assert_eq!(end.bytes, whole.bytes[whole.bytes.len() - 5..]);
    let changed = ask(&app, Method::GET, &path, &[("range", "bytes=-5"), ("if-range", "\"old\"")]).await;
    assert_eq!(changed.expect(200).bytes, whole.bytes);
    let beyond = ask(&app, Method::GET, &path, &[("range", "bytes=99999999-")]).await.expect(416);
    assert_eq!(beyond.header("content-range"), Some(format!("bytes */{}", whole.bytes.len()).as_str()));

    let had = ask(&app, Method::GET, &path, &[("if-none-match", &tag)]).await.expect(304);
    assert!(had.bytes.is_empty());
    assert_eq!(had.header("etag"), Some(tag.as_str()));
    ask(&app, Method::GET, &path, &[("if-match", "\"another\"")]).await.expect(412);

    // The whole file twice (once because it had changed), and two parts: all of a short file is its beginning.
    assert_eq!(count(&app, "report.download").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_pdf_of_ours_opens_in_the_browser() {
    let app = TestApp::set_up().await;
    for (format, media_type, shown) in [
        ("pdf", "application/pdf", true),
        ("html", "text/html; charset=utf-8", false),
        ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", false),
        ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", false),
        ("csv", "text/csv; charset=utf-8", false),
        ("json", "application/json", false),
        ("md", "text/markdown; charset=utf-8", false),
    ] {
        let id = report(&app, "asset_inventory", format).await;
        for (path, inline) in [("download", false), ("artifact", shown)] {
            let file = app.get(&format!("/api/reports/{id}/{path}")).await.expect(200);
            assert_eq!(file.header("content-type"), Some(media_type), "{format}");
            assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
            let disposition = file.header("content-disposition").expect("a name");
            let kind = if inline { "inline; " } else { "attachment; " };
            assert!(disposition.starts_with(kind), "{format} {path}: {disposition}");
            assert!(disposition.contains(&format!(".{format}\"")), "{disposition}");
            let policy = file.header("content-security-policy").expect("a policy");
            assert_eq!(policy.contains("sandbox"), !inline, "{format} {path}: {policy}");
            assert!(policy.contains("default-src 'none'"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_document_has_its_address_and_its_days() {
    let mut app = TestApp::set_up().await;
    let id = report(&app, "asset_inventory", "json").await;
    let bare = id.replace('-', "");
    let slug: String =
        sqlx::query_scalar("select slug from tenants").fetch_one(app.db.pool()).await.expect("one");
    let seven = [
        format!("/api/v1/tenants/{slug}/reports/rpt-{bare}/download"),
        format!("/api/v1/tenants/{slug}/documents/doc-{bare}/download"),
    ];
    let month = [format!("/api/v1/reports/download/report_{bare}.json")];
    let always = [format!("/api/reports/{id}/download"), format!("/api/reports/report_{bare}/download")];
    let all = || seven.iter().chain(&month).chain(&always);
    for path in all() {
        app.get(path).await.expect(200);
    }
    let finished = async |days: i32| {
        sqlx::query("update reports set completed_at = now() - make_interval(days => $1)")
            .bind(days)
            .execute(app.db.pool())
            .await
            .expect("time passes");
    };
    finished(8).await;
    for path in &seven {
        let gone = app.get(path).await.expect(410).json();
        assert_eq!(gone["error"]["code"], "DOWNLOAD_EXPIRED", "{gone}");
    }
    app.get(&month[0]).await.expect(200);
    finished(32).await;
    assert_eq!(app.get(&month[0]).await.expect(410).json()["error"]["code"], "DOWNLOAD_EXPIRED");
    app.get(&always[0]).await.expect(200);

    app.get(&seven[0].replace(&slug, "another")).await.expect(404);
    let (_, theirs) = app.other_tenant("theirs", "admin").await;
    app.sign_in_as(Some(theirs));
    for path in all() {
        app.get(path).await.expect(404);
    }
    app.sign_in_as(None);
    for path in all() {
        app.get(path).await.expect(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_there_is_told_with_its_reason() {
    let app = TestApp::set_up().await;
    let request = json!({ "title": "T", "report_type": "asset_inventory", "format": "csv" });
    let accepted = app.post("/api/reports/generate", &request).await.expect(202).json();
    let path = format!("/api/reports/{}/download", accepted["id"].as_str().expect("an id"));
    let said = |answer: Value| answer["detail"].as_str().expect("a sentence").to_owned();
    assert!(said(app.get(&path).await.expect(409).json()).contains("still being made"));
    app.run_jobs().await;
    app.get(&format!("{path}?format=CSV")).await.expect(200);
    app.get(&format!("{path}?format=exe")).await.expect(422);
    app.get("/api/reports/not-an-id/download").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_of_the_type_is_made_from_what_was_frozen_when_somebody_wants_it() {
    let app = TestApp::set_up().await;
    let branded = async |statement: &str| {
        let mut tx = app.db.system.begin_as(app.tenant().await).await.expect("a transaction");
        let chosen = branding::Branding {
            confidentiality_statement: Some(statement.into()),
            ..branding::Branding::default()
        };
        branding::set(&mut tx, &chosen).await.expect("kept");
        let png = STANDARD.decode(PIXEL).expect("base64");
        let logo = branding::Picture { png, width: 1, height: 1 };
        branding::put_asset(&mut tx, branding::AssetType::LogoLight, &logo).await.expect("kept");
        tx.commit().await.expect("committed");
    };
    branded("As it was issued.").await;
    let id = report(&app, "executive_summary", "json").await;
    branded("As it is now.").await;
    let mut tx = app.db.system.begin_as(app.tenant().await).await.expect("a transaction");
    branding::delete_asset(&mut tx, branding::AssetType::LogoLight).await.expect("taken away");
    tx.commit().await.expect("committed");

    let path = format!("/api/reports/{id}/download?format=html");
    assert!(ask(&app, Method::HEAD, &path, &[]).await.expect(202).bytes.is_empty());
    let page = with_a_worker(&app, &path).await.expect(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let text = String::from_utf8(page.bytes.clone()).expect("UTF-8");
    assert!(
        text.contains("As it was issued.") && text.contains(PIXEL),
        "the branding is frozen with the report"
    );
    assert!(!text.contains("As it is now."));
    // It is kept: nothing works now.
    assert_eq!(app.get(&path).await.expect(200).bytes, page.bytes);
    let own = app.get(&format!("/api/reports/{id}/download")).await.expect(200);
    assert_eq!(own.header("content-type"), Some("application/json"));
    let told = app.get(&format!("/api/reports/{id}")).await.expect(200).json();
    assert_eq!((&told["format"], &told["status"]), (&json!("json"), &json!("completed")));
    assert_eq!(told["sections"][0]["id"], "overview", "{told}");

    let refused = app.get(&format!("/api/reports/{id}/download?format=svg")).await.expect(422).json();
    assert!(refused.to_string().contains("pdf, html, docx"), "{refused}");
    app.send(
        app.request(Method::DELETE, &format!("/api/reports/{id}")).body(Body::empty()).expect("a request"),
    )
    .await
    .expect(200);
    let orphans: i64 = sqlx::query_scalar("select count(*) from orphaned_objects")
        .fetch_one(app.db.pool())
        .await
        .expect("counted");
    assert_eq!(orphans, 2, "all files go with the report");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_that_cannot_be_made_says_why() {
    let app = TestApp::set_up().await;
    let id = report(&app, "executive_summary", "json").await;
    // Nobody has broken a document since it was checked, except here.
    sqlx::query("update reports set document = jsonb_set(document, '{report_type}', '\"poetry\"')")
        .execute(app.db.pool())
        .await
        .expect("broken");
    let said =
        with_a_worker(&app, &format!("/api/reports/{id}/download?format=pdf")).await.expect(409).json();
    assert!(
        said["detail"].as_str().is_some_and(|why| why.contains("There is no pdf of this report")),
        "{said}"
    );
}

/// A process that ends between storing a file and saying so, a job that is cancelled then, a lost lease: all leave a file and no row.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_no_report_came_to_refer_to_is_removed_a_day_later_and_no_other() {
    let app = TestApp::set_up().await;
    let kept = report(&app, "asset_inventory", "html").await;
    let files = || files_under(&app.config.artifact_dir);
    assert_eq!((files().len(), notes(&app).await), (1, 0), "it is referred to");
    let mut owner =
        PgConnection::connect(app.db.owner_url.expose_secret()).await.expect("the owner's connection");
    let refusal = "create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$;
                   create trigger refuse before insert on artifacts for each row execute function refuse()";
    owner.execute(refusal).await.expect("no file is recorded");
    let request = json!({ "title": "T", "report_type": "asset_inventory", "format": "csv" });
    let accepted = app.post("/api/reports/generate", &request).await.expect(202).json();
    app.run_jobs().await;
    let job = accepted["job_id"].as_str().expect("an id");
    assert_eq!(app.job(&accepted["job_id"]).await["state"], "retryable");
    app.post(&format!("/api/jobs/{job}/cancel"), &json!({})).await.expect(200);
    assert_eq!((files().len(), notes(&app).await), (2, 1), "stored, and nobody's");
    purge(&app).await;
    assert_eq!(files().len(), 2, "it may be of a job that still runs");
    // That somebody was about to store what is there counts for nothing.
    sqlx::query("insert into orphaned_objects (storage_key) select storage_key from artifacts")
        .execute(app.db.pool())
        .await
        .expect("noted");
    sqlx::query("update orphaned_objects set since = since - interval '25 hours'")
        .execute(app.db.pool())
        .await
        .expect("a day goes by");
    purge(&app).await;
    assert_eq!((files().len(), notes(&app).await), (1, 0));
    app.get(&format!("/api/reports/{kept}/download")).await.expect(200);
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_under(&path) } else { vec![path] }).collect()
}

async fn notes(app: &TestApp) -> i64 {
    sqlx::query_scalar("select count(*) from orphaned_objects")
        .fetch_one(app.db.pool())
        .await
        .expect("counted")
}

async fn purge(app: &TestApp) {
    let mut tx = app.db.system.begin().await.expect("a transaction");
    queue::enqueue(&mut tx, Origin::INSTALLATION, &PurgeExpired {}).await.expect("accepted");
    tx.commit().await.expect("committed");
    app.run_jobs().await;
}
