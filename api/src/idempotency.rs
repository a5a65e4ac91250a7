//! `Idempotency-Key`: a request that makes a job can be sent again without making another.
//!
//! The answer is kept in the transaction of the work, so it is there exactly when the work is. Copies that
//! arrive at the same time wait for one another. Used by every POST that makes jobs:
//!
//! ```ignore
//! let mut work = match key.begin(actor.begin().await?, &request).await? {
//!     Begun::Before(answer) => return Ok(Accepted::Before(answer)),
//!     Begun::Now(work) => work,
//! };
//! let job = enqueue(&mut work, …).await?;
//! work.accept(job.id, body).await
//! ```
//!
//! One whose jobs merely follow from what it does at once ends with [`Work::answer`].

use std::ops::{Deref, DerefMut};

use axum::{
    Json,
    extract::FromRequestParts,
    http::request::Parts,
    response::{IntoResponse, Response},
};
use domain::id::JobId;
use serde::Serialize;
use sha2::{Digest, Sha256};
use store::{
    TenantTx,
    idempotency::{self, Answer, RequestKey, Seen},
};
use utoipa::{
    IntoParams,
    openapi::{
        ObjectBuilder, Type,
        path::{Parameter, ParameterBuilder, ParameterIn},
    },
};

use crate::{
    error::{ApiError, FieldError},
    extract::shown,
    reply::{Accepted, job_location},
    state::AppState,
};

const HEADER: &str = "idempotency-key";

/// The `Idempotency-Key` header of a request, which may be missing.
#[derive(Debug, Clone)]
pub(crate) struct IdempotencyKey {
    /// Method and path: the same key may be used once on each.
    route: String,
    key: Option<String>,
}

impl FromRequestParts<AppState> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        let route = format!("{} {}", parts.method, parts.uri.path());
        let key = match parts.headers.get(HEADER) {
            None => None,
            Some(value) => Some(checked(value.to_str().unwrap_or_default())?.to_owned()),
        };
        Ok(Self { route, key })
    }
}

fn checked(key: &str) -> Result<&str, ApiError> {
    if (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(key);
    }
    let message = format!(
        "{} cannot be a key: it must be 1 to 255 visible ASCII characters, best a fresh UUID",
        shown(key)
    );
    Err(ApiError::Invalid(vec![FieldError::value("header -> Idempotency-Key", message)]))
}

impl IntoParams for IdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[!-~]{1,255}$"));
        let description = "Any text of yours, best a UUID. Sent again within 24 hours with the same key and \
                           the same body, the request is not done again and gets the first answer, with the \
                           header `Idempotent-Replayed: true`. With another body it is refused with 409.";
        vec![
            ParameterBuilder::new()
                .name("Idempotency-Key")
                .parameter_in(ParameterIn::Header)
                .description(Some(description))
                .schema(Some(text))
                .example(Some("3b5c8a2e-7d7a-4b5e-9c57-3f0f7a1d2c44".into()))
                .build(),
        ]
    }
}

/// Whether there is something to do.
pub(crate) enum Begun {
    Now(Work),
    Before(Answer),
}

/// Work that is being accepted: the transaction, and the key to keep the answer under.
pub(crate) struct Work {
    tx: TenantTx,
    key: Option<Kept>,
}

struct Kept {
    route: String,
    key: String,
    request_sha256: [u8; 32],
}

impl Kept {
    fn request(&self) -> RequestKey<'_> {
        RequestKey { route: &self.route, key: &self.key, request_sha256: &self.request_sha256 }
    }
}

impl IdempotencyKey {
    /// Finds out whether `request` is to be done in `tx`, or was done before.
    pub(crate) async fn begin(self, mut tx: TenantTx, request: &impl Serialize) -> Result<Begun, ApiError> {
        let Some(key) = self.key else { return Ok(Begun::Now(Work { tx, key: None })) };
        let request = serde_json::to_vec(request).map_err(anyhow::Error::from)?;
        let kept = Kept { route: self.route, key, request_sha256: Sha256::digest(request).into() };
        match idempotency::begin(&mut tx, kept.request()).await? {
            Seen::Never => Ok(Begun::Now(Work { tx, key: Some(kept) })),
            Seen::Before(answer) => Ok(Begun::Before(answer)),
            Seen::OtherRequest => Err(ApiError::Conflict(
                "This Idempotency-Key was used for another request: use a new key for a new request".into(),
            )),
        }
    }
}

impl Work {
    /// Makes the work permanent, and answers 202 with `body`.
    pub(crate) async fn accept<T: Serialize>(mut self, job: JobId, body: T) -> Result<Accepted<T>, ApiError> {
        self.keep(202, Some(job_location(job)), &body).await?;
        runtime::failpoint!("accept-before-commit");
        self.tx.commit().await?;
        runtime::failpoint!("accepted");
        Ok(Accepted::Now { job, body })
    }

    /// Makes the work permanent, and answers 200 with `body`.
    pub(crate) async fn answer<T: Serialize>(mut self, body: T) -> Result<Answered<T>, ApiError> {
        self.keep(200, None, &body).await?;
        self.tx.commit().await?;
        Ok(Answered::Now(body))
    }

    async fn keep(
        &mut self,
        status: i16,
        location: Option<String>,
        body: &impl Serialize,
    ) -> Result<(), ApiError> {
        let Some(kept) = &self.key else { return Ok(()) };
        let body = serde_json::to_value(body).map_err(anyhow::Error::from)?;
        let answer = Answer { status, location, body };
        Ok(idempotency::finish(&mut self.tx, kept.request(), &answer).await?)
    }
}

/// 200, with what was done; or the answer that the same request got before.
pub(crate) enum Answered<T> {
    Now(T),
    Before(Answer),
}

impl<T: Serialize> IntoResponse for Answered<T> {
    fn into_response(self) -> Response {
        match self {
            Self::Now(body) => Json(body).into_response(),
            Self::Before(answer) => Accepted::<T>::Before(answer).into_response(),
        }
    }
}

impl Deref for Work {
    type Target = TenantTx;

    fn deref(&self) -> &TenantTx {
        &self.tx
    }
}

impl DerefMut for Work {
    fn deref_mut(&mut self) -> &mut TenantTx {
        &mut self.tx
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_short_visible_text() {
        assert!(checked("3b5c8a2e-7d7a-4b5e-9c57-3f0f7a1d2c44").is_ok());
        for key in ["", "two words", "zwölf", &"x".repeat(256)] {
            assert!(checked(key).is_err(), "{key}");
        }
    }
}
