//! What the lists share: how many rows there are, and how to come to a far page.
//!
//! A page is entered by the key of the row before it. That row is found by passing over what lies before it in the index alone, which is
//! some twenty times faster than to pass over the rows themselves and what is joined to them. Before a far page lie too many entries even so:
//! the walk to it ([`walk`]) is made once, from whichever end is nearer, and leaves a mark ([`marks`]) at every five hundredth. From then on any
//! page begins at most so many entries behind a mark, page 2,000 as well as page 25.
//!
//! Start at [`page`].

mod marks;
mod walk;

use domain::page::{Direction, Page, PageRequest};
use sqlx::{FromRow, Postgres, QueryBuilder, postgres::PgRow};

pub(crate) use self::marks::turn_of;
use self::{
    marks::{Mark, known_end, remember},
    walk::walk,
};
use crate::{db::TenantTx, error::Result, sql::Conditions};

/// Rows that are passed over without a mark.
const NEAR: i64 = 1_000;

/// How many rows a list has in all.
pub(crate) enum Total {
    /// So many: counts of it are kept.
    Known(i64),
    /// What this counts.
    Counted(Conditions),
    /// What this counts, which remains right until the number of `changes` (as of [`count`]) is another one.
    Remembered { count: Conditions, changes: &'static str },
}

/// How many rows a list has in all, where that is known without counting: a page that is not full is the last
/// one.
pub(crate) fn total_of_last_page(page: PageRequest, rows: usize) -> Option<i64> {
    let rows = i64::try_from(rows).ok()?;
    // An empty page beyond the end says nothing of how far beyond.
    (rows < page.limit() && (rows > 0 || page.offset() == 0)).then(|| page.offset() + rows)
}

/// How many rows the list called `list` has, of the tenant's and of what all share, as its statements have counted them. Of a name that ends in
/// `changes`: how many statements changed anything.
///
/// # Errors
/// When the database cannot be reached.
pub(crate) async fn count(tx: &mut TenantTx, list: &'static str) -> Result<i64> {
    let counts = counts(tx, list);
    sum(tx, counts).await
}

/// The sum of those counts that [`count`] adds up, to be narrowed by `facets`: `count_list` in `migrations/*_list_totals.sql` says which
/// of them a list has, counted from 1.
pub(crate) fn counts(tx: &TenantTx, list: &'static str) -> Conditions {
    let mut counts = Conditions::after("select coalesce(sum(rows), 0)::bigint from list_counts");
    counts.also().push("list = ").push_bind(list);
    counts.also().push("(tenant_id is null or tenant_id = ").push_bind(tx.tenant().0).push(")");
    counts
}

/// Adds up what is left of [`counts`].
///
/// # Errors
/// When the database cannot be reached.
pub(crate) async fn sum(tx: &mut TenantTx, mut counts: Conditions) -> Result<i64> {
    Ok(counts.query.build_query_scalar().fetch_one(&mut **tx).await?)
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

    /// From the end to the beginning.
    fn reversed(self) -> Self {
        let direction = match self.direction {
            Direction::Ascending => Direction::Descending,
            Direction::Descending => Direction::Ascending,
        };
        Self { direction, ..self }
    }

    /// Adds that a row comes after `place`.
    fn push_after(self, conditions: &mut Conditions, place: Place<'_>) {
        let (_, operator) = self.words();
        let query = conditions.also();
        query.push(format!("({}, {}) {operator} (", self.key.0, self.tie.0));
        match place {
            Place::Mark(mark) => self.push_values(query, mark),
            Place::Columns(columns) => _ = query.push(columns),
        }
        query.push(")");
    }

    /// Adds the two values of `mark`.
    fn push_values(self, query: &mut QueryBuilder<Postgres>, mark: &Mark) {
        query.push_bind(mark.key.clone()).push(format!("::{}, ", self.key.1));
        query.push_bind(mark.tie.clone()).push(format!("::{}", self.tie.1));
    }
}

/// A row that others come after: its key, or what columns hold that of it.
#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    Mark(&'a Mark),
    Columns(&'static str),
}

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

    /// The same rows, the last one first.
    fn reversed(&self) -> Self {
        Self { order: self.order.reversed(), ..self.clone() }
    }

    /// `select` of rows of this part that come after `place`, the first `reach` of which may be asked for.
    fn after(
        &self,
        place: Option<Place<'_>>,
        reach: i64,
        select: String,
        tx: &TenantTx,
        narrowed: &impl Fn(&TenantTx, String) -> Conditions,
    ) -> QueryBuilder<Postgres> {
        let mut conditions = narrowed(tx, select);
        for condition in self.only.as_deref().into_iter().chain(self.each) {
            conditions.also().push(condition);
        }
        if let Some(place) = place {
            self.order.push_after(&mut conditions, place);
        }
        let mut query = conditions.query;
        if self.each.is_some() {
            self.order.push(&mut query);
            query.push(" limit ").push_bind(reach).push(") as stretch");
        }
        query
    }

    /// The key of row `number`, counted from 1, of those that come after `place`.
    async fn key_of(
        &self,
        number: i64,
        place: Option<Place<'_>>,
        tx: &mut TenantTx,
        narrowed: &impl Fn(&TenantTx, String) -> Conditions,
    ) -> Result<Option<Mark>> {
        let Order { key, tie, .. } = self.order;
        let keys = format!("select ({})::text as key, ({})::text as tie from {}", key.0, tie.0, self.table);
        let mut row = self.after(place, number, keys, tx, narrowed);
        self.order.push(&mut row);
        row.push(" limit 1 offset ").push_bind(number - 1);
        Ok(row.build_query_as().fetch_optional(&mut **tx).await?)
    }
}

/// What is known of the rows of a part.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Counts are kept of the list, so that it is one that indexes have in order.
    is_counted: bool,
    /// How many the part has.
    rows: Option<i64>,
}

/// The page of the list that `parts` make: `list` is what it is called, with everything that it is filtered by, and `narrowed` adds to a
/// `select … from …` of it what narrows it.
///
/// # Errors
/// When the database cannot be reached.
pub(crate) async fn page<Row>(
    tx: &mut TenantTx,
    list: &str,
    parts: &[Part],
    page: PageRequest,
    total: Total,
    narrowed: impl Fn(&TenantTx, String) -> Conditions,
) -> Result<Page<Row>>
where
    Row: for<'row> FromRow<'row, PgRow> + Send + Unpin,
{
    let known = if let Total::Known(total) = total { Some(total) } else { None };
    let is_beyond = known.is_some_and(|total| page.offset() >= total);
    let items = if is_beyond { vec![] } else { rows(tx, list, parts, page, known, narrowed).await? };
    // Where a far page begins may be as old as marks are.
    let told = total_of_last_page(page, items.len()).filter(|_| page.offset() <= NEAR);
    let total = match (total, told) {
        (Total::Known(total), _) | (_, Some(total)) => total,
        (Total::Counted(mut count), None) => count.query.build_query_scalar().fetch_one(&mut **tx).await?,
        (Total::Remembered { count, changes }, None) => remembered(tx, list, count, changes).await?,
    };
    Ok(Page::new(items, total, page))
}

/// What `total` counts of `list`, or counted when there were as many changes as now; by one at a time.
async fn remembered(
    tx: &mut TenantTx,
    list: &str,
    mut total: Conditions,
    changes: &'static str,
) -> Result<i64> {
    // Asked before anything is counted: what changes meanwhile makes another number than that which the total is kept under.
    let changed = count(tx, changes).await?;
    let list = &format!("{} {list}", tx.tenant());
    let turn = turn_of(list);
    let _turn = turn.lock().await;
    if let Some(total) = marks::total_of(list, changed) {
        return Ok(total);
    }
    let total = total.query.build_query_scalar().fetch_one(&mut **tx).await?;
    marks::remember_total(list, changed, total);
    Ok(total)
}

/// The rows of a page of a list that has `total` in all, where that is known.
async fn rows<Row>(
    tx: &mut TenantTx,
    list: &str,
    parts: &[Part],
    page: PageRequest,
    total: Option<i64>,
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
        // Of the last part, those that are not of the parts before it.
        let rest = total.filter(|_| is_last).map(|total| total - (page.offset() - passed));
        let known = Known { is_counted: total.is_some(), rows: rest };
        let (at, mark) = enter(tx, list, part, passed, known, &narrowed).await?;
        let (place, reach) = (mark.as_ref().map(Place::Mark), passed - at + missing);
        let mut query = part.after(place, reach, part.select.to_owned(), tx, &narrowed);
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
            let mut count = part.after(place, reach, select, tx, &narrowed);
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
    known: Known,
    narrowed: &impl Fn(&TenantTx, String) -> Conditions,
) -> Result<(i64, Option<Mark>)> {
    let is_far = passed > NEAR;
    let (at, mark) = if is_far { walk(tx, list, part, passed, known, narrowed).await? } else { (0, None) };
    if at == passed {
        return Ok((at, mark));
    }
    let entry = part.key_of(passed - at, mark.as_ref().map(Place::Mark), tx, narrowed).await?;
    Ok(match entry {
        Some(entry) => {
            if is_far {
                remember(list, |marks| marks.entered_at(passed, entry.clone()));
            }
            (passed, Some(entry))
        }
        None => (at, mark),
    })
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
}
