//! The way to a far page where no mark is near it. Who makes it leaves marks for those who come after.

use sqlx::{Postgres, QueryBuilder};

use super::{
    Known, Part, Place,
    marks::{Mark, last_mark, next_mark, remember, turn_of},
};
use crate::{db::TenantTx, error::Result, sql::Conditions};

/// Rows from mark to mark.
const APART: i64 = 500;
/// From so many rows on they are not numbered, which takes 0.25 µs for each, but passed over from mark to mark, in 0.1 µs. Of a list with fewer
/// the planner might sort all of them for each step, where no index has them in order.
const LONG: i64 = 10_000;

/// The last mark of `part` before its row `wanted`, and how many rows there are up to it. Where there is none near it, it is walked to, by
/// one at a time: who comes meanwhile finds the marks. A part of which it is known how many rows it has is walked from its end, or from
/// the next mark behind, where that is nearer.
pub(super) async fn walk(
    tx: &mut TenantTx,
    list: &str,
    part: &Part,
    wanted: i64,
    known: Known,
    narrowed: &impl Fn(&TenantTx, String) -> Conditions,
) -> Result<(i64, Option<Mark>)> {
    let (from, mark) = last_mark(list, wanted);
    if wanted - from < APART {
        return Ok((from, mark));
    }
    let turn = turn_of(list);
    let _turn = turn.lock().await;
    let (from, mark) = last_mark(list, wanted);
    let ahead = wanted - from;
    if ahead < APART {
        return Ok((from, mark));
    }
    let end = known.rows.map(|rows| match next_mark(list, wanted) {
        Some((to, mark)) => (to, Some(mark)),
        None => (rows + 1, None),
    });
    let found: Vec<(i64, Mark)> = match end {
        Some((to, next)) if to - wanted < ahead => {
            // The last step leads before the row.
            let steps = (to - wanted + APART - 1) / APART;
            let found = marks(tx, &part.reversed(), next, steps, true, narrowed).await?;
            found.into_iter().map(|(n, mark)| (to - n * APART, mark)).collect()
        }
        _ => {
            let found = marks(tx, part, mark, ahead / APART, known.is_counted, narrowed).await?;
            found.into_iter().map(|(n, mark)| (from + n * APART, mark)).collect()
        }
    };
    remember(list, |marks| marks.at.extend(found));
    Ok(last_mark(list, wanted))
}

/// The first `steps` marks after `mark`, or from the beginning, and which of them they are, counted from 1.
async fn marks(
    tx: &mut TenantTx,
    part: &Part,
    mark: Option<Mark>,
    steps: i64,
    is_counted: bool,
    narrowed: &impl Fn(&TenantTx, String) -> Conditions,
) -> Result<Vec<(i64, Mark)>> {
    let query = if is_counted && steps * APART > LONG {
        stride(tx, part, mark, steps, narrowed).await?
    } else {
        Some(number(tx, part, mark.as_ref(), steps * APART, narrowed))
    };
    let Some(mut query) = query else { return Ok(vec![]) };
    let found: Vec<(String, String, i64)> = query.build_query_as().fetch_all(&mut **tx).await?;
    Ok(found.into_iter().map(|(key, tie, n)| (n, Mark { key, tie })).collect())
}

/// From each mark to the next one by entering the index at it. `None` where there is not one.
async fn stride(
    tx: &mut TenantTx,
    part: &Part,
    mark: Option<Mark>,
    steps: i64,
    narrowed: &impl Fn(&TenantTx, String) -> Conditions,
) -> Result<Option<QueryBuilder<Postgres>>> {
    let (begun, start) = match mark {
        Some(mark) => (0, Some(mark)),
        None => (1, part.key_of(APART, None, tx, narrowed).await?),
    };
    let Some(start) = start else { return Ok(None) };
    let (key, tie) = (part.order.key.0, part.order.tie.0);
    let select = format!(
        "with recursive marks (key, tie, n) as (
             select key, tie, n from start
              union all
             select next.key, next.tie, marks.n + 1
               from marks cross join lateral (select {key} as key, {tie} as tie from {}",
        part.table
    );
    let mut query = part.after(Some(Place::Columns("marks.key, marks.tie")), APART, select, tx, narrowed);
    part.order.push(&mut query);
    query.push(format!(" limit 1 offset {}) as next where marks.n < ", APART - 1)).push_bind(steps);
    query.push("), start (key, tie, n) as (select ");
    part.order.push_values(&mut query, &start);
    query.push(", ").push_bind(begun).push("::bigint) select key::text, tie::text, n from marks where n > 0");
    Ok(Some(query))
}

/// The first `rows` rows after `mark` numbered in one pass, of which every five hundredth is told.
fn number(
    tx: &TenantTx,
    part: &Part,
    mark: Option<&Mark>,
    rows: i64,
    narrowed: &impl Fn(&TenantTx, String) -> Conditions,
) -> QueryBuilder<Postgres> {
    let (key, tie) = (part.order.key.0, part.order.tie.0);
    let (word, _) = part.order.words();
    let select = format!(
        "select key::text, tie::text, n / {APART} from (
         select key, tie, row_number() over (order by key {word}, tie {word}) as n from (
         select {key} as key, {tie} as tie from {}",
        part.table
    );
    let mut query = part.after(mark.map(Place::Mark), rows, select, tx, narrowed);
    part.order.push(&mut query);
    query.push(" limit ").push_bind(rows);
    query.push(format!(") as walked) as numbered where n % {APART} = 0"));
    query
}
