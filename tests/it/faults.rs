//! What is taken away in the middle of the work, for real: a worker process, the database server.

use std::{
    process::{Child, Command},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use harness::{TestDb, eventually, services};
use plimsoll::embedded::{Settings, start};
use queue::{
    enqueue::Origin, enqueue::enqueue, jobs::CrawlSource, relay::Relay, rescue, transport::Transport,
};
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    queue_delivery::Engine,
    work::{Act, Work},
};

const KEV: &str = r#"{"title":"t","catalogVersion":"2025.08.25","dateReleased":"2025-08-25T00:00:00.0000Z","count":1,
 "vulnerabilities":[{"cveID":"CVE-2023-4911","vendorProject":"GNU","product":"GNU C Library","vulnerabilityName":"n",
 "dateAdded":"2023-11-21","shortDescription":"d","requiredAction":"a","dueDate":"2023-12-12",
 "knownRansomwareCampaignUse":"Unknown","notes":"","cwes":[]}]}"#;

/// A feed that lets the first visitor wait for ever and serves the others. Returns its address and the number of visits.
async fn feed_that_hangs_once() -> (String, Arc<AtomicUsize>) {
    async fn serve(State(visits): State<Arc<AtomicUsize>>) -> impl IntoResponse {
        if visits.fetch_add(1, Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        ([(header::CONTENT_TYPE, "application/json")], KEV)
    }
    let visits = Arc::new(AtomicUsize::new(0));
    let router = Router::new().route("/kev.json", get(serve)).with_state(visits.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}/kev.json"), visits)
}

/// A worker in a process of its own. Killed when it goes out of sight.
struct Worker(Child);

impl Worker {
    async fn start(db: &TestDb, prefix: &str, folder: &std::path::Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_worker-under-test"))
            .env("DATABASE_URL", db.worker_url.expose_secret())
            .env("REDIS_URL", &services().await.redis_url)
            .env("QUEUE_PREFIX", prefix)
            .env("PLIMSOLL_HOME", folder)
            // No shorter: on a slow machine a renewal comes late, and that is a crash too.
            .env("JOB_LEASE_SECONDS", "5")
            .env("SOURCE_ALLOW_PRIVATE", "127.0.0.0/8")
            .env("LOG_LEVEL", "warn")
            .spawn()
            .expect("the worker starts");
        Self(child)
    }

    fn kill(&mut self) {
        self.0.kill().expect("it is killed");
        self.0.wait().expect("it is gone");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may be gone already, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_mid_crawl_is_replaced_and_the_crawl_is_done_once() {
    let db = TestDb::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (url, visits) = feed_that_hangs_once().await;
    let source = Uuid::now_v7();
    sqlx::query(
        "insert into sources (id, slug, name, category, feed, url, crawl_interval_minutes, enabled)
         values ($1, 'kev-under-test', 'KEV', 'exploit', 'cisa-kev', $2, 60, true)",
    )
    .bind(source)
    .bind(&url)
    .execute(db.pool())
    .await
    .expect("a source");
    let prefix = format!("t_{}", Uuid::new_v4().simple());
    let stop = CancellationToken::new();
    let redis_url = SecretString::from(services().await.redis_url.clone());
    let transport = Transport::connect(&redis_url, &prefix).await.expect("redis answers");
    let relay = Relay { pool: db.pool().clone(), transport, window: 10, patience: Duration::from_secs(8) };
    let stopping = stop.clone();
    let relaying = tokio::spawn(async move { relay.run(&stopping).await });
    let (pool, stopping) = (db.pool().clone(), stop.clone());
    let rescuing =
        tokio::spawn(async move { rescue::run(&pool, Duration::from_millis(200), &stopping).await });

    let mut first = Worker::start(&db, &prefix, folder.path()).await;
    let mut tx = db.system.begin().await.expect("a transaction");
    let job = CrawlSource { source_id: domain::id::SourceId(source) };
    let job = enqueue(&mut tx, Origin::INSTALLATION, &job).await.expect("accepted").id;
    tx.commit().await.expect("committed");
    eventually("the first visit to the feed", Duration::from_secs(60), || async {
        (visits.load(Ordering::SeqCst) >= 1).then_some(())
    })
    .await;
    first.kill();
    let _second = Worker::start(&db, &prefix, folder.path()).await;

    let (state, crashes) = eventually("the end of the crawl", Duration::from_secs(60), || async {
        let row: (String, i32) = sqlx::query_as("select state, crashes from jobs where id = $1")
            .bind(job.0)
            .fetch_one(db.pool())
            .await
            .ok()?;
        (row.0 != "running" && row.0 != "dispatched" && row.0 != "available").then_some(row)
    })
    .await;
    assert_eq!((state.as_str(), crashes), ("completed", 1));
    let known: i64 =
        sqlx::query_scalar("select count(*) from kev").fetch_one(db.pool()).await.expect("counted");
    assert_eq!(known, 1);
    let runs: Vec<String> = sqlx::query_scalar("select status from scan_runs order by started_at")
        .fetch_all(db.pool())
        .await
        .expect("read");
    assert_eq!(runs, ["failed", "success"], "the interrupted run is closed, and says so");
    stop.cancel();
    relaying.await.expect("it stops");
    rescuing.await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_server_killed_in_mid_run_loses_nothing() {
    let folder = tempfile::Builder::new().prefix("plimsoll-fault").tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("reachable");
    let settings = Settings::for_tests(folder.path().join("home"));
    let running = start(&settings).await.expect("private servers");
    let mut engine = Engine::on(&running.addresses.owner_url, &running.addresses.redis_url).await;
    let ids = engine.accept_many(200, Work { act: Act::SleepMillis(10), ..Work::default() }).await;
    engine.start_relay().await;
    engine.start_worker(4).await;
    tokio::time::sleep(Duration::from_millis(300)).await;

    let pid_file = folder.path().join("home/postgres/data/postmaster.pid");
    let pid = std::fs::read_to_string(pid_file).expect("a pid file");
    let pid = pid.lines().next().expect("a pid");
    assert!(Command::new("kill").args(["-KILL", pid]).status().expect("kill runs").success());

    engine.until_all_done(&ids, Duration::from_secs(60)).await;
    engine.stop().await;
    running.stop().await;
}
