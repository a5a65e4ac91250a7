//! What apalis-redis does that we work around, each held in place: an upgrade that changes one of these fails here, and whoever
//! upgrades then knows which precaution of `queue::transport` and `queue::worker` may go, or must change.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use apalis::prelude::{BackendExt, BoxDynError, Data, TaskBuilder, TaskSink, WorkerBuilder};
use apalis_redis::{Config, ConnectionManager, RedisStorage};
use harness::{eventually, services};
use redis::AsyncCommands;
use serde::{Deserialize, Serialize};
use tokio::{task::JoinHandle, time::timeout};
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(20);

/// A worker that looks at intervals stops looking when an answer takes longer than one; its next heartbeat sets it going again.
const HEARTBEAT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {
    number: u32,
}

/// A queue of its own for every test.
struct Queue {
    name: String,
    redis: ConnectionManager,
    handled: Arc<AtomicUsize>,
}

impl Queue {
    async fn new() -> Self {
        let redis = apalis_redis::connect(services().await.redis_url.as_str()).await.expect("redis answers");
        Self { name: format!("t_{}", Uuid::new_v4().simple()), redis, handled: Arc::default() }
    }

    fn config(&self) -> Config {
        Config::default().queue(self.name.as_str()).lock_tasks(false).emit_events(false)
    }

    fn storage(&self, config: Config) -> RedisStorage<Note> {
        RedisStorage::new(self.redis.clone()).with_config(config)
    }

    async fn push(&self, count: u32) {
        let mut storage = self.storage(self.config());
        let notes: Vec<_> = (0..count).map(|number| Note { number }).collect();
        for piece in notes.chunks(1000) {
            storage.push_bulk(piece.to_vec()).await.expect("redis takes them");
        }
    }

    /// A worker that looks every few milliseconds, until it ends by itself or the test does.
    fn work(&self, worker: &str, config: Config) -> Work {
        let backend =
            self.storage(config.heartbeat_interval(HEARTBEAT)).poll_with_interval(Duration::from_millis(20));
        let (handled, worker) = (self.handled.clone(), worker.to_owned());
        Work(tokio::spawn(async move {
            let worker = WorkerBuilder::new(worker).backend(backend).data(handled).build(count);
            worker.run().await.map_err(|error| format!("{error:?}"))
        }))
    }

    async fn until_handled(&self, count: usize) {
        eventually("enough notes are handled", SOON, || async {
            (self.handled.load(Ordering::SeqCst) >= count).then_some(())
        })
        .await;
    }

    async fn waiting(&self) -> (usize, usize) {
        let mut redis = self.redis.clone();
        let scheduled = redis.zcard(format!("{}:scheduled", self.name)).await.expect("counted");
        (scheduled, redis.llen(format!("{}:active", self.name)).await.expect("counted"))
    }

    async fn keys(&self, part: &str) -> Vec<String> {
        let pattern = format!("{}:{part}*", self.name);
        redis::cmd("KEYS").arg(pattern).query_async(&mut self.redis.clone()).await.expect("keys")
    }
}

async fn count(_: Note, handled: Data<Arc<AtomicUsize>>) -> Result<(), BoxDynError> {
    handled.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

/// A running worker. Ends with the value.
struct Work(JoinHandle<Result<(), String>>);

impl Work {
    /// How it ended by itself.
    async fn end(mut self) -> Result<(), String> {
        timeout(SOON, &mut self.0).await.expect("it ends by itself").expect("it does not panic")
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test]
async fn every_push_goes_through_the_schedule_and_signals_nobody() {
    let queue = Queue::new().await;
    queue.push(3).await;
    assert_eq!(queue.waiting().await, (3, 0), "scheduled and active");
    assert!(queue.keys("signal").await.is_empty());
}

#[tokio::test]
async fn more_than_eight_thousand_due_jobs_end_every_worker() {
    let queue = Queue::new().await;
    queue.push(8200).await;
    for worker in ["first", "second"] {
        let error = queue.work(worker, queue.config()).end().await.expect_err("it cannot fetch");
        assert!(error.contains("too many results to unpack"), "{error}");
    }
    assert_eq!((queue.handled.load(Ordering::SeqCst), queue.waiting().await.0), (0, 8200));
}

#[tokio::test]
async fn an_idempotency_key_does_nothing_unless_it_is_told_how_long_to_live() {
    let queue = Queue::new().await;
    let note = || TaskBuilder::new(Note { number: 1 }).idempotency_key("once").build();
    let mut storage = queue.storage(queue.config());
    for _ in 0..3 {
        storage.push_task(note()).await.expect("redis takes it");
    }
    assert_eq!(queue.waiting().await.0, 3);

    let queue = Queue::new().await;
    let mut storage = queue.storage(queue.config().idempotency_ttl(Some(Duration::from_secs(60))));
    for _ in 0..3 {
        storage.push_task(note()).await.expect("it does not even say that it did not take it");
    }
    assert_eq!(queue.waiting().await.0, 1);
}

#[tokio::test]
async fn what_is_done_is_acknowledged_only_when_results_are_kept() {
    for (kept, left) in [(true, 0), (false, 10)] {
        let queue = Queue::new().await;
        queue.push(10).await;
        let _worker = queue.work("worker", queue.config().persist_results(kept));
        queue.until_handled(10).await;
        if kept {
            eventually("acknowledgement", SOON, || async {
                let done: usize = queue.redis.clone().scard(format!("{}:done", queue.name)).await.ok()?;
                (done == 10).then_some(())
            })
            .await;
        }
        let mut inflight = 0;
        for set in queue.keys("inflight:").await {
            inflight += queue.redis.clone().scard::<_, usize>(set).await.expect("counted");
        }
        assert_eq!(inflight, left, "with persist_results({kept})");
    }
}

#[tokio::test]
async fn what_is_done_stays_in_redis() {
    let queue = Queue::new().await;
    queue.push(10).await;
    let _worker = queue.work("worker", queue.config());
    queue.until_handled(10).await;
    eventually("acknowledgement", SOON, || async {
        let done: usize = queue.redis.clone().scard(format!("{}:done", queue.name)).await.ok()?;
        (done == 10).then_some(())
    })
    .await;
    assert_eq!(queue.keys("meta:").await.len(), 10);
    let bodies: usize = queue.redis.clone().hlen(format!("{}:data", queue.name)).await.expect("counted");
    assert_eq!(bodies, 10);
}

#[tokio::test]
async fn one_payload_that_cannot_be_read_ends_the_worker() {
    let queue = Queue::new().await;
    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct Stranger {
        name: String,
    }
    let mut strangers: RedisStorage<Stranger> =
        RedisStorage::new(queue.redis.clone()).with_config(queue.config());
    strangers.push(Stranger { name: "who".into() }).await.expect("redis takes it");
    let error = queue.work("worker", queue.config()).end().await.expect_err("it cannot read it");
    assert!(error.contains("missing field"), "{error}");
}

#[tokio::test]
async fn a_name_cannot_be_used_again_soon() {
    let queue = Queue::new().await;
    queue.push(1).await;
    let first = queue.work("worker", queue.config());
    queue.until_handled(1).await;
    drop(first);
    let error = queue.work("worker", queue.config()).end().await.expect_err("the name is taken");
    assert!(error.contains("still active"), "{error}");
}

#[tokio::test]
async fn a_worker_that_has_vanished_is_struck_off_and_its_notes_stay_for_ever() {
    let queue = Queue::new().await;
    queue.push(1).await;
    let short = || queue.config().missed_heartbeats(2);
    let first = queue.work("first", short());
    queue.until_handled(1).await;
    drop(first);
    let _second = queue.work("second", short());
    eventually("the first worker's name to be struck off", SOON, || async {
        let workers: Vec<String> =
            queue.redis.clone().zrange(format!("{}:workers", queue.name), 0, -1).await.ok()?;
        (workers == ["second"]).then_some(())
    })
    .await;
    let mut notes = queue.keys("workers:metadata:").await;
    notes.sort();
    assert_eq!(notes, ["first", "second"].map(|worker| format!("{}:workers:metadata:{worker}", queue.name)));
    let remain: i64 = queue.redis.clone().ttl(&notes[0]).await.expect("asked");
    assert_eq!(remain, -1, "there is no end to them");
}

#[tokio::test]
async fn a_worker_without_a_poll_strategy_sleeps_through_a_push() {
    let queue = Queue::new().await;
    let (backend, handled) = (queue.storage(queue.config()), queue.handled.clone());
    let _worker = Work(tokio::spawn(async move {
        let worker = WorkerBuilder::new("sleeper").backend(backend).data(handled).build(count);
        worker.run().await.map_err(|error| format!("{error:?}"))
    }));
    eventually("the worker's registration", SOON, || async {
        let workers: usize = queue.redis.clone().zcard(format!("{}:workers", queue.name)).await.ok()?;
        (workers == 1).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    queue.push(1).await;
    // Its next look comes with its heartbeat, half a minute later. A worker that heard of the push would have it within milliseconds.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(queue.handled.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_attempts_that_a_task_may_have_are_ignored_and_waiting_for_the_next_is_called_failed() {
    async fn fail(_: Note) -> Result<(), BoxDynError> {
        Err("it fails".into())
    }
    let queue = Queue::new().await;
    let mut storage = queue.storage(queue.config());
    storage
        .push_task(TaskBuilder::new(Note { number: 1 }).max_attempts(1).build())
        .await
        .expect("redis takes it");
    let config = queue.config().heartbeat_interval(HEARTBEAT);
    let backend = queue.storage(config).poll_with_interval(Duration::from_millis(20));
    let _worker = Work(tokio::spawn(async move {
        let worker = WorkerBuilder::new("worker").backend(backend).build(fail);
        worker.run().await.map_err(|error| format!("{error:?}"))
    }));
    // `Failed` is what its vacuum takes for finished, and deletes the payload of.
    eventually("a second attempt that failed and a third to come", SOON, || async {
        let meta = queue.keys("meta:").await.pop()?;
        let (attempts, status): (usize, String) =
            queue.redis.clone().hmget(&meta, &["attempts", "status"]).await.ok()?;
        (attempts >= 2 && status == "Failed" && queue.waiting().await.0 == 1).then_some(())
    })
    .await;
}
