//! What apalis-redis does that we work around, each held in place: an upgrade that changes one of these fails here, and whoever
//! upgrades then knows which precaution of `queue::transport` and `queue::worker` may go, or must change.

mod bent;

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
use redis::{AsyncCommands, aio::ConnectionManagerConfig};
use serde::{Deserialize, Serialize};
use tokio::{task::JoinHandle, time::timeout};
use uuid::Uuid;

use self::bent::Bent;

const SOON: Duration = Duration::from_secs(60);
/// The heartbeat of a worker that shows itself when it registers, and not again while the test lasts.
const NEVER: Duration = Duration::from_secs(3600);

/// A worker that looks at intervals stops looking when an answer takes longer than one; its next heartbeat sets it going again.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often a worker looks, as far as it does.
const INTERVAL: Duration = Duration::from_millis(20);
/// A clock that is wrong is wrong by this, seconds: far more than the heartbeats that a worker may miss.
const WRONG: i64 = 600;

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
        let client = redis::Client::open(services().await.redis_url.as_str()).expect("an address");
        // By default half a second without an answer is an error, which ends a worker.
        let patient = ConnectionManagerConfig::new()
            .set_response_timeout(Some(SOON))
            .set_connection_timeout(Some(SOON));
        let redis = client.get_connection_manager_with_config(patient).await.expect("redis answers");
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
        let backend = self.storage(config.heartbeat_interval(HEARTBEAT)).poll_with_interval(INTERVAL);
        let (handled, worker) = (self.handled.clone(), worker.to_owned());
        Work(tokio::spawn(async move {
            let worker = WorkerBuilder::new(worker).backend(backend).data(handled).build(count);
            worker.run().await.map_err(|error| format!("{error:?}"))
        }))
    }

    /// As [`Self::work`], over a connection with something wrong about it. With `holds` it begins what it is given and never ends it.
    fn work_over(&self, worker: &str, config: Config, connection: Bent, holds: bool) -> Work {
        let storage: RedisStorage<Note, Bent> = RedisStorage::new(connection).with_config(config);
        let backend = storage.poll_with_interval(INTERVAL);
        let (handled, worker) = (self.handled.clone(), worker.to_owned());
        Work(tokio::spawn(async move {
            let worker =
                WorkerBuilder::new(worker).backend(backend).data(handled).data(Holds(holds)).build(begin);
            worker.run().await.map_err(|error| format!("{error:?}"))
        }))
    }

    /// When the worker last showed itself, as Redis has it.
    async fn last_seen(&self, worker: &str) -> Option<f64> {
        self.redis.clone().zscore(format!("{}:workers", self.name), worker).await.expect("asked")
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

/// Whether what is begun is never ended.
#[derive(Clone)]
struct Holds(bool);

async fn begin(
    _: Note,
    begun: Data<Arc<AtomicUsize>>,
    Data(Holds(holds)): Data<Holds>,
) -> Result<(), BoxDynError> {
    begun.fetch_add(1, Ordering::SeqCst);
    if holds {
        std::future::pending::<()>().await;
    }
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
    let work = || {
        let config = queue.config().heartbeat_interval(NEVER);
        queue.work_over("worker", config, Bent::of(&queue.redis), false)
    };
    let first = work();
    queue.until_handled(1).await;
    drop(first);
    let error = work().end().await.expect_err("the name is taken");
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
    let connection = Bent::of(&queue.redis);
    let (looks, handled) = (connection.fetches.clone(), queue.handled.clone());
    let backend: RedisStorage<Note, Bent> =
        RedisStorage::new(connection).with_config(queue.config().heartbeat_interval(NEVER));
    let _worker = Work(tokio::spawn(async move {
        let worker = WorkerBuilder::new("sleeper").backend(backend).data(handled).build(count);
        worker.run().await.map_err(|error| format!("{error:?}"))
    }));
    eventually("the end of its looking around", SOON, || async {
        let before = looks.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(300)).await;
        (before > 0 && looks.load(Ordering::SeqCst) == before).then_some(())
    })
    .await;
    queue.push(1).await;
    // Its next look comes with its next heartbeat. A worker that heard of the push would have it within milliseconds.
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

/// `queue::wake`: a timer that is always registered.
#[tokio::test]
async fn a_worker_that_looks_at_intervals_looks_no_more_once_an_answer_took_longer_than_one() {
    let queue = Queue::new().await;
    let connection = Bent::slow(&queue.redis, INTERVAL * 5);
    let looks = connection.fetches.clone();
    // Far from its next heartbeat, which would set it going again.
    let config = queue.config().heartbeat_interval(NEVER);
    let _worker = queue.work_over("worker", config, connection, false);
    eventually("ten answers' time without a look", SOON, || async {
        let before = looks.load(Ordering::SeqCst);
        tokio::time::sleep(INTERVAL * 50).await;
        (before > 0 && looks.load(Ordering::SeqCst) == before).then_some(())
    })
    .await;
    queue.push(1).await;
    tokio::time::sleep(INTERVAL * 50).await;
    assert_eq!((queue.handled.load(Ordering::SeqCst), queue.waiting().await), (0, (1, 0)));
}

/// `queue::transport`, PROMOTE: what was pushed is made due without asking a clock.
#[tokio::test]
async fn what_is_due_is_decided_by_the_clocks_of_who_pushes_and_who_fetches() {
    let queue = Queue::new().await;
    let mut storage: RedisStorage<Note, Bent> =
        RedisStorage::new(Bent::ahead(&queue.redis, WRONG)).with_config(queue.config());
    storage.push(Note { number: 1 }).await.expect("redis takes it");
    let config = || queue.config().heartbeat_interval(HEARTBEAT);
    let connection = Bent::of(&queue.redis);
    let looks = connection.fetches.clone();
    let _punctual = queue.work_over("punctual", config(), connection, false);
    eventually("three looks", SOON, || async { (looks.load(Ordering::SeqCst) >= 3).then_some(()) }).await;
    assert_eq!((queue.handled.load(Ordering::SeqCst), queue.waiting().await), (0, (1, 0)));
    let _early = queue.work_over("early", config(), Bent::ahead(&queue.redis, WRONG), false);
    queue.until_handled(1).await;
}

/// Leases are Postgres', by its clock; what Redis hands out twice is refused by its fence.
#[tokio::test]
async fn a_worker_whose_clock_is_ahead_takes_from_the_living_what_they_are_at() {
    let queue = Queue::new().await;
    let config = || queue.config().heartbeat_interval(HEARTBEAT);
    queue.push(1).await;
    let _living = queue.work_over("living", config(), Bent::of(&queue.redis), true);
    queue.until_handled(1).await;
    let _early = queue.work_over("early", config(), Bent::ahead(&queue.redis, WRONG), true);
    queue.until_handled(2).await;
}

/// The heartbeat is a `ZADD` without `GT`: a clock that is put right makes its worker seem to have vanished.
#[tokio::test]
async fn a_worker_whose_clock_is_put_back_is_struck_off_alive_and_ends() {
    let queue = Queue::new().await;
    let config = || queue.config().heartbeat_interval(HEARTBEAT);
    let connection = Bent::of(&queue.redis);
    let clock = connection.ahead.clone();
    let worker = queue.work_over("worker", config(), connection, false);
    let seen = eventually("its registration", SOON, || queue.last_seen("worker")).await;
    clock.store(-WRONG, Ordering::SeqCst);
    eventually("a heartbeat that goes back in time", SOON, || async {
        queue.last_seen("worker").await.filter(|again| *again < seen - 300.0)
    })
    .await;
    let _other = queue.work_over("other", config(), Bent::of(&queue.redis), false);
    let error = worker.end().await.expect_err("it lives, and is not registered any more");
    assert!(error.contains("not registered"), "{error}");
}

/// `queue::rescue` counts crashes in Postgres, and gives a job up that ended three workers.
#[tokio::test]
async fn a_task_that_ends_its_worker_is_handed_on_for_ever_and_its_attempts_are_not_counted() {
    let queue = Queue::new().await;
    let mut storage = queue.storage(queue.config());
    let task = TaskBuilder::new(Note { number: 1 }).max_attempts(1).build();
    storage.push_task(task).await.expect("redis takes it");
    let mut attempts = Vec::new();
    for victim in 0..4 {
        let connection = Bent::ahead(&queue.redis, WRONG * victim);
        let config = queue.config().heartbeat_interval(HEARTBEAT);
        let worker = queue.work_over(&format!("victim {victim}"), config, connection, true);
        queue.until_handled(usize::try_from(victim).expect("a few") + 1).await;
        let meta = queue.keys("meta:").await.pop().expect("one task");
        let counted: String = queue.redis.clone().hget(meta, "attempts").await.expect("read");
        attempts.push(counted);
        drop(worker);
    }
    assert!(attempts.iter().all(|counted| *counted == attempts[0]), "{attempts:?}");
}

/// `queue::transport` rebuilds a worker that has ended, under a new name.
#[tokio::test]
async fn any_error_of_redis_ends_the_worker() {
    for (what, script) in [
        ("a fetch", bent::FETCH),
        ("a heartbeat", bent::HEARTBEAT),
        ("an acknowledgement", bent::ACKNOWLEDGEMENT),
    ] {
        let queue = Queue::new().await;
        let connection = Bent::of(&queue.redis);
        let (looks, fails) = (connection.fetches.clone(), connection.fails.clone());
        let config = queue.config().heartbeat_interval(HEARTBEAT).persist_results(true);
        let worker = queue.work_over("worker", config, connection, false);
        eventually("a look", SOON, || async { (looks.load(Ordering::SeqCst) > 0).then_some(()) }).await;
        fails.store(script, Ordering::SeqCst);
        queue.push(1).await;
        let error = worker.end().await.expect_err("it does not try again");
        assert!(error.contains("the line is cut"), "{what}: {error}");
    }
}

/// `queue::carrier` leaves that word out, which Redis before 6.2 does not know.
#[tokio::test]
async fn a_worker_registers_with_a_word_that_came_with_redis_6_2() {
    let queue = Queue::new().await;
    let connection = Bent::of(&queue.redis);
    let scripts = connection.scripts.clone();
    let _worker = queue.work_over("worker", queue.config(), connection, false);
    eventually("its registration", SOON, || queue.last_seen("worker")).await;
    let scripts = scripts.lock().expect("nobody panicked");
    let with_the_word: Vec<_> = scripts.iter().filter(|script| script.contains("'GT'")).collect();
    assert_eq!(with_the_word.len(), 1, "{with_the_word:?}");
    assert!(with_the_word[0].contains("\"core:apalis:queues:list\", 'GT', now"), "{with_the_word:?}");
}
