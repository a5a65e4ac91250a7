//! How many entries a filter lets through, without counting any of them twice.
//!
//! What is sealed stays as it is, and comes to be seen in the order of its numbers, without a gap. So what was counted up to a number stays right
//! until the beginning of the chain is cut off: the next time, only what has come after it is counted. Nobody who writes entries has to do
//! anything for this. Each process remembers for itself. Start at [`totals`].

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
    time::Instant,
};

use sqlx::{FromRow, Postgres, QueryBuilder};
use uuid::Uuid;

use super::{Filter, INSTALLATION, push_wanted};
use crate::{db::TenantTx, error::Result, paging::turn_of, sql::Conditions};

/// Of so many filters it is remembered what was counted, those that were asked for last.
const FILTERS: usize = 500;

/// What was counted of a chain, from where to where and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    first: i64,
    last: i64,
    entries: i64,
    at: Instant,
}

impl Counted {
    fn nothing() -> Self {
        Self { first: 0, last: 0, entries: 0, at: Instant::now() }
    }
}

static COUNTED: LazyLock<Mutex<HashMap<String, Counted>>> = LazyLock::new(Mutex::default);

/// How a chain stands, and what of it was asked for, all at one moment.
#[derive(Debug, FromRow)]
struct Standing {
    /// The numbers of its first and last sealed entry; `None`: there is none.
    first: Option<i64>,
    last: Option<i64>,
    /// Sealed entries that were asked for, behind the number that was named.
    sealed: i64,
    unsealed: i64,
}

/// How many entries `filter` lets through, in the tenant's own chain and in the installation's.
///
/// # Errors
/// When the database cannot be reached.
pub(super) async fn totals(tx: &mut TenantTx, filter: &Filter) -> Result<(i64, i64)> {
    let own = of_chain(tx, tx.tenant().0, filter).await?;
    let installation = if filter.with_installation { of_chain(tx, INSTALLATION, filter).await? } else { 0 };
    Ok((own, installation))
}

async fn of_chain(tx: &mut TenantTx, chain: Uuid, filter: &Filter) -> Result<i64> {
    let everything = Filter { with_installation: filter.with_installation, ..Filter::default() };
    if *filter == everything { all(tx, chain).await } else { narrowed(tx, chain, filter).await }
}

/// How many there are in `chain`, by the numbers that sealed ones have.
async fn all(tx: &mut TenantTx, chain: Uuid) -> Result<i64> {
    let total = sqlx::query_scalar(
        "select (select coalesce(max(sequence) - min(sequence) + 1, 0) from audit_entries
                  where chain = $1 and sequence is not null)
                + (select count(*) from audit_entries where chain = $1 and sequence is null)",
    )
    .bind(chain)
    .fetch_one(&mut **tx)
    .await?;
    Ok(total)
}

/// How many `filter` lets through in `chain`; counted by one at a time.
async fn narrowed(tx: &mut TenantTx, chain: Uuid, filter: &Filter) -> Result<i64> {
    let list = format!("audit {} {chain} {filter:?}", tx.tenant());
    let turn = turn_of(&list);
    let _turn = turn.lock().await;
    let known = COUNTED.lock().unwrap_or_else(PoisonError::into_inner).get(&list).copied();
    let mut known = known.unwrap_or_else(Counted::nothing);
    let mut now = standing(tx, chain, known.last, filter).await?;
    let goes_on = now.first == Some(known.first) && now.last >= Some(known.last);
    if known.last > 0 && !goes_on {
        known = Counted::nothing();
        now = standing(tx, chain, 0, filter).await?;
    }
    let entries = known.entries + now.sealed;
    if let (Some(first), Some(last)) = (now.first, now.last) {
        remember(list, Counted { first, last, entries, at: Instant::now() });
    }
    Ok(entries + now.unsealed)
}

async fn standing(tx: &mut TenantTx, chain: Uuid, after: i64, filter: &Filter) -> Result<Standing> {
    // In one statement: between two, entries are sealed.
    let mut query = Conditions::after("select (select min(sequence) from audit_entries");
    of(&mut query, chain, "sequence is not null");
    query.and_after(") as first, (select max(sequence) from audit_entries");
    of(&mut query, chain, "sequence is not null");
    if after == 0 {
        query.and_after(") as last, (select count(*) from audit_entries");
        of(&mut query, chain, "sequence is not null");
    } else {
        // By their numbers, for Postgres does not know how few a chain has behind its last ones, and would read all of a frequent action.
        query.and_after(
            ") as last, (select count(*) from (select actor_id, actor, action, target_type, target_id, at from audit_entries",
        );
        of(&mut query, chain, "sequence > ").push_bind(after);
        query.and_after(" offset 0) as come");
    }
    push_wanted(&mut query, filter);
    query.and_after(") as sealed, (select count(*) from audit_entries");
    of(&mut query, chain, "sequence is null");
    push_wanted(&mut query, filter);
    query.query.push(") as unsealed");
    Ok(query.query.build_query_as().fetch_one(&mut **tx).await?)
}

/// Adds that an entry is one of `chain`, and `which`.
fn of<'a>(query: &'a mut Conditions, chain: Uuid, which: &'static str) -> &'a mut QueryBuilder<Postgres> {
    query.also().push("chain = ").push_bind(chain);
    query.also().push(which)
}

fn remember(list: String, counted: Counted) {
    let mut lists = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    if lists.len() >= FILTERS && !lists.contains_key(&list) {
        let longest_ago = lists.iter().min_by_key(|(_, counted)| counted.at).map(|(list, _)| list.clone());
        if let Some(list) = longest_ago {
            lists.remove(&list);
        }
    }
    lists.insert(list, counted);
}
