//! Schedules: what they are, and how people make and change them. The record of each time one came is in `firing`, and comes with it;
//! when one comes is `queue::schedule`'s business.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    id::{ScheduleId, SourceId, TenantId, UserId},
    page::{Page, PageRequest},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::FromRow;
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
    /// Another job, which waits for its turn where the kind is done once at a time.
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
    /// The integration whose interval this is.
    pub integration: Option<String>,
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
                    catch_up_window_minutes, overlap, is_built_in, source_id, integration, next_run_at, done_until, last_job_id,
                    created_by, created_at
               from schedules ",
            $rest
        )
    };
}

// Behind the macro, which it uses too.
mod firing;

pub use firing::{
    Firing, advance, database_time, firings, forget_other_releases, give_up, has_waiting, is_last_unfinished,
    keep_waiting, lock_due, lock_released, record_missed, settle, take,
};

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
