//! What finished jobs cost those that are not: dispatch and removal with millions of them in the table, beside none.
//!
//! Takes minutes and some eight gigabytes, so that it is asked for by its name: `make bench ONLY=jobs ARGS='-- retention'`, or with another number
//! of rows behind the word.

use std::time::{Duration, Instant};

use benches::Row;
use queue::{Queue, queues};
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Executor as _, PgPool};
use store::purge::POLICY;

/// Unless another number is asked for.
pub(crate) const FINISHED: i64 = 10_000_000;
/// Jobs worked off each time.
const SLICE: i64 = 10_000;
/// Of the finished ones, those that are due to be removed.
const OLD: i64 = 20_000;
/// Jobs that one step of the removal takes (`store::purge`).
const STEP: f64 = 1000.0;
/// Rows that one statement adds.
const PORTION: i64 = 500_000;

/// Dispatch and removal with none and with `finished` rows that stay.
pub(crate) async fn rows(pool: &PgPool, owner_url: &str, finished: i64) -> anyhow::Result<Vec<Row>> {
    super::clear(pool).await?;
    add_finished(owner_url, OLD, 40).await?;
    let removal_from_few = removal(pool).await?;
    super::clear(pool).await?;
    let job_beside_none = job(pool, owner_url).await?;
    let mut left = finished;
    while left > 0 {
        add_finished(owner_url, left.min(PORTION), 5).await?;
        left -= PORTION;
    }
    add_finished(owner_url, OLD, 40).await?;
    let job_beside_many = job(pool, owner_url).await?;
    let removal_from_many = removal(pool).await?;
    Ok(vec![
        Row::beside(
            format!("a job with {finished} finished ones in the table"),
            job_beside_many,
            "µs",
            "with none",
            job_beside_none,
        ),
        Row::beside(
            format!("removing {STEP} old jobs of {finished}, with attempts"),
            removal_from_many,
            "ms",
            format!("of {OLD}"),
            removal_from_few,
        ),
    ])
}

/// Completed jobs with an attempt each that ended so many days ago. As the owner and past the triggers, which would take hours.
async fn add_finished(owner_url: &str, jobs: i64, days: i32) -> anyhow::Result<()> {
    let mut owner = store::db::connect_once(&SecretString::from(owner_url.to_owned())).await?;
    owner.execute("set session_replication_role = replica").await?;
    let insert = format!(
        "with old as (
             insert into jobs (id, kind, queue, payload, state, attempt, max_attempts, timeout_seconds, result, run_at, created_at,
                               started_at, finished_at)
             select {}, 'bench_noop', 'delivery', '{{}}', 'completed', 1, 3, 60, '{{}}', at, at, at, at
               from (select now() - make_interval(days => $2) - n * interval '10 ms' as at
                       from generate_series(1, $1) as n) as moments
          returning id, finished_at
         )
         insert into job_attempts (job_id, fence, attempt, worker, started_at, ended_at, outcome)
         select id, 1, 1, 'bench', finished_at, finished_at, 'completed' from old",
        super::id_of("at")
    );
    sqlx::query(AssertSqlSafe(insert)).bind(jobs).bind(days).execute(&mut owner).await?;
    Ok(())
}

/// What one of ten thousand jobs takes from the moment that their queue goes on until the last is at its end, µs.
async fn job(pool: &PgPool, owner_url: &str) -> anyhow::Result<f64> {
    let mut owner = store::db::connect_once(&SecretString::from(owner_url.to_owned())).await?;
    queues::pause(pool, Queue::Delivery, None).await?;
    super::fill(pool, SLICE).await?;
    // What autovacuum would have done long ago in a table that grew over months.
    owner.execute("vacuum analyze jobs").await?;
    owner.execute("vacuum analyze job_attempts").await?;
    owner.execute("checkpoint").await?;
    queues::resume(pool, Queue::Delivery).await?;
    let began = Instant::now();
    // Finished ones are too many to be counted.
    let open = "select exists (select from jobs where state = 'available' and not parked and queue = 'delivery')
                    or exists (select from jobs where state in ('dispatched', 'running') and queue = 'delivery')";
    while sqlx::query_scalar::<_, bool>(open).fetch_one(pool).await? {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok(began.elapsed().as_secs_f64() * 1e6 / SLICE as f64)
}

/// What a step of the removal takes, with what is older than thirty days, ms.
async fn removal(pool: &PgPool) -> anyhow::Result<f64> {
    let rule = POLICY.iter().find(|rule| rule.what == "completed jobs").expect("they are removed some day");
    let retention = store::retention::get(&mut *pool.acquire().await?).await?;
    let began = Instant::now();
    let removed = rule.apply(pool, &retention).await?;
    anyhow::ensure!(removed == OLD.cast_unsigned(), "{removed} jobs were old enough, not {OLD}");
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok(began.elapsed().as_secs_f64() * 1e3 / (removed as f64 / STEP))
}
