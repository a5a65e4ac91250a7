//! Bodies that are large and kept as they came.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{body, json};
use crate::{error::ApiError, state::AppState};

/// How long a body waits for memory.
const PATIENCE: Duration = Duration::from_secs(30);

/// A JSON body of at most `INVENTORY_MAX_BYTES`. A few are held at once and the others wait, so that memory
/// is bounded whatever is sent.
pub(crate) struct Upload {
    pub(crate) bytes: Bytes,
    _slot: OwnedSemaphorePermit,
}

impl FromRequest<AppState> for Upload {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        json::expect_json(&parts.headers)?;
        let busy = || ApiError::Unavailable(anyhow::anyhow!("too many inventories are being received"));
        let slot = timeout(PATIENCE, app.uploads.clone().acquire_owned()).await.map_err(|_| busy())?;
        let slot = slot.map_err(|_| busy())?;
        let bytes = body::read(&parts.headers, body, app.config.inventory_max_bytes).await?;
        Ok(Self { bytes, _slot: slot })
    }
}
