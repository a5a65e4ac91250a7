//! The history of reports in the words of seed 002, and its links: opened without an account, for thirty-one days, the same each time.

use std::collections::BTreeSet;

use axum::body::Body;
use chrono::{DateTime, Utc};
use harness::TestApp;
use http::Method;
use runtime::secrets::Keys;
use serde_json::{Value, json};

use crate::documents::make;

const HISTORY: &str = "/api/v1/reports/history";

async fn history(app: &TestApp, query: &str) -> Value {
    app.get(&format!("{HISTORY}{query}")).await.expect(200).json()
}

/// The one report that there is, as the history tells of it.
async fn only(app: &TestApp) -> Value {
    let history = history(app, "").await;
    assert_eq!(history["total"], 1, "{history}");
    history["reports"][0].clone()
}

/// What stands behind the host in the address of the file.
fn path(report: &Value) -> String {
    let url = report["download_url"].as_str().unwrap_or_else(|| panic!("a link: {report}"));
    url[url.find("/api/").expect("a path")..].to_owned()
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().expect("a time").parse().expect("RFC 3339")
}

async fn change(app: &TestApp, statement: &'static str) {
    let changed = sqlx::query(statement).execute(app.db.pool()).await.expect("changed").rows_affected();
    assert!(changed > 0, "{statement}");
}

/// The links of a report: what revokes each, and how often it was opened.
async fn links(app: &TestApp, id: &str) -> Vec<(String, i64)> {
    let links = app.get(&format!("/api/reports/{id}/shares")).await.expect(200).json();
    let links = links["data"].as_array().expect("links").iter();
    links
        .filter(|link| link["kind"] == "history")
        .map(|link| {
            (link["id"].as_str().expect("an id").to_owned(), link["opened"].as_i64().expect("a number"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_tells_what_was_made_how_it_was_sent_out_and_where_it_is() {
    let app = TestApp::set_up().await;
    let request = json!({ "title": "T", "report_type": "executive_summary", "format": "pdf",
                          "recipients": ["board@example.com", "auditor@example.org"] });
    let accepted = app.post("/api/reports/generate", &request).await.expect(202).json();
    let id = accepted["id"].as_str().expect("an id");
    let public = format!("report_{}", id.replace('-', ""));
    let before = only(&app).await;
    assert_eq!((&before["report_id"], &before["status"]), (&json!(public), &json!("generating")));
    for unknown in
        ["generated_at", "generation_time", "file_size", "page_count", "download_url", "expires_at"]
    {
        assert_eq!(before[unknown], Value::Null, "{unknown}");
    }
    assert_eq!(before["delivery"], json!({ "email_sent": false, "recipients": 0, "delivery_time": null }));
    app.run_jobs().await;

    let answer = app.get(HISTORY).await.expect(200);
    assert_eq!(answer.header("x-ratelimit-limit"), Some("1000"));
    let envelope = answer.json();
    let report = &envelope["reports"][0];
    assert_eq!(
        envelope,
        json!({ "reports": [report], "total": 1, "limit": 50, "offset": 0 }),
        "the document's envelope"
    );
    let fields: BTreeSet<&str> = report.as_object().expect("an object").keys().map(String::as_str).collect();
    let documented = [
        "report_id",
        "report_type",
        "status",
        "generated_at",
        "generation_time",
        "file_size",
        "page_count",
        "download_url",
        "expires_at",
        "delivery",
    ];
    assert_eq!(fields, BTreeSet::from(documented));
    assert_eq!((&report["report_id"], &report["report_type"]), (&json!(public), &json!("executive_summary")));
    assert_eq!(report["status"], "completed");
    let took = report["generation_time"].as_str().expect("a time on a clock");
    assert!(took.len() == 8 && took.starts_with("00:"), "{took}");
    assert!(report["page_count"].as_i64().expect("a PDF has pages") >= 1);
    assert_eq!((time(&report["expires_at"]) - time(&report["generated_at"])).num_hours(), 31 * 24);
    let delivery = &report["delivery"];
    assert_eq!((&delivery["email_sent"], &delivery["recipients"]), (&json!(true), &json!(2)), "{delivery}");
    assert!(time(&delivery["delivery_time"]) >= time(&report["generated_at"]));

    let link = path(report);
    let (name, token) = link.split_once("?token=").expect("a token");
    assert_eq!(name, format!("/api/v1/reports/download/{public}.pdf"));
    assert_eq!(token.len(), 64);
    let size = app.get(&link).await.expect(200).bytes.len();
    let told = report["file_size"].as_str().expect("a size").strip_suffix(" KB").expect("some kilobytes");
    let told: f64 = told.parse().expect("a number");
    assert!((told - size as f64 / 1000.0).abs() <= 0.051, "{told} KB of {size} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_opens_the_file_without_an_account_and_is_the_same_each_time() {
    let mut app = TestApp::set_up().await;
    let id = make(&app, "asset_inventory", "json", &json!({})).await;
    let own = app.get(&format!("/api/reports/{id}/download")).await.expect(200);
    let link = path(&only(&app).await);
    assert!(link.contains(".json?token="), "{link}");
    assert_eq!(path(&only(&app).await), link);
    assert_eq!(links(&app, &id).await.len(), 1);
    let token = link.rsplit('=').next().expect("a token").to_owned();
    let kept: String = sqlx::query_scalar("select row_to_json(s)::text from shares s")
        .fetch_one(app.db.pool())
        .await
        .expect("one");
    assert!(!kept.contains(&token), "its hash alone is kept");

    let person = app.sign_in_as(None);
    let file = app.get(&link).await.expect(200);
    assert_eq!(file.bytes, own.bytes);
    assert_eq!(file.header("etag"), own.header("etag"));
    assert_eq!(file.header("cache-control"), Some("private, no-store"));
    assert_eq!(file.header("referrer-policy"), Some("no-referrer"));
    assert!(file.header("content-disposition").expect("a name").starts_with("attachment; "));
    let part =
        app.request(Method::GET, &link).header("range", "bytes=5-9").body(Body::empty()).expect("a request");
    assert_eq!(app.send(part).await.expect(206).bytes, own.bytes[5..10]);
    app.get(&format!("{link}&utm_source=mail")).await.expect(422);

    // What is not quite it is nothing, as if there were no such report.
    let unknown = app.get(&link.replace(&id.replace('-', ""), "0199f8a26c1e7b629a535e1f0c2d4b7c")).await;
    let unknown = unknown.expect(404).json();
    let other = if token.ends_with('0') { "1" } else { "0" };
    for wrong in
        [format!("{}{other}", &token[..63]), token[..63].to_owned(), format!("{token}0"), "x".to_owned()]
    {
        let answer = app.get(&link.replace(&token, &wrong)).await.expect(404).json();
        assert_eq!(answer, unknown, "{wrong}");
    }
    app.get(&format!("/api/reports/shared/{token}")).await.expect(404);
    let bare = link.split('?').next().expect("an address");
    app.get(bare).await.expect(401);
    app.get(&format!("{bare}?token=")).await.expect(401);

    app.sign_in_as(person);
    assert_eq!(links(&app, &id).await[0].1, 2, "who leaves out the first bytes is counted too");
    // Who shows who they are is named, and needs no link.
    app.get(&link).await.expect(200);
    app.get(&link.replace(&token, "wrong")).await.expect(200);
    let person = app.sign_in_as(None);
    let stranger = app.request(Method::GET, &link).header("x-api-key", "hg_ak_unknown");
    let stranger = stranger.body(Body::empty()).expect("a request");
    app.send(stranger).await.expect(401);
    app.sign_in_as(person);
    assert_eq!(links(&app, &id).await[0].1, 2);
    let trail: Vec<String> = sqlx::query_scalar(
        "select action from audit_entries where target_type = 'share' or action in ('share.open', 'report.download') order by at",
    )
    .fetch_all(app.db.pool())
    .await
    .expect("read");
    let expected =
        ["report.download", "share.create", "share.open", "share.open", "report.download", "report.download"];
    assert_eq!(trail, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_has_run_out_says_so_to_who_has_it() {
    let mut app = TestApp::set_up().await;
    let id = make(&app, "asset_inventory", "md", &json!({})).await;
    let link = path(&only(&app).await);
    change(&app, "update shares set expires_at = now() - interval '1 second'").await;
    change(&app, "update reports set completed_at = completed_at - interval '31 days', created_at = created_at - interval '31 days'").await;

    let past = only(&app).await;
    assert_eq!(past["download_url"], Value::Null, "{past}");
    assert!(time(&past["expires_at"]) <= Utc::now());
    assert_eq!(links(&app, &id).await.len(), 1, "no other is made");
    app.sign_in_as(None);
    let gone = app.get(&link).await.expect(410).json();
    assert_eq!(gone["error"]["code"], "DOWNLOAD_EXPIRED", "{gone}");
    assert!(gone["error"]["message"].is_string() && gone["error"]["details"].is_object(), "{gone}");
    app.get(&format!("{link}0")).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_when_it_is_revoked_and_with_its_report() {
    let mut app = TestApp::set_up().await;
    let id = make(&app, "asset_inventory", "md", &json!({})).await;
    let link = path(&only(&app).await);
    app.get(&link).await.expect(200);
    let (share, _) = links(&app, &id).await.remove(0);
    // By the id that the history tells.
    let public = only(&app).await["report_id"].as_str().expect("an id").to_owned();
    app.delete(&format!("/api/reports/{public}/shares/{share}")).await.expect(200);
    let person = app.sign_in_as(None);
    app.get(&link).await.expect(404);
    app.sign_in_as(person);
    assert_eq!(only(&app).await["download_url"], Value::Null, "no other takes its place");
    assert_eq!(links(&app, &public).await.len(), 1);
    app.delete(&format!("/api/reports/{public}")).await.expect(200);

    let id = make(&app, "asset_inventory", "md", &json!({})).await;
    let link = path(&only(&app).await);
    app.get(&link).await.expect(200);
    app.delete(&format!("/api/reports/{id}")).await.expect(200);
    let person = app.sign_in_as(None);
    app.get(&link).await.expect(404);
    app.sign_in_as(person);
    assert_eq!(history(&app, "").await["reports"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_goes_on_when_secrets_get_another_key() {
    let mut app = TestApp::set_up().await;
    let id = make(&app, "asset_inventory", "md", &json!({})).await;
    let link = path(&only(&app).await);
    let ours = Keys::load(&app.config.secrets_key).expect("the keys");
    let new = ours.add().expect("a new key");
    let mut connection = store::db::connect_once(&app.db.worker_url).await.expect("postgres answers");
    store::db::act_as_system(&mut connection).await.expect("it may");
    store::secrets::rotate(&mut connection, &ours, new).await.expect("rotated");

    let another = path(&only(&app).await);
    assert_ne!(another, link);
    let person = app.sign_in_as(None);
    for link in [&link, &another] {
        app.get(link).await.expect(200);
    }
    app.sign_in_as(person);
    // Whoever revokes the one that was there means that none is shown.
    for (share, _) in links(&app, &id).await {
        app.delete(&format!("/api/reports/{id}/shares/{share}")).await.expect(200);
    }
    assert_eq!(only(&app).await["download_url"], Value::Null);
    app.sign_in_as(None);
    for link in [link, another] {
        app.get(&link).await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_links_of_an_organization_end_at_once() {
    let mut app = TestApp::set_up().await;
    let id = make(&app, "asset_inventory", "md", &json!({})).await;
    let shared = app.post(&format!("/api/reports/{id}/share"), &json!({})).await.expect(200).json();
    let url = shared["url"].as_str().expect("an address");
    let opening = [path(&only(&app).await), url[url.find("/api/").expect("a path")..].to_owned()];

    let (_, theirs) = app.other_tenant("theirs", "admin").await;
    let ours = app.sign_in_as(Some(theirs));
    assert_eq!(app.delete("/api/reports/shares").await.expect(200).json(), json!({ "revoked": 0 }));
    app.sign_in_as(None);
    for link in &opening {
        app.get(link).await.expect(200);
    }
    app.sign_in_as(ours);
    for revoked in [2, 0] {
        assert_eq!(app.delete("/api/reports/shares").await.expect(200).json(), json!({ "revoked": revoked }));
    }
    assert_eq!(only(&app).await["download_url"], Value::Null);
    app.sign_in_as(None);
    for link in &opening {
        app.get(link).await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_the_history_at_once_gets_the_same_links_in_any_order() {
    let app = TestApp::set_up().await;
    make(&app, "asset_inventory", "md", &json!({})).await;
    change(
        &app,
        "insert into reports (tenant_id, id, title, report_type, format, status, created_at, completed_at)
         select tenant_id, gen_random_uuid(), title, report_type, format, status, created_at + n * interval '1 ms', completed_at
           from reports, generate_series(1, 200) as n",
    )
    .await;
    let asked = (0..8).map(|number| {
        let direction = if number % 2 == 0 { "asc" } else { "desc" };
        let app = &app;
        async move { history(app, &format!("?limit=500&sort_dir={direction}")).await }
    });
    let told = futures::future::join_all(asked).await;
    let links = |history: &Value| -> BTreeSet<String> {
        history["reports"].as_array().expect("reports").iter().map(path).collect()
    };
    assert_eq!(links(&told[0]).len(), 201);
    assert!(told.iter().all(|history| links(history) == links(&told[0])));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_organization_sees_nothing_of_it() {
    let mut app = TestApp::set_up().await;
    make(&app, "asset_inventory", "md", &json!({})).await;
    let link = path(&only(&app).await);
    let (_, theirs) = app.other_tenant("theirs", "admin").await;
    app.sign_in_as(Some(theirs));
    assert_eq!(history(&app, "").await, json!({ "reports": [], "total": 0, "limit": 50, "offset": 0 }));
    app.get(link.split('?').next().expect("an address")).await.expect(404);
    app.sign_in_as(None);
    app.get(HISTORY).await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_filtered_and_paged_in_the_documents_words() {
    let app = TestApp::set_up().await;
    for report_type in ["executive_summary", "asset_inventory", "asset_inventory"] {
        make(&app, report_type, "md", &json!({})).await;
    }
    let waiting = json!({ "title": "T", "report_type": "asset_inventory", "format": "md" });
    app.post("/api/reports/generate", &waiting).await.expect(202);
    change(
        &app,
        "update reports set created_at = '2024-01-20T23:59:00Z', completed_at = '2024-01-21T00:01:00Z'
          where report_type = 'executive_summary'",
    )
    .await;

    for (query, total) in [
        ("", 4),
        ("?report_type=asset_inventory", 3),
        ("?report_type=Asset_Inventory&status=COMPLETED", 2),
        ("?status=generating", 1),
        ("?status=failed", 0),
        ("?start_date=2024-01-21&end_date=2024-01-21", 1),
        ("?end_date=2024-01-20", 0),
        ("?start_date=2024-01-22", 3),
        ("?end_date=9999-12-31", 4),
        (
            "?report_type=executive_summary&status=completed&start_date=2020-01-01&end_date=2035-01-01&limit=5&offset=0",
            1,
        ),
    ] {
        let found = history(&app, query).await;
        assert_eq!(found["total"], total, "{query}: {found}");
        assert_eq!(found["reports"].as_array().map(Vec::len), found["total"].as_u64().map(|n| n as usize));
    }
    let ids = |page: &Value| -> Vec<Value> {
        page["reports"]
            .as_array()
            .expect("reports")
            .iter()
            .map(|report| report["report_id"].clone())
            .collect()
    };
    let whole = ids(&history(&app, "").await);
    let page = history(&app, "?limit=2&offset=1").await;
    assert_eq!((&page["limit"], &page["offset"], &page["total"]), (&json!(2), &json!(1), &json!(4)));
    assert_eq!(ids(&page), whole[1..3]);

    let refused = async |query: &str, status: u16| {
        let answer = app.get(&format!("{HISTORY}{query}")).await.expect(status).json();
        answer["error"].clone()
    };
    let unknown = refused("?report_type=invalid_type", 400).await;
    assert_eq!(unknown["code"], "INVALID_REPORT_TYPE");
    assert_eq!(unknown["message"], "Report type 'invalid_type' is not supported");
    assert_eq!(unknown["details"]["report_type"], "invalid_type");
    let supported = unknown["details"]["supported_types"].as_array().expect("types");
    assert!(supported.contains(&json!("executive_summary")), "{unknown}");
    let backwards = refused("?start_date=2024-02-01&end_date=2024-01-31", 400).await;
    assert_eq!(backwards["code"], "INVALID_DATE_RANGE", "{backwards}");
    for query in ["?status=lost", "?start_date=yesterday", "?limit=many", "?colour=red"] {
        assert_eq!(refused(query, 422).await["code"], "VALIDATION_ERROR", "{query}");
    }
}
