//! A JSON list in which one bad entry does not spoil the others.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, de};

use crate::rules::MAX_PACKAGES;

/// The entries of a list that have the shape of `T`, and why the others have not. Entries are read one at a time, so
/// that a long list costs little more than what is kept of it.
#[derive(Debug)]
pub(crate) struct Entries<T> {
    /// Each with its index in the list.
    pub(crate) read: Vec<(usize, T)>,
    /// Index and reason.
    pub(crate) refused: Vec<(usize, String)>,
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self { read: Vec::new(), refused: Vec::new() }
    }
}

impl<T> Entries<T> {
    /// How many entries the list had, good and bad.
    pub(crate) fn len(&self) -> usize {
        self.read.len() + self.refused.len()
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(OneByOne(PhantomData))
    }
}

struct OneByOne<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for OneByOne<T> {
    type Value = Entries<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut entries = Entries::default();
        while let Some(value) = list.next_element::<serde_json::Value>()? {
            let index = entries.len();
            if index == MAX_PACKAGES {
                return Err(de::Error::custom(format_args!("a list has more than {MAX_PACKAGES} entries")));
            }
            match T::deserialize(value) {
                Ok(entry) => entries.read.push((index, entry)),
                Err(error) => entries.refused.push((index, error.to_string())),
            }
        }
        Ok(entries)
    }
}

/// Read a list that may also be `null`, which real producers write for "none".
pub(crate) fn list_or_null<'de, D, T>(deserializer: D) -> Result<Entries<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
    D::Error: Error,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
