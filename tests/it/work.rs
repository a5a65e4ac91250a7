//! A kind of job for testing the engine: it does what its payload says, and keeps count.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::id::JobId;
use harness::TestDb;
use queue::{
    Attempt, Done, Handler, Job, JobError, Queue, Registry, RetryPolicy, UniqueKey,
    claim::JobRef,
    enqueue::{Origin, enqueue},
    error::Class,
    runner::Runner,
};
use serde::{Deserialize, Serialize};
use store::SystemDb;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) act: Act,
    pub(crate) unique: Option<String>,
    pub(crate) one_at_a_time: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) enum Act {
    #[default]
    Succeed,
    Fail,
    FailUntilAttempt(i32),
    Panic,
    Discard,
    Snooze,
    SleepMillis(u64),
    /// Gives up by a clock of its own.
    RunOutOfTime,
    /// Ends with this result, without a transaction of its own.
    Finish(String),
    /// Says so many percent, one by one, and stays there.
    Tell(u8),
}

impl Job for Work {
    const KIND: &'static str = "test_work";
    const VERSION: i32 = 2;
    const QUEUE: Queue = Queue::Maintenance;
    const RETRY: RetryPolicy =
        RetryPolicy::exponential(3, Duration::from_millis(1), Duration::from_millis(5));
    const TIMEOUT: Duration = Duration::from_secs(10);

    fn unique_key(&self) -> Option<UniqueKey> {
        self.unique.as_ref().map(UniqueKey::while_unfinished)
    }

    fn concurrency_key(&self) -> Option<String> {
        self.one_at_a_time.clone()
    }
}

/// What the handler of [`Work`] may touch: the database, and its own tallies.
#[derive(Clone)]
pub(crate) struct Tally {
    db: SystemDb,
    completed: Arc<Mutex<HashMap<JobId, usize>>>,
    at_once: Arc<AtomicUsize>,
    pub(crate) most_at_once: Arc<AtomicUsize>,
}

impl Tally {
    pub(crate) fn new(db: &TestDb) -> Self {
        Self {
            db: db.system.clone(),
            completed: Arc::default(),
            at_once: Arc::default(),
            most_at_once: Arc::default(),
        }
    }

    /// How often each job was completed.
    pub(crate) fn completions(&self) -> HashMap<JobId, usize> {
        self.completed.lock().expect("no test panics while counting").clone()
    }
}

impl Handler<Tally> for Work {
    async fn run(self, tally: &Tally, attempt: &Attempt) -> Result<Done, JobError> {
        let now = tally.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        tally.most_at_once.fetch_max(now, Ordering::SeqCst);
        let outcome = self.act(attempt).await;
        tally.at_once.fetch_sub(1, Ordering::SeqCst);
        outcome?;
        if let Act::Finish(result) = self.act {
            // Postgres cannot store the character that NUL stands for.
            return Ok(attempt.finish(serde_json::json!({ "text": result.replace("NUL", "\0") })));
        }
        let mut tx = tally.db.begin().await?;
        let done = attempt.complete(&mut tx, serde_json::json!({ "attempt": attempt.number })).await?;
        tx.commit().await?;
        *tally.completed.lock().expect("no test panics while counting").entry(attempt.job).or_default() += 1;
        Ok(done)
    }
}

impl Work {
    async fn act(&self, attempt: &Attempt) -> Result<(), JobError> {
        match self.act {
            Act::Succeed | Act::Finish(_) => {}
            Act::Fail => return Err(JobError::Retry(anyhow::anyhow!("it was asked to fail"))),
            Act::FailUntilAttempt(number) if attempt.number < number => {
                return Err(JobError::Retry(anyhow::anyhow!("not yet")));
            }
            Act::FailUntilAttempt(_) => {}
            Act::RunOutOfTime => {
                let error = anyhow::anyhow!("it took longer than it may").context(Class::Timeout);
                return Err(JobError::Retry(error));
            }
            Act::Panic => panic!("it was asked to panic"),
            Act::Discard => return Err(JobError::discard("there is no point")),
            Act::Snooze => return Err(JobError::snooze(Duration::from_secs(60), "the moon is not full")),
            Act::Tell(percent) => {
                for percent in 1..=percent {
                    attempt.progress(percent, &format!("at {percent}"));
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                std::future::pending().await
            }
            Act::SleepMillis(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
        }
        Ok(())
    }
}

pub(crate) fn registry() -> Registry<Tally> {
    let mut registry = Registry::default();
    registry.add::<Work>();
    registry
}

pub(crate) fn runner(db: &TestDb, tally: &Tally, lease: Duration) -> Runner<Tally> {
    let name = format!("test-{}", Uuid::new_v4().simple());
    Runner::new(registry(), tally.clone(), db.pool().clone(), name, lease, CancellationToken::new())
}

/// Records `work` for the installation, and commits.
pub(crate) async fn accept(db: &TestDb, work: &Work) -> JobId {
    let mut tx = db.system.begin().await.expect("a transaction");
    let accepted = enqueue(&mut tx, Origin::INSTALLATION, work).await.expect("it is accepted");
    tx.commit().await.expect("it is committed");
    accepted.id
}

/// Does what the relay does for one job, without Redis.
pub(crate) async fn dispatch(db: &TestDb, job: JobId) -> JobRef {
    let fence = sqlx::query_scalar(
        "update jobs set state = 'dispatched', fence = nextval('job_fences'), leased_until = now() + interval '1 minute'
          where id = $1 returning fence",
    )
    .bind(job.0)
    .fetch_one(db.pool())
    .await
    .expect("it may be dispatched");
    JobRef { id: job.0, fence }
}

/// A job's row, as far as tests look at it.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) state: String,
    pub(crate) attempt: i32,
    pub(crate) crashes: i32,
    pub(crate) progress: i16,
    pub(crate) dead_reason: Option<String>,
    pub(crate) last_error: Option<String>,
    pub(crate) result: Option<serde_json::Value>,
}

pub(crate) async fn row(db: &TestDb, job: JobId) -> Row {
    sqlx::query_as(
        "select state, attempt, crashes, progress, dead_reason, last_error, result from jobs where id = $1",
    )
    .bind(job.0)
    .fetch_one(db.pool())
    .await
    .expect("the job is there")
}

/// Outcomes of a job's attempts, in order.
pub(crate) async fn outcomes(db: &TestDb, job: JobId) -> Vec<String> {
    sqlx::query_scalar(
        "select coalesce(outcome, 'running') from job_attempts where job_id = $1 order by fence",
    )
    .bind(job.0)
    .fetch_all(db.pool())
    .await
    .expect("the attempts are read")
}
