//! What operators do to jobs, queues and workers, over HTTP.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use axum::body::Body;
use domain::id::{JobId, TenantId};
use harness::TestApp;
use http::Method;
use queue::claim::{self, Verdict};
use serde_json::{Value, json};

use crate::work::dispatch;

#[tokio::test(flavor = "multi_thread")]
async fn a_report_fails_with_its_job_and_is_made_after_all_when_that_is_retried() {
    let app = TestApp::set_up().await;
    let request = json!({ "title": "Late", "report_type": "asset_inventory", "format": "json" });
    let accepted = app.post("/api/reports/generate", &request).await.expect(202).json();
    let [report, job] = ["id", "job_id"].map(|field| accepted[field].as_str().expect("an id").to_owned());
    let status = async || {
        let shown = app.get(&format!("/api/reports/{report}")).await.expect(200).json();
        let listed = app.get("/api/reports?sort=status&status=failed").await.expect(200).json();
        (
            shown["status"].as_str().expect("a word").to_owned(),
            shown["error"].clone(),
            listed["total"].clone(),
        )
    };
    app.post(&format!("/api/jobs/{job}/cancel"), &json!({})).await.expect(200);
    assert_eq!(status().await, ("failed".into(), json!("its job was cancelled"), json!(1)));
    app.post(&format!("/api/jobs/{job}/retry"), &json!({})).await.expect(200);
    assert_eq!(status().await, ("generating".into(), Value::Null, json!(0)));
    app.run_jobs().await;
    assert_eq!(status().await, ("completed".into(), Value::Null, json!(0)));
}

/// A job of `tenant` in `state`, as if it had come there: the owner of the tables may write what no login of the engine may.
pub(crate) async fn job(app: &TestApp, tenant: Option<TenantId>, kind: &str, state: &str) -> JobId {
    jobs(app, tenant, kind, state, 1).await[0]
}

/// `count` such jobs.
async fn jobs(app: &TestApp, tenant: Option<TenantId>, kind: &str, state: &str, count: usize) -> Vec<JobId> {
    let mut owner = store::db::connect_once(&app.db.owner_url).await.expect("the owner");
    let ids: Vec<_> = (0..count).map(|_| JobId::new()).collect();
    let final_state = ["completed", "cancelled", "dead"].contains(&state);
    sqlx::query(
        "insert into jobs (id, tenant_id, kind, queue, payload, state, max_attempts, timeout_seconds, finished_at, dead_reason,
                           last_error, leased_until, fence)
         select id, $2, $3, 'delivery', '{\"mail_id\": \"m-17\"}', $4, 3, 60, case when $5 then now() end,
                case when $4 = 'dead' then 'exhausted' end, case when $4 = 'dead' then 'HTTP 502 from the server' end,
                case when $4 = 'running' then now() + interval '1 minute' end, case when $4 = 'running' then 1 end
           from unnest($1::uuid[]) as id",
    )
    .bind(ids.iter().map(|id| id.0).collect::<Vec<_>>())
    .bind(tenant.map(|tenant| tenant.0))
    .bind(kind)
    .bind(state)
    .bind(final_state)
    .execute(&mut owner)
    .await
    .expect("jobs are made");
    ids
}

/// The ids of the jobs on a page.
pub(crate) fn ids(page: &Value) -> HashSet<String> {
    page["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|job| job["id"].as_str().expect("an id").into())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_found_by_what_they_are_and_paged_without_gaps() {
    let app = TestApp::set_up().await;
    let tenant = Some(app.tenant().await);
    for _ in 0..7 {
        job(&app, tenant, "send_mail", "completed").await;
    }
    let dead = job(&app, tenant, "send_mail", "dead").await;
    job(&app, tenant, "correlate", "available").await;
    job(&app, None, "crawl_source", "completed").await;
    for (filter, count) in [
        ("", 10),
        ("kind=send_mail", 8),
        ("kind=send_mail&status=failed", 1),
        ("state=dead", 1),
        ("dead_reason=exhausted", 1),
        ("dead_reason=poison", 0),
        ("queue=delivery", 10),
        ("queue=rendering", 0),
        ("text=http+502", 1),
        ("text=m-17", 10),
        ("status=queued", 1),
        ("created_until=2020-01-01T00:00:00Z", 0),
        ("created_from=2020-01-01T00:00:00Z", 10),
        ("tenant=installation", 1),
        (&format!("text={dead}"), 1),
    ] {
        let page = app.get(&format!("/api/jobs?{filter}")).await.expect(200).json();
        assert_eq!(
            (page["data"].as_array().map(Vec::len), &page["total"]),
            (Some(count), &json!(count)),
            "{filter}"
        );
        assert_eq!(page["total_is_exact"], true);
    }
    let (mut seen, mut cursor) = (HashSet::new(), String::new());
    for _ in 0..4 {
        let page = app.get(&format!("/api/jobs?page_size=3&cursor={cursor}")).await.expect(200).json();
        assert!(ids(&page).is_disjoint(&seen), "nothing comes twice");
        seen.extend(ids(&page));
        cursor = page["next_cursor"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!((seen.len(), cursor.as_str()), (10, ""));
    for wrong in ["cursor=7", "kind=no_such", "queue=no_such", "state=no_such", "tenant=acme"] {
        app.get(&format!("/api/jobs?{wrong}")).await.expect(422);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_shows_its_attempts_with_a_hint_and_can_be_retried() {
    let app = TestApp::set_up().await;
    let dead = job(&app, Some(app.tenant().await), "send_mail", "dead").await;
    sqlx::query(
        "insert into job_attempts (job_id, fence, attempt, worker, ended_at, outcome, error_class, error)
         values ($1, 1, 1, 'w-1', now(), 'retry', 'network', 'connection refused'), ($1, 2, 2, 'w-2', now(), 'dead', 'network', 'again')",
    )
    .bind(dead.0)
    .execute(app.db.pool())
    .await
    .expect("two attempts");
    let seen = app.get(&format!("/api/jobs/{dead}")).await.expect(200).json();
    assert_eq!(
        (seen["attempts"].as_array().map(Vec::len), &seen["attempts"][0]["worker"]),
        (Some(2), &json!("w-1"))
    );
    assert!(seen["attempts"][0]["hint"].as_str().expect("a hint").contains("DNS"));
    assert_eq!(seen["why_not_running"], json!([]));
    let retried = app.post(&format!("/api/jobs/{dead}/retry"), &json!({})).await.expect(200).json();
    assert_eq!((&retried["state"], &retried["attempt"]), (&json!("available"), &json!(0)));
    app.post(&format!("/api/jobs/{dead}/retry"), &json!({})).await.expect(409);
    let why = &app.get(&format!("/api/jobs/{dead}")).await.expect(200).json()["why_not_running"];
    assert_eq!(why[0]["code"], "no_worker", "{why}");
    let cancelled = app.post(&format!("/api/jobs/{dead}/cancel"), &json!({})).await.expect(200).json();
    assert_eq!(cancelled["state"], "cancelled");
    app.post(&format!("/api/jobs/{dead}/cancel"), &json!({})).await.expect(200);
    let trail = app.get("/api/audit?target_type=job").await.expect(200).json();
    let actions: Vec<_> =
        trail["data"].as_array().expect("entries").iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["job.cancel", "job.retry"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_put_off_says_why_with_its_attempt_and_when_asked_why_it_is_not_running() {
    let app = TestApp::set_up().await;
    let put_off = job(&app, Some(app.tenant().await), "crawl_source", "available").await;
    let reference = dispatch(&app.db, put_off).await;
    claim::take(app.db.pool(), reference, "w-1", Duration::from_secs(60))
        .await
        .expect("answered")
        .expect("ours");
    let why = "the feed is being rebuilt".to_owned();
    let verdict = Verdict::GiveBack { pause: Duration::from_secs(600), outcome: "snoozed", why };
    let written = claim::conclude_many(app.db.pool(), &[(reference, verdict)]).await.expect("answered");
    assert_eq!(written, [Some("snoozed".to_owned())]);
    let seen = app.get(&format!("/api/jobs/{put_off}")).await.expect(200).json();
    assert_eq!((&seen["state"], &seen["attempt"]), (&json!("scheduled"), &json!(0)));
    assert_eq!(
        (&seen["attempts"][0]["outcome"], &seen["attempts"][0]["error"]),
        (&json!("snoozed"), &json!("the feed is being rebuilt"))
    );
    assert_eq!((&seen["attempts"][0]["hint"], &seen["last_error"]), (&Value::Null, &Value::Null));
    let told = &seen["why_not_running"][0];
    assert_eq!(told["code"], "snoozed");
    let text = told["text"].as_str().expect("words");
    assert!(
        text.starts_with("It was put off until ") && text.ends_with(": the feed is being rebuilt."),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_work_has_been_asked_for_again_is_not_retried() {
    let app = TestApp::set_up().await;
    let tenant = Some(app.tenant().await);
    let (old, new) =
        (job(&app, tenant, "send_mail", "dead").await, job(&app, tenant, "send_mail", "available").await);
    sqlx::query("update jobs set unique_key = 'mail 7' where id in ($1, $2)")
        .bind(old.0)
        .bind(new.0)
        .execute(app.db.pool())
        .await
        .expect("the same work");
    let refused = app.post(&format!("/api/jobs/{old}/retry"), &json!({})).await.expect(409).json();
    assert!(refused["detail"].as_str().expect("why").contains("asked for again"));
    let bulk = json!({ "filter": { "kind": "send_mail" } });
    let answer = app.post("/api/jobs/bulk/retry", &bulk).await.expect(200).json();
    assert_eq!(
        (&answer["matched"], &answer["changed"], &answer["conflicts"]),
        (&json!(1), &json!(0), &json!(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_jobs_of_a_filter_are_counted_and_then_changed() {
    let app = TestApp::set_up().await;
    let (ours, _) = (app.tenant().await, ());
    let (theirs, _) = app.other_tenant("theirs", "admin").await;
    jobs(&app, Some(ours), "send_mail", "dead", 1203).await;
    let spared = [
        job(&app, Some(ours), "deliver_webhook", "dead").await,
        job(&app, Some(theirs), "send_mail", "dead").await,
        job(&app, None, "send_mail", "dead").await,
    ];
    let filter = json!({ "kind": "send_mail", "dead_reason": "exhausted" });
    let counted = app
        .post("/api/jobs/bulk/retry", &json!({ "filter": filter, "dry_run": true }))
        .await
        .expect(200)
        .json();
    assert_eq!((&counted["matched"], &counted["changed"]), (&json!(1203), &json!(0)));
    let done = app.post("/api/jobs/bulk/retry", &json!({ "filter": filter })).await.expect(200).json();
    assert_eq!(
        (&done["matched"], &done["changed"], &done["more"]),
        (&json!(1203), &json!(1203), &json!(false))
    );
    for spared in spared {
        let state: String = sqlx::query_scalar("select state from jobs where id = $1")
            .bind(spared.0)
            .fetch_one(app.db.pool())
            .await
            .expect("it is there");
        assert_eq!(state, "dead");
    }
    let cancelled =
        app.post("/api/jobs/bulk/cancel", &json!({ "filter": { "queue": "delivery" } })).await.expect(200);
    assert_eq!(cancelled.json()["changed"], 1203);
    app.post("/api/jobs/bulk/cancel", &json!({ "filter": {} })).await.expect(400);
    app.post("/api/jobs/bulk/cancel", &json!({ "filter": { "tenant": "all" } })).await.expect(400);
    app.post("/api/jobs/bulk/cancel", &json!({ "filter": { "state": "dead" } })).await.expect(422);
    app.post("/api/jobs/bulk/cancel", &json!({ "filter": { "kinds": "x" } })).await.expect(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_operates_its_own_jobs_and_the_installation_all() {
    let mut app = TestApp::set_up().await;
    let ours = job(&app, Some(app.tenant().await), "send_mail", "available").await;
    let shared = job(&app, None, "crawl_source", "available").await;
    let (theirs, token) = app.other_tenant("theirs", "admin").await;
    let of_theirs = job(&app, Some(theirs), "send_mail", "available").await;
    let everything = app.get("/api/jobs?tenant=all").await.expect(200).json();
    assert_eq!(ids(&everything).len(), 3);
    assert_eq!(ids(&app.get("/api/jobs").await.expect(200).json()).len(), 2);
    app.get(&format!("/api/jobs/{of_theirs}")).await.expect(200);

    let operator = app.sign_in_as(Some(token));
    assert_eq!(ids(&app.get("/api/jobs").await.expect(200).json()).len(), 2);
    app.get("/api/jobs?tenant=all").await.expect(403);
    app.get(&format!("/api/jobs/{ours}")).await.expect(404);
    for verb in ["cancel", "retry"] {
        app.post(&format!("/api/jobs/{ours}/{verb}"), &json!({})).await.expect(404);
        app.post(&format!("/api/jobs/{shared}/{verb}"), &json!({})).await.expect(403);
        let of_all = json!({ "filter": { "queue": "delivery", "tenant": "all" } });
        app.post(&format!("/api/jobs/bulk/{verb}"), &of_all).await.expect(403);
    }
    app.post("/api/queues/delivery/pause", &json!({})).await.expect(403);
    app.post(&format!("/api/jobs/{of_theirs}/cancel"), &json!({})).await.expect(200);

    let reader = app.account(theirs, "reader", "read_only").await;
    app.sign_in_as(Some(reader));
    app.get(&format!("/api/jobs/{of_theirs}")).await.expect(200);
    app.post(&format!("/api/jobs/{of_theirs}/retry"), &json!({})).await.expect(403);
    app.sign_in_as(operator);
    app.post(&format!("/api/jobs/{shared}/cancel"), &json!({})).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_paused_limited_and_resumed() {
    let app = TestApp::set_up().await;
    let waiting = job(&app, Some(app.tenant().await), "send_mail", "available").await;
    let paused = app.post("/api/queues/delivery/pause", &json!({})).await.expect(200).json();
    assert_eq!((&paused["paused"], &paused["due"]), (&json!(true), &json!(1)));
    let why = app.get(&format!("/api/jobs/{waiting}")).await.expect(200).json()["why_not_running"].clone();
    assert_eq!(why[0]["code"], "queue_paused", "{why}");
    let resumed = app.post("/api/queues/delivery/resume", &json!({})).await.expect(200).json();
    assert_eq!(resumed["paused"], false);
    let limits = json!({ "max_per_tenant": 2, "rate": { "jobs": 10, "seconds": 60 } });
    let limited = app.patch("/api/queues/delivery", &limits).await.expect(200).json();
    assert_eq!(
        limited["limits"],
        json!({ "max_running": null, "max_per_tenant": 2, "rate": { "jobs": 10, "seconds": 60 } })
    );
    let loosened = app.patch("/api/queues/delivery", &json!({ "rate": null })).await.expect(200).json();
    assert_eq!(loosened["limits"], json!({ "max_running": null, "max_per_tenant": 2, "rate": null }));
    app.patch("/api/queues/delivery", &json!({ "max_running": 0 })).await.expect(422);
    app.patch("/api/queues/delivery", &json!({ "max_runing": 1 })).await.expect(422);
    app.post("/api/queues/no_such/pause", &json!({})).await.expect(404);
    let list = app.get("/api/queues").await.expect(200).json();
    assert_eq!(list["data"].as_array().map(Vec::len), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_shows_what_it_runs_and_takes_orders() {
    let app = TestApp::set_up().await;
    sqlx::query(
        "insert into workers (name, host, version, queues, slots, queue_slots) values ('w-1', 'a', '1', '{delivery}', 2, '{2}')",
    )
    .execute(app.db.pool())
    .await
    .expect("a worker");
    let running = job(&app, Some(app.tenant().await), "send_mail", "running").await;
    sqlx::query("update jobs set leased_by = 'w-1' where id = $1")
        .bind(running.0)
        .execute(app.db.pool())
        .await
        .expect("taken");
    let worker = app.get("/api/workers").await.expect(200).json()["data"][0].clone();
    assert_eq!((&worker["running"], &worker["jobs"][0]["id"]), (&json!(1), &json!(running)));
    let wanted = |order: &'static str| {
        let app = &app;
        async move {
            app.post(&format!("/api/workers/w-1/{order}"), &json!({})).await.expect(200).json()["wanted"]
                .clone()
        }
    };
    assert_eq!(wanted("quiet").await, "quiet");
    assert_eq!(wanted("drain").await, "drain");
    assert_eq!(wanted("resume").await, "work");
    app.post("/api/workers/w-2/quiet", &json!({})).await.expect(404);
}

/// Whoever cannot know whether a request arrived sends it again.
#[test]
fn every_request_that_makes_a_job_takes_an_idempotency_key() {
    let document: Value =
        serde_json::from_str(include_str!("../../api/openapi.json")).expect("the document is JSON");
    let paths = document["paths"].as_object().expect("paths");
    // Jobs follow from what it does, and are not what it answers with.
    const AT_ONCE: &[&str] = &["/api/config/scoring/reset"];
    let accepting: Vec<_> = paths
        .iter()
        .filter_map(|(path, methods)| Some((path, methods.get("post")?)))
        .filter(|(path, operation)| {
            operation["responses"]["202"].is_object() || AT_ONCE.contains(&path.as_str())
        })
        .collect();
    assert!(accepting.len() > 5, "{accepting:?}");
    for (path, operation) in accepting {
        let mut parameters = operation["parameters"].as_array().into_iter().flatten();
        assert!(
            parameters.any(|one| one["name"] == "Idempotency-Key" && one["in"] == "header"),
            "POST {path} makes a job each time that it is sent"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_gets_its_share_of_every_queue_until_it_is_ended() {
    let mut app = TestApp::set_up().await;
    let (theirs, token) = app.other_tenant("theirs", "admin").await;
    let path = format!("/api/queues/shares/{theirs}");
    let share = json!({ "weight": 2, "max_in_flight": 10 });
    let set = app.put(&path, &share).await.expect(200).json();
    assert_eq!(set, json!({ "tenant": theirs, "weight": 2, "max_in_flight": 10 }));
    app.put("/api/queues/shares/installation", &json!({ "max_in_flight": 3 })).await.expect(200);
    let list = app.get("/api/queues/shares").await.expect(200).json();
    let own = json!({ "tenant": "installation", "weight": 1, "max_in_flight": 3 });
    assert_eq!(list["data"], json!([own, set]));
    let kept = "select weight, max_in_flight from job_shares where lane = $1";
    let kept: (i32, i32) =
        sqlx::query_as(kept).bind(theirs.0).fetch_one(app.db.pool()).await.expect("what relays read");
    assert_eq!(kept, (2, 10));

    for wrong in [json!({ "weight": 0 }), json!({ "weight": 1001 }), json!({ "max_in_flight": 0 })] {
        app.put(&path, &wrong).await.expect(422);
    }
    for nobody in ["no-such", "00000000-0000-0000-0000-000000000000", "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a"]
    {
        app.put(&format!("/api/queues/shares/{nobody}"), &share).await.expect(404);
    }
    let operator = app.sign_in_as(Some(token));
    app.get("/api/queues/shares").await.expect(403);
    app.put(&path, &share).await.expect(403);
    app.sign_in_as(operator);

    let ended = app.delete(&path).await.expect(200).json();
    assert_eq!((&ended["weight"], &ended["max_in_flight"]), (&json!(1), &Value::Null));
    app.delete(&path).await.expect(404);
    let noted: Vec<String> = sqlx::query_scalar(
        "select action from audit_entries where target_type = 'queue_share' and target_id = $1 and actor <> 'system'
          order by at, id",
    )
    .bind(theirs.to_string())
    .fetch_all(app.db.pool())
    .await
    .expect("the trail");
    assert_eq!(noted, ["queue_share.create", "queue_share.delete"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_copies_of_a_request_at_once_make_one_job() {
    let app = TestApp::set_up().await;
    let body = json!({ "title": "T", "report_type": "asset_inventory", "format": "json" });
    let send = |body: Value| {
        let request = app
            .request(Method::POST, "/api/reports/generate")
            .header("content-type", "application/json")
            .header("idempotency-key", "5d7c8a2e")
            .body(Body::from(body.to_string()))
            .expect("a request");
        app.send(request)
    };
    let answers = futures::future::join_all((0..50).map(|_| send(body.clone()))).await;
    let jobs: HashSet<String> =
        answers.into_iter().map(|answer| answer.expect(202).json()["job_id"].to_string()).collect();
    assert_eq!(jobs.len(), 1);
    let made: i64 =
        sqlx::query_scalar("select count(*) from jobs").fetch_one(app.db.pool()).await.expect("counted");
    assert_eq!(made, 1);
    send(json!({ "title": "U", "report_type": "asset_inventory", "format": "json" })).await.expect(409);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_sources_are_crawled_as_one_batch_and_compared_once() {
    let app = TestApp::set_up().await;
    sqlx::query(
        "insert into sources (id, slug, name, category, feed, url, crawl_interval_minutes)
         values (gen_random_uuid(), 'one', 'One', 'exploit', 'cisa-kev', 'http://127.0.0.1:1/1', 60),
                (gen_random_uuid(), 'two', 'Two', 'scoring', 'epss', 'http://127.0.0.1:1/2', 60)",
    )
    .execute(app.db.pool())
    .await
    .expect("two sources");
    let accepted = app.post("/api/scan-runs/trigger", &json!({})).await.expect(202).json();
    let (batch, count) =
        (accepted["batch_id"].as_str().expect("an id"), accepted["sources"].as_i64().expect("a number"));
    assert_eq!(count, 2);
    let seen = app.get(&format!("/api/batches/{batch}")).await.expect(200).json();
    assert_eq!(
        (&seen["status"], &seen["jobs"], &seen["waiting"]),
        (&json!("running"), &json!(count), &json!(count))
    );
    let correlation = app.job(&accepted["correlation_job_id"]).await;
    assert_eq!(correlation["state"], "waiting");
    assert!(correlation["why_not_running"][0]["text"].as_str().expect("why").contains("crawl_source"));
    let again = app.post("/api/scan-runs/trigger", &json!({})).await.expect(202).json();
    assert_eq!(again["correlation_job_id"], accepted["correlation_job_id"], "it has not begun");
    // Nobody answers at these addresses: cancelled or failed, the batch comes to its end.
    app.post(&format!("/api/batches/{batch}/cancel"), &json!({})).await.expect(200);
    sqlx::query("update jobs set max_attempts = 1 where kind = 'crawl_source'")
        .execute(app.db.pool())
        .await
        .expect("impatient");
    app.run_jobs().await;
    let ended = app.get(&format!("/api/batches/{batch}")).await.expect(200).json();
    assert_eq!(
        (&ended["status"], &ended["progress"], &ended["completed"]),
        (&json!("failed"), &json!(100), &json!(0))
    );
    assert!(ended["finished_at"].is_string());
    let runs: BTreeMap<String, i64> =
        sqlx::query_as("select kind, count(*) from jobs where state = 'completed' group by kind")
            .fetch_all(app.db.pool())
            .await
            .expect("counted")
            .into_iter()
            .collect();
    assert_eq!(runs.get("correlate"), Some(&1), "{runs:?}");
}

/// The events of a stream that ends by itself: each with its id, its name and its data.
async fn stream(app: &TestApp, path: &str, last: Option<&str>) -> Vec<(String, String, Value)> {
    let mut request = app.request(Method::GET, path);
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let answer = app.send(request.body(Body::empty()).expect("a request")).await;
    if answer.status == 204 {
        return Vec::new();
    }
    let text = String::from_utf8(answer.expect(200).bytes).expect("text");
    let field = |event: &str, name: &str| {
        event
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
            .unwrap_or_default()
    };
    text.split("\n\n")
        .filter(|event| event.contains("data: "))
        .map(|event| {
            (
                field(event, "id"),
                field(event, "event"),
                serde_json::from_str(&field(event, "data")).expect("JSON"),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_to_a_stream_is_told_of_every_attempt_once() {
    let app = TestApp::set_up().await;
    let dead = job(&app, Some(app.tenant().await), "send_mail", "dead").await;
    sqlx::query(
        "insert into job_attempts (job_id, fence, attempt, worker, ended_at, outcome, error_class, error)
         select $1, number, number, 'w', now(), case number when 3 then 'dead' else 'retry' end, 'network', 'refused'
           from generate_series(1, 3) as number",
    )
    .bind(dead.0)
    .execute(app.db.pool())
    .await
    .expect("three attempts");
    let path = format!("/api/jobs/{dead}/events");
    let all = stream(&app, &path, None).await;
    let names: Vec<&str> = all.iter().map(|(_, name, _)| name.as_str()).collect();
    let attempt = ["attempt_started", "attempt_ended"];
    assert_eq!(names, [&attempt[..], &attempt[..], &attempt[..], &["finished"]].concat());
    assert_eq!((&all[3].2["attempt"], &all[3].2["outcome"]), (&json!(2), &json!("retry")));
    // Wherever it broke off, exactly the rest follows.
    for (index, (id, ..)) in all.iter().enumerate() {
        let rest = stream(&app, &path, Some(id)).await;
        assert_eq!(rest, all[index + 1..], "after {id}");
    }
}
