//! Settings through the API: who may change which, and that what they say is done.

use std::time::Duration;

use axum::body::Body;
use harness::TestApp;
use http::Method;
use queue::rescue;
use serde_json::{Value, json};
use store::{
    alerts::{self, Raised, Severity},
    sources,
};

use crate::work::{Work, accept, dispatch};

/// Every public source; three of them, all of which give scores, are enabled.
async fn with_sources(app: &TestApp) {
    let mut tx = app.db.system.begin().await.expect("a transaction");
    sources::ensure(&mut tx, sources::PUBLIC).await.expect("sources");
    let enabled = "update sources set enabled = slug in ('nvd', 'epss', 'cisa-kev')";
    sqlx::query(enabled).execute(&mut *tx).await.expect("three are enabled");
    tx.commit().await.expect("committed");
}

async fn count(app: &TestApp, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(app.db.pool()).await.expect("counted")
}

fn is_told(answer: &Value, field: &str, told: &str) {
    let errors = answer["errors"].as_array().expect("errors");
    let found = errors.iter().any(|error| {
        error["field"] == format!("body{field}")
            && error["message"].as_str().is_some_and(|text| text.contains(told))
    });
    assert!(found, "no `{told}` about `{field}`: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_weight_is_in_the_formula_and_has_every_organization_scored_anew() {
    let app = TestApp::set_up().await;
    with_sources(&app).await;
    let (theirs, _) = app.other_tenant("theirs", "admin").await;
    for tenant in [app.tenant().await, theirs] {
        sqlx::query("insert into assets (tenant_id, id, kind, hostname) values ($1, gen_random_uuid(), 'host', 'web-1')")
            .bind(tenant.0)
            .execute(app.db.pool())
            .await
            .expect("an asset is made");
    }
    let seen = app.get("/api/config/scoring").await.expect(200).json();
    assert_eq!(seen["formula_preview"], "composite = (1.0*nvd + 1.0*epss + 1.0*cisa-kev) / sum(weights)");
    let weights = |kev: f64| {
        json!({ "weights": [{ "source_slug": "epss", "priority_weight": 1.5 },
                            { "source_slug": "cisa-kev", "priority_weight": kev }] })
    };
    let changed = app.patch("/api/config/scoring", &weights(2.0)).await.expect(200).json();
    assert_eq!(changed["formula_preview"], "composite = (1.0*nvd + 1.5*epss + 2.0*cisa-kev) / sum(weights)");
    assert_eq!(changed["weights"][0], json!({ "source_slug": "cisa-kev", "priority_weight": 2.0 }));
    let correlations = "select count(*) from jobs where kind = 'correlate'";
    assert_eq!(count(&app, correlations).await, 2);
    assert_eq!(count(&app, "select count(distinct tenant_id) from jobs where kind = 'correlate'").await, 2);

    app.run_jobs().await;
    app.patch("/api/config/scoring", &weights(2.0)).await.expect(200);
    assert_eq!(count(&app, correlations).await, 2, "nothing changed");
    let reset = app.post("/api/config/scoring/reset", &json!({})).await.expect(200).json();
    assert_eq!(reset, seen);
    assert_eq!(count(&app, correlations).await, 4);

    app.patch("/api/config/scoring", &weights(3.0)).await.expect(200);
    app.run_jobs().await;
    let reset = async || {
        let request = app
            .request(Method::POST, "/api/config/scoring/reset")
            .header("idempotency-key", "4f1e")
            .body(Body::empty());
        app.send(request.expect("a request")).await.expect(200)
    };
    assert_eq!(reset().await.header("idempotent-replayed"), None);
    app.patch("/api/config/scoring", &weights(4.0)).await.expect(200);
    app.run_jobs().await;
    let jobs = count(&app, correlations).await;
    let again = reset().await;
    assert_eq!((again.header("idempotent-replayed"), again.json()), (Some("true"), seen));
    assert_eq!(count(&app, correlations).await, jobs, "sent again, not done again");

    let trail = app.get("/api/audit?target_type=vuln_source").await.expect(200).json();
    assert!(
        trail["data"]
            .as_array()
            .expect("entries")
            .iter()
            .any(|entry| entry["new_value"]["priority_weight"] == 2.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_out_of_range_and_sources_that_are_none_are_refused_together_and_nothing_changes() {
    let mut app = TestApp::set_up().await;
    with_sources(&app).await;
    let request = json!({ "weights": [{ "source_slug": "nvd", "priority_weight": 10.5 },
                                      { "source_slug": "nvdd", "priority_weight": 1 },
                                      { "source_slug": "epss", "priority_weight": 9 }] });
    let answer = app.patch("/api/config/scoring", &request).await.expect(422).json();
    is_told(&answer, " -> weights -> 0 -> priority_weight", "10.5, it must be between 0.0 and 10.0");
    is_told(&answer, " -> weights -> 1 -> source_slug", "there is no source `nvdd`");
    app.patch("/api/config/scoring", &json!({ "weights": [] })).await.expect(422);
    assert_eq!(count(&app, "select count(*) from sources where priority_weight <> 1").await, 0);

    let (_, other) = app.other_tenant("theirs", "admin").await;
    let _ = app.sign_in_as(Some(other));
    app.get("/api/config/scoring").await.expect(200);
    app.patch("/api/config/scoring", &json!({ "weights": [] })).await.expect(403);
    app.post("/api/config/scoring/reset", &json!({})).await.expect(403);
    app.patch("/api/config/retention", &json!({ "retention_days": 1 })).await.expect(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_purged_follows_the_days_that_were_chosen() {
    let app = TestApp::set_up().await;
    let before = app.get("/api/config/retention").await.expect(200).json();
    assert_eq!((&before["retention_days"], &before["overrides"]["dead_jobs"]), (&json!(30), &json!(90)));
    let alert =
        app.post("/api/alerts/", &json!({ "alert_type": "custom", "title": "old" })).await.expect(201).json();
    let path = format!("/api/alerts/{}/acknowledge", alert["id"].as_str().expect("an id"));
    app.patch(&path, &json!({})).await.expect(200);
    sqlx::query("update alerts set acknowledged_at = now() - interval '40 days'")
        .execute(app.db.pool())
        .await
        .expect("it is old");
    let list = app.get("/api/schedules?page_size=500").await.expect(200).json();
    let schedules = list["data"].as_array().expect("schedules");
    let purge = schedules.iter().find(|schedule| schedule["name"] == "retention").expect("it is built in");
    let run = format!("/api/schedules/{}/run-now", purge["id"].as_str().expect("an id"));

    let longer = json!({ "retention_days": 10, "overrides": { "alerts": 60, "dead_jobs": null } });
    let chosen = app.patch("/api/config/retention", &longer).await.expect(200).json();
    assert_eq!(chosen["overrides"], json!({ "alerts": 60, "scan_runs": 90, "schedule_firings": 90 }));
    app.post(&run, &json!({})).await.expect(202);
    app.run_jobs().await;
    assert_eq!(count(&app, "select count(*) from alerts").await, 1, "sixty days are not over");
    app.patch("/api/config/retention", &json!({ "overrides": { "alerts": null } })).await.expect(200);
    app.post(&run, &json!({})).await.expect(202);
    app.run_jobs().await;
    assert_eq!(count(&app, "select count(*) from alerts").await, 0, "ten days are");
}

#[tokio::test(flavor = "multi_thread")]
async fn days_out_of_range_and_tables_that_are_none_are_refused() {
    let app = TestApp::set_up().await;
    let request = json!({ "retention_days": 0, "overrides": { "alerts": 4000, "users": 5 } });
    let answer = app.patch("/api/config/retention", &request).await.expect(422).json();
    is_told(&answer, " -> retention_days", "0 days: it must be between 1 and 3650");
    is_told(&answer, " -> overrides -> alerts", "4000 days");
    is_told(&answer, " -> overrides -> users", "take one of alerts, dead_jobs");
    let answer = app.patch("/api/config/retention", &json!({ "overrides": { "audit_log": 89 } })).await;
    is_told(
        &answer.expect(422).json(),
        " -> overrides -> audit_log",
        "89 days: it must be between 90 and 3650",
    );
    let chosen = app.patch("/api/config/retention", &json!({ "overrides": { "audit_log": 730 } })).await;
    assert_eq!(chosen.expect(200).json()["overrides"]["audit_log"], 730);
    let answer = app.patch("/api/config/retention", &json!({})).await.expect(422).json();
    is_told(&answer, "", "nothing to change");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_written_found_and_acknowledged_once() {
    let mut app = TestApp::set_up().await;
    let alert = json!({ "alert_type": "custom", "title": "Manual alert", "message": "Investigation needed", "severity": "high" });
    let made = app.post("/api/alerts/", &alert).await.expect(201).json();
    assert_eq!((&made["created_by"], &made["acknowledged"]), (&json!("admin"), &json!(false)));
    let total = async |query: &str| {
        app.get(&format!("/api/alerts/?{query}")).await.expect(200).json()["total"].clone()
    };
    assert_eq!(total("acknowledged=false&severity=high").await, 1);
    assert_eq!(total("severity=low").await, 0);
    let path = format!("/api/alerts/{}/acknowledge", made["id"].as_str().expect("an id"));
    let seen = app.patch(&path, &json!({})).await.expect(200).json();
    assert_eq!((&seen["acknowledged"], &seen["acknowledged_by"]), (&json!(true), &json!("admin")));
    assert_eq!(app.patch(&path, &json!({})).await.expect(200).json(), seen, "the first one stays");
    assert_eq!(total("acknowledged=true").await, 1);

    let reader = app.account(app.tenant().await, "reader", "read_only").await;
    let (_, stranger) = app.other_tenant("strangers", "admin").await;
    let _ = app.sign_in_as(Some(reader));
    app.patch(&path, &json!({})).await.expect(403);
    app.post("/api/alerts", &alert).await.expect(403);
    let _ = app.sign_in_as(Some(stranger));
    app.patch(&path, &json!({})).await.expect(404);
    assert_eq!(app.get("/api/alerts").await.expect(200).json()["total"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_breaks_a_rule_is_refused_with_field_and_remedy() {
    let app = TestApp::set_up().await;
    for (field, value, told) in [
        ("alert_type", json!("Not a word"), "lower-case letters"),
        ("title", json!("  "), "it must have 1 to 200"),
        ("message", json!("x".repeat(4001)), "4001 characters"),
        ("severity", json!("extreme"), "severity `extreme` is not one of critical"),
        ("acknowledged", json!(true), "there is no field `acknowledged`"),
    ] {
        let mut alert = json!({ "alert_type": "custom", "title": "t" });
        alert[field] = value;
        let answer = app.post("/api/alerts", &alert).await.expect(422).json();
        is_told(&answer, &format!(" -> {field}"), told);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_again_counts_in_the_alert_that_nobody_has_acknowledged() {
    let app = TestApp::set_up().await;
    let raise = async |message| {
        let mut tx = app.db.system.begin().await.expect("a transaction");
        let raised = Raised {
            alert_type: "source_quarantined",
            severity: Severity::High,
            title: "What NVD sent was not believed",
            message,
            subject: "nvd",
        };
        alerts::raise(&mut tx, None, &raised).await.expect("raised");
        tx.commit().await.expect("committed");
    };
    raise("once").await;
    raise("twice").await;
    let page = app.get("/api/alerts").await.expect(200).json();
    let alert = &page["data"][0];
    assert_eq!(
        (&page["total"], &alert["occurrences"], &alert["message"]),
        (&json!(1), &json!(2), &json!("twice"))
    );
    let path = format!("/api/alerts/{}/acknowledge", alert["id"].as_str().expect("an id"));
    app.patch(&path, &json!({})).await.expect(200);
    raise("again").await;
    assert_eq!(app.get("/api/alerts?acknowledged=false").await.expect(200).json()["total"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_dead_as_poison_alerts_everybody_whom_it_concerns() {
    let mut app = TestApp::set_up().await;
    let (_, other) = app.other_tenant("theirs", "admin").await;
    let job = accept(&app.db, &Work::default()).await;
    for _ in 0..rescue::CRASHES_UNTIL_POISON {
        let reference = dispatch(&app.db, job).await;
        let claimed = queue::claim::take(app.db.pool(), reference, "doomed", Duration::ZERO).await;
        claimed.expect("postgres answers").expect("it is claimed");
        assert_eq!(count(&app, "select count(*) from alerts").await, 0);
        rescue::once(app.db.pool()).await.expect("a look");
    }
    for token in [None, Some(other)] {
        if token.is_some() {
            let _ = app.sign_in_as(token);
        }
        let page = app.get("/api/alerts?severity=high").await.expect(200).json();
        let alert = &page["data"][0];
        assert_eq!(
            (&alert["alert_type"], &alert["subject"]),
            (&json!("job_poisoned"), &json!(job.to_string())),
            "{page}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_tells_of_workers_queues_database_redis_storage_and_time_zones() {
    let mut app = TestApp::set_up().await;
    worker_starts(&app, "first").await;
    accept(&app.db, &Work::default()).await;
    let (_, reader) = app.other_tenant("theirs", "read_only").await;
    let _ = app.sign_in_as(Some(reader));
    let status = app.get("/api/system/status").await.expect(200).json();
    assert_eq!(status["nodes"][0]["name"], "first", "{status}");
    let queues = status["queues"].as_array().expect("queues");
    assert_eq!(
        queues.iter().map(|queue| queue["due"].as_i64().expect("a count")).sum::<i64>(),
        1,
        "{status}"
    );
    assert_eq!((&status["database"], &status["storage"]), (&json!("connected"), &json!("connected")));
    assert!(
        status["redis"].is_string() && status["database_details"]["size_bytes"].as_i64() > Some(0),
        "{status}"
    );
    assert!(status["time_zone_version"].as_str().expect("a release").starts_with("20"));
    assert_eq!(status["maintenance_mode"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn during_maintenance_nothing_changes_but_people_sign_in_and_can_end_it() {
    let app = TestApp::set_up().await;
    for name in ["working", "draining"] {
        worker_starts(&app, name).await;
    }
    sqlx::query("update workers set wanted = 'drain' where name = 'draining'")
        .execute(app.db.pool())
        .await
        .expect("it is told to drain");
    let begun = app.patch("/api/system/maintenance", &json!({ "enabled": true })).await.expect(200).json();
    assert_eq!(begun["maintenance_mode"], true);
    worker_starts(&app, "late").await;
    assert_eq!(orders(&app).await, ["draining drain", "late quiet", "working quiet"]);

    let alert = json!({ "alert_type": "custom", "title": "t" });
    let refused = app.post("/api/alerts/", &alert).await.expect(503);
    assert_eq!(refused.header("retry-after"), Some("60"));
    assert!(refused.json()["detail"].as_str().expect("a detail").contains("being maintained"));
    app.delete("/api/webhooks/0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a").await.expect(503);
    app.get("/api/alerts").await.expect(200);
    assert_eq!(app.get("/api/system/status").await.expect(200).json()["maintenance_mode"], true);
    app.account(app.tenant().await, "reader", "read_only").await;
    let again = app.patch("/api/system/maintenance", &json!({ "enabled": true })).await.expect(200).json();
    assert_eq!(again, begun, "twice is once");

    let switch =
        app.request(Method::PATCH, "/api/system/maintenance").body(Body::empty()).expect("a request");
    assert_eq!(
        app.send(switch).await.expect(200).json()["maintenance_mode"],
        false,
        "without a body it switches"
    );
    assert_eq!(orders(&app).await, ["draining drain", "late work", "working work"]);
    app.post("/api/alerts", &alert).await.expect(201);
    let trail = app.get("/api/audit?action=maintenance.update").await.expect(200).json();
    assert_eq!((&trail["total"], &trail["data"][0]["actor"]), (&json!(2), &json!("admin")), "{trail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_administrator_of_the_installation_begins_maintenance() {
    let mut app = TestApp::set_up().await;
    let (_, other) = app.other_tenant("theirs", "admin").await;
    let _ = app.sign_in_as(Some(other));
    app.patch("/api/system/maintenance", &json!({ "enabled": true })).await.expect(403);
    let _ = app.sign_in_as(None);
    app.patch("/api/system/maintenance", &json!({ "enabled": true })).await.expect(401);
    app.get("/api/system/status").await.expect(401);
}

async fn worker_starts(app: &TestApp, name: &str) {
    sqlx::query(
        "insert into workers (name, host, version, queues, slots) values ($1, 'host', '0', '{ingest}', 1)",
    )
    .bind(name)
    .execute(app.db.pool())
    .await
    .expect("a worker speaks");
}

async fn orders(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar("select name || ' ' || wanted from workers order by name")
        .fetch_all(app.db.pool())
        .await
        .expect("read")
}
