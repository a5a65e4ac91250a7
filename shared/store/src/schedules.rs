//! Schedules and the record of each time one came. When one comes is `queue::schedule`'s business.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    id::{JobId, ScheduleId, SourceId, TenantId, UserId},
    page::{Page, PageRequest},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    db::TenantTx,
    error::{Error, Result, UnknownWord},
    paging,
};

/// What is done about times at which no scheduler ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// Nothing.
    Skip,
    /// The last of them is made up for.
    Last,
    /// Each of them is.
    All,
}

/// What is done when it comes again before the job of the last time is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Another job beside it.
    Allow,
    /// This time is left out.
    Skip,
    /// One job as soon as the other is finished, however many times come until then.
    QueueOne,
}

/// What became of a nominal time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It made a job.
    Enqueued,
    /// The same work was waiting or running already; its job is named.
    Joined,
    /// It makes a job as soon as the one before is finished.
    Waiting,
    /// The one before was not finished.
    Skipped,
    /// No scheduler ran, and it was not made up for; nor were those that followed until a certain moment.
    Missed,
}

macro_rules! words {
    ($($name:ident, $what:literal: $($variant:ident = $word:literal),+;)*) => {$(
        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word kept in the database and used in JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = UnknownWord;

            fn try_from(word: String) -> std::result::Result<Self, UnknownWord> {
                let known = Self::ALL.iter().copied().find(|known| known.as_str() == word);
                known.ok_or(UnknownWord { what: $what, word })
            }
        }
    )*};
}

words! {
    CatchUp, "catch-up policy": Skip = "skip", Last = "last", All = "all";
    Overlap, "overlap policy": Allow = "allow", Skip = "skip", QueueOne = "queue_one";
    Outcome, "outcome of a firing":
        Enqueued = "enqueued", Joined = "joined", Waiting = "waiting", Skipped = "skipped", Missed = "missed";
}

/// A schedule as it stands. Exactly one of `cron` and `interval_minutes` is there.
#[derive(Debug, Clone, FromRow)]
pub struct Schedule {
    pub id: Uuid,
    /// None: for the installation itself.
    pub tenant_id: Option<Uuid>,
    pub name: String,
    pub kind: String,
    /// Version of the kind that wrote the payload.
    pub kind_version: i32,
    pub payload: Value,
    pub cron: Option<String>,
    /// A name of the IANA database.
    pub time_zone: String,
    pub interval_minutes: Option<i32>,
    pub enabled: bool,
    pub disabled_reason: Option<String>,
    #[sqlx(try_from = "String")]
    pub catch_up: CatchUp,
    pub catch_up_window_minutes: i32,
    #[sqlx(try_from = "String")]
    pub overlap: Overlap,
    pub is_built_in: bool,
    /// The source whose interval this is.
    pub source_id: Option<Uuid>,
    /// None: not worked out yet.
    pub next_run_at: Option<DateTime<Utc>>,
    /// Nominal times up to this one have been dealt with.
    pub done_until: Option<DateTime<Utc>>,
    /// The last job it made.
    pub last_job_id: Option<Uuid>,
    pub created_by: Option<Uuid>,
    pub created_at: DateTime<Utc>,
}

impl Schedule {
    /// The id, as functions take it.
    #[must_use]
    pub fn id(&self) -> ScheduleId {
        ScheduleId(self.id)
    }

    /// Whose it is.
    #[must_use]
    pub fn tenant(&self) -> Option<TenantId> {
        self.tenant_id.map(TenantId)
    }

    /// The source whose interval this is.
    #[must_use]
    pub fn source(&self) -> Option<SourceId> {
        self.source_id.map(SourceId)
    }

    /// How far back missed times are made up for.
    #[must_use]
    pub fn catch_up_window(&self) -> TimeDelta {
        TimeDelta::minutes(self.catch_up_window_minutes.into())
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select id, tenant_id, name, kind, kind_version, payload, cron, time_zone, interval_minutes, enabled, disabled_reason, catch_up,
                    catch_up_window_minutes, overlap, is_built_in, source_id, next_run_at, done_until, last_job_id,
                    created_by, created_at
               from schedules ",
            $rest
        )
    };
}

/// A page of the tenant's schedules and the installation's, by name.
///
/// # Errors
/// When the database cannot be reached.
pub async fn list(tx: &mut TenantTx, page: PageRequest) -> Result<Page<Schedule>> {
    let tenant = tx.tenant();
    let items: Vec<Schedule> = sqlx::query_as(select!(
        "where tenant_id = $1 or tenant_id is null order by tenant_id nulls last, lower(name), id limit $2 offset $3"
    ))
    .bind(tenant.0)
    .bind(page.limit())
    .bind(page.offset())
    .fetch_all(&mut **tx)
    .await?;
    let total = match paging::total_of_last_page(page, items.len()) {
        Some(total) => total,
        None => {
            sqlx::query_scalar("select count(*) from schedules where tenant_id = $1 or tenant_id is null")
                .bind(tenant.0)
                .fetch_one(&mut **tx)
                .await?
        }
    };
    Ok(Page::new(items, total, page))
}

/// One schedule of this tenant or of the installation.
///
/// # Errors
/// [`Error::NotFound`] when there is none that this tenant may see.
pub async fn find(tx: &mut TenantTx, id: ScheduleId) -> Result<Schedule> {
    let tenant = tx.tenant();
    let schedule = sqlx::query_as(select!("where id = $2 and (tenant_id = $1 or tenant_id is null)"))
        .bind(tenant.0)
        .bind(id.0)
        .fetch_one(&mut **tx)
        .await?;
    Ok(schedule)
}

/// As [`find`], and nobody else changes or fires it until the transaction ends.
///
/// # Errors
/// [`Error::NotFound`] when there is none that this tenant may see.
pub async fn lock(tx: &mut TenantTx, id: ScheduleId) -> Result<Schedule> {
    let tenant = tx.tenant();
    let schedule =
        sqlx::query_as(select!("where id = $2 and (tenant_id = $1 or tenant_id is null) for update"))
            .bind(tenant.0)
            .bind(id.0)
            .fetch_one(&mut **tx)
            .await?;
    Ok(schedule)
}

/// How many schedules of its own the tenant has turned on, those that came with the program left out.
///
/// # Errors
/// When the database cannot be reached.
pub async fn count_own_enabled(tx: &mut TenantTx) -> Result<i64> {
    let tenant = tx.tenant();
    let count = sqlx::query_scalar(
        "select count(*) from schedules where tenant_id = $1 and enabled and not is_built_in",
    )
    .bind(tenant.0)
    .fetch_one(&mut **tx)
    .await?;
    Ok(count)
}

/// What is decided about a schedule by whoever makes or changes it.
#[derive(Debug, Clone)]
pub struct Settings {
    pub name: String,
    pub payload: Value,
    /// Version of the payload's shape.
    pub kind_version: i32,
    pub cron: Option<String>,
    pub time_zone: String,
    pub interval_minutes: Option<i32>,
    pub enabled: bool,
    pub catch_up: CatchUp,
    pub catch_up_window_minutes: i32,
    pub overlap: Overlap,
    /// When it comes next, and the release of the time zone database that says so. None: it is turned off.
    pub next_run_at: Option<DateTime<Utc>>,
    pub time_zone_version: &'static str,
}

/// Makes a schedule of jobs of `kind`, for the tenant of `tx` or, with `is_shared`, for the installation.
///
/// # Errors
/// [`Error::Conflict`] with `schedules_name_key` when the name is taken.
pub async fn insert(
    tx: &mut TenantTx,
    is_shared: bool,
    kind: &str,
    settings: &Settings,
    by: UserId,
) -> Result<ScheduleId> {
    let tenant = (!is_shared).then_some(tx.tenant().0);
    let id = ScheduleId::new();
    sqlx::query(
        "insert into schedules (id, tenant_id, kind, created_by, name, payload, kind_version, cron, time_zone, interval_minutes,
                                enabled, catch_up, catch_up_window_minutes, overlap, next_run_at, time_zone_version)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(id.0)
    .bind(tenant)
    .bind(kind)
    .bind(by.0)
    .bind(&settings.name)
    .bind(&settings.payload)
    .bind(settings.kind_version)
    .bind(&settings.cron)
    .bind(&settings.time_zone)
    .bind(settings.interval_minutes)
    .bind(settings.enabled)
    .bind(settings.catch_up.as_str())
    .bind(settings.catch_up_window_minutes)
    .bind(settings.overlap.as_str())
    .bind(settings.next_run_at)
    .bind(settings.time_zone_version)
    .execute(&mut **tx)
    .await?;
    Ok(id)
}

/// Gives a schedule other settings. One that had been given up may come again.
///
/// # Errors
/// [`Error::NotFound`], or [`Error::Conflict`] with `schedules_name_key` when the name is taken.
pub async fn update(tx: &mut TenantTx, id: ScheduleId, settings: &Settings) -> Result<()> {
    let tenant = tx.tenant();
    let changed = sqlx::query(
        "update schedules
            set name = $3, payload = $4, kind_version = $5, cron = $6, time_zone = $7, interval_minutes = $8, enabled = $9,
                catch_up = $10, catch_up_window_minutes = $11, overlap = $12, next_run_at = $13, time_zone_version = $14,
                disabled_reason = null
          where id = $2 and (tenant_id = $1 or tenant_id is null)",
    )
    .bind(tenant.0)
    .bind(id.0)
    .bind(&settings.name)
    .bind(&settings.payload)
    .bind(settings.kind_version)
    .bind(&settings.cron)
    .bind(&settings.time_zone)
    .bind(settings.interval_minutes)
    .bind(settings.enabled)
    .bind(settings.catch_up.as_str())
    .bind(settings.catch_up_window_minutes)
    .bind(settings.overlap.as_str())
    .bind(settings.next_run_at)
    .bind(settings.time_zone_version)
    .execute(&mut **tx)
    .await?;
    if changed.rows_affected() == 0 { Err(Error::NotFound) } else { Ok(()) }
}

/// Forgets a schedule and its firings. Jobs that it made go on.
///
/// # Errors
/// [`Error::NotFound`] when this tenant sees none of that id.
pub async fn delete(tx: &mut TenantTx, id: ScheduleId) -> Result<()> {
    let tenant = tx.tenant();
    let deleted =
        sqlx::query("delete from schedules where id = $2 and (tenant_id = $1 or tenant_id is null)")
            .bind(tenant.0)
            .bind(id.0)
            .execute(&mut **tx)
            .await?;
    if deleted.rows_affected() == 0 { Err(Error::NotFound) } else { Ok(()) }
}

/// One time that a schedule came, and the job it made as that stands now.
#[derive(Debug, Clone, FromRow)]
pub struct Firing {
    pub nominal_at: DateTime<Utc>,
    pub fired_at: DateTime<Utc>,
    #[sqlx(try_from = "String")]
    pub outcome: Outcome,
    pub job_id: Option<Uuid>,
    /// The word of the state machine; none when the job has been deleted since.
    pub job_state: Option<String>,
    pub missed_until: Option<DateTime<Utc>>,
    pub requested_by: Option<Uuid>,
}

/// The latest `count` firings, the newest first. The schedule must have been found in the same transaction.
///
/// # Errors
/// When the database cannot be reached.
pub async fn firings(tx: &mut TenantTx, id: ScheduleId, count: i64) -> Result<Vec<Firing>> {
    let tenant = tx.tenant();
    let firings = sqlx::query_as(
        "select firing.nominal_at, firing.fired_at, firing.outcome, firing.job_id, jobs.state as job_state,
                firing.missed_until, firing.requested_by
           from schedule_firings firing
           left join jobs on jobs.id = firing.job_id and (jobs.tenant_id = $1 or jobs.tenant_id is null)
          where firing.schedule_id = $2 order by firing.nominal_at desc limit $3",
    )
    .bind(tenant.0)
    .bind(id.0)
    .bind(count)
    .fetch_all(&mut **tx)
    .await?;
    Ok(firings)
}

/// The time by the database's clock, which is the one that counts.
///
/// # Errors
/// When the database cannot be reached.
pub async fn database_time(connection: &mut PgConnection) -> Result<DateTime<Utc>> {
    Ok(sqlx::query_scalar("select clock_timestamp()").fetch_one(connection).await?)
}

/// Schedules that something is to be done about at `now`, locked; those that somebody else is at are left out. What is newer than
/// `kinds`, each with its version, is left to a newer scheduler.
///
/// Due are those whose time has come, those whose time is not worked out, and those that came in what is now the
/// far future: the clock had been wrong.
///
/// # Errors
/// When the database cannot be reached.
pub async fn lock_due(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    kinds: &[(&str, i32)],
    count: i64,
) -> Result<Vec<Schedule>> {
    let (kinds, versions): (Vec<&str>, Vec<i32>) = kinds.iter().copied().unzip();
    let due = sqlx::query_as(select!(
        "where enabled
           and exists (select from unnest($2::text[], $4::integer[]) as known (kind, version)
                        where known.kind = schedules.kind and known.version >= schedules.kind_version)
           and (next_run_at is null or next_run_at <= $1 or done_until > $1 + interval '3 hours')
         order by next_run_at nulls first, id limit $3 for update skip locked"
    ))
    .bind(now)
    .bind(kinds)
    .bind(count)
    .bind(versions)
    .fetch_all(connection)
    .await?;
    Ok(due)
}

/// A schedule one of whose times waits for a job that is finished by now, locked, with that time. One that is turned off waits on.
///
/// # Errors
/// When the database cannot be reached.
pub async fn lock_released(
    connection: &mut PgConnection,
    kinds: &[(&str, i32)],
) -> Result<Option<(Schedule, DateTime<Utc>)>> {
    let (kinds, versions): (Vec<&str>, Vec<i32>) = kinds.iter().copied().unzip();
    let released: Option<(Uuid, DateTime<Utc>)> = sqlx::query_as(
        "select schedules.id, firing.nominal_at
           from schedule_firings firing
           join schedules on schedules.id = firing.schedule_id
          where firing.outcome = 'waiting' and schedules.enabled
            and exists (select from unnest($1::text[], $2::integer[]) as known (kind, version)
                         where known.kind = schedules.kind and known.version >= schedules.kind_version)
            and not exists (select from jobs where jobs.id = schedules.last_job_id and jobs.finished_at is null)
          order by firing.nominal_at limit 1 for update skip locked",
    )
    .bind(kinds)
    .bind(versions)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((id, nominal_at)) = released else { return Ok(None) };
    let schedule = sqlx::query_as(select!("where id = $1")).bind(id).fetch_one(connection).await?;
    Ok(Some((schedule, nominal_at)))
}

/// True while the job of the schedule's last time is not finished.
///
/// # Errors
/// When the database cannot be reached.
pub async fn is_last_unfinished(connection: &mut PgConnection, schedule: &Schedule) -> Result<bool> {
    let Some(job) = schedule.last_job_id else { return Ok(false) };
    let unfinished =
        sqlx::query_scalar("select exists (select from jobs where id = $1 and finished_at is null)")
            .bind(job)
            .fetch_one(connection)
            .await?;
    Ok(unfinished)
}

/// True when a time of the schedule waits for the job before it.
///
/// # Errors
/// When the database cannot be reached.
pub async fn has_waiting(connection: &mut PgConnection, id: ScheduleId) -> Result<bool> {
    let waiting = sqlx::query_scalar(
        "select exists (select from schedule_firings where schedule_id = $1 and outcome = 'waiting')",
    )
    .bind(id.0)
    .fetch_one(connection)
    .await?;
    Ok(waiting)
}

/// Takes a nominal time, to be settled in the same transaction. False: it was dealt with before. One that was missed, by a clock that had
/// been wrong, can still be taken.
///
/// # Errors
/// When the database refuses.
pub async fn take(
    connection: &mut PgConnection,
    id: ScheduleId,
    nominal_at: DateTime<Utc>,
    requested_by: Option<UserId>,
) -> Result<bool> {
    let taken = sqlx::query(
        "insert into schedule_firings (schedule_id, nominal_at, outcome, requested_by) values ($1, $2, 'skipped', $3)
         on conflict (schedule_id, nominal_at) do update set outcome = 'skipped', missed_until = null, fired_at = now()
          where schedule_firings.outcome = 'missed'",
    )
    .bind(id.0)
    .bind(nominal_at)
    .bind(requested_by.map(|user| user.0))
    .execute(connection)
    .await?;
    Ok(taken.rows_affected() > 0)
}

/// Records that the job of a nominal time is `job`, which was made for it or, with [`Outcome::Joined`], was there.
///
/// # Errors
/// When the database refuses.
pub async fn settle(
    connection: &mut PgConnection,
    id: ScheduleId,
    nominal_at: DateTime<Utc>,
    outcome: Outcome,
    job: JobId,
) -> Result<()> {
    sqlx::query(
        "with settled as (
             update schedule_firings set outcome = $3, job_id = $4, fired_at = now()
              where schedule_id = $1 and nominal_at = $2
         )
         update schedules set last_job_id = $4 where id = $1",
    )
    .bind(id.0)
    .bind(nominal_at)
    .bind(outcome.as_str())
    .bind(job.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// Records that a nominal time waits for the job before it.
///
/// # Errors
/// When the database refuses.
pub async fn keep_waiting(
    connection: &mut PgConnection,
    id: ScheduleId,
    nominal_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query("update schedule_firings set outcome = 'waiting' where schedule_id = $1 and nominal_at = $2")
        .bind(id.0)
        .bind(nominal_at)
        .execute(connection)
        .await?;
    Ok(())
}

/// Records that the nominal times from `from` on were missed until `until`.
///
/// # Errors
/// When the database refuses.
pub async fn record_missed(
    connection: &mut PgConnection,
    id: ScheduleId,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "insert into schedule_firings (schedule_id, nominal_at, outcome, missed_until) values ($1, $2, 'missed', $3)
         on conflict (schedule_id, nominal_at) do nothing",
    )
    .bind(id.0)
    .bind(from)
    .bind(until)
    .execute(connection)
    .await?;
    Ok(())
}

/// Sets when the schedule comes next, and up to which nominal time everything has been dealt with.
///
/// # Errors
/// When the database refuses.
pub async fn advance(
    connection: &mut PgConnection,
    id: ScheduleId,
    done_until: Option<DateTime<Utc>>,
    next_run_at: DateTime<Utc>,
    time_zone_version: &str,
) -> Result<()> {
    sqlx::query(
        "update schedules set done_until = $2, next_run_at = $3, time_zone_version = $4 where id = $1",
    )
    .bind(id.0)
    .bind(done_until)
    .bind(next_run_at)
    .bind(time_zone_version)
    .execute(connection)
    .await?;
    Ok(())
}

/// Turns a schedule off that cannot be fired, and says why.
///
/// # Errors
/// When the database refuses.
pub async fn give_up(connection: &mut PgConnection, id: ScheduleId, why: &str) -> Result<()> {
    sqlx::query(
        "update schedules set enabled = false, next_run_at = null, disabled_reason = $2 where id = $1",
    )
    .bind(id.0)
    .bind(why)
    .execute(connection)
    .await?;
    Ok(())
}

/// Has the next time worked out anew where another release of the time zone database said when that is. Returns how many.
///
/// # Errors
/// When the database refuses.
pub async fn forget_other_releases(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    time_zone_version: &str,
) -> Result<u64> {
    // What is due is due: only times to come are in question.
    let changed = sqlx::query(
        "update schedules set next_run_at = null
          where cron is not null and enabled and next_run_at > $1 and time_zone_version <> $2",
    )
    .bind(now)
    .bind(time_zone_version)
    .execute(connection)
    .await?;
    Ok(changed.rows_affected())
}
