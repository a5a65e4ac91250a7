//! What the programs say of themselves at their admin ports, and what their health checks make of it.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use harness::{Program, TestDb, eventually, services};
use plimsoll::embedded::{Settings, start};
use uuid::Uuid;

const PROGRAM: &str = env!("CARGO_BIN_EXE_program-under-test");

/// Long enough for a loaded machine.
const SOON: Duration = Duration::from_secs(60);

async fn until_ready(program: &Program) {
    eventually("readiness", SOON, || async { program.probe("/readyz").ok() }).await;
}

/// Waits until it is not ready, and says that `missing` is.
async fn until_missing(program: &Program, missing: &str) {
    eventually(missing, SOON, || async {
        program.probe("/readyz").is_err_and(|said| said.to_string().contains(missing)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_program_is_ready_while_it_does_its_work_and_only_then() {
    let folder = tempfile::Builder::new().prefix("plimsoll-probes").tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("reachable");
    let settings = Settings::for_tests(folder.path().join("home"));
    let postgres = start(&settings).await.expect("a private server");
    let db = TestDb::on(&postgres.addresses.owner_url).await;
    let prefix = format!("t_{}", Uuid::new_v4().simple());
    let common = [("REDIS_URL", services().await.redis_url.as_str()), ("QUEUE_PREFIX", &prefix)];
    let data = folder.path().join("data");
    let programs =
        ["api", "worker", "scheduler"].map(|name| Program::start(PROGRAM, name, &db, &data, &common));
    for program in &programs {
        until_ready(program).await;
        let check = program.check_health();
        assert!(check.status.success() && check.stdout == b"ready\n", "{check:?}");
    }

    let since = Instant::now();
    postgres.stop().await;
    for (program, missing) in programs.iter().zip(["postgres: ", "worker heartbeat: ", "relay: "]) {
        until_missing(program, missing).await;
        assert_eq!(program.probe("/livez").expect("an outage is no reason to be restarted"), "alive");
        let check = program.check_health();
        assert_eq!(check.status.code(), Some(69), "{check:?}");
        assert!(String::from_utf8_lossy(&check.stderr).contains(missing), "{check:?}");
    }

    let postgres = start(&settings).await.expect("it comes back");
    for program in &programs {
        until_ready(program).await;
        let (seconds, log) = (since.elapsed().as_secs(), program.log());
        let lines = log.lines().count() as u64;
        assert!(lines < 20 + 2 * seconds, "an outage of {seconds} s is told in {lines} lines:\n{log}");
    }
    drop(programs);
    drop(db);
    postgres.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_fails_when_nothing_runs_and_says_so() {
    let output =
        Command::new(PROGRAM).args(["worker", "--probe"]).env("ADMIN_LISTEN", "127.0.0.1:9").output();
    let output = output.expect("it runs");
    assert_eq!(output.status.code(), Some(69));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("nothing answers at 127.0.0.1:9"), "{said}");
}

#[test]
fn what_cannot_be_read_on_the_command_line_is_refused_with_a_hint() {
    let output = Command::new(PROGRAM).args(["worker", "--prob"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--help"), "{output:?}");
    let output = Command::new(PROGRAM).arg("worker").env("WORKER_SLOTS", "none").output().expect("it runs");
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("WORKER_SLOTS=none"), "{output:?}");
}

#[test]
fn the_containers_ask_the_programs_themselves_and_name_only_settings_that_exist() {
    let read = |path: &str| {
        std::fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).expect("it is there")
    };
    let (compose, dockerfile) = (read("docker-compose.yml"), read("Dockerfile"));
    for program in ["plimsoll-api", "plimsoll-worker", "plimsoll-scheduler"] {
        let check = format!(r#"["CMD", "{program}", "--probe"]"#);
        assert!(compose.contains(&check), "{check} is not in docker-compose.yml");
        let check = format!(r#"CMD ["{program}", "--probe"]"#);
        assert!(dockerfile.contains(&check), "{check} is not in the Dockerfile");
    }
    // What our own services are given; the others have settings of their own.
    let ours = compose.split_once("x-settings:").expect("our settings").1;
    let ours = ours.split_once("\nservices:").expect("the services").0;
    for line in ours.lines().filter(|line| line.starts_with("  ") && !line.trim().starts_with('#')) {
        let name = line.trim().split(':').next().expect("a name");
        assert!(
            runtime::config::SETTINGS.iter().any(|setting| setting.name == name),
            "docker-compose.yml sets {name}, which is not a setting"
        );
    }
}
