//! Not sending again what the client has: entity tags and `If-None-Match` (RFC 9110, sections 8.8.3 and 13.1.2).
//!
//! For what seldom changes: files, which are named by their digest, and [`CATALOGUES`], which change with a release.
//! Everything else is `no-store`: it is somebody's, and it changes.

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};
use sha2::{Digest, Sha256};

use crate::{error::ApiError, layers::REPR_DIGEST};

/// Paths whose answers are the same for everybody until the next release.
const CATALOGUES: &[&str] = &["/api/openapi.json", "/api/reports/report-types"];

/// The longest catalogue, bytes.
const LONGEST: usize = 16 << 20;

/// Kept by whoever asked, and asked for again each time.
const KEPT: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Gives catalogues and files a tag, and answers 304 to whoever shows it.
pub(crate) async fn revalidate(request: Request, next: Next) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    // A HEAD has no body to make a tag of: it is answered as the GET, whose body axum takes away.
    let is_catalogue = is_read && CATALOGUES.contains(&request.uri().path());
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let mut response = next.run(request).await;
    if !is_read || response.status() != StatusCode::OK {
        return response;
    }
    if is_catalogue {
        response = match tagged(response).await {
            Ok(response) => response,
            Err(error) => return axum::response::IntoResponse::into_response(error),
        };
    }
    let headers = response.headers_mut();
    if let Some(tag) = headers.get(REPR_DIGEST).and_then(tag_of_digest) {
        headers.entry(header::ETAG).or_insert(tag);
    }
    let Some(tag) = headers.get(header::ETAG).cloned() else { return response };
    headers.entry(header::CACHE_CONTROL).or_insert(KEPT);
    if known.is_some_and(|known| names(&known, &tag)) {
        return not_modified(response);
    }
    response
}

/// The answer with a weak tag, since it may yet be compressed.
async fn tagged(response: Response) -> Result<Response, ApiError> {
    let (mut parts, body) = response.into_parts();
    let bytes = to_bytes(body, LONGEST).await.map_err(anyhow::Error::from)?;
    let tag = format!("W/\"{}\"", hex::encode(&Sha256::digest(&bytes)[..16]));
    parts.headers.insert(header::ETAG, HeaderValue::try_from(tag).map_err(anyhow::Error::from)?);
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

/// `"…"` of `sha-256=:…:`.
fn tag_of_digest(digest: &HeaderValue) -> Option<HeaderValue> {
    let digest = digest.to_str().ok()?.split(':').nth(1)?;
    HeaderValue::try_from(format!("\"{digest}\"")).ok()
}

/// Whether a list of tags names this one, whichever of them are weak.
fn names(known: &HeaderValue, tag: &HeaderValue) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let (Ok(known), Ok(tag)) = (known.to_str(), tag.to_str()) else { return false };
    known.split(',').any(|one| one.trim() == "*" || opaque(one) == opaque(tag))
}

/// 304 with the headers that a 200 would have had for whoever keeps the answer (RFC 9110, section 15.4.5).
fn not_modified(response: Response) -> Response {
    let kept = [header::ETAG, header::CACHE_CONTROL, header::VARY, header::EXPIRES, header::CONTENT_LOCATION];
    let headers: HeaderMap = kept
        .into_iter()
        .filter_map(|name| Some((name.clone(), response.headers().get(&name)?.clone())))
        .collect();
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NOT_MODIFIED;
    *answer.headers_mut() = headers;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_the_tags_that_are_known_will_do() {
        let names = |known: &'static str| {
            names(&HeaderValue::from_static(known), &HeaderValue::from_static("W/\"abc\""))
        };
        assert!(names("W/\"abc\"") && names("\"abc\"") && names("\"x\", W/\"abc\"") && names("*"));
        assert!(!names("\"ab\"") && !names("") && !names("abc"));
    }

    #[test]
    fn the_tag_of_a_file_is_its_digest() {
        let tag = tag_of_digest(&HeaderValue::from_static("sha-256=:q83v:"));
        assert_eq!(tag, Some(HeaderValue::from_static("\"q83v\"")));
    }
}
