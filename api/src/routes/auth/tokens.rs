//! Personal tokens: keys that act as the person who made them.

use domain::id::ApiKeyId;
use store::api_keys::{self, Filter, Kind};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    error::ApiError,
    extract::{Actor, InPerson, Json, Listing, Path, ReadOnly},
    openapi::{BadBody, Conflicting, Invalid, Missing, SignedIn},
    reply::{Created, Page},
    routes::api_keys::{ApiKey, ApiKeyCreated, CreateApiKey, make},
    state::AppState,
};

/// List one's personal tokens
///
/// The newest first; revoked ones stay in the list.
#[utoipa::path(get, path = "/api/auth/tokens", tag = "auth", params(Listing),
    responses((status = 200, body = Page<ApiKey>), SignedIn, Invalid))]
async fn list_personal_tokens(
    actor: Actor<InPerson<ReadOnly>>,
    Listing { page, .. }: Listing,
) -> Result<Page<ApiKey>, ApiError> {
    let own = Filter { kind: Some(Kind::Personal), user: Some(actor.id()) };
    let keys = api_keys::list(&mut actor.begin().await?, own, page).await?;
    Ok(Page::of(keys))
}

/// Create a personal token
///
/// It acts as its person, with the lesser of both roles at the moment of the request. The token is shown in this answer and
/// never again.
#[utoipa::path(post, path = "/api/auth/tokens", tag = "auth", request_body = CreateApiKey,
    responses((status = 201, body = ApiKeyCreated), SignedIn, Conflicting, BadBody))]
async fn create_personal_token(
    actor: Actor<InPerson<ReadOnly>>,
    Json(request): Json<CreateApiKey>,
) -> Result<Created<ApiKeyCreated>, ApiError> {
    make(actor, Kind::Personal, request).await
}

/// Revoke a personal token
///
/// It is worthless with the next request. Revoking it again changes nothing.
#[utoipa::path(delete, path = "/api/auth/tokens/{key_id}", tag = "auth",
    params(("key_id" = Uuid, Path, description = "The token's id.")),
    responses((status = 200, body = ApiKey), SignedIn, Missing))]
async fn revoke_personal_token(
    actor: Actor<InPerson<ReadOnly>>,
    Path(id): Path<ApiKeyId>,
) -> Result<Json<ApiKey>, ApiError> {
    let mut tx = actor.begin().await?;
    let key = api_keys::revoke(&mut tx, id, Some(actor.id())).await?;
    tx.commit().await?;
    Ok(Json(key.into()))
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_personal_tokens, create_personal_token))
        .routes(routes!(revoke_personal_token))
}
