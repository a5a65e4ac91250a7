//! A job whose effects can be counted, for tests that kill whoever does it.
//!
//! Each beginning leaves a row in `deeds_begun`, outside of any transaction of the engine; each completion one in `deeds_done`, in
//! the completing transaction. However often a deed is begun, it must be done once. Both tables are made by [`create_tables`].

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use queue::{Attempt, Done, Handler, Job, JobError, Queue, Registry, RetryPolicy};
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection};
use worker::context::Context;

/// What a deed does between its beginning and its end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub enum Act {
    #[default]
    Nothing,
    SleepMillis(u64),
    /// Waits until there is a file of this name.
    WaitFor(PathBuf),
    Panic,
    /// Ends the whole process.
    Abort,
    /// Recurses until the stack is used up.
    Overflow,
    /// Allocates until the process may have no more.
    Exhaust,
}

/// The kind as this build knows it: version 2 of its payload.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Deed {
    pub act: Act,
    /// What version 1 did not have. A worker that reads it is a new one.
    pub note: String,
}

/// The same kind as the release before knew it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OldDeed {
    pub act: Act,
}

/// A kind that the release before had never heard of.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Novelty {}

impl Deed {
    /// A deed that does `act`.
    #[must_use]
    pub fn of(act: Act) -> Self {
        Self { act, note: "new".to_owned() }
    }
}

const KIND: &str = "test_deed";
const RETRY: RetryPolicy = RetryPolicy::exponential(4, Duration::from_millis(100), Duration::from_secs(1));
const TIMEOUT: Duration = Duration::from_secs(120);

impl Job for Deed {
    const KIND: &'static str = KIND;
    const VERSION: i32 = 2;
    const QUEUE: Queue = Queue::Maintenance;
    const RETRY: RetryPolicy = RETRY;
    const TIMEOUT: Duration = TIMEOUT;

    fn upcast(mut payload: serde_json::Value, from: i32) -> Result<serde_json::Value, String> {
        if from == 1 {
            payload["note"] = "old".into();
        }
        Ok(payload)
    }
}

impl Job for OldDeed {
    const KIND: &'static str = KIND;
    const QUEUE: Queue = Queue::Maintenance;
    const RETRY: RetryPolicy = RETRY;
    const TIMEOUT: Duration = TIMEOUT;
}

impl Job for Novelty {
    const KIND: &'static str = "test_novelty";
    const QUEUE: Queue = Queue::Maintenance;
    const RETRY: RetryPolicy = RETRY;
    const TIMEOUT: Duration = TIMEOUT;
}

impl Handler<Context> for Novelty {
    async fn run(self, context: &Context, attempt: &Attempt) -> Result<Done, JobError> {
        do_it(Act::Nothing, "new", context, attempt).await
    }
}

impl Handler<Context> for Deed {
    async fn run(self, context: &Context, attempt: &Attempt) -> Result<Done, JobError> {
        do_it(self.act, "new", context, attempt).await
    }
}

impl Handler<Context> for OldDeed {
    async fn run(self, context: &Context, attempt: &Attempt) -> Result<Done, JobError> {
        do_it(self.act, "old", context, attempt).await
    }
}

/// All kinds of this build, and deeds: as this release knows them, or the one before.
#[must_use]
pub fn registry(old: bool) -> Registry<Context> {
    let mut registry = queue::jobs::registry();
    if old {
        registry.add::<OldDeed>();
    } else {
        registry.add::<Deed>();
        registry.add::<Novelty>();
    }
    registry
}

/// Makes the tables in which deeds are counted.
///
/// # Errors
/// When `owner_url` is not one under which tables can be made.
pub async fn create_tables(owner_url: &str) -> sqlx::Result<()> {
    let mut owner = PgConnection::connect(owner_url).await?;
    sqlx::raw_sql(
        "create table deeds_begun (job_id uuid not null, process integer not null, release text not null,
                                   at timestamptz not null default clock_timestamp());
         create table deeds_done (job_id uuid not null, process integer not null);
         grant select, insert on deeds_begun, deeds_done to plimsoll_system;",
    )
    .execute(&mut owner)
    .await?;
    owner.close().await
}

async fn do_it(act: Act, release: &str, context: &Context, attempt: &Attempt) -> Result<Done, JobError> {
    let process = i32::try_from(std::process::id()).expect("process ids are small");
    let mut tx = context.db.begin().await?;
    sqlx::query("insert into deeds_begun (job_id, process, release) values ($1, $2, $3)")
        .bind(attempt.job.0)
        .bind(process)
        .bind(release)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    attempt.progress(10, "begun");
    act.perform().await;
    let mut tx = context.db.begin().await?;
    sqlx::query("insert into deeds_done (job_id, process) values ($1, $2)")
        .bind(attempt.job.0)
        .bind(process)
        .execute(&mut *tx)
        .await?;
    let done = attempt.complete(&mut tx, serde_json::json!({ "release": release })).await?;
    tx.commit().await?;
    Ok(done)
}

impl Act {
    async fn perform(self) {
        match self {
            Self::Nothing => {}
            Self::SleepMillis(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Self::WaitFor(file) => {
                let _left = LeaveMark { gate: &file };
                while !tokio::fs::try_exists(&file).await.unwrap_or(false) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Self::Panic => panic!("it was asked to panic"),
            Self::Abort => std::process::abort(),
            Self::Overflow => {
                std::hint::black_box(overflow(0));
            }
            Self::Exhaust => exhaust(),
        }
    }
}

/// The file that says that the process let go of its work before there was `gate`.
#[must_use]
pub fn abandoned(gate: &Path, process: i32) -> PathBuf {
    gate.with_extension(format!("abandoned-{process}"))
}

/// Leaves [`abandoned`] when the work is dropped before its gate was opened.
struct LeaveMark<'a> {
    gate: &'a Path,
}

impl Drop for LeaveMark<'_> {
    fn drop(&mut self) {
        let process = i32::try_from(std::process::id()).unwrap_or_default();
        if !self.gate.exists() {
            // Without the mark the test that looks for it fails, which says enough.
            let _ = std::fs::write(abandoned(self.gate, process), "");
        }
    }
}

fn overflow(depth: u64) -> u64 {
    let here = std::hint::black_box([depth; 512]);
    if depth == u64::MAX { 0 } else { overflow(depth + 1).wrapping_add(here[0]) }
}

/// The worker under test runs with a limited address space, so that this does not take the machine with it.
fn exhaust() {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(std::hint::black_box(vec![1; 64 << 20]));
    }
}
