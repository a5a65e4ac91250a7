//! Whose document a path is from: five of them describe this API, and each writes refusals and lists in its own way.
//!
//! | paths | document | a refusal | a page of a list | it is asked for with |
//! |---|---|---|---|---|
//! | `/api/v1/compliance` | seed 001 | `{detail, status, code}` | `{items, total}` | `skip`, `limit` |
//! | the rest of `/api/v1/reports` | seed 002 | `{error: {code, message, details}}` | `{reports, total, limit, offset}` | `offset`, `limit` |
//! | `/api/v1/reports/verify`, the rest of `/api/v1` | seed 003 | `{error: {code, message, details}}` | `{items, total, page, per_page, total_pages}` | `page`, `per_page` |
//! | `/api/reports` | seeds 000 and 004 | `{detail, error: {code, message, issues}}` | `{data, total, page, page_size, total_pages, meta, links}` | `page`, `page_size` or `limit` |
//! | all others | seed 000 | `{detail}` | `{data, total, page, page_size, total_pages}` | `page`, `page_size` |
//!
//! A handler knows nothing of it. It takes a [`Listing`](crate::extract::Listing), which reads every document's words on every path, and
//! returns a [`Page`](crate::reply::Page) or an [`ApiError`](crate::error::ApiError). Both leave in the last of these shapes and bring what
//! they are along; [`write`] writes them anew where the path asks for another. The OpenAPI document follows in the same way
//! ([`crate::openapi`]): an endpoint of any of the documents is `Listing`, `Page` and its path.

use axum::{
    body::HttpBody,
    extract::Request,
    http::{HeaderValue, header},
    middleware::Next,
    response::Response,
};

use crate::{error::shape::Refusal, reply::Listed};

/// One of the documents, or two of them where they share paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Seed 000.
    Rimae,
    /// Seed 001.
    Cis,
    /// Seed 002.
    Breakwater,
    /// Seed 003.
    Infracast,
    /// Seeds 000 and 004, for the paths that both have.
    RimaeAndHarborguard,
}

impl Dialect {
    /// That of the document that `path` is from.
    pub(crate) fn of(path: &str) -> Self {
        let under = |prefix| {
            path.strip_prefix(prefix).is_some_and(|rest: &str| rest.is_empty() || rest.starts_with('/'))
        };
        match path {
            _ if under("/api/v1/compliance") => Self::Cis,
            _ if under("/api/v1/reports/verify") => Self::Infracast,
            _ if under("/api/v1/reports") => Self::Breakwater,
            _ if under("/api/v1") => Self::Infracast,
            _ if under("/api/reports") => Self::RimaeAndHarborguard,
            _ => Self::Rimae,
        }
    }

    /// What it calls the number of a page, or of the rows before it; and the number of rows on a page.
    pub(crate) fn page_words(self) -> (&'static str, &'static str) {
        match self {
            Self::Rimae | Self::RimaeAndHarborguard => ("page", "page_size"),
            Self::Cis => ("skip", "limit"),
            Self::Breakwater => ("offset", "limit"),
            Self::Infracast => ("page", "per_page"),
        }
    }

    /// Whether a page that cannot be is refused, as seeds 000 and 004 have it. The others name no bounds: there it is the nearest that can be.
    pub(crate) fn refuses_impossible_pages(self) -> bool {
        matches!(self, Self::Rimae | Self::RimaeAndHarborguard)
    }

    /// Whether a list that cannot be sorted as it is asked for comes in its usual order, as seed 004 has it. Elsewhere that is refused: a word
    /// that is mistyped would pass unnoticed.
    pub(crate) fn forgives_unknown_orders(self) -> bool {
        self == Self::RimaeAndHarborguard
    }
}

/// Writes what a handler answers as the document of its path does.
pub(crate) async fn write(request: Request, next: Next) -> Response {
    let address = request.uri().clone();
    let dialect = Dialect::of(address.path());
    let mut response = next.run(request).await;
    if dialect == Dialect::Rimae {
        return response;
    }
    let extensions = response.extensions_mut();
    let body = match (extensions.remove::<Refusal>(), extensions.remove::<Listed>()) {
        (Some(refusal), _) => refusal.body(dialect, response.status()),
        (None, Some(listed)) => listed.body(dialect, &address),
        (None, None) => return response,
    };
    let (mut parts, sent) = response.into_parts();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    // A HEAD is answered with what a GET would say of its body.
    let body = if sent.size_hint().exact() == Some(0) { Vec::new() } else { body };
    Response::from_parts(parts, body.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_whose_it_is() {
        for (path, dialect) in [
            ("/api/v1/compliance/policies", Dialect::Cis),
            ("/api/v1/reports/generate", Dialect::Breakwater),
            ("/api/v1/reports/verify", Dialect::Infracast),
            ("/api/v1/tenants/acme-corp/reports", Dialect::Infracast),
            ("/api/reports", Dialect::RimaeAndHarborguard),
            ("/api/reports/1/share", Dialect::RimaeAndHarborguard),
        ] {
            assert_eq!(Dialect::of(path), dialect, "{path}");
        }
        for path in ["/api/compliance-policies", "/api/reports-of-others", "/health", "/api/v10"] {
            assert_eq!(Dialect::of(path), Dialect::Rimae, "{path}");
        }
    }
}
