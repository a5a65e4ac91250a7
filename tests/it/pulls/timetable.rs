//! When pulls come, and starting them by hand.

use harness::TestApp;
use queue::schedule::firing::fire_due;
use serde_json::{Value, json};

use super::{
    GITHUB, WAZUH, last_pull, listed,
    manager::{Host, Manager},
};

async fn pulls(app: &TestApp) -> Vec<Value> {
    let all = listed(app, "/api/schedules?page_size=100").await;
    all.into_iter().filter(|schedule| schedule["kind"] == "pull_inventory").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integration_has_a_schedule_for_as_long_as_it_is_set_up() {
    let app = TestApp::set_up().await;
    assert_eq!(pulls(&app).await, Vec::<Value>::new());
    app.patch(WAZUH, &json!({ "url": "https://wazuh.example.com:55000" })).await.expect(200);
    assert_eq!(pulls(&app).await, Vec::<Value>::new(), "nobody would let us in");
    app.patch(WAZUH, &json!({ "api_key": "reader:secret", "poll_interval_minutes": 30 })).await.expect(200);
    let pull = pulls(&app).await.remove(0);
    assert_eq!(
        (
            &pull["name"],
            &pull["integration"],
            &pull["interval_minutes"],
            &pull["is_built_in"],
            &pull["enabled"]
        ),
        (&json!("pull wazuh"), &json!("wazuh"), &json!(30), &json!(true), &json!(true))
    );
    assert_eq!((&pull["is_shared"], &pull["payload"]["integration"]), (&json!(false), &json!("wazuh")));
    assert_eq!(pull["next_runs"].as_array().map(Vec::len), Some(5));

    app.patch(WAZUH, &json!({ "poll_interval_minutes": 5 })).await.expect(200);
    let faster = pulls(&app).await.remove(0);
    assert_eq!((&faster["id"], &faster["interval_minutes"]), (&pull["id"], &json!(5)));

    app.patch(GITHUB, &json!({ "org": "example" })).await.expect(200);
    assert_eq!(pulls(&app).await.len(), 1);
    app.patch(GITHUB, &json!({ "pat": "secret" })).await.expect(200);
    assert_eq!(pulls(&app).await[0]["interval_minutes"], 1440);
    app.patch(GITHUB, &json!({ "auth_type": "app" })).await.expect(200);
    assert_eq!(pulls(&app).await.len(), 1, "the token is none of an app's");

    app.patch(WAZUH, &json!({ "api_key": null })).await.expect(200);
    assert_eq!(pulls(&app).await, Vec::<Value>::new());
    app.patch(WAZUH, &json!({ "api_key": "reader:secret" })).await.expect(200);
    assert_eq!(pulls(&app).await.len(), 1);
    app.patch(WAZUH, &json!({ "url": null })).await.expect(200);
    assert_eq!(pulls(&app).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_follows_its_integration_and_can_be_turned_off() {
    let app = TestApp::set_up().await;
    let own = json!({ "name": "Pull Wazuh", "kind": "correlate", "cron": "0 3 * * *" });
    app.post("/api/schedules", &own).await.expect(201);
    app.patch(WAZUH, &json!({ "url": "https://wazuh.example.com:55000", "api_key": "reader:secret" }))
        .await
        .expect(200);
    let pull = pulls(&app).await.remove(0);
    assert!(pull["name"].as_str().expect("a name").starts_with("pull wazuh "), "the name was taken: {pull}");
    let path = format!("/api/schedules/{}", pull["id"].as_str().expect("an id"));
    let refused = app.patch(&path, &json!({ "cron": "0 3 * * *" })).await.expect(409).json();
    assert!(refused["detail"].as_str().expect("why").contains(WAZUH), "{refused}");
    app.delete(&path).await.expect(409);

    app.patch(&path, &json!({ "enabled": false })).await.expect(200);
    app.patch(WAZUH, &json!({ "poll_interval_minutes": 5, "api_key": "reader:another" })).await.expect(200);
    let off = pulls(&app).await.remove(0);
    assert_eq!(
        (&off["enabled"], &off["interval_minutes"], &off["next_runs"]),
        (&json!(false), &json!(5), &json!([]))
    );
    let on = app.patch(&path, &json!({ "enabled": true })).await.expect(200).json();
    assert_eq!(on["next_runs"].as_array().map(Vec::len), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_integration_is_pulled_at_once_and_then_by_its_interval() {
    let app = TestApp::set_up().await;
    let manager = Manager::start(vec![Host::new("001", "web-01", &[("bash", "5.2.15-2")])]).await;
    app.patch(WAZUH, &manager.settings()).await.expect(200);
    let fired = "select count(*) from schedule_firings f join schedules s on s.id = f.schedule_id where s.integration = 'wazuh'";
    let fired =
        async || -> i64 { sqlx::query_scalar(fired).fetch_one(app.db.pool()).await.expect("a number") };
    let now = chrono::Utc::now() + chrono::TimeDelta::seconds(2);
    fire_due(&app.db.system, now).await.expect("fired");
    app.run_jobs().await;
    assert_eq!(last_pull(&app).await["state"], "completed");
    assert_eq!(fired().await, 1);
    fire_due(&app.db.system, now + chrono::TimeDelta::minutes(14)).await.expect("fired");
    assert_eq!(fired().await, 1, "not before a quarter of an hour is over");
    fire_due(&app.db.system, now + chrono::TimeDelta::minutes(16)).await.expect("fired");
    assert_eq!(fired().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_set_up_is_pulled_by_hand_once() {
    let app = TestApp::set_up().await;
    let refused = app.post("/api/system/force-inventory", &json!({})).await.expect(409).json();
    assert!(refused["detail"].as_str().expect("why").contains("No integration is set up"), "{refused}");
    app.patch(WAZUH, &json!({ "url": "https://wazuh.example.com:55000", "api_key": "reader:secret" }))
        .await
        .expect(200);
    app.patch(GITHUB, &json!({ "org": "example", "pat": "secret" })).await.expect(200);

    let first = app.post("/api/system/force-inventory", &json!({})).await.expect(202);
    let forced = first.json();
    let batch = format!("/api/batches/{}", forced["batch_id"].as_str().expect("an id"));
    assert_eq!(
        first.header("location"),
        Some(&*format!("/api/jobs/{}", forced["job_id"].as_str().expect("an id")))
    );
    assert_eq!((&forced["integrations"], &forced["status"]), (&json!(["wazuh", "github"]), &json!("queued")));
    app.get(&batch).await.expect(200);
    app.post("/api/system/force-inventory", &json!({})).await.expect(202);
    let jobs = listed(&app, "/api/jobs?kind=pull_inventory").await;
    assert_eq!(jobs.len(), 2, "one for each, however often it is asked for: {jobs:?}");

    let trail = listed(&app, "/api/audit?page_size=500").await;
    assert!(
        trail.iter().any(|entry| entry["action"] == "inventory.pull" && entry["target_type"] == "job"),
        "{trail:?}"
    );
}
