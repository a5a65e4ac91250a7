//! A page of a list: what was asked for, and what came back.

use serde::Serialize;

/// Which part of a list is wanted. Both ends are checked where the request is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// Counted from 1.
    pub page: u32,
    /// Rows on a page.
    pub size: u32,
}

impl PageRequest {
    /// Rows before the first one wanted.
    #[must_use]
    pub fn offset(self) -> i64 {
        i64::from(self.page - 1) * i64::from(self.size)
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
        Self { page: 1, size: 50 }
    }
}

/// Rows of a list together with how many there are in all.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub total: i64,
    pub page: u32,
    pub size: u32,
}

impl<T> Page<T> {
    /// `items` as the answer to `request`.
    #[must_use]
    pub fn new(items: Vec<T>, total: i64, request: PageRequest) -> Self {
        Self { items, total, page: request.page, size: request.size }
    }

    /// Pages in all; an empty list has none.
    #[must_use]
    pub fn total_pages(&self) -> i64 {
        (self.total + i64::from(self.size) - 1) / i64::from(self.size)
    }

    /// The same page with each row turned into something else.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(convert).collect(),
            total: self.total,
            page: self.page,
            size: self.size,
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
        let page = Page::new(vec![0; 1], 101, PageRequest { page: 3, size: 50 });
        assert_eq!(page.total_pages(), 3);
        assert_eq!(PageRequest { page: 3, size: 50 }.offset(), 100);
    }

    #[test]
    fn an_empty_list_has_no_pages() {
        assert_eq!(Page::<u8>::new(vec![], 0, PageRequest::default()).total_pages(), 0);
    }
}
