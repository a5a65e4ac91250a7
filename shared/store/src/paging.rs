//! What the lists share.

use domain::page::PageRequest;

/// How many rows a list has in all, where that is known without counting: a page that is not full is the last
/// one.
pub(crate) fn total_of_last_page(page: PageRequest, rows: usize) -> Option<i64> {
    let rows = i64::try_from(rows).ok()?;
    // An empty page beyond the end says nothing of how far beyond.
    (rows < page.limit() && (rows > 0 || page.offset() == 0)).then(|| page.offset() + rows)
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
}
