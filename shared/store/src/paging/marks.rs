//! Where far pages are entered, kept for half a minute, and totals that took long to count, kept until something changes. Each process has
//! its own.
//!
//! Marks are keys of rows, not numbers of rows. While they are kept, rows that come and go before them move far pages neither forwards nor
//! backwards: who reads one page after another misses none and sees none twice. Only where marks of a walk from the beginning meet those of
//! one from the end are pages as far apart as rows came and went between the two walks.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Of so many far pages of a list it is kept where they are entered.
const ENTERED: usize = 64;
/// For how long marks are good, and of how many lists they are kept, and totals.
const KEPT: Duration = Duration::from_secs(30);
const LISTS: usize = 200;

/// The key of a row, as text.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Mark {
    pub(super) key: String,
    pub(super) tie: String,
}

#[derive(Debug)]
pub(super) struct Marks {
    since: Instant,
    /// By how many rows there are up to and with the mark.
    pub(super) at: BTreeMap<i64, Mark>,
    /// Likewise, where pages between marks were entered.
    entered: BTreeMap<i64, Mark>,
    /// How many rows there are in all, once somebody has looked beyond them.
    pub(super) end: Option<i64>,
}

impl Marks {
    fn none() -> Self {
        Self { since: Instant::now(), at: BTreeMap::new(), entered: BTreeMap::new(), end: None }
    }

    pub(super) fn entered_at(&mut self, place: i64, mark: Mark) {
        if self.entered.len() >= ENTERED {
            self.entered.clear();
        }
        self.entered.insert(place, mark);
    }
}

static MARKS: LazyLock<Mutex<HashMap<String, Marks>>> = LazyLock::new(Mutex::default);

/// The last mark of `list` before its row `wanted`, and how many rows there are up to it.
pub(super) fn last_mark(list: &str, wanted: i64) -> (i64, Option<Mark>) {
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

/// The first mark behind row `wanted`.
pub(super) fn next_mark(list: &str, wanted: i64) -> Option<(i64, Mark)> {
    let lists = MARKS.lock().unwrap_or_else(PoisonError::into_inner);
    let marks = lists.get(list).filter(|marks| marks.since.elapsed() < KEPT)?;
    marks.at.range(wanted + 1..).next().map(|(at, mark)| (*at, mark.clone()))
}

pub(super) fn known_end(list: &str) -> Option<i64> {
    let lists = MARKS.lock().unwrap_or_else(PoisonError::into_inner);
    lists.get(list).filter(|marks| marks.since.elapsed() < KEPT)?.end
}

/// Adds to what is known of `list`, and forgets other lists where it takes too much room.
pub(super) fn remember(list: &str, add: impl FnOnce(&mut Marks)) {
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

/// Whoever holds it may walk `list`, or count it.
pub(crate) fn turn_of(list: &str) -> Arc<tokio::sync::Mutex<()>> {
    static TURNS: LazyLock<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>> =
        LazyLock::new(Mutex::default);
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    // Whoever has a turn, or waits for one, holds it as well.
    turns.retain(|_, turn| Arc::strong_count(turn) > 1);
    turns.entry(list.to_owned()).or_default().clone()
}

/// Totals, by list, and at how many changes they were counted.
static TOTALS: LazyLock<Mutex<HashMap<String, (i64, i64)>>> = LazyLock::new(Mutex::default);

/// How many rows `list` had when there were so many changes.
pub(super) fn total_of(list: &str, changes: i64) -> Option<i64> {
    let totals = TOTALS.lock().unwrap_or_else(PoisonError::into_inner);
    totals.get(list).filter(|(at, _)| *at == changes).map(|(_, total)| *total)
}

pub(super) fn remember_total(list: &str, changes: i64, total: i64) {
    let mut totals = TOTALS.lock().unwrap_or_else(PoisonError::into_inner);
    if totals.len() >= LISTS {
        totals.retain(|_, (at, _)| *at == changes);
    }
    if totals.len() >= LISTS {
        totals.clear();
    }
    totals.insert(list.to_owned(), (changes, total));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marks_around_a_row_are_found_and_no_more_lists_are_remembered_than_there_is_room_for() {
        let mark = |key: &str| Mark { key: key.into(), tie: key.into() };
        remember("a", |marks| marks.at.extend([(500, mark("x")), (1000, mark("y"))]));
        assert_eq!(last_mark("a", 999), (500, Some(mark("x"))));
        assert_eq!(last_mark("a", 1000), (1000, Some(mark("y"))));
        assert_eq!(last_mark("a", 499), (0, None));
        assert_eq!(next_mark("a", 999), Some((1000, mark("y"))));
        assert_eq!(next_mark("a", 1000), None);
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

    #[test]
    fn a_total_is_good_until_something_changes() {
        remember_total("b", 7, 100);
        assert_eq!((total_of("b", 7), total_of("b", 8)), (Some(100), None));
        remember_total("b", 8, 101);
        assert_eq!((total_of("b", 7), total_of("b", 8)), (None, Some(101)));
        for list in 0..LISTS + 10 {
            remember_total(&list.to_string(), 8, 1);
        }
        assert!(TOTALS.lock().expect("not poisoned").len() <= LISTS);
    }
}
