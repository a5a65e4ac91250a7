//! A file in a multipart body.

use std::error::Error;

use axum::{
    body::Bytes,
    extract::{
        DefaultBodyLimit, FromRequest, Multipart, Request,
        multipart::{Field, MultipartError},
    },
    http::{HeaderMap, header},
};
use tokio::{sync::mpsc, time::timeout};

use super::{body, pace::TooSlow};
use crate::{
    error::{ApiError, FieldError},
    state::AppState,
};

/// What multipart adds to a file: boundaries and a header or two.
const WRAPPING: usize = 16 << 10;

/// The part called `file` of a multipart body. One that grows beyond `largest` bytes is refused while it comes.
pub(crate) async fn file_of(request: Request, app: &AppState, largest: usize) -> Result<Bytes, ApiError> {
    let (pieces, mut incoming) = mpsc::channel::<Bytes>(1);
    let collect = async {
        let mut file = Vec::new();
        while let Some(piece) = incoming.recv().await {
            file.extend_from_slice(&piece);
        }
        file
    };
    let (passed, file) = tokio::join!(pass_file_on(request, app, largest, pieces), collect);
    passed.map(|()| file.into())
}

/// Hands the part called `file` of a multipart body to `pieces` while it comes, and keeps nothing of it. When the other side takes no
/// more, the rest is thrown away.
pub(crate) async fn pass_file_on(
    request: Request,
    app: &AppState,
    largest: usize,
    pieces: mpsc::Sender<Bytes>,
) -> Result<(), ApiError> {
    let (parts, body) = request.into_parts();
    expect_form(&parts.headers)?;
    let body = body::admit(&parts.headers, body, largest.saturating_add(WRAPPING)).await;
    let body = body.map_err(|error| match error {
        ApiError::TooLarge(_) => ApiError::TooLarge(largest),
        other => other,
    })?;
    let mut whole = Request::from_parts(parts, body);
    // The limit is held here.
    DefaultBodyLimit::disable().apply(&mut whole);
    let mut form = Multipart::from_request(whole, app).await.map_err(|_| unreadable())?;
    while let Some(part) = form.next_field().await.map_err(broken)? {
        if part.name() == Some("file") {
            return pass_on(part, largest, pieces).await;
        }
    }
    Err(ApiError::Invalid(vec![FieldError {
        field: "body -> file".into(),
        message: "there is no part called `file`: send the file in one".into(),
        kind: "missing",
    }]))
}

async fn pass_on(mut file: Field<'_>, largest: usize, pieces: mpsc::Sender<Bytes>) -> Result<(), ApiError> {
    let mut length = 0;
    while let Some(piece) = file.chunk().await.map_err(broken)? {
        length += piece.len();
        let is_wanted = length <= largest && pieces.send(piece).await.is_ok();
        if !is_wanted {
            drop(pieces);
            // As of every body that is too long.
            let rest = async { while let Ok(Some(_)) = file.chunk().await {} };
            let _ = timeout(body::DISCARDING, rest).await;
            return if length > largest { Err(ApiError::TooLarge(largest)) } else { Ok(()) };
        }
    }
    Ok(())
}

fn expect_form(headers: &HeaderMap) -> Result<(), ApiError> {
    let is_form = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().starts_with("multipart/form-data"));
    if is_form {
        return Ok(());
    }
    Err(ApiError::UnsupportedMediaType(
        "send the file as multipart/form-data, in a part called `file`".into(),
    ))
}

fn unreadable() -> ApiError {
    ApiError::BadRequest("The multipart body cannot be read: check its boundary and its end".into())
}

fn broken(error: MultipartError) -> ApiError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if error.is::<TooSlow>() {
            return ApiError::TooSlow;
        }
        cause = error.source();
    }
    unreadable()
}
