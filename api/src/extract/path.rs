//! The variable parts of a path.

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use crate::{error::ApiError, state::AppState};

/// The variable parts of the path. What cannot be an id names nothing, so it is not found.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<AppState> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        let raw = RawPathParams::from_request_parts(parts, app).await.map_err(|_| ApiError::NotFound)?;
        // Postgres has no text with a NUL in it.
        if raw.iter().any(|(_, value)| value.contains('\0')) {
            return Err(ApiError::NotFound);
        }
        let path = axum::extract::Path::from_request_parts(parts, app).await;
        path.map(|axum::extract::Path(value)| Self(value)).map_err(|_| ApiError::NotFound)
    }
}
