//! Jobs as those who wait for them see them, and operators. Making, claiming and finishing them is the queue's business.
//!
//! Here are the list and the single row; [`detail`] tells what became of one job and why it is not running, [`operate`]
//! cancels and retries.

pub mod detail;
pub mod operate;

use std::{fmt, str::FromStr};

use chrono::{DateTime, TimeZone, Utc};
use domain::{
    id::{JobId, TenantId},
    page::PageRequest,
};
use sqlx::{FromRow, PgExecutor, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::{db::TenantTx, error::Result};

/// Jobs that are looked at for one page, where a filter is not answered by an index; and how far pages reach by their numbers.
pub const LOOKED_AT: i64 = 10_000;

/// A job as it stands.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Job {
    pub id: Uuid,
    /// None: work of the installation itself, such as crawling a public feed.
    pub tenant_id: Option<Uuid>,
    pub kind: String,
    pub queue: String,
    /// 0 is served first, 9 last.
    pub priority: i16,
    /// The word of the state machine: `available`, `running`, `dead` …
    pub state: String,
    /// 0 to 100.
    pub progress: i16,
    pub progress_note: Option<String>,
    /// Attempts begun.
    pub attempt: i32,
    pub max_attempts: i32,
    /// Workers that vanished while they had it.
    pub crashes: i32,
    /// Not before this moment.
    pub run_at: DateTime<Utc>,
    pub payload: serde_json::Value,
    pub result: Option<serde_json::Value>,
    pub dead_reason: Option<String>,
    pub last_error: Option<String>,
    pub cancel_requested: bool,
    pub requested_by: Option<Uuid>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

macro_rules! columns {
    () => {
        "id, tenant_id, kind, queue, priority, state, progress, progress_note, attempt, max_attempts, crashes, run_at,
         payload, result, dead_reason, last_error, cancel_requested, requested_by, created_at, started_at, finished_at"
    };
}

/// Whose jobs are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Whose {
    /// The transaction's tenant's, and the installation's.
    #[default]
    Visible,
    /// One tenant's; `None`: the installation's.
    Of(Option<TenantId>),
    /// Everybody's. Only in a transaction that sees the installation.
    All,
}

/// Which jobs are wanted. What is not named does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub whose: Whose,
    pub kind: Option<String>,
    pub queue: Option<String>,
    /// Any of these states; none named: all.
    pub states: Vec<&'static str>,
    pub dead_reason: Option<String>,
    /// Made at this moment or later.
    pub from: Option<DateTime<Utc>>,
    /// Made before this moment.
    pub until: Option<DateTime<Utc>>,
    /// Somewhere in the id, the kind, the payload or the last error, whatever the case.
    pub text: Option<String>,
}

impl Filter {
    /// True when some index leads to what is wanted, so that nothing has to be looked at in vain.
    fn is_indexed(&self) -> bool {
        self.kind.is_none() && self.queue.is_none() && self.text.is_none() && self.dead_reason.is_none()
    }
}

/// Where a list goes on: after this job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    created_at: DateTime<Utc>,
    id: Uuid,
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:x}.{}", self.created_at.timestamp_micros(), self.id.simple())
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let parsed = text.split_once('.').and_then(|(micros, id)| {
            let created_at = Utc.timestamp_micros(i64::from_str_radix(micros, 16).ok()?).single()?;
            Some(Self { created_at, id: id.parse().ok()? })
        });
        parsed.ok_or_else(|| "it is not a `next_cursor` of this list".to_owned())
    }
}

/// A piece of the list.
#[derive(Debug)]
pub struct Slice {
    pub items: Vec<Job>,
    /// Where to go on; `None`: there are no more. There may be more although this piece is short, where much had to be looked at.
    pub next: Option<Cursor>,
}

/// How many jobs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    pub jobs: i64,
    /// False: there are at least so many; no more than the newest ten thousand were looked at.
    pub is_exact: bool,
}

/// One job that this transaction may see.
///
/// # Errors
/// [`crate::Error::NotFound`] when there is none.
pub async fn find(tx: &mut TenantTx, id: JobId) -> Result<Job> {
    let tenant = tx.tenant();
    let job = sqlx::query_as(concat!(
        "select ",
        columns!(),
        " from jobs where id = $1 and (tenant_id is null or tenant_id = $2 or app_sees_installation())"
    ))
    .bind(id.0)
    .bind(tenant.0)
    .fetch_one(&mut **tx)
    .await?;
    Ok(job)
}

/// Jobs, the newest first, from `after` on. Costs the same however many there are; a page by its number, beyond `after`, costs what lies before
/// it: ask for none beyond [`LOOKED_AT`].
///
/// # Errors
/// When the database cannot be reached.
pub async fn list(
    tx: &mut TenantTx,
    filter: &Filter,
    page: PageRequest,
    after: Option<Cursor>,
) -> Result<Slice> {
    let reach = page.offset() + page.limit() + 1;
    let looked_at = if filter.is_indexed() { reach } else { LOOKED_AT.max(reach) };
    let mut query = looking(tx, filter, after, looked_at);
    query.push(" order by ").push(order(filter)).push(" limit ").push_bind(page.limit() + 1);
    query.push(" offset ").push_bind(page.offset());
    let mut items: Vec<Job> = query.build_query_as().fetch_all(&mut **tx).await?;
    let place = |job: &Job| Cursor { created_at: job.created_at, id: job.id };
    if items.len() > usize::try_from(page.limit()).unwrap_or(usize::MAX) {
        items.pop();
        let next = items.last().map(place);
        return Ok(Slice { items, next });
    }
    if filter.is_indexed() {
        return Ok(Slice { items, next: None });
    }
    // Where the looking ended, if it ended before the jobs did.
    let everything = Filter { kind: None, queue: None, text: None, dead_reason: None, ..filter.clone() };
    let mut query = looking(tx, &everything, after, looked_at);
    query.push(" order by ").push(order(filter)).push(" limit 1 offset ").push_bind(looked_at - 1);
    let last: Option<Job> = query.build_query_as().fetch_optional(&mut **tx).await?;
    Ok(Slice { items, next: last.as_ref().map(place) })
}

/// How many jobs there are among the newest ten thousand.
///
/// # Errors
/// When the database cannot be reached.
pub async fn count(tx: &mut TenantTx, filter: &Filter) -> Result<Total> {
    let mut query = QueryBuilder::new("select count(*) from (");
    let everything = Filter { kind: None, queue: None, text: None, dead_reason: None, ..filter.clone() };
    look(&mut query, tx, &everything, None, LOOKED_AT + 1);
    query.push(") as looked_at");
    let looked_at: i64 = query.build_query_scalar().fetch_one(&mut **tx).await?;
    let is_exact = looked_at <= LOOKED_AT;
    if filter.is_indexed() {
        return Ok(Total { jobs: looked_at.min(LOOKED_AT), is_exact });
    }
    let mut query = QueryBuilder::new("select count(*) from (");
    look(&mut query, tx, filter, None, LOOKED_AT);
    query.push(") as matching");
    let jobs = query.build_query_scalar().fetch_one(&mut **tx).await?;
    Ok(Total { jobs, is_exact })
}

fn looking(tx: &TenantTx, filter: &Filter, after: Option<Cursor>, looked_at: i64) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new(concat!("select ", columns!(), " from ("));
    look(&mut query, tx, filter, after, looked_at);
    query.push(") as job");
    query
}

/// Everybody's jobs are read by their ids, which rise with time.
fn order(filter: &Filter) -> &'static str {
    if filter.whose == Whose::All { "id desc" } else { "created_at desc, id desc" }
}

/// Those that match among the newest `looked_at` after `after`. Read from the ends of an index for each owner and state, and no further:
/// apart, so that the few that are unfinished or failed are found by indexes of their own.
fn look(
    query: &mut QueryBuilder<Postgres>,
    tx: &TenantTx,
    filter: &Filter,
    after: Option<Cursor>,
    looked_at: i64,
) {
    let owners: &[Owner] = match filter.whose {
        Whose::Visible => &[Owner::Tenant(tx.tenant().0), Owner::Installation],
        Whose::Of(Some(tenant)) => &[Owner::Tenant(tenant.0)],
        Whose::Of(None) => &[Owner::Installation],
        Whose::All => &[Owner::Anybody],
    };
    query.push("select * from (select * from (");
    let mut is_first = true;
    for owner in owners {
        for states in states(filter) {
            query.push(if is_first {
                "(select * from jobs where "
            } else {
                " union all (select * from jobs where "
            });
            is_first = false;
            match owner {
                Owner::Tenant(tenant) => query.push("tenant_id = ").push_bind(*tenant),
                Owner::Installation => query.push("tenant_id is null"),
                Owner::Anybody => query.push("true"),
            };
            query.push(states);
            made_when(query, filter);
            match (owner, after) {
                (_, None) => {}
                (Owner::Anybody, Some(after)) => {
                    query.push(" and id < ").push_bind(after.id);
                }
                (_, Some(after)) => {
                    query.push(" and (created_at, id) < (").push_bind(after.created_at);
                    query.push(", ").push_bind(after.id).push(")");
                }
            }
            let order = match owner {
                Owner::Anybody => " order by id desc limit ",
                _ => " order by tenant_id, created_at desc, id desc limit ",
            };
            query.push(order).push_bind(looked_at).push(")");
        }
    }
    query.push(") as owned order by ").push(order(filter)).push(" limit ").push_bind(looked_at);
    query.push(") as newest where true");
    narrow(query, filter);
}

#[derive(Clone, Copy)]
enum Owner {
    Tenant(Uuid),
    Installation,
    Anybody,
}

/// Conditions that partial indexes are made for, one for each state that is wanted.
fn states(filter: &Filter) -> Vec<&'static str> {
    let conditions = filter.states.iter().flat_map(|state| match *state {
        "waiting" => &[" and state = 'waiting'"][..],
        "scheduled" => &[" and state = 'scheduled'"],
        "available" => &[" and state = 'available' and not parked", " and state = 'available' and parked"],
        "dispatched" => &[" and state = 'dispatched'"],
        "running" => &[" and state = 'running'"],
        "retryable" => &[" and state = 'retryable'"],
        "completed" => &[" and state = 'completed'"],
        "cancelled" => &[" and state = 'cancelled'"],
        "dead" => &[" and state = 'dead'"],
        _ => &[" and false"],
    });
    let conditions: Vec<_> = conditions.copied().collect();
    if conditions.is_empty() { vec![""] } else { conditions }
}

fn made_when(query: &mut QueryBuilder<Postgres>, filter: &Filter) {
    if let Some(from) = filter.from {
        query.push(" and created_at >= ").push_bind(from);
    }
    if let Some(until) = filter.until {
        query.push(" and created_at < ").push_bind(until);
    }
}

/// What has to be looked at.
fn narrow(query: &mut QueryBuilder<Postgres>, filter: &Filter) {
    for (column, wanted) in
        [("kind", &filter.kind), ("queue", &filter.queue), ("dead_reason", &filter.dead_reason)]
    {
        if let Some(wanted) = wanted {
            query.push(" and ").push(column).push(" = ").push_bind(wanted.clone());
        }
    }
    if let Some(text) = &filter.text {
        query.push(" and position(lower(").push_bind(text.trim().to_owned());
        query.push(") in lower(concat_ws(' ', id, kind, payload, last_error))) > 0");
    }
}

/// How many things happen by themselves for the whole installation: crawls, housekeeping.
///
/// # Errors
/// When the database cannot be reached.
pub async fn count_schedules(db: impl PgExecutor<'_>) -> Result<i64> {
    let count = sqlx::query_scalar("select count(*) from schedules where tenant_id is null and enabled")
        .fetch_one(db)
        .await?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_being_written_down() {
        let cursor =
            Cursor { created_at: "2026-11-22T02:03:04.567891Z".parse().unwrap(), id: Uuid::now_v7() };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "1", "x.y", "12.", "-1.-1"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
