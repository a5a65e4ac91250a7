//! Reading a body, but no more of it than is wanted. How fast it has to come is [`super::pace`]'s.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::pace::TooSlow;
use crate::error::ApiError;

/// How much of a body that is too long is still read and thrown away, so that the client gets to read the
/// answer instead of a broken connection (RFC 9112, section 9.6), and for how long.
const DISCARDED: u64 = 1 << 30;
pub(super) const DISCARDING: Duration = Duration::from_secs(20);

/// `body`, unless its headers say that it is longer than `limit` bytes, or compressed.
pub(super) async fn admit(headers: &HeaderMap, body: Body, limit: usize) -> Result<Body, ApiError> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(ApiError::UnsupportedMediaType(
            "Content-Encoding is not supported: send the body uncompressed".into(),
        ));
    }
    if announced(headers).is_some_and(|announced| announced > limit) {
        // Who asked whether to go on (RFC 9110, section 10.1.1) has not begun to send.
        if !headers.contains_key(header::EXPECT) {
            discard(body).await;
        }
        return Err(ApiError::TooLarge(limit));
    }
    Ok(body)
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok())
}

/// The whole of `body`, if it is not longer than `limit` bytes. Memory is taken only for what has come.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let mut body = admit(headers, body, limit).await?;
    let mut read = Vec::with_capacity(announced(headers).unwrap_or(0).min(1 << 20));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(broken_off)?.into_data() else { continue };
        if read.len() + data.len() > limit {
            drop(read);
            discard(body).await;
            return Err(ApiError::TooLarge(limit));
        }
        read.extend_from_slice(&data);
    }
    Ok(read.into())
}

fn broken_off(error: axum::Error) -> ApiError {
    if error.into_inner().is::<TooSlow>() {
        return ApiError::TooSlow;
    }
    ApiError::BadRequest("The body ended before it was complete".into())
}

async fn discard(mut body: Body) {
    let mut left = DISCARDED;
    let all = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
            if left == 0 {
                break;
            }
        }
    };
    // Whoever is not done by then has to live with a broken connection.
    let _ = timeout(DISCARDING, all).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_pieces(pieces: &'static [&'static [u8]]) -> Body {
        Body::from_stream(futures::stream::iter(pieces.iter().map(|piece| Ok::<_, std::io::Error>(*piece))))
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let all = read(&HeaderMap::new(), in_pieces(&[b"plim", b"soll"]), 8).await;
        assert_eq!(all.expect("eight bytes"), "plimsoll");
    }

    #[tokio::test]
    async fn a_body_that_grows_beyond_its_limit_is_refused() {
        let refused = read(&HeaderMap::new(), in_pieces(&[b"plim", b"soll"]), 7).await;
        assert!(matches!(refused, Err(ApiError::TooLarge(7))));
    }

    #[tokio::test]
    async fn a_body_that_announces_too_much_is_refused() {
        let headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, "8".parse().expect("a value"))]);
        assert!(matches!(read(&headers, in_pieces(&[b"p"]), 7).await, Err(ApiError::TooLarge(7))));
    }

    #[tokio::test]
    async fn a_compressed_body_is_refused_by_name() {
        let headers = HeaderMap::from_iter([(header::CONTENT_ENCODING, "gzip".parse().expect("a value"))]);
        let refused = read(&headers, in_pieces(&[b"p"]), 7).await;
        assert!(matches!(refused, Err(ApiError::UnsupportedMediaType(_))));
    }
}
