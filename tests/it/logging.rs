//! What the processes log, and how much.

use harness::{PASSWORD, TestApp, eventually};
use runtime::egress::Method;
use serde_json::{Value, json};

use crate::programs::{Programs, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn how_much_is_logged_changes_in_all_processes_while_they_run() {
    let programs = Programs::start(&[("LOG_LEVEL", "warn")]).await;
    let path = "/api/system/log-level";
    assert_eq!(programs.send(Method::GET, path, &[], &Value::Null).await, (200, json!({"level": "warn"})));
    let wanted = json!({"level": "debug"});
    assert_eq!(programs.send(Method::PUT, path, &[], &wanted).await, (200, wanted.clone()));
    for program in [&programs.api, &programs.worker, &programs.scheduler] {
        let line = eventually("a louder log", SOON, || async {
            program.log().lines().find(|line| line.contains("log level has changed")).map(str::to_owned)
        })
        .await;
        let line: Value = serde_json::from_str(&line).expect("a line is one JSON object");
        assert_eq!((&line["level"], &line["msg"]), (&json!("info"), &json!("the log level has changed")));
        assert!(line["ts"].is_string() && line["target"].is_string(), "{line}");
    }

    let headers = [("x-request-id", "canary-1")];
    let account = json!({ "username": "admin", "password": PASSWORD });
    let (status, answer) = programs.send(Method::POST, "/api/auth/login", &headers, &account).await;
    assert_eq!(status, 200, "{answer}");
    let answered = eventually("the line of the request", SOON, || async {
        programs
            .api
            .log()
            .lines()
            .find(|line| line.contains("canary-1") && line.contains("answered"))
            .map(str::to_owned)
    })
    .await;
    let answered: Value = serde_json::from_str(&answered).expect("a line is one JSON object");
    assert_eq!((&answered["request_id"], &answered["status"]), (&json!("canary-1"), &json!(200)));
    let token = answer["access_token"].as_str().expect("a token");
    for secret in [PASSWORD, token] {
        assert!(!programs.api.log().contains(secret), "a secret is logged");
    }

    let wanted = json!({"level": "error"});
    assert_eq!(programs.send(Method::PUT, path, &[], &wanted).await.0, 200);
    assert_eq!(programs.send(Method::GET, path, &[], &Value::Null).await.1, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_that_is_none_is_refused_and_so_is_whoever_does_not_run_the_installation() {
    let mut app = TestApp::set_up().await;
    let refused = app.put("/api/system/log-level", &json!({"level": "loud"})).await.expect(422);
    assert!(String::from_utf8_lossy(&refused.bytes).contains("loud"), "it names the value");
    let (_, token) = app.other_tenant("elsewhere", "admin").await;
    app.sign_in_as(Some(token));
    app.put("/api/system/log-level", &json!({"level": "debug"})).await.expect(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_ours_is_logged_once_with_its_request_and_a_clients_is_no_error() {
    let programs = Programs::start(&[("LOG_LEVEL", "info")]).await;
    let alerts = |query: &str| format!("/api/alerts{query}");
    let ask = async |id: &str, query: &str, status: u16| {
        let headers = [("x-request-id", id)];
        let answered = programs.send(Method::GET, &alerts(query), &headers, &Value::Null).await;
        assert_eq!(answered.0, status, "{answered:?}");
    };
    ask("canary-unknown", "?colour=red", 422).await;
    ask("canary-nothing", "/nothing", 404).await;
    let mut owner = store::db::connect_once(&programs.db.owner_url).await.expect("the owner may connect");
    // An empty list asks for no more than how many there are.
    sqlx::query("alter table list_counts rename to mislaid").execute(&mut owner).await.expect("renamed");
    ask("canary-fault", "", 500).await;
    // Each line with its level, of those that belong to the request.
    let lines = |id: &str| -> Vec<(Value, Value)> {
        let log = programs.api.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|line| line["request_id"] == id)
            .map(|line| (line["level"].clone(), line["msg"].clone()))
            .collect()
    };
    for (id, expected) in [
        ("canary-unknown", vec![("info", "answered")]),
        ("canary-nothing", vec![("info", "answered")]),
        ("canary-fault", vec![("error", "a request failed"), ("info", "answered")]),
    ] {
        let expected: Vec<_> =
            expected.into_iter().map(|(level, said)| (json!(level), json!(said))).collect();
        let logged = eventually("all lines of the request", SOON, || async {
            Some(lines(id)).filter(|lines| lines.iter().any(|(_, said)| said == "answered"))
        })
        .await;
        assert_eq!(logged, expected, "{id}");
    }
}
