//! What the lists share: how many rows there are, and how to come to a far page.
//!
//! A near page is come to by passing over what lies before it. Before a far one lie too many rows, so the walk to it is made
//! once and leaves a mark at every five hundredth: from then on any page begins at most so many rows behind a mark, page
//! 2,000 as well as page 25. Marks are keys of rows, not numbers of rows. While they are kept, half a minute, rows that come
//! and go before them move far pages neither forwards nor backwards: who reads one page after another misses none and sees
//! none twice. Each process has its own.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use domain::page::{Direction, PageRequest};
use sqlx::{Postgres, QueryBuilder};

use crate::{db::TenantTx, error::Result, sql::Conditions};

/// Rows that are passed over without a mark.
const NEAR: i64 = 1_000;
/// Rows from mark to mark.
const APART: i64 = 500;
/// For how long marks are good, and of how many lists they are kept.
const KEPT: Duration = Duration::from_secs(30);
const LISTS: usize = 200;

/// How many rows a list has in all, where that is known without counting: a page that is not full is the last
/// one.
pub(crate) fn total_of_last_page(page: PageRequest, rows: usize) -> Option<i64> {
    let rows = i64::try_from(rows).ok()?;
    // An empty page beyond the end says nothing of how far beyond.
    (rows < page.limit() && (rows > 0 || page.offset() == 0)).then(|| page.offset() + rows)
}

/// How many rows the list called `list` has, of the tenant's and of what all share, as its statements have counted them.
///
/// # Errors
/// When the database cannot be reached.
pub(crate) async fn count(tx: &mut TenantTx, list: &'static str) -> Result<i64> {
    let tenant = tx.tenant();
    let count = sqlx::query_scalar(
        "select coalesce(sum(rows), 0)::bigint from list_counts
          where list = $2 and (tenant_id is null or tenant_id = $1)",
    )
    .bind(tenant.0)
    .bind(list)
    .fetch_one(&mut **tx)
    .await?;
    Ok(count)
}

/// An order that has an index: by a key, and among equal ones by what tells rows apart, both the same way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    /// An expression that is never null, and its type.
    pub(crate) key: (&'static str, &'static str),
    /// A column that no two rows share, and its type.
    pub(crate) tie: (&'static str, &'static str),
    pub(crate) direction: Direction,
}

impl Order {
    fn words(self) -> (&'static str, &'static str) {
        match self.direction {
            Direction::Ascending => ("asc", ">"),
            Direction::Descending => ("desc", "<"),
        }
    }

    /// Adds ` order by `, the words themselves being ours.
    fn push(self, query: &mut QueryBuilder<Postgres>) {
        let (word, _) = self.words();
        query.push(format!(" order by {} {word}, {} {word}", self.key.0, self.tie.0));
    }

    /// Adds that a row comes after `mark`.
    fn push_after(self, conditions: &mut Conditions, mark: &Mark) {
        let (_, operator) = self.words();
        let query = conditions.also();
        query.push(format!("({}, {}) {operator} (", self.key.0, self.tie.0));
        query.push_bind(mark.key.clone()).push(format!("::{}, ", self.key.1));
        query.push_bind(mark.tie.clone()).push(format!("::{})", self.tie.1));
    }
}

/// The key of a row, as text.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
struct Mark {
    key: String,
    tie: String,
}

#[derive(Debug)]
struct Marks {
    since: Instant,
    /// By how many rows there are up to and with the mark.
    at: BTreeMap<i64, Mark>,
}

static MARKS: LazyLock<Mutex<HashMap<String, Marks>>> = LazyLock::new(Mutex::default);

/// The page of a list in this order: `list` is what it is called, with everything that it is filtered by, and `narrowed` adds to a
/// `select … from …` of it what narrows it. `table` is what stands behind `from` to find keys in.
///
/// # Errors
/// When the database cannot be reached.
pub(crate) async fn page(
    tx: &mut TenantTx,
    list: &str,
    (columns, table): (&str, &str),
    order: Order,
    page: PageRequest,
    narrowed: impl Fn(&TenantTx, String) -> Conditions,
) -> Result<QueryBuilder<Postgres>> {
    let mut rows = narrowed(tx, columns.to_owned());
    let mut passed = page.offset();
    if passed > NEAR {
        let list = format!("{} {list} {order:?}", tx.tenant());
        let (at, mark) = walk(tx, &list, table, order, passed, narrowed).await?;
        if let Some(mark) = mark {
            order.push_after(&mut rows, &mark);
            passed -= at;
        }
    }
    order.push(&mut rows.query);
    rows.query.push(" limit ").push_bind(page.limit()).push(" offset ").push_bind(passed);
    Ok(rows.query)
}

/// The last mark before row `wanted`, and how many rows there are up to it. Where there is none near it, it is walked to.
async fn walk(
    tx: &mut TenantTx,
    list: &str,
    table: &str,
    order: Order,
    wanted: i64,
    narrowed: impl Fn(&TenantTx, String) -> Conditions,
) -> Result<(i64, Option<Mark>)> {
    let (from, mark) = last_mark(list, wanted);
    if wanted - from < APART {
        return Ok((from, mark));
    }
    let (key, tie) = (order.key.0, order.tie.0);
    let (word, _) = order.words();
    // The database walks along the index, and tells of every five hundredth row.
    let keys = format!(
        "select key::text, tie::text, n from (
         select key, tie, row_number() over (order by key {word}, tie {word}) as n from (
         select {key} as key, {tie} as tie from {table}"
    );
    let mut keys = narrowed(tx, keys);
    if let Some(mark) = &mark {
        order.push_after(&mut keys, mark);
    }
    let mut keys = keys.query;
    order.push(&mut keys);
    keys.push(" limit ").push_bind(wanted - from);
    keys.push(") as walked) as numbered where n % ").push_bind(APART).push(" = 0");
    let found: Vec<(String, String, i64)> = keys.build_query_as().fetch_all(&mut **tx).await?;
    let found = found.into_iter().map(|(key, tie, n)| (from + n, Mark { key, tie }));
    remember(list, found.collect());
    Ok(last_mark(list, wanted))
}

fn last_mark(list: &str, wanted: i64) -> (i64, Option<Mark>) {
    let lists = MARKS.lock().unwrap_or_else(PoisonError::into_inner);
    let good = lists.get(list).filter(|marks| marks.since.elapsed() < KEPT);
    match good.and_then(|marks| marks.at.range(..=wanted).next_back()) {
        Some((at, mark)) => (*at, Some(mark.clone())),
        None => (0, None),
    }
}

fn remember(list: &str, found: BTreeMap<i64, Mark>) {
    let mut lists = MARKS.lock().unwrap_or_else(PoisonError::into_inner);
    if lists.len() >= LISTS {
        lists.retain(|_, marks| marks.since.elapsed() < KEPT);
        let oldest = lists.iter().min_by_key(|(_, marks)| marks.since).map(|(list, _)| list.clone());
        if lists.len() >= LISTS
            && let Some(oldest) = oldest
        {
            lists.remove(&oldest);
        }
    }
    let marks =
        lists.entry(list.to_owned()).or_insert_with(|| Marks { since: Instant::now(), at: BTreeMap::new() });
    if marks.since.elapsed() >= KEPT {
        *marks = Marks { since: Instant::now(), at: BTreeMap::new() };
    }
    marks.at.extend(found);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_that_is_not_full_tells_the_total() {
        let page = |page| PageRequest { page, size: 50 };
        assert_eq!(total_of_last_page(page(1), 0), Some(0));
        assert_eq!(total_of_last_page(page(3), 7), Some(107));
        assert_eq!(total_of_last_page(page(3), 50), None);
        assert_eq!(total_of_last_page(page(3), 0), None);
    }

    #[test]
    fn the_last_mark_before_a_row_is_found_and_no_more_lists_are_remembered_than_there_is_room_for() {
        let mark = |key: &str| Mark { key: key.into(), tie: key.into() };
        remember("a", [(500, mark("x")), (1000, mark("y"))].into());
        assert_eq!(last_mark("a", 999), (500, Some(mark("x"))));
        assert_eq!(last_mark("a", 1000), (1000, Some(mark("y"))));
        assert_eq!(last_mark("a", 499), (0, None));
        for list in 0..LISTS + 10 {
            remember(&list.to_string(), [(500, mark("z"))].into());
        }
        assert!(MARKS.lock().expect("not poisoned").len() <= LISTS);
    }
}
