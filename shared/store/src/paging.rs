//! What the lists share: how many rows there are, and how to come to a far page.
//!
//! A page is entered by the key of the row before it. That row is found by passing over what lies before it in the index alone, which is
//! some twenty times faster than to pass over the rows themselves and what is joined to them. Before a far page lie too many entries even so:
//! the walk to it is made once and leaves a mark at every five hundredth. From then on any page begins at most so many entries behind a mark,
//! page 2,000 as well as page 25. Marks are keys of rows, not numbers of rows. While they are kept, half a minute, rows that come
//! and go before them move far pages neither forwards nor backwards: who reads one page after another misses none and sees
//! none twice. Each process has its own.
//!
//! Start at [`rows`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use domain::page::{Direction, PageRequest};
use sqlx::{FromRow, Postgres, QueryBuilder, postgres::PgRow};

use crate::{db::TenantTx, error::Result, sql::Conditions};

/// Rows that are passed over without a mark.
const NEAR: i64 = 1_000;
/// Rows from mark to mark.
const APART: i64 = 500;
/// Of so many far pages of a list it is kept where they are entered.
const ENTERED: usize = 64;
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
    /// An expression that is never null, and its type. Of tenants' rows one without functions, which may not be asked before row-level security
    /// was: an index is not entered by it otherwise.
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
    /// Likewise, where pages between marks were entered.
    entered: BTreeMap<i64, Mark>,
    /// How many rows there are in all, once somebody has looked beyond them.
    end: Option<i64>,
}

impl Marks {
    fn none() -> Self {
        Self { since: Instant::now(), at: BTreeMap::new(), entered: BTreeMap::new(), end: None }
    }
}

impl Marks {
    fn entered_at(&mut self, place: i64, mark: Mark) {
        if self.entered.len() >= ENTERED {
            self.entered.clear();
        }
        self.entered.insert(place, mark);
    }
}

static MARKS: LazyLock<Mutex<HashMap<String, Marks>>> = LazyLock::new(Mutex::default);

/// Rows of a list that are in the order of an index. A list is one part, or several of which one comes after the other.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// `select … from …` of its rows.
    pub(crate) select: &'static str,
    /// What stands behind `from` to find keys in.
    pub(crate) table: &'static str,
    /// What makes a row one of this part; `None`: every row is.
    pub(crate) only: Option<String>,
    /// Where rows are in several stretches of the index, one for each of those whose they are: what makes a row one of a stretch. `select`
    /// and `table` then end within `cross join lateral (select … from …`, so that each stretch is entered by itself.
    pub(crate) each: Option<&'static str>,
    pub(crate) order: Order,
}

impl Part {
    /// A list whose rows all have something to be ordered by.
    pub(crate) fn whole(select: &'static str, table: &'static str, order: Order) -> Vec<Self> {
        vec![Self { select, table, only: None, each: None, order }]
    }

    /// A list of which some rows have nothing to be ordered by, and come last either way: the key of these is `absent`, which is less than
    /// any other.
    pub(crate) fn absent_last(
        select: &'static str,
        table: &'static str,
        order: Order,
        absent: &str,
    ) -> Vec<Self> {
        match order.direction {
            Direction::Descending => Self::whole(select, table, order),
            Direction::Ascending => {
                let only = |operator| Some(format!("{} {operator} '{absent}'", order.key.0));
                // Their keys are one and the same, so that the rest of the index is in the order of what tells them apart.
                let by_tie = Order { key: order.tie, ..order };
                vec![
                    Self { select, table, only: only(">"), each: None, order },
                    Self { select, table, only: only("="), each: None, order: by_tie },
                ]
            }
        }
    }

    /// `select` of rows of this part that come after `mark`, the first `reach` of which may be asked for.
    fn after(
        &self,
        mark: Option<&Mark>,
        reach: i64,
        select: String,
        tx: &TenantTx,
        narrowed: &impl Fn(&TenantTx, String) -> Conditions,
    ) -> QueryBuilder<Postgres> {
        let mut conditions = narrowed(tx, select);
        for condition in self.only.as_deref().into_iter().chain(self.each) {
            conditions.also().push(condition);
        }
        if let Some(mark) = mark {
            self.order.push_after(&mut conditions, mark);
        }
        let mut query = conditions.query;
        if self.each.is_some() {
            self.order.push(&mut query);
            query.push(" limit ").push_bind(reach).push(") as stretch");
        }
        query
    }
}

/// The page of the list that `parts` make: `list` is what it is called, with everything that it is filtered by, and `narrowed` adds to a
/// `select … from …` of it what narrows it.
///
/// # Errors
/// When the database cannot be reached.
pub(crate) async fn rows<Row>(
    tx: &mut TenantTx,
    list: &str,
    parts: &[Part],
    page: PageRequest,
    narrowed: impl Fn(&TenantTx, String) -> Conditions,
) -> Result<Vec<Row>>
where
    Row: for<'row> FromRow<'row, PgRow> + Send + Unpin,
{
    let (mut passed, mut missing) = (page.offset(), page.limit());
    let mut rows = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let is_last = number + 1 == parts.len();
        let list = &format!("{} {list} {part:?}", tx.tenant());
        if let Some(end) = known_end(list).filter(|end| !is_last && *end <= passed) {
            passed -= end;
            continue;
        }
        let (at, mark) = enter(tx, list, part, passed, &narrowed).await?;
        let reach = passed - at + missing;
        let mut query = part.after(mark.as_ref(), reach, part.select.to_owned(), tx, &narrowed);
        part.order.push(&mut query);
        query.push(" limit ").push_bind(missing).push(" offset ").push_bind(passed - at);
        let found: Vec<Row> = query.build_query_as().fetch_all(&mut **tx).await?;
        let is_begun = !found.is_empty();
        missing -= i64::try_from(found.len()).unwrap_or(missing);
        rows.extend(found);
        if missing == 0 || is_last {
            break;
        }
        if is_begun {
            passed = 0;
        } else {
            let select = format!("select count(*) from {}", part.table);
            let mut count = part.after(mark.as_ref(), reach, select, tx, &narrowed);
            let behind: i64 = count.build_query_scalar().fetch_one(&mut **tx).await?;
            remember(list, |marks| marks.end = Some(at + behind));
            passed -= at + behind;
        }
    }
    Ok(rows)
}

/// The row of `part` behind which `passed` rows lie, which is the one that a page begins after; the last mark before it, where there are
/// fewer rows. And how many rows there are up to it.
async fn enter(
    tx: &mut TenantTx,
    list: &str,
    part: &Part,
    passed: i64,
    narrowed: &impl Fn(&TenantTx, String) -> Conditions,
) -> Result<(i64, Option<Mark>)> {
    let is_far = passed > NEAR;
    let (at, mark) = if is_far { walk(tx, list, part, passed, narrowed).await? } else { (0, None) };
    if at == passed {
        return Ok((at, mark));
    }
    let keys = format!(
        "select ({})::text as key, ({})::text as tie from {}",
        part.order.key.0, part.order.tie.0, part.table
    );
    let mut entry = part.after(mark.as_ref(), passed - at, keys, tx, narrowed);
    part.order.push(&mut entry);
    entry.push(" limit 1 offset ").push_bind(passed - at - 1);
    let found: Option<Mark> = entry.build_query_as().fetch_optional(&mut **tx).await?;
    Ok(match found {
        Some(entry) => {
            if is_far {
                remember(list, |marks| marks.entered_at(passed, entry.clone()));
            }
            (passed, Some(entry))
        }
        None => (at, mark),
    })
}

/// The last mark of `part` before its row `wanted`, and how many rows there are up to it. Where there is none near it, it is walked to, by
/// one at a time: who comes meanwhile finds the marks.
async fn walk(
    tx: &mut TenantTx,
    list: &str,
    part: &Part,
    wanted: i64,
    narrowed: &impl Fn(&TenantTx, String) -> Conditions,
) -> Result<(i64, Option<Mark>)> {
    let (from, mark) = last_mark(list, wanted);
    if wanted - from < APART {
        return Ok((from, mark));
    }
    let turn = turn_of(list);
    let _turn = turn.lock().await;
    let (from, mark) = last_mark(list, wanted);
    if wanted - from < APART {
        return Ok((from, mark));
    }
    let (key, tie) = (part.order.key.0, part.order.tie.0);
    let (word, _) = part.order.words();
    // The database walks along the index, and tells of every five hundredth row.
    let keys = format!(
        "select key::text, tie::text, n from (
         select key, tie, row_number() over (order by key {word}, tie {word}) as n from (
         select {key} as key, {tie} as tie from {}",
        part.table
    );
    let mut keys = part.after(mark.as_ref(), wanted - from, keys, tx, narrowed);
    part.order.push(&mut keys);
    keys.push(" limit ").push_bind(wanted - from);
    keys.push(") as walked) as numbered where n % ").push_bind(APART).push(" = 0");
    let found: Vec<(String, String, i64)> = keys.build_query_as().fetch_all(&mut **tx).await?;
    let found = found.into_iter().map(|(key, tie, n)| (from + n, Mark { key, tie }));
    remember(list, |marks| marks.at.extend(found));
    Ok(last_mark(list, wanted))
}

fn last_mark(list: &str, wanted: i64) -> (i64, Option<Mark>) {
    let lists = MARKS.lock().unwrap_or_else(PoisonError::into_inner);
    let good = lists.get(list).filter(|marks| marks.since.elapsed() < KEPT);
    let before = |marks: &BTreeMap<i64, Mark>| {
        marks.range(..=wanted).next_back().map(|(at, mark)| (*at, Some(mark.clone())))
    };
    let found = good.and_then(|marks| {
        before(&marks.at).into_iter().chain(before(&marks.entered)).max_by_key(|(at, _)| *at)
    });
    found.unwrap_or((0, None))
}

fn known_end(list: &str) -> Option<i64> {
    let lists = MARKS.lock().unwrap_or_else(PoisonError::into_inner);
    lists.get(list).filter(|marks| marks.since.elapsed() < KEPT)?.end
}

/// Adds to what is known of `list`, and forgets other lists where it takes too much room.
fn remember(list: &str, add: impl FnOnce(&mut Marks)) {
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
    let marks = lists.entry(list.to_owned()).or_insert_with(Marks::none);
    if marks.since.elapsed() >= KEPT {
        *marks = Marks::none();
    }
    add(marks);
}

/// Whoever holds it may walk `list`.
fn turn_of(list: &str) -> Arc<tokio::sync::Mutex<()>> {
    static TURNS: LazyLock<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>> =
        LazyLock::new(Mutex::default);
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    // Whoever has a turn, or waits for one, holds it as well.
    turns.retain(|_, turn| Arc::strong_count(turn) > 1);
    turns.entry(list.to_owned()).or_default().clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_that_is_not_full_tells_the_total() {
        let page = |page| PageRequest::numbered(page, 50);
        assert_eq!(total_of_last_page(page(1), 0), Some(0));
        assert_eq!(total_of_last_page(page(3), 7), Some(107));
        assert_eq!(total_of_last_page(page(3), 50), None);
        assert_eq!(total_of_last_page(page(3), 0), None);
    }

    #[test]
    fn the_last_mark_before_a_row_is_found_and_no_more_lists_are_remembered_than_there_is_room_for() {
        let mark = |key: &str| Mark { key: key.into(), tie: key.into() };
        remember("a", |marks| marks.at.extend([(500, mark("x")), (1000, mark("y"))]));
        assert_eq!(last_mark("a", 999), (500, Some(mark("x"))));
        assert_eq!(last_mark("a", 1000), (1000, Some(mark("y"))));
        assert_eq!(last_mark("a", 499), (0, None));
        for page in 0..1000 {
            remember("a", |marks| marks.entered_at(2000 + page, mark("p")));
        }
        assert_eq!(last_mark("a", 3500), (2999, Some(mark("p"))));
        assert_eq!(last_mark("a", 1500), (1000, Some(mark("y"))));
        assert!(MARKS.lock().expect("not poisoned")["a"].entered.len() <= ENTERED);
        for list in 0..LISTS + 10 {
            remember(&list.to_string(), |marks| marks.at.extend([(500, mark("z"))]));
        }
        assert!(MARKS.lock().expect("not poisoned").len() <= LISTS);
    }
}
