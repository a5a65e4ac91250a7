//! A file in a multipart body.

use axum::{
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, FromRequest, Multipart, Request},
    http::header,
};

use super::body;
use crate::{
    error::{ApiError, FieldError},
    state::AppState,
};

/// What multipart adds to a file: boundaries and a header or two.
const WRAPPING: usize = 16 << 10;

/// The part called `file` of a multipart body. One that grows beyond `largest` bytes is refused while it comes.
pub(crate) async fn file_of(request: Request, app: &AppState, largest: usize) -> Result<Bytes, ApiError> {
    let (parts, body) = request.into_parts();
    let is_form = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().starts_with("multipart/form-data"));
    if !is_form {
        return Err(ApiError::UnsupportedMediaType(
            "send the file as multipart/form-data, in a part called `file`".into(),
        ));
    }
    let bytes = body::read(&parts.headers, body, largest + WRAPPING).await.map_err(|error| match error {
        ApiError::TooLarge(_) => ApiError::TooLarge(largest),
        other => other,
    })?;
    let mut whole = Request::from_parts(parts, Body::from(bytes));
    // The limit has been held already.
    DefaultBodyLimit::disable().apply(&mut whole);
    let broken =
        || ApiError::BadRequest("The multipart body cannot be read: check its boundary and its end".into());
    let mut form = Multipart::from_request(whole, app).await.map_err(|_| broken())?;
    while let Some(part) = form.next_field().await.map_err(|_| broken())? {
        if part.name() == Some("file") {
            let file = part.bytes().await.map_err(|_| broken())?;
            return if file.len() > largest { Err(ApiError::TooLarge(largest)) } else { Ok(file) };
        }
    }
    Err(ApiError::Invalid(vec![FieldError {
        field: "body -> file".into(),
        message: "there is no part called `file`: send the file in one".into(),
        kind: "missing",
    }]))
}
