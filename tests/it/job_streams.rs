//! Streams of events that go on when the API is killed and started anew, and the end of a batch as its webhooks hear of it.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use domain::id::JobId;
use harness::{
    deed::{Act, Deed},
    eventually,
};
use http::HeaderMap;
use queue::{batches::enqueue_batch, enqueue, enqueue::Origin};
use runtime::egress::{Client, HeaderName, HeaderValue, Method, Policy, Request};
use serde_json::{Value, json};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::programs::{Programs, SOON};

/// An event as it arrived: its id, its name, its data.
type Event = (String, String, Value);

/// One address for whichever API there is at the moment, as a balancer has. Nobody answers while there is none.
struct Front {
    address: SocketAddr,
    api: Arc<Mutex<SocketAddr>>,
}

impl Front {
    async fn before(api: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let api = Arc::new(Mutex::new(api));
        let target = api.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let target = *target.lock().expect("nobody panics here");
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(target).await {
                        // Either side may be gone in the middle; that is what this is for.
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { address, api }
    }

    fn leads_to(&self, api: SocketAddr) {
        *self.api.lock().expect("nobody panics here") = api;
    }
}

/// A client that does what an `EventSource` does: reads, and when the stream breaks off asks again with the id that came last.
struct Follower {
    events: Arc<Mutex<Vec<Event>>>,
    reading: JoinHandle<()>,
}

impl Follower {
    fn of(front: &Front, token: &str, path: &str) -> Self {
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let (url, bearer) = (format!("http://{}{path}", front.address), format!("Bearer {token}"));
        let reading = tokio::spawn(read(url, bearer, events.clone()));
        Self { events, reading }
    }

    fn events(&self) -> Vec<Event> {
        self.events.lock().expect("nobody panics here").clone()
    }

    async fn until(&self, what: &str, condition: impl Fn(&[Event]) -> bool) {
        eventually(what, SOON, || async { condition(&self.events()).then_some(()) }).await;
    }
}

async fn read(url: String, bearer: String, events: Arc<Mutex<Vec<Event>>>) {
    let client = Client::new(Policy::administrator()).expect("a client");
    loop {
        let last = events.lock().expect("nobody panics here").last().map(|(id, ..): &Event| id.clone());
        let header = |text: String| HeaderValue::try_from(text).expect("a header");
        let mut request = Request::get(url.clone())
            .header(HeaderName::from_static("authorization"), header(bearer.clone()));
        if let Some(last) = last {
            request = request.header(HeaderName::from_static("last-event-id"), header(last));
        }
        if let Ok(mut answer) = client.send(request).await {
            // There is nothing more to come, and an EventSource stops here.
            if answer.status == 204 {
                return;
            }
            let mut pending = String::new();
            while let Ok(Some(piece)) = answer.chunk().await {
                pending.push_str(std::str::from_utf8(&piece).expect("our events are ASCII"));
                while let Some((event, rest)) = pending.split_once("\n\n") {
                    events.lock().expect("nobody panics here").extend(event_of(event));
                    pending = rest.to_owned();
                }
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn event_of(text: &str) -> Option<Event> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let data = serde_json::from_str(&field("data: ")?).expect("JSON");
    Some((field("id: ")?, field("event: ")?, data))
}

async fn until_gone(program: &mut harness::Program) {
    let program = std::cell::RefCell::new(program);
    eventually("the end of the process", SOON, || async { program.borrow_mut().ended() }).await;
}

fn wait_for(gate: &Path) -> Deed {
    Deed::of(Act::WaitFor(gate.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_where_it_was_when_the_api_is_killed_and_started_anew() {
    let mut programs = Programs::start_for_deeds(&[("SHUTDOWN_GRACE_SECONDS", "1")]).await;
    let tenant = programs.tenant().await;
    let front = Front::before(programs.api.api).await;
    let gate = programs.file();
    let mut tx = programs.db.system.begin().await.expect("a transaction");
    let job = enqueue(&mut tx, Origin::tenant(tenant), &wait_for(&gate)).await.expect("accepted").id;
    tx.commit().await.expect("committed");
    let path = format!("/api/jobs/{job}/events");
    let follower = Follower::of(&front, programs.token(), &path);
    let begun = |events: &[Event]| events.iter().any(|(_, name, _)| name == "attempt_started");
    follower.until("the first attempt", begun).await;

    // While nobody serves the stream, the attempt is interrupted and another worker begins the next.
    programs.api.signal("KILL");
    until_gone(&mut programs.api).await;
    programs.worker.signal("TERM");
    until_gone(&mut programs.worker).await;
    let _second_worker = programs.another("worker").await;
    eventually("the second attempt", SOON, || async {
        let attempts: i64 = sqlx::query_scalar("select count(*) from job_attempts where job_id = $1")
            .bind(job.0)
            .fetch_one(programs.db.pool())
            .await
            .ok()?;
        (attempts >= 2).then_some(())
    })
    .await;
    let told_before = follower.events();
    let second_api = programs.another("api").await;
    front.leads_to(second_api.api);
    follower.until("what happened meanwhile", |events| events.len() > told_before.len()).await;
    std::fs::write(&gate, "").expect("the gate opens");
    eventually("the end of the stream", SOON, || async { follower.reading.is_finished().then_some(()) })
        .await;

    let events = follower.events();
    let steps: Vec<(&str, &Value)> = events
        .iter()
        .filter(|(_, name, _)| name.starts_with("attempt_"))
        .map(|(_, name, data)| (name.as_str(), &data["outcome"]))
        .collect();
    let attempts: Vec<String> =
        sqlx::query_scalar("select outcome from job_attempts where job_id = $1 order by fence")
            .bind(job.0)
            .fetch_all(programs.db.pool())
            .await
            .expect("read");
    assert_eq!(attempts.first().map(String::as_str), Some("interrupted"));
    let outcomes: Vec<Value> = attempts.iter().map(|outcome| json!(outcome)).collect();
    let expected: Vec<(&str, &Value)> = outcomes
        .iter()
        .flat_map(|outcome| [("attempt_started", &Value::Null), ("attempt_ended", outcome)])
        .collect();
    assert_eq!(steps, expected, "each step once, and in order");
    let names: Vec<&str> = events.iter().map(|(_, name, _)| name.as_str()).collect();
    assert_eq!(names.iter().filter(|name| **name == "finished").count(), 1);
    assert_eq!(names.last(), Some(&"finished"));
    let mut ids: Vec<&String> = events.iter().map(|(id, ..)| id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), events.len(), "nothing is told twice: {events:?}");
}

/// A real endpoint that keeps what it is sent.
async fn receiver() -> (String, Arc<Mutex<Vec<(HeaderMap, Bytes)>>>) {
    type Calls = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;
    async fn take(State(calls): State<Calls>, headers: HeaderMap, body: Bytes) {
        calls.lock().expect("nobody panics here").push((headers, body));
    }
    let calls = Calls::default();
    let router = Router::new().route("/hook", post(take)).with_state(calls.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, calls)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_followed_over_a_restart_and_its_end_is_told_once_to_those_who_listen() {
    let mut programs = Programs::start_for_deeds(&[("SHUTDOWN_GRACE_SECONDS", "1")]).await;
    let tenant = programs.tenant().await;
    let front = Front::before(programs.api.api).await;
    let (url, calls) = receiver().await;
    let hook = json!({ "url": url, "events": ["batch.finished"] });
    let (status, created) = programs.send(Method::POST, "/api/webhooks", &[], &hook).await;
    assert_eq!(status, 201, "{created}");
    let elsewhere = json!({ "url": url, "events": ["report.generated"] });
    assert_eq!(programs.send(Method::POST, "/api/webhooks", &[], &elsewhere).await.0, 201);

    let gates = [programs.file(), programs.file()];
    let mut tx = programs.db.system.begin().await.expect("a transaction");
    let mut members: Vec<JobId> = Vec::new();
    for gate in &gates {
        let member = enqueue(&mut tx, Origin::tenant(tenant), &wait_for(gate)).await.expect("accepted");
        members.push(member.id);
    }
    let batch = enqueue_batch(&mut tx, Origin::tenant(tenant), "two of them", &members).await;
    let batch = batch.expect("accepted").id;
    tx.commit().await.expect("committed");
    let follower = Follower::of(&front, programs.token(), &format!("/api/batches/{batch}/events"));
    let both_run = |events: &[Event]| events.iter().any(|(.., batch)| batch["running"] == 2);
    follower.until("both members at work", both_run).await;

    programs.api.signal("KILL");
    until_gone(&mut programs.api).await;
    std::fs::write(&gates[0], "").expect("the gate opens");
    programs.until_completed(&json!(members[0])).await;
    let second_api = programs.another("api").await;
    front.leads_to(second_api.api);
    follower.until("the first end", |events| events.iter().any(|(.., batch)| batch["completed"] == 1)).await;
    std::fs::write(&gates[1], "").expect("the gate opens");
    eventually("the end of the stream", SOON, || async { follower.reading.is_finished().then_some(()) })
        .await;

    let events = follower.events();
    let (_, name, last) = events.last().expect("there were some");
    assert_eq!(
        (name.as_str(), &last["status"], &last["progress"]),
        ("finished", &json!("completed"), &json!(100))
    );
    assert_eq!(events.iter().filter(|(_, name, _)| name == "finished").count(), 1);
    let completed: Vec<i64> = events.iter().filter_map(|(.., batch)| batch["completed"].as_i64()).collect();
    assert!(completed.is_sorted() && completed.contains(&1), "{completed:?}");
    let ids: std::collections::BTreeSet<_> = events.iter().map(|(id, ..)| id).collect();
    assert_eq!(ids.len(), events.len(), "nothing is told twice: {events:?}");

    // Everything is at its end, so that what has not been sent never will be.
    eventually("the end of all jobs", SOON, || async {
        let open: i64 = sqlx::query_scalar(
            "select count(*) from jobs where state not in ('completed', 'dead', 'cancelled')",
        )
        .fetch_one(programs.db.pool())
        .await
        .ok()?;
        (open == 0).then_some(())
    })
    .await;
    let calls = calls.lock().expect("nobody panics here");
    assert_eq!(calls.len(), 1, "once, and only to whoever listens for it");
    let (headers, body) = &calls[0];
    let secret = created["secret"].as_str().expect("a secret");
    let verifier = standardwebhooks::Webhook::new(secret).expect("a key");
    verifier.verify(body, headers).expect("it is signed");
    let told: Value = serde_json::from_slice(body).expect("JSON");
    assert_eq!(told["event"], "batch.finished");
    let data = json!({ "batch_id": batch, "name": "two of them", "status": "completed", "jobs": 2, "completed": 2, "failed": 0,
                       "cancelled": 0, "organization_id": format!("org_{}", tenant.0.simple()) });
    assert_eq!(told["data"], data);
}
