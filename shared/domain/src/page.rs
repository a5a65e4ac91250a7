//! A page of a list: what was asked for, and what came back.

use serde::Serialize;

/// Which part of a list is wanted. Both ends are checked where the request is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PageRequest {
    /// Rows before the first one wanted.
    pub start: u64,
    /// Rows on a page, at least one.
    pub size: u32,
}

impl PageRequest {
    /// The page of this number, counted from 1, of pages of `size` rows.
    #[must_use]
    pub fn numbered(page: u32, size: u32) -> Self {
        Self { start: u64::from(page.saturating_sub(1)) * u64::from(size), size }
    }

    /// The number of the page that the first row wanted is on, counted from 1.
    #[must_use]
    pub fn page(self) -> u64 {
        self.start / u64::from(self.size) + 1
    }

    /// Rows before the first one wanted, as Postgres counts.
    #[must_use]
    pub fn offset(self) -> i64 {
        i64::try_from(self.start).unwrap_or(i64::MAX)
    }

    /// Rows wanted.
    #[must_use]
    pub fn limit(self) -> i64 {
        i64::from(self.size)
    }
}

impl Default for PageRequest {
    /// The first fifty, as seed 000 has it.
    fn default() -> Self {
        Self { start: 0, size: 50 }
    }
}

/// Rows of a list together with how many there are in all.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub total: i64,
    pub request: PageRequest,
}

impl<T> Page<T> {
    /// `items` as the answer to `request`.
    #[must_use]
    pub fn new(items: Vec<T>, total: i64, request: PageRequest) -> Self {
        Self { items, total, request }
    }

    /// Those of `all` that `request` asks for.
    #[must_use]
    pub fn of(all: impl ExactSizeIterator<Item = T>, request: PageRequest) -> Self {
        let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
        let start = usize::try_from(request.start).unwrap_or(usize::MAX);
        let size = usize::try_from(request.size).unwrap_or(usize::MAX);
        Self::new(all.skip(start).take(size).collect(), total, request)
    }

    /// Pages in all; an empty list has none.
    #[must_use]
    pub fn total_pages(&self) -> i64 {
        let size = self.request.limit();
        (self.total + size - 1) / size
    }

    /// The same page with each row turned into something else.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(convert).collect(),
            total: self.total,
            request: self.request,
        }
    }
}

/// Which way a list is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    #[default]
    Ascending,
    Descending,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_page_may_be_short() {
        let page = Page::of(0..101, PageRequest::numbered(3, 50));
        assert_eq!((page.total_pages(), page.items), (3, vec![100]));
        assert_eq!(PageRequest::numbered(3, 50).offset(), 100);
    }

    #[test]
    fn a_page_may_begin_anywhere_and_has_the_number_of_its_first_row() {
        let page = |start| PageRequest { start, size: 50 }.page();
        assert_eq!([page(0), page(49), page(50), page(130)], [1, 1, 2, 3]);
        assert_eq!(PageRequest::numbered(u32::MAX, 500).page(), u64::from(u32::MAX));
    }

    #[test]
    fn an_empty_list_has_no_pages() {
        assert_eq!(Page::<u8>::new(vec![], 0, PageRequest::default()).total_pages(), 0);
    }
}
