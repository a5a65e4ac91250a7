//! A pack that is larger than what is held of any other file: made, stored, fetched and verified by the programs as they run, whose
//! memory does not grow with it.

use std::{os::unix::process::CommandExt as _, path::Path, process::Command, time::Duration};

use ::signing::verify::LARGEST;
use harness::eventually;
use runtime::egress::{Client, HeaderName, HeaderValue, Method, Policy, Request};
use serde_json::{Value, json};
use zip::ZipArchive;

use crate::{
    documents::{plant_many_for, renderers_of},
    programs::{Programs, WITH_DEEDS},
    signing::{BOUNDARY, form},
};

/// More than a document holds: their rows go to a file. Until there are more than it holds they are gathered in memory, whatever is made of
/// them; that is most of what the worker needs here.
const MANY: i32 = 40_000;

/// For the jobs of a large pack, in a build that is not optimised and on a machine that has other things to do.
const ENOUGH: Duration = Duration::from_secs(300);

/// Has a sealed pack of two files made; its report's id.
async fn make(programs: &Programs) -> String {
    let body = json!({ "title": "All of it", "report_type": "executive_summary", "format": "zip",
                       "options": { "formats": ["csv", "json"] } });
    let (status, accepted) = programs.send(Method::POST, "/api/reports/generate", &[], &body).await;
    assert_eq!(status, 202, "{accepted}");
    let job = format!("/api/jobs/{}", accepted["job_id"].as_str().expect("an id"));
    eventually("the pack", ENOUGH, || async {
        let (_, told) = programs.send(Method::GET, &job, &[], &Value::Null).await;
        assert_ne!(told["state"], "dead", "{told}");
        (told["state"] == "completed").then_some(())
    })
    .await;
    accepted["id"].as_str().expect("an id").to_owned()
}

async fn fetch(programs: &Programs, id: &str) -> Vec<u8> {
    let token = HeaderValue::try_from(format!("Bearer {}", programs.token())).expect("a header");
    let url = format!("http://{}/api/reports/{id}/download", programs.api.api);
    let request = Request::get(url).header(HeaderName::from_static("authorization"), token);
    let answer = Client::new(Policy::administrator()).expect("a client").send(request).await;
    let answer = answer.expect("the API answers");
    assert_eq!(answer.status.as_u16(), 200);
    answer.bytes().await.expect("the whole file").to_vec()
}

/// What `POST /api/v1/reports/verify` says of `file` to somebody without an account.
async fn verdict(programs: &Programs, file: &[u8]) -> Value {
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let url = format!("http://{}/api/v1/reports/verify", programs.api.api);
    let request = Request::post(url, form("file", file)).header(
        HeaderName::from_static("content-type"),
        HeaderValue::try_from(content_type).expect("a header"),
    );
    // The answer comes when all of the file has gone there and was looked at.
    let patient = Policy { idle_timeout: ENOUGH, ..Policy::administrator() };
    let answer = Client::new(patient).expect("a client").send(request).await.expect("the API answers");
    assert_eq!(answer.status.as_u16(), 200);
    serde_json::from_slice(&answer.bytes().await.expect("the answer")).expect("JSON")
}

/// How `plimsoll verify` ends, and what it says, of a file on the machine of the installation.
fn verify(home: &Path, file: &Path) -> (Option<i32>, Value) {
    let mut command = Command::new(WITH_DEEDS);
    command.arg0("plimsoll").args(["verify", "--json"]).arg(file).env_clear().env("PLIMSOLL_HOME", home);
    let ended = tokio::task::block_in_place(|| command.output()).expect("it starts");
    let said = String::from_utf8_lossy(&ended.stderr);
    (ended.status.code(), serde_json::from_slice(&ended.stdout).unwrap_or_else(|_| panic!("{said}")))
}

/// Bytes of memory that a process had at most so far (proc(5)).
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it lives");
    let highest = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
    highest.and_then(|kibibytes| kibibytes.trim().parse::<u64>().ok()).expect("a number") << 10
}

/// The peaks of the API, of the worker, and of the process that renders for it with the highest.
fn peaks(programs: &Programs) -> [(&'static str, u64); 3] {
    let worker = programs.worker.id();
    let renderer = renderers_of(worker).into_iter().map(peak).max().expect("it renders in processes");
    [("API", peak(programs.api.id())), ("worker", peak(worker)), ("renderer", renderer)]
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_made_fetched_and_verified_in_less_memory_than_half_of_it() {
    // As few pools of memory on every machine.
    let programs = Programs::start(&[("MALLOC_ARENA_MAX", "2")]).await;
    // At night findings without a package would be resolved.
    sqlx::query("update schedules set enabled = false")
        .execute(programs.db.pool())
        .await
        .expect("a quiet night");
    // Keys, connections and processes that are there from then on.
    let id = make(&programs).await;
    let small = fetch(&programs, &id).await;
    assert_eq!(verdict(&programs, &small).await["valid"], true);
    let before = peaks(&programs);

    plant_many_for(programs.db.pool(), programs.tenant().await, MANY).await;
    // In rows and files of rows it is short, in the files of the pack it is not.
    sqlx::query(
        "update findings set installed_version = repeat('1.0-', 100), fixed_version = repeat('2.0-', 100)",
    )
    .execute(programs.db.pool())
    .await
    .expect("longer than any version");
    let id = make(&programs).await;
    let mut pack = fetch(&programs, &id).await;
    assert!(small.len() < 1 << 20 && pack.len() > LARGEST, "{} and {}", small.len(), pack.len());
    let answer = verdict(&programs, &pack).await;
    assert_eq!((&answer["valid"], &answer["tampered"]), (&json!(true), &json!(false)), "{answer}");
    for ((who, before), (_, after)) in before.into_iter().zip(peaks(&programs)) {
        let grown = after.saturating_sub(before);
        assert!(
            grown < pack.len() as u64 / 2,
            "{who}: {before} bytes for a small pack, {after} for a large one"
        );
    }

    let mut archive = ZipArchive::new(std::io::Cursor::new(&pack)).expect("a ZIP");
    for ending in [".csv", ".json"] {
        let mut names = archive.file_names().map(|name| name.expect("UTF-8").into_owned());
        let name = names.find(|name| name.ends_with(ending) && !name.starts_with("manifest")).expect("one");
        drop(names);
        let file = std::io::read_to_string(archive.by_name(&name).expect("there")).expect("text");
        assert!(file.matches("CVE-2024-").count() >= MANY as usize, "{name} lacks rows");
    }

    let file = programs.file();
    std::fs::write(&file, &pack).expect("room");
    let (code, said) = verify(programs.home(), &file);
    assert_eq!((code, &said["valid"], &said["report_id"]), (Some(0), &json!(true), &json!(id)), "{said}");
    pack[LARGEST] ^= 1;
    std::fs::write(&file, &pack).expect("room");
    let (code, said) = verify(programs.home(), &file);
    assert_eq!((code, &said["tampered"]), (Some(1), &json!(true)), "{said}");
}
