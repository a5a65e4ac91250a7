//! What stands behind the question mark.
//!
//! A parameter that the operation does not document is refused: a filter with a typo in its name would
//! otherwise be a filter that does nothing, and its answer would look like good news.

use std::{collections::BTreeSet, fmt::Display, str::FromStr};

use axum::{extract::FromRequestParts, http::request::Parts};
use chrono::{Datelike, NaiveDate};
use domain::page::{Direction, PageRequest};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use url::form_urlencoded;
use utoipa::{
    IntoParams, ToSchema,
    openapi::path::{Parameter, ParameterIn},
};

use crate::{
    error::{ApiError, FieldError, Problems},
    state::AppState,
};

const LARGEST_PAGE: u32 = 500;

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// Page number, counted from 1.
    #[param(minimum = 1, default = 1, example = 1)]
    page: Option<i32>,
    /// Items on a page.
    #[param(minimum = 1, maximum = 500, default = 50, example = 50)]
    page_size: Option<i32>,
}

impl PageParams {
    fn checked(&self) -> Result<PageRequest, ApiError> {
        let fallback = PageRequest::default();
        let number = |number: Option<i32>, fallback| match number {
            // What is below zero is as wrong as zero.
            Some(number) => u32::try_from(number).unwrap_or(0),
            None => fallback,
        };
        let request = PageRequest {
            page: number(self.page, fallback.page),
            size: number(self.page_size, fallback.size),
        };
        let mut problems = Problems::default();
        if request.page < 1 {
            let message = format!(
                "page is {}, pages are counted from 1: ask for page=1",
                self.page.unwrap_or_default()
            );
            problems.add(FieldError::value("query -> page", message));
        }
        if !(1..=LARGEST_PAGE).contains(&request.size) {
            let message = format!(
                "page_size is {}, it must be between 1 and {LARGEST_PAGE}: ask for {LARGEST_PAGE} at most and go on with page",
                self.page_size.unwrap_or_default()
            );
            problems.add(FieldError::value("query -> page_size", message));
        }
        problems.finish()?;
        Ok(request)
    }
}

/// The filter of a list that has none.
#[derive(Debug, Deserialize)]
pub(crate) struct Unfiltered {}

impl IntoParams for Unfiltered {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        Vec::new()
    }
}

/// Which way a list is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SortDirection {
    Asc,
    Desc,
}

impl From<SortDirection> for Direction {
    fn from(direction: SortDirection) -> Self {
        match direction {
            SortDirection::Asc => Self::Ascending,
            SortDirection::Desc => Self::Descending,
        }
    }
}

/// The direction that was asked for. Without one a named column ascends, and a list in its own order begins
/// with what matters most.
pub(crate) fn direction(asked: Option<SortDirection>, column_is_named: bool) -> Direction {
    match asked {
        Some(direction) => direction.into(),
        None if column_is_named => Direction::Ascending,
        None => Direction::Descending,
    }
}

/// A page of a list, filtered by `F`. The list's handler documents [`PageParams`] and `F`, and those are the
/// parameters taken.
#[derive(Debug)]
pub(crate) struct Listing<F> {
    pub(crate) page: PageRequest,
    pub(crate) filter: F,
}

impl<F: DeserializeOwned + IntoParams> FromRequestParts<AppState> for Listing<F> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        Self::read(parts.uri.query().unwrap_or_default())
    }
}

impl<F: DeserializeOwned + IntoParams> Listing<F> {
    fn read(query: &str) -> Result<Self, ApiError> {
        let known: BTreeSet<String> = PageParams::into_params(|| None)
            .into_iter()
            .chain(F::into_params(|| None))
            .map(|parameter| parameter.name)
            .collect();
        let given = given(query, &known)?;
        Ok(Self { page: parse::<PageParams>(&given)?.checked()?, filter: parse(&given)? })
    }
}

/// The parameters of an operation that is no list: its handler documents `F`, and those are the parameters taken.
#[derive(Debug)]
pub(crate) struct Query<F>(pub(crate) F);

impl<F: DeserializeOwned + IntoParams> FromRequestParts<AppState> for Query<F> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        let known = F::into_params(|| None).into_iter().map(|parameter| parameter.name).collect();
        Ok(Self(parse(&given(parts.uri.query().unwrap_or_default(), &known)?)?))
    }
}

/// The parameters that were given, encoded again: known, once each, and not empty.
fn given(query: &str, known: &BTreeSet<String>) -> Result<String, ApiError> {
    let (mut problems, mut seen) = (Problems::default(), BTreeSet::new());
    let mut given = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let field = format!("query -> {name}");
        if !known.contains(name.as_ref()) {
            let names: Vec<&str> = known.iter().map(String::as_str).collect();
            let message = format!("unknown parameter `{name}`, expected one of {}", names.join(", "));
            problems.add(FieldError { field, message, kind: "extra_forbidden" });
        } else if !seen.insert(name.clone().into_owned()) {
            let message = format!("`{name}` is given more than once: give it once");
            problems.add(FieldError { field, message, kind: "duplicate" });
        } else if value.contains('\0') {
            problems.add(FieldError::value(field, "must not contain the character U+0000: remove it"));
        } else if !value.is_empty() {
            given.append_pair(&name, &value);
        }
    }
    problems.finish()?;
    Ok(given.finish())
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    let reader = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let name = error.path().to_string();
        let value = form_urlencoded::parse(query.as_bytes())
            .find(|(given, _)| *given == name)
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default();
        let message = format!("`{value}` cannot be used for {name}: {}", error.inner());
        ApiError::Invalid(vec![FieldError::value(format!("query -> {name}"), message)])
    })
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

#[cfg(test)]
mod tests {
    use domain::Severity;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize, IntoParams)]
    struct Filter {
        #[serde(default, deserialize_with = "word")]
        #[param(value_type = Option<String>)]
        severity: Option<Severity>,
        cvss_min: Option<f32>,
        search: Option<String>,
        #[serde(default, deserialize_with = "day")]
        since: Option<NaiveDate>,
    }

    fn read(query: &str) -> Result<(PageRequest, Filter), String> {
        match Listing::<Filter>::read(query) {
            Ok(Listing { page, filter }) => Ok((page, filter)),
            Err(ApiError::Invalid(errors)) => {
                Err(errors.into_iter().map(|error| format!("{}: {}", error.field, error.message)).collect())
            }
            Err(other) => panic!("{query}: {other}"),
        }
    }

    #[test]
    fn filters_and_pages_are_read_together() {
        let (page, filter) =
            read("page=2&page_size=500&severity=High&cvss_min=7.5&search=a+b%26&since=2026-11-21")
                .expect("valid");
        assert_eq!(page, PageRequest { page: 2, size: 500 });
        let expected = Filter {
            severity: Some(Severity::High),
            cvss_min: Some(7.5),
            search: Some("a b&".into()),
            since: NaiveDate::from_ymd_opt(2026, 11, 21),
        };
        assert_eq!(filter, expected);
    }

    #[test]
    fn nothing_and_empty_values_mean_the_defaults() {
        for query in ["", "page=&severity=&search="] {
            let (page, filter) = read(query).expect("valid");
            assert_eq!(page, PageRequest { page: 1, size: 50 });
            assert_eq!(filter, Filter::default());
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
    fn a_list_without_filters_takes_pages_only() {
        assert_eq!(Listing::<Unfiltered>::read("page=3").expect("valid").page.page, 3);
        assert!(Listing::<Unfiltered>::read("status=open").is_err());
    }

    #[test]
    fn what_cannot_be_used_is_told_with_value_and_rule() {
        for (query, told) in [
            ("page=0", "query -> page: page is 0, pages are counted from 1"),
            ("page_size=501", "query -> page_size: page_size is 501, it must be between 1 and 500"),
            ("page_size=0", "query -> page_size: page_size is 0"),
            ("page=two", "query -> page: `two` cannot be used"),
            ("page=-1", "query -> page: page is -1, pages are counted from 1"),
            ("page_size=-7", "query -> page_size: page_size is -7"),
            ("page=99999999999", "query -> page: `99999999999` cannot be used"),
            (
                "severity=dire",
                "query -> severity: `dire` cannot be used for severity: severity `dire` is not one of",
            ),
            ("cvss_min=high", "query -> cvss_min: `high` cannot be used"),
            (
                "serverity=high",
                "query -> serverity: unknown parameter `serverity`, expected one of cvss_min, page,",
            ),
            ("search=a&search=b", "query -> search: `search` is given more than once"),
            (
                "since=-262143-01-01",
                "query -> since: `-262143-01-01` cannot be used for since: the year must be",
            ),
            ("since=yesterday", "query -> since: `yesterday` cannot be used"),
            ("search=%00", "query -> search: must not contain the character U+0000"),
        ] {
            let refused = read(query).expect_err(query);
            assert!(refused.starts_with(told), "{query}: {refused}");
        }
    }
}
