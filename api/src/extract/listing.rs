//! Which part of a list is wanted, in which order, and of which kind: one grammar, which reads every document's spelling on every path.
//!
//! | what | spellings |
//! |---|---|
//! | rows on a page | `page_size=20` (seed 000), `limit=20` (001, 002, 004), `per_page=20` (003) |
//! | where it begins | `page=3` (000, 003, 004), or rows before it: `skip=40` (001), `offset=40` (002) |
//! | order | `sort=created_at&sort_dir=desc` (000), `sort=-created_at` (003), `sort=createdAt:desc` (004); also `sort_by`, `sort_order`, `order` |
//! | several values of a filter | `severity=HIGH&severity=low`, `severity=high,low` (002 and 003 have lists in bodies) |
//!
//! Names may be in camelCase, words in any case. What is not in the list's declaration is refused with what is.
//!
//! A list is declared once: its filter is a struct with `IntoParams`, its orders are a [`SortKey`]. The handler takes
//! `Listing<Filter, Sort>`, documents `params(Listing<Filter, Sort>)`, and returns a [`Page`](crate::reply::Page).

use std::{collections::BTreeSet, fmt::Debug};

use axum::{extract::FromRequestParts, http::request::Parts};
use domain::page::{Direction, PageRequest};
use serde::de::DeserializeOwned;
use utoipa::{
    IntoParams,
    openapi::{
        KnownFormat, ObjectBuilder, RefOr, Required, Schema, SchemaFormat, Type,
        path::{Parameter, ParameterBuilder, ParameterIn},
    },
};

use super::query::{Given, Known, Unfiltered, Value, snake_case};
use crate::{
    dialect::Dialect,
    error::{ApiError, Problems},
    state::AppState,
};

/// Rows on a page, unless something else is asked for, and at most.
const USUAL_PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 500;
/// As seed 004 bounds `limit`.
const LARGEST_LIMIT: u32 = 200;

/// What a list can be sorted by.
pub(crate) trait SortKey: Debug + Copy + PartialEq + 'static {
    /// The words for it. Where two mean the same, the first is the usual one.
    const WORDS: &'static [(&'static str, Self)];
    /// How the list is sorted when nobody asks for anything.
    const UNASKED: (Self, Direction);
    /// What there is to say of it in the OpenAPI document, if more than which order is the usual one.
    const NOTE: &'static str = "";
}

/// The order of a list that has but one.
impl SortKey for () {
    const WORDS: &'static [(&'static str, Self)] = &[];
    const UNASKED: (Self, Direction) = ((), Direction::Ascending);
}

/// A page of a list, sorted by `K` and filtered by `F`.
#[derive(Debug)]
pub(crate) struct Listing<F = Unfiltered, K = ()> {
    pub(crate) page: PageRequest,
    pub(crate) order: (K, Direction),
    pub(crate) filter: F,
}

impl<F: DeserializeOwned + IntoParams, K: SortKey> FromRequestParts<AppState> for Listing<F, K> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        Self::read(Dialect::of(parts.uri.path()), parts.uri.query().unwrap_or_default())
    }
}

impl<F: DeserializeOwned + IntoParams, K: SortKey> Listing<F, K> {
    fn read(dialect: Dialect, query: &str) -> Result<Self, ApiError> {
        let mut known = Known::all_of(F::into_params(|| None));
        let own: BTreeSet<String> = known.keys().cloned().collect();
        let order: &[&str] = if K::WORDS.is_empty() { &[] } else { &["sort", "sort_dir"] };
        let common = ["page", "page_size", "offset"].iter().chain(order);
        known.extend(common.map(|name| ((*name).to_owned(), Known::default())));
        // Seeds 000 and 004 share a list, and each has a word of its own for the size of its pages: there, both may be sent.
        let has_both = dialect == Dialect::RimaeAndHarborguard;
        if has_both {
            known.insert("limit".to_owned(), Known::default());
        }
        let means = |word: &str| match word {
            "limit" if has_both => None,
            word if own.contains(word) => None,
            word => meaning(word),
        };
        let mut given = Given::read(query, &known, means)?;
        let mut problems = Problems::default();
        let page = page_of(dialect, &mut given, &mut problems);
        let order = order_of(dialect, &mut given, &mut problems);
        problems.finish()?;
        Ok(Self { page, order, filter: given.parse()? })
    }
}

/// What a document's word is another one for.
fn meaning(word: &str) -> Option<&'static str> {
    Some(match word {
        "per_page" | "limit" => "page_size",
        "skip" => "offset",
        "sort_by" => "sort",
        "sort_order" | "order" => "sort_dir",
        _ => return None,
    })
}

/// The page that is asked for.
fn page_of(dialect: Dialect, given: &mut Given, problems: &mut Problems) -> PageRequest {
    let mut number = |asked: Option<&Value>, least: u32, most: u32, remedy: &str| -> Option<u32> {
        let Value { name, value } = asked?;
        let number: i64 = match value.parse() {
            Ok(number) => number,
            Err(_) => {
                let message = format!("{name} is `{value}`, it must be a whole number: {remedy}");
                problems.add(asked?.refused(message));
                return None;
            }
        };
        let within = number.clamp(i64::from(least), i64::from(most));
        if within != number && dialect.refuses_impossible_pages() {
            let message = format!("{name} is {number}, it must be between {least} and {most}: {remedy}");
            problems.add(asked?.refused(message));
        }
        u32::try_from(within).ok()
    };
    let (size, page, offset) = (given.take("page_size"), given.take("page"), given.take("offset"));
    let mut rows = |asked: Option<&Value>, most: u32| {
        number(asked, 1, most, &format!("ask for {most} at most and go on with the next page"))
    };
    let (size, limit) =
        (rows(size.as_ref(), LARGEST_PAGE), rows(given.take("limit").as_ref(), LARGEST_LIMIT));
    let rows = size.or(limit).unwrap_or(USUAL_PAGE);
    // Pages end where Postgres's numbers do, far behind every list.
    let furthest = u32::try_from(i32::MAX).unwrap_or(u32::MAX);
    let start = number(offset.as_ref(), 0, furthest, "it counts the rows before the first one wanted");
    let page_number = number(page.as_ref(), 1, furthest, "pages are counted from 1");
    match (start, page_number, page, offset) {
        (Some(_), Some(_), Some(page), Some(offset)) => {
            let message = format!(
                "`{}` says where to begin, and so does `{}`: send one of them",
                offset.name, page.name
            );
            problems.add(offset.refused(message));
            PageRequest::default()
        }
        (Some(start), ..) => PageRequest { start: start.into(), size: rows },
        (None, page, ..) => PageRequest::numbered(page.unwrap_or(1), rows),
    }
}

/// The order that is asked for. Of a column that is named without a direction: ascending. Without a column: the list's own order, either way.
fn order_of<K: SortKey>(dialect: Dialect, given: &mut Given, problems: &mut Problems) -> (K, Direction) {
    let (sort, dir) = (given.take("sort"), given.take("sort_dir"));
    let (key, unasked) = K::UNASKED;
    let mut asked_dir = dir.as_ref().and_then(|dir| {
        let direction = direction_of(&dir.value);
        if direction.is_none() {
            problems.add(dir.refused(format!("`{}` is no direction: it is asc or desc", dir.value)));
        }
        direction
    });
    let Some(sort) = sort else { return (key, asked_dir.unwrap_or(unasked)) };
    let (word, own_dir) = match (sort.value.strip_prefix('-'), sort.value.rsplit_once(':')) {
        (Some(word), _) => (word, Some(Direction::Descending)),
        (None, Some((word, dir))) => {
            let direction = direction_of(dir);
            if direction.is_none() {
                problems.add(
                    sort.refused(format!("`{dir}` in `{}` is no direction: it is asc or desc", sort.value)),
                );
            }
            (word, direction)
        }
        (None, None) => (sort.value.strip_prefix('+').unwrap_or(&sort.value), None),
    };
    if let (Some(own), Some(asked), Some(dir)) = (own_dir, asked_dir, &dir)
        && own != asked
    {
        let message =
            format!("`{}` is another direction than that of `{}`: send one of them", dir.value, sort.value);
        problems.add(dir.refused(message));
    }
    asked_dir = own_dir.or(asked_dir);
    let folded = snake_case(word);
    let found = K::WORDS.iter().find(|(known, _)| *known == folded);
    if found.is_none() && !dialect.forgives_unknown_orders() {
        let words: Vec<&str> = K::WORDS.iter().map(|(word, _)| *word).collect();
        let message =
            format!("the list cannot be sorted by `{}`: it can by {}", sort.value, words.join(", "));
        problems.add(sort.refused(message));
    }
    match found {
        Some((_, key)) => (*key, asked_dir.unwrap_or(Direction::Ascending)),
        None => K::UNASKED,
    }
}

fn direction_of(word: &str) -> Option<Direction> {
    match word.to_ascii_lowercase().as_str() {
        "asc" => Some(Direction::Ascending),
        "desc" => Some(Direction::Descending),
        _ => None,
    }
}

/// What the OpenAPI document says of a list: in the words of seed 000, which [`respell`] changes where the path is another document's.
impl<F: IntoParams, K: SortKey> IntoParams for Listing<F, K> {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut parameters = vec![page_number(), page_size("page_size", LARGEST_PAGE, "Items on a page.")];
        parameters.extend(F::into_params(place));
        if !K::WORDS.is_empty() {
            parameters.extend([sort::<K>(), sort_dir::<K>()]);
        }
        parameters
    }
}

/// Rewrites what [`Listing`] says of an operation in the words of `dialect`.
pub(crate) fn respell(parameters: &mut Vec<RefOr<Parameter>>, dialect: Dialect) {
    let is_there = |name: &str| parameters.iter().any(|parameter| name_of(parameter) == name);
    if !is_there("page") || !is_there("page_size") {
        return;
    }
    let (begin, size) = dialect.page_words();
    for parameter in parameters.iter_mut() {
        let RefOr::T(parameter) = parameter else { continue };
        match parameter.name.as_str() {
            "page" if begin != "page" => *parameter = rows_before(begin),
            "page_size" if size == "limit" => {
                *parameter = page_size(size, LARGEST_PAGE, "At most so many items.");
            }
            "page_size" if size != "page_size" => {
                *parameter = page_size(size, LARGEST_PAGE, "Items on a page.");
            }
            "sort" if dialect == Dialect::Infracast => signed(parameter),
            _ => {}
        }
    }
    match dialect {
        Dialect::Infracast => parameters.retain(|parameter| name_of(parameter) != "sort_dir"),
        Dialect::RimaeAndHarborguard => {
            let what = "At most so many items. `page_size` counts where both are sent.";
            parameters.push(page_size("limit", LARGEST_LIMIT, what).into());
        }
        _ => {}
    }
}

fn name_of(parameter: &RefOr<Parameter>) -> &str {
    match parameter {
        RefOr::T(parameter) => &parameter.name,
        RefOr::Ref(_) => "",
    }
}

fn page_number() -> Parameter {
    counted("page", 1, "Page number, counted from 1.")
}

fn rows_before(name: &str) -> Parameter {
    counted(name, 0, "Items before the first one wanted.")
}

fn page_size(name: &str, most: u32, what: &str) -> Parameter {
    let schema = integer().minimum(Some(1)).maximum(Some(most)).default(Some(USUAL_PAGE.into()));
    in_query(name, what).schema(Some(schema.build())).example(Some(USUAL_PAGE.into())).build()
}

fn counted(name: &str, least: u32, what: &str) -> Parameter {
    let schema = integer().minimum(Some(least)).maximum(Some(i32::MAX)).default(Some(least.into()));
    in_query(name, what).schema(Some(schema.build())).example(Some(least.into())).build()
}

fn integer() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
}

fn in_query(name: &str, what: &str) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(what))
}

fn words(words: impl IntoIterator<Item = String>) -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words.into_iter().collect::<Vec<_>>()))
        .into()
}

fn sort<K: SortKey>() -> Parameter {
    let usual = K::WORDS.iter().find(|(_, key)| *key == K::UNASKED.0).map_or("", |(word, _)| word);
    let what = format!("`{usual}` unless something else is asked for. {}", K::NOTE);
    let keys = K::WORDS.iter().map(|(word, _)| (*word).to_owned());
    in_query("sort", what.trim_end()).schema(Some(words(keys))).build()
}

fn sort_dir<K: SortKey>() -> Parameter {
    let what = match K::UNASKED.1 {
        Direction::Ascending => "`asc` unless something else is asked for.",
        Direction::Descending => "`asc` when `sort` is given, otherwise `desc`.",
    };
    in_query("sort_dir", what).schema(Some(words(["asc", "desc"].map(str::to_owned)))).build()
}

/// The words of `sort`, each with and without the sign of its direction.
fn signed(sort: &mut Parameter) {
    if let Some(RefOr::T(Schema::Object(object))) = &mut sort.schema {
        let keys = object.enum_values.take().unwrap_or_default();
        let both =
            keys.iter().filter_map(|key| key.as_str()).flat_map(|key| [key.to_owned(), format!("-{key}")]);
        sort.schema = Some(words(both).into());
    }
    let what = sort.description.get_or_insert_default();
    what.push_str(" Descending with `-` before it.");
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum By {
        Created,
        Type,
    }

    impl SortKey for By {
        const WORDS: &'static [(&'static str, Self)] =
            &[("created_at", Self::Created), ("report_type", Self::Type), ("type", Self::Type)];
        const UNASKED: (Self, Direction) = (Self::Created, Direction::Descending);
    }

    #[derive(Debug, PartialEq, Deserialize, IntoParams)]
    struct Filter {
        search: Option<String>,
    }

    type Reports = Listing<Filter, By>;

    fn read(dialect: Dialect, query: &str) -> Result<Reports, String> {
        Reports::read(dialect, query).map_err(|error| match error {
            ApiError::Invalid(errors) => {
                errors.into_iter().map(|error| format!("{}: {}", error.field, error.message)).collect()
            }
            other => panic!("{query}: {other}"),
        })
    }

    #[test]
    fn every_documents_spelling_of_a_page_is_read_on_every_path() {
        for (query, start, size) in [
            ("", 0, 50),
            ("page=3&page_size=20", 40, 20),
            ("page=3&pageSize=20", 40, 20),
            ("page=3&limit=20", 40, 20),
            ("page=3&per_page=20", 40, 20),
            ("per_page=20", 0, 20),
            ("skip=30&limit=20", 30, 20),
            ("offset=30&limit=20", 30, 20),
            ("offset=7", 7, 50),
            ("page=2147483647&page_size=200", 2_147_483_646 * 200, 200),
        ] {
            for dialect in [
                Dialect::Rimae,
                Dialect::Cis,
                Dialect::Breakwater,
                Dialect::Infracast,
                Dialect::RimaeAndHarborguard,
            ] {
                let page = read(dialect, query).expect(query).page;
                assert_eq!(page, PageRequest { start, size }, "{query}");
            }
        }
    }

    #[test]
    fn every_documents_spelling_of_an_order_is_read_on_every_path() {
        use Direction::{Ascending, Descending};
        for (query, order) in [
            ("", (By::Created, Descending)),
            ("sort_dir=asc", (By::Created, Ascending)),
            ("sort=created_at", (By::Created, Ascending)),
            ("sort=created_at&sort_dir=desc", (By::Created, Descending)),
            ("sort=-created_at", (By::Created, Descending)),
            ("sort=-created_at&sort_dir=desc", (By::Created, Descending)),
            ("sort=createdAt", (By::Created, Ascending)),
            ("sort=createdAt:desc", (By::Created, Descending)),
            ("sort=-createdAt", (By::Created, Descending)),
            ("sort_by=createdAt&sort_order=DESC", (By::Created, Descending)),
            ("sortBy=created_at&order=desc", (By::Created, Descending)),
            ("sort=type:asc", (By::Type, Ascending)),
            ("sort=reportType", (By::Type, Ascending)),
        ] {
            assert_eq!(read(Dialect::Rimae, query).expect(query).order, order, "{query}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_value_and_rule() {
        for (query, told) in [
            (
                "page=0",
                "query -> page: page is 0, it must be between 1 and 2147483647: pages are counted from 1",
            ),
            ("page=-1", "query -> page: page is -1, it must be between 1"),
            ("page=two", "query -> page: page is `two`, it must be a whole number"),
            (
                "page_size=501",
                "query -> page_size: page_size is 501, it must be between 1 and 500: ask for 500",
            ),
            ("perPage=0", "query -> perPage: perPage is 0, it must be between 1 and 500"),
            ("limit=10&page_size=20", "query -> page_size: `page_size` says the same as `limit`: send one"),
            ("offset=10&page=2", "query -> offset: `offset` says where to begin, and so does `page`"),
            ("page=1&page=2", "query -> page: `page` is given more than once"),
            (
                "sort=nothing",
                "query -> sort: the list cannot be sorted by `nothing`: it can by created_at, report_type",
            ),
            ("sort=created_at:up", "query -> sort: `up` in `created_at:up` is no direction"),
            ("sort_dir=up", "query -> sort_dir: `up` is no direction: it is asc or desc"),
            ("sort=-type&order=asc", "query -> order: `asc` is another direction than that of `-type`"),
            ("status=open", "query -> status: there is no parameter `status` here: there is offset, page,"),
        ] {
            let refused = read(Dialect::Rimae, query).expect_err(query);
            assert!(refused.starts_with(told), "{query}: {refused}");
        }
        assert!(Listing::<Unfiltered>::read(Dialect::Rimae, "sort=created_at").is_err(), "it has no orders");
    }

    #[test]
    fn documents_that_name_no_bounds_get_the_nearest_page_that_there_can_be() {
        let page = read(Dialect::Infracast, "page=0&per_page=10000").expect("taken").page;
        assert_eq!(page, PageRequest { start: 0, size: 500 });
        assert_eq!(read(Dialect::Breakwater, "offset=-5").expect("taken").page.start, 0);
        let refused = read(Dialect::RimaeAndHarborguard, "limit=201").expect_err("seed 004 bounds it");
        assert!(refused.contains("between 1 and 200"), "{refused}");
        assert_eq!(read(Dialect::RimaeAndHarborguard, "page_size=500").expect("seed 000").page.size, 500);
        let both =
            read(Dialect::RimaeAndHarborguard, "limit=10&page_size=20").expect("one list of two documents");
        assert_eq!(both.page.size, 20);
        let unknown =
            read(Dialect::RimaeAndHarborguard, "sort=nothing&sort_dir=asc").expect("seed 004 forgives");
        assert_eq!(unknown.order, By::UNASKED);
    }

    #[test]
    fn a_list_is_documented_in_the_words_of_its_path() {
        let words = |dialect| {
            let mut parameters = Reports::into_params(|| None).into_iter().map(RefOr::T).collect();
            respell(&mut parameters, dialect);
            parameters.iter().map(|parameter| name_of(parameter).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(words(Dialect::Rimae), ["page", "page_size", "search", "sort", "sort_dir"]);
        assert_eq!(words(Dialect::Cis), ["skip", "limit", "search", "sort", "sort_dir"]);
        assert_eq!(words(Dialect::Breakwater), ["offset", "limit", "search", "sort", "sort_dir"]);
        assert_eq!(words(Dialect::Infracast), ["page", "per_page", "search", "sort"]);
        let both = ["page", "page_size", "search", "sort", "sort_dir", "limit"];
        assert_eq!(words(Dialect::RimaeAndHarborguard), both);
    }
}
