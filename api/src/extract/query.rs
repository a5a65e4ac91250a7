//! What stands behind the question mark.
//!
//! A parameter that the operation does not document is refused: a filter with a typo in its name would
//! otherwise be a filter that does nothing, and its answer would look like good news. How a list is asked for a page, an order and
//! several values at once is [`super::listing`]'s.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    str::FromStr,
};

use axum::{extract::FromRequestParts, http::request::Parts};
use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use url::form_urlencoded;
use utoipa::{
    IntoParams,
    openapi::{
        RefOr, Schema,
        path::{Parameter, ParameterIn},
        schema::ArrayItems,
    },
};

use super::plain;
use crate::{
    error::{ApiError, FieldError, Problems},
    state::AppState,
};

/// The filter of a list that has none.
#[derive(Debug, Deserialize)]
pub(crate) struct Unfiltered {}

impl IntoParams for Unfiltered {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        Vec::new()
    }
}

/// The parameters of an operation that is no list: its handler documents `F`, and those are the parameters taken.
#[derive(Debug)]
pub(crate) struct Query<F>(pub(crate) F);

impl<F: DeserializeOwned + IntoParams> FromRequestParts<AppState> for Query<F> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        let known = Known::all_of(F::into_params(|| None));
        let given = Given::read(parts.uri.query().unwrap_or_default(), &known, |_| None)?;
        Ok(Self(given.parse()?))
    }
}

/// A parameter that an operation documents.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The values that it may have, where these are words.
    words: Vec<String>,
    /// It may have several values.
    is_list: bool,
}

impl Known {
    /// Each by its name.
    pub(super) fn all_of(parameters: Vec<Parameter>) -> BTreeMap<String, Self> {
        let known = |parameter: Parameter| {
            let (words, is_list) = match &parameter.schema {
                Some(schema) => (words_of(schema), is_list(schema)),
                None => (Vec::new(), false),
            };
            (parameter.name, Self { words, is_list })
        };
        parameters.into_iter().map(known).collect()
    }

    /// `value` with each of its words spelled as the document spells it, whatever the case.
    fn spelled(&self, value: &str) -> String {
        if self.words.is_empty() {
            return value.to_owned();
        }
        let spelled = |word: &str| {
            let known = self.words.iter().find(|known| known.eq_ignore_ascii_case(word));
            known.map_or_else(|| word.to_owned(), Clone::clone)
        };
        match self.is_list {
            true => value.split(',').map(|word| spelled(word.trim())).collect::<Vec<_>>().join(","),
            false => spelled(value),
        }
    }
}

fn words_of(schema: &RefOr<Schema>) -> Vec<String> {
    let RefOr::T(schema) = schema else { return Vec::new() };
    match schema {
        Schema::Object(object) => {
            let words = object.enum_values.iter().flatten();
            words.filter_map(|word| word.as_str().map(str::to_owned)).collect()
        }
        Schema::Array(array) => match &array.items {
            ArrayItems::RefOrSchema(items) => words_of(items),
            ArrayItems::False => Vec::new(),
        },
        Schema::OneOf(either) => either.items.iter().flat_map(words_of).collect(),
        _ => Vec::new(),
    }
}

fn is_list(schema: &RefOr<Schema>) -> bool {
    match schema {
        RefOr::T(Schema::Array(_)) => true,
        RefOr::T(Schema::OneOf(either)) => either.items.iter().any(is_list),
        _ => false,
    }
}

/// The parameters that were given, by the names that the operation has for them: once each, and not empty.
#[derive(Debug, Default)]
pub(super) struct Given(BTreeMap<String, Value>);

/// A value, and under which name it was given.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) name: String,
    pub(super) value: String,
}

impl Value {
    /// That it cannot be used, and why.
    pub(super) fn refused(&self, message: impl Into<String>) -> FieldError {
        FieldError::value(format!("query -> {}", self.name), message)
    }
}

impl Given {
    /// Reads `query`. Names may be written in camelCase, and `means` tells which further names are words for something.
    pub(super) fn read(
        query: &str,
        known: &BTreeMap<String, Known>,
        means: impl Fn(&str) -> Option<&'static str>,
    ) -> Result<Self, ApiError> {
        let mut problems = Problems::default();
        let mut given: BTreeMap<String, Value> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let name = name.into_owned();
            let folded = if known.contains_key(&name) { name.clone() } else { snake_case(&name) };
            let meant = means(&folded).map_or(folded, str::to_owned);
            let Some(parameter) = known.get(&meant) else {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                let message = match names.is_empty() {
                    true => format!("there is no parameter `{name}` here, nor any other: leave it out"),
                    false => format!("there is no parameter `{name}` here: there is {}", names.join(", ")),
                };
                let field = format!("query -> {name}");
                problems.add(FieldError { field, message, kind: "extra_forbidden" });
                continue;
            };
            let value = Value { name, value: parameter.spelled(&value) };
            let is_first = seen.insert(meant.clone());
            if value.value.contains('\0') {
                let shown = plain::shown(&value.value);
                problems.add(value.refused(format!("{shown} has the character U+0000 in it: remove it")));
            } else if is_first || parameter.is_list {
                if !value.value.is_empty() {
                    let before = given
                        .entry(meant)
                        .or_insert_with(|| Value { name: value.name.clone(), value: String::new() });
                    if !before.value.is_empty() {
                        before.value.push(',');
                    }
                    before.value.push_str(&value.value);
                }
            } else {
                let message = match given.get(&meant) {
                    Some(before) if before.name != value.name => {
                        format!("`{}` says the same as `{}`: send one of them", value.name, before.name)
                    }
                    _ => format!("`{}` is given more than once: give it once", value.name),
                };
                let field = format!("query -> {}", value.name);
                problems.add(FieldError { field, message, kind: "duplicate" });
            }
        }
        problems.finish()?;
        Ok(Self(given))
    }

    /// Takes the parameter of this name away, so that who reads the rest does not meet it.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// All that is left, as a `T`.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.0.iter().map(|(name, given)| (name, &given.value)));
        let query = query.finish();
        let reader = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        serde_path_to_error::deserialize(reader).map_err(|error| {
            let said = error.inner().to_string();
            let place = error.path().to_string();
            let problem = match self.0.get(&place) {
                Some(given) => given.refused(plain::told(&said, &plain::shown(&given.value))),
                None => FieldError::value(format!("query -> {place}"), plain::told(&said, "the value")),
            };
            ApiError::Invalid(vec![FieldError { kind: plain::kind_of(&said), ..problem }])
        })
    }
}

/// `created_at` of `createdAt`.
pub(super) fn snake_case(name: &str) -> String {
    let mut folded = String::with_capacity(name.len() + 2);
    for character in name.chars() {
        if character.is_ascii_uppercase() && !folded.is_empty() && !folded.ends_with('_') {
            folded.push('_');
        }
        folded.push(character.to_ascii_lowercase());
    }
    folded
}

/// Two parameters that bound a number, both ends included: each with its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) from: (&'static str, Option<f32>),
    pub(crate) to: (&'static str, Option<f32>),
    /// Between which numbers it makes sense to ask.
    pub(crate) within: (f32, f32),
}

impl Range {
    /// The two bounds, if they can bound anything.
    pub(crate) fn checked(self) -> Result<(Option<f32>, Option<f32>), ApiError> {
        let (least, most) = self.within;
        let mut problems = Problems::default();
        for (name, bound) in [self.from, self.to] {
            if let Some(bound) = bound.filter(|bound| !(least..=most).contains(bound)) {
                let message = format!("{name} is {bound}, it must be between {least} and {most}");
                problems.add(FieldError::value(format!("query -> {name}"), message));
            }
        }
        if let ((name, Some(from)), (upper, Some(to))) = (self.from, self.to)
            && from > to
        {
            let message = format!("{name} is {from}, which is above {upper}, {to}: nothing lies between");
            problems.add(FieldError::value(format!("query -> {name}"), message));
        }
        problems.finish()?;
        Ok((self.from.1, self.to.1))
    }
}

/// Reads an optional day of the years 1 to 9999, as ISO 8601 writes it.
pub(crate) fn day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NaiveDate>, D::Error> {
    let day: Option<NaiveDate> = Deserialize::deserialize(deserializer)?;
    match day {
        Some(day) if !(1..=9999).contains(&day.year()) => {
            Err(serde::de::Error::custom("the year must be between 0001 and 9999"))
        }
        day => Ok(day),
    }
}

/// Reads an optional word of a catalogue by the catalogue's own rules.
pub(crate) fn word<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    let word: Option<String> = Deserialize::deserialize(deserializer)?;
    word.map(|word| word.parse().map_err(serde::de::Error::custom)).transpose()
}

/// Reads any number of words of a catalogue, with commas between them. The parameter's schema has to be a list: then it may also be given
/// several times.
pub(crate) fn words<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: FromStr<Err: Display> + PartialEq,
    D: Deserializer<'de>,
{
    let given: String = Deserialize::deserialize(deserializer)?;
    let mut words = Vec::new();
    for word in given.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let word = word.parse().map_err(serde::de::Error::custom)?;
        if !words.contains(&word) {
            words.push(word);
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use domain::Severity;

    use super::*;
    use crate::words::SeverityWord;

    #[derive(Debug, Default, PartialEq, Deserialize, IntoParams)]
    struct Filter {
        #[serde(default, deserialize_with = "words")]
        #[param(inline, value_type = Option<Vec<SeverityWord>>)]
        severity: Vec<Severity>,
        cvss_min: Option<f32>,
        limit_to: Option<i32>,
        kev: Option<bool>,
        search: Option<String>,
        #[serde(default, deserialize_with = "day")]
        since: Option<NaiveDate>,
    }

    fn read(query: &str) -> Result<Filter, String> {
        let known = Known::all_of(Filter::into_params(|| None));
        match Given::read(query, &known, |_| None).and_then(|given| given.parse()) {
            Ok(filter) => Ok(filter),
            Err(ApiError::Invalid(errors)) => {
                Err(errors.into_iter().map(|error| format!("{}: {}", error.field, error.message)).collect())
            }
            Err(other) => panic!("{query}: {other}"),
        }
    }

    #[test]
    fn filters_are_read_each_by_its_own_rule() {
        let filter =
            read("severity=High&cvss_min=7.5&kev=true&search=a+b%26,c&since=2026-11-21").expect("valid");
        let expected = Filter {
            severity: vec![Severity::High],
            cvss_min: Some(7.5),
            kev: Some(true),
            search: Some("a b&,c".into()),
            since: NaiveDate::from_ymd_opt(2026, 11, 21),
            ..Filter::default()
        };
        assert_eq!(filter, expected);
    }

    #[test]
    fn several_values_are_repeated_or_joined_by_commas_in_any_case() {
        for query in
            ["severity=HIGH&severity=LOW", "severity=high,low", "severity=High,%20low,HIGH&severity=low"]
        {
            assert_eq!(read(query).expect(query).severity, [Severity::High, Severity::Low], "{query}");
        }
        assert_eq!(read("cvssMin=3&limitTo=-2").expect("camelCase").limit_to, Some(-2));
    }

    #[test]
    fn nothing_and_empty_values_mean_the_defaults() {
        for query in ["", "severity=&search=", "severity=,"] {
            assert_eq!(read(query).expect("valid"), Filter::default());
        }
    }

    #[test]
    fn a_range_has_bounds_that_make_sense() {
        let checked = |from, to| {
            Range { from: ("cvss_min", from), to: ("cvss_max", to), within: (0.0, 10.0) }.checked().is_ok()
        };
        assert!(checked(None, None) && checked(Some(0.0), Some(10.0)) && checked(Some(7.0), Some(7.0)));
        assert!(!checked(Some(-0.1), None));
        assert!(!checked(None, Some(10.1)));
        assert!(!checked(Some(8.0), Some(7.0)));
        assert!(!checked(Some(f32::NAN), None));
    }

    #[test]
    fn what_cannot_be_used_is_told_with_value_and_rule() {
        for (query, told) in [
            ("limit_to=two", "query -> limit_to: `two` is not a whole number"),
            ("limit_to=99999999999", "query -> limit_to: `99999999999` is too large"),
            ("severity=high,dire", "query -> severity: severity `dire` is not one of critical, high,"),
            ("cvss_min=high", "query -> cvss_min: `high` is not a number"),
            ("kev=maybe", "query -> kev: `maybe` is neither true nor false"),
            (
                "serverity=high",
                "query -> serverity: there is no parameter `serverity` here: there is cvss_min,",
            ),
            ("search=a&search=b", "query -> search: `search` is given more than once"),
            ("cvss_min=1&cvssMin=2", "query -> cvssMin: `cvssMin` says the same as `cvss_min`: send one"),
            ("since=-262143-01-01", "query -> since: `-262143-01-01` cannot be used: the year must be"),
            ("since=yesterday", "query -> since: `yesterday` is not a day or time that there is"),
            ("search=a%00", "query -> search: `a\\u0000` has the character U+0000 in it"),
        ] {
            let refused = read(query).expect_err(query);
            assert!(refused.starts_with(told), "{query}: {refused}");
        }
    }
}
