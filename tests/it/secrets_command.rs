//! `plimsoll secrets …` as an operator types it, while the API goes on.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, Output},
};

use harness::{TestApp, services};
use secrecy::ExposeSecret;
use serde_json::json;

const COMMANDS: &str = env!("CARGO_BIN_EXE_worker-under-test");

/// What a command said and how it ended.
struct Said {
    code: Option<i32>,
    results: String,
    errors: String,
}

/// `plimsoll secrets` with `arguments`, on the machine of `app`; `settings` over its own.
async fn secrets(app: &TestApp, arguments: &[&str], settings: &[(&str, &str)]) -> Said {
    let mut command = Command::new(COMMANDS);
    command.arg0("plimsoll").arg("secrets").args(arguments);
    command
        .env("PLIMSOLL_HOME", &app.config.home)
        .env("DATABASE_URL", app.db.worker_url.expose_secret())
        .env("REDIS_URL", &services().await.redis_url)
        .envs(settings.iter().copied());
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Said { code: status.code(), results: text(stdout), errors: text(stderr) }
}

/// The lines of `status`: key, role, number of secrets, place.
async fn status(app: &TestApp, settings: &[(&str, &str)]) -> Vec<[String; 4]> {
    let said = secrets(app, &["status"], settings).await;
    assert_eq!(said.code, Some(0), "{}", said.errors);
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [id, role, count, "secrets", place] = words[..] else { panic!("`{line}`") };
        [id, role, count, place].map(str::to_owned)
    };
    said.results.lines().map(line).collect()
}

/// An installation with two secrets: one that signs access tokens, one of a webhook.
async fn installation() -> TestApp {
    let app = TestApp::set_up().await;
    app.post("/api/webhooks", &json!({ "url": "http://127.0.0.1:9/hook" })).await.expect(201);
    app
}

/// A key that is none of the installation's.
async fn another_key(app: &TestApp) -> String {
    let said = secrets(app, &["generate"], &[]).await;
    assert_eq!((said.code, said.errors.as_str()), (Some(0), ""));
    said.results.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_moves_every_secret_to_a_new_key_and_tells_which_is_still_needed_for_backups() {
    let app = installation().await;
    let [[old, role, count, place]] = &status(&app, &[]).await[..] else { panic!("one key") };
    assert_eq!((role.as_str(), count.as_str()), ("seals", "2"));
    assert!(place.ends_with("secrets.key"), "{place}");

    let said = secrets(&app, &["rotate"], &[]).await;
    assert_eq!(said.code, Some(0), "{}", said.errors);
    assert!(said.results.starts_with("2 secrets are sealed with the key "), "{}", said.results);
    assert!(said.results.contains(&format!("{old} is needed for older backups")), "{}", said.results);

    let [[new, seals, two, _], [opens_old, opens, none, _]] = &status(&app, &[]).await[..] else {
        panic!("two keys")
    };
    assert_ne!(new, old);
    assert_eq!((opens_old, seals.as_str(), two.as_str()), (old, "seals", "2"));
    assert_eq!((opens.as_str(), none.as_str()), ("opens", "0"));
    let trail = app.get("/api/audit?action=secrets.rotate").await.expect(200).json();
    let noted = &trail["data"][0];
    assert_eq!((&noted["actor"], &noted["new_value"]["from"]), (&json!("system"), &json!(old)), "{trail}");
    // The API signs with a key that was sealed anew under it, and seals with the new one.
    app.get("/api/auth/me").await.expect(200);
    app.post("/api/webhooks", &json!({ "url": "http://127.0.0.1:9/another" })).await.expect(201);
    assert_eq!(status(&app, &[]).await[0][..3], [new.clone(), "seals".into(), "3".into()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_another_key_nothing_is_rotated_and_what_is_missing_is_named() {
    let app = installation().await;
    let before = status(&app, &[]).await;
    let [[right, ..]] = &before[..] else { panic!("one key") };
    let other = another_key(&app).await;
    let wrong = [("SECRETS_KEY", other.as_str())];

    let said = secrets(&app, &["rotate"], &wrong).await;
    assert_eq!((said.code, said.results.as_str()), (Some(78), ""));
    assert!(said.errors.contains(right) && said.errors.contains("SECRETS_KEY"), "{}", said.errors);
    assert!(!said.errors.contains(&other), "a key is shown: {}", said.errors);

    let lines = status(&app, &wrong).await;
    let of_right = lines.iter().find(|line| line[0] == *right).expect("the right one is listed");
    assert_eq!(of_right[1..], ["seals", "2", "MISSING"].map(str::to_owned));
    assert!(lines.iter().any(|line| line[2] == "0" && line[3] == "SECRETS_KEY"), "{lines:?}");
    assert_eq!(status(&app, &[]).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_the_environment_are_rotated_by_putting_a_new_one_in_front() {
    let app = installation().await;
    let path = format!("{}/keys/secrets.key", app.config.home.display());
    let file = std::fs::read_to_string(&path).expect("the key's file");
    let old: Vec<&str> =
        file.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).collect();
    let both = format!("{} {}", another_key(&app).await, old[0]);
    let alone = secrets(&app, &["rotate"], &[("SECRETS_KEY", old[0])]).await;
    assert_eq!(alone.code, Some(78));
    assert!(alone.errors.contains("put a new one in front of it"), "{}", alone.errors);
    let said = secrets(&app, &["rotate"], &[("SECRETS_KEY", &both)]).await;
    assert_eq!(said.code, Some(0), "{}", said.errors);
    let lines = status(&app, &[("SECRETS_KEY", &both)]).await;
    assert_eq!(lines.iter().map(|line| line[2].as_str()).collect::<Vec<_>>(), ["2", "0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_a_lost_key_are_given_up_only_when_asked_twice() {
    let app = installation().await;
    let other = another_key(&app).await;
    let wrong = [("SECRETS_KEY", other.as_str())];
    assert_eq!(secrets(&app, &["forget"], &wrong).await.code, Some(2), "without --yes");
    let said = secrets(&app, &["forget", "--yes"], &wrong).await;
    assert_eq!(said.code, Some(0), "{}", said.errors);
    assert!(said.results.starts_with("2 secrets were given up"), "{}", said.results);
    let lines = status(&app, &wrong).await;
    assert_eq!((lines.len(), lines[0][1].as_str(), lines[0][2].as_str()), (1, "seals", "0"), "{lines:?}");
}
