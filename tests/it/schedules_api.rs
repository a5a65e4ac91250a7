//! Schedules through the API: who may do what with which, and what is said when it cannot be done.

use harness::TestApp;
use serde_json::{Value, json};

fn every_morning() -> Value {
    json!({ "name": "before work", "kind": "correlate", "cron": "30 6 * * MON-FRI", "time_zone": "europe/berlin" })
}

fn path(schedule: &Value) -> String {
    format!("/api/schedules/{}", schedule["id"].as_str().expect("an id"))
}

/// Compares the times to come that two answers tell: the first of `earlier` may have come meanwhile.
#[track_caller]
fn assert_same_runs(earlier: &Value, later: &Value) {
    let runs = |schedule: &Value| schedule["next_runs"].as_array().expect("runs").clone();
    let (earlier, later) = (runs(earlier), runs(later));
    assert!(later == earlier || later.starts_with(&earlier[1..]), "{earlier:?} and {later:?}");
}

/// The one of that name among all that are listed.
async fn listed(app: &TestApp, name: &str) -> Value {
    let list = app.get("/api/schedules?page_size=500").await.expect(200).json();
    let all = list["data"].as_array().expect("a page");
    all.iter().find(|schedule| schedule["name"] == name).expect(name).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_made_seen_changed_turned_off_and_deleted() {
    let app = TestApp::set_up().await;
    let made = app.post("/api/schedules", &every_morning()).await.expect(201).json();
    assert_eq!(made["time_zone"], "Europe/Berlin", "as the database writes it");
    assert_eq!(made["payload"]["tenant_id"], app.tenant().await.to_string(), "the tenant is filled in");
    assert_eq!(made["next_runs"].as_array().expect("runs").len(), 5);
    assert!(made["next_runs"][0]["local"].as_str().expect("a time").contains("T06:30:00+0"), "{made}");
    assert_same_runs(&made, &listed(&app, "before work").await);

    let changed =
        app.patch(&path(&made), &json!({ "cron": "0 7 * * *", "overlap": "queue_one" })).await.expect(200);
    let changed = changed.json();
    assert!(changed["next_runs"][0]["local"].as_str().expect("a time").contains("T07:00:00"), "{changed}");
    assert_eq!((&changed["overlap"], &changed["name"]), (&json!("queue_one"), &made["name"]));
    app.patch(&path(&made), &json!({ "catch_up": "all" })).await.expect(422);
    app.patch(&path(&made), &json!({ "catch_up": "all", "overlap": "allow" })).await.expect(200);
    app.patch(&path(&made), &json!({ "overlap": "skip" })).await.expect(422);
    let off = app.patch(&path(&made), &json!({ "enabled": false })).await.expect(200).json();
    assert_eq!(off["next_runs"], json!([]));
    let on = app.patch(&path(&made), &json!({ "enabled": true })).await.expect(200).json();
    assert_same_runs(&changed, &on);

    app.delete(&path(&made)).await.expect(200);
    app.get(&path(&made)).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_says_what_changes_of_the_clock_do() {
    let app = TestApp::set_up().await;
    let request =
        json!({ "cron": "30 2 * * *", "time_zone": "America/New_York", "after": "2026-03-07T12:00:00Z" });
    let preview = app.post("/api/schedules/preview", &request).await.expect(200).json();
    let runs = preview["next_runs"].as_array().expect("runs");
    let expected =
        [("2026-03-08T03:00:00-04:00", json!("after_gap")), ("2026-03-09T02:30:00-04:00", json!(null))];
    for (run, (local, shift)) in runs.iter().zip(expected) {
        assert_eq!((&run["local"], &run["shift"]), (&json!(local), &shift));
    }
    assert_eq!(runs.len(), 5);
    assert!(preview["time_zone_version"].as_str().expect("a release").starts_with("20"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_scheduled_is_refused_with_field_value_rule_and_remedy() {
    let app = TestApp::set_up().await;
    for (field, value, told) in [
        ("cron", json!("61 * * * *"), "minute `61`: write a number from 0 to 59"),
        ("cron", json!("0 0 30 2 *"), "never comes"),
        ("cron", json!("0 0 0 * * *"), "has 6 fields and needs five"),
        ("time_zone", json!("Europe/Berln"), "did you mean `Europe/Berlin`?"),
        ("kind", json!("render_report"), "choose one of crawl_source, pull_inventory, correlate"),
        ("kind", json!("fold_laundry"), "`fold_laundry` cannot be scheduled"),
        ("name", json!(" "), "it must have 1 to 100"),
        ("payload", json!({ "asset": 7 }), "it has no member `asset`"),
        (
            "payload",
            json!({ "tenant_id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a" }),
            "your own organization's",
        ),
        ("catch_up", json!("never"), "`never` is not one of skip, last, all"),
        (
            "catch_up",
            json!("all"),
            "overlap `skip` would leave out most of them again: set overlap to `allow`",
        ),
        ("catch_up_window_minutes", json!(0), "between 1 and 10080"),
        ("overlap", json!("queue"), "`queue` is not one of allow, skip"),
        ("interval", json!(5), "there is no field `interval` here"),
    ] {
        let mut request = every_morning();
        request[field] = value.clone();
        let answer = app.post("/api/schedules", &request).await.expect(422).json();
        let error = &answer["errors"][0];
        assert!(
            error["field"].as_str().expect("a field").starts_with(&format!("body -> {field}")),
            "{answer}"
        );
        assert!(error["message"].as_str().expect("a message").contains(told), "{field} {value}: {answer}");
    }
    let both = json!({ "cron": "x", "time_zone": "y" });
    let answer = app.post("/api/schedules/preview", &both).await.expect(422).json();
    assert_eq!(answer["errors"].as_array().expect("errors").len(), 2, "all that is wrong is told at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn run_now_makes_one_job_and_is_written_down() {
    let app = TestApp::set_up().await;
    let made = app.post("/api/schedules", &every_morning()).await.expect(201).json();
    let run = format!("{}/run-now", path(&made));
    let first = app.post(&run, &json!({})).await.expect(202);
    assert_eq!(
        first.header("location"),
        Some(&*format!("/api/jobs/{}", first.json()["job_id"].as_str().expect("an id")))
    );
    let again = app.post(&run, &json!({})).await.expect(202).json();
    assert_eq!(again["job_id"], first.json()["job_id"], "it is not finished yet");
    app.run_jobs().await;
    let third = app.post(&run, &json!({})).await.expect(202).json();
    assert_ne!(third["job_id"], again["job_id"]);
    let seen = app.get(&path(&made)).await.expect(200).json();
    let firings = seen["firings"].as_array().expect("firings");
    assert_eq!(firings.len(), 2, "{seen}");
    assert!(firings.iter().all(|firing| firing["is_by_hand"] == true && firing["outcome"] == "enqueued"));
    assert_eq!(firings[1]["job_state"], "completed");
    // Its next time stays what it is.
    assert_same_runs(&made, &seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_with_the_program_stays_and_a_crawl_follows_its_source() {
    let app = TestApp::set_up().await;
    let mut tx = app.db.system.begin().await.expect("a transaction");
    store::sources::ensure(&mut tx, &store::sources::PUBLIC[..1]).await.expect("a source");
    tx.commit().await.expect("committed");
    for name in ["nightly correlation", "retention", "integrity of stored files", "crawl nvd"] {
        let schedule = listed(&app, name).await;
        assert_eq!(schedule["is_built_in"], true);
        app.delete(&path(&schedule)).await.expect(409);
    }
    let retention = listed(&app, "retention").await;
    let moved = app.patch(&path(&retention), &json!({ "cron": "0 4 * * SUN" })).await.expect(200).json();
    assert_eq!(moved["is_shared"], true);
    let crawl = listed(&app, "crawl nvd").await;
    let refused = app.patch(&path(&crawl), &json!({ "enabled": false })).await.expect(409).json();
    assert!(refused["detail"].as_str().expect("a detail").contains("/api/config/vuln-sources/"), "{refused}");
    let source = format!("/api/config/vuln-sources/{}", crawl["source_id"].as_str().expect("an id"));
    app.patch(&source, &json!({ "crawl_interval_minutes": 90, "enabled": false })).await.expect(200);
    let crawl = listed(&app, "crawl nvd").await;
    assert_eq!((&crawl["interval_minutes"], &crawl["enabled"]), (&json!(90), &json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_organization_has_its_own_and_only_administrators_change_them() {
    let mut app = TestApp::set_up().await;
    let made = app.post("/api/schedules", &every_morning()).await.expect(201).json();
    app.post("/api/schedules", &every_morning()).await.expect(409);
    let retention = listed(&app, "retention").await;
    let analyst = app.account(app.tenant().await, "analyst", "analyst").await;
    let (_, stranger) = app.other_tenant("globex", "admin").await;

    app.sign_in_as(Some(analyst));
    app.get(&path(&made)).await.expect(200);
    for refused in [
        app.post("/api/schedules", &every_morning()).await,
        app.patch(&path(&made), &json!({ "enabled": false })).await,
        app.post(&format!("{}/run-now", path(&made)), &json!({})).await,
        app.delete(&path(&made)).await,
    ] {
        refused.expect(403);
    }

    app.sign_in_as(Some(stranger));
    for hidden in [
        app.get(&path(&made)).await,
        app.patch(&path(&made), &json!({ "enabled": false })).await,
        app.post(&format!("{}/run-now", path(&made)), &json!({})).await,
        app.delete(&path(&made)).await,
    ] {
        hidden.expect(404);
    }
    app.get(&path(&retention)).await.expect(200);
    let purge = json!({ "name": "purge", "kind": "purge_expired", "cron": "@daily" });
    for refused in [
        app.patch(&path(&retention), &json!({ "enabled": false })).await,
        app.post(&format!("{}/run-now", path(&retention)), &json!({})).await,
        app.post("/api/schedules", &purge).await,
    ] {
        refused.expect(403);
    }
    app.post("/api/schedules", &every_morning()).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_may_have_twenty_turned_on() {
    let app = TestApp::set_up().await;
    let numbered = |number: usize, enabled: bool| {
        let mut request = every_morning();
        request["name"] = json!(format!("number {number}"));
        request["enabled"] = json!(enabled);
        request
    };
    for number in 0..20 {
        app.post("/api/schedules", &numbered(number, true)).await.expect(201);
    }
    app.post("/api/schedules", &numbered(20, true)).await.expect(409);
    let off = app.post("/api/schedules", &numbered(20, false)).await.expect(201).json();
    app.patch(&path(&off), &json!({ "enabled": true })).await.expect(409);
    app.delete(&path(&listed(&app, "number 7").await)).await.expect(200);
    app.patch(&path(&off), &json!({ "enabled": true })).await.expect(200);
}
