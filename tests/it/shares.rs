//! Links that open a file without an account: for a while, for whoever has them, and until somebody ends them.

use harness::TestApp;
use serde_json::{Value, json};

async fn report(app: &TestApp) -> String {
    let request = json!({ "title": "T", "report_type": "asset_inventory", "format": "md" });
    let accepted = app.post("/api/reports/generate", &request).await.expect(202).json();
    app.run_jobs().await;
    accepted["id"].as_str().expect("an id").to_owned()
}

/// The path of a link.
fn path(link: &Value) -> String {
    let url = link["url"].as_str().expect("a link");
    url[url.find("/api/").expect("a path")..].to_owned()
}

async fn hours(app: &TestApp, link: &Value) -> f64 {
    sqlx::query_scalar(
        "select round(extract(epoch from expires_at - created_at) / 3600)::float8 from shares where id = $1::uuid",
    )
    .bind(link["id"].as_str().expect("an id"))
    .fetch_one(app.db.pool())
    .await
    .expect("a link")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_opens_the_file_for_whoever_has_it_and_is_counted() {
    let mut app = TestApp::set_up().await;
    let id = report(&app).await;
    let own = app.get(&format!("/api/reports/{id}/download")).await.expect(200);
    // Without a body it holds as long as seed 004 says.
    let request = app.request(http::Method::POST, &format!("/api/reports/{id}/share"));
    let link = app.send(request.body(axum::body::Body::empty()).expect("a request")).await.expect(200).json();
    assert_eq!(hours(&app, &link).await, 72.0);

    let token = app.sign_in_as(None);
    let file = app.get(&path(&link)).await.expect(200);
    assert_eq!(file.bytes, own.bytes);
    assert_eq!(file.header("cache-control"), Some("private, no-store"));
    assert_eq!(file.header("referrer-policy"), Some("no-referrer"));
    assert!(file.header("x-robots-tag").expect("for search engines").contains("noindex"));
    assert!(file.header("content-disposition").expect("a name").starts_with("attachment; "));
    app.get(&path(&link)).await.expect(200);
    let part = app.request(http::Method::GET, &path(&link)).header("range", "bytes=5-9");
    app.send(part.body(axum::body::Body::empty()).expect("a request")).await.expect(206);

    app.sign_in_as(token);
    let links = app.get(&format!("/api/reports/{id}/shares")).await.expect(200).json();
    assert_eq!((&links["total"], &links["data"][0]["opened"]), (&json!(1), &json!(3)), "{links}");
    assert!(!links.to_string().contains(path(&link).rsplit('/').next().expect("a token")), "shown once");
    let opened: Vec<String> =
        sqlx::query_scalar("select action from audit_entries where action like 'share.%' order by at")
            .fetch_all(app.db.pool())
            .await
            .expect("read");
    assert_eq!(opened, ["share.create", "share.open", "share.open", "share.open"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_by_time_by_hand_and_with_its_report_and_nobody_can_tell_which() {
    let app = TestApp::set_up().await;
    let id = report(&app).await;
    let share = async |hours: i64| {
        let body = json!({ "expiresInHours": hours });
        app.post(&format!("/api/reports/{id}/share"), &body).await.expect(200).json()
    };
    let (expired, revoked, deleted) = (share(1).await, share(720).await, share(24).await);
    assert_eq!((hours(&app, &expired).await, hours(&app, &revoked).await), (1.0, 720.0));
    sqlx::query("update shares set expires_at = now() - interval '1 second' where id = $1::uuid")
        .bind(expired["id"].as_str().expect("an id"))
        .execute(app.db.pool())
        .await
        .expect("time passes");
    let of = format!("/api/reports/{id}/shares/{}", revoked["id"].as_str().expect("an id"));
    for _ in 0..2 {
        app.delete(&of).await.expect(200);
    }
    app.get(&path(&deleted)).await.expect(200);
    app.delete(&format!("/api/reports/{id}")).await.expect(200);

    let never = "/api/reports/shared/bm90IGEgdG9rZW4gb2YgYW55IGxpbmsgdGhhdCBldmVyIHdhcw";
    let unknown = app.get(never).await.expect(404).json();
    for link in [&expired, &revoked, &deleted] {
        assert_eq!(app.get(&path(link)).await.expect(404).json(), unknown);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_share_and_only_what_is_there_within_the_hours() {
    let mut app = TestApp::set_up().await;
    let id = report(&app).await;
    let share = format!("/api/reports/{id}/share");
    for hours in [json!(0), json!(721), json!(-1), json!("two"), json!(1.5)] {
        app.post(&share, &json!({ "expiresInHours": hours })).await.expect(422);
    }
    let request = json!({ "title": "T", "report_type": "asset_inventory", "format": "md" });
    let unfinished = app.post("/api/reports/generate", &request).await.expect(202).json();
    let unfinished = unfinished["id"].as_str().expect("an id");
    app.post(&format!("/api/reports/{unfinished}/share"), &json!({})).await.expect(409);

    let analyst = app.account(app.tenant().await, "analyst", "analyst").await;
    app.sign_in_as(Some(analyst));
    app.post(&share, &json!({})).await.expect(403);
    app.get(&format!("/api/reports/{id}/shares")).await.expect(403);
    let (_, theirs) = app.other_tenant("theirs", "admin").await;
    app.sign_in_as(Some(theirs));
    app.post(&share, &json!({})).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_too_large_for_a_mail_is_sent_as_a_link_that_holds_for_seven_days() {
    let mut app = TestApp::set_up_with(&[("MAIL_MAX_BYTES", "65536")]).await;
    let request = json!({ "title": "T", "report_type": "asset_inventory", "format": "pdf",
                          "recipients": ["board@example.com", "auditor@example.org"] });
    let accepted = app.post("/api/reports/generate", &request).await.expect(202).json();
    app.run_jobs().await;
    let id = accepted["id"].as_str().expect("an id").to_owned();
    let own = app.get(&format!("/api/reports/{id}/download")).await.expect(200);
    let mails: Vec<String> = std::fs::read_dir(app.folder.path().join("outbox"))
        .expect("an outbox")
        .map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("a mail"))
        // Quoted-printable breaks long lines.
        .map(|mail| mail.replace("=\r\n", "").replace("=3D", "="))
        .collect();
    assert_eq!(mails.len(), 2);
    let links = app.get(&format!("/api/reports/{id}/shares")).await.expect(200).json();
    assert_eq!(links["total"], 1, "one link for all: it is revoked for all");
    assert_eq!(hours(&app, &links["data"][0]).await, 168.0);
    app.sign_in_as(None);
    for mail in mails {
        assert!(!mail.contains("application/pdf") && mail.contains("too large to be attached"), "{mail}");
        let from = mail.find("/api/reports/shared/").expect("a link");
        let path = mail[from..].split_whitespace().next().expect("an address");
        assert_eq!(app.get(path).await.expect(200).bytes, own.bytes);
    }
}
