//! Small pieces of SQL that several aggregates share.

use domain::page::{Direction, PageRequest};
use sqlx::{Postgres, QueryBuilder};

/// A list query with optional conditions: `where` before the first, `and` before the others.
pub struct Conditions {
    pub query: QueryBuilder<Postgres>,
    any: bool,
}

impl Conditions {
    /// Starts after `select … from …`, which must not have a `where` of its own.
    pub fn after(select: impl Into<String>) -> Self {
        Self { query: QueryBuilder::new(select), any: false }
    }

    /// Adds that `column` is `wanted`; nothing, where nothing is.
    pub fn equal(&mut self, column: &'static str, wanted: Option<&str>) {
        if let Some(wanted) = wanted {
            self.also().push(column).push(" = ").push_bind(wanted.to_owned());
        }
    }

    /// Goes on with `text`, which ends in another `select … from …` that has conditions of its own.
    pub fn and_after(&mut self, text: &str) {
        self.query.push(text);
        self.any = false;
    }

    /// Adds ` where ` or ` and `, and hands the query over for the condition itself.
    pub fn also(&mut self) -> &mut QueryBuilder<Postgres> {
        self.query.push(if self.any { " and " } else { " where " });
        self.any = true;
        &mut self.query
    }

    /// Adds that `column` is one of `words`; nothing, where there are none.
    pub fn one_of(&mut self, column: &'static str, words: impl IntoIterator<Item = &'static str>) {
        let words: Vec<&str> = words.into_iter().collect();
        match words.as_slice() {
            [] => {}
            [word] => _ = self.also().push(column).push(" = ").push_bind(*word),
            _ => _ = self.also().push(column).push(" = any (").push_bind(words).push(")"),
        }
    }

    /// Adds the order and the page. `column` must come from a match over known columns, never from a request.
    pub fn page(
        mut self,
        column: &'static str,
        direction: Direction,
        tie: &'static str,
        page: PageRequest,
    ) -> QueryBuilder<Postgres> {
        let word = match direction {
            Direction::Ascending => " asc nulls last, ",
            Direction::Descending => " desc nulls last, ",
        };
        self.query.push(" order by ").push(column).push(word).push(tie);
        self.query.push(" limit ").push_bind(page.limit()).push(" offset ").push_bind(page.offset());
        self.query
    }
}

/// `text` as a pattern for `ilike` that contains it literally.
#[must_use]
pub fn contains_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_in_a_search_are_literal() {
        assert_eq!(contains_pattern("50%_\\"), "%50\\%\\_\\\\%");
    }
}
