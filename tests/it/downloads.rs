//! Fetching files: conditions, ranges, names, and what a browser may do with them.

use ::signing::{
    Anchors, Statement,
    keyring::Keyring,
    pack::{File, seal},
    verify,
};
use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use harness::{Answer, TestApp};
use http::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::blob::BlobStore;

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

    // Only what began a download is one: the whole file twice (once because it had changed), no part from the middle.
    assert_eq!(count(&app, "report.download").await, 2);
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
    assert!(said(app.get(&format!("{path}?format=PDF")).await.expect(409).json()).contains("made as csv"));
    app.get(&format!("{path}?format=exe")).await.expect(422);
    app.get("/api/reports/not-an-id/download").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_is_fetched_like_any_other_file_and_verifies() {
    let app = TestApp::set_up().await;
    let (id, now) = (report(&app, "asset_inventory", "json").await, chrono::Utc::now());
    let keys = Keyring::new(&app.config.seal.key_dir).current("Acme Corp", now).expect("keys");
    let files = [File { name: "report.json", media_type: "application/json", bytes: b"{}" }];
    let statement = Statement { tenant: "Acme Corp".into(), ..Statement::new(id.as_str(), now, now) };
    let pack = seal(&files, &[], &statement, &keys.pack().expect("a key")).expect("a pack");
    let stored = BlobStore::new(&app.config.artifact_dir).put("packs", "zip", &pack).await.expect("stored");
    sqlx::query(
        "update artifacts set media_type = 'application/zip', file_name = 'pack.zip', byte_count = $1, sha256 = $2, storage_key = $3",
    )
    .bind(stored.byte_count)
    .bind(stored.sha256.as_slice())
    .bind(stored.key)
    .execute(app.db.pool())
    .await
    .expect("the report's file is a pack now");
    for path in ["download", "artifact"] {
        let file = app.get(&format!("/api/reports/{id}/{path}")).await.expect(200);
        assert_eq!(file.header("content-type"), Some("application/zip"));
        assert!(
            file.header("content-disposition")
                .expect("a name")
                .starts_with("attachment; filename=\"pack.zip\"")
        );
        let anchors = Anchors {
            seals: Keyring::new(&app.config.seal.key_dir).roots().expect("roots"),
            timestamps: vec![],
        };
        assert!(verify(&file.bytes, &anchors, now).finding.is_ok());
    }
}
