//! Secrets at rest: sealed, bound to their place, and moved to another key while everything goes on.

use harness::TestApp;
use runtime::secrets::{Keys, SecretError};
use secrecy::SecretString;
use serde_json::{Value, json};
use store::{Error, SystemDb, secrets};

const CANARY: &str = "whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5";

/// The keys of an installation, as another process of it has them.
fn keys(app: &TestApp) -> Keys {
    Keys::load(&app.config.secrets_key).expect("the keys")
}

/// A connection as the command line has one.
async fn operator(app: &TestApp) -> sqlx::PgConnection {
    let mut connection = store::db::connect_once(&app.db.worker_url).await.expect("postgres answers");
    store::db::act_as_system(&mut connection).await.expect("it may");
    connection
}

async fn webhook(app: &TestApp) -> Value {
    let request = json!({ "url": "http://127.0.0.1:9/hook", "secret": CANARY });
    app.post("/api/webhooks", &request).await.expect(201).json()
}

/// The secret that a worker would sign the endpoint's deliveries with.
async fn signed_with(app: &TestApp, webhook: &Value, keys: &Keys) -> store::Result<Option<SecretString>> {
    let id = webhook["id"].as_str().expect("an id").parse().expect("a UUID");
    let mut tx = app.db.system.begin_as(app.tenant().await).await.expect("a transaction");
    let delivery = store::deliveries::insert_delivery(&mut tx, id, "report.generated", b"{}").await?;
    Ok(store::deliveries::delivery(&mut tx, keys, delivery).await?.secret)
}

fn is_canary(secret: &Option<SecretString>) -> bool {
    secret.as_ref().is_some_and(|secret| secrecy::ExposeSecret::expose_secret(secret) == CANARY)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_the_database_or_in_the_trail_as_it_is() {
    let app = TestApp::set_up().await;
    let made = webhook(&app).await;
    assert_eq!(made["secret"], CANARY, "shown this once");
    let request = json!({ "url": "https://wazuh.example.com:55000", "api_key": "canary-of-wazuh" });
    app.patch("/api/config/integrations/wazuh", &request).await.expect(200);
    let tables: Vec<String> = sqlx::query_scalar(
        "select quote_ident(relname) from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'",
    )
    .fetch_all(app.db.pool())
    .await
    .expect("the catalogue");
    for table in tables {
        let rows: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select t::text from {table} t")))
                .fetch_all(app.db.pool())
                .await
                .unwrap_or_default();
        for row in rows {
            // Bytes are written in hex.
            for canary in [CANARY, "canary-of-wazuh"] {
                let as_hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
                assert!(!row.contains(canary) && !row.contains(&as_hex), "{table}: {row}");
            }
        }
    }
    assert!(is_canary(&signed_with(&app, &made, &keys(&app)).await.expect("opened")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_was_moved_to_another_row_or_tenant_does_not_open() {
    let mut app = TestApp::set_up().await;
    let (ours, sibling) = (webhook(&app).await, webhook(&app).await);
    let (_, token) = app.other_tenant("theirs", "admin").await;
    let before = app.sign_in_as(Some(token));
    let theirs = webhook(&app).await;
    app.sign_in_as(before);
    for other in [&sibling, &theirs] {
        sqlx::query(
            "update webhooks w set secret = o.secret, secret_key = o.secret_key
               from webhooks o where w.id::text = $1 and o.id::text = $2",
        )
        .bind(ours["id"].as_str())
        .bind(other["id"].as_str())
        .execute(app.db.pool())
        .await
        .expect("moved");
        let refused = signed_with(&app, &ours, &keys(&app)).await;
        assert!(matches!(refused, Err(Error::Secret(SecretError::Refused))), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_is_refused_at_start_with_a_sentence() {
    let app = TestApp::set_up().await;
    let mut connection = operator(&app).await;
    secrets::check(&mut connection, &keys(&app)).await.expect("the right one");
    let other = Keys::parse(&runtime::secrets::generate().expect("random")).expect("a key");
    let refused = secrets::check(&mut connection, &other).await.expect_err("the wrong one");
    let Error::Secret(SecretError::WrongKey { current, .. }) = &refused else { panic!("{refused:?}") };
    assert_eq!(*current, keys(&app).newest());
    let said = std::error::Error::source(&refused).expect("a reason").to_string();
    assert!(
        said.contains(&current.to_string()) && said.contains("SECRETS_KEY") && said.contains("backup"),
        "{said}"
    );

    // The worker watches for it while it works, and ends.
    let ended = secrets::watch(app.db.pool(), &other).await;
    assert!(matches!(ended, Error::Secret(SecretError::WrongKey { .. })), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_wraps_everything_anew_while_others_seal_and_open() {
    let app = TestApp::set_up().await;
    let mut hooks = Vec::new();
    for _ in 0..7 {
        hooks.push(webhook(&app).await);
    }
    let trail = "select count(*) from audit_entries where action like '%.update'";
    let changes: i64 = sqlx::query_scalar(trail).fetch_one(app.db.pool()).await.expect("counted");

    // As in a process of its own, which has read the file before the new key was in it.
    let (elsewhere, ours) = (keys(&app), keys(&app));
    let old = ours.newest();
    let new = ours.add().expect("a new key");
    let mut connection = operator(&app).await;
    let rotation = secrets::rotate(&mut connection, &ours, new);
    let meanwhile = async {
        let mut made = Vec::new();
        for _ in 0..10 {
            made.push(webhook(&app).await);
        }
        made
    };
    let (rotated, made) = tokio::join!(rotation, meanwhile);
    let rotated = rotated.expect("rotated");
    assert_eq!((rotated.from, rotated.to), (old, new));
    assert!(rotated.wrapped >= 8, "seven webhooks and the key of the access tokens: {rotated:?}");
    hooks.extend(made);
    let used = secrets::in_use(&mut connection).await.expect("counted");
    assert_eq!(used.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [new]);
    for hook in &hooks {
        assert!(is_canary(&signed_with(&app, hook, &elsewhere).await.expect("opened")));
    }
    let after: i64 = sqlx::query_scalar(trail).fetch_one(app.db.pool()).await.expect("counted");
    assert_eq!(after, changes, "no secret was changed");
    app.get("/api/auth/me").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_was_interrupted_is_taken_up() {
    let app = TestApp::set_up().await;
    let hook = webhook(&app).await;
    let ours = keys(&app);
    let old = ours.newest();
    let new = ours.add().expect("a new key");
    let mut connection = operator(&app).await;
    secrets::rotate(&mut connection, &ours, new).await.expect("rotated");
    // As if it had ended after one row: another is still wrapped with the old key.
    let wrapped: Vec<u8> =
        sqlx::query_scalar("select secret_key from webhooks").fetch_one(app.db.pool()).await.expect("one");
    sqlx::query("update webhooks set secret_key = $1")
        .bind(ours.rewrap(old, &wrapped).expect("rewrapped"))
        .execute(app.db.pool())
        .await
        .expect("set back");
    assert_eq!(secrets::rotate(&mut connection, &ours, new).await.expect("rotated").wrapped, 1);
    assert_eq!(secrets::rotate(&mut connection, &ours, new).await.expect("rotated").wrapped, 0);
    assert!(is_canary(&signed_with(&app, &hook, &ours).await.expect("opened")));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_whose_key_is_lost_can_be_given_up() {
    let app = TestApp::set_up().await;
    let hook = webhook(&app).await;
    let request = json!({ "url": "https://wazuh.example.com:55000", "api_key": "lost" });
    app.patch("/api/config/integrations/wazuh", &request).await.expect(200);
    let other = Keys::parse(&runtime::secrets::generate().expect("random")).expect("a key");
    let mut connection = operator(&app).await;
    assert_eq!(secrets::forget(&mut connection, &keys(&app)).await.expect("nothing is lost"), 0);
    assert_eq!(secrets::forget(&mut connection, &other).await.expect("given up"), 3);
    secrets::check(&mut connection, &other).await.expect("the right one now");
    let path = format!("/api/webhooks/{}", hook["id"].as_str().expect("an id"));
    let (enabled, why): (bool, String) = sqlx::query_as("select enabled, disabled_reason from webhooks")
        .fetch_one(app.db.pool())
        .await
        .expect("one");
    assert!(!enabled && why.contains("lost"), "{path}: {why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_with_a_sealed_secret_is_known_to_those_who_give_up() {
    let db = harness::TestDb::new().await;
    let system: &SystemDb = &db.system;
    let mut connection = system.pool().acquire().await.expect("a connection");
    let (found, known) = secrets::tables(&mut connection).await.expect("the catalogue");
    assert_eq!(found, known);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_source_goes_in_does_not_come_out_and_is_sent_with_a_test() {
    let mut app = TestApp::set_up().await;
    let (asked, url) = answering_source().await;
    let id: uuid::Uuid = sqlx::query_scalar(
        "insert into sources (id, slug, name, category, feed, url, crawl_interval_minutes)
         values (gen_random_uuid(), 'mirror', 'Mirror', 'exploit', 'cisa-kev', $1, 60) returning id",
    )
    .bind(url)
    .fetch_one(app.db.pool())
    .await
    .expect("a source");
    let path = format!("/api/config/vuln-sources/{id}");
    assert_eq!(app.get(&path).await.expect(200).json()["api_key"], Value::Null);
    let changed = app.patch(&path, &json!({ "api_key": "canary-of-the-mirror" })).await.expect(200).json();
    assert_eq!(changed["api_key"], "********");
    app.patch(&path, &json!({ "api_key": "********", "notes": "mirrored" })).await.expect(200);
    app.patch(&path, &json!({ "api_key": "two words" })).await.expect(422);
    let tested = app.post(&format!("{path}/test"), &json!({})).await.expect(200).json();
    assert_eq!((&tested["success"], &tested["message"]), (&json!(true), &json!("The source answers (200).")));
    assert_eq!(*asked.lock().expect("a list"), ["Bearer canary-of-the-mirror"]);

    let (_, token) = app.other_tenant("theirs", "admin").await;
    let admin = app.sign_in_as(Some(token));
    app.patch(&path, &json!({ "api_key": "theirs" })).await.expect(403);
    app.sign_in_as(admin);
    assert_eq!(
        app.patch(&path, &json!({ "api_key": null })).await.expect(200).json()["api_key"],
        Value::Null
    );
}

/// A place that answers everything with 200, and what `Authorization` it was shown.
async fn answering_source() -> (std::sync::Arc<std::sync::Mutex<Vec<String>>>, String) {
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let notes = asked.clone();
    let handler = axum::routing::any(async move |headers: http::HeaderMap| {
        let shown = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        notes.lock().expect("a list").push(shown.to_owned());
        "{}"
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/feed.json", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback_service(handler)).await });
    (asked, url)
}
