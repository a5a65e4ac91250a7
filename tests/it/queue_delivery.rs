//! Relay, Redis and worker together: what was accepted is done, once, whatever is taken away meanwhile.

use std::{collections::HashSet, sync::atomic::Ordering, time::Duration};

use domain::id::JobId;
use harness::{TestDb, eventually, services};
use queue::{Queue, Registry, relay::Relay, rescue, transport::Transport, worker};
use secrecy::SecretString;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::work::{Act, Tally, Work, accept, registry, row};

/// A relay, a rescue and a worker over one database and one Redis prefix.
pub(crate) struct Engine {
    pub(crate) db: TestDb,
    tally: Tally,
    redis_url: String,
    prefix: String,
    stop: CancellationToken,
    running: Vec<JoinHandle<()>>,
}

impl Engine {
    pub(crate) async fn idle() -> Self {
        let services = services().await;
        Self::on(&services.owner_url, &services.redis_url).await
    }

    /// An engine on servers of the test's own.
    pub(crate) async fn on(owner_url: &str, redis_url: &str) -> Self {
        let db = TestDb::on(owner_url).await;
        let tally = Tally::new(&db);
        let prefix = format!("t_{}", Uuid::new_v4().simple());
        Self {
            db,
            tally,
            redis_url: redis_url.to_owned(),
            prefix,
            stop: CancellationToken::new(),
            running: Vec::new(),
        }
    }

    pub(crate) async fn transport(&self) -> Transport {
        let url = SecretString::from(self.redis_url.clone());
        Transport::connect(&url, &self.prefix).await.expect("redis answers")
    }

    pub(crate) async fn start_relay(&mut self) {
        let relay = Relay {
            pool: self.db.pool().clone(),
            transport: self.transport().await,
            window: 100,
            patience: Duration::from_secs(8),
        };
        let stop = self.stop.clone();
        self.running.push(tokio::spawn(async move { relay.run(&stop).await }));
        let (pool, stop) = (self.db.pool().clone(), self.stop.clone());
        self.running
            .push(tokio::spawn(async move { rescue::run(&pool, Duration::from_millis(200), &stop).await }));
    }

    /// A connection to this engine's Redis.
    pub(crate) async fn redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.redis_url.as_str()).expect("the address is sound");
        client.get_multiplexed_async_connection().await.expect("redis answers")
    }

    /// This engine's keys in Redis with `part` in them.
    pub(crate) async fn redis_keys(&self, part: &str) -> Vec<String> {
        let pattern = format!("{}:*{part}*", self.prefix);
        redis::cmd("KEYS").arg(pattern).query_async(&mut self.redis().await).await.expect("keys")
    }

    /// How many keys this engine has in Redis.
    pub(crate) async fn keys_in_redis(&self) -> usize {
        self.redis_keys("").await.len()
    }

    /// Whether everything that was started has ended.
    pub(crate) fn has_stopped(&self) -> bool {
        self.running.iter().all(JoinHandle::is_finished)
    }

    /// Starts a worker, which stops when the returned token is cancelled.
    pub(crate) async fn start_worker(&mut self, slots: usize) -> CancellationToken {
        let (kinds, tally) = (registry(), self.tally.clone());
        self.start_worker_of(kinds, tally, slots).await
    }

    /// As [`Self::start_worker`], for a worker that knows other kinds.
    pub(crate) async fn start_worker_of<C: Send + Sync + 'static>(
        &mut self,
        kinds: Registry<C>,
        context: C,
        slots: usize,
    ) -> CancellationToken {
        let stop = self.stop.child_token();
        let settings = worker::Settings {
            queues: vec![Queue::Maintenance],
            slots,
            lease: Duration::from_secs(2),
            grace: Duration::from_secs(2),
        };
        let transport = self.transport().await;
        let (pool, stopping) = (self.db.pool().clone(), stop.clone());
        self.running.push(tokio::spawn(async move {
            worker::run(kinds, context, pool, transport, settings, stopping).await.expect("the worker runs");
        }));
        stop
    }

    pub(crate) async fn accept_many(&self, count: usize, work: Work) -> HashSet<JobId> {
        let mut ids = HashSet::new();
        for _ in 0..count {
            ids.insert(accept(&self.db, &work).await);
        }
        ids
    }

    pub(crate) async fn until_all_completed(&self, ids: &HashSet<JobId>, within: Duration) {
        self.until_all_done(ids, within).await;
        // A handler counts after its COMMIT.
        let completions = eventually("every job to be counted", within, || async {
            let completions = self.tally.completions();
            (completions.len() == ids.len()).then_some(completions)
        })
        .await;
        assert!(completions.values().all(|times| *times == 1), "no job's result is committed twice");
    }

    /// Every job is completed, whether or not its worker heard of the COMMIT.
    pub(crate) async fn until_all_done(&self, ids: &HashSet<JobId>, within: Duration) {
        eventually("completion of every job", within, || async {
            let open: i64 = sqlx::query_scalar("select count(*) from jobs where state <> 'completed'")
                .fetch_one(self.db.pool())
                .await
                .ok()?;
            (open == 0).then_some(())
        })
        .await;
        let completed: i64 =
            sqlx::query_scalar("select count(*) from job_attempts where outcome = 'completed'")
                .fetch_one(self.db.pool())
                .await
                .expect("counted");
        assert_eq!(
            usize::try_from(completed).expect("a count"),
            ids.len(),
            "each is completed by one attempt"
        );
    }

    /// Ends relay, rescue and workers; the database is still there.
    pub(crate) async fn stop(self) -> TestDb {
        self.stop.cancel();
        for task in self.running {
            task.await.expect("it stops");
        }
        self.db
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_is_done_within_a_moment() {
    let mut engine = Engine::idle().await;
    engine.start_relay().await;
    engine.start_worker(4).await;
    let ids = engine.accept_many(20, Work::default()).await;
    engine.until_all_completed(&ids, Duration::from_secs(10)).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_larger_than_the_window_is_worked_off() {
    let mut engine = Engine::idle().await;
    let ids = engine.accept_many(450, Work::default()).await;
    engine.start_relay().await;
    engine.start_worker(8).await;
    engine.until_all_completed(&ids, Duration::from_secs(30)).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_may_be_emptied_in_mid_run() {
    let mut engine = Engine::idle().await;
    let ids = engine.accept_many(300, Work { act: Act::SleepMillis(5), ..Work::default() }).await;
    engine.start_relay().await;
    engine.start_worker(4).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        forget_everything(&engine.prefix).await;
    }
    engine.until_all_completed(&ids, Duration::from_secs(30)).await;
    engine.stop().await;
}

/// What FLUSHALL does, held to the keys of one test.
async fn forget_everything(prefix: &str) {
    let client = redis::Client::open(services().await.redis_url.as_str()).expect("the address is sound");
    let mut connection = client.get_multiplexed_async_connection().await.expect("redis answers");
    let keys: Vec<String> =
        redis::cmd("KEYS").arg(format!("{prefix}:*")).query_async(&mut connection).await.expect("keys");
    if !keys.is_empty() {
        let _: i64 = redis::cmd("DEL").arg(&keys).query_async(&mut connection).await.expect("deleted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_hands_its_work_to_the_next() {
    let mut engine = Engine::idle().await;
    let ids = engine.accept_many(12, Work { act: Act::SleepMillis(400), ..Work::default() }).await;
    engine.start_relay().await;
    let first = engine.start_worker(4).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    first.cancel();
    engine.start_worker(4).await;
    engine.until_all_completed(&ids, Duration::from_secs(30)).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_and_two_workers_share_the_work() {
    let mut engine = Engine::idle().await;
    let ids = engine.accept_many(200, Work::default()).await;
    engine.start_relay().await;
    engine.start_relay().await;
    engine.start_worker(4).await;
    engine.start_worker(4).await;
    engine.until_all_completed(&ids, Duration::from_secs(30)).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_with_one_concurrency_key_run_one_after_another() {
    let mut engine = Engine::idle().await;
    let work = Work { act: Act::SleepMillis(30), one_at_a_time: Some("tenant-1".into()), ..Work::default() };
    let ids = engine.accept_many(8, work).await;
    engine.start_relay().await;
    engine.start_worker(8).await;
    engine.until_all_completed(&ids, Duration::from_secs(30)).await;
    assert_eq!(engine.tally.most_at_once.load(Ordering::SeqCst), 1);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_in_redis_disturbs_nobody() {
    let mut engine = Engine::idle().await;
    engine.start_relay().await;
    engine.start_worker(4).await;
    let transport = engine.transport().await;
    let strangers = (0..20).map(|fence| queue::claim::JobRef { id: Uuid::new_v4(), fence }).collect();
    transport.push(Queue::Maintenance, strangers).await.expect("redis takes them");
    let job = accept(&engine.db, &Work::default()).await;
    engine.until_all_completed(&HashSet::from([job]), Duration::from_secs(10)).await;
    assert_eq!(row(&engine.db, job).await.attempt, 1);
    engine.stop().await;
}

/// A worker that stumbled over what it cannot read would take it up again and again, and what was fetched with it would lie for half a minute.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_in_redis_is_dropped_and_counted_and_holds_up_nobody() {
    let mut engine = Engine::idle().await;
    let counted = junk_counted();
    let name = format!("{}:{}", engine.prefix, Queue::Maintenance);
    let mut redis = engine.redis().await;
    let sound =
        serde_json::to_vec(&queue::claim::JobRef { id: Uuid::new_v4(), fence: 1 }).expect("a reference");
    let bodies: [(&str, Option<&[u8]>); 4] = [
        ("nothing", None),
        ("other", Some(b"{\"no\":\"job\"}")),
        ("bytes", Some(b"\xff\x00")),
        ("noteless", Some(&sound)),
    ];
    let mut junk = Vec::new();
    // More than one call fetches, before and between those of jobs.
    for (number, (kind, body)) in bodies.iter().cycle().take(100).enumerate() {
        let id = format!("junk-{kind}-{number}");
        let mut writing = redis::pipe();
        match number % 2 {
            0 => writing.cmd("RPUSH").arg(format!("{name}:active")).arg(&id).ignore(),
            _ => writing.zadd(format!("{name}:scheduled"), &id, 1).ignore(),
        };
        if let Some(body) = body {
            writing.hset(format!("{name}:data"), &id, *body).ignore();
        }
        let _: () = writing.query_async(&mut redis).await.expect("written");
        junk.push(id);
    }
    let ids = engine.accept_many(60, Work::default()).await;
    engine.start_relay().await;
    engine.start_worker(8).await;
    engine.until_all_completed(&ids, Duration::from_secs(25)).await;
    eventually("the end of what cannot be read", Duration::from_secs(25), || async {
        (junk_counted() - counted >= junk.len() as u64).then_some(())
    })
    .await;
    let kept: Vec<Option<Vec<u8>>> = redis::cmd("HMGET")
        .arg(format!("{name}:data"))
        .arg(&junk)
        .query_async(&mut redis)
        .await
        .expect("asked");
    assert!(kept.iter().all(Option::is_none), "{kept:?}");
    assert_eq!(engine.redis_keys("junk").await, [""; 0], "notes about it");
    for set in engine.redis_keys("inflight").await {
        let in_hand: Vec<String> =
            redis::cmd("SMEMBERS").arg(set).query_async(&mut redis).await.expect("asked");
        assert!(!in_hand.iter().any(|id| id.starts_with("junk")), "{in_hand:?}");
    }
    assert_eq!(engine.redis_keys("workers:metadata").await.len(), 1, "nobody was rebuilt over it");
    engine.stop().await;
}

fn junk_counted() -> u64 {
    let shown = runtime::metrics::exposition();
    let series = "plimsoll_transport_junk_total{queue=\"maintenance\"} ";
    shown.lines().find_map(|line| line.strip_prefix(series)?.parse().ok()).unwrap_or(0)
}
