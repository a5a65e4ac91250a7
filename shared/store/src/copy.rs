//! Rows in the text format of `COPY` (PostgreSQL manual, "COPY", section "Text Format").
//!
//! The fastest way in that Postgres has. Rows are written into a buffer of ours, wherever that is convenient, and handed
//! over in one go.

use std::fmt::Write as _;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use crate::error::Result;

/// One value of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field<'a> {
    Null,
    Text(&'a str),
    Texts(&'a [String]),
    Bytes(&'a [u8]),
    Real(f32),
    Number(i64),
    Bool(bool),
    Time(DateTime<Utc>),
    Date(NaiveDate),
}

macro_rules! fields {
    ($($variant:ident($kind:ty)),* $(,)?) => {$(
        impl<'a> From<$kind> for Field<'a> {
            fn from(value: $kind) -> Self {
                Self::$variant(value)
            }
        }
    )*};
}

fields! {
    Text(&'a str), Texts(&'a [String]), Bytes(&'a [u8]), Real(f32), Number(i64), Bool(bool), Time(DateTime<Utc>),
    Date(NaiveDate),
}

impl<'a> From<&'a String> for Field<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value)
    }
}

impl<'a, T: Into<Self>> From<Option<T>> for Field<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Rows on their way into one table.
#[derive(Debug, Default)]
pub(crate) struct Rows(String);

impl Rows {
    /// Bytes collected.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn push(&mut self, row: &[Field<'_>]) {
        for (index, field) in row.iter().enumerate() {
            if index > 0 {
                self.0.push('\t');
            }
            self.field(*field);
        }
        self.0.push('\n');
    }

    /// Adds a row with one column more: the SHA-256 of the others as written, and of `more`.
    pub(crate) fn push_with_digest<'a>(&mut self, row: &[Field<'_>], more: impl Iterator<Item = &'a str>) {
        let start = self.0.len();
        self.push(row);
        let mut digest = Sha256::new_with_prefix(&self.0[start..]);
        more.for_each(|text| digest.update(text));
        self.0.pop();
        self.0.push('\t');
        self.field(Field::Bytes(&digest.finalize()));
        self.0.push('\n');
    }

    /// Appends lines that were written elsewhere.
    pub(crate) fn append<'a>(&mut self, lines: impl Iterator<Item = &'a str>) {
        self.0.extend(lines);
    }

    /// The rows as written, each with its line's end.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.split_inclusive('\n')
    }

    fn field(&mut self, field: Field<'_>) {
        match field {
            Field::Null => self.0.push_str("\\N"),
            Field::Text(text) => self.text(text),
            Field::Texts(texts) => self.array(texts),
            Field::Bytes(bytes) => {
                self.0.push_str("\\\\x");
                self.0.push_str(&hex::encode(bytes));
            }
            Field::Real(number) => self.display(number),
            Field::Number(number) => self.display(number),
            Field::Bool(truth) => self.0.push(if truth { 't' } else { 'f' }),
            Field::Time(time) => self.0.push_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true)),
            Field::Date(date) => self.display(date),
        }
    }

    fn text(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '\\' => self.0.push_str("\\\\"),
                '\t' => self.0.push_str("\\t"),
                '\n' => self.0.push_str("\\n"),
                '\r' => self.0.push_str("\\r"),
                // Postgres text cannot hold it.
                '\0' => {}
                other => self.0.push(other),
            }
        }
    }

    /// An array literal (PostgreSQL manual, section 8.15.6), every element in quotes.
    fn array(&mut self, texts: &[String]) {
        let mut literal = String::from("{");
        for (index, text) in texts.iter().enumerate() {
            literal.push_str(if index > 0 { ",\"" } else { "\"" });
            for character in text.chars() {
                if matches!(character, '"' | '\\') {
                    literal.push('\\');
                }
                literal.push(character);
            }
            literal.push('"');
        }
        literal.push('}');
        self.text(&literal);
    }

    fn display(&mut self, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{value}");
    }
}

/// Sends `rows` by `statement`, a `copy … from stdin`. No rows, no statement.
pub(crate) async fn copy(connection: &mut PgConnection, statement: &'static str, rows: &Rows) -> Result<u64> {
    if rows.0.is_empty() {
        return Ok(0);
    }
    let mut copy = connection.copy_in_raw(statement).await?;
    copy.send(rows.0.as_bytes()).await?;
    Ok(copy.finish().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(row: &[Field<'_>]) -> String {
        let mut rows = Rows::default();
        rows.push(row);
        rows.0
    }

    #[test]
    fn text_cannot_end_its_field_or_its_row() {
        assert_eq!(written(&["a\tb\nc\\.\r\0".into(), "\\N".into()]), "a\\tb\\nc\\\\.\\r\t\\\\N\n");
    }

    #[test]
    fn nothing_is_null_and_an_empty_text_is_empty() {
        assert_eq!(written(&[None::<&str>.into(), "".into(), Some("x").into()]), "\\N\t\tx\n");
    }

    #[test]
    fn elements_of_an_array_are_quoted() {
        let texts = ["a,b".to_owned(), "\"}\\".to_owned(), String::new()];
        assert_eq!(written(&[texts.as_slice().into()]), "{\"a,b\",\"\\\\\"}\\\\\\\\\",\"\"}\n");
    }

    #[test]
    fn bytes_numbers_and_times_are_spelt_as_postgres_reads_them() {
        let time = DateTime::from_timestamp(1_700_000_000, 0).expect("a time");
        assert_eq!(
            written(&[[0_u8, 255].as_slice().into(), 0.1_f32.into(), true.into(), time.into()]),
            "\\\\x00ff\t0.1\tt\t2023-11-14T22:13:20.000000Z\n"
        );
    }
}
