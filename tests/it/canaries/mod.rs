//! Secrets are planted wherever one can come in, and looked for in everything that comes out: log lines, answers, metrics, traces, files,
//! what Redis holds, and every row of the database.

mod installation;
mod logins;
mod planted;
mod refusals;

use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use base64::Engine as _;
use harness::{TestDb, eventually};
use runtime::egress::Method;
use serde_json::{Value, json};

use self::{
    installation::{Installation, serve, until_tried},
    planted::Canaries,
};
use crate::programs::SOON;

/// Brings secrets in by every door, well and badly, and has each thing that can fail fail.
async fn live(installation: &Installation, db: &TestDb, canaries: &mut Canaries) {
    let password = canaries.plant("administrator's password");
    let account = json!({ "username": "admin", "email": "admin@example.com", "password": password });
    let (status, answer) = installation.ask(Method::POST, "/api/auth/setup", &[], &account, true).await;
    assert_eq!(status, 201, "{answer}");
    let mistyped = canaries.plant("mistyped password");
    for name in ["admin", "nobody"] {
        let account = json!({ "username": name, "password": mistyped });
        let (status, _) = installation.ask(Method::POST, "/api/auth/login", &[], &account, false).await;
        assert!([401, 503].contains(&status), "{status}");
    }
    let account = json!({ "username": "admin", "password": password });
    let (status, session) = installation.ask(Method::POST, "/api/auth/login", &[], &account, true).await;
    assert_eq!(status, 200, "{session}");
    let token = |answer: &Value, name: &str| answer[name].as_str().expect(name).to_owned();
    let (access, refresh) = (token(&session, "access_token"), token(&session, "refresh_token"));
    canaries.add("access token", &access);
    canaries.add("refresh token", &refresh);
    let bearer = format!("Bearer {access}");
    let signed_in = [("authorization", bearer.as_str())];
    let post = async |path: &str, body: Value, confidential: bool| {
        installation.ask(Method::POST, path, &signed_in, &body, confidential).await
    };

    let (status, key) = post("/api/api-keys", json!({ "name": "pipeline", "role": "analyst" }), true).await;
    assert_eq!(status, 201, "{key}");
    let (status, personal) = post("/api/auth/tokens", json!({ "name": "mine" }), true).await;
    assert_eq!(status, 201, "{personal}");
    for (what, answer) in [("key of the organization", &key), ("personal token", &personal)] {
        let secret = answer.as_object().expect("an object").values().filter_map(Value::as_str);
        let secret = secret.into_iter().find(|text| text.starts_with("hg_")).expect("it is shown this once");
        canaries.add(what, secret);
        let (status, _) =
            installation.ask(Method::GET, "/api/jobs", &[("x-api-key", secret)], &Value::Null, false).await;
        assert_eq!(status, 200, "{what}");
        let by_query = format!("/api/jobs?api_key={secret}");
        installation.ask(Method::GET, &by_query, &[("x-api-key", secret)], &Value::Null, true).await;
    }

    let received = Arc::<Mutex<Vec<u8>>>::default();
    let refusing = serve("/{*path}", received, StatusCode::BAD_GATEWAY).await;
    let secret = canaries.plant("secret of the webhook");
    let whsec = format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(&secret));
    canaries.add("secret of the webhook, as it was sent", whsec.trim_end_matches('='));
    let hook = json!({ "url": format!("{refusing}/hook"), "events": ["report.generated"], "secret": whsec });
    let (status, answer) = post("/api/webhooks", hook, true).await;
    assert_eq!(status, 201, "{answer}");
    let unsound = canaries.plant("unsound secret of a webhook");
    let hook = json!({ "url": format!("{refusing}/hook"), "secret": unsound });
    assert_eq!(post("/api/webhooks", hook, false).await.0, 422);
    let hook = json!({ "url": format!("{refusing}/hook"), "secret": { "of": unsound } });
    assert_eq!(post("/api/webhooks", hook, false).await.0, 422);
    let (login, in_url) = ("plimsoll", canaries.plant("password in the address of a webhook"));
    let hook = json!({ "url": refusing.replace("http://", &format!("http://{login}:{in_url}@")) });
    assert_eq!(post("/api/webhooks", hook, false).await.0, 422);

    let other = canaries.plant("password of somebody else");
    let user = json!({ "username": "ann", "email": "ann@example.com", "password": other, "role": "analyst" });
    assert_eq!(post("/api/users", user, false).await.0, 201);
    let short =
        json!({ "username": "bob", "email": "bob@example.com", "password": [other], "role": "analyst" });
    assert_eq!(post("/api/users", short, false).await.0, 422);
    installation.ask(Method::GET, "/api/auth/oidc/authorize", &[], &Value::Null, false).await;

    let patch =
        async |path: &str, body: Value| installation.ask(Method::PATCH, path, &signed_in, &body, false).await;
    let wazuh = canaries.plant("password at Wazuh");
    let github = canaries.plant("token at GitHub");
    let ceph = canaries.plant("password at Ceph");
    for (name, settings, field) in [
        ("wazuh", json!({ "url": refusing, "api_key": format!("api:{wazuh}") }), "api_key"),
        ("github", json!({ "org": "example", "auth_type": "pat", "pat": github }), "pat"),
        ("ceph", json!({ "url": refusing, "username": "ceph", "password": ceph }), "password"),
    ] {
        let path = format!("/api/config/integrations/{name}");
        // First as what it is not.
        assert_eq!(patch(&path, json!({ field: [settings[field]] })).await.0, 422, "{name}");
        assert_eq!(patch(&path, json!({ field: format!("{}\r\n", settings[field]) })).await.0, 422, "{name}");
        let (status, answer) = patch(&path, settings).await;
        assert_eq!(status, 200, "{answer}");
    }
    for name in ["wazuh", "ceph"] {
        let (status, tested) = post(&format!("/api/config/integrations/{name}/test"), json!({}), false).await;
        assert_eq!((status, &tested["success"]), (200, &json!(false)), "{tested}");
    }
    assert_eq!(post("/api/system/force-inventory", json!({}), false).await.0, 202);

    let mut tx = db.system.begin().await.expect("a transaction");
    store::sources::ensure(&mut tx, store::sources::PUBLIC).await.expect("sources");
    sqlx::query("update sources set url = $1 || '/' || slug")
        .bind(&refusing)
        .execute(&mut *tx)
        .await
        .expect("set");
    tx.commit().await.expect("committed");
    let source: uuid::Uuid = sqlx::query_scalar("select id from sources where slug = 'nvd'")
        .fetch_one(db.pool())
        .await
        .expect("the source");
    let source_key = canaries.plant("key of a source");
    let path = format!("/api/config/vuln-sources/{source}");
    let (status, answer) = patch(&path, json!({ "api_key": source_key })).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(patch(&path, json!({ "api_key": format!("{source_key} and more") })).await.0, 422);
    assert_eq!(post(&format!("{path}/test"), json!({}), false).await.0, 200);
    assert_eq!(post("/api/scan-runs/trigger/nvd", json!({}), false).await.0, 202);
    let report = json!({ "title": "Nothing to hide", "report_type": "executive_summary", "format": "json",
                         "recipients": ["board@example.com"] });
    let (status, answer) = post("/api/reports/generate", report, false).await;
    assert_eq!(status, 202, "{answer}");
    for kind in ["crawl_source", "pull_inventory", "send_mail", "deliver_webhook"] {
        until_tried(db, kind).await;
    }
    for path in [
        "/api/jobs?status=queued",
        "/api/audit?page_size=500",
        "/api/webhooks",
        "/api/config/integrations",
        "/api/config/vuln-sources",
        "/api/users",
        "/api/scan-runs/",
    ] {
        assert_eq!(
            installation.ask(Method::GET, path, &signed_in, &Value::Null, false).await.0,
            200,
            "{path}"
        );
    }

    // Used twice, a refresh token has been stolen: the session ends.
    let spent = json!({ "refresh_token": refresh });
    let (status, renewed) = installation.ask(Method::POST, "/api/auth/refresh", &[], &spent, true).await;
    assert_eq!(status, 200, "{renewed}");
    canaries.add("renewed access token", &token(&renewed, "access_token"));
    canaries.add("renewed refresh token", &token(&renewed, "refresh_token"));
    assert_eq!(installation.ask(Method::POST, "/api/auth/refresh", &[], &spent, false).await.0, 401);
    assert_eq!(installation.ask(Method::GET, "/api/jobs", &signed_in, &Value::Null, false).await.0, 401);
}

async fn nothing_comes_out(log_format: &str, log_level: &str) {
    let db = TestDb::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("LOG_FORMAT", log_format), ("LOG_LEVEL", log_level)];
    let (installation, logins, mut canaries) = Installation::start(&db, folder.path(), &settings).await;
    live(&installation, &db, &mut canaries).await;
    eventually("the traces of all that was tried", SOON, || async {
        let traces =
            String::from_utf8_lossy(&installation.traces.lock().expect("nobody panicked")).into_owned();
        ["process ingest", "process delivery", "POST /api/auth/refresh"]
            .into_iter()
            .all(|name| traces.contains(name))
            .then_some(())
    })
    .await;
    canaries.look_for(&installation.places(&db).await);
    drop(installation);
    logins.remove(db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_comes_out_of_an_installation_that_logs_all_it_can_as_json() {
    nothing_comes_out("json", "trace").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_comes_out_of_an_installation_that_logs_text() {
    nothing_comes_out("text", "debug").await;
}
