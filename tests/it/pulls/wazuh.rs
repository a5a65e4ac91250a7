//! Hosts that Wazuh watches.

use harness::{TestApp, eventually};
use runtime::egress::Method;
use serde_json::{Value, json};

use super::{
    WAZUH, know_of_two_problems, last_pull, let_time_pass, listed,
    manager::{Host, LOGIN, Manager},
    names, pull,
};
use crate::programs::{Programs, SOON};

/// Three hosts on two pages.
fn three_hosts() -> Vec<Host> {
    vec![
        Host::new(
            "000",
            "manager",
            &[("bash", "5.2.15-2"), ("openssl", "3.0.15-1~deb12u1"), ("zlib1g", "1:1.2.13-1")],
        ),
        Host::new("001", "web-01", &[("openssl", "3.0.15-1~deb12u1"), ("bash", "5.2.15-2")]),
        Host::new("002", "db-01", &[("openssl", "3.0.17-1~deb12u2")]),
    ]
}

async fn set_up(hosts: Vec<Host>) -> (TestApp, Manager) {
    let app = TestApp::set_up().await;
    let manager = Manager::start(hosts).await;
    app.patch(WAZUH, &manager.settings()).await.expect(200);
    (app, manager)
}

async fn packages_of(app: &TestApp, hostname: &str) -> Vec<String> {
    let assets = listed(app, &format!("/api/assets?hostname={hostname}")).await;
    let id = assets[0]["id"].as_str().expect("an id");
    names(app, &format!("/api/assets/{id}/packages?page_size=100"), "name").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_makes_hosts_packages_and_findings_and_a_second_one_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, manager) = set_up(three_hosts()).await;
    know_of_two_problems(&app, folder.path()).await;

    let job = pull(&app).await;
    assert_eq!(job["state"], "completed", "{job}");
    let result = &job["result"];
    assert_eq!((&result["status"], &result["is_partial"]), (&json!("success"), &json!(false)), "{result}");
    assert_eq!((&result["assets"]["seen"], &result["assets"]["created"]), (&json!(3), &json!(3)));
    assert_eq!((&result["packages"]["processed"], &result["packages"]["created"]), (&json!(6), &json!(6)));
    assert_eq!(job["links"]["runs"], "/api/scan-runs?source_slug=wazuh");
    let links = job["links"]["assets"].as_array().expect("links");
    assert_eq!(links.len(), 3);
    let web = app.get(links[2].as_str().expect("a path")).await.expect(200).json();
    assert_eq!(
        (&web["hostname"], &web["external_id"], &web["platform"], &web["kernel"]),
        (&json!("web-01"), &json!("wazuh:web-01"), &json!("Debian:12"), &json!("6.1.0-28-amd64"))
    );
    assert_eq!(names(&app, "/api/assets", "hostname").await, ["db-01", "manager", "web-01"]);
    assert_eq!(packages_of(&app, "manager").await, ["bash", "openssl", "zlib1g"]);
    let findings = listed(&app, "/api/vuln-matches").await;
    assert_eq!(findings.len(), 2, "of the two that have the old openssl: {findings:?}");

    let run = &listed(&app, "/api/scan-runs?source_slug=wazuh").await[0];
    assert_eq!(
        (&run["run_type"], &run["status"], &run["records_processed"], &run["records_created"]),
        (&json!("inventory"), &json!("success"), &json!(6), &json!(6))
    );
    assert_eq!(run["job_id"], job["id"]);

    let compared = listed(&app, "/api/jobs?kind=correlate").await.len();
    manager.forget_asked();
    let again = pull(&app).await;
    assert_ne!(again["id"], job["id"]);
    assert_eq!(again["result"]["status"], "unchanged", "{}", again["result"]);
    assert_eq!(
        (&again["result"]["assets"]["unchanged"], &again["result"]["packages"]["unchanged"]),
        (&json!(3), &json!(6))
    );
    assert_eq!(again["result"]["asset_ids"], json!([]));
    assert_eq!(listed(&app, "/api/jobs?kind=correlate").await.len(), compared, "there is nothing to compare");
    assert_eq!(manager.forget_asked().iter().filter(|path| *path == "/agents").count(), 2, "two pages");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_on_a_host_changes_its_findings_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, manager) = set_up(three_hosts()).await;
    know_of_two_problems(&app, folder.path()).await;
    pull(&app).await;
    let compared = listed(&app, "/api/jobs?kind=correlate").await.len();

    manager.with(|state| state.hosts[1] = Host::new("001", "web-01", &[("openssl", "3.0.17-1~deb12u2")]));
    let job = pull(&app).await;
    let result = &job["result"];
    assert_eq!(
        (&result["assets"]["changed"], &result["assets"]["unchanged"]),
        (&json!(1), &json!(2)),
        "{result}"
    );
    assert_eq!((&result["packages"]["created"], &result["packages"]["removed"]), (&json!(1), &json!(2)));
    assert_eq!(listed(&app, "/api/jobs?kind=correlate").await.len(), compared + 1);
    assert_eq!(
        listed(&app, "/api/vuln-matches?status=open").await.len(),
        1,
        "only the manager has the old one"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_cannot_be_read_keeps_its_packages_and_the_result_says_so() {
    let (app, manager) = set_up(three_hosts()).await;
    pull(&app).await;
    manager.with(|state| {
        state.hosts[0].packages.clear();
        state.hosts[1].fails = Some(403);
        state.hosts[2].fails = Some(500);
    });
    let job = pull(&app).await;
    assert_eq!(job["state"], "completed", "the others could be read: {job}");
    let result = &job["result"];
    assert_eq!((&result["status"], &result["is_partial"]), (&json!("partial"), &json!(true)), "{result}");
    assert_eq!(result["assets"]["unreadable"], 3);
    let problems = result["problems"].to_string();
    for told in ["does not show it to this credential (403)", "Wazuh answers with 500", "lists no packages"] {
        assert!(problems.contains(told), "{problems}");
    }
    assert_eq!(packages_of(&app, "manager").await, ["bash", "openssl", "zlib1g"]);
    assert_eq!(packages_of(&app, "web-01").await, ["bash", "openssl"]);
    assert_eq!(listed(&app, "/api/scan-runs?source_slug=wazuh").await[0]["status"], "partial");
    let alerts = listed(&app, "/api/alerts").await;
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(
        (&alerts[0]["alert_type"], &alerts[0]["subject"]),
        (&json!("inventory_incomplete"), &json!("wazuh"))
    );
    let told = alerts[0]["occurrences"].clone();
    assert_eq!(told, 3);
    pull(&app).await;
    assert_eq!(listed(&app, "/api/alerts").await[0]["occurrences"], told, "it is no news");

    manager.with(|state| state.hosts[1].fails = None);
    let job = pull(&app).await;
    assert_eq!(
        (&job["result"]["assets"]["unreadable"], &job["result"]["assets"]["unchanged"]),
        (&json!(2), &json!(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_asks_for_a_pause_gets_it_and_the_pull_goes_on_where_it_was() {
    let (app, manager) = set_up(three_hosts()).await;
    // A page of agents, and the first agent: its system and two pages of packages.
    manager.with(|state| state.left = Some(4));
    app.post("/api/system/force-inventory", &json!({})).await.expect(202);
    app.run_jobs().await;
    let job = last_pull(&app).await;
    assert_eq!(
        (&job["state"], &job["attempt"]),
        (&json!("scheduled"), &json!(0)),
        "it does not count: {job}"
    );
    let why = job["why_not_running"].to_string();
    assert!(why.contains("Wazuh wants to be left alone for 40 s"), "{why}");
    assert_eq!(
        names(&app, "/api/assets", "hostname").await,
        ["manager"],
        "what came before the pause is kept"
    );

    manager.with(|state| state.left = None);
    manager.forget_asked();
    let_time_pass(&app).await;
    app.run_jobs().await;
    let job = app.job(&job["id"]).await;
    assert_eq!(job["state"], "completed", "{job}");
    assert_eq!(
        (&job["result"]["assets"]["created"], &job["result"]["packages"]["created"]),
        (&json!(3), &json!(6))
    );
    let asked = manager.forget_asked();
    assert!(!asked.iter().any(|path| path.starts_with("/syscollector/000")), "it was dealt with: {asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ran_out_is_renewed_and_a_key_that_is_refused_is_told_to_somebody() {
    let (app, manager) = set_up(three_hosts()).await;
    manager.with(|state| state.remembers_for = Some(5));
    let job = pull(&app).await;
    assert_eq!(
        (&job["state"], &job["result"]["assets"]["created"]),
        (&json!("completed"), &json!(3)),
        "{job}"
    );
    assert_eq!(
        manager.with(|state| state.tokens),
        3,
        "one to begin with, one that nobody was given, one more"
    );

    app.patch(WAZUH, &json!({ "api_key": "reader:mistyped" })).await.expect(200);
    let job = pull(&app).await;
    assert_eq!((&job["state"], &job["dead_reason"]), (&json!("dead"), &json!("discarded")), "{job}");
    assert!(job["last_error"].as_str().expect("why").contains("refuses the credential (401)"), "{job}");
    let alert = &listed(&app, "/api/alerts").await[0];
    assert_eq!((&alert["alert_type"], &alert["severity"]), (&json!("inventory_pull_failed"), &json!("high")));
    assert_eq!(names(&app, "/api/assets", "hostname").await.len(), 3, "what is known stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_with_everything_is_no_word_on_anything_and_the_pull_is_tried_again() {
    let hosts = (1..=6).map(|number| {
        let host = Host::new(&format!("{number:03}"), &format!("web-{number:02}"), &[("bash", "5.2.15-2")]);
        Host { fails: (number > 1).then_some(502), ..host }
    });
    let (app, manager) = set_up(hosts.collect()).await;
    let job = pull(&app).await;
    assert_eq!(job["state"], "retryable", "{job}");
    assert!(job["last_error"].as_str().expect("why").contains("Wazuh answers with 502"), "{job}");
    assert_eq!(names(&app, "/api/assets", "hostname").await, ["web-01"]);
    assert_eq!(listed(&app, "/api/alerts").await, Vec::<Value>::new(), "it may be over in a minute");

    manager.with(|state| state.hosts.iter_mut().for_each(|host| host.fails = None));
    let_time_pass(&app).await;
    app.run_jobs().await;
    let job = app.job(&job["id"]).await;
    assert_eq!((&job["state"], &job["result"]["status"]), (&json!("completed"), &json!("success")), "{job}");
    assert_eq!(job["result"]["assets"]["created"], 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_wazuh_no_longer_has_stay_and_grow_stale_by_its_threshold() {
    let mut hosts = three_hosts();
    hosts[1].keep_alive = (chrono::Utc::now() - chrono::TimeDelta::hours(10)).to_rfc3339();
    hosts.push(Host { status: "never_connected", ..Host::new("003", "new-01", &[]) });
    let (app, manager) = set_up(hosts).await;
    let job = pull(&app).await;
    assert_eq!(
        (&job["result"]["status"], &job["result"]["assets"]["absent"]),
        (&json!("success"), &json!(1))
    );
    assert_eq!(names(&app, "/api/assets?stale=true", "hostname").await, [""; 0]);

    app.patch(WAZUH, &json!({ "staleness_threshold_hours": 6 })).await.expect(200);
    assert_eq!(names(&app, "/api/assets?stale=true", "hostname").await, ["web-01"]);
    manager.with(|state| state.hosts.remove(1));
    let job = pull(&app).await;
    assert_eq!((&job["result"]["assets"]["gone"], &job["result"]["assets"]["seen"]), (&json!(1), &json!(3)));
    assert_eq!(names(&app, "/api/assets?stale=true", "hostname").await, ["web-01"], "it is there, and stale");
    assert_eq!(packages_of(&app, "web-01").await, ["bash", "openssl"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hostile_manager_says_is_data() {
    let mut hosts = three_hosts();
    hosts[0].name = "evil\u{1b}[2Jhost\0".into();
    hosts[1].packages.push(json!({ "name": "a\u{0}b", "version": "1", "format": "deb" }));
    hosts[1].packages.push(json!({ "name": "'; drop table assets; --", "version": "1", "format": "deb" }));
    hosts[1].packages.push(json!({ "name": 7 }));
    hosts[1].packages.push(json!({ "name": "chocolate", "version": "1", "format": "win" }));
    // More than a page may have.
    hosts[2].packages.push(json!({ "name": "long", "version": "1", "description": "x".repeat(17 << 20) }));
    let (app, manager) = set_up(hosts).await;
    manager.with(|state| {
        state.strange_entries = vec![
            json!({ "id": "../../security/users", "name": "x" }),
            json!("an agent"),
            json!({ "id": "1" }),
        ];
    });
    let job = pull(&app).await;
    assert_eq!(job["state"], "completed", "{job}");
    let result = &job["result"];
    assert_eq!(
        (&result["status"], &result["assets"]["unreadable"]),
        (&json!("partial"), &json!(2)),
        "{result}"
    );
    assert_eq!(result["unreadable_entries"]["total"], 3, "{result}");
    assert_eq!(result["packages"]["rejected"], 2);
    assert!(result["problems"].to_string().contains("larger than"), "{result}");
    assert_eq!(names(&app, "/api/assets", "hostname").await, ["web-01"]);
    let packages = packages_of(&app, "web-01").await;
    assert_eq!(packages, ["'; drop table assets; --", "bash", "chocolate", "openssl"]);
    assert!(!manager.forget_asked().iter().any(|path| path.contains("users")), "no id leaves its place");
}

#[tokio::test(flavor = "multi_thread")]
async fn organizations_see_their_own_hosts_alone() {
    let (mut app, _manager) = set_up(three_hosts()).await;
    let job = pull(&app).await;
    let (_, stranger) = app.other_tenant("globex", "admin").await;
    app.sign_in_as(Some(stranger));
    for path in ["/api/assets", "/api/jobs?kind=pull_inventory", "/api/scan-runs?source_slug=wazuh"] {
        assert_eq!(listed(&app, path).await, Vec::<Value>::new(), "{path}");
    }
    let pulls = async |app: &TestApp| {
        listed(app, "/api/schedules").await.iter().filter(|one| one["kind"] == "pull_inventory").count()
    };
    assert_eq!(pulls(&app).await, 0);
    app.get(&format!("/api/jobs/{}", job["id"].as_str().expect("an id"))).await.expect(404);
    app.post("/api/system/force-inventory", &json!({})).await.expect(409);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_cancelled_ends_where_it_is_and_no_log_has_a_secret() {
    let programs = Programs::start(&[("LOG_LEVEL", "debug")]).await;
    let mut hosts = three_hosts();
    hosts[1].hangs = true;
    let manager = Manager::start(hosts).await;
    let (status, answer) = programs.send(Method::PATCH, WAZUH, &[], &manager.settings()).await;
    assert_eq!(status, 200, "{answer}");
    // Nobody asked for it: the schedule of the new integration came.
    let job = eventually("the pull to hang", SOON, || async {
        let waits = manager.with(|state| state.asked.iter().any(|path| path == "/syscollector/001/packages"));
        let path = "/api/jobs?kind=pull_inventory";
        let (_, jobs) = programs.send(Method::GET, path, &[], &Value::Null).await;
        jobs["data"][0]["id"].as_str().filter(|_| waits).map(str::to_owned)
    })
    .await;
    let (status, answer) =
        programs.send(Method::POST, &format!("/api/jobs/{job}/cancel"), &[], &json!({})).await;
    assert_eq!(status, 200, "{answer}");
    let ended = eventually("the end of the pull", SOON, || async {
        let (_, job) = programs.send(Method::GET, &format!("/api/jobs/{job}"), &[], &Value::Null).await;
        (job["state"] == "cancelled").then_some(job)
    })
    .await;
    let note = ended["progress_note"].as_str().expect("a note");
    assert!(note.starts_with("agent ") && note.ends_with(" of 3"), "{ended}");
    let (_, assets) = programs.send(Method::GET, "/api/assets", &[], &Value::Null).await;
    assert_eq!((&assets["total"], &assets["data"][0]["hostname"]), (&json!(1), &json!("manager")));
    let password = LOGIN.split_once(':').expect("a login").1;
    for program in [&programs.api, &programs.worker, &programs.scheduler] {
        let log = program.log();
        assert!(!log.contains(password) && !log.contains("canary-token"), "a secret is logged");
    }
}
