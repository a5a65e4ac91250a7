//! A page of a list, and how each document writes one: [`Dialect`] has the table.

use axum::{
    Extension, Json,
    http::Uri,
    response::{IntoResponse, Response},
};
use domain::page::{self, PageRequest};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use url::form_urlencoded;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::{dialect::Dialect, error::ApiError};

/// A page of a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The items of this page.
    pub(crate) data: Vec<T>,
    /// Items on all pages together.
    #[schema(minimum = 0, example = 1)]
    total: i64,
    /// Counted from 1.
    #[schema(minimum = 1, example = 1)]
    page: u64,
    /// Items on a full page.
    #[schema(minimum = 1, maximum = 500, example = 50)]
    page_size: u32,
    /// `total` in pages of `page_size`; 0 when there is nothing.
    #[schema(minimum = 0, example = 1)]
    total_pages: i64,
    #[serde(skip)]
    #[schema(ignore)]
    offset: u64,
}

impl<T> Page<T> {
    /// The rows of `page`, each as a `T`.
    pub(crate) fn of<R: Into<T>>(page: page::Page<R>) -> Self {
        let total_pages = page.total_pages();
        let PageRequest { start: offset, size: page_size } = page.request;
        let data = page.items.into_iter().map(Into::into).collect();
        Self { data, total: page.total, page: page.request.page(), page_size, total_pages, offset }
    }
}

impl<T: Serialize> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        let written: Result<Vec<_>, _> = self.data.iter().map(to_raw_value).collect();
        match written {
            Ok(data) => {
                let Self { total, page, page_size, total_pages, offset, .. } = self;
                let page = Page { data, total, page, page_size, total_pages, offset };
                (Extension(Listed(page.clone())), Json(page)).into_response()
            }
            Err(error) => ApiError::Internal(error.into()).into_response(),
        }
    }
}

/// A page that an answer has, whatever it is written as.
#[derive(Debug, Clone)]
pub(crate) struct Listed(Page<Box<RawValue>>);

impl Listed {
    /// As `dialect` writes it, for who asked at `address`.
    pub(crate) fn body(self, dialect: Dialect, address: &Uri) -> Vec<u8> {
        let Page { data, total, page, page_size, total_pages, offset } = self.0;
        let body = match dialect {
            Dialect::Rimae => serde_json::to_vec(&Page { data, total, page, page_size, total_pages, offset }),
            Dialect::Cis => serde_json::to_vec(&Items { items: data, total }),
            Dialect::Breakwater => {
                serde_json::to_vec(&Slice { reports: data, total, limit: page_size, offset })
            }
            Dialect::Infracast => {
                serde_json::to_vec(&ItemPage { items: data, total, page, per_page: page_size, total_pages })
            }
            Dialect::RimaeAndHarborguard => {
                let last = u64::try_from(total_pages).unwrap_or(0);
                let (has_next, has_prev) = (page < last, page > 1);
                let links = Links {
                    this: address.path_and_query().map_or_else(String::new, ToString::to_string),
                    next: has_next.then(|| numbered(address, page + 1)),
                    prev: has_prev.then(|| numbered(address, page - 1)),
                };
                let meta = Meta { page, page_size, total, total_pages, has_next, has_prev };
                serde_json::to_vec(&LinkedPage { data, total, page, page_size, total_pages, meta, links })
            }
        };
        body.expect("numbers, texts and what was written as JSON before can be written as JSON")
    }
}

/// `address` with the number of another page.
fn numbered(address: &Uri, page: u64) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let given = form_urlencoded::parse(address.query().unwrap_or_default().as_bytes());
    query.extend_pairs(given.filter(|(name, _)| !["page", "offset", "skip"].contains(&name.as_ref())));
    query.append_pair("page", &page.to_string());
    format!("{}?{}", address.path(), query.finish())
}

// Seed 001.
/// The items of a list, and how many there are.
#[derive(Serialize, ToSchema)]
struct Items<T> {
    /// The items that were asked for.
    items: Vec<T>,
    /// Items in all.
    #[schema(minimum = 0, example = 1)]
    total: i64,
}

// Seed 002.
/// Reports out of a list.
#[derive(Serialize, ToSchema)]
struct Slice<T> {
    /// The reports that were asked for.
    reports: Vec<T>,
    /// Reports in all.
    #[schema(minimum = 0, example = 1)]
    total: i64,
    /// At most so many are in `reports`.
    #[schema(minimum = 1, maximum = 500, example = 50)]
    limit: u32,
    /// So many come before the first of them.
    #[schema(minimum = 0, example = 0)]
    offset: u64,
}

// Seed 003.
/// A page of a list.
#[derive(Serialize, ToSchema)]
struct ItemPage<T> {
    /// The items of this page.
    items: Vec<T>,
    /// Items on all pages together.
    #[schema(minimum = 0, example = 1)]
    total: i64,
    /// Counted from 1.
    #[schema(minimum = 1, example = 1)]
    page: u64,
    /// Items on a full page.
    #[schema(minimum = 1, maximum = 500, example = 50)]
    per_page: u32,
    /// `total` in pages of `per_page`; 0 when there is nothing.
    #[schema(minimum = 0, example = 1)]
    total_pages: i64,
}

// Seeds 000 and 004: what either writes.
/// A page of a list, and where those beside it are.
#[derive(Serialize, ToSchema)]
struct LinkedPage<T> {
    /// The items of this page.
    data: Vec<T>,
    /// Items on all pages together.
    #[schema(minimum = 0, example = 1)]
    total: i64,
    /// Counted from 1.
    #[schema(minimum = 1, example = 1)]
    page: u64,
    /// Items on a full page.
    #[schema(minimum = 1, maximum = 500, example = 50)]
    page_size: u32,
    /// `total` in pages of `page_size`; 0 when there is nothing.
    #[schema(minimum = 0, example = 1)]
    total_pages: i64,
    #[schema(inline)]
    meta: Meta,
    #[schema(inline)]
    links: Links,
}

/// The numbers once more, in camelCase.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[schema(minimum = 1, example = 1)]
    page: u64,
    #[schema(minimum = 1, maximum = 500, example = 50)]
    page_size: u32,
    #[schema(minimum = 0, example = 1)]
    total: i64,
    #[schema(minimum = 0, example = 1)]
    total_pages: i64,
    /// There is a page after this one.
    #[schema(example = false)]
    has_next: bool,
    /// There is a page before this one.
    #[schema(example = false)]
    has_prev: bool,
}

/// Where this page and those beside it are.
#[derive(Serialize, ToSchema)]
struct Links {
    /// As it was asked for.
    #[serde(rename = "self")]
    #[schema(example = "/api/reports?page=1")]
    this: String,
    /// Null: this is the last page.
    #[schema(example = json!(null))]
    next: Option<String>,
    /// Null: this is the first page.
    #[schema(example = json!(null))]
    prev: Option<String>,
}

/// What the OpenAPI document calls a dialect's pages, its schema of one, and which member of it has the items; none for those of seed 000,
/// which are [`Page`] itself.
pub(crate) fn schema_of(dialect: Dialect) -> Option<(&'static str, RefOr<Schema>, &'static str)> {
    type Anything = serde_json::Value;
    match dialect {
        Dialect::Rimae => None,
        Dialect::Cis => Some(("Items", Items::<Anything>::schema(), "items")),
        Dialect::Breakwater => Some(("Slice", Slice::<Anything>::schema(), "reports")),
        Dialect::Infracast => Some(("ItemPage", ItemPage::<Anything>::schema(), "items")),
        Dialect::RimaeAndHarborguard => Some(("LinkedPage", LinkedPage::<Anything>::schema(), "data")),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::{Value, json};

    use super::*;

    /// Rows 50 to 99 of 130, of which two are shown, as `dialect` writes it.
    fn written(dialect: Dialect, address: &'static str) -> Value {
        let page = page::Page::new(vec![1, 2], 130, PageRequest::numbered(2, 50));
        let mut response = Page::<i32>::of(page).into_response();
        let listed: Listed = response.extensions_mut().remove().expect("it brings its page along");
        serde_json::from_slice(&listed.body(dialect, &Uri::from_static(address))).expect("JSON")
    }

    #[test]
    fn each_document_writes_the_same_page_in_its_own_words() {
        let own = json!({ "data": [1, 2], "total": 130, "page": 2, "page_size": 50, "total_pages": 3 });
        assert_eq!(written(Dialect::Rimae, "/"), own);
        assert_eq!(written(Dialect::Cis, "/"), json!({ "items": [1, 2], "total": 130 }));
        let slice = json!({ "reports": [1, 2], "total": 130, "limit": 50, "offset": 50 });
        assert_eq!(written(Dialect::Breakwater, "/"), slice);
        let items = json!({ "items": [1, 2], "total": 130, "page": 2, "per_page": 50, "total_pages": 3 });
        assert_eq!(written(Dialect::Infracast, "/"), items);
        let both =
            written(Dialect::RimaeAndHarborguard, "/api/reports?page=2&status=failed&sort=-created_at");
        for (name, value) in own.as_object().expect("an object") {
            assert_eq!(&both[name], value, "{name}");
        }
        let meta = json!({ "page": 2, "pageSize": 50, "total": 130, "totalPages": 3, "hasNext": true, "hasPrev": true });
        assert_eq!(both["meta"], meta);
        let links = json!({
            "self": "/api/reports?page=2&status=failed&sort=-created_at",
            "next": "/api/reports?status=failed&sort=-created_at&page=3",
            "prev": "/api/reports?status=failed&sort=-created_at&page=1",
        });
        assert_eq!(both["links"], links);
    }

    #[tokio::test]
    async fn a_page_is_that_of_seed_000_unless_the_path_asks_for_another() {
        let page = page::Page::new(vec![7], 1, PageRequest::default());
        let body = to_bytes(Page::<i32>::of(page).into_response().into_body(), 1000).await.expect("a body");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body, json!({ "data": [7], "total": 1, "page": 1, "page_size": 50, "total_pages": 1 }));
    }
}
